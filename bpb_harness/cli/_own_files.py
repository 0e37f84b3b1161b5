"""Files that commands of ours write and another one reads: named by how they begin, with what to do with them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bpb_harness.errors import UsageError

_JSON = "bpb-eval CHECKPOINT --format json --output FILE writes one"
_BEGINNINGS = {
    b'{"format": "bpb-score/': ("a file of --score-file", f"bpb-compare reads it; {_JSON}"),
    b'{"format": "bpb-harness draws"': ("a file of --resume", f"bpb-compare reads it; {_JSON}"),
    b"bpb-harness proof\n": ("a file of bits", "bpb-audit reads it with --proof, bpb-prove with --decode"),
}


def require_no_other(paths: Iterable[Path], *, what: str, expected: str) -> None:
    """Refuse a file of ours that is made for another place.

    Args:
        paths: what a command was given.
        what: what it calls them.
        expected: what it reads.

    Raises:
        UsageError: with what the file is, and who reads it.
    """
    longest = max(map(len, _BEGINNINGS))
    for path in paths:
        if not path.is_file():
            continue
        with path.open("rb") as file:
            start = file.read(longest)
        for beginning, (seen, hint) in _BEGINNINGS.items():
            if start.startswith(beginning):
                raise UsageError(f"{what}{path.name}", seen=seen, expected=expected, hint=hint)
