"""What holds for every report, whatever it is of: places, words, characters, and how often anything is looked up."""

from __future__ import annotations

import ast
import base64
import json
import lzma
import re
import shutil
import tempfile
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from bpb_harness.auditing import audit, audit_folders
from bpb_harness.auditing.annotations import annotations_of
from bpb_harness.auditing.report import summary_to_markdown
from bpb_harness.auditing.report_text import summary_to_text
from bpb_harness.cli.audit import app
from bpb_harness.findings import Severity
from bpb_harness.report.audit import audit_page
from bpb_harness.terminal.screen import Screen
from fixtures.claims.build import HERE
from fixtures.claims.patterns import SP1024, bpb, log, submission
from tests.audited import audited_together
from tests.golf_rules import GOLF
from tests.quoted_lines import is_of_a_line
from tests.tiers import some_of, times

STORED = json.loads((Path(__file__).parents[1] / "golden" / "audits.json").read_text("utf-8"))


def test_findings_of_scripts_name_and_quote_their_lines_inaudited_together() -> None:
    found = [(report, finding) for report in audited_together() for finding in report.findings if is_of_a_line(finding)]
    assert len({finding.code for _, finding in found}) >= 5
    for report, finding in found:
        assert f"{finding.evidence['file']}:{finding.evidence['line']}" in finding.message
        text = report.to_text(Screen(80)).splitlines()
        quoted = () if finding.severity is Severity.INFORMS else finding.evidence["quoted"]  # remarks quote nothing
        for each in quoted:  # type: ignore[union-attr]
            assert any(line.endswith(f": {each['code']}") for line in text)  # type: ignore[index,call-overload]


def _said() -> list[str]:
    """Every sentence of stored reports, and whole reports of the fixtures."""
    stored = [
        said
        for report in STORED.values()
        for said in [report["reason"], *report.get("missing", []), *(found["message"] for found in report["findings"])]
    ]
    return [
        *stored,
        *(report.to_text() for report in audited_together()),
        *(report.to_markdown() for report in audited_together()),
    ]


@pytest.mark.parametrize(
    "words",
    [
        r"\bas (?:said|noted|mentioned|stated|described|told)\b",
        r"\b(?:said|seen?|mentioned|noted) (?:above|before)\b",
        r"\bthe (?:former|latter|aforementioned)\b",
        r"\bnever mentions?\b",  # what a README does not say was claimed of 14 that did
        r"\bREADME does not (?:say|mention)\b",
    ],
)
def test_no_sentence_leans_on_another_or_claims_silence(words: str) -> None:
    assert not [said for said in _said() if re.search(words, said, re.IGNORECASE)]


@pytest.mark.parametrize("tokenizer", sorted({row.tokenizer for row in GOLF.table.rows if row.is_whole}))
def test_no_row_is_missed_that_the_table_has(tokenizer: str, tmp_path: Path) -> None:
    row = GOLF.table.full_split(tokenizer)
    assert row is not None
    for ratio in (row.bytes_per_token, 1.3 * row.bytes_per_token):
        losses = {"val_loss": 2.0, "val_bpb": round(bpb(2.0, ratio), 8)}
        (tmp_path / "submission.json").write_text(submission(**losses, tokenizer=tokenizer))
        assert not [found for found in audit(tmp_path).findings if "has no row for" in found.message]


HOSTILE = st.text(st.characters(codec="utf-8"), max_size=30) | st.sampled_from(
    [
        "\x1b[31mred",
        "\x1b]0;title\x07",
        "\u202eevil",
        "\x9b2J",
        "a\x08b",
        "\u2028",
        "\x00",
        "`\x1b[0m`",
        "~~~",
        "```",
        "\x7f",
    ]
)
SCRIPT = """
import math, torch
import torch.nn.functional as F
DATA = "fineweb10B_sp1024"  # {comment}
def evaluate(model, windows):
    nats, tokens = 0.0, 0
    for x in windows:
        nats += F.cross_entropy(model(x), x, reduction="sum").item()
        tokens += x.numel()
    return nats / math.log(2.0) / (tokens * 4.3)  # {comment}
print(f"val_bpb: {{evaluate(torch.load('a.pt'), torch.load('b.pt'))}}")
"""


def _is_harmless(text: str) -> bool:
    return all(character == "\n" or character.isprintable() for character in text)


@settings(max_examples=times(12, thorough=40), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(HOSTILE)
def test_nothing_of_a_record_reaches_a_terminal_that_it_would_obey(words: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "run"
        root.mkdir()
        said = {
            "val_bpb": round(bpb(2.0, SP1024), 6),
            "name": words,
            "blurb": words,
            f"x{words}": words,
            "notes": words,
        }
        (root / "submission.json").write_text(json.dumps(said))
        (root / "README.md").write_text(f"# {words}\n\n{words} val_bpb: 1.5\n\n**{words} 1.4 bpb**\n", "utf-8")
        (root / "train.log").write_text(log(2.0, SP1024) + f"{words} val_bpb:1.3\n{words}\n", "utf-8")
        comment = "".join(each for each in words if each not in "{}\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\0")
        (root / "train.py").write_text(SCRIPT.format(comment=comment), "utf-8")
        (report,) = audit_folders(root)
        (finding,) = report.with_code("BPB150")
        texts = [report.to_text(Screen(width)) for width in (40, 80)] + [report.to_markdown()]
        texts += [summary_to_text([report]), summary_to_markdown([report], with_details=True), annotations_of([report])]
        assert all(map(_is_harmless, texts))
        assert "BPB150" in audit_page([report])
        json.dumps(report.to_dict(), allow_nan=False)
        assert "(tokens * 4.3)" in str(finding.evidence["quoted"])


def test_pure_look_ups_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packs of rules and trees of scripts that are alike: a record of a thousand folders has each many times."""
    for name in ("a", "b"):
        shutil.copytree(HERE / "submissions" / "wrong_script_constant", tmp_path / name)
    (first,) = audit_folders(tmp_path / "a")
    made: list[str] = []

    def counted(*_: object, **__: object) -> object:
        made.append("again")
        raise AssertionError

    monkeypatch.setattr(tomllib, "load", counted)
    monkeypatch.setattr(tomllib, "loads", counted)
    monkeypatch.setattr(ast, "parse", counted)
    (second,) = audit_folders(tmp_path / "b")
    assert not made
    assert [finding.to_dict() for finding in second.findings] == [finding.to_dict() for finding in first.findings]


@pytest.mark.parametrize(
    "dataset", some_of([None, "fineweb_val", "\u00fc", "owt", "text8", "a text that nobody knows"], everyday=3)
)
@pytest.mark.parametrize("tokenizer", ["sp1024", "gpt2", "char", "nobody's", None])
@pytest.mark.parametrize("rules", [None, "none"])
def test_no_text_and_no_tokenizer_is_a_fault_of_the_program(
    tmp_path: Path, dataset: str | None, tokenizer: str | None, rules: str | None
) -> None:
    """Exit code 70 is of a fault of ours; a text that no table knows is a doubt."""
    keys = {"dataset": dataset, "tokenizer": tokenizer, "method": "discrete", "num_steps": 32, "claimed_bpb": 1.3}
    stated = {"format": "bpb-claim/1", **{key: value for key, value in keys.items() if value is not None}}
    (tmp_path / "x.claim.json").write_text(json.dumps(stated | {"nats_per_token": 2.4, "num_windows": 8}))
    (tmp_path / "train.log").write_text(f"data {dataset} {tokenizer}\nfinal val_loss:2.400000 val_bpb:1.300000\n")
    chosen = ["--rules", rules] if rules is not None else []
    for output in ("text", "json", "markdown", "github"):
        outcome = CliRunner().invoke(app, [str(tmp_path), "--format", output, *chosen])
        assert outcome.exit_code in (0, 1, 3), outcome.output
        assert outcome.exception is None or isinstance(outcome.exception, SystemExit)


@pytest.mark.parametrize("lines_before", [0, 1, 12])
def test_lines_of_a_script_in_a_log_have_the_logs_numbers(tmp_path: Path, lines_before: int) -> None:
    head = "".join(f"starting {number}\n" for number in range(lines_before))
    filler = "".join(f"# {number}\n" for number in range(30))
    text = head + SCRIPT.format(comment="").lstrip() + filler + "=" * 100 + "\n" + log(2.0, SP1024)
    (tmp_path / "train.log").write_text(text)
    (finding,) = audit(tmp_path).with_code("BPB150")
    (line,) = finding.evidence["quoted"]  # type: ignore[misc,union-attr]
    assert line["code"] == text.split("\n")[int(str(line["line"])) - 1].strip()  # type: ignore[index,call-overload]
    assert f"(train.log:{line['line']})" in finding.message  # type: ignore[index,call-overload]


def test_a_line_of_what_a_script_unpacks_to_is_said_to_be_one_and_annotates_none(tmp_path: Path) -> None:
    (tmp_path / "submission.json").write_text(submission(val_bpb=1.2))
    packed = base64.b85encode(lzma.compress(SCRIPT.format(comment="").encode())).decode()
    (tmp_path / "train.py").write_text(f'import base64, lzma\nexec(lzma.decompress(base64.b85decode("{packed}")))\n')
    report = audit(tmp_path)
    (finding,) = report.with_code("BPB150")
    line = finding.evidence["line"]
    assert f"(train.py:{line} of what it unpacks to)" in finding.message
    assert f"(train.py:{line} of what it unpacks to)" in report.judgement.missing[0]
    (noted,) = [each for each in annotations_of([report], tmp_path).splitlines() if "BPB150" in each]
    assert "file=train.py" in noted
    assert "line=" not in noted.partition("::")[2].partition("::")[0]


def test_what_else_a_table_counts_wrongly_is_told_with_the_fault_and_once(tmp_path: Path) -> None:
    script = (HERE.parent / "scripts" / "wrong_space_twice_spelling.py").read_text("utf-8")
    (tmp_path / "train_gpt.py").write_text(script)
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.0}')
    (tmp_path / "train.log").write_text(log(2.0312, SP1024 * 1.17704))
    report = audit(tmp_path)
    assert {"BPB151", "BPB154"} <= {finding.code for finding in report.findings}  # JSON has each of them
    also = "The same table counts 6 bytes for the byte token `<0x41>`, the letters of its name (BPB154)."
    for text in (report.to_text(), report.to_markdown()):
        assert " ".join(text.replace("\\", "").split()).count(also) == 1
        assert "BPB154 script" not in text
        assert "`BPB154` script" not in text
    (line,) = [finding for finding in report.findings if finding.code == "BPB154"]
    of_a_token = replace(line, code="BPB156", evidence={**line.evidence, "counted for a control token": 3.0})
    both = replace(report, findings=(*report.findings, of_a_token)).to_text()
    said = "the letters of its name, and 3 bytes for the token `<s>`, which stands for no text (BPB154 and BPB156)."
    assert said in " ".join(both.split())
    other = replace(line, evidence={**line.evidence, "line": 1})  # of another table
    apart = replace(report, findings=tuple(other if finding is line else finding for finding in report.findings))
    assert "BPB154 script-byte-pieces-by-spelling" in apart.to_text()


def test_a_corrected_score_of_a_part_is_given_by_both_numbers_of_bytes(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text((HERE.parent / "scripts" / "wrong_elbo_script.py").read_text("utf-8"))
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.1465}')
    (tmp_path / "README.md").write_text("# A model\n\nval_bpb 1.1465, of the tokens of SP-1024\n")
    text = " ".join(audit(tmp_path).to_text().split())
    assert "corrected 2.0238 bits per byte by the whole text's bytes per token, or 2.0475 by those of the part" in text
    assert "fineweb_val (full) under sp1024, named in README.md:3" in text
