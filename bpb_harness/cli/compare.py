"""``bpb-compare``: which of several systems is better, by how much, and how sure that is.

Nothing here imports torch before the arguments are known to be well-formed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, signature
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer

from bpb_harness.cli._inputs import inputs_of
from bpb_harness.cli._options import Quiet, Version
from bpb_harness.cli._output import require_outputs, write_output
from bpb_harness.cli._progress import progress_bar
from bpb_harness.cli._report import command_line, require_html
from bpb_harness.cli._run import run, torch_imports
from bpb_harness.errors import UsageError
from bpb_harness.evaluation.methods import METHODS
from bpb_harness.evaluation.settings import DEFAULTS, FLAGS, Settings

if TYPE_CHECKING:
    from bpb_harness.comparison.result import SystemComparison

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

EXIT_EXPECTATION_MISSED = 1
_FORMATS = ("text", "markdown", "latex", "json")
_HINTS = get_type_hints(Settings)
# Of one score: a second bound, how its documents are shown, and files of its tables.
_OF_ONE_SCORE = {"compare", "key_field", "slice_field", "surprisal", "surprisal_draws"} | {
    name for name in FLAGS if _HINTS[name] is bool and FLAGS[name].kind == Path | None
}
_TAKEN = tuple(name for name in FLAGS if name not in _OF_ONE_SCORE)
_UNIONS = (Union, UnionType)


def _takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Options of bpb-eval in the place of ``**given``: those that take a value may stand once, or once per system."""
    own = signature(command, eval_str=True)
    mine = [each for each in own.parameters.values() if each.kind is not Parameter.VAR_KEYWORD]
    parameters = [mine[0], *(_option(name) for name in _TAKEN), *mine[1:]]
    keywords = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in parameters]
    command.__signature__ = own.replace(parameters=keywords)  # type: ignore[attr-defined]
    return command


def _option(name: str) -> Parameter:
    flag = FLAGS[name]
    taken: Any
    if _is_switch(name):
        taken, default = bool | None, None
    else:
        taken, default = list[_kind(name)], ()  # type: ignore[misc]
    option = typer.Option(flag.option, help=flag.help.replace("; may be repeated", "; once for all, or once each"))
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[taken, option])


def _is_switch(name: str) -> bool:
    return FLAGS[name].kind is bool or (FLAGS[name].kind is None and _HINTS[name] is bool)


def _kind(name: str) -> Any:
    """The type of one value; words where it is one of several."""
    kind = FLAGS[name].kind or _HINTS[name]
    kinds = [each for each in get_args(kind) if each is not NoneType] if get_origin(kind) in _UNIONS else [kind]
    one = get_args(kinds[0])[0] if get_origin(kinds[0]) is list else kinds[0]
    return one if len(kinds) == 1 and one in {int, float, Path} else str


def _is_list(name: str) -> bool:
    """Whether bpb-eval takes several values of it for one checkpoint."""
    return bool(FLAGS[name].kind == list[_kind(name)] | None)  # type: ignore[misc]


@app.command()
@_takes_settings
def compare(
    systems: Annotated[
        list[Path],
        typer.Argument(metavar="SYSTEM SYSTEM ...", help="Checkpoints, or files of --score-file; the first: baseline."),
    ],
    expect_better: Annotated[
        float | None, typer.Option(help="Exit 1 unless every score (of bounds: bound) is lower by more, bits per byte.")
    ] = None,
    level: Annotated[float, typer.Option(help="A p below this shows a difference.")] = 0.05,
    contest_rule: Annotated[
        int | None, typer.Option(help="So many systems, the first, are runs of the baseline: Welch over seeds.")
    ] = None,
    output_format: Annotated[str, typer.Option("--format", help="text, markdown, latex or json.")] = "text",
    output: Annotated[Path | None, typer.Option(help="Write the result here instead of stdout.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write the comparison as a page to this .html file too.")] = None,
    quiet: Quiet = False,
    _version: Version = False,
    **given: Any,
) -> None:
    """Compare systems with the first of them, on the same text and the same masks.

    Options of bpb-eval stand once for all checkpoints, or once per checkpoint in their order. Exit codes: 0 fine, 1
    what was expected does not hold, 2 bad input.
    """
    if output_format not in _FORMATS:
        raise UsageError("--format", seen=repr(output_format), expected="text, markdown, latex or json")
    require_html(report)
    require_outputs({"--output": output, "--report": report}, inputs_of(given, checkpoint=systems))
    with torch_imports():
        from bpb_harness.comparison.compare import compare as compare_systems
        from bpb_harness.comparison.compare import require_expectations
        from bpb_harness.comparison.systems import is_scored_now

    require_expectations(len(systems), expect_better, level, contest_rule)
    settings = settings_of_each([is_scored_now(system) for system in systems], given)
    with progress_bar("bpb-compare", shown=not quiet) as progress:
        for its_own in settings:
            if its_own is not None:
                Settings(**its_own)  # refuses bad flags before any file is opened
        with_progress = [{} if each is None else {**each, "progress": progress} for each in settings]
        comparison = compare_systems(
            systems, with_progress, better_by=expect_better, level=level, num_baseline_runs=contest_rule
        )
    if report is not None:
        from bpb_harness.report.comparison import comparison_page  # deferred: draws by matplotlib

        write_output(comparison_page(comparison, command=command_line("bpb-compare")), report)
    write_output(_written(comparison, output_format, to_file=output is not None), output)
    if not comparison.holds:
        if output is not None or output_format == "json":
            from bpb_harness.comparison.tables import said_of_expectations

            for said in said_of_expectations(comparison):
                typer.echo(f"bpb-compare: {said}", err=True)
        raise typer.Exit(EXIT_EXPECTATION_MISSED)


def settings_of_each(are_scored: Sequence[bool], given: Mapping[str, Any]) -> list[dict[str, Any] | None]:
    """The settings of each system; None for one that is scored already.

    A value that stands once is for all checkpoints; one of an option that only some methods have, for those with one of
    these methods.

    Raises:
        UsageError: for a number of values that is neither 1 nor that of the checkpoints.
    """
    count = sum(are_scored)
    values: dict[str, list[Any]] = {}
    for name, value in given.items():
        said = [] if value is None else [value] if _is_switch(name) else list(value)
        if not said:
            continue
        if not count:
            raise UsageError(
                FLAGS[name].name, seen="no checkpoint among the systems", expected="files alone need no settings",
                hint="leave it out",
            )  # fmt: skip
        if len(said) not in {1, count}:
            hint = "several for one checkpoint: bpb-eval with --score-file" if _is_list(name) else None
            hint = "put a pattern between quotes, or name a folder" if name in {"data", "docs"} else hint
            raise UsageError(
                f"{FLAGS[name].name}", seen=f"{len(said)} values", hint=hint,
                expected=f"one for all, or one for each of {count} checkpoint{'s' if count > 1 else ''}",
            )  # fmt: skip
        read = FLAGS[name].read
        values[name] = [one if read is None else read([one] if _is_list(name) else one) for one in said]
    methods = _spread(values.get("method", [DEFAULTS["method"]]), count)
    _require_used(values, methods)
    each = iter(
        {
            name: said[index if len(said) > 1 else 0]
            for name, said in values.items()
            if len(said) > 1 or _is_for(name, methods[index])
        }
        for index in range(count)
    )
    return [next(each) if scored else None for scored in are_scored]


def _spread(values: Sequence[Any], count: int) -> list[Any]:
    return list(values) if len(values) > 1 else list(values) * count


def _is_for(name: str, method: str) -> bool:
    """Whether a method has an option; methods that there are not are refused elsewhere."""
    of = FLAGS[name].of
    if of is None or method not in METHODS:
        return True
    return bool(of(METHODS[method])) or (name == "num_samples" and METHODS[method].enumerates)


def _require_used(values: Mapping[str, Sequence[Any]], methods: Sequence[str]) -> None:
    for name in values:
        if not any(_is_for(name, method) for method in methods):
            FLAGS[name].require_method(methods[0])


def _written(comparison: SystemComparison, output_format: str, *, to_file: bool) -> str:
    from bpb_harness.comparison.tables import as_latex, as_markdown, as_text
    from bpb_harness.terminal.screen import Screen

    if output_format == "json":
        return comparison.to_json()
    if output_format == "text":
        return as_text(comparison, Screen() if to_file else Screen.of())
    return as_markdown(comparison) if output_format == "markdown" else as_latex(comparison)


def main() -> None:
    """Entry point of the ``bpb-compare`` command."""
    run(app, "bpb-compare", spread=False)
