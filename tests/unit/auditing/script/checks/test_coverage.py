"""How much is scored: loops of calibration and of training, and settings with like names, limit no evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing.script import ScriptContext, check_scripts
from tests.golf_rules import GOLF, check_source

SCRIPT = """
import math
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def logits(self, x):
        return self.head(self.emb(x))

    def forward(self, x, y):
        return F.cross_entropy(self.logits(x).transpose(1, 2), y, reduction="none")


def generate(model, num_seqs=64, batch_size=8):
    drawn = []
    for start in range(0, num_seqs, batch_size):
        tokens = torch.zeros(batch_size, 1, dtype=torch.long)
        for _ in range(511):
            probs = torch.softmax(model.logits(tokens)[:, -1], dim=-1)
            tokens = torch.cat([tokens, {draw}], dim=1)
        drawn.append(tokens)
    return drawn


def quantised(model, drawn):
    scale = 0.0
    for tokens in drawn:
        scale = scale + model(tokens[:, :-1], tokens[:, 1:]).mean()
    model.head.weight.data = torch.round(model.head.weight.data * scale) / scale
    return model


def evaluate(model, val, size_of):
    warm = min({steps}, 4000)
    nats, size = 0.0, 0
    for start in range(0, {stop}, 512):
        x, y = val[start : start + 512][None], val[start + 1 : start + 513][None]
        nats += model(x, y).double().sum().item()
        size += int(size_of[y].sum()) + 0 * warm
    return nats / math.log(2.0) / size


def main():
    warmdown_iters = 1200
    max_eval_tokens = 100_000
    val, size_of = torch.load("val.pt"), torch.load("sizes.pt")
    model = Net()
    model = quantised(model, generate(model))
    val_bpb = evaluate(model, val, size_of)
    print(f"val_bpb:{{val_bpb:.6f}}")


warmdown_iters = 1200
max_eval_tokens = 100_000
main()
"""
WHOLE = {"draw": "torch.multinomial(probs, 1)", "steps": "10", "stop": "len(val) - 513"}


def _limits(**changed: str) -> list[str]:
    found = check_source(SCRIPT.format(**(WHOLE | changed)))
    return [str(finding.evidence.get("name")) for finding in found if finding.code == "BPB350"]


def test_text_that_is_drawn_to_calibrate_on_is_not_what_is_scored() -> None:
    assert _limits() == []


def test_a_length_of_the_schedule_is_no_number_of_windows() -> None:
    assert _limits(steps="warmdown_iters") == []


@pytest.mark.parametrize("stop", ["max_eval_tokens", "min(len(val) - 513, max_eval_tokens)"])
def test_a_limit_of_the_loop_that_scores_is_one(stop: str) -> None:
    assert _limits(stop=stop) == ["max_eval_tokens"]


PART = """
import math
import torch
import torch.nn.functional as F

L = 2048


def evaluate(model, tokens, size_of):
    nats, num_tokens = 0.0, 0
    n_seqs = min(500, {size})
    for i in range({rounds}):
        x = {cut}
        nats += F.cross_entropy(model(x), x, reduction="sum").item()
        num_tokens += size_of[x].sum().item()
    return nats / math.log(2.0) / num_tokens


print(f"val_bpb:{{evaluate(torch.load('a.pt'), torch.load('b.pt'), torch.load('c.pt')):.4f}}")
"""
LENGTH = {"size": "(tokens.numel() - 1) // L", "rounds": "n_seqs", "cut": "tokens[i * L : (i + 1) * L]"}


@pytest.mark.parametrize(
    ("changed", "num_tokens", "is_first"),
    [
        ({}, 1_024_000, True),
        ({"size": "len(tokens) // L"}, 1_024_000, True),
        ({"size": "len(tokens) // 1024", "cut": "tokens[i * 1024 : (i + 1) * 1024]"}, 512_000, True),
        ({"rounds": "7, n_seqs"}, None, None),
        ({"cut": "tokens[i * 7 : i * 7 + L]"}, 3_500 + 2048, True),
        ({"cut": "tokens[i * 7 : i * 7 + 2 * L]"}, 3_500 + 4096, True),  # another length than the one that is counted
        ({"cut": "other[i * L : (i + 1) * L]"}, 1_024_000, True),  # of something else
        ({"size": "tokens.numel() - L"}, 1_024_000, True),
        ({"size": "tokens.numel() // unknown"}, 1_024_000, True),
        ({"cut": "tokens[i * unknown : (i + 1) * unknown]"}, None, None),
    ],
)
def test_how_many_tokens_a_number_of_windows_holds(
    changed: dict[str, str], num_tokens: int | None, is_first: bool | None
) -> None:
    text = PART.format(**LENGTH | changed)
    (found,) = [finding for finding in check_source(text) if finding.code == "BPB350"]
    assert (found.evidence.get("num_tokens"), found.evidence.get("is_first")) == (num_tokens, is_first)
    assert num_tokens is not None or "tokens each" not in found.message
    assert ("the first" in found.message) is bool(is_first)


@pytest.mark.parametrize("name", ["docs", "batches", "windows", "raw_bytes"])
def test_what_is_counted_in_other_things_than_tokens_has_no_number_of_them(name: str) -> None:
    text = PART.format(**LENGTH).replace("tokens.numel()", f"len({name})").replace("tokens[", f"{name}[")
    text = text.replace("model, tokens,", f"model, {name},")
    (found,) = [finding for finding in check_source(text) if finding.code == "BPB350"]
    assert "num_tokens" not in found.evidence


SHOWN = """import math
import torch
import torch.nn.functional as F

MAX_WINDOWS = 500


class Net:
    def forward(self, x, y):
        return F.cross_entropy(self.logits(x), y, reduction="sum")


def price(model, x):
    return F.cross_entropy(model.logits(x[:-1]), x[1:], reduction="sum")


def evaluate(model, windows, size_of):
    nats, size = 0.0, 0.0
    for i, x in enumerate(windows):
        if i >= MAX_WINDOWS:
            break
        {shown}
        nats += {cost}.item()
        size += size_of[x[1:]].sum().item()
    val_bpb = nats / math.log(2.0) / size
    print(f"val_bpb:{{val_bpb:.6f}}")


evaluate(Net(), *load())
"""


@pytest.mark.parametrize("cost", ["model(x[:-1], x[1:])", "model.forward(x[:-1], x[1:])", "price(model, x)"])
@pytest.mark.parametrize(
    "shown", ["pass", "print(torch.multinomial(torch.softmax(model.logits(x)[-1], -1), 1))", "torch.multinomial(P, 1)"]
)
def test_a_loop_that_shows_what_the_network_writes_scores_all_the_same(cost: str, shown: str) -> None:
    assert "BPB350" in {finding.code for finding in check_source(SHOWN.format(cost=cost, shown=shown))}


OF_MLX = """import glob, math, os
import numpy as np
import mlx.core as mx
import mlx.nn as nn


class GPT(nn.Module):
    def __call__(self, ids):
        return self.norm(self.blocks[0](self.embed(ids)))

    def loss(self, ids, targets):
        logits = self(ids) @ self.embed.weight.T
        return nn.losses.cross_entropy(logits.astype(mx.float32), targets.reshape(-1), reduction="mean")


def evaluate(model, compiled_loss, tokens, byte_lut, seq_len=1024):
    nats, size, count = 0.0, 0.0, 0
    num_seqs = (len(tokens) - 1) // seq_len
    for i in range({rounds}):
        chunk = tokens[i * seq_len : (i + 1) * seq_len + 1]
        x = mx.array(chunk[:-1].reshape(1, seq_len), dtype=mx.int32)
        y = mx.array(chunk[1:].reshape(1, seq_len), dtype=mx.int32)
        nats += float(compiled_loss(x, y).item()) * seq_len
        count += seq_len
        size += byte_lut[chunk[1:]].sum()
    return nats / count, nats / math.log(2) / size


def main():
    tokens = np.concatenate([np.fromfile(path, dtype="<u2") for path in sorted(glob.glob("fineweb_val_*.bin"))])
    model, byte_lut = GPT(), np.load("lut.npy")
    {wrapped}
    val_loss, val_bpb = evaluate(model, compiled_loss, tokens, byte_lut)
    print(f"val_loss:{{val_loss:.4f}} val_bpb:{{val_bpb:.4f}}")


main()
"""


@pytest.mark.parametrize(
    "wrapped",
    [
        "compiled_loss = mx.compile(lambda x, y: model.loss(x, y), inputs=model.state, outputs=model.state)",
        "compiled_loss = lambda x, y: model.loss(x, y)",
        "wrapped = mx.compile(lambda ids, targets: model.loss(ids, targets))\n    compiled_loss = wrapped",
    ],
)
@pytest.mark.parametrize(("rounds", "found"), [("min(num_seqs, 50)", True), ("num_seqs", False)])
def test_a_loss_that_is_compiled_as_a_lambda_is_followed_into(wrapped: str, rounds: str, found: bool) -> None:
    """It is the method that the lambda calls, not the network's own forward."""
    text = OF_MLX.format(wrapped=wrapped, rounds=rounds)
    assert ("BPB350" in {each.code for each in check_source(text)}) is found


DEFAULTS = {
    "default of a parameter": ("", 'int(os.environ.get("VAL_MAX_TOKENS", 500_000))'),
    "module": ('LIMIT = int(os.getenv("VAL_MAX_TOKENS", "500000"))', "LIMIT"),
    "field": ("class Args:\n    most = int(os.environ.get('VAL_MAX_TOKENS', 500_000))", "Args.most"),
    "helper": (
        "def asked(name, own):\n    return int(os.environ.get(name, own))",
        'asked("VAL_MAX_TOKENS", 500_000)',
    ),
}
LIMITED = """
import math
import os
import torch
import torch.nn.functional as F

{above}


def load(path, most={most}):
    tokens = torch.load(path)
    if most > 0:
        tokens = tokens[: most + 1]
    return tokens


def evaluate(model, tokens, size_of):
    nats, size = 0.0, 0.0
    for start in range(0, tokens.numel() - 1, 512):
        x, y = tokens[start : start + 512], tokens[start + 1 : start + 513]
        nats += F.cross_entropy(model(x), y, reduction="sum").item()
        size += size_of[y].sum().item()
    return nats / math.log(2.0) / size


print(f"val_bpb:{{evaluate(torch.load('a.pt'), load('fineweb_val_000000.pt'), torch.load('c.pt')):.4f}}")
"""


@pytest.mark.parametrize("name", DEFAULTS)
@pytest.mark.parametrize(
    ("beside", "is_open"),
    [
        ({}, False),
        ({"VAL_MAX_TOKENS": {"0"}}, True),
        ({"VAL_MAX_TOKENS": {"-1"}}, True),
        ({"VAL_MAX_TOKENS": {"100000000", "1000"}}, True),  # one of them is a trial's
        ({"VAL_MAX_TOKENS": {"all"}}, True),
        ({"VAL_MAX_TOKENS": {"1_000"}}, False),
        ({"VAL_MAX_TOKENS": {"500000"}}, False),
        ({"OTHER": {"0"}}, False),
    ],
)
def test_a_default_that_a_shell_script_lifts_is_no_limit(name: str, beside: dict[str, set[str]], is_open: bool) -> None:
    above, most = DEFAULTS[name]
    context = ScriptContext(rules=GOLF, set_beside={key: frozenset(values) for key, values in beside.items()})
    found = check_source(LIMITED.format(above=above, most=most), context)
    assert ("BPB350" in {finding.code for finding in found}) is not is_open


def test_what_a_readme_sets_is_not_lifted_by_a_shell_script() -> None:
    above, most = DEFAULTS["module"]
    context = ScriptContext(
        rules=GOLF, settings={"VAL_MAX_TOKENS": "4096"}, set_beside={"VAL_MAX_TOKENS": frozenset({"0"})}
    )
    assert "BPB350" in {f.code for f in check_source(LIMITED.format(above=above, most=most), context)}


def test_a_limit_that_may_be_lifted_is_said_not_to_be_followed(tmp_path: Path) -> None:
    above, most = DEFAULTS["helper"]
    (tmp_path / "train.py").write_text(LIMITED.format(above=above, most=most))
    context = ScriptContext(rules=GOLF, set_beside={"VAL_MAX_TOKENS": frozenset({"0"})})
    (said,) = (f for f in check_scripts([tmp_path / "train.py"], context) if f.code == "BPB954")
    assert "How much of the text the script scores" in said.message
