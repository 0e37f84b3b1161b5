"""Every error that this package raises on purpose.

::

    HarnessError                          exit 2   anything said to the user in one line
    |-- UsageError                                 flags or arguments that do not go together
    |-- LostProcessError                           another process of the same run has ended
    |-- InputError                                 a file is not what it should be
    |   |-- CorpusError                            shards, text, JSON lines
    |   |-- TokenizerError                         tokenizer files, or one that does not fit its shards
    |   |-- CheckpointError                        checkpoints and exported programs
    |   |   `-- UnsafeCheckpointError              loading it would run code or exhaust memory
    |   `-- ClaimError                             submissions, logs, claim files
    |-- OutputError                                a file that cannot be written
    |-- NumericsError                              NaN or infinity where a number must be
    `-- ContractError                     exit 4   a denoiser that does not behave as a denoiser must
        |-- AnswerTypeError                        no plain tensor, or one on another device
        |-- LogitsShapeError                       not (batch, length, width)
        |-- LogitsWidthError                       fewer columns than clean tokens
        |-- LogitsScaleError                       probabilities, or log p to another base, in place of logits
        |-- NonFiniteLogitsError         exit 2    NaN or +inf, with the position; also a NumericsError
        |-- ContextLengthError                     a window it says it takes, and does not
        |-- MaskTokenError                         the mask occurs in the data, or is no id
        |-- MaskMassError                          it mostly predicts the mask
        |-- NondeterministicError                  the same input, another output
        |-- DriftError                             the output moves with the number of calls
        |-- InputMutatedError                      a call overwrites what it was given
        |-- StateMutatedError                      a call changes the network's own parameters or buffers
        |-- StatefulError                          earlier calls change the output
        |-- RowDependenceError                     other rows of the batch change the output
        |-- BatchSizeError                         the number of rows changes the output
        |-- TimeConditioningError                  it depends on the noise level and says it does not
        |-- CausalityError                         a causal model that reads later tokens
        |-- FactoringError                         trunk and head together are not the network
        |-- ContextDependenceError                 the context lengths of other rows change the output
        |-- EmptyContextError                      told of empty contexts, it answers otherwise than untold
        |-- LaterBlockError                        a block looks at its own clean tokens, or at later ones
        |-- WrongHalfError                         a block looks at noised tokens of other blocks
        |-- BlockCallError                         all blocks in one call are not a call a block
        `-- SecondLookError                        a fresh process does not give what was summed

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


class LostProcessError(HarnessError):
    """Another process of the same run has ended before its time; which one, nobody that is left may know."""


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


class OutputError(HarnessError):
    """A file that cannot be written: a full disk, a folder without permission."""


class NumericsError(HarnessError):
    """NaN or infinity where a number must be: an error, never a value."""


class ContractError(HarnessError):
    """A denoiser that does not behave as a denoiser must; its score would mean nothing."""

    exit_code: ClassVar[int] = 4


class AnswerTypeError(ContractError):
    """An answer that is not a plain ``torch.Tensor`` on the device of its question."""


class LogitsShapeError(ContractError):
    """Logits that are not (batch, length, width) floating-point numbers."""


class LogitsWidthError(ContractError):
    """Logits with fewer columns than there are clean tokens."""


class LogitsScaleError(ContractError):
    """Probabilities, surprisals or logarithms to another base where logits are asked for."""


class NonFiniteLogitsError(ContractError, NumericsError):
    """NaN or +inf among the logits: bad input, wherever it is met."""

    exit_code: ClassVar[int] = 2


class ContextLengthError(ContractError):
    """A network that does not take the windows it says it takes."""


class MaskTokenError(ContractError):
    """A mask id that occurs in the data, or that is no id."""


class MaskMassError(ContractError):
    """A network that gives most of its mass to the mask: its mask id or its columns are not what it says."""


class NondeterministicError(ContractError):
    """The same input gives another output."""


class DriftError(ContractError):
    """The output moves a little with every call."""


class InputMutatedError(ContractError):
    """A call overwrites the tokens, positions, noise levels or context lengths that it was given."""


class StateMutatedError(ContractError):
    """A call changes the network's own parameters or buffers."""


class StatefulError(ContractError):
    """What the network saw in earlier calls changes its output."""


class RowDependenceError(ContractError):
    """Other rows of the batch change the output."""


class BatchSizeError(ContractError):
    """The number of rows in the batch changes the output."""


class TimeConditioningError(ContractError):
    """A network that says it ignores the noise level depends on it."""


class CausalityError(ContractError):
    """A network that says it is causal reads later tokens."""


class FactoringError(ContractError):
    """A network whose trunk and head together are not the network."""


class ContextDependenceError(ContractError):
    """Where the contexts of other rows end changes the output."""


class EmptyContextError(ContractError):
    """``logits`` and ``logits_given`` of empty contexts are two networks."""


class LaterBlockError(ContractError):
    """A network of blocks in which a block's answer depends on clean tokens of that block or of later ones."""


class WrongHalfError(ContractError):
    """A network of blocks in which a block's answer depends on noised tokens of other blocks."""


class BlockCallError(ContractError):
    """A network of blocks that answers otherwise for all blocks in one call than for a block alone."""


class SecondLookError(ContractError):
    """A fresh process that has only the checkpoint does not give what was summed."""
