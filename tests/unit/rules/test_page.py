"""docs/rules.md: its table is that of the declaration, and its example is a pack that names every field."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from bpb_harness.auditing import AuditReport, audit
from bpb_harness.claim.line_template import PLACES
from bpb_harness.formats.kinds import Record, records_in
from bpb_harness.formats.schemas import file_of, text_of
from bpb_harness.rules import pack_of, shipped_names
from bpb_harness.rules.format import FORMAT, RULES
from bpb_harness.rules.pack_file import SHIPPED
from docs.rules_table import PAGE, page

TEXT = PAGE.read_text("utf-8")
EXAMPLE = TEXT.partition("<!-- example: start -->\n```toml\n")[2].partition("```")[0]
# Of claims in nats per token, and what the example has another way.
NOT_IN_THE_EXAMPLE = {
    "claim.unit", "claim.mean", "claim.tokens", "claim.tokens_lines", "claim.text", "marks.folders", "marks.otherwise",
    "byte_bugs.lowest", "byte_bugs.highest",
}  # fmt: skip


def _fields(record: Record, above: str = "") -> Iterator[str]:
    for key in record.keys:
        inner = records_in(key.kind)
        if not inner:
            yield above + key.name
        for each in inner:
            yield from _fields(each, f"{above}{key.name}.")


def _held(value: Any, above: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, held in value.items():
            yield from _held(held, f"{above}.{key}".lstrip("."))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for held in value:
            yield from _held(held, above)
    else:
        yield above


def test_the_table_is_that_of_the_declaration() -> None:
    assert page(TEXT) == TEXT, "run make tables"


def test_the_schema_is_that_of_the_declaration_and_takes_what_the_harness_takes() -> None:
    text = file_of(FORMAT).read_text("utf-8")
    assert text == text_of(FORMAT, RULES), "run make tables"
    schema = json.loads(text)
    jsonschema.Draft202012Validator.check_schema(schema)
    taken = jsonschema.Draft202012Validator(schema)
    for pack in (EXAMPLE, *(path.read_text("utf-8") for path in SHIPPED.glob("*.toml"))):
        taken.validate(tomllib.loads(pack))
    for wrong in ({"largest_artefact": 1}, {"title": " \t"}, {"texts": [{"also": ["x"]}]}, {"claim": {"unit": "bits"}}):
        assert not taken.is_valid(tomllib.loads(EXAMPLE) | wrong), wrong


def test_the_example_has_every_field_that_fits_it() -> None:
    missing = {name for name in _fields(RULES) if name not in set(_held(tomllib.loads(EXAMPLE)))}
    others = {name for name in missing if name.startswith("fields.")}
    assert missing - others == NOT_IN_THE_EXAMPLE
    assert "fields.score" not in others


def test_the_page_names_every_pack_and_every_place() -> None:
    assert all(f"| `{name}` |" in TEXT for name in shipped_names())
    assert all(f"`{{{place}}}`" in TEXT for place in PLACES)


@pytest.fixture
def pond(tmp_path: Path) -> Path:
    file = tmp_path / "pond.toml"
    file.write_text(EXAMPLE, "utf-8")
    return file


def _audited(folder: Path, pack: Path | str | None, score: float, log: str = "", **keys: Any) -> AuditReport:
    folder.mkdir()
    record = {"pond_bpb": score, "dataset": "The Pond Diary", "tokenizer": "frog-512", "league": "small pond"} | keys
    (folder / "submission.json").write_text(json.dumps(record))
    (folder / "train.log").write_text(log)
    return audit(folder, rules=pack)


LOSS = 2.0
BITS = LOSS / 0.6931471805599453


def test_the_example_is_used_as_the_page_says(tmp_path: Path, pond: Path) -> None:
    assert pack_of(EXAMPLE, "the example").name == "pond"
    log = f"val_loss:{LOSS:.8f} val_bpb:{BITS / 2.5:.6f}\ntrained for 59.2 min\nevaluated in 310 s\n"
    right = _audited(tmp_path / "right", pond, round(BITS / 2.5, 6), log, bytes_in_the_pond=2_000_001)
    assert str(right.rules) == "pond of pond.toml (as asked)"
    found = {finding.code: finding.message for finding in right.findings}
    assert "diary_val (full) under frog-512 has 2.50000" in found["BPB101"]
    assert "inferred" not in found["BPB101"]  # the record names its tokenizer as the pack does
    assert (
        found["BPB501"]
        == "the artifact is over the cap of 2,000,000 bytes: by submission.json 2,000,001 (bytes_in_the_pond)"
    )
    assert found["BPB506"] == "the evaluation took 310.0 s (train.log:3); the limit is 300 s"
    assert found["BPB509"] == "the claim rests on 1 run; the rules ask for 3"
    assert found["BPB510"] == "The diary's title page is not scored."
    assert right.verdict == "consistent"


def test_a_known_bug_of_the_examples_text_is_refuted(tmp_path: Path, pond: Path) -> None:
    log = f"val_loss:{LOSS:.8f} val_bpb:{BITS / 3.0:.6f}\n"
    twice = _audited(tmp_path / "twice", pond, round(BITS / 3.0, 6), log)
    assert (twice.verdict, twice.corrected_bpb) == ("refuted", pytest.approx(BITS / 2.5, rel=1e-5))
    assert twice.with_code("BPB102")[0].evidence["bug"] == "space_counted_twice"
    alone = _audited(tmp_path / "alone", "none", round(BITS / 3.0, 6), log)
    assert (alone.verdict, alone.rules.pack.name if alone.rules else "") == ("unverifiable", "none")


def test_times_are_those_of_the_track_that_they_apply_to(tmp_path: Path, pond: Path) -> None:
    for league, codes in {"large lake": 0, "small pond": 1}.items():
        log = f"val_loss:{LOSS:.8f} val_bpb:{BITS / 2.5:.6f}\ntrained for 60.7 min\n"
        report = _audited(tmp_path / league, pond, round(BITS / 2.5, 6), log, league=league)
        assert len(report.with_code("BPB506")) == codes
    late = f"val_loss:{LOSS:.8f} val_bpb:{BITS / 2.5:.6f}\ntrained for 60.5 min\n"  # within the slack of 1 %
    assert not _audited(tmp_path / "late", pond, round(BITS / 2.5, 6), late).with_code("BPB506")
