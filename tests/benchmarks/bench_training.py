"""Training throughput, and what a time budget buys: the reference trainer beside a plain loop and its causal twin.

    python -m tests.benchmarks.bench_training --data train.bin --val-data val.bin --tokenizer MODEL
    python -m tests.benchmarks.bench_training --small    # a few seconds on a CPU, on the fixtures' language

The plain loop is what a first honest script does: the correct weight -dalpha/(1 - alpha) on the sum of masked
cross-entropies, stratified times, AdamW at 6e-4 with warm-up and cosine decay, the head at every position, compiled,
bfloat16, no kernels but the compiler's. Compilation is in nobody's budget. All three are scored by the harness on the
whole validation text.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional

from bpb_harness.checkpoints import save_checkpoint
from bpb_harness.evaluation.api import evaluate
from bpb_harness.kernels import training as training_kernels
from bpb_harness.result import BpbResult
from fixtures import build
from reference.run import Run
from reference.settings import Training
from reference.train import train

CONSOLE = Console(soft_wrap=True, width=140)
PLAIN_LR, PLAIN_WARM_UP_STEPS, PLAIN_FLOOR = 6e-4, 100, 0.1
_LONGEST = 14
SMALL = {"layers": 2, "width": 32, "heads": 2, "mlp_width": 128, "context": 64, "batch_tokens": 512}


@dataclass(frozen=True)
class Entry:
    """A row of the table: what was trained, how fast, and what the harness says of it."""

    name: str
    num_steps: int
    tokens_per_second: float
    seconds: float
    result: BpbResult


@contextmanager
def timed(device: torch.device) -> Iterator[list[float]]:
    """Seconds of the block, the device's work included."""
    seconds: list[float] = []
    synchronize(device)
    began = time.perf_counter()
    yield seconds
    synchronize(device)
    seconds.append(time.perf_counter() - began)


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def network_as_written() -> Iterator[None]:
    """Without the kernels that the network has for training: no first script has them."""
    kept = set(training_kernels._given_up)
    training_kernels.give_up_specialising()
    try:
        yield
    finally:
        training_kernels._given_up.intersection_update(kept)


def plain_loop(training: Training, seconds: float) -> tuple[Run, int, float]:
    """Train by the plain loop; the run is there for its network, its data and its configuration."""
    run = Run(training)
    network, device, vocab_size = run.network, run.device, run.config.vocab_size
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
    optimizer = torch.optim.AdamW(network.parameters(), lr=PLAIN_LR, betas=(0.9, 0.95), weight_decay=0.1)
    compiled = torch.compile(network, dynamic=False) if device.type == "cuda" else network
    batch, length = training.num_windows, training.context

    def take_step(step: int) -> None:
        x0 = run.shards.batch(seed=training.seed, step=step, num_windows=batch).to(device)
        t = (torch.arange(batch, device=device) + torch.rand(batch, device=device)) / batch
        level = run.bound.schedule.level(t.double().clamp(min=1e-5))
        masked = torch.rand(batch, length, device=device) < level.mask_rate.unsqueeze(1)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            logits = compiled(torch.where(masked, run.config.mask_token_id, x0))[..., :vocab_size]
            nll = functional.cross_entropy(logits.float().flatten(0, 1), x0.flatten(), reduction="none").view_as(x0)
            nelbo = (level.loss_weight.float() * (nll * masked).sum(dim=1)).sum() / (batch * length)
        torch.autograd.backward(nelbo)

    take_step(0)
    optimizer.zero_grad(set_to_none=True)
    step = 0
    with timed(device) as spent:
        began = time.perf_counter()
        while (progress := (time.perf_counter() - began) / seconds) < 1.0:
            cosine = PLAIN_FLOOR + (1 - PLAIN_FLOOR) * 0.5 * (1 + math.cos(math.pi * progress))
            optimizer.param_groups[0]["lr"] = PLAIN_LR * min(1.0, (step + 1) / PLAIN_WARM_UP_STEPS) * cosine
            take_step(step)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
    return run, step, spent[0]


def score(out: Path, training: Training, *, method: str) -> BpbResult:
    return evaluate(
        out, data=training.val_data, tokenizer=training.tokenizer, method=method, compile_network=False,
        dtype="bfloat16" if torch.cuda.is_available() else "float32",
    )  # fmt: skip


def train_plain(training: Training, seconds: float) -> Entry:
    with network_as_written():
        run, steps, spent = plain_loop(training, seconds)
    tensors: dict[str, Any] = {name: tensor.detach() for name, tensor in run.network.state_dict().items()}
    save_checkpoint(
        training.out, tensors=tensors, adapter="reference", config=run.config.to_dict(),
        schedule=str(run.bound.schedule), tokenizer=run.tokenizer.model_bytes,
    )  # fmt: skip
    result = score(training.out, training, method="mc")
    return Entry("plain loop, AdamW", steps, steps * training.batch_tokens / spent, spent, result)


def train_reference(training: Training, seconds: float) -> Entry:
    method = "ar" if training.objective == "ar" else "mc"
    alone = replace(training, minutes=seconds / 60, val_data=())  # which would take some of the seconds
    run = train(alone, console=Console(stderr=True, soft_wrap=True))
    result = score(training.out, training, method=method)
    name = {"mc": "reference trainer", "ar": "its causal twin"}[method]
    return Entry(name, run.step, run.step * training.batch_tokens / run.seconds_spent, run.seconds_spent, result)


def measure_throughput(training: Training, *, num_steps: int) -> float:
    """Tokens per second of whole steps, after preparation."""
    run = Run(training)
    remark = run.prepare()
    if remark:
        CONSOLE.print(remark)
    for _ in range(3):
        run.take_step(0.01)
    with timed(run.device) as seconds:
        for _ in range(num_steps):
            run.take_step(0.01)
    return num_steps * training.batch_tokens / seconds[0]


def kernel_shares(training: Training, *, num_steps: int = 3) -> str:
    """Where the device's time goes, in words: shares by kind of kernel, and the longest kernels."""
    run = Run(training)
    run.prepare()
    run.take_step(0.01)
    activity = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[activity.CPU, activity.CUDA]) as profile:
        for _ in range(num_steps):
            run.take_step(0.01)
        synchronize(run.device)
    kinds = {
        "fused by the compiler": ("triton_",),  # first: they are named after their neighbours
        "attention": ("flash", "fmha", "cudnn", "sdpa"),
        "matrix products": ("gemm", "nvjet", "cutlass", "_squared_relu"),
    }
    sums: dict[str, float] = {}
    rows = []
    for event in profile.key_averages():
        micros = getattr(event, "self_device_time_total", 0.0)
        if micros <= 0 or "CUDA" not in str(event.device_type) or "#" in event.key:  # a named span, no kernel
            continue
        name = event.key.lower()
        kind = next((kind for kind, words in kinds.items() if any(word in name for word in words)), None)
        kind = kind or "other"
        sums[kind] = sums.get(kind, 0.0) + micros
        rows.append((micros, event.count, event.key))
    total = sum(sums.values()) or 1.0
    shares = ", ".join(f"{kind} {value / total:.0%}" for kind, value in sorted(sums.items(), key=lambda i: -i[1]))
    longest = "\n".join(
        f"  {m / num_steps / 1000:8.2f} ms a step, {n // num_steps} times: {key[:90]}"
        for m, n, key in sorted(rows, reverse=True)[:_LONGEST]
    )
    return f"{total / num_steps / 1000:.1f} ms of kernels a step: {shares}\n{longest}"


def matrix_ceiling(device: torch.device, size: int = 8192) -> float:
    """TFLOP/s of a bfloat16 matrix product on random data."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        a @ b
    with timed(device) as seconds:
        for _ in range(20):
            a @ b
    return 20 * 2 * size**3 / seconds[0] / 1e12


def throughput_table(training: Training, num_steps: int) -> None:
    variants = {"as it is": training, "half the batch": replace(training, batch_tokens=training.batch_tokens // 2)}
    for name, variant in variants.items():
        CONSOLE.print(f"throughput, {name}: {measure_throughput(variant, num_steps=num_steps):,.0f} tokens/s")
    if torch.cuda.is_available():
        CONSOLE.print(f"matrix product ceiling: {matrix_ceiling(torch.device('cuda')):.0f} TFLOP/s")
        CONSOLE.print(kernel_shares(training))


def told(entry: Entry) -> Entry:
    """A line as soon as an entry is there: the next one takes minutes."""
    bits = entry.result.length.bits_per_token
    speed = f"{entry.num_steps:,} steps in {entry.seconds:.1f} s, {entry.tokens_per_second / 1e6:.3f} M tokens/s"
    CONSOLE.print(f"{entry.name}: {speed}, {bits:.4f} bits/token, {entry.result.signature}")
    return entry


def print_table(entries: list[Entry], training: Training) -> None:
    shape = f"{training.layers} layers x {training.width}, feed-forward {training.hidden_width}, {training.heads} heads"
    table = Table(title=f"{entries[0].result.device}; {shape}, windows of {training.context}")
    for column in ("", "steps", "seconds", "M tokens/s", "speed ratio", "bits/token", "bpb", "+-", "over plain"):
        table.add_column(column, justify="right" if column else "left")
    base = entries[0]
    for entry in entries:
        bits = entry.result.length.bits_per_token
        table.add_row(
            entry.name, f"{entry.num_steps:,}", f"{entry.seconds:.1f}", f"{entry.tokens_per_second / 1e6:.3f}",
            f"{entry.tokens_per_second / base.tokens_per_second:.2f}", f"{bits:.4f}",
            f"{entry.result.bits_per_byte:.4f}", f"{1.96 * entry.result.mc_stderr:.4f}",
            f"{bits - base.result.length.bits_per_token:+.4f}",
        )  # fmt: skip
    CONSOLE.print(table)


def main(
    data: Annotated[Path | None, typer.Option(help="Training shard.")] = None,
    val_data: Annotated[Path | None, typer.Option(help="Validation shard.")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="SentencePiece model.")] = None,
    seconds: Annotated[float, typer.Option(help="Budget of each training run.")] = 100.0,
    parts: Annotated[str, typer.Option(help="Any of throughput, plain, mdlm, ar.")] = "throughput,plain,mdlm,ar",
    batch_tokens: Annotated[
        int, typer.Option(help="Of the reference trainer; the plain loop takes 32 windows.")
    ] = 65_536,
    heads: int = 4,
    mlp_width: Annotated[int, typer.Option(help="1,536 makes the products of the public model.")] = 1_536,
    lr: float = Training.lr,
    muon_lr: float = Training.muon_lr,
    ema: float = Training.ema,
    weight_decay: float = Training.weight_decay,
    short_context: Annotated[
        int | None, typer.Option(help="Windows of the first 60 % of the trainer and its twin; the plain loop has none.")
    ] = None,
    throughput_batch_tokens: int = 131_072,
    num_steps: int = 20,
    out: Annotated[Path | None, typer.Option(help="Folder for checkpoints.")] = None,
    small: Annotated[bool, typer.Option("--small", help="A tiny shape on the fixtures' language.")] = False,
) -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory() as name:
        folder = out or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        shape: dict[str, Any] = {
            "layers": 11, "width": 512, "heads": heads, "mlp_width": mlp_width, "context": 2048,
            "batch_tokens": batch_tokens,
            "lr": lr, "muon_lr": muon_lr, "ema": ema, "weight_decay": weight_decay,
        }  # fmt: skip
        if small:
            shape |= SMALL
            data, val_data, tokenizer = (
                build.training_shard(folder, min_bytes=300_000),
                build.VALIDATION,
                build.TOKENIZER,
            )
            throughput_batch_tokens = SMALL["batch_tokens"] * 2
        if data is None or val_data is None or tokenizer is None:
            raise typer.BadParameter("pass --data, --val-data and --tokenizer, or --small")
        training = Training(
            data=(data,), tokenizer=tokenizer, out=folder / "mdlm.pt", steps=10**9, val_data=(val_data,), **shape
        )
        chosen = parts.split(",")
        if "throughput" in chosen:
            throughput_table(replace(training, batch_tokens=throughput_batch_tokens), num_steps)
        entries = []
        if "plain" in chosen:
            torch._dynamo.reset()
            tokens = training.batch_tokens if small else 32 * training.context
            entries.append(told(train_plain(replace(training, batch_tokens=tokens, out=folder / "plain.pt"), seconds)))
        training = replace(training, short_context=short_context)
        if "mdlm" in chosen:
            torch._dynamo.reset()
            entries.append(told(train_reference(training, seconds)))
        if "ar" in chosen:
            entries.append(told(train_reference(replace(training, objective="ar", out=folder / "ar.pt"), seconds)))
        if entries:
            print_table(entries, training)


if __name__ == "__main__":
    typer.run(main)
