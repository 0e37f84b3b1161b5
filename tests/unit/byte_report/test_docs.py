"""docs/bytes.md lists every finding and every bug under the words that the program uses."""

from __future__ import annotations

import re

from bpb_harness.byte_count.validity import _MIN_SHARE
from bpb_harness.byte_report import report as byte_report
from bpb_harness.byte_report.byte_bugs import BYTE_BUGS
from bpb_harness.findings import Rule


def test_the_table_of_findings_is_the_registry(repository):
    rules = {rule.code: rule for rule in vars(byte_report).values() if isinstance(rule, Rule)}
    rows = re.findall(
        r"^\| (BPB\d{3}) \| (\S+) \| (\S+) \| (.+) \|$", (repository / "docs" / "bytes.md").read_text(), re.M
    )
    assert rows == [(r.code, r.name, r.severity.value, r.summary) for _, r in sorted(rules.items())]


def test_the_table_of_bugs_is_the_catalogue(repository):
    text = (repository / "docs" / "bytes.md").read_text()
    for bug in BYTE_BUGS.values():
        name = re.sub(r"^constant(?=_)", "", bug.name)
        assert re.search(rf"^\| .*{re.escape(name)}.* \| {re.escape(bug.effect)} \|$", text, re.M), bug.name


def test_the_threshold_of_belonging_is_the_one_that_is_documented(repository):
    assert f"{_MIN_SHARE:.0%}".replace("%", " %") in (repository / "docs" / "bytes.md").read_text()
