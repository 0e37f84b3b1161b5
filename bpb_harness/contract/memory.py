"""Earlier calls change nothing: the same question over and over, and after others."""

from __future__ import annotations

import itertools

from bpb_harness.contract.difference import Answer, Difference
from bpb_harness.contract.probe import Probe
from bpb_harness.contract.subject import Subject
from bpb_harness.errors import DriftError, NondeterministicError, StatefulError
from bpb_harness.result import Remark

_REPEATS = 8


def check_repeats(subject: Subject, probe: Probe, first: Answer) -> list[Remark]:
    """The same question again: alike to the last bit, or at least not farther away with every call.

    Args:
        subject: the network.
        probe: the question.
        first: its answer, the first that the network ever gave.

    Raises:
        DriftError: if every answer is farther from the first.
        StatefulError: if the first alone is another.
        NondeterministicError: if they scatter.
    """
    answers = [first, subject.ask(probe)]
    if Difference.between(*answers).identical:
        return []
    answers += [subject.ask(probe) for _ in range(_REPEATS - 2)]
    differences = [Difference.between(first, answer) for answer in answers[1:]]
    distances = [difference.largest for difference in differences]
    # By chance a sequence of seven rises throughout once in 5,040 times, and only where calls differ at all.
    if all(later > earlier for earlier, later in itertools.pairwise(distances)):
        raise DriftError(
            f"the same input gives an answer that moves with every one of {_REPEATS} calls",
            seen=f"log-probabilities off by {distances[0]:.3g}, then {distances[1]:.3g}, ... {distances[-1]:.3g}",
            expected="the same answer",
        )
    worst = max(differences, key=lambda difference: difference.largest)
    biased = next((difference for difference in differences if difference.exceeds(subject.tolerance)), None)
    if biased is not None:
        settled = all(Difference.between(answers[1], answer).identical for answer in answers[2:])
        failure, what = (
            (StatefulError, "the second answer to the same input differs from the first, later ones do not")
            if settled
            else (NondeterministicError, f"the same input gives different answers in {_REPEATS} calls")
        )
        raise failure(what, seen=biased, expected="the same answer", hint="is the network in evaluation mode?")
    message = f"answers to the same input differ in the last digits: {worst}"
    return [Remark("contract.not-bit-identical", message, {"largest": worst.largest})]


def check_memory(subject: Subject, probe: Probe, between: list[Probe], first: Answer) -> None:
    """The same question after others.

    Args:
        subject: the network.
        probe: the question.
        between: what is asked first: other text in the same rows, and last what the question hides.
        first: its answer from before.

    Raises:
        StatefulError: if the answer moved.
    """
    for other in between:
        subject.ask(other)
    subject.require_same(
        first,
        subject.ask(probe),
        StatefulError,
        "calls with other inputs in between change the answer to the same input",
        "an answer that depends on its input alone",
    )
