"""``--explain CODE``: what a code of a finding means, from the tables that docs/ prints too."""

from __future__ import annotations

import difflib
import textwrap

import typer

from bpb_harness.errors import UsageError

_WIDTH = 100
_CLOSE = 0.8  # of names; numbers that look alike mean other things


def explain_and_exit(code: str | None) -> None:
    """The callback of ``--explain``.

    Raises:
        UsageError: for a code that there is not, with the nearest ones.
    """
    if code is not None:
        typer.echo(explanation(code))
        raise typer.Exit


def explanation(code: str) -> str:
    """What a code means: of an audit (``BPB102``, or its name), of a count of bytes, or of a score (``text.padding``).

    Raises:
        UsageError: for a code that there is not, with the nearest ones.
    """
    import bpb_harness.auditing.script  # the checks register their codes
    import bpb_harness.byte_report.report  # noqa: F401
    from bpb_harness.findings import CODES
    from bpb_harness.score_codes import SCORE_CODES

    wanted = code.strip().lower()
    for rule in CODES.values():
        if wanted in (rule.code.lower(), rule.name):
            summary, effect = rule.summary.rstrip("."), rule.severity.effect.replace("**", "")
            return _page(
                f"{rule.code} {rule.name}",
                f"{summary[0].upper()}{summary[1:]}.",
                f"{rule.severity.value}: {effect}, unless the finding itself says otherwise.",
                "More: docs/audit.md",
            )
    if wanted in SCORE_CODES:
        return _page(wanted, SCORE_CODES[wanted].replace("`", ""), "More: docs/codes.md")
    known = [*(rule.name for rule in CODES.values()), *SCORE_CODES]
    near = difflib.get_close_matches(wanted, known, 3, _CLOSE)
    raise UsageError(
        "--explain", seen=repr(code), expected="a code of a finding, such as BPB102 or text.padding",
        hint=f"near it: {', '.join(near)}" if near else "docs/codes.md and docs/audit.md list them",
    )  # fmt: skip


def _page(*paragraphs: str) -> str:
    return "\n\n".join(textwrap.fill(paragraph, _WIDTH, break_on_hyphens=False) for paragraph in paragraphs)
