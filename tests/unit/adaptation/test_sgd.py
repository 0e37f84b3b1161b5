"""The harness's own loop against torch's optimiser, and what it leaves behind."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from bpb_harness.adaptation import sgd
from bpb_harness.adaptation.learner import learner_of, make_learner
from bpb_harness.adaptation.settings import AdaptationSettings
from bpb_harness.adaptation.sgd import SgdAdaptation
from bpb_harness.errors import InputError, NumericsError, UsageError
from bpb_harness.estimators.nelbo import nelbo
from bpb_harness.schedule import LogLinear
from tests.threads_as_processes import run_together

CPU, V, L = torch.device("cpu"), 11, 6


class Causal(nn.Module):
    """Sees the token and the mean of those before it."""

    vocab_size, context_length = V, L

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.emb, self.out = nn.Embedding(V, 5), nn.Linear(5, V)
        self.frozen = nn.Parameter(torch.tensor(1.5), requires_grad=False)
        self.unused = nn.Parameter(torch.ones(2))
        self.register_buffer("scale", torch.tensor(0.7))

    def logits(self, x):
        h = self.emb(x)
        seen = h.cumsum(1) / torch.arange(1, x.shape[1] + 1)[None, :, None]
        return self.out(torch.tanh(h + seen * self.scale) * self.frozen)


class Masked(nn.Module):
    vocab_size, mask_token_id, context_length, time_conditioned = V, V, L, False

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.emb, self.out = nn.Embedding(V + 1, 5), nn.Linear(5, V)

    def logits(self, xt, level):
        h = self.emb(xt)
        return self.out(torch.tanh(h + h.mean(dim=1, keepdim=True)))


def learner(model, *, processes=None, window_length=L, chunk_tokens=1000, **settings):
    return make_learner(
        model, AdaptationSettings("sgd", chunk_tokens, **settings), device=CPU, window_length=window_length,
        schedule=LogLinear() if hasattr(model, "mask_token_id") else None, processes=processes,
    )  # fmt: skip


def tokens(count, seed=0):
    return torch.randint(V, (count,), generator=torch.Generator().manual_seed(seed))


def weights(model):
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def torch_loop(model, chunks, *, lr, momentum, epochs, batch, clip):
    """The same by torch's own optimiser; a frozen parameter learns too."""
    for weight in model.parameters():
        weight.requires_grad_(True)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)
    for index, chunk in enumerate(chunks):
        for group in optimizer.param_groups:
            group["lr"] = lr * (1 + math.cos(math.pi * index / len(chunks))) / 2  # the last is not learnt
        count = (len(chunk) - 1) // L
        x, y = chunk[:-1][: count * L].view(count, L), chunk[1:][: count * L].view(count, L)
        for _ in range(epochs):
            for first in range(0, count, batch):
                optimizer.zero_grad()
                logits = model.logits(x[first : first + batch])
                functional.cross_entropy(logits.flatten(0, 1), y[first : first + batch].flatten()).backward()
                nn.utils.clip_grad_norm_(model.parameters(), clip)
                optimizer.step()
    return weights(model)


@pytest.mark.parametrize(
    ("epochs", "batch", "clip", "momentum"), [(1, 100, math.inf, 0.0), (3, 4, 0.05, 0.9), (2, 3, 1e3, 0.5)]
)
def test_it_steps_as_torch_does(epochs, batch, clip, momentum, monkeypatch):
    monkeypatch.setattr(sgd, "_TOKENS_OF_MICRO_BATCH", 2 * (L + 1))  # two windows are looked at together
    chunks, model = [tokens(70), tokens(65, 1), tokens(70, 2)], Causal()
    own = learner(model, learning_rate=0.5, momentum=momentum, epochs=epochs, batch_windows=batch, largest_norm=clip)
    for index, chunk in enumerate(chunks):
        own.learn(chunk, index, len(chunks) + 1)
    expected = torch_loop(Causal(), chunks, lr=0.5, momentum=momentum, epochs=epochs, batch=batch, clip=clip)
    before = weights(Causal())
    for name, value in weights(model).items():
        assert torch.allclose(value, expected[name], rtol=0, atol=2e-6), name
        assert name == "unused" or not torch.equal(value, before[name]), name


class _Tied(nn.Module):
    """Its output layer is its embedding."""

    vocab_size, context_length = V, L

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.emb, self.out = nn.Embedding(V, 5), nn.Linear(5, V)
        self.out.weight = self.emb.weight

    def logits(self, x):
        return self.out(torch.tanh(self.emb(x)))


class _Parts:
    """The same, an object that keeps two modules apart."""

    vocab_size, context_length = V, L

    def __init__(self) -> None:
        whole = _Tied()
        self.emb, self.out = whole.emb, whole.out

    logits = _Tied.logits


def test_a_weight_that_two_modules_share_takes_one_step():
    whole, parts = _Tied(), _Parts()
    for model in (whole, parts):
        own = learner(model, learning_rate=0.5, momentum=0.9, epochs=2, batch_windows=3, largest_norm=0.3)
        own.learn(tokens(70), 0, 2)
    assert parts.out.weight is parts.emb.weight
    assert not torch.equal(whole.emb.weight, _Tied().emb.weight)
    assert torch.equal(parts.emb.weight, whole.emb.weight)
    assert torch.equal(parts.out.bias, whole.out.bias)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_all_processes_step_as_one_does_to_the_last_bit(monkeypatch, count):
    """Of seven micro-batches, added in their order."""
    monkeypatch.setattr(sgd, "_TOKENS_OF_MICRO_BATCH", 2 * (L + 1))
    alone, chunk, asked = Causal(), tokens(14 * L + 1), []
    found = SgdAdaptation._gradient_of

    def loud(self, windows, num_targets, address):
        """The second micro-batch's and the sixth's cancel each other, and what was added in between is lost."""
        asked.append(address)
        gradients = found(self, windows, num_targets, address)
        added = {2: 2.0**60, 10: -(2.0**60)}.get(int(address.rpartition("/")[2]), 0.0)
        return [None if gradient is None else gradient + added for gradient in gradients]

    monkeypatch.setattr(SgdAdaptation, "_gradient_of", loud)
    settings = {"epochs": 1, "learning_rate": 0.5, "batch_windows": 14}
    learner(alone, **settings).learn(chunk, 0, 2)
    assert len(asked) == 7
    networks = [Causal() for _ in range(count)]

    def learn(processes):
        learner(networks[processes.rank], processes=processes, **settings).learn(chunk, 0, 2)

    run_together(monkeypatch, count, learn)
    assert sorted(asked[7:]) == sorted(asked[:7])  # each by one process
    for network in networks:
        for name, value in weights(alone).items():
            assert torch.equal(value, weights(network)[name]), name


def test_gradients_of_micro_batches_are_added_in_float64(monkeypatch):
    """Two that cancel each other leave the others as they are; float32 would lose what is added in between."""
    monkeypatch.setattr(sgd, "_TOKENS_OF_MICRO_BATCH", 2 * (L + 1))
    found, seen = SgdAdaptation._gradient_of, []
    for size in (2.0**30, 0.0):
        signs = {2: size, 10: -size}

        def loud(self, windows, num_targets, address, signs=signs):
            gradients = found(self, windows, num_targets, address)
            added = signs.get(int(address.rpartition("/")[2]))
            if added is None:
                return gradients
            return [None if each is None else torch.full_like(each, added) for each in gradients]

        monkeypatch.setattr(SgdAdaptation, "_gradient_of", loud)
        network = Causal()
        learner(network, epochs=1, learning_rate=0.5, batch_windows=14).learn(tokens(14 * L + 1), 0, 2)
        seen.append(weights(network))
    assert not torch.equal(seen[1]["emb.weight"], weights(Causal())["emb.weight"])
    for name, value in seen[1].items():
        torch.testing.assert_close(seen[0][name], value, rtol=1e-5, atol=1e-6)


def test_a_masked_network_lowers_its_own_bound_on_masks_that_every_step_draws_anew(monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "bpb_harness.adaptation.loss.nelbo", lambda *args, **more: drawn.append(more["seed"]) or nelbo(*args, **more)
    )
    monkeypatch.setattr(sgd, "_TOKENS_OF_MICRO_BATCH", 2 * L)
    model, chunk = Masked(), tokens(120) % 3
    before = float(nelbo(model, chunk.view(-1, L), schedule="loglinear", num_samples=200, seed=0).nats_per_token)
    own = learner(model, learning_rate=0.5, epochs=8, batch_windows=5, momentum=0.5)
    own.learn(chunk, 0, 3)
    after = float(nelbo(model, chunk.view(-1, L), schedule="loglinear", num_samples=200, seed=0).nats_per_token)
    assert before - after > 0.5
    assert len(set(drawn)) == len(drawn) == 8 * 4 * 3  # batches of five windows, two of which are looked at together
    one_chunk = set(drawn)
    own.learn(chunk, 1, 3)
    assert not one_chunk & set(drawn[len(one_chunk) :])
    other = Masked()
    learner(other, learning_rate=0.5, epochs=8, batch_windows=5, momentum=0.5).learn(chunk, 0, 3)
    own.undo()
    learner(model, learning_rate=0.5, epochs=8, batch_windows=5, momentum=0.5).learn(chunk, 0, 3)
    assert all(torch.equal(value, weights(other)[name]) for name, value in weights(model).items())


def test_undone_it_is_what_it_was_to_the_last_bit():
    model = Causal()
    before, trained = weights(model), {name: each.requires_grad for name, each in model.named_parameters()}
    own = learner(model, learning_rate=1.0)
    own.learn(tokens(70), 0, 3)
    assert not torch.equal(weights(model)["out.weight"], before["out.weight"])
    assert {name: each.requires_grad for name, each in model.named_parameters()} == trained
    own.undo()
    assert all(torch.equal(value, before[name]) for name, value in weights(model).items())
    own.learn(tokens(70), 0, 3)  # with no momentum of before
    again = Causal()
    learner(again, learning_rate=1.0).learn(tokens(70), 0, 3)
    assert all(torch.equal(value, weights(again)[name]) for name, value in weights(model).items())


def test_it_goes_on_from_a_state_to_the_same_bits():
    one, other = Causal(), Causal()
    first = learner(one, learning_rate=0.5)
    first.learn(tokens(70), 0, 3)
    kept = first.state()
    first.learn(tokens(70, 1), 1, 3)
    second = learner(other, learning_rate=0.5)
    second.load_state(kept)
    second.learn(tokens(70, 1), 1, 3)
    assert all(torch.equal(value, weights(other)[name]) for name, value in weights(one).items())


@pytest.mark.parametrize("fault", ["missing", "shape", "dtype", "more"])
def test_a_state_of_another_network_is_refused(fault):
    own = learner(Causal())
    state, name = own.state(), "weight/out.weight"
    if fault == "missing":
        del state[name]
    elif fault == "more":
        state["weight/other"] = torch.zeros(1)
    else:
        state[name] = state[name][:2] if fault == "shape" else state[name].double()
    with pytest.raises(InputError, match="weight/other" if fault == "more" else name):
        own.load_state(state)


def test_a_gradient_that_is_no_number_is_named_with_its_chunk():
    model = Causal()
    with torch.no_grad():
        model.emb.weight[:, 0] = math.nan
    with pytest.raises(NumericsError, match=r"adapting to chunk 4: the gradient's norm: got (nan|inf)"):
        learner(model).learn(tokens(70), 4, 9)


def test_networks_that_cannot_learn_so_are_refused():
    class Plain:
        vocab_size, context_length = V, L

        def logits(self, x):
            return torch.zeros(*x.shape, V)

    class Detached(Causal):
        def logits(self, x):
            return super().logits(x).detach()

    class Blocks(Masked):
        block_size = 2

    with pytest.raises(UsageError, match="no torch module with parameters"):
        learner(Plain())
    with pytest.raises(UsageError, match="record no gradients"):
        learner(Detached()).rehearse(3)
    with pytest.raises(UsageError, match="predicts blocks"):
        learner(Blocks())
    with pytest.raises(UsageError, match=rf"--ttt-chunk: got 5, expected {L} or more"):
        learner(Causal(), chunk_tokens=L - 1)
    with pytest.raises(UsageError, match="without a method adapt"):
        make_learner(Causal(), AdaptationSettings("own", 9), device=CPU, window_length=L, schedule=None)


def test_a_rehearsal_changes_nothing_and_names_what_learning_does_not_reach():
    class HalfDetached(Causal):
        def logits(self, x):
            return self.out(self.emb(x).detach())

    before, trained = weights(HalfDetached()), [each.requires_grad for each in HalfDetached().parameters()]
    for model, names in ((HalfDetached(), ["frozen", "unused", "emb.weight"]), (Causal(), ["unused"])):
        assert sorted(learner(model).rehearse(3)) == sorted(names)
        assert all(torch.equal(value, before[name]) for name, value in weights(model).items())
        assert [each.requires_grad for each in model.parameters()] == trained
        assert all(each.grad is None for each in model.parameters())
    assert learner(Masked()).rehearse(3) == []


def test_a_network_that_fails_where_gradients_are_asked_for_is_refused_in_a_line():
    class InPlace(Causal):
        def logits(self, x):
            h = self.emb(x).sigmoid()
            squared = h.square()
            h += 1.0
            return self.out(squared)

    with pytest.raises(UsageError, match="--ttt sgd: the network has no gradient: got RuntimeError: one of the var"):
        learner(InPlace()).rehearse(3)
    with torch.inference_mode():
        made = Causal()
    with pytest.raises(UsageError, match="parameters that were made in inference mode"):
        learner(made)


@pytest.mark.parametrize("kept_in", ["attribute", "buffer", "dict", "list", "tuple"])
def test_what_a_network_keeps_of_a_call_in_inference_mode_does_not_keep_it_from_learning(kept_in):
    class Caches(Causal):
        """As rotary tables are kept."""

        def __init__(self):
            super().__init__()
            self.kept = ()
            self.register_buffer("table", None, persistent=False)

        def logits(self, x):
            if self.table is None and isinstance(self.kept, tuple) and not self.kept:
                angles = torch.arange(x.shape[1]).float().cos()[:, None]
                if kept_in == "buffer":
                    self.table = angles
                else:
                    self.kept = {
                        "attribute": angles, "dict": {6: (angles, 0)}, "list": [[angles]], "tuple": (0, (angles,))
                    }[kept_in]  # fmt: skip
            kept = self.table if kept_in == "buffer" else self.kept
            while not isinstance(kept, torch.Tensor):
                kept = kept[6] if isinstance(kept, dict) else next(each for each in kept if not isinstance(each, int))
            return self.out(self.emb(x) * kept)

    def learnt(model):
        learner(model, learning_rate=0.5).learn(tokens(70), 0, 2)
        return weights(model)

    asked, expected = Caches(), learnt(Caches())
    with torch.inference_mode():
        asked.logits(tokens(L)[None])
    assert all(torch.equal(value, expected[name]) for name, value in learnt(asked).items())


def test_the_network_s_own_method_gets_a_copy_and_may_record_gradients():
    got = []

    class Own(Causal):
        def adapt(self, chunk):
            assert torch.is_grad_enabled()
            got.append(chunk.clone())
            chunk.zero_()

    with torch.inference_mode():
        given = tokens(9)
        own = make_learner(Own(), AdaptationSettings("own", 9), device=CPU, window_length=L, schedule=None)
        own.learn(given, 0, 2)
    assert torch.equal(got[0], given)
    assert given.any()
    assert not own.can_undo


def test_what_a_network_keeps_of_a_call_does_not_keep_its_own_method_from_learning():
    class Own(Causal):
        def adapt(self, chunk):
            (self.emb(chunk) * self.kept).sum().backward()

    model = Own()
    with torch.inference_mode():
        model.kept = torch.ones(1)
    make_learner(model, AdaptationSettings("own", 9), device=CPU, window_length=L, schedule=None).learn(tokens(9), 0, 2)
    assert model.emb.weight.grad.any()


def test_what_the_network_s_own_method_raises_is_named():
    class Own(Causal):
        def adapt(self, chunk):
            raise KeyError("lost")

    own = make_learner(Own(), AdaptationSettings("own", 9), device=CPU, window_length=L, schedule=None)
    with pytest.raises(UsageError, match=r"adapt\(tokens\) failed at chunk 3: got KeyError: 'lost'"):
        own.learn(tokens(9), 3, 5)


def test_a_learner_of_plain_values_is_the_same():
    plain = {
        "settings": AdaptationSettings("sgd", 100, learning_rate=0.3).to_plain(), "window_length": L,
        "schedule": "loglinear", "num_steps": None, "seed": 7,
    }  # fmt: skip
    one, other = Masked(), Masked()
    learner_of(plain, one, CPU).learn(tokens(60), 0, 2)
    make_learner(
        other, AdaptationSettings("sgd", 100, learning_rate=0.3), device=CPU, window_length=L, schedule=LogLinear(),
        seed=7,
    ).learn(tokens(60), 0, 2)  # fmt: skip
    assert all(torch.equal(value, weights(other)[name]) for name, value in weights(one).items())
    third = Masked()
    learner_of({**plain, "seed": 8}, third, CPU).learn(tokens(60), 0, 2)
    assert not torch.equal(weights(third)["out.weight"], weights(one)["out.weight"])
