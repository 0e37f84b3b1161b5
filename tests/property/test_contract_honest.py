"""No honest network fails a check: 200 random networks, sizes, windows and seeds."""

from __future__ import annotations

import pytest
import torch

from bpb_harness.contract import check_causal_lm, check_denoiser
from bpb_harness.schedule import parse_schedule
from fixtures.adversarial.models.cheats import HonestCausalLM, HonestDenoiser

_SCHEDULES = (
    "loglinear",
    "loglinear[0.001]",
    "cosine-mdlm[0.001]",
    "cosine-md4",
    "polynomial[2]",
    "geometric[0.001,20]",
)


@pytest.mark.parametrize("seed", range(100))
def test_an_honest_denoiser_passes(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def pick(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (1,), generator=generator))

    vocab_size, context_length = pick(2, 80), pick(2, 96)
    model = HonestDenoiser(vocab_size, context_length, time_conditioned=bool(pick(0, 1)), seed=seed)
    windows = torch.randint(vocab_size, (pick(1, 6), pick(1, context_length)), generator=generator)
    schedule = parse_schedule(_SCHEDULES[pick(0, len(_SCHEDULES) - 1)])
    findings = check_denoiser(model, windows, schedule=schedule, seed=seed, batch_rows=pick(1, 12))
    assert [finding.code for finding in findings if finding.code != "contract.mask-mass"] == []


@pytest.mark.parametrize("seed", range(100, 200))
def test_an_honest_causal_model_passes(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def pick(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (1,), generator=generator))

    vocab_size, context_length = pick(2, 80), pick(2, 96)
    model = HonestCausalLM(vocab_size, context_length, seed=seed)
    windows = torch.randint(vocab_size, (pick(1, 6), pick(1, context_length)), generator=generator)
    assert check_causal_lm(model, windows, seed=seed, batch_rows=pick(1, 12)) == []
