"""How often each code of bpb-audit decides a verdict, and how often it is met at all.

A code *decides alone* where no other one does: the only code that refutes, or the only one that holds back what would
be consistent. It *decides with others* where several do, and *supports* what is consistent. The rest is said in
passing. A code that never decides, supports or is said on anything is one to take out.

    python -m tests.benchmarks.audit_codes [FOLDER|REPORT.json ...] [--unmet]

Folders are audited with everything below them; a file is what ``bpb-audit --format json`` has written. Without any,
the submissions of fixtures/claims and the scripts of fixtures/scripts are. ``--unmet`` prints the codes that are in no
report.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bpb_harness.auditing import CODES, audit_folders
from bpb_harness.auditing.script import ScriptContext, check_source, codes
from bpb_harness.findings import Severity

assert codes  # the codes of scripts are registered by it
_COLUMNS = ("refutes alone", "with others", "holds back alone", "with others ", "supports", "is said")


def columns_of(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What each code does in a report, as bpb-audit writes it in JSON: pairs of a code and a column."""
    severities: dict[str, set[str]] = {}
    for finding in report["findings"]:
        severities.setdefault(finding["code"], set()).add(finding["severity"])
    refuting = {code for code, found in severities.items() if Severity.REFUTES in found}
    holding = {code for code, found in severities.items() if Severity.WARNS in found and not code.startswith("BPB5")}
    supporting = {code for code, found in severities.items() if Severity.CONFIRMS in found}
    for code in severities:
        if report["verdict"] == "refuted" and code in refuting:
            yield code, _COLUMNS[0] if len(refuting) == 1 else _COLUMNS[1]
        elif report["verdict"] == "unverifiable" and code in holding:
            yield code, _COLUMNS[2] if len(holding) == 1 else _COLUMNS[3]
        elif report["verdict"] in ("consistent", "confirmed") and code in supporting:
            yield code, _COLUMNS[4]
        else:
            yield code, _COLUMNS[5]


def table(reports: Iterable[Mapping[str, Any]]) -> dict[str, Counter[str]]:
    """For each code that is met, how often it stands in each column."""
    counts: dict[str, Counter[str]] = {}
    for report in reports:
        for code, column in columns_of(report):
            counts.setdefault(code, Counter())[column] += 1
    return counts


def _reports(paths: Iterable[Path]) -> Iterator[Mapping[str, Any]]:
    for path in paths:
        if path.is_dir():
            yield from (report.to_dict() for report in audit_folders(path))
        else:
            held = json.loads(path.read_text())
            yield from held.get("audits", [held])


def _reports_of_fixtures() -> Iterator[Mapping[str, Any]]:
    yield from _reports([Path("fixtures/claims")])
    for script in sorted(Path("fixtures/scripts").rglob("*.py")):
        found = check_source(script.read_text(), ScriptContext(), script.name)
        verdict = "refuted" if any(each.severity is Severity.REFUTES for each in found) else "unverifiable"
        yield {"verdict": verdict, "findings": [{"code": each.code, "severity": each.severity} for each in found]}


def main() -> int:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("paths", nargs="*", type=Path)
    options.add_argument("--unmet", action="store_true")
    given = options.parse_args()
    counts = table(_reports(given.paths) if given.paths else _reports_of_fixtures())
    width = max(len(f"{code} {rule.name}") for code, rule in CODES.items())
    sys.stdout.write(f"{'':{width}}  {'  '.join(column.strip() for column in _COLUMNS)}\n")
    for code, rule in sorted(CODES.items()):
        if code in counts:
            cells = (str(counts[code][column] or "").rjust(len(column.strip())) for column in _COLUMNS)
            sys.stdout.write(f"{code + ' ' + rule.name:{width}}  {'  '.join(cells)}\n".rstrip() + "\n")
    if given.unmet:
        unmet = [f"{code} {rule.name}" for code, rule in sorted(CODES.items()) if code not in counts]
        sys.stdout.write(f"in no report: {', '.join(unmet) or 'none'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
