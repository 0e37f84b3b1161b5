"""Starting a command does not wait for torch, nor for anything else that is slow to import."""

import subprocess
import sys

import pytest

PROGRAM = """
import atexit, sys
slow = ("torch", "pandas", "scipy", "pyarrow", "transformers", "sentencepiece", "tokenizers", "matplotlib", "jinja2")
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
