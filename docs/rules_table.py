"""Write every field of a pack of rules into docs/rules.md, and their schema beside the others: ``make tables``."""

from __future__ import annotations

from pathlib import Path

from bpb_harness.formats.schemas import file_of, text_of
from bpb_harness.rules.format import FORMAT, RULES
from docs.formats_table import rows_of

PAGE = Path(__file__).with_name("rules.md")
START, END = "<!-- fields: start -->\n", "<!-- fields: end -->"


def table() -> str:
    """A row a field."""
    return "\n".join(["| field | value | unit | meaning |", "|---|---|---|---|", *rows_of(RULES), ""])


def page(before: str) -> str:
    """The page with the table as it is now."""
    above, _, rest = before.partition(START)
    return above + START + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
    file_of(FORMAT).write_text(text_of(FORMAT, RULES), "utf-8")
