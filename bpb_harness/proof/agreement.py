"""Whether what a file of bits says of its code is what the line of its score says."""

from __future__ import annotations

from bpb_harness.errors import InputError
from bpb_harness.evaluation.methods import METHODS
from bpb_harness.proof.header import Header
from bpb_harness.proof.score_line import ScoreLine

_AGAIN = "take a file that bpb-prove --proof wrote"


def line_of(header: Header, name: str) -> ScoreLine:
    """The score that a file is a part of.

    Args:
        header: of the file, consistent in itself.
        name: of the file.

    Raises:
        InputError: if it is no score, or one of other settings, of another checkpoint, or of another number of tokens.
    """
    try:
        line = ScoreLine.read(header.score)
    except InputError as error:
        raise InputError(f"{name}: header: {error}") from None
    signature = line.signature
    for what, held, stated in (
        ("method", header.method, signature.method),
        ("num_steps", None if header.num_steps is None else str(header.num_steps), signature.num_steps),
        ("schedule", header.schedule, signature.schedule),
        ("order", _order(header), _order_stated(line)),
        ("seed", str(header.seed), signature.seed or "0"),  # none is stated of a score that draws nothing
        ("dtype", header.dtype, signature.dtype),
        ("model", header.model[:8], signature.model),
        ("data", header.data[:8], line.data_digest),
        ("tokenizer", header.tokenizer[:8], signature.tokenizer),
        ("ttt", None, signature.adaptation),  # a file is decoded by a network that stays as it is
    ):
        if held != stated:
            raise InputError(f"{name}: header: {what}", seen=held, expected=f"{stated}, as its score says", hint=_AGAIN)
    _require_sizes(header, line, name)
    return line


def _order(header: Header) -> str | None:
    if not METHODS[header.method].goes_in_order:
        return None
    return header.order + (f"/{header.tokens_per_step}" if header.tokens_per_step > 1 else "")


def _order_stated(line: ScoreLine) -> str | None:
    return next((part for part in (line.signature.order or "").split(",") if part not in {"", "per-document"}), None)


def _require_sizes(header: Header, line: ScoreLine, name: str) -> None:
    """Spans fit into windows, and those that are not in the file can be what is left of the tokens."""
    is_causal = METHODS[header.method].is_causal
    context = line.stated("context_length")
    longest = max(a + b for a, b in zip(header.contexts, header.lengths, strict=True)) - is_causal
    if context is None or longest > context:
        raise InputError(
            f"{name}: header: lengths", seen=f"{longest} tokens together",
            expected=f"at most {context}, the windows of its score", hint=_AGAIN,
        )  # fmt: skip
    if line.part is not None and "prompts" not in (line.signature.given or "") and line.part[0] != header.num_spans:
        raise InputError(  # which windows a hash chooses follows from how many there are
            f"{name}: header: num_spans", seen=f"{header.num_spans:,}",
            expected=f"{line.part[0]:,}, the windows of its score", hint=_AGAIN,
        )  # fmt: skip
    left, others = line.num_tokens - sum(header.lengths), header.num_spans - len(header.windows)
    if not others <= left <= others * context:
        raise InputError(
            f"{name}: header: num_spans", seen=f"{header.num_spans:,} for {line.num_tokens:,} tokens",
            expected=f"windows of up to {context}", hint=_AGAIN,
        )  # fmt: skip
