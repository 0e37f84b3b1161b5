"""Costs of nested masks: every window's tokens hidden one after the other in some random orders, one more each time.

    python -m tests.benchmarks.nested_table fixtures/checkpoints/mdlm-tiny.pt \
        --data fixtures/corpora/tiny_val_000000.bin --limit 120 --out nested.npz

Two bounds of one draw see nested masks: equal noise at two rates. From this table thousands of seeds of both are
simulated with what they have in common (error_calibration.py), which tables of single masks (level_table.py) do not
hold. Of networks that are not told the noise level, and windows of one length.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from bpb_harness.adapters import load_model
from bpb_harness.denoiser import Denoiser, masked_token_nll
from bpb_harness.sampling.bigram import bigram_difficulty, count_bigrams
from bpb_harness.sampling.control_variate import NATS_PER_UNIT, NeighbourCode, sums_of_masks
from bpb_harness.text.corpus import load_shards
from tests.one_span import mean_code_length, token_units
from tests.spans import windows_of


def main(
    checkpoint: Path,
    data: Annotated[Path, typer.Option(help="Token shard, or a folder of them.")],
    out: Annotated[Path, typer.Option(help="Where the table goes (.npz).")],
    orders: Annotated[int, typer.Option(help="Random orders of the tokens of each window.")] = 8,
    limit: Annotated[int, typer.Option(help="Only the first so many windows.")] = 120,
    seed: int = 20,
) -> None:
    """Fill the table and write it."""
    torch.set_num_threads(1)
    _, adapted = load_model(checkpoint)
    denoiser, schedule = adapted.model, adapted.schedule
    assert isinstance(denoiser, Denoiser)
    assert schedule is not None
    assert not denoiser.time_conditioned
    corpus = load_shards([data])
    windows = windows_of(corpus, denoiser.context_length, limit=limit)
    (length,) = np.unique(windows.lengths).tolist()
    counts = count_bigrams(corpus, windows)
    code = NeighbourCode.of(counts)
    nats = np.empty((len(windows), orders, length), dtype=np.float32)  # C / |M| for |M| = 1 .. L
    neighbours = np.empty_like(nats)  # code length of the same tokens given visible neighbours, over |M|
    curve = np.empty((len(windows), 3))
    at = np.array([0.0, 0.5, 1.0])  # its mean over masks of a rate is quadratic: three values give it
    size = np.arange(1, length + 1)
    level = schedule.level_at(torch.full((length,), 0.5, dtype=torch.float64))
    for window in range(len(windows)):
        x0 = torch.from_numpy(corpus.read(int(windows.starts[window]), int(windows.ends[window])))
        units = token_units(code, corpus, windows, window)
        curve[window] = np.linalg.solve(np.vander(at, increasing=True), mean_code_length(units, at))
        for order in range(orders):
            rank = np.random.default_rng([seed, window, order]).permutation(length)
            masked = rank[None, :] < size[:, None]
            with torch.inference_mode():
                nll = masked_token_nll(denoiser, x0.expand(length, -1), torch.from_numpy(masked), level)
            nats[window, order] = nll.sum(-1).numpy() / size
            sums = sums_of_masks(np.broadcast_to(units[:, None], (4, *masked.shape)), masked)
            neighbours[window, order] = sums.drawn * NATS_PER_UNIT / size
    assert np.isfinite(nats).all()
    np.savez_compressed(
        out, nats=nats, neighbours=neighbours, neighbour_curve=curve,
        difficulty=bigram_difficulty(corpus, windows, counts),
    )  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
