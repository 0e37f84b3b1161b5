"""Starting a command does not wait for torch."""

import os
import resource
import subprocess
import sys

import pytest


def cpu_seconds(*arguments: str) -> float:
    """User and system time of a process, least of three runs."""
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, *arguments], capture_output=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        assert done.returncode == 0, done.stderr
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


@pytest.mark.parametrize("command", ["eval", "audit", "bytes"])
def test_help_takes_a_fraction_of_importing_torch(command):
    """A ratio of CPU times in one run: a loaded machine changes both alike."""
    assert cpu_seconds("-m", "bpb_harness", command, "--help") < 0.6 * cpu_seconds("-c", "import torch")
