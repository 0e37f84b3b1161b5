"""A score that is divided by tokens times a constant, in whatever arrangement."""

from __future__ import annotations

from collections.abc import Iterator

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.algebra import Term, is_cross_entropy
from bpb_harness.auditing.script.domains.analysis import INFERRED, Analysis, Hit, beside_the_claim, doubted
from bpb_harness.auditing.script.domains.byte_counts import Counter
from bpb_harness.auditing.script.domains.cancel import Factor
from bpb_harness.auditing.script.domains.divisors import is_plain, may_be_bytes, names_bytes
from bpb_harness.auditing.script.domains.pieces import SUFFIX, find_byte_loops
from bpb_harness.auditing.script.domains.values import Evaluator
from bpb_harness.findings import Json, Severity

_BEYOND_VOCABULARY = 1.15  # of the ratio of a known tokenizer: no other of as many pieces spells so many bytes a token
_NEAR = 0.005  # a constant within half a percent of the truth changes no verdict


def check_byte_constants(analysis: Analysis) -> Iterator[Hit]:
    """Constants between 1.5 and 8 bytes per token that are factors of the reported score.

    Beside bytes that are counted a constant stands for something else: `check_scaled_bits` names those.
    """
    counter = Counter(analysis.program, find_byte_loops(analysis.program))
    for number, terms in enumerate(analysis.terms):
        seen: set[int] = set()
        for term in terms:
            if counter.loops and counter.count([term], SUFFIX) is not None:
                continue
            for factor, constant in _constants(analysis, term):
                if id(factor.node) not in seen:
                    seen.add(id(factor.node))
                    hit = _hit(analysis, number, factor, constant)
                    hit = _beside_bytes(hit) if _has_bytes(analysis, term, factor) else hit
                    yield beside_the_claim(hit) if analysis.is_beside_the_claim(number) else hit


def _has_bytes(analysis: Analysis, term: Term, constant: Factor) -> bool:
    """Whether something else that a term is divided by, or multiplied by beside the prices, may be of bytes."""
    program, above = analysis.program, [factor for factor in term.factors if factor.power > 0]
    others = (each for each in term.below if all(factor.node is not constant.node for factor in each.factors))
    is_multiplied = any(names_bytes(factor.node) for factor in above if not is_cross_entropy(factor.node))
    return (
        is_multiplied
        or len([factor for factor in above if not is_plain(program, factor)]) > 1
        or any(may_be_bytes(program, each) for each in others)
    )


def _beside_bytes(hit: Hit) -> Hit:
    return doubted(
        hit,
        "Something else beside the losses may stand for the bytes of the text, and the constant may be no part of "
        "them.",
    )


def _constants(analysis: Analysis, term: Term) -> Iterator[tuple[Factor, float]]:
    """Bytes per token that a term divides by: 4.3 below the line, 1 / 4.3 above it."""
    if len([f for f in term.factors if f.power < 0]) == 0:
        return
    for factor in term.factors:
        evaluator = Evaluator(analysis.program)
        value = evaluator.number(factor.node, factor.frame)
        if value is None or value <= 0 or evaluator.leaves:
            continue
        if factor.power < 0 and 1.5 < value < 8 and not _is_round(value):
            yield factor, value
        elif factor.power > 0 and 0.125 < value < 0.667 and not _is_round(8 * value):
            yield factor, 1.0 / value


def _is_round(value: float) -> bool:
    return abs(value - round(value)) < 1e-9


def _hit(analysis: Analysis, number: int, factor: Factor, constant: float) -> Hit:
    rule = codes.CONSTANT_BYTES
    known = analysis.denominator
    said = f"The score is divided by tokens times a constant, {constant:.6g} bytes per token"
    if known is None:
        return Hit(
            rule,
            f"{said}. No one tokenizer that the rules know is named, so how far off that is cannot be said.",
            factor.node, number, severity=Severity.WARNS, evidence={"constant": constant},
        )  # fmt: skip
    ratio, source = known
    evidence: dict[str, Json] = {"constant": constant, "expected": ratio, "tokenizer": source}
    if abs(constant / ratio - 1.0) <= _NEAR:
        message = (
            f"{said}. It is within {100 * _NEAR:g} % of the {ratio:.6g} that the text has ({source}), so the score "
            "hardly changes."
        )
        return Hit(rule, message, factor.node, number, constant / ratio, Severity.WARNS, evidence)
    if source.endswith(INFERRED):  # another tokenizer of that size has another ratio, though none a much larger one
        is_beyond = constant / ratio > _BEYOND_VOCABULARY
        message = f"{said}. The text may have {ratio:.6g} ({source}): no tokenizer that the rules know is named."
        return Hit(rule, message, factor.node, number, None, None if is_beyond else Severity.WARNS, evidence)
    off = abs(ratio / constant - 1.0)  # the score is bits / constant, and should be bits / ratio
    direction = f"{100 * off:.1f} % too {'low (too good)' if constant > ratio else 'high (worse than it is)'}"
    message = f"{said}, where the whole text has {ratio:.6g} ({source}): by that alone the score is {direction}."
    return Hit(rule, message, factor.node, number, constant / ratio, None, evidence)
