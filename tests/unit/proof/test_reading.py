"""Files of bits that hang together, and those that do not, before anything is decoded."""

from __future__ import annotations

import numpy as np
import pytest

from bpb_harness.byte_count import load_tokenizer
from bpb_harness.errors import InputError, UsageError
from bpb_harness.proof.bit_file import write_bits
from bpb_harness.proof.choice import Choice
from bpb_harness.proof.decoding import key_of
from bpb_harness.proof.header import Header
from bpb_harness.proof.reading import MAX_SPANS, open_proof, read_file
from tests.unit.proof.test_header import PLAIN

MODEL, DATA, TOKENIZER = "ab" * 32, "cd" * 32, "ef" * 32
SETTINGS = "data:x@cdcdcdcd|tok:efefefef|ctx:5|model:abababab|dtype:float32|seed:0|version:0.1"
SIZES = "(mc se 0.1000, corpus se 0.1000; 2.000 bytes/token; 27 tokens, 54 bytes)"


def hanging(how: str, relation: str = "~<=", **changes):
    """A header whose windows, score and settings hang together."""
    sizes = SIZES if relation == "~<=" else SIZES.replace("mc se 0.1000, ", "")
    score = f"bpb|{how}|{SETTINGS} {relation} 1.0000 {sizes}"
    windows = Choice(MODEL, DATA, score).spans(9, 3).tolist()
    return PLAIN | {"model": MODEL, "data": DATA, "tokenizer": TOKENIZER, "score": score, "windows": windows} | changes


GOOD = hanging("method:discrete|T:4|sched:loglinear")
CHOICE = Choice(GOOD["model"], GOOD["data"], GOOD["score"])
GIVEN = np.array([7, 8], dtype="<u4").tobytes()


@pytest.fixture
def reads(tmp_path):
    def read(header, streams=(GIVEN, b"bits")):
        write_bits(tmp_path / "a.bits", header, list(streams))
        return read_file(tmp_path / "a.bits")

    return read


def test_what_hangs_together_is_read(reads):
    header, given, bits = reads(GOOD)
    assert header.plain() == GOOD
    assert given.dtype == np.int64
    assert (given.tolist(), bits) == ([7, 8], b"bits")
    assert key_of(header) == CHOICE.key
    chain = hanging(
        "method:chain|sched:loglinear|order:entropy", "=", method="chain", num_steps=None, order="entropy"
    )  # fmt: skip
    assert reads(chain)[0].method == "chain"
    causal = hanging("method:ar", "=", method="ar", schedule=None, num_steps=None)
    assert reads(causal)[0].schedule is None
    with pytest.raises(InputError, match="header: method: got chain, expected discrete, as its score says"):
        reads(GOOD | {"method": "chain", "num_steps": None})


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"windows": [0, 1, 2]}, "expected those that the score's hash chooses; take a file that bpb-prove --proof"),
        ({"windows": GOOD["windows"][::-1]}, "expected those that the score's hash chooses"),
        ({"score": "bpb ~<= 0.9"}, "expected those that the score's hash chooses"),
        ({"data": "ce"}, "expected those that the score's hash chooses"),
        ({"model": "ad"}, "expected those that the score's hash chooses"),
        ({"num_spans": MAX_SPANS + 1}, "header: num_spans: got 16,777,217, expected at most 16,777,216"),
        ({"schedule": None}, "header: got schedule: got none, expected that of the masked network; take a file"),
        ({"schedule": "cubic"}, "header: got "),
        ({"method": "psychic"}, "header: got 'psychic'"),
        ({"num_steps": 0}, "header: got --steps"),
        ({"num_steps": 1 << 40}, "header: got --steps"),
        ({"method": "chain", "num_steps": None, "order": "backwards"}, "header: got --order"),
        ({"method": "chain", "num_steps": None, "tokens_per_step": 0}, "header: got "),
    ],
)
def test_what_does_not(reads, change, text):
    with pytest.raises(InputError) as caught:
        reads(GOOD | change)
    assert str(caught.value).startswith("a.bits: ")
    assert text in str(caught.value)


@pytest.mark.parametrize("streams", [(), (GIVEN,), (GIVEN, b"", b""), (GIVEN[:-1], b"bits"), (GIVEN * 2, b"bits")])
def test_other_streams(reads, streams):
    with pytest.raises(InputError, match=r"a\.bits: streams: got \d, expected given tokens of"):
        reads(GOOD, streams)


def test_what_a_stranger_has_to_permit_or_to_have(tmp_path, monkeypatch):
    file = tmp_path / "a.bits"
    for change, text in (
        (
            {"runs_code": True},
            "a.bits was written by a network that is code; pass --model FILE.py:LOADER and --allow-code to run it",
        ),
        (
            {"device": "cuda", "device_name": "abacus"},
            "a.bits was written on abacus: got no GPU here; decode it where there is one",
        ),
        ({}, f"CHECKPOINT: got {tmp_path / 'none'}, expected a file or folder that exists"),
    ):
        write_bits(file, GOOD | change, [GIVEN, b"bits"])
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        with pytest.raises(UsageError) as caught:
            open_proof(file, tmp_path / "none", model=None, allow_code=False)
        assert str(caught.value) == text


def test_another_tokenizer_than_that_of_the_score(tmp_path, repository):
    other = load_tokenizer(repository / "fixtures" / "tokenizers" / "tiny_512_bpe.model")
    file = tmp_path / "a.bits"
    write_bits(file, GOOD, [GIVEN, b"bits"])
    with pytest.raises(UsageError, match=rf"--tokenizer: got {other.digest[:16]}, expected {GOOD['tokenizer'][:16]}, "):
        open_proof(file, tmp_path / "none", model=None, allow_code=False, tokenizer=other)


def test_the_shape_of_a_header_is_no_secret():
    assert Header.read(GOOD, "a").noun == "spans"
    assert Header.read(GOOD | {"contexts": [1, 1, 1]}, "a").noun == "windows"
