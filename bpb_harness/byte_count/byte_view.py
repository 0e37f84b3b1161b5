"""A token's bits over the bytes that it spells.

A token pays for its bytes together; how much of it each byte cost cannot be told. The view spreads a token's bits
evenly over its bytes. A token that spells no byte (BOS, an unknown token, the first two of three byte pieces of one
space) keeps a row of its own with an empty span, so nothing is lost and nothing is moved to a neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_MANTISSA_BITS = 53


@dataclass(frozen=True)
class ByteView:
    """One row a byte, and one a token without bytes; all arrays are (rows,).

    Attributes:
        token: int64, index of the token.
        start: int64, offset of the byte in the text; for a token without bytes, of the byte that follows.
        num_bytes: int64, 1, or 0 for a token without bytes.
        bits: float64; the rows of a token sum to its bits exactly, in any order.
    """

    token: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    num_bytes: npt.NDArray[np.int64]
    bits: npt.NDArray[np.float64]


def byte_spans(num_bytes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Where each token's bytes lie in the text: (N,) bytes of the tokens -> (N, 2) offsets, start and stop."""
    stops = np.cumsum(num_bytes, dtype=np.int64)
    return np.stack([stops - num_bytes, stops], axis=1)


def spread_over_bytes(bits: npt.NDArray[np.float64], num_bytes: npt.NDArray[np.int64]) -> ByteView:
    """Spread each token's bits evenly over its bytes.

    The shares of a token differ by at most one unit in the last place of its bits, so that they sum exactly: the
    mantissa is divided as an integer and its remainder goes to the first bytes.

    Args:
        bits: (N,) float64, finite.
        num_bytes: (N,) int64, bytes of each token by the rule of the score.

    Returns:
        The view, in the order of the tokens.
    """
    assert len(bits) == len(num_bytes)
    assert np.isfinite(bits).all()
    rows = np.maximum(num_bytes, 1)
    token = np.repeat(np.arange(len(bits), dtype=np.int64), rows)
    rank = np.arange(len(token), dtype=np.int64) - np.repeat(np.cumsum(rows) - rows, rows)
    fraction, exponent = np.frexp(bits)
    units = np.ldexp(fraction, _MANTISSA_BITS).astype(np.int64)
    quotient, remainder = np.divmod(units, rows)
    shares = quotient[token] + (rank < remainder[token])
    starts = byte_spans(num_bytes)[:, 0]
    return ByteView(
        token=token,
        start=starts[token] + rank,
        num_bytes=np.minimum(num_bytes, 1)[token],
        bits=np.ldexp(shares.astype(np.float64), exponent[token] - _MANTISSA_BITS),
    )
