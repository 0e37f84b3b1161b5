"""Fresh processes that wait for a checkpoint. Nothing here imports torch: one may start while this process does."""

from __future__ import annotations

import atexit
import os

from bpb_harness.second_look.server import Server

_MODULE = "bpb_harness.second_look.fresh_process"
_idle: list[Server] = []


def start_ahead() -> None:
    """Start a process that is not needed yet: what it imports takes seconds. It waits if nobody needs it after all."""
    if not _mine():
        _idle.append(Server.start(_MODULE))


def take() -> Server:
    """The process that waits, or else a new one."""
    if not (waiting := _mine()):
        return Server.start(_MODULE)
    _idle.remove(waiting[0])
    return waiting[0]


def give_back(server: Server) -> None:
    """Let a process wait for the next checkpoint."""
    _idle.append(server)


def stop_all() -> None:
    """End the processes that wait."""
    for server in _mine():
        _idle.remove(server)
        server.stop()


atexit.register(stop_all)


def _mine() -> list[Server]:
    """The servers that wait, but for those of a process that this one was forked from."""
    return [server for server in _idle if server.owner == os.getpid()]
