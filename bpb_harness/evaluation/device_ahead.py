"""A GPU and its libraries are made ready while checkpoint and text are read: first calls of a kind take a second."""

from __future__ import annotations

import threading

import torch
from torch.nn import functional


def start_device(device: torch.device, dtype: torch.dtype) -> None:
    """Begin, on a thread beside, with what a network asks of a GPU.

    Args:
        device: where the network will run.
        dtype: its arithmetic.
    """
    # No daemon: a program that ends before waits until the driver has answered.
    threading.Thread(target=_ask, args=(device, dtype), name="device").start()


def _ask(device: torch.device, dtype: torch.dtype) -> None:
    """What fails here fails again where it is needed, and is dealt with there."""
    try:
        with torch.inference_mode():
            heads = torch.zeros(1, 2, 128, 64, dtype=dtype, device=device)
            functional.scaled_dot_product_attention(heads, heads, heads)
            functional.linear(heads[0, 0], heads[0, 1])
            functional.rms_norm(heads.float(), (64,)).sum().item()
    except Exception:  # noqa: S110 - of drivers and memory
        pass
