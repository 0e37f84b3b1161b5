"""Speed of the coder of a file of bits, as microseconds a token and as a share of the network's time.

The network is a plain transformer of torch on the CPU, of the size that --width and --layers say, called as a decoder
of T steps calls it: 8 windows at once, T calls for all of their tokens. The share is of coding in calls and coding
together. The last columns are bits above -log2 p, of the integers and of the stream. Best of the repeats, one thread.

    python tests/benchmarks/bench_coder.py [--vocab 512 1024 50257 150000] [--width 256] [--layers 4] [--steps 128]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from bpb_harness.proof.frequencies import frequencies
from bpb_harness.proof.range_coder import Decoder, Encoder

WINDOWS, LENGTH = 8, 256


def best_time(call: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times)


def encoded(counts: np.ndarray, tokens: np.ndarray) -> bytes:
    encoder = Encoder()
    encoder.encode_rows(counts, tokens)
    return encoder.finish()


def decoded(stream: bytes, counts: np.ndarray) -> np.ndarray:
    decoder = Decoder(stream)
    tokens = decoder.decode_rows(counts)
    decoder.finish()
    return tokens


def call_seconds(vocab_size: int, width: int, layers: int, repeats: int) -> float:
    layer = torch.nn.TransformerEncoderLayer(width, width // 32, 4 * width, batch_first=True, norm_first=True)
    trunk = torch.nn.TransformerEncoder(layer, layers, enable_nested_tensor=False).eval()
    embed, head = torch.nn.Embedding(vocab_size, width), torch.nn.Linear(width, vocab_size)
    tokens = torch.zeros(WINDOWS, LENGTH, dtype=torch.int64)
    with torch.inference_mode():
        return best_time(lambda: head(trunk(embed(tokens))), repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab", type=int, nargs="+", default=[512, 1024, 50257, 150000])
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--steps", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    heads = f"{'V':>8} {'frequencies':>12} {'encoder':>9} {'decoder':>9} {'a call':>9} {'share':>7}"
    print(f"{heads}  {'integers':>9} {'the end':>8}")
    print(f"{'':>8} {'us a token':>12} {'us':>9} {'us':>9} {'ms':>9} {'of T':>7}  {'bits each':>9} {'bits':>8}")
    for vocab_size in arguments.vocab:
        logits = 3.0 * random.standard_normal((max((1 << 21) // vocab_size, 8), vocab_size))
        log_probs = torch.log_softmax(torch.from_numpy(logits), dim=-1).numpy()
        tokens = (log_probs + random.gumbel(size=log_probs.shape)).argmax(axis=1)
        counts, num = frequencies(log_probs), len(tokens)
        stream = encoded(counts, tokens)
        assert (decoded(stream, counts) == tokens).all()
        times = [
            best_time(call, arguments.repeats) / num
            for call in (
                lambda given=log_probs: frequencies(given),
                lambda given=(counts, tokens): encoded(*given),
                lambda given=(stream, counts): decoded(*given),
            )
        ]
        call = call_seconds(vocab_size, arguments.width, arguments.layers, arguments.repeats)
        coding = WINDOWS * LENGTH * (times[0] + times[2])
        of_tokens = np.log2(counts[np.arange(num), tokens] / counts[0].sum())
        excess = (log_probs[np.arange(num), tokens] / np.log(2.0) - of_tokens).mean()
        print(
            f"{vocab_size:8d} {1e6 * times[0]:12.2f} {1e6 * times[1]:9.2f} {1e6 * times[2]:9.2f} {1e3 * call:9.1f} "
            f"{coding / (coding + arguments.steps * call):7.2%}  {excess:9.6f} {8 * len(stream) + of_tokens.sum():8.2f}"
        )


if __name__ == "__main__":
    main()
