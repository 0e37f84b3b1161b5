"""What came of a proof as plain values, under the keys that ``--format json`` prints (docs/formats.md)."""

from __future__ import annotations

import math
from typing import Any

from bpb_harness.formats.proof import PROOF_FORMAT
from bpb_harness.proof.prove import Proof
from bpb_harness.proof.reading import Opened
from bpb_harness.proof.verdict import PROVED, REFUTED, UNPROVED
from bpb_harness.units import nats_to_bits

_VERDICTS = {PROVED: "proved", REFUTED: "refuted", UNPROVED: "decoded"}


def plain_of(outcome: Proof | Opened, file_bytes: int) -> dict[str, Any]:
    """Of a file of bits that was written and read back, or only read.

    Args:
        outcome: what came of it.
        file_bytes: of the whole file.
    """
    proof = outcome if isinstance(outcome, Proof) else None
    opened = outcome.opened if isinstance(outcome, Proof) else outcome
    header, decoded = opened.header, opened.decoded
    num_tokens, num_bytes = sum(header.lengths), _num_bytes(proof, opened)
    costs = None if proof is None else proof.written.costs
    has_draws = costs is not None and costs.claim.num_draws > 0
    return {
        "format": PROOF_FORMAT,
        "made_by": "--decode" if proof is None else "--proof",
        "verdict": _VERDICTS[outcome.exit_code],
        "sentence": outcome.sentence(),
        "score": header.score,
        "model": header.model,
        "data": header.data,
        "tokenizer": header.tokenizer,
        "tokens": header.digest,
        "num_spans": header.num_spans,
        "windows": list(header.windows),
        "num_tokens": num_tokens,
        "num_bytes": num_bytes,
        "bits": opened.num_bits,
        "network_bits": _finite(_network_bits(opened)),
        "bits_per_byte": opened.num_bits / num_bytes if num_bytes else None,
        "bits_per_token": opened.num_bits / num_tokens,
        "claimed_bits": None if costs is None else _finite(costs.claimed_bits),
        "claim_stderr_bits": _finite(costs.claim_stderr_bits) if costs is not None and has_draws else None,
        "draw_stderr_bits": _finite(costs.draw_stderr_bits) if costs is not None and len(costs.further_nats) else None,
        "num_wrong_tokens": None if proof is None else proof.num_wrong,
        "came_back": opened.is_same if proof is None else not proof.num_wrong,
        "lost": decoded.lost,
        "runs_code": header.runs_code or opened.runs_code,
        "out_of_reach": list(decoded.held),
        "is_isolated": decoded.is_isolated,
        "differences": list(opened.differences),
        "written_by": {
            "bpb_harness": header.harness,
            "torch": header.torch,
            "device": header.device,
            "device_name": header.device_name,
            "dtype": header.dtype,
            "threads": header.threads,
        },
        "file_bytes": file_bytes,
        "checkpoint_bytes": None if proof is None else proof.checkpoint_bytes,
    }


def _network_bits(opened: Opened) -> float:
    """What they cost by the network here: what the file says of it is anybody's word, taken where nothing came back."""
    return nats_to_bits(math.fsum(opened.decoded.nats)) if opened.is_same else opened.header.network_bits


def _num_bytes(proof: Proof | None, opened: Opened) -> int | None:
    """Bytes of the text that was coded, where they are known."""
    if proof is not None:
        return proof.written.num_bytes
    return opened.cashed.num_units if opened.cashed is not None and opened.cashed.counts_bytes else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
