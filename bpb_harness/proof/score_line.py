"""The line of a score, read back: what a file of bits, which anybody may have written, says that it is a part of."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Self, final

from bpb_harness.errors import InputError, UsageError
from bpb_harness.result import ESTIMATED_BOUND, Signature

HALF_UNIT = 5e-5  # of its last digit

_NUMBER, _COUNT = r"[0-9]{1,9}\.[0-9]{4}", r"[0-9][0-9,]{0,24}"
_LINE = re.compile(
    rf"(?P<signature>bpb\|\S+) (?P<relation>=|<=|~<=) (?P<rate>{_NUMBER})(?P<per_token> bits/token)? "
    rf"\((?:mc se (?P<sampling>n/a|{_NUMBER})(?P<doubt>, not to be trusted)?, )?corpus se (?P<corpus>n/a|{_NUMBER}); "
    rf"(?:(?P<bytes_per_token>[0-9]{{1,9}}\.[0-9]{{3}}) bytes/token; )?(?P<tokens>{_COUNT}) tokens, "
    rf"(?:(?P<bytes>{_COUNT}) bytes|bytes not counted)\)"
)
_DATA = re.compile(
    r"(?P<name>.+)@(?P<digest>[0-9a-f]{8})(?:\[0:(?P<scored>[0-9]{1,18})/(?P<all>[0-9]{1,18})\])?(?:/.*)?"
)


@final
@dataclass(frozen=True)
class ScoreLine:
    """What ``BpbResult.line`` says.

    Attributes:
        text: the line.
        signature: the settings.
        relation: ``=``, ``<=`` or ``~<=``.
        rate: bits per byte, or per token where no bytes are counted.
        mc_stderr: of the sampling of masks, per the same; 0 where nothing was drawn, None where it is not known.
        is_trusted: whether the score does not itself say that this error is not to be trusted.
        num_tokens: that were paid for.
        num_bytes: that they spell; None where they are not counted.
    """

    text: str
    signature: Signature
    relation: str
    rate: float
    mc_stderr: float | None
    is_trusted: bool
    num_tokens: int
    num_bytes: int | None

    @classmethod
    def read(cls, text: str) -> Self:
        """Read a line.

        Raises:
            InputError: if no result is printed so.
        """
        found = _LINE.fullmatch(text)
        try:
            signature = Signature.parse(text)
        except UsageError as error:
            raise _not_a_line(text, str(error)) from None
        if found is None:
            raise _not_a_line(text, "another form")
        tokens = int(found["tokens"].replace(",", ""))
        num_bytes = None if found["bytes"] is None else int(found["bytes"].replace(",", ""))
        sampling = found["sampling"]
        spelled = (
            str(signature) == found["signature"]
            and found["tokens"] == f"{tokens:,}"
            and tokens > 0
            and (sampling is not None) == (found["relation"] == ESTIMATED_BOUND)
            and (num_bytes is None) == (found["per_token"] is not None) == (found["bytes_per_token"] is None)
        )
        if num_bytes is not None and spelled:
            rate = found["bytes_per_token"]
            spelled &= num_bytes > 0 and found["bytes"] == f"{num_bytes:,}" and rate == f"{num_bytes / tokens:.3f}"
        if not spelled:
            raise _not_a_line(text, "parts that do not fit together")
        stderr = 0.0 if sampling is None else None if sampling == "n/a" else float(sampling)
        return cls(
            text, signature, found["relation"], float(found["rate"]), stderr, found["doubt"] is None, tokens, num_bytes
        )

    @property
    def unit(self) -> str:
        """What its numbers are per."""
        return "token" if self.num_bytes is None else "byte"

    @property
    def num_units(self) -> int:
        """Bytes, or tokens."""
        return self.num_tokens if self.num_bytes is None else self.num_bytes

    @property
    def data_name(self) -> str | None:
        """Name of the text."""
        found = _DATA.fullmatch(self.signature.data or "")
        return None if found is None else found["name"]

    @property
    def data_digest(self) -> str | None:
        """First digits of the digest of the text's tokens."""
        found = _DATA.fullmatch(self.signature.data or "")
        return None if found is None else found["digest"]

    @property
    def part(self) -> tuple[int, int] | None:
        """Windows, or answers, that were scored, and how many there are; None where all were."""
        found = _DATA.fullmatch(self.signature.data or "")
        return None if found is None or found["scored"] is None else (int(found["scored"]), int(found["all"]))

    def stated(self, name: str) -> int | None:
        """A number of the signature; None where it has none."""
        value = getattr(self.signature, name)
        return int(value) if value is not None and re.fullmatch("[0-9]{1,18}", value) else None

    @property
    def stderr(self) -> float:
        """Of the sampling; infinite where it is not known."""
        return math.inf if self.mc_stderr is None else self.mc_stderr


def _not_a_line(text: str, seen: str) -> InputError:
    return InputError(
        f"score {text[:40]!r}", seen=seen, expected="the first line that bpb-eval prints",
        hint="take a file that bpb-prove --proof wrote",
    )  # fmt: skip
