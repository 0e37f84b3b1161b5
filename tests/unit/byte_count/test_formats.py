"""Tokenizer files that people have: read as what they are, or refused by the name of what they are."""

from __future__ import annotations

import base64
import json
import os
import pickle
import stat
import sys
import types
import unittest.mock

import numpy as np
import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from bpb_harness.byte_count import ByteCounter, PieceKind, encode_again, load_tokenizer, tokenizer_bytes_in
from bpb_harness.byte_count.tokenizer_json import read_vocabulary_and_merges
from bpb_harness.errors import TokenizerError
from bpb_harness.text.separators import own_folder

TEXT = "the cat sat on the mat, the caf\u00e9 \U0001f600  <|endoftext|>\n"
MARK = "<|endoftext|>"


class Stream:
    known_document_starts = None

    def __init__(self, tokens):
        self.tokens, self.num_tokens = np.array(tokens, np.int64), len(tokens)

    def read(self, start, stop):
        return self.tokens[start:stop]


def byte_level(special=(), plain=()) -> Tokenizer:
    """A byte-level BPE; `plain` are entries of the vocabulary like any other."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=290, special_tokens=[*special, *plain], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator([TEXT] * 5, trainer)
    document = json.loads(tokenizer.to_str())
    document["added_tokens"] = [token for token in document["added_tokens"] if token["content"] in special]
    return Tokenizer.from_str(json.dumps(document))


def converted() -> Tokenizer:
    """What a SentencePiece model looks like once it was made a tokenizer.json: nothing says how it spells bytes."""
    tokenizer = Tokenizer(models.BPE({"<unk>": 0, "a": 1}, [], unk_token="<unk>"))
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def ranks() -> dict[bytes, int]:
    table = {bytes([byte]): byte for byte in range(256)}
    for piece in (b"th", b"the", b" the", b"at", b"\xc3\xa9", b" \xc3"):
        table[piece] = len(table)
    return table


def rank_file() -> bytes:
    return b"".join(base64.b64encode(piece) + b" %d\n" % rank for piece, rank in ranks().items())


def pickled(state, module="tiktoken.core", protocol=4) -> bytes:
    """The pickle of an object of another library, which is not imported."""
    made = types.ModuleType(module)
    made.Encoding = type("Encoding", (), {"__module__": module, "__getstate__": lambda self: state})
    names = {module.split(".", 1)[0]: types.ModuleType("parent"), module: made}
    with unittest.mock.patch.dict(sys.modules, names):
        return pickle.dumps(made.Encoding(), protocol=protocol)


def encoding(pattern=r" ?\p{L}+|\s+|[^\s\p{L}]+", special=None) -> dict:
    special = {"<|user|>": 263, "<|bos|>": 262} if special is None else special
    return {"name": "ours", "pat_str": pattern, "mergeable_ranks": ranks(), "special_tokens": special}


# --- vocab.json and merges.txt --------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["vocab.json", "merges.txt", ""])
def test_vocabulary_and_merges_are_one_tokenizer_whichever_is_given(tmp_path, given):
    whole = byte_level(plain=[MARK])
    whole.model.save(str(tmp_path))
    ours = load_tokenizer(tmp_path / given)
    assert (ours.kind, ours.bos_id, ours.vocab_size) == ("byte_level_bpe", 0, whole.get_vocab_size())
    tokens = ours.encode(TEXT)
    assert tokens.tolist() == whole.encode(TEXT).ids
    assert ours.decode(tokens) == TEXT.encode()
    assert pickle.loads(pickle.dumps(ours)).digest == ours.digest == load_tokenizer(ours.model_bytes).digest
    assert "GPT-2" in ours.notes[0]
    assert tokenizer_bytes_in(tmp_path) == ours.model_bytes


def test_half_of_a_pair_is_said_to_be_that(tmp_path):
    byte_level().model.save(str(tmp_path))
    (tmp_path / "vocab.json").unlink()
    with pytest.raises(TokenizerError, match=r"merges.txt without vocab.json beside it.*put vocab.json"):
        load_tokenizer(tmp_path / "merges.txt")


@pytest.mark.parametrize(
    ("vocabulary", "merges", "words"),
    [
        (b'{"a</w>": 0, "\\u0120": 1}', b"", "end in </w>"),
        (b'{"a": 0, "b": 1}', b"", "no piece with a space as GPT-2"),
        (b'{"\\u0120": 0}', b"a b c\n", "a line of merges.txt: got 'a b c'"),
        (b'["a"]', b"", "vocab.json: got JSON of another shape"),
        (b'{"\\u0120": "x"}', b"", "vocab.json: got JSON of another shape"),
        (b"{", b"", "may hold anything else"),
        (b'{"\\u0120": 0}', b"\xff", "may hold anything else"),
        (b'{"\\u0120": 0}', b"a b\n", "the tokenizers library refuses it"),
    ],
)
def test_pairs_of_another_kind(vocabulary, merges, words):
    with pytest.raises(TokenizerError, match=words):
        read_vocabulary_and_merges(vocabulary, merges, "it")


# --- ranks --------------------------------------------------------------------------------------------------------


def test_a_rank_file_counts_shards_and_says_what_it_does_not_know():
    ours = load_tokenizer(rank_file(), name="it")
    top = len(ranks())
    stream = np.array([top, 257, 256, 0xC3, 0xA9, top + 255])
    assert (ours.kind, ours.vocab_size, ours.bos_id) == ("rank_bpe", top + 256, None)
    for rule in ("official", "exact"):
        assert ByteCounter(ours).total(stream, rule) == len(b"theth\xc3\xa9")
    assert f"ids from {top} on" in ours.notes[0]
    with pytest.raises(TokenizerError, match=r"it: a text cannot be encoded.*does not say how a text is cut.*--data"):
        ours.encode("the")
    assert encode_again(Stream(stream), np.zeros(1, np.int64), ours).belongs is None


@pytest.mark.parametrize("line", [b"dGhl", b"!!!! 5", b"dGhl x", b"dGhl 5 6", b"dGhl 7\ndGhl 8", b"dGhl 3"])
def test_a_rank_file_with_a_line_of_another_kind(line):
    with pytest.raises(TokenizerError, match=r"it: .*rank"):
        load_tokenizer(b"AA== 0\nAQ== 1\nAg== 2\nAw== 3\n" + line + b"\n", name="it")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickled_encoding_is_read_and_encodes(protocol):
    ours = load_tokenizer(pickled(encoding(), protocol=protocol), name="it")
    assert (ours.kind, ours.vocab_size, ours.bos_id, ours.unwritable) == ("rank_bpe", 264, 262, None)
    assert ours.encode("the catx").tolist() == [257, ord(" "), ord("c"), 259, ord("x")]
    tokens = np.concatenate([[ours.bos_id], ours.encode(TEXT)])
    assert ours.decode(tokens) == TEXT.encode()
    assert ByteCounter(ours).total(tokens) == len(TEXT.encode())
    again = pickle.loads(pickle.dumps(ours))
    assert again.encode(TEXT).tolist() == ours.encode(TEXT).tolist()
    assert ours.encode("").tolist() == []


def test_text_that_the_pattern_leaves_out_is_lost_as_tiktoken_loses_it():
    ours = load_tokenizer(pickled(encoding(pattern=r"\p{L}+")))
    assert ours.decode(ours.encode("the cat")) == b"thecat"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (pickled("cl100k_base"), "names an encoding of tiktoken and holds none: got 'cl100k_base'"),
        (pickled({"name": "x"}), "an encoding of tiktoken of another shape"),
        (pickled({**encoding(), "mergeable_ranks": {b"a": 0, b"b": 0}}), "two pieces of one rank"),
        (pickled(encoding(special={"<|bos|>": 5})), "two pieces of one id: got 5"),
        (pickled(encoding(pattern="(")), "the pattern that cuts a text"),
        (pickled(encoding(), module="somebody.code"), "a pickle of somebody.code.Encoding"),
        (pickle.dumps(print), "a pickle of builtins.print"),
        (b"\x80\x04cos\nsystem\n(S'true'\ntR.", "more than plain values"),
        (pickle.dumps(np.float64(1.0)), "more than plain values"),
        (b"\x80\x04.", "damaged pickle"),
        (b"\x80\x04]", "damaged pickle"),
        (b"\x80\x04e.", "damaged pickle"),
    ],
)
def test_pickles_that_are_no_tokenizer(content, words):
    with pytest.raises(TokenizerError, match=words) as caught:
        load_tokenizer(content, name="it")
    assert str(caught.value).startswith("it: ")


def test_nothing_that_a_pickle_names_is_run(tmp_path):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    for content in (Attack(), {"stoi": {"a": Attack()}}):
        with pytest.raises(TokenizerError, match="nothing was run"):
            load_tokenizer(pickle.dumps(content))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("shift", [0, 3], ids=["byte b is token b", "another order"])
def test_a_rank_file_of_bytes_alone_encodes_any_text(shift):
    lines = [base64.b64encode(bytes([byte])) + b" %d\n" % ((byte + shift) % 256) for byte in range(256)]
    ours = load_tokenizer(b"".join(lines), name="it")
    text = "h\u00e9! \u2581\n\x00"
    assert ours.unwritable is None
    assert ours.encode(text).tolist() == [(byte + shift) % 256 for byte in text.encode()]
    assert b"".join(ours.piece_bytes[token] for token in ours.encode(text)) == text.encode()
    assert ours.encode("").tolist() == []


def test_a_rank_file_that_lacks_a_byte_or_joins_two_encodes_nothing():
    singles = b"".join(base64.b64encode(bytes([byte])) + b" %d\n" % byte for byte in range(256))
    for lines in (singles[: singles.rindex(b"\n", 0, -1) + 1], singles + base64.b64encode(b"ab") + b" 256\n"):
        assert load_tokenizer(lines, name="it").unwritable == "a rank file does not say how a text is cut"


# --- characters ---------------------------------------------------------------------------------------------------

STOI = {"a": 0, "b": 1, "\n": 2, "\u00e9": 3}
ITOS = {token: piece for piece, token in STOI.items()}


def test_characters_that_look_like_bytes_are_refused():
    letters = [chr(byte) for byte in range(256)]
    for entries in (letters, [*letters, "<|bos|>"], {letter: number for number, letter in enumerate(letters)}):
        with pytest.raises(TokenizerError, match=r"looks like one of bytes: .*rank file of 256 lines: docs/bytes\.md"):
            load_tokenizer(json.dumps(entries).encode(), name="it")
    others = [*letters[:128], *(chr(0x400 + number) for number in range(128))]
    assert load_tokenizer(json.dumps(others).encode(), name="it").kind == "characters"


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({"vocab_size": 4, "stoi": STOI, "itos": ITOS}),
        pickle.dumps({"stoi": STOI, "itos": ITOS}, protocol=2),
        json.dumps({"stoi": STOI, "itos": ITOS}).encode(),
        json.dumps({"stoi": STOI, "itos": list(STOI)}).encode(),
        json.dumps({"stoi": STOI}).encode(),
        json.dumps({"itos": ITOS}).encode(),
    ],
)
def test_stoi_and_itos(content):
    ours = load_tokenizer(content)
    assert (ours.kind, ours.vocab_size, ours.bos_id) == ("characters", 4, None)
    assert ours.encode("ab\n\u00e9").tolist() == [0, 1, 2, 3]
    assert ByteCounter(ours).total(np.arange(4)) == 5
    assert pickle.loads(pickle.dumps(ours)).encode("ba").tolist() == [1, 0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"stoi": STOI, "itos": {**ITOS, 1: "c"}}, "contradict each other"),
        ({"stoi": STOI, "itos": list(STOI)[:2]}, "contradict each other"),
        ({"stoi": 3, "itos": 4}, "stoi of another shape"),
        ({"stoi": {"a": 0, "b": 2}}, "0..1, each once"),
    ],
)
def test_stoi_and_itos_that_do_not_go_together(content, words):
    for file in (json.dumps(content).encode(), pickle.dumps(content)):
        with pytest.raises(TokenizerError, match=words):
            load_tokenizer(file)


# --- folders, and what is no tokenizer ------------------------------------------------------------------------------


def test_of_a_folder_the_file_is_taken_that_can_be_counted(tmp_path):
    converted().save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "meta.pkl").write_bytes(pickle.dumps({"stoi": STOI, "itos": ITOS}))
    ours = load_tokenizer(tmp_path)
    assert (ours.kind, ours.name) == ("characters", f"{tmp_path}/meta.pkl")
    assert ours.notes == ("meta.pkl was taken: tokenizer.json: model type BPE without a ByteLevel part",)
    assert tokenizer_bytes_in(tmp_path) == (tmp_path / "meta.pkl").read_bytes()
    (tmp_path / "meta.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(TokenizerError, match=r"tokenizer.json: a tokenizer.json whose bytes cannot be counted"):
        load_tokenizer(tmp_path)
    assert load_tokenizer(tmp_path, needs_bytes=False).kind == "BPE"
    assert tokenizer_bytes_in(tmp_path) == (tmp_path / "tokenizer.json").read_bytes()
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(TokenizerError, match=r"no tokenizer in the folder can be used: .*valid JSON.*damaged pickle"):
        load_tokenizer(tmp_path)


def test_the_files_beside_a_tokenizer_speak_of_it_also_where_the_folder_is_given(tmp_path):
    assert own_folder(tmp_path) == own_folder(tmp_path / "merges.txt") == [tmp_path]


def test_a_folder_without_a_tokenizer(tmp_path):
    (tmp_path / "vocab.json").write_text("{}")
    with pytest.raises(TokenizerError, match=r"no tokenizer in the folder: expected tokenizer.json"):
        load_tokenizer(tmp_path)
    assert tokenizer_bytes_in(tmp_path) is None


def test_what_is_not_a_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "tokenizer.json", 0o600)
    assert stat.S_ISFIFO((tmp_path / "tokenizer.json").stat().st_mode)
    for path in (tmp_path / "tokenizer.json", "/dev/zero"):
        with pytest.raises(TokenizerError, match=r"not a regular file.*give --tokenizer a model file"):
            load_tokenizer(path)
    assert tokenizer_bytes_in(tmp_path) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04....", "a ZIP archive"),
        (b"\x1f\x8b....", "compressed with gzip.*unpack it"),
        (b"[PAD]\n[UNK]\nthe\n", "valid JSON|WordPiece"),
        (b"GGUF\x03", "a GGUF file.*tokenizer.json"),
    ],
)
def test_other_files_are_called_what_they_are(content, words):
    with pytest.raises(TokenizerError, match=words):
        load_tokenizer(content, name="it")


def test_what_cannot_be_counted_is_read_where_no_bytes_are_needed():
    pieces = {"[UNK]": 0, "the": 1, "cat": 2, "##s": 3, "[SEP]": 4}
    words = Tokenizer(models.WordPiece(pieces, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.add_special_tokens(["[SEP]"])
    with pytest.raises(TokenizerError, match="--bytes none"):
        load_tokenizer(words.to_str().encode())
    ours = load_tokenizer(words.to_str().encode(), needs_bytes=False)
    assert (ours.kind, ours.uncountable) == ("WordPiece", "model type WordPiece without a ByteLevel part")
    assert ours.encode("the cats sat").tolist() == [1, 2, 3, 0]
    assert ours.piece_kinds.tolist() == [PieceKind.UNKNOWN, *[PieceKind.TEXT] * 3, PieceKind.CONTROL]
    assert set(ours.piece_bytes) == {b""}
    assert pickle.loads(pickle.dumps(ours)).kind == "WordPiece"
    with pytest.raises(AssertionError):
        ByteCounter(ours)
    assert encode_again(Stream([1, 2, 3, 1, 2, 3]), np.zeros(1, np.int64), ours).belongs is None


# --- separators ---------------------------------------------------------------------------------------------------


def test_a_separator_that_the_file_does_not_call_special_spells_nothing():
    """As ByteLevelBPETokenizer(vocab.json, merges.txt).save writes it."""
    ours = load_tokenizer(byte_level(plain=[MARK, "</s>"]).to_str().encode())
    assert ours.bos_id == 0
    documents = ["the cat and the rest of it", f"a mark {MARK} and </s> in a text"]
    stream = np.concatenate([[0, *ours.encode(text), 1] for text in documents])
    total = sum(len(text.encode()) for text in documents)
    for rule in ("official", "exact"):
        assert ByteCounter(ours).total(stream, rule) == total
    starts = np.flatnonzero(stream == 0)
    assert encode_again(Stream(stream), starts, ours).num_identical == 2


@pytest.mark.parametrize("flags", [{}, {"normalized": False}, {"lstrip": True}])
def test_the_name_of_an_added_separator_in_a_text_is_text(flags):
    tokenizer = byte_level()
    tokenizer.add_tokens([AddedToken(MARK, **flags), AddedToken("<doc>", **flags)])
    ours = load_tokenizer(tokenizer.to_str().encode())
    for chosen in (ours, ours.set_off_by(tokenizer.token_to_id("<doc>"))):
        text = f"a {chosen.pieces[chosen.bos_id]} b"
        tokens = chosen.encode(text)
        assert chosen.bos_id not in tokens
        assert chosen.decode(np.concatenate([[chosen.bos_id], tokens])) == text.encode()
        again = pickle.loads(pickle.dumps(chosen))
        assert (again.bos_id, again.encode(text).tolist()) == (chosen.bos_id, tokens.tolist())


def test_two_pieces_of_one_id_are_refused():
    """Which of them a token is, the library left to chance: six bytes in one run and eight in the next."""
    document = json.loads(byte_level(special=["<|endoftext|>"]).to_str())
    vocabulary = document["model"]["vocab"]
    first, second = list(vocabulary)[:2]
    vocabulary[second] = vocabulary[first]
    with pytest.raises(TokenizerError) as caught:
        load_tokenizer(json.dumps(document).encode(), name="t.json")
    said = f"t.json: two pieces of id {vocabulary[first]}: got {first!r} and {second!r}, expected an id each; fetch or"
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("wrong", ["of a piece", "of another", "beyond"])
def test_an_added_token_whose_id_the_library_does_not_give_it_is_refused(wrong):
    """Whoever wrote the shards may have gone by the file."""
    document = json.loads(byte_level(special=["<|endoftext|>"]).to_str())
    (entry,) = document["added_tokens"]
    right = entry["id"]
    document["model"]["vocab"] = {piece: i for i, piece in enumerate(sorted(document["model"]["vocab"])) if i != right}
    document["model"]["vocab"].pop("<|endoftext|>", None)
    size = len(document["model"]["vocab"])
    entry["id"] = {"of a piece": next(iter(document["model"]["vocab"].values())), "of another": size, "beyond": 5000}[
        wrong
    ]
    if wrong == "of another":
        document["added_tokens"].append({**entry, "content": "<|pad|>"})
    with pytest.raises(
        TokenizerError, match=r"the added token '<\|.*\|>': got id \d+, expected \d+, which is what the"
    ):
        load_tokenizer(json.dumps(document).encode())


def test_a_piece_that_merges_make_is_text_whatever_its_name():
    letters = {piece: token for token, piece in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges = [("<", "s"), ("<s", ">")]
    pieces = letters | {"<s": 256, "<s>": 257}
    tokenizer = Tokenizer(models.BPE(pieces, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    ours = load_tokenizer(tokenizer.to_str().encode())
    assert ours.encode("<s>").tolist() == [257]
    assert (ours.bos_id, ours.piece_bytes[257]) == (None, b"<s>")


def test_an_added_token_that_takes_white_space_with_it_spells_what_nobody_knows():
    tokenizer = byte_level()
    tokenizer.add_tokens([AddedToken("<tool>", lstrip=True)])
    ours = load_tokenizer(tokenizer.to_str().encode())
    assert ours.piece_kinds[ours.encode("a   <tool>")[-1]] == PieceKind.UNKNOWN


# --- the library's failures -----------------------------------------------------------------------------------------


def test_a_pattern_that_gives_up_is_one_line_and_no_report_of_a_panic(capfd):
    tokenizer = byte_level()
    split = pre_tokenizers.Split(Regex("(?:a|a|aa|(?:a+)+)+b"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    ours = load_tokenizer(tokenizer.to_str().encode(), name="it")
    with pytest.raises(TokenizerError, match="it: the text cannot be encoded: "):
        ours.encode("a" * 4000)
    os.write(2, b"still there")
    assert capfd.readouterr().err == "still there"


def test_the_error_stream_may_be_closed():
    ours = load_tokenizer(byte_level().to_str().encode())
    kept = os.dup(2)
    os.close(2)
    try:
        assert len(ours.encode("the cat"))
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@pytest.mark.parametrize(("unknown", "kind"), [("<|none|>", 3), ("\ufffd", 3), ("?", 0), ("<|endoftext|>", 2)])
def test_the_piece_that_a_file_calls_unknown_is_that(unknown, kind):
    """A letter of the text may be meant as itself; a mark sets texts off."""
    pieces = {piece: token for token, piece in enumerate(["a", "b", "c", "\u00e9", unknown])}
    tokenizer = Tokenizer(models.WordLevel(pieces, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    assert load_tokenizer(tokenizer.to_str().encode()).piece_kinds[4] == kind
