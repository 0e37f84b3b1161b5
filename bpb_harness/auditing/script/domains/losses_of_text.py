"""Changes of a text that cannot be undone: letters folded, characters dropped, several of them made one.

What a SentencePiece model does by itself to every text (NFKC, blanks made one) is lost by all who use it, so that it is
part of the text that they score. So is what a known text has lost by its definition, such as text8.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from bpb_harness.auditing.script.domains.handed_on import ENCODERS, Form
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.nodes import is_none
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name


class Loss(NamedTuple):
    """A place that gives a text, or a token, of which the text that it was given cannot be told.

    Attributes:
        node: the expression that gives it.
        text: what it is given.
        what: what is done, as the beginning of a sentence.
        form: what it gives.
    """

    node: ast.expr
    text: ast.expr
    what: str
    form: Form = Form.TEXT


_CASE = ("lower", "casefold", "upper")
_BLANKS = re.compile(r"(?:\\s|\\n|\\t|\\r| |\[|\]|\+|\*|\{2,\})+")
_SENTENCEPIECE = re.compile("sentencepiece", re.IGNORECASE)
_FOLDED_BY_DEFINITION = re.compile(r"text8|lm1b|one[-_ ]billion[-_ ]words?|\bptb\b|penn[-_ ]?treebank", re.IGNORECASE)
_NORMALIZERS = {"Lowercase": "Letters are folded to one case", "StripAccents": "Accents are dropped"}
_FEWEST_LETTERS = 10  # of an alphabet that is written out
_OPEN_TABLE = frozenset(["set", "range", "load", "loads", "open", "read", "Counter", "read_text", "chr", "bytes"])


def losses_of_text(program: Program) -> Iterator[Loss]:
    """Where a text may lose something on its way to tokens; nothing in a program that makes none of a text."""
    folding = [*_folding(program)]
    calls = (call for name in ENCODERS for call in program.calls.get(name, ()))
    encodes = any(map(_is_of_text, calls)) or "frombuffer" in program.calls or (bool(folding) and _looks_up(program))
    for call, text in folding:
        is_part = _of_loop(program, text)
        if is_part or encodes:
            yield Loss(call, text, "Letters are folded to one case", Form.PART if is_part else Form.TEXT)
    yield from _replaced(program) if encodes else ()
    yield from _not_ascii(program)
    yield from _unknown(program)
    yield from _normalized(program)


def _folding(program: Program) -> Iterator[tuple[ast.Call, ast.expr]]:
    """text.lower(), str.lower(text) and map(str.lower, texts), each with the text."""
    for call in (call for name in _CASE for call in program.calls.get(name, ())):
        if isinstance(call.func, ast.Attribute) and not call.args:
            yield call, call.func.value
        elif len(call.args) == 1 and _is_of_str(call.func):
            yield call, call.args[0]
    for call in program.calls.get("map", ()):
        if len(call.args) == 2 and _is_of_str(call.args[0]):
            yield call, call.args[1]


def _is_of_str(func: ast.expr) -> bool:
    is_method = isinstance(func, ast.Attribute) and func.attr in _CASE
    return is_method and last_name(func.value) == "str"  # type: ignore[attr-defined]


def is_so_by_definition(program: Program) -> bool:
    """Whether the scripts name a text that is known, and has lost what it has lost before anybody scores it."""
    return any(_FOLDED_BY_DEFINITION.search(script.text) for script in program.scripts)


def _normalized(program: Program) -> Iterator[Loss]:
    """tokenizer.normalizer = Sequence([NFD(), Lowercase()]), and tokenizer.encode(text) behind it."""
    for name, what in _NORMALIZERS.items():
        for made in program.calls.get(name, ()):
            statement = next((up for up in program.ancestors(made) if isinstance(up, ast.stmt)), None)
            target = statement.targets[0] if isinstance(statement, ast.Assign) else None
            if not isinstance(target, ast.Attribute) or target.attr != "normalizer":
                continue
            for call in (call for each in ENCODERS for call in program.calls.get(each, ()) if call.args):
                if isinstance(call.func, ast.Attribute) and ast.dump(call.func.value) == ast.dump(_read(target.value)):
                    yield Loss(call, call.args[0], what, Form.TOKENS)


def _read(node: ast.expr) -> ast.expr:
    return ast.Name(node.id, ast.Load()) if isinstance(node, ast.Name) else node


def _looks_up(program: Program) -> bool:
    """Whether anything is looked up for what a loop goes over, other than for numbers: table[c], table[c.lower()]."""
    for node in program.nodes.get(ast.Subscript, ()):
        key = node.slice if isinstance(node, ast.Subscript) else None
        if isinstance(key, ast.Call) and isinstance(key.func, ast.Attribute):
            key = key.func.value
        for each in program.reaching(key) if isinstance(key, ast.Name) else ():
            is_number = isinstance(each.value, ast.Call) and last_name(each.value.func) in _NUMBERS
            if each.kind == "loop" and not is_number:
                return True
    return False


_NUMBERS = frozenset(["range", "arange", "enumerate", "zip"])


def _is_of_text(call: ast.Call) -> bool:
    """Whether a call of an encoder's name may be one: not code.encode("utf-8")."""
    return bool(call.args or call.keywords) and not (call.args and isinstance(call.args[0], ast.Constant))


def _of_loop(program: Program, node: ast.expr) -> bool:
    """Whether something is what a loop goes over: a character of a text, or a word."""
    return isinstance(node, ast.Name) and any(each.kind == "loop" for each in program.reaching(node))


def _replaced(program: Program) -> Iterator[Loss]:
    """unicodedata.normalize("NFKC", text), re.sub(r"[^a-z ]", "", text)."""
    for call in program.calls.get("normalize", ()):
        form = call.args[0] if len(call.args) == 2 else None
        if isinstance(form, ast.Constant) and form.value in ("NFKC", "NFKD") and _is_its_own(program):
            yield Loss(call, call.args[1], f"Characters are made one by {form.value}")
    for call in program.calls.get("sub", ()):
        pattern = _pattern_of(program, call)
        if pattern is None or "\\" in str(_constant(call.args[-2])) or _constant(call.args[-2]) is None:
            continue
        if _BLANKS.fullmatch(pattern) is None or _is_its_own(program):
            what = f"What matches {pattern[:60]!r} is replaced by {str(_constant(call.args[-2]))[:20]!r}"
            yield Loss(call, call.args[-1], what)


def _is_its_own(program: Program) -> bool:
    """Whether a program's tokens are none of SentencePiece's."""
    return not any(_SENTENCEPIECE.search(script.text) for script in program.scripts)


def _pattern_of(program: Program, call: ast.Call) -> str | None:
    """The pattern of re.sub(pattern, new, text), or of compiled.sub(new, text); None where it is not written out."""
    if not isinstance(call.func, ast.Attribute) or len(call.args) not in (2, 3):
        return None
    if len(call.args) == 3:
        return _constant(call.args[0])
    compiled = call.func.value
    values = [each.value for each in program.reaching(compiled)] if isinstance(compiled, ast.Name) else [compiled]
    for value in values:
        if isinstance(value, ast.Call) and last_name(value.func) == "compile" and value.args:
            return _constant(value.args[0])
    return None


def _constant(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _not_ascii(program: Program) -> Iterator[Loss]:
    """text.encode("ascii", "ignore").decode()."""
    for call in program.calls.get("encode", ()):
        words = [_constant(each) for each in (*call.args, *(each.value for each in call.keywords))]
        if (
            isinstance(call.func, ast.Attribute)
            and {"ascii", "us-ascii"} & {*words}
            and {"ignore", "replace"} & {*words}
        ):
            how = "dropped" if "ignore" in words else "made one"
            decoded = program.parent(above) if isinstance(above := program.parent(call), ast.Attribute) else None
            is_text = isinstance(decoded, ast.Call) and last_name(decoded.func) == "decode"
            node = decoded if is_text and isinstance(decoded, ast.Call) else call
            yield Loss(
                node, call.func.value, f"Characters that ASCII lacks are {how}", Form.TEXT if is_text else Form.BYTES
            )


def _unknown(program: Program) -> Iterator[Loss]:
    """table.get(character, 0), [table[c] for c in text if c in table], where the table's alphabet is written out."""
    for call in program.calls.get("get", ()):
        if len(call.args) == 2 and isinstance(call.func, ast.Attribute) and _of_loop(program, call.args[0]):
            is_one = isinstance(call.args[1], ast.Name | ast.Attribute | ast.Constant) and not is_none(call.args[1])
            if is_one and _is_alphabet(program, call.func.value):
                what = f"All characters that {ast.unparse(call.func.value)} lacks are made one"
                yield Loss(call, call.args[0], what, Form.TOKENS)
    for node in program.nodes.get(ast.Compare, ()):
        is_membership = isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In)
        if is_membership and isinstance(node, ast.Compare) and _may_be_alphabet(node) and _of_loop(program, node.left):
            yield from _dropped(program, node)


def _may_be_alphabet(test: ast.Compare) -> bool:
    return isinstance(test.comparators[0], ast.Name | ast.Attribute)


def _dropped(program: Program, test: ast.Compare) -> Iterator[Loss]:
    """What is looked up for those characters alone that a table has."""
    table, above = test.comparators[0], program.parent(test)
    if not _is_alphabet(program, table):
        return
    what = f"Characters that {ast.unparse(table)} lacks are dropped"
    if isinstance(above, ast.comprehension) and isinstance(
        held := program.parent(above), ast.ListComp | ast.GeneratorExp
    ):
        if any(_is_entry(part, table, test.left) for part in nodes_within(held.elt)):
            yield Loss(held, test.left, what, Form.TOKENS)
    elif isinstance(above, ast.If) and not above.orelse:
        for part in (part for statement in above.body for part in nodes_within(statement)):
            if isinstance(part, ast.Subscript) and _is_entry(part, table, test.left):
                yield Loss(part, test.left, what, Form.TOKENS)


def _is_entry(node: ast.AST, table: ast.expr, key: ast.expr) -> bool:
    if not isinstance(node, ast.Subscript):
        return False
    return ast.dump(node.value) == ast.dump(table) and ast.dump(node.slice) == ast.dump(key)


def _is_alphabet(program: Program, table: ast.expr) -> bool:
    """Whether a table is one of characters that are written out, and of no others."""
    values = [each.value for each in program.reaching(table)] if isinstance(table, ast.Name) else []
    if isinstance(table, ast.Attribute):
        values = [*program.values_of(table)]
    found = [_letters(program, value) for value in values if value is not None]
    return bool(found) and None not in found and max(each or 0 for each in found) >= _FEWEST_LETTERS


def _letters(program: Program, value: ast.expr, depth: int = 0) -> int | None:
    """How many characters an expression writes out; None where it holds what is known only when it runs."""
    count = 0
    for part in nodes_within(value):
        if isinstance(part, ast.Call) and last_name(part.func) in _OPEN_TABLE:
            return None
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            count += len(part.value)
        elif isinstance(part, ast.Name) and depth < 2:
            for definition in program.reaching(part):
                if definition.kind == "parameter":
                    return None
                inner = _letters(program, definition.value, depth + 1) if definition.value is not None else 0
                if inner is None:
                    return None
                count += inner
    return count
