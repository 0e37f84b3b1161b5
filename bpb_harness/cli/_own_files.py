"""Files that another command reads, ours and checkpoints: named by how they begin, with what to do with them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bpb_harness.errors import UsageError
from bpb_harness.text.signs import LONGEST_SIGN, sign_of_checkpoint

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


def require_no_checkpoint(paths: Iterable[Path], *, expected: str) -> None:
    """Refuse a file that begins as checkpoints do: as a zip archive, a pickle or tensors of safetensors.

    Args:
        paths: what a command was given.
        expected: what it reads.

    Raises:
        UsageError: with what the file is, and the command that scores a checkpoint.
    """
    for path in paths:
        if path.is_file():
            with path.open("rb") as file:
                kind = sign_of_checkpoint(file.read(LONGEST_SIGN))
            if kind is not None:
                hint = f"`bpb-eval {path.name}` scores a checkpoint"
                raise UsageError(path.name, seen=f"{kind}, as checkpoints are", expected=expected, hint=hint)
