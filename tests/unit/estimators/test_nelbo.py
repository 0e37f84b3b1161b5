"""The bound of a batch inside a training loop: what is drawn, what is asked, what comes back, what is refused."""

from __future__ import annotations

import inspect
import itertools
import math
import re

import numpy as np
import pytest
import torch
from torch import nn

import bpb_harness
from bpb_harness.errors import ContractError, UsageError
from bpb_harness.estimators import nelbo as inside
from bpb_harness.estimators.bound import prior_nats
from bpb_harness.schedule import parse_schedule
from tests import oracles

V, L = 3, 4
X0 = torch.tensor([[0, 1, 2, 0], [2, 2, 1, 1], [0, 0, 0, 1], [1, 2, 0, 2]])


class Net(nn.Module):
    """In float64; every logit depends on every token, on its place and, if it is told, on the rate."""

    def __init__(self, *, time_conditioned: bool = False, vocab_size: int = V, mask_token_id: int = V) -> None:
        super().__init__()
        self.vocab_size, self.mask_token_id, self.context_length = vocab_size, mask_token_id, 8
        self.time_conditioned, self.calls = time_conditioned, []
        generator = torch.Generator().manual_seed(3)
        self.embed = nn.Parameter(torch.randn(vocab_size + 1, 8, 3, generator=generator, dtype=torch.float64))
        self.out = nn.Parameter(torch.randn(3, vocab_size + 2, generator=generator, dtype=torch.float64))

    def logits(self, xt, level):
        self.calls.append((xt.clone(), level))
        places = torch.arange(xt.shape[1])
        here = self.embed[xt, places]
        hidden = (here + 0.7 * here.mean(dim=1, keepdim=True)).tanh()
        if self.time_conditioned:
            hidden = hidden * (1.0 + level.mask_rate[:, None, None])
        return hidden @ self.out


def objective(network, x, u: float) -> torch.Tensor:
    """E over Bernoulli(u) masks of the masked cross-entropies over u, from the network's logits alone."""
    total = torch.zeros((), dtype=torch.float64)
    level = oracle_level(u)
    for mask in itertools.product((False, True), repeat=len(x)):
        if any(mask):
            hidden = torch.tensor(mask)
            k = sum(mask)
            logits = network.logits(torch.where(hidden, network.mask_token_id, x)[None], level)[
                0, :, : network.vocab_size
            ]
            nats = nn.functional.cross_entropy(logits[hidden], x[hidden], reduction="sum")
            total = total + u ** (k - 1) * (1.0 - u) ** (len(x) - k) * nats
    return total


def oracle_level(u: float):
    class Level:
        mask_rate = torch.tensor([u], dtype=torch.float64)

    return Level


def nodes(name: str, num_steps: int | None) -> tuple[float, float, list[tuple[float, float]]]:
    """u_0, u_max, and rates with the length of what each stands for, over (u_0, u_max]."""
    schedule = oracles.schedule(*name)
    low, high = schedule.u_min, schedule.u_max
    if num_steps is not None:
        grid = [schedule.mask_rate(i / num_steps) for i in range(num_steps + 1)]
        return low, high, [(u, u - before) for before, u in itertools.pairwise(grid)]
    roots, weights = np.polynomial.legendre.leggauss(8)  # exact: the integrand is a polynomial
    return (
        low,
        high,
        [(low + (high - low) * (1 + r) / 2, (high - low) * w / 2) for r, w in zip(roots, weights, strict=True)],
    )


def training_objective(network, x, name, num_steps) -> torch.Tensor:
    low, high, rates = nodes(name, num_steps)
    total = sum(length * objective(network, x, u) for u, length in rates)
    if low > 0:
        total = total + low * objective(network, x, low)
    return total + (1.0 - high) * len(x) * math.log(network.vocab_size)


CASES = [
    (("loglinear",), None, False), (("loglinear", 0.2), None, False), (("cosine-md4", 0.05), None, False),
    (("cosine-mdlm", 0.01), 3, True), (("polynomial", 2.0), 4, True), (("geometric", 0.05, 5.0), 2, True),
]  # fmt: skip


@pytest.mark.parametrize(("name", "num_steps", "conditioned"), CASES, ids=str)
def test_its_expectation_and_gradient_are_those_of_the_training_objective(name, num_steps, conditioned):
    """Over all that can be drawn: each rate, each forced position, each mask. The law itself is tested below."""
    network, x = Net(time_conditioned=conditioned), X0[0, :3]
    bound = inside._bound_of(parse_schedule(oracles.schedule(*name).name), 1, num_steps)
    low, high, rates = nodes(name, num_steps)
    chances = [(u, length / high) for u, length in rates] + ([(low / 2, low / high)] if low else [])
    total = torch.as_tensor(prior_nats(bound.schedule, 3, V), dtype=torch.float64)
    masks = [mask for mask in itertools.product((False, True), repeat=3) if any(mask)]
    for u, chance in chances:
        rate = bound.mask_rate(torch.tensor([u / high - 1e-13 * (num_steps is not None)], dtype=torch.float64))
        level = bound.schedule.level_at(rate)
        for mask in masks:
            k, at = sum(mask), float(rate)
            law = k / 3 * at ** (k - 1) * (1.0 - at) ** (3 - k)
            drawn = inside.draw_nats(
                network, x[None], torch.tensor([mask]), level, torch.zeros(1, dtype=torch.int64), bound.draw_weight
            )
            total = total + chance * law * drawn[0]
    expected = training_objective(network, x, name, num_steps)
    assert float(total.detach()) == pytest.approx(float(expected.detach()), rel=1e-9)
    ours = torch.autograd.grad(total, list(network.parameters()))
    theirs = torch.autograd.grad(expected, list(network.parameters()))
    for mine, other in zip(ours, theirs, strict=True):
        assert float((mine - other).abs().max()) < 1e-9
        assert float(other.abs().max()) > 1e-3


def test_positions_are_one_in_each_part_of_a_call():
    generator = torch.Generator().manual_seed(1)
    drawn = torch.stack([inside._positions(3, 5, generator) for _ in range(400)])
    assert drawn.dtype == torch.float64
    assert bool(((drawn > 0.0) & (drawn <= 1.0)).all())
    assert torch.equal((drawn * 5).ceil().sort(dim=-1).values, torch.arange(1.0, 6.0).double().expand(400, 3, 5))


def test_what_a_row_gets():
    """Nothing of its context is masked, one target at least, and the network is told how long each context is."""

    class Told(Net):
        def logits_given(self, xt, level, context_lengths):
            self.told = context_lengths
            return self.logits(xt, level)

    network, contexts = Told(), torch.tensor([0, 3, 1, 2])
    for seed in range(20):
        bpb_harness.nelbo(network, X0, schedule="loglinear", context_lengths=contexts, seed=seed)
        xt, level = network.calls[-1]
        masked = xt == V
        assert torch.equal(network.told, contexts)
        assert torch.equal(xt[~masked], X0[~masked])
        assert not bool(masked[torch.arange(L) < contexts[:, None]].any())
        assert bool(masked.any(dim=1).all())
        assert level.t.dtype == torch.float64
    found = bpb_harness.nelbo(network, X0, schedule="loglinear[0.1]", context_lengths=[0, 3, 1, 2], seed=0)
    assert found.num_tokens.tolist() == [4, 1, 3, 2]
    assert found.prior_nats.tolist() == pytest.approx([0.1 * n * math.log(3) for n in (4, 1, 3, 2)])


def test_what_is_not_normalised_wins_nothing():
    """Rows are normalised here: scores of a row and a number of its own are those of the row, 50 nats or none."""

    class Higher(Net):
        def logits(self, xt, level):
            rows = super().logits(xt, level)
            return rows + 50.0 + rows.detach().abs().sum(dim=-1, keepdim=True)

    plain, higher = (
        bpb_harness.nelbo(network, X0, schedule="loglinear", seed=4).nats.detach() for network in (Net(), Higher())
    )
    torch.testing.assert_close(plain, higher)


@pytest.mark.parametrize("num_samples", [1, 2, 4])
def test_it_calls_so_often_and_its_parts_add_up(num_samples):
    network = Net()
    found = bpb_harness.nelbo(network, X0, schedule="cosine-md4[0.3]", num_samples=num_samples, seed=4)
    assert len(network.calls) == num_samples
    assert found.nats.dtype == torch.float64
    assert found.mask_rate.shape == found.draw_nats.shape == found.position.shape == (num_samples, 4)
    assert found.draw_nats.mean(dim=0).tolist() == pytest.approx(found.nats.tolist())
    assert sum(found.terms.values()).tolist() == pytest.approx(found.nats.tolist())
    assert found.terms["prior"].tolist() == pytest.approx([0.3 * 4 * math.log(3)] * 4)
    at_the_end = found.mask_rate <= found.bound.schedule.min_mask_rate
    assert torch.equal(found.terms["reconstruction"] > 0, at_the_end.any(dim=0))
    assert torch.equal(found.terms["diffusion"] > 0, (~at_the_end).any(dim=0))
    assert float(found.nats_per_token) == pytest.approx(float(found.nats.sum()) / 16)
    assert (found.row_stderr is None) is (num_samples == 1)
    assert float(found.stderr) > 0


def test_one_row_has_no_error_of_a_mean():
    assert math.isnan(float(bpb_harness.nelbo(Net(), X0[:1], schedule="loglinear").stderr))


def test_the_errors_by_hand():
    def of(draws, position):
        draws, position = torch.tensor(draws, dtype=torch.float64), torch.tensor(position, dtype=torch.float64)
        zero = torch.zeros(draws.shape[1], dtype=torch.float64)
        return inside.Nelbo(draws.mean(0), zero, draws, position, position, inside._bound_of(
            parse_schedule("loglinear"), 1, None), zero)  # fmt: skip

    one = of([[1.0, 5.0, 3.0]], [[0.9, 0.2, 0.5]])  # in order 5, 3, 1
    assert float(one.stderr) == pytest.approx(math.sqrt((4 + 4) / 2 / 6))
    two = of([[1.0, 5.0, 3.0], [3.0, 5.0, 1.0]], [[0.9, 0.2, 0.5], [0.1, 0.4, 0.8]])
    assert two.row_stderr.tolist() == pytest.approx([1.0, math.nan, 1.0], nan_ok=True)
    one_call = (4 + 4 + 4 + 16) / 4 / 6
    between = max(np.var([2.0, 5.0, 2.0], ddof=1) - (2.0 + 0.0 + 2.0) / 3 / 2, 0) / 3
    assert float(two.stderr) == pytest.approx(math.sqrt(one_call / 2 + between / 2))


def test_draws_that_agree_show_no_error():
    """Of few draws that met one mask, or masks of one cost, nothing says how far another mask would be."""

    class Uniform(Net):
        def logits(self, xt, level):
            return super().logits(xt, level) * 0.0

    for num_samples in (2, 5):
        found = bpb_harness.nelbo(Uniform(), X0, schedule="loglinear", num_samples=num_samples, seed=0)
        assert found.nats.tolist() == pytest.approx([4 * math.log(3)] * 4)
        assert found.row_stderr.isnan().all()
        assert found.stderr.isnan()
    one_token = bpb_harness.nelbo(Net(), X0[:, :1], schedule="loglinear", num_samples=2, seed=0)
    assert one_token.row_stderr.isnan().all()
    assert float(one_token.stderr) > 0  # rows differ
    some = bpb_harness.nelbo(Net(), X0, schedule="loglinear", num_steps=1, num_samples=2, seed=0)  # all masked, twice
    assert some.row_stderr.isnan().all()


def test_randomness_is_that_of_the_generator():
    def nats(**more) -> list[float]:
        return bpb_harness.nelbo(Net(), X0, schedule="loglinear", **more).nats.tolist()

    assert nats(seed=5) == nats(seed=5) == nats(generator=torch.Generator().manual_seed(5)) != nats(seed=6)
    state = torch.get_rng_state()
    nats(seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(8)
    first, second = nats(), nats()
    torch.manual_seed(8)
    assert (nats(), nats()) == (first, second)
    assert first != second


def test_gradients_on_request_alone():
    network = Net()
    still = bpb_harness.nelbo(network, X0, schedule="loglinear", seed=1)
    moving = bpb_harness.nelbo(network, X0, schedule="loglinear", seed=1, differentiable=True)
    assert not still.nats.requires_grad
    assert torch.equal(still.nats, moving.nats)
    assert not moving.draw_nats.requires_grad
    moving.nats_per_token.backward()
    assert all(bool(parameter.grad.any()) for parameter in network.parameters())


def test_the_mode_of_the_network_is_its_own():
    class Dropping(Net):
        def logits(self, xt, level):
            self.modes = [*getattr(self, "modes", []), self.training]
            return super().logits(xt, level)

    network = Dropping()
    for mode in (True, False):
        bpb_harness.nelbo(network.train(mode), X0, schedule="loglinear")
        assert (network.modes[-1], network.training) == (mode, mode)


class Frozen(Net):
    @torch.no_grad()
    def logits(self, xt, level):
        return super().logits(xt, level)


@pytest.mark.parametrize("network", [Frozen(), Net().requires_grad_(False)], ids=["no_grad", "frozen"])
def test_a_gradient_that_is_lost_is_said(network):
    bpb_harness.nelbo(network, X0, schedule="loglinear")
    with pytest.raises(UsageError, match=r"nelbo: differentiable=True, (Net|Frozen): got an answer without gradients"):
        bpb_harness.nelbo(network, X0, schedule="loglinear", differentiable=True)


def test_no_grad_around_the_call_is_said():
    with torch.no_grad(), pytest.raises(UsageError, match=r"got torch\.no_grad\(\) around the call"):
        bpb_harness.nelbo(Net(), X0, schedule="loglinear", differentiable=True)


class Split(Net):
    """Trunk and head are methods; ``logits`` would be another network."""

    def hidden(self, xt, level):
        return super().logits(xt, level)

    def head(self, hidden):
        return hidden * 1.0

    def logits(self, xt, level):
        raise AssertionError


class SoCalled(Net):
    """A number and a layer, called as methods of the protocols are."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head, self.logits_given = 3, nn.Linear(3, V), None


def test_protocols_are_methods():
    expected = bpb_harness.nelbo(Net(), X0, schedule="loglinear", seed=1).nats.tolist()
    for network in (Split(), SoCalled()):
        assert bpb_harness.nelbo(network, X0, schedule="loglinear", seed=1).nats.tolist() == pytest.approx(expected)


def test_a_mask_inside_the_vocabulary_and_padding_get_no_mass():
    network = Net(vocab_size=V + 1)
    inside_it = bpb_harness.nelbo(network, X0, schedule="loglinear[0.1]", seed=1)
    assert inside_it.prior_nats.tolist() == pytest.approx([0.1 * L * math.log(V)] * 4)
    with torch.no_grad():
        network.out[:, V:] += 100.0
    again = bpb_harness.nelbo(network, X0, schedule="loglinear[0.1]", seed=1)
    assert torch.equal(again.nats, inside_it.nats)


@pytest.mark.parametrize("kind", [torch.int32, torch.uint8, torch.int16])
def test_tokens_of_any_whole_type(kind):
    expected = bpb_harness.nelbo(Net(), X0, schedule="loglinear", seed=1).nats
    assert torch.equal(bpb_harness.nelbo(Net(), X0.to(kind), schedule="loglinear", seed=1).nats, expected)


def test_the_schedule_is_the_networks_own_or_passed():
    network = Net()
    network.schedule = "loglinear[0.5]"
    assert str(bpb_harness.nelbo(network, X0).bound.schedule) == "loglinear[0.5]"
    passed = bpb_harness.nelbo(network, X0, schedule=parse_schedule("cosine-md4"), num_steps=7).bound
    assert (str(passed.schedule), passed.method, passed.num_steps) == ("cosine-md4", "discrete", 7)


class Blocks(Net):
    block_size = 2


def test_targets_lie_in_one_block_of_a_network_of_blocks():
    assert len(bpb_harness.nelbo(Blocks(), X0, schedule="loglinear", context_lengths=[2, 3, 2, 3]).nats) == 4
    for contexts in (None, [2, 2, 2, 1]):
        with pytest.raises(
            UsageError, match=r"nelbo: Blocks predicts blocks of 2 tokens, .*: got . targets in several"
        ):
            bpb_harness.nelbo(Blocks(), X0, schedule="loglinear", context_lengths=contexts)


@pytest.mark.parametrize("size", [8, True, 2.0, -2])
def test_a_number_of_that_name_that_is_no_block(size):
    network = Blocks()
    network.block_size = size
    assert len(bpb_harness.nelbo(network, X0, schedule="loglinear").nats) == 4


class Overwrites(Net):
    def logits(self, xt, level):
        xt[:] = 0
        return super().logits(xt, level)


def test_an_input_that_is_overwritten_is_refused():
    with pytest.raises(ContractError, match="overwrites its input"):
        bpb_harness.nelbo(Overwrites(), X0, schedule="loglinear")


class Causal:
    vocab_size, context_length = V, 8

    def logits(self, x):
        return x


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": Causal()}, "got Causal, which has no mask_token_id, no time_conditioned, expected a Denoiser"),
        ({"model": nn.Linear(2, 2)}, "got Linear, which has no logits, no vocab_size, no context_length, no mask"),
        ({"schedule": None}, "nelbo: nothing says the noise schedule of Net; pass schedule='loglinear[0.001]', or"),
        ({"schedule": 3}, "nelbo: schedule: got int, expected a name or a NoiseSchedule"),
        ({"x0": X0.tolist()}, "nelbo: x0: got list, expected clean tokens, (B, L) of a whole type"),
        ({"x0": X0.double()}, "nelbo: x0: got (4, 4) of torch.float64, expected clean tokens"),
        ({"x0": X0.to_sparse()}, "nelbo: x0: got a tensor of layout torch.sparse_coo, expected clean tokens"),
        ({"context_lengths": torch.ones(4).long().to_sparse()}, "got 'a tensor of layout torch.sparse_coo'"),
        ({"context_lengths": torch.ones(4, device="meta").long()}, "context_lengths: got '(4,) of torch.int64', expec"),
        ({"x0": X0 > 1}, "nelbo: x0: got (4, 4) of torch.bool, expected clean tokens"),
        ({"x0": X0[0]}, "nelbo: x0: got (4,) of torch.int64, expected clean tokens"),
        ({"x0": X0[:0]}, "nelbo: x0: got (0, 4) of torch.int64, expected clean tokens"),
        ({"x0": X0[:, :0]}, "nelbo: x0: got (4, 0) of torch.int64, expected clean tokens"),
        ({"x0": torch.zeros(2, 9, dtype=torch.int64)}, "nelbo: x0: got windows of 9, expected at most 8, the net"),
        ({"x0": X0 + 1}, "nelbo: x0[0, 2]: got 3, expected a clean token, 0 .. 2 and not the mask 3"),
        ({"x0": X0 - 1}, "nelbo: x0[0, 0]: got -1, expected a clean token, 0 .. 2 and not the mask 3"),
        ({"model": Net(mask_token_id=2)}, "nelbo: x0[0, 2]: got 2, expected a clean token, 0 .. 2 and not the mask 2"),
        ({"num_samples": 0}, "nelbo: num_samples: got 0, expected a whole number, 1 or more"),
        ({"num_samples": "all"}, "nelbo: num_samples: got 'all', expected a whole number, 1 or more"),
        ({"num_steps": 0}, "nelbo: num_steps: got 0, expected a whole number, 1 or more"),
        ({"num_steps": 2.0}, "nelbo: num_steps: got 2.0, expected a whole number, 1 or more"),
        ({"context_lengths": "abcd"}, "nelbo: context_lengths: got 'abcd', expected 4 whole numbers, 0 .. 3"),
        ({"context_lengths": ["a"] * 4}, "nelbo: context_lengths: got ['a', 'a', 'a', 'a'], expected 4 whole numbers"),
        ({"context_lengths": [None] * 4}, "nelbo: context_lengths: got [None, None, None, None], expected 4 whole"),
        ({"context_lengths": [[0], [0, 1]]}, "nelbo: context_lengths: got [[0], [0, 1]], expected 4 whole numbers"),
        ({"context_lengths": torch.zeros(4, dtype=torch.complex64)}, "nelbo: context_lengths: got [0j, 0j, 0j, 0j]"),
        ({"context_lengths": [1 << 70, 0, 0, 0]}, "nelbo: context_lengths: got [1180591620717411303424, 0, 0, 0]"),
        ({"seed": "a"}, "nelbo: seed: got 'a', expected a whole number of 64 bits"),
        ({"seed": 1.5}, "nelbo: seed: got 1.5, expected a whole number of 64 bits"),
        ({"seed": True}, "nelbo: seed: got True, expected a whole number of 64 bits"),
        ({"seed": 1 << 70}, "nelbo: seed: got 1180591620717411303424, expected a whole number of 64 bits"),
        ({"generator": 3}, "nelbo: generator: got int, expected a torch.Generator; or pass seed="),
        ({"context_lengths": [0, 0, 0, 4]}, "nelbo: context_lengths: got [0, 0, 0, 4], expected 4 whole numbers, 0 .."),
        ({"context_lengths": [0, 0, 0, -1]}, "nelbo: context_lengths: got [0, 0, 0, -1], expected 4 whole numbers"),
        ({"context_lengths": [0, 0]}, "nelbo: context_lengths: got [0, 0], expected 4 whole numbers, 0 .."),
        ({"context_lengths": torch.zeros(4)}, "nelbo: context_lengths: got [0.0, 0.0, 0.0, 0.0], expected 4 w"),
        ({"seed": 1, "generator": torch.Generator()}, "nelbo: generator and seed: got both, expected one of the two"),
    ],
)  # fmt: skip
def test_what_is_not_as_it_must_be_is_named(arguments, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        bpb_harness.nelbo(**{"model": Net(), "x0": X0, "schedule": "loglinear"} | arguments)


@pytest.mark.filterwarnings("ignore")  # torch's, of what is not finished
def test_tensors_that_do_not_hold_their_numbers_one_by_one_are_named():
    of_rows = torch.nested.nested_tensor([X0[0], X0[0, :2]])
    jagged = torch.nested.nested_tensor([X0[0], X0[0, :2]], layout=torch.jagged)
    quantized = torch.quantize_per_tensor(X0.float(), 1.0, 0, torch.quint8)
    for given, seen in (
        (of_rows, "nested tensors"), (jagged, "nested tensors"), (quantized, "a tensor of quantized numbers"),
        (X0.to_sparse_csr(), "a tensor of layout torch.sparse_csr"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=f"nelbo: x0: got {seen}, expected clean tokens"):
            bpb_harness.nelbo(Net(), given, schedule="loglinear")


def test_whole_types_of_every_kind_are_taken():
    for dtype in (torch.uint8, torch.int16, torch.uint16, torch.uint32, torch.uint64):
        found = bpb_harness.nelbo(
            Net(), X0.to(dtype), schedule="loglinear", context_lengths=torch.tensor([0, 3, 1, 2]).to(dtype), seed=0
        )
        assert found.num_tokens.tolist() == [4, 1, 3, 2]


def test_an_unknown_argument_is_refused_as_python_does():
    with pytest.raises(TypeError, match="num_sample"):
        bpb_harness.nelbo(Net(), X0, num_sample=2)


def test_both_ends_of_the_call_take_the_same():
    outside, within = inspect.signature(bpb_harness.nelbo), inspect.signature(inside.nelbo)
    assert [*outside.parameters] == [*within.parameters]
    assert [each.default for each in outside.parameters.values()] == [
        each.default for each in within.parameters.values()
    ]
    for name in outside.parameters:
        assert re.search(rf"^    +{name}: ", bpb_harness.nelbo.__doc__, re.MULTILINE), name


def test_whole_numbers_of_any_type_and_schedules_that_cannot_be_hashed():
    class Unhashable(type(parse_schedule("loglinear"))):
        __hash__ = None

    given = {"seed": np.int64(3), "num_samples": np.int64(2)}
    found = bpb_harness.nelbo(Net(), X0, schedule=Unhashable(), **given)
    expected = bpb_harness.nelbo(Net(), X0, schedule="loglinear", seed=3, num_samples=2)
    assert found.nats.tolist() == expected.nats.tolist()
    assert bpb_harness.nelbo(Net(), X0, schedule="loglinear", seed=-1).nats.isfinite().all()
