"""Files of scores: back to the last bit, and refused where they are damaged or do not add up."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, replace

import numpy as np
import pytest

from bpb_harness.costs import ScoreCosts, SpanDraws, UnitCosts, is_score_file
from bpb_harness.errors import InputError
from tests.scores import costs_of, draws_of

BYTES = np.array([40.0, 80.0, 20.0])
SCORE = costs_of(BYTES / 3.0, BYTES, relation="~<=", stderr=0.1 + 0.2, draws=draws_of(np.ones((3, 2)) / 7.0))


def same(one, other) -> bool:
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, ScoreCosts | UnitCosts | SpanDraws):
        return all(same(getattr(one, each.name), getattr(other, each.name)) for each in fields(one))
    return type(one) is type(other) and one == other


@pytest.mark.parametrize(
    "score", [SCORE, replace(SCORE, draws=None, documents=None, stderr_nats=None, degrees_of_freedom=3.5)]
)
def test_back_to_the_last_bit(score, tmp_path):
    path = tmp_path / "a.score"
    score.write(path)
    assert is_score_file(path)
    assert same(ScoreCosts.read(path), score)
    assert path.read_bytes().startswith(b'{"format": "bpb-score/1", ')


def test_a_whole_number_is_a_number(tmp_path):
    path = tmp_path / "a.score"
    replace(SCORE, degrees_of_freedom=7, nats=SCORE.nats).write(path)
    found = ScoreCosts.read(path).degrees_of_freedom
    assert (found, type(found)) == (7.0, float)


def test_what_is_no_file_of_a_score(tmp_path):
    other = tmp_path / "b"
    other.write_bytes(b'{"format": "bpb-result/1"}\n')
    assert not is_score_file(other)
    assert not is_score_file(tmp_path)
    assert not is_score_file(tmp_path / "missing")
    with pytest.raises(InputError, match="damaged or was changed"):
        ScoreCosts.read(other)
    with pytest.raises(InputError, match="not a file of a score: got a folder"):
        ScoreCosts.read(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        ScoreCosts.read(tmp_path / "missing")


def test_any_damage_is_found(tmp_path):
    path = tmp_path / "a.score"
    SCORE.write(path)
    content = path.read_bytes()
    for place in (30, len(content) // 2, len(content) - 5):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(InputError, match="damaged or was changed"):
            ScoreCosts.read(path)
    path.write_bytes(content[:-40])
    with pytest.raises(InputError, match="damaged or was changed"):
        ScoreCosts.read(path)


def rewritten(path, change) -> None:
    """The file with another record, and a checksum that fits it."""
    record = json.loads(path.read_bytes())
    del record["check"]
    change(record)
    body = json.dumps(record).encode()
    path.write_bytes(body[:-1] + f', "check": "{hashlib.sha256(body).hexdigest()}"}}\n'.encode())


def remove(key):
    return lambda record: record.pop(key)


def put(key, value):
    return lambda record: record.update({key: value})


def put_inside(key, inner, value):
    return lambda record: record[key].update({inner: value})


def array(*values, kind="<f8"):
    import base64

    return {"type": kind, "base64": base64.b64encode(np.array(values, dtype=kind).tobytes()).decode()}


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (put("format", "bpb-score/2"), "another format"),
        (remove("nats"), "fields of ScoreCosts"),
        (put("more", 1), "fields of ScoreCosts"),
        (put("nats", "5"), "nats is str"),
        (put("nats", float("inf")), "nats is inf"),
        (put("nats", 10**400), "OverflowError"),
        (put("stderr_nats", -1.0), "stderr_nats"),
        (put("context_units", 1e308), "context_units"),
        (put_inside("draws", "v", array(*[1e308] * 6)), "v holds 1e+308"),
        (put("num_unpaid", True), "num_unpaid is bool"),
        (put("relation", "<"), "relation"),
        (put("degrees_of_freedom", 0.0), "degrees_of_freedom"),
        (put("degrees_of_freedom", -1.0), "degrees_of_freedom"),
        (put("num_unpaid", -1), "num_unpaid"),
        (put("num_unpaid", 7), "num_unpaid"),
        (put("unpaid_units", -1), "num_unpaid"),
        (put("vocab_size", 1), "vocab_size"),
        (put("starts", array(*[0] * 3, kind="<i8")), "spans that overlap"),
        (put("starts", array(-1, *SCORE.starts[1:].tolist(), kind="<i8")), "spans that overlap"),
        (put_inside("blocks", "num_tokens", array(*(SCORE.blocks.num_tokens + 1.0))), "tokens do not add up"),
        (put_inside("draws", "v", array(*[1.5] * 6)), "mask rates"),
        (put_inside("draws", "level", array(*[-0.5] * 6)), "mask rates"),
        (put("share_apart", 0.0), "share_apart"),
        (put("share_apart", 1.5), "share_apart"),
        (put("starts", array(1.0)), "starts is no array of <i8"),
        (put("starts", 5), "starts is no array"),
        (put("starts", array(0, kind="<i8")), "spans of different lengths"),
        (put("ends", array(0, 60, 70, kind="<i8")), "a span without targets"),
        (put("starts", {"type": "<i8", "base64": "?"}), "Error"),
        (put("span_units", array(1.0, float("nan"), 1.0)), "span_units holds NaN or infinity"),
        (put("span_units", array(1.0, 1.0, 1.0)), "bytes do not add up"),
        (put("nats", 50.0), "units do not add up"),
        (put_inside("documents", "nats", array(1.0, 2.0)), "columns of different lengths"),
        (put_inside("blocks", "nats", array(1.0)), "units do not add up"),
        (put_inside("draws", "v", array(1.0)), "draws"),
        (put_inside("draws", "share", array(1.0)), "shares"),
        (put_inside("draws", "difficulty", array(1.0)), "difficulty"),
        (put_inside("draws", "num_replicates", 9), "replicates"),
        (put_inside("draws", "num_passes", 0), "passes"),
        (put_inside("draws", "window", array(0, 0, 1, 1, 2, 3, kind="<i8")), "a draw of no span"),
        (put("draws", 5), "fields of SpanDraws"),
    ],
)
def test_what_does_not_belong_together_is_refused(change, seen, tmp_path):
    path = tmp_path / "a.score"
    SCORE.write(path)
    rewritten(path, change)
    with pytest.raises(InputError, match="a file of a score that cannot be used") as caught:
        ScoreCosts.read(path)
    assert seen in str(caught.value)
    assert str(caught.value).endswith("write it again: bpb-eval ... --score-file FILE")
