"""Tokens on their way into the bits and out of them: what a code hands its predictions to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import final

import numpy as np
import numpy.typing as npt

from bpb_harness.errors import NumericsError
from bpb_harness.proof.frequencies import frequencies
from bpb_harness.proof.range_coder import Decoder, Encoder

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_NUMBERS_AT_ONCE = 1 << 22


class Symbols(ABC):
    """One end of a code."""

    @abstractmethod
    def exchange(self, log_probs: Floats, rows: Ints, targets: Ints) -> Ints:
        """Write some tokens, or read them.

        Args:
            log_probs: predictions of each, (n, V); -inf for what cannot be.
            rows: of the canvas, (n,).
            targets: which target of its row each is, (n,).

        Returns:
            The tokens, (n,).

        Raises:
            NumericsError: if a prediction is no number.
        """


@final
class Known(Symbols):
    """The end that has the tokens.

    Args:
        tokens: targets of each row, (B, L).
        writer: where their bits go; None: they are only priced.

    Attributes:
        nats: what each row cost so far by the predictions themselves, (B,).
    """

    def __init__(self, tokens: Ints, writer: Encoder | None = None) -> None:
        self._tokens, self._writer = tokens, writer
        self.nats: Floats = np.zeros(len(tokens))

    def exchange(self, log_probs: Floats, rows: Ints, targets: Ints) -> Ints:
        _require_numbers(log_probs)
        tokens = self._tokens[rows, targets]
        np.add.at(self.nats, rows, -log_probs[np.arange(len(tokens)), tokens])
        if self._writer is not None:
            for part, counts in _counted(log_probs):
                self._writer.encode_rows(counts, tokens[part])
        return tokens


@final
class Unknown(Symbols):
    """The end that has the bits.

    Args:
        reader: where they come from.
        num_rows: of the canvas, B.

    Attributes:
        nats: what each row cost so far by the predictions, (B,).
    """

    def __init__(self, reader: Decoder, num_rows: int) -> None:
        self._reader = reader
        self.nats: Floats = np.zeros(num_rows)

    def exchange(self, log_probs: Floats, rows: Ints, targets: Ints) -> Ints:
        del targets
        _require_numbers(log_probs)
        tokens = np.concatenate([self._reader.decode_rows(counts) for _, counts in _counted(log_probs)])
        np.add.at(self.nats, rows, -log_probs[np.arange(len(tokens)), tokens])
        return tokens


def _counted(log_probs: Floats) -> Iterator[tuple[slice, Ints]]:
    """Frequencies, some rows at a time."""
    size = max(_NUMBERS_AT_ONCE // log_probs.shape[1], 1)
    for start in range(0, len(log_probs), size):
        part = slice(start, start + size)
        yield part, frequencies(log_probs[part])


def _require_numbers(log_probs: Floats) -> None:
    largest = log_probs.max(axis=1)
    if not np.isfinite(largest).all():
        raise NumericsError(
            "a prediction to be coded", seen=str(largest[~np.isfinite(largest)][0]), expected="log-probabilities",
            hint="the network's logits hold NaN or infinity",
        )  # fmt: skip
