"""The opcodes of a pickle, read and not run."""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Iterator
from typing import Any


def opcodes(data: bytes) -> Iterator[tuple[str, Any]]:
    """Name and argument of each opcode, in order.

    Python warns of escapes that a text in the pickle gets wrong: an error to whoever makes errors of warnings.

    Raises:
        ValueError: if the pickle is damaged; other exceptions of :mod:`pickletools` likewise.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for opcode, argument, _ in pickletools.genops(data):
            yield opcode.name, argument
