"""The testing kit: its interface, its messages, and its own mathematics against the oracles."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bpb_harness.errors import UsageError
from bpb_harness.schedule import SCHEDULES, parse_schedule
from bpb_harness.testing import (
    FALSE_ALARM_RATE,
    assert_code_length,
    assert_elbo,
    assert_loss_weight,
    check_code_length,
    check_elbo,
    check_loss_weight,
)
from bpb_harness.testing.evidence import combine, evidence_too_high, evidence_too_low
from bpb_harness.testing.formula import bound, mean_excess_of_independent_times, time_nodes
from bpb_harness.testing.probes import ArbitraryProbe, CountProbe, count_groups, make_probes
from fixtures.adversarial.estimators.correct import any_order, fixed_count, independent_times
from tests.oracles import Conditionals, Markov, continuous_bound, schedule, t_step_bound

# --- check_code_length ---------------------------------------------------------------------------------------------


def test_an_exact_code_wastes_nothing() -> None:
    model = Markov.random(3, seed=1)
    report = assert_code_length(lambda x: model.nats(tuple(x)) / math.log(2), vocab_size=3, length=5)
    assert report.ok
    assert report.kraft_sum == pytest.approx(1.0, abs=1e-12)
    assert report.num_sequences == 3**5
    assert "nothing is wasted" in report.message


def test_a_wasteful_code_is_told_what_it_wastes() -> None:
    report = check_code_length(lambda x: 3.0 * len(x), vocab_size=2, length=3)
    assert report.ok
    assert report.kraft_sum == pytest.approx(2.0**3 / 2.0**9)
    assert "6 bits a text could be saved" in report.message


def test_kraft_is_violated_by_a_hair() -> None:
    exact = 3 * math.log2(3)
    assert check_code_length(lambda x: exact - 1e-6, vocab_size=3, length=3).ok
    report = check_code_length(lambda x: exact - 1e-3, vocab_size=3, length=3)
    assert not report.ok
    assert report.kraft_sum == pytest.approx(2**1e-3)
    with pytest.raises(AssertionError, match="NO CODE LENGTH") as caught:
        assert_code_length(lambda x: exact - 1e-3, vocab_size=3, length=3)
    assert "0.001 bits too few" in str(caught.value)


def test_one_free_text_breaks_kraft() -> None:
    free = check_code_length(lambda x: 0.0 if x.sum() == 0 else 5.0, vocab_size=2, length=4)
    assert not free.ok
    assert "[0, 0, 0, 0]" in free.message


def test_impossible_texts_cost_infinitely_much() -> None:
    assert check_code_length(lambda x: 0.0 if x.sum() == 0 else math.inf, vocab_size=2, length=4).kraft_sum == 1.0
    assert check_code_length(lambda x: math.inf, vocab_size=2, length=2).kraft_sum == 0.0
    assert check_code_length(lambda x: -5000.0, vocab_size=2, length=2).kraft_sum == math.inf


def test_a_score_may_not_change_its_mind() -> None:
    rng = np.random.default_rng(0)
    report = check_code_length(lambda x: 10.0 + rng.random(), vocab_size=2, length=3)
    assert not report.ok
    assert "not deterministic" in report.message


def test_a_score_cannot_change_the_text() -> None:
    def vandal(x: np.ndarray) -> float:
        bits = 3.0 + x.sum()
        x[:] = 0
        return float(bits)

    report = check_code_length(vandal, vocab_size=2, length=3)
    assert report.ok, report.message
    assert report.kraft_sum == pytest.approx(8 * 2.0**-3 * 0.75**3)


@pytest.mark.parametrize(("vocab_size", "length"), [(0, 3), (3, 0), (1000, 3)])
def test_too_many_texts(vocab_size: int, length: int) -> None:
    with pytest.raises(UsageError, match="texts to enumerate"):
        check_code_length(lambda x: 1.0, vocab_size=vocab_size, length=length)


def test_not_a_number_of_bits() -> None:
    with pytest.raises(UsageError, match="NaN for"):
        check_code_length(lambda x: math.nan, vocab_size=2, length=2)


# --- check_loss_weight ---------------------------------------------------------------------------------------------

WEIGHTS = {
    "loglinear": lambda t: 1 / t,
    "cosine-mdlm": lambda t: math.pi / 2 * math.sin(math.pi / 2 * t) / (2 * math.sin(math.pi / 4 * t) ** 2),
    "cosine-md4": lambda t: math.pi / 2 / torch.tan(math.pi / 2 * t),
    "polynomial": lambda t: 2 / t,
    "geometric": lambda t: (0.001 ** (1 - t) * 10**t) * math.log(1e4) / torch.expm1(0.001 ** (1 - t) * 10**t),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_right_weights_pass_by_formula(name: str) -> None:
    report = assert_loss_weight(WEIGHTS[name], name)
    assert report.max_relative_error < 1e-9
    assert report.diagnosis is None
    assert assert_loss_weight(parse_schedule(name).dmask_rate, name, form="mean").ok


@pytest.mark.parametrize(
    ("weight", "name", "form", "diagnosis"),
    [
        (lambda t: 1 / (1 - t), "loglinear", "sum", "dsigma instead"),
        (lambda t: 1 / t**2, "loglinear", "sum", "applied twice"),
        (lambda t: -1 / t, "loglinear", "sum", "negative"),
        (lambda t: 1.0, "polynomial", "sum", "no weight"),
        (lambda t: 1 / t, "cosine-md4", "sum", "1/t whatever"),
        (lambda t: 2 / t, "loglinear", "sum", "another schedule, polynomial"),
        (lambda t: 2 * t, "polynomial", "sum", "applied to their sum"),
        (lambda t: 2 / t, "polynomial", "mean", "applied to the mean"),
        (lambda t: 1 / (t + 1e-6), "loglinear", "sum", "1e-06 added"),
        (lambda t: 1 / (t + 1e-3), "loglinear", "sum", "0.001 added"),
        (lambda t: min(1 / t, 1000), "loglinear", "sum", "clipped at 1000"),
        (lambda t: 1 / t**2, "polynomial", "sum", "dalpha left out"),
        (lambda t: 1.01 / t, "loglinear", "sum", None),
        (lambda t: math.nan, "loglinear", "sum", None),
    ],
)
def test_wrong_weights_fail_and_are_named(weight, name: str, form: str, diagnosis: str | None) -> None:
    report = check_loss_weight(weight, name, form=form)
    assert not report.ok
    assert (report.diagnosis is None) if diagnosis is None else (diagnosis in report.diagnosis), report.message
    assert name in report.message
    with pytest.raises(AssertionError, match="WRONG WEIGHT"):
        assert_loss_weight(weight, name, form=form)


def test_the_worst_time_is_reported() -> None:
    report = check_loss_weight(lambda t: 1 / t if t < 0.9 else 2 / t, parse_schedule("loglinear"))
    assert report.worst_t >= 0.9
    assert report.seen == pytest.approx(2 * report.expected)
    assert report.max_relative_error == pytest.approx(1.0)


def test_unknown_form() -> None:
    with pytest.raises(UsageError, match="form"):
        check_loss_weight(lambda t: 1 / t, "loglinear", form="median")


# --- check_elbo: interface -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"vocab_size": 1},
        {"length": 1},
        {"length": 9},
        {"num_steps": 0},
        {"num_draws": 0},
        {"special_ids": (3,)},
        {"special_ids": (0, 0, 0, 0)},
        {"schedule": "cosine"},
    ],
)
def test_settings_that_cannot_be_tested(settings) -> None:
    with pytest.raises(UsageError):
        check_elbo(independent_times(), **settings)


def test_the_report_is_for_people_too() -> None:
    report = check_elbo(fixed_count, num_draws=4000)
    assert report.message.startswith("CORRECT as far as can be seen")
    assert "arbitrary conditionals" in report.message
    assert len(report.probes) == 6
    assert report.z_max == max(abs(probe.z) for probe in report.probes)
    assert report.p_value > FALSE_ALARM_RATE
    assert report.notes == ()


def test_same_seed_same_report() -> None:
    one, two = (check_elbo(fixed_count, num_draws=3100, seed=7) for _ in range(2))
    assert one == two
    assert check_elbo(fixed_count, num_draws=3100, seed=8).probes != one.probes


def test_draws_from_elsewhere_are_noted() -> None:
    def careless(denoise, x0, generator):
        return fixed_count(denoise, x0, torch.default_generator)

    report = check_elbo(careless, num_draws=3100)
    assert report.ok
    assert "not all draws come from `generator`" in report.message


def _exact(factor: float = 1.0):
    """A deterministic estimator: every order of the chain rule, averaged."""

    def estimate(denoise, x0, generator):
        batch, length = x0.shape
        nats = torch.zeros(batch, dtype=torch.float64)
        orders = list(itertools.permutations(range(length)))
        for order in orders:
            masked = torch.ones_like(x0, dtype=torch.bool)
            for position in order:
                logits = denoise(torch.where(masked, 3, x0), torch.full((batch,), masked[0].double().mean()))
                log_probs = torch.log_softmax(logits.double(), dim=-1)[:, position]
                nats -= log_probs.gather(-1, x0[:, position : position + 1]).squeeze(-1)
                masked[:, position] = False
        return nats / len(orders) * factor

    return estimate


def test_estimates_without_randomness_are_judged_exactly() -> None:
    right = check_elbo(_exact(), length=2, num_draws=1)
    assert right.verdict == "correct"
    assert right.z_max == 0.0
    assert right.ratio == pytest.approx(1.0, abs=1e-6)
    wrong = check_elbo(_exact(1.0003), length=2, num_draws=1)
    assert wrong.verdict == "wrong"
    assert wrong.p_value == 0.0
    assert wrong.z_max == math.inf


def test_mask_column_padded_by_the_estimator_is_looser() -> None:
    def padded(denoise, x0, generator):
        def with_own_column(xt, t):
            logits = denoise(xt, t)
            logits = torch.cat([logits, torch.zeros_like(logits[..., :1])], dim=-1)
            return torch.log_softmax(logits, dim=-1)

        t = 1 - torch.rand(len(x0), generator=generator, dtype=torch.float64)
        masked = torch.rand(x0.shape, generator=generator) < t.unsqueeze(-1)
        nats = -with_own_column(torch.where(masked, 3, x0), t).gather(-1, x0.unsqueeze(-1)).squeeze(-1)
        return (nats * masked).sum(-1) / t

    report = assert_elbo(padded, num_draws=3100)
    assert report.verdict == "looser"
    assert "[MASK]" in report.diagnosis
    assert report.message.startswith("LOOSER")
    with pytest.raises(AssertionError, match="LOOSER"):
        assert_elbo(padded, allow_looser=False, num_draws=3100)


@pytest.mark.parametrize(
    ("per_window", "schedule", "said"),
    [
        (False, "loglinear", "in nats per token where nats per window"),
        (False, "polynomial", "in nats per token where nats per window"),
        (True, "loglinear", "a draw that masks nothing scores nothing"),
    ],
)
def test_the_plain_mean_over_masked_tokens_is_named(per_window: bool, schedule: str, said: str) -> None:
    noise = parse_schedule(schedule)

    def mean_of_masked(denoise, x0, generator):
        t = 1 - torch.rand(len(x0), generator=generator, dtype=torch.float64)
        masked = torch.rand(x0.shape, generator=generator) < noise.mask_rate(t)[:, None]
        logits = denoise(torch.where(masked, 3, x0), t)
        nats = torch.nn.functional.cross_entropy(logits.transpose(1, 2), x0, reduction="none")
        mean = noise.dmask_rate(t) * (nats * masked).sum(1) / masked.sum(1).clamp(min=1)
        return mean * x0.shape[1] if per_window else mean

    report = check_elbo(mean_of_masked, vocab_size=3, schedule=schedule, num_draws=6200)
    assert report.verdict == "wrong"
    assert report.diagnosis is not None, report.message
    assert report.diagnosis.startswith("mean over the masked tokens of Bernoulli masks")
    assert said in report.diagnosis


def test_probabilities_handed_to_a_cross_entropy_are_named() -> None:
    def softmax_twice(denoise, x0, generator):
        return fixed_count(lambda xt, t: denoise(xt, t).softmax(-1), x0, generator)

    report = check_elbo(softmax_twice, num_draws=3100)
    assert report.verdict == "wrong"
    assert report.diagnosis is not None, report.message
    assert "softmax applied twice" in report.diagnosis


def test_one_number_for_the_batch_is_a_sum_or_a_mean_by_its_ratio() -> None:
    """B = 31 windows: the ratio is 31 or 1 within 5 %, and what it is compared to is 25 % wide."""
    right = independent_times()
    said = {}
    for name, of in (("sum", torch.Tensor.sum), ("mean", torch.Tensor.mean), ("third", lambda x: x.sum() / 10)):
        report = check_elbo(lambda *given, of=of: of(right(*given)).expand(31), size="quick")
        said[name] = report.diagnosis
        assert name == "mean" or report.verdict == "wrong"
    assert "a sum over the batch" in said["sum"]
    assert said["mean"] is None or "a mean over the batch" in said["mean"]
    assert "a sum or a mean over the batch" in said["third"]
    with pytest.raises(AssertionError, match=r"shape \(\) for 31 windows.*a sum or a mean over it"):
        assert_elbo(lambda *given: right(*given).sum(), size="quick")


def test_assert_elbo_raises_the_message() -> None:
    def halved(denoise, x0, generator):
        return 0.6 * fixed_count(denoise, x0, generator)

    with pytest.raises(AssertionError, match="none of the known mistakes fits") as caught:
        assert_elbo(halved, num_draws=3100)
    assert "0.6" in str(caught.value)
    assert "times the bound" in str(caught.value)


def test_a_small_deviation_that_all_denoisers_share_is_found() -> None:
    """Too small for any one of them: only their product sees it."""
    right = independent_times()
    report = check_elbo(lambda denoise, x0, generator: 0.93 * right(denoise, x0, generator))
    assert report.verdict == "wrong", report.message
    assert report.ratio == pytest.approx(0.93, abs=0.03)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda x0: 3.0, "returned float, not a tensor"),
        (lambda x0: torch.zeros(()), "returned shape ()"),
        (lambda x0: torch.zeros(len(x0), 4), "returned shape"),
        (lambda x0: torch.zeros(len(x0) + 1), "scores duplicates"),
        (lambda x0: torch.full((len(x0),), torch.nan), "returned nan"),
        (lambda x0: torch.full((len(x0),), torch.inf), "returned inf"),
    ],
)
def test_answers_that_are_none(answer, said: str) -> None:
    report = check_elbo(lambda denoise, x0, generator: answer(x0))
    assert report.verdict == "wrong"
    assert said in report.message
    assert report.diagnosis.startswith("contract: ")
    assert math.isnan(report.ratio)


@pytest.mark.parametrize("xt", [torch.zeros(31, 4), torch.zeros(31, 5).long(), torch.zeros(4).long(), [[0, 1]]])
def test_calls_that_are_none(xt) -> None:
    with pytest.raises(TypeError, match="xt must be an integer tensor of shape"):
        check_elbo(lambda denoise, x0, generator: denoise(xt, torch.ones(31)).sum((1, 2)))


def _calling(change_xt=lambda xt: xt, change_t=lambda t: t):
    right = independent_times()
    return lambda denoise, x0, generator: right(lambda xt, t: denoise(change_xt(xt), change_t(t)), x0, generator)


@pytest.mark.parametrize(
    ("estimate", "said"),
    [
        (_calling(change_xt=lambda xt: torch.where(xt == 3, 4, xt)), "given token 4"),
        (_calling(change_xt=lambda xt: torch.where(xt == 3, -1, xt)), "given token -1"),
        (_calling(change_xt=lambda xt: torch.where(xt == 3, 0, xt)), "real data token"),
        (_calling(change_xt=lambda xt: xt.roll(1, dims=0)), "real data token"),
        (_calling(change_t=lambda t: None), "not told the time"),
        (_calling(change_t=lambda t: t[:2]), "given 2 times for 31 rows"),
        (_calling(change_t=lambda t: -torch.log1p(-t)), "outside [0, 1]"),
    ],
)
def test_breaches_of_the_contract(estimate, said: str) -> None:
    report = check_elbo(estimate, time_conditioned=True, num_draws=3100)
    assert report.verdict == "wrong"
    assert said in report.diagnosis


def test_the_time_may_be_left_out_where_nobody_asks() -> None:
    assert check_elbo(_calling(change_t=lambda t: None), num_draws=3100).ok
    assert check_elbo(_calling(change_t=lambda t: 0.5), num_draws=3100).ok


def test_several_draws_a_window_and_partial_batches() -> None:
    right = independent_times()

    def in_two_parts(denoise, x0, generator):
        return torch.cat([right(denoise, part, generator) for part in x0.split(16)])

    assert check_elbo(in_two_parts, num_draws=3100).ok


def test_any_order_needs_no_time() -> None:
    report = check_elbo(any_order, num_draws=3100)
    assert report.verdict == "correct"


# --- check_elbo: mathematics ---------------------------------------------------------------------------------------


class _ProbeBeliefs(Conditionals):
    """A probe's denoiser, for the plain-Python oracles."""

    def __init__(self, probe, times) -> None:
        self.probe, self.vocab_size, self.times = probe, probe.vocab_size, times

    def log_probs(self, window, u):
        xt = torch.tensor([[self.vocab_size if token is None else token for token in window]])
        t = torch.tensor([self.times(u)], dtype=torch.float64)
        return torch.log_softmax(self.probe.clean_logits(xt, t), dim=-1)[0].tolist()


@pytest.mark.parametrize(
    "s", [schedule("loglinear"), schedule("cosine-mdlm", 0.05), schedule("geometric", 0.05, 3.0)], ids=lambda s: s.name
)
@pytest.mark.parametrize("time_conditioned", [False, True])
def test_exact_means_equal_the_oracles(s, time_conditioned: bool) -> None:
    x0 = torch.tensor([[2, 0, 1]])
    probe = ArbitraryProbe.random(
        x0, 3, mask_column=False, time_conditioned=time_conditioned, generator=torch.Generator().manual_seed(1)
    )
    beliefs, product = _ProbeBeliefs(probe, s.time), parse_schedule(s.name)
    exact = float(bound(product, 3, 3, None).mean_nats(probe)[0])
    assert exact == pytest.approx(continuous_bound(beliefs, (2, 0, 1), s).total, rel=1e-9)
    exact = float(bound(product, 3, 3, 5).mean_nats(probe)[0])
    assert exact == pytest.approx(t_step_bound(beliefs, (2, 0, 1), s, 5).total, rel=1e-9)


def test_costs_are_those_of_each_windows_own_text() -> None:
    """Where all windows hold the same text, one stands for them."""
    x0 = torch.tensor([[2, 0, 1], [2, 0, 1], [0, 0, 1]])
    probe = ArbitraryProbe.random(
        x0, 3, mask_column=False, time_conditioned=False, generator=torch.Generator().manual_seed(1)
    )
    costs = probe.masked_costs(np.zeros(1))
    for row in range(3):
        alone = replace(probe, x0=x0[row : row + 1]).masked_costs(np.zeros(1))
        np.testing.assert_allclose(costs[:, row : row + 1], alone, rtol=1e-12)
    np.testing.assert_allclose(replace(probe, x0=x0[:2]).masked_costs(np.zeros(1)), costs[:, :2], rtol=1e-12)
    assert (costs[0, 2, 1:] != costs[0, 1, 1:]).any()


def test_each_count_probe_reads_off_one_coefficient() -> None:
    """Each number of masked tokens contributes the same to the bound: ln V a window, so L of them L ln V."""
    x0 = torch.tensor([[2, 0, 1, 1]])
    right = bound(parse_schedule("loglinear"), 4, 3, None)
    for count in range(1, 5):
        probe = CountProbe("", x0, 3, mask_column=False, counts=frozenset([count]))
        assert float(right.mean_nats(probe)[0]) == pytest.approx(math.log(3), rel=1e-9)


def test_probes_are_wrong_about_visible_tokens() -> None:
    generator = torch.Generator().manual_seed(0)
    for probe in make_probes(
        vocab_size=3, length=4, batch=5, special_ids=(), time_conditioned=False, mask_column=False, generator=generator
    ):
        logits = probe.logits(probe.x0, torch.zeros(5))
        if isinstance(probe, CountProbe):
            assert not bool((logits.argmax(dim=-1) == probe.x0).any())


@pytest.mark.parametrize("length", range(2, 9))
def test_count_groups_cover_every_count_once(length: int) -> None:
    groups = count_groups(length)
    assert sorted(count for group in groups for count in group) == list(range(1, length + 1))
    assert groups[0] == [1]
    assert groups[-1] == [length]


def test_special_ids_begin_every_window() -> None:
    probes = make_probes(
        vocab_size=4, length=4, batch=5, special_ids=(3, 1), time_conditioned=False, mask_column=False,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    for probe in probes:
        assert probe.x0[:, :2].tolist() == [[3, 1]] * 5


def test_time_nodes_integrate_singular_weights() -> None:
    times, weights = time_nodes()
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert (weights / np.sqrt(times)).sum() == pytest.approx(2.0, rel=1e-5)
    assert (weights / np.sqrt(1 - times)).sum() == pytest.approx(2.0, rel=1e-5)


def test_excess_of_independent_times_is_the_tail_integral() -> None:
    """C = ln V if one token of L is masked, X = C / t: E[max(X - s, 0)] -> L ln(V)^2 / (2 s) for large s."""
    x0 = torch.tensor([[2, 0, 1, 1]])
    probe = CountProbe("", x0, 3, mask_column=False, counts=frozenset([1]))
    excess = mean_excess_of_independent_times(probe, parse_schedule("loglinear"), None, np.array([1000.0]))
    assert float(excess[0]) == pytest.approx(4 * math.log(3) ** 2 / 2000.0, rel=0.01)
    assert mean_excess_of_independent_times(probe, parse_schedule("loglinear"), 8, np.array([1000.0])) == [0.0]
    least = mean_excess_of_independent_times(probe, parse_schedule("loglinear"), 8, np.array([0.0]))
    assert least == pytest.approx(bound(parse_schedule("loglinear"), 4, 3, 8).mean_nats(probe))


# --- evidence ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["high", "low"])
def test_e_values_have_mean_one(side: str) -> None:
    """By enumeration of all outcomes of ten draws that are 4 with chance 1/4, else 0."""
    total = np.zeros((9, 1))
    for outcome in itertools.product((0.0, 4.0), repeat=10):
        values = np.array(outcome)[:, None]
        chance = 0.25 ** np.count_nonzero(values) * 0.75 ** (10 - np.count_nonzero(values))
        if side == "high":
            log_e = evidence_too_high(values, np.array([1.0]))
        else:
            log_e = evidence_too_low(values, np.array([1.0]), np.array([4.0]), np.array([0.0]))
        total += chance * np.exp(log_e)
    assert total == pytest.approx(np.ones((9, 1)), abs=1e-12)


def test_low_evidence_grants_what_is_lost_above_the_top() -> None:
    """Values 0 or 100 with mean 1, cut at 4: nothing may be concluded if 0.96 is granted, much if nothing is."""
    values = np.zeros((200, 1))
    granted = evidence_too_low(values, np.array([1.0]), np.array([4.0]), np.array([0.96]))
    assert combine([granted]) < 2.0
    assert combine([evidence_too_low(values, np.array([1.0]), np.array([4.0]), np.array([0.0]))]) > 50.0


def test_negative_estimates_do_not_make_evidence_negative() -> None:
    values = np.random.default_rng(0).normal(1.0, 3.0, size=(500, 1))
    evidence = evidence_too_high(values, np.array([1.0]))
    assert np.isfinite(evidence).all()
    assert combine([evidence]) < math.log(1 / FALSE_ALARM_RATE)


def test_combine_is_an_average() -> None:
    assert combine([np.log([[1.0, 3.0]]), np.log([[6.0]])]) == pytest.approx(math.log(4.0))
    assert combine([np.array([[-np.inf]])]) == -math.inf
    assert combine([np.array([[math.inf]]), np.log([[6.0]])]) == math.inf


def test_the_kit_imports_without_pytest(repository: Path) -> None:
    """No module of the package asks for it, wherever in the file."""
    asking = re.compile(r"^\s*(?:import|from) +_?pytest\b", re.MULTILINE)
    assert asking.search("    import pytest")
    texts = {path: path.read_text("utf-8") for path in (repository / "bpb_harness").rglob("*.py")}
    assert len(texts) > 300
    assert [str(path) for path, text in texts.items() if asking.search(text)] == []
