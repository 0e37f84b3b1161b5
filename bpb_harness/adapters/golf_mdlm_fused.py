"""``golf-mdlm`` in kernels of the harness's own, which no compiler has to trace: what scores long texts on a GPU.

The arithmetic is the plain network's under autocast to bfloat16, in fewer passes over memory. Each product takes
weights that were rounded once, where autocast rounds them in every call. A kernel is compiled in a second or two, and
found in triton's cache by the next process; torch's compiler is not even imported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from bpb_harness.adapters.golf_mdlm import Block, GolfMdlm
from bpb_harness.kernels import normalise, query_key, squared_relu, token_nll
from bpb_harness.kernels.attention import HEAD, attend_by_powers
from bpb_harness.kernels.normalise import add_and_normalise
from bpb_harness.kernels.query_key import paired_angles, paired_rows, turn
from bpb_harness.kernels.specialising import is_given_up
from bpb_harness.kernels.squared_relu import square_of_relu
from bpb_harness.kernels.tiling import num_multiprocessors
from bpb_harness.kernels.token_nll import nll_of_logits
from bpb_harness.networks.layers import autocast
from bpb_harness.schedule import NoiseLevel

_ROWS = 128  # of a tile; sizes that 16 divides are what kernels are compiled for


@dataclass(frozen=True)
class _Block:
    """Weights of a block, in bfloat16."""

    query_key: Tensor
    value: Tensor
    output: Tensor
    up: Tensor
    down: Tensor


@final
class FusedGolfMdlm:
    """States and logits of a network, of windows of one length.

    Args:
        network: as it was loaded; its weights are copied.
        length: L, tokens of a window.
    """

    def __init__(self, network: GolfMdlm, length: int) -> None:
        self._network, self._length = network, length
        self._head = 2 * network.cos.shape[-1]
        half = self._head // 2
        self._angles = paired_angles(network.cos[0, :length].view(length, half), network.sin[0, :length].view(-1, half))
        blocks = _blocks(network)
        # Scales and shifts of every norm in one product: attention's and the feed-forward layers', block by block.
        norms = [norm for block in blocks for norm in (block.adaln_attn.proj, block.adaln_mlp.proj)]
        self._modulation = torch.cat([norm.weight for norm in norms]).bfloat16()
        self._modulation_bias = torch.cat([norm.bias for norm in norms]).bfloat16()
        self._blocks = [self._rounded(block) for block in blocks]
        self._unembed = network.unembed.weight.bfloat16()

    def _rounded(self, block: Block) -> _Block:
        attention = block.attn
        turned = torch.cat((attention.c_q.weight, attention.c_k.weight)).bfloat16()
        plain = (attention.c_v, attention.c_proj, block.mlp_fc, block.mlp_proj)
        return _Block(paired_rows(turned, self._head), *(layer.weight.bfloat16() for layer in plain))

    def hidden_at(self, xt: Tensor, level: NoiseLevel, positions: Tensor) -> Tensor:
        """As :meth:`GolfMdlm.hidden_at`, rounded as the head takes it, (n, D) bfloat16."""
        said = self._said(level).chunk(2 * len(self._blocks), dim=-1)
        stream: Tensor = self._network.wte.weight
        rows: Tensor | None = xt.flatten()
        added: Tensor | None = None
        for index, block in enumerate(self._blocks):
            stream, normal = add_and_normalise(
                stream, rows=rows, added=added, modulation=said[2 * index], length=self._length, in_place=True
            )
            # The last block answers for some positions alone; attention looks everywhere, what follows does not.
            rows = positions if index + 1 == len(self._blocks) else None
            # Whatever has been used is let go of before the next is made: two batches hold all of this at once.
            turned, values = turn(normal, block.query_key, self._angles), normal @ block.value.t()
            del normal, added
            heads = attend_by_powers(turned, values, self._length, self._head, rows)
            del turned, values
            added = heads @ block.output.t()
            del heads
            stream, normal = add_and_normalise(
                stream, rows=rows, added=added, modulation=said[2 * index + 1], windows=rows, length=self._length,
                in_place=True,
            )  # fmt: skip
            del added
            squares = square_of_relu(normal, block.up)
            del normal
            rows, added = None, squares @ block.down.t()
            del squares
        return add_and_normalise(stream, added=added, in_place=True)[1]

    def _said(self, level: NoiseLevel) -> Tensor:
        """What the noise says to every norm, (B, 2 D of each)."""
        sigma = level.sigma.float()
        with autocast(sigma.device, torch.bfloat16):
            conditioning = functional.silu(self._network.sigma_map(sigma))
            return functional.linear(conditioning, self._modulation, self._modulation_bias)

    def head(self, hidden: Tensor) -> Tensor:
        """As :meth:`GolfMdlm.head`, (n, W) bfloat16."""
        return hidden @ self._unembed.t()

    def programs(self) -> Sequence[Callable[[], object]]:
        """See :class:`bpb_harness.adapters.fused_forms.FusedForm`."""
        device, width, block = self._unembed.device, self._unembed.shape[1], self._blocks[0]
        # As many as fill the card: how many programs a kernel has is part of what it is compiled for.
        rows = -(-_ROWS * num_multiprocessors(device) // self._length) * self._length
        stream = torch.zeros(rows, width, device=device)
        low = stream.bfloat16()
        places = torch.zeros(_ROWS, dtype=torch.int64, device=device)
        said = torch.zeros(rows // self._length, len(self._modulation), dtype=torch.bfloat16, device=device)
        modulation = said[:, : 2 * width]
        turned = torch.zeros(rows, 2 * width, dtype=torch.bfloat16, device=device)
        level = NoiseLevel(*torch.full((3, 1), 0.5, dtype=torch.float64, device=device).unbind())
        of_windows = partial(add_and_normalise, modulation=modulation, length=self._length)
        targets = places, self._network.vocab_size, self._network.mask_token_id
        return [
            partial(turn, low, block.query_key, self._angles),
            partial(attend_by_powers, turned, low, self._length, self._head),
            partial(attend_by_powers, turned, low, self._length, self._head, places),
            partial(square_of_relu, low, block.up),
            partial(of_windows, self._network.wte.weight, rows=torch.zeros_like(stream[:, 0], dtype=torch.int64)),
            partial(of_windows, stream, added=low),
            partial(of_windows, stream, rows=places, added=low[:_ROWS], windows=places),
            partial(add_and_normalise, stream, added=low),
            lambda: nll_of_logits(self.head(low[:_ROWS]), *targets),
            partial(self._said, level),
        ]


def _blocks(network: GolfMdlm) -> list[Block]:
    return [block for block in network.blocks if isinstance(block, Block)]


def fits(network: GolfMdlm, device: torch.device, dtype: torch.dtype, length: int) -> bool:
    """Whether there are kernels for a network's shape, arithmetic and windows on a device."""
    first = _blocks(network)[0]
    query, up = first.attn.c_q.weight, first.mlp_fc.weight
    return (
        dtype == torch.bfloat16
        and not is_given_up()
        and query_key.is_available(device)
        and squared_relu.is_available()
        and 2 * network.cos.shape[-1] == HEAD
        and query_key.fits(length, query, HEAD)
        and squared_relu.fits(up)
        and normalise.fits(query.shape[1])
        and token_nll.fits(network.vocab_size)
        and network.wte.weight.dtype == network.cos.dtype == torch.float32
    )
