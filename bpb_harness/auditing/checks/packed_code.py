"""BPB501: the size of an artifact whose log counts the code unpacked, beside a script that unpacks itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.said import sizes_stated_in
from bpb_harness.claim import Printed
from bpb_harness.errors import ClaimError


@dataclass(frozen=True)
class PackedCode:
    """What an artifact comes to with the script as it lies there.

    Attributes:
        size: the size that a log prints.
        counted: bytes of code in it, as that log states them.
        packed: bytes of the script.
        script: its name.
    """

    size: Printed
    counted: int
    packed: int
    script: str

    @property
    def total(self) -> int:
        """Bytes of the artifact, with the script as it is packed."""
        return int(self.size.value) - self.counted + self.packed


def with_packed_code(evidence: Evidence, size: Printed) -> PackedCode | None:
    """What a log's size comes to with the one script of the record that unpacks itself; None of anything else.

    The log has to state the code that it counts, and the rest has to be a size of a packed network that it prints.
    """
    log = next((log for log in evidence.claim.logs if log.file == size.source.file), None)
    scripts = [*_self_extracting(evidence)] if log is not None else []
    if log is None or len(scripts) != 1:
        return None
    name, packed = scripts[0]
    networks = {int(each.value) for each in log.packed if each.value != size.value}
    counted = [code for code in sizes_stated_in(log) if int(size.value) - code in networks]
    return PackedCode(size, counted[-1], packed, name) if counted and packed < counted[-1] else None


def is_said(evidence: Evidence, size: Printed) -> bool:
    """Whether the record says a log's size in its own words too: in its README, or in a sentence of its JSON."""
    readme = evidence.claim.readme
    texts = [text for _, text in evidence.claim.said] + ([readme.text] if readme is not None else [])
    number = int(size.value)
    return any(f"{number:,}" in text or str(number) in text for text in texts)


def _self_extracting(evidence: Evidence) -> Iterator[tuple[str, int]]:
    from bpb_harness.auditing.script import decode_source  # deferred: most records are not over any cap

    for script in evidence.claim.scripts:
        try:
            if decode_source(script).layers > 0:
                yield script.name, script.stat().st_size
        except (ClaimError, OSError):
            continue
