"""Time and peak memory of counting official bytes, side by side with the plain formula.

The plain formula is what evaluators write: gather the bytes of every token, gather its leading space and its
predecessor's boundary, sum over the whole array. Times are the best of the repeats, without the tracer; peaks are of
numpy's allocations, by tracemalloc, in runs of their own. The shard is read from the page cache in both.

    python tests/benchmarks/bench_bytes.py --tokenizer MODEL --data SHARD ... [--tokens 62021846] [--repeats 3]
"""

from __future__ import annotations

import argparse
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bpb_harness.byte_count import ByteCounter, PieceKind, Tokenizer, load_tokenizer
from bpb_harness.text.corpus import load_shards


def plain_formula(tokenizer: Tokenizer, *, two_gathers: bool) -> Callable[[np.ndarray], int]:
    kinds = tokenizer.piece_kinds
    boundary = np.isin(kinds, (PieceKind.CONTROL, PieceKind.UNKNOWN, PieceKind.UNUSED))
    symbol = "\u2581".encode()
    leads = np.array([piece.startswith(symbol) for piece in tokenizer.piece_bytes]) & ~boundary
    base = np.array([len(piece.removeprefix(symbol)) for piece in tokenizer.piece_bytes], np.int16)
    base[boundary] = 0

    def count(tokens: np.ndarray) -> int:
        spaces = leads[tokens]
        if not two_gathers:  # the third one, which matters only where a space follows a boundary
            spaces[1:] &= ~boundary[tokens[:-1]]
            spaces[:1] = False
        return int(base[tokens].sum(dtype=np.int64)) + int(spaces.sum())

    return count


def best_time(call: Callable[[], int], repeats: int) -> tuple[float, int]:
    times, result = [], 0
    for _ in range(repeats):
        begin = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - begin)
    return min(times), result


def peak_bytes(call: Callable[[], int]) -> int:
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def repeated_shard(folder: Path, data: list[str], num_tokens: int) -> Path:
    corpus = load_shards(data)
    path = folder / "repeated_000000.bin"
    tokens = corpus.read(0, corpus.num_tokens).astype("<u2")
    header = np.zeros(256, "<i4")
    header[:3] = 20240520, 1, num_tokens
    with path.open("wb") as file:
        file.write(header.tobytes())
        for start in range(0, num_tokens, len(tokens)):
            file.write(tokens[: num_tokens - start].tobytes())
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--tokens", type=int, default=62_021_846)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    tokenizer = load_tokenizer(options.tokenizer)
    counter = ByteCounter(tokenizer)
    with tempfile.TemporaryDirectory() as folder:
        path = repeated_shard(Path(folder), options.data, options.tokens)
        tokens = np.memmap(path, dtype="<u2", mode="r", offset=1024)
        corpus = load_shards([path])
        calls: dict[str, Callable[[], int]] = {
            "ours, official, array": lambda: counter.total(tokens, "official"),
            "ours, official, corpus": lambda: counter.total(corpus, "official"),
            "ours, exact, corpus": lambda: counter.total(corpus, "exact"),
        }
        for two_gathers in (True, False):
            formula = plain_formula(tokenizer, two_gathers=two_gathers)
            name = "plain, two gathers" if two_gathers else "plain, three gathers"
            calls[name] = lambda formula=formula: formula(tokens)
        rows = {name: (*best_time(call, options.repeats), peak_bytes(call)) for name, call in calls.items()}
    reference = rows["plain, two gathers"]
    print(f"{options.tokens:,} tokens")
    for name, (seconds, num_bytes, peak) in rows.items():
        print(
            f"{name:24} {num_bytes:>13,} bytes {seconds:7.3f} s (x {seconds / reference[0]:.3f}) "
            f"peak {peak / 2**20:8.1f} MiB (x {peak / reference[2]:.4f})"
        )


if __name__ == "__main__":
    main()
