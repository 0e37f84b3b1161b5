"""What a script's byte-counting code makes of single tokens, by interpreting that code on specimens.

The loop that asks a tokenizer for pieces is walked through once for each specimen, by a small interpreter of
strings, comparisons and branches. The tokenizer's answers come from the specimen; nothing of the script runs.
"""

from __future__ import annotations

import ast
import contextlib
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from bpb_harness.auditing.script.domains.values import (
    COMPARISONS,
    IDENTITY,
    UNKNOWN_ERRORS,
    Evaluator,
    UnknownValueError,
    combined,
    real,
)
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.nodes import names_in
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Scope, last_name
from bpb_harness.auditing.script.frontend.walker import Frame, Path

PIECE_CALLS = frozenset(["id_to_piece", "IdToPiece", "convert_ids_to_tokens", "id_to_token", "IdsToPieces"])
DECODE_CALLS = frozenset(["decode", "Decode", "decode_ids", "DecodeIds", "DecodeIdsAsPieces"])
_LIBRARY_CALLS = frozenset(("convert_ids_to_tokens", "id_to_token"))  # of libraries that serve other markers too
_MARK = "\u2581"


@dataclass(frozen=True)
class Specimen:
    """A token as a SentencePiece model would describe it.

    Attributes:
        name: for messages.
        piece: its spelling.
        token_id: an id where public vocabularies have such a token.
        num_bytes: what it counts by the official rule after an ordinary token.
    """

    name: str
    piece: str
    token_id: int
    num_bytes: int

    @property
    def is_byte(self) -> bool:
        """Whether it is a byte piece."""
        return self.piece.startswith("<0x")

    @property
    def is_control(self) -> bool:
        """Whether it is a control token."""
        return self.piece == "<s>"


WORD = Specimen("a word with its space", _MARK + "the", 700, 4)
SUFFIX = Specimen("a word part", "ing", 701, 3)
BYTE = Specimen("a byte piece", "<0x41>", 68, 1)
CONTROL = Specimen("a control token", "<s>", 1, 0)
SPECIMENS = (WORD, SUFFIX, BYTE, CONTROL)
# Tells characters from bytes; walked through where the others are understood, and left out where it is not.
ACCENTED = Specimen("a word part beyond ASCII", "\u00e9t", 702, 3)
# The pieces that spell a space where the vocabulary has none for it; walked through likewise.
SPELT_SPACE = tuple(
    Specimen(f"the byte piece <0x{byte:02X}>", f"<0x{byte:02X}>", byte + 3, 1) for byte in _MARK.encode()
)


class _SkipError(Exception):
    """continue, break or return."""


@dataclass
class Outcome:
    """What one walk through the loop wrote.

    Attributes:
        writes: value by the name of the array, list or dictionary that an entry was stored in.
        added: what was added to a running count, by its name.
        extended: how many bytes a string of bytes was made longer by, by its name.
        written_by: by the names of `writes` the statement that stored the value, or gave it to what was stored.
    """

    writes: dict[str, object] = field(default_factory=dict)
    added: dict[str, float] = field(default_factory=dict)
    extended: dict[str, float] = field(default_factory=dict)
    written_by: dict[str, ast.Assign] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ByteLoop:
    """A loop or comprehension that asks a tokenizer for pieces, its outcome for each specimen, and what it fills."""

    scope: Scope
    node: ast.AST
    outcomes: dict[str, Outcome]
    decodes_singly: ast.Call | None
    written: frozenset[str]


def find_byte_loops(program: Program) -> list[ByteLoop]:
    """Every loop of the program that looks at pieces and can be interpreted, and loops over functions that do."""
    if find_byte_loops not in program.memo:
        program.memo[find_byte_loops] = [*_byte_loops(program)]
    found: list[ByteLoop] = program.memo[find_byte_loops]
    return found


def _byte_loops(program: Program) -> list[ByteLoop]:
    loops: list[ByteLoop] = []
    seen: set[int] = set()
    waiting = list(_asking(program))
    while waiting:
        call = waiting.pop()
        node = _loop_of(program, call)
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        outcomes: dict[str, Outcome] = {}
        try:
            for specimen in SPECIMENS:
                outcomes[specimen.name] = PieceInterpreter(program, specimen).walk(node)
        except (*UNKNOWN_ERRORS, LookupError):
            continue
        # Of a library whose pieces stand for bytes, one character each, an accent is spelt otherwise.
        if last_name(call.func) not in _LIBRARY_CALLS:
            with contextlib.suppress(*UNKNOWN_ERRORS, LookupError):
                outcomes[ACCENTED.name] = PieceInterpreter(program, ACCENTED).walk(node)
        with contextlib.suppress(*UNKNOWN_ERRORS, LookupError):
            for specimen in SPELT_SPACE:
                outcomes[specimen.name] = PieceInterpreter(program, specimen).walk(node)
        singly = call if last_name(call.func) in DECODE_CALLS else None
        written = stored_names(node).union(*(outcome.writes for outcome in outcomes.values()))
        loops.append(ByteLoop(program.scope(node), node, outcomes, singly, frozenset(written)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and len(seen) < 64:
            waiting.extend(program.calls.get(node.name, []))
    return loops


def _asking(program: Program) -> Iterator[ast.Call]:
    """Calls that ask a SentencePiece model for one token: other tokenizers mark spaces otherwise."""
    if not any(name in program.calls for name in (*PIECE_CALLS, *DECODE_CALLS)):
        return
    text = "\n".join(script.text for script in program.scripts)
    sentencepiece = "spm" in text or "sentencepiece" in text.lower()
    marked = _MARK in text or "\\u2581" in text
    others = "tiktoken" in text or "transformers" in text
    for name in (*PIECE_CALLS, *DECODE_CALLS):
        for call in program.calls.get(name, []):
            if name in _LIBRARY_CALLS and not marked:
                continue
            if name in DECODE_CALLS and (others or not sentencepiece or not _decodes_one(call)):
                continue
            yield call


def _calls(node: ast.AST, names: frozenset[str]) -> list[ast.Call]:
    """The calls of functions of some name inside a node."""
    return [part for part in nodes_within(node) if isinstance(part, ast.Call) and last_name(part.func) in names]


def stored_names(node: ast.AST) -> set[str]:
    """The arrays, lists, dictionaries and sets that a loop stores into."""
    parts = nodes_within(node)
    entries = (part for part in parts if isinstance(part, ast.Subscript) and isinstance(part.ctx, ast.Store))
    methods = (part.func for part in parts if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute))
    stored: list[ast.Subscript | ast.Attribute] = [*entries, *(each for each in methods if each.attr in _ADDING)]
    return {last_name(each.value) for each in stored}


_ADDING = ("append", "add")


def initial_entry(program: Program, scope: Scope, name: str) -> float:
    """What an entry holds that the loop never wrote: np.zeros, np.ones, [0] * n."""
    for definition in scope.definitions.get(name, []):
        value = definition.part
        if definition.kind != "assign" or value is None:
            continue
        if isinstance(value, ast.BinOp) and isinstance(value.left, ast.List) and value.left.elts:
            value = value.left.elts[0]
        number = Evaluator(program).number(value, Frame(scope))
        return number if number is not None else 0.0
    return 0.0


def _decodes_one(call: ast.Call) -> bool:
    """decode([i]) or decode(i), not decode(ids); never bytes.decode("utf-8")."""
    if not call.args:
        return False
    first = call.args[0]
    return isinstance(first, ast.List) and len(first.elts) == 1


def _loop_of(program: Program, call: ast.Call) -> ast.AST | None:
    """The loop around a call; for a helper such as token_bytes(sp, i), the function itself."""
    for above in program.ancestors(call):
        if isinstance(above, ast.For | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            inside = above.iter if isinstance(above, ast.For) else above.generators[0].iter
            if not any(part is call for part in ast.walk(inside)):
                return above
            if isinstance(above, ast.For):
                return above
        if isinstance(above, ast.FunctionDef | ast.AsyncFunctionDef):
            return above
    return None


class PieceInterpreter(Evaluator):
    """Walks through statements with a specimen in the place of the token.

    Args:
        program: where constants and functions are looked up.
        specimen: the token.
    """

    most_steps: ClassVar[int] = 4_000
    comparisons: ClassVar[Mapping[type, Callable[[object, object], bool]]] = COMPARISONS | {
        ast.Is: operator.eq,  # one character is one object
        ast.IsNot: operator.ne,
        ast.In: lambda left, right: left in right,
        ast.NotIn: lambda left, right: left not in right,
    }
    max_comparisons: ClassVar[int] = 10
    remembers: ClassVar[bool] = False  # what a name holds changes from statement to statement

    def __init__(self, program: Program, specimen: Specimen) -> None:
        super().__init__(program)
        self.specimen = specimen
        self.outcome = Outcome()
        self._locals: dict[str, object] = {}
        self._named_by: dict[str, ast.Assign] = {}  # where these were given their values
        self._node: ast.AST | None = None
        self._filled: set[str] = set()  # the tables that it stores into

    def walk(self, node: ast.AST) -> Outcome:
        """Go through a loop's body, a comprehension's element or a function once."""
        if isinstance(node, ast.For):
            self._node, self._filled = node, stored_names(node)
            self._walk_loop(node)
        elif isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
            self._comprehension(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            self._node, self._filled = node, stored_names(node)
            for argument in node.args.args:
                self._locals[argument.arg] = self.specimen.token_id
            self._body(node.body)
        return self.outcome

    def _walk_loop(self, node: ast.For) -> None:
        """An ordinary token first, so that what the loop remembers of the token before is what it would be."""
        wanted, self.specimen = self.specimen, SUFFIX
        for specimen in (SUFFIX, wanted):
            self.specimen, self.outcome = specimen, Outcome()
            self._bind(node.target, node.iter, node)
            self._body(node.body)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        generator = node.generators[0]
        self._bind(generator.target, generator.iter)
        name = self._assigned_name(node)
        held = all(bool(self.value(test)) for test in generator.ifs)
        if isinstance(node, ast.SetComp):
            self.outcome.writes[name] = held  # whether the token is in the set
        elif held:
            value = self.value(node.value if isinstance(node, ast.DictComp) else node.elt)
            self.outcome.writes[name] = value

    def _assigned_name(self, node: ast.AST) -> str:
        for above in self.program.ancestors(node):
            if isinstance(above, ast.Assign | ast.AnnAssign):
                target = above.targets[0] if isinstance(above, ast.Assign) else above.target
                return last_name(target) or "<return>"
            if isinstance(above, ast.stmt):
                break
        return "<return>"

    def _bind(self, target: ast.expr, iterated: ast.expr, loop: ast.For | None = None) -> None:
        """Give the loop's variables the specimen: its id from a range, its piece from a list of pieces."""
        if isinstance(iterated, ast.Call) and last_name(iterated.func) == "enumerate" and isinstance(target, ast.Tuple):
            self._assign_name(target.elts[0], self.specimen.token_id)
            self._bind(target.elts[1], iterated.args[0])
            return
        if isinstance(iterated, ast.Call) and last_name(iterated.func) == "zip" and isinstance(target, ast.Tuple):
            # Previous and current tokens: the current one is that whose piece is asked for.
            calls = _calls(loop, PIECE_CALLS | DECODE_CALLS) if loop is not None else []
            asked = names_in(*calls)
            for element in target.elts:
                current = isinstance(element, ast.Name) and element.id in asked
                self._assign_name(element, self.specimen.token_id if current else SUFFIX.token_id)
            return
        sources = [iterated]
        if isinstance(iterated, ast.Name):
            sources += [d.value for d in self.program.reaching(iterated) if d.value is not None]
        pieces = any(_calls(source, PIECE_CALLS) for source in sources)
        self._assign_name(target, self.specimen.piece if pieces else self.specimen.token_id)

    def _assign_name(self, target: ast.expr, value: object) -> None:
        if not isinstance(target, ast.Name):
            raise UnknownValueError
        self._locals[target.id] = value

    # -- statements -------------------------------------------------------------------------------

    def _body(self, body: list[ast.stmt]) -> None:
        try:
            self._statements(body)
        except _SkipError:
            return

    def _statements(self, body: list[ast.stmt]) -> None:
        for statement in body:
            self._statement(statement)

    def _statement(self, node: ast.stmt) -> None:
        self.steps += 1
        if self.steps > self.most_steps:
            raise UnknownValueError
        if isinstance(node, ast.Continue | ast.Break):
            raise _SkipError
        if isinstance(node, ast.Return):
            if node.value is not None:
                try:
                    self.outcome.writes["<return>"] = self.value(node.value)
                except UnknownValueError:
                    if isinstance(node.value, ast.Constant):
                        raise
            raise _SkipError
        if isinstance(node, ast.If):
            self._statements(node.body if bool(self.value(node.test)) else node.orelse)
        elif isinstance(node, ast.Assign):
            value = self._try(node.value)
            for target in node.targets:
                self._store(target, value)
                self._note_place(target, node)
        elif isinstance(node, ast.AugAssign):
            self._augment(node)
        elif isinstance(node, ast.Expr):
            self._expression(node.value)
        elif isinstance(node, ast.Try):
            self._statements(node.body)
        elif isinstance(node, ast.Pass | ast.Import | ast.ImportFrom | ast.Assert | ast.Global):
            return
        else:
            raise UnknownValueError

    def _try(self, node: ast.expr) -> object:
        """A value, or a mark that it is not known; only its use is an error."""
        try:
            return self.value(node)
        except (TypeError, ValueError, LookupError, ArithmeticError):
            return _UNKNOWN

    def _store(self, target: ast.expr, value: object) -> None:
        if isinstance(target, ast.Name):
            self._locals[target.id] = value
        elif isinstance(target, ast.Subscript):
            if value is _UNKNOWN:
                raise UnknownValueError
            self.outcome.writes[last_name(target.value)] = value
        elif isinstance(target, ast.Tuple):
            parts = value if isinstance(value, tuple) else (_UNKNOWN,) * len(target.elts)
            for element, part in zip(target.elts, parts, strict=False):
                self._store(element, part)

    def _note_place(self, target: ast.expr, statement: ast.Assign) -> None:
        """Note which statement gave a value: of table[i] = n the one that gave n its number."""
        value = statement.value
        if isinstance(target, ast.Name):
            self._named_by[target.id] = statement
        elif isinstance(target, ast.Subscript):
            named = self._named_by.get(value.id) if isinstance(value, ast.Name) else None
            self.outcome.written_by[last_name(target.value)] = named or statement

    def _augment(self, node: ast.AugAssign) -> None:
        value = self._try(node.value)
        if value is _UNKNOWN:
            raise UnknownValueError
        name = last_name(node.target)
        if isinstance(node.target, ast.Name) and name in self._locals and self._locals[name] is not _UNKNOWN:
            self._locals[name] = combined(type(node.op), self._locals[name], value)
            return
        if not name or not isinstance(node.op, ast.Add) or not isinstance(value, bool | int | float):
            raise UnknownValueError
        self.outcome.added[name] = self.outcome.added.get(name, 0.0) + float(value)

    def _expression(self, node: ast.expr) -> None:
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
            return
        if node.func.attr == "add":  # to a set of ids
            self.outcome.writes[last_name(node.func.value)] = True
        elif node.func.attr == "append":
            value = self._try(node.args[0])
            if value is _UNKNOWN:
                raise UnknownValueError
            self.outcome.writes[last_name(node.func.value)] = value
        elif node.func.attr == "extend" and isinstance(value := self._try(node.args[0]), bytes):
            name = last_name(node.func.value)
            self.outcome.extended[name] = self.outcome.extended.get(name, 0.0) + len(value)

    # -- expressions ------------------------------------------------------------------------------

    def value(self, node: ast.expr) -> object:
        """An expression's value for this specimen.

        Raises:
            UnknownValueError: where it holds anything that is not known here.
        """
        return self.visit(node, Frame.at(self.program, node))

    def _list(self, node: ast.List | ast.Set, frame: Frame, _path: Path) -> object:
        return tuple(self.visit(part, frame) for part in node.elts)

    _set = _list

    def _listcomp(self, node: ast.ListComp | ast.GeneratorExp, frame: Frame, _path: Path) -> object:
        return self.unknown(node, frame)  # of a piece's characters

    _generatorexp = _listcomp

    def _ifexp(self, node: ast.IfExp, frame: Frame, _path: Path) -> object:
        return self.visit(node.body if bool(self.visit(node.test, frame)) else node.orelse, frame)

    def _attribute(self, node: ast.Attribute, frame: Frame, _path: Path) -> object:
        return Evaluator(self.program).visit(node, frame)

    def _name(self, node: ast.Name, frame: Frame, _path: Path) -> object:
        if node.id in self._locals:
            value = self._locals[node.id]
            if value is _UNKNOWN:
                raise UnknownValueError
            return value
        # What a loop remembers from round to round starts with what was assigned before it.
        before = [d for d in self.program.reaching(node) if not self._is_inside(d.statement)]
        if len(before) == 1 and isinstance(before[0].value, ast.Constant) and before[0].kind == "assign":
            return before[0].value.value
        return Evaluator(self.program).visit(node, frame)

    def _is_inside(self, node: ast.AST) -> bool:
        return self._node is not None and any(above is self._node for above in self.program.ancestors(node))

    def _subscript(self, node: ast.Subscript, frame: Frame, _path: Path) -> object:
        name = last_name(node.value)
        if self._node is not None and name not in self._locals and name in self._filled:
            # An entry of a table that this very loop fills: what it has just stored, or what was there before.
            stored = self.outcome.writes.get(name)
            return stored if stored is not None else initial_entry(self.program, self.program.scope(self._node), name)
        value = self.visit(node.value, frame)
        if not isinstance(value, str | bytes | tuple):
            raise UnknownValueError
        if isinstance(node.slice, ast.Slice):
            if node.slice.step is not None:
                raise UnknownValueError
            return value[self._bound(node.slice.lower, frame) : self._bound(node.slice.upper, frame)]
        index = self.visit(node.slice, frame)
        if not isinstance(index, int):
            raise UnknownValueError
        return value[index]

    def _bound(self, node: ast.expr | None, frame: Frame) -> int | None:
        value = None if node is None else self.visit(node, frame)
        if value is not None and not isinstance(value, int):
            raise UnknownValueError
        return value

    def _call(self, node: ast.Call, frame: Frame, _path: Path) -> object:
        name = last_name(node.func)
        answer = self._tokenizer(node, name)
        if answer is not None:
            return answer
        if isinstance(node.func, ast.Attribute):
            if name in _STRING_METHODS:
                return self._string_method(node, node.func, name)
            if name in IDENTITY and name not in ("tuple", "list"):
                on_object = not node.args or name in ("to", "astype", "type")
                return self.visit(node.func.value if on_object else node.args[0], frame)
        elif name in _BUILTINS and node.args:
            return _BUILTINS[name](*[self.visit(argument, frame) for argument in node.args])
        return self._own_function(node)

    def _own_function(self, node: ast.Call) -> object:
        """A helper of the script, such as piece_bytes(piece)."""
        callee = self.program.callee(node)
        if callee is None or not isinstance(callee.node, ast.FunctionDef):
            raise UnknownValueError
        inner = PieceInterpreter(self.program, self.specimen)
        inner.steps = self.steps + 50  # helpers that call themselves come to an end
        for name, definition in callee.definitions.items():
            default = next((d.value for d in definition if d.kind == "parameter"), None)
            if isinstance(default, ast.Constant):
                inner._locals[name] = default.value
        for name, value in self.program.bind(callee, node).items():
            inner._locals[name] = self._try(value)
        inner._body(callee.node.body)
        if "<return>" not in inner.outcome.writes:
            raise UnknownValueError
        return inner.outcome.writes["<return>"]

    def _tokenizer(self, node: ast.Call, name: str) -> object:
        specimen = self.specimen
        if node.args and self._try(node.args[0]) == SUFFIX.token_id:
            specimen = SUFFIX  # the token before
        key = name.lower().replace("_", "")
        answers: dict[str, object] = {
            "iscontrol": specimen.is_control, "isunknown": False, "isunused": False, "isbyte": specimen.is_byte,
            "bosid": 1, "eosid": 2, "unkid": 0, "padid": -1, "getpiecesize": 1024, "vocabsize": 1024, "piecesize": 1024,
        }  # fmt: skip
        if isinstance(node.func, ast.Attribute) and key in answers:
            return answers[key]
        if name in PIECE_CALLS and node.args:
            return specimen.piece
        if name in DECODE_CALLS and _decodes_one(node):
            # SentencePiece strips the leading space of what it decodes, and a lone byte piece above 0x7F is no UTF-8.
            return "" if specimen.is_control else "\ufffd" if specimen.is_byte else specimen.piece.replace(_MARK, "")
        return None

    def _string_method(self, node: ast.Call, func: ast.Attribute, name: str) -> object:
        value = self.value(func.value)
        if not isinstance(value, str | bytes):
            raise UnknownValueError
        arguments = [self.value(argument) for argument in node.args]
        if any(not isinstance(argument, str | bytes | int | tuple) for argument in arguments):
            raise UnknownValueError
        if name == "encode":
            return value.encode("utf-8", "replace") if isinstance(value, str) else value
        if name == "replace" and any(isinstance(a, str | bytes) and len(a) > 16 for a in arguments):
            raise UnknownValueError
        return getattr(value, name)(*arguments)


_UNKNOWN = object()
_STRING_METHODS = frozenset([
    "startswith", "endswith", "replace", "lstrip", "rstrip", "strip", "removeprefix", "removesuffix", "encode", "count",
    "isspace", "lower", "upper",
])  # fmt: skip


def _length(value: object) -> int:
    if isinstance(value, str | bytes | tuple):
        return len(value)
    raise UnknownValueError


def _whole(value: object, *_more: object) -> object:
    return int(real(value))


_BUILTINS: dict[str, Callable[..., object]] = {
    "len": _length, "int": _whole, "float": _whole, "bool": bool, "str": lambda value: value,
    "max": lambda *values: max(real(value) for value in values),
}  # fmt: skip
