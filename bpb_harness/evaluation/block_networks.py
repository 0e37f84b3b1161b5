"""Networks of blocks are scored block by block: what their layout is, and what their targets may be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bpb_harness.denoiser import CausalLM, Denoiser, own_block_size
from bpb_harness.errors import UsageError
from bpb_harness.evaluation.methods import METHODS
from bpb_harness.evaluation.settings import Settings
from bpb_harness.text.spans import Spans


def with_own_blocks(settings: Settings, model: Denoiser | CausalLM) -> Settings:
    """The settings, with the blocks of a network that has its own where no layout is asked for, such as answers.

    Answers are cut by the network's blocks without being asked. Some networks are told the size of theirs by the same
    setting, which then says nothing more.

    Raises:
        UsageError: for answers in blocks that are not the network's, or windows that its blocks do not divide.
    """
    own, asked = own_block_size(model), settings.block_size
    if settings.scores_answers:
        _require_own_of_answers(model, own, asked)
        return replace(settings, block_size=None)
    if own is None or settings.stride is not None or asked not in {None, own} or METHODS[settings.method].is_causal:
        return settings
    _require_multiple(own, settings.context_length or model.context_length, longest=model.context_length)
    return replace(settings, block_size=own)


def _require_own_of_answers(model: Denoiser | CausalLM, own: int | None, asked: int | None) -> None:
    given = getattr(model, "block_size", None)
    is_whole = isinstance(given, int) and given == model.context_length  # one block, as the user may have said
    if asked is None or asked == (model.context_length if is_whole else own):
        return
    raise UsageError(
        "--block-size with --target-field",
        seen=asked,
        expected="answers, each scored by itself" + ("" if own is None else f", in the network's blocks of {own}"),
        hint="leave out --block-size",
    )


def _require_multiple(own: int, context: int, *, longest: int) -> None:
    """Of a context that the network takes at all: a longer one is refused as such."""
    if context % own and context <= longest:
        raise UsageError(
            f"the network's blocks of {own}",
            seen=f"windows of {context} tokens, which they do not divide",
            expected=f"a multiple of {own}",
            hint=f"pass --context {max(context // own, 1) * own}, a multiple",
        )


def require_whole_blocks(denoiser: Denoiser, spans: Spans) -> None:
    """Refuse spans that a network of blocks was not made for: targets in several blocks, or in a part of one.

    Blocks are counted from where a span's input begins. A block may have its first tokens as context, as the rest of
    it then is what it has to fill in; and the last block of a window may be shorter.

    Args:
        denoiser: any network; one without blocks of its own takes any spans.
        spans: what is to be scored, in the order of their windows.

    Raises:
        UsageError: naming the size of its blocks.
    """
    size = own_block_size(denoiser)
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
