"""Whether a script of the program has written a log."""

from __future__ import annotations

from pathlib import Path

from bpb_harness.auditing.script.context import LoggedScore
from bpb_harness.auditing.script.domains.printed_scores import printed_lines_of
from bpb_harness.auditing.script.frontend.code_size import foreign_code_size, stated_code_sizes
from bpb_harness.auditing.script.frontend.printable import Printable
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.claim.figure_lines import figure_lines
from bpb_harness.errors import ClaimError

_SCRIPTS = frozenset([".py", ".ipynb"])  # else it is the log itself that holds the script
_NEAR = 1e-3  # of a size: a default or two that were changed since


def wrote_log(program: Program, score: LoggedScore) -> bool:
    """Whether the log of a score is one of these scripts, as far as it tells.

    It states the size of one of them; or none, or nearly that, and every kind of line in it that prints figures of a
    run is one that they can print.
    """
    key = (wrote_log, score.path)
    if key not in program.memo:
        program.memo[key] = _wrote(program, score)
    return bool(program.memo[key])


def other_size(program: Program, score: LoggedScore) -> tuple[int, int] | None:
    """The size of its code that a log states, and the nearest one of a script, where they are not the same."""
    files = _files(program)
    if any(Path(script.path) == score.path for script in program.scripts):
        return None
    stated = foreign_code_size("\n".join(printed_lines_of(program, score)), files) if files else None
    if stated is None:
        return None
    sizes = [file.stat().st_size for file in files]
    return stated, min(sizes, key=lambda size: abs(size - stated))


def _files(program: Program) -> list[Path]:
    return [file for script in program.scripts if (file := Path(script.path)).suffix in _SCRIPTS and file.is_file()]


def _wrote(program: Program, score: LoggedScore) -> bool:
    if any(Path(script.path) == score.path for script in program.scripts):  # the log holds it
        return True
    try:
        other = other_size(program, score)
    except (ClaimError, OSError):
        return False
    if other is not None and abs(other[0] - other[1]) > _NEAR * other[0]:
        return False
    text = "\n".join(printed_lines_of(program, score))
    if other is None and stated_code_sizes(text):
        return True
    printable = Printable([script.text for script in program.scripts])
    return all(printable.holds(line) for line in figure_lines(text))
