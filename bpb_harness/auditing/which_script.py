"""Which of several scripts wrote the logs of a claim, where they tell: remarks are on that one, and not on another.

By the size of its code, which each log states, or by the line of the score, which it alone can print. What it names may
be a part of it: then nothing is told.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bpb_harness.auditing.evidence import Evidence
from bpb_harness.claim import ScoreLine
from bpb_harness.claim.figure_lines import figure_line
from bpb_harness.claim.text_file import read_text
from bpb_harness.errors import ClaimError

_SCRIPTS = frozenset([".py"])


def the_script_of(evidence: Evidence, scripts: Sequence[Path]) -> Path | None:
    """The one script that wrote each log of a claim, and that names none of the others; None where that is open.

    Args:
        evidence: the claim and its record.
        scripts: of the record.
    """
    from bpb_harness.auditing.script import decode_source  # deferred: most records come without a script

    if len(scripts) < 2 or not evidence.lines or any(script.suffix not in _SCRIPTS for script in scripts):
        return None
    try:
        texts = {script: decode_source(script).text for script in scripts}
        told = {_that_wrote(evidence, line, texts) for line in evidence.lines}
    except (ClaimError, OSError):
        return None
    wrote = told.pop() if len(told) == 1 else None
    is_alone = wrote is not None and not any(_names(texts[wrote], each) for each in scripts if each != wrote)
    return wrote if is_alone else None


def _that_wrote(evidence: Evidence, line: ScoreLine, texts: dict[Path, str]) -> Path | None:
    from bpb_harness.auditing.script import Printable, stated_code_sizes  # deferred, as above

    log, number = evidence.log_of(line), line.bpb.source.line
    if log is None or log.path is None or number is None or log.holds_script:
        return None
    text = read_text(log.path, log.file).text
    sizes = stated_code_sizes(text)
    of_size = [script for script in texts if script.stat().st_size in sizes]
    printed = figure_line(text.split("\n")[number - 1], number)
    programs = {script: Printable([source]) for script, source in texts.items()}
    if printed is None or any(each.has_trainer for each in programs.values()):
        return None
    words = [word for word in re.split(r"[^a-z]+", line.label.lower()) if word]
    printing = [
        script
        for script, each in programs.items()
        if each.holds(printed) and all(word in texts[script].lower() for word in words)
    ]
    if sizes:
        return of_size[0] if len(of_size) == 1 and of_size[0] in printing else None
    return printing[0] if len(printing) == 1 else None


def _names(text: str, script: Path) -> bool:
    """Whether a program names a script that lies beside it: to import it, to run it."""
    return re.search(rf"(?<![\w/-])(?:\./)?{re.escape(script.stem)}(?!\w)", text) is not None
