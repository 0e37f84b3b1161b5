"""What is said beside a score, and what stops it: decisions about bytes, padding and tokenizers, word for word."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from bpb_harness.byte_count import PieceKind
from bpb_harness.byte_count.validity import LONGEST_RUN
from bpb_harness.errors import CorpusError, TokenizerError
from bpb_harness.evaluation import remarks
from bpb_harness.evaluation.document_table import MIN_PASSES
from bpb_harness.evaluation.remarks import (
    byte_remarks,
    layout_remarks,
    loss_remarks,
    padding_remarks,
    sampling_remarks,
    score_remarks,
    separator_remarks,
    tokenizer_remarks,
)
from bpb_harness.result import BELOW_SOURCE
from tests.spans import end_to_end

AT_ALL_THE_SAME = "--no-contract scores all the same, and the signature says so"


class Model:
    """A network of 64 ids, or a masked one of 63 and the mask."""

    vocab_size, mask_token_id, context_length, time_conditioned = 64, 63, 16, False

    def logits(self, xt, level):
        raise AssertionError


def job(counter: Any = None, **settings: Any) -> Any:
    given = {
        "check_contract": True, "byte_rule": "official", "limit": None, "per_document": False, "adaptation": None,
        "docs": (),
    } | settings  # fmt: skip
    corpus = SimpleNamespace(
        name="x.bin", num_tokens=1000, raw_bytes_per_document=None, document_starts=lambda: np.arange(1234)
    )
    tokenizer = SimpleNamespace(
        name="t.model",
        pieces=["<pad>", "a"],
        piece_kinds=np.array([PieceKind.CONTROL, PieceKind.TEXT]),
        spaces=SimpleNamespace(escapes=True),
    )
    borders = SimpleNamespace(starts=np.array([0, 5]))
    text = SimpleNamespace(corpus=corpus, tokenizer=tokenizer, borders=borders, separators=None, counter=counter)
    return SimpleNamespace(
        model=Model(), text=text, settings=SimpleNamespace(**given), context_length=16, bounds=(), answers=None,
        spans=end_to_end([16] * 62 + [8]).take(slice(given["limit"])),
    )  # fmt: skip


def scored(rate: float, num_tokens: int = 1_000_000, stderr: float | None = None) -> Any:
    length = SimpleNamespace(bits=rate * num_tokens, num_tokens=num_tokens, num_units=2 * num_tokens)
    return SimpleNamespace(
        bits_per_token=rate, is_below_source=False, reference_marks=None, length=length, mc_stderr=stderr
    )


def said(found: list[Any]) -> list[tuple[str, str]]:
    return [(remark.code, remark.message) for remark in found]


@pytest.mark.parametrize("is_masked", [True, False])
def test_a_score_worse_than_a_blind_guess_is_named(is_masked):
    of = job()
    if not is_masked:
        of.model = SimpleNamespace(vocab_size=64)
    blind = math.log2(63 if is_masked else 64)
    why = (
        "the tokenizer, the adapter, the mask id or the schedule is probably not this network's, its logits are "
        f"shifted (those at i must be of token i{'' if is_masked else ' + 1'}), its attention is causal where it was "
        "trained otherwise, or not causal where it was"
    )
    assert score_remarks(of, scored(blind * 1.0099)) == []
    assert score_remarks(of, scored(blind + 19.0, num_tokens=1)) == [], "a word that surprises"
    assert score_remarks(of, scored(blind * 1.0101, stderr=0.01)) == [], "masks explain it"
    result = scored(blind * 1.0101)
    assert said(score_remarks(of, result)) == [
        (
            "score.worse-than-uniform",
            f"WARNING: {blind * 1.0101:.2f} bits per token are more than guessing blindly costs ({blind:.2f}): "
            f"{why}, or it is not trained",
        )
    ]
    for method, first in (("sgd", "--ttt-lr is probably too large"), ("own", "its adapt(tokens) is not sound")):
        of.settings.adaptation = SimpleNamespace(method=method)
        (found,) = score_remarks(of, result)
        assert found.message.endswith(f"costs ({blind:.2f}): {first}, so that learning diverged, or {why}")


@pytest.mark.parametrize(
    ("stderr", "bits", "is_named"),
    [(None, 319.0, False), (None, 321.0, True), (0.01, 323.9, False), (0.01, 324.1, True)],
)
def test_a_score_worse_than_counting_tokens_is_named(stderr, bits, is_named):
    result: Any = SimpleNamespace(
        bits_per_token=5.0, is_below_source=False, mc_stderr=stderr, unit="byte",
        length=SimpleNamespace(bits=bits, num_units=100, num_tokens=50), reference_marks=SimpleNamespace(unigram=3.0),
    )  # fmt: skip
    found = score_remarks(job(), result)
    assert [each.code for each in found] == ["score.worse-than-unigram"] * is_named
    assert all(each.is_warning and "(unigram 3.0000): the tokenizer" in each.message for each in found)
    result.length.bits, result.bits_per_token = 350.0, 7.0  # above uniform too, which says more
    assert [each.code for each in score_remarks(job(), result)] == ["score.worse-than-uniform"]


@pytest.mark.parametrize(("rows", "mask", "is_named"), [(3, 0, True), (3, 2, False), (2, 0, False), (4, 1, False)])
def test_a_row_behind_the_pieces_fits_a_mask_better_than_a_piece(rows, mask, is_named):
    of, result = job(), scored(1.0)
    of.model.mask_token_id, of.model.network = mask, torch.nn.Sequential(torch.nn.Embedding(rows, 2))
    found = score_remarks(of, result)
    assert [each.code for each in found] == ["mask.row-behind-pieces"] * is_named
    assert all("is id 0, the piece '<pad>'" in each.message and "mask_token_id is 2" in each.message for each in found)


def test_a_score_below_what_its_source_allows_is_named():
    result = scored(1.0)
    result.is_below_source, result.below_source = True, lambda: "too low"
    assert said(score_remarks(job(), result)) == [(BELOW_SOURCE, "WARNING: too low")]


def _few(drawn, more):
    return (
        f"{drawn} little of the error, which is stated too large where a network's costs are typical, and too small "
        f"where masks that were not drawn cost far more; pass --samples {more} or more"
    )


@pytest.mark.parametrize(("windows", "samples", "more"), [(1, 4, 12), (5, 2, 3), (6, 2, None), (1, 12, None)])
@pytest.mark.parametrize("draws_all", [False, True])
def test_so_few_draws_tell_little_of_their_error(windows, samples, more, draws_all):
    """A draw of every step of a short grid is as few as that number of draws."""
    of = job()
    grid = SimpleNamespace(num_samples="all", nodes=lambda: (torch.zeros(samples), torch.zeros(samples)))
    of.bounds = (grid if draws_all else SimpleNamespace(num_samples=samples),)
    expected = [] if more is None else [("few-draws", _few(f"{samples * windows} draws in all tell", more))]
    assert said(sampling_remarks(of, windows, 0, 1)) == expected
    assert sampling_remarks(of, windows, 0, 2) == []  # passes show it


def test_what_one_draw_a_window_means():
    of = job()
    assert sampling_remarks(of, 10, 0, 1) == []
    of.bounds = (SimpleNamespace(num_samples=2),)
    assert sampling_remarks(of, 10, 0, 1) == []
    of.bounds = (SimpleNamespace(num_samples=1), SimpleNamespace(num_samples=2))
    assert said(sampling_remarks(of, 63, 0, 1)) == [("few-draws", _few("one draw of each of 63 windows tells", 2))]
    assert sampling_remarks(of, remarks.MIN_WINDOWS_REPLICATED, 0, 1) == []
    assert len(sampling_remarks(of, remarks.MIN_WINDOWS_REPLICATED - 1, 0, 1)) == 1
    assert sampling_remarks(of, 10, 0, 2) == []
    twice = "1,234 of 5,678 windows were drawn twice, for the error alone"
    assert said(sampling_remarks(of, 5678, 1234, 1)) == [("replicates", twice)]


def test_another_tokenizer_than_the_checkpoints_is_refused():
    assert tokenizer_remarks(job(), 0) == []
    with pytest.raises(TokenizerError) as caught:
        tokenizer_remarks(job(), 1234)
    assert str(caught.value) == (
        "the tokenizer is not the one inside the checkpoint: got 1,234 ids that spell something else, expected none; "
        f"leave out --tokenizer; {AT_ALL_THE_SAME}"
    )
    assert said(tokenizer_remarks(job(check_contract=False), 1)) == [
        (
            "bytes.not-its-tokenizer",
            "WARNING: the tokenizer is not the one inside the checkpoint: 1 ids that spell something else",
        )
    ]


class Separated:
    """Stands for separators that silenced one piece."""

    def __init__(self, chosen: bool = False):
        self.chosen = chosen
        self.silenced: list[Any] = []

    def sentence(self) -> str:
        return "said of them"


def test_which_token_sets_documents_off():
    of = job()
    assert separator_remarks(of) == []
    of.text.borders = "the borders"
    of.text.separators = Separated()
    of.settings.docs = "a.jsonl"
    assert said(separator_remarks(of)) == [("text.separator", "said of them")]
    of.settings.docs = ()
    assert separator_remarks(of) == []
    of.settings.per_document = True
    assert said(separator_remarks(of)) == [("text.separator", "the borders")]
    of.settings.per_document, of.text.separators.chosen = False, True
    assert said(separator_remarks(of)) == [("text.separator", "the borders")]

    class Name:
        where = "a file"

        def __str__(self) -> str:
            return "'</s>'"

    of.text.separators = Separated()
    of.text.separators.silenced = [Name()]
    assert said(separator_remarks(of)) == [
        (
            "text.separator-is-no-text",
            "'</s>' spells no byte, though the tokenizer's own file takes it for text: it sets documents off (a file)",
        )
    ]


def runs(monkeypatch, longest: int, *, is_padding: bool = True) -> list[Any]:
    heard = []
    found = SimpleNamespace(longest=longest, token=0, start=7, repeated=4321, is_padding=is_padding)

    def silent_runs(corpus, silent, stop):
        heard.append((silent.tolist(), stop))
        return found

    monkeypatch.setattr(remarks, "silent_runs", silent_runs)
    return heard


def test_padded_shards_are_refused(monkeypatch):
    heard = runs(monkeypatch, 1500)
    run = "1,500 times '<pad>' (id 0) in a row from token 7"
    with pytest.raises(CorpusError) as caught:
        padding_remarks(job())
    assert str(caught.value) == (
        f"x.bin is padded: tokens that are paid for and have no byte: got {run}, expected at most {LONGEST_RUN} in a "
        f"row; write the shards without padding; {AT_ALL_THE_SAME}"
    )
    words = "4,321 tokens that are paid for and have no byte follow one of their own id"
    assert said(padding_remarks(job(check_contract=False))) == [("text.padding", f"WARNING: {words} (padding): {run}")]
    assert heard == [([True, False], 1000)] * 2
    runs(monkeypatch, 1500, is_padding=False)
    assert said(padding_remarks(job())) == [("text.padding", f"{words} (padding or empty documents): {run}")]
    runs(monkeypatch, 0)
    assert padding_remarks(job()) == []


@pytest.mark.parametrize(("limit", "stop"), [(1, 16), (3, 48), (62, 992), (63, 1000), (None, 1000)])
def test_what_is_not_scored_is_not_looked_at(monkeypatch, limit, stop):
    heard = runs(monkeypatch, 0)
    padding_remarks(job(limit=limit))
    assert heard == [([True, False], stop)]


def test_empty_documents_are_counted():
    of = job(docs="a.jsonl")
    assert padding_remarks(of) == []
    of.text.corpus.raw_bytes_per_document = np.array([0, 3, 0])
    assert said(padding_remarks(of)) == [
        ("text.empty-documents", "2 of 1,234 documents are empty: what stands before each is paid")
    ]
    of.text.corpus.raw_bytes_per_document = np.array([1, 3])
    assert padding_remarks(of) == []


@pytest.mark.parametrize("documents", [None, ["a"]])
def test_a_tokenizer_that_loses_text_gives_no_bits_per_byte(monkeypatch, documents):
    why: str | None = None
    monkeypatch.setattr(remarks, "lost_in_documents", lambda *_: why)
    monkeypatch.setattr(remarks, "lost_by_tokenizer", lambda *_: None)
    monkeypatch.setattr(remarks, "lost_in_tokens", lambda *_: why)
    assert loss_remarks(job(), documents) == []
    none = "no bits per byte are given: "
    assert said(loss_remarks(job(byte_rule="none"), documents)) == [
        ("bytes.none", none + "--bytes none counts no bytes")
    ]
    why = "capitals"
    assert said(loss_remarks(job(byte_rule="none"), documents)) == [("bytes.none", none + "capitals")]
    for rule in ("official", "exact"):
        with pytest.raises(TokenizerError) as caught:
            loss_remarks(job(byte_rule=rule), documents)
        assert str(caught.value) == (
            "t.model: the tokens do not give the text back, so the score has no bits per byte: got capitals, expected "
            "every letter of it; pass --bytes none for bits per token and per document"
        )


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        ("official", "counts 1 byte instead of 3"),
        ("exact", "counts 1 byte instead of 3"),
        ("raw", "counts its 3 bytes, of which no token tells"),
        ("none", "is paid for as a space"),
    ],
)
def test_a_literal_symbol_in_documents_is_said(monkeypatch, rule, what):
    monkeypatch.setattr(remarks, "lost_in_documents", lambda *given: list(given[3]) and None)
    of = job(byte_rule=rule)
    of.text.borders.starts = np.array([0, 5, 500, 1000])
    found = [each for each in loss_remarks(of, ["a", "b\u2581", "\u2581", "\u2581"]) if each.code != "bytes.none"]
    assert said(found) == [
        (
            "bytes.literal-symbol",
            "documents that hold a literal U+2581: 2, first document 1 (from 0); the tokens cannot tell it from a "
            f"space: it {what} (BPB176 of bpb-bytes)",
        )
    ]  # the last starts behind what is scored
    of.text.tokenizer.spaces.escapes = False
    assert [each.code for each in loss_remarks(of, ["\u2581"])] == (["bytes.none"] if rule == "none" else [])


def test_what_a_tokenizer_always_loses_is_said_without_looking(monkeypatch):
    monkeypatch.setattr(remarks, "lost_by_tokenizer", lambda *_: "it lowers")
    monkeypatch.setattr(remarks, "lost_in_tokens", lambda *_: pytest.fail("looked"))
    with pytest.raises(TokenizerError, match="it lowers"):
        loss_remarks(job(), None)


class Belonging:
    """What encoding again found."""

    def __init__(self, belongs: bool | None):
        self.belongs, self.asked = belongs, list[str]()

    def require_hope(self, *, hint: str) -> None:
        self.asked.append(hint)

    def __str__(self) -> str:
        return "3 of 64 excerpts come back"


@pytest.mark.parametrize("belongs", [True, None, False])
def test_shards_of_another_tokenizer_are_named(monkeypatch, belongs):
    found, counted = Belonging(belongs), {"official": 1000, "exact": 1000}
    monkeypatch.setattr(remarks, "encode_again", lambda *_, num_excerpts: found)
    monkeypatch.setattr(remarks, "lost_by_tokenizer", lambda *_: None)
    counter = SimpleNamespace(total=lambda corpus, rule: counted[rule])
    expected = [] if belongs is not False else [
        (
            "bytes.foreign-tokenizer",
            "WARNING: the tokenizer may not belong to these shards: only 3 of 64 excerpts come back; the number "
            "of bytes, and with it the score, would be wrong",
        )
    ]  # fmt: skip
    assert said(byte_remarks(job(counter))) == expected
    assert found.asked == [f"pass the --tokenizer that wrote the shards; {AT_ALL_THE_SAME}"]
    assert said(byte_remarks(job(counter, check_contract=False))) == expected
    assert said(byte_remarks(job(counter, byte_rule="none"))) == expected
    assert len(found.asked) == 2
    monkeypatch.setattr(remarks, "lost_by_tokenizer", lambda *_: "it lowers")
    assert byte_remarks(job(counter, byte_rule="none")) == []
    assert byte_remarks(job(counter, docs="a.jsonl")) == []
    counted["official"] = 1001
    for rule, divides in (
        ("official", "--bytes exact divides by those"),
        ("exact", "this score divides by those"),
        ("raw", "this score divides by neither, but by the bytes that the documents have"),
    ):
        assert said(byte_remarks(job(counter, byte_rule=rule, docs="a.jsonl"))) == [
            (
                "bytes.official-not-exact",
                "the official rule counts 1,001 bytes where the pieces of the whole text spell 1,000; "
                f"{divides}, bpb-bytes explains the difference",
            )
        ]


@pytest.mark.parametrize(
    ("passes", "ttt", "said"),
    [
        (None, None, "which --tolerance makes"),
        (str(MIN_PASSES - 1), None, "which --tolerance makes"),
        (None, "sgd", "and --ttt makes one"),
        (str(MIN_PASSES), None, None),
    ],
)
def test_so_few_passes_tell_no_error_of_a_document(passes, ttt, said):
    job = SimpleNamespace(
        settings=SimpleNamespace(unpaid_prefix=0, wants_documents=True, ttt=ttt), bounds=("a bound",), answers=None,
        is_given_lengths=False,
    )  # fmt: skip
    result = SimpleNamespace(signature=SimpleNamespace(passes=passes))
    found = layout_remarks(job, result)  # type: ignore[arg-type]
    assert [remark.code for remark in found] == ([] if said is None else ["documents.no-error"])
    assert all(said in remark.message for remark in found)
    for changes in ({"bounds": ()}, {"answers": "some"}):  # exact costs, or errors of their own
        assert layout_remarks(SimpleNamespace(**vars(job) | changes), result) == []  # type: ignore[arg-type]
