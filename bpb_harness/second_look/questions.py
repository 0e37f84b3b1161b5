"""What is asked a second time, and when two answers are the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from bpb_harness.errors import SecondLookError
from bpb_harness.units import nats_to_bits

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@final
@dataclass(frozen=True)
class Question:
    """One input of a network, the positions that were paid for, and what they cost together.

    Attributes:
        what: names it in a message, for example "window 12 at mask rate 0.31".
        tokens: what the network sees, (L,) int64: masked tokens hold the mask id.
        level: t, alpha_t and dalpha_t; None for a causal model.
        positions: where the network is asked, (n,) int64, ascending; of a causal model, those that predict.
        targets: the token to be predicted at each of them, (n,) int64.
        paid: which of them the expected nats are of, (n,) bool.
        nats: what the paid ones cost together when the text was scored.
        order: the paid ones were chosen as those with the highest score of this order of the chain rule; None: not so.
        context_length: how many tokens of it are context, for networks that are told so.
    """

    what: str
    tokens: Ints
    level: tuple[float, float, float] | None
    positions: Ints
    targets: Ints
    paid: npt.NDArray[np.bool_]
    nats: float
    order: str | None = None
    context_length: int = 0


@final
@dataclass(frozen=True)
class Answer:
    """What a network says to a question.

    Attributes:
        nats: -log p of the target at each position, (n,) float64.
        score: of each position in the order that the question names, (n,) float64; empty where it names none.
    """

    nats: Floats
    score: Floats


@final
@dataclass(frozen=True)
class _Tolerance:
    """How far two honest answers lie apart: by rounding, which adds in another order for another number of rows.

    Attributes:
        mean_nats: a token of one question, on average.
        token_nats: a token, its own way (standard deviation).
        drift_nats: a token of all questions, on average.
    """

    mean_nats: float
    token_nats: float
    drift_nats: float


# Measured on an H200 with networks of 4 layers: in float32 a question's tokens move by at most 5e-6 nats each; in
# bfloat16, where the compiled network rounds elsewhere than the plain one, by 0.015 (standard deviation), and by 2e-4
# on average over 32 questions. Deep networks lose a digit.
_TOLERANCES = {"float32": _Tolerance(1e-4, 1e-4, 1e-5), "bfloat16": _Tolerance(2e-3, 0.08, 1e-3)}
_MAX_OWN_ERRORS = 6.0
_HINT = "the network depends on something besides its input: look for state, files and the text in its code"


def require_same_answers(questions: Sequence[Question], answers: Sequence[Answer], *, dtype: str, where: str) -> None:
    """Compare what was summed with what came out the second time.

    Args:
        questions: with what was summed.
        answers: to each of them.
        dtype: "float32" or "bfloat16", the network's arithmetic.
        where: names the second place in a message: "a fresh process ...".

    Raises:
        SecondLookError: if a question, or all of them together, moved by more than rounding does.
    """
    tolerance = _TOLERANCES[dtype]
    counts = np.array([int(question.paid.sum()) for question in questions], dtype=np.float64)
    again = [math.fsum(answer.nats[question.paid]) for question, answer in zip(questions, answers, strict=True)]
    moved = np.array([nats - question.nats for nats, question in zip(again, questions, strict=True)])
    own = _MAX_OWN_ERRORS * tolerance.token_nats
    # Not "exceeds": a difference that is no number is no agreement either.
    agrees = np.abs(moved) <= tolerance.mean_nats * counts + own * np.sqrt(counts)
    if not agrees.all():
        size = np.where(agrees, -1.0, np.nan_to_num(np.abs(moved), nan=np.inf))
        worst = int(size.argmax())
        raise SecondLookError(
            f"{where} does not give what was summed",
            seen=f"{nats_to_bits(again[worst]):.6g} bits for {questions[worst].what}, {int((~agrees).sum())} of "
            f"{len(questions)} such",
            expected=f"{nats_to_bits(questions[worst].nats):.6g}",
            hint=_HINT,
        )
    together, total = math.fsum(moved), float(counts.sum())
    scatter = math.sqrt(math.fsum(moved**2))
    if not abs(together) <= tolerance.drift_nats * total + _MAX_OWN_ERRORS * scatter:
        raise SecondLookError(
            f"{where} does not give what was summed",
            seen=f"{nats_to_bits(together / total):+.3g} bits a token over {len(questions)} questions",
            expected="the same, to rounding",
            hint=_HINT,
        )
    for question, answer in zip(questions, answers, strict=True):
        _require_first(question, answer, own, where)


def _require_first(question: Question, answer: Answer, tolerance_nats: float, where: str) -> None:
    """Refuse an order by the network's predictions that it does not state again."""
    if question.order is None or question.paid.all():
        return
    chosen, passed_over = answer.score[question.paid].min(), answer.score[~question.paid].max()
    if question.order == "entropy":
        # Log-probabilities that move by some d change an entropy H by the covariance of d and ln p under p: by d's
        # deviation times that of ln p, which is below 1.9 (1 + H) for any vocabulary. The limit holds six of d's.
        tolerance_nats *= 1.0 - chosen
    if not passed_over <= chosen + tolerance_nats:
        raise SecondLookError(
            f"{where} is surest elsewhere at {question.what}",
            seen=f"a score by {question.order} of {passed_over:.6g} at a position that was passed over",
            expected=f"at most {chosen:.6g}, that of the position chosen",
            hint=_HINT,
        )
