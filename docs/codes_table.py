"""Write the tables of finding codes into the pages of docs/: ``make tables``."""

from __future__ import annotations

from pathlib import Path

import bpb_harness.auditing.script  # registers the codes of scripts, and those of records
import bpb_harness.byte_report.report  # those of bpb-bytes
from bpb_harness.findings import CODES, Rule
from bpb_harness.score_codes import SCORE_CODES

START, END = "<!-- codes: start -->\n", "<!-- codes: end -->"
SCORES = Path(__file__).with_name("codes.md")


def pages() -> dict[Path, list[Rule]]:
    """Which codes each page lists."""
    of_bytes = {rule.code for rule in vars(bpb_harness.byte_report.report).values() if isinstance(rule, Rule)}
    of_scripts = {code for code, rule in CODES.items() if rule.name.startswith("script-")}
    listed = {"audit.md": set(CODES), "script-checks.md": of_scripts, "bytes.md": of_bytes}
    folder = Path(__file__).parent
    return {folder / name: [CODES[code] for code in sorted(codes)] for name, codes in listed.items()}


def of_scores(page: str) -> str:
    """The page of the codes of scores, with its table made anew."""
    rows = ["| code | meaning |", "|---|---|", *(f"| `{code}` | {SCORE_CODES[code]} |" for code in sorted(SCORE_CODES))]
    return _with_table(page, rows)


def written(page: str, rules: list[Rule]) -> str:
    """A page with its table made anew, by code."""
    rows = ["| code | name | severity | meaning |", "|---|---|---|---|"]
    for rule in rules:
        summary = rule.summary.rstrip(".").replace("|", "\\|")
        rows.append(f"| {rule.code} | {rule.name} | {rule.severity.value} | {summary[0].upper() + summary[1:]}. |")
    return _with_table(page, rows)


def _with_table(page: str, rows: list[str]) -> str:
    before, start, rest = page.partition(START)
    _, end, after = rest.partition(END)
    assert start, "the page has no place for the table"
    assert end, "the page has no end of the table"
    return before + start + "\n".join(rows) + "\n" + end + after


if __name__ == "__main__":
    for path, rules in pages().items():
        path.write_text(written(path.read_text("utf-8"), rules), "utf-8")
    SCORES.write_text(of_scores(SCORES.read_text("utf-8")), "utf-8")
