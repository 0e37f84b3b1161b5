"""Score every window of a corpus at many mask rates, several masks each: the table behind the statements on errors.

    python tests/benchmarks/level_table.py CHECKPOINT --adapter golf-mdlm --data lab_val_000000.bin --out table.npz

From one such table thousands of seeds of any design of the mask rates are simulated without the network; see
estimator_variance.py and error_calibration.py beside this file. Masks come from the package's own streams, so that any
of them can be made again from (seed, window, sample): sample = level * draws + draw, fixed counts after all others.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import Progress

from bpb_harness.adapters import load_model
from bpb_harness.denoiser import masked_token_nll
from bpb_harness.sampling.bigram import bigram_difficulty, count_bigrams
from bpb_harness.sampling.design import size_biased_masks, stack_mask_noise
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.text.corpus import load_shards
from tests.spans import windows_of


def masks_of_count(noise: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """Uniformly random sets of exactly ``count`` masked positions: those with the smallest noise, (B, L) bool."""
    order = torch.argsort(noise, dim=-1)
    ranks = torch.empty_like(order).scatter_(1, order, torch.arange(noise.shape[1]).expand_as(order).contiguous())
    return ranks < count.unsqueeze(-1)


def main(
    checkpoint: Path,
    data: Annotated[Path, typer.Option(help="Token shard, or a folder of them.")],
    out: Annotated[Path, typer.Option(help="Where the table goes (.npz).")],
    adapter: str | None = None,
    levels: Annotated[int, typer.Option(help="Mask rates: midpoints of equal cells of (0, u_max).")] = 64,
    draws: Annotated[int, typer.Option(help="Size-biased masks at each rate.")] = 6,
    fixed_draws: Annotated[int, typer.Option(help="Masks of a fixed count at each rate.")] = 2,
    limit: Annotated[int | None, typer.Option(help="Only the first so many windows.")] = None,
    context: int | None = None,
    device: str = "cpu",
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16")] = "float32",
    batch_tokens: int = 131072,
    seed: int = 1106,
) -> None:
    """Fill the table and write it."""
    place = torch.device(device)
    _, model = load_model(checkpoint, adapter=adapter, device=place, dtype=getattr(torch, dtype))
    denoiser, schedule = model.model, model.schedule
    assert schedule is not None
    corpus = load_shards([data])
    windows = windows_of(corpus, context or denoiser.context_length, limit=limit)
    difficulty = bigram_difficulty(corpus, windows, count_bigrams(corpus, windows))
    num_windows = len(windows)
    v = (np.arange(levels) + 0.5) / levels
    u = v * schedule.max_mask_rate
    shape = (num_windows, levels, draws + fixed_draws)
    nats = np.zeros(shape, dtype=np.float32)  # C / |M|
    square = np.zeros(shape, dtype=np.float32)  # mean squared negative log-likelihood of the masked tokens
    count = np.zeros(shape, dtype=np.int32)  # |M|
    streams = RandomStreams(seed)
    by_draw = np.stack(np.meshgrid(np.arange(draws + fixed_draws), np.arange(levels), indexing="ij"), -1).reshape(-1, 2)
    began = time.perf_counter()
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("masks", total=len(by_draw))
        for draw, level_index in by_draw:
            fixed = draw >= draws
            sample = levels * draws + level_index * fixed_draws + draw - draws if fixed else level_index * draws + draw
            for length in np.unique(windows.lengths):
                members = np.flatnonzero(windows.lengths == length)
                rows = max(1, batch_tokens // int(length))
                for part in (members[i : i + rows] for i in range(0, len(members), rows)):
                    x0 = torch.from_numpy(
                        np.stack([corpus.read(int(s), int(s) + int(length)) for s in windows.starts[part]])
                    )
                    level = schedule.level_at(torch.full((len(part),), float(u[level_index]), dtype=torch.float64))
                    lengths = np.full(len(part), int(length))
                    noise, target = stack_mask_noise(streams, part, np.full(len(part), sample), lengths, int(length))
                    if fixed:
                        k = max(1, round(1 + (int(length) - 1) * float(u[level_index])))
                        masked = masks_of_count(noise, torch.full((len(part),), k))
                    else:
                        masked = size_biased_masks(noise, target, level)
                    with torch.inference_mode():
                        nll = masked_token_nll(denoiser, x0.to(place), masked.to(place), level.to(place))
                    size = masked.sum(-1)
                    nats[part, level_index, draw] = (nll.sum(-1).cpu() / size).numpy()
                    square[part, level_index, draw] = ((nll**2).sum(-1).cpu() / size).numpy()
                    count[part, level_index, draw] = size.numpy()
            progress.advance(task)
    assert np.isfinite(nats).all()
    partial = out.with_suffix(".partial.npz")
    np.savez_compressed(
        partial, v=v, u=u, u_max=schedule.max_mask_rate, nats=nats, square=square, count=count, num_size_biased=draws,
        difficulty=difficulty, starts=windows.starts, num_tokens=windows.lengths, seed=seed,
        checkpoint=checkpoint.name, device=device, dtype=dtype,
    )  # fmt: skip
    partial.rename(out)
    seconds = time.perf_counter() - began
    rate = int(windows.lengths.sum()) * len(by_draw) / seconds
    print(f"{out}: {shape} in {seconds:.0f} s, {rate:,.0f} tokens/s")


if __name__ == "__main__":
    typer.run(main)
