"""What a result is given beside the sums: the source of its text, where that is known of exactly what was scored."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bpb_harness.evaluation import score as score_module

NUM_TOKENS, NUM_BYTES = 100, 260


class Masked:
    """Told apart from a causal model by what it has."""

    mask_token_id, vocab_size, context_length, time_conditioned = 9, 9, 16, False

    def logits(self, xt, level):
        raise AssertionError


class Causal:
    """Is given the first token."""

    vocab_size, context_length = 9, 16

    def logits(self, x):
        raise AssertionError


def source_of(num_scored: int, **changes: Any) -> object:
    given = {
        "model": Masked(), "byte_rule": "official", "is_given_lengths": False, "num_bytes": NUM_BYTES,
        "source": SimpleNamespace(num_bytes=NUM_BYTES),
    } | changes  # fmt: skip
    corpus = SimpleNamespace(num_tokens=NUM_TOKENS)
    counter = SimpleNamespace(total=lambda _, rule: given["num_bytes"] if rule == "official" else 0)
    job = SimpleNamespace(
        model=given["model"], settings=SimpleNamespace(byte_rule=given["byte_rule"]),
        is_given_lengths=given["is_given_lengths"],
        text=SimpleNamespace(source=given["source"], corpus=corpus, counter=counter),
    )  # fmt: skip
    found = score_module._source_of(job, SimpleNamespace(num_tokens=num_scored))  # type: ignore[arg-type]
    assert found is None or found is given["source"]
    return found


def test_a_masked_network_pays_for_every_token():
    assert source_of(NUM_TOKENS) is not None
    assert source_of(NUM_TOKENS - 1) is None


def test_a_causal_one_is_given_the_first():
    assert source_of(NUM_TOKENS - 1, model=Causal()) is not None
    assert source_of(NUM_TOKENS - 2, model=Causal()) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"source": None},
        {"byte_rule": "none"},
        {"is_given_lengths": True},  # the source pays for where documents end
        {"num_bytes": NUM_BYTES + 1},  # a text of another source, or another tokenizer's
    ],
)
def test_no_source_of_anything_else(changes):
    assert source_of(NUM_TOKENS, **changes) is None
