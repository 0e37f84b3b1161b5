"""The bar of a scoring, on stderr while that is a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress_bar(*, shown: bool = True) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on stderr while it is a terminal; nothing otherwise.

    Args:
        shown: whether this process is the one that shows it, among those that score together.

    Yields:
        What to call with (tokens done, tokens in all); None where nothing is shown.
    """
    if not shown or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("scoring"), BarColumn(), TextColumn("{task.percentage:.0f} %"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("scoring", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
