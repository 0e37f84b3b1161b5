"""``bpb-lm-eval``: lm-evaluation-harness with a model of this harness, ``--model bpb_harness``."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bpb_harness.cli._run import run
from bpb_harness.errors import HarnessError, UsageError

if TYPE_CHECKING:
    from bpb_harness.lm_evaluation.model import HarnessLM

app = typer.Typer(add_completion=False)
_HELP = ("-h", "--help")
_OURS = """\
bpb-lm-eval is lm-eval with one more model, bpb_harness: a masked or causal checkpoint, scored as bpb-eval does it.

  bpb-lm-eval --model bpb_harness --model_args checkpoint=PATH,num_samples=8 --tasks NAME[,NAME] [--output_path FOLDER]

--model_args takes the settings of bpb-eval by name: checkpoint, adapter, method, num_samples, num_steps, schedule,
tokenizer, dtype, context_length, stride, seed, check_contract, ... (docs/settings.md). For multiple choice pass
num_samples=256; --batch_size does nothing, and tasks that generate text are refused. docs/lm-eval.md has it whole.

All else is lm-eval's own:
"""
_ALL_THEIRS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command(name="bpb-lm-eval", context_settings=_ALL_THEIRS)
def lm_eval(context: typer.Context) -> None:
    """Run lm-eval with the model bpb_harness; every argument is lm-eval's."""
    if not context.args:
        raise UsageError(
            "nothing to score", expected="--model bpb_harness --model_args checkpoint=PATH --tasks NAME",
            hint="see bpb-lm-eval --help",
        )  # fmt: skip
    if any(word in _HELP for word in context.args):
        typer.echo(_OURS)
    words = [sys.argv[0], *context.args]
    try:
        from lm_eval.__main__ import cli_evaluate
        from lm_eval.api.registry import model_registry
    except ImportError:
        raise UsageError(
            "lm-eval is not installed",
            hint="pip install lm-eval, or bpb-harness with its extra: pip install '.[lm-eval]'",
        ) from None
    from bpb_harness.lm_evaluation.model import NAME

    model_registry.register(NAME, target=_BUILDER)
    _BUILDER.made.clear()
    begin, sys.argv = time.time(), words
    try:
        cli_evaluate()
    except HarnessError:
        raise
    except SystemExit as left:  # lm-eval leaves so after a list of tasks, and from its own refusals
        raise typer.Exit(_exit_code(left)) from None
    except Exception as error:
        if not _BUILDER.made and isinstance(error, ValueError | OSError):  # of the arguments, as a task there is not
            raise UsageError(f"lm-eval: {error}", hint="see bpb-lm-eval --help, and bpb-lm-eval ls tasks") from error
        # Of lm-eval or of a task: theirs to explain.
        traceback.print_exc()
        raise typer.Exit(1) from None
    folder = _folder_of_results(context.args, begin)
    for model in _BUILDER.made:
        if folder is not None:
            model.write_requests(folder / f"bpb_requests_{time.strftime('%Y-%m-%dT%H-%M-%S')}.jsonl")


class _Builder:
    """What lm-eval takes for a class: it builds models, and keeps them for what is written afterwards."""

    def __init__(self) -> None:
        self.made: list[HarnessLM] = []

    def __call__(self, **options: Any) -> HarnessLM:
        from bpb_harness.lm_evaluation.model import HarnessLM

        self.made.append(HarnessLM(**options))
        return self.made[-1]

    def create_from_arg_string(self, text: str, more: dict[str, Any] | None = None) -> HarnessLM:
        """The model of ``--model_args name=value,...``."""
        from lm_eval.utils import simple_parse_args_string

        return self(**simple_parse_args_string(text), **_given(more))

    def create_from_arg_obj(self, options: dict[str, Any], more: dict[str, Any] | None = None) -> HarnessLM:
        """The same, of values."""
        return self(**options, **_given(more))


_BUILDER = _Builder()


def _exit_code(left: SystemExit) -> int:
    """The code that a process would end with; a text is said, as Python says it."""
    if left.code is None or isinstance(left.code, int):
        return left.code or 0
    typer.echo(left.code, err=True)
    return 1


def _given(options: dict[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (options or {}).items() if value is not None}


def _folder_of_results(words: Sequence[str], since: float) -> Path | None:
    """Where lm-eval has written its results since then; None where it was not told to."""
    path = next((after for word, after in pairwise(words) if word in ("--output_path", "-o")), None)
    path = next((word.partition("=")[2] for word in words if word.startswith("--output_path=")), path)
    if path is None:
        return None
    root = Path(path) if Path(path).is_dir() else Path(path).parent
    written = [file for file in root.rglob("results*.json") if file.stat().st_mtime >= since - 1.0]
    newest = max(written, key=lambda file: file.stat().st_mtime, default=None)
    return root if newest is None else newest.parent


def main() -> None:
    """Entry point of the command."""
    run(app, "bpb-lm-eval", spread=False, runs_others=True)
