"""What torchrun's variables say of a process; other launchers set some of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bpb_harness.torchrun import is_first_process, local_rank, num_processes

ALL = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "host", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    ("left_out", "changed", "expected"),
    [
        ((), {}, (4, 1, False)),
        ((), {"RANK": "0", "LOCAL_RANK": "0"}, (4, 0, True)),
        ((), {"WORLD_SIZE": "1"}, (1, None, True)),
        (("MASTER_ADDR",), {}, (1, None, True)),
        (("WORLD_SIZE",), {}, (1, None, True)),
        (ALL, {}, (1, None, True)),
    ],
)
def test_a_process_is_one_of_several_where_all_variables_are_there(monkeypatch, left_out, changed, expected):
    for name, value in (ALL | changed).items():
        monkeypatch.setenv(name, value)
    for name in left_out:
        monkeypatch.delenv(name)
    assert (num_processes(), local_rank(), is_first_process()) == expected


def test_nothing_of_it_imports_torch():
    code = "import sys, bpb_harness.torchrun; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
