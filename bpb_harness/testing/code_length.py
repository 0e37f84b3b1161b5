"""``check_code_length``: is a number of bits the length of any code at all?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from bpb_harness.errors import UsageError
from bpb_harness.units import NATS_PER_BIT

ScoreBits = Callable[[npt.NDArray[np.int64]], float]

_MAX_SEQUENCES = 1_000_000


@final
@dataclass(frozen=True)
class CodeLengthReport:
    """The outcome of :func:`check_code_length`.

    Attributes:
        ok: whether the bits can be the lengths of a code: Kraft's inequality holds.
        kraft_sum: sum over all texts of 2^-bits; at most 1 for a code, exactly 1 for one that wastes nothing.
        num_sequences: how many texts there are.
        message: the finding, for a person.
    """

    ok: bool
    kraft_sum: float
    num_sequences: int
    message: str


def check_code_length(
    score_bits: ScoreBits, *, vocab_size: int, length: int, tolerance: float = 1e-5
) -> CodeLengthReport:
    """Test Kraft's inequality: sum over every text x of 2^-bits(x) <= 1.

    No decoder can exist for a score that breaks it, however plausible each single number looks. The converse does not
    hold: a score may pass on one model and still be no code. Give it a model with strong dependence between tokens,
    where schemes that let tokens vouch for each other gain most.

    Args:
        score_bits: ``score_bits(x)`` for x an (L,) int64 array: the bits that are claimed for x. Must be deterministic;
            for an estimate by sampling pass its exact mean, or fix the seed if that is what is published.
        vocab_size: V; texts are all sequences of 0 .. V - 1.
        length: L; V^L may be at most 1,000,000.
        tolerance: how far above 1 rounding may carry the sum.

    Returns:
        A report; see :func:`assert_code_length` for the form that raises.

    Raises:
        UsageError: if there are too many texts, or a score is not a number.
    """
    if vocab_size < 1 or length < 1 or vocab_size**length > _MAX_SEQUENCES:
        raise UsageError(
            "texts to enumerate", seen=f"{vocab_size}^{length}", expected=f"1 .. {_MAX_SEQUENCES:,}",
            hint="use a smaller vocab_size or length",
        )  # fmt: skip
    texts = [np.array(x, dtype=np.int64) for x in itertools.product(range(vocab_size), repeat=length)]
    bits = np.array([_score(score_bits, x) for x in texts])
    again = [_score(score_bits, texts[index]) for index in sorted({0, len(texts) // 2, len(texts) - 1})]
    before = [float(bits[index]) for index in sorted({0, len(texts) // 2, len(texts) - 1})]
    kraft_sum = _sum_of_powers(bits)
    if again != before:
        changed = (
            "score_bits is not deterministic: the same text got two different scores; fix the seed, or score the mean"
        )
        return CodeLengthReport(False, kraft_sum, len(texts), f"NO CODE LENGTH: {changed}.")
    ok = kraft_sum <= 1.0 + tolerance
    shortest = texts[int(np.argmin(bits))].tolist()
    if ok:
        message = (
            f"A code can have these lengths: sum of 2^-bits over all {len(texts):,} texts is {kraft_sum:.6g} <= 1"
            f" ({_wasted(kraft_sum)})."
        )
    else:
        message = (
            f"NO CODE LENGTH: sum of 2^-bits over all {len(texts):,} texts is {kraft_sum:.6g} > 1. No decoder can tell"
            f" the texts apart: at least {math.log2(kraft_sum):.4g} bits too few are charged on average."
            f" The cheapest text, {shortest}, is said to take {bits.min():.4g} bits."
        )
    return CodeLengthReport(ok, kraft_sum, len(texts), message)


def assert_code_length(
    score_bits: ScoreBits, *, vocab_size: int, length: int, tolerance: float = 1e-5
) -> CodeLengthReport:
    """:func:`check_code_length` for a test: raise where no code has these lengths.

    Raises:
        AssertionError: with the report's message.
    """
    __tracebackhide__ = True
    report = check_code_length(score_bits, vocab_size=vocab_size, length=length, tolerance=tolerance)
    if not report.ok:
        raise AssertionError(report.message)
    return report


def _score(score_bits: ScoreBits, x: npt.NDArray[np.int64]) -> float:
    bits = float(score_bits(x.copy()))
    if math.isnan(bits):
        raise UsageError("score_bits", seen=f"NaN for {x.tolist()}", expected="a number of bits")
    return bits


def _sum_of_powers(bits: npt.NDArray[np.float64]) -> float:
    """Sum of 2^-bits; infinite where a score is so far below zero that the sum overflows."""
    exponents = -bits * NATS_PER_BIT
    top = float(exponents.max())
    if top == -math.inf:
        return 0.0
    if top > 700.0:
        return math.inf
    return math.exp(top) * math.fsum(np.exp(exponents - top))


def _wasted(kraft_sum: float) -> str:
    if kraft_sum <= 0.0:
        return "no text has a finite length"
    wasted = max(-math.log2(kraft_sum), 0.0)
    return "nothing is wasted" if wasted < 1e-4 else f"{wasted:.3g} bits a text could be saved"
