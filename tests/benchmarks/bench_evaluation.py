"""Evaluation throughput against the loops that people write, and the time to a score known to +- 0.001 bits per byte.

The network has the shape of a public contest entry: 11 layers, width 512, 8 heads, 33 M parameters, conditioned on the
noise, windows of 2,048 tokens. Its weights are random, which does not change the speed. All rows of a table come from
one run on one card; the limit is the time that the network's multiplications take at the rate of a large bfloat16
matrix product, measured in the same run, with the head at masked positions alone.

    python tests/benchmarks/bench_evaluation.py throughput [--layers 11 --width 512]
    python tests/benchmarks/bench_evaluation.py precision --checkpoint CKPT --data SHARD --tokenizer MODEL [--repeat 44]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bpb_harness.adapters import golf_mdlm, load_model
from bpb_harness.denoiser import Denoiser
from bpb_harness.estimators import ContinuousBound
from bpb_harness.evaluation.batches import DrawPlan, DrawSource, peak_memory_bytes
from bpb_harness.evaluation.device_source import DeviceSource
from bpb_harness.evaluation.draws import plan_draws, run_draws
from bpb_harness.evaluation.runner import MaskedNllRunner
from bpb_harness.kernels import specialising
from bpb_harness.sampling.design import StratifiedDesign
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import LogLinear, NoiseLevel
from bpb_harness.text.corpus import load_shards
from tests.spans import end_to_end

SCHEDULE = LogLinear(1e-3)
VOCAB = 1024


def write_checkpoint(path: Path, *, layers: int, width: int, heads: int, hidden: int, context: int) -> int:
    """A golf-mdlm state dict with random weights; returns its number of parameters without tables."""
    generator = torch.Generator().manual_seed(0)
    conditioning, freqs, sigma_hidden, half_head = 128, 64, 512, width // heads // 2

    def weights(*shape: int) -> Tensor:
        return (torch.randn(shape, generator=generator) * shape[-1] ** -0.5).bfloat16()

    tensors = {
        "wte.weight": weights(VOCAB + 64, width),
        "head.weight": weights(VOCAB + 64, width),
        "sigma_map.mlp.0.weight": weights(sigma_hidden, 2 * freqs),
        "sigma_map.mlp.0.bias": torch.zeros(sigma_hidden).bfloat16(),
        "sigma_map.mlp.2.weight": weights(conditioning, sigma_hidden),
        "sigma_map.mlp.2.bias": torch.zeros(conditioning).bfloat16(),
    }
    for layer in range(layers):
        block = f"blocks.{layer}."
        tensors |= {f"{block}attn.{name}.weight": weights(width, width) for name in ("c_q", "c_k", "c_v", "c_proj")}
        tensors |= {f"{block}adaln_{name}.proj.weight": weights(2 * width, conditioning) for name in ("attn", "mlp")}
        tensors |= {f"{block}adaln_{name}.proj.bias": torch.zeros(2 * width).bfloat16() for name in ("attn", "mlp")}
        tensors |= {f"{block}mlp_fc.weight": weights(hidden, width), f"{block}mlp_proj.weight": weights(width, hidden)}
    count = sum(tensor.numel() for tensor in tensors.values())
    angle = torch.outer(torch.arange(context), 10_000.0 ** (-torch.arange(half_head) / half_head))
    tensors |= {"cos": angle.cos()[None, :, None].bfloat16(), "sin": angle.sin()[None, :, None].bfloat16()}
    tensors["sigma_map.freqs"] = torch.exp(-torch.arange(freqs) / freqs * np.log(10_000.0)).bfloat16()
    torch.save(tensors, path)
    return count


def write_shard(path: Path, tokens: np.ndarray) -> Path:
    header = np.zeros(256, dtype="<i4")
    header[:3] = 20240520, 1, len(tokens)
    path.write_bytes(header.tobytes() + tokens.astype("<u2").tobytes())
    return path


def operations_per_token(*, layers: int, width: int, hidden: int, context: int) -> float:
    """Multiplications and additions of matrix products for one token, half of the tokens unembedded."""
    block = 2 * (4 * width * width + 2 * width * hidden) + 4 * context * width
    return layers * block + 0.5 * 2 * width * (VOCAB + 64)


def seconds_of(call: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median seconds of a call, after one that does not count."""
    call()
    times = []
    for _ in range(repeats):
        _wait(device)
        begin = time.perf_counter()
        call()
        _wait(device)
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_product_rate(device: torch.device, repeats: int = 20) -> float:
    """Operations a second of a large bfloat16 matrix product on random data."""
    size = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2.0 * size**3 / seconds_of(lambda: a @ b, device, repeats)


class PlainLoop:
    """What evaluators write: noise on the device, logits everywhere, cross-entropy of all positions times the mask."""

    def __init__(self, denoiser: Denoiser, tokens: Tensor, rows: int, *, compiled: bool) -> None:
        self._denoiser, self._tokens, self._rows = denoiser, tokens, rows
        self._step = torch.compile(self._plain_step) if compiled else self._plain_step

    def _plain_step(self, x0: Tensor, masked: Tensor, t: Tensor, alpha: Tensor, dalpha: Tensor) -> Tensor:
        xt = torch.where(masked, self._denoiser.mask_token_id, x0)
        logits = self._denoiser.logits(xt, NoiseLevel(t, alpha, dalpha))[..., :VOCAB].float()
        nll = functional.cross_entropy(logits.flatten(0, 1), x0.flatten(), reduction="none").view(x0.shape)
        return (nll * masked).sum(dim=-1) / alpha.neg().add(1.0)

    def run(self, num_windows: int) -> float:
        total = 0.0
        with torch.inference_mode():
            for start in range(0, num_windows, self._rows):
                x0 = self._tokens[start : start + self._rows]
                t = torch.rand(len(x0), dtype=torch.float64, device=x0.device)
                level = SCHEDULE.level(t)
                masked = torch.rand(x0.shape, device=x0.device) < level.mask_rate.unsqueeze(-1)
                total += float(self._step(x0, masked, level.t, level.alpha_t, level.dalpha_t).sum())
        return total


@contextlib.contextmanager
def network_as_written() -> Iterator[None]:
    """Without the faster forms that the adapter has for compiled scoring."""
    kept = specialising.is_specialised
    golf_mdlm.is_specialised = specialising.is_specialised = lambda: False
    try:
        yield
    finally:
        golf_mdlm.is_specialised = specialising.is_specialised = kept


class Bench:
    """A random network and a random text on a device, and the runs that are timed."""

    def __init__(self, folder: Path, options: argparse.Namespace, device: torch.device) -> None:
        self.device, self.context, self.rows, self.num_windows = device, options.context, options.rows, options.windows
        self.shape = {"layers": options.layers, "width": options.width, "hidden": 3 * options.width}
        self.shape["context"] = options.context
        path = folder / "random.pt"
        self.num_parameters = write_checkpoint(path, heads=options.width // 64, **self.shape)
        _, adapted = load_model(path, adapter="golf-mdlm", device=device, dtype=torch.bfloat16)
        assert isinstance(adapted.model, Denoiser)
        self.denoiser = adapted.model
        values = np.random.default_rng(0).integers(0, VOCAB, self.num_windows * self.context)
        corpus = load_shards([write_shard(folder / "random.bin", values)])
        self.tokens = torch.from_numpy(values.reshape(self.num_windows, self.context)).to(device)
        windows = end_to_end([self.context] * self.num_windows)
        host = DrawSource(corpus, windows, SCHEDULE)
        self.source = DeviceSource(host, device) if device.type == "cuda" else host
        self.runner = MaskedNllRunner(self.denoiser, device, dtype=torch.bfloat16, compiled=options.compiled)

    def warm_up(self) -> float:
        """Compile; returns the seconds that it took."""
        begin = time.perf_counter()
        plan = self._plan(self.num_windows)
        self.runner.warm_up(self.source.prepare(plan, RandomStreams(0), np.arange(min(self.rows, self.num_windows))))
        return time.perf_counter() - begin

    def product(self, num_windows: int) -> object:
        """The product's pass over some windows, masks and control variate included."""
        return run_draws(
            self.runner, self.source, self._plan(num_windows), RandomStreams(0), device=self.device,
            batch_tokens=self.rows * self.context,
        )  # fmt: skip

    def forward_tokens(self, num_windows: int) -> int:
        """Tokens that the product's pass puts through the network: some windows are drawn twice, for the error."""
        return len(self._plan(num_windows)) * self.context

    def plain(self, rows: int, *, compiled: bool = False) -> Callable[[int], object]:
        """A plain loop with batches of some rows."""
        return PlainLoop(self.denoiser, self.tokens, rows, compiled=compiled).run

    def _plan(self, num_windows: int) -> DrawPlan:
        design = StratifiedDesign(RandomStreams(0), np.arange(num_windows), 1)
        return plan_draws(ContinuousBound(SCHEDULE, 1), num_windows, design)


def bench_throughput(options: argparse.Namespace) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options, device)
        rate = matrix_product_rate(device)
        limit = rate / operations_per_token(**bench.shape)
        compile_seconds = bench.warm_up()
        many = bench.num_windows
        runs: list[tuple[str, Callable[[int], object], int]] = [
            ("plain loop, batch 1", bench.plain(1), min(max(many // 16, 1), 128)),
            ("plain loop, batched", bench.plain(bench.rows), min(max(many // 2, 1), 1024)),
        ]
        if options.compiled:
            runs.append(("plain loop, compiled", bench.plain(bench.rows, compiled=True), min(many, 2048)))
        table: list[tuple[str, float]] = []
        with network_as_written():
            for name, run, use in runs:
                seconds = seconds_of(lambda run=run, use=use: run(use), device, 3)  # type: ignore[misc]
                table.append((name, use * bench.context / seconds))
        if device.type == "cuda":  # what the loops above held is not the product's
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        seconds = seconds_of(lambda: bench.product(many), device, 3)
        peak = peak_memory_bytes(device)
        table.append(("bpb-harness", bench.forward_tokens(many) / seconds))
        # A card at the end of its power lowers its clocks: what it does for milliseconds it does not do for seconds.
        lasting = matrix_product_rate(device, 1_500 if device.type == "cuda" else 20)
        card = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
        print(f"{card}, torch {torch.__version__}; {bench.num_parameters / 1e6:.1f} M parameters")
        print(f"windows of {bench.context}, {bench.rows} a batch")
        print(f"matrix product {rate / 1e12:.0f} TFLOP/s; limit {limit / 1e6:.2f} M tokens/s")
        print(f"matrix product for seconds on end, as the rows below run: {lasting / 1e12:.0f} TFLOP/s")
        print(f"{'':24}{'M tokens/s':>12}{'of limit':>10}{'x batch 1':>11}")
        for row, speed in table:
            print(f"{row:24}{speed / 1e6:12.3f}{speed / limit:10.1%}{speed / table[0][1]:11.1f}")
        print("; ".join([f"{compile_seconds:.1f} s before", *(remark.message for remark in bench.runner.remarks)]))
        if peak is not None:
            print(f"peak memory of bpb-harness {peak / 1e9:.2f} GB")
            few = min(many, 1024)
            profile(bench.product, few, bench.forward_tokens(few))


def profile(run: Callable[[int], object], num_windows: int, num_tokens: int) -> None:
    """Where the device's time goes, by kind of kernel."""
    from torch.profiler import ProfilerActivity

    with torch.profiler.profile(activities=[ProfilerActivity.CUDA]) as recorded:
        begin = time.perf_counter()
        run(num_windows)
        torch.cuda.synchronize()
        seconds = time.perf_counter() - begin
    rows = sorted(recorded.key_averages(), key=lambda row: -row.self_device_time_total)
    kinds = {"attention": 0.0, "matrix products": 0.0, "copies": 0.0, "the rest (memory)": 0.0}
    for row in rows:
        kinds[_kind(row.key)] += row.self_device_time_total
    busy = sum(kinds.values()) / 1e6
    print(f"\none run under the profiler: {seconds:.3f} s, device busy {busy:.3f} s")
    for kind, microseconds in kinds.items():
        print(f"{kind:24}{microseconds / 1e6 / busy:8.1%}{1e3 * microseconds / num_tokens:10.1f} ns/token")
    for row in rows[:14]:
        print(f"    {row.self_device_time_total / 1e6 / busy:6.1%} {row.count:6} x {row.key[:90]}")


def _kind(kernel: str) -> str:
    name = kernel.lower()
    if name.startswith(("triton_per", "triton_poi", "triton_red")):  # named after their neighbours
        return "the rest (memory)"
    if any(word in name for word in ("flash", "fmha", "attention", "sdpa")):
        return "attention"
    products = ("gemm", "nvjet", "cutlass", "cublas", "triton_tem", "_squared_relu", "_turned_qk")
    if any(word in name for word in products):
        return "matrix products"
    return "copies" if "memcpy" in name or "memset" in name else "the rest (memory)"


def bench_precision(options: argparse.Namespace) -> None:
    """The command, from its start to its result, on a text repeated to the size of the contest's validation set."""
    with tempfile.TemporaryDirectory() as folder:
        raw = np.fromfile(options.data, dtype="<u2", offset=1024)
        shard = write_shard(Path(folder) / "val_repeated_000000.bin", np.tile(raw, options.repeat))
        command = [
            sys.executable, "-m", "bpb_harness", "eval",
            options.checkpoint, "--data", str(shard), "--tokenizer", options.tokenizer, "--method", "mc",
            "--tolerance", str(options.tolerance), "--dtype", "bfloat16", "--format", "json", *options.more,
        ]  # fmt: skip
        for attempt in ("first", "again, programs of the compiler cached")[: options.attempts]:
            begin = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
            seconds = time.perf_counter() - begin
            if done.returncode:
                print(done.stderr[-2000:])
                raise SystemExit(done.returncode)
            result = json.loads(done.stdout)
            half = (result["ci95"][1] - result["ci95"][0]) / 2
            passes = result["num_forward_tokens"] / result["num_tokens"]
            print(f"{attempt}: {seconds:.1f} s in all, of which {result['seconds']:.1f} s scoring")
            print(
                f"    {result['num_tokens']:,} tokens, {passes:.0f} passes: {result['bits_per_byte']:.5f} +- {half:.5f}"
            )
            print(f"    {result['forward_tokens_per_second'] / 1e6:.2f} M tokens/s on {result['device']}")
            print(f"    peak memory {result['peak_memory_bytes']} bytes")
            print("\n".join(f"    {finding['message']}" for finding in result["findings"]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    throughput = commands.add_parser("throughput")
    throughput.add_argument("--layers", type=int, default=11)
    throughput.add_argument("--width", type=int, default=512)
    throughput.add_argument("--context", type=int, default=2048)
    throughput.add_argument("--windows", type=int, default=8192, help="windows a run")
    throughput.add_argument("--rows", type=int, default=132, help="windows a batch")
    throughput.add_argument("--no-compile", dest="compiled", action="store_false")
    throughput.set_defaults(run=bench_throughput)
    precision = commands.add_parser("precision")
    for name in ("checkpoint", "data", "tokenizer"):
        precision.add_argument(f"--{name}", required=True)
    precision.add_argument("--repeat", type=int, default=44)
    precision.add_argument("--tolerance", type=float, default=0.001)
    precision.add_argument("--attempts", type=int, default=2)
    precision.add_argument("more", nargs="*", help="further flags of bpb-eval, after --")
    precision.set_defaults(run=bench_precision)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
