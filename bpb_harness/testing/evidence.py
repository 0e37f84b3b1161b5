"""How surprised to be: evidence against a stated mean that needs no variance.

An unbiased estimator of the bound may have infinite variance (independent times with weights 1/t do), and then a
z-score has no law to be compared with. This module bets instead. Let Y_1, Y_2, ... be the means of independent calls,
and let the hypothesis say that each has mean mu. Then

    e_high = product over c of (1 + b (Y_c - mu)),             0 <= b <= 1 / mu, Y_c >= 0
    e_low  = product over c of (1 + b (m - min(Y_c, top))),    0 <= b <= 1 / (top - m), m <= E[min(Y_c, top)]

are products of non-negative factors of mean at most 1: each has mean at most 1 under the hypothesis, whatever the law
of Y. So has any average of them, over b, over denoisers, over rows. By Markov's inequality the average reaches
1 / alpha with probability at most alpha. (Betting on means: Waudby-Smith and Ramdas, arXiv 2010.09686; MATHS.md,
equation 21.)

"Too high" is tested without any assumption. "Too low" needs a bound on what the mean loses above ``top``, because no
finite sample can tell a low mean from a rare huge value. The caller sets ``top`` from calls that are not bet on, and
grants twice of what independent times would lose there, plus 0.2 %.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Bets as fractions of the largest that is allowed. Small ones win against small and noisy deviations.
_FRACTIONS = 0.999 * 2.0 ** -np.arange(9)


def evidence_too_high(values: Floats, exact: Floats) -> Floats:
    """e-values against "the mean is at most ``exact``".

    Args:
        values: (calls, n) independent along the first axis, with any dependence along the second.
        exact: (n,) stated means, above 0.

    Returns:
        (bets, n) natural logarithms of e-values, one for each size of bet.
    """
    # Estimates below zero (control variates) are honoured: the bet is made small enough to survive them.
    floor = np.minimum(values.min(axis=0), 0.0)
    return _log_wealth(values - exact, 1.0 / (exact - floor))


def evidence_too_low(values: Floats, exact: Floats, top: Floats, lost: Floats) -> Floats:
    """e-values against "the mean is at least ``exact``".

    Args:
        values: (calls, n) independent along the first axis.
        exact: (n,) stated means, above 0.
        top: (n,) where values are cut off.
        lost: (n,) bound on E[max(Y - top, 0)].

    Returns:
        (bets, n) natural logarithms of e-values, one for each size of bet.
    """
    mean_below_top = np.maximum(exact - lost, 0.0)
    return _log_wealth(mean_below_top - np.minimum(values, top), 1.0 / (top - mean_below_top))


def combine(log_evidence: list[Floats]) -> float:
    """Logarithm of one e-value: the average over groups of the average within each."""
    return _log_mean_exp(np.array([_log_mean_exp(group) for group in log_evidence]))


def _log_mean_exp(values: Floats) -> float:
    """log(mean(exp(values))) without overflow."""
    top = float(np.max(values))
    if math.isinf(top):  # all are zero, or one is infinite
        return top
    return top + math.log(float(np.mean(np.exp(values - top))))


def _log_wealth(gains: Floats, largest_bet: Floats) -> Floats:
    """Product over calls of 1 + bet * gain for each size of bet, as logarithms, (bets, n)."""
    return np.stack([np.log1p(fraction * largest_bet * gains).sum(axis=0) for fraction in _FRACTIONS])
