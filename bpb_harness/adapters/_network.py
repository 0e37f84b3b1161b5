"""What the networks of several adapters share: taking tensors, autocast, norms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional

from bpb_harness.checkpoint import Checkpoint
from bpb_harness.errors import CheckpointError


def rms_norm(x: Tensor) -> Tensor:
    """Root-mean-square norm over the last dimension, without weights."""
    return functional.rms_norm(x, (x.shape[-1],))


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Autocast as public evaluators use it: float32 weights, bfloat16 products; off for float32."""
    # Not autocast(enabled=False): that is an operation of its own in an exported program.
    return torch.autocast(device.type, dtype=torch.bfloat16) if dtype == torch.bfloat16 else nullcontext()


def runs_in_bfloat16_on_gpu(x: Tensor) -> bool:
    """Whether products of a tensor are autocast to bfloat16 on a GPU, as the kernels of compiled networks round."""
    return (
        x.device.type == "cuda"
        and torch.is_autocast_enabled("cuda")
        and torch.get_autocast_dtype("cuda") == torch.bfloat16
    )


def count_blocks(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """How many consecutive ``prefix.N.`` there are, from 0."""
    numbers = {name[len(prefix) + 1 :].split(".", 1)[0] for name in tensors if name.startswith(prefix + ".")}
    count = 0
    while str(count) in numbers:
        count += 1
    return count


def shape_of(checkpoint: Checkpoint, name: str, ndim: int) -> Sequence[int]:
    """Shape of a tensor that must be there.

    Raises:
        CheckpointError: if it is missing or has another number of dimensions.
    """
    tensor = checkpoint.tensors.get(name)
    if tensor is None:
        raise CheckpointError(f"{checkpoint.path.name} lacks the tensor {name}")
    if tensor.ndim != ndim:
        raise CheckpointError(f"{checkpoint.path.name}: {name}", seen=list(tensor.shape), expected=f"{ndim} dimensions")
    return tensor.shape


def fill(module: nn.Module, tensors: Mapping[str, Tensor], checkpoint: Checkpoint) -> None:
    """Copy tensors into a module; every parameter must be there in its shape, and every tensor must have a place.

    Raises:
        CheckpointError: naming the first tensor that is missing, of another shape, or left over.
    """
    own = module.state_dict()
    for name, value in own.items():
        given = tensors.get(name)
        if given is None:
            raise CheckpointError(f"{checkpoint.path.name} lacks the tensor {name}")
        if given.shape != value.shape:
            raise CheckpointError(f"{checkpoint.path.name}: {name}", seen=list(given.shape), expected=list(value.shape))
    left_over = [name for name in tensors if name not in own]
    if left_over:
        raise CheckpointError(
            f"{checkpoint.path.name} has tensors that the network does not use", seen=", ".join(left_over[:6])
        )
    module.load_state_dict({name: tensors[name].to(value.dtype) for name, value in own.items()})


def ready(module: nn.Module, device: torch.device) -> None:
    """Evaluation mode, no gradients, on the device."""
    module.eval().requires_grad_(False).to(device)
