"""The registry of methods: a row for each ``--method``, and how its estimator is made from the settings.

A new method is a file in estimators/ and a row here; what takes settings, checks them, lays the text out and sums asks
the row or the estimator. Nothing here imports torch before an estimator is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast, final

if TYPE_CHECKING:
    from bpb_harness.estimators import AutoregressiveCode, Bound, ChainRule, DiscreteBound, ExactBound
    from bpb_harness.evaluation.settings import Settings
    from bpb_harness.schedule import NoiseSchedule

Estimator: TypeAlias = "Bound | ChainRule | ExactBound | AutoregressiveCode"

DEFAULT_STEPS = 128


@final
@dataclass(frozen=True)
class Method:
    """What is known of a method before anything is loaded.

    Attributes:
        name: of ``--method``, and in the signature.
        make: its estimator; a causal network has no schedule and its estimator asks for none.
        samples: it draws masks: ``--samples``, ``--tolerance`` and ``--resume`` are for it.
        takes_steps: ``--steps`` is for it.
        is_causal: it scores causal networks; else masked ones.
        goes_in_order: it reveals tokens one after the other: ``--order`` is for it.
        enumerates: it goes through all masks of a window, and knows what windows cost but not what tokens do.
        other: the method that ``--compare`` holds it against; None: it cannot be compared.
    """

    name: str
    make: Callable[[Settings, NoiseSchedule], Estimator]
    samples: bool = False
    takes_steps: bool = False
    is_causal: bool = False
    goes_in_order: bool = False
    enumerates: bool = False
    other: str | None = None


def _discrete(settings: Settings, schedule: NoiseSchedule) -> DiscreteBound:
    from bpb_harness.estimators import DiscreteBound

    return DiscreteBound(schedule, settings.samples, settings.num_steps or DEFAULT_STEPS)


def _mc(settings: Settings, schedule: NoiseSchedule) -> Bound:
    from bpb_harness.estimators import ContinuousBound

    return ContinuousBound(schedule, settings.samples)


def _chain(settings: Settings, schedule: NoiseSchedule) -> ChainRule:
    from bpb_harness.estimators import ChainRule
    from bpb_harness.sampling.streams import RandomStreams

    return ChainRule(schedule, RandomStreams(settings.seed), settings.order, settings.tokens_per_step)


def _ar(_settings: Settings, _schedule: NoiseSchedule) -> AutoregressiveCode:
    from bpb_harness.estimators import AutoregressiveCode

    return AutoregressiveCode()


def _exact(settings: Settings, schedule: NoiseSchedule) -> ExactBound:
    from bpb_harness.estimators import ExactBound
    from bpb_harness.sampling.streams import RandomStreams

    return ExactBound(schedule, settings.num_steps, cast(int, settings.samples), RandomStreams(settings.seed))


METHODS = {
    row.name: row
    for row in (
        Method("discrete", _discrete, samples=True, takes_steps=True, other="mc"),
        Method("mc", _mc, samples=True, other="discrete"),
        Method("chain", _chain, goes_in_order=True),
        Method("ar", _ar, is_causal=True),
        Method("exact", _exact, takes_steps=True, enumerates=True),
    )
}


def names(choose: Callable[[Method], object]) -> list[str]:
    """The names of some methods."""
    return [row.name for row in METHODS.values() if choose(row)]


def either(words: Sequence[str]) -> str:
    """``a, b or c``."""
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
