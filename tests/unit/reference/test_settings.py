"""What a training run may be asked to do: every refusal in whole, and what a resumed run must share."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bpb_harness.errors import UsageError
from reference.settings import LATER_SETTINGS, Training

GOOD = Training((Path("a.bin"),), Path("t.model"), Path("folder/m.pt"), steps=5)
POSITIVE = "a positive number"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": None}, "no limit; pass --minutes M, or --steps N, or both"),
        *(({name: held}, f"--{flag}: got {held}, expected {POSITIVE}") for name, flag, held in (
            ("minutes", "minutes", 0.0), ("minutes", "minutes", float("nan")),
            ("minutes", "minutes", float("inf")), ("lr", "lr", float("inf")), ("steps", "steps", 0),
            ("context", "context", -1), ("batch_tokens", "batch-tokens", 0), ("lr", "lr", -1e-3),
            ("save_minutes", "save-minutes", 0), ("val_windows", "val-windows", 0),
        )),
        *(({"short_context": held}, f"--short-context: got {held}, expected from 1 to below --context 512, or none for "
           "windows of that length throughout") for held in (0, 512, 600)),
        ({"mlp_width": 0}, "--mlp-width: got 0, expected a positive number, or none for 4 x width"),
        *(({"ema": held}, f"--ema: got {held}, expected from 0, no average, to below 1") for held in (1.0, -0.1)),
        *(({"clip": held}, f"--clip: got {held}, expected a gradient norm, or 0 to leave gradients alone")
          for held in (-0.1, float("nan"))),
        ({"export_dtype": "int8"}, "--export-dtype: got 'int8', expected float32 or bfloat16"),
        ({"out": Path("x/m.ptz")}, "--out: got 'm.ptz', expected a name that ends in .pt or .safetensors"),
        ({"batch_tokens": 511}, "--batch-tokens: got 511, expected at least --context 512"),
        *(({name: held}, f"--{name.replace('_', '-')}: got {held}, expected from 0 to below 1")
          for name, held in (("dropout", 1.0), ("dropout", -0.1), ("short_share", 1.0), ("causal_share", math.nan))),
        *(({name: held}, f"--{name.replace('_', '-')}: got {held}, expected 0 or a positive number")
          for name in ("causal_weight", "muon_lr", "weight_decay") for held in (-1.0, math.nan, math.inf)),
        *(({"causal_weight": held}, f"--causal-weight without --block-size: got {held}; whole windows have no clean "
           "copy that learns next tokens; leave it out, or pass --block-size") for held in (0.0, 0.3)),
        *(({name: 1e300}, f"--{name.replace('_', '-')}: got 1e+300, expected at most 3.4e+38")
          for name in ("lr", "muon_lr", "weight_decay")),
        *(({"seed": held}, f"--seed: got {held}, expected 0 .. 2^64 - 1") for held in (1 << 64, 1 << 100)),
        ({"short_share": 0.75}, "--short-share without --short-context: got 0.75; windows are of one length; leave it "
         "out, or pass --short-context"),
        ({"causal_share": 0.1}, "--causal-share without --block-size: got 0.1; whole windows gain nothing by it; pass "
         "--block-size, or --objective ar to train a causal network"),
        ({"block_size": 4, "objective": "ar"},
         "--block-size: got 4 with --objective ar, expected masked diffusion that is told no noise"),
        ({"block_size": 4, "time_conditioned": True},
         "--block-size: got 4 with --time-conditioned, expected masked diffusion that is told no noise"),
        *(({"block_size": held}, f"--block-size: got {held}, expected a divisor of --context 512 below it")
          for held in (0, -4, 5, 512)),
        ({"block_size": 8, "short_context": 20},
         "--block-size: got 8, expected a divisor of --short-context 20 below it"),
        ({"mask_rates": "high"}, "--mask-rates: got 'high', expected uniform or low or bell"),
        ({"mask_rates": "bell", "objective": "ar"}, "--mask-rates: got bell, expected uniform in a causal network"),
        *(({"causal_rows": 0.25, **other}, "--causal-rows: got 0.25, expected 0 in blocks, in a causal network, and in "
           "one that is told the noise") for other in (
            {"objective": "ar"}, {"block_size": 4}, {"time_conditioned": True})),
        ({"causal_rows": 1.0}, "--causal-rows: got 1.0, expected from 0 to below 1"),
        ({"block_size": 4, "short_context": 64, "causal_share": 0.6},
         "--causal-share: got 0.6, expected below --short-share 0.6"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        replace(GOOD, **changes)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": None, "minutes": 0.1},
        {"minutes": 1.0},
        {"ema": 0.0, "clip": 0.0},
        {"short_context": 1},
        {"short_context": 511},
        {"mlp_width": 1},
        {"dropout": 0.5, "normalised_updates": True, "short_context": 64, "short_share": 0.0},
        {"block_size": 1, "causal_weight": 0.0},
        {"block_size": 256, "short_context": None, "causal_share": 0.9},
        {"block_size": 4, "short_context": 64, "causal_share": 0.5},
        {"batch_tokens": 512},
        {"out": Path("m.safetensors")},
    ],
)
def test_what_can(changes: dict[str, Any]) -> None:
    replace(GOOD, **changes)


def test_what_follows_from_the_settings() -> None:
    assert (GOOD.num_windows, replace(GOOD, batch_tokens=1535).num_windows) == (32, 2)
    assert (GOOD.hidden_width, replace(GOOD, mlp_width=7).hidden_width) == (1024, 7)
    assert GOOD.state_path == Path("folder/m.pt.train")
    assert GOOD.log_path == Path("folder/m.pt.log")


def test_what_a_resumed_run_must_share() -> None:
    assert set(GOOD.identity()) == {
        "objective", "time_conditioned", "schedule", "layers", "width", "heads", "mlp_width", "context",
        "short_context", "batch_tokens", "lr", "muon_lr", "weight_decay", "ema", "clip", "seed", *LATER_SETTINGS,
    }  # fmt: skip
    assert GOOD.identity() == replace(GOOD, mlp_width=1024).identity()
    assert GOOD.identity() != replace(GOOD, lr=1e-3).identity()
