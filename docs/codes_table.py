"""Write the table of finding codes into docs/audit.md: ``python docs/codes_table.py``."""

from __future__ import annotations

from pathlib import Path

from bpb_harness.findings import CODES

PAGE = Path(__file__).with_name("audit.md")
START, END = "<!-- codes: start -->\n", "<!-- codes: end -->"


def table() -> str:
    """The registry as a Markdown table, by code."""
    rows = ["| code | name | severity | meaning |", "|---|---|---|---|"]
    for code, rule in sorted(CODES.items()):
        summary = rule.summary.rstrip(".").replace("|", "\\|")
        summary = summary[0].upper() + summary[1:]
        rows.append(f"| {code} | {rule.name} | {rule.severity.value} | {summary}. |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    before, _, rest = PAGE.read_text("utf-8").partition(START)
    PAGE.write_text(before + START + table() + END + rest.partition(END)[2], "utf-8")
