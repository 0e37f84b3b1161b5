"""A title that names a technique which nothing in the record bears out."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, bpb, log, submission

SCRIPT = (
    "import os\n\n\ndef train(model, step):\n    lr = float(os.environ.get('LR', '0.1'))\n    return model(step) * lr\n"
)
SWITCHED = (
    SCRIPT + "\n\nmoe = bool(int(os.environ.get('MOE_ENABLED', '0')))\ntop = int(os.environ.get('MOE_TOP_K', 2))\n"
)
COMMAND = "```bash\nLR=0.2 SEED=1 torchrun train.py\n```\n"


def _report(folder: Path, title: str, script: str = SCRIPT, readme: str = "", told: str = "") -> AuditReport:
    score = round(bpb(2.0312, SP1024), 8)
    (folder / "submission.json").write_text(submission(val_bpb=score, tokenizer="sp1024", name=title))
    (folder / "train.log").write_text(told + log(2.0312, SP1024))
    (folder / "train.py").write_text(script)
    if readme:
        (folder / "README.md").write_text(readme)
    return audit(folder)


@pytest.mark.parametrize(
    "title",
    ["Int6 QAT + EMA", "Legal TTT", "11L XSA4", "MoE, 4 experts", "Non-record: Int6 QAT (LZMA)", "Test-Time Training"],
)
def test_a_technique_that_no_program_has_is_a_doubt(tmp_path: Path, title: str) -> None:
    report = _report(tmp_path, title)
    (found,) = report.with_code("BPB452")
    assert "which no program of the record does" in found.message
    assert report.verdict == "unverifiable"


@pytest.mark.parametrize(
    ("title", "script", "readme", "told"),
    [
        ("Legal TTT", SCRIPT + "\n\ndef adapt(model):\n    model.train()\n", "", ""),
        ("Int6 QAT", SCRIPT + "\n\ndef round_ste(w):\n    return w\n", "", ""),
        ("Int6 QAT", SCRIPT, "", "late_qat:enabled step:5\n"),
        ("Int6 QAT", SCRIPT, "# Int6 QAT\n\nWe dropped QAT in the end.\n", ""),
        ("No TTT", SCRIPT, "", ""),
        ("TTT-disabled control", SCRIPT, "", ""),
        ("An ablation of TTT", SCRIPT, "", ""),
        ("Int6 QAT", SCRIPT, "# A run\n\nQAT is still pending.\n", ""),
        ("A static network", SCRIPT, "", ""),
        ("SlotTTTing", SCRIPT, "", ""),
    ],
    ids=["another name", "a trick", "in the log", "denied", "no", "disabled", "a study", "pending", "none", "a word"],
)
def test_the_honest_neighbours(tmp_path: Path, title: str, script: str, readme: str, told: str) -> None:
    assert _report(tmp_path, title, script, readme, told).with_code("BPB452") == []


SCORE_OF_IT = f"{bpb(2.0312, SP1024):.4f}"
BEFORE = f"# Int7 GPTQ\n\nval_bpb: {SCORE_OF_IT} (pre-GPTQ), 14.84 MB\n"


@pytest.mark.parametrize(
    "readme",
    [
        BEFORE,
        f"| 1 | {SCORE_OF_IT} | before GPTQ |\n",
        f"{BEFORE}\nFull GPTQ is on by default.\n",
        f"val_bpb {SCORE_OF_IT}, without GPTQ",
        f"val_bpb {SCORE_OF_IT[:-1]} w/o GPTQ\n\nGPTQ makes it 1.3120.\n",
    ],
)
def test_a_score_from_before_what_the_title_names_is_a_remark(tmp_path: Path, readme: str) -> None:
    report = _report(tmp_path, "Int7 GPTQ + EMA", SCRIPT, readme)
    (found,) = report.with_code("BPB452")
    number = next(number for number, line in enumerate(readme.split("\n"), 1) if SCORE_OF_IT[:-1] in line)
    assert (
        f"README.md:{number} says of the score itself that it is from before GPTQ; no program of the record does it"
        in found.message
    )
    assert found.severity == "info"
    assert report.verdict == "consistent"


@pytest.mark.parametrize(
    ("title", "script", "readme", "told"),
    [
        ("Int7 GPTQ", SCRIPT + "\n\ndef pack(hessian):\n    return hessian\n", BEFORE, ""),
        ("Int7 GPTQ", SCRIPT, BEFORE, "gptq:calibrated 67 layers\n"),
        ("Int7, GPTQ pending", SCRIPT, BEFORE, ""),
        ("Int7 GPTQ, an ablation", SCRIPT, BEFORE, ""),
        ("Int7 GPTQ", f"{SCRIPT}\n\nHELD = '{'x9' * 500}'\n", BEFORE, ""),  # in which anything may be packed
        ("Int7 GPTQ", SCRIPT, BEFORE.replace(SCORE_OF_IT, f"{float(SCORE_OF_IT) + 0.0002:.4f}"), ""),
        ("Int7 clipping", SCRIPT, BEFORE.replace("# Int7 GPTQ", "# Int7"), ""),
        ("Int7 GPTQ", SCRIPT, BEFORE.replace(SCORE_OF_IT, "1.3120"), ""),  # of another score
        ("Int7 GPTQ", SCRIPT, f"1.3120 pre-GPTQ, {SCORE_OF_IT} at the end\n", ""),
        ("Int7 GPTQ", SCRIPT, f"{BEFORE}\n| {SCORE_OF_IT} | with GPTQ |\n", ""),
        ("Int7 GPTQ", SCRIPT, f"val_bpb: {SCORE_OF_IT}\n\nEMA comes before GPTQ.\n", ""),
    ],
    ids=[
        "a program",
        "the log",
        "pending",
        "a study",
        "packed",
        "a near score",
        "no such title",
        "another score",
        "two scores",
        "with it",
        "an order",
    ],
)
def test_a_score_that_may_be_of_what_the_title_names(
    tmp_path: Path, title: str, script: str, readme: str, told: str
) -> None:
    assert _report(tmp_path, title, script, readme, told).with_code("BPB452") == []


def test_a_score_from_before_it_of_a_record_without_a_script_or_with_a_notebook(tmp_path: Path) -> None:
    assert _report(tmp_path, "Int7 GPTQ", SCRIPT).with_code("BPB452") == []  # nor without a README
    (tmp_path / "run.ipynb").write_text('{"cells": []}')
    assert _report(tmp_path, "Int7 GPTQ", SCRIPT, BEFORE).with_code("BPB452") == []
    for name in ("run.ipynb", "train.py"):
        (tmp_path / name).unlink()
    assert audit(tmp_path).with_code("BPB452") == []


@pytest.mark.parametrize(
    "title",
    [
        "Baseline, ohne QAT", "TTT-free baseline", "Baseline, zero TTT, dense (MoE: none)",
        "A baseline that outdoes QAT", "Referencia sin QAT ni TTT", "EMA + QAT, nicht benutzt", "Ready for QAT",
        "What XSA is about", "Beyond TTT: EMA",
        "EMA + QAT: geen", "The QAT gap, measured",
    ],
)  # fmt: skip
def test_titles_that_deny_it_or_speak_of_it_in_passing(tmp_path: Path, title: str) -> None:
    assert _report(tmp_path, title).with_code("BPB452") == []


@pytest.mark.parametrize(
    ("title", "line"),
    [
        ("EMA + QAT", "w = w + ((w / s).round() * s - w).detach()"),
        ("EMA + QAT", "q = (w / s).round() * s\n    y = w + (q - w).detach()"),
        ("EMA + QAT", "w = w + (torch.rand_like(w) - 0.5) * s"),
        ("EMA + TTT", "dynamic_evaluation(self, x)"),
        ("EMA + TTT", "x.backward()\n    y.backward()\n    w.backward()"),
        ("EMA + MoE", "class MixtureMLP:"),
        ("EMA + XSA", "y = y - torch.einsum('bthd,bthd->bth', y, u)[..., None] * u"),
        ("EMA + MoE", "class SwitchFFN:"),
        ("EMA + MoE", "p = self.gate(x).softmax(dim=-1)"),
        ("EMA + XSA", "y = y - (y * u).sum(dim=-1, keepdim=True) * u"),
    ],
)
def test_a_technique_in_other_words_is_there(tmp_path: Path, title: str, line: str) -> None:
    body = f"{line}\n        x = 1\n" if line.startswith("class") else f"{line}\n"
    script = f"{SCRIPT}\n\ndef more(self, w, s, x, y, u):\n    {body}"
    assert _report(tmp_path, title, script).with_code("BPB452") == []
    assert len(_report(tmp_path, title).with_code("BPB452")) == 1


@pytest.mark.parametrize("name", ["job.slurm", "run.sbatch", "config.yml", "a.toml", "Makefile", ".env", "conf/x.json"])
def test_other_files_may_set_a_switch(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("{} # MOE_ENABLED=1\n" if name.endswith("json") else "export MOE_ENABLED=1\n")
    assert _report(tmp_path, "MoE + Bigram", SWITCHED, f"# MoE\n\n{COMMAND}").with_code("BPB452") == []


def test_what_is_packed_or_lies_elsewhere_is_not_missed(tmp_path: Path) -> None:
    packed = base64.b85encode(zlib.compress(bytes(range(256)) * 20 + SCRIPT.encode() * 3, 0)).decode()
    hidden = f"import sys\n\ncode = {packed!r}\nsys.modules['a'].run(code)\n"
    assert _report(tmp_path, "Legal TTT", hidden).with_code("BPB452") == []
    (tmp_path / "train.py").write_text(SCRIPT)
    assert len(audit(tmp_path).with_code("BPB452")) == 1
    (tmp_path / "lib" / "of" / "it").mkdir(parents=True)
    (tmp_path / "lib" / "of" / "it" / "more.py").write_text("def test_time(model):\n    pass\n")
    assert audit(tmp_path).with_code("BPB452") == []


@pytest.mark.parametrize(
    ("readme", "script", "told", "is_found"),
    [
        (COMMAND, SWITCHED, "", True),
        ("", SWITCHED, "", False),  # nothing says how it was started
        ("```bash\ntorchrun train.py\n```\n", SWITCHED, "", False),
        (COMMAND.replace("SEED=1", "MOE_ENABLED=1"), SWITCHED, "", False),
        (COMMAND + "\nWith `MOE_ENABLED=1` it is on.\n", SWITCHED, "", False),
        (COMMAND, SWITCHED, "moe experts:4\n", False),
        (COMMAND, SWITCHED.replace("'0'", "'1'"), "", False),
        (COMMAND, SWITCHED + "\nstart = float(os.environ.get('MOE_START', 0.5))\n", "", False),
        (COMMAND, SWITCHED.replace("MOE_ENABLED", "MOE_SHARED"), "", False),
    ],
    ids=["left off", "no README", "bare", "set", "spoken of", "in the log", "on", "another way", "another thing"],
)
def test_a_switch_that_the_commands_leave_off(
    tmp_path: Path, readme: str, script: str, told: str, is_found: bool
) -> None:
    report = _report(tmp_path, "MoE + Bigram", script, readme and f"# MoE + Bigram\n\n{readme}", told)
    found = report.with_code("BPB452")
    assert bool(found) is is_found
    assert all("train.py leaves off unless MOE_ENABLED is set" in each.message for each in found)


def test_a_shell_script_may_set_it(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("MOE_ENABLED=1 torchrun train.py\n")
    assert _report(tmp_path, "MoE + Bigram", SWITCHED, f"# MoE\n\n{COMMAND}").with_code("BPB452") == []


@pytest.mark.parametrize(
    ("more", "readme", "is_left_off"),
    [
        ({}, "", True),
        ({"launch.py": "env = {'MOE_ENABLED': '1'}\n"}, "", False),
        ({"train.py": f"{SWITCHED}\nos.environ.setdefault('MOE_ENABLED', '1')\n"}, "", False),
        ({"train.py": f"{SWITCHED}\n# MOE_ENABLED=1 is an option\n"}, "", True),
        ({"train.py": f"{SWITCHED}\nPRESETS = dict(moe_enabled=True)\n"}, "", False),
        ({"config.yaml": "moe: true\n"}, "", False),
        ({"config.json": '{"moe_enabled": true}'}, "", False),
        ({}, "torchrun train.py --use-moe\n", False),
        ({}, "The mixture of experts is switched on in all runs.\n", False),
        ({}, "MoE is on.\n", False),
        ({}, "MoE has 4 experts.\n", True),
    ],
)
def test_what_else_may_switch_it_on(tmp_path: Path, more: dict[str, str], readme: str, is_left_off: bool) -> None:
    _report(tmp_path, "MoE, 4 experts", SWITCHED, f"{COMMAND}\n{readme}")
    for name, text in more.items():
        (tmp_path / name).write_text(text)
    assert bool(audit(tmp_path).with_code("BPB452")) is is_left_off
