"""What a finding says of a line of a script: where it is, and the code that stands there."""

from __future__ import annotations

from pathlib import Path

from bpb_harness.auditing.script import decode_source
from bpb_harness.findings import CODES, Finding

# Of a script as a whole: it was unpacked, was not read or not to its end; and what came of running its functions.
OF_NO_LINE = {f"BPB{number}" for number in (157, 158, 159, 163, 164, 269, 270, 271, 950, 951, 952, 954)}


def is_of_a_line(finding: Finding) -> bool:
    return CODES[finding.code].name.startswith("script-") and finding.code not in OF_NO_LINE


def assert_quoted(script: Path, findings: list[Finding]) -> None:
    """Every finding of a script names its line and quotes it."""
    lines = decode_source(script).text.split("\n")  # of what it unpacks to, where it does
    for finding in filter(is_of_a_line, findings):
        file, line = finding.evidence["file"], finding.evidence["line"]
        assert file == str(script)
        assert f"({script}:{line}" in finding.message
        assert ("of what it unpacks to)" in finding.message) is (finding.evidence.get("is_unpacked") is True)
        quoted = finding.evidence["quoted"]
        assert isinstance(quoted, list)
        assert quoted
        for each in quoted:
            assert isinstance(each, dict)
            assert lines[int(str(each["line"])) - 1].strip().startswith(str(each["code"]).removesuffix("..."))
