"""What ``bpb_harness.nelbo`` costs beside a forward pass and a loss on the same masks, as ratios in one run.

    python -m tests.benchmarks.bench_nelbo [--device cuda] [--rounds 30]

The bare step is what a training loop would do: mask, call the network, cross-entropy at the masked positions, weigh.
Its masks and noise levels are made beforehand; those of ``nelbo``, the same, are made in the call. Steps alternate, and
each pair gives a ratio, of processor time where there is no other device; the table holds their medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

import bpb_harness
from bpb_harness.estimators import nelbo as inside
from bpb_harness.networks.reference import ReferenceConfig, ReferenceDenoiser, ReferenceTransformer
from bpb_harness.schedule import LogLinear, NoiseLevel

SCHEDULE, SEED = LogLinear(0.001), 1


class Transformer(nn.Module):
    """A denoiser of torch's own layers, which gives logits of all positions."""

    time_conditioned = False

    def __init__(self, vocab_size: int, length: int, width: int, depth: int) -> None:
        super().__init__()
        self.vocab_size = self.mask_token_id = vocab_size
        self.context_length = length
        self.embed, self.place = nn.Embedding(vocab_size + 1, width), nn.Embedding(length, width)
        layer = nn.TransformerEncoderLayer(width, max(width // 64, 1), 4 * width, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.out = nn.Linear(width, vocab_size)

    def logits(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        places = torch.arange(xt.shape[1], device=xt.device)
        logits: Tensor = self.out(self.layers(self.embed(xt) + self.place(places)))
        return logits


class Prepared:
    """A bare step on masks that are there already."""

    def __init__(self, network: object, x0: Tensor, *, at_masked: bool) -> None:
        generator, (batch, length) = torch.Generator().manual_seed(SEED), x0.shape
        bound = inside._bound_of(SCHEDULE, 1, None)
        level = SCHEDULE.level_at(bound.mask_rate(inside._positions(1, batch, generator)[0]))
        masked = inside.draw_masks(level, torch.zeros(batch, dtype=torch.int64), length, generator)
        self.network, self.x0, self.level, self.masked = network, x0, level.to(x0.device), masked.to(x0.device)
        self.places, self.at_masked = masked.flatten().nonzero()[:, 0].to(x0.device), at_masked
        weights = length / masked.sum(dim=-1).double() / (batch * length)
        self.weights = weights.repeat_interleave(masked.sum(dim=-1)).float().to(x0.device)

    def loss(self) -> Tensor:
        network, x0 = self.network, self.x0
        xt = x0.masked_fill(self.masked, network.mask_token_id)
        if self.at_masked:
            logits = network.head(network.hidden_at(xt, self.level, self.places))
        else:
            logits = network.logits(xt, self.level).flatten(0, 1).index_select(0, self.places)
        targets = x0.flatten().index_select(0, self.places)
        nll = functional.cross_entropy(logits.float(), targets, reduction="none")
        return (nll * self.weights).sum()


def seconds(step: Callable[[], object], device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    clock = time.perf_counter if device == "cuda" else time.process_time
    begin = clock()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - begin


def compare(network: object, x0: Tensor, rounds: int, *, at_masked: bool, backward: bool) -> tuple[float, float]:
    """Milliseconds of the bare step, and the median ratio."""
    bare, device = Prepared(network, x0, at_masked=at_masked), x0.device.type
    found = bpb_harness.nelbo(network, x0, schedule=SCHEDULE, seed=SEED)
    with torch.no_grad():
        drawn = float((found.nats - found.prior_nats).sum()) / x0.numel()
        assert abs(float(bare.loss()) * SCHEDULE.max_mask_rate / drawn - 1.0) < 1e-4

    def by_hand() -> None:
        with torch.set_grad_enabled(backward):
            loss = bare.loss()
        if backward:
            loss.backward()

    def by_nelbo() -> None:
        found = bpb_harness.nelbo(network, x0, schedule=SCHEDULE, differentiable=backward, seed=SEED)
        if backward:
            found.nats_per_token.backward()

    for _ in range(3):
        by_hand()
        by_nelbo()
    pairs = []
    for turn in range(rounds):  # whichever comes first finds its memory as the other left it
        taken = {step: seconds(step, device) for step in ((by_hand, by_nelbo) if turn % 2 else (by_nelbo, by_hand))}
        pairs.append((taken[by_hand], taken[by_nelbo]))
    return 1e3 * statistics.median(one for one, _ in pairs), statistics.median(two / one for one, two in pairs)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    torch.manual_seed(0)
    large = options.device == "cuda"
    batch, length, vocab_size, width, depth = (32, 1024, 8192, 512, 8) if large else (16, 128, 512, 128, 4)
    config = ReferenceConfig(vocab_size, length, depth, width, width // 64, 4 * width)
    reference = ReferenceTransformer(config).to(options.device)
    cases = [
        ("torch's layers", Transformer(vocab_size, length, width, depth).to(options.device), False),
        ("the reference network", ReferenceDenoiser(reference), True),
    ]
    x0 = torch.randint(vocab_size, (batch, length), device=options.device)
    print(f"{options.device}, torch {torch.__version__}: {batch} windows of {length}, width {width}, depth {depth}")
    for name, network, at_masked in cases:
        for backward in (False, True):
            bare, ratio = compare(network, x0, options.rounds, at_masked=at_masked, backward=backward)
            what = "forward and backward" if backward else "forward"
            print(f"| {name} | {what} | {bare:.1f} ms | {ratio:.3f} |")


if __name__ == "__main__":
    main()
