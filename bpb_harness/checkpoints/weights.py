"""What can be a network's weights: finite floats."""

from __future__ import annotations

import torch
from torch import Tensor

from bpb_harness.errors import CheckpointError

_FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def require_weights(tensor: Tensor, what: str) -> None:
    """Refuse a tensor that cannot be a network's weights.

    Args:
        tensor: of any shape.
        what: the file and the tensor's name.

    Raises:
        CheckpointError: for raw levels without a scale (8-bit floats, integers), and for NaN or infinity.
    """
    if tensor.dtype not in _FLOATS:
        raise CheckpointError(
            what,
            seen=f"{tensor.dtype}",
            expected="floats of 16 bits or more",
            hint="multiply quantised weights by their scales and save the product",
        )
    num_bad = tensor.numel() - int(torch.isfinite(tensor).sum())
    if num_bad:
        raise CheckpointError(
            what,
            seen=f"{num_bad} of {tensor.numel()} values that are nan or infinite",
            expected="finite weights",
            hint="take a checkpoint from before training diverged",
        )
