"""Documents on the page: their spread, and those at both ends, with their text."""

import numpy as np
import pandas as pd

from bpb_harness.excerpt import Excerpt, Piece
from bpb_harness.report import evaluation_page
from bpb_harness.report.documents import cost_column, documents_of, extreme_documents, shown_documents, spread_chart
from bpb_harness.result import AnswerSummary, ReferenceMarks, SliceScore
from bpb_harness.units import CodeLength, bits_to_nats
from tests.html_page import read_page
from tests.undrawn_charts import undrawn_charts
from tests.unit.report.test_evaluation_page import result
from tests.unit.report.test_visible import HOSTILE


def text_of(of, **more):
    with undrawn_charts():
        return read_page(evaluation_page(of, title="x", **more)).text


def tokens(bits, num_bytes):
    """One token a document."""
    ends = np.cumsum(num_bytes)
    number = np.arange(len(bits))
    columns = {"position": number, "document": number, "window": number * 0, "share_bits": np.array(bits, float)}
    return pd.DataFrame(columns | {"first_byte": ends - num_bytes, "end_byte": ends})


def scored(bits, num_bytes, **changes):
    length = CodeLength(bits_to_nats(float(sum(bits))), len(bits), int(sum(num_bytes)), 1)
    return result(length=length, tokens=tokens(bits, num_bytes), **changes)


def test_documents_are_sums_of_their_tokens():
    table = tokens([1, 2, 4, 8], [3, 0, 5, 7]).assign(document=[0, 0, 2, 2])
    frame = documents_of(result(tokens=table))
    assert frame.to_dict("list") == {
        "document": [0, 2], "num_tokens": [2, 2], "bits": [3.0, 12.0], "num_bytes": [3, 12],
    }  # fmt: skip
    assert "num_bytes" not in documents_of(result(tokens=table.drop(columns=["first_byte", "end_byte"])))
    assert documents_of(result()) is None


def test_short_documents_are_at_no_end_where_there_are_enough_long_ones():
    bits = [float(place) for place in range(100, 140)]
    sizes = [100] * 40
    assert extreme_documents(scored(bits, sizes)) == ([39, 38, 37, 36], [0, 1, 2, 3])
    sizes[39], sizes[0], sizes[1] = 1, 99, 0  # by far the dearest, nearly as cheap as before, and not to be had
    assert extreme_documents(scored(bits, sizes)) == ([38, 37, 36, 35], [2, 3, 4, 5])


def test_of_few_documents_all_count_but_the_empty_and_too_few_have_no_ends():
    assert extreme_documents(scored(range(1, 9), [1] * 8)) == ([7, 6, 5, 4], [0, 1, 2, 3])
    assert extreme_documents(scored(range(1, 9), [1] * 7 + [0])) == ([6, 5, 4], [0, 1, 2])
    assert extreme_documents(scored(range(1, 8), [1] * 7)) == ([], [])
    assert extreme_documents(result()) == ([], [])


def test_the_spread_has_every_document_once():
    rng = np.random.default_rng(0)
    bits, sizes = rng.exponential(size=500) * 300, np.full(500, 100)
    chart = spread_chart(scored(bits, sizes, relation="="))
    assert sum(int(count) for _, count in chart.table.rows) == 500
    assert chart.table.rows[0][0].startswith(f"{bits.min() / 100:.4f} to")
    assert chart.table.rows[-1][0].endswith(f"to {bits.max() / 100:.4f}")
    low, middle, high = np.quantile(bits / 100, [0.25, 0.5, 0.75])
    assert f"Half of the 500 documents cost between {low:.4f} and {high:.4f} bits per byte" in chart.sentence
    assert f"the middle one {middle:.4f}. The score, {bits.sum() / sizes.sum():.4f}" in chart.sentence
    assert "estimate" not in chart.sentence
    with undrawn_charts():
        assert "estimate from few draws" in spread_chart(scored(bits, sizes)).sentence
        assert spread_chart(scored([1.0] * 7, [1] * 7)) is None
        assert spread_chart(scored([1.0] * 8, [1] * 8)) is not None


def test_a_document_is_named_sized_and_shown():
    of = scored(range(1, 9), [4] * 8)
    text = Excerpt(7, (Piece(b"text", 8.0),), 1_234)
    shown, other = shown_documents(of, [7, 0], [text])
    assert shown.heading == "Document 7: 2.0000 bits per byte"
    assert shown.detail == "1 token, 4 bytes, 8.00 bits"
    assert [each.text for each in shown.runs] == ["text"]
    assert shown.left_out == "1,234 more bytes"
    assert (other.runs, other.left_out) == (None, "")


def test_answers_have_their_places_and_errors():
    number = np.arange(8)
    answers = pd.DataFrame(
        {
            "document": number, "source": [f"qa.jsonl:{place}" for place in number], "num_tokens": number + 1,
            "num_bytes": number + 2, "bits": (number + 2) * (number + 1.0), "stderr_bits": (number + 2) * 0.25,
        }
    )  # fmt: skip
    of = result(windows=answers, answers=AnswerSummary(8, 8, 0, 0), tokens=None)
    (shown,) = shown_documents(of, [7], [])
    assert shown.heading == "Document 7 (qa.jsonl:7): 8.0000 bits per byte"
    assert shown.detail == "8 tokens, 9 bytes, 72.00 bits, standard error 0.2500 bits per byte"
    text = text_of(of)
    assert "The hardest answers Document 7 (qa.jsonl:7)" in text
    assert "How answers differ" in text


def test_the_page_shows_both_ends_in_colours_and_hostile_text_stays_text():
    of = scored(range(1, 9), [4] * 8, relation="=", mc_stderr=0.0)
    text = HOSTILE.encode("utf-8", "surrogatepass") + b"\xff\n\n" + "\u05e9\u05dc".encode() + b"x" * 50_000
    found = [Excerpt(7, (Piece(b"", 1.0, "</s><script>"), Piece(text, 9.0)), 5), Excerpt(0, (Piece(b"easy", 0.1),), 0)]
    html = evaluation_page(of, title="x", excerpts=found)
    page = read_page(html)
    page.require_self_contained()
    assert "<script" not in html
    assert html.count("</style>") == 1
    assert "</s><script></style><script>alert(1)</script><U+0000><U+001B>[31m<U+202E>right<U+202C>" in page.text
    assert "<\\xFF>" in page.text
    assert page.text.index("The hardest documents") < page.text.index("Document 7: 2.0000")
    assert page.text.index("Document 7: 2.0000") < page.text.index("The easiest documents Document 0: 0.2500")
    assert "below 0.25" in page.text
    spans = [each.get("class") for each in page.with_tag("span")]
    assert "mark h3" in spans
    assert "5 more bytes" in page.text
    assert len(html) < 150_000
    assert "below 0.25" not in text_of(of, excerpts=[Excerpt(7, (), 0)])


def test_marks_stand_beside_the_score():
    marks = ReferenceMarks(uniform=4.1042, unigram=3.2323, bigram=2.7171, xz=2.9393, num_clean_tokens=1024)
    text = read_page(evaluation_page(result(reference_marks=marks), title="x")).text  # painted
    for number in ("4.1042", "3.2323", "2.7171", "2.9393", "1,024"):
        assert number in text
    assert f"{100 * (1 - 4321 / 2345 / 2.7171):.1f} % less than the 2.7171" in text
    worse = ReferenceMarks(uniform=4.1, unigram=3.2, bigram=1.5, xz=None, num_clean_tokens=9)
    text = text_of(result(reference_marks=worse))
    assert "no better than a code that learns pairs of tokens as it goes, which takes 1.5000" in text
    assert "xz" not in text


def test_the_table_of_documents_goes_before_sums_of_tokens_and_has_keys_and_errors():
    number = np.arange(10, 18)
    documents = pd.DataFrame(
        {
            "document": number, "key": pd.array([f"<{place}>" for place in number[:-1]] + [None], dtype="string"),
            "num_tokens": 3, "num_bytes": 4, "bits": number * 1.0, "stderr_bits": [0.5] * 7 + [np.nan],
        }
    )  # fmt: skip
    of = result(documents=documents, tokens=tokens([1.0] * 9, [1] * 9))
    assert documents_of(of) is documents
    assert extreme_documents(of) == ([17, 16, 15, 14], [10, 11, 12, 13])
    shown = shown_documents(of, [10, 17], [])
    assert shown[0].heading == "Document 10 (<10>): 2.5000 bits per byte"
    assert shown[0].detail.endswith("10.00 bits, standard error 0.1250 bits per byte")
    assert shown[1].heading == "Document 17: 4.2500 bits per byte"
    assert shown[1].detail.endswith("17.00 bits")


def test_slices_have_a_table():
    slices = (
        SliceScore("<web>", 1_200, 34_567, 98_765, 100_000.0, 0.0123, 0.0456),
        SliceScore("books", 1, 10, 0, 5.0, None, None),
    )
    text = text_of(result(slices=slices))
    assert "<web> 1,200 34,567 98,765 1.0125 0.0123 0.0456 books 1 10 0 n/a n/a n/a" in text
    many = tuple(SliceScore(f"s{place}", 1, 1, 1, 1.0, 0.0, None) for place in range(1_234))
    text = text_of(result(slices=many))
    assert "s99 " in text
    assert "s100 " not in text
    assert "1,134 smaller slices are left out" in text
    assert "Slices" not in text_of(result())


def test_which_cost_of_a_token_is_its_own():
    """A share of an estimate is none."""
    table = tokens([1.0, 2.0], [1, 1])
    assert cost_column(result()) is None
    assert cost_column(result(tokens=table)) is None
    assert cost_column(result(tokens=table, relation="=")) == "share_bits"
    assert cost_column(result(tokens=table.assign(surprisal_bits=1.0))) == "surprisal_bits"
