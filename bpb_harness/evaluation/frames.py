"""Tables behind a score: one row a window, one row a token; their bits add up to the total."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from bpb_harness.byte_count import ByteCounter
from bpb_harness.evaluation.draws import DrawTable
from bpb_harness.evaluation.inputs import EvaluationText
from bpb_harness.evaluation.layout import Layout
from bpb_harness.text.corpus import Windows
from bpb_harness.units import NATS_PER_BIT


def window_frame(
    text: EvaluationText, layout: Layout, window_nats: npt.NDArray[np.float64], table: DrawTable | None = None
) -> pd.DataFrame:
    """One row a window.

    Columns: window, start (position of its first token), num_tokens, num_bytes (none where no bytes are counted), bits,
    first_document and last_document (counted from 0), and for sampled bounds move_chance and num_masked, a list with an
    entry a draw.
    """
    starts, windows = text.borders.starts, layout.windows
    frame = pd.DataFrame(
        {
            "window": np.arange(len(windows)),
            "start": windows.starts,
            "num_tokens": windows.lengths,
            "num_bytes": layout.num_bytes,
            "bits": window_nats / NATS_PER_BIT,
            "first_document": np.searchsorted(starts, windows.starts, side="right") - 1,
            "last_document": np.searchsorted(starts, windows.starts + windows.lengths - 1, side="right") - 1,
        }
    )
    if not layout.counts_bytes:
        del frame["num_bytes"]
    if table is not None:
        weighed = slice(table.plan.num_weighed)
        borders = np.searchsorted(table.plan.window[weighed], np.arange(1, len(windows)))
        frame["move_chance"] = [part.tolist() for part in np.split(table.plan.mask_rate[weighed], borders)]
        frame["num_masked"] = [part.tolist() for part in np.split(table.num_masked[weighed], borders)]
    return frame


def token_frame(
    text: EvaluationText,
    windows: Windows,
    rule: str,
    token_nats: npt.NDArray[np.float64],
) -> pd.DataFrame:
    """One row a token, in the order of the text.

    Columns: position, token, document, window, bits, and unless ``rule`` is "none" first_byte and end_byte (the byte
    after its last; bytes of the scored text counted from 0, by the exact rule if that is ``rule``, else by the official
    one). For a sampled bound a token's bits are its share of the estimate, far noisier than the sum.
    """
    position = np.concatenate([np.arange(a, a + n) for a, n in zip(windows.starts, windows.lengths, strict=True)])
    starts = text.borders.starts
    tokens = [text.corpus.read(int(a), int(a + n)) for a, n in zip(windows.starts, windows.lengths, strict=True)]
    frame = pd.DataFrame(
        {
            "position": position,
            "token": np.concatenate(tokens),
            "document": np.searchsorted(starts, position, side="right") - 1,
            "window": np.repeat(np.arange(len(windows)), windows.lengths),
            "bits": token_nats / NATS_PER_BIT,
        }
    )
    if rule != "none":
        counter = ByteCounter(text.tokenizer)
        spelled = np.concatenate(
            [
                counter.span(text.corpus, int(a), int(a + n), "exact" if rule == "exact" else "official")
                for a, n in zip(windows.starts, windows.lengths, strict=True)
            ]
        )
        frame["first_byte"], frame["end_byte"] = np.cumsum(spelled) - spelled, np.cumsum(spelled)
    return frame
