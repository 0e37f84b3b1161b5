"""How much of a text was learnt before its score is said where a log prints the steps and each takes a known slice."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing.script import LoggedScore, ScriptContext
from bpb_harness.findings import Finding, Severity
from tests.golf_rules import GOLF, check_source

SCRIPT = """import glob, math, os
import numpy as np
import torch
import torch.nn.functional as F
SEQ_LEN, BATCH = 1024, int(os.environ.get("BATCH", 32))
STEPS = int(os.environ.get("STEPS", "8"))


def load_tokens(pattern):
    files = sorted(glob.glob(pattern))
    return torch.cat([torch.from_numpy(np.fromfile(file, dtype="<u2").astype(np.int32)) for file in files])


def adapt(network, val_tokens, seq_len, steps, batch, rank=0):
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    num_seqs = (val_tokens.numel() - 1) // seq_len
    for step in range(steps):
        first = (step * batch) % max(num_seqs - batch, 1)
        begin = first * seq_len
        end = (first + batch) * seq_len + 1
        local = val_tokens[{slice}]
        optimizer.zero_grad()
        loss = network(local[:-1], local[1:])
        loss.backward()
        optimizer.step()
        if step + 1 == steps:
            print(f"adapt_step:{{step + 1}}/{{steps}} loss:{{loss.item():.4f}}")


def eval_val(network, val_tokens, byte_lut):
    nats, size = 0.0, 0.0
    for i in range((val_tokens.numel() - 1) // SEQ_LEN):
        local = val_tokens[i * SEQ_LEN : (i + 1) * SEQ_LEN + 1]
        nats += network(local[:-1], local[1:]).item() * SEQ_LEN
        size += byte_lut[local[1:]].sum().item()
    return nats / math.log(2.0) / size


def main():
    network = torch.nn.Linear(4, 4)
    val_tokens = load_tokens("./data/fineweb10B_sp1024/fineweb_val_*.bin")
    byte_lut = torch.ones(1024)
    {calls}
    print(f"final_exact val_bpb:{{eval_val(network, val_tokens, byte_lut):.4f}}")


main()
"""
CALL = "adapt(network, val_tokens, SEQ_LEN, STEPS, BATCH)"


def _found(tmp_path: Path, part: str = "begin:end", calls: str = CALL, tokens: int | None = 10_000_000) -> Finding:
    path = tmp_path / "train.log"
    path.write_text("adapt_step:16/16 loss:2.9\nfinal_exact val_bpb:1.2000\n")
    logged = (LoggedScore(path, "train.log", 2),)
    context = ScriptContext(rules=GOLF, claimed_labels=("final_exact val_bpb:",), logged=logged, text_tokens=tokens)
    text = SCRIPT.format(slice=part, calls=calls)
    (found,) = [each for each in check_source(text, context) if each.code == "BPB273"]
    assert found.severity is Severity.REFUTES
    return found


@pytest.mark.parametrize("part", ["begin:end", "begin : begin + batch * seq_len + 1"])
def test_the_part_that_was_learnt_is_told(tmp_path: Path, part: str) -> None:
    found = _found(tmp_path, part)
    assert "afterwards: a part of what is scored was learnt before" in found.message
    assert "at most 524,288 of the 10,000,000 tokens of the text, 5.2% (16 steps, which train.log:1" in found.message
    assert found.evidence["tokens_learnt_at_most"] == 16 * 32 * 1024


@pytest.mark.parametrize(
    ("changes"),
    [
        {"part": "begin:"},
        {"part": "begin + rank * seq_len : end + rank * seq_len"},  # each process may learn another part
        {"part": "begin : end + step * seq_len"},  # of a length that is another in each step
        {"tokens": 600_000},  # nearly all of it
        {"tokens": None},
        {"calls": f"for _ in range(3):\n        {CALL}"},
    ],
)
def test_what_is_not_known_or_is_most_of_the_text_is_not(tmp_path: Path, changes: dict[str, object]) -> None:
    found = _found(tmp_path, **changes)  # type: ignore[arg-type]
    assert "afterwards: what is scored was learnt before" in found.message
    assert "tokens_learnt_at_most" not in found.evidence
