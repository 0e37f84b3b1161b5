"""Train a reference network: ``python -m reference.train --data SHARDS --tokenizer MODEL --minutes M --out ckpt.pt``.

Several GPUs: ``torchrun --nproc-per-node N -m reference.train ...`` with the same options.

The loop and its command line. ``reference/run.py`` holds a run's settings and state, ``reference/objective.py`` what is
minimised, ``reference/optimizer.py`` how, ``reference/data.py`` on what.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from bpb_harness.cli._run import EXIT_INTERRUPTED
from bpb_harness.cli._run import run as run_command
from bpb_harness.distributed import open_processes
from bpb_harness.errors import UsageError
from reference.run import Run
from reference.settings import Training

_REPORT_SECONDS = 2.0
Speak = Callable[[str], None]


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
        """Wall-clock time of the run, earlier ones that it continues included.

        It counts steps, validation and saving; not what comes before the first step: reading data, and compiling.
        """
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
    with open_processes(trains=True) as processes:
        run = Run(training, processes)
        if resume:
            run.resume()
        console = console or Console(stderr=True, soft_wrap=True)
        console.quiet = console.quiet or not processes.is_first

        def log(line: str) -> None:
            if processes.is_first:
                with training.log_path.open("a") as file:
                    file.write(line + "\n")

        def say(line: str) -> None:
            console.print(line, highlight=False)
            log(line)

        began = time.monotonic()
        remark = run.prepare()
        training.log_path.parent.mkdir(parents=True, exist_ok=True)
        if processes.is_first and not resume:
            training.log_path.unlink(missing_ok=True)
        say(run.description)
        if remark:
            say(remark)
        if resume:
            say(f"continues after step {run.step}, {run.seconds:.0f} s of training")
        if training.val_data and not run.names_its_data:
            say("validation data lie outside the checkpoint's folder, so it will not name them: give bpb-eval --data")
        say(f"ready after {time.monotonic() - began:.1f} s of preparation, which no limit counts")
        _take_steps(run, Clock(run), console, say, log)
    return run


def _take_steps(run: Run, clock: Clock, console: Console, say: Speak, log: Speak) -> None:
    """The loop: until the clock or the steps run out, or Ctrl-C."""
    training = run.training
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    hidden = console.quiet or not console.is_terminal
    with stop_on_interrupt() as stop, Progress(*columns, console=console, disable=hidden) as bar:
        task = bar.add_task("training", total=1.0)
        saved = reported = clock.seconds
        context = run.context_at(0.0)
        while True:
            seconds = clock.seconds
            due = seconds - reported > _REPORT_SECONDS, seconds - saved > 60.0 * training.save_minutes
            progress, reports, saves = run.processes.decide(1.0 if stop else clock.progress, *due)
            if progress >= 1.0:
                break
            if saves:
                run.save(seconds)
                say(run.report())
                saved = clock.seconds
            elif reports:  # reading a number off a GPU waits for it
                line = f"step {run.step}: {run.recent_bits():.3f} bits/token, {clock.tokens_per_second:,.0f} tokens/s"
                bar.update(task, completed=progress, description=line)
                log(line)
                reported = seconds
            if context != (context := run.context_at(progress)):
                say(f"step {run.step}: windows of {context} from here on")
            run.take_step(progress)
        run.recent_bits()  # waits for the last steps
        seconds, speed = clock.seconds, clock.tokens_per_second
    run.seconds_spent = seconds
    run.save(seconds)
    say(run.report())
    run.interrupted = bool(run.processes.decide(bool(stop))[0])
    what = "interrupted; continue with --resume" if run.interrupted else "done"
    say(f"{what}: {run.step} steps in {seconds:.0f} s, {speed:,.0f} tokens/s, saved {training.out}")


def command(
    data: Annotated[list[Path], typer.Option(help="Training shards, one or more.")],
    tokenizer: Annotated[
        Path, typer.Option(help="The tokenizer that made the shards: SentencePiece, or JSON as bpb-eval reads it.")
    ],
    out: Annotated[Path, typer.Option(help="Checkpoint to write; the run's state goes to OUT.train.")],
    minutes: Annotated[float | None, typer.Option(help="Limit on wall-clock time from the first step on.")] = None,
    steps: Annotated[
        int | None, typer.Option(help="Limit on steps; without --minutes a run is exactly repeatable.")
    ] = None,
    objective: Annotated[Objective, typer.Option(help="Masked diffusion, or the causal twin.")] = Objective.mdlm,
    time_conditioned: Annotated[bool, typer.Option(help="Tell the network the noise level.")] = False,
    schedule: Annotated[str, typer.Option(help="Noise schedule.")] = Training.schedule,
    layers: Annotated[int, typer.Option(help="Transformer blocks.")] = Training.layers,
    width: Annotated[int, typer.Option(help="Width of the residual stream.")] = Training.width,
    heads: Annotated[int, typer.Option(help="Attention heads.")] = Training.heads,
    mlp_width: Annotated[
        int | None, typer.Option(help="Hidden width of the feed-forward layers; by default 4 x width.")
    ] = None,
    context: Annotated[int, typer.Option(help="Tokens of a window.")] = Training.context,
    short_context: Annotated[
        int | None, typer.Option(help="Tokens of a window in the first 60 % of the run; more windows a step then.")
    ] = None,
    batch_tokens: Annotated[
        int, typer.Option(help="Tokens of a step, all processes together.")
    ] = Training.batch_tokens,
    lr: Annotated[float, typer.Option(help="Peak learning rate of AdamW.")] = Training.lr,
    muon_lr: Annotated[
        float, typer.Option(help="Peak learning rate of Muon; 0 leaves all to AdamW.")
    ] = Training.muon_lr,
    weight_decay: Annotated[float, typer.Option(help="Decoupled, of the blocks' matrices.")] = Training.weight_decay,
    ema: Annotated[
        float, typer.Option(help="Decay of the moving average that is saved; 0 saves the last weights.")
    ] = Training.ema,
    clip: Annotated[float, typer.Option(help="Largest norm of a gradient; 0 clips none.")] = Training.clip,
    seed: Annotated[int, typer.Option(help="Of weights, windows and masks.", min=0)] = Training.seed,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = Training.device,
    compile: Annotated[bool | None, typer.Option(help="Compile the network; by default on a GPU only.")] = None,
    export_dtype: Annotated[str, typer.Option(help="Of the checkpoint: float32 or bfloat16.")] = Training.export_dtype,
    val_data: Annotated[
        list[Path] | None, typer.Option(help="Validation shards; named in OUT if in its folder.")
    ] = None,
    val_windows: Annotated[int, typer.Option(help="Validation windows to score.")] = Training.val_windows,
    save_minutes: Annotated[
        float, typer.Option(help="Time between checkpoints, each scored on --val-data.")
    ] = Training.save_minutes,
    check_tokenizer: Annotated[
        bool, typer.Option(help="Refuse a tokenizer that did not write the shards.")
    ] = Training.check_tokenizer,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from OUT.train.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")] = False,
) -> int:
    """Train a reference network."""
    options = dict(locals())
    del options["resume"], options["overwrite"]
    if out.exists() and not (resume or overwrite):
        raise UsageError(f"{out} exists", hint="pass --resume to go on with it, or --overwrite to replace it")
    options |= {"data": tuple(data), "val_data": tuple(val_data or ()), "objective": objective.value}
    return EXIT_INTERRUPTED if train(Training(**options), resume=resume).interrupted else 0


def main() -> NoReturn:
    """The command line: an error of input is one line on stderr and exit code 2, nothing half-written."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    run_command(app, prog_name="python -m reference.train")


if __name__ == "__main__":
    main()
