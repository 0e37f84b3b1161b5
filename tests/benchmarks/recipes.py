"""What a change of the trainer is worth: one row of docs/recipes.md, trained for some seconds and scored.

    python -m tests.benchmarks.recipes ROW --data train.bin --val-data val.bin --tokenizer MODEL

Trains by the reference trainer, 11 layers of 512, then has the harness score the checkpoint on the whole validation
text in bfloat16 (``mc``, K = 2, and ``ar``). A line of JSON is appended to ``--results``.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from bpb_harness.evaluation.api import evaluate
from bpb_harness.result import BpbResult
from bpb_harness.units import nats_to_bits
from reference.export import export
from reference.run import Run
from reference.settings import Training
from reference.train import train

SHAPE: dict[str, Any] = {
    "layers": 11, "width": 512, "heads": 4, "mlp_width": 1536, "context": 2048, "short_context": 256,
    "batch_tokens": 65_536,
}  # fmt: skip
SMALL = {"layers": 2, "width": 32, "heads": 2, "mlp_width": 64, "context": 64, "short_context": 32, "batch_tokens": 512}
HASH = {"neighbour_rows": 32_768}
OPTIMIZER = {"normalised_updates": True, "cautious_decay": True, "weight_decay": 0.1}
ARCHITECTURE = {"value_embeddings": 3, "input_mix": True}
BLOCKS_4 = {"block_size": 4, "causal_weight": 0.5}
ROWS: dict[str, dict[str, Any]] = {
    "today": {},
    "twin": {"objective": "ar"},
    "hash": HASH,
    "causal_phase": {"causal_share": 0.35},
    "optimizer": OPTIMIZER,
    "embedding_lr": {"embedding_lr": 0.02},
    "architecture": ARCHITECTURE,
    "blocks_4": {"block_size": 4, "causal_weight": 0.5},
    "blocks_16": {"block_size": 16, "causal_weight": 0.5},
    "blocks_4_no_aux": {"block_size": 4},
    "hash_elr": {**HASH, "embedding_lr": 0.01},
    "blocks_4_causal_first": {**BLOCKS_4, "causal_share": 0.35, "short_share": 0.75},
    "blocks_4_all": {**BLOCKS_4, "causal_share": 0.35, "short_share": 0.75, **OPTIMIZER, "muon_lr": 0.025},
    "blocks_4_long": {
        **BLOCKS_4,
        "causal_weight": 0.25,
        "causal_share": 0.06,
        "short_share": 0.75,
        "dropout": 0.15,
        **OPTIMIZER,
    },
    "twin_regularised": {"objective": "ar", "dropout": 0.15, **OPTIMIZER},
    "blocks_4_small": {
        **BLOCKS_4,
        "causal_share": 0.35,
        "short_share": 0.75,
        "width": 384,
        "heads": 3,
        "mlp_width": 1536,
    },
    "low_first": {"early_mask_power": 2.0},
    "optimizer_03": {**OPTIMIZER, "muon_lr": 0.03},
    "half_batch": {"batch_tokens": 32_768},
    "all": {**HASH, **OPTIMIZER, **ARCHITECTURE, "causal_share": 0.35},
}


def score(checkpoint: Path, training: Training) -> BpbResult:
    method = "ar" if training.objective == "ar" else "mc"
    dtype = "bfloat16" if torch.cuda.is_available() else "float32"
    return evaluate(
        checkpoint, data=training.val_data, tokenizer=training.tokenizer, method=method, compile_network=False,
        dtype=dtype,
    )  # fmt: skip


def curve(history: list[float], *, points: int = 20) -> list[float]:
    """The objective's mean in equal parts of the run, bits per token."""
    size = max(len(history) // points, 1)
    parts = [history[start : start + size] for start in range(0, len(history), size)]
    return [round(nats_to_bits(sum(part) / len(part)), 4) for part in parts]


def told(row: str, run: Run, result: BpbResult, seconds: float) -> dict[str, Any]:
    return {
        "row": row,
        "seconds": round(seconds, 1),
        "steps": run.step,
        "tokens_per_second": round(run.step * run.training.batch_tokens / seconds),
        "parameters": run.num_parameters,
        "training": curve(run.history),
        "bits_per_token": round(result.length.bits_per_token, 4),
        "bits_per_byte": round(result.bits_per_byte, 4),
        "mc_stderr": round(result.mc_stderr or 0.0, 5),
        "signature": str(result.signature),
        "device": result.device,
    }


def record(entry: dict[str, Any], results: Path | None) -> None:
    line = json.dumps(entry)
    typer.echo(line)
    if results:
        with results.open("a") as file:
            file.write(line + "\n")


def main(
    row: Annotated[str, typer.Argument(help=", ".join(ROWS))],
    data: Annotated[list[Path], typer.Option(help="Training shards.")],
    val_data: Annotated[Path, typer.Option(help="Validation shard.")],
    tokenizer: Annotated[Path, typer.Option(help="SentencePiece model.")],
    seconds: Annotated[float, typer.Option(help="Budget of the run.")] = 100.0,
    seed: int = 0,
    steps: Annotated[int, typer.Option(help="Limit on steps.")] = 10**9,
    change: Annotated[list[str], typer.Option(help="Further settings, NAME=JSON.")] = [],  # noqa: B006
    watch: Annotated[
        float | None,
        typer.Option(help="Minutes between validations on the way, of 96 windows, which count as training."),
    ] = None,
    export_bits: Annotated[int | None, typer.Option(help="Score the artifact of so many bits as well.")] = None,
    results: Annotated[Path | None, typer.Option(help="File that a line of JSON is appended to.")] = None,
    small: Annotated[bool, typer.Option("--small", help="A tiny shape.")] = False,
) -> None:
    """Train a row of the table and score it."""
    changes = {name: json.loads(value) for name, value in (each.split("=", 1) for each in change)}
    shape = SHAPE | (SMALL if small else {}) | ROWS[row] | changes
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "checkpoint.pt"
        training = Training(
            data=tuple(data), tokenizer=tokenizer, out=out, minutes=seconds / 60, steps=steps, seed=seed,
            val_data=(val_data,) if watch else (), val_windows=96, save_minutes=watch or 1e6, check_tokenizer=False, **shape,
        )  # fmt: skip
        run = train(training, console=Console(stderr=True, soft_wrap=True))
        scored = Training(**{**vars(training), "val_data": (val_data,)})
        name = " ".join([row, *change])
        entry = told(name, run, score(out, scored), run.seconds_spent)
        record(entry, results)
        if export_bits:
            artifact = export(out, out.with_suffix(".ptz"), bits=export_bits, cap_bytes=10**9)
            result = score(out.with_suffix(".ptz"), scored)
            exported = told(f"{name}, {export_bits} bits", run, result, run.seconds_spent)
            record(exported | {"bytes": artifact.num_bytes}, results)


if __name__ == "__main__":
    typer.run(main)
