"""Steps that stand behind a setting that is off: a gradient without them changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing.script import LoggedScore, ScriptContext
from bpb_harness.findings import Severity
from tests.golf_rules import GOLF, check_source
from tests.unit.auditing.script.checks.test_idle_steps import FIRST, LAST, MADE, SCRIPTS, STEP

APPLY = 'APPLY = bool(int(os.environ.get("APPLY", "{}")))\n\n\ndef '
LEFT = [
    "loss.backward()\n{}if APPLY:\n{}    optimizer.step()",
    "if APPLY:\n{}    loss.backward()\n{}    optimizer.step()",
    "loss.backward()\n{}if not APPLY:\n{}    continue\n{}optimizer.step()",
    "loss.backward()\n{}if APPLY and loss.item() > 0:\n{}    optimizer.step()",
    "loss.backward()\n{}if APPLY:\n{}    optimizer.step()\n{}else:\n{}    optimizer.zero_grad()",
    "loss.backward()\n{}if APPLY:\n{}    optimizer.step()\n{}schedule.step()",
    "loss.backward()\n{}if APPLY:\n{}    extra.data.add_(extra.grad, alpha=-0.1)",
]
TAKEN = [
    "loss.backward()\n{}if not APPLY:\n{}    optimizer.step()",
    "loss.backward()\n{}if read(APPLY):\n{}    optimizer.step()",
    "loss.backward()\n{}if i % 4 == 3:\n{}    optimizer.step()",
    "loss.backward()\n{}if APPLY:\n{}    optimizer.step()\n{}else:\n{}    other.step()",
    "loss.backward()\n{}if APPLY:\n{}    optimizer.step()\n{}extra.data.add_(extra.grad, alpha=-0.1)",
]
SCHEDULE = f"{MADE}; schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 9)"


def _script(script: str, step: str, default: str = "0") -> str:
    indented = step.format(*[" " * (16 if script is LAST else 8 if script is FIRST else 12)] * 4)
    made = SCHEDULE if "schedule" in step else MADE
    text = script.format(rate="0.01", made=made, step=indented)
    return text.replace("def ", APPLY.format(default), 1)


def _codes(text: str, context: ScriptContext | None = None) -> set[str]:
    return {each.code for each in check_source(text, context or ScriptContext(rules=GOLF))}


@pytest.mark.parametrize(("script", "code"), SCRIPTS)
@pytest.mark.parametrize("step", LEFT)
def test_steps_that_are_not_come_to_learn_nothing(script: str, code: str, step: str) -> None:
    assert code not in _codes(_script(script, step))


@pytest.mark.parametrize(("script", "code"), SCRIPTS)
@pytest.mark.parametrize("step", LEFT[:4])
def test_steps_that_a_setting_asks_for_learn(script: str, code: str, step: str) -> None:
    assert code in _codes(_script(script, step, "1"))
    assert code in _codes(_script(script, step), ScriptContext(rules=GOLF, settings={"APPLY": "1"}))


@pytest.mark.parametrize(("script", "code"), SCRIPTS)
@pytest.mark.parametrize("step", TAKEN)
def test_steps_that_may_be_come_to_learn(script: str, code: str, step: str) -> None:
    if script is LAST and ("grad" in step or " i " in step):
        return  # what is written to by hand may begin anew in each pass; it has no such name
    assert code in _codes(_script(script, step))


def test_epochs_that_a_log_prints_do_not_show_that_steps_were_taken(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text("adapting:2.000\nadapting:1.900\nval_bpb:0.90000\n")
    logged = (LoggedScore(path, "train.log", 3),)
    context = ScriptContext(rules=GOLF, claimed_labels=("val_bpb:",), logged=logged)
    text = _script(FIRST, LEFT[0]).replace("[extra]", "network.parameters()")
    (found,) = (each for each in check_source(text, context) if each.code == "BPB273")
    assert found.severity is Severity.WARNS
    assert "no step is taken" in found.message
    taken = text.replace('"APPLY", "0"', '"APPLY", "1"')
    (found,) = (each for each in check_source(taken, context) if each.code == "BPB273")
    assert found.severity is Severity.REFUTES
    assert STEP not in text
