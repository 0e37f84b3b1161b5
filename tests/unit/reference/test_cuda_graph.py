"""A captured step gives the gradients of a step that is launched kernel by kernel, for batches it has not seen."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from reference.cuda_graph import CapturedGradient, forget_gradients
from reference.run import Run
from tests.tiny_training import tiny_training

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="captures kernels of a GPU")


def two_stages(out, objective):
    return tiny_training(out, objective=objective, layers=2, width=128, short_context=16, device="auto")


@needs_gpu
def test_replays_are_the_steps_they_stand_for():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Embedding(9, 16), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 9)).cuda()
    parameters = list(network.parameters())

    def objective(tokens, weights):
        nll = nn.functional.cross_entropy(network(tokens).flatten(0, 1), tokens.flatten(), reduction="none")
        return nll @ weights.flatten()

    def batch():
        return torch.randint(9, (4, 8), device="cuda"), torch.rand(4, 8, device="cuda")

    captured = CapturedGradient(objective, batch(), parameters)
    kept = [parameter.grad for parameter in parameters]
    earlier = captured(batch())
    first = earlier.clone()
    for _ in range(3):
        inputs = batch()
        value = captured(inputs)
        assert torch.equal(earlier, first)  # a value of its own, not the next one's
        replayed = [parameter.grad.clone() for parameter in parameters]
        assert all(parameter.grad is grad for parameter, grad in zip(parameters, kept, strict=True))
        forget_gradients(parameters)
        expected = objective(*inputs)
        torch.autograd.backward(expected)
        torch.testing.assert_close(value, expected.detach())
        for parameter, grad, own in zip(parameters, kept, replayed, strict=True):
            torch.testing.assert_close(own, parameter.grad)
            parameter.grad = grad


@needs_gpu
@pytest.mark.filterwarnings("ignore")  # of the compiler, about itself
@pytest.mark.parametrize("objective", ["mdlm", "ar"])
def test_a_captured_run_takes_the_steps_of_one_that_is_not(tmp_path, objective):
    runs = []
    for name in ("captured", "launched"):
        run = Run(two_stages(tmp_path / f"{name}.pt", objective))
        assert run.prepare() is None
        assert all(stage.graph is not None for stage in run._stages)
        if name == "launched":
            for stage in run._stages:
                stage.graph = None
        for progress in (0.1, 0.2, 0.7, 0.3, 0.8):  # there and back between the stages
            run.take_step(progress)
        runs.append(run)
    captured, launched = runs
    assert captured.history == pytest.approx(launched.history, rel=1e-4)
    for name, tensor in captured.weights.items():
        torch.testing.assert_close(tensor, launched.weights[name], rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("captured", [0, 1])
def test_a_step_that_cannot_be_captured_is_launched(tmp_path, monkeypatch, captured):
    """What a GPU would do, with its calls replaced: the reason is a line, and the run goes on."""
    run = Run(two_stages(tmp_path / "model.pt", "mdlm"))

    left = [object()] * captured  # of two graphs, so many come off

    def refuse(*_, pool_of, around):
        assert around is nullcontext  # alone, there is nothing to average
        assert (pool_of is None) == (len(left) == captured)
        if left:
            return left.pop()
        raise torch.OutOfMemoryError("no room\nfor it")

    monkeypatch.setattr("reference.run.CapturedGradient", refuse)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    remark = run._try_to_capture()
    assert remark == "kernels are launched one by one, which may be slower: OutOfMemoryError: no room"
    assert [stage.graph for stage in run._stages] == [None, None]
    run.take_step(0.5)
    assert len(run.history) == 1


@pytest.mark.parametrize(
    ("failures", "captures", "remark"),
    [
        ([None], 1, None),
        (["not compiled, and so slower: X", None], 1, "compiled without kernels of our own, and so slower: X"),
        (["not compiled, and so slower: X", "not compiled, and so slower: Y"], 0, "not compiled, and so slower: Y"),
    ],
)
def test_whatever_compiles_is_captured(tmp_path, monkeypatch, failures, captures, remark):
    run = Run(two_stages(tmp_path / "model.pt", "mdlm"))
    left, captured = list(failures), []
    run.device = torch.device("cuda")
    monkeypatch.setattr(run, "_try_to_compile", lambda: left.pop(0))
    monkeypatch.setattr(run, "_try_to_capture", lambda: captured.append(1))
    monkeypatch.setattr(run, "_rehearse", lambda: None)
    monkeypatch.setattr("reference.run.give_up_specialising", lambda: True)
    assert run.prepare() == remark
    assert (len(captured), left) == (captures, [])


def test_gradients_are_forgotten():
    layer = nn.Linear(2, 1)
    layer(torch.ones(2)).backward()
    forget_gradients(list(layer.parameters()))
    assert all(parameter.grad is None for parameter in layer.parameters())
