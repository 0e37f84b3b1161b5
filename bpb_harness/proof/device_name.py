"""Which device computes, as far as that decides the last bits of what it computes."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import torch

_CPUINFO = Path("/proc/cpuinfo")


def device_name(kind: str) -> str:
    """Name of a GPU, or of the processor with the instructions that torch takes on it."""
    if kind == "cuda":
        return torch.cuda.get_device_name()
    return f"{_processor()}, {torch.backends.cpu.get_cpu_capability()}"


def _processor() -> str:
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    name = found[1] if found else platform.processor() or platform.machine()
    return " ".join(name.split()) or "cpu"
