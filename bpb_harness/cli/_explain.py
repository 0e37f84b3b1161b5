"""``--explain CODE``: what a code of a finding means, from the tables that docs/ prints too."""

from __future__ import annotations

import difflib
import textwrap

import typer

from bpb_harness.errors import UsageError

_WIDTH = 100
_CLOSE = 0.8  # of names; numbers that look alike mean other things
_MORE = {  # pages that say more of a code than what is printed, a row of their tables
    "docs/audit.md": (
        "BPB102 BPB103 BPB104 BPB105 BPB106 BPB107 BPB110 BPB111 BPB113 BPB115 BPB117 BPB154 BPB206 BPB207 BPB213 "
        "BPB214 BPB215 BPB216 BPB217 BPB218 BPB279 BPB301 BPB305 BPB402 BPB414 BPB415 BPB416 BPB417 BPB420 BPB424 "
        "BPB425 BPB426 BPB427 BPB429 BPB430 BPB431 BPB432 BPB450 BPB451 BPB452 BPB453 BPB454 BPB455 BPB456 BPB457 "
        "BPB458 BPB459 BPB603 BPB604 BPB605 BPB606 BPB607 BPB901 BPB906"
    ),
    "docs/script-checks.md": (
        "BPB150 BPB157 BPB163 BPB164 BPB166 BPB167 BPB168 BPB254 BPB256 BPB265 BPB267 BPB268 BPB269 BPB270 BPB271 "
        "BPB272 BPB273 BPB274 BPB275 BPB276 BPB277 BPB278 BPB283 BPB284 BPB350 BPB355 BPB953 BPB954"
    ),
    "docs/bytes.md": "BPB172 BPB176 BPB177 BPB179",
    "docs/texts.md": "BPB180",
    "docs/adaptation.md": "adaptation",
    "docs/answers.md": "answers",
    "docs/errors.md": "error.not-to-be-trusted tolerance.missed",
}


def explain_and_exit(code: str | None) -> None:
    """The callback of ``--explain``.

    Raises:
        UsageError: for a code that there is not, with names like it.
    """
    if code is not None:
        typer.echo(explanation(code))
        raise typer.Exit


def explanation(code: str) -> str:
    """What a code means: of an audit (``BPB102``, or its name), of a count of bytes, or of a score (``text.padding``).

    Raises:
        UsageError: for a code that there is not, with names like it.
    """
    import bpb_harness.auditing.script  # the checks register their codes
    import bpb_harness.byte_report.report  # noqa: F401
    from bpb_harness.cli._next_step import after_audit, after_score
    from bpb_harness.findings import CODES, RETIRED
    from bpb_harness.score_codes import SCORE_CODES

    wanted = code.strip().lower()
    for rule in CODES.values():
        if wanted in (rule.code.lower(), rule.name):
            summary, effect = rule.summary.rstrip("."), rule.severity.effect.replace("**", "")
            return _page(
                f"{rule.code} {rule.name}",
                f"{summary[0].upper()}{summary[1:]}.",
                f"{rule.severity.value}: {effect}, unless the finding itself says otherwise.",
                f"Next: {after_audit(rule)}",
                *_more(rule.code),
            )
    for retired, (name, instead) in RETIRED.items():
        if wanted in (retired.lower(), name):
            return _page(f"{retired} {name}", f"Taken out: {instead}.")
    if wanted in SCORE_CODES:
        return _page(wanted, SCORE_CODES[wanted].replace("`", ""), f"Next: {after_score(wanted)}", *_more(wanted))
    known = [*(rule.name for rule in CODES.values()), *SCORE_CODES]
    near = difflib.get_close_matches(wanted, known, 3, _CLOSE)
    raise UsageError(
        "--explain", seen=repr(code), expected="a code of a finding, such as BPB102 or text.padding",
        hint=f"near it: {', '.join(near)}" if near else "docs/codes.md and docs/audit.md list them",
    )  # fmt: skip


def _more(code: str) -> list[str]:
    return [f"More: {page}" for page, codes in _MORE.items() if code in codes.split()]


def _page(*paragraphs: str) -> str:
    return "\n\n".join(textwrap.fill(paragraph, _WIDTH, break_on_hyphens=False) for paragraph in paragraphs)
