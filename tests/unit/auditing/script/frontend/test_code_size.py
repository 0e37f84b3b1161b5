"""The size of its code that a log states."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing.script.frontend.code_size import foreign_code_size, stated_code_sizes


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("Code size: 47,686 bytes", [47686]),
        ("x\nCode size: 1 bytes\ncode size (compressed): 23bytes\n", [1, 23]),
        ("CODE SIZE = 5 bytes, Code size: many bytes, decode size: 4 bytes", []),
        ("\u0130 Code size: 7 bytes", [7]),  # a capital that is two letters in small
        ("a code size\nCode size: 8 bytes", [8]),
    ],
)
def test_stated_sizes(text: str, sizes: list[int]) -> None:
    assert stated_code_sizes(text) == sizes


def test_of_the_code_before_and_after_it_was_packed_the_first_is_no_scripts(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("print(1)\n")
    text = "Code size (uncompressed): 175 bytes\nCode size (compressed): 34 bytes\n"
    assert foreign_code_size(text, [script]) == 175
    assert foreign_code_size(text.replace("175", "9"), [script]) is None
