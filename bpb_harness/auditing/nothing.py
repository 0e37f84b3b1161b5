"""A file or folder that is no record of a score: refused by name, where its report would have nothing to say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from bpb_harness.auditing.codes import NO_CLAIM
from bpb_harness.auditing.report import AuditReport
from bpb_harness.auditing.said import text_of
from bpb_harness.claim.listing import is_claim_name, kind_by_name, list_files
from bpb_harness.errors import ClaimError

_MAX_SHOWN = 3
_READING = "BPB9"  # codes of what was broken in files
# What a record of a score, or a program that makes one, speaks of.
_SPEAKS = re.compile(
    r"loss|bpb|bits|nats|perplexity|(?<![a-z])(?:ppl|nll|ce|elbo)(?![a-z])|entropy|likelihood|log_?prob|softmax|score",
    re.IGNORECASE,
)
_MAX_UNREADABLE = 0.05  # share of characters that are no text; more of them, and a word in it is chance
_NO_CHARACTER = re.compile("[\x00-\x08\x0e-\x1f\x7f\ufffd]")


def require_something(report: AuditReport, paths: Sequence[Path]) -> None:
    """Refuse what holds nothing to audit: no score, nothing that was found out, and no word of scores or losses.

    Args:
        report: what came of it.
        paths: the files and folders that it is of.

    Raises:
        ClaimError: with what there is in place of a record.
    """
    if not report.gives_no_score or any(not _is_empty_handed(finding.code) for finding in report.findings):
        return
    seen = [*_without_a_word(paths)]
    if "" in seen:
        return
    shown = "; ".join(seen[:_MAX_SHOWN]) + (f"; {len(seen) - _MAX_SHOWN} more" if len(seen) > _MAX_SHOWN else "")
    raise ClaimError(
        f"nothing to audit in {', '.join(str(path) for path in paths)}",
        seen=shown,
        expected="submission.json, a log, a README, a script or a claim file that speaks of a score",
        hint="name the folder, or the files, in which one is claimed",
    )


def _is_empty_handed(code: str) -> bool:
    return code == NO_CLAIM.code or code.startswith(_READING)


def _without_a_word(paths: Sequence[Path]) -> Iterator[str]:
    """Of each file why it is no record; empty for one that may be."""
    for path in paths:
        for file, shown in list_files(path).files:
            kind = kind_by_name(shown)
            if kind is not None or not path.is_dir():
                yield "" if is_claim_name(shown) else _why_none(file, str(shown) if path.is_dir() else shown.name)


def _why_none(file: Path, name: str) -> str:
    try:
        if _packs_what_is_not_known(file):
            return ""
        text = text_of(file, name)
    except ClaimError as problem:
        return str(problem)
    if len(_NO_CHARACTER.findall(text)) > _MAX_UNREADABLE * len(text):
        return f"{name}, which is no text"
    return "" if _SPEAKS.search(text) else f"{name}, which speaks of no score and no loss"


def _packs_what_is_not_known(file: Path) -> bool:
    """Whether a script holds another that could not be unpacked, as a bomb: what it speaks of, nobody can tell."""
    from bpb_harness.auditing.script import decode_source  # deferred: most records come without a script

    return file.suffix.lower() == ".py" and bool(decode_source(file).problems)
