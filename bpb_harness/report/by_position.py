"""Bits a token by its position in the window, from the table of tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

_MAX_STRETCHES = 48


@final
@dataclass(frozen=True)
class Stretch:
    """Some positions in a row.

    Attributes:
        first: position in the window, counted from 0.
        last: the last of them.
        num_tokens: of all windows.
        bits_per_token: sum of their bits over their number.
        stderr: over the choice of windows; None of fewer than two.
    """

    first: int
    last: int
    num_tokens: int
    bits_per_token: float
    stderr: float | None


def bits_by_position(tokens: pd.DataFrame, windows: pd.DataFrame | None) -> list[Stretch]:
    """What tokens cost by where they stand in their window, visible context before them counted.

    The error is that of a ratio of sums over windows (Cochran, *Sampling Techniques*): tokens of one window share its
    masks and its subject, and are not counted as if each were drawn by itself.

    Args:
        tokens: ``BpbResult.tokens``, in the order of the text.
        windows: ``BpbResult.windows`` of the same result, one row a window, for the context before their tokens; of
            answers None: the position is that in the answer.

    Returns:
        At most 48 stretches of equal length; together they have every token once.
    """
    group = tokens["document" if windows is None else "window"].to_numpy(np.int64)
    bits, position = tokens["share_bits"].to_numpy(np.float64), tokens["position"].to_numpy(np.int64)
    begins = np.flatnonzero(np.diff(group, prepend=group[0] - 1))
    starts = position[begins]
    if windows is not None and "num_context" in windows:
        starts = starts - windows["num_context"].to_numpy(np.int64)
    number = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, len(group))))
    place = position - starts[number]
    length = max(math.ceil((int(place.max()) + 1) / _MAX_STRETCHES), 1)
    return _stretches(place // length, bits, number, len(begins), length, int(place.max()))


def _stretches(
    place: npt.NDArray[np.int64],
    bits: npt.NDArray[np.float64],
    window: npt.NDArray[np.int64],
    num_windows: int,
    length: int,
    last: int,
) -> list[Stretch]:
    found = []
    order = np.argsort(place, kind="stable")
    edges = np.searchsorted(place[order], np.arange(int(place.max()) + 2))
    for which, (start, stop) in enumerate(pairwise(edges.tolist())):
        if start == stop:
            continue
        there = order[start:stop]
        count, total = stop - start, math.fsum(bits[there])
        mean = total / count
        by_window = np.bincount(window[there], weights=bits[there] - mean, minlength=num_windows)
        touched = len(np.unique(window[there]))
        error = None
        if touched > 1:
            error = math.sqrt(float(by_window @ by_window) * touched / (touched - 1)) / count
        end = min((which + 1) * length - 1, last)
        found.append(Stretch(which * length, end, count, mean, error))
    return found
