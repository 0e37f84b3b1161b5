"""Evaluations that are no function of one file: loops of main, and evaluators that import what they need from another.

Run in the limited process as functions are, with the seeds and bounds of test_audit_running.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing.script import ScriptContext, check_scripts
from bpb_harness.auditing.script.running import run_scoring as running
from bpb_harness.findings import Finding, Severity
from tests.script_network import NETWORK
from tests.tiers import some_of

# What attacks the process, and gets the one that users have, is in test_audit_running.
pytestmark = pytest.mark.usefixtures("forked_running")
TOKENIZER = Path(__file__).resolve().parents[2] / "fixtures" / "tokenizers" / "tiny_512_bpe.model"
MODEL = f"""
import torch
import torch.nn as nn
SEQ_LEN = 128
{NETWORK}"""
BOUND = """
import torch.nn.functional as F
def price(model, x, num_steps):
    total = 0.0
    for i in range(1, num_steps + 1):
        t, s = i / num_steps, (i - 1) / num_steps
        hidden = torch.rand(x.shape) < t
        logits = model(torch.where(hidden, MASK, x)).float()
        logits[..., MASK] = -1e9
        nats = F.cross_entropy(logits.flatten(0, 1), x.flatten(), reduction="none").view(x.shape)
        total += (nats * hidden).double().sum().item() * (t - s) / t{twice}
    return total
"""
LOOP = """
import math
import numpy as np
{imports}
def main():
    val_tokens = torch.from_numpy(np.fromfile("val.bin", dtype=np.uint16).astype(np.int64))
    model = Net()
    model.load_state_dict(torch.load("m.pt"))
    for step in range(1000):
        loss = F.cross_entropy(model(val_tokens[:8]), val_tokens[:8])
        loss.backward()
    num_steps = int(os.environ.get("STEPS", "4"))
    scored, count = 0.0, 0
    num_rows = val_tokens.numel() // SEQ_LEN
    for i in range(num_rows):
        x = val_tokens[i * SEQ_LEN : (i + 1) * SEQ_LEN][None]
        scored += {price}
        count += x.numel()
        if i % 10 == 0:
            log(f"row {{i}}: {{scored / count:.4f}} bits a byte")
    val_bpb = scored / count / math.log(2.0)
    log(f"final val_bpb: {{val_bpb:.4f}}")
def log(text):
    with open("log.txt", "a") as file:
        file.write(text)
if __name__ == "__main__":
    main()
"""


def _loop(imports: str = "import os", price: str = "price(model, x, num_steps)") -> str:
    return LOOP.format(imports=imports, price=price)


def _run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], settings: dict[str, str] | None = None
) -> list[Finding]:
    monkeypatch.setattr(running, "SHOWN", 1_024)
    monkeypatch.setattr(running, "CALLS", 12)
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")
    scripts = [tmp_path / name for name in files]
    found = check_scripts(scripts, ScriptContext(settings=settings or {}), tokenizer=TOKENIZER, allow_code=True)
    return [finding for finding in found if finding.code in ("BPB269", "BPB270", "BPB271")]


@pytest.mark.parametrize(("twice", "code"), [("", "BPB269"), (" / t", "BPB270")])
def test_a_loop_of_main_is_what_it_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, twice: str, code: str
) -> None:
    (found,) = _run(tmp_path, monkeypatch, {"evaluate.py": MODEL + BOUND.format(twice=twice) + _loop()})
    assert found.code == code, found.message
    assert found.evidence["function"] == "evaluation_in_main_at_line_40"
    if twice:
        assert found.severity is Severity.REFUTES
        assert "the weight 1/t applied twice" in found.message
    else:
        assert "the bound of 4 steps" in found.message


def test_the_settings_of_the_run_are_those_of_the_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = MODEL + BOUND.format(twice="") + _loop()
    (found,) = _run(tmp_path, monkeypatch, {"evaluate.py": text}, {"STEPS": "2"})
    assert "the bound of 2 steps" in found.message


NAMED = "import os\nimport torch.nn.functional as F\nfrom net import *\nfrom bound import price as cost\n"
WHOLE = "import os\nimport torch\nimport torch.nn.functional as F\nimport net\nfrom net import Net, SEQ_LEN\n"
BY_NAME = (NAMED, "cost(model, x, num_steps)")
BY_FILE = (f"{WHOLE}import bound as b\n", "b.price(model, x, num_steps)")
RIGHT, TWICE = ("", "BPB269"), (" / t", "BPB270")


@pytest.mark.parametrize(
    ("imports", "price", "twice", "code"),
    some_of([(*BY_NAME, *RIGHT), (*BY_FILE, *TWICE), (*BY_NAME, *TWICE), (*BY_FILE, *RIGHT)], everyday=2),
)
def test_what_an_evaluator_imports_from_its_neighbours_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, imports: str, price: str, twice: str, code: str
) -> None:
    bound = "import torch\nfrom net import MASK\n" + BOUND.format(twice=twice)
    files = {"evaluate.py": _loop(imports, price), "net.py": MODEL, "bound.py": bound}
    found = [finding for finding in _run(tmp_path, monkeypatch, files) if "evaluation_in_main" in finding.message]
    assert [finding.code for finding in found] == [code], [finding.message for finding in found]


def test_one_name_for_two_things_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bound = "import torch\nMASK = 77\n" + BOUND.format(twice="")
    imports = "import os\nimport torch\nfrom net import Net, MASK, SEQ_LEN\nfrom bound import price, F\n"
    files = {"evaluate.py": _loop(imports, "MASK * 0 + price(model, x, num_steps)"), "net.py": MODEL, "bound.py": bound}
    found = [finding for finding in _run(tmp_path, monkeypatch, files) if "evaluation_in_main" in finding.message]
    assert [finding.code for finding in found] == ["BPB271"]
    assert "MASK is one thing in" in found[0].message
    assert "a file that holds all that it needs can be run" in found[0].message


def test_where_nothing_can_be_run_the_next_step_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = MODEL + "\ndef main():\n    print(f'val_bpb: {float(open(\"score.txt\").read())}')\nmain()\n"
    (found,) = _run(tmp_path, monkeypatch, {"evaluate.py": text})
    assert found.code == "BPB271"
    assert "a function such as evaluate(model, val_tokens) that returns the score can be run" in found.message


def test_other_tensors_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
import mlx.core as mx
import mlx.nn as nn
def eval_bpb(model, val_tokens, seq_len=128):
    x = mx.array(val_tokens[:seq_len])
    return nn.losses.cross_entropy(model(x), x).sum().item()
print("val_bpb", eval_bpb(load_model("m"), load_val_tokens("v")))
"""
    (found,) = _run(tmp_path, monkeypatch, {"evaluate.py": text})
    assert found.code == "BPB271"
    assert "it computes with mlx" in found.message
    assert "the same function on torch's tensors can be" in found.message
