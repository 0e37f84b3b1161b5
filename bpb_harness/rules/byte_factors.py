"""By what known byte bugs multiply the number of bytes of a text: what a record can be held against without the text.

The catalogue of the bugs themselves, which counts them on any tokenizer and text, is that of byte_report.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ByteFactor:
    """What a way of counting wrongly does to the number of bytes of the split.

    Attributes:
        name: the bug's name in the catalogue.
        lowest: smallest known ratio of counted bytes to right bytes.
        highest: the largest; equal to ``lowest`` where the text fixes it whatever the tokenizer.
        story: what the code does, in one clause.
    """

    name: str
    lowest: float
    highest: float
    story: str

    @property
    def is_point(self) -> bool:
        """Whether the ratio is one number, so that meeting it is evidence."""
        return self.lowest == self.highest
