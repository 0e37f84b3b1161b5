"""The loop of a training run by a clock of its own: when it reports, saves, grows its windows and ends."""

from __future__ import annotations

import io
import re
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from fixtures import build
from reference import clock as clocks
from reference import train
from reference.settings import PRESETS, Training
from tests.tiny_training import tiny_training


class _Time:
    """Moves by what each step takes, and by nothing else."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class _Run:
    """Stands for a run: every step takes a second."""

    def __init__(
        self, time: _Time, *, seconds: float = 0.0, step: int = 0, grows_at: float = 2.0, **limits: Any
    ) -> None:
        settings = {"minutes": None, "steps": None, "save_minutes": 1.0, "batch_tokens": 50, "out": Path("m.pt")}
        settings |= {"context": 10}
        self.training = SimpleNamespace(**(settings | limits))
        self.processes = SimpleNamespace(decide=lambda *values: tuple(float(value) for value in values))
        self.time, self.seconds, self.step, self.grows_at = time, seconds, step, grows_at
        self.seconds_spent, self.interrupted = 0.0, False
        self.progresses: list[float] = []
        self.saved: list[tuple[int, float]] = []
        self.saved_digest: str | None = None
        self.interrupt_at: int | None = None
        self.num_parameters, self.num_validation_windows, self.validation_seconds = 0, 0, 0.0

    def validate_fewer(self, num_windows: int) -> None:
        self.num_validation_windows = num_windows

    def take_step(self, progress: float) -> None:
        self.progresses.append(progress)
        self.time.now += 1.0
        self.step += 1
        if self.step == self.interrupt_at:
            signal.raise_signal(signal.SIGINT)

    def save(self, seconds: float) -> None:
        self.saved.append((self.step, seconds))
        self.time.now += 0.25

    def report(self) -> str:
        self.time.now += self.validation_seconds
        return f"report of step {self.step}"

    def recent_bits(self) -> float:
        return 5.0

    def context_at(self, progress: float) -> int:
        return 64 if progress >= self.grows_at else 16


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> _Time:
    made = _Time()
    monkeypatch.setattr(train, "time", made)
    monkeypatch.setattr(clocks, "time", made)
    return made


def _take_steps(run: _Run) -> tuple[list[str], list[str]]:
    said: list[str] = []
    logged: list[str] = []
    console = Console(file=io.StringIO())
    train._Steps(run, train.Clock(run), console, said.append, logged.append).take()  # type: ignore[arg-type]
    return said, logged


def test_a_run_ends_with_its_steps_and_speaks_in_between(time: _Time) -> None:
    run = _Run(time, steps=10, grows_at=0.5)
    said, logged = _take_steps(run)
    assert run.progresses == pytest.approx([i / 10 for i in range(10)])
    assert logged == [f"step {step}: 5.000 bits/token, 50 tokens/s" for step in (3, 6, 9)]  # after more than 2 s
    assert said == [
        "forecast: 1 s a step; about 10 steps, 0:08 from now to the end",
        "step 5: windows of 64 from here on",
        "report of step 10",
        "done: 10 steps in 10 s, 50 tokens/s, saved m.pt",
    ]
    assert run.saved == [(10, 10.0)]
    assert (run.seconds_spent, run.interrupted) == (10.0, False)


def test_a_run_ends_with_its_minutes_and_is_saved_on_the_way(time: _Time) -> None:
    run = _Run(time, minutes=0.2, save_minutes=0.075)  # 12 s, every 4.5
    began = time.now
    said, _ = _take_steps(run)
    assert run.saved == [(5, 5.0), (10, pytest.approx(10.25)), (11, pytest.approx(11.5))]
    assert said[:3] == [
        "forecast: 1 s a step; about 12 steps, 0:10 from now to the end", "report of step 5", "report of step 10"
    ]  # fmt: skip
    assert said[-1] == "done: 11 steps in 12 s, 48 tokens/s, saved m.pt"
    assert time.now - began <= 12.0
    assert run.progresses[:2] == pytest.approx([0.0, 1 / 11])


def test_a_run_that_validates_ends_when_its_minutes_do(time: _Time) -> None:
    """Two minutes: steps of a second, and at the end a validation that takes about what was foreseen."""
    run = _Run(time, minutes=2.0, save_minutes=9.0)
    run.num_validation_windows, run.validation_seconds = 200, 20.0  # a window: 10 of 50 tokens of a step, 0.1 s
    began = time.now
    said, _ = _take_steps(run)
    assert (
        said[0]
        == "forecast: 1 s a step; about 99 steps, 1:58 from now to the end, 0:21 of it for validation and saving"
    )
    assert run.num_validation_windows == 200
    assert (run.step, run.progresses[-1]) == (98, pytest.approx(97 / 98))
    assert time.now - began == pytest.approx(118.25)


def test_a_validation_that_would_take_too_much_of_the_minutes_is_cut(time: _Time) -> None:
    run = _Run(time, minutes=1.0, save_minutes=9.0)
    run.num_validation_windows, run.validation_seconds = 5_000, 13.5  # 500 s
    began = time.now
    said, _ = _take_steps(run)
    assert run.num_validation_windows == 135  # of 58 s a quarter, less one to begin
    assert said[0] == "validation scores 135 windows, not 5000: more would take too much of --minutes"
    assert "0:14 of it for validation" in said[1]
    assert 57.0 < time.now - began <= 60.0


def test_a_run_that_ends_before_its_forecast_validates_no_more_than_it_has_time_for(time: _Time) -> None:
    run = _Run(time, minutes=1 / 60, save_minutes=9.0)
    run.num_validation_windows = 5_000
    said, _ = _take_steps(run)
    assert (run.step, run.num_validation_windows) == (1, 8)
    assert not any(line.startswith("forecast") for line in said)


def test_what_validation_took_on_the_way_is_what_the_end_is_kept_free_for(time: _Time) -> None:
    run = _Run(time, minutes=2.0, save_minutes=0.25)
    run.num_validation_windows, run.validation_seconds = 1, 15.0  # foreseen as 1.1 s
    began = time.now
    _take_steps(run)
    *on_the_way, last = run.saved
    assert len(on_the_way) == 2, "one that would leave less than three times what it takes is not made"
    assert 119.0 <= time.now - began <= 120.0
    assert last[1] < 120.0 - 15.25


def test_what_every_save_took_is_in_no_step(time: _Time) -> None:
    run = _Run(time, steps=9)
    clock = train.Clock(run)  # type: ignore[arg-type]
    for seconds in (3.0, 5.0):
        run.take_step(0.0)
        time.now += seconds
        clock.measured(seconds)
    assert clock.seconds_a_step == 1.0
    assert (clock.ending, clock.seconds_left) == (5.0, 7.0 + 5.0)


def test_no_more_steps_are_foreseen_than_are_allowed(time: _Time) -> None:
    run = _Run(time, minutes=1.0, steps=20)
    clock = train.Clock(run)  # type: ignore[arg-type]
    run.take_step(0.0)
    assert clock.steps_in_all == 20
    run.training.steps = None
    assert clock.steps_in_all == 60


def test_progress_never_falls_when_less_is_kept_free(time: _Time) -> None:
    clock = train.Clock(_Run(time, minutes=1.0))  # type: ignore[arg-type]
    clock.ending = 30.0
    time.now += 15.0
    assert clock.progress == 0.5
    clock.ending = 0.0
    assert clock.progress == 0.5


def test_elsewhere_than_on_a_terminal_a_line_every_half_minute(time: _Time) -> None:
    said, logged = _take_steps(_Run(time, steps=100, save_minutes=9.0))
    lines = [line for line in said if line.startswith("step ") and "left" in line]
    assert lines == [
        f"step {step}: 5.000 bits/token, 50 tokens/s, about {left} left"
        for step, left in ((33, "1:07"), (66, "0:34"), (99, "0:01"))
    ]
    assert not set(lines) & set(logged), "what is said is logged where it is said"


def test_a_terminal_sees_a_bar(time: _Time) -> None:
    run, shown = _Run(time, steps=10), io.StringIO()
    console = Console(file=shown, force_terminal=True, width=200)
    train._Steps(run, train.Clock(run), console, [].append, [].append).take()  # type: ignore[arg-type]
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.getvalue())
    assert re.search(r"(?<!\w)step 9: 5\.000 bits/token, 50 tokens/s, about 0:01 left .* 90%", plain)


def test_whichever_limit_is_nearer_ends_it(time: _Time) -> None:
    run = _Run(time, minutes=1.0, steps=3)
    _take_steps(run)
    assert run.step == 3
    run = _Run(time, minutes=0.05, steps=100)
    _take_steps(run)
    assert run.step == 2, "a third would end when the minutes do"


def test_an_earlier_part_counts(time: _Time) -> None:
    run = _Run(time, minutes=0.2, seconds=9.0, step=40)
    said, _ = _take_steps(run)
    assert run.progresses[0] == pytest.approx(0.75)
    assert run.saved == [(42, 11.0)]
    assert said[-1] == "done: 42 steps in 11 s, 50 tokens/s, saved m.pt"  # the speed is this process's


def test_ctrl_c_ends_the_step_saves_and_says_so(time: _Time) -> None:
    before = signal.getsignal(signal.SIGINT)
    run = _Run(time, steps=10)
    run.interrupt_at = 4
    said, _ = _take_steps(run)
    assert run.saved == [(4, 4.0)]
    assert run.interrupted
    assert said[-1] == "interrupted; continue with --resume: 4 steps in 4 s, 50 tokens/s, saved m.pt"
    assert signal.getsignal(signal.SIGINT) is before


def test_the_second_ctrl_c_breaks() -> None:
    with train.stop_on_interrupt() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop == [True]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_progress_stays_within_its_bounds(time: _Time) -> None:
    clock = train.Clock(_Run(time, steps=4, step=9))  # type: ignore[arg-type]
    assert clock.progress == 1.0
    assert train.Clock(_Run(time)).progress == 0.0  # type: ignore[arg-type]
    time.now += 3.0
    assert clock.seconds == 3.0


def test_without_a_validation_only_saving_comes_after_the_last_step(time: _Time) -> None:
    run = _Run(time, minutes=1.0)
    clock = train.Clock(run)  # type: ignore[arg-type]
    time.now, run.step, run.num_parameters = time.now + 3.0, 3, 2_000_000
    assert clock.foresee(0) == 0
    assert clock.ending == pytest.approx(0.2)
    assert clock.foresee(1) == 1
    assert clock.ending > 1.2, "a validation takes a second to start"


def test_what_is_said_is_logged(tmp_path: Path) -> None:
    said = io.StringIO()
    settings = tiny_training(tmp_path / "m.pt", steps=2)
    run = train.train(settings, console=Console(file=said, soft_wrap=True))
    lines = settings.log_path.read_text().splitlines()
    (shard,) = run.shards.files
    alone = [f"trained on {shard.path.name}: {shard.fingerprint}", f"saved weights {run.saved_digest[:16]}"]
    assert [line for line in lines if line not in alone] == said.getvalue().splitlines()
    assert [lines[0], lines[1], lines[3]] == [run.description, *alone]
    assert lines[2].startswith("ready after ")
    assert lines[2].endswith(" s of preparation, which no limit counts")
    assert lines[4].startswith("step 2: training ")
    assert lines[5].startswith("done: 2 steps in ")
    assert settings.log_path.read_text().endswith("\n")
    again = train.train(tiny_training(tmp_path / "m.pt", steps=3), resume=True, console=Console(file=said, quiet=True))
    assert again.step == 3
    assert len(said.getvalue().splitlines()) == len(lines) - 2, "a quiet console says nothing"
    more = settings.log_path.read_text().splitlines()
    assert more[: len(lines)] == lines
    assert more[len(lines) + 2] == f"continues after step 2, {again.seconds:.0f} s of training"


def test_training_on_what_is_validated_is_a_warning(tmp_path: Path) -> None:
    said = io.StringIO()
    settings = tiny_training(tmp_path / "m.pt", steps=1, val_data=(build.VALIDATION,), val_windows=2)
    train.train(settings, console=Console(file=said, soft_wrap=True))
    (line,) = [line for line in said.getvalue().splitlines() if line.startswith("WARNING")]
    assert line == (
        f"WARNING: --val-data is trained on: {build.VALIDATION.name} holds the tokens of a training shard, so "
        "validation scores say nothing of other text"
    )


@pytest.mark.parametrize("quiet", [False, True])
def test_where_there_is_no_bar_a_terminal_sees_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quiet: bool
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    train.train(tiny_training(tmp_path / "m.pt", steps=1), console=Console(file=io.StringIO(), quiet=quiet))
    said = [line.partition(",")[0] for line in terminal.getvalue().split("\r\x1b[2K") if "starting" not in line]
    seen = list(dict.fromkeys(line for line in said if line))
    whats = ["reading data", "preparing: a rehearsal of each kind of step", "saving and validation"]
    assert seen == ([] if quiet else [f"reference.train: {what}" for what in whats])


def test_it_speaks_on_stderr_in_whole_lines(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = train.train(tiny_training(tmp_path / "m.pt", steps=1))
    out, err = capfd.readouterr()
    assert out == ""
    assert run.description in err.splitlines()


def test_the_command_hands_everything_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[Training, bool]] = []

    def trained(training: Training, *, resume: bool) -> Any:
        given.append((training, resume))
        return SimpleNamespace(interrupted=resume)

    monkeypatch.setattr(train, "train", trained)
    out = tmp_path / "m.pt"
    options = {
        "--data": "a.bin", "--tokenizer": "t", "--out": str(out), "--minutes": "1.5", "--steps": "9",
        "--objective": "ar", "--schedule": "cosine-mdlm[0.01]", "--layers": "3", "--width": "64", "--heads": "2",
        "--mlp-width": "96", "--context": "128", "--short-context": "32", "--batch-tokens": "1024", "--lr": "0.1",
        "--muon-lr": "0.2", "--weight-decay": "0.3", "--ema": "0.5", "--clip": "2.0", "--seed": "4", "--device": "cpu",
        "--export-dtype": "bfloat16", "--val-data": "v.bin", "--val-windows": "7", "--save-minutes": "3.0",
        "--short-share": "0.7", "--dropout": "0.1",
    }  # fmt: skip
    arguments = [part for option in options.items() for part in option]

    def run(*more: str) -> object:
        monkeypatch.setattr(sys, "argv", ["train", *arguments, *more])
        with pytest.raises(SystemExit) as stopped:
            train.main()
        return stopped.value.code

    assert not run("--data", "b.bin", "--time-conditioned", "--compile", "--no-check-tokenizer", "--normalised-updates",
                   "--tied-head")  # fmt: skip
    assert given == [(
        Training(
            (Path("a.bin"), Path("b.bin")), Path("t"), out, minutes=1.5, steps=9, objective="ar", time_conditioned=True,
            schedule="cosine-mdlm[0.01]", layers=3, width=64, heads=2, mlp_width=96, context=128, short_context=32,
            batch_tokens=1024, lr=0.1, muon_lr=0.2, weight_decay=0.3, ema=0.5, clip=2.0, seed=4, device="cpu",
            compile=True, export_dtype="bfloat16", val_data=(Path("v.bin"),), val_windows=7, save_minutes=3.0,
            check_tokenizer=False, short_share=0.7, dropout=0.1, normalised_updates=True, tied_head=True,
        ), False,
    )]  # fmt: skip
    short = ["--data", "a.bin", "--tokenizer", "t", "--out", str(out), "--steps", "9"]
    monkeypatch.setattr(sys, "argv", ["train", *short])
    with pytest.raises(SystemExit):
        train.main()
    assert given[1:] == [(Training((Path("a.bin"),), Path("t"), out, steps=9), False)], "the defaults are one"
    by_preset = ["--preset", "h100", "--layers", "3"]
    monkeypatch.setattr(sys, "argv", ["train", *short, *by_preset])
    with pytest.raises(SystemExit):
        train.main()
    chosen, _ = given.pop()
    assert {name: getattr(chosen, name) for name in PRESETS["h100"]} == {**PRESETS["h100"], "layers": 3}
    of_blocks = {"block_size": 8, "causal_weight": 0.25, "causal_share": 0.125}
    as_words = [word for name, value in of_blocks.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    monkeypatch.setattr(sys, "argv", ["train", *short, *as_words])
    with pytest.raises(SystemExit):
        train.main()
    assert given.pop() == (Training((Path("a.bin"),), Path("t"), out, steps=9, **of_blocks), False)  # type: ignore[arg-type]
    for preset in ("h100-blocks", "h100-blocks-long"):
        monkeypatch.setattr(sys, "argv", ["train", *short, "--preset", preset, "--dropout", "0.5"])
        with pytest.raises(SystemExit):
            train.main()
        chosen, _ = given.pop()
        assert {name: getattr(chosen, name) for name in PRESETS[preset]} == {
            **PRESETS[preset], **({"dropout": 0.5} if "dropout" in PRESETS[preset] else {})
        }  # fmt: skip
        assert chosen.dropout == 0.5
    assert run("--resume") == 130
    out.write_bytes(b"")
    assert run() == 2
    assert run("--resume") == 130, "what is resumed is there already"
    assert not run("--overwrite")
    assert [resume for _, resume in given] == [False, False, True, True, False]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "m.pt exists; pass --resume to go on with it, or --overwrite to replace it"),
        (
            ["--out", "folder"],
            "--out: got folder, a folder, expected a file whose name ends in .pt or .safetensors; "
            "pass --out folder/model.pt",
        ),
        (["--out", "notes.txt"], "--out: got 'notes.txt', expected a name that ends in .pt or .safetensors"),
        (["--preset", "tpu"], f"--preset: got 'tpu', expected {' or '.join(PRESETS)}"),
        (["--overwrite", "--seed", "-1"], "--seed: got -1, expected a whole number, 0 or more"),
        (["--overwrite", "--objective", "sedd"], "--objective: got 'sedd', expected mdlm or ar"),
    ],
)
def test_the_command_refuses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, more: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.pt").write_bytes(b"")
    Path("notes.txt").write_bytes(b"")
    Path("folder").mkdir()
    words = ["--data", "a.bin", "--tokenizer", "t", "--out", "m.pt", "--steps", "1"]
    monkeypatch.setattr(sys, "argv", ["train", *words, *more])
    with pytest.raises(SystemExit) as stopped:
        train.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err.endswith(f"{said}\n")
    assert not Path("m.pt").read_bytes()


@pytest.mark.parametrize(
    ("preset", "device", "said"),
    [("h100", "cpu", "--preset h100 on a CPU: a step will take minutes; "), ("cpu", "cpu", ""), (None, "cpu", "")],
)
def test_a_preset_of_another_device_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, preset: str | None,
    device: str, said: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(train, "train", lambda *_, **__: SimpleNamespace(interrupted=False))
    words = ["--data", "a.bin", "--tokenizer", "t", "--out", str(tmp_path / "m.pt"), "--steps", "1", "--device", device]
    monkeypatch.setattr(sys, "argv", ["train", *words, *(["--preset", preset] if preset else [])])
    with pytest.raises(SystemExit) as stopped:
        train.main()
    assert not stopped.value.code
    told = capsys.readouterr().err
    assert told.startswith(said)
    assert bool(told) is bool(said)
