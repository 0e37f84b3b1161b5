"""The page of a comparison: sentence, table and forest plot, all of the comparison's own numbers."""

import re
from contextlib import nullcontext
from dataclasses import replace

import pytest

from bpb_harness.comparison.contest import contest_rule
from bpb_harness.comparison.result import ComparedPair, ComparedSystem, Expectation, SystemComparison
from bpb_harness.comparison.tables import as_markdown, as_text
from bpb_harness.report import comparison_page
from tests.html_page import read_page
from tests.undrawn_charts import undrawn_charts
from tests.unit.report.test_visible import HOSTILE


def system(name, bits, relation="~<=", **changes):
    values = {
        "mc_stderr": 0.0123,
        "num_tokens": 1000,
        "num_units": 2500,
        "warning": "",
        "signature": f"bpb|model:{name}",
    }
    return ComparedSystem(name, bits, relation, **(values | changes))


def pair(name, delta, **changes):
    values = {
        "baseline": "old.pt", "mask_stderr": 0.00213, "mask_ci95": (delta - 0.0042, delta + 0.0042), "masks": "same",
        "masks_differ_in": "", "text_stderr": 0.0105, "text_ci95": (delta - 0.0206, delta + 0.0206),
        "units": "documents", "num_units": 80, "p": 0.0123, "p_holm": 0.0246, "p_by": "bootstrap", "p_better": None,
        "conclusion": "lower-bound", "winner": name, "sentence": f"{name} promises less.", "notes": ("one note",),
    }  # fmt: skip
    return ComparedPair(name, delta=delta, **(values | changes))


def comparison(*pairs, **changes):
    systems = (system("old.pt", 1.5), *(system(each.system, 1.5 + each.delta) for each in pairs))
    return SystemComparison(systems, pairs, "byte", 0.05, **changes)


def page(of, *, drawn=False, **more):
    with nullcontext() if drawn else undrawn_charts():
        read = read_page(comparison_page(of, **more))
    read.require_self_contained()
    return read


def test_a_pair_has_its_difference_first_then_what_follows_and_the_numbers():
    read = page(comparison(pair("new.pt", -0.0312)), command="bpb-compare old.pt new.pt", drawn=True)
    assert "new.pt against old.pt -0.0312 bits per byte new.pt promises less." in read.text
    row = "new.pt ~<= 1.4688 0.0123 -0.0312 0.0021 -0.0518 .. -0.0106 0.012"
    assert f"old.pt ~<= 1.5000 0.0123 baseline {row}" in re.sub(r"\s+", " ", read.text)
    assert "one note" in read.text
    assert "bpb|model:new.pt" in read.text
    assert "bpb-compare old.pt new.pt" in read.text
    assert len(read.with_tag("svg")) == 4
    assert "-0.0354 .. -0.0270" in read.text


def test_several_systems_have_a_row_each_and_no_one_number():
    read = page(comparison(pair("b.pt", -0.03), pair("c.pt", 0.02, p_holm=1e-5)))
    assert "b.pt, c.pt against old.pt b.pt promises less. c.pt promises less." in read.text
    assert "p (Holm): corrected for 2 comparisons; the interval, and p, are of each alone." in read.text
    assert "-0.0506 .. -0.0094 0.012 0.025" in re.sub(r"\s+", " ", read.text)
    assert "0.0002 or less" in read.text
    assert read.text.count("one note") == 1


def test_a_corrected_p_may_be_less_where_the_smallest_that_can_be_told_was_corrected():
    least = [pair(name, -0.03, p=0.0002, p_holm=0.0006) for name in ("b.pt", "c.pt", "d.pt")]
    found = comparison(*least)
    assert re.sub(r"\s+", " ", page(found).text).count("0.0002 or less 0.0006 or less") == 3
    assert as_text(found).count("<=0.0006") == 3
    assert as_markdown(found).count("| \\<=0.0002 | \\<=0.0006 |") == 3
    other = comparison(pair("b.pt", -0.03, p=0.0002, p_holm=0.0004), pair("c.pt", -0.03, p=0.01, p_holm=0.01))
    assert "| \\<=0.0002 | \\<=0.0004 |" in as_markdown(other)
    assert "| 0.01 | 0.01 |" in as_markdown(other)


def test_what_is_not_known_is_not_drawn():
    unknown = pair(
        "b.pt", 0.01, mask_stderr=None, mask_ci95=None, text_ci95=None, text_stderr=None, p=None, p_holm=None
    )
    read = page(comparison(unknown))
    assert read.with_tag("svg") == []
    assert "+0.0100 n/a n/a n/a" in read.text
    exact = pair("b.pt", 0.01, mask_stderr=0.0, mask_ci95=(0.01, 0.01), masks="none")
    assert len(page(comparison(exact)).with_tag("svg")) == 2


@pytest.mark.parametrize(("holds", "said"), [(True, "level 0.01: holds."), (False, "level 0.01: does NOT hold.")])
def test_what_was_expected(holds, said):
    read = page(comparison(pair("b.pt", -0.02), expectation=Expectation(0.005, 0.01, holds, of_bounds=False)))
    assert "Expected better than the baseline by more than 0.005 bits per byte at" in read.text
    assert said in read.text


def test_runs_of_two_systems():
    rule = contest_rule([3.30, 3.31, 3.32], [3.2, 3.21, 3.22])
    read = page(comparison(contest=rule))
    assert rule.sentence() in read.text
    assert "difference" not in read.text


def test_names_and_warnings_of_strangers_stay_text():
    of = comparison(pair(HOSTILE, -0.03, sentence=HOSTILE, notes=(HOSTILE,)))
    systems = tuple(replace(each, warning=HOSTILE, signature=HOSTILE) for each in of.systems)
    html = comparison_page(replace(of, systems=systems), command=HOSTILE)
    read = read_page(html)
    read.require_self_contained()
    assert "<script" not in html
    assert html.count("</style>") == 1
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\ud800-\udfff]", html)
    assert read.text.count("<U+202E>") >= 8


def test_many_systems_fit_on_a_page():
    html = comparison_page(comparison(*(pair(f"{place}.pt", place / 1000) for place in range(60))))
    assert len(html) < 165_000  # 190,000 where all are drawn
    read = read_page(html)
    assert "The first 40 of 60 are drawn; the table has all." in read.text
    assert "59.pt" in read.text
