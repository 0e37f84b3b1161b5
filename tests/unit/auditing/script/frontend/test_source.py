"""Scripts as text: wrappers undone as data, encodings tolerated, logs searched."""

# ruff: noqa: E501 - lines of scripts, as they are
from __future__ import annotations

import base64
import binascii
import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from bpb_harness.auditing.script import decode_source, extract_embedded
from bpb_harness.auditing.script.frontend.source import decode_text, parse
from bpb_harness.errors import ClaimError

INNER = "import math\n\ndef f(x):\n    return math.log(x)  # caf\u00e9\n\nprint(f(2))\n"


def _alone(raw: bytes) -> bytes:
    return lzma.compress(raw, format=lzma.FORMAT_ALONE)


PACKERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "zlib": ("zlib.decompress", zlib.compress),
    "gzip": ("gzip.decompress", gzip.compress),
    "bz2": ("bz2.decompress", bz2.compress),
    "lzma": ("lzma.decompress", lzma.compress),
    "lzma alone": ("lzma.decompress", _alone),
}
CODERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "b64": ("base64.b64decode", base64.b64encode),
    "b85": ("base64.b85decode", base64.b85encode),
    "a85": ("base64.a85decode", base64.a85encode),
    "hex": ("binascii.unhexlify", binascii.hexlify),
    "fromhex": ("bytes.fromhex", binascii.hexlify),
}


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("packer", PACKERS)
def test_every_pair_of_codecs(packer: str, coder: str) -> None:
    unpack, pack = PACKERS[packer]
    decode, encode = CODERS[coder]
    literal: bytes | str = encode(pack(INNER.encode()))
    if coder == "fromhex":
        literal = bytes(literal).decode()  # type: ignore[arg-type]
    source = decode_text(f"import base64, binascii, bz2, gzip, lzma, zlib\nexec({unpack}({decode}({literal!r})))\n")
    assert (source.text, source.layers, source.problems) == (INNER, 1, ())


def test_spellings_of_the_wrapper() -> None:
    payload = base64.b85encode(lzma.compress(INNER.encode()))
    for script in (
        f"import lzma as L, base64 as B\nexec(L.decompress(B.b85decode({payload!r})))",
        f"from lzma import decompress as d\nfrom base64 import b85decode as b\nexec(d(b({payload!r})).decode())",
        f"exec(__import__('lzma').decompress(__import__('base64').b85decode({payload!r})))",
        f"import lzma, base64\nP = {payload[:40]!r} + {payload[40:]!r}\nsource = lzma.decompress(base64.b85decode(P))\nexec(source)",
        f"import lzma, base64\nexec(compile(lzma.decompress(base64.b85decode({payload!r})), 'train', 'exec'), globals())",
        f"import lzma, base64\nexec(lzma.decompress(base64.b85decode(''.join([{payload[:9].decode()!r}, {payload[9:].decode()!r}]))))",
    ):
        assert decode_text(script).text == INNER, script[:60]


@pytest.mark.parametrize(
    "call",
    [
        "zlib.decompress({packed!r}, wbits=zlib.MAX_WBITS)",
        "zlib.decompress({packed!r}, bufsize=zlib.DEF_BUF_SIZE)",
        "zlib.decompress({packed!r}, zlib.MAX_WBITS, SIZE)",
        "zlib.decompress({bare!r}, -15)",
        "zlib.decompress(codecs.decode({coded!r}, 'base64'))",
        "zlib.decompress(codecs.decode({spelt!r}, 'hex_codec'))",
    ],
)
def test_what_else_a_decoder_is_given_is_no_reason_not_to_look_inside(call: str) -> None:
    raw, packed = zlib.compressobj(wbits=-15), zlib.compress(INNER.encode())
    parts = {
        "packed": packed,
        "bare": raw.compress(INNER.encode()) + raw.flush(),
        "coded": base64.b64encode(packed),
        "spelt": packed.hex(),
    }
    source = decode_text(f"import codecs, zlib\nSIZE = 4096\nexec({call.format(**parts)})\n")
    assert (source.text, source.problems) == (INNER, ())


@pytest.mark.parametrize(
    "options",
    ["'preset': 9", "'preset': 9 | L.PRESET_EXTREME", "'dict_size': 1 << 20", "'dict_size': 64 * 1024, 'lc': 4"],
)
def test_raw_lzma_with_filters(options: str) -> None:
    filters = eval(f"[{{'id': L.FILTER_LZMA2, {options}}}]", {"L": lzma})
    payload = base64.b85encode(lzma.compress(INNER.encode(), format=lzma.FORMAT_RAW, filters=filters))
    call = f"format=L.FORMAT_RAW, filters=[{{'id': L.FILTER_LZMA2, {options}}}]"
    source = decode_text(f"import lzma as L, base64 as B\nexec(L.decompress(B.b85decode({payload!r}), {call}))")
    assert (source.text, source.problems) == (INNER, ())


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("brotli.decompress(b'xx')", "the payload of brotli.decompress was left alone: brotli is not unpacked here"),
        (
            "lzma.decompress(b'xx', format=lzma.FORMAT_RAW, filters=[{'id': 33, 'preset': int('9')}])",
            "the payload of lzma.decompress was left alone: its options are not understood",
        ),
        (
            "lzma.decompress(b'xx', format=lzma.FORMAT_RAW, filters=[{'id': 33, 'dict_size': 1 << 31}])",
            "the payload of lzma.decompress was left alone: its dictionary is larger than this reader allows",
        ),
    ],
)
def test_what_is_not_unpacked_is_not_called_damaged(call: str, said: str) -> None:
    (problem,) = decode_text(f"import brotli, lzma\nexec({call})").problems
    assert said in problem


def test_nested_layers_are_counted() -> None:
    text = INNER
    for _ in range(5):
        text = f"import zlib, base64\nexec(zlib.decompress(base64.b64decode({base64.b64encode(zlib.compress(text.encode()))!r})))"
    source = decode_text(text)
    assert (source.text, source.layers) == (INNER, 5)


@pytest.mark.parametrize(
    "raw",
    [
        b"\xef\xbb\xbf" + INNER.encode(),
        INNER.replace("\n", "\r\n").encode(),
        INNER.replace("\n", "\r").encode(),
        INNER.encode("utf-16"),
    ],
    ids=["bom", "crlf", "cr", "utf-16"],
)
def test_encodings(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "train.py"
    file.write_bytes(raw)
    assert decode_source(file).text == INNER


def test_bad_utf8_is_tolerated(tmp_path: Path) -> None:
    file = tmp_path / "train.py"
    file.write_bytes(b"x = 1  # \xff\xfe\n")
    assert decode_source(file).text == "x = 1  # \ufffd\ufffd\n"


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ClaimError, match="cannot be read"):
        decode_source(tmp_path / "no.py")


@pytest.mark.parametrize(
    "script",
    ["exec(open('other.py').read())", "exec(input())", "import zlib\nexec(zlib.decompress(b'broken'))", "exec(f(x))"],
)
def test_what_is_no_literal_stays_and_is_said(script: str) -> None:
    source = decode_text(script)
    assert source.text == script
    assert source.layers == 0
    assert len(source.problems) == 1


LOG_LINES = "step:0/100 val_loss:6.9 val_bpb:4.1\nstep:100/100 val_loss:2.1 val_bpb:1.25\n"


def test_script_inside_a_log() -> None:
    source = extract_embedded(INNER + "=" * 100 + "\nRunning Python 3.12\n" + LOG_LINES)
    assert source is not None
    assert source.text.strip() == INNER.strip()


def test_script_inside_a_log_without_a_separator() -> None:
    source = extract_embedded("seed 42 started\n" + INNER + LOG_LINES)
    assert source is not None
    assert "def f(x)" in source.text


def test_packed_script_inside_a_log() -> None:
    packed = f"import zlib, base64\nexec(zlib.decompress(base64.b64decode({base64.b64encode(zlib.compress(INNER.encode()))!r})))\n"
    source = extract_embedded("host: a\n" + packed + "=" * 80 + "\n" + LOG_LINES)
    assert source is not None
    assert (source.text, source.layers) == (INNER, 1)


def test_log_without_a_script() -> None:
    assert extract_embedded(LOG_LINES) is None
    assert extract_embedded("") is None
    assert extract_embedded("import numpy failed\n" + LOG_LINES) is None


@pytest.mark.parametrize(
    "joined",
    [
        "''.join({first!r} + {second!r})",
        "''.join(PARTS)",
        "''.join(AGAIN)",
        "''.join(WHOLE)",
        "b''.join(BYTES).decode()",
        "str.join('', PARTS)",
    ],
)
def test_a_payload_that_is_joined(joined: str) -> None:
    payload = base64.b85encode(lzma.compress(INNER.encode())).decode()
    first, second = payload[:50], payload[50:]
    script = (
        "import lzma, base64\n"
        f"PARTS = ({first!r}, {second!r})\nAGAIN = PARTS\nWHOLE = ({first!r}\n    {second!r})\n"
        f"BYTES = [{first.encode()!r}, {second.encode()!r}]\n"
        f"exec(lzma.decompress(base64.b85decode({joined.format(first=first, second=second)})))"
    )
    source = decode_text(script)
    if joined.startswith("str.join"):
        assert source.layers == 0
        assert source.problems
    else:
        assert (source.text, source.layers) == (INNER, 1)


@pytest.mark.parametrize(
    "payload",
    [
        "''.join('ab', 'cd')",
        "''.join()",
        "'x'.replace('y')",
        "'x'.replace()",
        "b''.join(('a', 'b'))",
        "''.join(b'ab')",
        "','.join(7)",
        "'ab'.strip('a', 'b')",
        "zlib.decompress('x', wbits=10**30)",
        "bytes.fromhex(b'zz')",
        "codecs.decode('zz', 'hex')",
        "lzma.decompress(b'x', format=lzma.FORMAT_RAW, filters=[{'id': 'x', 'dict_size': 'y'}])",
        "f'{x}'.decode()",
    ],
)
def test_no_payload_trips_the_reader(payload: str) -> None:
    script = f"import zlib, lzma, codecs\nexec({payload})"
    source = decode_text(script)
    assert source.text
    assert source.layers or source.problems


@pytest.mark.parametrize(
    "call",
    ["exec({})", "exec ({})", "exec\\\n({})", "(exec)({})", "x = (exec # why\n({}))", "\uff45xec({})", "eval({})"],
)
def test_a_payload_is_unfolded_however_it_is_called(call: str) -> None:
    inner = "print('inside')\n"
    payload = f"__import__('base64').b64decode({base64.b64encode(inner.encode())!r})"
    found = decode_text(f"# of a model that evaluates\n{call.format(payload)}\n")
    assert (found.text, found.layers) == (inner, 1)


@pytest.mark.parametrize(
    "script",
    [
        "# eval (once)\nimport zlib\nx = 1; {call}\n",
        "import zlib\n@{call}\ndef f():\n    pass\n",
        "import zlib\nif True:\n    '''exec (of nothing)'''\n    {call}\n",
        "import zlib\nname = '\u00e9'\n\uff45xec(zlib.decompress({payload!r}))\n",
    ],
)
def test_a_payload_is_found_wherever_its_call_stands(script: str) -> None:
    payload = zlib.compress(b"print(1)")
    source = decode_text(script.format(call=f"exec(zlib.decompress({payload!r}))", payload=payload))
    assert (source.text, source.layers) == ("print(1)", 1)


def test_a_packed_script_of_a_newer_python_is_parsed() -> None:
    """What a minifier writes under Python 3.12 is read by every Python that the harness runs on."""
    tree = parse('import os\n\ndef f(d):\n    print(f"{d["a"]}, {", ".join(d)}")\n')
    assert tree is not None
    assert len(tree.body) == 2
