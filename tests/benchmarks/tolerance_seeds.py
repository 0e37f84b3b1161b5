"""Scores of many seeds: bias, coverage and doubts, on a plain network and on networks far wrong on rare masks.

    python -m tests.benchmarks.tolerance_seeds --seeds 400 --worker 0 --workers 8

The product scores the first windows of the tiny corpus; the truth is many draws of other seeds. Seeds worker, worker +
workers, ... are run; a worker prints a table of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from bpb_harness.adapters import load_model
from bpb_harness.denoiser import Denoiser
from bpb_harness.evaluation.inputs import find_text
from bpb_harness.evaluation.job import Job, ModelIdentity
from bpb_harness.evaluation.score import score
from bpb_harness.evaluation.settings import Settings
from bpb_harness.result import UNTRUSTED_ERROR, BpbResult
from bpb_harness.schedule import NoiseLevel, parse_schedule

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
VOCABULARY, LENGTH = 512, 128


@dataclass
class RarelyWrong:
    """Knows what ``base`` knows, or nothing, and is sure of a token that does not occur where a mask is ``rare``."""

    rare: Callable[[Tensor], Tensor]
    base: Denoiser | None = None
    cost: float = 60.0
    vocab_size: int = VOCABULARY
    mask_token_id: int = VOCABULARY
    context_length: int = LENGTH
    time_conditioned: bool = False

    def logits(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        """(B, L) tokens to (B, L, V) logits."""
        wrong = self.rare(xt == self.mask_token_id)
        logits = torch.zeros(*xt.shape, VOCABULARY) if self.base is None else self.base.logits(xt, level).clone()
        logits[wrong] = 0.0
        logits[wrong, :, VOCABULARY - 1] = self.cost
        return logits


def one_alone(masked: Tensor) -> Tensor:
    """Masks of one token."""
    return masked.sum(dim=-1) <= 1


def all_but_one(masked: Tensor) -> Tensor:
    """Masks that leave one token, or none."""
    return masked.sum(dim=-1) >= masked.shape[-1] - 1


def by_sum(masked: Tensor) -> Tensor:
    """One mask in 128, by the sum of its positions."""
    return (masked * torch.arange(1, masked.shape[-1] + 1)).sum(dim=-1) % 128 == 5


def main(
    seeds: Annotated[int, typer.Option(help="Seeds of each row, over all workers.")] = 400,
    worker: int = 0,
    workers: int = 1,
) -> None:
    """Print one row for each network and setting."""
    torch.set_num_threads(1)
    loaded, adapted = load_model(FIXTURES / "checkpoints" / "mdlm-tiny.pt")
    tiny = adapted.model
    assert isinstance(tiny, Denoiser)
    text = find_text(loaded, Settings(data=FIXTURES / "corpora" / "tiny_val_000000.bin"))

    def run(model: Denoiser, **settings: Any) -> BpbResult:
        chosen = Settings(method="mc", device="cpu", check_contract=False, **settings)
        return score(Job(model, text, chosen, parse_schedule("loglinear"), ModelIdentity("0" * 64)))

    report = Table()
    for column in ("network", "bias / its error", "mc_stderr / spread", "held", "doubted", "held or doubted", "wider"):
        report.add_column(column, justify="right")
    rows: list[tuple[str, Denoiser, dict[str, Any]]] = [
        ("mdlm-tiny, 10", tiny, {"num_samples": 2, "limit": 10}),
        ("mdlm-tiny, 10", tiny, {"tolerance": 0.05, "limit": 10}),
        ("mdlm-tiny, 60", tiny, {"tolerance": 0.012, "limit": 60}),
        ("uniform, low, 10", RarelyWrong(one_alone), {"num_samples": 2, "limit": 10}),
        ("uniform, low, 10", RarelyWrong(one_alone), {"tolerance": 0.2, "limit": 10}),
        ("uniform, high, 10", RarelyWrong(all_but_one), {"tolerance": 0.2, "limit": 10}),
        ("low on tiny, 10", RarelyWrong(one_alone, tiny), {"tolerance": 0.2, "limit": 10}),
        ("uniform, sum, 10", RarelyWrong(by_sum), {"tolerance": 0.2, "limit": 10}),
    ]
    for name, model, settings in rows:
        limit = settings["limit"]
        truths = [run(model, num_samples=256, seed=10_000 + i, limit=limit).bits_per_byte for i in range(8)]
        truth, unsure = float(np.mean(truths)), float(np.std(truths, ddof=1)) / len(truths) ** 0.5
        found = [run(model, seed=seed, **settings) for seed in range(worker, seeds, workers)]
        value = np.array([result.bits_per_byte for result in found])
        held = np.array([result.ci95[0] <= truth <= result.ci95[1] for result in found])
        codes = [{remark.code for remark in result.remarks} for result in found]
        doubted = np.array([UNTRUSTED_ERROR in of for of in codes])
        spread = float(value.std(ddof=1))
        report.add_row(
            f"{name} {settings}",
            f"{(value.mean() - truth) / np.hypot(spread / len(value) ** 0.5, unsure):+.1f}",
            f"{np.sqrt(np.mean([result.mc_stderr**2 for result in found])) / spread:.2f}",
            *(f"{100 * share.mean():.1f} %" for share in (held, doubted, held | doubted)),
            f"{100 * np.mean(['tolerance.missed' in of for of in codes]):.1f} %",
        )
    Console(width=150).print(report)


if __name__ == "__main__":
    typer.run(main)
