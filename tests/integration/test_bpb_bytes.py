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
from tests.tiers import some_of, thorough


def bpb_bytes(*arguments, check=True):
    done = run_here(main, *arguments)
    if check:
        assert done.returncode == 0, done.stderr
        assert without_progress(done.stderr) == ""
    return done


def as_json(*arguments, code=0):
    done = bpb_bytes(*arguments, "--format", "json", check=code == 0)
    assert done.returncode == code
    return own_json(done.stdout)


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
        "--tokenizer", folder / "t.model", "--data", folder / "val_000000.bin", "--docs", tmp_path / "other.jsonl",
        code=2,
    )  # fmt: skip
    assert "BPB179" in codes(report)
    assert report["lossless"] is False


def trained(texts, **settings):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=model, model_type="bpe", hard_vocab_limit=False, num_threads=1,
        minloglevel=2, **settings,
    )  # fmt: skip
    return model.getvalue()


@pytest.fixture(scope="module")
def lossy(folder, tmp_path_factory):
    """Input that is well formed and whose tokens do not give its text back: what it is, its options, what is said."""
    made = tmp_path_factory.mktemp("lossy")
    right = ["--tokenizer", folder / "t.model"]
    shard = ["--data", folder / "val_000000.bin"]
    words = ["the cat sat on the mat", "the rat ate", "cat"] * 9
    (made / "foreign.model").write_bytes(
        trained(words, vocab_size=330, byte_fallback=True, user_defined_symbols=("cat", "rat", "sat"))
    )
    (made / "unknown.model").write_bytes(trained(["abc abd acd bcd"] * 9, vocab_size=12))
    (made / "lower.model").write_bytes(
        trained(["abc abd acd bcd"] * 9, vocab_size=280, byte_fallback=True, normalization_rule_name="nmt_nfkc_cf")
    )
    (made / "other.jsonl").write_text('{"text": "the mat"}\n')
    (made / "capital.jsonl").write_text('{"text": "Abc"}\n')
    (made / "symbol.jsonl").write_text('{"text": "another \\u2581 text"}\n')
    return {
        "foreign": (["--tokenizer", made / "foreign.model", *shard], "BPB172", "give the --tokenizer that wrote the"),
        "documents": (
            [*right, *shard, "--docs", made / "other.jsonl"],
            "BPB179",
            "give the --docs that the shards were",
        ),
        "symbol": (
            [*right, *shard, "--docs", made / "symbol.jsonl"],  # whose U+2581 alone would be no reason
            "BPB179",
            "give the --docs that the shards were",
        ),
        "unknown": (["--tokenizer", made / "unknown.model", "--docs", made / "other.jsonl"], "BPB171", "--bytes none"),
        "letters": (["--tokenizer", made / "lower.model", "--docs", made / "capital.jsonl"], "BPB181", "--bytes none"),
    }


@pytest.mark.parametrize("kind", ["foreign", "documents", "symbol", "unknown", "letters"])
def test_tokens_that_do_not_give_the_text_back_are_refused_behind_the_report(lossy, tmp_path, kind):
    """It has no bits per byte, and bpb-eval refuses it: a report that says so does not end as if all were well."""
    words, code, step = lossy[kind]
    done = bpb_bytes(*words, check=False)
    assert done.returncode == 2
    (line,) = without_progress(done.stderr).splitlines()
    assert line.startswith(f"bpb-bytes: {words[1]}: the tokens do")
    assert f"got {code} (" in line
    assert step in line
    assert f"{code} {'warning' if code == 'BPB179' else 'error'}" in done.stdout
    assert "nothing that bits may be divided by" in done.stdout
    assert "what bits are divided by" not in done.stdout
    report = as_json(*words, code=2)
    assert report["lossless"] is False
    assert code in codes(report)
    to_file = bpb_bytes(*words, "--format", "json", "--output", tmp_path / "report.json", check=False)
    assert (to_file.returncode, to_file.stdout) == (2, "")
    assert own_json((tmp_path / "report.json").read_text()) == report


def test_no_finding_that_is_an_error_ends_with_exit_0(folder, lossy, tmp_path):
    """And none that only warns is refused: of the first few documents, and of one that holds U+2581."""
    (tmp_path / "symbol.jsonl").write_text('{"text": "the \\u2581 cat"}\n')
    (tmp_path / "first.jsonl").write_text('{"text": "the cat sat on the mat"}\n')
    right = ["--tokenizer", folder / "t.model"]
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "t.model"))
    both = [token for text in ("the \u2581 cat", "the mat") for token in (processor.bos_id(), *processor.encode(text))]
    write_shard(tmp_path / "symbol_000000.bin", both)
    for words in (
        [*right, "--docs", tmp_path / "symbol.jsonl"],
        [*right, "--docs", tmp_path / "first.jsonl", "--data", folder / "val_000000.bin"],
        [*right, "--docs", tmp_path / "symbol.jsonl", "--data", tmp_path / "symbol_000000.bin"],
    ):
        report = as_json(*words)
        assert "error" not in {found["severity"] for found in report["findings"]}
        text = bpb_bytes(*words).stdout
        assert "what bits are divided by" in text
        assert "--bytes none" not in text


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


@thorough(everyday="integration/test_startup.py::test_help_imports_nothing_slow")
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
@pytest.mark.parametrize("name", some_of(LAB_TABLE, everyday=1))
def test_the_table_of_known_tokenizers(lab, name):
    report = as_json(
        "--tokenizer", lab / "tokenizers" / f"{name}.model", "--docs", lab / "text" / "lab_val_docs.jsonl",
        code=2 if "no_byte_fallback" in name else 0,
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
        report = as_json("--tokenizer", lab / "tokenizers" / f"{name}.model", "--data", shard, code=2)
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
