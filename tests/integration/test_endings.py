"""A command that has scored ends at once: what is left to do is done, and nothing is taken apart one by one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bpb_harness.cli import _run

# Things that are left to do at the end of a process, and one that is only taken apart.
LEFT = """
import atexit, sys, threading, time
from concurrent.futures import ThreadPoolExecutor

class Taken:
    def __del__(self, write=sys.__stdout__.write):
        write("taken apart ")

kept = Taken()
kept.itself = kept
pool = ThreadPoolExecutor(1)
said = threading.Event()
pool.submit(lambda: (time.sleep(0.2), print("pool ", end=""), said.set()))
threading.Thread(target=lambda: (said.wait(), print("thread ", end=""))).start()
threading.Thread(target=lambda: time.sleep(60), daemon=True).start()
atexit.register(lambda: print("atexit ", end=""))
"""


def ended(code, *, cwd, stdout=subprocess.PIPE):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        [sys.executable, "-c", code], stdout=stdout, stderr=subprocess.PIPE, text=True, cwd=cwd, env=environment,
        check=False, timeout=600,
    )  # fmt: skip


def test_what_is_left_to_do_is_done(tmp_path):
    done = ended(f"{LEFT}\nfrom bpb_harness.cli._run import _end_at_once\n_end_at_once(3)", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (3, "pool thread atexit ", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
def test_who_cannot_write_what_was_printed_is_told_as_by_any_program(tmp_path):
    code = "from bpb_harness.cli._run import _end_at_once\nimport sys\nprint('the score')\n_end_at_once(3)\nsys.exit(3)"
    with Path("/dev/full").open("w") as full:
        done = ended(code, cwd=tmp_path, stdout=full)
    assert done.returncode == 120  # Python's own
    assert "No space left" in done.stderr


@pytest.mark.parametrize(
    ("words", "is_ours"),
    [
        (["python", "-P", "-m", "bpb_harness", "eval", "x.pt"], True),
        (["python", "-u", "-m", "bpb_harness", "eval", "x.pt"], True),  # torchrun's
        (["python", "/usr/bin/bpb-eval", "x.pt"], True),
        (["python", "-m", "pytest", "bpb-eval"], False),
        (["python", "program.py", "-m", "bpb_harness"], False),
        (["python", "-c", "from bpb_harness.cli.eval import main; main()"], False),
        (["python", "-c", "run_path('/usr/bin/bpb-eval')"], False),
        (["python", "-m", "cProfile", "-m", "bpb_harness", "eval"], False),
        (["python"], False),
    ],
)
def test_other_programs_end_as_they_always_do(words, is_ours, monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", words)
    monkeypatch.delitem(sys.modules, "bpb_user_model", raising=False)
    assert _run._is_own_process() is is_ours


# The loader leaves a file open, which the interpreter's own end closes, and writes what is in its buffer.
LOADER = """
import pathlib
from bpb_harness.adapters import load_model

def build(path, device):
    global notes
    notes = pathlib.Path("notes").open("w")
    notes.write("all of it")
    return load_model(path, device=device)[1].model
"""


@pytest.mark.parametrize("runs_code", [False, True])
def test_a_score_ends_at_once_but_for_code_of_the_users(runs_code, tmp_path, repository):
    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, sys\n"
        "class Taken:\n"
        "    def __del__(self, write=sys.stdout.write): write('taken apart')\n"
        "sys.kept = Taken()\n"
    )
    (tmp_path / "loader.py").write_text(LOADER)
    checkpoint = repository / "fixtures" / "checkpoints" / "mdlm-tiny.pt"
    more = ["--model", "loader.py:build", "--allow-code", "--schedule", "loglinear"] if runs_code else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(repository)])}
    done = subprocess.run(
        [sys.executable, "-m", "bpb_harness", "eval", checkpoint, "--limit", "2", "--device", "cpu", "--no-contract",
         "--data", checkpoint.parent / "tiny_val_000000.bin", "--tokenizer",
         repository / "fixtures" / "tokenizers" / "tiny_512_bpe.model", *more],
        capture_output=True, text=True, cwd=tmp_path, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "bits per byte" in done.stdout
    assert ("taken apart" in done.stdout) is runs_code
    if runs_code:
        assert (tmp_path / "notes").read_text() == "all of it"
