"""BPB102 where a README says itself that sentinel characters of a text transform were counted as text.

A reversible transform puts characters into the text that its bytes must not count; a side-file holds the right bytes of
each token. That it was not read is no fault by itself: only where the log divides by the bytes that this makes.
"""

from __future__ import annotations

import re

from bpb_harness.auditing import codes
from bpb_harness.auditing.checks.possible_kinds import BUG_FITS
from bpb_harness.auditing.evidence import Evidence, Ratio
from bpb_harness.claim import Source
from bpb_harness.findings import Finding

_BUG = "sentinels_as_text"
_SIDE_FILE = r"(?:byte[- ]?)?side[- ]?(?:car|file)s?(?: (?:file|shard)s?)?"
_UNUSED = re.compile(
    rf"\b{_SIDE_FILE} (?:(?:is|are|was|were) )?(?:not|never) (?:used|read|loaded|enabled)\b"
    rf"|\b{_SIDE_FILE} (?:(?:is|are|was|were) )?(?:unused|ignored|disabled)\b"
    rf"|\b(?:without|no|not using|did not use|does not use) (?:a |the |any )?{_SIDE_FILE}\b",
    re.IGNORECASE,
)
_TOKENIZED = r"[-_ ]?tokeni[sz]ed\b"
_LONGEST = 1_000


def said_of_sentinels(evidence: Evidence, ratio: Ratio) -> Finding | None:
    """What refutes a record that divides by the bytes of the transformed text, and says so; None where it does not."""
    full, readme = evidence.full, evidence.claim.readme
    bug = next((each for each in evidence.rules.pack.byte_factors if each.name == _BUG), None)
    if full is None or readme is None or bug is None or not evidence.tokenizer_is_named or ratio.uncertainty > BUG_FITS:
        return None
    times = ratio.value / full.bytes_per_token
    sizes = {size for log in evidence.claim_logs for size in log.split_tokens}
    if not bug.lowest <= times <= bug.highest or not sizes or not all(full.holds(size) for size in sizes):
        return None
    place = _said(readme.text, readme.file, full.tokenizer.partition("-")[2])
    if place is None:
        return None
    num_bytes = round(full.num_tokens * ratio.value)
    message = (
        f"the score is too low (too good), for it divides by {times:.5f} times too many bytes: by {ratio.value:.6f} "
        f"per token, where {full} has {full.bytes_per_token:.5f}; over all of it {num_bytes / 1e6:.1f} MB. {place} "
        "says itself that the text was made tokens behind its transform, and that the side-file with the bytes of the "
        f"text as it was is not used: {bug.story}, which makes {bug.lowest:g} to {bug.highest:g} times the bytes"
    )
    return codes.BYTES_BUG.finding(
        message,
        factor=times,
        bug=bug.name,
        bytes_per_token=ratio.value,
        expected=full.bytes_per_token,
        tokenizer=full.tokenizer,
        said_at=str(place),
        places=list(ratio.places),
    )


def _said(text: str, file: str, transform: str) -> Source | None:
    """The line of a README that says both: which text the tokens are of, and that its side-file is not used."""
    if not transform:
        return None
    tokenized = re.compile(
        rf"(?<!not )(?<!never )\b{'[-_ ]?'.join(map(re.escape, transform))}{_TOKENIZED}", re.IGNORECASE
    )
    for number, line in enumerate(text.split("\n"), 1):
        shown = line[:_LONGEST]
        if "side" in shown.lower() and _UNUSED.search(shown) and tokenized.search(shown):
            return Source(file, number)
    return None
