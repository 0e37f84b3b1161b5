"""What the commands that write a page have in common: its name, and the line that makes it again."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bpb_harness.cli._output import write_output
from bpb_harness.errors import UsageError
from bpb_harness.evaluation.methods import METHODS

if TYPE_CHECKING:
    from bpb_harness.evaluation.job import Job
    from bpb_harness.result import BpbResult

_SUFFIXES = (".html", ".htm")


def require_html(path: Path | None) -> None:
    """Refuse a page that no browser would take for one.

    Raises:
        UsageError: for another ending.
    """
    if path is not None and path.suffix.lower() not in _SUFFIXES:
        raise UsageError("--report", seen=repr(path.name), expected="a file name that ends in .html")


def command_line(command: str) -> str:
    """The command with its words as a shell takes them."""
    return shlex.join([command, *sys.argv[1:]])


def settings_for_report(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that also keep the tables that a page is made of, where the method and --resume allow them."""
    method = METHODS.get(settings["method"])
    has_tokens = settings["resume"] is None and method is not None and not method.enumerates
    return settings | {"with_windows": True, "with_tokens": settings["with_tokens"] or has_tokens}


def write_page(path: Path, job: Job, result: BpbResult, *, title: str) -> None:
    """Write the page of a score.

    Args:
        path: the file.
        job: what was scored.
        result: the score.
        title: of the page.

    Raises:
        OutputError: if it cannot be written.
    """
    from bpb_harness.evaluation.excerpts import excerpts  # deferred: draws by matplotlib, reads by pandas
    from bpb_harness.report.documents import cost_column, extreme_documents
    from bpb_harness.report.evaluation import evaluation_page

    hardest, easiest = extreme_documents(result)
    found = excerpts(job.text, [*hardest, *easiest], result.tokens, cost_column(result))
    write_output(evaluation_page(result, title=title, excerpts=found, command=command_line("bpb-eval")), path)
