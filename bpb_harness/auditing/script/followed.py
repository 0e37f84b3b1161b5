"""What of the way from text to score was not followed: silence about it is no check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.checks.coverage import scored_texts
from bpb_harness.auditing.script.checks.mixed_prices import is_mixed
from bpb_harness.auditing.script.checks.weights import has_open_masks
from bpb_harness.auditing.script.domains.analysis import Analysis
from bpb_harness.findings import Finding, Severity, listed

SCORE = "how the score was computed"
# Of what lies in a function that nothing calls, or is reported in a way of its own, it would be untrue to say more.
_NONE_REACHED = "no report of bits per byte is recognised in what a run of the script reaches"
TEXT, BYTES = "how much of the text the script scores", "how the script counts bytes"
MASKS = "how the script draws and weighs masked tokens"
MIXTURE = "whether the probabilities that the script mixes add up to 1"
OF_MIXTURES = frozenset({"BPB267", "BPB274", "BPB275"})  # each says of some that they do not
_SETTLING = (
    "a look into the script: how many tokens are hidden, and what do the losses of each mask rate weigh? Or the "
    "scoring function, run on a network whose bound is known (`bpb-audit --allow-code --tokenizer FILE`)"
)
_OF_BYTES, _OF_MASKS = ("BPB15", "BPB16"), ("BPB25", "BPB26", "BPB354")


def check_followed(analysis: Analysis, findings: Sequence[Finding], files: str) -> Iterator[Finding]:
    """A remark on what the checks could not look at: a report says it beside what else is unchecked.

    Args:
        analysis: the scripts.
        findings: what the other checks have found.
        files: the names of the scripts.
    """
    parts = [*_not_followed(analysis, findings)]
    if parts:
        is_found = MIXTURE in parts and any(finding.code in OF_MIXTURES for finding in findings)
        yield not_followed(parts, files, is_found=is_found)
    if any(finding.code.startswith(_OF_MASKS) for finding in findings):
        return
    taken = dict(analysis.program.taken)
    if not has_open_masks(analysis):
        analysis.program.taken = taken  # a reader is told of those settings alone that decided something
    else:  # most that is wrong with a bound is wrong there
        said = not_followed([MASKS], files)
        yield replace(said, severity=Severity.WARNS, evidence={**said.evidence, "missing": _SETTLING})


def without_mixture(finding: Finding) -> Finding | None:
    """A remark of this module where a mixture is known to be no probability; None where nothing else was open."""
    held = finding.evidence.get("parts")
    parts = [str(part) for part in held] if isinstance(held, list) else []
    if MIXTURE not in parts:
        return finding
    left = [part for part in parts if part != MIXTURE]
    return not_followed(left, str(finding.evidence.get("file"))) if left else None


def not_followed(parts: Sequence[str], files: str, *, is_found: bool = False) -> Finding:
    """The remark that parts of the way were not followed; `is_found`: where some fault was found there."""
    why = _NONE_REACHED if SCORE in parts else "it may be wrong there"
    was = "was" if len(parts) == 1 else "were"
    what = "nothing else" if is_found else "nothing"
    message = f"{listed(parts)} {was} not followed: {why}, and that {what} was found there is no check"
    return codes.NOT_FOLLOWED.finding(message[:1].upper() + message[1:], parts=[*parts], file=files)


def _not_followed(analysis: Analysis, findings: Sequence[Finding]) -> Iterator[str]:
    if not analysis.sinks:
        yield SCORE
        return
    texts = scored_texts(analysis)
    if not texts or not all(text.is_followed for text in texts):
        yield TEXT
    if not any(finding.code.startswith(_OF_BYTES) for finding in findings):
        yield BYTES
    if is_mixed(analysis):
        yield MIXTURE
