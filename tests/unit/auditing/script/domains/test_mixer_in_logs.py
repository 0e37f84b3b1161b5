"""A price that knows no target, and logs that show that the run mixed it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing.learnt import SHOWN_BY_ITS_LOG
from bpb_harness.auditing.script import LoggedScore, ScriptContext, check_scripts
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
    folder: Path, entropy: str = ENTROPY, printed: str = PRINTED, lines: tuple[str, ...] = (LINE,), more: int = 0
) -> Finding:
    script = folder / "eval.py"
    text = SCRIPT.replace("ENTROPY", entropy).replace("PRINTED", printed)
    script.write_text(text)
    logged = []
    for number, line in enumerate(lines):
        log = folder / f"seed{number}.log"
        log.write_text(f"Code size: {len(text) + more} bytes\n{line}\nval_bpb: 0.50000")
        logged.append(LoggedScore(log, log.name, 3))
    context = ScriptContext(rules=GOLF, claimed_labels=("val_bpb:",), logged=tuple(logged))
    (found,) = [each for each in check_scripts([script], context) if each.code == "BPB274"]
    return found


@pytest.mark.parametrize("entropy", [ENTROPY, "(torch.exp(lp) * lp).sum(-1)", "-torch.sum(lp * lp.exp(), -1)"])
def test_a_log_of_the_script_that_prints_a_value_of_the_mixer_shows_it(tmp_path: Path, entropy: str) -> None:
    found = _found(tmp_path, entropy)
    assert found.evidence[SHOWN_BY_ITS_LOG] == "seed0.log:2"
    assert "That the run mixed them, seed0.log:2 shows" in found.message


@pytest.mark.parametrize(
    "changed",
    [
        {"lines": ("another line",)},
        {"lines": (LINE, "another line")},  # one of the mean was made without
        {"lines": ("another line", LINE)},
        {"lines": ()},
        {"more": 7},  # another version of the script
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
