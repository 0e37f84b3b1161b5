"""Train a reference network: ``python -m reference.train --data SHARDS --tokenizer MODEL --minutes M --out ckpt.pt``.

Everything random in a step is a function of (seed, step), and the state of a run is saved whole beside the checkpoint
(``ckpt.pt.train``): a run that was stopped and resumed takes the same steps as one that was not.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import sentencepiece
import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from torch import Tensor

from bpb_harness.checkpoint import save_checkpoint
from bpb_harness.errors import CheckpointError, HarnessError, TokenizerError, UsageError
from bpb_harness.estimators.mc import ContinuousBound
from bpb_harness.schedule import parse_schedule
from bpb_harness.units import nats_to_bits
from reference.data import TokenShards, step_seed
from reference.model import ReferenceConfig, ReferenceTransformer, initial_network
from reference.objective import causal_objective, draw_masks, mdlm_objective
from reference.optimizer import learning_rate_factor, make_optimizers
from reference.validation import validation_bits_per_token

EXPORT_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Objective(StrEnum):
    """What is trained."""

    mdlm = "mdlm"
    ar = "ar"


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

    def __init__(self, training: Training, console: Console) -> None:
        self.training, self.console = training, console
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
        self.shards = TokenShards(training.data, window_length=training.context + causal, vocab_size=vocab_size)
        self.network: ReferenceTransformer = initial_network(self.config, seed=training.seed).to(self.device)
        self.optimizers = make_optimizers(
            self.network, lr=training.lr, muon_lr=training.muon_lr, weight_decay=training.weight_decay
        )
        compiled = training.compile if training.compile is not None else self.device.type == "cuda"
        self.hidden = torch.compile(self.network.hidden, dynamic=False) if compiled else self.network.hidden
        self.step = 0
        self.seconds = 0.0  # spent before this process
        self.history: list[float] = []  # objective of every step, nats per token

    @property
    def num_parameters(self) -> int:
        """Trained numbers."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def objective_nats(self) -> Tensor:
        """The objective on this step's batch, nats per token."""
        batch = self.shards.batch(seed=self.training.seed, step=self.step, num_windows=self.training.num_windows)
        batch = batch.to(self.device, non_blocking=True)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
            if self.config.objective == "ar":
                return causal_objective(self.network, batch, self.hidden)
            generator = torch.Generator(self.device).manual_seed(step_seed(self.training.seed, self.step))
            masked, level = draw_masks(tuple(batch.shape), self.bound, generator, self.device)
            return mdlm_objective(self.network, batch, masked, level, self.bound, self.hidden)

    def take_step(self, progress: float) -> Tensor:
        """One step of every optimizer; ``progress`` in [0, 1] sets the learning rate."""
        nats = self.objective_nats()
        nats.backward()
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * learning_rate_factor(progress)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return nats.detach()

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
            saved = state["identity"]
        except Exception as error:
            raise CheckpointError(f"cannot read {path}", seen=type(error).__name__) from None
        for name, value in self.training.identity().items():
            if saved.get(name) != value:
                seen = f"{value} now, {saved.get(name)} in {path}"
                raise CheckpointError(f"--resume with another --{name.replace('_', '-')}", seen=seen)
        self.network.load_state_dict(state["network"])
        for optimizer, saved_optimizer in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved_optimizer)
        self.step, self.seconds, self.history = state["step"], state["seconds"], state["history"]

    def _data_record(self) -> dict[str, Any] | None:
        """The validation shards, where they lie inside the checkpoint's folder: it may name no others."""
        folder = self.training.out.resolve().parent
        paths = [path.resolve() for path in self.training.val_data]
        if not paths or not all(path.is_relative_to(folder) for path in paths):
            return None
        return {"paths": [path.relative_to(folder).as_posix() for path in paths], "notes": {}}

    def validate(self) -> None:
        """Say what the harness's estimator says of the network now."""
        if self.training.val_data:
            bits = validation_bits_per_token(self.network, self.bound, self.training.val_data, seed=self.training.seed)
            kind = "NLL" if self.config.objective == "ar" else "NELBO"
            self.console.print(f"step {self.step}: validation {kind} {bits:.4f} bits/token")


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


@contextmanager
def stop_on_interrupt() -> Iterator[list[bool]]:
    """While open, the first Ctrl-C fills the list instead of breaking a step in two; the second one breaks."""
    stop: list[bool] = []

    def ask_to_stop(*_: object) -> None:
        stop.append(True)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, ask_to_stop)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def train(training: Training, *, resume: bool = False, console: Console | None = None) -> Run:
    """Train until a limit is reached or Ctrl-C; the checkpoint is saved in either case.

    Args:
        training: what to train, on what, for how long.
        resume: continue from ``training.state_path``.
        console: where to speak; stderr by default.

    Raises:
        HarnessError: for input that cannot be trained on.
    """
    console = console or Console(stderr=True)
    run = Run(training, console)
    if resume:
        run.resume()
    console.print(
        f"{run.config.objective}: {run.num_parameters:,} parameters, {run.shards.num_tokens:,} tokens of data, "
        f"{training.num_windows} windows of {training.context} a step, on {run.device}"
    )
    began = saved = reported = time.monotonic()

    def seconds() -> float:
        return run.seconds + time.monotonic() - began

    def progress() -> float:
        by_steps = run.step / training.steps if training.steps else 0.0
        by_clock = seconds() / (60.0 * training.minutes) if training.minutes else 0.0
        return max(by_steps, by_clock)

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with stop_on_interrupt() as stop, Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("training", total=1.0)
        first_step, pending = run.step, []
        while (done := progress()) < 1.0 and not stop:
            pending.append(run.take_step(done))
            if len(pending) == 20 or time.monotonic() - reported > 5.0:  # reading a GPU's number waits for it
                run.history += torch.stack(pending).tolist()
                pending.clear()
                reported = time.monotonic()
                rate = (run.step - first_step) * training.batch_tokens / (reported - began)
                recent = run.history[-50:]
                bits = nats_to_bits(sum(recent) / len(recent))
                bar.update(
                    task, completed=done, description=f"step {run.step}: {bits:.3f} bits/token, {rate:,.0f} tokens/s"
                )
            if time.monotonic() - saved > 60.0 * training.save_minutes:
                run.history += torch.stack(pending).tolist() if pending else []
                pending.clear()
                run.save(seconds())
                run.validate()
                saved = time.monotonic()
        run.history += torch.stack(pending).tolist() if pending else []
    run.save(seconds())
    run.validate()
    what = "interrupted; continue with --resume" if stop else "done"
    console.print(f"{what}: {run.step} steps in {seconds():.0f} s, saved {training.out}")
    return run


def command(
    data: Annotated[list[Path], typer.Option(help="Training shards; may be given several times.")],
    tokenizer: Annotated[Path, typer.Option(help="The SentencePiece model that made the shards.")],
    out: Annotated[Path, typer.Option(help="Checkpoint to write; the run's state goes to OUT.train.")],
    minutes: Annotated[float | None, typer.Option(help="Limit on wall-clock time.")] = None,
    steps: Annotated[
        int | None, typer.Option(help="Limit on steps; without --minutes a run is exactly repeatable.")
    ] = None,
    objective: Annotated[Objective, typer.Option(help="Masked diffusion, or the causal twin.")] = Objective.mdlm,
    time_conditioned: Annotated[bool, typer.Option(help="Tell the network the noise level.")] = False,
    schedule: Annotated[str, typer.Option(help="Noise schedule.")] = Training.schedule,
    layers: Annotated[int, typer.Option(help="Transformer blocks.")] = Training.layers,
    width: Annotated[int, typer.Option(help="Width of the residual stream.")] = Training.width,
    heads: Annotated[int, typer.Option(help="Attention heads.")] = Training.heads,
    context: Annotated[int, typer.Option(help="Tokens of a window.")] = Training.context,
    batch_tokens: Annotated[int, typer.Option(help="Tokens of a step.")] = Training.batch_tokens,
    lr: Annotated[float, typer.Option(help="Peak learning rate of AdamW.")] = Training.lr,
    muon_lr: Annotated[
        float, typer.Option(help="Peak learning rate of Muon; 0 leaves all to AdamW.")
    ] = Training.muon_lr,
    weight_decay: Annotated[float, typer.Option(help="Decoupled, of the blocks' matrices.")] = Training.weight_decay,
    seed: Annotated[int, typer.Option(help="Of weights, windows and masks.", min=0)] = Training.seed,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = Training.device,
    compile: Annotated[bool | None, typer.Option(help="Compile the network; by default on a GPU only.")] = None,
    export_dtype: Annotated[str, typer.Option(help="Of the checkpoint: float32 or bfloat16.")] = Training.export_dtype,
    val_data: Annotated[list[Path] | None, typer.Option(help="Validation shards, which the checkpoint names.")] = None,
    save_minutes: Annotated[float, typer.Option(help="Time between checkpoints.")] = Training.save_minutes,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from OUT.train.")] = False,
) -> None:
    """Train a reference network."""
    options = dict(locals())
    del options["resume"]
    options |= {"data": tuple(data), "val_data": tuple(val_data or ()), "objective": objective.value}
    try:
        train(Training(**options), resume=resume)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from None


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    app(prog_name="python -m reference.train")
