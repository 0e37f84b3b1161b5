"""``--explain CODE``: every code that a command prints, in the words of the pages."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from bpb_harness.cli import audit, bytes, eval
from bpb_harness.cli._explain import explanation
from bpb_harness.errors import UsageError
from bpb_harness.findings import CODES, RETIRED
from bpb_harness.result import BELOW_SOURCE, OFFICIAL_NOT_EXACT, UNTRUSTED_ERROR, WORSE_THAN_UNIFORM, WORSE_THAN_UNIGRAM
from bpb_harness.score_codes import SCORE_CODES
from tests.commands import run_here

_CONSTANTS = {
    "BELOW_SOURCE": BELOW_SOURCE, "UNTRUSTED_ERROR": UNTRUSTED_ERROR, "WORSE_THAN_UNIFORM": WORSE_THAN_UNIFORM,
    "WORSE_THAN_UNIGRAM": WORSE_THAN_UNIGRAM, "OFFICIAL_NOT_EXACT": OFFICIAL_NOT_EXACT,
}  # fmt: skip


def remark_codes(source: str) -> set[str]:
    """The codes of the remarks that a module makes."""
    found: set[str] = set()
    if "Remark(" not in source:
        return found
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
        assert " ".join(explanation(code).split()).startswith(f"{code} {meaning.replace('`', '')}")
    assert max(len(line) for code in (*CODES, *SCORE_CODES) for line in explanation(code).splitlines()) <= 100


def test_every_code_names_a_next_step_and_pages_that_there_are(repository: Path) -> None:
    assert explanation("BPB101"), "which reads the checks, and they register their codes"
    steps = {}
    for code in (*CODES, *SCORE_CODES):
        said = explanation(code)
        (steps[code],) = (part for part in said.split("\n\n") if part.startswith("Next: "))
        for page in re.findall(r"docs/[a-z-]+[.]md", said):
            assert (repository / page).is_file(), (code, page)
        assert re.search(r"bpb-[a-z]+|docs/|look at the file", steps[code]), code
    assert "with each part scored before it is learnt" in " ".join(steps["BPB272"].split())
    assert "line that the finding names" in " ".join(steps["BPB252"].split())
    assert "bound whose weights belong" in " ".join(steps["BPB213"].split())
    assert "shows it on your text" in " ".join(steps["BPB178"].split())


def test_a_code_that_was_taken_out_says_what_is_in_its_place(repository: Path) -> None:
    assert explanation("BPB101"), "which reads the checks, and they register their codes"
    assert not RETIRED.keys() & CODES.keys()
    named = (repository / "docs/audit.md").read_text("utf-8").partition("that were taken out (")[2].partition(")")[0]
    numbers = re.findall(r"BPB(\d+)(?: to BPB(\d+))?", named)
    assert {f"BPB{n}" for low, high in numbers for n in range(int(low), int(high or low) + 1)} == RETIRED.keys()
    for code, (name, instead) in RETIRED.items():
        assert " ".join(explanation(code).split()) == f"{code} {name} Taken out: {instead}."
        assert set(re.findall(r"BPB\d+", instead)) <= CODES.keys()


def test_a_page_is_named_where_it_says_more_than_its_table(repository: Path) -> None:
    """Of an audit's codes, every page of findings that speaks of them in words, and no other."""
    assert explanation("BPB101"), "which reads the checks, and they register their codes"
    said = {code: re.findall(r"^More: docs/(.*)$", explanation(code), re.MULTILINE) for code in (*CODES, *SCORE_CODES)}
    words = {}
    for page in {page for pages in said.values() for page in pages}:
        text = (repository / "docs" / page).read_text("utf-8")
        words[page] = re.sub(r"<!-- codes: start -->.*?<!-- codes: end -->", "", text, flags=re.DOTALL)
    assert len(words) == 7
    for code in CODES:
        # BPB415 to BPB417; what scripts are checked for stands on the page of scripts, which others point to.
        number = int(code.removeprefix("BPB"))
        ranges = {page: re.findall(r"BPB(\d+) to BPB(\d+)", text) for page, text in words.items()}
        found = [
            page
            for page, text in words.items()
            if code in text or any(int(low) <= number <= int(high) for low, high in ranges[page])
        ]
        if "script-checks.md" in found:
            found = ["script-checks.md"]
        assert said[code] == found, code
    of_scores = {code: said[code] for code in SCORE_CODES if said[code]}
    assert set(of_scores) == {"adaptation", "answers", "error.not-to-be-trusted", "tolerance.missed"}
    for code, (page,) in of_scores.items():
        assert code in words[page] or page == f"{code}.md"


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
