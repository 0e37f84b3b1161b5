"""Every wrong estimator of the gallery is caught by the checks that are said to catch it; the correct ones pass."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from bpb_harness.testing import check_code_length, check_elbo, check_loss_weight
from fixtures.adversarial.estimators import CORRECT, GALLERY, WrongEstimator
from tests.tiers import thorough

# The fewest that check_elbo takes, 100 calls of 31 rows: nearly all mistakes are so large that these find them, and a
# right estimator passes at any number.
_DRAWS = 3_100


def _settings(settings: Mapping[str, object], draws: int = _DRAWS) -> dict[str, Any]:
    return dict(settings) | {"num_draws": draws}


# Each takes a second or more, and another of its kind is there every day.
_ENDING = thorough(
    everyday="statistical/test_doubts.py::test_weights_that_end_where_sampling_proves_nothing_are_suspicious"
)
_FITTED = thorough(everyday="statistical/test_closer_look.py::test_a_wrong_mean_is_named_for_what_single_draws_show")
_AMONG_MEANS = thorough(everyday="adversarial/test_gallery.py::test_wrong_means_are_found_and_named")
_PASSING = thorough(everyday="statistical/test_closer_look.py::test_unusual_and_right_estimators_pass")
_AMONG_CORRECT = thorough(everyday="adversarial/test_gallery.py::test_correct_estimators_pass")
_LEFT_CORRECT = {"importance-sampled times": _PASSING, "prior and conditioned": _AMONG_CORRECT}
_AMONG_CODES = thorough(everyday="adversarial/test_gallery.py::test_scores_that_are_no_code_lengths")
_LEFT = {
    ("estimate_nats", "best of several seeds"): _AMONG_CODES,
    ("estimate_nats", "order that peeks"): _AMONG_CODES,
    ("estimate_nats", "weights normalised by their own sum"): _FITTED,
    ("score_bits", "integral over [0.05, 0.95]"): _AMONG_MEANS,
    ("estimate_nats", "control variate fitted on its own draws"): _FITTED,
    ("estimate_nats", "times above an epsilon"): _ENDING,
    ("estimate_nats", "weights clipped"): _ENDING,
    ("score_bits", "cleaner end of each step"): _AMONG_MEANS,
    ("score_bits", "groups of tokens priced jointly"): _AMONG_MEANS,
}


def _items(part: str) -> list[object]:
    return [
        pytest.param(item, id=item.name, marks=_LEFT.get((part, item.name), ()))
        for item in GALLERY
        if getattr(item, part) is not None
    ]


@pytest.mark.parametrize("name", [pytest.param(name, marks=_LEFT_CORRECT.get(name, ())) for name in CORRECT])
def test_correct_estimators_pass(name: str) -> None:
    """False-alarm rate below 5e-5 each (MATHS.md, equation 22), at fixed seeds and whatever the number of draws."""
    estimate, settings = CORRECT[name]
    report = check_elbo(estimate, **_settings(settings))
    assert report.verdict == "correct", report.message
    assert report.ok
    assert report.diagnosis is None
    assert 0.9 < report.ratio < 1.1
    assert report.z_max < 5


@pytest.mark.parametrize("item", _items("estimate_nats"))
def test_wrong_means_are_found_and_named(item: WrongEstimator) -> None:
    report = check_elbo(item.estimate_nats, **_settings(item.settings, item.least_draws))
    if item.looser:
        assert report.verdict == "looser", report.message
        assert report.ok
        assert report.ratio > 1
    elif {"expectation", "contract"} & set(item.caught_by):
        assert report.verdict == "wrong", report.message
        assert not report.ok
        assert (report.diagnosis or "").startswith("contract") == ("contract" in item.caught_by)
    else:
        assert report.verdict == "correct", f"the story says that no expectation shows it\n{report.message}"
    assert any(item.suspicious in one for one in report.suspicions) if item.suspicious else not report.suspicions
    if item.diagnosis is not None:
        assert item.diagnosis in (report.diagnosis or ""), report.message
        assert item.diagnosis in report.message
    else:
        assert report.diagnosis is None


@pytest.mark.parametrize("item", _items("score_bits"))
def test_scores_that_are_no_code_lengths(item: WrongEstimator) -> None:
    vocab_size, length = item.texts
    report = check_code_length(item.score_bits, vocab_size=vocab_size, length=length)
    assert not report.ok
    assert report.kraft_sum > 1.2


@pytest.mark.parametrize("item", _items("weight"))
def test_wrong_weights(item: WrongEstimator) -> None:
    report = check_loss_weight(item.weight, item.schedule)
    assert not report.ok
    assert item.weight_diagnosis in (report.diagnosis or ""), report.message


def test_every_item_is_complete() -> None:
    assert len({item.name for item in GALLERY}) == len(GALLERY)
    for item in GALLERY:
        assert len(item.story) > 80, item.name
        assert ("weights" in item.caught_by) == (item.weight is not None), item.name
        assert ("kraft" in item.caught_by) == (item.score_bits is not None), item.name
        assert item.caught_by, item.name
        if "nothing" in item.caught_by:
            assert item.caught_by == ("nothing",)


def test_the_published_mistakes_are_all_there() -> None:
    names = " ".join(item.name for item in GALLERY)
    for word in (
        "dsigma", "divided by the number masked", "epsilon", "both end points", "t = 1 dropped", "another schedule",
        "half to even", "stratum tied", "one mask forced", "softmax", "bfloat16", "special tokens", "prior term",
        "data token", "sine hash", "duplicates", "pseudo-log-likelihood", "[0.05, 0.95]", "two passes", "cleaner end",
        "best of several seeds", "1/t twice", "joint denoiser",
    ):  # fmt: skip
        assert re.search(re.escape(word), names), word
