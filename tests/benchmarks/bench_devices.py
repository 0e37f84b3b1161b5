"""What a machine with one or several GPUs reaches: tokens a second of scoring, command to number, two devices over one.

    python -m tests.benchmarks.bench_devices machine --data SHARD --tokenizer MODEL [--shapes 11x512,4x256]
    python -m tests.benchmarks.bench_devices simulated [--devices 8]

``machine`` scores a shard, repeated to the size of the contest's validation set, with networks of random weights: one
pass, bfloat16, windows of 2,048, by the command as a user types it. The first run of a shape has empty caches of the
compiler, the second one full ones; then as many devices as there are share the text, and their total is compared bit by
bit. The limit is the time that the network's multiplications take at the rate of a large matrix product.

``simulated`` has processes on a CPU, whose network sleeps, share a text: what is lost is the harness's.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bpb_harness.distributed import open_processes
from bpb_harness.estimators import ContinuousBound
from bpb_harness.evaluation.batches import DrawSource
from bpb_harness.evaluation.draws import plan_draws, run_draws
from bpb_harness.evaluation.runner import MaskedNllRunner
from bpb_harness.sampling.design import StratifiedDesign
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import LogLinear, NoiseLevel
from bpb_harness.text.corpus import load_shards
from tests.benchmarks.bench_evaluation import (
    matrix_product_rate,
    operations_per_token,
    write_checkpoint,
    write_shard,
)
from tests.spans import end_to_end

CONTEXT = 2048
_SECONDS_A_BATCH, _BATCHES_A_DEVICE, _ROWS = 0.15, 30, 4


@dataclass(frozen=True)
class Outcome:
    """One run of the command."""

    seconds: float
    result: dict[str, Any]
    resident_bytes: tuple[int, int]

    @property
    def scoring(self) -> float:
        """Seconds of the passes alone."""
        return float(self.result["seconds"])

    def row(self, name: str) -> str:
        """A line of the table."""
        rate = self.result["forward_tokens_per_second"] / 1e6
        phases = ", ".join(f"{key} {value:.1f}" for key, value in self.result["seconds_by_phase"].items())
        gpu = (self.result["peak_memory_bytes"] or 0) / 1e9
        own, files = (size / 1e9 for size in self.resident_bytes)
        memory = f"{gpu:.2f} GB on a device, {own:.2f} + {files:.2f} GB of files resident"
        return f"{name:22}{self.seconds:8.1f} s{self.scoring:8.2f} s{rate:9.2f} M tokens/s   {memory}   {phases}"


def run_command(words: list[str], *, devices: int, caches: Path, by_torchrun: bool = False) -> Outcome:
    """Score by the command."""
    launch: list[str] = []
    if by_torchrun:
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(devices)]
    elif devices > 1:
        words = [*words, "--devices", str(devices)]
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    environment |= {"TORCHINDUCTOR_CACHE_DIR": str(caches / "inductor"), "TRITON_CACHE_DIR": str(caches / "triton")}
    if devices == 1:
        environment["CUDA_VISIBLE_DEVICES"] = "0"
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *launch, "-m", "bpb_harness", "eval", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    seen: list[tuple[int, int]] = [(0, 0)]
    watch = threading.Thread(target=lambda: seen.extend(_resident_while_running(process)))
    watch.start()
    stdout, stderr = process.communicate()
    seconds = time.perf_counter() - begin
    watch.join()
    if process.returncode:
        raise SystemExit(stderr[-3000:])
    return Outcome(seconds, json.loads(stdout), max(seen))


def _resident_while_running(process: subprocess.Popen[str]) -> Iterator[tuple[int, int]]:
    """Bytes of a process's own, and of files, every tenth of a second."""
    while process.poll() is None:
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines()
            sizes = {key: value for key, _, value in (line.partition(":") for line in status)}
            if "RssAnon" in sizes:
                yield int(sizes["RssAnon"].split()[0]) * 1024, int(sizes["RssFile"].split()[0]) * 1024
        time.sleep(0.1)


def measure_machine(options: argparse.Namespace) -> None:
    """One table a shape."""
    raw = np.fromfile(options.data, dtype="<u2", offset=1024)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shard = write_shard(folder / "repeated_000000.bin", np.tile(raw, options.repeat))
        for shape in options.shapes.split(","):
            measure_shape(shape, shard, folder, options)


def measure_shape(shape: str, shard: Path, folder: Path, options: argparse.Namespace) -> None:
    """Cold, warm, and on all devices."""
    layers, width = map(int, shape.split("x"))
    sizes = {"layers": layers, "width": width, "hidden": 3 * width, "context": CONTEXT}
    checkpoint, caches = folder / f"{shape}.pt", folder / f"caches of {shape}"
    count = write_checkpoint(checkpoint, heads=width // 64, **sizes)
    words = [
        str(checkpoint), "--adapter", "golf-mdlm", "--schedule", "loglinear[0.001]", "--data", str(shard),
        "--tokenizer", options.tokenizer, "--method", "mc", "--samples", "1", "--dtype", "bfloat16", "--format", "json",
        *options.more,
    ]  # fmt: skip
    outcomes = {}
    for name in options.runs.split(","):
        is_shared, by_torchrun = name.startswith(("all", "torchrun")), name.startswith("torchrun")
        devices = options.devices if is_shared else 1
        outcomes[name] = run_command(words, devices=devices, caches=caches, by_torchrun=by_torchrun)
        print(outcomes[name].row(f"{shape}, {name} ({devices})"), outcomes[name].result["nats"], flush=True)
    print("\n".join(f"    {finding['message']}" for finding in outcomes[name].result["findings"]))
    card = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rate = matrix_product_rate(card)
    limit = rate / operations_per_token(**sizes)
    what = torch.cuda.get_device_name() if card.type == "cuda" else "cpu"
    print(f"{shape}: {count / 1e6:.1f} M parameters, {what}, torch {torch.__version__}")
    print(f"    limit {limit / 1e6:.1f} M tokens/s at {rate / 1e12:.0f} TFLOP/s", end="")
    one = outcomes.get("warm") or outcomes.get("cold")
    if one is not None:
        print(f"; one device reaches {one.result['forward_tokens_per_second'] / limit:.1%}", end="")
        shared = [outcome for name, outcome in outcomes.items() if name.startswith(("all", "torchrun"))]
        if shared:
            every = shared[-1]
            alike = "equal to the last bit" if every.result["nats"] == one.result["nats"] else "NOT equal"
            print(f"; {options.devices} over one: scoring {one.scoring / every.scoring:.2f}", end="")
            print(f", command to number {one.seconds / every.seconds:.2f}; totals {alike}", end="")
    print(flush=True)


class SleepingNetwork(nn.Module):
    """A network that takes no arithmetic, but time."""

    vocab_size, mask_token_id, context_length, time_conditioned = 64, 64, 16, False

    def logits(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        """Uniform."""
        del level
        time.sleep(_SECONDS_A_BATCH)
        return torch.zeros(*xt.shape, self.vocab_size)


def score_asleep(options: argparse.Namespace) -> None:
    """One process of a simulated machine; the first prints its seconds and the total."""
    torch.set_num_threads(1)
    length, count = SleepingNetwork.context_length, options.batches * _ROWS
    corpus = load_shards([options.data])
    source = DrawSource(corpus, end_to_end([length] * count), LogLinear(1e-3))
    design = StratifiedDesign(RandomStreams(0), np.arange(count), 1, replicates=False)
    plan = plan_draws(ContinuousBound(LogLinear(1e-3), 1), count, design)
    runner = MaskedNllRunner(SleepingNetwork(), torch.device("cpu"))
    source.prepare(plan, RandomStreams(0), np.arange(_ROWS))  # its tables, which a pass finds made
    with open_processes() as processes:
        processes.wait()
        begin = time.perf_counter()
        table = run_draws(
            runner, source, plan, RandomStreams(0), device=torch.device("cpu"), batch_tokens=_ROWS * length,
            processes=processes,
        )  # fmt: skip
        if processes.is_first:
            print(json.dumps([time.perf_counter() - begin, table.nats.sum()]))


def simulate(options: argparse.Namespace) -> None:
    """The same batches in one process and in many."""
    batches, outcomes = options.devices * _BATCHES_A_DEVICE, {}
    with tempfile.TemporaryDirectory() as folder:
        tokens = np.random.default_rng(0).integers(0, 64, batches * _ROWS * SleepingNetwork.context_length)
        shard = write_shard(Path(folder) / "random.bin", tokens)
        for count in (1, options.devices):
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", 0))
                port = listener.getsockname()[1]
            environment = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
            command = [sys.executable, "-m", "tests.benchmarks.bench_devices", "asleep", "--data", str(shard)]
            processes = [
                subprocess.Popen(
                    [*command, "--batches", str(batches)], stdout=subprocess.PIPE, text=True,
                    env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                )
                for rank in range(count)
            ]  # fmt: skip
            said = [process.communicate()[0] for process in processes]
            assert not any(process.returncode for process in processes)
            outcomes[count] = json.loads(said[0])
    (one, total), (many, same) = outcomes[1], outcomes[options.devices]
    assert total == same, "another total"
    print(f"{batches} batches of {_SECONDS_A_BATCH} s: {one:.2f} s in one process, {many:.2f} s in {options.devices}")
    print(f"{options.devices} processes over one: {one / many:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    machine = commands.add_parser("machine")
    for name in ("data", "tokenizer"):
        machine.add_argument(f"--{name}", required=True)
    machine.add_argument("--repeat", type=int, default=44)
    machine.add_argument("--shapes", default="11x512,4x256")
    machine.add_argument("--runs", default="cold,warm,all", help="of cold, warm, all and torchrun")
    machine.add_argument("--devices", type=int, default=max(torch.cuda.device_count(), 1))
    machine.add_argument("more", nargs="*", help="further flags of bpb-eval, after --")
    machine.set_defaults(run=measure_machine)
    simulated = commands.add_parser("simulated")
    simulated.add_argument("--devices", type=int, default=8)
    simulated.set_defaults(run=simulate)
    asleep = commands.add_parser("asleep")
    asleep.add_argument("--data", required=True)
    asleep.add_argument("--batches", type=int, required=True)
    asleep.set_defaults(run=score_asleep)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
