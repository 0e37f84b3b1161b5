"""What follows from a difference: every pair of relations, both directions, shown and not shown."""

from __future__ import annotations

import pytest

from bpb_harness.comparison.verdict import Side, TextEvidence, judge, said_p

SURE = TextEvidence(0.001, 0.05, "203 documents", favours_winner=True)


def side(name: str, relation: str, bits: float = 1.0, *, order: str = "", is_trusted: bool = True) -> Side:
    return Side(name, relation, bits, order, is_trusted)


def judged(baseline: str, system: str, delta: float, interval, text=SURE, **more):
    return judge(side("A", baseline), side("B", system, 1.0 + delta, **more), delta, interval, text, "byte")


@pytest.mark.parametrize(
    ("baseline", "system", "conclusion"),
    [
        ("=", "=", "better"),
        ("<=", "<=", "lower-bound"),
        ("~<=", "~<=", "lower-bound"),
        ("<=", "~<=", "lower-bound"),
        ("~<=", "<=", "lower-bound"),
        ("=", "<=", "better-likelihood"),
        ("=", "~<=", "better-likelihood"),
        ("<=", "=", "shorter-than-bound"),
        ("~<=", "=", "shorter-than-bound"),
    ],
)
def test_what_follows_where_the_system_needs_fewer_bits(baseline, system, conclusion):
    found = judged(baseline, system, -0.1, (-0.12, -0.08))
    assert (found.conclusion, found.winner) == (conclusion, "B")
    turned = judge(side("A", system, 0.9), side("B", baseline), 0.1, (0.08, 0.12), SURE, "byte")
    assert (turned.conclusion, turned.winner) == (conclusion, "A")


def test_the_words():
    assert judged("=", "=", -0.1, (-0.1, -0.1), order="left to right").sentence == (
        "B is better than A on this text: it needs 0.1000 bits per byte (10 %) fewer, and both lengths are exact "
        "(left to right). It would hold on other text of this kind (p = 0.001 over 203 documents)."
    )
    assert judged("~<=", "~<=", -0.1, (-0.12, -0.08)).sentence.startswith(
        "B promises fewer bits than A on this text: its estimated bound is 0.1000 bits per byte (10 %) lower. "
        "Two bounds do not say which likelihood is higher."
    )
    assert "its bound is 0.1000" in judged("<=", "<=", -0.1, (-0.1, -0.1)).sentence
    assert judged("=", "~<=", -0.1, (-0.12, -0.08)).sentence.startswith(
        "B has the higher likelihood on this text: the upper limit of its estimated bound lies below the exact code "
        "length of A, the bound itself by 0.1000 bits per byte (10 %)."
    )
    assert judged("=", "<=", -0.1, (-0.1, -0.1)).sentence.startswith(
        "B has the higher likelihood on this text: its bound lies below the exact code length of A"
    )
    assert judged("~<=", "=", -0.1, (-0.12, -0.08)).sentence.startswith(
        "B, whose code length is exact, needs 0.1000 bits per byte (10 %) fewer on this text than the bound of A "
        "promises; what A needs may lie anywhere below its bound, so that nothing follows about which likelihood is "
        "higher."
    )


@pytest.mark.parametrize("baseline", ["=", "~<="])
def test_what_masks_hide_is_not_shown(baseline):
    for interval in ((-0.3, 0.1), (-0.2, 0.0), (0.0, 0.1)):
        found = judged(baseline, "~<=", -0.1, interval)
        assert (found.conclusion, found.winner) == ("unresolved", None)
        assert "within the error from masks" in found.sentence
    found = judged(baseline, "~<=", -0.1, None)
    assert (found.conclusion, found.winner) == ("unresolved", None)
    assert "nothing tells the error from masks" in found.sentence


@pytest.mark.parametrize("relation", ["=", "<=", "~<="])
def test_an_error_that_is_not_to_be_trusted_shows_nothing(relation):
    found = judged(relation, "~<=", -0.1, (-0.12, -0.08), is_trusted=False)
    assert (found.conclusion, found.winner) == ("unresolved", None)
    assert "of B is not to be trusted" in found.sentence


def test_no_difference_is_said():
    found = judged("=", "=", 0.0, (0.0, 0.0))
    assert (found.conclusion, found.winner) == ("equal", None)
    assert found.sentence.startswith("B and A need the same number of bits")


def test_other_text():
    unsure = "On other text of this kind A may need no more bits than B"
    for p, favours, said in (
        (0.2, True, f"{unsure} (p = 0.2 over 203 documents)."),
        (0.05, True, f"{unsure} (p = 0.05 over 203 documents)."),
        (0.01, False, f"{unsure} (p = 0.01 over 203 documents)."),
        (0.049, True, "It would hold on other text of this kind (p = 0.049 over 203 documents)."),
        (None, True, "It says nothing of other text: 203 documents cannot."),
    ):
        text = TextEvidence(p, 0.05, "203 documents", favours_winner=favours)
        assert judged("=", "=", -0.1, (-0.1, -0.1), text).sentence.endswith(said)
    text = TextEvidence(0.2, 0.05, "203 documents", favours_winner=True)
    for relations in (("<=", "<="), ("~<=", "<="), ("<=", "~<=")):
        assert judged(*relations, -0.1, (-0.1, -0.1), text).sentence.endswith(
            "On other text of this kind the bound of A may be no higher than B's (p = 0.2 over 203 documents)."
        )
    assert judged("~<=", "=", -0.1, (-0.1, -0.1), text).sentence.endswith(f"{unsure} (p = 0.2 over 203 documents).")
    assert said_p(0.0002) == "p = 0.0002 or less"
    assert said_p(0.0004) == "p = 0.0004"
    assert said_p(0.0006, or_less=True) == "p = 0.0006 or less"
    text = TextEvidence(0.0006, 0.05, "9 documents", True, ", corrected for 3 comparisons", or_less=True)
    said = (
        "It would hold on other text of this kind (p = 0.0006 or less over 9 documents, corrected for 3 comparisons)."
    )
    assert judged("=", "=", -0.1, (-0.1, -0.1), text).sentence.endswith(said)
