"""Networks of blocks: what a block sees, and that one call for all blocks is a call a block.

In block k an answer may depend on clean tokens of the blocks before k and on noised tokens of block k. Clean ones of
block k are what is to be predicted, and the network is handed them; so they, and all behind them, are replaced.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from bpb_harness.contract.difference import Answer, Difference
from bpb_harness.contract.probe import Probe, replaced
from bpb_harness.contract.subject import Subject
from bpb_harness.denoiser import BlockDenoiser, ContextDenoiser, num_blocks
from bpb_harness.errors import BlockCallError, ContractError, LaterBlockError, WrongHalfError

# Blocks that are asked for alone.
_ALONE = 4


def check_blocks(
    subject: Subject, few: Probe, first: Answer, *, batch_rows: int, most_rows: int, generator: torch.Generator
) -> None:
    """Change tokens that a block must not see: in the noised half, then in the clean one; then ask block by block.

    In this order, as a noised block that sees another one hears from it of the clean blocks before that.

    Args:
        subject: the network, of blocks.
        few: whole windows, all blocks in one call.
        first: the answer to them.
        batch_rows: rows of the largest batch.
        most_rows: rows that may be asked to look behind borders in the clean half; one batch at least is. Every border
            that they reach is seen on its own: a network that looks ahead in one block alone is seen there alone.
        generator: of borders and tokens.

    Raises:
        WrongHalfError: if noised tokens of other blocks change a block's answer.
        LaterBlockError: if clean tokens of the block or of later ones do.
        BlockCallError: if a call for one block gives another answer than the call for all.
    """
    assert isinstance(subject.model, BlockDenoiser)
    assert few.by_blocks
    block = torch.arange(few.x0.shape[1], device=few.x0.device) // subject.model.block_size
    other = replaced(few.x0, subject.model, generator)
    _check_noised_half(subject, few, first, block, other, batch_rows)
    _check_clean_half(subject, few, first, block, other, batch_rows, max(most_rows, batch_rows), generator)
    _check_calls(subject, subject.model, few, first, generator)


def _check_clean_half(
    subject: Subject, few: Probe, first: Answer, block: Tensor, other: Tensor, batch_rows: int, most_rows: int,
    generator: torch.Generator,
) -> None:  # fmt: skip
    """Replace the clean tokens of block k and all later ones, another k in each row: blocks up to k must not move."""
    count = int(block[-1]) + 1
    cuts = torch.randperm(count, generator=generator)
    ends = torch.tensor([0, count - 1])[:count]
    cuts = torch.cat((ends, cuts[(cuts != 0) & (cuts != count - 1)]))[:most_rows].to(few.x0.device)
    for which, cut in _in_batches(few, cuts, batch_rows):
        rows, borders = few[which], cut.unsqueeze(-1)
        asked = replace(rows, clean=torch.where(block >= borders, other[which], rows.x0))
        answer = subject.price(asked, first.spread)
        _require_same(
            subject, few, first, which, answer, kept=block <= borders, failure=LaterBlockError,
            what="clean tokens of a block, or of later ones, change what the network says of that block",
        )  # fmt: skip


def _check_noised_half(
    subject: Subject, few: Probe, first: Answer, block: Tensor, other: Tensor, batch_rows: int
) -> None:
    """Show other tokens in the noised half of some blocks: the others must not move.

    Those whose numbers have a bit set, then those without it, for every bit: of any two blocks, each is once shown
    while the other is asked for.
    """
    bits = (int(block[-1])).bit_length()
    bit, side = torch.arange(2 * bits, device=few.x0.device) // 2, torch.arange(2 * bits, device=few.x0.device) % 2
    for which, pair in _in_batches(few, torch.stack((bit, side), dim=1), batch_rows):
        shown = (block >> pair[:, :1]) % 2 == pair[:, 1:]
        rows = few[which]
        asked = replace(
            rows, x0=torch.where(shown, other[which], rows.x0), counted=rows.counted & ~shown, clean=rows.x0
        )
        answer = subject.price(asked, first.spread)
        _require_same(
            subject, few, first, which, answer, kept=~shown, failure=WrongHalfError,
            what="noised tokens of other blocks change what the network says of a block",
        )  # fmt: skip


def _check_calls(subject: Subject, model: BlockDenoiser, few: Probe, first: Answer, generator: torch.Generator) -> None:
    """Ask for the first block, the last, and some between, each by a row that ends with it."""
    length, size = few.x0.shape[1], model.block_size
    count = num_blocks(length, size)
    chosen = {0, count - 1, *torch.randint(count, (_ALONE - 2,), generator=generator).tolist()}
    assert few.level is not None
    for k in sorted(chosen):
        start, stop = k * size, min((k + 1) * size, length)
        here = torch.arange(stop, device=few.x0.device) >= start
        contexts = torch.full((len(few),), start, device=few.x0.device) if isinstance(model, ContextDenoiser) else None
        row = Probe(few.x0[:, :stop], few.counted[:, :stop] & here, few.targets[:, :stop], few.level[:, k], contexts)
        alone = subject.price(row, first.spread)
        position = first.places[:, 1]
        inside = (position >= start) & (position < stop)
        together = Answer(first.places[inside], first.nats[inside], first.spread)
        subject.require_same(
            alone,
            together,
            BlockCallError,
            f"all blocks in one call and block {k} alone get different answers",
            "the same answer",
        )


def _in_batches(few: Probe, values: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Values in batches of at most ``size`` rows, and the window that each row is of: one after another, over again."""
    which = torch.arange(len(values), device=few.x0.device) % len(few)
    for start in range(0, len(values), size):
        yield which[start : start + size], values[start : start + size]


def _require_same(
    subject: Subject, few: Probe, first: Answer, which: Tensor, answer: Answer, *, kept: Tensor,
    failure: type[ContractError], what: str,
) -> None:  # fmt: skip
    """Compare an answer with what its windows got as they are, at the kept positions."""
    dense = torch.full(few.x0.shape, torch.nan, dtype=torch.float64, device=few.x0.device)
    dense[few.counted] = first.nats
    row, position = answer.places.T
    at = kept.expand(len(which), -1)[row, position]
    row, position, places = row[at], position[at], answer.places[at]
    if not len(places):
        return
    difference = Difference.between(
        Answer(places, dense[which[row], position], first.spread), Answer(places, answer.nats[at], first.spread)
    )
    if difference.exceeds(subject.tolerance):
        raise failure(what, seen=difference, expected="no change")
