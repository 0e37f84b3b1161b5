"""Scores behind calls that run elsewhere, and loops that are not the evaluation's."""
# ruff: noqa: E501 - lines of scripts, as they are

from __future__ import annotations

import ast
import gc
import json
import weakref
from pathlib import Path

import pytest

from bpb_harness.auditing import audit
from bpb_harness.auditing.script.domains.values import Evaluator
from bpb_harness.auditing.script.frontend.index import Scripts
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Script
from bpb_harness.auditing.script.frontend.walker import Frame
from bpb_harness.findings import Severity
from fixtures.claims.patterns import SP1024, log, submission
from tests.golf_rules import check_source

ELSEWHERE = """
import math
import torch
import torch.nn.functional as F

{library}


{decorator}
def score(seed=1):
    net, data = torch.load("net.pt"), torch.load("fineweb10B_sp1024.pt")
    total = 0.0
    for x, y in data:
        total += F.cross_entropy(net(x).view(-1, 1024), y.view(-1)).item()
    mean = total / len(data)
    return {{"val_bpb": mean / math.log(2) / 3.51}}


{main}
"""
CALLS = {
    "modal": ("import modal\napp = modal.App('x')", "@app.function(gpu='H100')",
              "@app.local_entrypoint()\ndef main():\n    out = score.remote(seed=3)\n    print(f\"final val_bpb: {out['val_bpb']:.4f}\")"),
    "spawned": ("import modal\napp = modal.App('x')", "@app.function()",
                "@app.local_entrypoint()\ndef main():\n    job = score.spawn(3)\n    out = job.get()\n    print(f\"final val_bpb: {out['val_bpb']:.4f}\")"),
    "mapped": ("import modal\napp = modal.App('x')", "@app.function()",
               "@app.local_entrypoint()\ndef main():\n    for out in score.map([1, 2]):\n        print(f\"final val_bpb: {out['val_bpb']:.4f}\")"),
    "ray": ("import ray", "@ray.remote(num_gpus=1)",
            "out = ray.get(score.remote(3))\nprint(f\"final val_bpb: {out['val_bpb']:.4f}\")"),
    "local": ("import modal\napp = modal.App('x')", "@app.function()",
              "if __name__ == '__main__':\n    out = score.local()\n    print(f\"final val_bpb: {out['val_bpb']:.4f}\")"),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_runs_elsewhere_is_a_call(name: str) -> None:
    library, decorator, main = CALLS[name]
    found = check_source(ELSEWHERE.format(library=library, decorator=decorator, main=main))
    refuting = [finding for finding in found if finding.severity is Severity.REFUTES]
    assert [finding.code for finding in refuting] == ["BPB150"]
    assert refuting[0].factor == pytest.approx(3.51 / SP1024, rel=1e-5)


def test_a_variable_of_that_name_is_none() -> None:
    library, decorator, _ = CALLS["modal"]
    main = "def main(score):\n    print(f\"final val_bpb: {score.map(len)['val_bpb']:.4f}\")\n\n\nmain({})"
    found = check_source(ELSEWHERE.format(library=library, decorator=decorator, main=main))
    assert all(finding.severity is not Severity.REFUTES for finding in found)


SCORED = """
import math
import torch
import torch.nn.functional as F


def hessians(net, loader, num_batches=48):
    found = {{}}
    for _ in range(num_batches):
        x = loader.next()
        h = net.features(x)
        found["out"] = found.get("out", 0.0) + h.T @ h
    return {{name: h / num_batches for name, h in found.items()}}


def quantise(net, stats, num_iters=20):
    state = {{}}
    for name, weight in net.state_dict().items():
        scale = weight.abs().amax()
        for i in range(num_iters):
            scale = scale * (1.0 + 0.01 * stats.get(name, torch.ones(1)).mean())
        state[name] = (weight / scale).round() * scale
    net.load_state_dict(state)
    return net


def evaluate(net, tokens, sizes, max_windows=100000):
    nats, size = 0.0, 0.0
    for start in range(0, {stop}, 512):
        chunk = tokens[start : start + 513]
        x, y = chunk[:-1][None], chunk[1:][None]
        nats += F.cross_entropy(net(x).float().flatten(0, 1), y.flatten(), reduction="sum").double()
        size += sizes[y].sum().double()
    return float(nats / math.log(2.0) / size)


def main(net, loader, tokens, sizes):
    net = quantise(net, hessians(net, loader, num_batches=48))
    val_bpb = evaluate(net, tokens, sizes)
    print(f"final_exact val_bpb:{{val_bpb:.8f}}")


main(torch.load("n.pt"), torch.load("l.pt"), torch.load("t.pt"), torch.load("s.pt"))
"""
WHOLE, SUBSET = "tokens.numel() - 512", "max_windows"


def test_calibration_is_no_subset_of_what_is_scored() -> None:
    assert "BPB350" not in {finding.code for finding in check_source(SCORED.format(stop=WHOLE))}
    (found,) = [finding for finding in check_source(SCORED.format(stop=SUBSET)) if finding.code == "BPB350"]
    assert "max_windows" in found.message


SETTING = 'max_windows=int(os.environ.get("MAX_WINDOWS", "100000"))'


@pytest.mark.parametrize(
    ("limit", "off", "verdict"),
    [
        (SETTING, 1.0, "consistent"),
        (SETTING, 1.0015, "unverifiable"),
        ("max_windows=100000", 1.0, "unverifiable"),  # in every run: the script did not write that log
    ],
)
def test_a_log_of_the_whole_split_outweighs_a_limit_that_is_a_setting(
    tmp_path: Path, limit: str, off: float, verdict: str
) -> None:
    nats = 2.0312
    (tmp_path / "train.log").write_text(log(nats, SP1024 * off))
    score = float(json.loads(submission(val_bpb=round(1.202991 / off, 6)))["val_bpb"])
    (tmp_path / "submission.json").write_text(submission(val_bpb=score))
    script = SCORED.format(stop=SUBSET).replace("max_windows=100000", limit)
    (tmp_path / "train_gpt.py").write_text(f"import os\n{script}")
    report = audit(tmp_path)
    assert report.verdict == verdict
    (found,) = report.with_code("BPB350")
    assert found.severity is (Severity.INFORMS if verdict == "consistent" else Severity.WARNS)


def test_nodes_that_hold_a_label_are_those_of_the_scope_in_their_order() -> None:
    text = (
        "def f(a=dict(bpb=0)):\n    log(x, {'byte': [g(1)]}, key=f'{val_bpb}')\n    return lambda: {'bpb': 2}\n"
        "@h('bpb')\ndef g(): return 1\nprint('bpb %f' % (1 if g('byte') else g('no')), g(bits_per_byte=3))\n"
    )
    program = Program([Script("x", text, ast.parse(text))])
    for scope in program.scopes:
        own = program.own_nodes(scope)
        holding = [node for node in own if any(label in {*ast.walk(node)} - {node} for label in scope.labels)]
        assert program.labelled(scope) == holding
    labels = {scope.name: len(scope.labels) for scope in program.scopes}
    assert labels == {"<module>": 4, "f": 2, "g": 0, "<lambda>": 1}


def test_nothing_of_a_program_outlives_it() -> None:
    """Trees are large: none waits for the search for cycles."""
    text = "@hook\ndef f():\n    g = lambda: 1\n    def h():\n        return lambda x: g(x)\n    return h\n\nf()\n"
    gc.disable()
    try:
        program = Program([Script("s.py", text, ast.parse(text))])
        assert len(program.reachable()) == len(program.scopes) == 5
        held = [weakref.ref(scope) for scope in program.scopes]
        del program
        assert [scope() for scope in held] == [None] * 5
    finally:
        gc.enable()


def test_a_call_that_is_met_again_on_the_way_to_what_it_means_comes_to_an_end() -> None:
    text = "def forward(net):\n    return net.forward(net)\nclass A:\n    def forward(self, net):\n        return net.forward(net)"
    tree = ast.parse(text)
    program = Program([Script("a.py", text, tree)])
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            program.callee(node)


METHODS = """
class One:
    def ask(self): return 1
class Two:
    def ask(self): return 2
one = One()
two = Two() if one else None
either = One() if one else Two()
one.ask()
two.ask()
either.ask()
"""


def test_a_method_that_several_classes_have_is_that_of_what_the_object_was_made_of() -> None:
    program = Program([Script("a.py", METHODS, ast.parse(METHODS))])
    calls = sorted(program.calls["ask"], key=lambda call: call.lineno)
    owners = [(callee := program.callee(call)) and callee.owner for call in calls]
    assert owners == ["One", "Two", None]


HANDED = """
class One:
    def ask(self): return 1
class Two:
    def ask(self): return 2
def inner(it):
    return it.ask()
def outer(first, it=DEFAULT):
    return inner(it)
one, many = One(), [One(), Two()]
CALLS
"""


@pytest.mark.parametrize(
    ("default", "calls", "owner"),
    [
        ("None", "outer(0, one)", "One"),
        ("None", "outer(0, it=One())", "One"),
        ("None", "outer(0)\nouter(0, one)\nouter(0, None)", "One"),  # where it is None nothing is asked
        ("Two()", "outer(0)", "Two"),
        ("Two()", "outer(0)\nouter(0, one)", None),
        ("None", "outer(0, one)\ninner(Two())", None),
        ("None", "outer(0, one)\ninner(many[0])", None),
        ("None", "outer(0, *many)", None),
        ("None", "outer(0, many)\nfor each in many:\n    outer(0, each)", None),
        ("None", "inner(one)\nthing.inner(0)", None),  # a method that is called so may be meant
        ("None", "", None),
        ("None", "def outer(first, it):\n    return outer(first, it)", None),
    ],
)
def test_a_method_of_what_is_handed_over_is_that_of_the_one_class_that_it_is_of(
    default: str, calls: str, owner: str | None
) -> None:
    text = HANDED.replace("DEFAULT", default).replace("CALLS", calls)
    program = Program([Script("a.py", text, ast.parse(text))])
    (call,) = program.calls["ask"]
    callee = program.callee(call)
    assert (callee.owner if callee is not None else None) == owner


def test_programs_of_the_same_scripts_share_what_stands_where_and_nothing_of_their_settings() -> None:
    text = "import os\nN = int(os.environ.get('N', 1))\nprint(N)\n"
    scripts = Scripts([Script("s.py", text, ast.parse(text))])
    one, two = Program(scripts), Program(scripts, {"N": "2"})
    name = one.calls["print"][0].args[0]
    assert one.reaching(name) is two.reaching(name)
    values = [Evaluator(each).number(name, Frame.at(each, name)) for each in (one, two, one)]
    assert (values, one.taken, two.taken) == ([1.0, 2.0, 1.0], {}, {"N": "2"})
    one.calls["print"].append(one.calls["print"][0])  # as a call that one of them enters
    one.options["x"] = name
    assert len(two.calls["print"]) == len(Program(scripts).calls["print"]) == 1
    assert "x" not in two.options
