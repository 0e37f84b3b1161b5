"""The scripts of fixtures/scripts: each wrong one by its code, the honest ones let alone."""

from __future__ import annotations

import json
import re
import runpy
from functools import cache
from pathlib import Path

import pytest

from bpb_harness.auditing.script import ScriptContext, check_scripts
from bpb_harness.auditing.script.frontend.scopes import Script
from bpb_harness.auditing.script.frontend.trees import parse
from bpb_harness.auditing.script.running.judged_scores import judge_scores
from bpb_harness.auditing.script.running.run_scoring import run_scoring
from bpb_harness.auditing.script.running.scored_texts import choose_texts
from bpb_harness.auditing.script.running.scoring_function import find_scoring_functions
from bpb_harness.byte_count import load_tokenizer
from bpb_harness.findings import CODES, Finding, Severity
from tests.golf_rules import GOLF
from tests.quoted_lines import assert_quoted

SCRIPTS = Path(__file__).resolve().parents[2] / "fixtures" / "scripts"
EXPECTED: dict[str, dict[str, list[str]]] = json.loads((SCRIPTS / "expected.json").read_text("utf-8"))


@cache
def _check(name: str, **facts: float) -> list[Finding]:
    return check_scripts([SCRIPTS / name], ScriptContext(**facts, rules=GOLF))  # type: ignore[arg-type]


def _codes(findings: list[Finding], severity: Severity) -> list[str]:
    return sorted({found.code for found in findings if found.severity is severity})


def _one(findings: list[Finding], code: str) -> Finding:
    (found,) = [found for found in findings if found.code == code]
    return found


@pytest.mark.parametrize("name", EXPECTED)
def test_codes(name: str) -> None:
    findings = _check(name)
    assert _codes(findings, Severity.REFUTES) == EXPECTED[name]["refutes"]
    assert _codes(findings, Severity.WARNS) == EXPECTED[name]["warns"]
    assert not [found for found in findings if found.code == "BPB950"]
    assert_quoted(SCRIPTS / name, findings)


def test_every_refuting_or_warning_code_has_a_script() -> None:
    made = {code for row in EXPECTED.values() for code in (*row["refutes"], *row["warns"])}
    mine = {
        code
        for code, rule in CODES.items()
        if rule.name.startswith("script-") and rule.severity in (Severity.REFUTES, Severity.WARNS)
    }
    # These need a tokenizer, and the last two a log: they have tests of their own.
    assert mine - made == {"BPB157", "BPB163", "BPB270", "BPB279", "BPB450"}


def test_the_wrong_scripts_are_what_their_generator_makes() -> None:
    made = runpy.run_path(str(SCRIPTS / "make_scripts.py"))["everything"]()
    for name, text in made.items():
        assert (SCRIPTS / name).read_text("utf-8") == text, f"{name}: run fixtures/scripts/make_scripts.py"


def test_constant_is_corrected_by_the_split_that_the_script_names() -> None:
    found = _one(_check("wrong_elbo_script.py"), "BPB150")
    assert found.factor == pytest.approx(4.3 / 2.435930, rel=1e-5)
    assert 1.1465 * (found.factor or 0) == pytest.approx(2.0238, abs=5e-5)
    assert found.evidence["constant"] == 4.3
    assert "4.3" in str(found.evidence["source"])


def test_constant_is_corrected_by_the_ratio_of_the_record() -> None:
    found = _one(_check("wrong_elbo_script.py", bytes_per_token=2.40774), "BPB150")
    assert 1.1465 * (found.factor or 0) == pytest.approx(2.0475, abs=1e-4)


@pytest.mark.parametrize("constant", ["2.7", "4.3"])
def test_a_tokenizer_that_only_the_rules_do_not_know_is_not_said_to_be_unnamed(tmp_path: Path, constant: str) -> None:
    """`fineweb_bpe4096_v1` is a name: that none stands there would be untrue."""
    script = tmp_path / "train.py"
    script.write_text(
        "import math\nimport torch\nimport torch.nn.functional as F\n"
        'TOKENIZER, VOCAB_SIZE = "fineweb_bpe4096_v1", 4096\n'
        "def evaluate(model, windows):\n"
        "    nats = [F.cross_entropy(model(x), x).item() for x in windows]\n"
        f"    return sum(nats) / len(nats) / math.log(2) / {constant}\n"
        "print(f\"val_bpb: {evaluate(torch.load('a.pt'), torch.load('b.pt'))}\")\n"
    )
    found = _one(check_scripts([script], ScriptContext(vocab_size=4096, rules=GOLF)), "BPB150")
    assert "The text may have 3.31923" in found.message
    assert "no tokenizer that the rules know is named" in found.message
    assert "nothing names" not in found.message


def test_constant_that_is_right_only_warns() -> None:
    found = _one(_check("wrong_elbo_script.py", bytes_per_token=4.301), "BPB150")
    assert found.severity is Severity.WARNS


@pytest.mark.parametrize(
    ("name", "code", "factor"),
    [
        ("wrong_space_twice_table.py", "BPB151", 1.16714),
        ("wrong_space_twice_spelling.py", "BPB151", 1.17704),
        ("wrong_marker_question_mark.py", "BPB152", 1.33428),
        ("wrong_space_never.py", "BPB153", 0.83286),
    ],
)
def test_factors_of_known_bugs(name: str, code: str, factor: float) -> None:
    assert _one(_check(name), code).factor == factor


def test_evidence_points_at_the_line() -> None:
    found = _one(_check("wrong_weight_dsigma.py"), "BPB250")
    lines = (SCRIPTS / "wrong_weight_dsigma.py").read_text("utf-8").split("\n")
    assert lines[int(str(found.evidence["line"])) - 1].strip() == found.evidence["source"]
    assert str(found.evidence["file"]).endswith("wrong_weight_dsigma.py")


def test_a_log_that_carries_the_script(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    script = (SCRIPTS / "wrong_space_twice_table.py").read_text("utf-8")
    log.write_text(script + "=" * 100 + "\nstep:1/1 val_loss:2.0 val_bpb:1.0\n", "utf-8")
    assert _codes(check_scripts([log], ScriptContext(rules=GOLF)), Severity.REFUTES) == ["BPB151"]


def test_a_log_without_a_script_says_nothing(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text("step:1/1 val_loss:2.0 val_bpb:1.0\n", "utf-8")
    assert check_scripts([log], ScriptContext(rules=GOLF)) == []


def test_two_files_are_one_program(tmp_path: Path) -> None:
    (tmp_path / "evaluate.py").write_text("def score(nats, tokens):\n    return nats / 0.6931 / (tokens * 4.3)\n")
    (tmp_path / "train.py").write_text(
        "from evaluate import score as judge\nSHARDS = 'fineweb10B_sp1024'\n"
        "def main():\n    total, count = run()\n    print(f'val_bpb: {judge(total, count)}')\nmain()\n"
    )
    findings = check_scripts([tmp_path / "train.py", tmp_path / "evaluate.py"], ScriptContext(rules=GOLF))
    assert _codes(findings, Severity.REFUTES) == ["BPB150"]
    assert str(_one(findings, "BPB150").evidence["file"]).endswith("evaluate.py")


def test_subset_says_what_the_record_says() -> None:
    found = _one(_check("wrong_elbo_script.py", num_windows=30_284), "BPB350")
    assert found.evidence["limit"] == 500
    assert "30,284" in found.message


def test_unreadable_files_are_findings(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def broken(:\n")
    (tmp_path / "b.py").write_bytes(b"\x00\x01\x02")
    findings = check_scripts([tmp_path / "a.py", tmp_path / "b.py", tmp_path / "none.py"], ScriptContext(rules=GOLF))
    assert [found.code for found in findings] == [*["BPB950"] * 3, "BPB954"]


def test_the_documented_table_is_the_registry(repository: Path) -> None:
    text = (repository / "docs" / "script-checks.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| (BPB\d{3}) \| ([a-z0-9-]+) \|", text, re.MULTILINE))
    mine = {code: rule.name for code, rule in CODES.items() if rule.name.startswith("script-")}
    assert rows == mine


# What some of the scripts compute, run alone (the others take the same ways, and longer).
COMPUTED = {
    "honest_ar_tables.py": {"BPB164": "bytes per token", "BPB269": "the exact cross-entropy"},
    "honest_any_order.py": {"BPB269": "the continuous bound"},
    "wrong_space_twice_table.py": {"BPB163": "again in the loop"},
    "wrong_two_passes.py": {"BPB270": "two passes"},
}


@pytest.mark.usefixtures("forked_running")
def test_what_scripts_compute() -> None:
    """One process runs the functions of several scripts; none of the honest ones is called wrong."""
    functions, names = [], []
    for name in COMPUTED:
        tree = parse((SCRIPTS / name).read_text("utf-8"))
        assert tree is not None
        found, _ = find_scoring_functions([Script(name, "", tree)], {"score", "eval_val"})
        functions += found
        names += [name for _ in found]
    path = SCRIPTS.parent / "tokenizers" / "tiny_512_bpe.model"
    tokenizer = load_tokenizer(path)
    texts = choose_texts(tokenizer)
    replies = run_scoring(functions, path, texts, shown=3_072, calls=12)
    said: dict[str, list[Finding]] = {}
    for name, function, reply in zip(names, functions, replies, strict=True):
        judged = judge_scores([function], [reply], texts, tokenizer, {"score", "eval_val"})
        said.setdefault(name, []).extend(judged.findings)
    for name, expected in COMPUTED.items():
        for code, words in expected.items():
            assert any(f.code == code and words in f.message for f in said[name]), (name, code, said[name])
        refuted = any(f.severity is Severity.REFUTES for f in said[name])
        assert refuted is name.startswith("wrong"), name
