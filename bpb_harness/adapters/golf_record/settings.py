"""What stands in no tensor of a record's file, and decides what the network computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self, final

from torch import Tensor

from bpb_harness.adapters.golf_stated import PRESET, StatedSettings, positive_number, switch, whole_number
from bpb_harness.errors import CheckpointError

ACTIVATIONS = ("relu", "leaky_relu")
# The contest's, which no record changed.
_CONTEST = {"rope_base": "10000", "logit_softcap": "30"}

_EARLY = {"num_layers": "11", "xsa_last_n": "4", "train_seq_len": "2048", "activation": "relu"}
# Runs of the contest's records, by the date that their folders carry: what their scripts and commands set.
PRESETS: Mapping[str, Mapping[str, str]] = {
    "2026-03-20": _EARLY | {"rope_dims": "0", "ln_scale": "0"},
    "2026-03-21": _EARLY | {"rope_dims": "16", "ln_scale": "1"},
    "2026-03-22": _EARLY | {"rope_dims": "16", "ln_scale": "1", "ve_layers": "9,10"},
    "2026-03-23": _EARLY | {"rope_dims": "16", "ln_scale": "1", "ve_layers": "9,10", "activation": "leaky_relu"},
}
# Tensors by which a record is told from the baseline.
_SIGNS = ("smear.gate", "bigram.embed.weight", "ve_shared.embed.weight", "qo_bank", "blocks.0.attn.attn_gate.weight")
_OF_DEPTH = ("xsa_last_n", "ve_layers")


def is_record(tensors: Mapping[str, Tensor]) -> bool:
    """Whether a file is of a record, whose settings must be stated, and not of the baseline."""
    return any(name in tensors for name in _SIGNS)


@final
@dataclass(frozen=True)
class RecordSettings:
    """What a record's network does beside its tensors.

    Attributes:
        xsa_last_n: blocks, counted from the last, whose attention leaves out its part along the token's own value.
        rope_dims: first dimensions of a head that are rotated; 0: all.
        ln_scale: whether block i multiplies what its norms give with 1 / sqrt(i + 1).
        activation: "relu" or "leaky_relu" (slope 1/2), squared, in the feed-forward layers.
        ve_layers: blocks whose values get the shared value embedding.
        train_seq_len: tokens of a training window; beyond 1,024 of them the rotary base grows.
        rope_base: of the rotary embedding.
        logit_softcap: c of c tanh(z / c).
    """

    xsa_last_n: int
    rope_dims: int
    ln_scale: bool
    activation: str
    ve_layers: tuple[int, ...]
    train_seq_len: int
    rope_base: float
    logit_softcap: float

    @classmethod
    def of(cls, stated: Mapping[str, str], *, name: str, num_blocks: int, num_value_layers: int) -> Self:
        """Settings that a user stated, by a preset, one by one, or both; the latter decide.

        Args:
            stated: values as text, by name; ``golf_preset`` names the preset.
            name: of the file, for messages.
            num_blocks: blocks of the network.
            num_value_layers: how many of them get a value embedding, by the file.

        Raises:
            UsageError: for an unknown name or preset, or a value that is none of the setting's.
            CheckpointError: if something is not stated, or contradicts the tensors.
        """
        given = _SETTINGS.texts(stated)
        if not num_value_layers:
            given.setdefault("ve_layers", "")
        _require_depth(given.pop("num_layers", None), stated, name, num_blocks)
        settings = cls(**_SETTINGS.values(given, name))
        settings._require_fits(name, num_blocks, num_value_layers)
        return settings

    def _require_fits(self, name: str, num_blocks: int, num_value_layers: int) -> None:
        if self.xsa_last_n > num_blocks:
            raise CheckpointError(f"{name}: xsa_last_n", seen=self.xsa_last_n, expected=f"at most {num_blocks} blocks")
        inside = len(set(self.ve_layers)) == len(self.ve_layers) and all(each < num_blocks for each in self.ve_layers)
        if not inside or len(self.ve_layers) != num_value_layers:
            raise CheckpointError(
                f"{name}: ve_layers", seen=",".join(map(str, self.ve_layers)) or "none",
                expected=f"{num_value_layers} of the blocks 0..{num_blocks - 1}, one for each of ve_layer_scales",
                hint="pass --golf-setting ve_layers=I,J",
            )  # fmt: skip

    def __str__(self) -> str:
        layers = "+".join(map(str, self.ve_layers)) or "none"
        return (
            f"xsa_last_n={self.xsa_last_n},rope_dims={self.rope_dims},ln_scale={int(self.ln_scale)},"
            f"activation={self.activation},ve_layers={layers},train_seq_len={self.train_seq_len},"
            f"rope_base={self.rope_base:g},logit_softcap={self.logit_softcap:g}"
        )


def _require_depth(of_preset: str | None, stated: Mapping[str, str], name: str, num_blocks: int) -> None:
    """A preset's last blocks are those of its own depth."""
    if of_preset is None or int(of_preset) == num_blocks:
        return
    preset = stated[PRESET]
    left = [key for key in _OF_DEPTH if key in PRESETS[preset] and key not in stated]
    if left:
        raise CheckpointError(
            f"{name}: --golf-preset {preset}", seen=f"a file of {num_blocks} blocks", expected=f"{of_preset} blocks",
            hint="state what depends on the depth: " + " ".join(f"--golf-setting {key}=.." for key in left),
        )  # fmt: skip


def _activation(text: str) -> str:
    return {word: word for word in ACTIVATIONS}[text]


def _layers(text: str) -> tuple[int, ...]:
    return tuple(whole_number(0, 10_000)(part) for part in text.split(",") if part)


_SETTINGS = StatedSettings(
    family="a record of the parameter-golf contest",
    read={
        "xsa_last_n": whole_number(0, 10_000),
        "rope_dims": whole_number(0, 1 << 20),
        "ln_scale": switch,
        "activation": _activation,
        "ve_layers": _layers,
        "train_seq_len": whole_number(1, 1 << 24),
        "rope_base": positive_number,
        "logit_softcap": positive_number,
    },
    presets=PRESETS,
    contest=_CONTEST,
    expected={
        "ln_scale": "0 or 1",
        "activation": " or ".join(ACTIVATIONS),
        "ve_layers": "numbers of blocks with commas, or nothing",
        "rope_base": "a positive number",
        "logit_softcap": "a positive number",
    },
)
