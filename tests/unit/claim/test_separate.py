"""Claim files of several claims: never one claim, a path each for whoever audits a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bpb_harness.claim import read_claim, separate_claims
from bpb_harness.errors import ClaimError


def _write(folder: Path, name: str, /, **facts: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps({"format": "bpb-claim/1"} | facts))
    return folder / name


DIFFERENT = [
    ({"name": "A", "claimed_bpb": 1.2}, {"name": "B", "claimed_bpb": 1.2}, "A and B"),
    ({"name": "A", "claimed_bpb": 1.2}, {"name": "B", "bytes_per_token": 4.3}, "A and B"),
    ({"name": "A", "claimed_bpb": 1.2}, {"name": "A", "claimed_bpb": 1.4}, "a.claim.json and b.claim.json"),
    ({"claimed_bpb": 1.2}, {"claimed_bpb": 1.4}, "a.claim.json and b.claim.json"),
    ({"claimed_perplexity": 20.0}, {"claimed_perplexity": 30.0}, "a.claim.json and b.claim.json"),
    ({"claimed_bpb": 1.2}, {"claimed_perplexity": 30.0}, "a.claim.json and b.claim.json"),
    (
        {"claimed_bpb": 1.2, "claimed_perplexity": 20.0},
        {"claimed_bpb": 1.2, "claimed_perplexity": 30.0},
        "a.claim.json and b.claim.json",
    ),
]
OF_ONE = [
    ({"name": "A", "claimed_bpb": 1.2}, {"name": "A", "claimed_bpb": 1.2}),
    ({"name": "A", "claimed_bpb": 1.2}, {"bytes_per_token": 2.4}),
    ({"bytes_per_token": 2.4}, {"name": "A", "claimed_perplexity": 20.0}),
    ({"claimed_bpb": 1.2, "claimed_perplexity": 20.0}, {"claimed_perplexity": 20.0}),
]


@pytest.mark.parametrize(("first", "second", "names"), DIFFERENT)
def test_two_claims_are_refused_and_have_a_path_each(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], names: str
) -> None:
    files = [_write(tmp_path, "a.claim.json", **first), _write(tmp_path, "b.claim.json", **second)]
    with pytest.raises(ClaimError) as problem:
        read_claim(tmp_path)
    assert (
        str(problem.value) == f"two claims in one folder: {names}; audit them one by one, or with bpb-audit --recursive"
    )
    with pytest.raises(
        ClaimError, match=r"^two claims in the arguments: .*, or their folder with bpb-audit --recursive$"
    ):
        read_claim(*files)
    assert separate_claims(tmp_path) == files


@pytest.mark.parametrize(("first", "second"), OF_ONE)
def test_a_file_that_adds_is_merged(tmp_path: Path, first: dict[str, Any], second: dict[str, Any]) -> None:
    _write(tmp_path, "a.claim.json", **first)
    _write(tmp_path, "b.claim.json", **second)
    claim = read_claim(tmp_path)
    assert (claim.files, claim.notes) == (("a.claim.json", "b.claim.json"), ())
    assert separate_claims(tmp_path) == [tmp_path]


@pytest.mark.parametrize("record", ["submission.json", "train.log"])
def test_a_record_beside_them_could_be_anybodys(tmp_path: Path, record: str) -> None:
    files = [_write(tmp_path, f"{name}.claim.json", name=name) for name in "ab"]
    (tmp_path / record).write_text('{"val_bpb": 1.3}')
    with pytest.raises(ClaimError, match=r"^two claims in one folder: a and b; audit them one by one$"):
        read_claim(tmp_path)
    assert separate_claims(tmp_path) == [*files, tmp_path]


def test_one_that_cannot_be_read_is_left_to_whoever_reads_it(tmp_path: Path) -> None:
    files = [_write(tmp_path, f"{name}.claim.json", name=name) for name in "abc"]
    files[1].write_text('{"format": "bpb-claim/9"}')
    (tmp_path / "other.json").write_text("{")
    (tmp_path / "README.md").write_text("words")
    assert separate_claims(tmp_path) == files
    files[2].unlink()
    assert separate_claims(tmp_path) == [tmp_path]


def test_a_link_is_read_where_it_leads(tmp_path: Path) -> None:
    _write(tmp_path, "a.claim.json", name="A")
    kept = _write(tmp_path / "kept", "b.json", name="B")
    (tmp_path / "b.claim.json").symlink_to(kept)
    paths = separate_claims(tmp_path)
    assert paths == [tmp_path / "a.claim.json", kept.resolve()], "once, though the folder below holds it too"
    assert [read_claim(path).title for path in paths] == ["A", "B"]
