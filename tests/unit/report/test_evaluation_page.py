"""The page of a score: its numbers are those of the terminal and of the JSON, and nothing in it acts."""

import math
import re
from contextlib import nullcontext
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from bpb_harness.report import evaluation_page
from bpb_harness.result import BpbResult, Comparison, Remark, Signature, SourceFloor
from bpb_harness.units import CodeLength, bits_to_nats
from tests.html_page import read_page
from tests.undrawn_charts import undrawn_charts
from tests.unit.report.test_by_position import tables
from tests.unit.report.test_visible import HOSTILE

SIGNATURE = Signature(
    method="discrete", num_steps="128", schedule="loglinear[0.001]", num_samples="2", byte_rule="official",
    data="val@1a2b3c4d", tokenizer="5e6f7a8b", context_length="4", model="9c0d1e2f", dtype="float32", seed="0",
    version="0.1.0",
)  # fmt: skip


def result(**changes) -> BpbResult:
    values = {
        "length": CodeLength(bits_to_nats(4321.0), 1234, 2345, 10),
        "relation": "~<=",
        "terms_nats": {"prior": 29.95, "diffusion": 2965.24, "reconstruction": 0.0},
        "mc_stderr": 0.0123,
        "corpus_stderr": 0.0456,
        "ci95": (1.8186, 1.8668),
        "signature": SIGNATURE,
        "num_forward_tokens": 98765,
        "seconds": 12.34,
        "device": "cpu (2 threads), torch 2",
    }
    return BpbResult(**(values | changes))


@cache
def plain_page():
    """Of the plain result, drawn once."""
    return page(result(), drawn=True)


def page(of=None, *, drawn=False):
    if of is None:
        return plain_page()
    with nullcontext() if drawn else undrawn_charts():
        html = evaluation_page(of, title="ckpt.pt", command=None)
    read = read_page(html)
    read.require_self_contained()
    return read


def test_the_number_comes_first_and_then_what_it_means():
    read = page()
    assert "~<= 1.8426 bits per byte 1.8426 bits per byte: an estimate, from sampled masks, of an upper" in read.text
    assert "unmasking in 128 steps (discrete time), needs at most that for this text." in read.text
    assert "of the masks (now +- 0.0241): --samples 12 in place of 2 would do" in read.text
    headings = re.findall(r"How sure is it\?|What was scored|Findings|Signature|Not on this page", read.text)
    assert headings == ["How sure is it?", "What was scored", "Findings", "Signature", "Not on this page"]


def test_every_number_of_the_terminal_is_on_the_page():
    score = result()
    read = page(score)
    line = str(score)
    numbers = re.findall(r"\d[\d,]*\.?\d*", line.split(" ", 1)[1])
    assert len(numbers) == 6
    for each in numbers:
        assert each in read.text
    plain = score.to_dict()
    for text in (
        f"{plain['ci95'][0]:.4f} .. {plain['ci95'][1]:.4f}",
        f"{plain['bits_per_token']:.4f}",
        "98,765",
        "12.3 s",
    ):
        assert text in read.text
    for name, nats in plain["terms_nats"].items():
        assert f"{name} {100 * nats / plain['nats']:.2f} % of the number" in read.text
    assert str(score.signature) in read.text


def test_how_the_interval_comes_about():
    read = page()
    assert (
        "between 1.8186 and 1.8668 bits per byte with 95 % confidence: 0.0241 to either side, 1.96 standard"
        in read.text
    )
    assert "errors of 0.0123" in read.text
    assert "with a standard error of 0.0456" in read.text
    assert "+- 0.0894" in read.text
    assert len(read.with_tag("svg")) == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"relation": "=", "mc_stderr": 0.0, "terms_nats": {}, "signature": replace(SIGNATURE, method="ar")},
            "1.8426 bits per byte: an exact code length: the autoregressive network needs this for this text.",
        ),
        ({"relation": "<=", "mc_stderr": 0.0}, "1.8426 bits per byte: an upper bound, not estimated"),
        ({"signature": replace(SIGNATURE, method="mc", num_steps=None)}, "unmasking in continuous time"),
        ({"mc_stderr": None, "ci95": None}, "Too little was drawn to know the error from the masks"),
        ({"mc_stderr": 1.0, "ci95": (-0.2, 3.9)}, "between 0.0000 and 3.9000 bits per byte with 95 %"),
        ({"mc_stderr": 1.0, "ci95": (-0.2, 3.9)}, "cut off at 0, below which there is no code"),
        ({"corpus_stderr": None}, "How far the number would move on other text cannot be estimated here."),
        ({"length": CodeLength(bits_to_nats(4321.0), 1234, 0, 10)}, "3.5016 bits per token"),
        ({"remarks": (Remark("error.not-to-be-trusted", "few draws tell all"),)}, "This error is not to be trusted"),
        ({"mc_stderr": None, "ci95": None, "corpus_stderr": None}, "n/a"),
    ],
)
def test_other_kinds_of_scores(changes, said):
    read = page(result(**changes))
    assert said in read.text
    assert "None" not in read.text.replace("Findings None.", "")


def test_a_score_below_its_source_is_said_to_be_wrong_at_the_top():
    floor = SourceFloor("a source of words", 2.5, 2.6, 6100.0, 2345)
    read = page(result(source=floor))
    assert "WARNING: the score of 4,321 bits is below what the text costs under its own source, 6,100 bits" in read.text
    assert "The source itself (a source of words) needs 2.6000 bits per byte" in read.text
    assert "WARNING" not in page(result(source=replace(floor, code_length_bits=3000.0))).text


def test_both_bounds_get_their_curves():
    both = Comparison(
        0.8125, 0.7911, 0.0214, 0.0019, 0.0092, 0.0004, True, 4.0, ((8.0, 0.9474), (math.inf, 0.7911)),
        ((0.001, 0.2304, 0.1), (0.999, 6.8431, 0.2)),
    )  # fmt: skip
    read = page(result(comparison=both), drawn=True)
    for text in ("+0.0214 (se 0.0019)", "+0.0092 (se 0.0004)", "0.9474", "0.7911", "0.2304", "6.8431"):
        assert text in read.text
    assert len(read.with_tag("svg")) == 6
    assert "pass --compare" not in read.text
    assert "pass --compare" in page().text


def test_tables_of_tokens_become_bits_by_position():
    tokens, windows = tables([[1, 2, 3], [3, 4, 5.5]])
    read = page(result(tokens=tokens, windows=windows))
    assert (
        "Tokens cost 2.0000 bits at the beginning of a window (position 0) and 4.2500 at its end (position 2)"
        in read.text
    )
    assert "bits by position: this run" not in read.text
    assert "bits by position: this run" in page().text


def test_the_same_result_gives_the_same_bytes():
    tokens, windows = tables([[1, 2, 3], [3, 4, 5.5]])
    whole = result(tokens=tokens, windows=windows)
    first = evaluation_page(whole, title="x", command="bpb-eval x")
    assert evaluation_page(whole, title="x", command="bpb-eval x") == first
    with undrawn_charts():
        one, other = (evaluation_page(whole, title=title, command="bpb-eval x") for title in "xy")
    assert one != other


def test_text_of_strangers_stays_text():
    remarks = (Remark(HOSTILE, HOSTILE), Remark("long", "x" * 100_000))
    floor = SourceFloor(HOSTILE, 2.5, 1.0, 3000.0, 2345)
    signature = replace(SIGNATURE, data="</pre><script>")
    html = evaluation_page(
        result(remarks=remarks, source=floor, device=HOSTILE, signature=signature), title=HOSTILE, command=HOSTILE
    )
    read = read_page(html)
    read.require_self_contained()
    assert "<script" not in html
    assert html.count("</style>") == 1
    assert read.text.count("<script>alert(1)</script>") == 7
    assert "<U+202E>right<U+202C><U+200B><U+D800><U+FEFF><U+2028><U+0085><U+E0041>" in read.text
    assert html.encode()  # no lone surrogate is left
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e]", html)


def test_big_tables_make_no_bigger_page():
    rng = np.random.default_rng(0)
    small = tables(rng.exponential(size=(20, 512)))
    large = tables(rng.exponential(size=(300, 512)))
    pages = [evaluation_page(result(tokens=t, windows=w), title="x") for t, w in (small, large)]
    assert max(map(len, pages)) < 200_000
    assert len(pages[1]) < 1.2 * len(pages[0])
    assert isinstance(small[0], pd.DataFrame)
