"""BPB2xx: is the numerator the length of a code, or a bound on one?"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence, Ratio, bits_of_vocabulary
from bpb_harness.claim import Printed
from bpb_harness.claim.methods import AR, CHAIN, DISCRETE, EXACT, MC, PSEUDO_LIKELIHOOD, TWO_PASS, method_in
from bpb_harness.findings import Finding, Json, Severity
from bpb_harness.rules.denominators import TAIL_DROPPED

# What is left out below a mask rate u costs f(0) u: a hundredth of it is within what people round away.
_RANGE_CUT, _RANGE_SUSPECT = 0.02, 0.002
_SLACK_BITS_PER_TOKEN = 0.02  # noise of a single draw over a split, in bits per token
# f(u), the mean cross-entropy of masked tokens at mask rate u, in bits. Near u = 1 nothing is visible and f is about
# the unigram entropy, 8.5 bits on web text under a byte-pair vocabulary of 1,024, and at most log2 V. Near u = 0 f is
# below its own mean, which is the bound: below 5.5 bits per token (2.26 bits per byte) for any network worth
# publishing. So f rises by 3 bits at least and by log2 V at most.
_SMALLEST_RISE = 3.0
# Where nothing tells the vocabulary, no published one is larger; and text has so many bytes per token, or more.
_LARGEST_VOCABULARY_BITS, _BYTES_PER_TOKEN = 18.0, (2.0, 5.0)
_STEEPEST = 1.3  # a table with few steps may fall faster than the law, which leaves out terms in 1/T^2


def check_bound(evidence: Evidence) -> Iterator[Finding]:
    """Hold what is stated about the estimator, and its numbers, against what a bound can be."""
    yield from _stated_estimator(evidence)
    yield from _two_estimators(evidence)
    yield from _steps_table(evidence)
    yield from _impossible_pair(evidence)


def _stated_estimator(evidence: Evidence) -> Iterator[Finding]:
    protocol = evidence.claim.protocol
    lowest, highest = protocol.u_range or (0.0, 1.0)
    where: dict[str, Json] = {"method": protocol.method, "u_range": [lowest, highest] if protocol.u_range else None}
    method = method_in(protocol.method) or protocol.method
    if method == PSEUDO_LIKELIHOOD and protocol.u_range is not None and lowest == highest:
        message = (
            f"the score is a pseudo-log-likelihood at the one mask rate {lowest:g}: each token is priced given "
            "neighbours whose cost the score leaves out, so it is not the length of any code"
        )
        yield codes.NOT_A_CODE.finding(message, facts=where)
    elif method == PSEUDO_LIKELIHOOD:
        message = (
            "the record names a pseudo-log-likelihood as its estimator; unless every token is priced given only tokens "
            "that were priced before it, that is not the length of any code"
        )
        yield codes.APPROXIMATE.finding(message, facts=where)
    elif protocol.u_range is not None and lowest == highest:
        message = f"only the mask rate {lowest:g} was evaluated: one point of the integral is no bound"
        yield codes.RANGE_CUT.finding(message, facts=where)
    elif protocol.u_range is not None and (lowest > _RANGE_CUT or highest < 1.0 - _RANGE_CUT):
        message = (
            f"the mask rates span [{lowest:g}, {highest:g}] only; the bound is the integral over (0, 1], of which the "
            "score leaves out a part that is not small: it is no bound, and which way that moves it, the record does "
            "not tell"
        )
        yield codes.RANGE_CUT.finding(message, facts=where)
    elif protocol.u_range is not None and (lowest > _RANGE_SUSPECT or highest < 1.0 - _RANGE_SUSPECT):
        message = (
            f"the mask rates span [{lowest:g}, {highest:g}]: does the score count the ends, by a prior and a "
            "reconstruction term?"
        )
        yield codes.APPROXIMATE.finding(message, facts=where)
    if method == TWO_PASS:
        message = "two passes predict each other's tokens: a decoder could start with neither, so this is no code"
        yield codes.NOT_DECODABLE.finding(message, facts=where)
    if protocol.weight is not None and method not in (AR, CHAIN):
        yield from _stated_weight(protocol.weight, protocol.schedule, protocol.schedule_eps)
    if protocol.unpaid_tokens is not None:
        message = (
            f"{protocol.unpaid_tokens} are never masked, and the score leaves out what they cost: a part of the text"
        )
        yield codes.TOKENS_UNPAID.finding(message, unpaid=protocol.unpaid_tokens)
    if protocol.priced_jointly is not None and method not in (AR, CHAIN, PSEUDO_LIKELIHOOD, TWO_PASS):
        yield from _joint_price(protocol.priced_jointly, protocol.weight, method)


_NO_WEIGHT = frozenset({"none", "no", "1", "1.0"})


def _joint_price(what: str, weight: str | None, method: str | None) -> Iterator[Finding]:
    """One price for several masked tokens: a bound without a weight, on what a step reveals, and with none of them."""
    facts: dict[str, Json] = {"priced_jointly": what, "weight": weight, "method": method}
    if weight is not None and re.sub(r"\s", "", weight).lower() in _NO_WEIGHT:
        return
    no_bound = (
        "the weight belongs to tokens that are priced one by one, each given the visible ones; under it a joint price "
        "can lie below any code's (one of V symbols, repeated L times, costs log2(V)/L in place of log2(V))"
    )
    if weight is not None or method in (MC, DISCRETE, EXACT):
        by = f"weighted {weight}" if weight is not None else f"weighted as the {method} bound is"
        message = f"{what} are priced jointly, and {by}: {no_bound}, so the score is no bound"
        yield codes.JOINT_PRICE.finding(message, facts=facts)
        return
    message = f"{what} are priced jointly, and nothing says with which weight: if it is that of a bound, {no_bound}"
    missing = "the weight of the joint price: none, on what each step reveals, is a bound, and 1/t is not"
    yield codes.JOINT_PRICE.finding(message, severity=Severity.WARNS, facts=facts, missing=missing)


_SQUARED = frozenset({"1/t^2", "1/t**2", "1/t2", "1/u^2", "1/u**2", "t^-2", "(1/t)^2", "(1/t)*(1/t)", "1/t*1/t"})
# dsigma = -dalpha/alpha, where -dalpha/(1 - alpha) = dsigma/expm1(sigma) belongs.
_DSIGMA = frozenset(
    {"dsigma", "-dalpha/alpha", "1/(1-u)", "(1-u)^-1", "(1-u)**-1", "1/alpha", "1/alpha_t", "1/alpha(t)"}
)
_DSIGMA_IF_LINEAR = frozenset({"1/(1-t)", "(1-t)^-1", "(1-t)**-1", "1.0/(1.0-t)", "1/(1.0-t)", "1/(1-(1-eps)t)"})
_LINEAR = ("loglinear", "log-linear", "linear")


def _stated_weight(stated: str, schedule: str | None, eps: float | None) -> Iterator[Finding]:
    """A weight in words: t is the time, at which (1 - eps) t of the tokens are masked if the schedule is linear."""
    weight = re.sub(r"\s", "", stated).lower()
    if weight in _SQUARED:
        message = f"the masked cross-entropy is weighted {stated}: 1/t is applied twice, so this is not the ELBO"
        yield codes.WEIGHT_TWICE.finding(message, weight=stated)
        return
    linear = eps is not None if schedule is None else schedule.lower().startswith(_LINEAR)
    facts: dict[str, Json] = {"weight": stated, "schedule": schedule, "schedule_eps": eps}
    if weight in _DSIGMA or (weight in _DSIGMA_IF_LINEAR and linear):
        of = "" if weight in _DSIGMA else f" of a {schedule or 'loglinear'} schedule, whose mask rate is about t"
        message = (
            f"the masked cross-entropy is weighted {stated}, which is dsigma where dsigma/expm1(sigma) belongs{of}: "
            "the weight of the bound is -dalpha/(1 - alpha), 1/t for a linear schedule, so this is not the ELBO"
        )
        yield codes.WEIGHT_WRONG.finding(message, facts=facts)
    elif weight in _DSIGMA_IF_LINEAR:
        message = (
            f"the masked cross-entropy is weighted {stated}, where 1/t belongs to a mask rate that rises like t: this "
            "is not the ELBO, unless time runs from masked to clean, or the schedule is one that nothing here states"
        )
        yield codes.WEIGHT_WRONG.finding(
            message, severity=Severity.WARNS, facts=facts, missing="the schedule, to hold the weight against"
        )


def _two_estimators(evidence: Evidence) -> Iterator[Finding]:
    """A Monte-Carlo loss beside a T-step score: the second is larger by (f(1) - f(0)) / (2T) bits per token."""
    ratio, score = evidence.ratio, evidence.claim.score
    if ratio is None or score is None or ratio.same_estimator:
        return
    steps, vocabulary = evidence.claim.protocol.num_steps, bits_of_vocabulary(evidence.tokenizer)
    names = sorted({line.bpb.name for line in evidence.lines} or {score.name})
    facts: dict[str, Json] = {"implied_ratio": ratio.value, "places": list(ratio.places), "num_steps": steps}
    unclear = (
        f"the loss beside {', '.join(names)} comes from another estimator, by its name, so the two cannot be divided "
        f"to get bytes per token (loss / ln 2 / score is {ratio.value:.4f}), and show no byte bug"
    )
    if evidence.full is None or steps is None or vocabulary is None:
        yield codes.TWO_ESTIMATORS_UNCLEAR.finding(unclear, facts=facts)
        return
    expected = evidence.full.bytes_per_token
    # score x bytes per token, against score x the ratio that would make both equal
    gap = score.value * (expected - ratio.value)
    hidden = 2.0 * steps * score.value * ratio.value * ratio.uncertainty
    implied = 2.0 * steps * gap
    facts |= {
        "expected_ratio": expected,
        "gap_bits_per_token": gap,
        "implied_f_range_bits": implied,
        "smallest_f_range_bits": _SMALLEST_RISE,
        "largest_f_range_bits": vocabulary,
    }
    possible = f"{_SMALLEST_RISE:g} (docs/audit.md, Two estimators) to log2 V = {vocabulary:.1f}"
    if hidden > _SMALLEST_RISE:
        message = f"{unclear}; the printed digits are too few to compare their gap with what T = {steps} steps cost"
        yield codes.TWO_ESTIMATORS_UNCLEAR.finding(message, facts=facts, missing="loss and score with more digits")
    elif _SMALLEST_RISE - hidden <= implied <= vocabulary + hidden:
        message = (
            f"{_told_pair(evidence, ratio, expected)} is {gap:.3f} bits per token more. By their names they are two "
            f"estimates: the loss of the bound in continuous time, the score of the looser one of T = {steps} steps"
            f"{_steps_at(evidence, steps)}, which lies (f(1) - f(0)) / (2 T) higher (bpb_harness/MATHS.md, 13), f(u) "
            f"being what a masked token costs at mask rate u. That takes a rise of f by {implied:.1f} bits; a guess "
            f"costs log2 V = {vocabulary:.1f}. The other explanation: one estimate, of a part of the text with "
            f"{ratio.value:.4f} bytes per token (loss / ln 2 / score)"
        )
        yield codes.TWO_ESTIMATORS.finding(message, facts=facts)
        yield from _whole_split(evidence)
    else:
        message = (
            f"{unclear}; at {expected:.5f} bytes per token the T = {steps} bound would differ from the loss by "
            f"{gap:+.3f} bits per token, a cross-entropy that rises by {implied:.1f} bits from mask rate 0 to 1, where "
            f"{possible} are plausible"
        )
        yield codes.TWO_ESTIMATORS_UNCLEAR.finding(message, facts=facts)


def _told_pair(evidence: Evidence, ratio: Ratio, expected: float) -> str:
    """The loss and the score, each with its name, its place and what it is in bits."""
    score = evidence.claim.score
    assert score is not None
    assert evidence.full is not None
    bits = score.value * ratio.value
    loss, shown = evidence.claim.nats_per_token, score
    if len(evidence.lines) == 1:
        loss, shown = evidence.lines[0].nats_per_token, evidence.lines[0].bpb
    told = "the loss beside the score" if loss is None or len(evidence.lines) > 1 else _told(loss)
    text = f"{evidence.full.dataset} under {evidence.full.tokenizer}"
    return (
        f"{told} is {bits:.4f} bits per token (/ ln 2), {bits / expected:.4f} bits per byte at the {expected:.5f} "
        f"bytes per token of {text}; {_told(shown)}"
    )


def _told(number: Printed) -> str:
    """``val_loss 2.6553 (train.log:129)``."""
    return f"{number.name} {number} ({number.source})"


def _steps_at(evidence: Evidence, steps: int) -> str:
    """Where a log of the claim names its T; nothing where none does."""
    places = (log.num_steps_at for log in evidence.claim_logs if log.num_steps == steps)
    place = next((place for place in places if place is not None), None)
    return "" if place is None else f" ({place})"


def _whole_split(evidence: Evidence) -> Iterator[Finding]:
    """The log's own word for the text that was scored: the split of exactly this tokenizer, token for token."""
    full = evidence.full
    sizes = {size: log.file for log in evidence.claim_logs for size in log.split_tokens}
    rows = [
        row
        for row in evidence.rules.table.rows
        if row.is_whole and row.tokenizer == evidence.tokenizer and row.num_bytes
    ]
    exact = next((row for row in rows if row.num_tokens in sizes), None)
    if full is None or exact is None or len(sizes) != 1 or not evidence.tokenizer_is_certain:
        return
    cut = ", less a tail that fills no window" if exact.scope == TAIL_DROPPED else ""
    message = (
        f"{sizes[exact.num_tokens]} loads {exact.num_tokens:,} tokens: {exact.dataset} under {exact.tokenizer} to the "
        f"token{cut}, {exact.num_bytes:,} bytes, {exact.bytes_per_token:.5f} per token; that all of it was scored, it "
        "does not say"
    )
    yield codes.SPLIT_LOADED.finding(
        message, file=sizes[exact.num_tokens], num_tokens=exact.num_tokens, num_bytes=exact.num_bytes
    )


def _steps_table(evidence: Evidence) -> Iterator[Finding]:
    """NELBO_T = NELBO + b / T, with b = (f(1) - f(0)) / 2 bits per token at most log2 V / 2."""
    table = dict(sorted(evidence.claim.steps_table.items()))
    if len(table) < 2:
        return
    slope, limit = _fit_inverse(table)
    noise = max(score.half_unit for score in table.values())
    facts: dict[str, Json] = {
        "table": {str(steps): score.value for steps, score in table.items()},
        "slope_bits_per_byte": slope,
        "limit_bits_per_byte": limit,
    }
    # 1. A bound that rises with T
    for (few, a), (many, b) in pairwise(table.items()):
        if b.value > a.value + 2 * noise + 0.003 * a.value:
            message = (
                f"the table over T rises from T = {few} to T = {many}; the bound falls like 1/T when the cross-entropy "
                "rises with the mask rate, as it does in every trained network"
            )
            yield codes.STEPS_LAW.finding(message, facts=facts)
            return
    # 2. A fall that takes more than log2 V, less what rounding may have made of it
    vocabulary, full = bits_of_vocabulary(evidence.tokenizer), evidence.full
    known = full.bytes_per_token if full is not None and vocabulary is not None else None
    rises = [2.0 * slope * each for each in (_BYTES_PER_TOKEN if known is None else (known,))]
    largest = vocabulary or _LARGEST_VOCABULARY_BITS
    hidden = 2.0 * noise / (1.0 / min(table) - 1.0 / max(table))
    is_too_steep = 2.0 * (slope - hidden) * (known or _BYTES_PER_TOKEN[0]) > _STEEPEST * largest
    if known is not None or is_too_steep:
        facts |= {"implied_f_range_bits": [*rises] if known is None else rises[0], "largest_f_range_bits": largest}
    if is_too_steep:
        yield codes.STEPS_SLOPE.finding(_said_of_slope(table, rises, largest, vocabulary), facts=facts)
        return
    # 3. The law
    message = f"the table over T follows a + b/T with a = {limit:.4f} and b = {slope:.3f} bits per byte"
    if known is not None:
        message += f", a cross-entropy that rises by {rises[0]:.1f} bits per token"
    yield codes.STEPS_LAW.finding(message, facts=facts)


def _said_of_slope(table: Mapping[int, Printed], rises: list[float], largest: float, vocabulary: float | None) -> str:
    rise, whose = f"{rises[0]:.1f} bits from mask rate 0 to 1", f"log2 V = {largest:.1f}"
    if len(rises) > 1:
        least, most = rises
        per_token = "at {:.0f} to {:.0f} bytes per token".format(*_BYTES_PER_TOKEN)
        rise = f"{least:.0f} to {most:.0f} bits per token from mask rate 0 to 1 ({per_token})"
        whose = f"the log2 V = {largest:.0f} of {'its' if vocabulary else 'any'} tokenizer"
    return (
        f"between T = {min(table)} and T = {max(table)} the score falls as if the cross-entropy rose by {rise}, more "
        f"than {whose}: these are not T-step bounds of one model"
    )


def _fit_inverse(table: Mapping[int, Printed]) -> tuple[float, float]:
    """Least squares of score against 1/T: slope and the value at T = infinity."""
    inverse = [1.0 / steps for steps in table]
    scores = [score.value for score in table.values()]
    mean_x, mean_y = math.fsum(inverse) / len(table), math.fsum(scores) / len(table)
    spread = math.fsum((x - mean_x) ** 2 for x in inverse)
    slope = math.fsum((x - mean_x) * (y - mean_y) for x, y in zip(inverse, scores, strict=True)) / spread
    return slope, mean_y - slope * mean_x


def _impossible_pair(evidence: Evidence) -> Iterator[Finding]:
    """A continuous and a T-step value of one model differ by at most log2 V / (2T) bits per token."""
    claim, protocol = evidence.claim, evidence.claim.protocol
    score, steps = claim.score, protocol.num_steps
    vocabulary = bits_of_vocabulary(evidence.tokenizer)
    if score is None or steps is None or (method_in(protocol.method) or protocol.method) != DISCRETE:
        return
    for other in claim.other_scores:
        if method_in(other.name) != MC or re.search(r"pre|step|train|quant|raw", other.name.lower()):
            continue
        # Where the bytes are not known the allowance is wide: few bytes per token, a large vocabulary.
        bytes_per_token = evidence.full.bytes_per_token if evidence.full else 2.0
        allowed = ((vocabulary or 17.0) / (2.0 * steps) + _SLACK_BITS_PER_TOKEN) / bytes_per_token + 0.02 * score.value
        allowed += score.half_unit + other.half_unit
        gap = score.value - other.value
        if -0.02 * score.value <= gap <= allowed or abs(gap) <= allowed:
            continue
        message = (
            f"{score.source} gives {score} for T = {steps} and {other.source} gives {other} by Monte Carlo on the same "
            f"model: they differ by {abs(gap):.3f} bits per byte where {allowed:.3f} is possible, so one of the two is "
            "wrong"
        )
        yield codes.PAIR_IMPOSSIBLE.finding(
            message, discrete=score.value, mc=other.value, allowed_gap=allowed, place=str(other.source)
        )
