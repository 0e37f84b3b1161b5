"""Means of gradients are begun during the backward pass, in one order, and are those of a pass after it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bpb_harness.distributed import Processes
from reference.averaging import AveragedGradients


@pytest.fixture
def begun(monkeypatch):
    """Sizes of what was begun, and "waited" for each wait, in their order."""
    seen = []

    def begin_average(self, tensor):
        assert self.count == 2
        seen.append(len(tensor))

        def finish():
            seen.append("waited")
            tensor.copy_((tensor + 3.0 * tensor) / 2.0)

        return finish

    monkeypatch.setattr(Processes, "begin_average", begin_average)
    return seen


def network():
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Linear(4, 4, bias=False) for _ in range(5)))


def gradients(model, averaged=None, inputs=None):
    for parameter in model.parameters():
        parameter.grad = None
    loss = model(torch.ones(2, 4) if inputs is None else inputs).square().sum()
    if averaged is None:
        loss.backward()
    else:
        with averaged.averaged():
            loss.backward()
    return [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize("bucket_bytes", [1, 65, 128, 1 << 20])  # a layer has 64
def test_gradients_are_means_whatever_the_buckets(begun, bucket_bytes):
    model = network()
    expected = [2.0 * grad for grad in gradients(model)]
    averaged = AveragedGradients(list(model.parameters()), Processes(0, 2), bucket_bytes=bucket_bytes)
    for _ in range(2):  # a second step begins afresh
        begun.clear()
        for seen, mean in zip(gradients(model, averaged), expected, strict=True):
            torch.testing.assert_close(seen, mean)
        sizes = [each for each in begun if each != "waited"]
        assert sizes == {1: [16] * 5, 65: [32, 32, 16], 128: [32, 32, 16], 1 << 20: [80]}[bucket_bytes]
        assert begun[len(sizes) :] == ["waited"] * len(sizes)  # nobody is waited for before all are under way


def test_a_bucket_is_begun_before_earlier_layers_have_their_gradients(begun):
    model = network()
    parameters = list(model.parameters())
    averaged = AveragedGradients(parameters, Processes(0, 2), bucket_bytes=1)
    there = []
    parameters[1].register_post_accumulate_grad_hook(lambda _: there.append(len(begun)))
    gradients(model, averaged)
    assert there[0] >= 3  # of the three layers behind it


def test_buckets_go_in_one_order_whatever_order_gradients_come_in(begun):
    """Two processes must not wait for different buckets."""
    first, second = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(5))
    averaged = AveragedGradients([first, second], Processes(0, 2), bucket_bytes=1)
    with averaged.averaged():
        (second * second.detach()).sum().backward()
        (first * first.detach()).sum().backward()
    assert begun == [5, 3, "waited", "waited"]
    begun.clear()
    with averaged.averaged():
        (first * first.detach()).sum().backward()
        assert begun == []  # the other one is to be first
        (second * second.detach()).sum().backward()
        assert begun == [5, 3]  # and this one, which is there already, at once behind it
    assert begun == [5, 3, "waited", "waited"]


def test_parameters_that_are_not_used_hold_nobody_up(begun):
    used, unused = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(5))
    averaged = AveragedGradients([used, unused], Processes(0, 2), bucket_bytes=1)
    with averaged.averaged():
        used.sum().backward()
    assert begun == [3, "waited"]
    assert unused.grad is None
    assert torch.equal(used.grad, torch.full((3,), 2.0))


def test_nothing_travels_outside_of_the_block_or_alone(begun):
    model = network()
    averaged = AveragedGradients(list(model.parameters()), Processes(0, 2))
    expected = gradients(model)
    assert begun == []
    with pytest.raises(RuntimeError, match="broken"), averaged.averaged():
        raise RuntimeError("broken")
    gradients(model)
    assert begun == []
    alone = AveragedGradients(list(network().parameters()), Processes())
    for seen, mean in zip(gradients(network(), alone), expected, strict=True):
        assert torch.equal(seen, mean)
    assert begun == []
