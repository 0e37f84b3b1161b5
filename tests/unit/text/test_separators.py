"""The token between documents is the one that the tokenizer's files name, and the one that a stream really has."""

from __future__ import annotations

import io
import json
import os

import numpy as np
import pytest
import sentencepiece
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from bpb_harness.byte_count import ByteCounter, load_tokenizer
from bpb_harness.errors import CorpusError, TokenizerError, UsageError
from bpb_harness.text.corpus import load_documents, load_shards
from bpb_harness.text.separators import find_borders, find_separators, own_folder
from tests.shards import write_shard

PLAIN = ("<|a|>", "<|b|>", "<|c|>")  # ids 0 to 2, entries of the vocabulary without any flag


def byte_level(*, plain=PLAIN, special=(), added=(), template=None) -> bytes:
    """A byte-level tokenizer.json: first the bare entries, then 256 bytes, then added tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: index for index, piece in enumerate([*plain, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(piece, special=True) for piece in special])
    tokenizer.add_tokens([AddedToken(piece, special=False) for piece in added])
    if template:
        ids = [(piece, tokenizer.token_to_id(piece)) for piece in template if not piece.startswith("$")]
        tokenizer.post_processor = processors.TemplateProcessing(single=" ".join(template), special_tokens=ids)
    return tokenizer.to_str().encode()


def sentencepiece_model(**options) -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the cat sat on the mat"] * 5), model_writer=model, model_type="bpe", vocab_size=300,
        hard_vocab_limit=False, byte_fallback=True, normalization_rule_name="identity", minloglevel=2, **options,
    )  # fmt: skip
    return model.getvalue()


def folder_of(path, **files):
    """A folder with JSON files: `tokenizer_config={...}` becomes tokenizer_config.json."""
    path.mkdir(exist_ok=True)
    for name, content in files.items():
        (path / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def found(tmp_path, model=None, *, chosen=None, for_documents=True, **files):
    tokenizer = load_tokenizer(byte_level() if model is None else model, name="it")
    return find_separators(tokenizer, [folder_of(tmp_path / "m", **files)], chosen=chosen, for_documents=for_documents)


def ids(separators):
    return [None if name is None else name.token for name in (separators.bos, separators.eos, separators.taken)]


@pytest.mark.parametrize(
    ("files", "expected", "where"),
    [
        ({"tokenizer_config": {"bos_token": "<|b|>"}}, [1, None, 1], "bos_token in tokenizer_config.json"),
        ({"tokenizer_config": {"bos_token": {"content": "<|c|>", "special": True}}}, [2, None, 2], "bos_token in tok"),
        ({"special_tokens_map": {"bos_token": "<|c|>", "eos_token": "<|a|>"}}, [2, 0, 2], "in special_tokens_map.json"),
        ({"config": {"bos_token_id": 1, "eos_token_id": [2, 0]}}, [1, 2, 1], "bos_token_id in config.json"),
        ({"generation_config": {"bos_token_id": 2}}, [2, None, 2], "bos_token_id in generation_config.json"),
        (
            {
                "tokenizer_config": {"bos_token": "<|b|>", "eos_token": None},
                "special_tokens_map": {"bos_token": "<|c|>"},
                "config": {"bos_token_id": 0, "eos_token_id": 0},
            },
            [1, 0, 1],
            "bos_token in tokenizer_config.json",
        ),
        ({"tokenizer_config": {"bos_token": None}, "config": {"bos_token_id": 2}}, [2, None, 2], "in config.json"),
        ({"tokenizer_config": {"eos_token": "<|c|>"}}, [None, 2, 2], "eos_token in tokenizer_config.json; no BOS is"),
        (
            {"tokenizer_config": {"bos_token": "<|a|>", "eos_token": "<|b|>", "add_bos_token": True}},
            [0, 1, 0],
            "bos_token in tokenizer_config.json",
        ),
        (
            {"tokenizer_config": {"bos_token": "<|a|>", "eos_token": "<|b|>", "add_bos_token": False}},
            [0, 1, 1],
            "add_bos_token is false there, so '<|a|>' (id 0) is not put",
        ),
        (
            {"tokenizer_config": {"bos_token": "<|a|>", "eos_token": "<|a|>", "add_bos_token": False}},
            [0, 0, 0],
            "bos_token in tokenizer_config.json",
        ),
        ({"tokenizer_config": {"bos_token": "<|a|>", "add_bos_token": False}}, [0, None, 0], "bos_token in tok"),
        ({"config": {"bos_token_id": 50256, "eos_token_id": True}}, [None, None, None], "no file names a BOS or EOS"),
        ({"config": {"bos_token_id": -1}}, [None, None, None], "no file names"),
        ({}, [None, None, None], "no file names"),
    ],
)
def test_the_first_file_that_names_it_is_believed(tmp_path, files, expected, where):
    separators = found(tmp_path, **files)
    assert ids(separators) == expected
    assert where in separators.sentence()
    assert [name.token for name in separators.silenced] == [token for token in expected[2:] if token is not None]
    in_shards = found(tmp_path, for_documents=False)
    assert {name.token for name in in_shards.silenced} == {token for token in expected if token is not None}


def test_ids_that_transformers_writes_by_default_are_no_separators(tmp_path):
    # config.json of a LlamaConfig says 1 and 2 whatever the tokenizer: here those are "\"" and "#"
    alphabet = byte_level(plain=("<|endoftext|>",))
    separators = found(tmp_path, alphabet, config={"bos_token_id": 1, "eos_token_id": 2})
    assert ids(separators) == [0, None, 0]
    assert "by its name alone" in separators.sentence()
    assert load_tokenizer(alphabet).pieces[1:3] == ("!", '"')
    added = found(tmp_path, byte_level(added=("END",)), config={"bos_token_id": 259})
    assert ids(added) == [259, None, 259]  # an added token is never merged from others


def test_a_name_alone_is_a_guess_and_no_text_is_taken_for_it(tmp_path):
    guess = found(tmp_path, byte_level(plain=(), special=("<|endoftext|>",)))
    assert ids(guess) == [256, None, 256]
    assert guess.sentence() == (
        "'<|endoftext|>' (id 256) stands before each document: by its name alone; no file names a BOS or EOS, "
        "--separator does"
    )
    assert guess.silenced == ()
    merged = json.loads(byte_level(plain=()))
    merged["model"]["vocab"] |= {"<s": 256, "<s>": 257}
    merged["model"]["merges"] = [["<", "s"], ["<s", ">"]]
    merged["pre_tokenizer"]["use_regex"] = False
    html = json.dumps(merged).encode()  # "<s>" is written for the tag of that name
    assert load_tokenizer(html).encode("<s>").tolist() == [257]
    assert ids(found(tmp_path, html)) == [None, None, None]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (("<|x|>", "$A"), [259, None, 259]),
        (("<|x|>", "$A", "<|y|>"), [259, 260, 259]),
        (("$A", "<|y|>"), [None, 260, 260]),
    ],
)
def test_what_tokenizer_json_puts_around_a_text(tmp_path, template, expected):
    model = byte_level(special=("<|x|>", "<|y|>"), template=template)
    separators = found(tmp_path, model)
    assert ids(separators) == expected
    assert "the post-processor of tokenizer.json" in separators.sentence()
    assert ids(found(tmp_path, model, tokenizer_config={"bos_token": "<|a|>"}))[0] == 0
    two = json.loads(model)
    two["post_processor"] = {"type": "Sequence", "processors": [{"type": "ByteLevel"}, two["post_processor"]]}
    two["post_processor"]["processors"][0] |= {"add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    (tmp_path / "m" / "tokenizer_config.json").unlink()
    assert ids(found(tmp_path, json.dumps(two).encode())) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1, 2, 1]),
        ({"bos_id": -1}, [None, 2, 2]),
        ({"eos_id": -1}, [1, None, 1]),
        ({"bos_id": -1, "eos_id": -1}, [None, None, None]),
    ],
)
def test_a_sentencepiece_model_knows_its_own(tmp_path, options, expected):
    model = sentencepiece_model(**options)
    assert ids(found(tmp_path, model)) == expected
    assert ids(found(tmp_path, model, config={"bos_token_id": 0, "eos_token_id": 0}))[0] == (expected[0] or 0)
    if expected[0] == 1 and expected[1] == 2:
        named = found(tmp_path, model, tokenizer_config={"bos_token": "</s>", "eos_token": "<s>"})
        assert ids(named) == [2, 1, 2]


def test_a_choice_overrules_the_files(tmp_path):
    files = {"tokenizer_config": {"bos_token": "<|a|>", "eos_token": "<|b|>"}}
    for chosen, taken in [("bos", 0), ("eos", 1), ("2", 2), ("<|c|>", 2), ("none", None)]:
        separators = found(tmp_path, chosen=chosen, **files)
        assert ids(separators) == [0, 1, taken]
        assert separators.in_signature() == ("none" if taken is None else str(taken))
        assert f"--separator {chosen}" in separators.sentence()
    for wrong in ("259", "-1", "<|z|>", ""):
        with pytest.raises(UsageError, match=r"--separator: got .*, expected bos, eos, none, an id below 259 or a pi"):
            found(tmp_path, chosen=wrong, **files)
    (tmp_path / "m" / "tokenizer_config.json").unlink()
    with pytest.raises(UsageError, match="--separator eos: got no file that names one of it"):
        found(tmp_path, chosen="eos")


def test_the_signature_says_it_where_the_file_alone_would_not(tmp_path):
    files = {"tokenizer_config": {"bos_token": "<|a|>", "eos_token": "<|b|>"}}
    assert found(tmp_path, **files).in_signature() == "0"
    assert found(tmp_path, for_documents=False, **files).in_signature() == "1+0"
    (tmp_path / "m" / "tokenizer_config.json").unlink()
    assert found(tmp_path, sentencepiece_model()).in_signature() is None


def test_a_bos_that_the_vocabulary_lacks(tmp_path):
    files = {"tokenizer_config": {"bos_token": "<s>", "eos_token": "<|a|>"}}
    with pytest.raises(TokenizerError, match=r"json: bos_token is not in the vocabulary of it: got '<s>', exp"):
        found(tmp_path, **files)
    assert ids(found(tmp_path, for_documents=False, **files)) == [None, 0, 0]
    assert ids(found(tmp_path, chosen="1", **files)) == [None, 0, 1]


def test_a_piece_that_text_is_written_with_sets_nothing_off(tmp_path):
    files = {"tokenizer_config": {"bos_token": "!", "eos_token": "#"}}
    with pytest.raises(TokenizerError, match=r"json: bos_token is a piece that text is written with: got '!'"):
        found(tmp_path, **files)
    assert ids(found(tmp_path, for_documents=False, **files)) == [None, None, None]
    for chosen in ("!", str(3 + sorted(pre_tokenizers.ByteLevel.alphabet()).index("!"))):
        with pytest.raises(UsageError, match=rf"--separator {chosen}: got '!', which text is written with"):
            found(tmp_path, chosen=chosen)
    symbols = sentencepiece_model(user_defined_symbols=["<|bos|>"])
    assert ids(found(tmp_path, symbols, chosen="<|bos|>")) == [1, 2, 3]
    with pytest.raises(UsageError, match="which text is written with"):
        found(tmp_path, symbols, chosen="\u2581the")


@pytest.mark.parametrize("content", ["[1]", "{", "", '"x"', "[" * 100_000])
def test_damaged_files_are_refused(tmp_path, content):
    for name in ("tokenizer_config", "special_tokens_map", "config", "generation_config"):
        with pytest.raises(TokenizerError, match=rf"{name}\.json: says nothing of the tokenizer"):
            found(tmp_path, **{name: content})
        (tmp_path / "m" / f"{name}.json").unlink()


def test_a_pipe_beside_a_tokenizer_is_refused(tmp_path):
    os.mkfifo(folder_of(tmp_path / "m") / "tokenizer_config.json")
    with pytest.raises(CorpusError, match="got a pipe"):
        found(tmp_path)


def test_only_a_tokenizer_of_the_usual_name_has_a_folder(tmp_path):
    assert own_folder(tmp_path / "tokenizer.json") == [tmp_path]
    assert own_folder(tmp_path / "tokenizer.model") == [tmp_path]
    assert own_folder(tmp_path / "sp.model") == []


def test_an_end_that_a_document_spells_is_text(tmp_path):
    model = byte_level(added=("<|end|>",))
    files = {"tokenizer_config": {"bos_token": "<|a|>", "eos_token": "<|end|>"}}
    (tmp_path / "d.jsonl").write_text('{"text": "say <|end|> here"}\n')
    tokenizer = found(tmp_path, model, **files).apply(load_tokenizer(model))
    corpus = load_documents([tmp_path / "d.jsonl"], tokenizer)
    assert 259 in corpus.read(0, corpus.num_tokens)
    assert ByteCounter(tokenizer).total(corpus) == len("say <|end|> here")
    in_shards = found(tmp_path, model, for_documents=False, **files).apply(load_tokenizer(model))
    assert ByteCounter(in_shards).total(corpus) == len("say  here")


A, B, C = 0, 1, 2
NAMES = {"tokenizer_config": {"bos_token": "<|a|>", "eos_token": "<|b|>"}}
BOTH = {"tokenizer_config": {"bos_token": "<|a|>", "eos_token": "<|a|>"}}


@pytest.mark.parametrize(
    ("files", "chosen", "stream", "starts", "place", "given"),
    [
        (NAMES, None, [A, 9, 9, A, 9], [0, 3], "before", [0, 3]),
        (NAMES, None, [A, 9, B, A, 9, B], [0, 3], "before", [0, 3]),
        (NAMES, None, [9, A, 9], [0, 1], "before", [0, 1]),
        (NAMES, None, [9, 9, B, 9, B], [0, 3], "behind", [0, 2]),
        (NAMES, None, [9, 9, B, 9], [0, 3], "behind", [0, 2]),
        (NAMES, None, [A, 9, B, 9, B], [0, 3], "behind", [0, 2]),
        (NAMES, None, [B, 9, B, 9], [0, 2], "before", [0, 2]),
        (NAMES, None, [B, 9, B], [0, 1], "behind", [0, 0]),
        (NAMES, None, [A, 9, B], [0], "before", [0]),
        (NAMES, None, [9, 9, 9], [0], "none", [0]),
        (NAMES, None, [9, C, 9], [0], "none", [0]),
        (BOTH, None, [A, 9, A, 9], [0, 2], "before", [0, 2]),
        (BOTH, None, [9, A, 9, A], [0, 2], "behind", [0, 1]),
        (BOTH, None, [9, A, 9], [0, 1], "before", [0, 1]),
        (BOTH, None, [A, 9, A], [0, 2], "before", [0, 2]),
        (NAMES, "2", [9, C, 9, C], [0, 2], "behind", [0, 1]),
        (NAMES, "2", [C, 9, A, C, 9], [0, 3], "before", [0, 3]),
        (NAMES, "2", [A, 9, B, A, 9, B], [0], "none", [0]),
        (NAMES, "none", [A, 9, A, 9], [0], "none", [0]),
        (NAMES, "eos", [A, 9, B, A, 9, B], [0, 3], "behind", [0, 2]),
    ],
)
def test_where_documents_lie_in_shards(tmp_path, files, chosen, stream, starts, place, given):
    separators = found(tmp_path, chosen=chosen, **files)
    borders = find_borders(load_shards([write_shard(tmp_path / "x.bin", stream)]), separators)
    assert (borders.starts.tolist(), borders.place, borders.first_given().tolist()) == (starts, place, given)
    assert borders.are_known is (place != "none")
    assert (borders.token is None) is (place == "none")


def test_positions_across_chunks(tmp_path, monkeypatch):
    stream = np.array([0, 5, 1, 0, 0, 1, 5] * 3)
    corpus = load_shards([write_shard(tmp_path / "x.bin", stream)])
    for chunk in (1, 2, 5, 100):
        monkeypatch.setattr("bpb_harness.text.corpus._CHUNK_TOKENS", chunk)
        at_zero, at_one, at_nine = corpus.positions([0, 1, 9])
        assert at_zero.tolist() == np.flatnonzero(stream == 0).tolist()
        assert at_one.tolist() == np.flatnonzero(stream == 1).tolist()
        assert (len(at_nine), at_nine.dtype) == (0, np.int64)


def test_documents_are_encoded_with_what_is_named(tmp_path):
    (tmp_path / "d.jsonl").write_text('{"text": "ab"}\n{"text": ""}\n{"text": "c"}\n')
    for chosen, token in [(None, 1), ("2", 2), ("none", None)]:
        separators = found(tmp_path, chosen=chosen, tokenizer_config={"bos_token": "<|b|>"})
        tokenizer = separators.apply(load_tokenizer(byte_level()))
        corpus = load_documents([tmp_path / "d.jsonl"], tokenizer)
        a, b, c = tokenizer.encode("abc").tolist()
        before = [] if token is None else [token]
        assert corpus.read(0, corpus.num_tokens).tolist() == [*before, a, b, *before, *before, c]
        borders = find_borders(corpus, separators)
        assert borders.starts.tolist() == np.cumsum([0, 2 + len(before), len(before)]).tolist()
        assert borders.are_known


def test_an_id_that_the_vocabulary_lacks_is_told(tmp_path):
    tokenizer = load_tokenizer(json.dumps(["<s>", "</s>", *"abcdef"]).encode())
    (tmp_path / "generation_config.json").write_text(json.dumps({"bos_token_id": 50256, "eos_token_id": 1}))
    said = find_separators(tokenizer, [tmp_path], for_documents=True).sentence()
    assert said.endswith("; bos_token_id 50256 in generation_config.json is passed over: the tokenizer has ids below 8")
    (tmp_path / "generation_config.json").write_text(json.dumps({"bos_token_id": 0, "eos_token_id": 1}))
    assert "passed over" not in find_separators(tokenizer, [tmp_path], for_documents=True).sentence()
