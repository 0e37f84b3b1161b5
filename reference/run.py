"""A training run: what it is asked to do, and the state that it saves and continues from.

Everything random in a step is a function of (seed, step), and the state is saved whole beside the checkpoint
(``ckpt.pt.train``): a run that was stopped and resumed takes the same steps as one that was not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from torch import Tensor

from bpb_harness.checkpoint import save_checkpoint
from bpb_harness.denoiser import require_finite
from bpb_harness.errors import CheckpointError, TokenizerError, UsageError
from bpb_harness.estimators.mc import ContinuousBound
from bpb_harness.schedule import parse_schedule
from bpb_harness.units import nats_to_bits
from reference.data import TokenShards, step_seed
from reference.model import ReferenceConfig, ReferenceTransformer, initial_network
from reference.objective import causal_objective, draw_masks, mdlm_objective
from reference.optimizer import learning_rate_factor, make_optimizers
from reference.validation import validation_bits_per_token

EXPORT_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Training:
    """One run; every field but the limits, the paths and the device must be the same when it is resumed."""

    data: tuple[Path, ...]
    tokenizer: Path
    out: Path
    minutes: float | None = None
    steps: int | None = None
    objective: str = "mdlm"
    time_conditioned: bool = False
    schedule: str = "loglinear[0.001]"
    layers: int = 6
    width: int = 256
    heads: int = 4
    context: int = 512
    batch_tokens: int = 16_384
    lr: float = 2e-3
    muon_lr: float = 0.02
    weight_decay: float = 0.01
    seed: int = 0
    device: str = "auto"
    compile: bool | None = None
    export_dtype: str = "float32"
    val_data: tuple[Path, ...] = ()
    save_minutes: float = 2.0

    def __post_init__(self) -> None:
        if self.minutes is None and self.steps is None:
            raise UsageError("no limit", hint="pass --minutes M, or --steps N, or both")
        for name in ("minutes", "steps", "batch_tokens", "lr", "save_minutes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"--{name.replace('_', '-')}", seen=value, expected="a positive number")
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
    def state_path(self) -> Path:
        """Where the state of the run is kept."""
        return self.out.with_name(self.out.name + ".train")

    def identity(self) -> dict[str, Any]:
        """What a resumed run must share with the one it continues."""
        changeable = {"data", "tokenizer", "out", "minutes", "steps", "device", "compile", "export_dtype", "val_data"}
        return {name: value for name, value in asdict(self).items() if name not in changeable | {"save_minutes"}}


class Run:
    """Network, optimizers and progress of one training run."""

    def __init__(self, training: Training) -> None:
        self.training = training
        self.device = pick_device(training.device)
        self.tokenizer = read_tokenizer(training.tokenizer)
        vocab_size = sentencepiece.SentencePieceProcessor(model_proto=self.tokenizer).vocab_size()
        self.config = ReferenceConfig(
            vocab_size=vocab_size,
            context_length=training.context,
            num_layers=training.layers,
            width=training.width,
            num_heads=training.heads,
            mlp_width=4 * training.width,
            objective=training.objective,
            time_conditioned=training.time_conditioned,
        )
        causal = training.objective == "ar"
        self.bound = ContinuousBound(parse_schedule(training.schedule), num_samples=1)
        window_length = training.context + causal
        self.shards = TokenShards(training.data, window_length=window_length, vocab_size=vocab_size)
        if training.val_data:  # better refused now than at the first save
            TokenShards(training.val_data, window_length=window_length, vocab_size=vocab_size)
        self.network: ReferenceTransformer = initial_network(self.config, seed=training.seed).to(self.device)
        self.optimizers = make_optimizers(
            self.network, lr=training.lr, muon_lr=training.muon_lr, weight_decay=training.weight_decay
        )
        compiled = training.compile if training.compile is not None else self.device.type == "cuda"
        self.hidden = torch.compile(self.network.hidden, dynamic=False) if compiled else self.network.hidden
        self.step = 0
        self.seconds = 0.0  # spent before this process
        self.interrupted = False
        self._history: list[float] = []
        self._pending: list[Tensor] = []  # objectives that are still on the device

    @property
    def description(self) -> str:
        """What is trained on what, in a line."""
        num_parameters = sum(parameter.numel() for parameter in self.network.parameters())
        return (
            f"{self.config.objective}: {num_parameters:,} parameters, {self.shards.num_tokens:,} tokens of data, "
            f"{self.training.num_windows} windows of {self.training.context} a step, on {self.device}"
        )

    @property
    def history(self) -> list[float]:
        """Objective of every step, in nats per token.

        Raises:
            NumericsError: if one is not finite.
        """
        if self._pending:
            nats = torch.stack(self._pending)
            self._pending.clear()
            self._history += require_finite(nats, what=f"objective before step {self.step}").tolist()
        return self._history

    def recent_bits(self, num_steps: int = 50) -> float:
        """Mean objective of the last steps, in bits per token; NaN before the first."""
        recent = self.history[-num_steps:]
        return nats_to_bits(sum(recent) / len(recent)) if recent else float("nan")

    def objective_nats(self) -> Tensor:
        """The objective on this step's batch, nats per token."""
        batch = self.shards.batch(seed=self.training.seed, step=self.step, num_windows=self.training.num_windows)
        batch = batch.to(self.device, non_blocking=True)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
            if self.config.objective == "ar":
                return causal_objective(self.network, batch, self.hidden)
            generator = torch.Generator(self.device).manual_seed(step_seed(self.training.seed, self.step))
            masked, level = draw_masks(batch.shape, self.bound, generator, self.device)
            return mdlm_objective(self.network, batch, masked, level, self.bound, self.hidden)

    def take_step(self, progress: float) -> None:
        """One step of every optimizer; ``progress`` in [0, 1] sets the learning rate."""
        nats = self.objective_nats()
        torch.autograd.backward(nats)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * learning_rate_factor(progress)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._pending.append(nats.detach())

    def save(self, seconds: float) -> None:
        """Write the state of the run, then the checkpoint; each in one step."""
        state = {
            "identity": self.training.identity(),
            "step": self.step,
            "seconds": seconds,
            "history": self.history,
            "network": self.network.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        partial = self.training.state_path.with_name(self.training.state_path.name + ".partial")
        self.training.out.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, partial)
        partial.replace(self.training.state_path)
        dtype = EXPORT_DTYPES[self.training.export_dtype]
        save_checkpoint(
            self.training.out,
            tensors={name: tensor.to("cpu", dtype) for name, tensor in self.network.state_dict().items()},
            adapter="reference",
            config=self.config.to_dict(),
            schedule=str(self.bound.schedule) if self.config.objective == "mdlm" else None,
            tokenizer=self.tokenizer,
            data=self._data_record(),
        )

    def resume(self) -> None:
        """Continue from the saved state.

        Raises:
            CheckpointError: if there is none, it cannot be read, or it is of another run.
        """
        path = self.training.state_path
        if not path.is_file():
            raise CheckpointError(f"no state to resume from: {path}", hint="leave --resume out to start afresh")
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            self._require_same_run(state["identity"])
            self.network.load_state_dict(state["network"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.step, self.seconds, self._history = state["step"], state["seconds"], state["history"]
        except CheckpointError:
            raise
        except Exception as error:  # a damaged file may fail in any way
            raise CheckpointError(f"cannot read {path}", seen=type(error).__name__) from None

    def _require_same_run(self, saved: Mapping[str, Any]) -> None:
        for name, value in self.training.identity().items():
            if saved.get(name) != value:
                seen = f"{value} now, {saved.get(name)} in {self.training.state_path}"
                raise CheckpointError(f"--resume with another --{name.replace('_', '-')}", seen=seen)

    def _data_record(self) -> dict[str, Any] | None:
        """The validation shards, where they lie inside the checkpoint's folder: it may name no others."""
        folder = self.training.out.resolve().parent
        paths = [path.resolve() for path in self.training.val_data]
        if not paths or not all(path.is_relative_to(folder) for path in paths):
            return None
        return {"paths": [path.relative_to(folder).as_posix() for path in paths], "notes": {}}

    def validation(self) -> str:
        """What the harness's estimator says of the network now, in a line."""
        if not self.training.val_data:
            return f"step {self.step}: training {self.recent_bits():.4f} bits/token"
        bits = validation_bits_per_token(self.network, self.bound, self.training.val_data, seed=self.training.seed)
        kind = "NLL" if self.config.objective == "ar" else "NELBO"
        return f"step {self.step}: validation {kind} {bits:.4f} bits/token"


def pick_device(name: str) -> torch.device:
    """The device called ``auto``, ``cpu`` or ``cuda``."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda") or (name == "cuda" and not torch.cuda.is_available()):
        raise UsageError("--device", seen=repr(name), expected="auto, cpu, or cuda where there is one")
    return torch.device(name)


def read_tokenizer(path: Path) -> bytes:
    """The serialized SentencePiece model at ``path``, checked."""
    try:
        model = path.read_bytes()
        sentencepiece.SentencePieceProcessor(model_proto=model)
    except (OSError, RuntimeError) as error:
        raise TokenizerError(f"cannot read tokenizer {path}", seen=type(error).__name__) from None
    return model
