"""Train a reference network: ``python -m reference.train --data SHARDS --tokenizer MODEL --minutes M --out ckpt.pt``.

The loop and its command line. ``reference/run.py`` holds a run's settings and state, ``reference/objective.py`` what is
minimised, ``reference/optimizer.py`` how, ``reference/data.py`` on what.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from bpb_harness.cli._run import EXIT_INTERRUPTED
from bpb_harness.cli._run import run as run_command
from reference.run import Run, Training

_REPORT_SECONDS = 2.0


class Objective(StrEnum):
    """What is trained."""

    mdlm = "mdlm"
    ar = "ar"


@contextmanager
def stop_on_interrupt() -> Iterator[list[bool]]:
    """While open, the first Ctrl-C fills the list instead of breaking a step in two; the second one breaks."""
    stop: list[bool] = []

    def ask_to_stop(*_: object) -> None:
        stop.append(True)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, ask_to_stop)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


class Clock:
    """How much of a run is done, by its steps and by the wall clock, whichever is further."""

    def __init__(self, run: Run) -> None:
        self._run, self._before, self._began, self._first_step = run, run.seconds, time.monotonic(), run.step

    @property
    def seconds(self) -> float:
        """Wall-clock time of the run, earlier processes included."""
        return self._before + time.monotonic() - self._began

    @property
    def progress(self) -> float:
        """From 0 to 1, where the run ends."""
        training = self._run.training
        by_steps = self._run.step / training.steps if training.steps else 0.0
        by_clock = self.seconds / (60.0 * training.minutes) if training.minutes else 0.0
        return min(1.0, max(by_steps, by_clock))

    @property
    def tokens_per_second(self) -> float:
        """Speed of this process."""
        num_tokens = (self._run.step - self._first_step) * self._run.training.batch_tokens
        return num_tokens / (time.monotonic() - self._began)


def train(training: Training, *, resume: bool = False, console: Console | None = None) -> Run:
    """Train until a limit is reached or Ctrl-C; the checkpoint is saved in either case.

    Args:
        training: what to train, on what, for how long.
        resume: continue from ``training.state_path``.
        console: where to speak; stderr by default.

    Raises:
        HarnessError: for input that cannot be trained on, or an objective that is not finite any more; what was saved
            before is kept.
    """
    console = console or Console(stderr=True, soft_wrap=True)
    run = Run(training)
    if resume:
        run.resume()
    console.print(run.description)
    clock = Clock(run)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with stop_on_interrupt() as stop, Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("training", total=1.0)
        saved = reported = time.monotonic()
        while (progress := clock.progress) < 1.0 and not stop:
            run.take_step(progress)
            if time.monotonic() - reported > _REPORT_SECONDS:  # reading a number off a GPU waits for it
                words = f"step {run.step}: {run.recent_bits():.3f} bits/token, {clock.tokens_per_second:,.0f} tokens/s"
                bar.update(task, completed=progress, description=words)
                reported = time.monotonic()
            if time.monotonic() - saved > 60.0 * training.save_minutes:
                run.save(clock.seconds)
                console.print(run.validation())
                saved = time.monotonic()
    run.save(clock.seconds)
    console.print(run.validation())
    run.interrupted = bool(stop)
    what = "interrupted; continue with --resume" if stop else "done"
    console.print(f"{what}: {run.step} steps in {clock.seconds:.0f} s, saved {training.out}")
    return run


def command(
    data: Annotated[list[Path], typer.Option(help="Training shards, one or more.")],
    tokenizer: Annotated[Path, typer.Option(help="The SentencePiece model that made the shards.")],
    out: Annotated[Path, typer.Option(help="Checkpoint to write; the run's state goes to OUT.train.")],
    minutes: Annotated[float | None, typer.Option(help="Limit on wall-clock time.")] = None,
    steps: Annotated[
        int | None, typer.Option(help="Limit on steps; without --minutes a run is exactly repeatable.")
    ] = None,
    objective: Annotated[Objective, typer.Option(help="Masked diffusion, or the causal twin.")] = Objective.mdlm,
    time_conditioned: Annotated[bool, typer.Option(help="Tell the network the noise level.")] = False,
    schedule: Annotated[str, typer.Option(help="Noise schedule.")] = Training.schedule,
    layers: Annotated[int, typer.Option(help="Transformer blocks.")] = Training.layers,
    width: Annotated[int, typer.Option(help="Width of the residual stream.")] = Training.width,
    heads: Annotated[int, typer.Option(help="Attention heads.")] = Training.heads,
    context: Annotated[int, typer.Option(help="Tokens of a window.")] = Training.context,
    batch_tokens: Annotated[int, typer.Option(help="Tokens of a step.")] = Training.batch_tokens,
    lr: Annotated[float, typer.Option(help="Peak learning rate of AdamW.")] = Training.lr,
    muon_lr: Annotated[
        float, typer.Option(help="Peak learning rate of Muon; 0 leaves all to AdamW.")
    ] = Training.muon_lr,
    weight_decay: Annotated[float, typer.Option(help="Decoupled, of the blocks' matrices.")] = Training.weight_decay,
    seed: Annotated[int, typer.Option(help="Of weights, windows and masks.", min=0)] = Training.seed,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = Training.device,
    compile: Annotated[bool | None, typer.Option(help="Compile the network; by default on a GPU only.")] = None,
    export_dtype: Annotated[str, typer.Option(help="Of the checkpoint: float32 or bfloat16.")] = Training.export_dtype,
    val_data: Annotated[
        list[Path] | None, typer.Option(help="Validation shards; named in OUT if in its folder.")
    ] = None,
    save_minutes: Annotated[float, typer.Option(help="Time between checkpoints.")] = Training.save_minutes,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from OUT.train.")] = False,
) -> int:
    """Train a reference network."""
    options = dict(locals())
    del options["resume"]
    options |= {"data": tuple(data), "val_data": tuple(val_data or ()), "objective": objective.value}
    return EXIT_INTERRUPTED if train(Training(**options), resume=resume).interrupted else 0


def main() -> NoReturn:
    """The command line: an error of input is one line on stderr and exit code 2, nothing half-written."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    run_command(app, prog_name="python -m reference.train")


if __name__ == "__main__":
    main()
