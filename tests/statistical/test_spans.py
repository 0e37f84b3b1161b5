"""Every method on every layout against enumeration: some tokens given others, with contexts and without."""

from __future__ import annotations

import itertools
import math
from functools import cache, partial
from typing import get_args

import numpy as np
import pytest
import torch

from bpb_harness.distributed import Processes
from bpb_harness.estimators import AutoregressiveCode, ChainRule, ContinuousBound, DiscreteBound, ExactBound
from bpb_harness.estimators.orders import SCORES, Order
from bpb_harness.evaluation.batches import DrawSource
from bpb_harness.evaluation.draws import plan_draws, run_draws
from bpb_harness.evaluation.layout import Layout
from bpb_harness.evaluation.runner import MaskedNllRunner
from bpb_harness.evaluation.sampled_bound import SampledBound
from bpb_harness.evaluation.span_scores import score_spans
from bpb_harness.sampling.bigram import bigram_difficulty, count_bigrams
from bpb_harness.sampling.design import StratifiedDesign
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import parse_schedule
from bpb_harness.text.corpus import Corpus
from bpb_harness.text.spans import Spans, blocks, sliding, windows, within_documents
from tests.oracles import (
    Given,
    Markov,
    MarkovCausalLM,
    OracleDenoiser,
    Table,
    chain_nats,
    continuous_bound,
    ordered_nats,
    schedule,
    t_step_bound,
)
from tests.tiers import some_of

V, L, CPU = 3, 4, torch.device("cpu")
TEXT = (0, 1, 2, 2, 1, 0, 2, 1, 1, 0, 2)
DOCUMENTS = np.array([0, 5, 6])
LAYOUTS = {
    "windows": lambda n: windows(0, n, L),
    "prefix": lambda n: windows(0, n, L, unpaid_prefix=1),
    "stride": lambda n: sliding(0, n, L, 2),
    "stride of one": lambda n: sliding(0, n, L, 1),
    "blocks": lambda n: blocks(0, n, L, 2),
    "blocks behind a prefix": lambda n: blocks(0, n, L, 2, unpaid_prefix=1),
    "documents": lambda n: within_documents(DOCUMENTS, n, partial(sliding, context_length=L, stride=3)),
    "answers": lambda n: Spans(np.array([0, 5, 6]), np.array([2, 5, 9]), np.array([5, 6, 11])),
}
SCHEDULES = [("loglinear", ()), ("cosine-md4", (0.05,)), ("polynomial", (2.0, 0.01))]


def corpus_of(text):
    tokens = np.array(text)
    return Corpus("text", "0" * 64, len(tokens), _parts=(tokens,), _offsets=np.array([0, len(tokens)]))


@cache
def believed(time_conditioned):
    """The one belief of these tests: what is enumerated of it serves all of them."""
    return Table(V, seed=4, time_conditioned=time_conditioned)


@cache
def enumerated(time_conditioned, context, targets, name, parameters, num_steps):
    """The bound of some targets given a context, in nats; continuous for None."""
    bound = continuous_bound if num_steps is None else partial(t_step_bound, num_steps=num_steps)
    return bound(Given(believed(time_conditioned), context), targets, schedule(name, *parameters)).total


def truths(spans, time_conditioned, name, parameters, num_steps):
    """Of each span."""
    rows = zip(spans.context_starts.tolist(), spans.starts.tolist(), spans.ends.tolist(), strict=True)
    return [
        enumerated(time_conditioned, TEXT[context:start], TEXT[start:end], name, parameters, num_steps)
        for context, start, end in rows
    ]


def given(model, spans):
    """Each span's targets, and the model of them given its context."""
    rows = zip(spans.context_starts.tolist(), spans.starts.tolist(), spans.ends.tolist(), strict=True)
    return [(Given(model, TEXT[context:start]), TEXT[start:end]) for context, start, end in rows]


def score(estimator, model, spans, batch_tokens=64):
    return score_spans(
        estimator, model, corpus_of(TEXT), spans, device=CPU, batch_tokens=batch_tokens, processes=Processes()
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("name", "parameters"), SCHEDULES)
@pytest.mark.parametrize("time_conditioned", [False, True])
def test_exact_bounds_are_the_enumeration(layout, name, parameters, time_conditioned):
    belief, spans = believed(time_conditioned), LAYOUTS[layout](len(TEXT))
    product = parse_schedule(f"{name}{list(parameters) or ''}")
    for num_steps in [3] if time_conditioned else [None, 1, 3]:
        found = score(ExactBound(product, num_steps), OracleDenoiser(belief, context_length=5), spans).nats
        expected = truths(spans, time_conditioned, name, parameters, num_steps)
        assert found.tolist() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("layout", some_of(reversed(LAYOUTS), everyday=2))
def test_levels_are_drawn_around_the_truth(layout):
    """A told network, continuous bound: 100 levels a mask, within 5 errors; false alarm 6e-7 each."""
    belief, spans = believed(time_conditioned=True), LAYOUTS[layout](len(TEXT))
    found = score(ExactBound(parse_schedule("cosine-md4[0.05]"), None, 100), OracleDenoiser(belief), spans)
    truth = sum(truths(spans, True, "cosine-md4", (0.05,), None))
    assert abs(found.nats.sum() - truth) < 5.0 * math.sqrt(found.variance.sum()) < 0.05 * truth


WHICH = ["mc", "discrete", "discrete.all"]
# Every bound on every layout: first each layout once, with the bounds and the two networks in turn.
SAMPLED = [
    (layout, bool(i + shift + other & 1), WHICH[(i + shift) % 3])
    for other in (0, 1)
    for shift in range(3)
    for i, layout in enumerate(LAYOUTS)
]


@pytest.mark.parametrize(("layout", "time_conditioned", "which"), some_of(SAMPLED, everyday=8))
def test_sampled_bounds_hold_the_truth(layout, time_conditioned, which):
    """24 seeds, within 4.5 errors of their mean (7e-6 each); no sum depends on the batch, to 1e-12."""
    belief, spans = believed(time_conditioned), LAYOUTS[layout](len(TEXT))
    product, corpus = parse_schedule("cosine-md4[0.05]"), corpus_of(TEXT)
    bound = {
        "mc": ContinuousBound(product, 4), "discrete": DiscreteBound(product, 4, 3),
        "discrete.all": DiscreteBound(product, "all", 3),
    }[which]  # fmt: skip
    truth = sum(truths(spans, time_conditioned, "cosine-md4", (0.05,), None if which == "mc" else 3))
    counts = count_bigrams(corpus, spans)
    source = DrawSource(corpus, spans, product, bigrams=counts)
    difficulty = bigram_difficulty(corpus, spans, counts)
    layout_of = Layout(spans, len(spans), spans.lengths, False, difficulty, counts)
    runner = MaskedNllRunner(OracleDenoiser(belief, context_length=5), CPU)
    totals = []
    for seed in range(24):
        streams = RandomStreams(seed)
        design = None if bound.num_samples == "all" else StratifiedDesign(streams, difficulty, 4)
        plan = plan_draws(bound, len(spans), design)
        tables = [
            run_draws(runner, source, plan, streams, device=CPU, batch_tokens=size, keep_tokens=True)
            for size in ((64, 7) if seed < 2 else (64,))
        ]
        sampled = SampledBound(bound, layout_of, V, tables[:1])
        totals.append(sampled.nats)
        by_span = np.split(sampled.token_nats, np.cumsum(spans.lengths)[:-1])
        np.testing.assert_allclose([part.sum() for part in by_span], sampled.window_nats, rtol=1e-9)
        for other in tables[1:]:
            assert other.num_masked.tolist() == tables[0].num_masked.tolist()
            assert other.control.tolist() == pytest.approx(tables[0].control.tolist(), abs=1e-12)
            assert other.nats.tolist() == pytest.approx(tables[0].nats.tolist(), rel=1e-12)
            assert other.token_nats.tolist() == pytest.approx(tables[0].token_nats.tolist(), rel=1e-9)
    error = np.std(totals, ddof=1) / math.sqrt(len(totals))
    assert error < 0.06 * truth
    assert abs(np.mean(totals) - truth) < 4.5 * error


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("time_conditioned", [False, True])
def test_chains_are_those_of_the_targets_alone(layout, time_conditioned):
    belief, spans = believed(time_conditioned), LAYOUTS[layout](len(TEXT))
    product, streams = parse_schedule("cosine-md4[0.05]"), RandomStreams(3)
    u_max = product.max_mask_rate
    for order in get_args(Order):
        found = score(ChainRule(product, streams, order), OracleDenoiser(belief, context_length=5), spans)
        for index, (model, targets) in enumerate(given(belief, spans)):
            places = range(len(targets))
            if order == "random":
                places = streams.order(index, 0, len(targets)).tolist()
            expected = (
                ordered_nats(model, targets, order, u_max=u_max)[0]
                if order in SCORES else chain_nats(model, targets, places, u_max)
            )  # fmt: skip
            assert found.nats[index] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("order", get_args(Order))
@pytest.mark.parametrize("context", [(), (1,), (2, 0)])
def test_a_chain_is_a_code_of_the_targets(order, context):
    rule, denoiser = ChainRule(parse_schedule("loglinear"), RandomStreams(3), order), OracleDenoiser(Table(V, seed=6))
    texts = [context + targets for targets in itertools.product(range(V), repeat=3)]
    nats = rule.token_nats(denoiser, torch.tensor(texts), np.zeros(len(texts), np.int64), context_length=len(context))
    assert math.fsum(np.exp(-nats.sum(dim=-1).numpy())) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("layout", ["stride", "stride of one", "blocks"])
def test_a_perfect_model_pays_what_the_text_costs(layout):
    """Spans that partition the text: sums are the joint's own code length, by the chain rule."""
    source = Markov.random(V, seed=2)
    denoiser, spans = OracleDenoiser(source), LAYOUTS[layout](len(TEXT))
    if layout == "blocks":  # a window that starts by itself knows only the first token's distribution
        spans = blocks(0, len(TEXT) - 3, 8, 2)
    text = TEXT[: int(spans.ends[-1])]
    # What stands before a context is hidden: the chain forgets all but the last token, which is visible.
    for estimator in (
        ExactBound(parse_schedule("loglinear")),
        ChainRule(parse_schedule("loglinear"), RandomStreams(0)),
    ):
        assert score(estimator, denoiser, spans).nats.sum() == pytest.approx(source.nats(text), rel=1e-9)


def test_a_causal_model_pays_for_each_target_once():
    source, spans = Markov.random(V, seed=2), sliding(0, len(TEXT), L, 2, given=1)
    nats = score(AutoregressiveCode(), MarkovCausalLM(source), spans).token_nats
    steps = [-math.log(source.transition[a][b]) for a, b in itertools.pairwise(TEXT)]
    assert nats.tolist() == pytest.approx(steps, rel=1e-9)


@pytest.mark.parametrize("layout", some_of(["stride", "blocks", "windows", "stride of one"], everyday=1))
def test_spans_are_a_code_of_the_whole_text(layout):
    """Kraft sums over all texts of five tokens: 1 for every order of the chain, at most 1 for a bound."""
    spans, product = LAYOUTS[layout](5), parse_schedule("cosine-md4[0.05]")
    denoiser, texts = OracleDenoiser(Table(2, seed=6)), list(itertools.product(range(2), repeat=5))
    estimators = [ChainRule(product, RandomStreams(3), order) for order in get_args(Order)] + [ExactBound(product, 2)]
    for estimator in estimators:
        totals = []
        for text in texts:
            scored = score_spans(
                estimator, denoiser, corpus_of(text), spans, device=CPU, batch_tokens=64, processes=Processes()
            )
            totals.append(scored.nats.sum())
        kraft = math.fsum(np.exp(-np.array(totals)))
        if isinstance(estimator, ChainRule):
            assert kraft == pytest.approx(1.0, abs=1e-12)
        else:
            assert 0.1 < kraft <= 1.0


def test_documents_given_their_lengths_are_no_code_of_the_text():
    """A network that is shown where a document ends knows its last token: all texts of such documents cost nothing."""
    end, text = 1, (0, 0, 1, 1, 0, 1)
    starts = np.array([0, 3, 4])

    class Knows:
        vocab_size, mask_token_id, context_length, time_conditioned = 2, 2, 8, False

        def logits(self, xt, level):
            logits = torch.zeros(*xt.shape, 2, dtype=torch.float64)
            logits[:, :-1, 0] = logits[:, -1, end] = 60.0
            return logits

    spans = within_documents(starts, len(text), partial(windows, context_length=8))
    rule = ChainRule(parse_schedule("loglinear"), RandomStreams(0))
    scored = score_spans(rule, Knows(), corpus_of(text), spans, device=CPU, batch_tokens=64, processes=Processes())
    assert scored.nats.sum() < 1e-20
