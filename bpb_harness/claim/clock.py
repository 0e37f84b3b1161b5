"""The clock that a log of training prints, where it goes back although no step is taken back.

``step:7100/20000 train_loss:1.9 train_time:600612ms step_avg:84.59ms``, and behind it
``stopping_early: wallclock_cap train_time:599820ms step:7184/20000``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import final

from bpb_harness.claim.even_steps import StepTimes
from bpb_harness.claim.printed import Source


@dataclass(frozen=True)
class ClockBack:
    """Two lines of one run, of which the later one has the earlier time.

    Attributes:
        earlier: where the first of them stands.
        at: its milliseconds of training.
        later: where the second stands.
        behind: its milliseconds, fewer by more than a step takes.
        is_stop: the second says that training stops.
        run: which run of the log.
    """

    earlier: Source
    at: float
    later: Source
    behind: float
    is_stop: bool
    run: int


_MS = r"train_time:\s?(?P<ms>[0-9]{1,12}(?:\.[0-9]{1,6})?)ms"
_STEP = re.compile(r"\s{0,20}step:(?P<step>[0-9]{1,9})[/\s]")
_TIME = re.compile(rf"{_MS}(?:\s+step_avg:(?P<each>[0-9]{{1,9}}(?:\.[0-9]{{1,6}})?)ms)?")
_STOP = re.compile(rf"stopping_early\b.{{0,60}}?\b{_MS}\s+step:\s?(?P<step>[0-9]{{1,9}})")
_OFF = 0.01  # relative; of the time that a step takes on average, as the line prints it and as it follows


@final
class Clock:
    """Follows the lines of a log."""

    def __init__(self, file: str) -> None:
        self.back: list[ClockBack] = []
        self.step_times = StepTimes(file)
        self._file = file
        self._last: _Told | None = None

    def begin_anew(self) -> None:
        """Forget what was told: a run that is resumed may restore its clock, or not."""
        self._last = None

    def take(self, low: str, number: int, run: int) -> None:
        """Take one more line, in small letters, that speaks of `train_time:`."""
        last = self._last if self._last is not None and self._last.run == run else None
        if "stopping_early" in low:
            found = _STOP.search(low)
            if last is not None and found is not None and int(found["step"]) >= last.step > 0:
                behind = float(found["ms"])
                if 0.0 < behind < last.ms - last.ms / last.step:  # some print 0 there
                    self._add(last, number, behind, is_stop=True)
            return
        step, time = _STEP.match(low), _TIME.match(low, low.find("train_time:"))
        if step is None or time is None:
            return
        if "train_loss" in low:
            self.step_times.take(int(step["step"]), time["ms"], number, run)
        told = _Told(int(step["step"]), float(time["ms"]), float(time["each"] or 0.0), number, run)
        # A clock that begins anew in a resumed run no longer fits the average; a line that was changed fits none.
        if last is not None and told.step > last.step and told.ms < last.ms and last.is_off and not told.is_off:
            self._add(last, number, told.ms, is_stop=False)
        self._last = told

    def _add(self, last: _Told, number: int, behind: float, *, is_stop: bool) -> None:
        earlier, later = Source(self._file, last.number), Source(self._file, number)
        self.back.append(ClockBack(earlier, last.ms, later, behind, is_stop, last.run))


@dataclass(frozen=True)
class _Told:
    step: int
    ms: float
    each: float  # milliseconds a step, as printed; 0 where nothing is
    number: int
    run: int

    @property
    def is_off(self) -> bool:
        return self.step > 0 and self.each > 0.0 and abs(self.ms / self.step / self.each - 1.0) > _OFF
