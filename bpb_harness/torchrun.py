"""What torchrun tells a process of its place among those that it started, in environment variables alone."""

from __future__ import annotations

import os


def num_processes() -> int:
    """How many processes torchrun started; 1 where its variables are not all there, as under other launchers."""
    if not all(os.environ.get(name) for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")):
        return 1
    return int(os.environ["WORLD_SIZE"])


def local_rank() -> int | None:
    """The rank on this host under torchrun with several processes; None otherwise."""
    return int(os.environ.get("LOCAL_RANK", "0")) if num_processes() > 1 else None


def is_first_process() -> bool:
    """Whether this is the one that writes and prints."""
    return num_processes() == 1 or int(os.environ.get("RANK", "0")) == 0


def num_cores() -> int:
    """Cores that this process may use without taking them from others of its kind on this host."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    local = os.environ.get("LOCAL_WORLD_SIZE", "1") if num_processes() > 1 else "1"
    return max(allowed // max(int(local), 1), 1)
