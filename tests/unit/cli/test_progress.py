"""What a command says of what it does: words, forecasts, a terminal, a pipe. Clocks are the tests' own."""

from __future__ import annotations

import io
import sys
import threading
from pathlib import Path

import pytest

from bpb_harness.cli import _progress
from bpb_harness.cli import audit as audit_command
from bpb_harness.cli import compare as compare_command
from bpb_harness.cli import eval as eval_command
from bpb_harness.cli import prove as prove_command
from bpb_harness.cli._progress import Progress, clock_time, progress_bar
from bpb_harness.errors import UsageError
from bpb_harness.evaluation.phase_clock import Listener, PhaseClock
from tests.commands import run_here


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def told():
    now = [100.0]
    progress = Progress("bpb-eval", clock=lambda: now[0])

    def later(seconds: float) -> None:
        now[0] += seconds

    return progress, later


def test_from_the_start_it_says_what_is_done_and_how_long_it_has_run(told):
    progress, later = told
    assert progress.line() == "bpb-eval: starting, 0:00"
    progress.doing("loading")
    later(71)
    assert progress.line() == "bpb-eval: loading, 1:11"


def test_tokens_are_counted_and_the_rest_is_forecast_by_the_speed_so_far(told):
    progress, later = told
    progress.doing("scoring")
    progress(1_000, 10_000)
    assert progress.line() == "bpb-eval: scoring, 10 % of 10,000 tokens, 0:00"
    later(20)
    progress(3_000, 10_000)
    assert progress.line() == "bpb-eval: scoring, 30 % of 10,000 tokens, 0:20, about 1:10 left"


def test_what_an_earlier_run_has_done_is_no_speed(told):
    progress, later = told
    later(600)
    progress.doing("scoring")
    progress(9_000, 10_000)
    later(10)
    progress(9_100, 10_000)
    assert progress.line().endswith("about 1:30 left")


def test_another_thing_is_not_counted_yet_and_the_same_one_goes_on(told):
    progress, later = told
    progress.doing("scoring")
    progress(1, 2)
    progress.doing("scoring")
    assert "50 %" in progress.line()
    progress.doing("checks: a second look")
    later(5)
    assert progress.line() == "bpb-eval: checks: a second look, 0:05"


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (751, "12:31"), (7500, "2:05:00")])
def test_times_of_a_clock(seconds, text):
    assert clock_time(seconds) == text


def test_it_is_a_listener_of_the_clock_of_phases(told):
    progress, _ = told
    assert isinstance(progress, Listener)
    clock = PhaseClock(progress)
    with clock.phase("checks"):
        clock.tell("checks 7 of 11: other rows")
        assert progress.line() == "bpb-eval: checks 7 of 11: other rows, 0:00"
        with clock.phase("scoring"):
            assert progress.line() == "bpb-eval: scoring, 0:00"
        assert progress.line() == "bpb-eval: checks, 0:00"


def test_a_plain_function_that_counts_tokens_is_told_nothing_else():
    with PhaseClock(print).phase("checks"):
        pass


def test_a_terminal_has_one_line_from_the_first_moment_which_is_gone_at_the_end(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(_progress, "_LEAST_SECONDS_BETWEEN_WRITES", 0.0)
    with progress_bar("bpb-eval") as progress:
        assert terminal.getvalue() == "\r\x1b[2Kbpb-eval: starting, 0:00"
        progress.doing("loading")
        print("a warning", file=sys.stderr)
        progress(1, 2)
    assert sys.stderr is terminal
    written = terminal.getvalue()
    assert "\r\x1b[2Kbpb-eval: loading, 0:00" in written
    assert "\r\x1b[2Ka warning\n" in written
    assert "50 % of 2 tokens" in written
    assert written.endswith("\r\x1b[2K")
    progress(2, 2)
    assert terminal.getvalue() == written


def test_a_line_is_no_wider_than_the_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "12")
    with progress_bar("bpb-eval"):
        assert terminal.getvalue() == "\r\x1b[2Kbpb-eval: s"


def test_elsewhere_a_line_every_so_often(monkeypatch):
    lines, two = [], threading.Event()

    class Pipe(io.StringIO):
        def write(self, text: str) -> int:
            lines.append(text)
            if len(lines) >= 2:
                two.set()
            return len(text)

    monkeypatch.setattr(sys, "stderr", Pipe())
    assert _progress._SECONDS_BETWEEN_LINES == 30.0
    monkeypatch.setattr(_progress, "_SECONDS_BETWEEN_LINES", 0.01)
    with progress_bar("bpb-eval") as progress:
        progress.doing("loading")
        assert two.wait(60)
    assert lines[1].startswith("bpb-eval: loading, 0:0")
    assert lines[1].endswith("\n")


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_what_is_short_or_quiet_says_nothing_where_nobody_looks(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", there := stream())
    with progress_bar("bpb-eval", shown=stream is not Terminal) as progress:
        progress.doing("loading")
        progress(1, 2)
    assert there.getvalue() == ""


def test_where_stderr_was_closed_before_nothing_is_said(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with progress_bar("bpb-eval") as progress:
        progress.doing("loading")


CHECKPOINT = Path(__file__).resolve().parents[3] / "fixtures" / "checkpoints" / "mdlm-tiny.pt"
COMMANDS = {
    "eval": (eval_command, [CHECKPOINT]),
    "compare": (compare_command, [CHECKPOINT, CHECKPOINT]),
    "prove": (prove_command, [CHECKPOINT, "--proof", "p.bits"]),
    "prove, decoding": (prove_command, [CHECKPOINT, "--decode", CHECKPOINT, "--tokenizer", CHECKPOINT]),
    "audit, rescoring": (audit_command, ["x.claim.json", "--checkpoint", CHECKPOINT, "--data", CHECKPOINT]),
}


@pytest.mark.parametrize("flags", [[], ["--quiet"]])
@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_can_be_told_to_be_quiet(monkeypatch, tmp_path, name, flags):
    module, arguments = COMMANDS[name]
    seen = []

    def asked(command, *, shown=True):
        seen.append((command, shown))
        raise UsageError("that is all")

    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.claim.json").write_text('{"format": "bpb-claim/1", "claimed_bpb": 1.0}')
    monkeypatch.setattr(module, "progress_bar", asked)
    done = run_here(module.main, *arguments, *flags)
    assert (done.returncode, done.stderr) == (2, f"bpb-{name.partition(',')[0]}: that is all\n")
    assert seen == [(f"bpb-{name.partition(',')[0]}", not flags)]


def test_a_stream_that_is_closed_is_no_reason_to_fail(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar("bpb-eval") as progress:
        terminal.close()
        monkeypatch.setattr(_progress, "_LEAST_SECONDS_BETWEEN_WRITES", 0.0)
        progress.doing("loading")
