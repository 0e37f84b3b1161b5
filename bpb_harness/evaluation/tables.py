"""The tables that were asked for beside a score: of windows, tokens, documents and slices."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bpb_harness.evaluation.answers import AnswerCosts, answer_frame
from bpb_harness.evaluation.document_table import DocumentCosts, document_frame, slice_scores
from bpb_harness.evaluation.draws import DrawTable
from bpb_harness.evaluation.job import Job
from bpb_harness.evaluation.layout import Layout
from bpb_harness.evaluation.surprisal import Surprisal
from bpb_harness.result import BpbResult

if TYPE_CHECKING:
    import pandas as pd


def window_and_token_frames(
    job: Job,
    layout: Layout,
    window_nats: npt.NDArray[np.float64],
    token_nats: npt.NDArray[np.float64] | None,
    table: DrawTable | None = None,
    *,
    costs: AnswerCosts | None,
    surprisal: Surprisal | None,
) -> tuple[pd.DataFrame | None, pd.DataFrame | None]:
    """The tables of windows and of tokens; None for one that was not asked for."""
    settings, text = job.settings, job.text
    if not settings.with_windows and not settings.with_tokens:
        return None, None
    from bpb_harness.evaluation.frames import token_frame, window_frame  # deferred: pandas takes a second to import

    by_window = None
    if settings.with_windows:
        by_window = (
            window_frame(text, layout, window_nats, table) if costs is None else answer_frame(job, layout, costs)
        )
    if not settings.with_tokens:
        return by_window, None
    assert token_nats is not None
    return by_window, token_frame(text, layout.spans, settings.byte_rule, token_nats, surprisal)


def document_fields(job: Job, layout: Layout, find: Callable[[], DocumentCosts]) -> dict[str, Any]:
    """What was asked for of documents: their table, the scores of slices."""
    settings = job.settings
    if not settings.wants_documents:
        return {}
    costs = find()
    asked: dict[str, Any] = {}
    if settings.with_documents:
        asked["documents"] = document_frame(job, layout, costs)
    if settings.slice_field is not None:
        asked["slices"] = slice_scores(job, costs)
    return asked


def stamp_tables(result: BpbResult) -> None:
    """Let each table that was asked for say of which score it is."""
    for name, table in (("windows", result.windows), ("tokens", result.tokens), ("documents", result.documents)):
        if table is not None:
            from bpb_harness.evaluation.frames import stamp  # deferred: pandas takes a second to import

            stamp(table, f"bpb-{name}/1", result.signature)
