"""What decoded windows cost beside what the score says of the whole."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bpb_harness.byte_count import ByteCounter, load_tokenizer
from bpb_harness.proof.cashed import Cashed, cash
from bpb_harness.proof.score_line import ScoreLine
from bpb_harness.units import CodeLength
from tests.unit.proof.test_score_line import SIGNATURE, header, result


def line(bits_per_byte=1.0, stderr=0.0, relation="=", num_bytes=1000) -> ScoreLine:
    length = CodeLength(bits_per_byte * 1000 * math.log(2), 500, num_bytes, 12)
    return ScoreLine.read(str(result(length=length, relation=relation, mc_stderr=stderr)))


def cashed(bits, *, claimed=1.0, stderr=0.0, units=100, **more) -> Cashed:
    bits = np.array(bits, dtype=float)
    relation = "~<=" if stderr else "="
    more = {"num_bits": 8 * math.ceil(bits.sum() / 8), "counts_bytes": True} | more
    return Cashed(line(claimed, stderr, relation), span_bits=bits, span_units=np.full(len(bits), units), **more)


def test_the_error_is_that_of_a_ratio_over_windows():
    bits, units = np.random.default_rng(0).uniform(50.0, 150.0, 20), np.arange(80, 100)
    one = Cashed(line(), 8 * 250, bits, units, True)
    ratio = bits.sum() / units.sum()
    expected = np.std(bits - ratio * units, ddof=1) * math.sqrt(20) / units.sum()
    assert one.stderr == pytest.approx(expected, rel=1e-9)
    assert one.rate == 2000 / units.sum()


def test_windows_that_cost_more_than_four_errors():
    bits = np.full(400, 100.0)
    bits[::2] += 20.0
    bits[1::2] -= 20.0
    error = cashed(bits).stderr
    four = float(stats.t.isf(stats.norm.sf(4.0), 399)) * error + 5e-5
    assert cashed(bits).tolerance == pytest.approx(four)
    for share, exceeds in ((0.98, False), (1.02, True)):
        assert cashed(bits, claimed=round(1.0 - share * four, 4)).exceeds_score() is exceeds
        assert cashed(bits, claimed=round(1.0 + share * four, 4)).falls_below() is exceeds
        assert not cashed(bits, claimed=round(1.0 + share * four, 4)).exceeds_score()
    # The score's own error counts as well.
    assert not cashed(bits, claimed=round(1.0 - 1.02 * four, 4), stderr=0.02).exceeds_score()


def test_few_windows_tell_little():
    spread = [100.0, 120.0, 80.0, 100.0]
    wide = cashed(spread, claimed=0.2)
    assert wide.tolerance > 15 * wide.stderr
    assert not wide.exceeds_score()
    assert cashed([100.0, 100.1, 99.9, 100.0], claimed=0.8).exceeds_score()


def test_the_line_says_whether_both_agree():
    alike = [100.0, 100.1, 99.9, 100.0]
    said = {claimed: str(cashed(alike, claimed=claimed)) for claimed in (0.8, 1.0, 1.2)}
    assert said[0.8].endswith("the score says = 0.8000, by more than 4 errors of both less")
    assert said[1.0].endswith("the score says = 1.0000, which is the same within 4 errors")
    assert said[1.2].endswith("the score says = 1.2000, by more than 4 errors of both more")
    assert str(cashed([100.0])).endswith("the score says = 1.0000")  # one window tells no error
    assert "up to 4 more by the text before the windows" in str(cashed(alike, slack=4))
    assert "more by the text" not in said[1.0]
    alone = cashed([500.0])
    assert math.isinf(alone.stderr)
    assert not alone.exceeds_score()
    assert "one alone tells no error" in str(alone)
    unknown = Cashed(
        ScoreLine.read(str(result(mc_stderr=None))), 800, np.full(50, 100.0), np.full(50, 10), True
    )  # fmt: skip
    assert math.isinf(unknown.tolerance)


def test_the_coder_and_uncertain_bytes_are_in_favour_of_the_score():
    bits = np.full(400, 100.0)  # alike: no error
    assert not cashed(bits, num_bits=40_100).exceeds_score()
    assert cashed(bits, num_bits=40_112).exceeds_score()
    assert cashed(bits, claimed=0.99).exceeds_score()
    assert not cashed(bits, claimed=0.99, slack=500).exceeds_score()
    assert cashed(bits, claimed=0.95).exceeds_score()
    assert not cashed(bits, claimed=0.95, order_share=0.1).exceeds_score()
    # Costs that the network is said to have say nothing against the bits of the file themselves.
    assert cashed(np.full(400, 10.0), num_bits=60_000).exceeds_score()


def test_rates_per_token_where_bytes_cannot_be_counted():
    bits = np.full(10, 20.0)
    same = Cashed(line(1.0), 200, bits, np.full(10, 10), False)
    assert same.claimed == 2.0  # 1,000 bytes of 500 tokens
    assert not same.exceeds_score()
    assert "2.0000 bits per token" in str(same)
    dearer = Cashed(line(0.99), 200, bits, np.full(10, 10), False)
    assert dearer.exceeds_score()
    assert dearer.tolerance == 1e-4


@pytest.fixture(scope="module")
def tokenizer(repository):
    return load_tokenizer(repository / "fixtures/tokenizers/tiny_512_bpe.model")


def test_bytes_are_counted_from_the_tokens(repository, tokenizer):
    whole = np.fromfile(repository / "fixtures/corpora/tiny_val_000000.bin", "<u2", offset=1024).astype(np.int64)
    inside = ByteCounter(tokenizer).span(whole, 256, 512)
    tokens = [whole[256:384], whole[384:512]]
    for context in (0, 5):
        given = np.concatenate([whole[256 - context : 256], whole[384 - context : 384]])
        found = cash(
            header(contexts=[context] * 2), line(), given=given, tokens=tokens, nats=np.log(2.0) * np.array([9.0, 7.0]),
            num_bits=16, tokenizer=tokenizer,
        )  # fmt: skip
        assert found.counts_bytes
        assert found.span_bits == pytest.approx([9.0, 7.0])
        true = np.array([inside[:128].sum(), inside[128:].sum()])
        missing = true - found.span_units
        assert found.slack == (0 if context else 2)
        assert 0 <= missing.sum() <= found.slack
        assert missing.max() <= 1


@pytest.mark.parametrize(
    ("changes", "entries"),
    [
        ({}, {"byte_rule": "raw"}),
        ({}, {"given": "prompts+lengths"}),
        ({"length": CodeLength(1000.0, 500, 0, 12)}, {"byte_rule": "none"}),
    ],
)
def test_bytes_that_tokens_do_not_tell(tokenizer, changes, entries):
    signature = replace(SIGNATURE, **entries)
    found = cash(
        header(), ScoreLine.read(str(result(signature=signature, **changes))), given=np.zeros(0, np.int64),
        tokens=[np.zeros(128, np.int64)] * 2, nats=np.ones(2), num_bits=8, tokenizer=tokenizer,
    )  # fmt: skip
    assert not found.counts_bytes
    assert found.num_units == 256


def test_a_separator_of_the_score_spells_nothing(tokenizer):
    token = next(each for each in range(300, 512) if len(tokenizer.piece_bytes[each]) > 3)
    text = [np.full(4, token)] * 2
    counts = []
    for separator in (None, str(token)):
        told = ScoreLine.read(str(result(signature=replace(SIGNATURE, separator=separator))))
        found = cash(
            header(), told, given=np.zeros(0, np.int64), tokens=text, nats=np.ones(2), num_bits=8, tokenizer=tokenizer
        )  # fmt: skip
        counts.append(found.num_units)
    assert counts[0] > 8
    assert counts[1] == 0


def test_orders_by_predictions_may_cost_more(tokenizer):
    for order, share in (("random", 0.0), ("entropy", 0.1)):
        found = cash(
            header(method="chain", order=order), line(), given=np.zeros(0, np.int64),
            tokens=[np.zeros(128, np.int64)] * 2, nats=np.ones(2), num_bits=8, tokenizer=tokenizer,
        )  # fmt: skip
        assert found.order_share == share


SPREAD = [100.0, 120.0, 80.0, 100.0]  # standard error of the rate: 0.082


@pytest.mark.parametrize(
    ("claimed", "stderr", "bits", "said"),
    [
        (0.9, 0.0, SPREAD, None),
        (0.75, 0.0, SPREAD, "they cost 0."),  # three errors, and Student's four of so few windows reach much further
        (0.5, 0.12, SPREAD, "they cost 0."),
        (0.9, 0.22, SPREAD, None),
        (0.1, 0.3, SPREAD, "the score's own error, 0.3000, is more than a quarter of its number"),
        (0.9, 0.23, SPREAD, "more than a quarter"),
        (1.0, 0.01, [100.0], "one window alone"),
        (1.2, 0.01, SPREAD, None),  # cheaper than the score is no lie
    ],
)
def test_a_number_that_the_windows_leave_open(claimed, stderr, bits, said):
    found = cashed(bits, claimed=claimed, stderr=stderr, num_bits=round(sum(bits)), units=100)
    big = replace(
        found, num_bits=1000 * found.num_bits, span_bits=1000 * found.span_bits, span_units=1000 * found.span_units
    )
    assert not big.exceeds_score()
    doubt = big.doubt()
    assert (doubt is None) if said is None else (said in doubt)


def test_an_error_that_nobody_knows_or_trusts_leaves_it_open():
    for change in ({"mc_stderr": None}, {"is_trusted": False}):
        one = replace(cashed(SPREAD, stderr=0.01), line=replace(line(stderr=0.01, relation="~<="), **change))
        assert "no error from masks that can be trusted" in one.doubt()


def test_the_whole_of_an_exact_score_leaves_nothing_open():
    assert cashed([100.0], share_left=0.0).doubt() is None


def test_what_is_hardly_told_apart_is_not_called_the_same():
    assert "hardly told apart: 4 errors of both, by Student's t for 4 windows, reach" in str(
        cashed(SPREAD, claimed=0.9)
    )
