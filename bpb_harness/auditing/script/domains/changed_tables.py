"""Whether anything writes to a table between the loop that fills it and its use, in place or by what it is handed to.

A table goes by many names: of its own function, of those that it is returned to or handed over to, of elements of a
tuple. Each is looked for, and what is done with it there. What could write to it and is not known not to is a change:
what the loop filled it with says nothing then about what is looked up.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath

from bpb_harness.auditing.script.domains.values import IDENTITY
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.nodes import position, stored_in
from bpb_harness.auditing.script.frontend.once import once
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import FUNCTIONS, Scope, dotted, last_name
from bpb_harness.auditing.script.frontend.walker import LIBRARIES, Path, operands, step_of

CONVERTING = IDENTITY | {"bool", "short", "pin_memory", "copy", "int", "int16", "ascontiguousarray", "iter"}
# Methods and functions that write to what they are of or are given first; those of torch end in an underscore.
_WRITERS = frozenset([
    "append", "extend", "insert", "pop", "remove", "clear", "update", "setdefault", "put", "itemset", "fill", "sort",
    "partition", "resize", "__setitem__", "setitem", "copyto", "putmask", "place", "at", "put_along_axis", "setattr",
    "fill_diagonal", "shuffle",
])  # fmt: skip
_READING_LIBRARIES = LIBRARIES | {
    "json", "pickle", "os", "logging", "pd", "plt", "wandb", "nn", "copy", "sys", "hashlib", "pprint", "pandas",
    "matplotlib", "warnings", "rich", "zlib", "mlx", "scipy",
}  # fmt: skip
# Of a list or an array; functions of the same names make another one.
_OF_METHODS_ALONE = frozenset(["sort", "partition", "append", "insert"])
_BUILTINS = frozenset(dir(builtins)) - {"setattr", "exec", "eval", "map"}
_OF_ELEMENTS = ("int", "float", "bool", "str", "repr", "len", "sum", "min", "max", "print")  # mapped over anything
_FOLLOWED = ("add_", "sub_")  # as += and -= are, of what is counted
_IN_PLACE_OF_NONE = ("requires_grad_", "pin_memory_", "share_memory_")  # the values stay
_READING_METHODS = frozenset([
    "gather", "index_select", "take", "where", "sum", "info", "debug", "write", "equal", "allclose", "index", "eq",
    "add_scalar", "log", "warning", "masked_select", "logical_and", "logical_or", "mul", "add", "sub", "div", "dot",
    "save", "dump", "scatter_add", "index_add", "scatter_add_", "index_add_", "add_", "mul_", "sub_", "matmul",
    "scatter", "masked_fill", "masked_scatter", "index_fill", "index_copy", "index_put", "clamp", "clamp_min",
    "writelines", "add_histogram", "error", "critical", "exception",
])  # fmt: skip
_MAX_HOLDERS = 200


@dataclass(frozen=True)
class _Holder:
    """A name of a scope, or an attribute of anything, that holds a table, or something with the table in it.

    Attributes:
        scope: of a name; None for an attribute.
        name: the name.
        path: where in it the table is; nothing where it is the table.
    """

    scope: Scope | None
    name: str
    path: Path = ()


class TableChanges:
    """Looks for what may write to tables of a program.

    Args:
        program: where names and functions are looked up.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._known: dict[tuple[ast.AST, str], bool] = {}

    def of_table(self, loop: ast.AST, name: str) -> bool:
        """Whether the table of a name that a loop or comprehension fills may be written to by anything else."""
        if (loop, name) not in self._known:
            self._known[loop, name] = False  # met again on the way
            self._known[loop, name] = self._is_changed(loop, name)
        return self._known[loop, name]

    def of_count(self, node: ast.expr) -> bool:
        """Whether what a count looks up may be written to where it has a name, other than by += and its kin."""
        if (node, "") not in self._known:
            self._known[node, ""] = False
            search = _Search(self, None, is_count=True)
            own = [_Holder(search.scope_of(node), node.id)] if isinstance(node, ast.Name) else []
            self._known[node, ""] = search.finds([(node, ())], own)
        return self._known[node, ""]

    def of_values(self, nodes: Iterable[ast.expr], keeps: Callable[[ast.Call], bool]) -> bool:
        """Whether anything may write to what some expressions make, wherever it is held.

        Args:
            nodes: the expressions.
            keeps: whether a method that writes in place leaves what was there.
        """
        starts = [*nodes]
        statements = (self.program.statement(node) for node in starts)
        fields = (each for each in statements if isinstance(self.program.parent(each), ast.ClassDef))
        held = [_Holder(None, name) for each in fields for name in stored_in(each)]
        return _Search(self, None, keeps=keeps).finds([(node, ()) for node in starts], held)

    def _is_changed(self, loop: ast.AST, name: str) -> bool:
        scope = self.program.scope(loop)
        if isinstance(loop, ast.expr):
            return _Search(self, loop).finds([(loop, ())], [])
        if isinstance(loop, FUNCTIONS):
            calls: list[tuple[ast.expr, Path]] = [
                (call, ()) for call in self.program.calls.get(scope.name, []) if name == "<return>"
            ]
            return _Search(self, loop).finds(calls, [])
        stored = [part for part in nodes_within(loop) if isinstance(part, ast.Attribute) and part.attr == name]
        return _Search(self, loop).finds([], [_Holder(None if stored else scope, name)])

    def uses(self, holder: _Holder) -> Iterator[ast.Name | ast.Attribute]:
        """Where a name, or an attribute, stands in the program."""
        if holder.scope is None:
            yield from self.program.attributes_named(holder.name)
            return
        yield from (use for use in self.program.names(holder.name) if self._is_of(use, holder.scope))

    def sets(self, name: str) -> bool:
        """Whether an attribute of a name is set by setattr(x, "name", v)."""
        calls = self.program.calls.get("setattr", [])
        return any(len(call.args) > 1 and getattr(call.args[1], "value", None) == name for call in calls)

    def _is_of(self, use: ast.Name, wanted: Scope) -> bool:
        """Whether a name is a scope's: of its own statements, or of a function inside that has none of that name."""
        scope: Scope | None = self.program.scope(use)
        while scope is not None and scope is not wanted and not self.binds(scope, use.id):
            scope = scope.parent
        return scope is wanted

    def binds(self, scope: Scope, name: str) -> bool:
        """Whether a function gives a name a value of its own, which no global or nonlocal statement makes another's."""
        found = scope.definitions.get(name, [])
        is_own = any(each.kind in ("assign", "loop", "parameter") or _is_plain(each.statement) for each in found)
        return is_own and not (scope.parent is not None and name in _outer_names(self.program, scope))


@once
def _outer_names(program: Program, scope: Scope) -> set[str]:
    """The names that a function says to be another's, or one inside it."""
    said = [*program.nodes.get(ast.Global, []), *program.nodes.get(ast.Nonlocal, [])]  # few, of most scripts none
    inside = (part for part in said if scope.node in program.ancestors(part))
    return {name for part in inside if isinstance(part, ast.Global | ast.Nonlocal) for name in part.names}


def _is_plain(statement: ast.AST) -> bool:
    """x += 1, which makes x a function's own; x[i] += 1 does not."""
    return isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name)


class _Search:
    """One search, for one table."""

    def __init__(
        self,
        changes: TableChanges,
        loop: ast.AST | None,
        *,
        is_count: bool = False,
        keeps: Callable[[ast.Call], bool] | None = None,
    ) -> None:
        self.changes, self.program, self.loop, self.is_count = changes, changes.program, loop, is_count
        self.keeps = keeps
        self.within = {*nodes_within(loop)} if isinstance(loop, ast.For) else set[ast.AST]()
        self.holders: dict[_Holder, None] = {}
        self.given: set[tuple[Scope | None, str]] = set()  # parameters that it was handed over for
        self.seen: set[tuple[ast.AST, Path]] = set()

    def finds(self, starts: list[tuple[ast.expr, Path]], holders: list[_Holder]) -> bool:
        """Whether anything may write to what some expressions are, or some names hold."""
        self.holders.update(dict.fromkeys(holders))
        if any(self._climbed(node, path) for node, path in starts):
            return True
        done: set[_Holder] = set()
        while waiting := [holder for holder in self.holders if holder not in done]:
            if len(self.holders) > _MAX_HOLDERS:
                return True
            for holder in waiting:
                done.add(holder)
                if holder.scope is None and self.changes.sets(holder.name):
                    return True
                for use in self.changes.uses(holder):
                    if not self.program.spend():
                        return True
                    if use not in self.within and self._used(use, holder):
                        return True
        return False

    def _used(self, use: ast.Name | ast.Attribute, holder: _Holder) -> bool:
        """Whether a use of a name is a change of what it holds."""
        if isinstance(use.ctx, ast.Load):
            return self._climbed(use, holder.path)
        above = self.program.parent(use)
        if isinstance(above, ast.AugAssign):
            is_followed = self.is_count and (holder.scope, holder.name) not in self.given
            return above.target is use and not is_followed and self._is_behind(above)
        # What a name is given anew is another value, which is asked about where it is used; of what a function does
        # to a name that is not its own, nothing is asked there.
        return holder.scope is not None and self.program.scope(use) is not holder.scope

    def _is_behind(self, statement: ast.AST) -> bool:
        """Whether a statement may be come to when the loop is done; what makes a table comes before it."""
        loop = self.loop
        if not isinstance(loop, ast.For) or self.program.scope(statement) is not self.program.scope(loop):
            return True
        return position(statement) > position(loop)

    def _climbed(self, node: ast.expr, path: Path) -> bool:
        """Whether the table in an expression is changed by what is done with the expression."""
        if (node, path) in self.seen:
            return False
        self.seen.add((node, path))
        above = self.program.parent(node)
        if isinstance(above, ast.keyword):
            call = self.program.parent(above)
            return isinstance(call, ast.Call) and self._handed(node, above.arg, call, path)
        if isinstance(above, ast.Call):
            return self._handed(node, None, above, path)
        if isinstance(above, ast.Attribute):
            return self._asked(above, path)
        if isinstance(above, ast.Subscript):
            return above.value is node and self._looked_up(above, path)
        return self._put(node, above, path)

    def _put(self, node: ast.expr, above: ast.AST | None, path: Path) -> bool:
        """What an expression is put into: a name, a tuple, what a function returns."""
        if isinstance(above, ast.Tuple | ast.List):
            return self._climbed(above, (above.elts.index(node), *path))
        if isinstance(above, ast.Dict):
            key = next((k for k, v in zip(above.keys, above.values, strict=True) if v is node), None)
            step = key.value if isinstance(key, ast.Constant) and isinstance(key.value, str | int) else "?"
            return self._climbed(above, (step, *path))
        if isinstance(above, ast.IfExp):
            return above.test is not node and self._climbed(above, path)
        if isinstance(above, ast.NamedExpr):
            self._hold(above.target, path)
            return self._climbed(above, path)
        if isinstance(above, ast.Starred):
            call = self.program.parent(above)
            return isinstance(call, ast.Call) and self._handed(above, None, call, path)
        if isinstance(above, ast.BinOp) and self.is_count:
            return self._climbed(above, path)
        if isinstance(above, ast.Assign):
            for target in above.targets:
                self._hold(target, path)
        elif isinstance(above, ast.AnnAssign) or (isinstance(above, ast.AugAssign) and self.is_count):
            self._hold(above.target, path)
        elif isinstance(above, ast.Return | ast.Yield):
            return self._returned(above, path)
        elif isinstance(above, ast.For | ast.comprehension) and path:
            self._hold(above.target, path[1:])
        return isinstance(above, ast.comprehension) and self._converted(above, path)

    def _hold(self, target: ast.expr, path: Path) -> None:
        if isinstance(target, ast.Name):
            self.holders[_Holder(self.scope_of(target), target.id, path)] = None
        elif isinstance(target, ast.Attribute):
            self.holders[_Holder(None, target.attr, path)] = None
        elif isinstance(target, ast.Tuple | ast.List):
            meant = path[0] if path else 0
            for number, element in enumerate(target.elts):
                if not isinstance(meant, int) or meant == number:
                    self._hold(element, path[1:])
        elif isinstance(target, ast.Subscript):  # of what is held by a name, or by an attribute
            step = step_of(target)
            self._hold(target.value, ("?" if step is None else step, *path))

    def scope_of(self, name: ast.Name) -> Scope:
        scope = self.program.scope(name)
        while scope.parent is not None and not self.changes.binds(scope, name.id):
            scope = scope.parent
        return scope

    def _returned(self, statement: ast.Return | ast.Yield, path: Path) -> bool:
        scope = self.program.scope(statement)
        calls = self.program.calls.get(scope.name, [])
        return any(self._climbed(call, path) for call in calls if self.program.callee(call) is scope)

    def _converted(self, generator: ast.comprehension, path: Path) -> bool:
        """[torch.tensor(each) for each in tables]: tables too."""
        around = self.program.parent(generator)
        return isinstance(around, ast.expr) and bool(path) and self._climbed(around, path)

    def _looked_up(self, entry: ast.Subscript, path: Path) -> bool:
        """A table's entries are stored, or something of what holds it is looked up."""
        if not isinstance(entry.ctx, ast.Load):
            above = self.program.parent(entry)
            if isinstance(above, ast.Assign) and (above.value, path[1:]) in self.seen:
                return False  # where it is put there
            step = step_of(entry)
            return not path or step is None or path[0] in (step, "?")
        if not path:  # of tensors and lists only a slice is no copy
            return any(isinstance(part, ast.Slice) for part in nodes_within(entry.slice)) and self._climbed(entry, ())
        step = step_of(entry)
        is_it = step is None or path[0] in (step, "?")
        return is_it and self._climbed(entry, path[1:])

    def _asked(self, attribute: ast.Attribute, path: Path) -> bool:
        """A method of a table, or an attribute that may be the table once more."""
        call = self.program.parent(attribute)
        if not isinstance(call, ast.Call) or call.func is not attribute:
            if isinstance(call, ast.AugAssign) and call.target is attribute:
                return True
            if not isinstance(attribute.ctx, ast.Load):
                return attribute.attr in ("data", "flat", "real") and not path
            return attribute.attr in ("data", "T", "flat", "real", "__dict__") and self._climbed(attribute, path)
        if self.is_count and attribute.attr in _FOLLOWED and isinstance(attribute.value, ast.Name):
            return False
        if self._is_writer(attribute.attr):
            if self.keeps is not None and self.keeps(call):
                return self._climbed(call, path)
            return not path or attribute.attr not in ("append", "extend", "insert", "update", "setdefault")
        if attribute.attr in CONVERTING or attribute.attr in ("values", "items", "get"):
            return self._climbed(call, path[1:] if attribute.attr in ("get",) else path)
        return False

    @staticmethod
    def _is_writer(name: str) -> bool:
        return name in _WRITERS or (name.endswith("_") and not name.startswith("_") and name not in _IN_PLACE_OF_NONE)

    def _handed(self, node: ast.expr, by: str | None, call: ast.Call, path: Path) -> bool:
        """Whether a function that is called with a table may write to it."""
        if node is call.func:
            return False
        callee, name = self.program.callee(call), last_name(call.func)
        if by == "out":
            return True
        if callee is not None:
            return self._into(callee, node, call, path)
        if chosen := self._chosen(call.func):
            return any(self._into(each, node, call, path) for each in chosen)
        if name in self.program.classes or name == "register_buffer":
            return self._kept(name, node, by, call, path)
        is_library = _is_of_reading_library(self.program, dotted(call.func))
        if isinstance(call.func, ast.Attribute) and not is_library:
            return self._given_to_method(node, by, call, path)
        if name == "getattr":
            asked = call.args[1] if len(call.args) > 1 else None
            return not isinstance(asked, ast.Constant) or self._is_writer(str(asked.value))
        if name == "map":
            if isinstance(call.args[0], ast.Name) and call.args[0].id in _OF_ELEMENTS:
                return False
            return converted_together(call) is not node or self._climbed(call, path)
        if isinstance(call.func, ast.Name) and name not in _BUILTINS | CONVERTING and not is_library:
            return True
        is_function = name in _OF_METHODS_ALONE and dotted(call.func) in (
            f"np.{name}",
            f"numpy.{name}",
            f"torch.{name}",
        )
        if self._is_writer(name) and not is_function and (call.args[:1] == [node] or name == "at"):
            return True
        if name == "dict" and by is not None:
            return self._climbed(call, (by, *path))
        return (name in CONVERTING or name in ("zip", "enumerate", "dict")) and self._climbed(call, path)

    def _chosen(self, func: ast.expr) -> list[Scope]:
        """The functions of the script that a name is given, as tests choose; none where it may be anything else."""
        given = self.program.reaching(func) if isinstance(func, ast.Name) else ()
        left = [each.value if each.kind == "assign" and not each.index else None for each in given]
        found: list[Scope] = []
        while left:
            value = left.pop()
            if isinstance(value, ast.IfExp):
                left += [value.body, value.orelse]
                continue
            plain = self.program.functions.get(value.id, []) if isinstance(value, ast.Name) else []
            if len(plain) != 1 or not isinstance(value, ast.Name) or self.program.reaching(value):
                return []
            found.append(plain[0])
        return found

    def _given_to_method(self, node: ast.expr, by: str | None, call: ast.Call, path: Path) -> bool:
        """Whether a method of something may write to what it is given; a list or dictionary keeps it."""
        assert isinstance(call.func, ast.Attribute)
        if call.func.attr in ("append", "add", "insert", "setdefault"):
            self._hold_in(call.func.value, ("?", *path))
            return call.func.attr == "setdefault" and self._climbed(call, path)
        if call.func.attr == "update" and (by is not None or (isinstance(node, ast.Dict) and path)):
            self._hold_in(call.func.value, path if by is None else (by, *path))
            return False
        return call.func.attr not in CONVERTING | _READING_METHODS

    def _hold_in(self, kept_by: ast.expr, path: Path) -> None:
        if isinstance(kept_by, ast.Name | ast.Attribute):
            self._hold(kept_by, path)

    def _into(self, callee: Scope, node: ast.expr, call: ast.Call, path: Path) -> bool:
        if isinstance(node, ast.Starred):
            bound = self.program.bind(callee, call)
            given = [(name, value) for name, value in bound.items() if self.program.parent(value) is node]
            for name, value in given:
                step = step_of(value) if isinstance(value, ast.Subscript) else None
                if path and path[0] == step:
                    self.holders[_Holder(callee, name, path[1:])] = None
            return False
        names = [name for name, value in self.program.bind(callee, call).items() if value is node]
        self.holders.update(dict.fromkeys(_Holder(callee, name, path) for name in names))
        self.given.update((callee, name) for name in names)
        return False

    def _kept(self, name: str, node: ast.expr, by: str | None, call: ast.Call, path: Path) -> bool:
        """A class of the scripts that is made with a table, or a module's buffer: it has it as an attribute."""
        made = self.program.classes.get(name, {}).get("__init__")
        if made is not None:
            return self._into(made, node, call, path)
        if by is not None:
            self.holders[_Holder(None, by, path)] = None
        elif name == "register_buffer" and call.args and isinstance(call.args[0], ast.Constant):
            self.holders[_Holder(None, str(call.args[0].value), path)] = None
        return False


@once
def _is_of_reading_library(program: Program, name: str) -> bool:
    """Whether a function is one of a library whose functions write to nothing, but those that are listed.

    A name that is imported is what it is imported from, in each script that does so; a file of the record is none.
    """
    first = name.split(".", maxsplit=1)[0]
    packages = program.imported.get(first, {first} if "." in name else set())
    own = {PurePath(script.path).stem for script in program.scripts}
    known = _READING_LIBRARIES if name.rsplit(".", maxsplit=1)[-1] != "Counter" else {"collections"}
    return bool(packages) and packages <= known and not packages & own


def converted_together(node: ast.expr) -> ast.expr | None:
    """``tables`` of ``[torch.tensor(each) for each in tables]`` and ``map(torch.tensor, tables)``.

    None where the elements are other ones, or not each of them is kept.
    """
    if isinstance(node, ast.ListComp | ast.GeneratorExp):
        (first, *more) = node.generators
        is_each = not more and not first.ifs and isinstance(first.target, ast.Name)
        return first.iter if is_each and _converts(node.elt, last_name(first.target)) else None
    if isinstance(node, ast.Call) and last_name(node.func) == "map" and len(node.args) == 2 and not node.keywords:
        way, tables = node.args
        if isinstance(way, ast.Lambda):
            names = way.args.args
            return tables if len(names) == 1 and _converts(way.body, names[0].arg) else None
        return tables if last_name(way) in CONVERTING else None
    return None


def _converts(node: ast.expr, name: str) -> bool:
    """Whether an expression is a name's value in another form: on another device, of another type."""
    while isinstance(node, ast.Call) and last_name(node.func) in CONVERTING and (worked_on := operands(node)):
        node = worked_on[0]
    return isinstance(node, ast.Name) and node.id == name
