"""The tokenizer of a proof: the one that is named, or the one inside the checkpoint if that is the score's."""

from __future__ import annotations

import hashlib

import pytest

from bpb_harness.errors import InputError, UsageError
from bpb_harness.proof.header import Header
from bpb_harness.proof.spelling import tokenizer_of
from tests.unit.proof.test_header import PLAIN

SCORE = "bpb|method:chain|bytes:official = 1.0000 (corpus se n/a; 1.000 bytes/token; 9 tokens, 9 bytes)"


def header(checkpoint, spelling, **more) -> Header:
    digests = {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in
               (("model", checkpoint), ("tokenizer", spelling))}  # fmt: skip
    return Header.read(
        PLAIN | digests | {"score": SCORE, "runs_code": False, "code": None, "weights": None} | more, "a"
    )


def test_the_one_inside_serves_where_it_is_the_scores(repository):
    checkpoint = repository / "fixtures/checkpoints/mdlm-tiny.pt"
    named = repository / "fixtures/tokenizers/tiny_512_bpe.model"
    own = header(checkpoint, named)
    assert tokenizer_of(own, checkpoint, None).digest == tokenizer_of(own, checkpoint, named).digest == own.tokenizer
    with pytest.raises(
        UsageError, match=r"the one inside mdlm-tiny.pt is not the score's: got f8f5752f.* --tokenizer M"
    ):
        tokenizer_of(header(checkpoint, named, tokenizer="0" * 64), checkpoint, None)
    with pytest.raises(InputError, match="is not the checkpoint of the file of bits"):
        tokenizer_of(header(checkpoint, named, model="0" * 64), checkpoint, None)


def test_what_only_code_can_read_carries_none(repository):
    checkpoint = repository / "fixtures/checkpoints/mdlm-tiny.pt"
    named = repository / "fixtures/tokenizers/tiny_512_bpe.model"
    of_code = header(checkpoint, named, runs_code=True, code=f"{'1' * 64}/load")
    with pytest.raises(UsageError, match=r"no --tokenizer: got none inside mdlm-tiny.pt"):
        tokenizer_of(of_code, checkpoint, None)
    assert tokenizer_of(of_code, checkpoint, named).digest == of_code.tokenizer
