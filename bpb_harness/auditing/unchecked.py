"""What an audit of a record leaves unchecked, in words: a reader should not take silence for a check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.learnt import UNSEEN, doubts_of_learning
from bpb_harness.auditing.verdict import to_five_digits
from bpb_harness.claim.wandb_summary import is_summary_name
from bpb_harness.findings import Finding, Severity

# Any of these says how much was scored.
_AMOUNT = frozenset(
    {
        *(codes.SLICE.code, codes.SLICE_WITH_FULL.code, codes.SLICE_INFERRED.code, "BPB350"),
        *(codes.TOKENS_OF_RULES.code, codes.OTHER_TOKENS.code, codes.RESCORED_SAME.code, codes.PROVED.code),
    }
)

_CONSTANT_TOTAL = "BPB355"  # a script's: what it prints or divides by is no count of what was scored
# Any of these says that the text was learnt before it was scored.
_NOT_FOLLOWED, _ALL = "BPB954", "how the score was computed"
_LEARNT = frozenset({"BPB272", "BPB273"})
_VERSION = "how the version of the script that wrote the log computed the score"
_LOOKS_AHEAD = "BPB278"
# A few ways of seeing them are looked for in scripts; that there is no other, only the network itself shows.
SEES_NOTHING = "that the network does not see the tokens that it predicts"
WROTE_THE_LOG = "that the script wrote the log"


def without_decided(findings: Sequence[Finding]) -> list[Finding]:
    """All findings, but that of a mixture that refutes the score nobody is told that it was not followed.

    Nor, where the record claims no score, how that was computed.
    """
    from bpb_harness.auditing.script.followed import OF_MIXTURES, without_mixture  # deferred: most have no script

    if any(finding.code == codes.NO_CLAIM.code for finding in findings):
        findings = [finding for finding in findings if [*_not_followed([finding])] != [_ALL]]
    if not any(finding.code in OF_MIXTURES and finding.severity is Severity.REFUTES for finding in findings):
        return [*findings]
    told = (without_mixture(finding) if finding.code == _NOT_FOLLOWED else finding for finding in findings)
    return [finding for finding in told if finding is not None]


def unchecked(evidence: Evidence, findings: Sequence[Finding], *, has_script: bool) -> tuple[str, ...]:
    """What stays open of a claimed score, whatever the verdict; nothing where none is claimed.

    Args:
        evidence: the claim and its record.
        findings: all of them, reconciled.
        has_script: whether a script of the record was read.
    """
    return tuple(_open(evidence, findings, has_script=has_script))


def _open(evidence: Evidence, findings: Sequence[Finding], *, has_script: bool) -> Iterator[str]:
    if evidence.claim.score is None:
        return
    found = {finding.code for finding in findings}
    is_again = not found.isdisjoint({codes.RESCORED_SAME.code, codes.PROVED.code})
    is_said = evidence.scored_tokens is not None and _CONSTANT_TOTAL not in found
    if found.isdisjoint(_AMOUNT) and not is_said and not to_five_digits(findings):
        yield "how much of the text was scored"
    if not is_again:
        parts = [*_not_followed(findings)] if has_script else [_ALL]
        yield from parts
        is_held = evidence.held_script is not None or not evidence.claim.scripts  # what was read stands in the log
        if _ALL not in parts and codes.LOG_OF_ANOTHER_SCRIPT.code not in found and not is_held:
            versions = (each for each in findings if each.code == codes.OTHER_VERSION.code)
            is_another = any(each.evidence.get("is_near") is not True for each in versions)
            yield _VERSION if is_another else _who_wrote(evidence)
        if _ALL not in parts and _LOOKS_AHEAD not in found:
            yield SEES_NOTHING
    if not any(finding.code in _LEARNT for finding in doubts_of_learning(findings)):
        yield UNSEEN


def _who_wrote(evidence: Evidence) -> str:
    """What ties the script to what prints the score: a log, a summary, a table that somebody wrote out of one."""
    tables = {table.file for table in evidence.claim.tables}
    files = {line.bpb.source.file for line in evidence.lines}
    if not files:
        return "that the script printed the score"
    if files <= tables:
        return "that what the table of the record says is what the script printed"
    return "that wandb's summary is of a run of the script" if all(map(is_summary_name, files)) else WROTE_THE_LOG


def _not_followed(findings: Sequence[Finding]) -> Iterator[str]:
    """What was not followed in a script that was read."""
    parts = (finding.evidence.get("parts") for finding in findings if finding.code == _NOT_FOLLOWED)
    yield from (str(part) for held in parts if isinstance(held, list) for part in held)
