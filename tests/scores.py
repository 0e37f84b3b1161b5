"""Records of scores, made of what documents cost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from bpb_harness.costs import BLOCK_UNITS, ScoreCosts, SpanDraws, UnitCosts
from bpb_harness.result import Signature

SIGNATURE = Signature(
    method="ar", byte_rule="official", data="val@11111111", tokenizer="22222222", context_length="64",
    model="33333333", dtype="float32", seed="0", version="0.1.0",
)  # fmt: skip


def costs_of(nats: Any, num_bytes: Any, *, relation: str = "=", stderr: float | None = 0.0, **more: Any) -> ScoreCosts:
    """A score whose documents cost so much; each is a span of half as many tokens as bytes."""
    nats, num_bytes = np.asarray(nats, dtype=np.float64), np.asarray(num_bytes, dtype=np.float64)
    tokens = np.maximum(num_bytes // 2, 1.0)
    ends = np.cumsum(tokens).astype(np.int64)
    documents = UnitCosts(nats, nats.copy(), num_bytes, tokens)
    place = ((np.cumsum(num_bytes) - num_bytes) // BLOCK_UNITS).astype(np.int64)
    blocks = UnitCosts(*(np.bincount(place, weights=each) for each in (nats, nats, num_bytes, tokens)))
    signature = more.pop("signature", SIGNATURE)
    plain = ScoreCosts(
        signature=str(signature), relation=relation, nats=float(nats.sum()), stderr_nats=stderr,
        degrees_of_freedom=None, is_trusted=True, warning="", model="3" * 64, tokens="1" * 64, text="4" * 64,
        raw_text="", tokenizer="2" * 64, counts_bytes=True, num_unpaid=0, unpaid_units=0, vocab_size=512,
        context_units=64.0, share_apart=1.0, starts=ends - tokens.astype(np.int64), ends=ends, span_units=num_bytes,
        documents=documents, blocks=blocks, draws=None,
    )  # fmt: skip
    return replace(plain, **more)


def draws_of(value: Any, *, seed: int = 0, **more: Any) -> SpanDraws:
    """Draws of spans, (N, K) nats, at places that the seed decides."""
    value = np.asarray(value, dtype=np.float64)
    count, samples = value.shape
    v = np.random.default_rng(seed).random((count, samples))
    plain = SpanDraws(
        window=np.repeat(np.arange(count), samples), sample=np.tile(np.arange(samples), count), v=v.ravel(),
        level=v.ravel(), value_nats=value.ravel(), share=np.zeros(0), difficulty=np.ones(count), num_replicates=0,
        num_passes=1, is_independent=False,
    )  # fmt: skip
    return replace(plain, **more)
