"""Write the keys of every format into docs/formats.md, and the schemas into bpb_harness/schemas: ``make tables``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bpb_harness.comparison.result import FORMAT as COMPARISON_FORMAT
from bpb_harness.comparison.result import SystemComparison
from bpb_harness.formats.audit import AUDIT, AUDIT_FORMAT, AUDITS, AUDITS_FORMAT
from bpb_harness.formats.bytes import BYTES, BYTES_FORMAT
from bpb_harness.formats.kinds import Key, Record, records_in
from bpb_harness.formats.of_dataclass import record_of
from bpb_harness.formats.proof import PROOF, PROOF_FORMAT
from bpb_harness.formats.result import RESULT
from bpb_harness.formats.schemas import file_of, text_of
from bpb_harness.result import FORMAT as RESULT_FORMAT

DECLARED: dict[str, Record] = {
    RESULT_FORMAT: RESULT,
    COMPARISON_FORMAT: record_of(SystemComparison, COMPARISON_FORMAT),
    AUDIT_FORMAT: AUDIT,
    AUDITS_FORMAT: AUDITS,
    BYTES_FORMAT: BYTES,
    PROOF_FORMAT: PROOF,
}

PAGE = Path(__file__).with_name("formats.md")
START, END = "<!-- formats: start -->\n", "<!-- formats: end -->"


def tables() -> str:
    """A section a format, a row a key."""
    parts = []
    for name, record in DECLARED.items():
        parts += [f"## `{name}`\n", "| key | value | unit | meaning |", "|---|---|---|---|", *rows_of(record), ""]
    return "\n".join(parts)


def rows_of(record: Record, above: str = "") -> Iterator[str]:
    """A row a key, the keys of an object behind its own."""
    for key in record.keys:
        place = f"{above}{key.name}"
        cells = (f"`{place}`", _words(key), key.unit, key.meaning)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        for inner in records_in(key.kind):
            yield from rows_of(inner, f"{place}.")


def _words(key: Key) -> str:
    return f"{key.kind.words}; may be absent" if key.is_optional else key.kind.words


def page(before: str) -> str:
    """The page with the tables as they are now."""
    above, _, rest = before.partition(START)
    return above + START + tables() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
    for name, record in DECLARED.items():
        file_of(name).write_text(text_of(name, record), "utf-8")
