"""Prompts and answers: where the border lies, what is counted, and what is refused by name."""

from __future__ import annotations

import gzip
import io
import json
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
import sentencepiece
import tokenizers
from pyarrow import ipc, parquet

from bpb_harness.byte_count import load_tokenizer
from bpb_harness.errors import CorpusError, HarnessError, UsageError
from bpb_harness.text.answers import answer_fields, iterate_answered, load_answers
from bpb_harness.text.fields import TextField

TEXT = ["the cat sat on the mat, the rat ate the cat, hello world"] * 10
FIELDS = answer_fields("prompt", "answer", docs=True)
ROWS = [("the cat", " sat"), ("", "the mat"), ("the rat ate\n", "the cat"), ("the", " caf\u00e9 \U0001f600")]


@cache
def trained(**options):
    model = io.BytesIO()
    given = {"normalization_rule_name": "identity", "vocab_size": 300} | options
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT), model_writer=model, model_type="bpe", hard_vocab_limit=False, byte_fallback=True,
        num_threads=1, minloglevel=2, **given,
    )  # fmt: skip
    return load_tokenizer(model.getvalue())


@cache
def byte_level():
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(TEXT, trainer)
    return load_tokenizer(tokenizer.to_str().encode())


KINDS = {
    "sentencepiece": trained,
    "no BOS": lambda: trained(bos_id=-1),
    "nmt_nfkc": lambda: trained(normalization_rule_name="nmt_nfkc"),
    "spaces behind": lambda: trained(treat_whitespace_as_suffix=True, vocab_size=302),
    "byte level": byte_level,
}


@pytest.fixture(params=KINDS)
def tokenizer(request):
    return KINDS[request.param]()


def lines(path, rows, **more):
    path.write_text("".join(json.dumps({"id": 1, "prompt": p, "answer": a} | more) + "\n" for p, a in rows))
    return path


def loaded(tmp_path, tokenizer, rows):
    return load_answers([lines(tmp_path / "qa.jsonl", rows)], tokenizer, FIELDS)


def refusal(path, tokenizer, fields=FIELDS, kind=CorpusError):
    with pytest.raises(HarnessError) as error:
        load_answers([path], tokenizer, fields)
    assert type(error.value) is kind
    assert "\n" not in str(error.value)
    return str(error.value)


def test_documents_of_any_container_are_the_same(tmp_path):
    table = pa.table({"answer": [a for _, a in ROWS], "id": [1] * 4, "prompt": [p for p, _ in ROWS]})
    plain = lines(tmp_path / "qa.jsonl", ROWS)
    (tmp_path / "qa.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    parquet.write_table(table, tmp_path / "qa.parquet", row_group_size=3)
    with ipc.new_file(str(tmp_path / "qa.arrow"), table.schema) as file:
        file.write_table(table)
    with ipc.new_stream(str(tmp_path / "stream.arrow"), table.schema) as stream:
        stream.write_table(table.take([0, 1, 2, 3]), max_chunksize=2)
    tokenizer = trained()
    one, answers = load_answers([plain], tokenizer, FIELDS)
    for name in ("qa.jsonl.gz", "qa.parquet", "qa.arrow", "stream.arrow"):
        other, same = load_answers([tmp_path / name], tokenizer, FIELDS)
        assert other.digest == one.digest, name
        assert same.target_starts.tolist() == answers.target_starts.tolist()
    assert answers.places[2].endswith("qa.jsonl: line 3")
    assert same.places[2].endswith("stream.arrow: row 2 (from 0)")


def test_context_and_targets_spell_the_document(tmp_path, tokenizer):
    corpus, answers = loaded(tmp_path, tokenizer, ROWS)
    tokens = corpus.read(0, corpus.num_tokens)
    for row, (prompt, answer) in enumerate(ROWS):
        document = tokens[answers.starts[row] : answers.ends[row]]
        if tokenizer.bos_id is not None:
            assert document[0] == tokenizer.bos_id
            document = document[1:]
        assert document.tolist() == tokenizer.encode(prompt + answer).tolist()
        border = answers.target_starts[row] - answers.starts[row] - (tokenizer.bos_id is not None)
        alone = tokenizer.encode(prompt).tolist() if prompt else []
        assert document[:border].tolist() == alone[:border], "a network sees nothing that the prompt does not have"
        assert answers.moved_tokens[row] == len(alone) - border
        assert answers.ends[row] > answers.target_starts[row]
    assert answers.num_bytes["raw"].tolist() == [len(answer.encode()) for _, answer in ROWS]
    assert corpus.raw_bytes_per_document.tolist() == [len((prompt + answer).encode()) for prompt, answer in ROWS]


def test_a_border_between_tokens_is_where_the_prompt_ends(tmp_path, tokenizer):
    if tokenizer.spaces.dummy_suffix:
        pytest.skip("its last token of a prompt has a space that is the answer's")
    _, answers = loaded(tmp_path, tokenizer, [("the cat", " sat on"), ("the mat,", " the rat")])
    assert not answers.moved_tokens.any()
    for rule in ("official", "exact", "raw"):
        assert answers.num_bytes[rule].tolist() == [7, 8]


@pytest.mark.parametrize("kind", ["sentencepiece", "no BOS", "byte level"])
def test_a_token_that_straddles_the_border_is_paid_for(tmp_path, kind):
    tokenizer = KINDS[kind]()
    corpus, answers = loaded(tmp_path, tokenizer, [("the c", "at sat"), ("the ", "cat"), ("the rat", " ate")])
    # SentencePiece drops the space at the prompt's end, so that a token may begin with it.
    assert (answers.moved_tokens > 0).tolist() == [True, kind == "byte level", False]
    for rule in ("official", "exact", "raw"):
        assert answers.num_bytes[rule].tolist() == [6, 3, 4], "the bytes are the answer's all the same"
    tokens = corpus.read(0, corpus.num_tokens)
    paid = [tokenizer.decode(tokens[a:b]) for a, b in zip(answers.target_starts, answers.ends, strict=True)]
    assert paid[0].endswith(b"cat sat")
    assert len(paid[0]) > 6


def test_no_context_tells_of_the_answer_by_how_its_last_token_is_spelled(tmp_path):
    """Where spaces stand behind words, the last one of a prompt has a space that is no text until text follows."""
    tokenizer = KINDS["spaces behind"]()
    corpus, answers = loaded(tmp_path, tokenizer, [("the cat", " sat"), ("the cat", "s")])
    tokens = corpus.read(0, corpus.num_tokens)
    alone = tokenizer.encode("the cat").tolist()
    assert tokenizer.encode("the cat sat").tolist()[: len(alone)] == alone, "the token is the same"
    context = tokens[answers.starts[0] + 1 : answers.target_starts[0]]
    assert context.tolist() == alone[: len(context)]
    assert len(context) < len(alone), "it would say that a space comes"
    assert answers.num_bytes["exact"].tolist() == [4, 1]


def test_bytes_are_never_more_than_the_answer_has(tmp_path):
    """A normaliser that drops spaces at the end of a prompt spells them with the answer; one that expands, expands."""
    _, answers = loaded(tmp_path, KINDS["nmt_nfkc"](), [("the cat ", "sat"), ("the", " \u00bd"), ("the", " cat\n\n")])
    assert answers.num_bytes["raw"].tolist() == [3, 3, 6]
    assert answers.num_bytes["exact"].tolist() == [3, 3, 4]
    assert answers.num_bytes["official"].tolist() == [3, 3, 4]


def test_an_empty_prompt_leaves_the_separator_alone(tmp_path, tokenizer):
    _, answers = loaded(tmp_path, tokenizer, [("", "the cat"), ("", "sat")])
    given = int(tokenizer.bos_id is not None)
    assert (answers.target_starts - answers.starts).tolist() == [given, given]
    assert answers.num_bytes["exact"].tolist() == [7, 3]


def test_borders_are_part_of_the_digest(tmp_path):
    borders = [("the cat", " sat"), ("the", " cat sat"), ("", "the cat sat")]
    assert len({loaded(tmp_path, trained(), [row])[0].digest for row in borders}) == 3


KEYS = "'prompt', 'answr'"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            {"prompt": "the", "answr": " cat"},
            f"line 2 has no answer: got the keys {KEYS}, expected 'answer'; pass --target-field answr",
        ),
        (
            {"question": "the", "id": 3, "answer": "x"},
            "got the keys 'question', 'id', 'answer', expected 'prompt'; pass --context-field question",
        ),
        ({"promt": "the", "other": "the", "answer": "x"}, "expected 'prompt'; did you mean --context-field promt?"),
        ({"one": "the", "two": "the", "answer": "x"}, "expected 'prompt'; pass --context-field one or --context-f"),
        ({"prompt": "the", "answer": 7}, 'line 2 has no answer: got int under \'answer\', expected {"prompt": "...", '),
        ({"prompt": "the", "answer": None}, "line 2 has no answer: got null under 'answer'"),
        ({"prompt": ["the"], "answer": "x"}, "line 2 has no prompt: got list under 'prompt'"),
        (
            {"prompt": "the", "answer": ""},
            "line 2: the answer is empty: got '' under 'answer', expected a text; leave that document out",
        ),
    ],
)
def test_records_that_lack_something_are_refused_by_name(tmp_path, row, words):
    path = tmp_path / "qa.jsonl"
    path.write_text(json.dumps({"prompt": "a", "answer": " b"}) + "\n" + json.dumps(row) + "\n")
    assert words in refusal(path, trained())


def test_tables_that_lack_something_are_refused_by_name(tmp_path):
    def written(**columns):
        parquet.write_table(pa.table(columns), tmp_path / "qa.parquet")
        return refusal(tmp_path / "qa.parquet", trained())

    said = written(prompt=["a"], reply=["b"])
    assert "no answer column: got the columns 'prompt', 'reply', expected 'answer'; pass --target-field reply" in said
    assert "row 1 (from 0) has no prompt: got null under 'prompt'" in written(prompt=["a", None], answer=["b", "c"])
    assert "row 1 (from 0): the answer is empty" in written(prompt=["a", "b"], answer=["b", ""])
    assert "the column 'answer' holds no text: got int64" in written(prompt=["a"], answer=[1])


def test_plain_text_has_no_fields(tmp_path):
    (tmp_path / "a.txt").write_text("the cat sat")
    assert refusal(tmp_path / "a.txt", trained(), kind=UsageError) == (
        f"--context-field prompt: got {tmp_path / 'a.txt'}, which is plain text, expected JSON lines, Parquet or Arrow"
    )


def test_answers_that_a_tokenizer_drops(tmp_path):
    path = lines(tmp_path / "qa.jsonl", [("the", " cat"), ("the cat", " \n")])
    assert refusal(path, KINDS["nmt_nfkc"]()) == (
        f"{path}: line 2: the answer adds no token to its prompt: got ' \\n', expected an answer that the tokenizer "
        "does not drop; leave that document out"
    )


def test_a_document_written_with_the_token_between_documents(tmp_path):
    tokenizer = byte_level().set_off_by(int(byte_level().encode("t")[0]))
    path = lines(tmp_path / "qa.jsonl", [("sa", "t t t")])
    assert refusal(path, tokenizer) == (
        f"{path}: line 1: is itself written with the token between documents: got 't', expected a token that no text "
        "is written with; take that out of the text, or name another token with --separator"
    )


@pytest.mark.parametrize("count", [40, 41])
def test_long_answers_are_shown_in_part(tmp_path, count):
    """Characters of no width, which that normaliser takes for spaces."""
    said = refusal(lines(tmp_path / "qa.jsonl", [("the", "\u200b" * count)]), KINDS["nmt_nfkc"]())
    assert "got '" + "\\u200b" * 40 + ("...', " if count > 40 else "', ") in said


def test_no_documents(tmp_path):
    (tmp_path / "qa.jsonl").write_text("\n")
    assert refusal(tmp_path / "qa.jsonl", trained()) == (
        f"{tmp_path / 'qa.jsonl'}: no documents: expected lines of an object with a prompt and an answer"
    )


def test_what_the_fields_are_called():
    assert answer_fields("q", "a", docs=True) == (
        TextField("q", "--context-field", "prompt", needs_text=False),
        TextField("a", "--target-field", "answer", needs_text=True),
    )


def test_the_texts_that_were_encoded(tmp_path):
    path = lines(tmp_path / "qa.jsonl", ROWS)
    assert list(iterate_answered([path], FIELDS)) == [prompt + answer for prompt, answer in ROWS]


def test_the_first_documents(tmp_path):
    _, answers = loaded(tmp_path, trained(), ROWS)
    assert len(answers.first(None)) == 4
    two = answers.first(2)
    assert len(two) == 2
    for name in ("starts", "target_starts", "ends", "moved_tokens"):
        assert getattr(two, name).tolist() == getattr(answers, name)[:2].tolist()
    assert list(two.places) == list(answers.places[:2])
    assert {rule: each.tolist() for rule, each in two.num_bytes.items()} == {
        rule: each[:2].tolist() for rule, each in answers.num_bytes.items()
    }


@pytest.mark.parametrize(
    ("context", "target", "docs", "words"),
    [
        ("a", None, True, "--context-field a: got no --target-field, expected the fields of prompt and answer, both"),
        (None, "b", True, "got no --context-field, expected the fields of prompt and answer, both; pass --context-f"),
        ("a", "b", False, "--context-field and --target-field: got no --docs, expected --docs FILE.jsonl, which has f"),
        ("a", "a", True, "--context-field and --target-field: got 'a' and 'a', expected two names"),
        ("", "a", True, "got '' and 'a', expected two names"),
        ("a", "", True, "got 'a' and '', expected two names"),
    ],
)  # fmt: skip
def test_fields_come_in_pairs(context, target, docs, words):
    with pytest.raises(UsageError) as error:
        answer_fields(context, target, docs=docs)
    assert words in str(error.value)


def test_tokenizers_that_nobody_can_count_score_by_raw_bytes_alone(tmp_path):
    tokenizer = byte_level().set_off_by(None)
    tokenizer.uncountable = "it does not say"
    _, answers = loaded(tmp_path, tokenizer, ROWS)
    assert set(answers.num_bytes) == {"raw"}
    assert np.array_equal(answers.num_bytes["raw"], [len(answer.encode()) for _, answer in ROWS])
