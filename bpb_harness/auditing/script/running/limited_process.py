"""The program of the limited process: runs one function on a tokenizer and prints its tables as JSON.

It is started by `run_byte_table` with a stripped environment and is no module of the package: it imports nothing of it.
Limits are set before anything foreign is compiled: processor time, memory, no bytes written to files, few open files,
a network namespace of its own where the system grants one, Landlock where the kernel has it, and an audit hook that
refuses files, processes and sockets. These are a second fence, not a proof: run foreign code only from people whom you
would let run it.
"""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_CPU_SECONDS = 40
_WALL_BY_CPU = 8  # more than those who start this process wait for it
_MEMORY = 2 << 30
_MEMORY_WITH_TORCH = 12 << 30  # address space, most of which a library maps and never touches
_MODULES = {"numpy", "torch", "sentencepiece", "math", "typing", "functools", "collections", "__future__"}
_REFUSED = ("socket.", "os.", "subprocess.", "shutil.", "ctypes.", "pty.", "ftplib.", "http.", "urllib.", "smtplib.",
            "sqlite3.", "tempfile.", "webbrowser.", "glob.", "code.__new__", "marshal.", "pickle.")  # fmt: skip
# Landlock, of Linux: numbers of its system calls, and what is denied wherever the kernel knows it.
_CREATE_RULESET, _RESTRICT_SELF, _NO_NEW_PRIVILEGES = 444, 446, 38
_EXECUTE, _WRITE_FILE, _REMOVE_AND_MAKE, _REFER, _TRUNCATE = 1 << 0, 1 << 1, 0x1FF0, 1 << 13, 1 << 14
_CONNECT_AND_BIND, _SIGNALS_AND_ABSTRACT_SOCKETS = 3, 3
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


def limit(memory: int, cpu_seconds: int = _CPU_SECONDS) -> None:
    """Limits that foreign code cannot lift: processor time, address space, no file written, no network.

    Whoever started this process ends it in time; where that one was killed, what only sleeps ends by itself.
    """
    signal.alarm(_WALL_BY_CPU * cpu_seconds)
    for what, value in (
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 128),
    ):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (value, value))
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def forbid() -> None:
    """No file written, made, removed or emptied, no program started, no other process signalled: by the kernel.

    Libraries write in C, where no audit hook looks. Not on kernels without Landlock, where the other limits stand.
    """
    with contextlib.suppress(OSError, AttributeError, ValueError):
        library = ctypes.CDLL(None)
        version = library.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
        if version < 1:
            return
        files = _EXECUTE | _WRITE_FILE | _REMOVE_AND_MAKE
        files |= (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
        denied = (ctypes.c_uint64 * 3)(files, _CONNECT_AND_BIND, _SIGNALS_AND_ABSTRACT_SOCKETS)
        size = 8 if version < 4 else 16 if version < 6 else 24
        rules = library.syscall(_CREATE_RULESET, ctypes.byref(denied), ctypes.c_size_t(size), ctypes.c_uint32(0))
        library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        library.syscall(_RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint32(0))
        os.close(rules)


def address_space() -> int:
    """Bytes of address space that this process has mapped already; 0 where the system does not say."""
    try:
        with open("/proc/self/statm") as stream:  # noqa: PTH123 - before anything is imported that need not be
            return int(stream.read().split()[0]) * resource.getpagesize()
    except (OSError, ValueError):
        return _MEMORY_WITH_TORCH


def fence(tokenizer: str) -> None:
    """Refuse files but those of the libraries and the tokenizer, processes and sockets, from now on."""
    forbid()
    readable = tuple(os.path.realpath(path) + os.sep for path in {sys.prefix, sys.base_prefix})
    real_path = os.path.realpath

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = (*arguments, None, None, None)[:3]
            writes = (isinstance(mode, str) and set(mode) & set("wax+")) or (isinstance(flags, int) and flags & 3)
            inside = isinstance(path, str) and (real_path(path).startswith(readable) or path == tokenizer)
            if writes or not inside:
                raise PermissionError("files are closed to this function")
        elif event.startswith(_REFUSED) and event not in ("os.listdir", "os.scandir", "os.fspath"):
            raise PermissionError(f"{event} is closed to this function")

    sys.addaudithook(refuse)


def _import(
    name: str,
    globals: Mapping[str, object] | None = None,
    locals: Mapping[str, object] | None = None,
    fromlist: Sequence[str] = (),
    level: int = 0,
) -> object:
    if name.split(".", maxsplit=1)[0] not in _MODULES or level:
        raise ImportError(f"{name} is closed to this function")
    return __import__(name, globals, locals, fromlist, level)


def _plain(value: Any) -> list[list[int]]:
    """Arrays as lists of numbers; tables in the order in which they are returned."""
    if isinstance(value, tuple | list) and value and all(hasattr(part, "__len__") for part in value):
        return [_plain(part)[0] for part in value]
    if isinstance(value, dict):
        size = max((int(key) for key in value), default=-1) + 1
        return [[_number(value.get(key, 0)) for key in range(size)]]
    if hasattr(value, "tolist"):
        value = value.tolist()
    return [[_number(part) for part in value]]


def _number(value: Any) -> int:
    return value if isinstance(value, bool) else int(value)


def main() -> None:
    """Read the task from standard input, print {"tables": ..} or {"error": ..}."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    task = json.load(sys.stdin)
    try:
        answer.write(json.dumps({"tables": _run(task)}))
    except BaseException as error:
        answer.write(json.dumps({"error": f"{type(error).__name__}: {error}"[:300]}))
    answer.flush()


def _run(task: dict[str, Any]) -> list[list[int]]:
    needs_torch = "torch" in task["code"]
    limit(_MEMORY_WITH_TORCH if needs_torch else _MEMORY)
    import sentencepiece

    if needs_torch:
        # torch imports dill where that is installed, which looks for a folder that it can write to: there is none.
        tempfile.tempdir = os.path.sep
        import torch
    import numpy  # noqa: F401 - loaded before the fence

    processor = sentencepiece.SentencePieceProcessor(model_file=task["tokenizer"])
    size = processor.get_piece_size()
    given = {"processor": processor, "path": task["tokenizer"], "size": size}
    given["device"] = torch.device("cpu") if needs_torch else "cpu"
    allowed = {name: getattr(builtins, name) for name in dir(builtins)}
    for name in ("open", "exec", "eval", "compile", "input", "breakpoint", "help", "exit", "quit"):
        allowed.pop(name, None)
    allowed["__import__"] = _import
    space: dict[str, Any] = {
        "__builtins__": allowed,
        "__name__": "byte_table",
        **dict.fromkeys(task["processors"], processor),
    }
    code = compile(task["code"], "byte_table", "exec")
    fence(task["tokenizer"])
    exec(code, space)  # noqa: S102 - what the user allowed by --allow-code
    function = space[task["name"]]
    if "token" in task["roles"]:
        return [_counted(function, task, given, size, previous) for previous in task["previous"]]
    return _plain(function(*[given[role] for role in task["roles"] if role != "default"]))


def _counted(
    function: Callable[..., object], task: dict[str, Any], given: dict[str, Any], size: int, previous: int
) -> list[int]:
    """A function of one token (after another): its value for every token."""
    counts = []
    for token in range(size):
        values = {**given, "token": token, "previous": previous}
        counts.append(_number(function(*[values[role] for role in task["roles"] if role != "default"])))
    return counts


if __name__ == "__main__":
    main()
