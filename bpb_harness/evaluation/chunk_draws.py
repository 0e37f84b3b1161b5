"""Draws of a network that learns on the way: chunk by chunk as arrays that ``--resume`` keeps, and as one table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bpb_harness.adaptation.chunks import Chunk
from bpb_harness.evaluation.adaptation_file import Arrays
from bpb_harness.evaluation.batches import DrawPlan
from bpb_harness.evaluation.draws import DrawTable

Ints = npt.NDArray[np.int64]


def rows_of(plan: DrawPlan, chunk: Chunk) -> Ints:
    """The rows of a plan whose windows are those of a chunk."""
    return np.flatnonzero((chunk.first <= plan.window) & (plan.window < chunk.stop))


def to_arrays(tables: Sequence[DrawTable], tokens: slice) -> Arrays:
    """What is kept of a chunk.

    Args:
        tables: its draws of every bound; the first may hold costs of tokens, of the whole text.
        tokens: which of those are the chunk's.
    """
    kept: dict[str, npt.NDArray[Any]] = {}
    for which, table in enumerate(tables):
        kept |= {f"{which}/nats": table.nats, f"{which}/num_masked": table.num_masked}
        kept |= {f"{which}/control": table.control, f"{which}/forward": np.array([table.num_forward_tokens])}
        if table.token_nats is not None:
            kept["tokens"] = table.token_nats[tokens]
    return kept


def to_tables(
    plans: Sequence[DrawPlan], chunks: Sequence[Chunk], parts: Sequence[Arrays], *, keeps_tokens: bool
) -> list[DrawTable]:
    """The table of every bound from what :func:`to_arrays` kept of each chunk; nothing of a chunk without spans."""
    some = [(chunk, part) for chunk, part in zip(chunks, parts, strict=True) if part]
    return [_table_of(which, plan, some, keeps_tokens=keeps_tokens and not which) for which, plan in enumerate(plans)]


def _table_of(which: int, plan: DrawPlan, parts: Sequence[tuple[Chunk, Arrays]], *, keeps_tokens: bool) -> DrawTable:
    nats, num_masked, control = np.full(len(plan), np.nan), np.zeros(len(plan), dtype=np.int64), np.zeros(len(plan))
    for chunk, part in parts:
        rows = rows_of(plan, chunk)
        nats[rows], num_masked[rows] = part[f"{which}/nats"], part[f"{which}/num_masked"]
        control[rows] = part[f"{which}/control"]
    tokens = np.concatenate([part["tokens"] for _, part in parts]) if keeps_tokens else None
    forward = sum(int(part[f"{which}/forward"][0]) for _, part in parts)
    return DrawTable(plan, num_masked, nats, control, tokens, num_forward_tokens=forward)
