"""``bpb-eval``: score a checkpoint in bits per byte.

Nothing here imports torch before the arguments are known to be well-formed: ``--help`` should not wait for it.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bpb_harness.cli._demo import DEMO_CHECKPOINT, DEMO_DATA, take_demo
from bpb_harness.cli._inputs import inputs_of
from bpb_harness.cli._options import Explain, Quiet, Version
from bpb_harness.cli._output import (
    require_folder,
    require_outputs,
    screen_of,
    write_output,
    write_parquet,
    write_table,
)
from bpb_harness.cli._progress import Progress, progress_bar
from bpb_harness.cli._report import require_html, settings_for_report, write_page
from bpb_harness.cli._run import run, torch_imports
from bpb_harness.cli._settings import as_settings, explicit, takes
from bpb_harness.cli._together import is_to_start, is_watched, require_devices, require_gpus, run_together
from bpb_harness.errors import ContractError, HarnessError, LostProcessError, UsageError
from bpb_harness.evaluation.settings import DEFAULTS, FLAGS, Settings
from bpb_harness.result import Expectation
from bpb_harness.terminal.score import describe
from bpb_harness.torchrun import is_first_process

if TYPE_CHECKING:
    from bpb_harness.evaluation.job import Job
    from bpb_harness.result import BpbResult

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

_TEXT, _JSON = "text", "json"
_WITHIN = 0.005
EXIT_EXPECTATION_MISSED = 1
_ENDINGS = {"--windows": (".parquet",), "--tokens": (".parquet",), "--document-table": (".parquet", ".csv")}


def _print_adapters(value: bool) -> None:
    if value:
        from bpb_harness.adapters import available_adapters

        for name in sorted(available_adapters()):
            typer.echo(name)
        raise typer.Exit


_BEFORE = {
    "devices": "device",
    "expect": "device",
    "within": "device",
    "output_format": "with_windows",
    "output": "with_windows",
    "report": "with_windows",
    "quiet": "with_windows",
}


@app.command()
@takes(*FLAGS, before=_BEFORE)
def evaluate(
    context: typer.Context,
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Checkpoint: a file or a folder.")],
    expect: Annotated[float | None, typer.Option(help="Exit 1 unless the score is this many bits per byte.")] = None,
    within: Annotated[float, typer.Option(help="How far from --expect it may be.")] = _WITHIN,
    output_format: Annotated[str, typer.Option("--format", help="text or json.")] = _TEXT,
    output: Annotated[Path | None, typer.Option(help="Write the result here instead of stdout.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write a page about the score to this .html file too.")] = None,
    quiet: Quiet = False,
    devices: Annotated[int, typer.Option(help="Devices that share the work, a process each.")] = 1,
    demo: Annotated[
        bool,
        typer.Option(
            "--demo",
            callback=take_demo,
            is_eager=True,
            help="Score the small checkpoint that comes with bpb-harness, in place of CHECKPOINT.",
        ),
    ] = False,
    _explain: Explain = None,
    _version: Version = False,
    _list_adapters: Annotated[
        bool, typer.Option("--list-adapters", callback=_print_adapters, is_eager=True, help="Print the adapters.")
    ] = False,
    **given: Any,
) -> None:
    """Score a checkpoint in bits per byte, with the error of the score and everything it depends on.

    The relation in the result is part of it: '=' an exact code length, '<=' a bound, '~<=' an unbiased estimate of a
    bound.
    """
    if demo and checkpoint != DEMO_CHECKPOINT:
        seen = f"CHECKPOINT {checkpoint.name} too"
        raise UsageError("--demo", seen=seen, expected="one of them", hint="leave one out")
    if demo and "BPB_DATA" in os.environ and not given["data"] and not given["docs"]:
        given["data"] = [DEMO_DATA]  # the checkpoint's own, which would come second
    if output_format not in {_TEXT, _JSON}:
        raise UsageError("--format", seen=repr(output_format), expected="text or json")
    _require_expectation(expect, within, byte_rule=given["byte_rule"])
    if not given["surprisal"] and given["surprisal_draws"] != DEFAULTS["surprisal_draws"]:
        raise UsageError("--surprisal-draws", seen="no --surprisal", expected="both, or neither")
    files = {
        "--output": output, "--report": report, "--windows": given["with_windows"], "--tokens": given["with_tokens"],
        "--document-table": given["with_documents"], "--score-file": given["with_costs"],
    }  # fmt: skip
    _require_endings(files)
    require_folder(given["resume"])
    require_outputs(files, inputs_of(given, checkpoint=checkpoint))
    settings = as_settings(given)
    if report is not None:
        settings = settings_for_report(settings)
    with _quiet_unless_first():
        require_devices(devices)
        checked = Settings(
            **settings, method_is_open=not explicit(context, ["method"])
        )  # refuses bad flags before all else
        if is_to_start(devices):
            raise typer.Exit(run_together(devices, ["-m", "bpb_harness", "eval", *sys.argv[1:]], "bpb-eval"))
        with progress_bar("bpb-eval", shown=not quiet and is_first_process()) as progress:
            job, result = _score(checkpoint, replace(checked, progress=progress), progress)
    if not is_first_process():
        return
    if expect is not None:
        result = replace(result, expectation=Expectation(expect, within))
    _write_tables(result, files)
    if report is not None:
        write_page(report, job, result, title=checkpoint.name)
    write_output(result.to_json() if output_format == _JSON else describe(result, screen_of(output)), output)
    if (code := _say_what_is_wrong(result)) is not None:
        raise typer.Exit(code)


def _require_expectation(expect: float | None, within: float, *, byte_rule: str) -> None:
    if not 0 <= within < math.inf:
        raise UsageError("--within", seen=within, expected="0 or more")
    if expect is None and within != _WITHIN:
        raise UsageError("--within", seen="no --expect", expected="--expect BPB, from which the score may be so far")
    if expect is not None and not math.isfinite(expect):
        raise UsageError("--expect", seen=expect, expected="a number of bits per byte")
    if expect is not None and byte_rule == "none":
        raise UsageError("--expect is in bits per byte", seen="--bytes none", expected="a rule that counts bytes")


def _require_endings(files: Mapping[str, Path | None]) -> None:
    """Refuse tables that no reader would take for one, and a page."""
    for flag, suffixes in _ENDINGS.items():
        path = files[flag]
        if path is not None and path.suffix.lower() not in suffixes:
            raise UsageError(flag, seen=repr(path.name), expected=f"a file name that ends in {' or '.join(suffixes)}")
    require_html(files["--report"])


def _write_tables(result: BpbResult, files: Mapping[str, Path | None]) -> None:
    for frame, path in ((result.windows, files["--windows"]), (result.tokens, files["--tokens"])):
        if path is not None:
            write_parquet(frame, path)
    if (path := files["--document-table"]) is not None:
        write_table(result.documents, path)
    if (path := files["--score-file"]) is not None:
        assert result.costs is not None
        result.costs.write(path)


def _say_what_is_wrong(result: BpbResult) -> int | None:
    """Say on stderr that a score is not what was expected, or cannot be; the exit code, None where all is well."""
    asked, code = result.expectation, None
    if asked is not None and result.bits_per_byte is not None and not asked.is_met(result.bits_per_byte):
        code = EXIT_EXPECTATION_MISSED
        typer.echo(
            f"bpb-eval: expected {asked.bits_per_byte} +- {asked.within} bits per byte, got {result.bits_per_byte:.4f} "
            f"({result.bits_per_byte - asked.bits_per_byte:+.4f})",
            err=True,
        )
    if result.is_below_source:
        code = ContractError.exit_code
        typer.echo(f"bpb-eval: WARNING: {result.below_source()}", err=True)
    return code


def _score(checkpoint: Path, settings: Settings, progress: Progress) -> tuple[Job, BpbResult]:
    """Import what scores, while the process of the second look does so too; and score."""
    progress.doing("imports")
    begin = time.perf_counter()
    with torch_imports():
        if settings.check_contract and checkpoint.exists() and is_first_process():
            from bpb_harness.second_look.waiting import start_ahead

            start_ahead()
        from bpb_harness.distributed import see_own_gpu
        from bpb_harness.evaluation.api import score_checkpoint

    require_gpus(settings.device)
    see_own_gpu()
    imports = {"imports": time.perf_counter() - begin}
    job, result = score_checkpoint(checkpoint, settings)
    return job, replace(result, seconds_by_phase=imports | dict(result.seconds_by_phase))


@contextlib.contextmanager
def _quiet_unless_first() -> Iterator[None]:
    """All processes meet the same bad input; one of them says so. Who has lost that one says it for itself."""
    try:
        yield
    except HarnessError as error:
        if is_first_process() or (isinstance(error, LostProcessError) and not is_watched()):
            raise
        raise typer.Exit(error.exit_code) from None


def main() -> None:
    """Entry point of the ``bpb-eval`` command."""
    run(app, "bpb-eval")
