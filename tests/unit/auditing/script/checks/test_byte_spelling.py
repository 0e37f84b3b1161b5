"""By what byte pieces and control tokens that are counted as they are spelt multiply the bytes of the whole text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bpb_harness.auditing.script import ScriptContext
from bpb_harness.findings import Finding, Severity
from bpb_harness.rules import Rules, shipped_pack
from tests.golf_rules import GOLF, check_source

SCRIPT = (Path(__file__).parents[5] / "fixtures" / "scripts" / "wrong_byte_spelling.py").read_text("utf-8")
_SKIPPED = """        if sp.is_control(token_id) or sp.is_unknown(token_id) or sp.is_unused(token_id):
            continue
        boundary[token_id] = False
"""
_SPELT = "        boundary[token_id] = sp.is_control(token_id) or sp.is_unknown(token_id)\n"
_BY_LOOP = """        if piece.startswith("\\u2581"):
            spaced[token_id] = True
            piece = piece[1:]
"""
_IN_TABLE = """        piece = piece.replace("\\u2581", " ")
"""
SPELT = SCRIPT.replace(_SKIPPED, _SPELT)
_ADDED = "            token_bytes += (spaced_lut[tgt_ids] & ~boundary_lut[prev_ids]).to(dtype=torch.int16)\n"
SPACE_IN_TABLE = SPELT.replace(_BY_LOOP, _IN_TABLE).replace(_ADDED, "")
assert len({SCRIPT, SPELT, SPACE_IN_TABLE}) == 3


def _found(text: str, context: ScriptContext | None = None) -> Finding:
    (found,) = [finding for finding in check_source(text, context) if finding.code == "BPB154"]
    assert found.severity is Severity.REFUTES
    return found


def test_both_spelt_are_what_the_two_bugs_of_the_pack_differ_by() -> None:
    found = _found(SPELT)
    assert found.factor == pytest.approx(1.0 + 1.17704 - 1.16714, abs=1e-9)
    assert "with 3 for each `<s>`, there are 1.0099 times the bytes of the whole text" in found.message


@pytest.mark.parametrize(
    "text",
    [
        SCRIPT,  # no control token is spelt: how many there are is not told
        SPACE_IN_TABLE,  # the space behind a control token counts as well
    ],
)
def test_what_the_pack_does_not_tell_gives_no_factor(text: str) -> None:
    found = _found(text)
    assert found.factor is None
    assert "by how much, by itself, depends on the text" in found.message


def test_nor_does_a_pack_without_the_two_bugs() -> None:
    assert _found(SPELT, ScriptContext()).factor is None
    assert _found(SPELT, ScriptContext(rules=Rules.of(shipped_pack("nanochat")))).factor is None


SCRIPTS = Path(__file__).parents[5] / "fixtures" / "scripts"


@pytest.mark.parametrize(
    ("name", "code", "lines"),
    [
        (
            "marker_question_mark",
            "BPB152",
            ['if piece.startswith("?"):', 'base[token_id] = len(piece.encode("utf-8"))'],
        ),
        ("marker_underscore", "BPB152", ['if p[0] == "_":', "self.nbytes[i] = len(p.encode())"]),
        (
            "space_never",
            "BPB153",
            ["spaced[i] = piece.startswith(SPACE)", 'table[i] = len(piece.replace(SPACE, "").encode("utf-8"))'],
        ),
        (
            "space_twice_table",
            "BPB151",
            [
                'base[token_id] = len(piece.encode("utf-8")) + int(spaced[token_id])',
                "token_bytes += (spaced_lut[tgt_ids] & ~boundary_lut[prev_ids]).to(dtype=torch.int16)",
            ],
        ),
    ],
)
def test_the_lines_that_are_wrong_are_quoted(name: str, code: str, lines: list[str]) -> None:
    text = (SCRIPTS / f"wrong_{name}.py").read_text("utf-8")
    (found,) = [each for each in check_source(text) if each.code == code]
    quoted = found.evidence["quoted"]
    assert isinstance(quoted, list)
    assert [each["code"] for each in quoted if isinstance(each, dict)] == lines


TWICE = (SCRIPTS / "wrong_space_twice_table.py").read_text("utf-8")
_ONCE = 'base[token_id] = len(piece.encode("utf-8")) + int(spaced[token_id])'
_BY_DEFAULT = 'base[token_id] = len(piece.encode("utf-8"))'


_OTHER = "base[token_id] = len(piece.encode()) + 1"


@pytest.mark.parametrize(
    ("written", "quoted"),
    [
        # What the word has is of the second.
        (f"{_BY_DEFAULT}\n        if spaced[token_id]:\n            {_OTHER}", _OTHER),
        (f"if spaced[token_id]:\n            {_OTHER}\n        else:\n            {_BY_DEFAULT}", _OTHER),
        (
            f"if not spaced[token_id]:\n            {_BY_DEFAULT}\n        else:\n"
            "            n = len(piece.encode()) + 1\n            base[token_id] = n",
            "n = len(piece.encode()) + 1",
        ),
        (_ONCE, _ONCE),
    ],
)
def test_the_line_is_quoted_that_gave_the_piece_its_bytes(written: str, quoted: str) -> None:
    assert TWICE.count(_ONCE) == 1
    (found,) = [each for each in check_source(TWICE.replace(_ONCE, written)) if each.code == "BPB151"]
    lines = found.evidence["quoted"]
    assert isinstance(lines, list)
    assert isinstance(lines[0], dict)
    assert lines[0]["code"] == quoted
    assert found.evidence["line"] == lines[0]["line"]


_MODEL = "fineweb_8192_bpe.model"
_OWN = "unigram_without_bytes.model"


@pytest.mark.parametrize("name", ["byte_spelling", "space_twice_table", "space_never", "marker_underscore"])
def test_a_kind_of_piece_that_an_unknown_vocabulary_may_lack_refutes_nothing(name: str) -> None:
    text = (SCRIPTS / f"wrong_{name}.py").read_text("utf-8")
    own, unnamed = (re.sub(r"fineweb_\d+_bpe\.model", each, text) for each in (_OWN, ""))
    for without in (own, re.sub(r"fineweb10B_sp\d+", "tokens", unnamed)):
        (found,) = [each for each in check_source(without) if each.code in ("BPB151", "BPB152", "BPB153", "BPB154")]
        assert found.severity is Severity.WARNS
        assert found.factor is None
        assert "the record does not tell" in found.message


@pytest.mark.parametrize(
    ("context", "severity"),
    [
        (ScriptContext(rules=GOLF), Severity.REFUTES),
        (ScriptContext(rules=GOLF, settings={"TOKENIZER_PATH": f"./{_OWN}"}), Severity.WARNS),
        (ScriptContext(rules=GOLF, flags={("train.py", "--tokenizer"): _OWN}), Severity.WARNS),
        (ScriptContext(rules=GOLF, readme=f"A tokenizer of our own, `{_OWN}`, in place of {_MODEL}."), Severity.WARNS),
        (ScriptContext(rules=GOLF, readme=f"Tokenizer: {_MODEL}, unchanged."), Severity.REFUTES),
        (
            ScriptContext(rules=GOLF, readme=f"Not {_OWN}.", tokenizer_is_certain=True, bytes_per_token=2.43593),
            Severity.REFUTES,
        ),
        (ScriptContext(rules=GOLF, tokenizer_is_certain=True), Severity.WARNS),  # certain, and in no table
    ],
)
def test_the_models_of_the_record_count_before_a_default_of_the_script(
    context: ScriptContext, severity: Severity
) -> None:
    (found,) = [each for each in check_source(SCRIPT, context) if each.code == "BPB154"]
    assert found.severity is severity
