"""``--explain CODE``: every code that a command prints, in the words of the pages."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from bpb_harness.cli import audit, bytes, eval
from bpb_harness.cli._explain import explanation
from bpb_harness.errors import UsageError
from bpb_harness.findings import CODES
from bpb_harness.result import BELOW_SOURCE, UNTRUSTED_ERROR
from bpb_harness.score_codes import SCORE_CODES
from tests.commands import run_here

_CONSTANTS = {"BELOW_SOURCE": BELOW_SOURCE, "UNTRUSTED_ERROR": UNTRUSTED_ERROR}


def remark_codes(source: str) -> set[str]:
    """The codes of the remarks that a module makes."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Remark" and node.args:
            code = node.args[0]
            name = ast.unparse(code)
            if name != "found['code']":  # of a file that is read back
                found.add(code.value if isinstance(code, ast.Constant) else _CONSTANTS[name])
    return found


def test_every_code_of_a_score_is_explained_and_no_other(repository: Path) -> None:
    sources = [path.read_text("utf-8") for path in (repository / "bpb_harness").rglob("*.py")]
    assert set().union(*map(remark_codes, sources)) == set(SCORE_CODES)
    assert list(SCORE_CODES) == sorted(SCORE_CODES)
    assert all(re.fullmatch(r"[A-Z].*[.]", meaning) for meaning in SCORE_CODES.values())


def test_every_code_is_explained_in_the_words_of_the_pages() -> None:
    assert explanation("BPB101"), "which reads the checks, and they register their codes"
    for rule in CODES.values():
        said = " ".join(explanation(rule.code.lower()).split())
        assert said == " ".join(explanation(rule.name).split())
        assert said.startswith(f"{rule.code} {rule.name} {rule.summary[0].upper()}{rule.summary.rstrip('.')[1:]}. ")
        assert f". {rule.severity.value}: {rule.severity.effect.replace('**', '')}, unless " in said
    for code, meaning in SCORE_CODES.items():
        assert " ".join(explanation(code).split()) == f"{code} {meaning.replace('`', '')} More: docs/codes.md"
    assert max(len(line) for code in (*CODES, *SCORE_CODES) for line in explanation(code).splitlines()) <= 100


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("text.pading", "near it: text.padding"),
        ("known-byte-bugs", "near it: known-byte-bug"),
        ("BPB999", "docs/codes.md and docs/audit.md list them"),
    ],
)
def test_a_code_that_there_is_not(code: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        explanation(code)
    expected = "a code of a finding, such as BPB102 or text.padding"
    assert str(caught.value) == f"--explain: got {code!r}, expected {expected}; {hint}"


@pytest.mark.parametrize("command", [audit, bytes, eval])
def test_commands_explain_and_end(command: object) -> None:
    done = run_here(command.main, "--explain", "BPB102")  # type: ignore[attr-defined]
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{explanation('BPB102')}\n"
    refused = run_here(command.main, "--explain", "BPB999")  # type: ignore[attr-defined]
    assert (refused.returncode, refused.stdout, len(refused.stderr.splitlines())) == (2, "", 1)
