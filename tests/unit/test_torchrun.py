"""What torchrun's variables say of a process; other launchers set some of them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bpb_harness.torchrun import is_first_process, local_rank, num_cores, num_processes

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


@pytest.mark.parametrize(
    ("allowed", "counted", "local", "expected"),
    [
        (8, 64, None, 8),
        (8, 64, "2", 4),
        (8, 64, "3", 2),
        (2, 64, "4", 1),
        (8, 64, "0", 8),
        (None, 6, None, 6),
        (None, 6, "2", 3),
        (None, None, None, 1),  # Python does not know
        (None, None, "2", 1),
    ],
)
def test_each_process_takes_its_share_of_the_cores(monkeypatch, allowed, counted, local, expected):
    """``local`` of four processes are on this host; None: torchrun started none."""
    for name, value in ALL.items():
        monkeypatch.setenv(name, value) if local is not None else monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", local or "2")  # of one process alone it says nothing
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    if allowed is not None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(allowed)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: counted)
    assert num_cores() == expected


def test_nothing_of_it_imports_torch():
    code = "import sys, bpb_harness.torchrun; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
