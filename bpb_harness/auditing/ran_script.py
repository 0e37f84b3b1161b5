"""The script that made a score, where the log of the score holds it, and it is none of those that lie beside.

A script in a log whose size is the one that the log states has written that log. What it shows to be wrong is wrong
with the score, whatever the scripts beside it do; what these show, it does not take back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bpb_harness.auditing.evidence import Evidence
from bpb_harness.claim import LogRecord
from bpb_harness.errors import ClaimError
from bpb_harness.findings import Finding, Severity

_STANDS = (Severity.REFUTES, Severity.WARNS)


def script_that_ran(evidence: Evidence) -> LogRecord | None:
    """The log of the claim that holds the script of all its logs, which is not one of those beside them."""
    logs, scripts = evidence.claim_logs, evidence.claim.scripts
    if not scripts or not logs or not all(log.holds_script for log in logs):
        return None
    if len({log.code_digest for log in logs}) != 1 or logs[0].path is None:
        return None
    try:
        return logs[0] if _is_own(logs[0].path, scripts) else None
    except ClaimError:
        return None


def _is_own(log: Path, scripts: Sequence[Path]) -> bool:
    """Whether a log states the size of the script in it, and no other script has its text."""
    # Deferred: most records come without a script.
    from bpb_harness.auditing.script import decode_source, extract_embedded, stated_code_sizes
    from bpb_harness.claim.text_file import read_text

    text = read_text(log, log.name).text
    held = extract_embedded(text)
    if held is None or held.layers:
        return False
    code = held.text.lstrip("\n")  # as many lines as stand before it in the log
    sizes = {len(each.encode()) for each in (code, code.rstrip("\n"), code.rstrip("\n") + "\n")}
    if sizes.isdisjoint(stated_code_sizes(text)):
        return False
    return all(decode_source(script).text.strip() != code.strip() for script in scripts)


def with_script_that_ran(beside: Sequence[Finding], ran: Sequence[Finding], log: LogRecord) -> Iterator[Finding]:
    """What the scripts beside a log show, with what is wrong with the one that it holds.

    Args:
        beside: the findings of those.
        ran: of this.
        log: the log.
    """
    refuted = {finding.code for finding in ran if finding.severity is Severity.REFUTES}
    doubts = {finding.code for finding in beside if finding.severity is Severity.WARNS}
    yield from (each for each in beside if each.severity is Severity.REFUTES or each.code not in refuted)
    known = {finding.code for finding in beside if finding.severity is Severity.REFUTES}
    for finding in ran:
        is_new = finding.code not in known and (finding.severity is Severity.REFUTES or finding.code not in doubts)
        if finding.severity in _STANDS and is_new:
            whose = f"the script is the one that {log.file} holds and states the size of, and none of those beside it"
            yield replace(finding, message=f"{finding.message}: {whose}")


def with_remarks_of(found: Sequence[Finding], ran: Sequence[Finding]) -> list[Finding]:
    """What stands against a score, with the remarks on the script that ran in place of those on the ones beside it."""
    return [
        *(each for each in found if each.severity in _STANDS),
        *(each for each in ran if each.severity not in _STANDS),
    ]
