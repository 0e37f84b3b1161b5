"""Which of the processes that wait is whose, and that one serves one network at a time."""

from __future__ import annotations

import os

import pytest

from bpb_harness.second_look import waiting


class Server:
    """Counts how often one was started, and whether it was stopped."""

    started = 0

    def __init__(self, owner: int) -> None:
        self.owner, self.is_stopped = owner, False

    @classmethod
    def start(cls, module: str) -> Server:
        assert module == "bpb_harness.second_look.fresh_process"
        cls.started += 1
        return cls(os.getpid())

    def stop(self) -> None:
        self.is_stopped = True


@pytest.fixture(autouse=True)
def nobody_waits(monkeypatch):
    monkeypatch.setattr(waiting, "_idle", [])
    monkeypatch.setattr(waiting, "Server", Server)
    monkeypatch.setattr(Server, "started", 0)


def test_one_that_waits_is_taken_once():
    waiting.start_ahead()
    waiting.start_ahead()
    assert Server.started == 1
    first = waiting.take()
    assert Server.started == 1
    assert waiting.take() is not first, "it serves a network"
    assert Server.started == 2
    waiting.give_back(first)
    assert waiting.take() is first


def test_those_of_the_process_that_this_one_was_forked_from_are_left_alone():
    theirs = Server(os.getpid() + 1)
    waiting.give_back(theirs)
    assert waiting.take() is not theirs
    waiting.start_ahead()
    assert Server.started == 2
    (mine,) = [server for server in waiting._idle if server is not theirs]
    waiting.stop_all()
    assert waiting._idle == [theirs]
    assert (mine.is_stopped, theirs.is_stopped) == (True, False)
