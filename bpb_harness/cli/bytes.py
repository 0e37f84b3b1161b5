"""``bpb-bytes``: how many bytes stand behind a score, by every rule, and where the rules part.

Nothing here imports torch: counting bytes takes a tokenizer and the tokens.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bpb_harness.cli._inputs import Inputs
from bpb_harness.cli._options import Explain, Version
from bpb_harness.cli._output import require_outputs, screen_of, write_output
from bpb_harness.cli._run import interrupted_afterwards, run
from bpb_harness.cli._settings import as_settings, takes
from bpb_harness.errors import UsageError

if TYPE_CHECKING:
    from bpb_harness.byte_report.report import ByteReport

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

_TEXT, _JSON = "text", "json"


@app.command()
@takes(
    "tokenizer", "data", "docs", "text_field", "shard_format", "separator",
    required=["tokenizer"],
    tokenizer="The tokenizer's file, or the folder that holds it; docs/bytes.md lists the formats.",
    data="Token shards: files, folders or patterns.",
    docs='The documents: {"text": ..} a line, plain text (a document a file), Parquet, Arrow.',
)  # fmt: skip
def count(
    output_format: Annotated[str, typer.Option("--format", help="text or json.")] = _TEXT,
    output: Annotated[Path | None, typer.Option(help="Write the result here instead of stdout.")] = None,
    _explain: Explain = None,
    _version: Version = False,
    **given: Any,
) -> None:
    """Count the bytes behind a score: official, exact and raw, what differs and why.

    With --data the tokens of the shards are counted, with --docs the documents are tokenized first. With both, the
    shards are held against the documents that they are said to be made of.

    Exit codes: 0 counted; 2 bad input, or tokens that do not give the text back.
    """
    if output_format not in {_TEXT, _JSON}:
        raise UsageError("--format", seen=repr(output_format), expected="text or json")
    if not given["data"] and not given["docs"]:
        raise UsageError("nothing to count", hint="give --data SHARDS, --docs TEXT, or both")
    require_outputs({"--output": output}, Inputs.of(**{name: given[name] for name in ("tokenizer", "data", "docs")}))
    with _progress() as track:
        report = _measure(track, **as_settings(given))
    if output_format == _JSON:
        write_output(json.dumps(report.to_dict(), indent=2, ensure_ascii=False), output)
    else:
        from bpb_harness.byte_report.report_text import describe

        write_output(describe(report, screen_of(output)), output)
    report.require_text()  # behind the report, which says why


_Track = Callable[[Iterable[str], str], Iterable[str]]


def _measure(
    track: _Track,
    *,
    tokenizer: Path,
    data: list[Path],
    docs: list[Path],
    text_field: str | None,
    shard_format: str,
    separator: str | None,
) -> ByteReport:
    with interrupted_afterwards():
        from bpb_harness.byte_count import load_tokenizer
        from bpb_harness.byte_report.report import measure_bytes
        from bpb_harness.text.corpus import iterate_documents, load_documents, load_shards, require_text_flags
        from bpb_harness.text.separators import find_separators, own_folder

    form = require_text_flags(docs=bool(docs), data=bool(data), text_field=text_field, shard_format=shard_format)
    loaded = load_tokenizer(tokenizer)
    separators = find_separators(loaded, own_folder(tokenizer), chosen=separator, for_documents=not data)
    counted = separators.apply(loaded)
    documents = _Again(lambda: track(iterate_documents(docs, text_field=text_field), "comparing")) if docs else None
    if data:
        corpus = load_shards(data, vocab_size=counted.vocab_size, shard_format=form)
    else:
        corpus = load_documents(docs, counted, text_field=text_field, track=lambda texts: track(texts, "tokenizing"))
    return measure_bytes(counted, corpus, documents, from_shards=bool(data), separators=separators)


class _Again:
    """Documents that can be read more than once."""

    def __init__(self, read: Callable[[], Iterable[str]]) -> None:
        self._read = read

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())


@contextmanager
def _progress() -> Iterator[_Track]:
    """Counts documents on stderr, where that is a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda texts, _: texts
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description} {task.completed:,.0f} documents"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield lambda texts, what: progress.track(texts, total=None, description=what)


def main() -> None:
    """Entry point of the ``bpb-bytes`` command."""
    run(app, "bpb-bytes")
