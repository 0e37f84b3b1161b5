"""What is known of the part of a text that was scored, where it was not the whole of it.

A part has bytes per token of its own: what is held against the whole text's is said to be so, and what is known of the
part stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.findings import Finding, Severity, place_in_script
from bpb_harness.rules.denominators import PREFIX, Denominator

_SUBSET = "BPB350"  # the script scores a subset
_TELLS_OF_A_PART = (codes.SLICE.code, codes.SLICE_INFERRED.code, _SUBSET, codes.SLICE_WITH_FULL.code)
_CONSTANTS = frozenset({codes.BYTES_CONSTANT.code, "BPB150"})  # stated, and in a script
_ALIKE = 0.05  # relative; a row of the table stands for a part of about its own size
_NEAR = 0.005  # a constant within half a percent of the truth changes no verdict
# Parts of 1,048,576, 32,736 and 2,044 sp1024 tokens of fineweb_val are 1 %, 2 % and 9 % off the whole of it.
_LARGE, _OFF, _OFF_IF_SMALL = 30_000, 0.03, 0.15


@dataclass(frozen=True)
class Part:
    """A part of the text, as a finding tells of it.

    Attributes:
        finding: what tells that a part was scored.
        num_tokens: its tokens, or the most that they can be; None where nothing tells.
        row: the table's row of a part of about its size; of the only part, where nothing tells the size.
    """

    finding: Finding
    num_tokens: int | None
    row: Denominator | None

    @property
    def largest_off(self) -> float:
        """How far its bytes per token may be off the whole text's, relative."""
        return _OFF if self.num_tokens is not None and self.num_tokens >= _LARGE else _OFF_IF_SMALL

    @property
    def told_by(self) -> str:
        """What tells of it: the code, and the place."""
        code, evidence = self.finding.code, self.finding.evidence
        place = place_in_script(self.finding) or evidence.get("scored_by")
        return f"{code}, {place}" if place is not None else code

    def __str__(self) -> str:
        """What was scored, in words, and how that is known."""
        if self.num_tokens is None:
            return f"how many tokens of it, nothing tells ({self.told_by})"
        code = self.finding.code
        most = "at most " if code == _SUBSET else "about " if code == codes.SLICE_INFERRED.code else ""
        first = "the first " if self.finding.evidence.get("is_first") is True else ""
        return f"{most}{first}{self.num_tokens:,} tokens ({self.told_by})"

    @property
    def known(self) -> str:
        """Of which part the bytes are known, and how many; nothing where no part's are."""
        if self.row is None:
            return ""
        which = "only " if self.num_tokens is None else "nearest " if self.num_tokens != self.row.num_tokens else ""
        return (
            f"the {which}part whose bytes are known, the first {self.row.num_tokens:,} tokens of the text, has "
            f"{self.row.bytes_per_token:.5f} bytes per token by the table of the rules"
        )


def part_scored(evidence: Evidence, findings: Sequence[Finding]) -> Part | None:
    """The part of the text that was scored; None where it was the whole of it, as far as is known."""
    found = {
        finding.code: finding
        for finding in findings
        if finding.severity is Severity.WARNS or finding.code == codes.SLICE_WITH_FULL.code  # what is settled informs
    }
    finding = next((found[code] for code in _TELLS_OF_A_PART if code in found), None)
    if finding is None:
        return None
    told = (finding.evidence.get(key) for key in ("scored_tokens", "prefix_tokens", "num_tokens"))
    num_tokens = next((tokens for tokens in told if isinstance(tokens, int)), None)
    rows = [
        row
        for row in evidence.rules.table.rows
        if row.scope == PREFIX
        and row.tokenizer == evidence.tokenizer
        and (num_tokens is None or abs(row.num_tokens / num_tokens - 1.0) <= _ALIKE)
    ]
    return Part(finding, num_tokens, rows[0] if rows else None)


def of_the_whole(part: Part | None, finding: Finding) -> Finding:
    """The right bytes per token of the whole text (BPB101), where a part of it was scored, whose own differ."""
    is_whole = finding.code == codes.BYTES_RIGHT.code and finding.evidence.get("scope") not in (PREFIX, None)
    if part is None or not is_whole or part.finding.code != codes.SLICE.code:
        return finding
    said = f"that is the whole text's number, and a part of it was scored ({part.told_by}), which has one of its own"
    return replace(finding, message=f"{finding.message.rstrip('.')}; {said}")


def held_against_the_part(part: Part, finding: Finding) -> Finding:
    """A constant number of bytes per token that was held against the whole text's, where a part of it was scored.

    Where the part's own number is known, that decides; where it is not, a constant refutes only if it is further off
    than parts are.
    """
    constant, whole = finding.evidence.get("constant"), finding.evidence.get("expected")
    if finding.code not in _CONSTANTS or finding.severity is not Severity.REFUTES:
        return finding
    if not isinstance(constant, int | float) or not isinstance(whole, float):
        return finding
    said = f"{finding.message.rstrip('.')}. But a part of the text was scored ({part.told_by})"
    own = part.row.bytes_per_token if part.row is not None and part.num_tokens is not None else None
    if own is not None and abs(constant / own - 1.0) <= _NEAR:
        message = f"{said}; {part.known}, and the constant is within {100 * _NEAR:g} % of that: it may be right there"
        return replace(finding, message=message, severity=Severity.WARNS, factor=None)
    if own is not None:
        message = f"{said}: by the {own:.5f} that such a part has, the score is {_off(constant, own)}"
        return replace(finding, message=message)
    if abs(constant / whole - 1.0) <= part.largest_off:
        message = f"{said}, whose own bytes per token are not known: the constant may be right for it"
        return replace(finding, message=message, severity=Severity.WARNS, factor=None)
    return replace(finding, message=f"{said}; no part is known to be that far off the whole text")


def _off(constant: float, right: float) -> str:
    """By how much a score that was divided by a constant is off."""
    off = abs(right / constant - 1.0)
    return f"{100 * off:.1f} % too {'low (too good)' if constant > right else 'high (worse than it is)'}"
