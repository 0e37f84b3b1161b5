"""Imports of a command: Ctrl-C does not cut them short, and nothing looks for garbage among them."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading

import pytest

from bpb_harness.cli import _run
from bpb_harness.cli._run import interrupted_afterwards, staying, torch_imports


def test_an_interruption_waits_for_the_end_of_the_block():
    before, done = signal.getsignal(signal.SIGINT), []

    def block():
        with interrupted_afterwards():
            signal.raise_signal(signal.SIGINT)
            done.append("to the end")
        done.append("beyond")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert done == ["to the end"]
    assert signal.getsignal(signal.SIGINT) is before


def test_without_one_nothing_is_raised_and_errors_pass():
    before = signal.getsignal(signal.SIGINT)
    with interrupted_afterwards():
        pass
    with pytest.raises(ValueError, match="inside"), interrupted_afterwards():
        raise ValueError("inside")
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_cannot_be_interrupted_and_are_left_alone():
    done = []

    def work():
        with interrupted_afterwards():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


def test_nothing_is_collected_while_torch_is_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    with staying():
        assert not gc.isenabled()
        made = [[]]
    assert gc.isenabled()
    assert not any(found is made for found in gc.get_objects()), "what was made is not looked through any more"


def test_where_torch_is_there_collections_go_on(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", object())
    monkeypatch.setattr(gc, "freeze", lambda: pytest.fail("what others have made is not ours to keep"))
    with staying():
        assert gc.isenabled()


@pytest.mark.parametrize(
    ("said", "is_there", "then"),
    [
        ({}, False, {"GOMP_SPINCOUNT": "1000"}),
        ({}, True, {}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, False, {"OMP_WAIT_POLICY": "ACTIVE"}),
        ({"GOMP_SPINCOUNT": "7"}, False, {"GOMP_SPINCOUNT": "7"}),
    ],
)
def test_threads_that_wait_sleep_unless_the_user_says_how(monkeypatch, said, is_there, then):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    if is_there:
        monkeypatch.setitem(sys.modules, "torch", object())
    else:
        monkeypatch.delitem(sys.modules, "torch", raising=False)
    arenas: list[bool] = []
    monkeypatch.setattr(_run, "share_one_arena", lambda: arenas.append(True))
    with torch_imports():
        assert arenas == ([] if is_there else [True])  # before any of its threads
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    assert {name: os.environ[name] for name in names if name in os.environ} == then
