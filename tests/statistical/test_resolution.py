"""What a check of an estimator could have found: said of its own draws, and so as it is when the error is there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from bpb_harness.testing import check_elbo, resolution
from bpb_harness.testing.resolution import STEPS, Resolution

V = 3


def _of_times(denoise: Any, x0: Tensor, generator: torch.Generator) -> Tensor:
    t = 1 - torch.rand(len(x0), generator=generator)
    masked = torch.rand(x0.shape, generator=generator) < t[:, None]
    nats = torch.nn.functional.cross_entropy(
        denoise(torch.where(masked, V, x0), t).transpose(1, 2), x0, reduction="none"
    )
    return (nats * masked).sum(dim=1) / t


def _of_counts(denoise: Any, x0: Tensor, generator: torch.Generator) -> Tensor:
    length = x0.shape[1]
    count = torch.randint(1, length + 1, (len(x0),), generator=generator)
    masked = torch.rand(x0.shape, generator=generator).argsort(1).argsort(1) < count[:, None]
    nats = torch.nn.functional.cross_entropy(
        denoise(torch.where(masked, V, x0), count / length).transpose(1, 2), x0, reduction="none"
    )
    return (nats * masked).sum(dim=1) * length / count


@pytest.mark.parametrize(("estimate", "coarsest"), [(_of_times, 0.2), (_of_counts, 0.06)])
@pytest.mark.parametrize("side", ["low", "high"])
def test_an_error_as_large_as_is_said_is_found(estimate: Any, coarsest: float, side: str) -> None:
    given: dict[str, Any] = {"vocab_size": V, "size": "quick", "seed": 3}
    report = check_elbo(estimate, **given)
    assert report.verdict == "correct"
    assert report.resolution is not None
    error, sign = getattr(report.resolution, side), -1.0 if side == "low" else 1.0
    assert error in STEPS
    assert error <= coarsest
    assert f"{error:.0%} too {side}" in report.message
    found = check_elbo(lambda *words: (1.0 + sign * error) * estimate(*words), **given)
    assert (found.verdict, found.resolution) == ("wrong", None)
    assert "Resolution" not in found.message


@pytest.mark.parametrize("least", [0.0, 0.01, 0.011, 0.05, 0.13, 0.5, 0.51])
def test_the_smallest_error_that_is_found_is_given(least: float, monkeypatch: pytest.MonkeyPatch) -> None:
    run: Any = SimpleNamespace(is_constant=False, scaled=lambda factor: factor)
    monkeypatch.setattr(resolution, "evidence_of_runs", lambda runs: abs(runs[0] - 1.0) + (runs[0] > 1.0) * 1e-9)
    found = resolution.resolution_of([run], lambda evidence: evidence >= least - 1e-9)
    first = next((step for step in STEPS if step >= least), None)
    assert found == Resolution(first, first)


def test_more_draws_resolve_more() -> None:
    found = [check_elbo(_of_times, vocab_size=V, num_draws=draws, seed=1).resolution for draws in (1_000, 20_000)]
    few, many = (each for each in found if each is not None)
    assert (few.low or 1.0) > (many.low or 1.0)
    assert (few.high or 1.0) > (many.high or 1.0)


def test_of_estimates_without_chance_nothing_is_said() -> None:
    def enumerated(denoise: Any, x0: Tensor, generator: torch.Generator) -> Tensor:
        """The bound itself, by every mask of four tokens."""
        length = x0.shape[1]
        total = torch.zeros(len(x0), dtype=torch.float64)
        for code in range(1, 1 << length):
            masked = torch.tensor([bool(code >> i & 1) for i in range(length)])
            count = int(masked.sum())
            share = torch.full((len(x0),), count / length)
            logits = denoise(torch.where(masked, V, x0), share).double()
            nats = torch.nn.functional.cross_entropy(logits.transpose(1, 2), x0, reduction="none")
            ways = torch.exp(torch.lgamma(torch.tensor(length + 1.0)) - torch.lgamma(torch.tensor(count + 1.0))
                             - torch.lgamma(torch.tensor(length - count + 1.0)))  # fmt: skip
            total += (nats * masked).sum(dim=1) / count / ways
        return total

    report = check_elbo(enumerated, vocab_size=V, num_draws=3_100)
    assert report.verdict == "correct", report.message
    assert report.resolution is None


def test_what_is_said_of_it() -> None:
    assert str(Resolution(0.1, 0.08)) == (
        "what is 10% too low or 8% too high on all denoisers would have been found in these draws; smaller ones, or "
        "errors on some masks alone, need not have been"
    )
    assert str(Resolution(None, 0.5)).startswith("what is 50% too high on all denoisers would have been found")
    assert str(Resolution(None, None)) == "no error below 50% of the bound would have been found in these draws"
