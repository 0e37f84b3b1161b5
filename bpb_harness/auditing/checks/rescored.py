"""BPB6xx: the claimed score against one that the harness computed from the checkpoint."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol as StructuralType

from bpb_harness.auditing import codes
from bpb_harness.auditing.checks import stated_signatures
from bpb_harness.auditing.checks.scored_text import PART_SPREAD, misfit
from bpb_harness.auditing.evidence import SCATTER, Evidence
from bpb_harness.claim import Printed
from bpb_harness.claim.methods import method_in
from bpb_harness.findings import Finding, Json
from bpb_harness.result import Signature
from bpb_harness.units import CodeLength, bits_to_nats

# How many standard errors may lie between two honest numbers: 3 is one false alarm in 370.
STANDARD_ERRORS = 3.0
# An agreement within more than this share of the score is no evidence: public byte bugs begin at a few percent.
COARSEST_AGREEMENT = 0.025
# Arithmetic in another precision or order of summation, in bits per byte.
NUMERICS = 5e-4
_SAME_LOSS = 1e-5  # relative; another summation, in another precision, changes less
MIN_WINDOWS = 30  # fewer do not tell how much windows differ
_PART = re.compile(r"\[0:([0-9]+)/[0-9]+\]")
_BOUNDS = frozenset({"<=", "~<="})
_TIGHT_STEPS = 128  # of a bound that more steps hardly lower
_ANEW = "a rescoring of the whole of the claim's text, without --limit, with its tokenizer and its settings"


class _Result(StructuralType):
    @property
    def bits_per_byte(self) -> float | None: ...
    @property
    def mc_stderr(self) -> float | None: ...
    @property
    def corpus_stderr(self) -> float | None: ...
    @property
    def relation(self) -> str: ...
    @property
    def signature(self) -> object: ...


@dataclass(frozen=True)
class Recomputed:
    """A score of the claim's checkpoint by the harness.

    Attributes:
        bits_per_byte: the score.
        mc_stderr: standard error from the sampling of masks, in bits per byte.
        corpus_stderr: standard error over the choice of windows; None where unknown.
        relation: ``=``, ``<=`` or ``~<=``.
        method: the harness's method; None where unknown.
        num_steps: T of the harness's discrete bound; None for other methods, or where unknown.
        context_length: tokens a window; None where unknown.
        data_name: name of the text that the harness scored; None where unknown.
        num_windows: windows scored, where that is only the first part of the text; None for the whole of it.
        num_tokens: tokens scored; None where unknown.
        bytes_per_token: bytes over tokens of what was scored; None where unknown.
        signature: the settings, as text.
    """

    bits_per_byte: float
    mc_stderr: float
    corpus_stderr: float | None
    relation: str
    signature: str
    method: str | None = None
    num_steps: int | None = None
    context_length: int | None = None
    num_windows: int | None = None
    data_name: str | None = None
    num_tokens: int | None = None
    bytes_per_token: float | None = None

    @classmethod
    def of(cls, result: _Result) -> Recomputed:
        """From a ``BpbResult`` of a text, in bits per byte."""
        assert result.bits_per_byte is not None
        assert result.mc_stderr is not None
        length: CodeLength | None = getattr(result, "length", None)
        return cls(
            bits_per_byte=result.bits_per_byte,
            mc_stderr=result.mc_stderr,
            corpus_stderr=result.corpus_stderr,
            relation=result.relation,
            signature=str(result.signature),
            method=getattr(result.signature, "method", None),
            num_steps=_count(getattr(result.signature, "num_steps", None)),
            context_length=_count(getattr(result.signature, "context_length", None)),
            data_name=str(getattr(result.signature, "data", None) or "").partition("@")[0] or None,
            num_windows=int(part[1]) if (part := _PART.search(str(result.signature))) else None,
            num_tokens=length.num_tokens if length is not None else None,
            bytes_per_token=length.num_bytes / length.num_tokens if length is not None and length.num_bytes else None,
        )


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


class _Made(StructuralType):
    @property
    def method(self) -> str | None: ...
    @property
    def num_steps(self) -> int | None: ...
    @property
    def context_length(self) -> int | None: ...


def other_settings(evidence: Evidence, recomputed: _Made) -> str | None:
    """What the claim states about its evaluation and the harness did otherwise, in words; None where nothing."""
    protocol = evidence.claim.protocol
    method = method_in(protocol.method) or protocol.method
    if method is not None and recomputed.method is not None and method != recomputed.method:
        return f"the claim is by {method}, the harness scored by {recomputed.method}"
    for name, claimed, scored in (
        ("T =", protocol.num_steps, recomputed.num_steps),
        ("windows of", protocol.context_length, recomputed.context_length),
    ):
        if claimed is not None and scored is not None and claimed != scored:
            return f"the claim is for {name} {claimed}, the harness scored with {name} {scored}"
    return None


def other_files(evidence: Evidence, signature: str) -> str | None:
    """Whether a score's own file names other files than the harness scored, by their digests, in words."""
    own = evidence.claim.result
    if own is None or not evidence.is_own_file_alone or not signature.startswith("bpb|"):
        return None
    for what, claimed, scored in stated_signatures.other_files(own.result.signature, Signature.parse(signature)):
        return f"{own.file} is about {what} {claimed}, the harness scored {scored}"
    return None


def _has_same_draws(evidence: Evidence, recomputed: Recomputed) -> bool:
    """Whether a score's own file states the very settings that the harness scored with, seed and digests included."""
    own = evidence.claim.result
    if own is None or not evidence.is_own_file_alone or not recomputed.signature.startswith("bpb|"):
        return False
    mine, other = own.result.signature, Signature.parse(recomputed.signature)
    return str(replace(mine, version=None)) == str(replace(other, version=None))


def other_dataset(evidence: Evidence, scored: str | None) -> str | None:
    """Whether the harness scored another text than the claim names, in words."""
    claimed = evidence.claim.dataset
    if claimed is None or scored is None or claimed.lower() == scored.lower():
        return None
    return f"the claim is about {claimed}, the harness scored {scored}"


def _is_of_untold_steps(evidence: Evidence, recomputed: Recomputed, difference: float) -> bool:
    """Whether the difference may be one of T, which the claim does not state: a bound falls with it."""
    protocol = evidence.claim.protocol
    method = method_in(protocol.method) or protocol.method
    if recomputed.num_steps is None or protocol.num_steps is not None or method not in (None, "discrete"):
        return False
    return difference > 0.0 or recomputed.num_steps < _TIGHT_STEPS


def _counted_otherwise(evidence: Evidence, recomputed: Recomputed) -> str | None:
    """That the record has the very loss per token that the harness gets, and divides it by other bytes, in words.

    Of an exact code length alone, of the whole text: so many digits of a loss are no other text's.
    """
    ratio, own = evidence.ratio, recomputed.bytes_per_token
    if recomputed.relation != "=" or recomputed.num_windows is not None or own is None or ratio is None:
        return None
    loss = bits_to_nats(recomputed.bits_per_byte * own)
    stated = [evidence.claim.nats_per_token, *(line.nats_per_token for line in evidence.lines)]
    same = next((each for each in stated if each is not None and _is_loss(each, loss)), None)
    if same is None or not ratio.same_estimator or ratio.is_near(own, SCATTER):
        return None
    return (
        f"the loss that the harness gets is the record's own, {same} nats per token ({same.source}): the same tokens "
        f"cost the same. The record divides by {ratio.value:.5f} bytes per token, and these have {own:.5f}: its count "
        "of bytes is wrong"
    )


def _is_loss(stated: Printed, loss: float) -> bool:
    """Whether a printed loss is one that was computed, to as many digits as no other text has in common with it."""
    return stated.half_unit <= _SAME_LOSS * loss and abs(stated.value - loss) <= _SAME_LOSS * loss


def check_rescored(
    evidence: Evidence, recomputed: Recomputed, said: Mapping[str, str] | None = None
) -> Iterator[Finding]:
    """Judge the difference by both errors: the sampling of masks, and the choice of text.

    Args:
        evidence: the claim and its record.
        recomputed: the harness's score.
        said: the record's texts, by the names of their files: they may name what was scored.
    """
    for finding in _judged(evidence, recomputed, said or {}):
        is_open = finding.code == codes.RESCORED_UNCLEAR.code and not finding.evidence.get("missing")
        yield replace(finding, evidence={**finding.evidence, "missing": _ANEW}) if is_open else finding


def _judged(evidence: Evidence, recomputed: Recomputed, said: Mapping[str, str]) -> Iterator[Finding]:
    score = evidence.claim.score
    if score is None:
        message = f"the harness gets {recomputed.bits_per_byte:.5f}, and nothing is claimed to hold it against"
        yield codes.RESCORED_UNCLEAR.finding(message, recomputed=recomputed.bits_per_byte)
        return
    difference = score.value - recomputed.bits_per_byte
    # A spread over seeds is no error of the evaluation, but the checkpoint is one of those seeds.
    claimed = evidence.claim.std.value if evidence.claim.std else 0.0
    sampling = math.hypot(recomputed.mc_stderr, claimed)
    both = math.hypot(sampling, recomputed.corpus_stderr or 0.0)
    rounding = score.half_unit + NUMERICS
    within = STANDARD_ERRORS * sampling + rounding
    agrees = abs(difference) <= within
    # A part of the text that is not the claim's own can neither confirm nor, if it is near, refute.
    other_text = recomputed.num_windows is not None and recomputed.num_windows != evidence.claim.protocol.num_windows
    spread = PART_SPREAD * recomputed.bits_per_byte if other_text else 0.0
    facts: dict[str, Json] = {
        "claimed": score.value,
        "recomputed": recomputed.bits_per_byte,
        "difference": difference,
        "sampling_stderr": sampling,
        "stderr_with_corpus": both,
        "signature": recomputed.signature,
    }
    numbers = (
        f"{recomputed.relation} {recomputed.bits_per_byte:.5f} ({recomputed.signature}); the claim is "
        f"{difference:+.5f} from it, the error of the sampling {sampling:.5f}, with the choice of text {both:.5f}"
    )
    method = method_in(evidence.claim.protocol.method) or evidence.claim.protocol.method
    settings = other_settings(evidence, recomputed)
    counted = _counted_otherwise(evidence, recomputed)
    elsewhere = other_files(evidence, recomputed.signature) or other_dataset(evidence, recomputed.data_name)
    if elsewhere is None and not evidence.is_own_file_alone:  # whose digests tell
        elsewhere = stated_signatures.other_signature(recomputed.signature, said)
        elsewhere = elsewhere or misfit(evidence, recomputed, said, has_same_loss=counted is not None)
    if elsewhere is not None:
        missing = "a rescoring of the text that the claim is about, with its tokenizer and its settings"
        missing += ", without --limit" if recomputed.num_windows is not None else ""
        yield codes.RESCORED_UNCLEAR.finding(f"{elsewhere}: {numbers}", facts=facts, missing=missing)
    elif counted is not None and not agrees:
        factor = recomputed.bits_per_byte / score.value
        yield codes.RESCORED_DIFFERENT.finding(f"{counted}. The harness gets {numbers}", factor=factor, facts=facts)
    elif _has_same_draws(evidence, recomputed) and abs(difference) <= rounding:
        yield codes.RESCORED_SAME.finding(f"of the same draws the harness gets {numbers}", facts=facts)
    elif _has_same_draws(evidence, recomputed) and agrees:
        # The errors are those of other draws: of the same ones rounding alone may differ.
        message = f"settings and seed are the same, and so are the draws, but not the score: the harness gets {numbers}"
        yield codes.RESCORED_UNCLEAR.finding(message, facts=facts)
    elif agrees and within > COARSEST_AGREEMENT * recomputed.bits_per_byte:
        message = f"both agree within the error, but the error is too large to tell: {numbers}"
        yield codes.RESCORED_UNCLEAR.finding(message, facts=facts, missing="a rescoring of more text or more samples")
    elif agrees and other_text:
        message = f"only {_the_first(recomputed)} scored anew: the harness gets {numbers}"
        yield codes.RESCORED_UNCLEAR.finding(message, facts=facts, missing="a rescoring of the whole text, no --limit")
    elif agrees:
        yield codes.RESCORED_SAME.finding(f"the harness gets {numbers}", facts=facts)
    elif settings is not None:
        yield codes.RESCORED_UNCLEAR.finding(f"{settings}: {numbers}", facts=facts)
    elif other_text and (recomputed.corpus_stderr is None or (recomputed.num_windows or 0) < MIN_WINDOWS):
        message = f"{_the_first(recomputed, 'is', 'are')} too few to speak for the whole text: {numbers}"
        yield codes.RESCORED_UNCLEAR.finding(message, facts=facts)
    elif abs(difference) <= STANDARD_ERRORS * both + rounding + spread:
        part = f" (only {_the_first(recomputed)} scored anew)" if other_text else ""
        message = f"the difference is more than sampling explains, but another part of the text could{part}: {numbers}"
        yield codes.RESCORED_UNCLEAR.finding(message, facts=facts)
    elif difference < 0.0 and method is None and recomputed.relation in _BOUNDS and -difference < 0.1 * score.value:
        message = (
            "the harness's number is a bound, and the claim, whose method nothing names, may be a tighter one: "
            + numbers
        )
        yield codes.RESCORED_UNCLEAR.finding(message, facts=facts)
    elif _is_of_untold_steps(evidence, recomputed, difference):
        message = f"the claim does not state its T, and the harness scored with T = {recomputed.num_steps}: {numbers}"
        yield codes.RESCORED_UNCLEAR.finding(message, facts=facts, missing="the claim's T, and a rescoring with it")
    else:
        yield codes.RESCORED_DIFFERENT.finding(
            f"the harness gets {numbers}", factor=recomputed.bits_per_byte / score.value, facts=facts
        )


def _the_first(recomputed: Recomputed, of_one: str = "was", of_more: str = "were") -> str:
    number = recomputed.num_windows
    return f"the first window {of_one}" if number == 1 else f"the first {number} windows {of_more}"
