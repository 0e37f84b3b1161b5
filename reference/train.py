"""Train a reference network: ``python -m reference.train --data SHARDS --tokenizer MODEL --minutes M --out ckpt.pt``.

Several GPUs: ``torchrun --nproc-per-node N -m reference.train ...`` with the same options.

The loop and its command line. ``reference/settings.py`` says what a run is asked to do, ``reference/run.py`` holds its
state, ``reference/objective.py`` what is minimised, ``reference/optimizer.py`` how, ``reference/data.py`` on what.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn, final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from bpb_harness.cli._progress import clock_time, progress_bar
from bpb_harness.cli._run import EXIT_INTERRUPTED
from bpb_harness.cli._run import run as run_command
from bpb_harness.cli._settings import as_settings, explicit, takes
from bpb_harness.distributed import open_processes, pick_device
from bpb_harness.errors import UsageError
from bpb_harness.evaluation.flags import flags_of
from bpb_harness.torchrun import is_first_process
from bpb_harness.units import counted
from reference.clock import Clock
from reference.run import Run
from reference.settings import PRESETS, Training
from reference.training_log import saved, trained_on

_REPORT_SECONDS, _SPOKEN_SECONDS = 2.0, 30.0
_STEPS_BEFORE_FORECAST = 2
Speak = Callable[[str], None]


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
        console = console or Console(stderr=True, soft_wrap=True)
        console.quiet = console.quiet or not processes.is_first
        with _saying("reading data", console):
            run = Run(training, processes)
            if resume:
                run.resume()

        def log(line: str) -> None:
            if processes.is_first:
                with training.log_path.open("a") as file:
                    file.write(line + "\n")

        def say(line: str) -> None:
            console.print(line, highlight=False)
            log(line)

        began = time.monotonic()
        with _saying("preparing: a rehearsal of each kind of step, which is compiled on a GPU", console):
            remark = run.prepare()
        training.log_path.parent.mkdir(parents=True, exist_ok=True)
        if processes.is_first and not resume:
            training.log_path.unlink(missing_ok=True)
        say(run.description)
        for line in trained_on(run.shards.files):
            log(line)
        if run.shards_in_both:
            say(
                f"WARNING: --val-data is trained on: {', '.join(run.shards_in_both)} holds the tokens of a training "
                "shard, so validation scores say nothing of other text"
            )
        if remark:
            say(remark)
        if resume:
            say(f"continues after step {run.step}, {run.seconds:.0f} s of training")
        if training.val_data and not run.names_its_data:
            say("validation data lie outside the checkpoint's folder, so it will not name them: give bpb-eval --data")
        say(f"ready after {time.monotonic() - began:.1f} s of preparation, which no limit counts")
        try:
            _Steps(run, Clock(run), console, say, log).take()
        finally:
            run.forget_graphs()
    return run


@contextmanager
def _saying(what: str, console: Console) -> Iterator[None]:
    """Say what is done where there is no bar."""
    with progress_bar("reference.train", shown=not console.quiet) as progress:
        progress.doing(what)
        yield


@final
class _Steps:
    """The loop, with what it says on the way.

    Args:
        run: takes the steps.
        clock: of the run.
        console: that a bar is drawn on.
        say: where a line goes that is to be seen and kept.
        log: where one goes that is kept alone.
    """

    def __init__(self, run: Run, clock: Clock, console: Console, say: Speak, log: Speak) -> None:
        self._run, self._clock, self._console, self._say, self._log = run, clock, console, say, log
        self._saved = self._reported = self._spoken = clock.seconds
        self._is_foreseen = False

    def take(self) -> None:
        """Until the clock or the steps run out, or Ctrl-C; then save."""
        run, clock = self._run, self._clock
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
        hidden = self._console.quiet or not self._console.is_terminal
        with stop_on_interrupt() as stop, Progress(*columns, console=self._console, disable=hidden) as bar:
            task = bar.add_task("training", total=1.0)
            context = run.context_at(0.0)
            while True:
                progress, reports, saves = self._due(is_stopped=bool(stop))
                if progress >= 1.0:
                    break
                if clock.num_steps == _STEPS_BEFORE_FORECAST and not self._is_foreseen:
                    self._foresee()
                    continue
                if saves:
                    self._save()
                elif reports:
                    bar.update(task, completed=progress, description=self._report())
                if context != (context := run.context_at(progress)):
                    self._say(f"step {run.step}: windows of {context} from here on")
                run.take_step(progress)
            run.recent_bits()  # waits for the last steps
            if not self._is_foreseen and clock.num_steps:
                self._foresee(is_over=True)
            run.seconds_spent, speed = clock.seconds, clock.tokens_per_second
        with _saying("saving and validation", self._console):
            run.save(run.seconds_spent)
            self._log_saved()
            report = run.report()
        self._say(report)
        run.interrupted = bool(run.processes.decide(bool(stop))[0])
        what = "interrupted; continue with --resume" if run.interrupted else "done"
        took = f"{counted(run.step, 'step')} in {run.seconds_spent:.0f} s, {speed:,.0f} tokens/s"
        self._say(f"{what}: {took}, saved {run.training.out}")

    def _due(self, *, is_stopped: bool) -> tuple[float, bool, bool]:
        """How far the run is, whether it is time to report, and to save: what the first process finds."""
        clock, seconds = self._clock, self._clock.seconds
        reports = seconds - self._reported > _REPORT_SECONDS
        saves = seconds - self._saved > 60.0 * self._run.training.save_minutes and clock.has_time_to_save()
        progress, *due = self._run.processes.decide(1.0 if is_stopped else clock.progress, reports, saves)
        return progress, bool(due[0]), bool(due[1])

    def _save(self) -> None:
        seconds = self._clock.seconds
        self._run.save(seconds)
        self._log_saved()
        self._say(self._run.report())
        self._saved = self._clock.seconds
        self._clock.measured(self._saved - seconds)

    def _log_saved(self) -> None:
        if self._run.saved_digest is not None:
            self._log(saved(self._run.saved_digest))

    def _report(self) -> str:
        """What the bar says; also in lines, now and then. Reading a number off a GPU waits for it."""
        run, clock, seconds = self._run, self._clock, self._clock.seconds
        line = f"step {run.step}: {run.recent_bits():.3f} bits/token, {clock.tokens_per_second:,.0f} tokens/s"
        left = f"{line}, about {clock_time(clock.seconds_left)} left"
        if self._console.is_terminal or seconds - self._spoken <= _SPOKEN_SECONDS:
            self._log(line)
        else:
            self._say(left)
            self._spoken = seconds
        self._reported = seconds
        return left

    def _foresee(self, *, is_over: bool = False) -> None:
        """Say what the limits leave room for, by the speed of the first steps; a validation that is too long is cut."""
        run, clock = self._run, self._clock
        self._is_foreseen = True
        run.recent_bits()  # waits for the steps
        wanted = run.num_validation_windows
        (chosen,) = run.processes.decide(float(clock.foresee(wanted)))
        if int(chosen) < wanted:
            run.validate_fewer(int(chosen))
            fewer = counted(int(chosen), "window")
            self._say(f"validation scores {fewer}, not {wanted}: more would take too much of --minutes")
        if is_over:
            return
        after = f", {clock_time(clock.ending)} of it for validation and saving" if clock.ending else ""
        self._say(
            f"forecast: {clock.seconds_a_step:.2g} s a step; about {clock.steps_in_all:,} steps, "
            f"{clock_time(clock.seconds_left)} from now to the end{after}"
        )


@takes(*flags_of(Training), of=Training, before={"preset": "block_size"})
def command(
    invoked: typer.Context,
    preset: Annotated[
        str | None, typer.Option(help=f"Shapes and recipes: {', '.join(PRESETS)}; options beside it stand above it.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from OUT.train.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")] = False,
    **given: Any,
) -> int:
    """Train a reference network."""
    if preset is not None and preset not in PRESETS:
        raise UsageError("--preset", seen=repr(preset), expected=" or ".join(PRESETS))
    shape = PRESETS[preset] if preset else {}
    by_user = explicit(invoked, given)
    options = as_settings(given, Training)
    options |= {name: value for name, value in shape.items() if name not in by_user}
    training = Training(**options)  # before --resume or --overwrite is asked for, which would not help a wrong name
    out = training.out
    if out.exists() and not (resume or overwrite):
        raise UsageError(f"{out} exists", hint="pass --resume to go on with it, or --overwrite to replace it")
    if preset not in {None, "cpu"} and pick_device(options["device"]).type == "cpu" and is_first_process():
        typer.echo(f"--preset {preset} on a CPU: a step will take minutes; --preset cpu is for it", err=True)
    return EXIT_INTERRUPTED if train(training, resume=resume).interrupted else 0


def main() -> NoReturn:
    """The command line: an error of input is one line on stderr and exit code 2, nothing half-written."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(command)
    run_command(app, prog_name="python -m reference.train")


if __name__ == "__main__":
    main()
