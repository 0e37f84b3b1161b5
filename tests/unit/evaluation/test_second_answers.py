"""Which parts of a score are asked again, and what is asked of each."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from bpb_harness.denoiser import masked_nll
from bpb_harness.errors import NumericsError
from bpb_harness.estimators import ChainRule
from bpb_harness.evaluation.batches import DrawPlan, DrawSource
from bpb_harness.evaluation.draws import DrawTable
from bpb_harness.evaluation.second_answers import (
    Asked,
    AskedDraws,
    AskedMasks,
    AskedSpans,
    AskedSteps,
)
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import LogLinear, NoiseLevel
from bpb_harness.second_look.questions import Question
from bpb_harness.text.corpus import load_shards
from bpb_harness.text.spans import Spans
from tests.spans import end_to_end


class Numbered(Asked):
    """Things that can be asked again, each of a window; the question's name is the thing's number."""

    def __init__(self, window) -> None:
        self._window = np.asarray(window)

    @property
    def window(self):
        return self._window

    def questions(self, index, generator):
        at = np.arange(2)
        return [Question(str(index), at, None, at, at, np.ones(2, dtype=bool), 1.0)]


def result(signature="bpb|method:mc", nats=100.0) -> Any:
    return SimpleNamespace(signature=signature, length=SimpleNamespace(nats=nats))


def chosen(window, of=None, model="m", data="d") -> list[int]:
    return [int(question.what) for _, question in Numbered(window).choose(of or result(), model, data)]


@pytest.mark.parametrize("draws", [1, 3])
def test_each_question_is_of_another_window_as_far_as_there_are_enough(draws):
    window = np.repeat(np.arange(200), draws)
    which = chosen(window)
    assert len(set(window[which])) == len(which) == 32
    few = np.tile(np.arange(10), 10)
    which = chosen(few)
    assert len(set(which)) == len(which) == 32
    assert sorted(few[which[:10]]) == list(range(10))
    assert sorted(chosen([0, 0, 1])) == [0, 1, 2]


def test_everything_is_chosen_as_often_and_only_by_the_result():
    """64 results, 32 of 64 things: each is chosen 32 times, standard deviation 4."""
    counts = np.bincount([which for nats in range(64) for which in chosen(range(64), result(nats=float(nats)))])
    assert len(counts) == 64
    assert counts.min() > 12
    assert counts.max() < 52


def test_the_whole_result_chooses():
    before = chosen(range(1000))
    assert chosen(range(1000)) == before
    others = [
        chosen(range(1000), result(nats=np.nextafter(100.0, 101.0))), chosen(range(1000), result("bpb|method:exact")),
        chosen(range(1000), model="n"), chosen(range(1000), data="e"),
    ]  # fmt: skip
    assert all(len(set(other) & set(before)) < 12 for other in others)


def test_a_draw_is_asked_for_without_the_tokens_behind_its_masks(repository):
    corpus = load_shards([repository / "fixtures" / "corpora" / "tiny_val_000000.bin"], vocab_size=512)
    windows = end_to_end([16] * 6, begin=1)
    source = DrawSource(corpus, windows, LogLinear())
    rates, nats = np.array([0.3, 0.9, 0.5, 0.7]), np.arange(4) + 10.0
    at = np.array([5, 0, 3, 5])
    plan = DrawPlan(at, np.arange(4), rates, rates, np.ones(4))
    tables = []
    for index in (0, 1):
        made = source.prepare(plan, RandomStreams(index), np.arange(4))
        tables.append((DrawTable(plan, made.num_masked, nats + 10 * index, made.control), RandomStreams(index)))
    asked = AskedDraws(source, 512, tables)
    assert asked.window.tolist() == [5, 0, 3, 5, 5, 0, 3, 5]
    for index in range(8):
        (question,) = asked.questions(index, np.random.default_rng(0))
        which = index % 4
        x0 = corpus.read(*(windows.starts[at[which]] + np.array([0, 16])))
        masked = source.prepare(plan, tables[index // 4][1], np.array([which])).masked[0].numpy()
        assert question.tokens.tolist() == np.where(masked, 512, x0).tolist()
        assert question.positions.tolist() == np.flatnonzero(masked).tolist()
        assert question.targets.tolist() == x0[masked].tolist()
        assert question.paid.all()
        assert question.level[1] == pytest.approx(1.0 - rates[which])
        assert question.nats == 10.0 + which + 10 * (index // 4)
        assert question.what == f"window {at[which]} at mask rate {rates[which]:.4f}"


TOKENS = np.array([5, 3, 8, 1, 7, 2, 9, 4, 6, 0])


class Text:
    """As much of a corpus as is read."""

    def read(self, start, stop):
        return TOKENS[start:stop].copy()


def test_a_span_is_asked_for_whole_and_cut_behind_one_token():
    spans = Spans(np.array([0, 1]), np.array([1, 5]), np.array([5, 8]))
    asked = AskedSpans(Text(), spans, np.arange(7) + 0.5)
    assert asked.window.tolist() == [0, 1]
    cuts = set()
    for seed in range(20):
        whole, alone = asked.questions(1, np.random.default_rng(seed))
        assert whole.tokens.tolist() == TOKENS[1:7].tolist()
        assert whole.positions.tolist() == [3, 4, 5]
        assert whole.targets.tolist() == TOKENS[5:8].tolist()
        assert whole.paid.all()
        assert (whole.nats, whole.level, whole.what) == (4.5 + 5.5 + 6.5, None, "span 1")
        cut = int(alone.nats - 4.5)
        cuts.add(cut)
        assert alone.what == f"token {cut} of span 1 without the text behind it"
        assert alone.tokens.tolist() == TOKENS[1 : 5 + cut].tolist()
        assert alone.positions.tolist() == [3 + cut]
        assert alone.targets.tolist() == [TOKENS[5 + cut]]
        assert alone.paid.tolist() == [True]
    assert cuts == {0, 1, 2}


@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("order", ["left-to-right", "random", "confidence", "entropy", "margin"])
def test_a_step_is_asked_for_with_what_was_revealed_before_it(order, context):
    spans = Spans(np.array([0, 4 - context]), np.array([0, 4]), np.array([4, 10]))
    steps, nats = np.array([0, 0, 1, 1, 2, 0, 1, 0, 2, 1]), 0.5 + np.arange(10)
    rule = ChainRule(LogLinear(), RandomStreams(0), order, 2)
    asked = AskedSteps(Text(), spans, rule, SimpleNamespace(mask_token_id=99), nats, steps)
    assert asked.window.tolist() == [0, 1]
    seen = set()
    for seed in range(30):
        (question,) = asked.questions(1, np.random.default_rng(seed))
        step = int(question.what.split()[1])
        seen.add(step)
        own, x0 = np.append(np.full(context, -1), steps[4:]), TOKENS[4 - context : 10]
        assert question.what == f"step {step} of window 1"
        assert question.tokens.tolist() == [99 if at >= step else token for at, token in zip(own, x0, strict=True)]
        assert question.positions.tolist() == [place for place in range(context + 6) if own[place] >= step]
        assert question.targets.tolist() == x0[question.positions].tolist()
        assert question.paid.tolist() == [own[place] == step for place in question.positions]
        assert question.nats == nats[4:][own[context:] == step].sum()
        assert question.order == (order if order in {"confidence", "entropy", "margin"} else None)
        assert question.level[1] == pytest.approx(1.0 - rule.schedule.max_mask_rate * len(question.positions) / 6)
    assert seen == {0, 1, 2}


class Levelled:
    """Costs that tell the rate they were asked at, and how many tokens were visible."""

    vocab_size, mask_token_id, context_length, time_conditioned = 512, 512, 16, True

    def logits(self, xt, level):
        assert xt.shape == (2, 8)
        assert torch.equal(xt[0], xt[1])
        seen = (xt[:, :, None] == torch.arange(512)).float()
        return seen.sum(1, keepdim=True).expand(-1, 8, -1) * level.t.float()[:, None, None]


def test_masks_of_an_enumeration_are_asked_here_in_two_rows_first(repository):
    corpus = load_shards([repository / "fixtures" / "corpora" / "tiny_val_000000.bin"], vocab_size=512)
    windows, schedule = end_to_end([8] * 3), LogLinear(0.2)
    asked = AskedMasks(corpus, windows, Levelled(), schedule, torch.device("cpu"))
    assert asked.window.tolist() == [i % 3 for i in range(32)]
    generator, rates = np.random.default_rng(0), []
    for index in range(32):
        (question,) = asked.questions(index, generator)
        x0 = corpus.read(8 * (index % 3), 8 * (index % 3) + 8)
        masked = question.tokens == 512
        assert masked.any()
        assert question.what == f"a mask of window {index % 3}"
        assert question.tokens.tolist() == np.where(masked, 512, x0).tolist()
        assert question.positions.tolist() == np.flatnonzero(masked).tolist()
        assert question.targets.tolist() == x0[masked].tolist()
        assert question.paid.all()
        rates.append(1.0 - question.level[1])
        assert schedule.min_mask_rate <= rates[-1] <= schedule.max_mask_rate
        again = schedule.level_at(torch.tensor([rates[-1]], dtype=torch.float64))
        rows = [torch.from_numpy(np.stack([part] * 2)) for part in (x0.astype(np.int64), masked)]
        both = NoiseLevel(*(part.expand(2) for part in (again.t, again.alpha_t, again.dalpha_t)))
        assert question.nats == pytest.approx(float(masked_nll(Levelled(), rows[0], rows[1], both)[0]), rel=1e-6)
    assert min(rates) < 0.2
    assert max(rates) > 0.6


@pytest.mark.parametrize(("name", "off"), [("num_masked", 1), ("control", 1e-6), ("control", float("nan"))])
def test_a_draw_is_divided_by_its_own_mask_and_controlled_by_it(repository, name, off):
    """A device may have made them; the network is asked for the cost alone."""
    corpus = load_shards([repository / "fixtures" / "corpora" / "tiny_val_000000.bin"], vocab_size=512)
    source = DrawSource(corpus, end_to_end([16] * 6, begin=1), LogLinear())
    rates, at = np.array([0.3, 0.9, 0.5, 0.7]), np.array([5, 0, 3, 5])
    plan = DrawPlan(at, np.arange(4), rates, rates, np.ones(4))
    made = source.prepare(plan, RandomStreams(3), np.arange(4))
    arrays = {"num_masked": made.num_masked.copy(), "control": made.control.copy()}
    arrays[name][2] += off
    asked = AskedDraws(source, 512, [(DrawTable(plan, nats=np.arange(4) + 10.0, **arrays), RandomStreams(3))])
    for draw in (0, 1, 3):
        asked.questions(draw, np.random.default_rng(0))
    with pytest.raises(NumericsError, match=r"window 3 at mask rate 0\.5000: .*, by its seed; the kernels"):
        asked.questions(2, np.random.default_rng(0))
