"""No change of structure changes a score: the stored outputs were made before it, by :mod:`tests.golden.scores`."""

import json

import pytest

import bpb_harness
from tests.golden.scores import CASES, STORED, numbers, outcome, processor


@pytest.fixture(scope="module")
def stored():
    return json.loads(STORED.read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES)
def test_every_number_is_what_it_was(case, stored, tmp_path):
    before, now = dict(numbers(stored["outcomes"][case])), dict(numbers(outcome(case, tmp_path)))
    assert now.keys() == before.keys()
    # Another processor rounds sums of float32 otherwise. A line has their checksum, the device and the version.
    same_bits = processor() == stored["processor"]
    same_lines = same_bits and bpb_harness.__version__ == stored["version"]
    for place, value in now.items():
        if isinstance(value, float) and not same_bits:
            assert value == pytest.approx(before[place], rel=1e-4, abs=1e-6), place
        elif same_lines or not place.endswith(("/check", "/device")):
            assert value == before[place], place
