"""Whether two scores are of the same bytes: what is refused, by name, and what is charged."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

import bpb_harness
from bpb_harness.comparison.same_text import pair_units
from bpb_harness.errors import UsageError
from tests.scores import SIGNATURE, costs_of

BYTES = np.array([40.0, 80.0, 20.0, 60.0, 100.0, 50.0, 70.0])
ONE = costs_of(3.0 * BYTES, BYTES)
OTHER = costs_of(2.0 * BYTES, BYTES)
LEAVE_OUT_LIMIT = (
    "leave out --limit, or score the same windows of both; where windows are unlike, score a shorter text whole"
)


def refusal(first, second) -> str:
    with pytest.raises(UsageError) as caught:
        pair_units(("A", "B"), first, second)
    return str(caught.value)


def signed(costs, **more):
    return replace(costs, signature=str(replace(SIGNATURE, **more)))


def test_documents_side_by_side():
    found = pair_units(("A", "B"), ONE, OTHER)
    assert (found.kind, found.notes) == ("documents", ())
    assert found.differences == pytest.approx(-BYTES / math.log(2.0))
    assert found.sizes.tolist() == BYTES.tolist()
    assert found.difference_nats == -BYTES.sum()
    assert found.total == BYTES.sum()


def test_the_luck_of_mask_rates_is_no_difference_of_documents():
    documents = replace(OTHER.documents, level_free_nats=2.0 * BYTES + 1.0)
    found = pair_units(("A", "B"), ONE, replace(OTHER, documents=documents))
    assert found.differences == pytest.approx((1.0 - BYTES) / math.log(2.0))
    assert found.difference_nats == -BYTES.sum()


def test_it_is_said_where_one_learns_from_the_text_and_the_other_does_not():
    way = "sgd[lr=0.1]"
    assert pair_units(("A", "B"), ONE, signed(OTHER, adaptation=way)).notes == (
        f"A does not and B learns from each chunk once it is paid for, {way}: the difference is that of the networks "
        "and of what is learnt on the way",
    )
    assert pair_units(("A", "B"), signed(ONE, adaptation=way), signed(OTHER, adaptation=way)).notes == ()
    (both,) = pair_units(("A", "B"), signed(ONE, adaptation="own[chunk=8]"), signed(OTHER, adaptation=way)).notes
    assert "own[chunk=8] and B learns" in both


def test_other_texts_are_refused():
    other = signed(replace(OTHER, tokens="5" * 64, text="6" * 64), data="test@55555555")
    assert refusal(ONE, other) == (
        "A and B are scores of different texts: got val@11111111, expected test@55555555; score both on the same "
        "--data or --docs"
    )
    assert "different texts" in refusal(replace(ONE, text=""), replace(other, text=""))
    assert "spell the same tokens differently" in refusal(ONE, replace(OTHER, tokenizer="7" * 64, text="6" * 64))


def test_other_tokens_of_the_same_text_are_not():
    found = pair_units(("A", "B"), ONE, replace(OTHER, tokens="5" * 64, tokenizer="7" * 64))
    assert found.notes == ("A and B cut the same text into other tokens",)
    assert found.kind == "documents"


def test_raw_bytes_are_common_where_tokenizers_normalise():
    raw = {"tokenizer": "7" * 64, "tokens": "5" * 64, "text": "6" * 64}
    one, other = replace(ONE, raw_text="8" * 64), replace(OTHER, raw_text="8" * 64, **raw)
    assert "score both with --bytes raw" in refusal(one, other)
    found = pair_units(("A", "B"), signed(one, byte_rule="raw"), signed(other, byte_rule="raw"))
    assert "over the raw bytes" in found.notes[0]
    assert "different texts" in refusal(
        signed(one, byte_rule="raw"), signed(replace(other, raw_text="9" * 64), byte_rule="raw")
    )

    unknown = [signed(replace(each, raw_text=""), byte_rule="raw") for each in (one, other)]
    assert "different texts" in refusal(*unknown)


def test_tokens_have_nothing_in_common_but_bytes():
    one, other = (signed(replace(each, counts_bytes=False), byte_rule="none") for each in (ONE, OTHER))
    assert pair_units(("A", "B"), one, other).notes == ()
    assert refusal(one, replace(other, tokens="5" * 64, tokenizer="7" * 64)) == (
        "A and B are scores of other tokens: got val@11111111 and val@11111111, expected the same tokens where no "
        "bytes are counted; score both with --bytes official"
    )


def test_other_rules_of_bytes_are_refused():
    said = refusal(ONE, signed(OTHER, byte_rule="exact"))
    assert said == (
        "A and B do not count the same bytes: got --bytes official and --bytes exact, expected one rule; score both "
        "with the same --bytes"
    )
    assert "do not count the same bytes" in refusal(ONE, replace(OTHER, counts_bytes=False))


def test_lengths_that_one_is_given_are_refused():
    said = refusal(ONE, signed(OTHER, given="lengths"))
    assert said.startswith(
        "A and B are not scores of the same thing: got a score that is given nothing and one that is given lengths,"
    )
    assert pair_units(("A", "B"), signed(ONE, given="lengths"), signed(OTHER, given="lengths")).notes == ()


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"data": "val@11111111[0:3/7]"}, LEAVE_OUT_LIMIT),
        ({"tail": "drop"}, "leave out --tail"),
        ({"unpaid_prefix": "2"}, "leave out --unpaid-prefix"),
        ({"order": "per-document"}, "leave out --per-document"),
        ({"order": "per-document,left-to-right"}, "leave out --per-document"),
        ({"order": "left-to-right", "data": "val@11111111[0:3/7]"}, LEAVE_OUT_LIMIT),
        ({}, "score the whole of the text with both"),
    ],
)
def test_parts_of_the_text_are_refused(change, hint):
    part = signed(costs_of(2.0 * BYTES[:3], BYTES[:3]), **change)
    said = refusal(ONE, part)
    assert said == f"A and B do not pay for the same part of the text: got 420 bytes, expected 140; {hint}"


def test_windows_of_which_no_number_has_the_same_bytes_are_said_to_be_such():
    """An autoregressive model's lie one token on; of two such models they do not."""
    part = signed(costs_of(2.0 * BYTES[:3], BYTES[:3]), method="ar", data="val@11111111[0:3/7]")
    masked = signed(ONE, method="discrete")
    for said in (refusal(masked, part), refusal(part, masked)):
        assert "; leave out --limit: windows of --method ar lie one token on, and no number of them has" in said
        assert said.endswith(
            "take a shorter text, whole: of --docs the first lines of the file (`head -n 20 val.jsonl > few.jsonl`, "
            "--docs few.jsonl), of --data one shard of several, or a shard of fewer tokens"
        )
    assert refusal(signed(ONE, method="ar"), part).endswith(LEAVE_OUT_LIMIT)
    assert "leave out --limit and --tail: windows of" in refusal(
        masked, signed(part, method="ar", data="v@1[0:3/7]", tail="drop")
    )


PARTS = {"data": "val@11111111[0:3/7]"}
WHOLE = "score the whole of a text with both, without --limit, --unpaid-prefix and --tail drop"


@pytest.mark.parametrize(
    ("one", "other", "seen", "expected"),
    [
        ({"unpaid_prefix": "32"}, {"unpaid_prefix": "64", "context_length": "128"},
         "--method mc --unpaid-prefix 32 --context 64", "--method mc --unpaid-prefix 64 --context 128"),
        ({"unpaid_prefix": "32"}, {"unpaid_prefix": "32", "stride": "16"},
         "--method mc --unpaid-prefix 32 --context 64", "--method mc --unpaid-prefix 32 --context 64 --stride 16"),
        ({"unpaid_prefix": "32"}, {}, "--method mc --unpaid-prefix 32 --context 64", "--method mc --context 64"),
        ({"unpaid_prefix": "32"}, {"unpaid_prefix": "32", "method": "ar"},
         "--method mc --unpaid-prefix 32 --context 64", "--method ar --unpaid-prefix 32 --context 64"),
        (PARTS, PARTS | {"method": "ar"}, "--method mc --context 64", "--method ar --context 64"),
        ({"tail": "drop"}, {"tail": "drop", "method": "ar"}, "--method mc --context 64", "--method ar --context 64"),
    ],
)  # fmt: skip
def test_as_many_bytes_of_another_part_are_refused(one, other, seen, expected):
    """With a byte a token, say, where totals and blocks of bytes agree whatever was paid for."""
    first, second = signed(ONE, **{"method": "mc", **one}), signed(OTHER, **{"method": "mc", **other})
    assert refusal(first, second) == (
        f"A and B do not pay for the same part of the text, though for as many bytes: got {seen}, expected {expected}; "
        f"{WHOLE}"
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"unpaid_prefix": "32"}, {"unpaid_prefix": "32", "num_samples": "4", "block_size": "8"}),
        (PARTS | {"context_length": "32"}, PARTS),  # from the start of the text on, as far as the same bytes
        ({}, {"method": "ar"}),
        (PARTS | {"given": "prompts"}, PARTS | {"given": "prompts", "method": "ar"}),
        (PARTS | {"method": "ar"}, PARTS | {"method": "ar", "stride": "8"}),
    ],
)
def test_the_same_part_is_compared(one, other):
    first, second = signed(ONE, **{"method": "mc", **one}), signed(OTHER, **{"method": "mc", **other})
    assert pair_units(("A", "B"), first, second).total == BYTES.sum()


def test_the_same_bytes_of_other_documents_are_refused():
    shifted = costs_of(2.0 * BYTES, np.roll(BYTES, 1))
    assert "do not pay for the same part" in refusal(ONE, shifted)
    fewer = np.append(BYTES[:5], BYTES[5:].sum())
    said = refusal(ONE, costs_of(2.0 * fewer, fewer))
    assert said == (
        "A and B cut the text into other documents: got 7 documents, expected 6; score both with the same --separator"
    )


def without_first_token(costs, size: float):
    """As an autoregressive model scores: the first token, of so many bytes, is given."""
    less = np.zeros(len(BYTES))
    less[0] = size
    given = costs_of(costs.documents.nats, BYTES - less)
    return replace(given, num_unpaid=1, unpaid_units=int(size))


def test_a_first_token_that_spells_something_is_charged():
    found = pair_units(("A", "B"), ONE, without_first_token(OTHER, 4.0))
    assert found.total == BYTES.sum()
    assert found.difference_nats == pytest.approx(-BYTES.sum() + math.log(512))
    assert found.differences[0] == pytest.approx((-40.0 + math.log(512)) / math.log(2.0))
    assert found.notes == ("B is given the first token; it is charged 9.0 bits for it, a uniform code",)
    turned = pair_units(("A", "B"), without_first_token(OTHER, 4.0), ONE)
    assert turned.difference_nats == -found.difference_nats


def test_one_byte_of_millions_is_still_charged():
    many = 1_000_000.0 * BYTES
    less = many - np.eye(1, 7)[0]
    given = replace(costs_of(2.0 * many, less), num_unpaid=1, unpaid_units=1)
    found = pair_units(("A", "B"), costs_of(2.0 * many, many), given)
    assert found.total == many.sum()
    assert found.difference_nats == pytest.approx(math.log(512), abs=1e-5)
    assert found.notes == ("B is given the first token; it is charged 9.0 bits for it, a uniform code",)
    assert "do not pay for the same part" in refusal(costs_of(2.0 * many, many), costs_of(2.0 * many, less))


def test_nobody_is_charged_where_both_are_given_it():
    found = pair_units(("A", "B"), without_first_token(ONE, 4.0), without_first_token(OTHER, 4.0))
    assert found.total == BYTES.sum() - 4.0
    assert found.difference_nats == pytest.approx(-BYTES.sum())
    assert found.notes == ()


def test_a_first_token_that_spells_nothing_is_said():
    given = replace(OTHER, starts=OTHER.starts + np.eye(1, 7, dtype=np.int64)[0], num_unpaid=1)
    found = pair_units(("A", "B"), ONE, given)
    assert found.notes == ("B is given 1 token that spells nothing",)
    assert found.difference_nats == -BYTES.sum()


def test_few_documents_give_way_to_blocks():
    long = np.full(4, 6000.0)
    one, other = (costs_of(factor * long, long, context_units=700.0) for factor in (3.0, 2.0))
    found = pair_units(("A", "B"), one, other)
    assert found.kind == "documents"  # too short for more blocks of ten windows than there are documents
    fine = np.full(240, 100.0)
    blocks = costs_of(3.0 * fine, fine).blocks
    one, other = (
        replace(costs_of(factor * long, long, context_units=200.0), blocks=replace(
            blocks, nats=factor / 3.0 * blocks.nats, level_free_nats=factor / 3.0 * blocks.nats))
        for factor in (3.0, 2.0)
    )  # fmt: skip
    found = pair_units(("A", "B"), one, other)
    assert found.kind == "blocks"
    assert found.sizes.sum() == 24_000.0
    assert found.sizes.min() >= 10 * 200.0 - 100.0  # a document belongs to where it begins


@pytest.mark.parametrize(("count", "kind"), [(4, "blocks"), (5, "blocks"), (6, "documents"), (7, "documents")])
def test_six_documents_are_enough(count, kind):
    """Of fewer no flip of signs is significant at 5 %: 2 in 2^5."""
    long = np.full(count, 6000.0)
    one, other = (costs_of(factor * long, long, context_units=64.0) for factor in (3.0, 2.0))
    assert 6000.0 * count // (10 * 64) > count, "there are more blocks of ten windows than documents"
    assert pair_units(("A", "B"), one, other).kind == kind


def test_unknown_documents_give_way_to_blocks():
    found = pair_units(("A", "B"), replace(ONE, documents=None), OTHER)
    assert (found.kind, len(found.sizes)) == ("blocks", 1)
    assert found.difference_nats == -BYTES.sum()


def test_documents_that_spell_nothing_belong_to_the_one_before():
    sizes = np.array([0.0, 40.0, 0.0, 30.0, 20.0, 10.0, 10.0])
    found = pair_units(("A", "B"), costs_of(sizes + 1.0, sizes), costs_of(sizes + 3.0, sizes))
    assert found.sizes.tolist() == [40.0, 30.0, 20.0, 10.0, 10.0]
    assert found.differences * math.log(2.0) == pytest.approx([6.0, 2.0, 2.0, 2.0, 2.0])


def test_a_note_says_where_units_are_too_few_to_show_anything():
    note = "5 documents can show no p below 0.062, however alike they are; more text can"
    few = [costs_of(factor * BYTES[:5] * np.arange(1.0, 6.0), BYTES[:5]) for factor in (2.0, 3.0)]
    (pair,) = bpb_harness.compare(*few).pairs
    assert pair.units == "documents"
    assert note in pair.notes
    (pair,) = bpb_harness.compare(*few, level=0.1).pairs
    assert note not in pair.notes
