"""A captured step gives the gradients of a step that is launched kernel by kernel, for batches it has not seen."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from bpb_harness.distributed import Processes
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


class Pretended:
    """A graph of one of two processes: the gradients that it gives are ones."""

    def __init__(self, run, around):
        self.run, self.averages = run, around is not nullcontext

    def __call__(self, inputs):
        for parameter in self.run._parameters:
            parameter.grad = torch.ones_like(parameter)
        return torch.zeros(())


@pytest.fixture
def of_two(tmp_path, monkeypatch):
    """Makes one of two processes on a GPU, by what each of them says of each attempt to capture."""

    def make(own, other):
        run = Run(tiny_training(tmp_path / "model.pt"), Processes(0, 2))
        said, averaged = [], []
        left = {id(own): list(own), id(other): list(other)}

        def capture(around):
            failure = left[id(own)].pop(0)
            for stage in run._stages:
                stage.graph = None if failure else Pretended(run, around)
            return failure

        def gather(self, value):
            said.append(value)
            return [value, left[id(other)].pop(0)]

        monkeypatch.setattr(run, "_capture", capture)
        monkeypatch.setattr(Processes, "gather", gather)
        monkeypatch.setattr(Processes, "average", lambda self, tensors: averaged.append(len(tensors)))
        monkeypatch.setattr(
            Processes, "begin_average", lambda self, tensor: averaged.append("a bucket") or (lambda: None)
        )
        monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
        remark = run._try_to_capture()
        averaged.clear()
        run.take_step(0.5)
        return remark, run, averaged

    return make


def test_what_every_process_captures_averages_by_itself(of_two):
    remark, run, averaged = of_two([None], [None])
    assert remark is None
    assert all(stage.graph.averages for stage in run._stages)
    assert averaged == [1]  # the objective alone


@pytest.mark.parametrize(("own", "other"), [(["no", None], [None, None]), ([None, None], ["no", None])])
def test_where_one_process_cannot_capture_means_all_average_behind_the_graph(of_two, own, other):
    remark, run, averaged = of_two(own, other)
    assert remark is None
    assert not any(stage.graph.averages for stage in run._stages)
    assert averaged == [1 + len(run._parameters)]


@pytest.mark.parametrize(("own", "other"), [(["no", "nor so"], [None, None]), ([None, None], ["no", "nor so"])])
def test_where_one_process_can_capture_nothing_all_launch_and_send_buckets(of_two, own, other):
    """One that sent all gradients at once would wait for others that send them in parts."""
    remark, run, averaged = of_two(own, other)
    assert remark == "kernels are launched one by one, which may be slower: nor so"
    assert [stage.graph for stage in run._stages] == [None] * len(run._stages)
    assert averaged == ["a bucket", 1]


def test_all_are_captured_or_none_where_another_process_could_not_compile(tmp_path, monkeypatch):
    run = Run(tiny_training(tmp_path / "model.pt"), Processes(0, 2))
    run.device = torch.device("cuda")
    monkeypatch.setattr(run, "_try_to_compile", lambda: None)
    monkeypatch.setattr(run, "_try_to_capture", lambda: pytest.fail("captured"))
    monkeypatch.setattr(run, "_rehearse", lambda: None)
    monkeypatch.setattr(Processes, "gather", lambda self, value: [value, "not compiled"])
    assert run.prepare() is None


def test_gradients_are_forgotten():
    layer = nn.Linear(2, 1)
    layer(torch.ones(2)).backward()
    forget_gradients(list(layer.parameters()))
    assert all(parameter.grad is None for parameter in layer.parameters())
