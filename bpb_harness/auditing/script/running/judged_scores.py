"""What the numbers of a scoring function say: a bound, a known mistake, or nothing.

A function is called wrong only where two things hold: every bound that it may compute is excluded, and a known mistake
explains its numbers on every probe. A number that nothing explains says nothing: the function may not have been
understood.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.running.known_means import LENGTH, Mean
from bpb_harness.auditing.script.running.limited import told
from bpb_harness.auditing.script.running.measured import (
    Fit,
    Measured,
    all_bounds,
    all_mistakes,
    are_excluded,
    fits,
    is_coarse,
    read_measured,
)
from bpb_harness.auditing.script.running.scored_texts import Texts, next_token_nats
from bpb_harness.auditing.script.running.scoring_function import ScoringFunction
from bpb_harness.auditing.script.running.weighing import Behaviour, Passed
from bpb_harness.byte_count import ByteCounter, Tokenizer
from bpb_harness.byte_report.byte_bugs import BYTE_BUGS, count_bugs
from bpb_harness.findings import Finding, Json, Rule, Severity
from bpb_harness.rules import NO_PACK, RulePack
from bpb_harness.units import NATS_PER_BIT

# Relative: sums of float32. Means over other tokens of the text, whose prices spread widely, are not so near.
_EXACT = 2e-5
_SAME_RATIO = 5e-6  # relative, of a loss to a score: a bug's number of bytes is met by more than accident
_APART = 0.02  # what bytes by a bug and right ones must differ by on the text, to be told apart
_LARGEST_VOCABULARY = 1 << 18
_MIN_BYTES, _MAX_BYTES = 0.5, 20.0  # a token, that a number may be a score by
_OTHER_BYTES = 0.04  # relative: what two numbers of bytes must be apart where the bits are a mean over draws
_UNPAID = 0.85  # of a window's price, where one of its four tokens costs nothing
_HOW = "alone, on networks and texts of known score"
_BUGS = (
    "space_counted_twice", "space_twice_pieces_by_spelling", "question_mark_for_space", "space_never_counted",
    "byte_pieces_by_spelling", "decoded_one_by_one", *(name for name in BYTE_BUGS if name.startswith("constant_")),
)  # fmt: skip
# What a text of words, byte pieces and spaces shows where it is there.
_BYTE_CODES = frozenset(["BPB150", "BPB151", "BPB152", "BPB153", "BPB154", "BPB155"])


def judge_scores(
    functions: Sequence[ScoringFunction],
    replies: Sequence[Mapping[str, object]],
    texts: Texts,
    tokenizer: Tokenizer,
    on_path: set[str],
    pack: RulePack = NO_PACK,
) -> Behaviour:
    """What the replies of the limited process say of their functions.

    Args:
        functions: what was run.
        replies: one for each.
        texts: what they were run on.
        tokenizer: whose tokens the texts are.
        on_path: names of the functions that the reported score comes from; others refute nothing.
        pack: what byte bugs do to the contest's text.
    """
    return _together(
        [_judged(_Here(function, _is_on_path(function, on_path), texts, tokenizer, pack), reply)
         for function, reply in zip(functions, replies, strict=True)]
    )  # fmt: skip


@dataclass(frozen=True)
class _Judged:
    function: ScoringFunction
    findings: tuple[Finding, ...]
    lines: Mapping[str, frozenset[int]]
    contradicted: frozenset[str]
    is_right: bool
    is_on_path: bool


def _is_on_path(function: ScoringFunction, on_path: set[str]) -> bool:
    return function.is_reported or function.name.rsplit(".", maxsplit=1)[-1] in on_path


def _judged(here: _Here, reply: Mapping[str, object]) -> _Judged:
    """What one reply says of its function; nothing where it is not understood."""
    try:
        return _understood(here, reply)
    except Exception:  # foreign code shares the process that answers: whatever it made of the answer, nothing follows
        return here.not_run("its answer is none of the limited process's")


def _understood(here: _Here, reply: Mapping[str, object]) -> _Judged:
    if "not_run" in reply:
        return here.not_run(told(reply["not_run"]))
    if "before" in reply:
        return _of_next_tokens(here, reply)
    measured = read_measured(reply, here.tokenizer.vocab_size, here.texts.bytes_per_window)
    return here.not_run(measured) if isinstance(measured, str) else _of_masks(here, measured, reply)


@dataclass(frozen=True)
class _Here:
    """A function and what it was run on."""

    function: ScoringFunction
    is_on_path: bool
    texts: Texts
    tokenizer: Tokenizer
    pack: RulePack

    @property
    def evidence(self) -> dict[str, Json]:
        return {"file": self.function.script, "line": self.function.line, "function": self.function.name}

    def not_run(self, reason: str) -> _Judged:
        message = f"{self.function.name} was not run, or not understood, and nothing follows from it: {reason}"
        found = codes.SCORE_NOT_RUN.finding(message, facts={**self.evidence, "reason": reason})
        return _Judged(self.function, (found,), {}, frozenset(), False, self.is_on_path)

    def right(self, found: Sequence[Finding], reply: Mapping[str, object], contradicted: set[str]) -> _Judged:
        return _Judged(
            self.function, tuple(found), _lines(reply), frozenset(contradicted), True, self.is_on_path
        )  # fmt: skip

    def wrong(self, rule: Rule, message: str, factor: float | None = None, **facts: Json) -> Finding:
        severity = rule.severity if self.is_on_path else Severity.INFORMS
        if not self.is_on_path:
            message += "; no reported score is known to come from it"
        return rule.finding(
            message, factor=factor if self.is_on_path else None, severity=severity, facts={**self.evidence, **facts}
        )  # fmt: skip


def _lines(reply: Mapping[str, object]) -> dict[str, frozenset[int]]:
    held = reply.get("lines")
    if not isinstance(held, dict):
        return {}
    return {
        str(file): frozenset(line for line in found if isinstance(line, int))
        for file, found in held.items()
        if isinstance(found, list)
    }


# --- functions that hide tokens ------------------------------------------------------------------------------------


def _of_masks(here: _Here, measured: Measured, reply: Mapping[str, object]) -> _Judged:
    """A function that hides tokens from its network, held against bounds and mistakes."""
    if measured.has_frozen_noise:
        return here.not_run("its masks are the same in every call, so that no mean over draws can be taken")
    name, right, wrong = here.function.name, all_bounds(measured), all_mistakes(measured)
    fitting = sorted(fits(measured, right), key=lambda fit: fit.misfit)
    if not fitting:
        return _by_other_bytes(here, measured, right) or _of_mistakes(here, measured, right, wrong, reply)
    best = fitting[0]
    if is_coarse(measured, best.number):
        return here.not_run("what it returns varies too much from call to call")
    contradicted = {code for code in {code for mean in wrong for code in mean.codes}
                    if are_excluded(measured, [mean for mean in wrong if code in mean.codes])}  # fmt: skip
    unpaid = _unpaid_boundary(here, measured, best)
    within = _resolution(measured, best.number)
    facts: dict[str, Json] = {"computes": best.mean.name, "unit": best.unit, "within": round(within, 4)}
    message = (
        f"{name}, run {_HOW}, returns {best.mean.name} in {best.unit}, to {within:.1%}; its network, what its caller "
        "makes of the number, and the text were not looked at"
    )
    found = [unpaid] if unpaid else [codes.SCORE_RUN_RIGHT.finding(message, facts={**here.evidence, **facts})]
    by_bytes = _of_bytes(here, measured, best)
    found += [by_bytes] if by_bytes else []
    if by_bytes is not None and by_bytes.code == codes.BYTES_RUN_RIGHT.code:
        contradicted |= _BYTE_CODES
    if unpaid is not None or any(one.severity is Severity.REFUTES for one in found):
        return _Judged(here.function, tuple(found), {}, frozenset(), False, here.is_on_path)
    return here.right(found, reply, contradicted)


def _of_mistakes(
    here: _Here, measured: Measured, right: Sequence[Mean], wrong: Sequence[Mean], reply: Mapping[str, object]
) -> _Judged:
    """No bound fits: a mistake is named where one fits and every bound is excluded; else nothing is said."""
    fitting = sorted(fits(measured, wrong), key=lambda fit: fit.misfit)
    profile = _profile(measured, fitting[0].number if fitting else None)
    if not fitting and reply.get("forced") is True:
        return here.not_run(_FORCED)
    if not fitting or not are_excluded(measured, right):
        return here.not_run(f"what it returns is no bound and no mistake that is known ({profile})")
    best = fitting[0]
    if best.mean.is_mild:
        return here.not_run(
            f"what it returns looks like {best.mean.name}, which matters on windows of {LENGTH} tokens "
            "and hardly on long ones"
        )  # fmt: skip
    message = f"{here.function.name}, run {_HOW}, returns {best.mean.name}, in {best.unit}: no bound ({profile})"
    found = here.wrong(
        codes.SCORE_RUN_WRONG, message, computes=best.mean.name, unit=best.unit, same_as=list(best.mean.codes)
    )
    found_bytes = _of_bytes(here, measured, best)
    several = (found, found_bytes) if found_bytes else (found,)
    return _Judged(here.function, several, {}, frozenset(), False, here.is_on_path)


_FORCED = (
    "where few tokens are to be hidden it hides one of each window all the same, which is most of a window of "
    f"{LENGTH} tokens and little of a long one; without that line, the function can be run and understood"
)


def _by_other_bytes(here: _Here, measured: Measured, right: Sequence[Mean]) -> _Judged | None:
    """A bound divided by a number of bytes that a known bug counts; None where that explains nothing."""
    counted = _count(here, np.array(here.texts.window * 64, dtype=np.int64))
    by_bug = {bug: 1.0 / (NATS_PER_BIT * LENGTH * count) for bug, count in counted.by_bug.items()
              if abs(count / counted.right - 1.0) > _OTHER_BYTES}  # fmt: skip
    fitting = sorted(fits(measured, right, by_bug), key=lambda fit: fit.misfit)
    in_nats = {"nats a byte": 1.0 / (LENGTH * counted.right)}
    if any(True for _ in fits(measured, right, in_nats)):
        return None  # as near to a constant as to another unit
    if not fitting or is_coarse(measured, fitting[0].number) or _of_scale(measured, fitting[0].number) > _OTHER_BYTES:
        return None
    bugs = [*dict.fromkeys(fit.unit for fit in fitting)]
    found = [counted.by_bug[bug] for bug in bugs]
    if max(found) / min(found) > 1.0 + _OTHER_BYTES:
        return None  # bounds of two kinds, by two numbers of bytes
    wrong = _other_bytes(here, bugs, found[0], counted)
    return _Judged(here.function, (wrong,), {}, frozenset(), False, here.is_on_path)


def _profile(measured: Measured, number: int | None) -> str:
    """What a number is where masks of k tokens alone cost anything; of all numbers, the one that depends on it most."""
    table = np.array([value / max(float(np.abs(value).max()), 1e-12) for value in np.array(measured.means[:LENGTH]).T])
    chosen = int(np.ptp(table, axis=1).argmax()) if number is None else number
    seen = [float(value[chosen]) for value in measured.means[:LENGTH]]
    total = sum(seen)
    if total <= 0.0:
        return "it returns nothing for masks of any size"
    shares = ", ".join(f"{share / total:.0%}" for share in seen)
    return f"masks of 1, 2, 3, 4 of {LENGTH} tokens make {shares} of it; of a bound, a quarter each"


def _resolution(measured: Measured, number: int) -> float:
    return max(
        2.0 * float(error[number]) / max(abs(float(mean[number])), 1e-12)
        for mean, error in zip(measured.means, measured.errors, strict=True)
    )


def _of_scale(measured: Measured, number: int) -> float:
    """How sharply all probes together tell a factor that they share: two standard errors, relative."""
    weights = [
        (float(mean[number]) / max(float(error[number]), 1e-12)) ** 2
        for mean, error in zip(measured.means, measured.errors, strict=True)
    ]
    return 2.0 / math.sqrt(sum(weights)) if sum(weights) > 0.0 else math.inf


def _unpaid_boundary(here: _Here, measured: Measured, best: Fit) -> Finding | None:
    """Whether a boundary at the start of a window is never hidden, and the window costs the less for it."""
    if measured.unmasked != (0,) or measured.boundary is None:
        return None
    price = measured.boundary[best.number] / max(float(measured.means[-1][best.number]), 1e-12)
    if price > _UNPAID:
        return None
    message = (
        f"{here.function.name}, run {_HOW}, never hides a boundary and asks no price for it: a window that begins with "
        f"one costs {price:.0%} of one that does not"
    )
    return here.wrong(codes.SCORE_RUN_WRONG, message, computes="a bound without the boundaries", same_as=["BPB255"])


# --- functions that predict the next token ---------------------------------------------------------------------------


def _of_next_tokens(here: _Here, reply: Mapping[str, object]) -> _Judged:
    """A function that hides nothing: its numbers against the cross-entropy and the bytes of the text."""
    before = reply["before"]
    returned = before.get("returned") if isinstance(before, dict) else None
    vocab_size = reply.get("vocabulary")
    if (
        not isinstance(returned, list)
        or not isinstance(vocab_size, int)
        or not max(here.texts.long) < vocab_size < _LARGEST_VOCABULARY
    ):
        return here.not_run("its answer is none of the limited process's")
    numbers = [float(number) for number in returned if isinstance(number, int | float)]
    nats = next_token_nats(here.texts.long, vocab_size)
    name, targets = here.function.name, here.texts.long[1:]
    loss = next((number for number in numbers if abs(number / nats - 1.0) < _EXACT), None)
    others = [number for number in numbers if number is not loss and number > 0.0]
    counted = _count(here, np.array(targets, dtype=np.int64))
    # Of a loss and a score of one call the ratio is exact, whatever the precision of both.
    implied = [(nats if loss is None else loss) / NATS_PER_BIT / number for number in others]
    right = next((value for value in implied if abs(value / counted.right - 1.0) < _EXACT), None)
    if loss is None and right is None:
        return here.not_run("what it returns is none of the numbers that follow from the text")
    message = (
        f"{name}, run {_HOW}, returns the exact cross-entropy of the text; its network, and what it does on long texts "
        "alone, were not looked at"
    )
    found = [codes.SCORE_RUN_RIGHT.finding(message, facts={**here.evidence, "computes": "the cross-entropy"})]
    if right is None:
        by_bytes = _of_implied(here, implied, counted)
        if by_bytes is not None:
            found.append(by_bytes)
            return _Judged(here.function, tuple(found), {}, frozenset(), False, here.is_on_path)
        odd = next((value for value in implied if _MIN_BYTES < value < _MAX_BYTES), None)
        if odd is not None:
            said = f"{found[0].message}. Its second number would be a score at {odd:.4f} bytes per token"
            said += f", where the text has {counted.right:.4f}: no known bug counts so, and nothing follows"
            found = [replace(found[0], message=said)]
        return here.right(found, reply, set())
    found.append(_bytes_right(here, counted))
    return here.right(found, reply, {*_BYTE_CODES, "BPB156"})


# --- bytes -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Counted:
    """Bytes per token of a text: right, and by each known bug."""

    right: float
    by_bug: Mapping[str, float]


def _count(here: _Here, tokens: NDArray[np.int64]) -> _Counted:
    source = _Tokens(tokens)
    right = ByteCounter(here.tokenizer).total(source, "official") / len(tokens)
    by_bug = {bug: count / len(tokens) for bug, count in count_bugs(here.tokenizer, source, _BUGS).items()}
    return _Counted(right, by_bug)


def _of_bytes(here: _Here, measured: Measured, best: Fit) -> Finding | None:
    """The bytes behind two numbers of one call, a loss a token and a score a byte; None where there are no two."""
    if best.unit not in ("nats a token", "bits a token"):
        return None
    counted = _count(here, np.array(here.texts.window * 64, dtype=np.int64))
    loss = measured.means[-1][best.number] / (NATS_PER_BIT if best.unit == "nats a token" else 1.0)
    others = [float(n) for place, n in enumerate(measured.means[-1]) if place != best.number and n > 0.0]
    implied = [float(loss) / number for number in others]
    if any(abs(value / counted.right - 1.0) < _EXACT for value in implied):
        return _bytes_right(here, counted)
    return _of_implied(here, implied, counted)


def _bytes_right(here: _Here, counted: _Counted) -> Finding:
    message = (
        f"{here.function.name}, run {_HOW} with the script's own byte table, divides by the {counted.right:.4f} "
        "bytes per token that its text has"
    )
    return codes.BYTES_RUN_RIGHT.finding(message, facts={**here.evidence, "bytes_per_token": counted.right})


def _of_implied(here: _Here, implied: Sequence[float], counted: _Counted) -> Finding | None:
    for value in implied:
        near = {bug: abs(count / value - 1.0) for bug, count in counted.by_bug.items()
                if abs(count / counted.right - 1.0) > _APART}  # fmt: skip
        bug = min(near, key=near.__getitem__, default=None)
        if bug is None or near[bug] > _SAME_RATIO:
            continue
        return _other_bytes(here, [bug], value, counted)
    return None


def _other_bytes(here: _Here, bugs: Sequence[str], value: float, counted: _Counted) -> Finding:
    """Bytes by a bug; by one of several, where the numbers do not tell them apart, and then no factor is known."""
    known = next((one for one in here.pack.byte_factors if one.name == bugs[0] and one.is_point), None)
    patterns = " or ".join(BYTE_BUGS[bug].pattern for bug in bugs)
    message = (
        f"{here.function.name}, run {_HOW} with the script's own byte table, divides by {value:.4f} bytes per token "
        f"where its text has {counted.right:.4f}: {patterns}"
    )
    return here.wrong(
        codes.BYTES_RUN_WRONG, message, known.lowest if known and len(bugs) == 1 else None,
        bug=bugs[0], text_bytes_per_token=value, text_expected=counted.right,
    )  # fmt: skip


class _Tokens:
    """Tokens in memory, for the byte counts."""

    def __init__(self, tokens: NDArray[np.int64]) -> None:
        self._tokens = tokens

    @property
    def num_tokens(self) -> int:
        return len(self._tokens)

    @property
    def known_document_starts(self) -> NDArray[np.int64] | None:
        return None

    def read(self, start: int, stop: int) -> NDArray[np.int64]:
        return self._tokens[start:stop]


# --- all functions of a submission ---------------------------------------------------------------------------------


def _together(judged: Sequence[_Judged]) -> Behaviour:
    """A function that is right takes the refutation from another that is wrong: which is claimed is not known."""
    right = [one for one in judged if one.is_right and one.is_on_path]
    findings: list[Finding] = []
    for one in judged:
        for finding in one.findings:
            other = next((another for another in right if another is not one), None)
            if finding.severity is Severity.REFUTES and other is not None:
                message = (
                    f"{finding.message}. Another scoring function is right ({other.function.name}), and the script "
                    "does not say which is claimed"
                )
                findings.append(replace(finding, severity=Severity.WARNS, message=message, factor=None))
            else:
                findings.append(finding)
    return Behaviour(
        tuple(findings), tuple(Passed(one.function.name, one.lines, one.contradicted) for one in judged if one.is_right)
    )  # fmt: skip
