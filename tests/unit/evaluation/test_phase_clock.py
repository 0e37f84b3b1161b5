"""Phases add up to the whole, whatever lies within what; by a clock that the test sets."""

from __future__ import annotations

import pytest

from bpb_harness.evaluation.phase_clock import PhaseClock


@pytest.fixture
def clock(monkeypatch):
    """A clock, and a function that lets seconds pass."""
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    def sleep(seconds: float) -> None:
        now[0] += seconds

    return PhaseClock(), sleep


def test_a_phase_within_another_stops_its_clock(clock):
    phases, sleep = clock
    with phases.phase("checks"):
        sleep(1)
        with phases.phase("scoring"):
            sleep(2)
            with phases.phase("compiling"):
                sleep(4)
            sleep(8)
        sleep(16)
    sleep(32)  # belongs to nobody
    with phases.phase("checks"):
        sleep(64)
    assert phases.seconds == {"checks": 81.0, "scoring": 10.0, "compiling": 4.0}


def test_a_phase_that_fails_ends(clock):
    phases, sleep = clock

    def fail() -> None:
        with phases.phase("checks"):
            sleep(1)
            raise ValueError("no")

    with phases.phase("loading"):
        with pytest.raises(ValueError, match="no"):
            fail()
        sleep(2)
    assert phases.seconds == {"loading": 2.0, "checks": 1.0}


def test_a_phase_that_still_runs_is_counted_so_far(clock):
    phases, sleep = clock
    with phases.phase("loading"):
        sleep(3)
        assert phases.seconds == {"loading": 3.0}
        sleep(1)
    assert phases.seconds == {"loading": 4.0}
