"""`bpb-bytes` as a user runs it: the numbers of known tokenizers, its output, its errors."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import numpy as np
import pytest
import sentencepiece

from bpb_harness.cli.bytes import main
from tests.commands import run_here
from tests.own_json import own_json
from tests.printed import without_progress
from tests.spans import windows_of


def bpb_bytes(*arguments, check=True):
    done = run_here(main, *arguments)
    if check:
        assert done.returncode == 0, done.stderr
        assert without_progress(done.stderr) == ""
    return done


def as_json(*arguments):
    return own_json(bpb_bytes(*arguments, "--format", "json").stdout)


def codes(report):
    return [found["code"] for found in report["findings"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tokenizer, documents, and their shard."""
    folder = tmp_path_factory.mktemp("bytes")
    texts = ["the cat sat on the mat", "the rat ate\nthe cat", "caf\u00e9 \U0001f600"] * 10
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type="bpe",
        vocab_size=300,
        hard_vocab_limit=False,
        byte_fallback=True,
        num_threads=1,
        minloglevel=2,
    )
    (folder / "t.model").write_bytes(model.getvalue())
    (folder / "docs.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    tokens = [token for text in texts for token in [processor.bos_id(), *processor.encode(text)]]
    write_shard(folder / "val_000000.bin", tokens)
    return folder


def write_shard(path, tokens):
    header = np.zeros(256, "<i4")
    header[:3] = 20240520, 1, len(tokens)
    path.write_bytes(header.tobytes() + np.asarray(tokens, "<u2").tobytes())


def test_shards_and_documents_agree(folder):
    shard = as_json("--tokenizer", folder / "t.model", "--data", folder / "val_000000.bin")
    docs = as_json("--tokenizer", folder / "t.model", "--docs", folder / "docs.jsonl")
    both = as_json(
        "--tokenizer", folder / "t.model", "--data", folder / "val_*.bin", "--docs", folder / "docs.jsonl"
    )  # fmt: skip
    raw = 10 * (22 + 19 + 5 + 1 + 4)
    for report in (shard, docs, both):
        assert report["num_bytes_official"] == report["num_bytes_exact"] == raw
        assert report["bytes_per_token"] == raw / report["num_tokens"]
        assert report["lossless"] is True
    assert shard["num_bytes_raw"] is None
    assert docs["num_bytes_raw"] == both["num_bytes_raw"] == docs["num_bytes_normalized"] == raw
    assert codes(shard) == []
    assert codes(docs) == codes(both) == ["BPB175"]
    assert both["findings"][0]["evidence"]["reason"] == "dropped_newline"
    assert both["findings"][0]["evidence"]["document"] == 1
    assert both["findings"][0]["evidence"]["position"] == 11


def test_documents_that_are_not_those_of_the_shards(folder, tmp_path):
    (tmp_path / "other.jsonl").write_text('{"text": "the mat"}\n')
    report = as_json(
        "--tokenizer", folder / "t.model", "--data", folder / "val_000000.bin", "--docs", tmp_path / "other.jsonl"
    )
    assert "BPB179" in codes(report)
    assert report["lossless"] is False


def test_no_empty_table_where_nothing_differs(repository):
    corpora = repository / "fixtures" / "corpora"
    tokenizer = repository / "fixtures" / "tokenizers" / "tiny_512_bpe.model"
    text = bpb_bytes("--tokenizer", tokenizer, "--docs", corpora / "tiny_val_docs.jsonl").stdout
    assert "\nnothing differs\n" in text
    assert "where they differ" not in text


def test_the_table(folder):
    text = bpb_bytes(
        "--tokenizer", folder / "t.model", "--data", folder / "val_000000.bin", "--docs", folder / "docs.jsonl"
    ).stdout
    for words in (
        "official",
        "exact",
        "raw text",
        "510",
        "x 1.00000",
        "lossless",
        "yes",
        "dropped a newline",
        "BPB175",
    ):
        assert words in text


def test_output_goes_to_a_file_whole(folder, tmp_path):
    out = tmp_path / "report.json"
    done = bpb_bytes(
        "--tokenizer", folder / "t.model", "--data", folder / "val_000000.bin", "--format", "json", "--output", out
    )
    assert done.stdout == ""
    assert own_json(out.read_text(encoding="utf-8"))["num_bytes_official"] == 510


def test_a_process_ends_like_the_command_does_here(folder, tmp_path):
    for tokenizer, code in ((folder / "t.model", 0), (tmp_path / "none.model", 2)):
        words = ["--tokenizer", str(tokenizer), "--data", str(folder / "val_000000.bin")]
        program = [sys.executable, "-c", "from bpb_harness.cli.bytes import main; main()", *words]
        done = subprocess.run(program, capture_output=True, text=True, encoding="utf-8", check=False)
        here = bpb_bytes(*words, check=False)
        assert done.returncode == here.returncode == code
        assert (done.stdout, done.stderr) == (here.stdout, here.stderr)


def test_help_does_not_import_torch(folder):
    script = (
        "import sys\n"
        "from bpb_harness.cli.bytes import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "print('torch' in sys.modules)\n"
    )
    for arguments in (["--help"], ["--tokenizer", folder / "t.model", "--data", folder / "val_000000.bin"]):
        done = subprocess.run(
            [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, check=True
        )
        assert done.stdout.endswith("False\n")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.model", b"no model", "not a tokenizer"),
        ("t.model", None, "No such file"),
        ("v.bin", b"\x00" * 1030, "wrong magic number"),
        ("v.bin", "truncated", "does not have the length"),
        ("v.bin", "foreign", "token 1 lies outside the vocabulary: got 60000"),
        ("d.jsonl", b'{"text": "a"}\nnonsense\n', "line 2 is not JSON"),
        ("d.jsonl", b'{"text": "a"}\n{"text": "\xe2\x28"}\n', "invalid UTF-8 at byte 24"),
        ("d.jsonl", None, "no such file"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(folder, tmp_path, name, content, words):
    path = tmp_path / name
    if content in ("truncated", "foreign"):
        write_shard(path, [1, 60000, 2])
        content = path.read_bytes()[: -2 if content == "truncated" else None]
    if content is not None:
        path.write_bytes(content)
    given = {"t.model": folder / "t.model", "v.bin": folder / "val_000000.bin", "d.jsonl": folder / "docs.jsonl"}
    given[name] = path
    done = bpb_bytes(
        "--tokenizer", given["t.model"], *(("--docs", path) if name == "d.jsonl" else ("--data", given["v.bin"])),
        check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tokenizer", "t.model"], "nothing to count"),
        (["--data", "x"], "--tokenizer"),
        (["--tokenizer", "t.model", "--data", "x", "--format", "xml"], "text or json"),
        (["--tokenizer", "t.model", "--data", "x", "--output", "no/such/folder/x"], "folder"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(arguments, words):
    done = bpb_bytes(*arguments, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


# The official counts come from the leaderboard's own counting code; unknown tokens from the library's is_unknown.
LAB_TABLE = {
    "fineweb_1024_bpe": (1_418_141, 3_324_116, 0),
    "fineweb_8192_bpe": (942_632, 3_324_116, 0),
    "fineweb_4096_bpe_no_byte_fallback": (1_039_225, 3_306_054, 12_851),
    "no_bare_space": (3_216_061, 4_055_534, 0),
    "caseops_8192_bpe": (1_057_160, 3_324_116, 0),
}
LAB_EXACT = {"no_bare_space": 3_337_013}
LAB_CODES = {
    "no_bare_space": ["BPB170", "BPB175"],
    "fineweb_4096_bpe_no_byte_fallback": ["BPB171", "BPB173", "BPB174", "BPB175"],
}


@pytest.mark.lab
@pytest.mark.parametrize("name", LAB_TABLE)
def test_the_table_of_known_tokenizers(lab, name):
    report = as_json(
        "--tokenizer", lab / "tokenizers" / f"{name}.model", "--docs", lab / "text" / "lab_val_docs.jsonl"
    )  # fmt: skip
    counted = (report["num_tokens"], report["num_bytes_official"], report["num_unknown_tokens"])
    assert counted == LAB_TABLE[name]
    assert report["num_bytes_raw"] == 3_338_011
    if name != "fineweb_4096_bpe_no_byte_fallback":
        assert report["num_bytes_exact"] == LAB_EXACT.get(name, 3_324_116) == report["num_bytes_normalized"]
    assert report["lossless"] is (name != "fineweb_4096_bpe_no_byte_fallback")
    assert codes(report) == LAB_CODES.get(name, ["BPB175"])


@pytest.mark.lab
def test_shards_read_with_a_foreign_tokenizer_are_found_out(lab):
    shard = lab / "text" / "lab_val_000000.bin"
    for name in ("fineweb_8192_bpe", "no_bare_space", "caseops_8192_bpe", "fineweb_4096_bpe_no_byte_fallback"):
        report = as_json("--tokenizer", lab / "tokenizers" / f"{name}.model", "--data", shard)
        assert "BPB172" in codes(report), name
        assert report["lossless"] is False
    right = as_json("--tokenizer", lab / "tokenizers" / "fineweb_1024_bpe.model", "--data", shard)
    assert codes(right) == []
    assert right["num_bytes_official"] == 3_324_116


@pytest.mark.lab
def test_the_bytes_of_the_first_windows(lab):
    from bpb_harness.byte_count import ByteCounter, load_tokenizer
    from bpb_harness.text.corpus import load_shards
    from bpb_harness.text.spans import span_bytes

    corpus = load_shards([lab / "text" / "lab_val_000000.bin"])
    windows = windows_of(corpus, 2048, limit=96)
    counter = ByteCounter(load_tokenizer(lab / "tokenizers" / "fineweb_1024_bpe.model"))
    assert int(span_bytes(corpus, windows, counter).sum()) == 464_115
    dropped = windows_of(corpus, 1024, tail="drop")
    # The official autoregressive evaluator predicts all tokens but the first of those windows, and one token more.
    official = int(span_bytes(corpus, dropped, counter).sum())
    after = counter.span(corpus, dropped.num_tokens, dropped.num_tokens + 1)
    assert official + int(after[0]) == 3_322_052
