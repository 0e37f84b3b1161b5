"""Networks that each process packs for itself, and scores its part of the text with (BPB279)."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing.script import LoggedScore, ScriptContext, check_scripts
from bpb_harness.findings import Finding, Severity
from tests.golf_rules import GOLF

SCRIPT = """import io, math, os, zlib
import torch
import torch.distributed as dist
import torch.nn.functional as F


class GPT(torch.nn.Module):
    def forward(self, ids, targets):
        logits = self.head(self.body(self.embed(ids)))
        return F.cross_entropy(logits.float().view(-1, logits.size(-1)), targets.reshape(-1), reduction="mean")


class Loader:
    def __init__(self, files, rank, world_size):
        self.tokens, self.rank, self.world_size = torch.load(files), rank, world_size

    def next_batch(self):
        batch = next(self.tokens)
        return batch[self.rank :: self.world_size]


def statistics(network, loader):
    found = {name: 0.0 for name, _ in network.named_parameters()}
    for _ in range(64):
        network(loader.next_batch(), None)
        for name, p in network.named_parameters():
            found[name] = found[name] + p.seen
    return found


def quantize(state, found):
    return {k: torch.round(v * found[k]).to(torch.int8) for k, v in state.items()}


def dequantize(packed):
    return {k: v.float() / 31.0 for k, v in packed.items()}


def eval_val(network, rank, world_size, tokens, byte_lut):
    nats, size = torch.zeros(()), torch.zeros(())
    for i in range(rank, tokens.numel() - 1, world_size):
        x, y = tokens[i : i + 1024], tokens[i + 1 : i + 1025]
        nats += network(x, y).item() * y.numel()
        size += float(byte_lut[y].sum())
    dist.all_reduce(nats)
    dist.all_reduce(size)
    return nats / math.log(2.0) / size


def main():
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    master_process = rank == 0
    tokens, byte_lut = torch.load("val.pt"), torch.load("lut.pt")
    base = GPT()
    loader = Loader("train.pt", rank, world_size)
    found = statistics(base, loader)
    state = {k: v.detach().cpu() for k, v in base.state_dict().items()}
    buffer = io.BytesIO()
    torch.save(quantize(state, found), buffer)
    blob = zlib.compress(buffer.getvalue())
    if master_process:
        with open("final.int6.z", "wb") as f:
            f.write(blob)
    dist.barrier()
    packed = torch.load(io.BytesIO(zlib.decompress(blob)))
    base.load_state_dict(dequantize(packed))
    bpb = eval_val(base, rank, world_size, tokens, byte_lut)
    print(f"final_roundtrip val_bpb:{bpb:.6f}")


if __name__ == "__main__":
    main()
"""
WRITES = '    if master_process:\n        with open("final.int6.z", "wb") as f:\n            f.write(blob)\n'
READS = '    with open("final.int6.z", "rb") as f:\n        blob = f.read()\n'


SUM = "for each in found.values():\n        dist.all_reduce(each)"


def found(folder: Path, *changes: tuple[str, str], log: str = "world_size:8 grad_accum_steps:1") -> list[Finding]:
    text = SCRIPT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "train.py").write_text(text)
    (folder / "train.log").write_text(f"{log}\nCode size: {len(text)} bytes\nfinal_roundtrip val_bpb:1.141600\n")
    logged = LoggedScore(folder / "train.log", "train.log", 3)
    context = ScriptContext(rules=GOLF, claimed_labels=("final_roundtrip val_bpb",), logged=(logged,))
    return [each for each in check_scripts([folder / "train.py"], context) if each.code == "BPB279"]


@pytest.mark.parametrize(
    "changes",
    [
        [],
        [("if master_process:", "if rank == 0:")],
        [("zlib.decompress(blob)", "zlib.decompress(bytes(blob))"), ("bytes(blob)", "blob")],
        [("base.load_state_dict", "again = GPT()\n    again.load_state_dict"), ("eval_val(base", "eval_val(again")],
        [("dist.barrier()", "torch.cuda.synchronize()")],
    ],
)
def test_each_process_scores_with_what_it_packed_itself(tmp_path: Path, changes: list[tuple[str, str]]) -> None:
    (hit,) = found(tmp_path, *changes)
    assert hit.severity is Severity.WARNS
    assert hit.message.startswith("each of the 8 processes packs a network of its own, by what `Loader` (line ")
    assert "the rest is scored by networks that the artifact does not hold" in hit.message
    assert hit.evidence["processes"] == 8


@pytest.mark.parametrize(
    "changes",
    [
        # all read what one wrote, or are sent it
        [("    packed = torch.load", f"{READS}    packed = torch.load")],
        [("    dist.barrier()\n", "    dist.broadcast_object_list([blob])\n")],
        # statistics of all, in this function or further down
        [("    state = {", "    for each in found.values():\n        dist.all_reduce(each)\n    state = {")],
        [("    return found\n", "    for each in found.values():\n        dist.all_reduce(each)\n    return found\n")],
        [("    return found\n", "    share(found)\n    return found\n"),
         ("def quantize", f"def share(found):\n    {SUM}\n\n\ndef quantize")],
        # the same text for all, or none
        [("batch[self.rank :: self.world_size]", "batch")],
        [('Loader("train.pt", rank, world_size)', 'Loader("train.pt", 0, 1)')],
        [("quantize(state, found)", "quantize(state, dict.fromkeys(state, 31.0))")],
        # each writes its own; one alone scores
        [(WRITES, '    with open(f"final.{rank}.z", "wb") as f:\n        f.write(blob)\n')],
        [("eval_val(base, rank, world_size, ", "eval_val(base, 0, 1, ")],
        [("base.load_state_dict(dequantize(packed))", "base.load_state_dict(torch.load('final.pt'))")],
    ],
)  # fmt: skip
def test_where_one_network_may_have_scored_all(tmp_path: Path, changes: list[tuple[str, str]]) -> None:
    assert not found(tmp_path, *changes)


@pytest.mark.parametrize("log", ["", "world_size:1", "world_size:8\nworld_size:1"])
def test_a_run_that_may_have_been_one_process(tmp_path: Path, log: str) -> None:
    lines = log.split("\n")
    assert not found(tmp_path, log=" ".join(lines))
