"""A key that stands twice in one JSON object with two values: nobody can tell which is meant, so none is taken."""

from __future__ import annotations

import json

import pytest

from bpb_harness.byte_count import load_tokenizer
from bpb_harness.checkpoints.plain import parse_json
from bpb_harness.errors import CheckpointError, CorpusError, TokenizerError
from bpb_harness.foreign_files import KeyGivenTwiceError, load_once
from bpb_harness.text.corpus import iterate_documents


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('{"text": "a", "text": "b"}', "text"),
        ('{"a": 1, "b": {"c": 1, "d": 2, "c": 2}}', "c"),
        ('[{"a": {}, "a": []}]', "a"),
        ('{"a": 1, "a": true}', "a"),
        ('{"a": [1], "a": [true]}', "a"),
        ('{"a": 1, "a": 1, "a": 2}', "a"),
    ],
)
def test_two_values_of_one_key(text, key):
    with pytest.raises(KeyGivenTwiceError, match=rf"^the key '{key}' is there twice, with two values$"):
        load_once(text)


@pytest.mark.parametrize("text", ['{"a": 1, "a": 1}', '{"a": {"b": 1}, "b": {"b": 2}}', "[]", '{"a": NaN, "a": NaN}'])
def test_no_two_values(text):
    assert repr(load_once(text)) == repr(json.loads(text))


@pytest.mark.parametrize(("name", "first"), [("a.jsonl", ""), ("named otherwise", '{"text": "before"}\n')])
def test_lines(tmp_path, name, first):
    path = tmp_path / name
    path.write_text(first + '{"text": "a", "id": 1, "text": "b"}\n')
    with pytest.raises(CorpusError, match=r"line \d: the key 'text' is there twice, with two values: .*leave one"):
        list(iterate_documents([path]))
    path.write_text(first + '{"text": "b", "id": 1, "text": "b"}\n')
    assert list(iterate_documents([path]))[-1] == "b"


def test_settings_and_tokenizers():
    with pytest.raises(CheckpointError, match=r"config\.json: the key 'hidden_size' is there twice, with two values"):
        parse_json('{"hidden_size": 8, "hidden_size": 16}', what="config.json")
    with pytest.raises(TokenizerError, match=r"t\.json: the key 'ab' is there twice, with two values"):
        load_tokenizer(b'{"model": {"type": "BPE", "vocab": {"ab": 0, "ab": 1}, "merges": []}}', name="t.json")
