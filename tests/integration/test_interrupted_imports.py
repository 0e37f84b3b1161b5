"""Ctrl-C while a command imports what it needs: the import ends, then the command does."""

import subprocess
import sys

import pytest

from tests.printed import without_progress
from tests.tiers import some_of

# The signal comes when the import system looks for a module; at the end the importing package is there, or is not.
PROGRAM = """
import atexit, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {trigger!r}:
            signal.raise_signal(signal.SIGINT)

atexit.register(lambda: print({package!r} in sys.modules))
sys.meta_path.insert(0, Interrupting())
from bpb_harness.cli.{command} import main
sys.argv = {arguments!r}
main()
"""


@pytest.mark.parametrize(
    ("command", "trigger", "package", "arguments"),
    some_of(
        [
            ("eval", "bpb_harness.evaluation.trust", "bpb_harness.evaluation.api", ["no.pt"]),
            ("audit", "bpb_harness.auditing.verdict", "bpb_harness.auditing", ["."]),
            (
                "bytes",
                "bpb_harness.byte_count.validity",
                "bpb_harness.byte_count",
                ["--tokenizer=no", "--data=x"],
            ),
        ],
        everyday=1,
    ),
)
def test_an_import_is_not_cut_short(tmp_path, repository, command, trigger, package, arguments):
    names = {"command": command, "trigger": trigger, "package": package, "arguments": [f"bpb-{command}", *arguments]}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(**names)],
        capture_output=True, text=True, cwd=repository, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (130, "True\n")
    assert without_progress(done.stderr) == f"bpb-{command}: interrupted\n"
