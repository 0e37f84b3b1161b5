"""A record's files as text, by their names."""

from __future__ import annotations

from pathlib import Path

from bpb_harness.auditing.said import texts_of


def test_files_of_one_name_are_all_there(tmp_path: Path) -> None:
    """Named one by one they had one name, and the last of them stood for all."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.log").write_text(f"of {name}\n")
    named = [tmp_path / name / "train.log" for name in ("a", "b")]
    assert texts_of(named) == {"a/train.log": "of a\n", "b/train.log": "of b\n"}
    assert texts_of(named[:1]) == {"train.log": "of a\n"}
    assert texts_of([tmp_path / "a", named[1]]) == {"train.log": "of a\n", "b/train.log": "of b\n"}
