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

# Settings that the state of an earlier run does not name: it had what is their default now.
LATER_SETTINGS = (
    "block_size", "causal_weight", "causal_share", "short_share", "normalised_updates", "dropout", "mask_rates",
    "weighted_back", "even_share", "complementary", "growth_share", "causal_rows", "exclusive", "skips", "logit_cap",
    "tied_head",
)  # fmt: skip
_ON_A_GPU: Mapping[str, Any] = {
    "layers": 11, "width": 512, "heads": 4, "mlp_width": 1_536, "context": 2_048, "short_context": 256,
    "batch_tokens": 65_536,
}  # fmt: skip

# Shapes of a network and of its steps that make sense on a device, and what was measured to be good there.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    # Two cores take a step in less than a second, and some hundred steps in ten minutes: few and small ones learn most.
    "cpu": {"layers": 4, "width": 128, "heads": 4, "context": 128, "batch_tokens": 4_096},
    # The recipes of docs/recipes.md: whole windows, and blocks for two minutes and for eight.
    "h100": _ON_A_GPU,
    "h100-blocks": {
        **_ON_A_GPU, "block_size": 4, "causal_weight": 0.5, "causal_share": 0.35, "short_share": 0.75,
    },
    "h100-blocks-long": {
        **_ON_A_GPU, "block_size": 4, "causal_weight": 0.25, "causal_share": 0.06, "short_share": 0.75,
        "normalised_updates": True, "weight_decay": 0.1, "dropout": 0.15,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Training:
    """One run; every field but the limits, the paths and the device must be the same when it is resumed.

    What is worth how much was measured at 100 s on an H200, in bits per token; docs/recipes.md has the table.

    Attributes:
        block_size: tokens of a block, each predicted given all tokens before it; None: windows are predicted whole.
            Worth 0.38 with blocks of 4, which is another code's score, not a nearer estimate of the same one.
        causal_weight: of the next token's cross-entropy in the clean copy that blocks are predicted from. Every run
            with blocks had it; alone it was not measured.
        causal_share: of the run, its first part, in which the network of blocks learns next tokens alone, at half the
            cost. Worth nothing at 100 s (3.367 with 0.35, 3.371 without); part of the long recipe.
        short_share: of the run, in which windows are short, if they are at all.
        normalised_updates: rows of Muon's update are brought to one size, and weights decay where the update shrinks
            them already. 0.023 lower in one run, with a weight decay of 0.1: less than what decides anything there.
        dropout: share of what a branch adds that a step leaves out. For runs that see their data often: the causal
            twin came to 2.784 with 0.15 and normalised updates, to 3.042 without either.
        mask_rates: law of v: uniform, bell or low, in whole windows.
        weighted_back: whether the gradient has the weights that lead back to the bound.
        even_share: of the run, its first part, in which every masked token weighs the same: 1/t is dropped.
        complementary: windows come in pairs, each masked where the other is not.
        growth_share: of the run, its first part, in which a step has half as many tokens.
        causal_rows: share of a step's windows that learn next tokens causally instead.
        exclusive: see :class:`ReferenceConfig`, as the next three.
    """

    data: tuple[Path, ...]
    tokenizer: Path
    out: Path
    minutes: float | None = None
    steps: int | None = None
    objective: str = "mdlm"
    block_size: int | None = None
    causal_weight: float = 0.5
    causal_share: float = 0.0
    mask_rates: str = "uniform"
    weighted_back: bool = True
    even_share: float = 0.0
    complementary: bool = False
    growth_share: float = 0.0
    causal_rows: float = 0.0
    exclusive: bool = False
    skips: bool = False
    logit_cap: float = 0.0
    tied_head: bool = False
    time_conditioned: bool = False
    schedule: str = "loglinear[0.001]"
    layers: int = 6
    width: int = 256
    heads: int = 4
    mlp_width: int | None = None
    context: int = 512
    short_context: int | None = None
    short_share: float = 0.6
    batch_tokens: int = 16_384
    lr: float = 2e-3
    muon_lr: float = 0.02
    normalised_updates: bool = False
    weight_decay: float = 0.01
    dropout: float = 0.0
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
        for name in ("causal_share", "short_share", "dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise UsageError(f"--{name.replace('_', '-')}", seen=getattr(self, name), expected="from 0 to below 1")
        if not 0.0 <= self.causal_weight < math.inf:
            raise UsageError("--causal-weight", seen=self.causal_weight, expected="0 or a positive number")
        self._check_blocks()
        if self.short_context is None and self.short_share != Training.short_share:
            hint = "windows are of one length; leave it out, or pass --short-context"
            raise UsageError("--short-share without --short-context", seen=self.short_share, hint=hint)
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

    def _check_blocks(self) -> None:
        size = self.block_size
        if self.causal_share and size is None:
            hint = "whole windows gain nothing by it; pass --block-size, or --objective ar to train a causal network"
            raise UsageError("--causal-share without --block-size", seen=self.causal_share, hint=hint)
        if size is None and self.causal_weight != Training.causal_weight:
            hint = "whole windows have no clean copy that learns next tokens; leave it out, or pass --block-size"
            raise UsageError("--causal-weight without --block-size", seen=self.causal_weight, hint=hint)
        if size is None:
            return
        if self.objective != "mdlm" or self.time_conditioned:
            what = "--time-conditioned" if self.time_conditioned else f"--objective {self.objective}"
            raise UsageError(
                "--block-size", seen=f"{size} with {what}", expected="masked diffusion that is told no noise"
            )
        if self.short_context and self.causal_share >= self.short_share:
            expected = f"below --short-share {self.short_share}"
            raise UsageError("--causal-share", seen=self.causal_share, expected=expected)
        for name in ("context", "short_context"):
            length = getattr(self, name)
            if length is not None and not (0 < size < length and length % size == 0):
                expected = f"a divisor of --{name.replace('_', '-')} {length} below it"
                raise UsageError("--block-size", seen=size, expected=expected)

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
