"""Pages without what matplotlib draws, which takes most of the time that a page takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

_EMPTY = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"/>'


@contextmanager
def undrawn_charts() -> Iterator[None]:
    """Charts have their titles, descriptions, sentences and tables, and nothing is painted."""
    with mock.patch("bpb_harness.report.charts.drawing._drawn", return_value=_EMPTY):
        yield
