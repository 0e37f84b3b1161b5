"""What a change of the trainer is worth: one row of docs/recipes.md, trained for some seconds and scored.

    python -m tests.benchmarks.recipes ROW --data train.bin --val-data val.bin --tokenizer MODEL
    python -m tests.benchmarks.recipes ROW --small --seconds 3 ...    # a tiny shape, on a CPU

The reference trainer trains 11 layers of 512; the harness scores the checkpoint on the whole validation text, in
bfloat16 on a GPU (``mc``, K = 2; ``ar`` for the twin). A row is a line of JSON, on stdout and at the end of
``--results``: its ``training`` is the objective's mean in twentieths of the run, in bits per token.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console

from bpb_harness.evaluation.api import evaluate
from bpb_harness.result import BpbResult
from bpb_harness.units import nats_to_bits
from reference.export import export
from reference.run import Run
from reference.settings import ON_A_GPU, PRESETS, Training
from reference.train import train

NORMALISED = {"normalised_updates": True, "weight_decay": 0.1}
SMALL = {"layers": 2, "width": 32, "heads": 2, "mlp_width": 64, "context": 64, "short_context": 32, "batch_tokens": 512}
TWIN = {"objective": "ar", "dropout": 0.15, **NORMALISED}
CAUSAL_FIRST = {"block_size": 4, "causal_share": 0.35, "short_share": 0.75}
WIDTH_384 = {"width": 384, "heads": 3}  # below 16,000,000 bytes in 6 bits
# Changes of the recipe for whole windows, --preset h100; three rows are presets of their own.
ROWS: dict[str, dict[str, Any]] = {
    "whole-windows": {},
    "twin": {"objective": "ar"},
    "twin-regularised": TWIN,
    "twin-small": {**TWIN, **WIDTH_384},
    "normalised-updates": NORMALISED,
    "bell-unweighted": {"mask_rates": "bell"},
    "low-rates": {"mask_rates": "low"},
    "causal-rows": {"causal_rows": 0.25},
    "bell-causal": PRESETS["h100-windows"],
    "bell-normalised": {"mask_rates": "bell", **NORMALISED},
    "bell-causal-normalised": {"mask_rates": "bell", "causal_rows": 0.25, **NORMALISED},
    "low-causal": {"mask_rates": "low", "causal_rows": 0.25},
    "heads-8": {"heads": 8},
    "tied-head": {"tied_head": True},
    "blocks-4": {"block_size": 4},
    "blocks-4-dropout": {"block_size": 4, "dropout": 0.15},
    "blocks-4-bell": {"block_size": 4, "mask_rates": "bell"},
    "blocks-4-low": {"block_size": 4, "mask_rates": "low"},
    "blocks-4-normalised": PRESETS["h100-blocks"],
    "blocks-4-alone": {"block_size": 4, "causal_weight": 0.0},
    "blocks-2": {"block_size": 2},
    "blocks-8": {"block_size": 8},
    "blocks-16": {"block_size": 16},
    "blocks-4-causal-first": CAUSAL_FIRST,
    "blocks-4-long": PRESETS["h100-blocks-long"],
    "blocks-4-small": {**CAUSAL_FIRST, **WIDTH_384},
    "blocks-4-small-long": {**PRESETS["h100-blocks-long"], **WIDTH_384},
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
    parts = np.array_split(np.array(history), min(points, len(history)))
    return [round(nats_to_bits(float(part.mean())), 4) for part in parts]


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
    out: Annotated[Path | None, typer.Option(help="Keep the checkpoint, .pt, and its log.")] = None,
    small: Annotated[bool, typer.Option("--small", help="A tiny shape.")] = False,
) -> None:
    """Train a row of the table and score it."""
    if row not in ROWS:
        raise typer.BadParameter(f"{row} is none of {', '.join(ROWS)}")
    changes = {name: json.loads(value) for name, value in (each.split("=", 1) for each in change)}
    shape = {**ON_A_GPU, **ROWS[row], **(SMALL if small else {}), **changes}
    name = " ".join([row, *change])
    with tempfile.TemporaryDirectory() as folder:
        out = out or Path(folder) / "checkpoint.pt"
        training = Training(
            data=tuple(data), tokenizer=tokenizer, out=out, minutes=seconds / 60, steps=steps, seed=seed,
            val_data=(val_data,) if watch else (), val_windows=96, save_minutes=watch or 1e6, check_tokenizer=False,
            **shape,
        )  # fmt: skip
        run = train(training, console=Console(stderr=True, soft_wrap=True))
        scored = Training(**{**vars(training), "val_data": (val_data,)})
        record(told(name, run, score(out, scored), run.seconds_spent), results)
        if export_bits:
            artifact = export(out, out.with_suffix(".ptz"), bits=export_bits, cap_bytes=10**9)
            result = score(out.with_suffix(".ptz"), scored)
            exported = told(f"{name}, {export_bits} bits", run, result, run.seconds_spent)
            record(exported | {"bytes": artifact.num_bytes}, results)


if __name__ == "__main__":
    typer.run(main)
