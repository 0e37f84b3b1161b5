"""The transformer of block diffusion: what a token sees are the blocks up to its own."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from bpb_harness.adapters.accounting.account import Account
from bpb_harness.adapters.mdlm.backbone import Attention, Backbone
from bpb_harness.schedule import NoiseLevel


class Bd3lmDenoiser(Backbone):
    """A row as that code's sampler has it: clean blocks, then the block that is being denoised.

    Nobody needs to say where the context ends: a token sees its own block and those before it, so that the last block
    sees clean ones wherever they are clean, and what is masked in a block is all that is asked of it.

    Args:
        account: of the checkpoint.
        dtype: float32, or bfloat16 for autocast.
        block_size: tokens of a block.
        time_conditioned: whether the network is told the noise; where not, that code feeds sigma = 0.
        largest_sigma: the largest that it was told.
    """

    is_stateless = True
    vocab_size: int
    mask_token_id: int
    context_length: int

    def __init__(
        self, account: Account, dtype: torch.dtype, *, block_size: int, time_conditioned: bool, largest_sigma: float
    ) -> None:
        super().__init__(account, dtype)
        self.block_size, self.time_conditioned, self._largest_sigma = block_size, time_conditioned, largest_sigma

    def hidden(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        """Last hidden states, normalised and modulated, (B, L, D)."""
        length = xt.shape[1]
        mask = None
        if length > self.block_size:
            block = self._blocks(length, xt.device)
            mask = block[:, None] >= block[None, :]
        return self.trunk(xt, self._condition(level), Attention(*self.angles(length, xt.device), mask))

    def logits(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        return self.head(self.hidden(xt, level))

    def _blocks(self, length: int, device: torch.device) -> Tensor:
        """The block of each position, (L,)."""
        return torch.arange(length, device=device) // self.block_size

    def _condition(self, level: NoiseLevel) -> Tensor | None:
        """What modulates the norms, (B, D), or (1, D) for all rows; None in a network without."""
        if not self.is_modulated:
            return None
        if self.time_conditioned:
            sigma = level.sigma.clamp(max=self._largest_sigma).float()
        else:
            sigma = torch.zeros(1, device=level.t.device)
        return functional.silu(self.sigma_map(sigma))


@final
class Bd3lmBlockDenoiser(Bd3lmDenoiser):
    """All blocks of a window in one call too, as that code trains: a :class:`bpb_harness.denoiser.BlockDenoiser`.

    Not of a network that is told the noise: the clean half of a window has one answer for all blocks, and each block's
    own call would tell the clean tokens before it another level.
    """

    def block_hidden(self, xt: Tensor, x0: Tensor, level: NoiseLevel) -> Tensor:
        """Last hidden states of the noised half, (B, L, D).

        A noised token sees the noised tokens of its block and the clean ones of earlier blocks; a clean token sees the
        clean ones up to its own block. Both halves have positions 0 .. L - 1.
        """
        length = xt.shape[1]
        block = self._blocks(length, xt.device)
        row, column = block[:, None], block[None, :]
        nothing = torch.zeros(length, length, dtype=torch.bool, device=xt.device)
        noised, clean = torch.cat((row == column, row > column), dim=1), torch.cat((nothing, row >= column), dim=1)
        cos, sin = (part.repeat(2, 1) for part in self.angles(length, xt.device))
        attention = Attention(cos, sin, torch.cat((noised, clean)))
        return self.trunk(torch.cat((xt, x0), dim=1), self._condition(level), attention, num_read=length)

    def block_logits(self, xt: Tensor, x0: Tensor, level: NoiseLevel) -> Tensor:
        """Logits of the noised half, (B, L, W)."""
        return self.head(self.block_hidden(xt, x0, level))
