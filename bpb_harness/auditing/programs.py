"""The programs of a record, each read once, for the checks that hold logs and titles against all of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bpb_harness.claim import Claim
from bpb_harness.claim.listing import NOTEBOOK, programs_below
from bpb_harness.errors import ClaimError

if TYPE_CHECKING:
    from bpb_harness.auditing.script import SourceText

_MOST_CHARACTERS = 2**20


class Programs:
    """All programs of a record.

    Args:
        claim: its claim.
        folders: of the record; files that somebody named one by one need not be all of it.
    """

    def __init__(self, claim: Claim, folders: Sequence[Path]) -> None:
        self.folders = folders
        self._claim = claim
        self._read: dict[Path, SourceText | None] = {}

    @cached_property
    def files(self) -> list[Path]:
        """The scripts, and programs in folders further down and in other languages."""
        below = (file for folder in self.folders for file in programs_below(folder))
        return [*dict.fromkeys([*self._claim.scripts, *below])]

    @cached_property
    def every(self) -> list[Path]:
        """These, and the logs that hold one; none where a notebook is among them."""
        held = [log.path for log in self._claim.logs if log.path and log.holds_script]
        return [] if any(file.suffix == NOTEBOOK for file in self.files) else [*self.files, *held]

    @cached_property
    def texts(self) -> list[str]:
        """The sources of every one of them, unpacked; none where one cannot be read whole."""
        return self.texts_of(self.every)

    def texts_of(self, files: Sequence[Path], most_characters: int = _MOST_CHARACTERS) -> list[str]:
        """The sources of some programs, unpacked; none where one cannot be read whole, or they are too long."""
        texts: list[str] = []
        for file in files:
            source = self.source(file)
            texts += [] if source is None else [source.text]
            if source is None or source.problems or sum(map(len, texts)) > most_characters:
                return []
        return texts

    def source(self, file: Path) -> SourceText | None:
        """What a program holds, unpacked; None where it cannot be read."""
        from bpb_harness.auditing.script import decode_source  # deferred: most records come without a script

        if file not in self._read:
            try:
                self._read[file] = decode_source(file)
            except ClaimError:
                self._read[file] = None
        return self._read[file]
