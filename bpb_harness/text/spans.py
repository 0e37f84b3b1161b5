"""Spans: what of a corpus is paid for, and what before it is visible meanwhile; the ways to lay them over a text.

windows             nothing before a window is visible; or its own first tokens are, and are not paid for
sliding             each span sees as much of the text before it as fits into the network
blocks              within each window, every block sees all blocks before it (block diffusion, arXiv 2503.09573)
within_documents    any of these within each document, so that no span sees across a border

Answers, each of which sees its prompt, are laid out in :mod:`bpb_harness.text.answer_spans`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Literal, Self, final

import numpy as np
import numpy.typing as npt

from bpb_harness.errors import UsageError

if TYPE_CHECKING:
    from bpb_harness.byte_count import ByteCounter, Rule
    from bpb_harness.text.corpus import Corpus

Ints = npt.NDArray[np.int64]
Tail = Literal["score", "drop"]

TOKENS_IN_CACHE = 1 << 17  # of a run; a million take four times as long each
_RUN_TOKENS = 1 << 18


@final
@dataclass(frozen=True)
class Spans:
    """Some tokens given others, of a corpus; (N,) int64 each.

    Tokens ``context_starts[i] .. starts[i] - 1`` are the context of span i: visible, never masked, never paid for.
    Tokens ``starts[i] .. ends[i] - 1`` are its targets. What lies behind is not in the input. A window is a span whose
    context is empty.

    Where the targets of all spans partition a text, and borders are fixed beforehand or by tokens already paid for, the
    sum of their code lengths is a code length of the text, by the chain rule (MATHS.md, section 9).

    Attributes:
        context_starts: position of the first token that the network sees.
        starts: position of the first target.
        ends: position behind the last target.
    """

    context_starts: Ints
    starts: Ints
    ends: Ints

    def __post_init__(self) -> None:
        assert len(self.context_starts) == len(self.starts) == len(self.ends)

    @classmethod
    def without_context(cls, starts: Ints, ends: Ints) -> Self:
        """Windows, whose networks see nothing of what comes before."""
        return cls(starts, starts, ends)

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lengths(self) -> Ints:
        """Targets of each span."""
        return self.ends - self.starts

    @property
    def context_lengths(self) -> Ints:
        """Tokens of each span's context."""
        return self.starts - self.context_starts

    @property
    def input_lengths(self) -> Ints:
        """Tokens of each span, context and targets."""
        return self.ends - self.context_starts

    @property
    def have_context(self) -> bool:
        """Whether any of them has one."""
        return bool((self.context_starts < self.starts).any())

    @property
    def num_tokens(self) -> int:
        """Targets of all spans."""
        return int(self.lengths.sum())

    def take(self, which: slice | Ints) -> Self:
        """Some of the spans."""
        return replace(self, **{each.name: getattr(self, each.name)[which] for each in fields(self)})


def cut(begin: int, end: int, length: int, *, later: int | None = None, tail: Tail = "score") -> tuple[Ints, Ints]:
    """Where each piece of tokens begin .. end - 1 starts and ends, (N,) int64 each.

    Args:
        begin: position of the first token.
        end: position behind the last one.
        length: tokens of the first piece.
        later: tokens of each later one; the same if None.
        tail: `score` keeps a last piece that is shorter than it should be; `drop` leaves it out.
    """
    step = length if later is None else later
    first = np.arange(begin, min(begin + 1, end), dtype=np.int64)
    starts = np.concatenate([first, np.arange(begin + length, end, step, dtype=np.int64)])
    ends = np.append(starts[1:], end)[: len(starts)]
    if tail == "drop" and len(starts) and ends[-1] - starts[-1] < (step if len(starts) > 1 else length):
        starts, ends = starts[:-1], ends[:-1]
    return starts, ends


def require_prefix(unpaid_prefix: int, context_length: int) -> None:
    """Refuse a prefix that leaves nothing of a window.

    Raises:
        UsageError: naming the longest.
    """
    if not 0 <= unpaid_prefix < context_length:
        raise UsageError(
            "--unpaid-prefix", seen=unpaid_prefix, expected=f"0 .. {context_length - 1}, below the tokens of a window"
        )


def windows(begin: int, end: int, context_length: int, *, tail: Tail = "score", unpaid_prefix: int = 0) -> Spans:
    """Cut tokens begin .. end - 1 into windows, each token in exactly one.

    Args:
        begin: position of the first token.
        end: position behind the last one.
        context_length: L, the length of every window but perhaps the last.
        tail: `score` keeps the last, shorter window; `drop` leaves it out, as the official evaluator does.
        unpaid_prefix: so many tokens of each window are visible and not paid for; a window with no other token is left
            out.

    Raises:
        UsageError: if the prefix leaves nothing of a window.
    """
    require_prefix(unpaid_prefix, context_length)
    starts, ends = cut(begin, end, context_length, tail=tail)
    paid = starts + unpaid_prefix < ends
    return Spans(starts[paid], starts[paid] + unpaid_prefix, ends[paid])


def sliding(
    begin: int,
    end: int,
    context_length: int,
    stride: int,
    *,
    given: int = 0,
    tail: Tail = "score",
    end_is_known: bool = True,
) -> Spans:
    """Windows of ``context_length`` tokens of which the last ``stride`` are paid for; of the first, all are.

    Args:
        begin: position of the first token.
        end: position behind the last one.
        context_length: most tokens that the network takes.
        stride: S, tokens paid for in each window after the first.
        given: first tokens of the text that nobody pays for: 1 of a causal network, which takes no token but predicts
            the one behind it, so that the last token of a span is not in its input.
        tail: `drop` leaves out the last span if it is shorter than it should be.
        end_is_known: a last, shorter span sees so much more before it. Not where tokens that are yet to be paid for
            decide where it ends: how much is visible would tell.

    Raises:
        UsageError: if the stride does not lie in 1 .. context_length.
    """
    if not 1 <= stride <= context_length:
        raise UsageError("--stride", seen=stride, expected=f"1 .. {context_length}, the context length")
    starts, ends = cut(begin + given, end, context_length, later=stride, tail=tail)
    upto = ends if end_is_known else starts + stride
    context_starts = np.maximum(begin, upto - given - context_length)
    context_starts[:1] = begin
    return Spans(context_starts, starts, ends)


def blocks(
    begin: int, end: int, context_length: int, block_size: int, *, tail: Tail = "score", unpaid_prefix: int = 0
) -> Spans:
    """Cut tokens begin .. end - 1 into windows, and each window into blocks.

    Args:
        begin: position of the first token.
        end: position behind the last one.
        context_length: L, the length of every window but perhaps the last.
        block_size: B, tokens of every block but perhaps the last of the last window.
        tail: `drop` leaves out the last window if it is shorter.
        unpaid_prefix: so many tokens of each window are visible and not paid for.

    Raises:
        UsageError: if the blocks do not fill a window, or the prefix leaves nothing of it.
    """
    require_prefix(unpaid_prefix, context_length)
    if not 1 <= block_size <= context_length or context_length % block_size:
        raise UsageError(
            "--block-size", seen=block_size, expected=f"a divisor of {context_length}, the tokens of a window",
            hint="pass --context L, a multiple of it",
        )  # fmt: skip
    window_starts, window_ends = cut(begin, end, context_length, tail=tail)
    if not len(window_starts):
        return Spans.without_context(window_starts, window_ends)
    # Every window but the last is full, so that blocks lie end to end from the first to the last of them.
    starts, ends = cut(begin, int(window_ends[-1]), block_size)
    context_starts = begin + (starts - begin) // context_length * context_length
    starts, ends = np.maximum(starts, context_starts + unpaid_prefix), np.minimum(ends, window_ends[-1])
    paid = starts < ends
    return Spans(context_starts[paid], starts[paid], ends[paid])


def within_documents(
    document_starts: npt.NDArray[np.int64], end: int, layout: Callable[[int, int], Spans], *, given: int = 0
) -> Spans:
    """Lay spans over each document by itself.

    Args:
        document_starts: position of each document's first token, ascending.
        end: position behind the last token.
        layout: (begin, end) of a stretch of tokens -> its spans.
        given: tokens at the start of each document that it does not pay for: 1 of a causal network, whose next
            document starts with a token that the document before has paid for, and with it for its own end. Where it is
            0 the spans are scored given the documents' lengths, which is no code of the text.
    """
    borders = np.unique(np.minimum([0, *document_starts[1:], end - given], end - given))
    parts = [layout(int(begin), int(stop) + given) for begin, stop in itertools.pairwise(borders)]
    columns = [(part.context_starts, part.starts, part.ends) for part in parts]
    return Spans(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def span_bytes(corpus: Corpus, spans: Spans, counter: ByteCounter, rule: Rule = "official") -> Ints:
    """Bytes of the targets of each span, every token in the context of the whole stream; (N,) int64.

    Args:
        corpus: the token stream.
        spans: in the order of their targets.
        counter: of the tokenizer.
        rule: how bytes are counted.
    """
    sums = np.empty(len(spans), np.int64)
    for run in runs_of(spans, TOKENS_IN_CACHE):
        starts, ends = spans.starts[run], spans.ends[run]
        first = int(starts[0])
        counted = np.concatenate([[0], np.cumsum(counter.span(corpus, first, int(ends[-1]), rule))])
        sums[run] = counted[ends - first] - counted[starts - first]
    return sums


def span_documents(document_starts: Ints, spans: Spans) -> Ints:
    """The first and the last document that the targets of each span touch; (N, 2) int64, documents counted from 0."""
    first = np.searchsorted(document_starts, spans.starts, side="right") - 1
    last = np.searchsorted(document_starts, spans.ends - 1, side="right") - 1
    return np.stack([first, last], axis=1).astype(np.int64)


def runs_of(spans: Spans, num_tokens: int = _RUN_TOKENS) -> list[slice]:
    """Runs of spans that lie one after the other, of about so many tokens each."""
    if not len(spans):
        return []
    assert (np.diff(spans.starts) >= 0).all(), "spans are in the order of their targets"
    run = (spans.starts - spans.starts[0]) // num_tokens
    borders = [*np.flatnonzero(np.diff(run, prepend=-1)), len(spans)]
    return [slice(int(a), int(b)) for a, b in itertools.pairwise(borders)]
