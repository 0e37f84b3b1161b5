"""How the products of kernels are cut into tiles."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Tiling:
    """How a product is cut: its tiles, and how many programs a multiprocessor is given (0: one for every tile)."""

    m: int
    n: int
    k: int
    num_warps: int
    num_stages: int
    programs: int
    num_parts: int = 1


def num_multiprocessors(device: torch.device) -> int:
    """How many of a kernel's programs a GPU runs side by side, if they are large; an interpreter on a CPU some."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 3
