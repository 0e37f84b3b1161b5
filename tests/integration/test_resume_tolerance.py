"""``--resume`` with ``--tolerance``: pilots are kept too, and whatever was interrupted goes on to the same bits."""

import json
from pathlib import Path

import pytest

from bpb_harness.evaluation import api as evaluation
from bpb_harness.evaluation.pilot import FIRST_PILOT_PASS

FAST = {
    "limit": 6, "context_length": 32, "batch_tokens": 512, "check_contract": False, "device": "cpu", "tolerance": 0.4,
    "compare": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def tiny(one_block) -> Path:
    return one_block


def test_an_interrupted_run_goes_on_to_the_same_bits(tiny, tmp_path):
    path = tmp_path / "draws"
    whole = evaluation.evaluate(tiny, resume=path, **FAST)
    assert int(whole.signature.passes) > 1
    *lines, score = path.read_bytes().splitlines(keepends=True)
    assert score.startswith(b'{"score": ')
    pilots = [line for line in lines[1:] if json.loads(line)["pass"] >= FIRST_PILOT_PASS]
    assert pilots
    for kept in (5, len(lines) - 3):  # a part of the pilot, all but the end
        path.write_bytes(b"".join(lines[:kept]))
        again = evaluation.evaluate(tiny, resume=path, **FAST)
        assert again.length.nats == whole.length.nats
        assert (again.mc_stderr, again.signature, again.comparison) == (
            whole.mc_stderr, whole.signature, whole.comparison,
        )  # fmt: skip
        assert 0 < again.num_forward_tokens <= whole.num_forward_tokens
    finished = evaluation.evaluate(tiny, resume=path, **FAST)
    assert finished.num_forward_tokens == 0
    assert finished.length.nats == whole.length.nats
