"""The size of its code that a log states."""

from __future__ import annotations

import base64
import lzma
import zlib
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


@pytest.mark.parametrize("ends", ["", "\n", "\n\n", "\n\n\n", "\n  \n"])
@pytest.mark.parametrize("left", ["", "\n", "\n\n"])
def test_blank_lines_at_the_end_are_no_other_script(tmp_path: Path, ends: str, left: str) -> None:
    (tmp_path / "train.py").write_text(f"print(1)\nmain(){ends}")
    size = len(f"print(1)\nmain(){left}")
    found = foreign_code_size(f"Code size: {size} bytes\n", [tmp_path / "train.py"])
    assert found == (None if len(left) <= max(1, len(ends)) else size)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("more", [0, 1, 3])
def test_a_byte_order_mark_counts_where_there_is_one(tmp_path: Path, mark: str, more: int) -> None:
    """As bytes it is three, and one as a character; the text without it has the other size of the same script."""
    text = "print(1)\nmain()"
    (tmp_path / "train.py").write_text(f"{mark}{text}\n", encoding="utf-8")
    size = len(text) + 1 + more
    found = foreign_code_size(f"Code size: {size} bytes\n", [tmp_path / "train.py"])
    assert found == (None if mark or not more else size)
    assert foreign_code_size(f"Code size: {size + 9} bytes\n", [tmp_path / "train.py"]) == size + 9


PACKING = """import base64, lzma, zlib
from pathlib import Path

def packed(source):
    compressed = PACK
    encoded = base64.ENCODE(compressed)
    return f"import lzma as L,base64 as B\\nexec(L.decompress(B.b85decode({encoded!r})))\\n"

code = packed(Path(__file__).read_text())
print(f"Code size: {len(code.encode())} bytes")
"""


@pytest.mark.parametrize(
    "pack",
    [
        "lzma.compress(source.encode(), preset=9)", "lzma.compress(source.encode())",
        "zlib.compress(source.encode(), 9)",
        "lzma.compress(source.encode(), preset=9 | lzma.PRESET_EXTREME)",
    ],
)  # fmt: skip
@pytest.mark.parametrize("encode", ["b85encode", "b64encode"])
def test_a_script_that_states_the_size_of_its_packed_text(tmp_path: Path, pack: str, encode: str) -> None:
    text = PACKING.replace("PACK", pack).replace("ENCODE", encode) + "".join(f"x{i} = {i * i}\n" for i in range(300))
    (tmp_path / "train.py").write_text(text)
    names = {"source": text, "lzma": lzma, "zlib": zlib}
    compressed = eval(pack, names)
    written = "import lzma as L,base64 as B\nexec(L.decompress(B.b85decode({!r})))\n"
    size = len(written.format(getattr(base64, encode)(compressed)))
    assert foreign_code_size(f"Code size: {size} bytes\n", [tmp_path / "train.py"]) is None
    assert foreign_code_size(f"Code size: {size + 7} bytes\n", [tmp_path / "train.py"]) == size + 7
    (tmp_path / "train.py").write_text(text.replace("__file__", '"other.py"'))
    assert foreign_code_size(f"Code size: {size} bytes\n", [tmp_path / "train.py"]) == size


def test_a_script_that_counts_its_compressed_text_alone(tmp_path: Path) -> None:
    text = "code = open(__file__).read()\nprint(f'Code size: {len(zlib.compress(code.encode(), 9))} bytes')\n" * 40
    (tmp_path / "train.py").write_text(text)
    size = len(zlib.compress(text.encode(), 9))
    assert foreign_code_size(f"Code size: {size} bytes\n", [tmp_path / "train.py"]) is None
