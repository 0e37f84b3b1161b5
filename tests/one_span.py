"""The control variate of single spans, by the functions that batches go through."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bpb_harness.sampling.control_variate import ControlSums, NeighbourCode, sums_of_masks
from bpb_harness.text.corpus import Corpus
from bpb_harness.text.spans import Spans

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def token_units(code: NeighbourCode, corpus: Corpus, spans: Spans, window: int) -> Ints:
    """Code lengths of a span's targets, (4, L): no neighbour visible, the left, the right, both."""
    start, end = int(spans.starts[window]), int(spans.ends[window])
    seen_from = max(start - 1, int(spans.context_starts[window]))
    return code._units_of(corpus.read(seen_from, end))[:, start - seen_from :]


def control_of_masks(
    units: Ints, masked: npt.NDArray[np.bool_], rate: npt.NDArray[Any], *, has_context: bool = False
) -> Floats:
    """The control variate of masks (B, L) at rates (B,) of one span, from its code lengths (4, L); (B,) nats."""
    each = np.broadcast_to(units[:, None], (4, *masked.shape))
    sums = sums_of_masks(each, masked, has_context=has_context)
    return sums.control(np.full(len(masked), masked.shape[1]), rate, np.full(len(masked), has_context))


def mean_code_length(units: Ints, rate: npt.NDArray[Any], *, has_context: bool = False) -> Floats:
    """What is subtracted there, (B,) nats: the mean over size-biased masks of each rate."""
    columns, first, last = (part[:, None] for part in (units.sum(axis=-1), units[:, 0], units[:, -1]))
    nothing_drawn = ControlSums(np.array(1), np.array(0), columns, first, last)
    return -nothing_drawn.control(np.array(units.shape[1]), rate, np.array(has_context))
