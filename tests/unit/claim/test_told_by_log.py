"""What logs tell beside scores: parts of the text, gates of hints, and sizes of packed networks."""

from __future__ import annotations

import pytest

from bpb_harness.claim.log_reader import read_log

_SCORE = "final_exact val_loss:2.0 val_bpb:1.18"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("  val_doc_fraction: 0.02", (0.02, None, None)),
        ("eval_fraction=0.5", (0.5, None, None)),
        ('"eval_doc_frac": .25,', (0.25, None, None)),
        ("val_token_fraction: 1.0", (1.0, None, None)),
        ("e2e_ttt: starting eval on 1000 docs, chunk_size=48", (None, 1000, None)),
        ("scoring over 2,500 documents", (None, 2500, None)),
        ("ttt_sliding:start chunks=2 chunk_tokens=32768 stride=64", (None, None, 65536)),
        ("ttt: num_chunks: 3, chunk_size: 100", (None, None, 300)),
        ("sliding total_windows=10 stride=64", (None, None, 640)),
        ("test-time training: chunks=2 chunk_tokens=32768 lora_rank=8 world_size=8", (None, None, 65536)),
        ("e2e_ttt: starting eval on 1000 docs, chunk_size=48, world_size=8", (None, 1000, None)),
        ("rank 0: e2e_ttt_eval_frac=0.5", (0.5, None, None)),
        ("eval: scored 1,000 of 62000 validation tokens", (1000 / 62000, None, None)),
        ("Evaluated on 512 out of the 1024 windows", (1.0, None, None)),  # may be of its way to the whole
        ("evaluated 100 of 400 documents", (0.25, None, None)),
    ],
)
def test_a_part_that_is_told(line: str, told: tuple[float | None, int | None, int | None]) -> None:
    (found,) = read_log(f"seed: 1\n{line}\n{_SCORE}", "train.log").parts
    assert (found.fraction, found.documents, found.tokens) == told
    assert (found.source.line, found.run) == (2, 0)


@pytest.mark.parametrize(
    "line",
    [
        "val_frac: 0.1",  # what was split off of one's own data
        "eval_stride_frac=0.5",
        "warmdown_frac: 0.72",
        "retrieval_fraction: 0.1",
        "val_doc_fraction: 2 %",
        "eval done: 5000 docs/s",
        "trained on 1000 docs",
        "chunk_tokens=32768",
        "grad_chunks=2 chunk_tokens=32768",
        "train_eval_frac: 0.1",
        "proxy_eval_doc_fraction=0.05",
        "rank 0: eval on 6250 docs",
        "[rank3] scoring over 6250 documents",
        "gpu 3: eval on 6250 docs",
        "rank=3 chunks=29 chunk_tokens=32768",
        "gptq: calibration chunks=64 chunk_tokens=2048",
        "doc 12: chunks=3 chunk_size=256",
        "warmup: total_windows=4 stride=64",
        "train: chunks=4 chunk_tokens=2048",
        "rank 1: scored 10 of 400 windows",
        "doc 12: scored 10 of 400 tokens",
        "calibration: evaluated 10 of 400 windows",
        "scored 3 of 4",
        "1 of 8 windows",
    ],
)
def test_other_settings_tell_of_no_part(line: str) -> None:
    assert read_log(f"{line}\n{_SCORE}", "train.log").parts == ()


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("hints total=47 gated=13 token_gate=1 within_gate=9 word_gate=3 agree2plus=3", [12]),
        ("within_gate: 0, word_gate: 0", [0]),
        ("word_gate=5", [5]),
        ("token_gate=628130", []),
        ("interferometer_gate:0.0689 swithin_gate=4 within_gate=0.5", []),
    ],
)
def test_gates_of_hints(line: str, counts: list[int]) -> None:
    assert [each.num_within for each in read_log(f"{line}\n{_SCORE}", "train.log").gates] == counts


@pytest.mark.parametrize(
    ("line", "size"),
    [
        ("Serialized model int8+zlib: 13279699 bytes (payload:17188644 raw_torch:17234389)", 13279699),
        ("Serialized model int8+zstd-22: 15,749,104 bytes", 15749104),
        ("serialized_model_int8_zlib:9354004 bytes", 9354004),
        ("Quantized+compressed (LZMA) = 15924324 bytes", 15924324),
        ("Total submission size quantized+brotli: 15924324bytes", 15924324),
    ],
)
def test_the_size_of_a_packed_network(line: str, size: int) -> None:
    (found,) = read_log(f"{line}\n{_SCORE}", "train.log").packed
    assert (found.value, found.source.line, found.name) == (size, 1, line[: line.index("bytes") + 5])


@pytest.mark.parametrize(
    "line",
    [
        "Serialized model: 67235929 bytes",
        "zlib level: 9, Code size: 60996 bytes",
        "zlib: 12 MB of bytes",
        "Serialized model int8+zlib: 13279699",
        'log0(f"Serialized model int8+zlib: {size} bytes")',
    ],
)
def test_sizes_of_nothing_that_is_packed(line: str) -> None:
    assert read_log(f"{line}\n{_SCORE}", "train.log").packed == ()
