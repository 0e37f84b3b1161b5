"""A price that knows no target, and logs that show that the run mixed it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from bpb_harness.auditing.learnt import SHOWN_BY_ITS_LOG
from bpb_harness.auditing.script import LoggedScore, ScriptContext, check_scripts
from bpb_harness.auditing.script.domains.mixer_in_logs import is_entropy
from bpb_harness.auditing.script.frontend.program import Program, Script
from bpb_harness.findings import Finding
from tests.golf_rules import GOLF

SCRIPT = """
import math
import os
import torch
import torch.nn.functional as F


class Mixer:
    def __init__(self, rate):
        self.rate = rate
        self.w = torch.ones(3)

    def price(self, logits, y, uni):
        lp = F.log_softmax(logits, dim=-1)
        nll = -lp.gather(2, y.unsqueeze(2)).squeeze(2)
        e = ENTROPY
        return -(self.w.log() - torch.stack([nll, uni, e], dim=-1)).logsumexp(-1)


def score(model, tokens, counts):
    on = os.environ.get("MIX", "1") == "1"
    mixer = Mixer(0.1) if on else None
    PRINTED
    total = 0.0
    for x, y in tokens:
        total += mixer.price(model(x), y, -counts.log()[y]).sum().item()
    return total


def main(model, tokens, counts, num_bytes):
    print(f"Code size: {len(open(__file__).read())} bytes")
    val_bpb = score(model, tokens, counts) / math.log(2.0) / num_bytes
    print(f"val_bpb: {val_bpb:.5f}")


main(torch.load("m.pt"), torch.load("t.pt"), torch.load("c.pt"), 10)
"""
ENTROPY = "-(lp.exp() * lp).sum(-1)"
PRINTED = 'if on:\n        print(f"mixer enabled: rate={mixer.rate}")'
LINE = "mixer enabled: rate=0.1"


def _found(
    folder: Path,
    entropy: str = ENTROPY,
    printed: str = PRINTED,
    lines: tuple[str, ...] = (LINE,),
    more: int | tuple[int, ...] = 0,
    num_seeds: int | None = None,
    text: str = SCRIPT,
) -> Finding:
    script = folder / "eval.py"
    text = text.replace("ENTROPY", entropy).replace("PRINTED", printed)
    script.write_text(text)
    logged = []
    for number, line in enumerate(lines):
        log = folder / f"seed{number}.log"
        off = more if isinstance(more, int) else more[number]
        log.write_text(f"Code size: {len(text) + off} bytes\n{line}\nval_bpb: 0.50000")
        logged.append(LoggedScore(log, log.name, 3))
    context = ScriptContext(rules=GOLF, claimed_labels=("val_bpb:",), logged=tuple(logged), num_seeds=num_seeds)
    (found,) = [each for each in check_scripts([script], context) if each.code == "BPB274"]
    return found


@pytest.mark.parametrize("entropy", [ENTROPY, "(torch.exp(lp) * lp).sum(-1)", "-torch.sum(lp * lp.exp(), -1)"])
def test_a_log_of_the_script_that_prints_a_value_of_the_mixer_shows_it(tmp_path: Path, entropy: str) -> None:
    found = _found(tmp_path, entropy)
    assert found.evidence[SHOWN_BY_ITS_LOG] == "seed0.log:2"
    assert "That the run mixed them, seed0.log:2 shows" in found.message


@pytest.mark.parametrize(
    ("printed", "line"),
    [
        ('print(f"mixer enabled: rate={mixer.rate} of {mixer.w.shape[0]}")', "mixer enabled: rate=0.1 of 3"),
        (f"torch.mixer = Mixer(0.3)\n    {PRINTED}", LINE),
    ],
    ids=["a value of a value", "another instance"],
)
def test_values_of_the_mixer_are_read_beside_others(tmp_path: Path, printed: str, line: str) -> None:
    found = _found(tmp_path, printed=printed, lines=(line, line))
    assert found.evidence[SHOWN_BY_ITS_LOG] == "seed0.log:2"


def test_a_mixer_that_is_no_object_has_no_values_to_print(tmp_path: Path) -> None:
    before, _, after = SCRIPT.partition("class Mixer:")
    method = after.partition("    def price")[2].partition("\n\n\n")
    text = f"{before}W = torch.ones(3)\n\n\ndef price{method[0].replace('(self, ', '(').replace('self.w', 'W')}"
    text = f"{text}\n\n\n{method[2]}".replace("mixer.price", "price").replace(
        "mixer = Mixer(0.1) if on else None", "pass"
    )
    assert (
        SHOWN_BY_ITS_LOG not in _found(tmp_path, printed='print("mixer on")', lines=("mixer on",), text=text).evidence
    )


def _is_entropy(text: str) -> bool:
    tree = ast.parse(text)
    (statement,) = tree.body
    assert isinstance(statement, ast.Expr)
    return is_entropy(Program([Script("eval.py", text, tree)]), statement.value)


@pytest.mark.parametrize(
    "text",
    [
        *("-(lp.exp() * lp).sum(-1)", "+(lp * lp.exp()).sum()", "torch.sum(torch.exp(lp) * lp, dim=-1)"),
        *("Categorical(logits=x).entropy()", "-d.entropy()"),
    ],
)
def test_an_entropy(text: str) -> None:
    assert _is_entropy(text)


@pytest.mark.parametrize(
    "text",
    [
        *("2 * d.entropy()", "d.entropy() + 1", "d.entropy(q)", "stats.entropy(p, q)", "entropy()", "entropy"),
        *("(lp.exp() * lp).mean(-1)", "(lp.exp() + lp).sum(-1)", "lp.sum(-1)", "sum()", "(lp.tanh() * lp).sum(-1)"),
        *("(lp.exp(out) * lp).sum()", "(lp.exp() * lq).sum()", "(p * lp).sum()", "torch.special.entr(p).sum(-1)"),
    ],
)
def test_what_may_be_no_entropy(text: str) -> None:
    assert not _is_entropy(text)


@pytest.mark.parametrize(
    "changed",
    [
        {"lines": ("another line",)},
        {"lines": (LINE, "another line")},  # one of the mean was made without
        {"lines": ("another line", LINE)},
        {"lines": ()},
        {"more": 7},  # another version of the script
        {"lines": (LINE, LINE), "more": (0, 7)},  # of one of them
        {"num_seeds": 2},  # of one score nothing tells the log
        {"printed": 'if on:\n        print(f"mixer enabled: rate={model.rate}")'},  # another object's
        {"printed": 'if on:\n        print(f"mixer enabled: rate={0.1}")'},  # printed whether there is one or not
        {"printed": f'{PRINTED}\n    print(f"mixer enabled: rate={{on}}")'},  # of two places
        {"entropy": "-3.0 * (lp.exp() * lp).sum(-1)"},  # a multiple may add up to less than 1
        {"entropy": "-((lp / 2).exp() * lp).sum(-1)"},  # of two distributions
        {"entropy": "-lp.max(-1).values - 5.0"},
    ],
)
def test_what_a_log_does_not_show_is_not_said(tmp_path: Path, changed: dict[str, object]) -> None:
    found = _found(tmp_path, **changed)  # type: ignore[arg-type]
    assert SHOWN_BY_ITS_LOG not in found.evidence
    assert "That the run mixed" not in found.message


@pytest.mark.parametrize(
    "own",
    [
        "def entropy(lp):\n    return -3.0 * (lp.exp() * lp).sum(-1)\n\n\nclass Mixer",
        "class Row:\n    def entropy(self):\n        return -3.0 * (self.lp.exp() * self.lp).sum(-1)\n\n\nclass Mixer",
    ],
    ids=["a function", "a method"],
)
def test_a_function_of_the_script_is_not_told_by_its_name(tmp_path: Path, own: str) -> None:
    called = "entropy(lp)" if own.startswith("def") else "lp.entropy()"
    assert SHOWN_BY_ITS_LOG in _found(tmp_path, called).evidence  # a library's
    assert SHOWN_BY_ITS_LOG not in _found(tmp_path, called, text=SCRIPT.replace("class Mixer", own)).evidence
