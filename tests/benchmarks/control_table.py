"""Add the control variate of every mask to a table of level_table.py: the masks are made again from its seed.

python -m tests.benchmarks.control_table table.npz --data lab_val_000000.bin
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from bpb_harness.sampling.bigram import count_bigrams
from bpb_harness.sampling.control_variate import NeighbourCode
from bpb_harness.sampling.design import stack_mask_noise
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.text.corpus import load_shards
from bpb_harness.text.spans import Spans
from tests.benchmarks.level_table import masks_of_count
from tests.one_span import control_of_masks, mean_code_length, token_units


def main(table: Path, data: Annotated[Path, typer.Option(help="The token shard that was scored.")]) -> None:
    """Rewrite the table with the arrays ``control`` and ``neighbour_curve`` added."""
    with np.load(table) as stored:
        arrays = {name: stored[name] for name in stored.files}
    corpus = load_shards([data])
    windows = Spans.without_context(arrays["starts"], arrays["starts"] + arrays["num_tokens"])
    code = NeighbourCode.of(count_bigrams(corpus, windows))
    streams = RandomStreams(int(arrays["seed"]))
    count, u = arrays["count"].astype(np.int64), arrays["u"]
    _, levels, draws = count.shape
    size_biased = int(arrays["num_size_biased"])
    level, draw = (index.ravel() for index in np.meshgrid(np.arange(levels), np.arange(draws), indexing="ij"))
    fixed = draw >= size_biased
    sample = np.where(
        fixed, levels * size_biased + level * (draws - size_biased) + draw - size_biased, level * size_biased + draw
    )
    control = np.empty(count.shape, dtype=np.float32)
    curve = np.empty((len(windows), 3))
    for window, length in enumerate(windows.lengths):
        lengths = np.full(len(sample), int(length))
        noise, target = stack_mask_noise(streams, np.full(len(sample), window), sample, lengths, int(length))
        masked = noise < torch.from_numpy(u[level]).unsqueeze(-1)
        masked = masked.scatter(1, target.unsqueeze(-1), True)
        size = torch.from_numpy(count[window].ravel())
        masked = torch.where(torch.from_numpy(fixed).unsqueeze(-1), masks_of_count(noise, size), masked)
        assert torch.equal(masked.sum(-1), size), "the table's masks are not those of its seed"
        units = token_units(code, corpus, windows, window)
        at_count = (count[window].ravel() - 1.0) / max(int(length) - 1, 1)
        control[window] = control_of_masks(units, masked.numpy(), at_count).reshape(levels, draws)
        # Quadratic in u: three values give it.
        at = np.array([0.0, 0.5, 1.0])
        curve[window] = np.linalg.solve(np.vander(at, increasing=True), mean_code_length(units, at))
    partial = table.with_suffix(".partial.npz")
    np.savez_compressed(partial, **(arrays | {"control": control, "neighbour_curve": curve}))
    partial.rename(table)


if __name__ == "__main__":
    typer.run(main)
