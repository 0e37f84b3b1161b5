"""Headers of files of bits that anybody may have written."""

from __future__ import annotations

import numpy as np
import pytest

from bpb_harness.errors import InputError
from bpb_harness.proof.choice import Choice
from bpb_harness.proof.header import Header, digest_of

PLAIN = {
    "harness": "0.1", "torch": "2.6", "device": "cpu", "device_name": "cpu", "dtype": "float32", "threads": 1,
    "precision": "highest", "adapter": None, "weights": None, "block_size": None, "stated": [],
    "runs_code": False, "code": None,
    "model": "ab",
    "data": "cd", "tokenizer": "ef", "score": "bpb ~<= 1.0", "num_spans": 9, "method": "discrete", "num_steps": 4,
    "order": "left-to-right", "tokens_per_step": 1, "seed": 0, "schedule": "loglinear", "vocab_size": 5,
    "windows": [1, 4, 7], "contexts": [0, 0, 2], "lengths": [3, 3, 3], "batches": [[0, 1], [2]], "digest": "12",
    "network_bits": 10.0,
}  # fmt: skip


def test_a_header_is_read_as_it_was_written():
    assert Header.read(PLAIN, "a.bits").plain() == PLAIN


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"device": "tpu"}, "device"),
        ({"dtype": "int8"}, "dtype"),
        ({"precision": "none"}, "precision"),
        ({"threads": 0}, "threads"),
        ({"threads": 1_000_000}, "threads"),
        ({"threads": True}, "threads"),
        ({"threads": "1"}, "threads"),
        ({"adapter": 3}, "adapter"),
        ({"runs_code": 1}, "runs_code"),
        ({"code": 1}, "code"),
        ({"score": "bpb ~<= 1.0\nproved: all"}, "score"),
        ({"device_name": "\x1b[2J"}, "device_name"),
        ({"torch": "2" * 5000}, "torch"),
        ({"seed": -1}, "seed"),
        ({"seed": 1 << 64}, "seed"),
        ({"network_bits": float("nan")}, "network_bits"),
        ({"network_bits": 1}, "network_bits"),
        ({"windows": [1, 4, 9]}, "windows"),
        ({"windows": [1, 4, 4]}, "windows"),
        ({"windows": [], "contexts": [], "lengths": [], "batches": []}, "windows"),
        ({"windows": "147"}, "windows"),
        ({"lengths": [3, 3]}, "lengths"),
        ({"lengths": [0, 0, 3]}, "lengths"),
        ({"lengths": [3, 3, 1 << 40]}, "tokens"),
        ({"batches": [[0, 2], [1]]}, "batches"),
        ({"batches": [[0, 1]]}, "batches"),
        ({"batches": [[0, 1], [2], []]}, "batches"),
        ({"batches": [[0, 1], [2, 2]]}, "batches"),
        ({"batches": [0, 1, 2]}, "batches"),
        ({"lengths": [3, 3, 1 << 23]}, "batches"),
        ({"surplus": 1}, "surplus"),
    ],
)
def test_what_is_wrong_with_a_header_is_named(change, named):
    with pytest.raises(InputError, match=rf"a\.bits: header.*{named}.*take a file that bpb-prove"):
        Header.read(PLAIN | change, "a.bits")


@pytest.mark.parametrize("key", PLAIN)
def test_a_header_that_lacks_anything_is_refused(key):
    with pytest.raises(InputError, match=f"'{key}' too many or missing"):
        Header.read({name: value for name, value in PLAIN.items() if name != key}, "a.bits")


def test_a_digest_is_of_the_values():
    assert digest_of(np.array([1, 258])) == digest_of(np.array([1, 258], dtype=np.uint16))
    assert digest_of(np.array([1, 258])) != digest_of(np.array([258, 1]))


def test_the_spans_are_chosen_by_everything_that_was_printed():
    choice = Choice("model", "data", "bpb ~<= 1.0")
    assert choice.spans(1000, 4).tolist() == choice.spans(1000, 4).tolist()
    assert sorted(choice.spans(5, 5)) == [0, 1, 2, 3, 4]
    others = [
        Choice("other", "data", "bpb ~<= 1.0"),
        Choice("model", "other", "bpb ~<= 1.0"),
        Choice("model", "data", "="),
    ]
    for other in others:
        assert other.key != choice.key
        assert other.spans(1000, 4).tolist() != choice.spans(1000, 4).tolist()
        assert (other.streams.reveal_rates(0, 8) != choice.streams.reveal_rates(0, 8)).all()
    assert set(choice.spans(1000, 4)) <= set(choice.spans(1000, 8))
