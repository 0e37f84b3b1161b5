"""How much of a run is done, and when it will end: steps, and what comes after the last of them, both foreseen."""

from __future__ import annotations

import time
from typing import Protocol, final

from reference.settings import Training

# A validation calls the network forwards alone, a third of a step's work, on windows that are checked and drawn twice.
_FORWARD_SHARE, _WINDOWS_SCORED = 1 / 3, 1.5
_SECONDS_TO_START_VALIDATION = 1.0
_SECONDS_TO_SAVE_A_PARAMETER = 1e-7  # weights, their average and the optimizer's: 20 bytes, at 200 MB/s
_MAX_SHARE_OF_VALIDATION = 0.25
_MIN_WINDOWS = 8


class Timed(Protocol):
    """What a clock asks of a run."""

    @property
    def training(self) -> Training:
        """What it is asked to do."""

    @property
    def step(self) -> int:
        """Steps that it has taken."""

    @property
    def seconds(self) -> float:
        """What earlier parts of it took."""

    @property
    def num_parameters(self) -> int:
        """Of the network."""


@final
class Clock:
    """How much of a run is done, by its steps and by the wall clock, whichever is further.

    Attributes:
        ending: seconds from the last step to the end: saving, and validation. 0 until they are foreseen or measured.
    """

    def __init__(self, run: Timed) -> None:
        self._run, self._before, self._began, self._first_step = run, run.seconds, time.monotonic(), run.step
        self._apart = 0.0  # seconds of saving and validation between steps
        self._furthest = 0.0
        self.ending = 0.0

    @property
    def seconds(self) -> float:
        """Wall-clock time of the run, earlier ones that it continues included.

        It counts steps, validation and saving; not what comes before the first step: reading data, and compiling.
        """
        return self._before + time.monotonic() - self._began

    @property
    def num_steps(self) -> int:
        """Steps that were taken by this clock."""
        return self._run.step - self._first_step

    @property
    def seconds_a_step(self) -> float:
        """On average; 0 before the first."""
        return (time.monotonic() - self._began - self._apart) / self.num_steps if self.num_steps else 0.0

    @property
    def progress(self) -> float:
        """From 0 to 1, where the next step would end too late for the rest to be done in time. It never falls."""
        training = self._run.training
        by_steps = self._run.step / training.steps if training.steps else 0.0
        by_clock = 0.0
        if training.minutes:
            for_steps = 60.0 * training.minutes - self.ending - self.seconds_a_step
            by_clock = self.seconds / for_steps if for_steps > 0.0 else 1.0
        self._furthest = max(self._furthest, min(1.0, max(by_steps, by_clock)))
        return self._furthest

    @property
    def tokens_per_second(self) -> float:
        """Speed of this process."""
        num_tokens = self.num_steps * self._run.training.batch_tokens
        return num_tokens / (time.monotonic() - self._began)

    @property
    def seconds_left(self) -> float:
        """Until the run ends, what comes after the last step included."""
        training, left = self._run.training, []
        if training.minutes:
            left.append(60.0 * training.minutes - self.seconds)
        if training.steps:
            left.append((training.steps - self._run.step) * self.seconds_a_step + self.ending)
        return max(min(left), 0.0)

    @property
    def steps_in_all(self) -> int:
        """That the run will have taken at its end, at the speed so far."""
        for_steps = max(self.seconds_left - self.ending, 0.0)
        return self._run.step + (int(for_steps / self.seconds_a_step) if self.seconds_a_step else 0)

    def has_time_to_save(self) -> bool:
        """Whether a checkpoint on the way leaves enough for steps after it; without a limit in minutes it does."""
        return not self._run.training.minutes or self.seconds_left > 3.0 * self.ending

    def measured(self, seconds: float) -> None:
        """Saving and validation took so long between two steps; at the end they will, too."""
        self._apart += seconds
        self.ending = seconds

    def foresee(self, num_windows: int) -> int:
        """Foresee what comes after the last step, by the speed of the first steps.

        Args:
            num_windows: that a validation scores; 0: there is none.

        Returns:
            As many of them as a quarter of what is left of the minutes has room for; all without such a limit.
        """
        training = self._run.training
        self.ending = _SECONDS_TO_SAVE_A_PARAMETER * self._run.num_parameters
        if not num_windows:
            return 0
        a_window = self.seconds_a_step / training.batch_tokens * training.context * _FORWARD_SHARE * _WINDOWS_SCORED
        chosen = num_windows
        if training.minutes and a_window > 0.0:
            room = _MAX_SHARE_OF_VALIDATION * (60.0 * training.minutes - self.seconds) - _SECONDS_TO_START_VALIDATION
            chosen = min(num_windows, max(int(room / a_window), _MIN_WINDOWS))
        self.ending += _SECONDS_TO_START_VALIDATION + chosen * a_window
        return chosen
