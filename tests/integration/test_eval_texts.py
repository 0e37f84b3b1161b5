"""Scores of one text in every form that is read, against a plain sum; what stands between documents is said."""

from __future__ import annotations

import gzip
import itertools
import json
import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from bpb_harness.errors import CorpusError, UsageError
from bpb_harness.evaluation import api as evaluation
from tests.shards import write_shard

PIECES = ["<s>", "</s>", "<pad>", *"abcd \u00e9"]
TEXTS = ["abba", "cad \u00e9", "dab", "b"]
V = len(PIECES)
BOS, EOS, PAD = 0, 1, 2
NUM_BYTES = sum(len(text.encode()) for text in TEXTS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tokenizer, and a network that looks one token back."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "letters.json").write_text(json.dumps(PIECES))
    (folder / "net.py").write_text(
        "import torch\n"
        "class Net:\n"
        f"    vocab_size, context_length = {V}, 4\n"
        f"    table = torch.randn({V}, {V}, generator=torch.Generator().manual_seed(1))\n"
        "    def logits(self, x):\n"
        "        return self.table[x]\n"
        "def load(path, device):\n"
        "    return Net()\n"
    )
    return folder


def bits_of(pairs):
    """Minus log2 of the table's probabilities, by hand."""
    import torch

    table = torch.randn(V, V, generator=torch.Generator().manual_seed(1)).double().numpy()
    log_probs = table - np.log(np.exp(table).sum(-1, keepdims=True))
    return -sum(log_probs[before, after] for before, after in pairs) / math.log(2)


def encode(text):
    return [PIECES.index(character) for character in text]


def stream(*, before=None, behind=None):
    around = [[] if token is None else [token] for token in (before, behind)]
    return [token for text in TEXTS for token in [*around[0], *encode(text), *around[1]]]


def score(folder, **given):
    usual = {"check_contract": False, "tokenizer": folder / "letters.json"}
    return evaluation.evaluate(
        folder / "letters.json",
        model=f"{folder / 'net.py'}:load",
        allow_code=True,
        method="ar",
        device="cpu",
        **{**usual, **given},
    )


def remark(result, code="text.separator"):
    return [one.message for one in result.remarks if one.code == code]


def as_lines(key="text"):
    return "".join(json.dumps({key: text}) + "\n" for text in TEXTS)


def test_one_text_in_every_form_is_one_score(folder, tmp_path):
    tokens = stream(before=BOS)
    right = bits_of(itertools.pairwise(tokens)) / NUM_BYTES
    (tmp_path / "a.JSON").write_text(as_lines())
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(as_lines("body").encode()))
    pd.DataFrame({"text": TEXTS}).to_parquet(tmp_path / "c.parquet")
    np.array(tokens, "<u2").tofile(tmp_path / "d.bin")
    np.save(tmp_path / "e.npy", np.array(tokens, ">i4"))
    forms = [
        ({"docs": tmp_path / "a.JSON"}, "a (JSON lines)"),
        ({"docs": tmp_path / "b.jsonl.gz", "text_field": "body"}, "b (gzip-compressed JSON lines)"),
        ({"docs": tmp_path / "c.parquet"}, "c (Parquet)"),
        ({"data": tmp_path / "d.bin", "shard_format": "uint16"}, "d (uint16 tokens without a header)"),
        ({"data": tmp_path / "e.npy"}, "e (NumPy arrays)"),
    ]
    digests = set()
    for given, form in forms:
        result = score(folder, **given)
        assert result.bits_per_byte == pytest.approx(right, rel=1e-6)
        assert result.length.num_bytes == NUM_BYTES
        assert f"scored {form}, found through" in remark(result, "data")[0]
        assert result.to_dict()["separator_id"] == BOS
        digests.add(str(result.signature).partition("@")[2].partition("|")[0])
    assert len(digests) == 1


def test_a_score_by_documents_ends_where_they_end(folder, tmp_path):
    ends = write_shard(tmp_path / "eos.bin", stream(behind=EOS))
    starts = write_shard(tmp_path / "bos.bin", stream(before=BOS))
    (tmp_path / "d.jsonl").write_text(as_lines())
    by_bos = [pair for text in TEXTS for pair in zip([BOS, *encode(text)], encode(text), strict=False)]
    # each border token is paid for by the document before it
    by_bos += [(encode(text)[-1], BOS) for text in TEXTS[:-1]]
    for given in ({"data": starts}, {"docs": tmp_path / "d.jsonl"}):
        result = score(folder, per_document=True, context_length=4, with_windows=True, **given)
        assert result.length.num_tokens == len(by_bos)
        assert result.bits_per_byte == pytest.approx(bits_of(by_bos) / NUM_BYTES, rel=1e-6)
        assert "'<s>' (id 0)" in remark(result)[0]
    result = score(folder, data=ends, per_document=True, context_length=4, with_windows=True, separator=EOS)
    by_eos = [pair for text in TEXTS for pair in zip([EOS, *encode(text)], [*encode(text), EOS], strict=True)][1:]
    assert result.length.num_tokens == len(by_eos)
    first = len(encode(TEXTS[0])[0:1])  # the text's first token is given, not paid for
    assert result.bits_per_byte == pytest.approx(bits_of(by_eos) / (NUM_BYTES - first), rel=1e-6)
    lengths = [len(text) for text in TEXTS]
    documents = result.windows.groupby("first_document")["num_tokens"].sum().tolist()
    assert sum(documents) == sum(lengths) + len(TEXTS) - 1
    assert "'</s>' (id 1) behind each document" in remark(result)
    assert "|sep:1|" in str(result.signature)


def test_windows_never_reach_over_a_border(folder, tmp_path):
    tokens = stream(behind=EOS)
    path = write_shard(tmp_path / "eos.bin", tokens)
    result = score(folder, data=path, per_document=True, separator="</s>", with_windows=True)
    at_eos = [index for index, token in enumerate(tokens) if token == EOS]
    for start, length in zip(result.windows["start"], result.windows["num_tokens"], strict=True):
        assert not any(start <= at < start + length - 1 for at in at_eos)  # EOS only at a window's end


def test_no_border_no_score_by_documents(folder, tmp_path):
    for name, tokens, given, words in [
        ("a.bin", stream(), {}, r"nothing sets documents off in a: got no '<s>' \(id 0\), expected a token before or"),
        ("b.bin", stream(behind=PAD), {}, "pass --separator ID for the one that does, or the documents with --docs"),
        ("c.bin", stream(before=BOS), {"separator": "2"}, r"got no .*'<pad>' \(id 2\)"),
    ]:
        path = write_shard(tmp_path / name, tokens)
        with pytest.raises(CorpusError, match=words):
            score(folder, data=path, per_document=True, **given)
        score(folder, data=path, **given)  # which needs no borders
    score(folder, data=tmp_path / "b.bin", per_document=True, separator="<pad>")


def test_what_stands_between_documents_is_in_the_result(folder, tmp_path):
    (tmp_path / "d.jsonl").write_text(as_lines())
    for separator, token, sentence in [
        (None, BOS, "'<s>' (id 0) stands before each document: by its name alone; no file names a BOS or EOS, "),
        ("1", EOS, "'</s>' (id 1) stands before each document: --separator 1"),
        ("none", None, "nothing stands between documents: --separator none"),
    ]:
        result = score(folder, docs=tmp_path / "d.jsonl", separator=separator)
        assert remark(result)[0].startswith(sentence)
        assert result.to_dict().get("separator_id") == token
        tokens = stream(before=token)
        paid = itertools.pairwise(tokens)
        first = 0 if token is not None else 1
        assert result.bits_per_byte == pytest.approx(bits_of(paid) / (NUM_BYTES - first), rel=1e-6)
        assert ("|sep:" in str(result.signature)) is (separator is not None)


def test_the_folder_of_a_tokenizer_names_it(folder, tmp_path):
    (tmp_path / "d.jsonl").write_text(as_lines("body"))
    (tmp_path / "tokenizer.json").write_text(json.dumps(PIECES))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<pad>", "eos_token": "</s>"}))
    result = score(folder, docs=tmp_path / "d.jsonl", text_field="body", tokenizer=tmp_path / "tokenizer.json")
    assert remark(result) == ["'<pad>' (id 2) stands before each document: bos_token in tokenizer_config.json"]
    tokens = stream(before=PAD)
    assert result.bits_per_byte == pytest.approx(bits_of(itertools.pairwise(tokens)) / NUM_BYTES, rel=1e-6)
    command = [sys.executable, "-c", "from bpb_harness.cli.bytes import main; main()", "--format", "json"]
    command += ["--tokenizer", tmp_path / "tokenizer.json", "--docs", tmp_path / "d.jsonl", "--text-field", "body"]
    for more, expected in [
        ([], {"id": PAD, "piece": "<pad>", "place": "before", "named_by": "bos_token in tokenizer_config.json"}),
        (["--separator", "1"], {"id": EOS, "piece": "</s>", "place": "before", "named_by": "--separator 1"}),
    ]:
        done = subprocess.run([*map(str, command), *more], capture_output=True, text=True, check=True)
        assert json.loads(done.stdout)["separator"] == expected
        assert json.loads(done.stdout)["num_bytes_raw"] == NUM_BYTES


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"text_field": "body", "data": "d.bin"}, "--text-field: got 'body', expected the key of the text in --docs"),
        ({"shard_format": "npy", "docs": "d.jsonl"}, "--shard-format npy: got no shards, expected --data SHARDS"),
        ({"shard_format": "nanogpt", "data": "d.bin"}, "--shard-format: got 'nanogpt', expected auto or"),
        ({"separator": "<x>", "docs": "d.jsonl"}, "--separator: got '<x>', expected bos, eos, none, an id below"),
    ],
)
def test_flags_that_do_not_go_together(folder, tmp_path, monkeypatch, given, words):
    monkeypatch.chdir(tmp_path)
    write_shard(tmp_path / "d.bin", stream(before=BOS))
    (tmp_path / "d.jsonl").write_text(as_lines())
    with pytest.raises(UsageError, match=words):
        score(folder, **given)


def test_padding_is_no_text(folder, tmp_path):
    tokens = stream(before=BOS)
    for pad in (BOS, EOS, PAD):
        write_shard(tmp_path / "padded.bin", [*tokens, *[pad] * 200])
        asked = {"data": tmp_path / "padded.bin", "check_contract": True}
        with pytest.raises(CorpusError, match=rf"padded is padded.*got 200 times .*id {pad}\) in a row.*--no-contract"):
            score(folder, **asked)
        (said,) = remark(score(folder, data=tmp_path / "padded.bin"), "text.padding")
        assert said.startswith(
            "WARNING: 199 tokens that are paid for and have no byte follow one of their own id (padd"
        )
        assert not remark(score(folder, **asked, limit=len(tokens) // 4 - 1), "text.padding"), "of what is scored alone"
    write_shard(tmp_path / "twice.bin", [BOS, *tokens])
    (said,) = remark(score(folder, data=tmp_path / "twice.bin", check_contract=True), "text.padding")
    assert said.startswith("1 tokens that are paid for and have no byte follow one of their own id (padding or empty")
    write_shard(tmp_path / "plain.bin", [*tokens, *[PIECES.index("a")] * 200])
    assert not remark(score(folder, data=tmp_path / "plain.bin", check_contract=True), "text.padding"), "text"


def test_empty_documents_are_told(folder, tmp_path):
    (tmp_path / "a.jsonl").write_text(as_lines() + json.dumps({"text": ""}) + "\n")
    (said,) = remark(score(folder, docs=tmp_path / "a.jsonl"), "text.empty-documents")
    assert said.startswith("1 of 5 documents are empty")
    (tmp_path / "a.jsonl").write_text(as_lines())
    assert not remark(score(folder, docs=tmp_path / "a.jsonl"), "text.empty-documents")
