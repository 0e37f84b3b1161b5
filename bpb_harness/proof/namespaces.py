"""Calls of Linux by which a process gives things up, for itself and for all that it starts.

They are made before anything starts a thread, so nothing here imports numpy or torch. Each raises OSError where the
system does not allow it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
from collections.abc import Callable

NEW_MOUNTS, NEW_IPC, NEW_USER, NEW_PIDS, NEW_NETWORK = 0x00020000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
READ_ONLY, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 32, 4096, 16384, 1 << 18
_DETACH = 2
_DIES_WITH_PARENT, _DUMPABLE = 1, 4
_NUMBERS = {"x86_64": (250, 442), "aarch64": (219, 442)}  # keyctl, mount_setattr
_JOIN_SESSION_KEYRING, _AT_RECURSIVE, _HERE = 1, 0x8000, -100


def is_possible() -> bool:
    """Whether this is a system that has them."""
    return sys.platform.startswith("linux") and platform.machine() in _NUMBERS


def leave(kinds: int, *, proc: int) -> None:
    """Enter new namespaces, as root of a new user namespace.

    Args:
        kinds: ``NEW_USER`` with others.
        proc: descriptor of /proc.
    """
    user, group = os.geteuid(), os.getegid()
    _checked(_libc().unshare(kinds), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        descriptor = os.open(f"self/{name}", os.O_WRONLY, dir_fd=proc)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)


def mount(source: str | None, place: str, kind: str | None, flags: int) -> None:
    """Mount something, as the system call does."""
    words = [None if word is None else os.fsencode(word) for word in (source, place, kind)]
    _checked(_libc().mount(*words, ctypes.c_ulong(flags), None), f"mount {place}")


def enter_root(root: str, before: str) -> None:
    """Make a folder the root, and let go of what was; ``before`` is a folder in it."""
    _checked(_libc().pivot_root(os.fsencode(root), os.fsencode(before)), "pivot_root")
    os.chdir("/")
    _checked(_libc().umount2(os.fsencode("/" + os.path.relpath(before, root)), _DETACH), "umount2")


def make_all_read_only() -> None:
    """Everything that is mounted."""
    attributes = (ctypes.c_uint64 * 4)(1, 0, 0, 0)  # MOUNT_ATTR_RDONLY is set, nothing cleared
    number = _NUMBERS[platform.machine()][1]
    done = _libc().syscall(number, _HERE, b"/", _AT_RECURSIVE, ctypes.byref(attributes), ctypes.sizeof(attributes))
    _checked(done, "mount_setattr")


def leave_keyring() -> None:
    """Take a new session keyring: keys that are put into the old one are seen by all that share it."""
    _libc().syscall(_NUMBERS[platform.machine()][0], _JOIN_SESSION_KEYRING, None)


def end_with_parent() -> None:
    """Be killed when the process that started this one ends, in whatever way."""
    if is_possible():
        _libc().prctl(_DIES_WITH_PARENT, signal.SIGKILL, 0, 0, 0)


def run_in_own_space(work: Callable[[], None]) -> int:
    """Run something in a process that ends with all that it has started, however it was started.

    The caller has left its space of process ids. Its child is the first process of a new one, with which all others of
    it end; it ends with the caller, and runs nothing but the start of the second one, which works.

    Args:
        work: its end is that of the process.

    Returns:
        The exit code; minus the number of the signal by which it ended.
    """
    first = os.fork()
    if first:
        return os.waitstatus_to_exitcode(os.waitpid(first, 0)[1])
    status = 1
    try:
        end_with_parent()
        second = os.fork()
        if not second:
            work()
            sys.stderr.flush()
            os._exit(0)
        _libc().prctl(_DUMPABLE, 0, 0, 0, 0)  # nobody may steer it
        status = os.waitstatus_to_exitcode(_wait_for(second))
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.stderr.flush()
    finally:
        os._exit(status if 0 <= status < 256 else 1)


def _wait_for(child: int) -> int:
    """Its status; orphans are taken along."""
    while True:
        ended, status = os.wait()
        if ended == child:
            return status


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(outcome: int, what: str) -> None:
    if outcome:
        raise OSError(ctypes.get_errno(), what)
