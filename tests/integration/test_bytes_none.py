"""A code that does not give the text back has no bits per byte: it is refused, or scored in bits per token alone."""

from __future__ import annotations

import base64
import io
import json
import math

import numpy as np
import pytest
import sentencepiece
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from typer.testing import CliRunner

from bpb_harness.byte_count import load_tokenizer, lost_by_tokenizer
from bpb_harness.cli.eval import app
from bpb_harness.errors import TokenizerError, UsageError
from bpb_harness.evaluation import api as evaluation
from tests.own_json import own_json
from tests.printed import words_of
from tests.shards import write_shard

LOW = ["the cat sat on the mat", "a rat ate the cat, and 12 mats"]
DOCUMENTS = ["The cat sat on the mat", "A na\u00efve rat ate the cat,\nand 12 mats"]
LOST = "the tokens do not give the text back"


def byte_level(normalizer=None, *before, suffix=None) -> bytes:
    model = models.BPE() if suffix is None else models.BPE(end_of_word_suffix=suffix)
    tokenizer = Tokenizer(model)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*before, whole])
    tokenizer.decoder = decoders.ByteLevel()
    more = {} if suffix is None else {"end_of_word_suffix": suffix}
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False, **more,
    )  # fmt: skip
    tokenizer.train_from_iterator(DOCUMENTS * 3, trainer)
    return tokenizer.to_str().encode()


def word_piece() -> bytes:
    pieces = ["[UNK]", "[CLS]", "[SEP]", "the", "cat", "sat", "on", "mat", "##s", "a", "rat", "ate"]
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[CLS]", "[SEP]"])
    return tokenizer.to_str().encode()


def piece_model(**options) -> bytes:
    model = io.BytesIO()
    defaults = {"model_type": "bpe", "vocab_size": 300, "byte_fallback": True}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LOW * 10), model_writer=model, hard_vocab_limit=False, num_threads=1, minloglevel=2,
        **(defaults | options),
    )  # fmt: skip
    return model.getvalue()


LOSSY = {
    "lower-casing": byte_level(normalizers.Lowercase()),
    "accents": byte_level(normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])),
    "lower-casing SentencePiece": piece_model(normalization_rule_name="nmt_nfkc_cf"),
    "white space dropped": byte_level(None, pre_tokenizers.WhitespaceSplit()),
    "spaces dropped by a pattern": byte_level(None, pre_tokenizers.Split(Regex(r"\s+"), behavior="removed")),
    "commas dropped by a pattern": byte_level(None, pre_tokenizers.Split(",", behavior="removed")),
    "all but letters dropped": byte_level(
        None, pre_tokenizers.Split(Regex("[a-z ]+"), behavior="removed", invert=True)
    ),
    "punctuation dropped": byte_level(None, pre_tokenizers.Punctuation(behavior="removed")),
    "spaces of three bytes": byte_level(normalizers.Replace(" ", "\u2581")),
    "spaces doubled": byte_level(normalizers.Replace(" ", "  ")),
    "a space put before": byte_level(normalizers.Prepend(" ")),
    "ends of words": byte_level(None, suffix="</w>"),
    "a letter replaced": byte_level(normalizers.Replace("t", "d")),
    "WordPiece": word_piece(),
}


@pytest.fixture
def scored(tmp_path):
    """Scores text by a network that gives every token the same mass."""

    def score(tokenizer: bytes, texts=None, tokens=None, command=False, size=None, **options):
        (tmp_path / "tokenizer").write_bytes(tokenizer)
        size = load_tokenizer(tokenizer, needs_bytes=False).vocab_size if size is None else size
        (tmp_path / "net.py").write_text(
            "import torch\n"
            "class Net:\n"
            f"    vocab_size, context_length = {size}, 8\n"
            "    def logits(self, x):\n"
            f"        return torch.zeros(*x.shape, {size}, device=x.device)\n"
            "def load(path, device):\n"
            "    return Net()\n"
        )
        where = {"docs": tmp_path / "docs.jsonl"} if tokens is None else {"data": tmp_path / "val.bin"}
        if tokens is None:
            lines = [json.dumps({"text": text}) + "\n" for text in texts]
            (tmp_path / "docs.jsonl").write_text("".join(lines))
        else:
            write_shard(tmp_path / "val.bin", tokens)
        if command:
            flags = [part for name, value in where.items() for part in (f"--{name}", str(value))]
            more = [part for name, value in options.items() for part in (f"--{name}", str(value))]
            net = ["--model", f"{tmp_path / 'net.py'}:load", "--allow-code", "--method", "ar", "--no-contract"]
            tokenizer_flags = ["--tokenizer", str(tmp_path / "tokenizer")]
            return CliRunner().invoke(app, [str(tmp_path / "tokenizer"), *net, *flags, *tokenizer_flags, *more])
        return size, evaluation.evaluate(
            tmp_path / "tokenizer", model=f"{tmp_path / 'net.py'}:load", allow_code=True, method="ar", device="cpu",
            check_contract=False, tokenizer=tmp_path / "tokenizer", **where, **options,
        )  # fmt: skip

    return score


def shard_of(tokenizer: bytes, texts) -> np.ndarray:
    ours = load_tokenizer(tokenizer, needs_bytes=False)
    parts = [part for text in texts for part in ([ours.bos_id] if ours.bos_id is not None else [], ours.encode(text))]
    return np.concatenate(parts).astype(np.int64)


@pytest.mark.parametrize("kind", LOSSY)
@pytest.mark.parametrize("form", ["docs", "data"])
def test_bits_per_byte_of_a_code_that_loses_text_are_refused(scored, kind, form):
    text = {"texts": DOCUMENTS} if form == "docs" else {"tokens": shard_of(LOSSY[kind], DOCUMENTS)}
    with pytest.raises(TokenizerError, match=r"--bytes none"):
        scored(LOSSY[kind], byte_rule="raw" if form == "docs" else "exact", **text)


@pytest.mark.parametrize("kind", LOSSY)
@pytest.mark.parametrize("form", ["docs", "data"])
def test_without_bytes_it_is_scored_in_bits_per_token_and_document(scored, kind, form):
    text = {"texts": DOCUMENTS} if form == "docs" else {"tokens": shard_of(LOSSY[kind], DOCUMENTS)}
    size, result = scored(LOSSY[kind], byte_rule="none", with_windows=True, with_tokens=True, **text)
    paid = len(shard_of(LOSSY[kind], DOCUMENTS)) - 1
    assert result.bits_per_token == pytest.approx(math.log2(size))
    assert (result.bits_per_byte, result.length.num_bytes, result.length.num_tokens) == (None, 0, paid)
    assert result.bits_per_document == pytest.approx(math.log2(size) * paid / 2)
    assert result.corpus_stderr == pytest.approx(0.0, abs=1e-9)
    assert result.ci95 == (result.bits_per_token, result.bits_per_token)
    assert "|bytes:none|" in str(result)
    assert f"= {math.log2(size):.4f} bits/token" in str(result)
    plain = own_json(result.to_json())
    assert (plain["bits_per_byte"], plain["bytes_per_token"], plain["num_bytes"]) == (None, None, None)
    assert plain["bits_per_document"] == result.bits_per_document
    (why,) = [remark.message for remark in result.remarks if remark.code == "bytes.none"]
    assert why.startswith("no bits per byte are given: ")
    assert "--bytes none counts" not in why
    assert not {"num_bytes", "first_byte", "end_byte"} & {*result.windows, *result.tokens}
    assert result.tokens["share_bits"].sum() == pytest.approx(result.length.bits)


def test_unknown_tokens_are_refused_where_they_are_scored(scored):
    """No byte fallback: the tokens of what the vocabulary lacks all look alike."""
    model = piece_model(byte_fallback=False, model_type="unigram", vocab_size=60)
    ours = load_tokenizer(model)
    texts = ["the cat sat on the mat and the rat ate the mat", "the \u65e5 cat"]
    for text in ({"texts": texts}, {"tokens": shard_of(model, texts)}):
        with pytest.raises(TokenizerError, match=rf"{LOST}.*1 of [0-9]+ tokens are unknown"):
            scored(model, **text)
        _, part = scored(model, limit=1, **text)
        assert part.bits_per_byte > 0
        _, whole = scored(model, byte_rule="none", **text)
        assert whole.length.num_tokens == len(shard_of(model, texts)) - 1
    assert ours.decode(shard_of(model, texts)) == b"the cat sat on the mat and the rat ate the matthe  cat"


@pytest.mark.parametrize(
    ("tokenizer", "texts"),
    [
        (
            piece_model(normalization_rule_name="nmt_nfkc"),
            ["The\n  cat \ufb01n\u200b \u2460 \u65e5 e\u0301", "a \u2581 b"],
        ),
        (piece_model(normalization_rule_name="identity"), ["The\n  cat", " na\u00efve\t"]),
        (piece_model(add_dummy_prefix=False, normalization_rule_name="nfkc"), ["The\n  cat", " na\u00efve"]),
        (byte_level(normalizers.NFC()), ["The cafe\u0301  \n", "x" * 40]),
        (byte_level(normalizers.NFKC()), ["a\u00b4 b \ufdfa", "x" * 40]),  # of which NFKC writes some with spaces
        (byte_level(normalizers.Lowercase()), LOW),
        (byte_level(None, pre_tokenizers.Split(Regex(r"\w+|\W+"), behavior="removed", invert=True)), DOCUMENTS),
        (json.dumps(["<s>", *sorted(set("".join(DOCUMENTS)))]).encode(), DOCUMENTS),
    ],
)
def test_a_code_that_gives_the_text_back_is_not_refused(scored, tokenizer, texts):
    _, result = scored(tokenizer, texts=texts)
    assert result.bits_per_byte == pytest.approx(result.length.bits / result.length.num_bytes)
    if b"Lowercase" not in tokenizer:  # of which shards do not tell what they were
        assert lost_by_tokenizer(load_tokenizer(tokenizer)) is None
        assert scored(tokenizer, tokens=shard_of(tokenizer, texts))[1].length.num_bytes == result.length.num_bytes


def test_a_space_that_starts_a_text_may_be_joined_with_the_one_put_there(scored):
    document = json.loads(byte_level())
    document["pre_tokenizer"]["pretokenizers"][0]["add_prefix_space"] = True
    assert scored(json.dumps(document).encode(), texts=[" the cat", "the cat"])[1].bits_per_byte > 0


def test_an_alphabet_that_lacks_bytes_loses_the_documents_that_need_them(scored):
    document = json.loads(byte_level())
    lacking = {piece: token for piece, token in document["model"]["vocab"].items() if "\u00c3" not in piece}
    document["model"]["vocab"] = {piece: token for token, piece in enumerate(lacking)}
    document["model"]["merges"] = []
    tokenizer = json.dumps(document).encode()
    assert scored(tokenizer, texts=LOW)[1].bits_per_byte > 0
    with pytest.raises(TokenizerError, match=rf"{LOST}.*1 of 2 documents .*first in document 1"):
        scored(tokenizer, texts=DOCUMENTS)


def test_a_rank_file_scores_shards_of_the_networks_own_tokens(scored):
    """It names no special tokens: those behind the last rank are the network's."""
    table = [bytes([byte]) for byte in range(256)] + [b"th", b"the"]
    ranks = b"".join(base64.b64encode(piece) + b" %d\n" % rank for rank, piece in enumerate(table))
    tokens = [258, 257, 32, 99, 97, 116, 258, 256]
    size, result = scored(ranks, tokens=tokens)
    assert (size, result.length.num_bytes) == (258 + 256, len(b"the cat") + len(b"th"))
    assert any("names no special tokens" in remark.message for remark in result.remarks)
    with pytest.raises(TokenizerError, match=r"a text cannot be encoded with it.*pass token shards with --data"):
        scored(ranks, texts=LOW)
    for size in (259, 320):
        assert scored(ranks, tokens=tokens, size=size)[1].length.num_bytes == 9
    with pytest.raises(TokenizerError, match=r"a token that the network does not have: got 258, expected 0..257"):
        scored(ranks, tokens=tokens, size=258)
    with pytest.raises(TokenizerError, match=r"does not belong to this checkpoint: got a tokenizer of 258 pieces"):
        scored(ranks, tokens=tokens, size=257)


def test_sampled_bounds_have_their_errors_per_token(repository):
    tiny = repository / "fixtures" / "checkpoints" / "mdlm-tiny.pt"
    options = {"device": "cpu", "check_contract": False, "limit": 12, "num_samples": 2, "method": "mc"}
    bytes_counted = evaluation.evaluate(tiny, **options)
    without = evaluation.evaluate(tiny, byte_rule="none", **options)
    assert without.length.nats == bytes_counted.length.nats
    per_token = bytes_counted.length.bytes_per_token
    assert without.mc_stderr == pytest.approx(bytes_counted.mc_stderr * per_token)
    assert without.ci95 == pytest.approx([edge * per_token for edge in bytes_counted.ci95])
    assert (without.bits_per_document, without.source) == (None, None), "a part of the text has no documents"
    assert [remark.message for remark in without.remarks if remark.code == "bytes.none"] == [
        "no bits per byte are given: --bytes none counts no bytes"
    ]


@pytest.mark.parametrize("setting", [{"compare": True}, {"tolerance": 0.1}])
def test_what_is_in_bits_per_byte_is_refused_without_bytes(setting):
    flag = f"--{next(iter(setting))}"
    with pytest.raises(UsageError, match=rf"{flag} is in bits per byte: got --bytes none.*leave out {flag}"):
        evaluation.Settings(byte_rule="none", **setting)


def test_the_command_says_it_in_one_line_or_in_bits_per_document(scored):
    refused = scored(LOSSY["lower-casing"], texts=DOCUMENTS, command=True)
    assert isinstance(refused.exception, TokenizerError)
    assert "makes 'The" not in str(refused.exception)
    assert "the normaliser makes 'thecatsatont' of 'Thecatsatont'" in str(refused.exception)
    expecting = scored(LOSSY["lower-casing"], texts=DOCUMENTS, command=True, bytes="none", expect=1.0)
    assert isinstance(expecting.exception, UsageError)
    done = scored(LOSSY["lower-casing"], texts=DOCUMENTS, command=True, bytes="none")
    assert done.exit_code == 0
    printed = words_of(done.output)
    assert printed.startswith("= ")
    assert " bits per token meaning an exact code length" in printed
    assert " bits per document " in printed
    assert "no bits per byte are given: 2 of 2 documents are not given back" in printed
