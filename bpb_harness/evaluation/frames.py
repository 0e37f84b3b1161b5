"""Tables behind a score: one row a window, one row a token; their bits add up to the total."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from bpb_harness._version import __version__
from bpb_harness.evaluation.draws import DrawTable
from bpb_harness.evaluation.inputs import EvaluationText
from bpb_harness.evaluation.layout import Layout
from bpb_harness.evaluation.surprisal import Surprisal
from bpb_harness.result import Signature
from bpb_harness.text.spans import Spans, span_documents
from bpb_harness.units import NATS_PER_BIT


def window_frame(
    text: EvaluationText, layout: Layout, window_nats: npt.NDArray[np.float64], table: DrawTable | None = None
) -> pd.DataFrame:
    """One row a window, or whatever other span is scored by itself; docs/tables.md says what the columns are."""
    spans = layout.spans
    documents = span_documents(text.borders.starts, spans)
    frame = pd.DataFrame(
        {
            "window": np.arange(len(spans)),
            "start": spans.starts,
            "num_context": spans.context_lengths,
            "num_tokens": spans.lengths,
            "num_bytes": layout.num_bytes,
            "bits": window_nats / NATS_PER_BIT,
            "first_document": documents[:, 0],
            "last_document": documents[:, 1],
        }
    )
    if not layout.counts_bytes:
        del frame["num_bytes"]
    if not spans.have_context:
        del frame["num_context"]
    if table is not None:
        weighed = slice(table.plan.num_weighed)
        borders = np.searchsorted(table.plan.window[weighed], np.arange(1, len(spans)))
        frame["move_chance"] = [part.tolist() for part in np.split(table.plan.mask_rate[weighed], borders)]
        frame["num_masked"] = [part.tolist() for part in np.split(table.num_masked[weighed], borders)]
    return frame


def token_frame(
    text: EvaluationText,
    spans: Spans,
    rule: str,
    token_nats: npt.NDArray[np.float64],
    surprisal: Surprisal | None = None,
) -> pd.DataFrame:
    """One row a token, in the order of the text; docs/tables.md says what the columns are.

    For a sampled bound ``share_bits`` is a token's share of the estimate, far noisier than the sum, and no surprisal.
    """
    position = np.concatenate([np.arange(a, b) for a, b in zip(spans.starts, spans.ends, strict=True)])
    starts = text.borders.starts
    tokens = [text.corpus.read(int(a), int(b)) for a, b in zip(spans.starts, spans.ends, strict=True)]
    frame = pd.DataFrame(
        {
            "position": position,
            "token": np.concatenate(tokens),
            "document": np.searchsorted(starts, position, side="right") - 1,
            "window": np.repeat(np.arange(len(spans)), spans.lengths),
            "share_bits": token_nats / NATS_PER_BIT,
        }
    )
    if surprisal is not None:
        frame["surprisal_bits"] = surprisal.nats / NATS_PER_BIT
        frame["surprisal_stderr_bits"] = np.sqrt(surprisal.variance) / NATS_PER_BIT
    if rule != "none":
        spelled = np.concatenate(
            [
                text.counter.span(text.corpus, int(a), int(b), "exact" if rule == "exact" else "official")
                for a, b in zip(spans.starts, spans.ends, strict=True)
            ]
        )
        frame["first_byte"], frame["end_byte"] = np.cumsum(spelled) - spelled, np.cumsum(spelled)
    return frame


def stamp(frame: pd.DataFrame, name: str, signature: Signature) -> None:
    """Say in a table's ``attrs`` what it is and of which score; a Parquet file of it keeps that.

    Args:
        frame: the table.
        name: of its format: ``bpb-windows/1``.
        signature: of the score.
    """
    frame.attrs |= {"format": name, "signature": str(signature), "version": __version__}
