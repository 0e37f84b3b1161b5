"""What the system lets a process give up: the network, and every file but those it needs.

User namespaces of Linux. It is done before anything starts a thread, so nothing here imports numpy or torch.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path

_NEW_MOUNTS, _NEW_USER, _NEW_NETWORK, _NEW_IPC = 0x00020000, 0x10000000, 0x40000000, 0x08000000
_READ_ONLY, _REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 1, 32, 4096, 16384, 1 << 18
_DETACH = 2
# Libraries, and what they read to tell which instructions the processor has.
_SYSTEM = (
    "/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu",
    "/dev/null", "/dev/urandom", "/dev/zero",
)  # fmt: skip
NETWORK, FILES = "network", "files"


def isolate(paths: Sequence[str], *, hide_files: bool) -> list[str]:
    """Give up the network and, if wanted, all files but the interpreter's, this package's and some others, read-only.

    The working folder is then an empty one in memory.

    Args:
        paths: files and folders that are needed besides.
        hide_files: not of a process that uses a GPU, which is reached through files.

    Returns:
        Which of ``NETWORK`` and ``FILES`` are out of reach now.
    """
    if not sys.platform.startswith("linux"):
        return []
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_NEW_USER | _NEW_NETWORK | _NEW_IPC | _NEW_MOUNTS):
        return []
    held = [NETWORK]
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
        if hide_files:
            _enter_empty_root(libc, [*_SYSTEM, *_interpreter(), *paths])
            held.append(FILES)
    except OSError:
        pass
    return held


def _interpreter() -> list[str]:
    """Folders that modules are imported from, but for those that a user named, which may hold anything."""
    named = ("site-packages", "dist-packages")
    installed = [path for path in sys.path if Path(path).name in named]
    return [sys.base_prefix, *installed, str(Path(__file__).resolve().parents[1])]


def _enter_empty_root(libc: ctypes.CDLL, paths: Sequence[str]) -> None:
    root = Path.cwd() / "root"
    root.mkdir()
    _mount(libc, None, "/", None, _RECURSIVE | _PRIVATE)
    _mount(libc, "tmpfs", str(root), "tmpfs", 0)
    for path in dict.fromkeys(paths):
        _show(libc, Path(path), root / path.lstrip("/"))
    for name in ("before", "empty", "tmp"):
        (root / name).mkdir(exist_ok=True)
    if libc.pivot_root(os.fsencode(root), os.fsencode(root / "before")):
        raise OSError(ctypes.get_errno(), "pivot_root")
    os.chdir("/empty")
    if libc.umount2(b"/before", _DETACH):
        raise OSError(ctypes.get_errno(), "umount2")
    os.environ["TMPDIR"] = "/tmp"  # noqa: S108  # of this process alone, in memory


def _show(libc: ctypes.CDLL, path: Path, place: Path) -> None:
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
    _mount(libc, str(path), str(place), None, _BIND | _RECURSIVE)
    _mount(libc, None, str(place), None, _BIND | _REMOUNT | _READ_ONLY | _RECURSIVE)


def _mount(libc: ctypes.CDLL, source: str | None, place: str, kind: str | None, flags: int) -> None:
    words = [None if word is None else os.fsencode(word) for word in (source, place, kind)]
    if libc.mount(*words, ctypes.c_ulong(flags), None):
        raise OSError(ctypes.get_errno(), f"mount {place}")
