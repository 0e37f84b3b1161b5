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
    assert (found.fraction, found.count, found.tokens) == told
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
        "eval_max_seq_len: 2048",
        "val_batch_max_tokens: 65536",
        "train_max_tokens: 1000000",
        "ngram_eval_max_order: 9",
        "eval_max_windows: 0",
        "eval_max_window: 2048",
        "eval_max_docs_tokens: 4096",
        "max_windows: 512",
        "eval_max_windows: 5e3",
        "eval_max_chunk_tokens: 4096",
        "eval_max_seconds: 600",
        "proxy_eval_max_tokens: 65536",
    ],
)
def test_other_settings_tell_of_no_part(line: str) -> None:
    assert read_log(f"{line}\n{_SCORE}", "train.log").parts == ()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("eval_max_windows: 512", (512, "windows")),
        ("  max_val_tokens=1_048_576", (1_048_576, "tokens")),
        ('    "final_eval_max_seqs": 64,', (64, "windows")),
        ("train_seq_len:1024 seed:1 val_token_limit:65,536 use_compile:True", (65_536, "tokens")),
        ("eval_doc_cap=100", (100, "documents")),
        ("validation_subset_sequences: 128", (128, "windows")),
        ("EVAL_BATCHES_LIMIT=4", (4, "batches")),
    ],
)
def test_a_limit_that_is_set(line: str, told: tuple[int, str]) -> None:
    (found,) = read_log(f"{line}\n{_SCORE}", "train.log").parts
    assert (found.count, found.unit, found.is_counted) == (*told, False)


@pytest.mark.parametrize(
    ("tail", "told"),
    [
        (" tokens:1048576", (None, 1_048_576, "tokens")),
        (" eval_time:12ms tokens=1,048,576 docs:9", (None, 1_048_576, "tokens")),
        (" windows:512/60568", (512 / 60568, None, None)),
        (" (docs=100 of 50000)", (0.002, None, None)),
        (" docs:500", (None, 500, "documents")),
        (" windows:512", None),
        (" batch_tokens:524288", None),
        (" tokens:7.2B", None),
        (" tokens:72M", None),
        (" rank 3 tokens:1048576", None),
        (" rank 3 eval_tokens:1048576", (None, 1_048_576, "tokens")),
    ],
)
def test_what_the_line_of_a_score_counts(tail: str, told: tuple[float | None, int | None, str | None] | None) -> None:
    (line,) = read_log(_SCORE + tail, "train.log").lines
    counted = line.counted
    assert (None if counted is None else (counted.fraction, counted.count, counted.unit)) == told
    assert line.scored_tokens == (told[1] if told and told[2] == "tokens" else None)


@pytest.mark.parametrize("tail", [" tokens:65536", " windows:64/60568"])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_score_that_is_printed_twice_is_counted_once(tail: str, is_first: bool) -> None:
    lines = ["final val_loss:2.0000 val_bpb:1.1812", "final_exact val_loss:2.00000000 val_bpb:1.18123456"]
    lines[0 if is_first else 1] += tail
    one, other = read_log("\n".join(lines), "train.log").lines
    assert one.counted == other.counted is not None
    assert one.scored_tokens == other.scored_tokens == (65536 if "tokens" in tail else None)
    lines[1] = lines[1].replace("1.18123456", "1.18134567")
    assert [line.counted is None for line in read_log("\n".join(lines), "train.log").lines] == [not is_first, is_first]
    assert [line.counted is None for line in read_log("\nseed: 1\n".join(lines), "f").lines] == [not is_first, is_first]


def test_tokens_in_front_of_a_score_or_on_a_step_are_not_those_that_it_scored() -> None:
    (line,) = read_log(f"final tokens:1048576 {_SCORE[6:]}", "train.log").lines
    assert line.counted is None
    (line,) = read_log("step:5/10 val_loss:2.0 val_bpb:1.18 tokens:1048576", "train.log").lines
    assert line.counted is None


@pytest.mark.parametrize(
    ("text", "window"),
    [("train_seq_len:1024 eval_seq_len: 2048", 2048), ('"block_size": 512', 512), ("seq_len 512", None)],
)
def test_the_longest_window(text: str, window: int | None) -> None:
    assert read_log(f"{text}\n{_SCORE}", "train.log").window == window


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
    ("line", "size", "half_unit"),
    [
        ("Compressed artifact: 13.28 MB", 13_280_000, 5_000),
        ("compressed model = 13.3MB, code 0.1MB", 13_300_000, 50_000),
        ("int8+zlib model: 12.5 MiB", 13_107_200, 50_000),
        ("Packed weights: 15,924,324 bytes", 15_924_324, 0.5),
    ],
)
def test_the_size_of_a_packed_network_in_other_words(line: str, size: int, half_unit: float) -> None:
    (found,) = read_log(f"{line}\n{_SCORE}", "train.log").packed
    assert (found.value, found.half_unit, found.source.line) == (size, pytest.approx(half_unit), 1)
    assert str(found) == str(size)


@pytest.mark.parametrize(
    ("line", "sizes"),
    [
        ("artifact: 15.92 MB", [15_920_000]),
        ("Compressed artifact: 16.28 MB (cap 16 MB)", [16_280_000]),
        ("Artifact size: 16,021,004 bytes", [16_021_004]),
        ("int8+zlib artifact: 15.3 MB", [15_300_000]),
        ("Estimated artifact size: 22.1 MB", []),
        ("params=24 est_fp16_artifact: 48 MB", []),
        ("artifact limit: 16 MB", []),
        ("raw artifact: 67.2 MB", []),
    ],
)
def test_the_size_of_the_artifact_in_other_units(line: str, sizes: list[int]) -> None:
    assert [size.value for size in read_log(f"{line}\n{_SCORE}", "train.log").artifact_bytes] == sizes


@pytest.mark.parametrize(
    "line",
    [
        "Serialized model: 67235929 bytes",
        "Uncompressed model: 67.2 MB",
        "Compressed model: 0.0 MB",
        "Compressed code size: 21.5 MB",
        "zlib level: 9, Code size: 60996 bytes",
        "zlib: 12 MB of bytes",
        "Serialized model int8+zlib: 13279699",
        'log0(f"Serialized model int8+zlib: {size} bytes")',
    ],
)
def test_sizes_of_nothing_that_is_packed(line: str) -> None:
    assert read_log(f"{line}\n{_SCORE}", "train.log").packed == ()
