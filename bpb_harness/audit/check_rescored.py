"""BPB6xx: the claimed score against one that the harness computed from the checkpoint."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol as StructuralType

from bpb_harness.audit import codes
from bpb_harness.audit.evidence import Evidence
from bpb_harness.audit.finding import Finding, Json
from bpb_harness.claim.methods import method_in

# How many standard errors may lie between two honest numbers: 3 is one false alarm in 370.
_STANDARD_ERRORS = 3.0
# An agreement within more than this share of the score is no evidence: public byte bugs begin at a few percent.
_COARSEST_AGREEMENT = 0.025
# Arithmetic in another precision or order of summation, in bits per byte.
_NUMERICS = 5e-4
_BOUNDS = frozenset({"<=", "~<="})


class _Result(StructuralType):
    @property
    def bits_per_byte(self) -> float: ...
    @property
    def mc_stderr(self) -> float: ...
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
        signature: the settings, as text.
    """

    bits_per_byte: float
    mc_stderr: float
    corpus_stderr: float | None
    relation: str
    signature: str
    method: str | None = None

    @classmethod
    def of(cls, result: _Result) -> Recomputed:
        """From a ``BpbResult``."""
        return cls(
            bits_per_byte=result.bits_per_byte,
            mc_stderr=result.mc_stderr,
            corpus_stderr=result.corpus_stderr,
            relation=result.relation,
            signature=str(result.signature),
            method=getattr(result.signature, "method", None),
        )


def check_rescored(evidence: Evidence, recomputed: Recomputed) -> Iterator[Finding]:
    """Judge the difference by both errors: the sampling of masks, and the choice of text."""
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
    rounding = score.half_unit + _NUMERICS
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
    other_method = method is not None and recomputed.method is not None and method != recomputed.method
    if abs(difference) <= _STANDARD_ERRORS * sampling + rounding and (
        _STANDARD_ERRORS * sampling + rounding > _COARSEST_AGREEMENT * recomputed.bits_per_byte
    ):
        message = f"both agree within the error, but the error is too large to tell: {numbers}"
        yield codes.RESCORED_UNCLEAR.finding(message, facts=facts, missing="a rescoring of more text or more samples")
    elif abs(difference) <= _STANDARD_ERRORS * sampling + rounding:
        yield codes.RESCORED_SAME.finding(f"the harness gets {numbers}", facts=facts)
    elif other_method:
        message = f"the claim is by {method}, the harness scored by {recomputed.method}: {numbers}"
        yield codes.RESCORED_UNCLEAR.finding(message, facts=facts)
    elif abs(difference) <= _STANDARD_ERRORS * both + rounding:
        message = f"the difference is more than sampling explains, but another part of the text could: {numbers}"
        yield codes.RESCORED_UNCLEAR.finding(message, facts=facts)
    elif difference < 0.0 and method is None and recomputed.relation in _BOUNDS and -difference < 0.1 * score.value:
        message = (
            "the harness's number is a bound, and the claim, whose method nothing names, may be a tighter one: "
            + numbers
        )
        yield codes.RESCORED_UNCLEAR.finding(message, facts=facts)
    else:
        yield codes.RESCORED_DIFFERENT.finding(
            f"the harness gets {numbers}", factor=recomputed.bits_per_byte / score.value, facts=facts
        )
