"""What a comparison says: numbers, and a sentence for each pair."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, final

from bpb_harness.comparison.contest import ContestRule

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "bpb-comparison/1"


@final
@dataclass(frozen=True)
class ComparedSystem:
    """A system, as it was scored.

    Attributes:
        name: of its file.
        bits_per_unit: its score.
        relation: ``=``, ``<=`` or ``~<=``.
        mc_stderr: error of the score from masks, in bits per unit; None where it is not known.
        num_tokens: that were paid for.
        num_units: bytes, or tokens where none are counted.
        warning: what a reader must be told of the score; empty: nothing.
        signature: its settings.
    """

    name: str
    bits_per_unit: float
    relation: str
    mc_stderr: float | None
    num_tokens: int
    num_units: float
    warning: str
    signature: str


@final
@dataclass(frozen=True)
class ComparedPair:
    """A system against the baseline; below 0 is better than the baseline.

    Attributes:
        system: its name.
        baseline: the first system's name.
        delta: bits per unit, system less baseline.
        mask_stderr: its error from masks, this text given; None where it is not known.
        mask_ci95: the 95 % interval of that error; None where it is not known.
        masks: "same" masks in both, "independent" ones, or "none".
        masks_differ_in: why they are not the same, where masks were drawn for both.
        text_stderr: its error over the choice of text, that from masks included; None where nothing tells it.
        text_ci95: the 95 % interval on text of the same kind; None where nothing tells it, or fewer than six units.
        units: "documents" or "blocks".
        num_units: how many of them.
        p: two-sided, of no difference on text of the same kind; None where nothing tells it.
        p_holm: the same, corrected for the number of systems.
        p_by: "bootstrap" or "sign flips"; "none".
        p_better: one-sided, corrected: of being better by no more than was expected; None where nothing was.
        conclusion: see :class:`bpb_harness.comparison.verdict.Verdict`.
        winner: who needs fewer bits on this text; None where that is not shown.
        sentence: what follows.
        notes: how the two fit together.
    """

    system: str
    baseline: str
    delta: float
    mask_stderr: float | None
    mask_ci95: tuple[float, float] | None
    masks: str
    masks_differ_in: str
    text_stderr: float | None
    text_ci95: tuple[float, float] | None
    units: str
    num_units: int
    p: float | None
    p_holm: float | None
    p_by: str
    p_better: float | None
    conclusion: str
    winner: str | None
    sentence: str
    notes: tuple[str, ...]


@final
@dataclass(frozen=True)
class Expectation:
    """``--expect-better``: every system is better than the baseline by more than this.

    Attributes:
        better_by: bits per unit.
        level: p must lie below it.
        holds: whether it does for all of them.
        of_bounds: whether the baseline's score is a bound, below which its likelihood may lie: then a system that holds
            it needs, or promises, fewer bits than that bound, and no better model is shown.
    """

    better_by: float
    level: float
    holds: bool
    of_bounds: bool


@final
@dataclass(frozen=True)
class SystemComparison:
    """Systems against the first of them.

    Attributes:
        systems: the baseline first.
        pairs: each other system against the baseline; none where runs of two systems were compared.
        unit: what rates are per: "byte", or "token" where no bytes are counted.
        level: below which a p is taken to show a difference.
        expectation: what was expected, and whether it holds.
        contest: the contest's rule, where it was asked for.
    """

    systems: tuple[ComparedSystem, ...]
    pairs: tuple[ComparedPair, ...]
    unit: str
    level: float
    expectation: Expectation | None = None
    contest: ContestRule | None = None

    @property
    def holds(self) -> bool:
        """Whether all that was expected does."""
        return all(each.holds for each in (self.expectation, self.contest) if each is not None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as ``--format json`` prints them."""
        return {"format": FORMAT} | asdict(self)

    def to_json(self) -> str:
        """:meth:`to_dict` as JSON text; NaN is never written."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def to_frame(self) -> pd.DataFrame:
        """One row a pair."""
        import pandas as pd

        return pd.DataFrame([asdict(pair) for pair in self.pairs])

    def __str__(self) -> str:
        from bpb_harness.comparison.tables import as_text

        return as_text(self)
