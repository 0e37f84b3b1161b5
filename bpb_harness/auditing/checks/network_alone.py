"""BPB501: a size within the cap that is the packed network's alone, where its log and its scripts take it over."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bpb_harness.auditing.checks.packed_over_cap import whole_numbers
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.said import texts_of_scripts
from bpb_harness.claim import Printed

_ALL = (0, float("inf"))
_PACKS = r"minif|lzma|zlib|zstd|brotli|gzip|base(?:64|85)|compress|wrap|pack|obfuscat|bundl|strip"
_CODE = r"code|script|source|train_gpt|\.py"
_WORD = r"(?<![a-z_])"
_CODE_PACKED = re.compile(
    rf"{_WORD}(?:{_PACKS}).{{0,60}}(?:{_CODE})|(?:{_CODE}).{{0,60}}{_WORD}(?:{_PACKS})", re.IGNORECASE
)


def is_network_alone(evidence: Evidence, size: Printed, cap: int) -> bool:
    """Whether the artifact of a size is over the cap with the code as it lies, by all that the record says.

    Code may be packed behind the run, by the author or by who counts: not where the record gives another size within
    the cap, speaks of packed code, has a script that unpacks others, or scripts that are all small enough.

    Args:
        evidence: the claim and its record.
        size: the record's size, a packed network's by its log, whose total with the code is over the cap.
        cap: what the rules allow, in bytes.
    """
    scripts = [path.stat().st_size for path in evidence.claim.scripts if path.is_file()]
    if not scripts or size.value + max(scripts) <= cap:
        return False
    networks = {int(packed.value) for log in evidence.claim.logs for packed in log.packed}
    stated = {int(other.value) for other in evidence.claim.artifact_bytes}
    largest = max([size.value, *(other for other in stated & networks)])
    texts = [*_said(evidence)]
    numbers = whole_numbers("\n".join(texts).split("\n"), _ALL) | stated | evidence.claim.whole_numbers
    if any(largest < number < cap for number in numbers - networks):
        return False
    return not any(_CODE_PACKED.search(text) for text in texts) and not _unpacks(evidence)


def _said(evidence: Evidence) -> Iterator[str]:
    """What the record says in words or numbers, but for its logs and scripts."""
    readme = evidence.claim.readme
    yield from (text for _, text in evidence.claim.said)
    yield from (text for _, text in evidence.notes)
    if readme is not None:
        yield readme.text


def _unpacks(evidence: Evidence) -> bool:
    return any(_LAYER.search(text) for text in texts_of_scripts(evidence.claim.scripts))


_LAYER = re.compile(r"exec\s*\(.{0,200}(?:decompress|b(?:64|85)decode)")
