"""How a network learns from text that it has paid for; nothing here imports torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal, final

from bpb_harness.errors import UsageError

AdaptationMethod = Literal["sgd", "own"]
MAX_EPOCHS, MAX_CHUNK, MAX_BATCH = 1_000, 1 << 40, 1 << 20


@final
@dataclass(frozen=True)
class AdaptationSettings:
    """Test-time training: a chunk of the text is scored, then learnt from.

    Attributes:
        method: "sgd" is the harness's own loop; "own" hands tokens to the network's method ``adapt``.
        chunk_tokens: tokens of a chunk.
        learning_rate: of the first chunk; it falls to 0 by a cosine over the chunks.
        momentum: of SGD, kept from chunk to chunk.
        epochs: times that a chunk is gone through.
        batch_windows: windows of a step.
        largest_norm: gradients longer than this are shortened to it; infinite: none are.

    Raises:
        UsageError: for a number out of range.
    """

    method: AdaptationMethod
    chunk_tokens: int
    learning_rate: float = 0.002
    momentum: float = 0.9
    epochs: int = 3
    batch_windows: int = 32
    largest_norm: float = 1.0

    def __post_init__(self) -> None:
        for name, value, is_sound, expected in (
            ("--ttt-lr", self.learning_rate, 0.0 < self.learning_rate < math.inf, "more than 0"),
            ("--ttt-momentum", self.momentum, 0.0 <= self.momentum < 1.0, "0 or more, less than 1"),
            ("--ttt-clip", self.largest_norm, self.largest_norm > 0.0, "more than 0; inf for no limit"),
        ):
            if not is_sound:
                raise UsageError(name, seen=value, expected=expected)

    def __str__(self) -> str:
        """As it stands in a signature: ``sgd[lr=0.002,momentum=0.9,epochs=3,chunk=32768,batch=32,clip=1.0]``."""
        named: list[tuple[str, int | float]] = [("chunk", self.chunk_tokens)]
        if self.method == "sgd":
            named = [
                ("lr", self.learning_rate), ("momentum", self.momentum), ("epochs", self.epochs),
                *named, ("batch", self.batch_windows), ("clip", self.largest_norm),
            ]  # fmt: skip
        return f"{self.method}[{','.join(f'{name}={value}' for name, value in named)}]"

    def learning_rate_of(self, chunk: int, num_chunks: int) -> float:
        """The rate at which a chunk is learnt: a cosine from the whole rate at the first to 0 at the last."""
        return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * chunk / max(num_chunks - 1, 1)))

    def to_plain(self) -> dict[str, str | int | float]:
        """Its fields, for another process; ``AdaptationSettings(**plain)`` is the same."""
        return {each.name: getattr(self, each.name) for each in fields(self)}
