"""Digits of differences: four decimals, more where these would say 0.0000 of what is not 0."""

import pytest

from bpb_harness.comparison.digits import decimals_of, said_difference, said_interval, said_size
from bpb_harness.comparison.result import ComparedPair, ComparedSystem, SystemComparison
from bpb_harness.comparison.tables import as_latex, as_markdown, as_text
from bpb_harness.comparison.verdict import Side, TextEvidence, judge


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0.0, "+0.0000"), (0.1, "+0.1000"), (-0.00032, "-0.0003"), (0.000051, "+0.0001"), (6.5e-5, "+0.0001"),
        (4.9e-5, "+0.000049"), (-1.234e-6, "-0.0000012"), (9.96e-6, "+0.0000100"), (-3.21e-11, "-0.000000000032"),
        (3.44e-12, "+3.4e-12"), (-1.26e-15, "-1.3e-15"),
    ],
)  # fmt: skip
def test_a_difference_that_is_not_0_never_says_so(number, said):
    assert said_difference(number) == said
    assert said_size(number) == said[1:]


def test_every_small_number_has_two_digits():
    for exponent in range(-11, -4):
        for first in (1.0, 2.5, 4.9):
            number = first * 10.0**exponent
            digits = f"{number:.{decimals_of(number)}f}".replace(".", "").lstrip("0")
            assert len(digits) >= 2, number
            assert float(said_size(number)) == pytest.approx(number, rel=0.05)


def test_ends_of_an_interval_have_the_decimals_of_the_difference():
    assert said_interval((-0.0002, 0.0003), 6.1e-6) == "-0.0002000 .. +0.0003000"
    assert said_interval((-2.0e-6, 0.2), 0.1) == "-0.0000020 .. +0.2000"
    assert said_interval((0.05, 0.15), 0.1) == "+0.0500 .. +0.1500"


def test_tables_and_sentences_of_nearly_equal_scores_show_the_difference():
    delta = -1.3e-6
    sides = Side("a", "=", 1.0, "", True), Side("b", "=", 1.0 + delta, "", True)
    verdict = judge(*sides, delta, (delta, delta), TextEvidence(0.2, 0.05, "9 documents", True), "byte")
    assert "needs 0.0000013 bits per byte (0.00013 %) fewer" in verdict.sentence
    systems = tuple(ComparedSystem(side.name, side.bits, "=", 0.0, 9, 9.0, "", "bpb|method:ar") for side in sides)
    pair = ComparedPair(
        system="b", baseline="a", delta=delta, mask_stderr=0.0, mask_ci95=(delta, delta), masks="none",
        masks_differ_in="", text_stderr=1e-6, text_ci95=(-3.1e-6, 0.5e-6), units="documents", num_units=9, p=0.2,
        p_holm=0.2, p_by="sign flips", p_better=None, conclusion=verdict.conclusion, winner=verdict.winner,
        sentence=verdict.sentence, notes=(),
    )  # fmt: skip
    comparison = SystemComparison(systems, (pair,), "byte", 0.05)
    for written in (as_text(comparison), as_markdown(comparison)):
        assert "-0.0000013" in written
        assert "-0.0000031 .. +0.00000050" in written
    assert "& $-$0.0000013 &" in as_latex(comparison)
    assert "& $-$0.0000031 .. +0.00000050 &" in as_latex(comparison)
