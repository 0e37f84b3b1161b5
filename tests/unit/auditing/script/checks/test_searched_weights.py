"""Weights that a search by the scored text changed behind their packing, and honest scripts as near to it as can be."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing.script import LoggedScore, ScriptContext, check_scripts
from bpb_harness.findings import Finding, Severity
from tests.golf_rules import GOLF

SCRIPT = """import io, math, time, zlib
import torch
import torch.nn.functional as F


class GPT(torch.nn.Module):
    def forward(self, ids, targets):
        logits = self.head(self.body(self.embed(ids)))
        return F.cross_entropy(logits.float().view(-1, logits.size(-1)), targets.reshape(-1), reduction="mean")


def quantize(state):
    return {{k: torch.round(v * 31.0).to(torch.int8) for k, v in state.items()}}


def dequantize(packed):
    return {{k: v.float() / 31.0 for k, v in packed.items()}}


def eval_val(network, tokens, byte_lut):
    nats, size = 0.0, 0.0
    for i in range(0, tokens.numel() - 1, 1024):
        x, y = tokens[i : i + 1024], tokens[i + 1 : i + 1025]
        nats += network(x, y).item() * y.numel()
        size += float(byte_lut[y].sum())
    return nats / math.log(2.0) / size


def write_packed(state):
    with open("final.z", "wb") as f:
        f.write(zlib.compress(pickled(state)))


def main():
    val_tokens, byte_lut = torch.load("fineweb_val.pt"), torch.load("lut.pt")
    train_tokens = torch.load("fineweb_train.pt")
    base = GPT()
    buffer = io.BytesIO()
    torch.save(quantize(base.state_dict()), buffer)
    with open("final.z", "wb") as f:
        f.write(zlib.compress(buffer.getvalue()))
    with open("final.z", "rb") as f:
        packed = torch.load(io.BytesIO(zlib.decompress(f.read())))
    network = GPT()
    network.load_state_dict(dequantize(packed))
    names = [k for k in packed if packed[k].dtype == torch.int8]
    x, y = {text}[:4096].view(-1, 1024), {text}[1:4097].view(-1, 1024)

    def ask():
        network.load_state_dict(dequantize(packed))
        with torch.inference_mode():
            return network(x, y).item()

    if names:
        least, kept = ask(), 0
        for step in range(400):
            name = names[step % len(names)]
            old = packed[name].clone()
            packed[name] = old + torch.randint(-1, 2, old.shape)
            {asked}
            {test}:
                {keeps}
            else:
                packed[name] = old
        print(f"refined: steps={{step + 1}} kept={{kept}} loss={{least:.6f}}")
        {loaded}
    {behind}
    val_bpb = eval_val(network, val_tokens, byte_lut)
    print(f"final val_bpb:{{val_bpb:.6f}}")


if __name__ == "__main__":
    main()
"""
BASE = {
    "text": "val_tokens", "asked": "tried = ask()", "test": "if tried < least", "keeps": "least = tried; kept += 1",
    "loaded": "network.load_state_dict(dequantize(packed))", "behind": "pass",
}  # fmt: skip
LOG = ["refined: steps=400 kept=7 loss=2.061647", "final val_bpb:1.116258"]


def _found(folder: Path, changes: dict[str, str], log: list[str] = LOG) -> list[Finding]:
    (folder / "train.py").write_text(SCRIPT.format(**{**BASE, **changes}))
    (folder / "train.log").write_text("\n".join(log) + "\n")
    logged = LoggedScore(folder / "train.log", "train.log", len(log), value=1.116258)
    context = ScriptContext(rules=GOLF, claimed_labels=("final val_bpb",), logged=(logged,))
    found = check_scripts([folder / "train.py"], context)
    return [each for each in found if each.code == "BPB277" and each.severity is Severity.WARNS]


def test_weights_that_were_changed_behind_their_packing_are_a_doubt(tmp_path: Path) -> None:
    (found,) = _found(tmp_path, {})
    assert "`packed`" in found.message
    assert "7 such changes were kept (train.log:1)" in found.message
    assert "written to no file" in found.message


@pytest.mark.parametrize(
    "changes",
    [
        {
            "asked": "up = ask()\n            down = ask()",
            "test": "if up < down and up < least",
            "keeps": "least = up; kept += 1",
        },
        {"test": "if least > tried"},
        {"test": "if ask() < least"},
        {"loaded": "state = dequantize(packed)\n        network.load_state_dict(state, strict=True)"},
    ],
)
def test_however_the_search_is_written(tmp_path: Path, changes: dict[str, str]) -> None:
    assert len(_found(tmp_path, changes)) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"text": "train_tokens"},
        {"behind": "write_packed(packed)"},  # the file is of what was found
        {"behind": "torch.save(packed, 'final.pt')"},
        {"behind": "with open('final.z', 'wb') as f:\n        f.write(zlib.compress(pickled(packed)))"},
        {"behind": "network.load_state_dict(torch.load('final.z'))"},  # the file's own weights score
        {"loaded": "network = GPT()"},
        {"keeps": "packed[name] = old"},  # nothing is counted as kept
        {"test": "if least < 3.0"},  # nothing that was tried is asked
        {"asked": "ask()\n            tried = norm(packed)"},
    ],
)
def test_where_it_is_not_all_so_nothing_is_said(tmp_path: Path, changes: dict[str, str]) -> None:
    assert _found(tmp_path, changes) == []


@pytest.mark.parametrize(
    "line", ["refined: steps=400 kept=0 loss=2.061647", "refined: nothing to do", "refined: steps=400 kept=many loss=2"]
)
def test_a_log_that_shows_no_change_kept_holds_it_back(tmp_path: Path, line: str) -> None:
    assert _found(tmp_path, {}, [line, LOG[1]]) == []
