"""The mean masked cross-entropy f(u), and what follows from it: the T-curve and the gap between the bounds.

NELBO_T is the right-end Riemann sum of f over the grid of the T-step model, NELBO its integral (MATHS.md, section on
the gap). A published pair of values that differ by more than f allows means that one of them is wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt
from scipy.interpolate import BSpline

Floats = npt.NDArray[np.float64]

_DEGREE = 3
_MAX_SEGMENTS = 10
_DRAWS_PER_SEGMENT = 12
_GAUSS_NODES = 4  # exact for the cubic pieces


@final
@dataclass(frozen=True)
class MaskedEntropyCurve:
    """A cubic spline through f(u), fitted to draws by least squares.

    Attributes:
        knots: knot vector of the B-splines.
        coefficients: (n,) nats per token.
        covariance: (n, n) of the coefficients, robust to draws of one window being alike.
    """

    knots: Floats
    coefficients: Floats
    covariance: Floats

    @classmethod
    def fit(
        cls,
        mask_rate: npt.NDArray[Any],
        nats_per_token: npt.NDArray[Any],
        num_tokens: npt.NDArray[Any],
        window: npt.NDArray[Any],
    ) -> MaskedEntropyCurve:
        """Fit f to draws.

        Args:
            mask_rate: u of each draw, (R,).
            nats_per_token: C / |M| of each draw over size-biased masks, (R,); its mean at u is f(u).
            num_tokens: L of each draw's window, (R,): draws are weighed by it.
            window: which window each draw belongs to, (R,).
        """
        knots = _knots(mask_rate)
        basis = _design(knots, mask_rate)
        weighted = basis * num_tokens[:, None]
        # A pseudo-inverse: where few draws leave a basis function unseen, it gets the smallest coefficient.
        bread = np.linalg.pinv(weighted.T @ basis, hermitian=True)
        coefficients = np.asarray(bread @ (weighted.T @ nats_per_token), dtype=np.float64)
        scores = weighted * (nats_per_token - basis @ coefficients)[:, None]
        _, cluster = np.unique(window, return_inverse=True)
        by_window = np.zeros((int(cluster.max()) + 1, basis.shape[1]))
        np.add.at(by_window, cluster, scores)
        return cls(knots, coefficients, bread @ (by_window.T @ by_window) @ bread)

    def at(self, mask_rate: npt.NDArray[Any]) -> tuple[Floats, Floats]:
        """Value of f and its standard error at mask rates, in nats per token."""
        basis = _design(self.knots, mask_rate)
        variance = np.einsum("ri,ij,rj->r", basis, self.covariance, basis)
        return basis @ self.coefficients, np.sqrt(np.maximum(np.asarray(variance, dtype=np.float64), 0.0))

    def weighted_sum(self, mask_rate: npt.NDArray[Any], weight: npt.NDArray[Any]) -> tuple[float, float]:
        """Sum of weight * f(u) and its standard error, in nats per token."""
        functional = np.asarray(weight @ _design(self.knots, mask_rate), dtype=np.float64)
        variance = float(functional @ self.covariance @ functional)
        return float(functional @ self.coefficients), math.sqrt(max(variance, 0.0))

    def integral_nodes(self, low: float, high: float) -> tuple[Floats, Floats]:
        """Mask rates and weights that integrate the spline over (low, high] exactly."""
        inner = self.knots[(self.knots > low) & (self.knots < high)]
        edges = np.unique(np.concatenate([[low], inner, [high]]))
        node, weight = np.polynomial.legendre.leggauss(_GAUSS_NODES)
        half = np.diff(edges)[:, None] / 2.0
        centre = (edges[1:] + edges[:-1])[:, None] / 2.0
        return (centre + half * node).ravel(), (half * weight).ravel()

    def riemann_gap(
        self, grid_rates: npt.NDArray[Any], grid_weights: npt.NDArray[Any], low: float, high: float
    ) -> tuple[float, float]:
        """Diffusion term of the T-step bound minus that of the continuous one, in nats per token.

        Args:
            grid_rates: u_i of the T-step bound, without u_0.
            grid_weights: u_i - u_{i-1}.
            low: u_0.
            high: u_max.

        Returns:
            The gap and its standard error.
        """
        nodes, weights = self.integral_nodes(low, high)
        rates = np.concatenate([grid_rates, nodes])
        return self.weighted_sum(rates, np.concatenate([grid_weights, -weights]))


def _knots(mask_rate: npt.NDArray[Any]) -> Floats:
    """Clamped knots on [0, 1], the inner ones at quantiles of the draws."""
    segments = int(np.clip(len(mask_rate) // _DRAWS_PER_SEGMENT, 1, _MAX_SEGMENTS))
    inner = np.asarray(np.quantile(mask_rate, np.arange(1, segments) / segments), dtype=np.float64)
    inner = np.unique(inner[(inner > 1e-6) & (inner < 1 - 1e-6)])
    return np.concatenate([np.zeros(_DEGREE + 1), inner, np.ones(_DEGREE + 1)])


def _design(knots: Floats, mask_rate: npt.NDArray[Any]) -> Floats:
    inside = np.clip(np.asarray(mask_rate, dtype=np.float64), 0.0, 1.0)
    return np.asarray(BSpline.design_matrix(inside, knots, _DEGREE).toarray(), dtype=np.float64)
