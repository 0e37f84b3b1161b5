"""The line of a score, read back, and held against the header of a file of bits."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from bpb_harness.errors import InputError
from bpb_harness.proof.agreement import line_of
from bpb_harness.proof.header import Header
from bpb_harness.proof.score_line import ScoreLine
from bpb_harness.result import UNTRUSTED_ERROR, BpbResult, Remark, Signature
from bpb_harness.units import CodeLength

SIGNATURE = Signature(
    method="discrete", num_steps="8", schedule="loglinear[0.001]", num_samples="2", byte_rule="official",
    data="tiny_val@14a5f5de[0:12/361]", tokenizer="f8f5752f", context_length="128", model="09bf593a", dtype="float32",
    seed="0", version="0.1.0",
)  # fmt: skip


def result(**changes):
    entries = {
        "length": CodeLength(2000.0, 1536, 4120, 12), "relation": "~<=", "terms_nats": {}, "mc_stderr": 0.0648,
        "corpus_stderr": 0.0469, "ci95": None, "signature": SIGNATURE, "num_forward_tokens": 1, "seconds": 1.0,
        "device": "cpu",
    }  # fmt: skip
    return BpbResult(**entries | changes)


@pytest.mark.parametrize(
    ("changes", "read"),
    [
        ({}, {"rate": 0.7003, "mc_stderr": 0.0648, "is_trusted": True, "num_tokens": 1536, "num_bytes": 4120}),
        ({"relation": "=", "corpus_stderr": None}, {"relation": "=", "mc_stderr": 0.0}),
        ({"relation": "<="}, {"relation": "<=", "mc_stderr": 0.0}),
        ({"mc_stderr": None}, {"mc_stderr": None}),
        ({"remarks": (Remark(UNTRUSTED_ERROR, "no"),)}, {"is_trusted": False, "mc_stderr": 0.0648}),
        ({"length": CodeLength(2000.0, 1536, 0, 12)}, {"rate": 1.8785, "num_bytes": None, "num_units": 1536}),
    ],
)
def test_a_line_is_read_back(changes, read):
    line = str(result(**changes))
    found = ScoreLine.read(line)
    assert found.text == line
    assert found.signature == SIGNATURE
    for name, value in read.items():
        assert getattr(found, name) == value


def test_what_the_signature_says_of_the_text():
    line = ScoreLine.read(str(result()))
    assert (line.data_name, line.data_digest, line.part) == ("tiny_val", "14a5f5de", (12, 361))
    assert line.stated("num_steps") == 8
    assert line.stated("order") is None
    whole = ScoreLine.read(str(result(signature=replace(SIGNATURE, data="a@b@14a5f5de/01234567"))))
    assert (whole.data_name, whole.data_digest, whole.part) == ("a@b", "14a5f5de", None)
    assert ScoreLine.read(str(result(signature=replace(SIGNATURE, data="nothing")))).data_digest is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("~<= 0.7003", "~<= 0.70"),
        ("~<= 0.7003", "<= 0.7003"),
        ("~<= 0.7003", "~<= -0.7003"),
        ("1,536", "1536"),
        ("1,536", "1,537"),
        ("4,120 bytes", "4,920 bytes"),
        ("1,536", "0"),
        (", 4,120 bytes", ", bytes not counted"),
        ("2.682 bytes/token; ", ""),
        ("~<= 0.7003", "~<= 0.7003 bits/token"),
        ("mc se 0.0648, ", ""),
        ("|T:8", "|T:8|T:9"),
        ("|ctx:128", "|ctx:128|tail:score"),
        ("bytes)", "bytes) or so"),
    ],
)
def test_what_no_result_prints_is_refused(old, new):
    line = str(result())
    assert old in line
    with pytest.raises(InputError, match="bpb-prove --proof wrote"):
        ScoreLine.read(line.replace(old, new))


def header(**changes):
    entries = {
        "harness": "0.1.0", "torch": "2.6", "device": "cpu", "device_name": "cpu", "dtype": "float32", "threads": 1,
        "precision": "highest", "adapter": None, "weights": None, "block_size": None, "stated": [],
        "runs_code": False, "code": None,
        "model": "09bf593a00", "data": "14a5f5de00", "tokenizer": "f8f5752f00", "score": str(result()), "num_spans": 12,
        "method": "discrete", "num_steps": 8, "order": "left-to-right", "tokens_per_step": 1, "seed": 0,
        "schedule": "loglinear[0.001]", "vocab_size": 512, "windows": [1, 4], "contexts": [0, 0], "lengths": [128, 128],
        "batches": [[0, 1]], "digest": "", "network_bits": 1.0,
    }  # fmt: skip
    return Header(**entries | changes)


def test_a_header_that_agrees_with_its_score():
    assert line_of(header(), "a.bits").num_tokens == 1536
    last = header(windows=list(range(12)), contexts=[0] * 12, lengths=[128] * 12)
    assert line_of(last, "a.bits").num_bytes == 4120
    order = replace(SIGNATURE, method="chain", num_steps=None, num_samples=None, order="per-document,random/4")
    chain = header(
        method="chain", num_steps=None, order="random", tokens_per_step=4,
        score=str(result(signature=order, relation="=")),
    )  # fmt: skip
    line_of(chain, "a.bits")
    causal = replace(SIGNATURE, method="ar", num_steps=None, num_samples=None, schedule=None)
    line_of(
        header(
            method="ar", num_steps=None, schedule=None, contexts=[1, 1],
            score=str(result(signature=causal, relation="=")),
        ),
        "a.bits",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"score": "bpb|method:discrete 0.1"}, "score 'bpb|method:discrete 0.1': got another form"),
        ({"method": "mc", "num_steps": None}, "header: method"),
        ({"num_steps": 1000}, "header: num_steps: got 1000, expected 8, as its score says"),
        ({"schedule": "cosine"}, "header: schedule"),
        ({"seed": 1}, "header: seed"),
        ({"dtype": "bfloat16"}, "header: dtype"),
        ({"model": "19bf593a00"}, "header: model"),
        ({"data": "24a5f5de00"}, "header: data"),
        ({"tokenizer": "e8f5752f00"}, "header: tokenizer"),
        (
            {"score": str(result(signature=replace(SIGNATURE, adaptation="own[chunk=9]")))},
            "header: ttt: expected own[chunk=9], as",
        ),
        ({"lengths": [128, 129]}, "at most 128, the windows of its score"),
        ({"contexts": [1, 0]}, "at most 128, the windows of its score"),
        ({"num_spans": 11}, "header: num_spans"),
        ({"num_spans": 2}, "header: num_spans"),
        ({"num_spans": 1284}, "header: num_spans"),
        ({"num_spans": 13}, "header: num_spans: got 13, expected 12, the windows of its score"),
    ],
)
def test_a_header_that_says_something_else_than_its_score(changes, said):
    with pytest.raises(InputError) as caught:
        line_of(header(**changes), "a.bits")
    assert said in str(caught.value)
    assert str(caught.value).startswith("a.bits: header: ")


def test_answers_that_a_stride_cuts_are_more_spans_than_answers():
    data = re.sub(r"\[.*", "[0:9/361]", SIGNATURE.data)
    given = replace(SIGNATURE, data=data, given="prompts+lengths")
    assert line_of(header(score=str(result(signature=given))), "a.bits").part == (9, 361)
    with pytest.raises(InputError, match="num_spans: got 12, expected 9, the windows"):
        line_of(header(score=str(result(signature=replace(given, given=None)))), "a.bits")


def test_other_orders_than_the_score_says():
    order = replace(SIGNATURE, method="chain", num_steps=None, num_samples=None, order="random")
    chain = header(method="chain", num_steps=None, score=str(result(signature=order, relation="=")), order="random")
    line_of(chain, "a.bits")
    for changed in (replace(chain, order="entropy"), replace(chain, tokens_per_step=2)):
        with pytest.raises(InputError, match="header: order"):
            line_of(changed, "a.bits")
