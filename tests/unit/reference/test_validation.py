"""What the harness is asked while a network is trained."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bpb_harness.byte_count import load_tokenizer
from bpb_harness.evaluation.job import Job
from bpb_harness.schedule import parse_schedule
from fixtures import build
from reference import validation
from reference.model import ReferenceConfig, initial_network
from reference.validation import Validation


@pytest.mark.parametrize(("device", "dtype"), [("cpu", "float32"), ("cuda", "bfloat16")])
@pytest.mark.parametrize(("objective", "method", "draws"), [("mdlm", "mc", 1), ("ar", "ar", None)])
def test_the_settings_of_a_validation(
    monkeypatch: pytest.MonkeyPatch, device: str, dtype: str, objective: str, method: str, draws: int | None
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(validation, "score", given.append)
    config = ReferenceConfig(
        vocab_size=512, context_length=16, num_layers=1, width=16, num_heads=2, mlp_width=32, objective=objective
    )
    network, schedule = initial_network(config, seed=0), parse_schedule("loglinear[0.01]")
    weights = {name: tensor + 1.0 for name, tensor in network.state_dict().items()}
    tokenizer = load_tokenizer(build.TOKENIZER)
    context = network.config.context_length
    whole, asked_for = (
        Validation([build.VALIDATION], tokenizer, num_windows=windows, context=context, device=device, seed=5)
        for windows in (10**6, 7)
    )
    assert whole.num_windows == -(-whole.corpus.num_tokens // 16), "no more than there are"
    asked_for.score(network, weights, schedule)
    (job,) = given
    assert isinstance(job, Job)
    asked = job.settings
    assert (asked.method, asked.num_samples, asked.limit, asked.seed) == (method, draws, 7, 5)
    assert (asked.device, asked.dtype, asked.compile_network) == (device, dtype, False)
    assert job.schedule == (schedule if objective == "mdlm" else None)
    assert job.identity.digest == "training"
    scored = job.model.network  # type: ignore[union-attr]
    assert scored is not network
    assert all(torch.equal(scored.state_dict()[name], weights[name]) for name in weights)
    assert not any(parameter.is_meta for parameter in scored.parameters())
