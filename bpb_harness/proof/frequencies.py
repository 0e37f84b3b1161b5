"""Probabilities as integers: what the coder of a file of bits works with.

Both ends must find the very same integers, so they are made on the host, from float64, by operations of numpy that give
a row the same result whatever other rows are beside it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bpb_harness.errors import NumericsError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

LARGEST_VOCABULARY = 1 << 22
_SMALL_VOCABULARY = 10_000
# Rounding of a float32 softmax over 150,000 columns stays below 1e-5.
_TOLERANCE = 1e-4


def total_of(vocab_size: int) -> int:
    """What the frequencies of a row add up to.

    A token costs at most ``-log2(1 - V / total)`` bits more than its probability says: 0.0009 at V = 10,000 and
    2^24, where 2^24 would make 0.013 of V = 150,000, which 2^32 makes 0.00005.

    Args:
        vocab_size: V, 1 to :data:`LARGEST_VOCABULARY`.

    Returns:
        2^24 for V up to 10,000, 2^32 above.

    Raises:
        NumericsError: for another V.
    """
    if not 1 <= vocab_size <= LARGEST_VOCABULARY:
        raise NumericsError(
            "a vocabulary to be coded", seen=f"{vocab_size:,} tokens", expected=f"1 to {LARGEST_VOCABULARY:,}"
        )
    return 1 << (24 if vocab_size <= _SMALL_VOCABULARY else 32)


def frequencies(log_probs: Floats) -> Ints:
    """Integers in place of probabilities.

    f = 1 + floor((total - V) p); what is left over goes to the most probable token, the lowest of ties. Where
    log p = -inf, the mask's column for instance, f = 0: no stream of bits decodes to that token.

    Args:
        log_probs: natural logarithms, (V,) or (n, V); a row's probabilities add up to 1 but for rounding, and are
            divided by their sum here.

    Returns:
        Of the same shape; each row adds up to :func:`total_of` V.

    Raises:
        NumericsError: if a row holds NaN or +inf, or is no distribution.
    """
    values = np.ascontiguousarray(log_probs, dtype=np.float64)
    vocab_size = values.shape[-1]
    total = total_of(vocab_size)
    rows = values.reshape(-1, vocab_size)
    with np.errstate(over="ignore"):
        p = np.exp(rows)
    sums = p.sum(axis=1)
    _require_distributions(sums)
    p /= sums[:, None]
    p *= total - vocab_size
    counts = p.astype(np.int64)  # none is negative: cutting is flooring
    counts += rows > -np.inf
    counts[np.arange(len(rows)), rows.argmax(axis=1)] += total - counts.sum(axis=1)
    return counts.reshape(values.shape)


def _require_distributions(sums: Floats) -> None:
    """Refuse NaN and infinities, which make such a sum themselves, and what is no distribution."""
    wrong = np.flatnonzero(~(np.abs(sums - 1.0) <= _TOLERANCE))
    if len(wrong):
        raise NumericsError(
            "a prediction to be coded", seen=f"probabilities that add up to {sums[wrong[0]]:g}", expected="1",
            hint="the network's logits hold NaN or infinity, or they are not normalised",
        )  # fmt: skip
