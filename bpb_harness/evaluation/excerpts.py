"""Documents as a reader sees them: what their tokens spell, and what each cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bpb_harness.byte_count import PieceKind
from bpb_harness.byte_count.counter import TOKENS_AFTER
from bpb_harness.evaluation.inputs import EvaluationText
from bpb_harness.excerpt import Excerpt, Piece

LONGEST_TEXT, MAX_TOKENS = 1_200, 2_400  # bytes and tokens of a document; a token may spell nothing


def excerpts(
    text: EvaluationText, documents: Sequence[int], tokens: pd.DataFrame | None, column: str | None
) -> list[Excerpt]:
    """The beginnings of some documents.

    Args:
        text: what was scored.
        documents: which, counted from 0.
        tokens: ``BpbResult.tokens``; None where there is none.
        column: of the table, the cost of a token by itself; None where it has none.

    Returns:
        In the order of `documents`; those whose tokens do not give their text back are left out.
    """
    if text.tokenizer.uncountable is not None:
        return []
    starts = np.append(text.borders.starts, text.corpus.num_tokens)
    costs = None if tokens is None or column is None else pd.Series(tokens[column].to_numpy(), tokens["position"])
    found = [_excerpt(text, which, int(starts[which]), int(starts[which + 1]), costs) for which in documents]
    return [each for each in found if each is not None]


def _excerpt(
    text: EvaluationText, document: int, start: int, end: int, costs: pd.Series[float] | None
) -> Excerpt | None:
    """None where the pieces do not spell what their counts say, which a page is not to guess about."""
    counts = text.counter.span(text.corpus, start, end, "exact")
    stops = np.cumsum(counts)
    shown = min(int(np.searchsorted(stops, LONGEST_TEXT, side="right")), MAX_TOKENS, end - start)
    # Of the last tokens it depends on those behind them what they spell.
    ids = text.corpus.read(start, min(start + shown + TOKENS_AFTER, end))
    spelled = text.tokenizer.decode(ids)
    if len(spelled) < stops[shown - 1] or (len(ids) == end - start and len(spelled) != stops[-1]):
        return None
    bits = np.full(shown, np.nan) if costs is None else costs.reindex(range(start, start + shown)).to_numpy()
    pieces = tuple(
        Piece(
            spelled[stop - count : stop], None if np.isnan(cost) else float(cost), "" if count else _name(text, token)
        )
        for token, count, stop, cost in zip(ids[:shown].tolist(), counts.tolist(), stops.tolist(), bits, strict=False)
    )
    return Excerpt(document, pieces, int(counts[shown:].sum()))


def _name(text: EvaluationText, token: int) -> str:
    """What a token that spells nothing is called; a byte piece of a space has no name."""
    kind = text.tokenizer.piece_kinds[token]
    return text.tokenizer.pieces[token] if kind in (PieceKind.CONTROL, PieceKind.UNKNOWN) else ""
