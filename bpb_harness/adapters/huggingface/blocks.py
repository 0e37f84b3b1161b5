"""Networks of model folders that are asked block by block: who needs a mask of attention for it, and gets it.

LLaDA 2 (``llada2_moe``) predicts blocks: its own sampler runs over the clean blocks so far and the one at hand, with
an attention mask by which each token sees its block and those before it, and reads the logits of a position as those
of the token there. The size of a block is an argument of that sampler, and stands in no file. Its class comes with the
folder. That a network does what its class is known for is looked at when it is loaded, by changing tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import final

import torch
from torch import Tensor, nn

from bpb_harness.denoiser import Denoiser
from bpb_harness.errors import CheckpointError, HarnessError, UsageError
from bpb_harness.networks.layers import autocast
from bpb_harness.schedule import NoiseLevel

# Model types whose networks take a mask of attention for blocks, (B, 1, N, N), 0 or -inf, and positions; and how the
# mask token of their tokenizers is spelled.
BLOCK_TYPES = {"llada2_moe": "<|mask|>"}

_OWN_LOADER = (
    "score it by a loader of your own that gives it the attention mask of its blocks: --model FILE.py:LOADER "
    "--allow-code (docs/adapters.md, networks of blocks)"
)
_Logits = Callable[[Tensor], Tensor]


@final
class HuggingFaceBlockDenoiser:
    """A network of blocks of a model folder: rows of clean blocks, and the one that is predicted.

    Args:
        network: takes ``input_ids``, ``attention_mask``, ``position_ids`` and ``use_cache``.
        like: the same network as a denoiser without blocks.
        dtype: float32, or bfloat16 for autocast.
        block_size: tokens of a block.
        folder: its name, for messages.

    Raises:
        UsageError: for a block longer than a row may be.
        CheckpointError: if the network does not attend as the mask says.
    """

    time_conditioned = False

    def __init__(self, network: nn.Module, like: Denoiser, *, dtype: torch.dtype, block_size: int, folder: str) -> None:
        if not 1 <= block_size <= like.context_length:
            raise UsageError(
                "--block-size", seen=block_size, expected=f"1 to {like.context_length}, the longest row of the network"
            )
        self.vocab_size, self.mask_token_id = like.vocab_size, like.mask_token_id
        self.context_length = like.context_length
        self.block_size, self._network, self._dtype = block_size, network, dtype
        self.most_by_rounding = 1e-1 if dtype == torch.bfloat16 else 1e-4  # of the largest logit
        _require_blocks(self._row_logits, self, folder, next(network.parameters()).device)

    def logits(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        """Of a row that ends with the block to be predicted."""
        del level
        return self._row_logits(xt)

    def _row_logits(self, xt: Tensor) -> Tensor:
        batch, length = xt.shape
        position = torch.arange(length, device=xt.device)
        block = position // self.block_size
        hidden = torch.zeros(length, length, device=xt.device).masked_fill(block[:, None] < block[None, :], -torch.inf)
        with autocast(xt.device, self._dtype):
            logits: Tensor = self._network(
                input_ids=xt, attention_mask=hidden.expand(batch, 1, -1, -1), position_ids=position.unsqueeze(0),
                use_cache=False,
            ).logits  # fmt: skip
            return logits


def of_blocks(
    network: nn.Module, like: Denoiser, block_size: int | None, *, dtype: torch.dtype, folder: str
) -> HuggingFaceBlockDenoiser:
    """A network of one of the known types, with blocks of the size that the user says.

    Raises:
        UsageError: if nobody says it, or it is longer than a row may be.
        CheckpointError: as :class:`HuggingFaceBlockDenoiser`.
    """
    if block_size is None:
        raise UsageError(
            f"{folder} is a network of blocks, whose size none of its files states",
            hint="pass --block-size; --block-size 32 is what its own sampler takes where it is not told",
        )
    return HuggingFaceBlockDenoiser(network, like, dtype=dtype, block_size=block_size, folder=folder)


def require_both_sides(denoiser: Denoiser, logits: _Logits, *, folder: str, device: torch.device) -> None:
    """Refuse a network whose rows, without a mask of attention, see one side alone: with blocks it would need one.

    Args:
        denoiser: the network.
        logits: of rows, whatever the noise.
        folder: its name, for messages.
        device: where it runs.

    Raises:
        CheckpointError: naming the folder.
    """
    if _hears_nothing_behind(denoiser, logits, folder=folder, device=device):
        raise CheckpointError(
            f"{folder}: --block-size with a network that sees one side of a row alone",
            seen="a position that hears nothing of the next one",
            expected=f"one that sees both, or a model type whose blocks are understood: {', '.join(BLOCK_TYPES)}",
            hint=_OWN_LOADER,
        )


def require_both_sides_of_a_mask(denoiser: Denoiser, logits: _Logits, *, folder: str, device: torch.device) -> None:
    """Refuse a network that the library builds with one side in sight, while config.json calls it one of masks.

    Trainers turn such classes into denoisers by handing them another mask of attention, of which no file says a word;
    some go on reading the logits of a position as those of the next token.

    Args:
        denoiser: the network.
        logits: of rows, whatever the noise.
        folder: its name, for messages.
        device: where it runs.

    Raises:
        CheckpointError: naming the folder.
    """
    if _hears_nothing_behind(denoiser, logits, folder=folder, device=device):
        raise CheckpointError(
            f"{folder}: mask_token_id in config.json says that it fills masks, and the network of its class sees one "
            "side of a row alone",
            seen="a position that hears nothing of the next one",
            expected="one that sees both sides: no file says which attention it was trained with, nor of which token "
            "its logits are",
            hint="take mask_token_id out of config.json if it is an autoregressive model (--method ar); else score it "
            "by a loader of your own that gives it its attention: --model FILE.py:LOADER --allow-code",
        )


def _hears_nothing_behind(denoiser: Denoiser, logits: _Logits, *, folder: str, device: torch.device) -> bool:
    row = _row(2, denoiser, device)
    with _failures_by_name(folder):
        return _change(logits, row, denoiser.mask_token_id, [1], [0]) == 0


def _require_blocks(logits: _Logits, model: HuggingFaceBlockDenoiser, folder: str, device: torch.device) -> None:
    """Change tokens: a block must hear nothing of the next one, something of the one before, and of both its sides."""
    size = model.block_size
    length = min(2 * size, model.context_length)
    row = _row(length, model, device)
    first, second = list(range(size)), list(range(size, length))
    with _failures_by_name(folder):
        wrong = _what_is_wrong(logits, model, row, first, second)
    if wrong is not None:
        raise CheckpointError(
            f"{folder}: the network does not follow the attention mask of its blocks",
            seen=wrong,
            expected="each token to see its block and those before it",
            hint="install the version of transformers that its code was written for, or " + _OWN_LOADER,
        )


def _what_is_wrong(
    logits: _Logits, model: HuggingFaceBlockDenoiser, row: Tensor, first: list[int], second: list[int]
) -> str | None:
    size, mask = model.block_size, model.mask_token_id
    if second and _change(logits, row, mask, second, first) > model.most_by_rounding:
        return "tokens of a block that change what it says of the block before"
    if second and _change(logits, row, mask, [size - 1], [size]) == 0:
        return "a block that hears nothing of the one before"
    if size > 1 and _change(logits, row, mask, [1], [0]) == 0:
        return "a position that hears nothing of the next one in its block"
    return None


@contextmanager
def _failures_by_name(folder: str) -> Iterator[None]:
    try:
        yield
    except (HarnessError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # code of the folder fails in any way
        raise CheckpointError(
            f"{folder}: the network fails on a row of blocks",
            seen=f"{type(error).__name__}: {str(error)[:200]}",
            expected="logits for input_ids, with a mask of attention, (B, 1, N, N), and positions where it needs them",
            hint="install the version of transformers that its code was written for, or " + _OWN_LOADER,
        ) from error


def _row(length: int, denoiser: Denoiser, device: torch.device) -> Tensor:
    """Clean tokens, (1, length)."""
    tokens = [token for token in range(min(denoiser.vocab_size, length + 2)) if token != denoiser.mask_token_id]
    return torch.tensor([[tokens[i % len(tokens)] for i in range(length)]], device=device)


def _change(logits: _Logits, row: Tensor, mask_token_id: int, places: list[int], read: list[int]) -> float:
    """How far logits at ``read`` move, in units of the largest, when the mask stands at ``places``."""
    masked = row.clone()
    masked[0, places] = mask_token_id
    before, after = (logits(each)[0, read].double() for each in (row, masked))
    return float((before - after).abs().max() / before.abs().max().clamp(min=1.0))
