"""Ctrl-C in the middle of a block that must not be cut short."""

from __future__ import annotations

import signal
import threading

import pytest

from bpb_harness.cli._run import interrupted_afterwards


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
