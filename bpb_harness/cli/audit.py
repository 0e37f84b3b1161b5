"""``bpb-audit``: is a published score right? Needs no torch, except to rescore with --checkpoint."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bpb_harness.cli._inputs import Inputs
from bpb_harness.cli._options import Explain, Quiet, Version
from bpb_harness.cli._output import require_outputs, screen_of, write_output
from bpb_harness.cli._own_files import require_no_checkpoint, require_no_other
from bpb_harness.cli._progress import progress_bar
from bpb_harness.cli._report import command_line, require_html
from bpb_harness.cli._run import interrupted_afterwards, run, torch_imports
from bpb_harness.cli._settings import as_settings, takes
from bpb_harness.distinct_names import distinct_names
from bpb_harness.errors import UsageError
from bpb_harness.evaluation.methods import METHODS
from bpb_harness.evaluation.settings import FLAGS

if TYPE_CHECKING:
    from bpb_harness.auditing import AuditReport, Proved, Recomputed
    from bpb_harness.claim.reading import Reading
    from bpb_harness.terminal.screen import Screen

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

_PUBLISHED = "what somebody published: a folder, records or logs, or result.json"
_FORMATS = ("text", "json", "markdown", "github")


_RESCORING = (
    "data", "tokenizer", "method", "adapter", "golf_preset", "golf_setting", "schedule", "num_steps", "num_samples",
    "context_length", "limit", "tail", "dtype", "device", "batch_tokens",
)  # fmt: skip


@app.command()
@takes(
    *_RESCORING,
    before={
        "recursive": "data",
        "containing": "data",
        "baseline": "data",
        "rules": "data",
        "checkpoint": "data",
        "proof": "data",
    },
    defaults=False,
    data="Token shard to rescore on, or to compare a proof with; may be repeated.",
    tokenizer="Tokenizer file, to rescore, for --proof or for --allow-code.",
    method="Method to rescore by (the claim's if not given).",
    adapter="How to read the checkpoint; see bpb-eval.",
    num_steps="T of the discrete bound (the claim's if not given).",
    num_samples="K draws a window (2 if not given), or 'all' steps.",
    context_length="Tokens a window (the claim's, or else the network's).",
    limit="Rescore only the first so many windows.",
)
def audit(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH ...", help="Folders, each a claim; or files that belong to one claim."),
    ],
    recursive: Annotated[bool, typer.Option("--recursive", help="Audit every submission below the folders.")] = False,
    containing: Annotated[
        bool, typer.Option("--containing", help="Audit the submissions that the paths, files, are parts of.")
    ] = False,
    baseline: Annotated[Path | None, typer.Option(help="The claim to be beaten: folder or file.")] = None,
    rules: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Pack of rules, or its .toml file; 'none' for none. May be repeated."),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Rescore this checkpoint, which needs --data; or decode --proof by it.")
    ] = None,
    proof: Annotated[Path | None, typer.Option(help="Decode this file of bits; needs --checkpoint.")] = None,
    allow_code: Annotated[
        bool,
        typer.Option("--allow-code", help="Run the script's byte table and scoring functions, in limited processes."),
    ] = False,
    allow_unverifiable: Annotated[
        bool, typer.Option("--allow-unverifiable", help="Exit 0, not 3, where nothing is refuted.")
    ] = False,
    output_format: Annotated[str, typer.Option("--format", help="text, json, markdown or github.")] = "text",
    output: Annotated[Path | None, typer.Option(help="Write the report here instead of stdout.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write the audit as a page to this .html file too.")] = None,
    quiet: Quiet = False,
    _explain: Explain = None,
    _version: Version = False,
    **options: Any,
) -> None:
    """Audit published scores: confirmed or consistent (exit 0), refuted (1) or unverifiable (3), with reasons.

    Nothing of a submission is executed, unless --allow-code says so.
    """
    if output_format not in _FORMATS:
        raise UsageError("--format", seen=repr(output_format), expected=", ".join(_FORMATS))
    require_html(report)
    require_outputs({"--output": output, "--report": report}, Inputs.of(
        record=[*paths, baseline], checkpoint=checkpoint, file=proof, data=options["data"],
        tokenizer=options["tokenizer"],
    ))  # fmt: skip
    if not containing:  # whose files only tell which submissions they are of
        require_no_other(paths, what="", expected=_PUBLISHED)
        require_no_checkpoint(paths, expected=_PUBLISHED)
    claims = _containing(paths, recursive=recursive) if containing else _claims(paths, recursive=recursive)
    tokenizer = options.pop("tokenizer")
    given = {name: value for name, value in options.items() if value is not None and value != []}
    if proof is not None:
        _require_for_proof(claims, checkpoint, given, searches=recursive or containing)
    else:
        _require_for_rescoring(len(paths), claims, checkpoint, given, searches=recursive or containing)
    if not claims:
        held = "holds that file" if len(paths) == 1 else f"holds any of these {len(paths)} files"
        typer.echo(f"bpb-audit: nothing audited: no submission {held}", err=True)
        raise typer.Exit
    with interrupted_afterwards():
        from bpb_harness.auditing.report import overall, unread_to_text
        from bpb_harness.auditing.verdict import Verdict
        from bpb_harness.rules import candidates_of

    candidates = candidates_of(rules)
    recomputed, proved = None, None
    if proof is not None:
        proved = _decode(proof, checkpoint, tokenizer, given.get("data", ()), quiet=quiet)
    elif checkpoint is not None:
        recomputed = _rescore(claims[0], candidates.reading, checkpoint, tokenizer, given, quiet=quiet)
    how = {"baseline": baseline, "allow_code": allow_code, "tokenizer": tokenizer, "rules": candidates}
    if recursive or containing or len(claims) > 1:
        audits = _audit_many(claims, how, recursive=recursive, by_path=containing)
    else:
        audits = _audit_one(claims[0], how, recomputed, proved)
    reports = list(audits if quiet else _with_progress(audits))
    unread = _unread_below(paths) if recursive else []
    if not reports:
        where, hint = f"no submission below {paths[0]}", unread_to_text(unread) or ""
        raise UsageError("nothing to audit", seen=where, expected="submission.json or logs", hint=hint)
    if report is not None:
        from bpb_harness.report.audit import audit_page  # deferred: jinja2 reads its templates

        write_output(audit_page(reports, unread=unread, command=command_line("bpb-audit")), report)
    many = recursive or containing or len(claims) > 1
    shown = _shown(reports, output_format, screen_of(output), unread, many=many, with_details=containing)
    write_output(shown, output)
    verdict = overall(reports)
    raise typer.Exit(0 if allow_unverifiable and verdict is Verdict.UNVERIFIABLE else verdict.exit_code)


def _claims(paths: Sequence[Path], *, recursive: bool) -> list[list[Path]]:
    """The paths of each claim: every folder is one; files, and one folder with files, belong together."""
    folders = [path for path in paths if path.is_dir()]
    files = [path for path in paths if not path.is_dir()]
    if recursive:
        if files:
            raise UsageError("--recursive takes folders", seen=str(files[0]))
        return [[folder] for folder in folders]
    if files and len(folders) > 1:
        if (missing := next((path for path in files if not os.path.lexists(path)), None)) is not None:
            raise UsageError(f"{missing} does not exist", hint="name submissions' folders")
        raise UsageError("several folders and files", hint="audit one claim's files, or several folders")
    return [[*folders, *files]] if files else [[folder] for folder in folders]


def _containing(files: Sequence[Path], *, recursive: bool) -> list[list[Path]]:
    """The submissions below the working folder that hold any of the files, which may have been deleted."""
    from bpb_harness.claim import submission_of

    if recursive:
        raise UsageError("--containing takes files, --recursive folders", hint="leave one out")
    root = Path.cwd()
    found: set[Path] = set()
    for file in files:
        whole = Path(os.path.abspath(file))  # noqa: PTH100 - a link is a file of the submission that it stands in
        if not whole.is_relative_to(root):
            raise UsageError("--containing", seen=str(file), expected="files below the working folder")
        if whole.is_dir():
            raise UsageError("--containing", seen=f"{file}, a folder", expected="files", hint="use --recursive")
        folder = submission_of(whole, root)
        if folder is not None:
            found.add(folder.relative_to(root))
    return [[folder] for folder in sorted(found)]


def _require_for_proof(
    claims: Sequence[object], checkpoint: Path | None, given: Mapping[str, Any], *, searches: bool
) -> None:
    """Refuse a proof without what decodes it, of several claims, or beside a rescoring."""
    if checkpoint is None:
        raise UsageError(
            "--proof without --checkpoint", seen="bits alone", expected="the network of the score",
            hint="give --checkpoint too",
        )  # fmt: skip
    others = [FLAGS[name].name for name in given if name != "data"]
    if others:
        raise UsageError(
            f"{', '.join(others)} with --proof", expected="--checkpoint, --tokenizer and --data alone",
            hint="leave it out: the proof says how it was made; or leave out --proof, to rescore",
        )  # fmt: skip
    if searches or len(claims) != 1:
        seen = "a search for submissions" if searches else f"{len(claims)} claims"
        raise UsageError("--proof is of one claim", seen=seen, expected="one folder")


def _require_for_rescoring(
    num_paths: int, claims: Sequence[object], checkpoint: Path | None, given: Mapping[str, Any], *, searches: bool
) -> None:
    """Refuse settings of a rescoring without a checkpoint, and a checkpoint without its text or of several claims."""
    if checkpoint is None:
        if given:
            raise UsageError(
                f"{', '.join(FLAGS[name].name for name in given)}: for rescoring only", hint="give --checkpoint too"
            )
        return
    if "data" not in given:
        raise UsageError("--checkpoint needs the text that the claim is about", hint="give --data SHARD ...")
    if searches or len(claims) != 1:
        raise UsageError("--checkpoint rescores one claim", seen=f"{num_paths} paths", expected="one folder")


def _decode(
    proof: Path, checkpoint: Path | None, tokenizer: Path | None, data: Sequence[Path], *, quiet: bool
) -> Proved:
    with torch_imports():
        from bpb_harness.proof.evidence import examine

    with progress_bar("bpb-audit", shown=not quiet) as progress:
        progress.doing("decoding")
        return examine(proof, checkpoint, tokenizer, data, progress=progress)


def _rescore(
    paths: list[Path], reading: Reading, checkpoint: Path, tokenizer: Path | None, given: Mapping[str, Any], *,
    quiet: bool,
) -> Recomputed:  # fmt: skip
    """Score the checkpoint: as the flags say, else as the claim says that it was scored, else as bpb-eval does."""
    with torch_imports():
        from bpb_harness.auditing import Recomputed
        from bpb_harness.claim import read_claim
        from bpb_harness.evaluation.api import evaluate
        from bpb_harness.formats.scored_again import settings_of

    settings = as_settings(given)
    claim = read_claim(*paths, reading=reading)
    if claim.result is not None:
        own = claim.result.result
        if own.bits_per_byte is None:
            raise UsageError("--checkpoint rescores bits per byte", seen=f"{claim.result.file}, in bits per token")
        if own.answers is not None:
            raise UsageError("--checkpoint rescores text", seen=f"{claim.result.file}, a score of answers")
        settings = settings_of(own.signature) | settings
    protocol = claim.protocol
    if protocol.method in METHODS:
        settings.setdefault("method", protocol.method)
    if settings.get("method", "discrete") == "discrete" and protocol.num_steps is not None:
        settings.setdefault("num_steps", protocol.num_steps)
    if protocol.context_length is not None:
        settings.setdefault("context_length", protocol.context_length)
    with progress_bar("bpb-audit", shown=not quiet) as progress:
        return Recomputed.of(evaluate(checkpoint, tokenizer=tokenizer, progress=progress, **settings))


def _audit_one(
    paths: Sequence[Path], how: Mapping[str, Any], recomputed: Recomputed | None, proved: Proved | None
) -> Iterator[AuditReport]:
    from bpb_harness.auditing import audit as audit_claim
    from bpb_harness.auditing.in_processes import searched_rarely

    with searched_rarely():
        report = audit_claim(list(paths), recomputed=recomputed, proved=proved, **how)
    yield report


def _audit_many(
    claims: Sequence[Sequence[Path]], how: Mapping[str, Any], *, recursive: bool, by_path: bool
) -> Iterator[AuditReport]:
    """Of folders: each a claim, called by its name or by its path; or all submissions below them."""
    from bpb_harness.auditing import audit_each, submissions_below, unreadable
    from bpb_harness.auditing.in_processes import audit_in_processes
    from bpb_harness.auditing.twin_logs import twin_logs

    folders = [paths[0] for paths in claims]
    if recursive:
        found = [each for folder in folders for each in submissions_below(folder)]
    else:
        found = [
            ((folder.as_posix() if by_path else folder.name) if folder.name else folder.resolve().name, folder)
            for folder in folders
        ]
    names = distinct_names([folder for _, folder in found], [name for name, _ in found])
    named = [*zip(names, (folder for _, folder in found), strict=True)]
    one = audit_each if recursive or by_path else _audit_whole
    twins = twin_logs(named)
    audits = [partial(one, folder, name, beside=twins.get(folder, ()), **how) for name, folder in named]
    yield from audit_in_processes(audits, lambda number, why: unreadable(named[number][0], why))


def _audit_whole(folder: Path, name: str, **how: Any) -> list[AuditReport]:
    from bpb_harness.auditing import audit_one_of_many

    return [audit_one_of_many(folder, name, **how)]


def _unread_below(folders: Sequence[Path]) -> list[str]:
    from bpb_harness.auditing import unread_folders

    found = [(name, folder / name) for folder in folders for name in unread_folders(folder)]
    return distinct_names([path for _, path in found], [name for name, _ in found])


def _with_progress(reports: Iterable[AuditReport]) -> Iterator[AuditReport]:
    """The reports, counted on stderr where that is a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
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


def _shown(
    reports: Sequence[AuditReport], output_format: str, screen: Screen, unread: Sequence[str], *, many: bool,
    with_details: bool,
) -> str:  # fmt: skip
    from bpb_harness.auditing import report as reporting
    from bpb_harness.auditing.report_text import summary_to_text

    if output_format == "github":
        from bpb_harness.auditing.annotations import annotations_of

        return annotations_of(reports).rstrip("\n")
    if not many:
        (only,) = reports
        if output_format == "json":
            return json.dumps(only.to_dict(), indent=2)
        return (only.to_markdown() if output_format == "markdown" else only.to_text(screen)).rstrip("\n")
    if output_format == "json":
        return json.dumps(reporting.summary_to_dict(reports, unread), indent=2)
    if output_format == "markdown":
        return reporting.summary_to_markdown(reports, unread, with_details=with_details).rstrip("\n")
    return summary_to_text(reports, screen, unread).rstrip("\n")


def main() -> None:
    """The entry point ``bpb-audit``."""
    run(app, "bpb-audit")
