"""The text of a submission's script, whatever it was wrapped in: read as data, never executed.

Public scripts often arrive as ``exec(lzma.decompress(base64.b85decode(b"...")))``, and logs often begin
with the script that wrote them. Layers are undone by reading the literal and applying the named codecs here,
under a bound on the number of layers and on the bytes that they may unfold to.
"""

from __future__ import annotations

import ast
import base64
import binascii
import bz2
import codecs
import lzma
import re
import unicodedata
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Protocol, TypeVar

from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.trees import MAX_PARSED, Lease, parse, tree_for
from bpb_harness.claim.packed_file import is_packed, unpack
from bpb_harness.claim.untrusted_file import open_regular
from bpb_harness.errors import ClaimError

MAX_LAYERS = 8
MAX_BYTES = 32 * 2**20
_KEPT = 4  # texts: a submission's scripts are asked for their tokenizer, unwrapped and analysed
_MAX_MEMORY = 128 * 2**20  # of the lzma decoder: a dictionary size is a number in a hostile header
_MAX_TRIES = 40
_MAX_NAMES = 20  # that a payload goes by, one after another


@dataclass(frozen=True)
class SourceText:
    """A script as text.

    Attributes:
        text: the innermost source that could be reached.
        layers: how many self-extracting layers were undone.
        problems: what was odd on the way, one line each; the text is usable all the same.
    """

    text: str
    layers: int = 0
    problems: tuple[str, ...] = ()


class _UnreadableError(Exception):
    """A wrapped literal that this module cannot unfold; the message says why."""


def decode_source(path: Path) -> SourceText:
    """Read a script and undo its self-extracting layers.

    Args:
        path: a Python file, no part of its path a link; a byte-order mark, CRLF line ends and bad UTF-8 are tolerated.

    Returns:
        The innermost source, with the number of layers undone.

    Raises:
        ClaimError: if the file cannot be read, is no regular file or is longer than 32 MiB.
    """
    try:
        with open_regular(path, f"script {path}") as stream:
            packed = is_packed(path.name)  # a log that holds a script
            raw = unpack(stream, path.name, MAX_BYTES).content if packed else stream.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise ClaimError(f"script {path}", seen=f"more than {MAX_BYTES:,} bytes", expected=f"at most {MAX_BYTES:,}")
    except OSError as error:
        raise ClaimError(f"script {path} cannot be read", seen=error.strerror or error) from error
    return decode_text(_text(raw))


@lru_cache(maxsize=_KEPT)
def decode_text(text: str) -> SourceText:
    """Undo the self-extracting layers of a script that is already text."""
    problems: list[str] = []
    layers = 0
    for _ in range(MAX_LAYERS):
        try:
            inner = _unwrap(text)
        except _UnreadableError as error:
            problems.append(str(error))
            break
        if inner is None:
            break
        text, layers = inner, layers + 1
    else:
        problems.append(f"more than {MAX_LAYERS} self-extracting layers; the rest was left alone")
    return SourceText(text, layers, tuple(problems))


def extract_embedded(log_text: str, before: int | None = None) -> SourceText | None:
    """Find the script that a log carries inside it, if it carries one.

    The longest run of lines that parses as a module with an import and a function (or as a
    self-extracting script) is taken, starting at a line that looks like the head of one.

    Args:
        log_text: the log.
        before: of several scripts, each of a run of its own, the last that begins before this line is taken; None: the
            first.

    Returns:
        The script with its layers undone, or None.
    """
    lines = _text(log_text.encode("utf-8", "surrogatepass")).split("\n")
    heads = [number for number, line in enumerate(lines) if _HEAD.match(line)]
    tried_to = -1
    tries = 0
    last: tuple[str, int] | None = None
    for head in heads:
        if head < tried_to or tries >= _MOST_SCRIPTS or (before is not None and head >= before):
            continue
        tries += 1
        found, tried_to = _longest_module(lines, head)
        if found is not None:
            last = found, head
            if before is None:
                break
    if last is None:
        return None
    source = decode_text(last[0])
    # Its lines keep the numbers that they have in the log.
    return source if source.layers else replace(source, text="\n" * last[1] + source.text)


_MOST_SCRIPTS = 8


_HEAD = re.compile(r"(from __future__ import |import [A-Za-z_]|from [A-Za-z_][\w.]* import |\"\"\"|'''|exec\(|#!)")


# A call of either, whatever may stand between a name and what it is called with. What stands before the name is
# looked at once it is met, which is far faster.
_EXECUTES = re.compile(r"(?:exec|eval)(?<![\w.]exec)(?<![\w.]eval)(?:[\s\\)]|#[^\n]*\n)*\(")


def _text(raw: bytes) -> str:
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if raw.startswith(mark):
            raw = raw[len(mark) :] if encoding == "utf-8" else raw
            return raw.decode(encoding, "replace").replace("\r\n", "\n").replace("\r", "\n")
    return raw.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")


def _longest_module(lines: list[str], head: int) -> tuple[str | None, int]:
    """The longest parsable module that starts at a line, and the line up to which one was sought."""
    end = len(lines)
    for number in range(head, end):
        if re.match(r"={20,}\s*$", lines[number]):
            end = number
            break
    bound = end
    for _ in range(_MAX_TRIES):
        text = "\n".join(lines[head:end])
        if len(text) > MAX_PARSED:
            return None, bound
        try:
            tree = tree_for(Lease(), text)  # mostly that of a script beside the log, whose pieces are parsed
        except SyntaxError as error:
            broken = head + max(0, (error.lineno or 1) - 1)
            end = min(broken, end - 1)
            # A statement that the log cut in two starts at the last unindented line before the error.
            while end > head and (not lines[end].strip() or lines[end][0] in " \t)]}"):
                end -= 1
            if end <= head:
                return None, head + 1
            continue
        except (ValueError, RecursionError, MemoryError):
            return None, bound
        return (text, bound) if _is_script(tree) else (None, max(end, head + 1))
    return None, bound


def _is_script(tree: ast.Module) -> bool:
    kinds = {type(statement) for statement in tree.body}
    if kinds & {ast.Import, ast.ImportFrom} and kinds & {ast.FunctionDef, ast.ClassDef}:
        return True
    return any(_executed(node) is not None for node in nodes_within(tree))


def _executed(node: ast.AST) -> ast.expr | None:
    """What a call of exec executes, where the node is one that unfolds a payload."""
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("exec", "eval")
        and node.args
    ):
        if any(isinstance(part, ast.Call) for part in ast.walk(node.args[0])):
            return node.args[0]
        if isinstance(node.args[0], ast.Name):
            return node.args[0]
    return None


def _executes(statement: ast.stmt) -> bool:
    return any(_executed(node) is not None for node in nodes_within(statement))


def _statements_at(tree: ast.Module, text: str, places: Sequence[int]) -> Iterator[ast.stmt]:
    """The top-level statements that may hold some places of a text, in order; every one if its lines are uncertain."""
    lines = [1 + breaks for breaks in accumulate(text.count("\n", *span) for span in pairwise([0, *places]))]
    begin = 1
    for statement in tree.body:
        end = statement.end_lineno or begin
        if "\r" in text or bisect_left(lines, begin) < bisect_right(lines, end):  # decorators stand before the line
            yield statement
        begin = end


def _unwrap(text: str) -> str | None:
    """One layer: the source inside the script's exec; None where it has none."""
    # An identifier is read in its compatibility form, so that a fullwidth exec is one.
    read = text if text.isascii() else unicodedata.normalize("NFKC", text)
    places = [found.start() for found in _EXECUTES.finditer(read)]
    lease = Lease()  # to the end of this
    tree = parse(text, lease) if places else None
    # Most such words stand in comments and texts.
    if tree is None or not any(map(_executes, _statements_at(tree, read, places))):
        return None
    names: dict[str, ast.expr] = {}
    modules: dict[str, str] = {}
    payload: ast.expr | None = None
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            names[node.targets[0].id] = node.value
        elif isinstance(node, ast.Import):
            modules.update({alias.asname or alias.name: alias.name for alias in node.names})
        elif isinstance(node, ast.ImportFrom):
            modules.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
        elif payload is None:
            payload = _executed(node)
    if payload is None:
        return None
    try:
        value = _Unfolder(names, modules).value(payload, 0)
    except RecursionError:
        raise _UnreadableError("the argument of exec is nested too deeply to be read as data") from None
    except _UnreadableError:
        raise
    except Exception as error:  # a script is hostile input: what this reader cannot digest, it has not understood
        kind = type(error).__name__
        raise _UnreadableError(f"the argument of exec is not understood as data ({kind})") from None
    if isinstance(value, str):
        return value if value != text else None
    return _text(value) if isinstance(value, bytes) else None


class _Unfolder:
    """Evaluates literals and the named codecs of the standard library; nothing else."""

    def __init__(self, names: Mapping[str, ast.expr], modules: Mapping[str, str]) -> None:
        self._names, self._modules = names, modules
        self._known: dict[ast.expr, bytes | str] = {}  # of parts that stand in very many places, once

    def value(self, node: ast.expr, depth: int) -> bytes | str:
        if depth > 60:
            raise _UnreadableError("the argument of exec is nested too deeply to be read as data")
        if node not in self._known:
            self._known[node] = _bounded(self._value(node, depth))
        return self._known[node]

    def _value(self, node: ast.expr, depth: int) -> bytes | str:
        if isinstance(node, ast.Constant) and isinstance(node.value, bytes | str):
            return node.value
        if isinstance(node, ast.Name) and node.id in self._names:
            return self.value(self._names[node.id], depth + 1)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = self.value(node.left, depth + 1), self.value(node.right, depth + 1)
            if isinstance(left, bytes) and isinstance(right, bytes):
                return left + right
            if isinstance(left, str) and isinstance(right, str):
                return left + right
        if isinstance(node, ast.Call):
            return self._call(node, depth)
        raise _UnreadableError(
            f"exec of {type(node).__name__} in line {getattr(node, 'lineno', '?')} is no literal payload"
        )

    def _call(self, node: ast.Call, depth: int) -> bytes | str:
        name = self._name(node.func)
        last = name.rpartition(".")[2]
        if isinstance(node.func, ast.Attribute) and last in ("decode", "encode", "strip", "replace", "join"):
            return self._method(node, node.func, last, depth)
        if not node.args:
            raise _UnreadableError(f"exec of {name}() is no literal payload")
        if last == "compile":
            return self.value(node.args[0], depth + 1)
        data = self.value(node.args[0], depth + 1)
        raw = data.encode("utf-8", "replace") if isinstance(data, str) else data
        if last == "decompress":
            return _decompressed(raw, name, node)
        if last in ("str", "bytes"):
            return data
        decoder = _DECODERS.get(last)
        if decoder is None:
            raise _UnreadableError(f"exec through {name or 'an unnamed function'} cannot be read as data")
        return _decoded(decoder, raw, name)

    def _method(self, node: ast.Call, func: ast.Attribute, last: str, depth: int) -> bytes | str:
        if last == "join":
            return self._joined(node, func, depth)
        base = self._name(func.value)
        if last == "decode" and base.split(".")[0] == "codecs" and len(node.args) == 2:
            coded = self.value(node.args[0], depth + 1)
            kind = self.value(node.args[1], depth + 1)
            decoder = _TEXT_DECODERS.get(str(kind).removesuffix("_codec"))
            if decoder is None:
                raise _UnreadableError(f"codecs.decode of kind {kind!r} cannot be read as data")
            text = coded if isinstance(coded, str) else coded.decode("ascii", "replace")
            return _decoded(decoder, text, "codecs.decode")
        value = self.value(func.value, depth + 1)
        if last == "decode":
            return value if isinstance(value, str) else value.decode("utf-8", "replace")
        if last == "encode":
            return value if isinstance(value, bytes) else value.encode("utf-8", "replace")
        if last == "strip":
            return value.strip()
        if len(node.args) < 2:
            raise _UnreadableError(f"{last} in the payload of exec cannot be read as data")
        old, new = (self.value(argument, depth + 1) for argument in node.args[:2])
        if type(value) is type(old) is type(new) and len(new) <= max(1, len(old)):
            return value.replace(old, new)  # type: ignore[arg-type]
        raise _UnreadableError("replace in the payload of exec cannot be read as data")

    def _joined(self, node: ast.Call, func: ast.Attribute, depth: int) -> bytes | str:
        """glue.join(parts): of a list of literals, under whatever name, or of the characters of one string."""
        if len(node.args) != 1:
            raise _UnreadableError("join in the payload of exec cannot be read as data")
        listed: ast.expr = node.args[0]
        for _ in range(_MAX_NAMES):
            if not isinstance(listed, ast.Name) or listed.id not in self._names:
                break
            listed = self._names[listed.id]
        glue = self.value(func.value, depth + 1)
        if isinstance(listed, ast.List | ast.Tuple):
            parts = [self.value(part, depth + 1) for part in listed.elts]
        else:
            whole = self.value(listed, depth + 1)
            if isinstance(whole, bytes):
                raise _UnreadableError("join of bytes in the payload of exec cannot be read as data")
            parts = [*whole] if glue else [whole]
        size = sum(len(part) for part in parts) + len(glue) * len(parts)
        if size > MAX_BYTES:
            raise _UnreadableError(f"the payload unfolds to more than {MAX_BYTES:,} bytes")
        if {type(glue)} >= {type(part) for part in parts}:
            return glue.join(parts)  # type: ignore[arg-type]
        raise _UnreadableError("join of text and bytes in the payload of exec cannot be read as data")

    def _name(self, node: ast.expr) -> str:
        """A dotted name with the import aliases resolved; __import__("x") is x."""
        if isinstance(node, ast.Name):
            return self._modules.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            return f"{self._name(node.value)}.{node.attr}"
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "__import__"
            and node.args
        ):
            first = node.args[0]
            return str(first.value) if isinstance(first, ast.Constant) else ""
        return ""


_Encoded = TypeVar("_Encoded", str, bytes)
_Bounded = TypeVar("_Bounded", bound=bytes | str)


def _bounded(raw: _Bounded) -> _Bounded:
    if len(raw) > MAX_BYTES:
        raise _UnreadableError(f"the payload unfolds to more than {MAX_BYTES:,} bytes")
    return raw


def _decoded(decoder: Callable[[_Encoded], bytes], coded: _Encoded, name: str) -> bytes:
    try:
        return _bounded(decoder(coded))
    except (ValueError, binascii.Error) as error:
        raise _UnreadableError(f"the payload of {name} is damaged: {error}") from None


_DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "b64decode": base64.b64decode,
    "standard_b64decode": base64.standard_b64decode,
    "urlsafe_b64decode": base64.urlsafe_b64decode,
    "decodebytes": base64.decodebytes,
    "b85decode": base64.b85decode,
    "a85decode": base64.a85decode,
    "b32decode": base64.b32decode,
    "b16decode": base64.b16decode,
    "unhexlify": binascii.unhexlify,
    "a2b_hex": binascii.unhexlify,
    "a2b_base64": binascii.a2b_base64,
    "fromhex": lambda raw: bytes.fromhex(raw.decode("ascii", "replace")),
}

_TEXT_DECODERS: dict[str, Callable[[str], bytes]] = {"base64": base64.b64decode, "hex": bytes.fromhex}


def _decompressed(raw: bytes, name: str, node: ast.Call) -> bytes:
    """Decompress under a bound: by the named module, or by the magic number where none is named."""
    module = name.split(".", maxsplit=1)[0]
    if module in _NOT_UNPACKED:
        raise _UnreadableError(f"the payload of {name} was left alone: {module} is not unpacked here")
    if module not in ("zlib", "gzip", "bz2", "lzma"):
        module = _sniffed(raw)
    try:
        if module == "zlib":
            return _drained(zlib.decompressobj(_integer(node, "wbits", 1, zlib.MAX_WBITS)), raw)
        if module == "gzip":
            return _drained(zlib.decompressobj(31), raw)
        return _drained(bz2.BZ2Decompressor() if module == "bz2" else _lzma(node), raw)
    except TypeError:
        why = "its options are not understood"
        raise _UnreadableError(f"the payload of {name or module} was left alone: {why}") from None
    except (zlib.error, OSError, EOFError, ValueError, lzma.LZMAError, MemoryError) as error:
        raise _UnreadableError(f"the payload of {name or module} is damaged: {error}") from None


_NOT_UNPACKED = frozenset({"brotli", "brotlicffi", "lz4", "pyzstd", "snappy", "zstandard", "zstd"})


class _Decompressor(Protocol):
    """Of zlib, bz2 and lzma."""

    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def _drained(decompressor: _Decompressor, raw: bytes) -> bytes:
    whole = decompressor.decompress(raw, MAX_BYTES + 1)
    if len(whole) > MAX_BYTES:
        raise _UnreadableError(f"the payload unfolds to more than {MAX_BYTES:,} bytes: a decompression bomb")
    if not decompressor.eof:
        raise ValueError("it ends before its end")
    return whole


def _sniffed(raw: bytes) -> str:
    for magic, module in ((b"\x1f\x8b", "gzip"), (b"BZh", "bz2"), (b"\xfd7zXZ\x00", "lzma"), (b"\x5d\x00\x00", "lzma")):
        if raw.startswith(magic):
            return module
    return "zlib"


def _integer(node: ast.Call, keyword: str, position: int, default: int) -> int:
    for found in node.keywords:
        if found.arg == keyword:
            value = _literal(found.value)
            return value if isinstance(value, int) else default
    value = _literal(node.args[position]) if len(node.args) > position else default
    return value if isinstance(value, int) else default


def _lzma(node: ast.Call) -> lzma.LZMADecompressor:
    options = {keyword.arg: _literal(keyword.value) for keyword in node.keywords if keyword.arg}
    form = options.get("format", lzma.FORMAT_AUTO)
    filters = options.get("filters")
    if form == lzma.FORMAT_RAW and isinstance(filters, list):
        if any(isinstance(one, dict) and int(one.get("dict_size", 0)) > _MAX_MEMORY for one in filters):
            why = "its dictionary is larger than this reader allows"
            raise _UnreadableError(f"the payload of lzma.decompress was left alone: {why}")
        return lzma.LZMADecompressor(format=lzma.FORMAT_RAW, filters=filters)
    return lzma.LZMADecompressor(memlimit=_MAX_MEMORY)


def _literal(node: ast.expr) -> object:
    """A literal in which names of lzma's constants, such as lzma.FORMAT_RAW, stand for their values."""
    if isinstance(node, ast.Attribute | ast.Name):
        name = node.attr if isinstance(node, ast.Attribute) else node.id
        return getattr(lzma, name, None) if re.fullmatch(r"(FORMAT|FILTER|CHECK|MF|MODE|PRESET)_\w+", name) else None
    if isinstance(node, ast.List | ast.Tuple):
        return [_literal(part) for part in node.elts]
    if isinstance(node, ast.Dict):
        return {_literal(key): _literal(value) for key, value in zip(node.keys, node.values, strict=True) if key}
    if isinstance(node, ast.BinOp):
        left, right = _literal(node.left), _literal(node.right)
        return _combined(node.op, left, right) if isinstance(left, int) and isinstance(right, int) else None
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _literal(node.operand)
        return -value if isinstance(value, int) else None
    return node.value if isinstance(node, ast.Constant) else None


def _combined(operator: ast.operator, left: int, right: int) -> int | None:
    """9 | lzma.PRESET_EXTREME, 1 << 23."""
    if isinstance(operator, ast.BitOr):
        return left | right
    if isinstance(operator, ast.LShift) and 0 <= right < _MOST_SHIFTED:
        return left << right
    return left * right if isinstance(operator, ast.Mult) and max(abs(left), abs(right)) < 1 << _MOST_SHIFTED else None


_MOST_SHIFTED = 32
