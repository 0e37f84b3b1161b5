"""The training objective is the bound: checked by enumerating every mask, and by the law of what is drawn."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bpb_harness.errors import CorpusError, NumericsError
from bpb_harness.estimators.mc import ContinuousBound
from bpb_harness.networks.reference import ReferenceConfig, ReferenceTransformer
from bpb_harness.schedule import NoiseLevel, NoiseSchedule, parse_schedule
from reference.data import TokenShards, step_seed
from reference.objective import causal_objective, draw_masks, gather_masked, head_nll, mdlm_objective
from reference.optimizer import learning_rate_factor, make_optimizers
from tests.tiers import some_of

V, L = 3, 4


def random_network(**changes: object) -> ReferenceTransformer:
    shape = {"vocab_size": V, "context_length": L, "num_layers": 1, "width": 8, "num_heads": 2, "mlp_width": 8}
    network = ReferenceTransformer(ReferenceConfig(**{**shape, **changes})).double()  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.7)
        if network.time_embedding is not None:  # slow waves only: quadrature over time then converges
            network.time_embedding.inner.weight.view(-1, 2, 64)[..., 16:] = 0.0
    return network


def all_masks() -> Tensor:
    return torch.tensor(list(itertools.product([False, True], repeat=L)))


def masked_nats(network: ReferenceTransformer, x0: Tensor, masks: Tensor, level: NoiseLevel) -> Tensor:
    """C(x, M; t) of every mask, (2^L,), from full softmaxes over the V clean tokens: no code of the objective."""
    xt = torch.where(masks, V, x0)
    sigma = level.sigma if network.config.time_conditioned else None
    log_probs = torch.log_softmax(network(xt, sigma)[..., :V], dim=-1)
    at_target = log_probs.gather(-1, x0.expand(len(masks), L).unsqueeze(-1)).squeeze(-1)
    return -(at_target * masks).sum(dim=1)


def nelbo_by_quadrature(network: ReferenceTransformer, x0: Tensor, schedule: NoiseSchedule, nodes: int = 24) -> float:
    """The bound in its textbook form: weight -dalpha/(1 - alpha) in time, Bernoulli masks enumerated."""
    masks = all_masks()
    points, weights = np.polynomial.legendre.leggauss(nodes)
    total = 0.0
    for point, weight in zip(points, weights, strict=True):
        t = torch.full((len(masks),), (point + 1) / 2, dtype=torch.float64)
        level = schedule.level(t)
        u = float(level.mask_rate[0])
        num_masked = masks.sum(dim=1)
        chance = u**num_masked * (1 - u) ** (L - num_masked)
        expected = float((chance * masked_nats(network, x0, masks, level)).sum())
        total += weight / 2 * float(-level.dalpha_t[0]) / u * expected
    u_0 = schedule.min_mask_rate
    if u_0 > 0.0:
        level = schedule.level(torch.zeros(len(masks), dtype=torch.float64))
        chance = u_0 ** masks.sum(dim=1) * (1 - u_0) ** (~masks).sum(dim=1)
        total += float((chance * masked_nats(network, x0, masks, level)).sum())
    return total + (1 - schedule.max_mask_rate) * L * math.log(V)


def expected_objective(network: ReferenceTransformer, x0: Tensor, bound: ContinuousBound, nodes: int = 12) -> float:
    """What training minimises, averaged over v by quadrature and over all size-biased masks by enumeration.

    P(M) = (|M| / L) u^(|M| - 1) (1 - u)^(L - |M|): the forced position is any of M with chance 1 / L each.
    """
    masks = [mask.unsqueeze(0) for mask in all_masks() if bool(mask.any())]
    cut = bound.schedule.min_mask_rate / bound.schedule.max_mask_rate  # the objective has a kink there
    total = 0.0
    points, weights = np.polynomial.legendre.leggauss(nodes)
    for low, high in ((0.0, cut), (cut, 1.0)) if cut else ((0.0, 1.0),):
        for point, weight in zip(points, weights, strict=True):
            v = torch.tensor([low + (high - low) * (point + 1) / 2], dtype=torch.float64)
            level = bound.schedule.level_at(bound.mask_rate(v))
            u = float(level.mask_rate)
            for mask in masks:
                k = int(mask.sum())
                chance = k / L * u ** (k - 1) * (1 - u) ** (L - k)
                draw = float(mdlm_objective(network, x0, mask, level, bound))
                total += weight / 2 * (high - low) * chance * draw
    return total


@pytest.mark.parametrize(
    ("name", "time_conditioned"),
    some_of(
        [
            ("loglinear[0.1]", True),
            ("cosine-md4[0.05]", False),
            ("loglinear[0.001]", False),
            ("loglinear", False),
            ("cosine-mdlm[0.05]", True),
        ],
        everyday=2,
    ),
)
def test_expected_objective_is_the_bound(name: str, time_conditioned: bool) -> None:
    network, bound = random_network(time_conditioned=time_conditioned), ContinuousBound(parse_schedule(name), 1)
    x0 = torch.tensor([[0, 2, 1, 2]])
    with torch.no_grad():
        nelbo = nelbo_by_quadrature(network, x0, bound.schedule)
        # float32 inside the objective; quadrature is exact for the polynomial in u, close for sigma's sines
        tolerance = 1e-4 if time_conditioned else 1e-6
        assert expected_objective(network, x0, bound) == pytest.approx(nelbo / L, rel=tolerance)


def test_times_are_stratified_and_masks_size_biased() -> None:
    """20,000 windows. Each of its cells holds one v; counts are within 4 standard errors (false alarm 1e-3 in all)."""
    bound, count, length = ContinuousBound(parse_schedule("loglinear[0.001]"), 1), 20_000, 5
    masked, level, _ = draw_masks((count, length), bound, torch.Generator().manual_seed(5))
    v = level.mask_rate / 0.999
    assert ((v > 0) & (v <= 1)).all()
    assert torch.equal((v * count).ceil().long(), torch.arange(1, count + 1))
    assert bool(masked.any(dim=1).all())
    # P(|M| = k) at rate u is C(L-1, k-1) u^(k-1) (1-u)^(L-k); over u uniform on (0, 0.999), nearly 1/L each.
    num_masked = masked.sum(dim=1)
    u = level.mask_rate
    for k in range(1, length + 1):
        chance = math.comb(length - 1, k - 1) * u ** (k - 1) * (1 - u) ** (length - k)
        error = float((chance * (1 - chance)).sum().sqrt())
        assert abs(float((num_masked == k).sum()) - float(chance.sum())) < 4 * error
    for position in range(length):
        chance = 1 / length + (1 - 1 / length) * u
        error = float((chance * (1 - chance)).sum().sqrt())
        assert abs(float(masked[:, position].sum()) - float(chance.sum())) < 4 * error


def test_objective_averages_windows_not_tokens() -> None:
    network, bound = random_network(), ContinuousBound(parse_schedule("loglinear"), 1)
    x0, masked = torch.tensor([[0, 1, 2, 0], [1, 1, 0, 2]]), torch.tensor([[1, 0, 0, 0], [1, 1, 1, 0]]).bool()
    level = bound.schedule.level(torch.tensor([0.2, 0.7]))
    both = mdlm_objective(network, x0, masked, level, bound)
    alone = [mdlm_objective(network, x0[row], masked[row], level[row], bound) for row in (slice(0, 1), slice(1, 2))]
    torch.testing.assert_close(both, (alone[0] + alone[1]) / 2)


@torch.no_grad()
def test_causal_objective_is_the_mean_next_token_nll() -> None:
    network = random_network(objective="ar")
    x = torch.tensor([[0, 2, 1, 2, 0], [1, 1, 0, 0, 2]])
    nats = 0.0
    for row in x:
        for place in range(1, 5):
            log_probs = torch.log_softmax(network(row[:place].unsqueeze(0))[0, -1, :V], dim=-1)
            nats -= float(log_probs[row[place]])
    assert float(causal_objective(network, x)) == pytest.approx(nats / 8, rel=1e-6)


def test_autocast_does_not_round_the_sum_of_costs() -> None:
    """Logits are bfloat16's, as on a GPU; costs, their weights and their sum are float32."""
    generator = torch.Generator().manual_seed(3)
    head, states = nn.Linear(16, 9, bias=False), torch.randn(999, 16, generator=generator)
    targets, weights = torch.randint(9, (999,), generator=generator), torch.rand(999, generator=generator) / 999
    with torch.autocast("cpu", dtype=torch.bfloat16):
        seen = head_nll(head, states, targets, weights, 9).detach()
        logits = head(functional.rms_norm(states, (16,)))
    assert logits.dtype == torch.bfloat16
    costs = -torch.log_softmax(logits.double(), dim=-1).gather(1, targets[:, None])[:, 0]
    assert seen.dtype == torch.float32
    assert float(seen) == pytest.approx(float((costs.detach() * weights.double()).sum()), rel=1e-6)


def test_padding_columns_get_no_gradient() -> None:
    network, bound = random_network(), ContinuousBound(parse_schedule("loglinear"), 1)
    masked, level, _ = draw_masks((2, L), bound, torch.Generator().manual_seed(0))
    mdlm_objective(network, torch.zeros(2, L, dtype=torch.long), masked, level, bound).backward()  # type: ignore[no-untyped-call]
    assert network.head.weight.grad is not None
    assert bool(network.head.weight.grad[:V].any())
    assert not bool(network.head.weight.grad[V:].any())


def write_shard(path: Path, tokens: list[int]) -> Path:
    header = np.zeros(256, dtype="<i4")
    header[:3] = 20240520, 1, len(tokens)
    path.write_bytes(header.tobytes() + np.array(tokens, dtype="<u2").tobytes())
    return path


def test_windows_are_runs_of_one_shard_and_all_places_occur(tmp_path: Path) -> None:
    paths = [write_shard(tmp_path / "a.bin", list(range(0, 10))), write_shard(tmp_path / "b.bin", list(range(50, 57)))]
    shards = TokenShards(paths, window_length=4, vocab_size=60)
    assert shards.num_tokens == 17
    windows = shards.batch(seed=1, step=2, num_windows=2000)
    assert torch.equal(windows.diff(dim=1), torch.ones(2000, 3, dtype=torch.int64))
    starts, counts = windows[:, 0].unique(return_counts=True)
    assert starts.tolist() == [*range(0, 7), *range(50, 54)]
    assert counts.min() > 120  # 182 expected, standard error 13
    assert torch.equal(windows, shards.batch(seed=1, step=2, num_windows=2000))
    assert not torch.equal(windows, shards.batch(seed=1, step=3, num_windows=2000))
    assert not torch.equal(windows, shards.batch(seed=2, step=2, num_windows=2000))
    assert len({step_seed(seed, step) for seed in range(30) for step in range(30)}) == 900


def test_bad_shards_are_refused(tmp_path: Path) -> None:
    good = write_shard(tmp_path / "good.bin", [1, 2, 3, 4, 5])
    raw = good.read_bytes()
    for name, content, message in (
        ("magic", b"\x00" * 1024 + raw[1024:], "magic"),
        ("odd", raw + b"\x00", "bytes"),
        ("cut", raw[:-2], "length that its header gives"),
        ("empty", b"", "0 bytes"),
    ):
        path = tmp_path / f"{name}.bin"
        path.write_bytes(content)
        with pytest.raises(CorpusError, match=message):
            TokenShards([path], window_length=2, vocab_size=10)
    for paths, window, vocab, message in (
        ([tmp_path / "none.bin"], 2, 10, "no such file"),
        ([], 2, 10, "no data given"),
        ([good], 6, 10, "too short: got 5 tokens"),
        ([good], 2, 5, "outside the vocabulary: got 5"),
    ):
        with pytest.raises(CorpusError, match=message):
            TokenShards(paths, window_length=window, vocab_size=vocab)


def test_learning_rate_rises_stays_and_falls_to_zero() -> None:
    factors = [learning_rate_factor(step / 1000) for step in range(1001)]
    assert 0.0 < factors[0] < 0.1
    assert factors[200] == 1.0
    assert factors[1000] == 0.0
    peak = factors.index(1.0)
    assert factors[:peak] == sorted(factors[:peak])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)


@pytest.mark.parametrize("muon_lr", [0.0, 0.02])
def test_every_parameter_has_one_optimizer(muon_lr: float) -> None:
    network = random_network(time_conditioned=True)
    optimizers = make_optimizers(network, lr=1e-3, muon_lr=muon_lr, weight_decay=0.1)
    owned = [id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    assert sorted(owned) == sorted(id(parameter) for parameter in network.parameters())
    undecayed = [p for o in optimizers for g in o.param_groups if g["weight_decay"] == 0 for p in g["params"]]
    assert any(parameter is network.head.weight for parameter in undecayed)


def test_an_objective_that_is_not_finite_is_an_error() -> None:
    from reference.run import Run

    run = Run.__new__(Run)
    run.step, run._history, run._pending = 3, [1.0], [torch.tensor(float("nan"))]
    with pytest.raises(NumericsError, match="objective before step 3"):
        _ = run.history


def test_a_pattern_stands_for_its_shards(tmp_path: Path) -> None:
    for name in ("a_000000.bin", "a_000001.bin"):
        write_shard(tmp_path / name, [1, 2, 3, 4, 5])
    assert TokenShards([tmp_path / "a_*.bin"], window_length=2, vocab_size=10).num_tokens == 10


def test_masks_and_times_are_of_the_generator_alone() -> None:
    bound = ContinuousBound(parse_schedule("loglinear[0.001]"), num_samples=1)

    def drawn(seed: int, of_all: int) -> tuple[Tensor, NoiseLevel]:
        torch.manual_seed(of_all)
        return draw_masks((6, 40), bound, torch.Generator().manual_seed(seed))[:2]

    (masks, level), (again, same) = drawn(3, 1), drawn(3, 2)
    assert torch.equal(masks, again)
    assert torch.equal(level.t, same.t)
    other, _ = drawn(4, 1)
    assert not torch.equal(masks, other)


def test_a_batch_stays_on_its_device_and_is_never_asked_how_much_is_masked() -> None:
    """On a device without numbers: what was made elsewhere, or waits for a number, would fail."""
    bound = ContinuousBound(parse_schedule("loglinear[0.001]"), num_samples=1)
    masked, level, _ = draw_masks((6, 40), bound, None, "meta")  # type: ignore[arg-type]
    gathered = gather_masked(torch.zeros(6, 40, dtype=torch.int64, device="meta"), masked, capacity=256)
    tensors = [masked, level.t, gathered.positions, gathered.targets, gathered.weights, gathered.slots]
    assert {str(tensor.device) for tensor in tensors} == {"meta"}
    assert [tensor.shape[0] for tensor in tensors] == [6, 6, 256, 256, 256, 240]


def test_the_network_is_told_which_positions_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the rows of all positions, so that the gradient is a gather as well."""
    network = random_network().float()
    bound = ContinuousBound(parse_schedule("loglinear[0.001]"), num_samples=1)
    masked, level, _ = draw_masks((5, L), bound, torch.Generator().manual_seed(3))
    x0 = torch.randint(V, (5, L), generator=torch.Generator().manual_seed(4))
    asked = []
    trunk = network.trunk

    def noted(xt: Tensor, sigma: Tensor | None, positions: object) -> Tensor:
        asked.append(positions)
        return trunk(xt, sigma, positions)  # type: ignore[arg-type]

    monkeypatch.setattr(network, "trunk", noted)
    mdlm_objective(network, x0, masked, level, bound, capacity=16)
    (positions,) = asked
    expected = gather_masked(x0, masked, 16)
    assert torch.equal(positions.positions, expected.positions)  # type: ignore[attr-defined]
    assert torch.equal(positions.slots, expected.slots)  # type: ignore[attr-defined]
