"""A recorded step gives the gradients of a step that is launched kernel by kernel, for batches it has not seen."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from reference.captured import CapturedGradient, forget_gradients

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="records kernels of a GPU")


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
    for _ in range(3):
        inputs = batch()
        value = captured(inputs)
        replayed = [parameter.grad.clone() for parameter in parameters]
        assert all(parameter.grad is grad for parameter, grad in zip(parameters, kept, strict=True))
        forget_gradients(parameters)
        expected = objective(*inputs)
        torch.autograd.backward(expected)
        torch.testing.assert_close(value, expected.detach())
        for parameter, grad, own in zip(parameters, kept, replayed, strict=True):
            torch.testing.assert_close(own, parameter.grad)
            parameter.grad = grad


def test_gradients_are_forgotten():
    layer = nn.Linear(2, 1)
    layer(torch.ones(2)).backward()
    forget_gradients(list(layer.parameters()))
    assert all(parameter.grad is None for parameter in layer.parameters())
