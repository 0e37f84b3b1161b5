"""What the system lets a process give up: the network, and every file but those it needs.

It is done before anything starts a thread, so nothing here imports numpy or torch.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bpb_harness.proof import namespaces

# Libraries, and what they read to tell which instructions the processor has.
_SYSTEM = (
    "/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu",
    "/dev/null", "/dev/urandom", "/dev/zero",
)  # fmt: skip
NETWORK, FILES = "network", "files"


def run_isolated(work: Callable[[list[str]], None], paths: Sequence[str], *, hide_files: bool) -> None:
    """Give up the network and, if wanted, all files but the interpreter's, this package's and some others, read-only.

    The working folder is then an empty one in memory, and processes that ``work`` starts end with it.

    Args:
        work: called with which of ``NETWORK`` and ``FILES`` are out of reach.
        paths: files and folders that are needed besides.
        hide_files: not of a process that uses a GPU, which is reached through files.
    """
    if not namespaces.is_possible():
        work([])
        return
    user, network = namespaces.NEW_USER, namespaces.NEW_NETWORK | namespaces.NEW_IPC | namespaces.NEW_MOUNTS
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    held: list[str] = []
    try:
        namespaces.leave(user | network | (namespaces.NEW_PIDS if hide_files else 0), proc=proc)
        held.append(NETWORK)
        namespaces.leave_keyring()
        if hide_files:
            _enter_empty_root([*visible_folders(), *paths])
            held.append(FILES)
    except OSError:
        pass
    if FILES not in held:
        os.close(proc)
        work(held)
        return

    def locked() -> None:
        # Mounts of a namespace that another user owns stay as they are, read-only, whatever a process does.
        with contextlib.suppress(OSError):
            namespaces.leave(user | namespaces.NEW_MOUNTS, proc=proc)
        os.close(proc)
        work(held)

    sys.exit(namespaces.run_in_own_space(locked))


def visible_folders() -> list[str]:
    """What every process sees that gives up its files."""
    return [*_SYSTEM, *_interpreter()]


def _interpreter() -> list[str]:
    """Folders that modules are imported from, but for those that a user named, which may hold anything."""
    named = ("site-packages", "dist-packages")
    installed = [path for path in sys.path if Path(path).name in named]
    return [sys.base_prefix, *installed, str(Path(__file__).resolve().parents[1])]


def _enter_empty_root(paths: Sequence[str]) -> None:
    root = Path.cwd() / "root"
    root.mkdir()
    namespaces.mount(None, "/", None, namespaces.RECURSIVE | namespaces.PRIVATE)
    namespaces.mount("tmpfs", str(root), "tmpfs", 0)
    for path in dict.fromkeys(paths):
        _show(Path(path), root / path.lstrip("/"))
    for name in ("before", "empty", "tmp"):
        (root / name).mkdir(exist_ok=True)
    namespaces.enter_root(str(root), str(root / "before"))
    os.chdir("/empty")
    os.environ["TMPDIR"] = "/tmp"  # noqa: S108  # of this process alone, in memory


def _show(path: Path, place: Path) -> None:
    """Let a file or folder be seen at its own place, read-only; what there is not is left out."""
    if not path.exists() or (place.exists() and path.is_dir() and any(place.iterdir())):
        return
    if path.is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():
            return
        place.touch()
    bind, read_only = namespaces.BIND | namespaces.RECURSIVE, namespaces.REMOUNT | namespaces.READ_ONLY
    namespaces.mount(str(path), str(place), None, bind)
    namespaces.mount(None, str(place), None, bind | read_only)
