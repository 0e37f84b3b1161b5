"""What a person reads of a score: number, meaning, how sure and of what, signature, the next step."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from bpb_harness.result import (
    UNTRUSTED_ERROR,
    AnswerSummary,
    BpbResult,
    Comparison,
    Expectation,
    ReferenceMarks,
    Remark,
    Signature,
    SourceFloor,
)
from bpb_harness.terminal.score import describe
from bpb_harness.terminal.screen import Screen
from bpb_harness.units import NATS_PER_BIT, CodeLength
from tests.printed import signature_line, words_of

SIGNATURE = Signature(method="discrete", num_steps="128", num_samples="2", data=f"{'d' * 90}@0123abcd", version="1")


def score(**changes) -> BpbResult:
    """2 bits a byte of 1,000 tokens, 2,000 bytes, 10 windows."""
    settings = {
        "length": CodeLength(4000 * NATS_PER_BIT, 1000, 2000, 10),
        "relation": "~<=",
        "terms_nats": {},
        "mc_stderr": 0.001,
        "corpus_stderr": 0.002,
        "ci95": (1.998, 2.002),
        "signature": SIGNATURE,
        "num_forward_tokens": 2000,
        "seconds": 2.0,
        "device": "cpu",
    }
    return BpbResult(**settings | changes)


def words(**changes) -> str:
    return words_of(describe(score(**changes)))


def test_no_interval_of_a_bound_goes_below_nothing():
    """No code is shorter than 0; the file keeps the error to either side."""
    wide = {"mc_stderr": 1.1, "ci95": (-0.2, 4.2)}
    said = words(**wide)
    assert "~<= 2.0000 bits per byte (95 % interval 0.0000 .. 4.2000)" in said
    assert "it is cut off at 0, below which there is no code, and so wide that it says little" in said
    assert score(**wide).to_dict()["ci95"] == [-0.2, 4.2]
    assert "cut off" not in words()


def test_the_readme_shows_every_row_that_explains_the_number(repository):
    page = (repository / "README.md").read_text(encoding="utf-8")
    shown = page.split("--method discrete --compare\n")[1].split("```")[0]
    rows = ("meaning", "masks", "other text", "for +- 0.01", "size", "terms", "marks", "source", "bounds", "T-curve")
    assert [row for row in rows if f"\n{row:13}" not in shown] == []
    told = words(terms_nats={"prior": 4.0, "diffusion": 996.0})
    assert "terms prior" in told


def test_draws_of_answers_that_tell_no_error():
    unknown = {"answers": AnswerSummary(10, 10, 0, 0), "num_documents": 10, "mc_stderr": None, "ci95": None}
    said = "the draws of every answer agree, and may have met one mask alone; --samples 8 may meet others"
    assert said in words(**unknown)


def exact(method: str = "ar", **changes) -> dict[str, object]:
    known = {"relation": "=", "mc_stderr": 0.0, "ci95": (2.0, 2.0), "signature": Signature(method=method)}
    return known | changes


UNTRUSTED = (Remark(UNTRUSTED_ERROR, "WARNING: the error is not to be trusted: 2 of 20 masks decide it"),)
KINDS = {
    "estimate": {},
    "untrusted": {"remarks": (*UNTRUSTED, Remark("data", "scored it"), Remark("other", "a word " * 40))},
    "no bytes": {"length": CodeLength(4000 * NATS_PER_BIT, 1000, 0, 10)},
    "answers": {"answers": AnswerSummary(10, 10, 0, 0), "num_documents": 10, "mc_stderr": None, "ci95": None},
    "exact": exact(),
    "chain": exact("chain"),
    "bound": exact("exact", relation="<="),
    "few windows": {"corpus_stderr": None, "length": CodeLength(1.0, 1, 1, 1)},
    "all": {
        "terms_nats": {"prior": 1.0, "diffusion": 2.0},
        "source": SourceFloor("a source", 1.0, 1.1, 2200.0, 2000),
        "reference_marks": ReferenceMarks(3.0, 2.5, 2.25, 2.125, 512),
        "comparison": Comparison(2.0, 1.9, 0.1, 0.01, 0.1, 0.01, True, 4.0, ((8.0, 2.2), (float("inf"), 1.9)), ()),
        "seconds_by_phase": {"imports": 2.0, "scoring": 3.0, "compiling": 0.01},
    },
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("has_colour", [False, True])
def test_every_kind_of_score_fits_a_terminal(kind, width, has_colour):
    text = re.sub(r"\x1b\[[0-9;]*m", "", describe(score(**KINDS[kind]), Screen(width, has_colour)))
    result = score(**KINDS[kind])
    assert text.startswith(f"{result.relation} {result.length.bits_per_unit:.4f} bits per {result.unit}")
    assert signature_line(text) == str(result.signature)
    assert all(len(line) <= width for line in text.splitlines() if not line.startswith("bpb|"))
    assert text.index("meaning") < text.index("bpb|") < text.index("size")
    assert words_of(text) == words_of(describe(result)), "what is said does not hang on the width"
    for remark in result.remarks:
        assert words_of(remark.message.removeprefix("WARNING: ")) in words_of(text)


@pytest.mark.parametrize(
    ("changes", "meaning"),
    [
        ({}, "an estimate, from sampled masks, of an upper bound: the network, unmasking in 128 steps"),
        (
            {"signature": Signature(method="discrete", num_steps="1")},
            "the network, unmasking in 1 step (discrete time)",
        ),
        ({"signature": Signature(method="mc")}, "upper bound: the network, unmasking in continuous time"),
        (exact(), "an exact code length: the autoregressive network needs this for this text"),
        (exact("chain"), "an exact code length: the network, asked for one group of tokens after the other"),
        (KINDS["bound"], "an upper bound, not estimated: "),
        (KINDS["answers"], "needs at most that for these answers, each given its prompt and its length"),
    ],
)
def test_the_relation_is_said_in_words(changes, meaning):
    assert meaning in words(**changes)


def test_only_an_estimate_has_an_interval_and_it_covers_masks_alone():
    assert "(95 % interval 1.9980 .. 2.0020)" in words()
    assert "The interval covers this alone: which masks were sampled" in words()
    for changes in (exact(), KINDS["bound"]):
        assert "interval 2" not in words(**changes)
        assert "none were sampled: on this very text the number has no error but rounding" in words(**changes)
    assert "standard error 0.0020, in no interval above" in words()


def test_an_error_that_is_not_known_says_why_and_what_to_do():
    once = {"signature": replace(SIGNATURE, num_samples="1")}
    assert "one draw of each answer does not tell it; pass --samples 2 or more" in words(**KINDS["answers"] | once)
    assert "not known from 1 window; score more text" in words(**KINDS["few windows"])
    both = words(**KINDS["answers"], corpus_stderr=None)
    assert "not known, for what masks do to these answers is not" in both
    alike = words(corpus_stderr=None)
    assert "the windows differ by no more than the sampled masks do; --samples 8 would part the two" in alike


def test_an_error_that_is_not_to_be_trusted_is_doubted_wherever_it_stands():
    text = words(remarks=UNTRUSTED, mc_stderr=0.1, ci95=(1.8, 2.2))
    assert "(95 % interval 1.8000 .. 2.2000, not to be trusted)" in text
    assert "for the reason given below; --samples 8 meets rare masks more often" in text
    assert "WARNING the error is not to be trusted: 2 of 20 masks decide it" in text
    assert "of the masks (now" not in text, "no promise is made by an error that is wrong"
    assert "trust" not in words()


@pytest.mark.parametrize(
    ("changes", "way"),
    [
        ({"ci95": (1.961, 2.039)}, "of the masks (now +- 0.0390): --samples 31 in place of 2 would do"),
        ({"ci95": (1.985, 2.015)}, "--samples 5 in place of 2 would do, and take about 2 times as long"),
        ({"ci95": (1.989, 2.011)}, "--samples 3 in place of 2 would do, and take somewhat longer"),
        (
            {"ci95": (1.981, 2.019), "signature": Signature(method="mc", num_samples="1", passes="3")},
            "--tolerance 0.01, about 11 passes over the text in place of 3, would do, and take about 4 times as long",
        ),
        (
            {"ci95": (1.981, 2.019), "signature": Signature(method="discrete", num_samples="all")},
            "--tolerance 0.01, about 4 passes over the text in place of 1",
        ),
        (
            {"ci95": (-11.0, 53.0)},
            "more of such text, for it would take about 11,000,000 times as many draws (most: --samples 10,000)",
        ),
        (
            {"ci95": (1.0, 3.0), "signature": Signature(method="mc", num_samples="1", passes="1001")},
            "more of such text, for it would take about 10,000 times as many draws (most: 10,000 passes)",
        ),
        ({"corpus_stderr": 0.05101}, "of the choice of text (now +- 0.1000): about 1,000 windows of such text"),
        ({"corpus_stderr": 0.05101, **exact()}, "about 1,000 windows of such text, in place of 10"),
    ],
)
def test_what_it_takes_to_be_surer(changes, way):
    assert way in words(**{"mc_stderr": 0.02, **changes})


def test_a_network_that_was_not_checked_is_said_so():
    assert "unchecked the number is no better than the network's word" in words(signature=Signature(contract="off"))
    assert "unchecked" not in words()


def test_a_part_of_a_text_is_said_to_be_one():
    part = Signature(method="mc", num_samples="2", data="val@0123abcd[0:10/361]")
    text = words(signature=part, mc_stderr=0.02, ci95=(1.961, 2.039))
    assert "2,000 bytes, 10 of 361 windows" in text
    assert "--samples 31 in place of 2 would do, and take about 15 times as long; so would more of the text" in text
    assert "2,000 bytes, 10 windows" in words()
    assert ", 1 window;" in words(**KINDS["few windows"])


@pytest.mark.parametrize(("wanted", "outcome"), [(2.004, "met"), (1.9, "MISSED")])
def test_what_was_expected_and_whether_it_is_met(wanted, outcome):
    text = words(expectation=Expectation(wanted, 0.005))
    assert f"expected {wanted} +- 0.005, {outcome}: the score is {2 - wanted:+.4f} away" in text


@pytest.mark.parametrize(("within", "away"), [(1e-6, "-0.0000004"), (0.0, "-0.000000400"), (0.5, "-0.0000")])
def test_a_difference_has_the_digits_of_what_is_allowed(within, away):
    assert f": the score is {away} away" in words(expectation=Expectation(2.0000004, within))


def test_nothing_is_asked_for_that_is_there():
    assert "for +- 0.01" not in words(ci95=(1.99, 2.01), corpus_stderr=0.005)
    assert "of the masks (now" not in words(**exact(corpus_stderr=0.5))


def test_marks_and_seconds():
    text = words(**KINDS["all"])
    assert "marks uniform 3.0000, unigram 2.5000, bigram 2.2500, xz 2.1250 bits per byte for the same text" in text
    assert "seconds 5.0 in all: scoring 3.0, imports 2.0" in text
    assert "compiling" not in text
    unpacked = words(reference_marks=ReferenceMarks(3.0, 2.5, 2.25, None, 512))
    assert "xz" not in unpacked


def test_tokens_without_bytes_are_priced_per_token():
    text = words(**KINDS["no bytes"])
    assert text.startswith("~<= 4.0000 bits per token")
    assert "1,000 tokens, bytes not counted" in text
    assert "bits per document not known" in text
    assert "bits per byte" not in text


@pytest.mark.parametrize(
    ("settings", "parts"), [({"block_size": "8"}, "spans"), ({"stride": "4"}, "spans"), ({}, "windows")]
)
def test_what_errors_are_judged_by_are_the_parts_that_were_scored(settings, parts):
    text = words(signature=Signature(method="mc", num_samples="2", **settings), corpus_stderr=0.05101, mc_stderr=0.02)
    assert f"judged by how these 10 {parts} differ" in " ".join(text.split())
    assert f"about 1,000 {parts} of such text" in " ".join(text.split())
