"""A score that a command of ours wrote to a file, as a claim: the file says it, and nobody else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bpb_harness.claim.claim_file import FORMAT as CLAIM_FORMAT
from bpb_harness.claim.printed import Printed, Source
from bpb_harness.claim.record import Claim, Protocol
from bpb_harness.formats.contradictions import Contradiction, contradictions
from bpb_harness.formats.result_file import result_of
from bpb_harness.formats.scored_again import scored_part, settings_of
from bpb_harness.formats.strict_json import load
from bpb_harness.result import FORMAT, BpbResult

CLAIMED_IN = "result"


@dataclass(frozen=True)
class OwnResult:
    """A file of ours.

    Attributes:
        file: its name.
        result: the score that it holds.
        contradictions: where it contradicts itself.
    """

    file: str
    result: BpbResult
    contradictions: tuple[Contradiction, ...]


def is_own_file(value: object) -> bool:
    """Whether a parsed JSON value says that a command of ours wrote it, a score or something else."""
    stated = value.get("format") if isinstance(value, Mapping) else None
    return isinstance(stated, str) and stated.startswith("bpb-") and not stated.startswith(_OF_CLAIMS)


_OF_CLAIMS = CLAIM_FORMAT.partition("/")[0]


def is_result(value: object) -> bool:
    """Whether it says that it is a score, of the format that is read here."""
    return is_own_file(value) and isinstance(value, Mapping) and value["format"] == FORMAT


def read_own_result(text: str, file: str) -> Claim:
    """A claim from a score's own file, which is read strictly: whatever it holds, a command of ours wrote, or did not.

    Args:
        text: the file's.
        file: its name, for messages.

    Raises:
        InputError: if it is not what a command of ours writes.
    """
    plain = load(text, file)
    result = result_of(plain, file)
    own = OwnResult(file, result, tuple(contradictions(plain, result)))
    stated, length = result.signature.typed(), result.length
    settings_of(result.signature)  # or refused: an adaptation that is not understood
    stated_score, error = plain["bits_per_byte"], result.mc_stderr
    score = None
    if stated_score is not None and stated_score > 0.0:
        score = Printed(float(stated_score), None, Source(file, key="bits_per_byte"), "bits_per_byte")
    context, draws, steps = stated["context_length"], stated["num_samples"], stated["num_steps"]
    return Claim(
        name=file,
        score=score,
        claimed_in=CLAIMED_IN,
        nats_per_token=Printed(length.nats / length.num_tokens, None, Source(file, key="nats"), "nats per token"),
        std=Printed(error, None, Source(file, key="mc_stderr"), "mc_stderr") if error else None,
        protocol=Protocol(
            method=result.signature.method,
            num_steps=steps if isinstance(steps, int) else None,
            num_samples=draws if isinstance(draws, int) else None,
            schedule=result.signature.schedule,
            context_length=context if isinstance(context, int) else None,
            num_windows=scored_part(result.signature),
            scored_tokens=length.num_tokens,
        ),
        dataset=(result.signature.data or "").partition("@")[0] or None,
        result=own,
    )
