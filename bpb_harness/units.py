"""Units: nats, bits, tokens, bytes, windows. The only place where ln 2 appears."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bpb_harness.errors import NumericsError

NATS_PER_BIT = math.log(2.0)


def nats_to_bits(nats: float) -> float:
    """Convert a code length from nats to bits."""
    return nats / NATS_PER_BIT


def bits_to_nats(bits: float) -> float:
    """Convert a code length from bits to nats."""
    return bits * NATS_PER_BIT


def counted(number: int, noun: str) -> str:
    """A number of things: ``1 token``, ``2 tokens``, ``1,000 tokens``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class CodeLength:
    """Sums over a whole corpus, from which every rate is one division.

    Rates are ratios of sums, never means of ratios: a mean over windows of bits per byte weighs
    short windows like long ones and is not the length of any code.

    Attributes:
        nats: total code length, or bound on it, in nats.
        num_tokens: tokens that were paid for.
        num_bytes: bytes of text that these tokens spell; 0 where it is not known.
        num_windows: windows that were scored.

    Raises:
        NumericsError: if ``nats`` is not finite or a count is negative.
    """

    nats: float
    num_tokens: int
    num_bytes: int
    num_windows: int

    def __post_init__(self) -> None:
        if not math.isfinite(self.nats):
            raise NumericsError("total code length", seen=self.nats, expected="a finite number")
        for name in ("num_tokens", "num_bytes", "num_windows"):
            if getattr(self, name) < 0:
                raise NumericsError(name, seen=getattr(self, name), expected="0 or more")

    def __add__(self, other: CodeLength) -> CodeLength:
        return CodeLength(
            self.nats + other.nats,
            self.num_tokens + other.num_tokens,
            self.num_bytes + other.num_bytes,
            self.num_windows + other.num_windows,
        )

    @property
    def bits(self) -> float:
        """Total code length in bits."""
        return nats_to_bits(self.nats)

    @property
    def bits_per_byte(self) -> float:
        """Total bits over total bytes.

        Raises:
            NumericsError: if the text has no bytes.
        """
        return self.bits / self._positive("num_bytes")

    @property
    def num_units(self) -> int:
        """What errors and intervals are over: bytes, or tokens where no bytes are known."""
        return self.num_bytes or self.num_tokens

    @property
    def bits_per_unit(self) -> float:
        """Total bits over :attr:`num_units`."""
        return self.bits_per_byte if self.num_bytes else self.bits_per_token

    @property
    def bits_per_token(self) -> float:
        """Total bits over total tokens."""
        return self.bits / self._positive("num_tokens")

    @property
    def bytes_per_token(self) -> float:
        """Total bytes over total tokens."""
        return self.num_bytes / self._positive("num_tokens")

    def _positive(self, name: str) -> int:
        count: int = getattr(self, name)
        if count == 0:
            raise NumericsError(
                f"a rate per {name.removeprefix('num_')[:-1]}", seen=f"{name} = 0", expected="1 or more"
            )
        return count
