"""The tables that were asked for beside a score: of windows, tokens, documents and slices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from bpb_harness.evaluation.answers import AnswerCosts, answer_frame
from bpb_harness.evaluation.document_table import DocumentCosts, document_frame, slice_scores
from bpb_harness.evaluation.draws import DrawTable
from bpb_harness.evaluation.job import Job
from bpb_harness.evaluation.layout import Layout
from bpb_harness.evaluation.surprisal import Surprisal
from bpb_harness.result import Signature


def tables_of(
    job: Job,
    layout: Layout,
    signature: Signature,
    window_nats: npt.NDArray[np.float64],
    token_nats: npt.NDArray[np.float64] | None,
    table: DrawTable | None = None,
    *,
    costs: AnswerCosts | None,
    surprisal: Surprisal | None,
    find_documents: Callable[[], DocumentCosts],
) -> dict[str, Any]:
    """Fields of a result: the tables that were asked for, each saying of which score it is, and the scores of slices.

    Args:
        job: the evaluation.
        layout: what of the text was scored.
        signature: of the score.
        window_nats: of each span, (N,).
        token_nats: of each target, where they are known.
        table: the draws, of a sampled bound.
        costs: of answers, where these are scored.
        surprisal: of tokens, where it was asked for.
        find_documents: what documents cost.
    """
    from bpb_harness.evaluation.frames import stamp, token_frame, window_frame  # deferred: pandas takes a second

    settings, text = job.settings, job.text
    asked: dict[str, Any] = {}
    if settings.with_windows:
        asked["windows"] = (
            window_frame(text, layout, window_nats, table) if costs is None else answer_frame(job, layout, costs)
        )
    if settings.with_tokens:
        assert token_nats is not None
        asked["tokens"] = token_frame(text, layout.spans, settings.byte_rule, token_nats, surprisal)
    if settings.wants_documents:
        of_documents = find_documents()
        if settings.with_documents:
            asked["documents"] = document_frame(job, layout, of_documents)
    for name, frame in asked.items():
        stamp(frame, f"bpb-{name}/1", signature)
    if settings.slice_field is not None:
        asked["slices"] = slice_scores(job, of_documents)
    return asked
