"""The mask noise of a table of windows by nodes, one draw in each cell: what is left of them by smooth curves.

What all windows have in common at a node, and what grows with their difficulty, is taken out across windows; what a
window has of its own is taken out along its nodes, by a polynomial of low degree. The squares of what is left give the
variance of every node without bias, however different the noise of the nodes. Derivation: MATHS.md, equation (29).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MIN_NODES = 3
_NODES_FOR_DEGREE = (5, 8, 16)  # of a window's own curve: 0 with fewer nodes than the first
_MIN_WINDOWS_BY_DIFFICULTY = 12
_MAX_OF_THE_MEAN = 0.5  # a window that makes up more of the common curve hides its noise in it
_MAX_OF_THE_SLOPE = 0.9


def grid_noise_variance(value: Floats, share: Floats, num_tokens: npt.NDArray[Any], difficulty: Floats) -> float:
    """Variance of the sum of shares times values from the masks alone, in the square of the values' unit.

    Args:
        value: (N, n), windows by nodes in their order, n >= 3.
        share: (N, n).
        num_tokens: (N,), L: the windows' curves are alike per token.
        difficulty: (N,), per token, standardised.
    """
    assert value.shape[1] >= MIN_NODES
    common = _common_columns(np.asarray(num_tokens, dtype=np.float64), difficulty)
    own = _orthonormal(_powers_of_index(value.shape[1]))
    left = value - common @ (common.T @ value)
    left = left - (left @ own) @ own.T
    seen = 1.0 - (common**2).sum(axis=1)
    maker = np.eye(len(own)) - own @ own.T
    # E[left^2] of a window's nodes is maker^2, elementwise, times their variances (Hartley, Rao and Kiefer 1969).
    factor = np.linalg.solve(maker**2, (share**2).T).T
    squares = left**2 / seen[:, None]
    return float(max((squares * factor).sum(), (squares * share**2).sum()))


def grid_degrees_of_freedom(num_tokens: npt.NDArray[Any], num_nodes: int, difficulty: Floats) -> int:
    """How many deviations that variance is added up from: those that no curve was fitted to.

    Args:
        num_tokens: (N,), L of each window.
        num_nodes: n, 3 or more.
        difficulty: (N,), per token, standardised.
    """
    common = _common_columns(np.asarray(num_tokens, dtype=np.float64), difficulty)
    own = _powers_of_index(num_nodes).shape[1]
    return int((len(common) - common.shape[1]) * (num_nodes - own))


def _powers_of_index(count: int) -> Floats:
    """Legendre polynomials over equally spaced places, so that no node of an uneven grid decides the fit alone."""
    degree = int(np.searchsorted(_NODES_FOR_DEGREE, count, side="right"))
    return np.asarray(np.polynomial.legendre.legvander((2.0 * np.arange(count) + 1.0) / count - 1.0, degree))


def _common_columns(tokens: Floats, difficulty: Floats) -> Floats:
    """Orthonormal columns of what windows have in common at a node, (N, 0 to 2)."""
    mean = _orthonormal(tokens[:, None])
    if (mean**2).max() > _MAX_OF_THE_MEAN + 1e-9:  # two equal windows are just good enough
        return mean[:, :0]
    if len(tokens) < _MIN_WINDOWS_BY_DIFFICULTY or not difficulty.any():
        return mean
    both = _orthonormal(np.stack([tokens, tokens * difficulty], axis=1))
    return mean if (both**2).sum(axis=1).max() > _MAX_OF_THE_SLOPE else both


def _orthonormal(columns: Floats) -> Floats:
    return np.asarray(np.linalg.qr(columns)[0])
