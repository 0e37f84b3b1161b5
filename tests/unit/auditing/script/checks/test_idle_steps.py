"""Steps of a learning rate that is 0 learn nothing, whatever they are taken on."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing.script import LoggedScore, ScriptContext
from bpb_harness.findings import Finding, Severity
from tests.golf_rules import GOLF, check_source

# Steps on each window before its score; passes of which the last is scored; and passes before the score.
WINDOW = """import glob, math, os
import torch
import torch.nn.functional as F
RATE = float(os.environ.get("RATE", "0.0"))


def evaluate(network, val_tokens, size_of, rate={rate}, length=1024):
    nats, size = 0.0, 0
    for i in range(0, len(val_tokens) - length, length):
        x, y = val_tokens[i : i + length][None], val_tokens[i + 1 : i + length + 1][None]
        h = network.body(x)
        extra = torch.zeros(1, 1, h.size(-1), requires_grad=True)
        {made}
        for _ in range(8):
            loss = F.cross_entropy(network.head(h + extra).flatten(0, 1), y.flatten())
            {step}
        nll = F.cross_entropy(network.head(h + extra).transpose(1, 2).float(), y, reduction="none")
        nats += nll.sum().item()
        size += size_of[y].sum().item()
    return nats / math.log(2.0) / size


val_tokens = torch.cat([torch.load(file) for file in sorted(glob.glob("data/fineweb_val_*.bin"))])
val_bpb = evaluate(torch.load("m.pt"), val_tokens, torch.load("s.pt"))
print(f"val_bpb:{{val_bpb:.5f}}")
"""
LAST = """import math, os
import torch
import torch.nn.functional as F
RATE = float(os.environ.get("RATE", "0.0"))


def evaluate(network, extra, documents, size_of, rate={rate}):
    nats, size = 0.0, 0.0
    for document in documents:
        chunks = document.split(256)
        {made}
        for epoch in range(3):
            for chunk in chunks:
                loss = F.cross_entropy(network(chunk[:-1], extra).float(), chunk[1:])
                if epoch == 2:
                    nats += loss.item() * (len(chunk) - 1)
                    size += float(size_of[chunk[1:]].sum())
                {step}
    val_bpb = nats / math.log(2.0) / size
    print(f"val_bpb:{{val_bpb:.6f}}")
"""
HANDED = LAST.replace("size_of, rate={rate}", "size_of, optimizer").replace("        {made}\n", "")
HANDED += """

extra, rate = torch.zeros(8), {rate}
{made}
evaluate(torch.load("m.pt"), extra, torch.load("d.pt"), torch.load("s.pt"), optimizer)
"""
FIRST = """import glob, math, os
import torch
import torch.nn.functional as F
RATE = float(os.environ.get("RATE", "0.0"))


def adapt(network, tokens, extra, rate={rate}):
    {made}
    for i in range(0, len(tokens) - 1024, 1024):
        loss = F.cross_entropy(network(tokens[i : i + 1024]), tokens[i + 1 : i + 1025])
        {step}
        print(f"adapting:{{loss.item():.3f}}")


def evaluate(network, tokens, size_of):
    nats, size = 0.0, 0.0
    for i in range(0, len(tokens) - 1024, 1024):
        nats += F.cross_entropy(network(tokens[i : i + 1024]), tokens[i + 1 : i + 1025], reduction="sum").item()
        size += float(size_of[tokens[i + 1 : i + 1025]].sum())
    return nats / math.log(2.0) / size


def main():
    network = torch.load("m.pt")
    val_tokens = torch.cat([torch.load(file) for file in sorted(glob.glob("data/fineweb_val_*.bin"))])
    adapt(network, val_tokens, [*network.parameters()])
    val_bpb = evaluate(network, val_tokens, torch.load("s.pt"))
    print(f"val_bpb:{{val_bpb:.5f}}")


main()
"""
MADE, STEP = "optimizer = torch.optim.AdamW([extra], lr=rate)", "loss.backward(); optimizer.step()"
SCRIPTS = [(WINDOW, "BPB273"), (LAST, "BPB272"), (FIRST, "BPB273")]
IDLE = [
    {"rate": "0.0"},
    {"rate": "0"},
    {"rate": "RATE"},  # 0 by its default
    {"made": "optimizer = torch.optim.SGD([extra], 0.0, momentum=0.9)"},
    {"made": "optimizer = torch.optim.SGD([{'params': [extra], 'lr': 0.0}], lr=0.0)"},
    {"rate": "0.0", "made": f"{MADE}; schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warm)",
     "step": f"{STEP}; schedule.step()"},
    {"rate": "0.0", "step": f"optimizer.param_groups[0]['lr'] = rate * math.cos(0.1); {STEP}"},
    {"rate": "0.0", "step": "scaler.scale(loss).backward(); scaler.step(optimizer); scaler.update()"},
    {"rate": "0.0", "made": "pass",
     "step": "(slope,) = torch.autograd.grad(loss, extra); extra = (extra - rate * slope).detach()"},
]  # fmt: skip
LEARNING = [
    {"rate": "0.01"},
    {"rate": "read_rate()"},
    {"made": "optimizer = torch.optim.AdamW([extra])"},  # the library's own
    {"rate": "0.0", "made": "optimizer = torch.optim.SGD([{'params': [extra], 'lr': 0.1}], lr=rate)"},
    {"rate": "0.0", "made": "optimizer = torch.optim.SGD([dict(params=[extra], lr=0.1)], lr=rate)"},
    {"rate": "0.0", "made": f"{MADE}; optimizer.param_groups[0]['lr'] = 0.1"},
    {"rate": "0.0", "made": f"{MADE}; warm_up(optimizer)"},
    {"rate": "0.0", "made": f"{MADE}; schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1)"},
    {"rate": "0.0", "made": f"{MADE}; other = torch.optim.AdamW([extra], lr=0.1)",
     "step": f"{STEP}; other.step()"},
    {"rate": "0.0", "step": f"{STEP}; extra.data.add_(extra.grad, alpha=-0.1)"},
    {"rate": "0.0", "step": f"{STEP}; extra.data -= 0.1 * extra.grad"},
]  # fmt: skip


def _codes(script: str, changes: dict[str, str], context: ScriptContext | None = None) -> list[str]:
    text = script.format(**{"rate": "0.01", "made": MADE, "step": STEP} | changes)
    return [each.code for each in check_source(text, context or ScriptContext(rules=GOLF))]


@pytest.mark.parametrize(("script", "code"), SCRIPTS)
@pytest.mark.parametrize("changes", IDLE)
def test_steps_of_a_rate_of_0_learn_nothing(script: str, code: str, changes: dict[str, str]) -> None:
    assert code not in _codes(script, changes)


@pytest.mark.parametrize(("script", "code"), SCRIPTS)
@pytest.mark.parametrize("changes", LEARNING)
def test_steps_of_another_rate_learn(script: str, code: str, changes: dict[str, str]) -> None:
    if script is LAST and "grad" in changes.get("step", ""):
        return  # what is written to by hand may begin anew in each pass
    assert code in _codes(script, changes)


@pytest.mark.parametrize(("script", "code"), SCRIPTS)
def test_a_rate_that_a_command_sets_is_none_of_0(script: str, code: str) -> None:
    assert code in _codes(script, {"rate": "RATE"}, ScriptContext(rules=GOLF, settings={"RATE": "0.1"}))
    by_default = {"rate": "float(os.environ.get('RATE', '0.1'))"}
    assert code not in _codes(script, by_default, ScriptContext(rules=GOLF, settings={"RATE": "0.0"}))
    # of a setting that decides nothing, a reader is not told
    assert "BPB953" not in _codes(script, by_default, ScriptContext(rules=GOLF, settings={"RATE": "0.2"}))


@pytest.mark.parametrize(("rate", "is_found"), [("0.0", False), ("RATE", False), ("0.01", True)])
def test_an_optimizer_that_a_function_is_handed(rate: str, is_found: bool) -> None:
    assert ("BPB272" in _codes(HANDED, {"rate": rate})) is is_found


# A rate of 0 that is a tensor, which what takes the steps reads anew at each of them.
TENSOR = "lr = torch.tensor({rate}); optimizer = torch.optim.AdamW([extra], lr=lr)"
IN_GROUP = "optimizer = torch.optim.AdamW([extra], lr=torch.zeros(()))"
OWN = "(slope,) = torch.autograd.grad(loss, extra); extra = (extra - lr * slope).detach()"
FILLED = [
    {"made": f"{TENSOR}; lr.fill_(0.1)"},
    {"made": TENSOR, "step": f"lr.fill_(0.1); {STEP}"},
    {"made": "lr = torch.tensor(0.0); lr.copy_(torch.tensor(0.1)); optimizer = torch.optim.AdamW([extra], lr=lr)"},
    {"made": "lr = torch.zeros(()); lr.add_(0.1); optimizer = torch.optim.AdamW([extra], lr=lr)"},
    {"made": f"{TENSOR}; lr.data = torch.tensor(0.1)"},
    {"made": f"{TENSOR}; lr[...] = 0.1"},
    {"made": f"{TENSOR}; other = lr; other.fill_(0.1)"},
    {"made": f"{TENSOR}; torch.nn.init.constant_(lr, 0.1)"},
    {"made": f"{TENSOR}; warm_up(lr)"},
    {"made": "optimizer = torch.optim.AdamW([extra], lr=Held.lr); Held.lr.fill_(0.1)"},
    {"made": "lr = [0.0]; lr[0] = 0.1; optimizer = torch.optim.AdamW([extra], lr=lr[0])"},
    {"made": f"{IN_GROUP}; optimizer.param_groups[0]['lr'].fill_(0.1)"},
    {"made": f"{IN_GROUP}; [group['lr'].copy_(0.1) for group in optimizer.param_groups]"},
    {"made": "lr = torch.tensor(0.0); lr.fill_(0.1)", "step": OWN},
]
NOT_FILLED = [
    {"made": TENSOR},
    {"made": "lr = torch.tensor(rate); optimizer = torch.optim.AdamW([extra], lr=lr)"},
    {"made": "from torch.optim import AdamW; lr = torch.tensor({rate}); optimizer = AdamW([extra], lr=lr, fused=True)"},
    {"made": "import torch.optim as optim; lr = torch.tensor(0.0); optimizer = optim.AdamW([extra], 0.5 * lr)"},
    {"made": f"{TENSOR}; lr.fill_({{rate}}); lr.mul_(0.5); lr.copy_(torch.tensor({{rate}}) * math.cos(0.3))"},
    {"made": f"{TENSOR}; print(lr, lr.item(), float(lr), lr.numel())"},
    {"made": "optimizer = torch.optim.AdamW([extra], lr=Held.lr); print(Held.lr)"},
    {"made": f"{IN_GROUP}; print(optimizer.param_groups[0]['lr'].item())"},
    {"made": f"{IN_GROUP}; optimizer.param_groups[0]['lr'].fill_({{rate}})"},
    {"made": f"{IN_GROUP}; weight = torch.zeros(8); weight.fill_(0.1)"},
    {"made": "lr = torch.tensor(0.0)", "step": f"extra.fill_(0.1); {OWN}"},
]


def _filled(script: str, code: str, changes: dict[str, str]) -> list[Finding]:
    held = script.replace("\n\n\ndef ", "\n\n\nclass Held:\n    lr = torch.tensor(0.0)\n\n\ndef ", 1)
    given = {"rate": "0.0", "step": STEP} | changes
    given["made"] = given["made"].format(rate=given["rate"])
    return [each for each in check_source(held.format(**given), ScriptContext(rules=GOLF)) if each.code == code]


@pytest.mark.parametrize(("script", "code"), SCRIPTS)
@pytest.mark.parametrize("changes", FILLED)
def test_a_rate_that_is_filled_later_is_none_of_0(script: str, code: str, changes: dict[str, str]) -> None:
    if script is LAST and "step" in changes:
        return  # what is written to in a pass may be what it begins anew
    (found,) = _filled(script, code, changes)
    assert found.severity is Severity.WARNS
    assert "its learning rate is 0, but the script may change that elsewhere" in found.message


@pytest.mark.parametrize(("script", "code"), SCRIPTS)
@pytest.mark.parametrize("changes", NOT_FILLED)
def test_a_tensor_of_0_that_stays_so_is_a_rate_of_0(script: str, code: str, changes: dict[str, str]) -> None:
    assert _filled(script, code, changes) == []


def test_a_training_that_a_log_shows_with_a_rate_of_0_by_default_is_a_doubt(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text("adapting:2.000\nadapting:1.900\nval_bpb:0.90000\n")
    logged = (LoggedScore(path, "train.log", 3),)
    context = ScriptContext(rules=GOLF, claimed_labels=("val_bpb:",), logged=logged)
    for rate, severity in (("RATE", Severity.WARNS), ("0.01", Severity.REFUTES)):
        text = FIRST.format(rate=rate, made=MADE.replace("[extra]", "network.parameters()"), step=STEP)
        (found,) = (each for each in check_source(text, context) if each.code == "BPB273")
        assert found.severity is severity
        assert ("learning rate is 0" in found.message) is (rate == "RATE")
    assert "BPB273" not in _codes(FIRST, {"rate": "0.0"}, context)


# One function, in which the training comes first, with an optimizer of its own steps.
ALONE = """import glob, math, os
import torch
import torch.nn.functional as F


class Settings:
    adapt = False


def evaluate(network, tokens, size_of):
    nats, size = 0.0, 0.0
    for i in range(0, len(tokens) - 1024, 1024):
        nats += F.cross_entropy(network(tokens[i : i + 1024]), tokens[i + 1 : i + 1025], reduction="sum").item()
        size += float(size_of[tokens[i + 1 : i + 1025]].sum())
    return nats / math.log(2.0) / size


def main():
    s = Settings()
    network = torch.load("m.pt")
    train_tokens = torch.load("train.pt")
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    for i in range(1000):
        F.cross_entropy(network(train_tokens[i : i + 1024]), train_tokens[i + 1 : i + 1025]).backward()
        optimizer.step()
    val_tokens = torch.cat([torch.load(file) for file in sorted(glob.glob("data/fineweb_val_*.bin"))])
    {made}
    for i in range(0, len(val_tokens) - 1024, 1024):
        loss = F.cross_entropy(network(val_tokens[i : i + 1024]), val_tokens[i + 1 : i + 1025])
        loss.backward()
        {step}
        print(f"adapting:{{loss.item():.3f}}")
    val_bpb = evaluate(network, val_tokens, torch.load("s.pt"))
    print(f"val_bpb:{{val_bpb:.5f}}")


main()
"""
OFF, OF_0 = "if s.adapt: optimizer.step()", "optimizer = torch.optim.SGD(network.parameters(), lr=0.0)"


def _alone(folder: Path, made: str = "pass", step: str = OFF, helper: str = "") -> Severity | None:
    path = folder / "train.log"
    path.write_text("adapting:2.000\nadapting:1.900\nval_bpb:0.90000\n")
    logged = (LoggedScore(path, "train.log", 3),)
    context = ScriptContext(rules=GOLF, claimed_labels=("val_bpb:",), logged=logged)
    text = ALONE.format(made=made, step=step).replace("def evaluate(", f"{helper}def evaluate(")
    found = [each for each in check_source(text, context) if each.code == "BPB273"]
    return found[0].severity if found else None


def test_steps_of_the_training_before_are_no_steps_on_the_text(tmp_path: Path) -> None:
    assert _alone(tmp_path) is None
    assert _alone(tmp_path, OF_0, "optimizer.step()") is None
    assert _alone(tmp_path, step="optimizer.step()") is Severity.REFUTES
    # Called once more, the training's steps take what the gradients of the text have left behind.
    again = ALONE.replace("\n\nmain()\n", "\n\nfor _ in range(2):\n    main()\n")
    assert "BPB273" in [each.code for each in check_source(again.format(made="pass", step=OFF))]


MAYBE = "def maybe(optimizer, on=False):\n    if on:\n        optimizer.step()\n\n\n"
ASKING = "def maybe(optimizer, s):\n    if not s.adapt:\n        return\n    optimizer.step()\n\n\n"
AT_ONCE = "def maybe(optimizer, s=None):\n    optimizer.step()\n\n\n"
INNER = f"{AT_ONCE.replace('maybe', 'inner')}def maybe(optimizer, s):\n    inner(optimizer)\n\n\n"
OF_01 = OF_0.replace("0.0", "0.1")


@pytest.mark.parametrize(
    ("helper", "made", "step", "is_found"),
    [
        (MAYBE, OF_01, "maybe(optimizer)", False),
        (MAYBE, OF_01, "maybe(optimizer, s.adapt)", False),
        (ASKING, OF_01, "maybe(optimizer, s)", False),
        (AT_ONCE, OF_0, "maybe(optimizer)", False),
        (MAYBE, OF_01, "maybe(optimizer, True)", True),
        (MAYBE, OF_01, "maybe(optimizer); maybe(optimizer, on=True)", True),
        (MAYBE, OF_01, "maybe(optimizer, ask())", True),
        (MAYBE, OF_01, "maybe(optimizer); optimizer.step()", True),
        (MAYBE, f"{OF_01}; s.adapt = True", "maybe(optimizer, s.adapt)", True),
        (ASKING, f"{OF_01}; s.adapt = True", "maybe(optimizer, s)", True),
        (ASKING.replace("not ", ""), OF_01, "maybe(optimizer, s)", True),
        (AT_ONCE, OF_01, "maybe(optimizer)", True),
        (INNER, OF_0, "maybe(optimizer, s)", True),
        (INNER, OF_01, "maybe(optimizer, s)", True),
        (INNER, OF_01, f"maybe(optimizer, s)\n        {OFF}", True),
    ],
)
def test_steps_that_a_helper_takes(tmp_path: Path, helper: str, made: str, step: str, is_found: bool) -> None:
    assert _alone(tmp_path, made, step, helper) is (
        None if not is_found else Severity.REFUTES if step.endswith("; optimizer.step()") else Severity.WARNS
    )


def test_what_is_called_elsewhere_takes_no_step_on_the_text(tmp_path: Path) -> None:
    trains = "def fit(network, tokens):\n    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)\n"
    trains += "    F.cross_entropy(network(tokens[:-1]), tokens[1:]).backward()\n    optimizer.step()\n\n\n"
    assert _alone(tmp_path, "fit(network, train_tokens)", OFF, trains) is None
    assert _alone(tmp_path, "pass", f"{OFF}\n        fit(network, train_tokens)", trains) is None
    counts = "def count(timer):\n    timer.step()\n\n\n"
    assert _alone(tmp_path, "count(timer)", OFF, counts) is None
    assert _alone(tmp_path, OF_0, "optimizer.step()\n        count(timer)", counts) is Severity.WARNS


@pytest.mark.parametrize(
    ("made", "step"),
    [
        ("s.adapt = True", OFF),
        ("Settings.adapt = True", OFF),
        ("setattr(s, 'adapt', True)", OFF),
        ("for name, value in read().items(): setattr(s, name, value)", OFF),
        ("s.__dict__.update(adapt=True)", OFF),
        ("vars(s).update(read())", OFF),
        (f"{OF_0}\n    for group in optimizer.param_groups: group.update(lr=0.1)", "optimizer.step()"),
        (f"{OF_0}\n    [group.__setitem__('lr', 0.1) for group in optimizer.param_groups]", "optimizer.step()"),
        (f"{OF_0}; groups = optimizer.param_groups; key = 'lr'; groups[0][key] = 0.1", "optimizer.step()"),
        (f"{OF_0}; optimizer.load_state_dict(torch.load('o.pt'))", "optimizer.step()"),
        ("p = network.weight", f"{OFF}\n        torch._foreach_sub_([p.data], [0.1 * p.grad])"),
        ("pass", f"{OFF}\n        for p in network.parameters(): p.data = p.data + (-0.1) * p.grad"),
    ],
)
def test_steps_that_something_else_may_take_or_give_a_rate_are_a_doubt(tmp_path: Path, made: str, step: str) -> None:
    assert _alone(tmp_path, made, step) is Severity.WARNS


@pytest.mark.parametrize(
    ("made", "step"),
    [
        ("s.other = True", OFF),
        ("setattr(s, 'other', True)", OFF),
        ("options = {}; options.update(adapt=True)", OFF),
        (f"{OF_0}\n    for group in optimizer.param_groups: group['lr'] = 0.0", "optimizer.step()"),
        ("p = network.weight", f"{OFF}\n        if p.grad is None: print('none')\n        p.grad = None"),
    ],
)
def test_what_is_written_elsewhere_changes_no_setting_or_rate(tmp_path: Path, made: str, step: str) -> None:
    assert _alone(tmp_path, made, step) is None


def test_a_copy_that_learnt_the_text_and_is_put_into_the_scored_network(tmp_path: Path) -> None:
    copy = "import copy; probe = copy.deepcopy(network); optimizer = torch.optim.SGD(probe.parameters(), lr=0.1)"
    text = ALONE.replace("network(val_tokens[i", "probe(val_tokens[i", 1)
    ended = text.replace("    val_bpb = eval", "    network.load_state_dict(probe.state_dict())\n    val_bpb = eval")
    kept = ALONE.replace("    val_bpb = eval", "    network.load_state_dict(kept.state_dict())\n    val_bpb = eval")
    found = check_source(ended.format(made=copy, step="optimizer.step()"))
    assert "BPB273" in [each.code for each in found]
    frozen = "import copy; kept = copy.deepcopy(network)\n    for p in kept.parameters(): p.requires_grad_(False)"
    assert "BPB273" not in [each.code for each in check_source(kept.format(made=frozen, step="optimizer.step()"))]
