"""A compiled network is compared with the plain one before it scores, and is not used where it says something else."""

from __future__ import annotations

import math
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bpb_harness import denoiser
from bpb_harness.evaluation import runner
from bpb_harness.evaluation.batches import DrawPlan, DrawSource
from bpb_harness.evaluation.runner import MaskedNllRunner
from bpb_harness.networks.layers import autocast
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import LogLinear
from bpb_harness.text.corpus import load_shards
from tests.spans import end_to_end


class Small:
    """Logits of a position alone, on windows of 16 tokens."""

    vocab_size, mask_token_id, context_length, time_conditioned = 512, 512, 16, False

    def __init__(self):
        self.table = torch.cos(torch.arange(16.0)[:, None] + torch.arange(512.0))

    def logits(self, xt, level):
        return self.table[: xt.shape[1]].expand(*xt.shape, -1)


@pytest.fixture(scope="module")
def prepared(repository):
    corpus = load_shards([repository / "fixtures" / "corpora" / "tiny_val_000000.bin"], vocab_size=512)
    source = DrawSource(corpus, end_to_end([16] * 6), LogLinear())
    rates = np.linspace(0.2, 0.9, 6)
    plan = DrawPlan(np.arange(6), np.zeros(6, np.int64), rates, rates, np.ones(6))
    return source.prepare(plan, RandomStreams(0), np.arange(6))


def compiled(monkeypatch, prepared, times, dtype=torch.float32, error=None):
    """What a runner says and gives whose compiler makes a head that costs that many times as much."""
    made = []

    def compile_(function):
        made.append(function)
        if function.__name__ != "_packed_by_rows":
            return function

        def other(states, targets):
            if error is not None:
                raise error
            return function(states, targets) * times

        return other

    # The real module takes seconds to import, and nothing here is traced.
    monkeypatch.setitem(sys.modules, "torch._dynamo", SimpleNamespace(maybe_mark_dynamic=lambda *_: None))
    monkeypatch.setattr(runner, "_same_programs_everywhere", nullcontext)
    monkeypatch.setattr(torch, "compile", compile_)
    monkeypatch.setattr(runner, "give_up_specialising", lambda: False)
    one = MaskedNllRunner(Small(), torch.device("cpu"), dtype=dtype, compiled=True)
    one.warm_up(prepared)
    assert len(made) == 2
    return [(remark.code, remark.message) for remark in one.remarks], one.row_nats(prepared)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-4), (torch.bfloat16, 5e-3)])
def test_a_compiled_network_may_differ_by_rounding_in_either_direction(monkeypatch, prepared, dtype, most, sign):
    plain = MaskedNllRunner(Small(), torch.device("cpu")).row_nats(prepared)
    ((code, message),), nats = compiled(monkeypatch, prepared, 1.0 + sign * 0.9 * most, dtype)
    assert code == "compiled"
    assert message.endswith(f"differs from the plain network by {0.9 * most:.1e}, relative")
    assert torch.allclose(nats, plain * (1.0 + sign * 0.9 * most), rtol=1e-6)
    for far in (1.1 * most, 0.5):
        ((code, message),), nats = compiled(monkeypatch, prepared, 1.0 + sign * far, dtype)
        assert code == "not-compiled"
        total = float(plain[:4].sum())
        assert message == (
            "the network runs uncompiled, which is slower: "
            f"it gave {total * (1.0 + sign * far):.6g} nats where the plain network gives {total:.6g}"
        )
        assert torch.equal(nats, plain)


@pytest.mark.parametrize("times", [math.nan, math.inf, 0.0, -1.0])
def test_what_is_no_cost_is_not_compiled(monkeypatch, prepared, times):
    said, nats = compiled(monkeypatch, prepared, times)
    assert [code for code, _ in said] == ["not-compiled"]
    assert torch.equal(nats, MaskedNllRunner(Small(), torch.device("cpu")).row_nats(prepared))


def test_a_compiler_that_fails_is_named_and_left(monkeypatch, prepared):
    said, nats = compiled(monkeypatch, prepared, 1.0, error=RuntimeError("no such kernel\nand more"))
    assert said == [
        ("not-compiled", "the network runs uncompiled, which is slower: RuntimeError: no such kernel"),
    ]
    assert torch.equal(nats, MaskedNllRunner(Small(), torch.device("cpu")).row_nats(prepared))


def test_no_order_of_a_sum_is_chosen_by_the_clock(monkeypatch, prepared):
    """Two processes that time the same kernels may find another one faster."""
    config = pytest.importorskip("torch._inductor.config")
    if not hasattr(config, "deterministic"):
        pytest.skip("a torch that cannot be told")
    seen = []
    monkeypatch.setattr(MaskedNllRunner, "_compile", lambda *_: seen.append(config.deterministic))
    MaskedNllRunner(Small(), torch.device("cpu"), compiled=True).warm_up(prepared)
    assert (seen, config.deterministic) == ([True], False)


class _Refuses(type):
    def __instancecheck__(cls, instance):
        raise AssertionError(f"{cls.__name__} is looked up where Python 3.12's way to do so would be compiled")


@pytest.mark.parametrize("kind", ["ContextDenoiser", "PickingDenoiser", "FactoredDenoiser", "FactoredBlockDenoiser"])
def test_no_protocol_is_looked_up_in_what_is_compiled(monkeypatch, prepared, kind):
    one = MaskedNllRunner(Small(), torch.device("cpu"))
    monkeypatch.setattr(denoiser, kind, _Refuses(kind, (), {}))
    ask, pack = one._plain[False]
    nats = pack(ask(prepared.x0, prepared.level, prepared.positions), prepared.x0.flatten()[prepared.positions])
    assert nats.shape == prepared.positions.shape


class Fused:
    """The fused form of :class:`Small`: states are the positions, and its head costs so much more."""

    def __init__(self, network, more=0.0, fails_at=()):
        self.network, self.more, self.fails_at, self.calls = network, more, fails_at, 0

    def hidden_at(self, xt, level, positions):
        self.calls += 1
        if self.calls in self.fails_at:
            raise RuntimeError("no such kernel")
        return self.network.logits(xt, level).flatten(0, 1)[positions]

    def head(self, hidden):
        shifted = hidden.clone()
        shifted[:, 0] += self.more  # a token takes mass from all others
        return shifted

    def programs(self):
        return []


@pytest.fixture
def fused(monkeypatch, prepared):
    """Makes a runner of a network that has a fused form, and says what it was asked."""
    monkeypatch.setattr(MaskedNllRunner, "_compile", lambda *_: None)  # nothing to fall back to but the plain network
    monkeypatch.setattr(runner, "_same_programs_everywhere", nullcontext)

    def make(**faults):
        network = Small()
        form = Fused(network, **faults)
        asked = []
        monkeypatch.setattr(runner, "fused_form", lambda given, **kind: asked.append((given, kind)) or form)
        one = MaskedNllRunner(network, torch.device("cpu"), dtype=torch.bfloat16, compiled=True)
        one.warm_up(prepared)
        assert asked == [(network, {"device": torch.device("cpu"), "dtype": torch.bfloat16, "length": 16})]
        return one, form

    return make


def test_a_fused_form_scores_in_place_of_the_compiler(fused, prepared):
    one, form = fused()
    plain = MaskedNllRunner(Small(), torch.device("cpu")).row_nats(prepared)
    before = form.calls
    torch.testing.assert_close(one.row_nats(prepared), plain, rtol=1e-6, atol=0)
    assert form.calls == before + 1
    ((code, message),) = [(remark.code, remark.message) for remark in one.remarks]
    assert code == "fused"
    assert "differs from the plain network by" in message


def test_one_row_and_another_length_go_through_the_plain_network(fused, prepared):
    one, form = fused()
    before = form.calls
    one.row_nats(prepared.part(0, 1))
    assert form.calls == before
    assert one.runs_alone(prepared.part(0, 1))
    assert not one.runs_alone(prepared)


def test_a_fused_form_that_says_something_else_is_not_believed(fused, prepared):
    one, _ = fused(more=20.0)
    assert [remark.code for remark in one.remarks] == ["not-fused"]
    assert "where the plain network gives" in one.remarks[0].message
    plain = MaskedNllRunner(Small(), torch.device("cpu")).row_nats(prepared)
    assert torch.equal(one.row_nats(prepared), plain)


def test_a_network_whose_fused_form_is_not_believed_is_compiled(monkeypatch, prepared):
    form = Fused(Small(), more=20.0)
    monkeypatch.setattr(runner, "fused_form", lambda *_, **__: form)
    monkeypatch.setattr(runner, "_same_programs_everywhere", nullcontext)
    monkeypatch.setitem(sys.modules, "torch._dynamo", SimpleNamespace(maybe_mark_dynamic=lambda *_: None))
    monkeypatch.setattr(torch, "compile", lambda function: function)
    one = MaskedNllRunner(Small(), torch.device("cpu"), dtype=torch.bfloat16, compiled=True)
    one.warm_up(prepared)
    assert [remark.code for remark in one.remarks] == ["not-fused", "compiled"]
    asked = form.calls
    plain = MaskedNllRunner(Small(), torch.device("cpu")).row_nats(prepared)
    torch.testing.assert_close(one.row_nats(prepared), plain, rtol=1e-6, atol=0)
    assert form.calls == asked


def test_a_fused_form_that_fails_is_named_and_left(fused, prepared):
    plain = MaskedNllRunner(Small(), torch.device("cpu")).row_nats(prepared)
    for call in (1, 2):  # before scoring, and in the midst of it
        one, _ = fused(fails_at=(call,))
        assert torch.equal(one.row_nats(prepared), plain)
        *_, last = one.remarks
        assert last.code == "not-fused"
        assert last.message.endswith("RuntimeError: no such kernel")


def test_blocks_have_no_fused_form(monkeypatch):
    monkeypatch.setattr(runner, "fused_form", lambda *_, **__: pytest.fail("asked"))
    assert not MaskedNllRunner(Small(), torch.device("cpu"), compiled=True)._fuse((16, True))


class Casting(Small):
    """A network that autocasts in every call, and says so."""

    def __init__(self, *, says_so):
        super().__init__()
        self.autocasts, self.weight = says_so, torch.eye(512)

    def logits(self, xt, level):
        with autocast(xt.device, torch.bfloat16):
            return super().logits(xt, level) @ self.weight


@pytest.mark.parametrize("says_so", [True, False])
def test_autocast_is_entered_outside_of_what_is_compiled(monkeypatch, prepared, says_so):
    """A graph that enters it is kept by no cache of torch's."""
    graphs = []
    compile_ = torch.compile

    def keep(graph, _):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", lambda function: compile_(function, backend=keep))
    one = MaskedNllRunner(Casting(says_so=says_so), torch.device("cpu"), dtype=torch.bfloat16, compiled=True)
    one.warm_up(prepared)
    assert [remark.code for remark in one.remarks] == ["compiled"]
    names = [getattr(node.target, "__name__", "") for graph in graphs for node in graph.graph.nodes]
    assert ("_enter_autocast" in names) is not says_so
    plain = MaskedNllRunner(Casting(says_so=says_so), torch.device("cpu")).row_nats(prepared)
    assert torch.equal(one.row_nats(prepared), plain)
    torch._dynamo.reset()
