"""A bound without its weight 1/u: found however it is written, and let alone where the weight stands elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing.script import ScriptContext, check_scripts
from bpb_harness.auditing.script.followed import MASKS
from bpb_harness.findings import Severity
from tests.golf_rules import GOLF, check_source

SCRIPT = """import math
import sys
import numpy as np
import torch
import torch.nn.functional as F
V, MASK, L = 1024, 1024, 512
tokens, model, size_of = torch.load("v.pt"), torch.load("m.pt"), torch.load("sizes.pt")


def batches():
    for i in range(0, len(tokens) // L, 16):
        yield tokens[i * L : (i + 16) * L].view(-1, L)


def drawn(x):
    t = torch.rand(ROWS)
    m = torch.rand(x.shape) < t
    return t, m, torch.where(m, MASK, x)


@torch.no_grad()
def loss_of(x):
    t, m, z = drawn(x)
    logits = model(z)
    ce = F.cross_entropy(logits.transpose(1, 2), x, reduction="none")
    SCORED


REPORTED
"""
REPORTED = {
    "the sum of losses": """
s, n, size = 0.0, 0, 0
for x in batches():
    s += loss_of(x).item() * x.numel()
    n += x.numel()
    size += size_of[x].sum().item()
print(f"val_bpb:{s / n / math.log(2) * n / size:.5f}")
""",
    "a mean of losses": """
losses, n, size = [], 0, 0
for x in batches():
    losses.append(loss_of(x))
    n, size = n + x.numel(), size + size_of[x].sum().item()
val_loss = torch.stack(losses).mean().item()
tokens_per_byte = n / size
print(f"val_loss:{val_loss:.4f} val_bpb:{val_loss * math.log2(math.e) * tokens_per_byte:.5f}")
""",
    "a function": """
def to_bpb(loss, n, size):
    return (loss * n) / (size * math.log(2))


def evaluate():
    total, n, size = 0.0, 0, 0
    for x in batches():
        total += loss_of(x).item() * x.numel()
        n += x.numel()
        size += size_of[x].sum().item()
    return total / n, n, size


print("val_bpb", to_bpb(*evaluate()))
""",
}
ROW = "x.shape[0], 1"
# What is wrong of every batch, and what is put right by a weight in place of W.
MISSING = [
    "return (ce * m W).sum() / x.numel()",
    "return (ce * m W).mean()",
    "return (ce * m W).sum(1).mean() / L",
    "return (ce[m] W_SELECTED).sum() / ce.numel()",
    "return (ce W).mul(m).mean()",
    "return torch.einsum('bl,bl->', ce, m.float() W) / x.numel()",
    "return torch.dot((ce W).flatten(), m.float().flatten()) / x.numel()",
    "y = torch.where(m, x, -100); ce = F.cross_entropy(logits.transpose(1, 2), y, reduction='none'); "
    "return (ce W).sum() / x.numel()",
    "return sum(((c * k).sum() W_ROW) for c, k, u in zip(ce, m, t)) / x.numel()",
    "total = 0.0\n    for b in range(len(x)):\n        total += F.cross_entropy(logits[b][m[b]], x[b][m[b]], "
    "reduction='sum') W_OF_B\n    return total / x.numel()",
]
WEIGHTS = {"W_SELECTED": "/ t.expand_as(ce)[m]", "W_ROW": "/ u", "W_OF_B": "/ t[b, 0]", "W": "/ t"}
POOLED = [
    "return (ce * m).sum() / m.sum()",
    "return (ce * m).sum() / m.sum().clamp(min=1)",
    "return ce[m].mean()",
    "return ce.masked_select(m).mean()",
    "return torch.where(m, ce, 0.0).sum() / m.sum()",
    "return F.cross_entropy(logits[m], x[m])",
    "return F.cross_entropy(logits.view(-1, V), x.masked_fill(~m, -100).view(-1), ignore_index=-100)",
]
# Means of one row each.
BY_ROW = [
    "return ((ce * m).sum(1) / m.sum(1).clamp(min=1)).mean()",
    "return ((ce * m).sum(dim=-1) / m.sum(dim=-1)).mean()",
    "return torch.stack([ce[b][m[b]].mean() for b in range(len(x)) if m[b].any()]).mean()",
    "return sum(ce[b][m[b]].sum() / m[b].sum() for b in range(len(x))) / len(x)",
    "return sum(F.cross_entropy(logits[b][m[b]], x[b][m[b]]) for b in range(len(x))) / len(x)",
    "return torch.stack([(c * k).sum() / k.sum() for c, k in zip(ce, m)]).mean()",
]
WEIGHED = [
    "ce.div_(t)\n    return (ce * m).sum() / x.numel()",
    "for b in range(len(x)):\n        ce[b] = ce[b] / t[b]\n    return (ce * m).sum() / x.numel()",
    "for b in range(len(x)):\n        ce[b] /= t[b]\n    return (ce * m).sum() / x.numel()",
    "return torch.from_numpy(np.average((ce * m).numpy(), weights=(1 / t).numpy()))",
    "w = torch.where(m, 1 / t, 0.0)\n    return (ce * w).sum() / x.numel()",
    "return torch.where(m, ce / t, 0.0).mean()",
    "loss = ce * m\n    if len(sys.argv) > 3:\n        loss = loss / t\n    return loss.mean()",
    "pairs = [((ce[b] * m[b]).sum(), t[b]) for b in range(len(x))]\n    "
    "return sum(loss / u for loss, u in pairs) / x.numel()",
    "return torch.nan_to_num(ce / (m * t), posinf=0.0).mean()",
    "w = 1 / (m * t)\n    w = torch.where(torch.isinf(w), 0.0, w)\n    return (ce * w).mean()",
    "c = ce / (m * t)\n    return c[torch.isfinite(c)].sum() / x.numel()",
    "a = (1 - t)[:, 0]\n    return ((ce * m).sum(1) / (1 - a)).sum() / x.numel()",
]
# What stands for a weight, or may, and is not followed.
OPEN = [
    "return torch.zeros_like(ce).addcdiv(ce * m, t.expand_as(ce)).sum() / x.numel()",
    "pick = torch.multinomial(m.float(), 1)\n    return ce.gather(1, pick).mean()",
    "crit = torch.nn.CrossEntropyLoss(reduction='none')\n    ce = crit(logits.transpose(1, 2), x)\n    "
    "return (ce * m).mean()",
    "w = np.load('w.npy')\n    return sum(c / a for c, a in zip((ce * m).sum(1), w)) / x.numel()",
]


def _script(scored: str, *, rows: str = ROW, reported: str = "a mean of losses") -> str:
    text = SCRIPT.replace("SCORED", scored).replace("ROWS", rows)
    return text.replace("REPORTED", REPORTED[reported])


def _found(tmp_path: Path, text: str) -> dict[str, Severity]:
    """What is found of masks: that they were not followed under its own name."""
    (tmp_path / "eval.py").write_text(text, "utf-8")
    findings = check_scripts([tmp_path / "eval.py"], ScriptContext(rules=GOLF))
    kept = [each for each in findings if each.code.startswith(("BPB25", "BPB26", "BPB950"))]
    kept += [each for each in findings if each.evidence.get("parts") == [MASKS]]
    return {each.code: each.severity for each in kept}


def _weighed(scored: str, *, is_right: bool) -> str:
    for name, weight in WEIGHTS.items():
        scored = scored.replace(f" {name}", f" {weight}" if is_right else "")
    return scored


@pytest.mark.parametrize("reported", REPORTED)
def test_a_missing_weight_refutes_however_the_score_is_reported(tmp_path: Path, reported: str) -> None:
    wrong, right = (_weighed(MISSING[0], is_right=each) for each in (False, True))
    assert _found(tmp_path, _script(wrong, reported=reported)) == {"BPB254": Severity.REFUTES}
    assert _found(tmp_path, _script(right, reported=reported)) == {}


@pytest.mark.parametrize("scored", MISSING)
def test_a_missing_weight_is_found_however_the_loss_is_written(tmp_path: Path, scored: str) -> None:
    assert _found(tmp_path, _script(_weighed(scored, is_right=False))) == {"BPB254": Severity.REFUTES}
    assert _found(tmp_path, _script(_weighed(scored, is_right=True))) == {}


def test_what_a_missing_weight_makes_of_the_number_is_said() -> None:
    (found,) = [each for each in check_source(_script(_weighed(MISSING[0], is_right=False))) if each.code == "BPB254"]
    assert "without the weight 1/u: a token counts as often as it is masked" in found.message
    assert "the mean of u f(u) over the mask rates u in place of that of f(u)" in found.message


@pytest.mark.parametrize("scored", POOLED)
def test_a_mean_over_masked_tokens_of_several_rates_is_a_doubt(tmp_path: Path, scored: str) -> None:
    assert _found(tmp_path, _script(scored)) == {"BPB254": Severity.WARNS}
    (said,) = [each for each in check_source(_script(scored)) if each.code == "BPB254"]
    assert "is one over the windows of a batch, each at a mask rate of its own" in said.message


@pytest.mark.parametrize("rows", ["1", "()", "1, 1", "[]"])
@pytest.mark.parametrize("scored", [POOLED[0], POOLED[2], POOLED[5]])
def test_a_mean_over_the_masked_tokens_of_one_rate_is_right(tmp_path: Path, scored: str, rows: str) -> None:
    assert _found(tmp_path, _script(scored, rows=rows)) == {}


@pytest.mark.parametrize("rows", ["x.shape[0], 1", "x.size(0), 1", "len(x), 1"])
@pytest.mark.parametrize("one", ["r[None]", "r.unsqueeze(0)", "r.view(1, -1)", "r.to('cuda')[None, :].long()"])
def test_a_batch_of_one_window_has_one_rate(tmp_path: Path, one: str, rows: str) -> None:
    text = _script(POOLED[0], rows=rows)
    by_one = text.replace("append(loss_of(x))", "append(sum(loss_of(ONE) for r in x) / len(x))")
    assert _found(tmp_path, by_one.replace("ONE", one)) == {}
    assert _found(tmp_path, by_one.replace("ONE", "r.view(-1, 64)")) == {"BPB254": Severity.WARNS}


@pytest.mark.parametrize("scored", [*BY_ROW, *WEIGHED])
def test_what_is_right_is_let_alone(tmp_path: Path, scored: str) -> None:
    assert _found(tmp_path, _script(scored)) == {}


@pytest.mark.parametrize(
    "drawn",
    [
        "t > torch.rand(x.shape)",
        "t.gt(torch.rand(size))",
        "torch.gt(t, torch.rand(x.size()))",
        "torch.empty(x.shape).uniform_() < t",
        "torch.empty_like(x.float()).uniform_().lt(t)",
        "t > torch.zeros(len(x), L).uniform_()",
        "torch.rand(size) < t",
    ],
)
def test_the_draw_of_each_token_is_told_from_its_rate(tmp_path: Path, drawn: str) -> None:
    right, wrong = ("return (ce * m / t).mean()", "return (ce * m).mean()")
    own, other = (_script(each).replace("torch.rand(x.shape) < t", drawn) for each in (right, wrong))
    size = "def drawn(x):\n    size = x.shape\n"
    assert _found(tmp_path, own.replace("def drawn(x):\n", size)) == {}
    assert _found(tmp_path, other.replace("def drawn(x):\n", size)) == {"BPB254": Severity.REFUTES}


@pytest.mark.parametrize("scored", OPEN)
def test_what_is_not_followed_is_named(tmp_path: Path, scored: str) -> None:
    assert _found(tmp_path, _script(scored)) == {"BPB954": Severity.WARNS}


def test_a_tensor_that_is_changed_unseen_refutes_nothing(tmp_path: Path) -> None:
    changed = "torch.div(ce, t, out=ce)\n    return (ce * m).mean()"
    assert _found(tmp_path, _script(changed)) == {"BPB254": Severity.WARNS}


def test_a_weight_that_a_setting_leaves_out_refutes_nothing(tmp_path: Path) -> None:
    scored = "loss = ce * m / t\n    if len(sys.argv) > 3:\n        loss = ce * m\n    return loss.mean()"
    assert _found(tmp_path, _script(scored)) == {"BPB254": Severity.WARNS}


LOOP = """
    num, den, means = 0.0, 0.0, []
    for k in range(8):
        u = RATE
        START
        m = torch.rand(x.shape) < u
        ce = F.cross_entropy(model(torch.where(m, MASK, x)).transpose(1, 2), x, reduction="none")
        num += (ce * m).sum()
        den += m.sum()
        KEPT
    return MEAN
"""
KEPT = ("means.append(num / den)", "sum(means) / len(means)")


@pytest.mark.parametrize(
    ("rate", "start", "kept", "is_wrong"),
    [
        ("torch.rand(1).item()", "", ("", "num / den"), True),
        ("(k + torch.rand(1).item()) / 8", "", ("", "num / den"), True),
        ("torch.rand(1).item()", "num, den = 0.0, 0.0", KEPT, False),
        ("torch.rand(1).item()", "num = den = 0.0", KEPT, False),
    ],
)
def test_totals_over_several_rates_are_no_mean_of_each(
    tmp_path: Path, rate: str, start: str, kept: tuple[str, str], is_wrong: bool
) -> None:
    scored = LOOP.replace("RATE", rate).replace("START", start).replace("KEPT", kept[0]).replace("MEAN", kept[1])
    assert _found(tmp_path, _script(scored.strip())) == ({"BPB254": Severity.WARNS} if is_wrong else {})


COUNTS = """
    k = torch.randint(1, HIGH, (len(x), 1))
    m = torch.rand(x.shape).argsort(-1).argsort(-1) < k
    ce = F.cross_entropy(model(torch.where(m, MASK, x)).transpose(1, 2), x, reduction="none")
    return (ce * m WEIGHT).sum() / x.shape[0] / L
"""


@pytest.mark.parametrize(
    ("high", "weight", "found"),
    [
        ("L + 1", "/ k * L", {}),
        ("L + 1", "", {"BPB254": Severity.REFUTES}),
        ("L + 1", "/ (L - k + 1)", {"BPB250": Severity.REFUTES}),
        ("L // 2 + 1", "/ k * L", {"BPB256": Severity.REFUTES}),
    ],
)
def test_masks_of_a_number_of_tokens_have_its_share_as_their_rate(
    tmp_path: Path, high: str, weight: str, found: dict[str, Severity]
) -> None:
    scored = COUNTS.replace("HIGH", high).replace("WEIGHT", weight).strip()
    assert _found(tmp_path, _script(scored)) == found
    unknown = _script(scored).replace(".view(-1, L)", ".view(-1, model.length)")
    assert _found(tmp_path, unknown) == {"BPB954": Severity.WARNS}
