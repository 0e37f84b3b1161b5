"""What a training run is asked to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from bpb_harness.errors import UsageError
from bpb_harness.evaluation.flags import flagged, require_values
from reference.objective import MASK_RATES

_LARGEST = torch.finfo(torch.float32).max
EXPORT_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

# Settings that the state of an earlier run does not name: it had what is their default now.
LATER_SETTINGS = (
    "block_size", "causal_weight", "causal_share", "short_share", "normalised_updates", "dropout", "mask_rates",
    "causal_rows", "tied_head",
)  # fmt: skip
ON_A_GPU: Mapping[str, Any] = {
    "layers": 11, "width": 512, "heads": 4, "mlp_width": 1_536, "context": 2_048, "short_context": 256,
    "batch_tokens": 65_536,
}  # fmt: skip

# Shapes of a network and of its steps that make sense on a device, and what was measured to be good there.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    # Two cores take a step in less than a second, and some hundred steps in ten minutes: few and small ones learn most.
    "cpu": {"layers": 4, "width": 128, "heads": 4, "context": 128, "batch_tokens": 4_096},
    # The recipes of docs/recipes.md: whole windows, plain and the best, and blocks for two minutes and for eight.
    "h100": ON_A_GPU,
    "h100-windows": {**ON_A_GPU, "mask_rates": "bell", "causal_rows": 0.25},
    "h100-blocks": {**ON_A_GPU, "block_size": 4, "normalised_updates": True, "weight_decay": 0.1},
    "h100-blocks-long": {
        **ON_A_GPU, "block_size": 4, "causal_weight": 0.25, "causal_share": 0.06, "short_share": 0.75,
        "normalised_updates": True, "weight_decay": 0.1, "dropout": 0.15,
    },
}  # fmt: skip


def _shaped(name: str, what: str) -> str:
    """A line of --help with the value that an option has with each preset."""
    by_preset = ", ".join(f"{preset} {PRESETS[preset][name]:,}" for preset in ("cpu", "h100"))
    return f"{what} (of --preset {by_preset})."


@dataclass(frozen=True)
class Training:
    """One run, as keywords and options; all but limits, paths and the device must be the same when it is resumed.

    What is worth how much was measured at 100 s on an H200, in bits per token; docs/recipes.md has the table.

    Attributes:
        block_size: tokens of a block, each predicted given all tokens before it; None: windows are predicted whole.
            Worth 0.38 with blocks of 4 in one command, some 0.45 with attention as it is now: another code's score,
            not a nearer estimate of the same one.
        causal_weight: of the next token's cross-entropy in the clean copy that blocks are predicted from: 0.083 lower
            with 0.5 than with none.
        causal_share: of the run, its first part, in which the network of blocks learns next tokens alone, at half the
            cost. At 100 s it does harm, 0.073 higher with 0.35 (and short windows for longer); part of the long recipe.
        short_share: of the run, in which windows are short, if they are at all.
        normalised_updates: rows of Muon's update are brought to one size, and weights decay where the update shrinks
            them already. With a weight decay of 0.1, 0.049 lower in blocks of 4, 0.023 and 0.035 in whole windows.
        dropout: share of what a branch adds that a step leaves out. For runs that see their data often: the causal
            twin came to 2.784 with 0.15 and normalised updates, to 3.042 without either; blocks of 4 lose 0.12 by it.
        mask_rates: their law. ``bell``, more near 1/2, not weighted back: whole windows 0.106 lower, weighted 0.136
            higher; blocks of 4 gain nothing. ``low``, weighted back: whole windows 0.067 lower, else 0.37 higher.
        causal_rows: share of a step's whole windows that learn next tokens causally instead: 0.054 lower with 0.25
            alone, 0.068 beside the bell (of fewer steps; 0.035 at equal ones, both with normalised updates).
        heads: at a width of 512, 4 of 128 are 0.094 better than 8 of 64, in whole windows.
        tied_head: whether the head is the embedding. In plain whole windows 0.053 and 0.063 lower, elsewhere nothing.
    """

    data: tuple[Path, ...] = flagged(MISSING, "Training shards, one or more.", kind=list[Path], read=tuple)
    tokenizer: Path = flagged(
        MISSING, "The tokenizer that made the shards: SentencePiece, or JSON as bpb-eval reads it."
    )
    out: Path = flagged(MISSING, "Checkpoint to write; the run's state goes to OUT.train.")
    minutes: float | None = flagged(None, "Limit on wall-clock time from the first step on.")
    steps: int | None = flagged(None, "Limit on steps; without --minutes a run is exactly repeatable.")
    objective: str = flagged("mdlm", "Masked diffusion, or the causal twin: mdlm, ar.", one_of=("mdlm", "ar"))
    block_size: int | None = flagged(
        None, "Predict windows block by block of so many tokens, each given all tokens before it."
    )
    causal_weight: float = flagged(0.5, "Of next tokens in the clean copy that blocks are predicted from.")
    causal_share: float = flagged(0.0, "Part of the run that begins with next tokens alone, with --block-size.")
    mask_rates: str = flagged("uniform", "Law that they are drawn by: uniform, low or bell.", one_of=(*MASK_RATES,))
    causal_rows: float = flagged(0.0, "Share of whole windows that learn next tokens causally instead.")
    time_conditioned: bool = flagged(
        False, "Tell the network the noise level.", option="--time-conditioned/--no-time-conditioned"
    )
    schedule: str = flagged("loglinear[0.001]", "Noise schedule.")
    layers: int = flagged(6, _shaped("layers", "Transformer blocks"))
    width: int = flagged(256, _shaped("width", "Width of the residual stream"))
    heads: int = flagged(4, _shaped("heads", "Attention heads"))
    tied_head: bool = flagged(False, "The head is the embedding.", option="--tied-head/--no-tied-head")
    mlp_width: int | None = flagged(None, "Hidden width of the feed-forward layers; by default 4 x width.")
    context: int = flagged(512, _shaped("context", "Tokens of a window"))
    short_context: int | None = flagged(
        None, "Tokens of a window in the first part of the run; more windows a step then."
    )
    short_share: float = flagged(0.6, "That part; with --short-context.")
    batch_tokens: int = flagged(16_384, _shaped("batch_tokens", "Tokens of a step, all processes together"))
    lr: float = flagged(2e-3, "Peak learning rate of AdamW.")
    muon_lr: float = flagged(0.02, "Peak learning rate of Muon; 0 leaves all to AdamW.")
    normalised_updates: bool = flagged(
        False, "Rows of Muon's update of one size, cautious decay.",
        option="--normalised-updates/--no-normalised-updates",
    )  # fmt: skip
    weight_decay: float = flagged(0.01, "Decoupled, of the blocks' matrices.")
    dropout: float = flagged(0.0, "Share of a branch that a step leaves out; for data that is seen often.")
    ema: float = flagged(0.99, "Decay of the moving average that is saved; 0 saves the last weights.")
    clip: float = flagged(1.0, "Largest norm of a gradient; 0 clips none.")
    seed: int = flagged(0, "Of weights, windows and masks.", least=0)
    device: str = flagged("auto", "auto, cpu or cuda.")
    compile: bool | None = flagged(
        None, "Compile the network; by default on a GPU only.", option="--compile/--no-compile"
    )
    export_dtype: str = flagged("float32", "Of the checkpoint: float32 or bfloat16.", one_of=(*EXPORT_DTYPES,))
    val_data: tuple[Path, ...] = flagged(
        (), "Validation shards; named in OUT if in its folder.", kind=list[Path] | None,
        read=lambda paths: tuple(paths or ()),
    )  # fmt: skip
    val_windows: int = flagged(256, "Validation windows to score.")
    save_minutes: float = flagged(2.0, "Time between checkpoints, each scored on --val-data.")
    check_tokenizer: bool = flagged(
        True, "Refuse a tokenizer that did not write the shards.", option="--check-tokenizer/--no-check-tokenizer"
    )

    def __post_init__(self) -> None:
        require_values(self)
        if self.minutes is None and self.steps is None:
            raise UsageError("no limit", hint="pass --minutes M, or --steps N, or both")
        for name in ("minutes", "steps", "context", "batch_tokens", "lr", "save_minutes", "val_windows"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"--{name.replace('_', '-')}", seen=value, expected="a positive number")
        if self.short_context is not None and not 1 <= self.short_context < self.context:
            expected = f"from 1 to below --context {self.context}, or none for windows of that length throughout"
            raise UsageError("--short-context", seen=self.short_context, expected=expected)
        for name in ("causal_share", "causal_rows", "short_share", "dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise UsageError(f"--{name.replace('_', '-')}", seen=getattr(self, name), expected="from 0 to below 1")
        for name in ("causal_weight", "muon_lr", "weight_decay"):
            if not 0.0 <= getattr(self, name) < math.inf:
                hyphened = name.replace("_", "-")
                raise UsageError(f"--{hyphened}", seen=getattr(self, name), expected="0 or a positive number")
        for name in ("lr", "muon_lr", "weight_decay"):
            if getattr(self, name) > _LARGEST:  # the optimisers compute in float32
                hyphened = name.replace("_", "-")
                raise UsageError(f"--{hyphened}", seen=getattr(self, name), expected=f"at most {_LARGEST:.3g}")
        if self.seed >= 1 << 64:
            raise UsageError("--seed", seen=self.seed, expected="0 .. 2^64 - 1")
        self._check_blocks()
        self._check_whole_windows()
        if self.short_context is None and self.short_share != Training.short_share:
            hint = "windows are of one length; leave it out, or pass --short-context"
            raise UsageError("--short-share without --short-context", seen=self.short_share, hint=hint)
        if self.mlp_width is not None and self.mlp_width < 1:
            raise UsageError("--mlp-width", seen=self.mlp_width, expected="a positive number, or none for 4 x width")
        if not 0.0 <= self.ema < 1.0:
            raise UsageError("--ema", seen=self.ema, expected="from 0, no average, to below 1")
        if not self.clip >= 0.0:
            raise UsageError("--clip", seen=self.clip, expected="a gradient norm, or 0 to leave gradients alone")
        if self.out.is_dir():
            raise UsageError(
                "--out", seen=f"{self.out}, a folder", expected="a file whose name ends in .pt or .safetensors",
                hint=f"pass --out {self.out / 'model.pt'}",
            )  # fmt: skip
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

    def _check_whole_windows(self) -> None:
        if self.mask_rates != Training.mask_rates and self.objective != "mdlm":
            raise UsageError("--mask-rates", seen=self.mask_rates, expected="uniform in a causal network")
        if self.causal_rows and (self.time_conditioned or self.objective != "mdlm" or self.block_size):
            expected = "0 in blocks, in a causal network, and in one that is told the noise"
            raise UsageError("--causal-rows", seen=self.causal_rows, expected=expected)

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
