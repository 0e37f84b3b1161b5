"""BPB217: hints in the order of the file, scores by the documents' lengths, and training on what was scored in between.

Decided by lines of the log: what counts the hints is often no Python. The scripts only excuse, where they begin the
counts anew at each document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.said import texts_of_scripts
from bpb_harness.findings import Finding

_ANEW = re.compile(
    r"(?:bos|doc|boundar)\w*[^\n]{0,80}\n?[^\n]{0,80}\breset\w*\(|reset_(?:at_|on_|per_|each_)?(?:bos|doc|boundar)",
    re.IGNORECASE,
)


def check_two_orders(evidence: Evidence) -> Iterator[Finding]:
    """The first score of the claim that comes of two orders."""
    places = {(line.bpb.source.file, line.run): line.bpb.source.line or 0 for line in evidence.lines}
    found = [
        told
        for log in evidence.claim_logs
        for told in log.orders
        if places.get((log.file, told.run), 0) > (told.last.line or 0)
    ]
    if not found or any(_ANEW.search(text) for text in texts_of_scripts(evidence.claim.scripts)):
        return
    told = found[0]
    message = (
        f"{told.hints} counts {told.num_hints:,} hints of one pass over {told.num_targets:,} tokens, before the "
        f"documents are scored by their length ({told.first} to line {told.last.line}), by a network that is trained "
        f"in between on those that were scored ({told.trained}). Unless that pass goes by length too, or begins anew "
        "at each document, some document is scored by a network that was trained on another one, whose hints came of "
        "the first: neither can be decoded before the other, and the sum is the length of no code"
    )
    yield codes.TWO_ORDERS.finding(
        message,
        place=str(told.hints),
        missing="a score whose hints, training and scoring go through the documents in one order, or without the hints",
    )
