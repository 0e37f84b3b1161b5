"""Write the table of settings into docs/settings.md: ``make tables``."""

from __future__ import annotations

from pathlib import Path

from bpb_harness.evaluation.flags import Flag
from bpb_harness.evaluation.settings import DEFAULTS, FLAGS

PAGE = Path(__file__).with_name("settings.md")
START, END = "<!-- settings: start -->\n", "<!-- settings: end -->"


def table() -> str:
    """The settings as a Markdown table, in the order of ``bpb-eval --help``."""
    rows = [
        "| option | argument | default | values | methods | in the signature | meaning |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, flag in FLAGS.items():
        cells = (
            f"`{flag.name}`", f"`{name}`", f"`{DEFAULTS[name]!r}`", _values(flag), ", ".join(flag.methods) or "all",
            f"`{flag.key}`" if flag.key else "", f"{flag.help} {flag.note}".strip(),
        )  # fmt: skip
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _values(flag: Flag) -> str:
    numbers = [] if flag.least is None else [f"{flag.least} ..{'' if flag.most is None else f' {flag.most:,}'}"]
    return ", ".join([*numbers, *(f"`{word}`" for word in flag.one_of if word is not None)])


def page(before: str) -> str:
    """The page with the table as it is now."""
    above, _, rest = before.partition(START)
    return above + START + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
