"""Networks of blocks are scored block by block: what their layout is, and what their targets may be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bpb_harness.denoiser import CausalLM, Denoiser
from bpb_harness.errors import UsageError
from bpb_harness.evaluation.settings import Settings
from bpb_harness.text.spans import Spans


def with_own_blocks(settings: Settings, model: Denoiser | CausalLM) -> Settings:
    """The settings, with the blocks of a network that has its own where no layout is asked for, such as answers."""
    own = getattr(model, "block_size", None)
    if settings.scores_answers:
        return settings
    asked = (settings.stride, settings.block_size)
    return settings if own is None or any(each is not None for each in asked) else replace(settings, block_size=own)


def require_whole_blocks(denoiser: Denoiser, spans: Spans) -> None:
    """Refuse spans that a network of blocks was not made for: targets in several blocks, or in a part of one.

    Blocks are counted from where a span's input begins. A block may have its first tokens as context, as the rest of
    it then is what it has to fill in; and the last block of a window may be shorter.

    Args:
        denoiser: any network; one without ``block_size`` takes any spans.
        spans: what is to be scored, in the order of their windows.

    Raises:
        UsageError: naming the size of its blocks.
    """
    size = getattr(denoiser, "block_size", None)
    if size is None:
        return
    first, end = spans.context_lengths // size, spans.input_lengths
    several = first != (end - 1) // size
    goes_on = (spans.context_starts[1:] == spans.context_starts[:-1]) & (spans.starts[1:] == spans.ends[:-1])
    in_part = np.append(goes_on, False) & (end % size != 0)
    for bad, what in ((several, "in several of its blocks"), (in_part, "in a part of a block")):
        if bad.any():
            where = int(np.flatnonzero(bad)[0])
            raise UsageError(
                f"a network that predicts blocks of {size} tokens, each given the blocks before it",
                seen=f"{int(spans.lengths[where])} targets {what}",
                expected=f"blocks of {size}",
                hint=f"pass --block-size {size}",
            )
