"""Every error that this package raises on purpose.

::

    HarnessError                          exit 2   anything said to the user in one line
    |-- UsageError                                 flags or arguments that do not go together
    |-- InputError                                 a file is not what it should be
    |   |-- CorpusError                            shards, text, JSON lines
    |   |-- TokenizerError                         tokenizer files, or one that does not fit its shards
    |   |-- CheckpointError                        checkpoints and exported programs
    |   |   `-- UnsafeCheckpointError              loading it would run code or exhaust memory
    |   `-- ClaimError                             submissions, logs, claim files
    |-- NumericsError                              NaN or infinity where a number must be
    `-- ContractError                     exit 4   a denoiser that does not behave as a denoiser must

An error message is one line: what is wrong, the value seen, the value expected, the next step.
"""

from __future__ import annotations

from typing import ClassVar


class HarnessError(Exception):
    """Base of the tree; ``str(error)`` is the one line that a user reads.

    Args:
        what: what is wrong, naming the file or flag.
        seen: the value that was met.
        expected: the value that would have been right.
        hint: the next step, as an imperative.
    """

    exit_code: ClassVar[int] = 2

    def __init__(
        self,
        what: str,
        *,
        seen: object = None,
        expected: object = None,
        hint: str | None = None,
    ) -> None:
        self.what, self.seen, self.expected, self.hint = what, seen, expected, hint
        facts = []
        if seen is not None:
            facts.append(f"got {seen}")
        if expected is not None:
            facts.append(f"expected {expected}")
        line = what + (": " + ", ".join(facts) if facts else "") + (f"; {hint}" if hint else "")
        # Whatever a hostile file put into a value, the message stays one line of bounded length.
        line = " ".join(line.split())
        super().__init__(line if len(line) <= _LONGEST_LINE else line[: _LONGEST_LINE - 3] + "...")


_LONGEST_LINE = 600


class UsageError(HarnessError):
    """Flags or arguments that do not go together."""


class InputError(HarnessError):
    """A file is not what it should be."""


class CorpusError(InputError):
    """A shard, text file or JSON-lines file that cannot be read as a corpus."""


class TokenizerError(InputError):
    """A tokenizer file that cannot be used, or that does not belong to the shards."""


class CheckpointError(InputError):
    """A checkpoint that cannot be adapted to a denoiser."""


class UnsafeCheckpointError(CheckpointError):
    """A checkpoint whose loading would run code or exhaust memory."""


class ClaimError(InputError):
    """A submission, log or claim file that cannot be read."""


class NumericsError(HarnessError):
    """NaN or infinity where a number must be: an error, never a value."""


class ContractError(HarnessError):
    """A denoiser that does not behave as a denoiser must; its score would mean nothing."""

    exit_code: ClassVar[int] = 4
