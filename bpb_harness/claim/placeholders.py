"""Numbers of a log that no program formats: ``train_time:600xxx``, ``step:~5500/20000``."""

from __future__ import annotations

import re

_PLACEHOLDER = re.compile(
    r"(?<![a-z0-9_])(?:train_time|eval_time|step|step_avg|val_bpb|val_loss|train_loss)[:=] ?"
    r"(?:~ ?[0-9][0-9.,]{0,15}|[0-9]{1,12}(?:\.[0-9]{0,12})?x{2,8})(?:ms|s|/[0-9]{1,12})?(?![a-z0-9_])"
)


def placeholders_in(line: str) -> str | None:
    """The numbers of a log's line that are guesses or have digits left open, with their names; None without one.

    Args:
        line: the line, in small letters.
    """
    found = [match[0] for match in _PLACEHOLDER.finditer(line)]
    return " ".join(found) or None
