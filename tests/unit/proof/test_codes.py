"""Codes of tiny models: their lengths against bounds by enumeration, and the tokens that come back."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bpb_harness.errors import InputError, NumericsError
from bpb_harness.estimators import AutoregressiveCode, ChainRule, ContinuousBound, DiscreteBound, ExactBound
from bpb_harness.estimators.orders import SCORES
from bpb_harness.proof.batches import Batches, split
from bpb_harness.proof.codes import code_of
from bpb_harness.proof.range_coder import Decoder, Encoder
from bpb_harness.proof.symbols import Known, Unknown
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import parse_schedule
from bpb_harness.text.spans import Spans
from tests.oracles.bounds import continuous_bound, t_step_bound
from tests.oracles.conditionals import Markov, Table, Uniform
from tests.oracles.denoisers import MarkovCausalLM, OracleDenoiser
from tests.oracles.given import Given
from tests.oracles.schedules import schedule as oracle_schedule

CPU = torch.device("cpu")
SCHEDULES = [("loglinear", ()), ("loglinear", (0.3,)), ("cosine-md4", (0.15,))]
TEXT = (2, 0, 1, 1)
NUM_SEEDS = 64


def of_one_shape(count: int, length: int, context: int = 0, windows=None) -> Batches:
    fill = np.full(count, length)
    windows = np.arange(count) if windows is None else windows
    return Batches(windows, fill * 0 + context, fill, [np.arange(count)[: count // 2], np.arange(count)[count // 2 :]])


def priced(estimator, model, texts, *, context=(), streams=RandomStreams(7), draw=0, encoder=None):  # noqa: B008
    """Nats of each text."""
    batches, nats = of_one_shape(len(texts), len(texts[0]), len(context)), np.zeros(len(texts))
    ends = []

    def known(places):
        ends.append((places, Known(np.array([texts[place] for place in places]), encoder)))
        return ends[-1][1]

    given = [np.array(context, dtype=np.int64)] * len(texts)
    found = batches.follow(code_of(estimator, streams, draw), model, given, known, device=CPU)
    assert np.array_equal(np.stack(found), texts)
    for places, end in ends:
        nats[places] = end.nats
    return nats


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("num_steps", [1, 3, 8, None])
@pytest.mark.parametrize(("name", "parameters"), SCHEDULES)
def test_the_mean_over_the_shared_randomness_is_the_bound(name, parameters, num_steps, told):
    """64 draws against the enumeration, within 4 errors: 24 cases, false alarm about 1 in 400 once, seeds fixed."""
    model, noise = Table(3, seed=1, time_conditioned=told), oracle_schedule(name, *parameters)
    schedule = parse_schedule(noise.name)
    denoiser = OracleDenoiser(model, mask_token_id=1)
    if num_steps is None:
        estimator, bound = ContinuousBound(schedule), continuous_bound(model, TEXT, noise).total
    else:
        estimator, bound = DiscreteBound(schedule, 2, num_steps), t_step_bound(model, TEXT, noise, num_steps).total
    nats = priced(estimator, denoiser, np.tile(denoiser.encode(TEXT).numpy(), (NUM_SEEDS, 1)))
    error = nats.std(ddof=1) / math.sqrt(NUM_SEEDS)
    assert abs(nats.mean() - bound) <= 4 * error + 1e-9
    assert error > 0 or num_steps == 1


def test_a_context_is_seen_and_not_paid_for():
    model, noise = Table(3, seed=3), oracle_schedule("loglinear")
    denoiser, context = OracleDenoiser(model), (1, 2)
    estimator = DiscreteBound(parse_schedule("loglinear"), 2, 4)
    nats = priced(estimator, denoiser, np.tile(np.array(TEXT), (NUM_SEEDS, 1)), context=context)
    bound = t_step_bound(Given(model, context), TEXT, noise, 4).total
    assert abs(nats.mean() - bound) <= 4 * nats.std(ddof=1) / math.sqrt(NUM_SEEDS)


def test_draws_differ_and_each_is_reproducible():
    denoiser, estimator = OracleDenoiser(Table(3, seed=1)), ContinuousBound(parse_schedule("loglinear"))
    texts = np.tile(np.array(TEXT), (4, 1))
    first, again, other = (priced(estimator, denoiser, texts, draw=draw) for draw in (0, 0, 1))
    assert np.array_equal(first, again)
    assert (first != other).all()
    assert len(set(first)) == 4


@pytest.mark.parametrize("order", ["left-to-right", "random", *SCORES])
@pytest.mark.parametrize("tokens_per_step", [1, 3])
def test_a_chain_costs_its_score(order, tokens_per_step):
    denoiser = OracleDenoiser(Table(3, seed=5, time_conditioned=True), mask_token_id=0)
    rule = ChainRule(parse_schedule("cosine-md4[0.1]"), RandomStreams(3), order, tokens_per_step)
    texts = np.array([[1, 2, 3, 3, 1], [3, 3, 2, 1, 1], [2, 2, 1, 3, 2]])
    context = (2, 1)
    whole = torch.from_numpy(np.hstack([np.tile(context, (3, 1)), texts]))
    expected = rule.token_nats(denoiser, whole, np.arange(3), context_length=2).sum(dim=1).numpy()
    assert priced(rule, denoiser, texts, context=context) == pytest.approx(expected, abs=1e-9)


def test_an_autoregressive_code_costs_its_score():
    model = MarkovCausalLM(Markov.random(4, seed=2))
    texts = np.array([[1, 0, 3], [2, 2, 0]])
    whole = torch.from_numpy(np.hstack([[[1], [1]], texts]))
    expected = AutoregressiveCode().token_nats(model, whole[:, :-1], whole[:, 1:]).sum(dim=1).numpy()
    assert priced(AutoregressiveCode(), model, texts, context=(1,)) == pytest.approx(expected, abs=1e-6)


ESTIMATORS = {
    "discrete": DiscreteBound(parse_schedule("cosine-md4[0.2]"), 2, 3),
    "continuous": ContinuousBound(parse_schedule("loglinear[0.2]")),
    "chain": ChainRule(parse_schedule("loglinear"), RandomStreams(0), "entropy"),
    "random": ChainRule(parse_schedule("loglinear"), RandomStreams(0), "random", 2),
}


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_the_bits_give_the_tokens_back(kind):
    denoiser = OracleDenoiser(Table(5, seed=8, time_conditioned=True), mask_token_id=2, padding=3)
    texts = np.random.default_rng(0).choice([0, 1, 3, 4, 5], (30, 6))
    encoder, context = Encoder(), (1, 0)
    nats = priced(ESTIMATORS[kind], denoiser, texts, context=context, encoder=encoder)
    bits = encoder.finish()
    assert nats.sum() / math.log(2) - 1 <= 8 * len(bits) <= 1.001 * nats.sum() / math.log(2) + 64
    reader = Decoder(bits)
    ends = []

    def ending(places):
        ends.append(Unknown(reader, len(places)))
        return ends[-1]

    given = [np.array(context)] * 30
    code = code_of(ESTIMATORS[kind], RandomStreams(7))
    found = of_one_shape(30, 6, 2).follow(code, denoiser, given, ending, device=CPU)
    reader.finish()
    assert np.array_equal(np.stack(found), texts)
    assert np.concatenate([end.nats for end in ends]) == pytest.approx(nats)


def test_the_loop_never_holds_a_token_before_it_is_paid_for():
    """What the network is shown while the encoder runs hides every target that has no price yet."""

    class Watching(OracleDenoiser):
        def logits(self, xt, level):
            paid = sum(end.count for end in ends)
            assert int((xt != self.mask_token_id).sum()) <= paid
            return super().logits(xt, level)

    class Counting(Known):
        count = 0

        def exchange(self, log_probs, rows, targets):
            self.count += len(rows)
            return super().exchange(log_probs, rows, targets)

    for estimator in ESTIMATORS.values():
        ends: list[Counting] = []
        denoiser = Watching(Table(3, seed=1))

        def known(places, ends=ends):
            ends.append(object.__new__(Counting))
            Known.__init__(ends[-1], np.tile(np.array(TEXT), (len(places), 1)))
            return ends[-1]

        batches = Batches(np.arange(2), np.zeros(2, int), np.full(2, 4), [np.arange(2)])
        empty = [np.zeros(0, dtype=np.int64)] * 2
        batches.follow(code_of(estimator, RandomStreams(0)), denoiser, empty, known, device=CPU)
        assert ends[0].count == 8


def test_steps_that_reveal_nothing_make_no_call():
    denoiser = OracleDenoiser(Table(3, seed=1))
    priced(DiscreteBound(parse_schedule("loglinear"), 2, 100_000), denoiser, np.array([TEXT, TEXT]))
    assert denoiser.num_calls <= 2 * len(TEXT)
    assert code_of(ESTIMATORS["discrete"], RandomStreams(0)).num_calls(128) == 4
    assert code_of(ESTIMATORS["random"], RandomStreams(0)).num_calls(5) == 3


def test_a_prediction_that_is_no_number_is_refused():
    known = Known(np.array([[0]]))
    with pytest.raises(NumericsError, match="got nan"):
        known.exchange(np.array([[np.nan, 0.0]]), np.array([0]), np.array([0]))


@pytest.mark.parametrize("num_steps", [3, None])
def test_a_bound_that_was_enumerated_has_the_code_of_the_bound(num_steps):
    schedule, texts = parse_schedule("loglinear"), np.tile(np.array(TEXT), (4, 1))
    sampled = ContinuousBound(schedule) if num_steps is None else DiscreteBound(schedule, 2, num_steps)
    denoiser = OracleDenoiser(Table(3, seed=1, time_conditioned=True))
    exact = ExactBound(schedule, num_steps)
    assert np.array_equal(priced(exact, denoiser, texts), priced(sampled, denoiser, texts))
    assert code_of(exact, RandomStreams(0)).is_drawn


def test_batches_keep_the_logits_of_a_call_small():
    spans = Spans(np.array([0, 2, 6, 8]), np.array([0, 4, 6, 10]), np.array([4, 8, 10, 14]))
    batches = Batches.of(np.array([3, 5, 6, 9]), spans, batch_tokens=100, vocab_size=10)
    assert [rows.tolist() for rows in batches.batches] == [[1, 3], [0, 2]]
    alone = Batches.of(np.array([3, 5, 6, 9]), spans, batch_tokens=100, vocab_size=1 << 27)
    assert [rows.tolist() for rows in alone.batches] == [[1], [3], [0], [2]]


def test_spans_that_the_network_does_not_take_are_refused():
    denoiser = OracleDenoiser(Table(3, seed=1), context_length=5)
    of_one_shape(2, 4, 1).require_fits(denoiser)
    with pytest.raises(InputError, match="got 6 tokens, expected at most 5"):
        of_one_shape(2, 4, 2).require_fits(denoiser)
    model = MarkovCausalLM(Markov.random(4, seed=2))
    with pytest.raises(InputError, match="no token given"):
        of_one_shape(2, 4, 0).require_fits(model)
    denoiser.vocab_size = 1 << 31
    with pytest.raises(InputError, match="logits of"):
        of_one_shape(2, 4, 1).require_fits(denoiser)


def test_arrays_are_cut_in_order():
    assert [part.tolist() for part in split(np.arange(5), [2, 0, 3])] == [[0, 1], [], [2, 3, 4]]


@pytest.mark.parametrize("num_steps", [3, None])
def test_the_network_is_told_the_rate_of_what_it_is_asked_for(num_steps):
    told = []

    class Told(OracleDenoiser):
        def logits(self, xt, level):
            told.append((int((xt == self.mask_token_id).sum()), float(level.mask_rate[0])))
            return super().logits(xt, level)

    schedule, streams = parse_schedule("cosine-md4[0.1]"), RandomStreams(7)
    estimator = ContinuousBound(schedule) if num_steps is None else DiscreteBound(schedule, 2, num_steps)
    texts = np.random.default_rng(3).integers(0, 3, (1, 12))
    batches = Batches(np.array([5]), np.zeros(1, dtype=np.int64), np.array([12]), [np.zeros(1, dtype=np.int64)])
    empty = [np.zeros(0, dtype=np.int64)]
    batches.follow(code_of(estimator, streams), Told(Uniform(3)), empty, lambda _: Known(texts), device=CPU)
    tau = np.sort(streams.reveal_rates(5, 12))
    nodes = np.array([]) if num_steps is None else schedule.grid(num_steps).numpy()
    expected: dict[int, float] = {}
    for rate in tau[tau <= schedule.max_mask_rate][::-1]:
        node = max(rate, schedule.min_mask_rate) if num_steps is None else nodes[nodes >= rate][0]
        expected.setdefault(float(node), int((tau <= node).sum()))
    assert [count for count, _ in told] == list(expected.values())
    assert [rate for _, rate in told] == pytest.approx(list(expected))
    assert len(told) >= 2


class _Wide:
    """A made network of a large vocabulary and two numbers a token: nearly sure of one, or of none."""

    vocab_size = mask_token_id = 150_000
    context_length, time_conditioned = 8, True

    def __init__(self) -> None:
        random = torch.Generator().manual_seed(0)
        self.embedding = torch.randn(self.vocab_size + 1, 2, generator=random)
        self.head = torch.randn(2, self.vocab_size, generator=random)

    def logits(self, xt, level):
        sums = self.embedding[xt].cumsum(1) + self.embedding[xt].flip(1).cumsum(1).flip(1)
        return 0.2 * (sums * (1.0 + level.mask_rate[:, None, None].to(sums.dtype))) @ self.head


@pytest.mark.parametrize("kind", ["discrete", "random"])
def test_a_vocabulary_of_150_000_through_a_whole_network(kind):
    """Within 0.1 % and 64 bits of -log2 p, and of what another range coder makes of the same predictions."""
    denoiser, texts = _Wide(), np.random.default_rng(1).integers(0, 150_000, (2, 8))
    predictions = []

    class Kept(Known):
        def exchange(self, log_probs, rows, targets):
            predictions.append((super().exchange(log_probs, rows, targets), log_probs))
            return predictions[-1][0]

    encoder, batches = Encoder(), Batches(np.arange(2), np.zeros(2, int), np.full(2, 8), [np.arange(2)])
    ends, empty = [], [np.zeros(0, dtype=np.int64)] * 2

    def known(places):
        ends.append(Kept(texts[places], encoder))
        return ends[-1]

    code = code_of(ESTIMATORS[kind], RandomStreams(0))
    batches.follow(code, denoiser, empty, known, device=CPU)
    bits, ideal = 8 * len(encoder.finish()), ends[0].nats.sum() / math.log(2)
    assert ideal - 1 <= bits <= 1.001 * ideal + 64
    reader = Decoder(encoder.finish())
    found = batches.follow(code, denoiser, empty, lambda rows: Unknown(reader, len(rows)), device=CPU)
    reader.finish()
    assert np.array_equal(np.stack(found), texts)
    constriction = pytest.importorskip("constriction")
    other, family = constriction.stream.queue.RangeEncoder(), constriction.stream.model.Categorical(perfect=False)
    for tokens, log_probs in predictions:
        other.encode(tokens.astype(np.int32), family, np.exp(log_probs).astype(np.float32))
    # It quantises to 24 bits whatever V is, and ends in words of 32 bits.
    assert abs(bits - other.num_bits()) <= 64 + 16 * -math.log2(1 - 150_000 / 2**24)
