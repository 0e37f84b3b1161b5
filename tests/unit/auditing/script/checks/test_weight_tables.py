"""Weights that are looked up in a table: followed to what fills it; what cannot be followed is no missing weight."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing.script import check_scripts
from bpb_harness.auditing.script.context import ScriptContext
from bpb_harness.findings import Severity
from tests.golf_rules import check_source

SCRIPT = """import math
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
MASK, T = 512, 64


def filled():
    out = torch.zeros(T)
    for k in range(T):
        out[k] = VALUE
    return out


def keeper():
    kept = [VALUE for k in range(T)]

    def look(i):
        return kept[i]

    return look


class Schedule(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("held", torch.tensor([VALUE for k in range(T)]))

    def weight(self, i):
        return self.held[i]


def evaluate(model, batches, size_of):
    {table}
    nats, size = 0.0, 0.0
    for x0 in batches:
        for {head}:
            u = {rate}
            m = torch.rand(x0.shape) < u
            xt = torch.where(m, MASK, x0)
            ce = F.cross_entropy(model(xt).float().transpose(1, 2), x0, reduction="none")
            nats += {loss}
        size += size_of[x0].sum()
    val_bpb = float(nats) / math.log(2.0) / size
    print(f"val_bpb:{{val_bpb:.6f}}")


evaluate(torch.load("m.pt"), torch.load("b.pt"), torch.load("s.pt"))
"""
LISTED = "[VALUE for k in range(T)]"
# How a table is made, and how an entry is looked up in it: w.
FOLLOWED = {
    "list": (f"w = {LISTED}", "w[i]"),
    "tensor": (f"w = torch.tensor({LISTED}).cuda()", "w[i].item()"),
    "generator": ("w = np.array(list(VALUE for k in range(T)))", "float(w[i])"),
    "gather": (f"w = torch.tensor({LISTED})", "w.gather(0, i)"),
    "torch.gather": (f"w = torch.tensor({LISTED})", "torch.gather(w, 0, i)"),
    "index_select": (f"w = torch.tensor({LISTED})", "w.index_select(0, i)"),
    "take": (f"w = torch.tensor({LISTED})", "torch.take(w, i)"),
    "np.take": (f"w = np.array({LISTED})", "np.take(w, i)"),
    "embedding": (f"w = torch.tensor({LISTED})", "F.embedding(i, w)"),
    "dictionary": ("w = {k: VALUE for k in range(T)}", "w[i]"),
    "dictionary from one": ("w = {k + 1: VALUE for k in range(T)}", "w[i + 1]"),
    "dictionary asked": ("w = {k: VALUE for k in range(T)}", "w.get(i)"),
    "appended": ("w = []\n    for k in range(T):\n        w.append(VALUE)", "w[i]"),
    "appended, converted": ("w = []\n    for k in range(T):\n        w.append(VALUE)\n    w = np.array(w)", "w[i]"),
    "stored": ("w = np.zeros(T)\n    for k in range(T):\n        w[k] = VALUE", "w[i]"),
    "stored from one": ("w = torch.empty(T + 1)\n    for k in range(T):\n        w[k + 1] = VALUE", "w[i + 1]"),
    "backwards": (f"w = {LISTED}[::-1]", "w[T - 1 - i]"),
    "reversed": (f"w = list(reversed({LISTED}))", "w[T - 1 - i]"),
    "flipped": (f"w = torch.flip(torch.tensor({LISTED}), [0])", "w[T - 1 - i]"),
    "function": ("w = filled()", "w[i]"),
    "buffer": ("w = Schedule()", "w.weight(i)"),
}
OPEN = {
    "file": ("w = np.load('w.npy')", "w[i]"),
    "tensor of a file": ("w = torch.load('w.pt', map_location=size_of.device)", "w[i]"),
    "gather": ("w = torch.load('w.pt')", "w.gather(0, i)"),
    "index_select": ("w = torch.load('w.pt')", "torch.index_select(w, 0, i)"),
    "take": ("w = torch.load('w.pt')", "torch.take(w, i)"),
    "embedding": ("w = nn.Embedding.from_pretrained(torch.load('w.pt'))", "w(i)"),
    "F.embedding": ("w = torch.load('w.pt')", "F.embedding(i, w)"),
    "settings": ("w = json.load(open('w.json'))['weights']", "w[i]"),
    "interpolation": ("w = np.load('w.npy')", "np.interp(u, np.linspace(0, 1, len(w)), w)"),
    "searchsorted": ("w, grid = np.load('w.npy')", "w[np.searchsorted(grid, u)]"),
    "bucketize": ("w, grid = torch.load('w.pt')", "w[torch.bucketize(u, grid)]"),
    "spline": ("w = scipy.interpolate.CubicSpline(*np.load('w.npy'))", "w(u)"),
    "closure": ("w = keeper()", "w(i)"),
    "object": ("w = registry.build('weights')", "w.at(i)"),
    "filled in place": ("w = np.ones(T)\n    w[:] = np.load('w.npy')", "w[i]"),
    "divided in place": ("w = np.ones(T)\n    w /= np.load('w.npy')", "w[i]"),
    "filled by two loops": (
        "w = np.zeros(T)\n    for k in range(T):\n        w[k] = 1.0\n    for k in range(T):\n        w[k] /= k + 1",
        "w[i]",
    ),
    "some left out": ("w = [1 / (k + 1) for k in range(2 * T) if k % 2 == 0]", "w[i]"),
    "some left out of a dictionary": ("w = {k: 1 / (2 * k + 1) for k in range(2 * T) if k % 2 == 0}", "w[i]"),
    "keys far apart": ("w = {2 * k: 1 / (2 * k + 1) for k in range(T)}", "w[2 * i]"),
}


def _script(table: str, loss: str, head: str = "i in range(T)", rate: str = "(i + 1) / T") -> str:
    return SCRIPT.format(table=table, loss=loss, head=head, rate=rate)


def _codes(text: str) -> set[str]:
    return {finding.code for finding in check_source(text) if finding.code.startswith(("BPB25", "BPB26"))}


@pytest.mark.parametrize(
    ("value", "code"), [("1 / (k + 1)", None), ("1 / (k + 1) ** 2", "BPB251"), ("1 / (T - k)", "BPB250")]
)
@pytest.mark.parametrize("name", FOLLOWED)
def test_a_table_is_followed_to_what_fills_it(name: str, value: str, code: str | None) -> None:
    table, entry = FOLLOWED[name]
    for loss in (f"(ce * m).sum() * {entry}", f"{entry} * (ce * m).sum() / T", f"(ce * m * ({entry})).sum()"):
        assert _codes(_script(table, loss).replace("VALUE", value)) == ({code} if code else set())


@pytest.mark.parametrize("name", OPEN)
def test_a_table_that_cannot_be_followed_is_no_missing_weight(name: str) -> None:
    table, entry = OPEN[name]
    for loss in (f"(ce * m).sum() * {entry}", f"(ce * m).sum() / u ** 2 * {entry}", f"(ce * m).mean() / {entry}"):
        assert _codes(_script(table, loss).replace("VALUE", "1")) == set()


def test_what_was_not_followed_is_said(tmp_path: Path) -> None:
    table, entry = OPEN["file"]
    (tmp_path / "eval.py").write_text(_script(table, f"(ce * m).sum() * {entry}").replace("VALUE", "1"))
    said = [f for f in check_scripts([tmp_path / "eval.py"], ScriptContext()) if f.code == "BPB954"]
    (of_masks,) = [
        each for each in said if each.severity is Severity.WARNS
    ]  # of the bytes there is no more than a note
    assert of_masks.message.startswith("How the script draws and weighs masked tokens was not followed")
    assert "what do the losses of each mask rate weigh?" in str(of_masks.evidence["missing"])


@pytest.mark.parametrize(
    "head", ["u, w in zip(np.arange(1, T + 1) / T, np.load('w.npy'))", "(u, w) in np.load('rates_and_weights.npy')"]
)
def test_weights_beside_the_rates_are_not_followed_either(head: str) -> None:
    assert _codes(_script("pass", "(ce * m).sum() * w", head, "u")) == set()


COLLECTED = ["torch.stack(kept) * w", "np.array(kept) * w", "torch.tensor(kept) @ w"]


PAIRED = ["sum(a * b for a, b in zip(w, kept))", "sum(b * a for b, a in zip(kept, w))"]
STORED = "torch.ones(T)\n    w[1:] = np.load('w.npy')"


@pytest.mark.parametrize(
    "made", ["np.load('w.npy')", "1 / torch.arange(1, T + 1)", f"torch.tensor({LISTED})", STORED, "np.load(x.device)"]
)
@pytest.mark.parametrize("weighed", [*(f"({each}).sum()" for each in COLLECTED), *PAIRED])
def test_weights_of_what_was_collected_are_not_followed(weighed: str, made: str) -> None:
    text = _script(f"kept, w = [], {made}".replace("[], torch.ones", "[], 0\n    w = torch.ones"), "0.0").replace(
        "VALUE", "1 / (k + 1)"
    )
    text = text.replace("            nats += 0.0", "            kept.append((ce * m).sum())")
    text = text.replace("        size +=", f"        nats += {weighed}\n        size +=")
    assert _codes(text) == set()


@pytest.mark.parametrize(
    "kept",
    [
        "(torch.rand(x0.shape) < 0.5)",
        "attended",
        "(x0 != 0)",
        "attended[:, None].float()",
        "(x0 < 500).float() * attended",
        "weight_of[x0]",
    ],
)
def test_what_comes_from_the_text_is_no_weight_of_its_mask_rate(kept: str) -> None:
    text = _script("weight_of = size_of", f"(ce * m * {kept}).sum()").replace("VALUE", "1")
    text = text.replace("for x0 in batches", "for x0, attended in batches")
    assert _codes(text) == {"BPB254"}


@pytest.mark.parametrize(
    ("head", "rate"), [("i in range(T)", "0.3 + 0.6 * (i + 1) / T"), ("i in range(T)", "i / (T - 1)")]
)
def test_ends_of_a_grid_may_be_paid_by_a_table(head: str, rate: str) -> None:
    """What equal weights leave out, or count twice, other weights need not."""
    text = _script("w = np.load('w.npy')", "(ce * m).sum() * w[i]", head, rate).replace("VALUE", "1")
    assert not [f for f in check_source(text) if f.code in ("BPB257", "BPB258") and f.severity.name == "REFUTES"]
    assert "BPB258" not in _codes(text)
    assert _codes(text.replace("* w[i]", "/ u / T").replace("i / (T - 1)", "(i + 1) / (T + 1)"))


def test_bytes_of_a_file_are_no_weight() -> None:
    text = _script("pass", "(ce * m).sum() / T").replace("VALUE", "1")
    assert _codes(text.replace("/ size", "/ np.load('bytes.npy')")) == {"BPB254"}


def test_a_table_beside_the_weight_keeps_the_ends_of_a_quadrature_open() -> None:
    text = _script("w = np.load('w.npy')", "(ce * m).sum() / u * w[i]", rate="0.1 + 0.8 * i / (T - 1)")
    assert _codes(text.replace("VALUE", "1")) <= {"BPB257"}
    assert not [f for f in check_source(text.replace("VALUE", "1")) if f.severity.name == "REFUTES"]
    inner = _script("w = np.load('w.npy')", "(ce * m).sum() / u * w[i]", rate="(i + 2) / (T + 4)")
    assert not [f for f in check_source(inner.replace("VALUE", "1")) if f.severity.name == "REFUTES"]
    assert _codes(inner.replace("VALUE", "1").replace("* w[i]", "/ (T + 4)")) & {"BPB256", "BPB257"}


def test_a_table_under_a_test_of_itself_comes_to_an_end() -> None:
    """kept = {..} if kept is None: what is asked about the table asks where the table stands."""
    table = (
        "w = None\n    for n in range(3):\n        if w is None and n > 1:\n            w = {k: VALUE for k in model}"
    )
    text = _script(table, "(ce * m).sum() * w[i]").replace("VALUE", "k")
    assert "BPB952" not in {finding.code for finding in check_source(text)}


def test_an_entry_beyond_a_tuple_is_not_known() -> None:
    text = _script("w = (1.0, 0.5)", "(ce * m).sum() * w[7]").replace("VALUE", "1")
    assert "BPB950" not in {finding.code for finding in check_source(text)}


@pytest.mark.parametrize(
    "size", ["x0.shape[1]", "x0.size(1)", "x0.numel()", "len(x0)", "x0[:, 1:].shape[1]", "xt.shape[-1]", "window[0]"]
)
@pytest.mark.parametrize(
    ("mean", "code"),
    [("(ce * m).sum() / m.sum() / u", "BPB252"), ("(ce * m).sum() / u ** 2", "BPB251"), ("(ce * m).sum()", "BPB254")],
)
def test_a_number_of_tokens_is_no_weight_that_is_not_known(size: str, mean: str, code: str) -> None:
    text = _script("pass", f"{size} * {mean} / T").replace("VALUE", "1")
    text = text.replace("            nats +=", "            window = x0.shape\n            nats +=")
    assert _codes(text) == {code}
    assert _codes(_script("pass", f"{size} * ({mean}) * w[i]").replace("pass", "w = np.load('w.npy')", 1)) == set()
