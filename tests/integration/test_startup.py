"""Starting a command does not wait for torch, nor for anything else that is slow to import; nor does a plain score for
what it does not need.
"""

import subprocess
import sys

import pytest

from tests.pretend_triton import environment_with, write_triton

PROGRAM = """
import atexit, sys
slow = (
    "torch", "numpy", "pandas", "scipy", "pyarrow", "transformers", "sentencepiece", "tokenizers", "matplotlib",
    "jinja2",
)
atexit.register(lambda: print("imported:", *[name for name in slow if name in sys.modules]))
from bpb_harness.cli.{command} import main
sys.argv = ["bpb-{command}", "--help"]
main()
"""


@pytest.mark.parametrize("command", ["eval", "audit", "bytes"])
def test_help_imports_nothing_slow(command):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(command=command)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].strip() == "imported:"


def test_importing_the_package_imports_nothing_slow():
    program = PROGRAM.split("from bpb_harness")[0] + "import bpb_harness; bpb_harness.evaluate.__signature__"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "imported:"), done.stderr


# Each takes a tenth of a second or more, and a plain score on a CPU is made without it.
NEEDLESS = (
    "pandas", "pyarrow", "scipy", "matplotlib", "rich", "jinja2", "transformers", "tokenizers", "sympy", "networkx",
    "torch._dynamo", "torch._inductor", "triton",
)  # fmt: skip
SCORE = """
import atexit, sys
atexit.register(lambda: print("imported:", *[name for name in {needless!r} if name in sys.modules]))
from bpb_harness.cli.eval import main
sys.argv = ["bpb-eval", {checkpoint!r}, "--limit", "2", "--device", "cpu"]
main()
"""


@pytest.mark.parametrize("has_triton", [False, True], ids=["as installed", "with triton"])
def test_a_plain_score_and_its_checks_import_nothing_that_they_do_not_need(repository, one_block, tmp_path, has_triton):
    if has_triton:
        write_triton(tmp_path)
    program = SCORE.format(needless=NEEDLESS, checkpoint=str(one_block))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=repository,
        env=environment_with(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].strip() == "imported:"


def test_a_bad_flag_is_refused_before_torch_is_imported(repository):
    checkpoint = str(repository / "fixtures" / "checkpoints" / "mdlm-tiny.pt")
    blocked = "import sys; sys.modules['torch'] = None; from bpb_harness.cli.eval import main; main()"
    arguments = [sys.executable, "-c", blocked, checkpoint, "--context", "0"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=repository)
    assert done.returncode == 2
    assert done.stderr.startswith("bpb-eval: --context: got 0")


def test_the_process_of_the_second_look_is_started_without_torch():
    program = "import sys; import bpb_harness.second_look.waiting; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr


# What is waiting when the import system looks for torch, which it then does not find.
AHEAD = """
import sys

class Looking:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            waiting = sys.modules.get("bpb_harness.second_look.waiting")
            print(0 if waiting is None else len(waiting._idle))
            raise KeyboardInterrupt  # enough is seen

sys.meta_path.insert(0, Looking())
from bpb_harness.cli.eval import main
sys.argv = ["bpb-eval", *{arguments!r}]
main()
"""


@pytest.mark.parametrize(
    ("checkpoint", "flags", "count"),
    [("mdlm-tiny.pt", [], 1), ("mdlm-tiny.pt", ["--no-contract"], 0), ("none.pt", [], 0)],
)
def test_the_process_of_the_second_look_imports_torch_while_this_one_does(repository, checkpoint, flags, count):
    arguments = [str(repository / "fixtures" / "checkpoints" / checkpoint), *flags]
    program = AHEAD.format(arguments=arguments)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (130, str(count)), done.stderr
