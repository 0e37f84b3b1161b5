"""What a record amounts to: which lines carry the claim, the ratio behind it, its tokenizer, what was scored."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from bpb_harness.auditing.evidence import (
    Ratio,
    bits_of_vocabulary,
    gather,
    is_rounded_mean,
    mean_of_seeds,
    ratio_of,
    ratio_of_pair,
)
from bpb_harness.claim import Claim, LogRecord, Printed, Protocol, ScoreLine, Source
from bpb_harness.rules.denominators import Denominator, DenominatorTable
from tests.golf_rules import GOLF

NUM_BYTES = 151080891
ROW = GOLF.table.full_split("sp1024")


def _printed(value: float, decimals: int = 4, place: Source | None = None, name: str = "val_bpb") -> Printed:
    return Printed(value, decimals, place or Source("f.json", key=name), name)


def _line(file: str, number: int, label: str, bpb: float, nats: float | None = None, **more: Any) -> ScoreLine:
    place, decimals = Source(file, number), more.pop("decimals", 4)
    loss = None if nats is None else Printed(nats, 4, place, "val_loss")
    return ScoreLine(label, Printed(bpb, decimals, place, "val_bpb"), loss, more.pop("same_estimator", True), **more)


def _claim(score: float | None, *logs: LogRecord, decimals: int = 4, **more: Any) -> Claim:
    claimed = None if score is None else _printed(score, decimals)
    return Claim(**({"name": "x", "score": claimed, "claimed_in": "submission", "logs": logs} | more))


class TestRatio:
    def test_bytes_per_token_behind_a_loss_and_a_score(self) -> None:
        line = _line("a.log", 3, "final", 1.2, 2.0, decimals=2)
        found = ratio_of(line)
        assert found is not None
        assert found.value == pytest.approx(2.0 / math.log(2.0) / 1.2, rel=1e-12)
        assert found.uncertainty == pytest.approx(0.00005 / 2.0 + 0.005 / 1.2, rel=1e-12)
        assert (found.same_estimator, found.places) == (True, ("a.log:3",))
        assert ratio_of(replace(line, nats_per_token=None)) is None
        other = ratio_of_pair(_printed(2.0, name="val_loss"), _printed(1.2), False)
        assert other is not None
        assert (other.same_estimator, other.places) == (False, ("f.json (val_loss)", "f.json (val_bpb)"))

    @pytest.mark.parametrize(("nats", "bpb"), [(0.0, 1.2), (-1.0, 1.2), (2.0, 0.0), (2.0, -1.0)])
    def test_no_ratio_of_what_is_not_above_0(self, nats: float, bpb: float) -> None:
        assert ratio_of_pair(_printed(nats), _printed(bpb), True) is None

    @pytest.mark.parametrize(
        ("uncertainty", "off", "near"),
        [(0.0, 1.0009, True), (0.0, 0.9991, True), (0.0, 1.0011, False), (0.0, 0.9989, False), (0.01, 1.009, True)],
    )
    def test_near_is_within_the_tolerance_or_the_rounding(self, uncertainty: float, off: float, near: bool) -> None:
        assert Ratio(2.4 * off, uncertainty, True, ()).is_near(2.4, 1e-3) is near

    @pytest.mark.parametrize(
        ("mine", "theirs", "off", "agree"),
        [
            (0.0, 0.0, 1.0009, True),
            (0.0, 0.0, 1.0011, False),
            (0.005, 0.006, 1.0105, True),
            (0.005, 0.006, 1.012, False),
        ],
    )
    def test_two_ratios_agree_within_both_roundings(self, mine: float, theirs: float, off: float, agree: bool) -> None:
        assert Ratio(2.4 * off, mine, True, ()).agrees_with(Ratio(2.4, theirs, True, ()), 1e-3) is agree


class TestLines:
    def test_without_a_score_there_are_none(self) -> None:
        evidence = gather(_claim(None, LogRecord("a.log", (_line("a.log", 1, "final", 1.2, 2.0),))), GOLF)
        assert (evidence.lines, evidence.how, evidence.siblings, evidence.ratio) == ((), None, (), None)
        assert evidence.claim_logs == ()

    def test_a_claim_of_logs_is_carried_by_what_each_ends_with(self) -> None:
        logs = [LogRecord(f"{n}.log", (_line(f"{n}.log", 1, "a", 1.3), _line(f"{n}.log", 2, "b", 1.2))) for n in "ab"]
        one = gather(_claim(1.2, logs[0], LogRecord("c.log"), claimed_in="log"), GOLF)
        assert (one.lines, one.how, one.claim_logs) == ((logs[0].lines[1],), "line", (logs[0],))
        both = gather(_claim(1.2, *logs, claimed_in="log"), GOLF)
        assert (both.lines, both.how) == ((logs[0].lines[1], logs[1].lines[1]), "mean")

    def test_of_several_lines_the_best_that_prints_the_score_carries_it(self) -> None:
        step = _line("a.log", 1, "step:9/9", 1.2, 2.0, is_training_step=True)
        bare, coarse = _line("a.log", 2, "bare", 1.2), _line("a.log", 3, "coarse", 1.2, 2.0)
        exact = _line("a.log", 4, "exact", 1.200004, 2.0, decimals=6)
        nearer = _line("a.log", 5, "nearer", 1.200001, 2.0, decimals=6)
        lines = (step, bare, coarse, exact, nearer)
        for last in range(1, 6):
            evidence = gather(_claim(1.2, LogRecord("a.log", lines[:last])), GOLF)
            assert (evidence.lines, evidence.how) == ((lines[last - 1],), "line")
        assert gather(_claim(1.2, LogRecord("a.log", lines[::-1])), GOLF).lines == (nearer,)
        assert gather(_claim(1.25, LogRecord("a.log", lines)), GOLF).lines == ()

    def _seeds(self, *scores: float, label: str = "final", nats: float | None = 2.0) -> list[LogRecord]:
        return [
            LogRecord(f"{i}.log", (_line(f"{i}.log", 1, "step", 9.0, is_training_step=True),
                                   _line(f"{i}.log", 2, label, 5.0, nats), _line(f"{i}.log", 3, label, score, nats)))
            for i, score in enumerate(scores)
        ]  # fmt: skip

    def test_several_seeds_carry_their_mean(self) -> None:
        logs = self._seeds(1.1, 1.2, 1.3)
        evidence = gather(_claim(1.2, *logs), GOLF)
        assert (evidence.lines, evidence.how) == (tuple(log.lines[2] for log in logs), "mean")
        # One named seed, or the very digits of a line: then the line.
        assert gather(_claim(1.2, *logs, seeds=("1",)), GOLF).lines == (logs[1].lines[2],)
        exact = gather(_claim(1.2, *logs, decimals=6), GOLF)
        assert (exact.lines, exact.how) == ((logs[1].lines[2],), "line")
        assert gather(_claim(1.2, *logs, decimals=5), GOLF).how == "mean"
        assert gather(_claim(1.2, logs[1]), GOLF).how == "line"

    def test_a_rounded_mean_is_one_where_no_line_has_the_score(self) -> None:
        logs = self._seeds(1.1, 1.2, 1.35)  # 1.21667, spread 0.126
        evidence = gather(_claim(1.2235, *logs), GOLF)
        assert (len(evidence.lines), evidence.how) == (3, "mean")
        assert gather(_claim(1.2235, *logs, seeds=("1",)), GOLF).lines == ()
        assert gather(_claim(1.2535, *logs), GOLF).lines == ()

    def test_a_mean_with_a_loss_beside_it_comes_first(self) -> None:
        bare, beside = self._seeds(1.1, 1.3, label="bare", nats=None), self._seeds(1.1, 1.3, label="beside")
        logs = [replace(a, lines=a.lines + b.lines) for a, b in zip(bare, beside, strict=True)]
        assert [line.label for line in gather(_claim(1.2, *logs), GOLF).lines] == ["beside", "beside"]

    def test_another_score_of_the_same_seed_is_a_sibling(self) -> None:
        log = LogRecord("1.log", (_line("1.log", 1, "s", 1.3, 2.0, is_training_step=True), _line("1.log", 2, "f", 1.3)),
                        seed="1")  # fmt: skip
        scores = {"full": {"1": _printed(1.3), "2": _printed(1.4)}}
        evidence = gather(_claim(1.1, log, seed_scores=scores), GOLF)
        assert (evidence.lines, evidence.siblings, evidence.claim_logs) == ((), (log.lines[1],), (log,))
        for no in ({"full": {"2": _printed(1.3)}}, {"full": {"1": _printed(1.3, 3)}}, {"full": {"1": _printed(1.4)}}):
            assert gather(_claim(1.1, log, seed_scores=no), GOLF).siblings == ()

    def test_the_ratio_is_the_mean_over_the_lines(self) -> None:
        logs = [LogRecord("a.log", (_line("a.log", 1, "f", 1.1, 1.9),)),
                LogRecord("b.log", (_line("b.log", 1, "f", 1.3, 2.0, same_estimator=False),))]  # fmt: skip
        ratio = gather(_claim(1.2, *logs), GOLF).ratio
        first, second = (ratio_of(log.lines[0]) for log in logs)
        assert ratio is not None
        assert first is not None
        assert second is not None
        assert ratio.value == pytest.approx((first.value + second.value) / 2)
        assert ratio.uncertainty == max(first.uncertainty, second.uncertainty)
        assert (ratio.same_estimator, ratio.places) == (False, ("a.log:1", "b.log:1"))

    def test_without_lines_it_is_that_of_the_record(self) -> None:
        loss = _printed(2.0, name="val_loss")
        ratio = gather(_claim(1.2, nats_per_token=loss, same_estimator=False), GOLF).ratio
        assert ratio == ratio_of_pair(loss, _printed(1.2), False)
        assert gather(_claim(1.2), GOLF).ratio is None
        assert gather(_claim(None, nats_per_token=loss), GOLF).ratio is None


@pytest.mark.parametrize(
    ("score", "values", "is_one"),
    [
        *((1.0788, [1.07876, 1.07876], True), (1.07881, [1.07876, 1.07876], True)),
        *((1.07882, [1.07876, 1.07876], False), (1.2, [1.2], False), (1.2, [], False)),
        # Spread 0.1 / sqrt 2: a tenth of it is 0.00707.
        *((1.257, [1.2, 1.3], True), (1.2572, [1.2, 1.3], False), (1.243, [1.2, 1.3], True)),
    ],
)
def test_means_as_people_round_them(score: float, values: list[float], is_one: bool) -> None:
    assert is_rounded_mean(_printed(score), values) is is_one


def test_the_mean_of_seeds_and_the_bits_of_a_vocabulary() -> None:
    assert mean_of_seeds({"1": _printed(1.0), "2": _printed(2.0)}) == 1.5
    assert (bits_of_vocabulary("sp1024"), bits_of_vocabulary("sp32000")) == (10.0, math.log2(32000))
    assert [bits_of_vocabulary(name) for name in ("byte", "sp12", "xsp1024", None)] == [None] * 4


class TestTokenizer:
    def _of(self, tokenizer: str | None, source: Source | None, *sizes: int, **more: Any) -> Any:
        log = LogRecord("a.log", (_line("a.log", 1, "f", 1.2, 2.0),), split_tokens=sizes)
        claimed = {"tokenizer": tokenizer, "tokenizer_source": source, "dataset": "fineweb_val"} | more
        evidence = gather(_claim(1.2, log, **claimed), GOLF)
        return evidence.tokenizer, evidence.tokenizer_is_named, evidence.tokenizer_is_certain

    def test_a_key_a_log_or_a_size_is_certain_and_prose_is_not(self) -> None:
        assert self._of("sp1024", Source("f.json", key="tokenizer")) == ("sp1024", True, True)
        assert self._of("sp1024", Source("a.log")) == ("sp1024", True, True)
        assert self._of("sp1024", Source("f.json")) == ("sp1024", True, False)
        assert self._of("sp1024", Source("README.md"), 62021846) == ("sp1024", True, True)
        assert self._of("sp8192", Source("README.md"), 62021846) == ("sp8192", True, False)
        assert self._of("sp1024", None) == ("sp1024", True, False)

    def test_the_size_of_the_split_names_one(self) -> None:
        assert self._of(None, None, 62021846) == ("sp1024", True, True)
        assert self._of(None, None, 40540803, 40540803) == ("sp8192", True, True)
        assert self._of(None, None, 62021846, 40540803) == (None, False, False)
        assert self._of(None, None) == (None, False, False)
        # All the bytes of the split, in tokens that the table does not know: nothing else could be meant.
        size = round(NUM_BYTES / (2.0 / math.log(2.0) / 1.2))
        assert self._of(None, None, size) == (None, True, True)
        assert self._of(None, None, size, dataset="wikitext_val") == (None, False, False)

    def test_only_the_logs_of_the_claim_tell(self) -> None:
        log = LogRecord("a.log", (_line("a.log", 1, "f", 1.2, 2.0),), split_tokens=(62021846,))
        other = LogRecord("b.log", (_line("b.log", 1, "f", 1.9, 2.0),), split_tokens=(40540803,))
        assert gather(_claim(1.2, log, other), GOLF).tokenizer == "sp1024"
        assert gather(_claim(1.9, log, other), GOLF).tokenizer == "sp8192"
        assert gather(_claim(1.5, log, other), GOLF).tokenizer is None


class TestSplit:
    def _full(self, tokenizer: str | None, nats: float, *sizes: int, dataset: str | None = "fineweb_val") -> Any:
        log = LogRecord("a.log", (_line("a.log", 1, "f", 1.2, nats),), split_tokens=sizes)
        return gather(_claim(1.2, log, tokenizer=tokenizer, dataset=dataset), GOLF).full

    def _nats(self, ratio: float) -> float:
        return round(1.2 * ratio * math.log(2.0), 4)

    def test_it_is_the_row_of_the_table(self) -> None:
        assert self._full("sp1024", 2.0) == self._full("sp1024", 2.0, 62021632) == ROW
        assert self._full("sp1024", 2.0, 1000, 62021632) == ROW
        assert self._full("sp1024", 2.0, dataset="wikitext_val") is None
        assert self._full(None, 2.0) is None

    @pytest.mark.parametrize(
        ("tokenizer", "name"),
        [(None, "a vocabulary of its own"), ("sp2048", "sp2048"), ("sp1024", "another sp1024 than the table's")],
    )
    def test_or_the_same_bytes_in_other_tokens(self, tokenizer: str | None, name: str) -> None:
        ratio = NUM_BYTES / 55_001_234
        own = Denominator("fineweb_val", name, "full", 55_001_234, NUM_BYTES, ratio)
        assert self._full(tokenizer, self._nats(ratio), 55_001_234) == own
        fewer = self._full(tokenizer, self._nats(ratio * 0.99), 55_001_234)  # a part of the split has fewer bytes
        assert fewer == (ROW if tokenizer == "sp1024" else None)
        more = self._full(tokenizer, self._nats(ratio * 1.1), 55_001_234)
        assert more == (ROW if tokenizer == "sp1024" else own)

    def test_a_rounded_row_takes_the_size_that_is_loaded(self) -> None:
        size = 45_508_608
        row = Denominator("fineweb_val", "sp4096", "full", size, NUM_BYTES, NUM_BYTES / size)
        rounded = Denominator("fineweb_val", "sp4096", "full", 45_510_000, NUM_BYTES, NUM_BYTES / 45_510_000)
        rules = replace(GOLF, table=DenominatorTable((rounded,)))
        for loaded, whole in ((size, row), (45_510_000, rounded)):
            log = LogRecord("a.log", (_line("a.log", 1, "f", 1.2, 2.0),), split_tokens=(loaded,))
            assert gather(_claim(1.2, log, tokenizer="sp4096", dataset="fineweb_val"), rules).full == whole


@pytest.mark.parametrize(
    ("line", "protocol", "sizes", "scored"),
    [
        (500, Protocol(scored_tokens=600), (62021632,), 500),
        (None, Protocol(scored_tokens=600), (62021632,), 600),
        (None, Protocol(num_windows=3, context_length=5), (), 15),
        (None, Protocol(num_windows=3), (), None),
        (None, Protocol(), (62021632,), None),
        (None, Protocol(), (61401628,), None),
        (None, Protocol(), (61401627,), 61401627),
        (None, Protocol(), (5000, 70), 5000),
        (None, Protocol(), (), None),
    ],
)
def test_how_many_tokens_were_scored(
    line: int | None, protocol: Protocol, sizes: tuple[int, ...], scored: int | None
) -> None:
    log = LogRecord("a.log", (_line("a.log", 1, "f", 1.2, 2.0, scored_tokens=line),), split_tokens=sizes)
    claim = _claim(1.2, log, protocol=protocol, tokenizer="sp1024", dataset="fineweb_val")
    assert gather(claim, GOLF).scored_tokens == scored


def test_the_share_of_the_bytes_that_the_loaded_tokens_make() -> None:
    log = LogRecord("a.log", (_line("a.log", 1, "f", 1.2, 2.0),), split_tokens=(1_000_000,))
    ratio = 2.0 / math.log(2.0) / 1.2
    evidence = gather(_claim(1.2, log, dataset="fineweb_val"), GOLF)
    assert evidence.share_of_bytes == pytest.approx(1_000_000 * ratio / NUM_BYTES)
    for without in (
        _claim(1.2, log, dataset="wikitext_val"),
        _claim(1.2, log),
        _claim(1.2, replace(log, split_tokens=(5, 6)), dataset="fineweb_val"),
        _claim(1.2, replace(log, split_tokens=()), dataset="fineweb_val"),
        _claim(1.2, replace(log, lines=(_line("a.log", 1, "f", 1.2),)), dataset="fineweb_val"),
    ):
        assert gather(without, GOLF).share_of_bytes is None
