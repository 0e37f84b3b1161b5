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
from typing import Annotated, Any, NoReturn

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
from reference.clock import Clock
from reference.run import Run
from reference.settings import PRESETS, Training

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
        if remark:
            say(remark)
        if resume:
            say(f"continues after step {run.step}, {run.seconds:.0f} s of training")
        if training.val_data and not run.names_its_data:
            say("validation data lie outside the checkpoint's folder, so it will not name them: give bpb-eval --data")
        say(f"ready after {time.monotonic() - began:.1f} s of preparation, which no limit counts")
        try:
            _take_steps(run, Clock(run), console, say, log)
        finally:
            run.forget_graphs()
    return run


@contextmanager
def _saying(what: str, console: Console) -> Iterator[None]:
    """Say what is done where there is no bar."""
    with progress_bar("reference.train", shown=not console.quiet) as progress:
        progress.doing(what)
        yield


def _take_steps(run: Run, clock: Clock, console: Console, say: Speak, log: Speak) -> None:
    """The loop: until the clock or the steps run out, or Ctrl-C."""
    training = run.training
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    hidden = console.quiet or not console.is_terminal
    with stop_on_interrupt() as stop, Progress(*columns, console=console, disable=hidden) as bar:
        task = bar.add_task("training", total=1.0)
        saved = reported = spoken = clock.seconds
        is_foreseen = False
        context = run.context_at(0.0)
        while True:
            seconds = clock.seconds
            due = seconds - reported > _REPORT_SECONDS, seconds - saved > 60.0 * training.save_minutes
            saves_now = due[1] and clock.has_time_to_save()
            progress, reports, saves = run.processes.decide(1.0 if stop else clock.progress, due[0], saves_now)
            if progress >= 1.0:
                break
            if clock.num_steps == _STEPS_BEFORE_FORECAST and not is_foreseen:
                is_foreseen = True
                _foresee(run, clock, say)
                continue
            if saves:
                run.save(seconds)
                say(run.report())
                saved = clock.seconds
                clock.measured(saved - seconds)
            elif reports:  # reading a number off a GPU waits for it
                line = f"step {run.step}: {run.recent_bits():.3f} bits/token, {clock.tokens_per_second:,.0f} tokens/s"
                left = f"{line}, about {clock_time(clock.seconds_left)} left"
                bar.update(task, completed=progress, description=left)
                if console.is_terminal or seconds - spoken <= _SPOKEN_SECONDS:
                    log(line)
                else:
                    say(left)
                    spoken = seconds
                reported = seconds
            if context != (context := run.context_at(progress)):
                say(f"step {run.step}: windows of {context} from here on")
            run.take_step(progress)
        run.recent_bits()  # waits for the last steps
        if not is_foreseen and clock.num_steps:
            _foresee(run, clock, say, is_over=True)
        seconds, speed = clock.seconds, clock.tokens_per_second
    run.seconds_spent = seconds
    with _saying("saving and validation", console):
        run.save(seconds)
        report = run.report()
    say(report)
    run.interrupted = bool(run.processes.decide(bool(stop))[0])
    what = "interrupted; continue with --resume" if run.interrupted else "done"
    say(f"{what}: {run.step} steps in {seconds:.0f} s, {speed:,.0f} tokens/s, saved {training.out}")


def _foresee(run: Run, clock: Clock, say: Speak, *, is_over: bool = False) -> None:
    """Say what the limits leave room for, by the speed of the first steps; a validation that has too little is cut."""
    run.recent_bits()  # waits for the steps
    wanted = run.num_validation_windows
    (chosen,) = run.processes.decide(float(clock.foresee(wanted)))
    if int(chosen) < wanted:
        run.validate_fewer(int(chosen))
        say(f"validation scores {int(chosen)} windows, not {wanted}: more would take too much of --minutes")
    if is_over:
        return
    after = f", {clock_time(clock.ending)} of it for validation and saving" if clock.ending else ""
    say(
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
    out = options["out"]
    if out.exists() and not (resume or overwrite):
        raise UsageError(f"{out} exists", hint="pass --resume to go on with it, or --overwrite to replace it")
    if preset not in {None, "cpu"} and pick_device(options["device"]).type == "cpu" and is_first_process():
        typer.echo(f"--preset {preset} on a CPU: a step will take minutes; --preset cpu is for it", err=True)
    return EXIT_INTERRUPTED if train(Training(**options), resume=resume).interrupted else 0


def main() -> NoReturn:
    """The command line: an error of input is one line on stderr and exit code 2, nothing half-written."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    run_command(app, prog_name="python -m reference.train")


if __name__ == "__main__":
    main()
