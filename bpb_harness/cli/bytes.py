"""``bpb-bytes``: how many bytes stand behind a score, by every rule, and where the rules part.

Nothing here imports torch: counting bytes takes a tokenizer and the tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bpb_harness._version import __version__
from bpb_harness.cli._output import require_folder, write_output
from bpb_harness.cli._run import interrupted_afterwards, run
from bpb_harness.cli._settings import as_settings, takes
from bpb_harness.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from bpb_harness.byte_report.report import ByteReport

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

_TEXT, _JSON = "text", "json"


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"bpb-harness {__version__}")
        raise typer.Exit


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
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    **given: Any,
) -> None:
    """Count the bytes behind a score: official, exact and raw, what differs and why.

    With --data the tokens of the shards are counted, with --docs the documents are tokenized first. With both, the
    shards are held against the documents that they are said to be made of.
    """
    if output_format not in {_TEXT, _JSON}:
        raise UsageError("--format", seen=repr(output_format), expected="text or json")
    if not given["data"] and not given["docs"]:
        raise UsageError("nothing to count", hint="give --data SHARDS, --docs TEXT, or both")
    require_folder(output)
    with _progress() as track:
        report = _measure(track, **as_settings(given))
    text = json.dumps(report.to_dict(), indent=2, ensure_ascii=False) if output_format == _JSON else describe(report)
    write_output(text, output)


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
        from bpb_harness.text.corpus import iterate_documents, load_documents, load_shards
        from bpb_harness.text.flags import require_text_flags
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
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description} {task.completed:,.0f} documents"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        yield lambda texts, what: progress.track(texts, total=None, description=what)


def describe(report: ByteReport) -> str:
    """The report as text: a table of the counts, what differs, the findings."""
    import io

    from rich.console import Console

    plain = Console(file=io.StringIO(), width=110, highlight=False, markup=False, emoji=False, color_system=None)
    plain.print(_title(report))
    plain.print(f"documents: {_borders(report)}", soft_wrap=True)
    plain.print(_counts(report))
    if report.truth is not None:
        table = _differences(report)
        plain.print(table if table.row_count else "nothing differs")
    for note in report.tokenizer.notes:
        plain.print(f"note: {note}", soft_wrap=True)
    for found in report.findings:
        plain.print(f"{found.code} {found.severity.value}: {found.message}", soft_wrap=True)
    if not report.findings:
        plain.print("no findings")
    file = plain.file
    assert isinstance(file, io.StringIO)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def _title(report: ByteReport) -> str:
    corpus, tokenizer = report.corpus, report.tokenizer
    form = "" if corpus.form in ("token shards", "") else f" ({corpus.form})"
    return (
        f"{corpus.name}@{corpus.digest[:8]}{form} with {tokenizer.name} "
        f"({tokenizer.kind}, {tokenizer.vocab_size:,} pieces, {tokenizer.digest[:8]})"
    )


def _borders(report: ByteReport) -> str:
    """What sets documents off, and what names it."""
    named_by = "" if report.borders.token is None else f" ({report.borders.token.where})"
    return f"{report.borders}{named_by}"


def _counts(report: ByteReport) -> object:
    from rich.table import Table

    truth = report.truth
    table = Table()
    for name, justify in (("bytes", "left"), ("", "right"), ("per token", "right"), ("to official", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    rows = {"official": report.num_bytes_official, "exact": report.num_bytes_exact}
    if truth is not None and report.compares_all:
        rows |= {"normalised text": truth.num_bytes_normalized, "raw text": truth.num_bytes_raw}
    _add_rates(table, rows, report.corpus.num_tokens)
    table.add_section()
    table.add_row("tokens", f"{report.corpus.num_tokens:,}", "", "")
    table.add_row("documents", f"{report.num_documents:,}", "", "")
    table.add_row("unknown tokens", f"{report.num_unknown_tokens:,}", "", "")
    table.add_row("lossless", "yes" if report.lossless else "no", "", "")
    if truth is not None and truth.num_documents and not report.compares_all:
        # Bytes of some documents over the tokens of all would mean nothing: these stand for themselves.
        table.add_section()
        table.add_row(f"the first {truth.num_documents:,} documents", "", "", "")
        rows = {
            "official": truth.num_bytes_official,
            "exact": truth.num_bytes_exact,
            "normalised text": truth.num_bytes_normalized,
            "raw text": truth.num_bytes_raw,
        }
        _add_rates(table, rows, truth.num_tokens)
        table.add_row("tokens", f"{truth.num_tokens:,}", "", "")
    return table


def _add_rates(table: Table, rows: dict[str, int], num_tokens: int) -> None:
    """A row each, per token and as a multiple of the official count, which comes first."""
    official = rows["official"]
    for name, num_bytes in rows.items():
        ratio = f"x {num_bytes / official:.5f}" if official else ""
        table.add_row(name, f"{num_bytes:,}", f"{num_bytes / num_tokens:.6f}", ratio)


def _differences(report: ByteReport) -> Table:
    from rich.table import Table

    truth = report.truth
    assert truth is not None
    table = Table(title="where they differ", title_justify="left")
    for name in ("compared", "documents", "first at", "why"):
        table.add_column(name, justify="right" if name == "documents" else "left", overflow="fold")
    for name, comparison in (
        ("official - exact", truth.official),
        ("exact - normalised", truth.pieces),
        ("normalised - raw", truth.normaliser),
        ("letters", truth.letters),
        ("shards - documents", truth.tokens),
    ):
        unit = "token" if comparison is truth.tokens else "byte"
        for reason, first in comparison.firsts.items():
            place = f"document {first.document}, {unit} {first.position:,}"
            table.add_row(name, f"{comparison.reasons[reason]:,}", place, reason.value)
        if not comparison.firsts and comparison not in (truth.tokens, truth.letters):
            table.add_row(name, "0", "", "")
    return table


def main() -> None:
    """Entry point of the ``bpb-bytes`` command."""
    run(app, "bpb-bytes")
