"""``bpb-audit``: is a published score right? Needs no torch, except to rescore with --checkpoint."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bpb_harness._version import __version__
from bpb_harness.cli._output import require_folder, write_output
from bpb_harness.cli._run import run
from bpb_harness.errors import UsageError

if TYPE_CHECKING:
    from bpb_harness.audit import AuditReport, Recomputed

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

_FORMATS = ("text", "json", "markdown")


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"bpb-harness {__version__}")
        raise typer.Exit


@app.command()
def audit(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH ...", help="Folders, each a claim; or files that belong to one claim."),
    ],
    recursive: Annotated[bool, typer.Option("--recursive", help="Audit every submission below the folders.")] = False,
    baseline: Annotated[Path | None, typer.Option(help="The claim to be beaten: folder or file.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Rescore this checkpoint; needs --data.")] = None,
    data: Annotated[list[Path] | None, typer.Option(help="Token shard to rescore on; may be repeated.")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="Tokenizer file, to rescore or for --allow-code.")] = None,
    method: Annotated[str | None, typer.Option(help="Method to rescore by (the claim's if not given).")] = None,
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="Run the script's byte-table function alone, in a limited process.")
    ] = False,
    output_format: Annotated[str, typer.Option("--format", help="text, json or markdown.")] = "text",
    output: Annotated[Path | None, typer.Option(help="Write the report here instead of stdout.")] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Audit published scores: confirmed (exit 0), refuted (1) or unverifiable (3), with reasons.

    Nothing of a submission is executed, unless --allow-code says so.
    """
    if output_format not in _FORMATS:
        raise UsageError("--format", seen=repr(output_format), expected=", ".join(_FORMATS))
    require_folder(output)
    claims = _claims(paths, recursive=recursive)
    if checkpoint is None and (data or method):
        raise UsageError("--data and --method are for rescoring", hint="give --checkpoint too")
    if checkpoint is not None and (recursive or len(claims) != 1):
        raise UsageError("--checkpoint rescores one claim", seen=f"{len(paths)} paths", expected="one folder")
    recomputed = _rescore(claims[0], checkpoint, data or [], tokenizer, method) if checkpoint is not None else None
    if recursive:
        reports = list(_with_progress(_audit_below(paths, baseline, tokenizer, allow_code=allow_code)))
    else:
        reports = list(_with_progress(_audit_each(claims, baseline, tokenizer, recomputed, allow_code=allow_code)))
    if not reports:
        raise UsageError("nothing to audit", seen=f"no submission below {paths[0]}", expected="submission.json or logs")
    write_output(_shown(reports, output_format, many=recursive or len(claims) > 1), output)
    from bpb_harness.audit.report import overall

    raise typer.Exit(overall(reports).exit_code)


def _claims(paths: Sequence[Path], *, recursive: bool) -> list[list[Path]]:
    """The paths of each claim: every folder is one; files, and one folder with files, belong together."""
    folders = [path for path in paths if path.is_dir()]
    files = [path for path in paths if not path.is_dir()]
    if recursive:
        if files:
            raise UsageError("--recursive takes folders", seen=str(files[0]))
        return [[folder] for folder in folders]
    if files and len(folders) > 1:
        raise UsageError("several folders and files", hint="audit one claim's files, or several folders")
    return [[*folders, *files]] if files else [[folder] for folder in folders]


def _rescore(
    paths: list[Path], checkpoint: Path, data: list[Path], tokenizer: Path | None, method: str | None
) -> Recomputed:
    from bpb_harness.audit import Recomputed
    from bpb_harness.claim import read_claim
    from bpb_harness.evaluate import evaluate

    protocol = read_claim(*paths).protocol
    chosen = method or (protocol.method if protocol.method in _HARNESS_METHODS else "discrete")
    steps = protocol.num_steps if chosen == "discrete" else None
    result = evaluate(checkpoint, data=data, tokenizer=tokenizer, method=chosen, num_steps=steps)
    return Recomputed.of(result)


_HARNESS_METHODS = frozenset({"discrete", "mc", "chain", "ar"})


def _audit_each(
    claims: Sequence[Sequence[Path]],
    baseline: Path | None,
    tokenizer: Path | None,
    recomputed: Recomputed | None,
    *,
    allow_code: bool,
) -> Iterator[AuditReport]:
    from bpb_harness.audit import audit as audit_claim

    for paths in claims:
        yield audit_claim(
            list(paths), baseline=baseline, recomputed=recomputed, allow_code=allow_code, tokenizer=tokenizer
        )


def _audit_below(
    folders: Sequence[Path], baseline: Path | None, tokenizer: Path | None, *, allow_code: bool
) -> Iterator[AuditReport]:
    from bpb_harness.audit import audit_folders

    for folder in folders:
        yield from audit_folders(folder, baseline=baseline, allow_code=allow_code, tokenizer=tokenizer)


def _with_progress(reports: Iterable[AuditReport]) -> Iterator[AuditReport]:
    """The reports, counted on stderr where that is a terminal."""
    if not sys.stderr.isatty():
        yield from reports
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed} audited"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("audit", total=None)
        for report in reports:
            progress.advance(task)
            yield report


def _shown(reports: Sequence[AuditReport], output_format: str, *, many: bool) -> str:
    from bpb_harness.audit import report as reporting

    if not many:
        (only,) = reports
        if output_format == "json":
            return json.dumps(only.to_dict(), indent=2)
        return (only.to_markdown() if output_format == "markdown" else only.to_text()).rstrip("\n")
    if output_format == "json":
        return json.dumps(reporting.summary_to_dict(reports), indent=2)
    if output_format == "markdown":
        return reporting.summary_to_markdown(reports).rstrip("\n")
    return reporting.summary_to_text(reports).rstrip("\n")


def main() -> None:
    """The entry point ``bpb-audit``."""
    run(app, "bpb-audit")
