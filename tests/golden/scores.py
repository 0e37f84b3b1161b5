"""Scores of the bundled checkpoint by every method: what a change of structure must leave as it is, to the last bit.

    python -m tests.golden.scores [CASE ...]

wrote the outputs that lie beside this file, one line a case, at the commit that they name: the last one before the
package was rearranged. Given cases are made alone, on the processor and the torch that made the others, which stay as
they are. Only the public interface is used, so that the same program runs before a change and after it.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

import bpb_harness
from tests.tiny_checkpoints import make_golf_gpt

ROOT = Path(__file__).resolve().parents[2]
STORED = Path(__file__).with_suffix(".json")
CHECKPOINT = ROOT / "fixtures" / "checkpoints" / "mdlm-tiny.pt"
SHARD = ROOT / "fixtures" / "corpora" / "tiny_val_000000.bin"
TOKENIZER = ROOT / "fixtures" / "tokenizers" / "tiny_512_bpe.model"
DOCUMENTS = ROOT / "fixtures" / "corpora" / "tiny_val_docs.jsonl"

CASES: dict[str, dict[str, Any]] = {
    "discrete": {"limit": 16},
    "discrete.few-steps": {"limit": 8, "num_steps": 4, "num_samples": 3, "seed": 5},
    "discrete.all": {"limit": 4, "num_steps": 6, "num_samples": "all"},
    "discrete.compare": {"limit": 12, "num_steps": 8, "compare": True},
    "discrete.tolerance": {"limit": 24, "tolerance": 0.05},
    "mc": {"limit": 6, "method": "mc", "with_windows": True, "with_tokens": True},
    "mc.one-sample": {"limit": 40, "method": "mc", "num_samples": 1, "seed": 2**40},
    "mc.compare": {"limit": 12, "method": "mc", "compare": True, "context_length": 24},
    "mc.cosine": {"limit": 8, "method": "mc", "schedule": "cosine-md4[0.01]"},
    "mc.tail": {"limit": 8, "method": "mc", "tail": "drop", "byte_rule": "exact"},
    "mc.documents": {"docs": DOCUMENTS, "method": "mc", "byte_rule": "raw", "num_samples": 1},
    "mc.no-bytes": {"limit": 8, "method": "mc", "byte_rule": "none"},
    "mc.contract": {"limit": 8, "method": "mc", "check_contract": True},
    "mc.tolerance.compare": {"limit": 24, "method": "mc", "tolerance": 0.1, "compare": True},
    "exact": {"limit": 3, "method": "exact", "context_length": 6},
    "exact.steps": {"limit": 3, "method": "exact", "context_length": 5, "num_steps": 4},
    "chain": {"limit": 3, "method": "chain"},
    "chain.random": {"limit": 3, "method": "chain", "order": "random", "seed": 3},
    "chain.confidence": {"limit": 3, "method": "chain", "order": "confidence", "tokens_per_step": 4},
    "chain.entropy": {"limit": 2, "method": "chain", "order": "entropy", "tokens_per_step": 8},
    "chain.margin": {"limit": 2, "method": "chain", "order": "margin", "tokens_per_step": 8},
    "ar": {"limit": 3, "method": "ar"},
    "ar.stride": {"limit": 20, "method": "ar", "context_length": 64, "stride": 16, "with_windows": True},
    "ar.documents": {"limit": 30, "method": "ar", "context_length": 128, "per_document": True},
}
WITH_DRAWS = {"discrete", "discrete.few-steps", "discrete.all", "discrete.tolerance", "mc.one-sample", "mc.compare"}
LATER = ["num_context"]  # columns that were added since
LATER_KEYS = {  # of a result
    "reference_marks", "seconds_by_phase", "format", "versions", "expectation", "num_steps", "schedule", "num_samples",
    "passes", "order", "stride", "block_size", "unpaid_prefix", "given", "told", "enumeration", "byte_rule", "data",
    "tokenizer", "separator", "context_length", "tail", "model", "adapter", "contract", "dtype", "seed",
}  # fmt: skip
VARIES = {"seconds", "forward_tokens_per_second", "device", "peak_memory_bytes", "findings"}


def outcome(case: str, folder: Path) -> dict[str, Any]:
    """Everything that a score says but how long it took, with the draws that ``--resume`` keeps."""
    settings: dict[str, Any] = {"device": "cpu", "check_contract": False} | CASES[case]
    sampled = case in WITH_DRAWS
    draws, checkpoint = folder / f"{case}.draws", CHECKPOINT
    if sampled:
        settings["resume"] = draws
    if settings.get("method") == "ar":
        checkpoint = folder / "causal.pt"
        torch.save(make_golf_gpt(vocab_size=512), checkpoint)
        settings |= {"adapter": "golf-gpt", "data": SHARD, "tokenizer": TOKENIZER}
    result = bpb_harness.evaluate(checkpoint, **settings)
    said: dict[str, Any] = {key: value for key, value in result.to_dict().items() if key not in VARIES | LATER_KEYS}
    said["codes"] = [remark.code for remark in result.remarks]
    for name, table in (("windows", result.windows), ("tokens", result.tokens)):
        if table is not None:
            said[name] = table.drop(columns=LATER, errors="ignore").to_dict("list")
    if sampled:
        lines = [json.loads(line) for line in draws.read_text().splitlines()]
        said["draws"] = [line for line in lines if "score" not in line]
    plain: dict[str, Any] = json.loads(json.dumps(said).replace(f"|version:{bpb_harness.__version__}", ""))
    return plain


def processor() -> str:
    """What the last digits of sums depend on; libraries choose their kernels by more than can be asked for."""
    g = torch.Generator().manual_seed(0)
    a, b = (torch.randn(96, 257, generator=g) for _ in range(2))
    attended = functional.scaled_dot_product_attention(a[None, None], b[None, None], b[None, None])
    sums = torch.log_softmax(functional.gelu(a @ b.T), dim=-1), functional.layer_norm(attended, (257,))
    digest = hashlib.sha256(b"".join(part.numpy().tobytes() for part in sums)).hexdigest()[:16]
    torch_version, kind = torch.__version__.split("+")[0], torch.backends.cpu.get_cpu_capability()
    return f"torch {torch_version}, {kind}, {torch.get_num_threads()} thread(s), sums {digest}"


def numbers(found: object, at: str = "") -> Iterator[tuple[str, object]]:
    """Every leaf with its place."""
    if isinstance(found, dict):
        for key, value in found.items():
            yield from numbers(value, f"{at}/{key}")
    elif isinstance(found, list):
        yield f"{at}/length", len(found)
        for index, value in enumerate(found):
            yield from numbers(value, f"{at}/{index}")
    else:
        yield at, found


def main(cases: Sequence[str]) -> None:
    torch.set_num_threads(1)
    stored = json.loads(STORED.read_text(encoding="utf-8")) if cases else _made_by()
    assert stored["processor"] == processor(), f"the others were made by {stored['processor']}"
    with tempfile.TemporaryDirectory() as folder:
        for case in cases or CASES:
            stored["outcomes"][case] = outcome(case, Path(folder))
    STORED.write_text(in_lines(stored), encoding="utf-8")


def _made_by() -> dict[str, Any]:
    command = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    return {"commit": commit, "version": bpb_harness.__version__, "processor": processor(), "outcomes": {}}


def in_lines(stored: dict[str, Any]) -> str:
    """One line a case, so that a difference names those that moved."""
    lines = [
        f"{json.dumps(case)}:{json.dumps(found, separators=(',', ':'))}" for case, found in stored["outcomes"].items()
    ]
    head = json.dumps({key: value for key, value in stored.items() if key != "outcomes"})
    return head[:-1] + ', "outcomes": {\n' + ",\n".join(lines) + "\n}}\n"


if __name__ == "__main__":
    main(sys.argv[1:])
