"""What a training run is asked to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from bpb_harness.errors import UsageError

EXPORT_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

# Shapes of a network and of its steps that make sense on a device.
PRESETS: Mapping[str, Mapping[str, int]] = {
    # Two cores take a step in less than a second, and some hundred steps in ten minutes: few and small ones learn most.
    "cpu": {"layers": 4, "width": 128, "heads": 4, "context": 128, "batch_tokens": 4_096},
    # The recipe of README.md.
    "h100": {
        "layers": 11, "width": 512, "heads": 4, "mlp_width": 1_536, "context": 2_048, "short_context": 256,
        "batch_tokens": 65_536,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Training:
    """One run; every field but the limits, the paths and the device must be the same when it is resumed."""

    data: tuple[Path, ...]
    tokenizer: Path
    out: Path
    minutes: float | None = None
    steps: int | None = None
    objective: str = "mdlm"
    block_size: int | None = None
    causal_weight: float = 0.0
    causal_share: float = 0.0
    early_mask_power: float = 1.0
    short_share: float = 0.6
    dropout: float = 0.0
    time_conditioned: bool = False
    schedule: str = "loglinear[0.001]"
    layers: int = 6
    width: int = 256
    heads: int = 4
    mlp_width: int | None = None
    neighbour_rows: int = 0
    value_embeddings: int = 0
    input_mix: bool = False
    context: int = 512
    short_context: int | None = None
    batch_tokens: int = 16_384
    lr: float = 2e-3
    embedding_lr: float | None = None
    muon_lr: float = 0.02
    normalised_updates: bool = False
    cautious_decay: bool = False
    weight_decay: float = 0.01
    ema: float = 0.99
    clip: float = 1.0
    seed: int = 0
    device: str = "auto"
    compile: bool | None = None
    export_dtype: str = "float32"
    val_data: tuple[Path, ...] = ()
    val_windows: int = 256
    save_minutes: float = 2.0
    check_tokenizer: bool = True

    def __post_init__(self) -> None:
        if self.minutes is None and self.steps is None:
            raise UsageError("no limit", hint="pass --minutes M, or --steps N, or both")
        for name in ("minutes", "steps", "context", "batch_tokens", "lr", "save_minutes", "val_windows"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"--{name.replace('_', '-')}", seen=value, expected="a positive number")
        if self.short_context is not None and not 1 <= self.short_context < self.context:
            expected = f"from 1 to below --context {self.context}, or none for windows of that length throughout"
            raise UsageError("--short-context", seen=self.short_context, expected=expected)
        if self.mlp_width is not None and self.mlp_width < 1:
            raise UsageError("--mlp-width", seen=self.mlp_width, expected="a positive number, or none for 4 x width")
        if not 0.0 <= self.ema < 1.0:
            raise UsageError("--ema", seen=self.ema, expected="from 0, no average, to below 1")
        if not self.clip >= 0.0:
            raise UsageError("--clip", seen=self.clip, expected="a gradient norm, or 0 to leave gradients alone")
        if self.export_dtype not in EXPORT_DTYPES:
            raise UsageError("--export-dtype", seen=repr(self.export_dtype), expected=" or ".join(EXPORT_DTYPES))
        if self.out.suffix not in (".pt", ".safetensors"):
            raise UsageError("--out", seen=repr(self.out.name), expected="a name that ends in .pt or .safetensors")
        if self.num_windows < 1:
            raise UsageError("--batch-tokens", seen=self.batch_tokens, expected=f"at least --context {self.context}")

    @property
    def num_windows(self) -> int:
        """Windows in a batch."""
        return self.batch_tokens // self.context

    @property
    def hidden_width(self) -> int:
        """Of the feed-forward layers."""
        return 4 * self.width if self.mlp_width is None else self.mlp_width

    @property
    def state_path(self) -> Path:
        """Where the state of the run is kept."""
        return self.out.with_name(self.out.name + ".train")

    @property
    def log_path(self) -> Path:
        """Where the lines of the run are kept."""
        return self.out.with_name(self.out.name + ".log")

    def identity(self) -> dict[str, Any]:
        """What a resumed run must share with the one it continues."""
        changeable = {"data", "tokenizer", "out", "minutes", "steps", "device", "compile", "export_dtype"}
        changeable |= {"val_data", "val_windows", "save_minutes", "check_tokenizer"}
        identity = {name: value for name, value in asdict(self).items() if name not in changeable}
        return identity | {"mlp_width": self.hidden_width}
