"""No honest network fails a check: 200 random networks, sizes, windows and seeds, of which 46 every day."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bpb_harness.adapters import choose_adapter
from bpb_harness.checkpoints import Checkpoint
from bpb_harness.contract import check_causal_lm, check_denoiser
from bpb_harness.denoiser import CausalLM, Denoiser
from bpb_harness.schedule import parse_schedule
from fixtures.adversarial.models.cheats import HonestCausalLM, HonestDenoiser
from tests.tiers import some_of
from tests.tiny_checkpoints import (
    make_golf_gpt,
    make_golf_mdlm,
    make_golf_prefix,
    make_mdlm_parameters,
    mdlm_state_dict,
)

_SCHEDULES = (
    "loglinear",
    "loglinear[0.001]",
    "cosine-mdlm[0.001]",
    "cosine-md4",
    "polynomial[2]",
    "geometric[0.001,20]",
)


@pytest.mark.parametrize("seed", some_of(range(60), everyday=15))
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


@pytest.mark.parametrize("seed", some_of(range(60, 120), everyday=15))
def test_an_honest_causal_model_passes(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def pick(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (1,), generator=generator))

    vocab_size, context_length = pick(2, 80), pick(2, 96)
    model = HonestCausalLM(vocab_size, context_length, seed=seed)
    windows = torch.randint(vocab_size, (pick(1, 6), pick(1, context_length)), generator=generator)
    assert check_causal_lm(model, windows, seed=seed, batch_rows=pick(1, 12)) == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("seed", some_of(range(120, 160), everyday=8))
def test_a_network_of_an_adapter_passes(seed: int, dtype: torch.dtype) -> None:
    """80 more, of four adapters and both precisions."""
    kind = ("golf-mdlm", "golf-gpt", "mdlm", "golf-prefix")[seed % 4]
    stated = {"model": {"length": 32}, "parameterization": "subs", "time_conditioning": bool(seed % 2)}
    stated["data"] = {"tokenizer_name_or_path": "gpt2"}
    config = {"hyper_parameters": {"config": {**stated, "noise": {"type": "loglinear"}}}} if kind == "mdlm" else {}
    tensors, layout, vocab_size = {
        "golf-mdlm": (make_golf_mdlm(seed=seed), "tensors", 64),
        "golf-gpt": (make_golf_gpt(seed=seed), "tensors", 50),
        "golf-prefix": (make_golf_prefix(seed=seed), "tensors", 50),
        "mdlm": (mdlm_state_dict(make_mdlm_parameters(seed=seed)), "lightning", 37),
    }[kind]
    checkpoint = Checkpoint(Path("x.pt"), layout, "0" * 64, tensors, config=config)
    adapted = choose_adapter(checkpoint, kind).load(checkpoint, device=torch.device("cpu"), dtype=dtype)
    lowest = 3 if kind == "golf-prefix" else 0  # the ids above its mask
    windows = torch.randint(lowest, vocab_size, (4, 32), generator=torch.Generator().manual_seed(seed))
    if isinstance(adapted.model, Denoiser):
        assert adapted.schedule is not None
        findings = check_denoiser(adapted.model, windows, schedule=adapted.schedule, seed=seed, dtype=dtype)
        assert {finding.code for finding in findings} <= {"contract.mask-mass"}
    else:
        assert isinstance(adapted.model, CausalLM)
        assert check_causal_lm(adapted.model, windows, seed=seed, dtype=dtype) == []
