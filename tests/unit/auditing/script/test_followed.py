"""What of a script was not followed is said: by a remark, and in the report beside what else is unchecked."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing.script import ScriptContext, check_scripts
from bpb_harness.auditing.script.followed import BYTES, MASKS, MIXTURE, SCORE, TEXT
from bpb_harness.auditing.script.running.weighing import Behaviour, Passed, weigh
from bpb_harness.findings import Severity
from fixtures.claims.patterns import submission
from tests.golf_rules import GOLF
from tests.unit.auditing.script.domains.test_byte_counts import EVALUATION, LOOKED_UP, OPENED, TABLES
from tests.unit.auditing.test_checks import audit_of

FOLLOWED = OPENED + TABLES + EVALUATION.replace("COUNTED", LOOKED_UP)
UNKNOWN = """
import math
import torch.nn.functional as F

def evaluate(model, loader, size_of):
    nats, num_bytes = 0.0, 0
    while loader.has_more():
        x, y = loader.next_batch()
        nats += F.cross_entropy(model(x), y, reduction="sum").item()
        num_bytes += size_of(y)
    return nats / math.log(2.0) / num_bytes

print(f"val_bpb:{evaluate(*everything()):.4f}")
"""
MASKED = """
import math, torch
import torch.nn.functional as F
tokens, model, size_of = torch.load("v.pt"), torch.load("m.pt"), torch.load("sizes.pt")
nats, num_bytes = 0.0, 0
for i in range(0, len(tokens), 512):
    x = tokens[i : i + 512].view(1, -1)
    u = torch.rand(1, device="cuda")
    r = torch.rand(*x.shape, device="cuda")
    move = DRAWN
    z = torch.where(move, 1024, x)
    costs = F.cross_entropy(model(z).transpose(1, 2), x, reduction="none")
    nats += (costs * move * (WEIGHT)).sum().item()
    num_bytes += size_of(x)
print(f"val_bpb:{nats / math.log(2.0) / num_bytes:.4f}")
"""
DRAWS = ["r < u", "r.lt(u)", "torch.less(r, u)", "u.gt(r)", "torch.ge(u, r)", "r.le(u)"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (FOLLOWED, []),
        (UNKNOWN, [TEXT, BYTES]),
        *((MASKED.replace("DRAWN", drawn).replace("WEIGHT", "1 / u"), [BYTES]) for drawn in DRAWS),
        (MASKED.replace("DRAWN", "r < model(u)").replace("WEIGHT", "1 / u"), [MASKS, BYTES]),
        (MASKED.replace("DRAWN", "r.argsort() < 5").replace("WEIGHT", "1 / u"), [MASKS, BYTES]),
        ("import matplotlib.pyplot as plt\nplt.plot([1, 2])\n", [SCORE]),
        ("this is no Python", [SCORE]),
    ],
)
def test_what_was_not_followed_is_named(tmp_path: Path, text: str, parts: list[str]) -> None:
    script = tmp_path / "train_gpt.py"
    script.write_text(text, "utf-8")
    findings = [each for each in check_scripts([script], ScriptContext(rules=GOLF)) if each.code == "BPB954"]
    assert [part for each in findings for part in each.evidence["parts"]] == parts
    assert all((" were not followed" in each.message) is (len(each.evidence["parts"]) > 1) for each in findings)
    report = audit_of(tmp_path, submission__json=submission(val_bpb=1.2, tokenizer="sp1024"), train_gpt__py=text)
    assert [part for part in report.unchecked if part in (TEXT, BYTES, MASKS, SCORE)] == parts
    assert ("that the script printed the score" in report.unchecked) is (SCORE not in parts)


_P = "torch.exp(F.log_softmax(model(x), -1).gather(1, y[:, None]))"
MIXING = [
    f"p = {_P}\n        nats -= torch.log(0.7 * p + 0.3 * q[y]).sum().item()",
    f"p = {_P}\n        mixed = (1 - w) * p + w * q[y]\n        nats -= torch.log(mixed.clamp(min=1e-9)).sum().item()",
    f"p = {_P}\n        nats -= np.logaddexp(math.log(0.7) + p.log(), math.log(0.3) + q[y].log()).sum()",
    f"p = {_P}\n        nats -= torch.logsumexp(torch.stack([p.log(), q[y].log()]) - math.log(2), 0).sum().item()",
    f"a, b = {_P}.log(), q[y].log()\n        c = torch.log1p(torch.exp(-abs(a - b)))\n"
    "        nats -= (torch.maximum(a, b) + c - math.log(2)).sum()",
    f"w = ({' + '.join(f'v[{i}]' for i in range(60))}).sqrt()\n"
    f"        both = torch.stack([{_P}.log(), q[y].log()])\n"
    "        nats -= (both + w - w.logsumexp(0)).logsumexp(0).sum().item()",
]
PRICED = 'nats += F.cross_entropy(model(x), y, reduction="sum").item()'
UNMIXED = [
    PRICED,
    "z = model(x)\n        nats += (z.logsumexp(-1) - z.gather(1, y[:, None])[:, 0]).sum().item()",
    f"print(math.log(0.3 * x + 0.7 * y))\n        {PRICED}",
]


@pytest.mark.parametrize(("line", "mixes"), [*((line, True) for line in MIXING), *((line, False) for line in UNMIXED)])
def test_that_a_mixture_adds_up_to_one_is_not_taken_for_checked(tmp_path: Path, line: str, mixes: bool) -> None:
    text = UNKNOWN.replace(PRICED, line)
    report = audit_of(tmp_path, submission__json=submission(val_bpb=1.2, tokenizer="sp1024"), train_gpt__py=text)
    assert (MIXTURE in report.unchecked) is mixes


_SAME = "h = -(F.softmax(model(x), -1) * F.log_softmax(model(x), -1)).sum(-1)"
LACKING = (
    f"p, h = {_P}, 0.0\n        {_SAME}\n"
    "        nats -= torch.logsumexp(torch.stack([p.log(), -h]) - math.log(2), 0).sum().item()"
)


@pytest.mark.parametrize(
    ("line", "bpb", "verdict", "said"),
    [
        (LACKING, 0.5, "refuted", None),
        (LACKING, 1.2, "unverifiable", "nothing else was found there"),
        (MIXING[0], 0.5, "unverifiable", "nothing was found there"),
    ],
)
def test_of_a_mixture_that_refutes_nobody_is_told_that_it_was_not_followed(
    tmp_path: Path, line: str, bpb: float, verdict: str, said: str | None
) -> None:
    text = UNKNOWN.replace(PRICED, line).replace("val_bpb:", "final_exact val_bpb:")
    claim, log = submission(val_bpb=bpb, tokenizer="sp1024"), f"final_exact val_bpb:{bpb:.4f}\n"
    report = audit_of(tmp_path, submission__json=claim, train_gpt__py=text, train__log=log)
    assert report.verdict.value == verdict
    told = report.with_code("BPB954")[0]  # the rest is said in any case
    assert {TEXT, BYTES} <= {*report.unchecked}
    assert {TEXT, BYTES} <= {*told.evidence["parts"]}
    assert (MIXTURE in report.unchecked) is (MIXTURE in told.evidence["parts"]) is (said is not None)
    assert (said or "nothing was found there") in told.message
    assert (MIXTURE in told.message.lower()) is (said is not None)


@pytest.mark.parametrize("drawn", DRAWS)
def test_a_draw_is_one_however_its_comparison_is_written(tmp_path: Path, drawn: str) -> None:
    for weight, codes in (("1 / u", set()), ("1 / (1 - u)", {"BPB250"}), ("1 / u / u", {"BPB251"})):
        script = tmp_path / "train_gpt.py"
        script.write_text(MASKED.replace("DRAWN", drawn).replace("WEIGHT", weight), "utf-8")
        found = {each.code for each in check_scripts([script], ScriptContext(rules=GOLF))}
        assert {code for code in found if code.startswith("BPB25")} == codes


CORRUPTED = """
import math, torch
import torch.nn as nn
import torch.nn.functional as F


class Network(nn.Module):
    def corrupted(self, ids):
        OPENING
        m = torch.rand(ids.shape) < self.rate(ids)
        return torch.where(m, 1024, ids)

    def forward(self, ids, targets):
        return F.cross_entropy(self.body(self.corrupted(ids)), targets, reduction="sum")


network, tokens, size_of = Network(), torch.load("val.pt"), torch.load("s.pt")
nats = size = 0.0
for i in range(0, len(tokens) - 1, 512):
    x, y = tokens[i : i + 512], tokens[i + 1 : i + 513]
    nats += network(x, y).item()
    size += size_of[y].sum().item()
print(f"val_bpb:{nats / math.log(2.0) / size:.4f}")
"""


@pytest.mark.parametrize(
    ("opening", "is_open"),
    [
        ("pass", True),
        ("if not self.training: return ids", False),
        ("if not self.training or self.rate is None:\n            return ids", False),
        ("if self.rate is None: return ids", True),
    ],
)
def test_what_training_alone_hides_is_none_of_the_evaluations(tmp_path: Path, opening: str, is_open: bool) -> None:
    (tmp_path / "train_gpt.py").write_text(CORRUPTED.replace("OPENING", opening), "utf-8")
    findings = check_scripts([tmp_path / "train_gpt.py"], ScriptContext(rules=GOLF))
    assert (
        any(each.severity is Severity.WARNS and each.evidence.get("parts") == [MASKS] for each in findings) is is_open
    )


@pytest.mark.parametrize("passed", [(), (Passed("nats_of", {}, frozenset()),)])
def test_masks_that_a_function_was_seen_to_weigh_right_are_a_note(tmp_path: Path, passed: tuple[Passed, ...]) -> None:
    (tmp_path / "train_gpt.py").write_text(CORRUPTED.replace("OPENING", "pass"), "utf-8")
    findings = check_scripts([tmp_path / "train_gpt.py"], ScriptContext(rules=GOLF))
    weighed = [each for each in weigh(findings, Behaviour((), passed)) if each.evidence.get("parts") == [MASKS]]
    (found,) = weighed
    assert found.severity is (Severity.INFORMS if passed else Severity.WARNS)
    assert ("nats_of, run alone on a short text, computes a bound" in found.message) is bool(passed)
