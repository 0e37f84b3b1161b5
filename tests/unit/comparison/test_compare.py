"""Systems in memory against the first of them: what of each score enters the verdict."""

from __future__ import annotations

import re

import numpy as np
import pytest

import bpb_harness
from bpb_harness.comparison.compare import compare
from bpb_harness.costs import ScoreCosts
from bpb_harness.errors import UsageError
from tests.scores import SIGNATURE, costs_of

MASKED = SIGNATURE.__class__(**{**vars(SIGNATURE), "method": "mc"})


def bound(nats: float, *, is_trusted: bool = True, warning: str = "") -> ScoreCosts:
    """Of 30 documents that cost about so much each."""
    each = nats + np.random.default_rng(0).normal(size=30)
    return costs_of(
        each, np.full(30, 100.0), relation="~<=", stderr=0.5, signature=MASKED, is_trusted=is_trusted, warning=warning
    )


@pytest.mark.parametrize(
    ("baseline", "system", "conclusion"),
    [(True, True, "lower-bound"), (False, True, "unresolved"), (True, False, "unresolved")],
)
def test_a_score_whose_error_is_not_to_be_trusted_decides_nothing(baseline, system, conclusion):
    found = compare([bound(200.0, is_trusted=baseline), bound(190.0, is_trusted=system)], [{}, {}]).pairs[0]
    assert found.conclusion == conclusion
    assert ("is not to be trusted" in found.sentence) is (conclusion == "unresolved")
    assert (found.winner is None) is (conclusion == "unresolved")


def test_a_warning_of_either_score_is_said_with_its_name():
    found = compare([bound(200.0, warning="of one"), bound(190.0, warning="of two")], [{}, {}])
    first, second = (system.name for system in found.systems)
    assert found.pairs[0].notes[-2:] == (f"WARNING: {first}: of one", f"WARNING: {second}: of two")


@pytest.mark.parametrize(
    ("others", "holds"), [((190.0, 189.0), True), ((190.0, 201.0), False), ((201.0, 190.0), False)]
)
def test_every_system_must_be_as_much_better_as_is_expected(others, holds):
    systems = [bound(200.0), *map(bound, others)]
    found = compare(systems, [{}] * 3, better_by=0.01)
    assert found.expectation is not None
    assert found.expectation.holds is found.holds is holds
    assert [pair.p_better is not None and pair.p_better < 0.05 for pair in found.pairs] == [
        nats < 200 for nats in others
    ]


@pytest.mark.parametrize(("level", "is_said"), [(0.05, True), (0.0625, True), (0.0626, False)])
def test_units_too_few_for_a_p_below_the_level_are_said(level, is_said):
    """Five documents: the smallest share of flips of signs is 2 in 2^5."""
    few = [costs_of(np.full(5, nats), np.full(5, 100.0), relation="=") for nats in (200.0, 190.0)]
    found = compare(few, [{}, {}], level=level).pairs[0]
    assert (found.units, found.num_units) == ("documents", 5)
    said = "5 documents can show no p below 0.062, however alike they are; more text can"
    assert (said in found.notes) is is_said


@pytest.mark.parametrize(
    ("systems", "more", "message"),
    [
        ((1.2,), {}, "a system to compare: got float, expected a checkpoint, a file of a score, or a result; a network "
         "in memory is scored first: evaluate(network, with_costs=True, ...)"),
        (([bound(1.0)],), {}, "got list, expected a checkpoint, a file of a score, or a result; one by one: compare("),
        ((bound(1.0),), {"level": "0.05"}, "--level: got '0.05', expected a number"),
        ((bound(1.0),), {"level": None}, "--level: got None, expected a number"),
        ((bound(1.0),), {"better_by": True}, "--expect-better: got True, expected a number"),
    ],
)  # fmt: skip
def test_what_is_no_system_and_no_number_is_refused_in_one_line(systems, more, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        bpb_harness.compare(bound(1.0), *systems, **more)
