"""The scripts of a submission as one program: which definition a name refers to, which function a call means.

Everything is read from the syntax tree. The resolution is flow-sensitive where that is cheap (a later
assignment in the same block hides an earlier one) and errs on the side of more candidates elsewhere.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

from bpb_harness.auditing.script.frontend.answers import Answers
from bpb_harness.auditing.script.frontend.index import (
    ELSEWHERE,
    EXPRESSIONS,
    STATEMENTS,
    Index,
    Scripts,
    children,
    is_registered,
    nodes_within,
)
from bpb_harness.auditing.script.frontend.nodes import is_none, position
from bpb_harness.auditing.script.frontend.options import GivenOption, given_options
from bpb_harness.auditing.script.frontend.scopes import FUNCTIONS, Definition, Scope, Script, last_name

MAX_WORK = 400_000  # ten times what the scripts of fixtures/scripts take at most
_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_COMPREHENSIONS = frozenset([ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp])
_MAX_NAMES = 4  # that a name is followed through
_MOST_CALLERS = 4  # that an instance is handed on by
_WRAPPING = frozenset(["compile", "jit", "checkpoint", "no_grad", "inference_mode", "pmap", "partial"])
# Names that tensors and modules have themselves; only `self.sum()` can mean a method of the script.
_TENSOR_METHODS = frozenset([
    "sum", "mean", "to", "float", "double", "item", "cpu", "cuda", "view", "reshape", "log", "exp", "sqrt", "clamp",
    "expand", "gather", "eval", "train", "append", "forward", "parameters", "state_dict", "get", "size", "numel",
    "encode", "decode", "backward", "step", "zero_grad", "format", "join", "write", "items", "keys", "values", "split",
    "read", "max", "min", "abs", "pow", "add", "mul", "div", "flatten", "squeeze", "unsqueeze", "type", "detach",
    "clone", "copy", "update",
])  # fmt: skip

_SETTING = re.compile(r"[A-Z][A-Z0-9_]*")


def _reads_a_setting(node: ast.expr) -> bool:
    """source.get("NAME", "default"), also in an int() or the like."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 1:
        node = node.args[0]
    name = node.args[0] if isinstance(node, ast.Call) and node.args else None
    is_asked = isinstance(node, ast.Call) and last_name(node.func) in ("get", "getenv")
    is_named = isinstance(name, ast.Constant) and isinstance(name.value, str)
    return is_asked and is_named and _SETTING.fullmatch(str(name.value)) is not None  # type: ignore[union-attr]


Known = TypeVar("Known")


class Program:
    """All scripts of a submission, with questions about them; answers are worked out once.

    Args:
        scripts: parsed files; a function that one imports from another is found by its name.
        settings: what the environment is known to hold; of what it is not, a script's own default counts.
        flags: what command lines are known to hold, by script and flag.
    """

    def __init__(
        self,
        scripts: Sequence[Script],
        settings: Mapping[str, str] | None = None,
        flags: Mapping[tuple[str, str], str] | None = None,
    ) -> None:
        self.scripts: Sequence[Script] = scripts if isinstance(scripts, Scripts) else [*scripts]
        self.settings = settings or {}
        self.taken: dict[str, str] = {}  # of these, what a script was read with in place of its own default
        self.held: dict[ast.expr, bool] = {}  # tests of which something shows what they gave
        index = scripts.indexed if isinstance(scripts, Scripts) else Index(scripts)
        self.scopes, self.functions, self.classes, self.nodes = (
            index.scopes, index.functions, index.classes, index.nodes
        )  # fmt: skip
        self.attributes, self.properties, self.options = index.attributes, index.properties, {**index.options}
        self.calls = {name: [*calls] for name, calls in index.calls.items()}  # and what programs enter
        self.work_left = MAX_WORK  # expressions that may still be looked at: hostile scripts come to an end
        self.memo: dict[object, Any] = {}  # what walkers have worked out about this program's nodes
        self.valued: Answers[Any] = Answers()  # of the numbers that expressions stand for
        self.leaves_met = 0  # on the way to them, how often
        self.noted: list[tuple[str, str]] = []  # what `note` was told, in its order
        self.behind: dict[tuple[ast.AST, Any], list[Any]] = {}  # what the value of a node in a frame comes from
        self.behind_alike: dict[ast.AST, tuple[str, list[ast.expr]]] = {}  # the same in frames that bind no such name
        self.imported = index.imported
        self._index = index
        self._parents, self._scope_of, self._block, self._aliases = (
            index.parents, index.scope_of, index.blocks, index.aliases
        )  # fmt: skip
        self._parts, self._own_nodes, self._tests = index.parts, index.own_nodes, index.tests
        self._held, self._looped, self._reached = index.held, index.looped, index.reached
        self._stored: dict[ast.Attribute, list[ast.expr]] = {}
        self._called: dict[ast.Call, Scope | None] = {}
        self._handed: dict[tuple[Scope, str], list[ast.expr]] = {}
        self._given = self._take_options(flags or {})

    def _take_options(self, flags: Mapping[tuple[str, str], str]) -> Mapping[str, GivenOption]:
        """Options that are known to have been given, whose own defaults do not count."""
        adding = self.calls.get("add_argument", ())
        given = given_options([(call, self.scripts[self.scope(call).file].path) for call in adding], flags)
        for name, option in given.items():
            self.options.pop(name, None)
            if option.value is not None:
                self._parents[option.value] = option.call
                self.options[name] = option.value
        return given

    def spend(self, work: int = 1) -> bool:
        """Count work against the program's bound; False once it is used up."""
        self.work_left -= work
        return self.work_left > 0

    def note(self, name: str, value: str) -> None:
        """Note a setting with which a script does otherwise than by its own default."""
        self.taken[name] = value
        self.noted.append((name, value))

    # -- questions --------------------------------------------------------------------------------

    def parts(self, node: ast.AST) -> tuple[ast.AST, ...]:
        """The expressions right inside a node, with generators and keywords; worked out once."""
        found = self._parts.get(node)
        if found is None:
            found = self._parts[node] = tuple([each for each in children(node) if each.__class__ in EXPRESSIONS])
        return found

    def names(self, name: str) -> Iterator[ast.Name]:
        """Where a name stands in the scripts."""
        return (node for names, _ in self._index.named for node in names.get(name, ()))

    def attributes_named(self, name: str) -> Iterator[ast.Attribute]:
        """Where an attribute of a name stands in the scripts."""
        return (node for _, attributes in self._index.named for node in attributes.get(name, ()))

    def parent(self, node: ast.AST) -> ast.AST | None:
        """The node that holds this one."""
        return self._parents.get(node)

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes that hold this one, innermost first."""
        parents = self._parents
        above = parents.get(node)
        while above is not None:
            yield above
            above = parents.get(above)

    def is_inside(self, node: ast.AST, around: ast.AST) -> bool:
        """Whether a node is held by another one, at any depth."""
        return any(above is around for above in self.ancestors(node))

    def upward(self, node: ast.AST) -> list[ast.AST]:
        """The node, and those that hold it."""
        return [node, *self.ancestors(node)]

    def tests_above(self, node: ast.AST) -> tuple[tuple[ast.expr, bool], ...]:
        """The tests of the ifs in whose branches a node stands within its function, and what they must give."""
        found = self._tests.get(node)
        if found is not None:
            return found
        way, known = self._up_to_known(node, self._tests, (*FUNCTIONS, ast.Module), ())
        for child in reversed(way):
            above = self._parents.get(child)
            if isinstance(above, ast.If) and child is not above.test:
                known = ((above.test, any(child is statement for statement in above.body)), *known)
            self._tests[child] = known
        return known

    def _up_to_known(
        self, node: ast.AST, known: Mapping[ast.AST, Known], bounds: tuple[type[ast.AST], ...], nothing: Known
    ) -> tuple[list[ast.AST], Known]:
        """The nodes from this one up to one of which something is known, and that; nothing is right below a bound."""
        way: list[ast.AST] = []
        while node not in known:
            above = self._parents.get(node)
            way.append(node)
            if above is None or isinstance(above, bounds):
                return way, nothing
            node = above
        return way, known[node]

    def scope(self, node: ast.AST) -> Scope:
        """The scope in which a node stands; a function's own node stands for its inside."""
        found = self._scope_of.get(node)
        if found is None:
            above = self._parents[node]
            while (found := self._scope_of.get(above)) is None:
                above = self._parents[above]
            self._scope_of[node] = found
        return found

    def script(self, node: ast.AST) -> Script:
        """The file of a node."""
        return self.scripts[self.scope(node).file]

    def _blocks(self, statement: ast.AST) -> frozenset[tuple[ast.AST, str]]:
        """The blocks that hold a statement within its scope."""
        found = self._held.get(statement)
        if found is not None:
            return found
        way, known = self._up_to_known(
            statement, self._held, (*FUNCTIONS, ast.Module), frozenset[tuple[ast.AST, str]]()
        )
        for child in reversed(way):
            own = self._block.get(child)
            known = known | {own} if own is not None else known
            self._held[child] = known
        return known

    def _loops(self, node: ast.AST) -> frozenset[ast.AST]:
        found = self._looped.get(node)
        if found is not None:
            return found
        way, known = self._up_to_known(node, self._looped, FUNCTIONS, frozenset[ast.AST]())
        for child in reversed(way):
            above = self._parents.get(child)
            known = known | {above} if isinstance(above, _LOOPS) else known
            self._looped[child] = known
        return known

    def reaching(self, use: ast.Name) -> Sequence[Definition]:
        """The definitions that a use of a name may refer to, the nearest first."""
        found = self._reached.get(use)
        if found is None:
            found = self._reached[use] = tuple(self._find_reaching(use))
        return found

    def _find_reaching(self, use: ast.Name) -> list[Definition]:
        name, parents = use.id, self._parents
        above = parents.get(use)
        while above is not None and (kind := above.__class__) not in STATEMENTS:
            if kind in _COMPREHENSIONS:
                for generator in above.generators:  # type: ignore[attr-defined]
                    found = [d for d in self.scope(above).definitions.get(name, []) if d.statement is generator]
                    if found:
                        return found
            above = parents.get(above)
        scope: Scope | None = self.scope(use)
        local = True
        while scope is not None:
            known = scope.definitions.get(name)
            definitions = [d for d in known if d.statement.__class__ is not ast.comprehension] if known else []
            if definitions:
                return self._nearest(use, definitions) if local else definitions
            scope, local = scope.parent, False
        return []

    def only_value(self, node: ast.AST) -> ast.expr | None:
        """What a name is given as a whole, where it is given one thing."""
        found = self.reaching(node) if isinstance(node, ast.Name) else ()
        return found[0].value if len(found) == 1 and found[0].kind == "assign" and not found[0].index else None

    def carried(self, use: ast.Name, definitions: Sequence[Definition]) -> tuple[ast.For, Definition] | None:
        """The loop and the assignment that hand a name's value on from one round to the next; None where none does.

        The assignment stands in the loop's own body, after the use, so that every round makes it once.
        """
        loops = self._loops(use)
        for definition in definitions if loops else ():
            statement = definition.statement
            if definition.kind != "assign" or not isinstance(statement, ast.stmt):
                continue
            loop = self.parent(statement)
            later = position(statement) >= (use.lineno, use.col_offset) or statement is self.statement(use)
            if isinstance(loop, ast.For) and loop in loops and later and statement in loop.body:
                return loop, definition
        return None

    def _nearest(self, use: ast.Name, definitions: list[Definition]) -> list[Definition]:
        statement = self.statement(use)
        line = (use.lineno, use.col_offset)
        if len(definitions) == 1 and _is_before(definitions[0], statement, line):
            return definitions
        blocks, loops = self._blocks(statement), self._loops(use)
        before, after = [], []
        for definition in definitions:
            if _is_before(definition, statement, line):
                before.append(definition)
            elif loops & self._loops(definition.statement):
                after.append(definition)  # carried round the loop
        before.sort(key=lambda d: position(d.statement), reverse=True)
        kept: list[Definition] = []
        for definition in before:
            kept.append(definition)
            own = self._block.get(definition.statement)
            whole = definition.kind in ("assign", "loop") and (own is None or own in blocks)
            if definition.kind == "loop" and isinstance(definition.statement, _LOOPS):
                whole = definition.statement in loops
            if whole:
                hidden = self._loops(definition.statement)
                # Inside a loop that both share, the assignment hides what an earlier round left.
                return kept + [d for d in after if not (loops & self._loops(d.statement)) <= hidden]
        return kept + after

    def statement(self, node: ast.AST) -> ast.AST:
        """The statement that a node is of, the innermost."""
        here, parents = node, self._parents
        while here.__class__ not in STATEMENTS:
            above = parents.get(here)
            if above is None:
                return here
            here = above
        return here

    def callee(self, call: ast.Call) -> Scope | None:
        """The function of the program that a call means; None for library calls and ambiguous names."""
        if call not in self._called:
            self._called[call] = None  # a call that is met again on the way to what it means
            self._called[call] = self._find_callee(call)
        return self._called[call]

    def asks_network(self, node: ast.AST) -> bool:
        """Whether it is a call of a network of the scripts, which has its tokens from its arguments alone."""
        callee = self.callee(node) if isinstance(node, ast.Call) else None
        methods = self.classes.get(callee.owner, {}) if callee is not None and callee.owner is not None else {}
        return "forward" in methods or "__call__" in methods

    def _find_callee(self, call: ast.Call) -> Scope | None:
        func = call.func
        if isinstance(func, ast.Name):
            name = self._aliases.get(func.id, func.id)
            found = self.functions.get(name)
            if found:
                same = [scope for scope in found if scope.file == self.scope(call).file]
                return (same or found)[-1]
            if func.id in self.classes:
                return None
            return self._forward(func)
        if isinstance(func, ast.Attribute):
            on_self = isinstance(func.value, ast.Name) and func.value.id == "self"
            elsewhere = self._called_elsewhere(func)
            if elsewhere is not None:
                return elsewhere
            if func.attr in _TENSOR_METHODS and not on_self:
                return (
                    self._forward(func.value) if func.attr == "forward" and isinstance(func.value, ast.Name) else None
                )
            if on_self:
                owner = self._owner(call)
                if owner is not None and func.attr in self.classes.get(owner, {}):
                    return self.classes[owner][func.attr]
            methods = [methods[func.attr] for methods in self.classes.values() if func.attr in methods]
            if len(methods) == 1:
                return methods[0]
            if not methods:
                plain = self.functions.get(func.attr, [])
                if len(plain) == 1:
                    return plain[0]
                return self._called_attribute(func.attr)
            return self._method_of(func)
        return None

    def _method_of(self, func: ast.Attribute) -> Scope | None:
        """The method of x.f(..) of which several classes have one: by what x was made of, where that is one class."""
        owners = self._classes_of(func.value) if isinstance(func.value, ast.Name) else set()
        return self.classes.get(owners.pop(), {}).get(func.attr) if len(owners) == 1 else None

    def _classes_of(self, name: ast.Name, depth: int = 0) -> set[str]:
        """The names of what a variable was made by; "" among them where a part of that is not known."""
        held = self.reaching(name)
        if depth > _MOST_CALLERS or any(each.kind not in ("assign", "mutation", "parameter") for each in held):
            return {""}
        owners: set[str] = set()
        for each in held:
            if each.kind == "parameter":
                owners |= self._classes_handed(each, depth)
            elif each.kind == "assign":
                value = each.part
                branches = [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]
                made = (part for part in branches if not is_none(part))
                owners |= {last_name(part.func) if isinstance(part, ast.Call) else "" for part in made}
        return owners

    def _classes_handed(self, parameter: Definition, depth: int) -> set[str]:
        """What the calls of a plain function hand over for a parameter."""
        scope = self.scope(parameter.statement)
        calls = self.calls.get(scope.name, []) if scope.owner is None else []
        owners: set[str] = set() if calls else {""}
        for call in calls:
            if not isinstance(call.func, ast.Name) or self.callee(call) is not scope:
                return {""}  # whose else the name is, is not asked: the answer may be what is asked for here
            given = self.bind(scope, call).get(parameter.name, parameter.value)
            if isinstance(given, ast.Name):
                owners |= self._classes_of(given, depth + 1)
            elif not is_none(given):
                owners.add(last_name(given.func) if isinstance(given, ast.Call) else "")
        return owners

    def _called_elsewhere(self, func: ast.Attribute) -> Scope | None:
        """The function f of f.remote(..), Class().method.remote(..); None where the name is no function's."""
        if func.attr not in ELSEWHERE:
            return None
        name = last_name(func.value)
        if isinstance(func.value, ast.Name) and self.reaching(func.value):
            return None  # a variable of that name
        found = self.functions.get(self._aliases.get(name, name), [])
        if isinstance(func.value, ast.Attribute) and not found:
            found = [methods[name] for methods in self.classes.values() if name in methods]
        return found[-1] if found else None

    def values_of(self, node: ast.Attribute) -> list[ast.expr]:
        """What an attribute is set to: by its own class for self.x, by the command line for args.x, else anywhere."""
        found = self._stored.get(node)
        if found is None:
            found = self._stored[node] = self._find_values(node)
        return found

    def _find_values(self, node: ast.Attribute) -> list[ast.expr]:
        values = self.attributes.get(node.attr, [])
        if isinstance(node.value, ast.Name) and node.value.id == "self":
            owner = self._owner(node)
            own = [value for value in values if self._owner(value) == owner]
            return self._as_made(node.attr, own or values)
        given = self._given.get(node.attr)
        if given is not None and not given.is_default:
            self.taken[given.flag] = given.text
        if given is not None:
            return self._of_option(node, given.value)
        if node.attr in self.options:
            return self._of_option(node, self.options[node.attr])
        # Class-level fields are settings; what an __init__ stores is usually handed over from them.
        fields = [value for value in values if self._is_field(value)]
        return self._as_made(node.attr, fields or values)

    def _as_made(self, name: str, values: list[ast.expr]) -> list[ast.expr]:
        """Values of an attribute, with the settings that a class without __init__ is made with in place of defaults."""
        made: list[ast.expr] = []
        for value in values:
            owner = self._owner(value) if self._is_field(value) else None
            own = owner is not None and "__init__" not in self.classes.get(owner, {})
            calls = self.calls.get(owner, []) if owner is not None and own else []
            given = [keyword.value for call in calls for keyword in call.keywords if keyword.arg == name]
            given = given if all(map(_reads_a_setting, given)) else []
            made += given if given and len(given) == len(calls) else [*given, value]
        return made

    @cached_property
    def _set_by_name(self) -> Mapping[tuple[str, str], list[ast.expr]]:
        """args.x = v, which takes the place of what the command line gave args.x: by the name and the attribute."""
        found: dict[tuple[str, str], list[ast.expr]] = {}
        for value in (value for values in self.attributes.values() for value in values):
            statement = self.parent(value)
            for target in statement.targets if isinstance(statement, ast.Assign) else ():
                if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
                    found.setdefault((target.value.id, target.attr), []).append(value)
        return found

    @cached_property
    def _changed_by_name(self) -> set[tuple[str, str]]:
        """args.x /= 100: what args.x is then, nothing here says."""
        targets = (node.target for node in self.nodes.get(ast.AugAssign, []) if isinstance(node, ast.AugAssign))
        attributes = [target for target in targets if isinstance(target, ast.Attribute)]
        return {(each.value.id, each.attr) for each in attributes if isinstance(each.value, ast.Name)}

    def _of_option(self, node: ast.Attribute, given: ast.expr | None) -> list[ast.expr]:
        """What args.x may be of an option, with what the command line or its default gives it."""
        key = (node.value.id if isinstance(node.value, ast.Name) else "", node.attr)
        if given is None or key in self._changed_by_name:
            return []
        return [given, *self._set_by_name.get(key, ())]

    def _is_field(self, value: ast.expr) -> bool:
        above = self.parent(value)
        above = self.parent(above) if isinstance(above, ast.Tuple | ast.List) else above  # a, b = 1, 2
        return above is not None and isinstance(self.parent(above), ast.ClassDef)

    def _owner(self, node: ast.AST) -> str | None:
        for above in self.ancestors(node):
            if isinstance(above, ast.ClassDef):
                return above.name
        return None

    def _called_attribute(self, name: str) -> Scope | None:
        """self.noise(t) where self.noise = LogLinearNoise(..) was set."""
        for value in self.attributes.get(name, []):
            found = self._class_in(value)
            if found is not None:
                return found
        return None

    def _forward(self, func: ast.Name, depth: int = 0) -> Scope | None:
        """model(x) where model = Model(..), perhaps wrapped, perhaps passed as an argument."""
        if depth > 4:
            return None
        for definition in self.reaching(func):
            if definition.kind == "parameter":
                for argument in self.arguments(self.scope(definition.statement), func.id):
                    found = (
                        self._forward(argument, depth + 1)
                        if isinstance(argument, ast.Name)
                        else self._lambda_in(argument) or self._class_in(argument)
                    )
                    if found is not None:
                        return found
            if definition.value is None or definition.kind != "assign":
                continue
            found = self._lambda_in(definition.value) or self._class_in(definition.value)
            if found is not None:
                return found
            for part in nodes_within(definition.value):
                if isinstance(part, ast.Name) and part.id != func.id:
                    found = self._forward(part, depth + 1)
                    if found is not None:
                        return found
        return None

    def _lambda_in(self, value: ast.expr) -> Scope | None:
        """f of compile(f), jit(f, ..): lambda x, y: model.loss(x, y), which need not be the network's own forward."""
        is_wrapped = isinstance(value, ast.Call) and bool(value.args) and last_name(value.func) in _WRAPPING
        inner = value.args[0] if is_wrapped and isinstance(value, ast.Call) else value
        return self.scope(inner) if isinstance(inner, ast.Lambda) else None

    def _class_in(self, value: ast.expr) -> Scope | None:
        for part in nodes_within(value):
            if isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id in self.classes:
                methods = self.classes[part.func.id]
                return methods.get("forward") or methods.get("__call__")
        return None

    def arguments(self, scope: Scope, parameter: str) -> list[ast.expr]:
        """What the calls of a function in the program hand over for a parameter."""
        known = self._handed.get((scope, parameter))
        if known is None:
            known = self._handed[scope, parameter] = self._find_arguments(scope, parameter)
        return known

    def _find_arguments(self, scope: Scope, parameter: str) -> list[ast.expr]:
        found = []
        name = scope.owner if scope.name == "__init__" and scope.owner else scope.name
        for call in self.calls.get(name, []):
            if scope.name == "__init__" or self.callee(call) is scope:
                value = self.bind(scope, call).get(parameter)
                if value is not None:
                    found.append(value)
        return found

    def bind(self, scope: Scope, call: ast.Call) -> Mapping[str, ast.expr]:
        """The arguments of a call by parameter name."""
        names = scope.parameters[1:] if scope.is_method else scope.parameters
        by_name = len(scope.node.args.kwonlyargs) if isinstance(scope.node, FUNCTIONS) else 0
        bound = dict(zip(names, self._unpacked(call, len(names) - by_name), strict=False))
        bound.update({keyword.arg: keyword.value for keyword in call.keywords if keyword.arg in scope.parameters})
        return bound

    def _unpacked(self, call: ast.Call, most: int) -> list[ast.expr]:
        """The arguments of a call by place, those of `*tables` too: as many as the function takes.

        What a starred argument holds is looked up by its place: of a tuple that is written out it is followed, and what
        stands behind it is not told where there are more arguments behind.
        """
        found: list[ast.expr] = []
        for number, value in enumerate(call.args):
            if not isinstance(value, ast.Starred):
                found.append(value)
                continue
            if number == len(call.args) - 1 and self._has_parts(value.value):
                taken = {keyword.arg for keyword in call.keywords}
                rest = range(most - len(found)) if None not in taken else range(0)
                found += [self._element(value, place) for place in rest]
            break
        return found

    def enter(self, node: ast.AST, above: ast.AST) -> None:
        """Enter a node that is made of copies of others, as one that stands inside of a node of the program."""
        self._parents[node] = above
        for each in ast.walk(node):
            self._parents.update((child, each) for child in ast.iter_child_nodes(each))

    def _has_parts(self, node: ast.expr, depth: int = 0) -> bool:
        """Whether the elements of something may be known: not of what a library's function gives."""
        if isinstance(node, ast.Call):
            return self.callee(node) is not None
        if not isinstance(node, ast.Name):
            return isinstance(node, ast.Tuple | ast.List | ast.Attribute | ast.Subscript)
        found = self.reaching(node) if depth < _MAX_NAMES else ()
        return any(
            each.kind == "parameter" or (each.value is not None and self._has_parts(each.value, depth + 1))
            for each in found
        )

    def _element(self, starred: ast.Starred, place: int) -> ast.expr:
        """The element of a starred argument at a place, as one that the program looks up."""
        key = ("element", starred, place)
        if key not in self.memo:
            index = ast.copy_location(ast.Constant(place), starred)
            node = ast.copy_location(ast.Subscript(starred.value, index, ast.Load()), starred)
            self._parents[node], self._parents[index] = starred, node
            self.memo[key] = node
        element: ast.expr = self.memo[key]
        return element

    def reachable(self) -> set[int]:
        """The ids of the scopes that running the files can enter.

        A file without an entry point is a library: all that it holds counts.
        """
        started = [scope for scope in self.scopes if isinstance(scope.node, ast.Module)]
        if not any(self._enters(scope) for scope in started):
            return {id(scope) for scope in self.scopes}
        seen: set[int] = set()
        by_name: dict[str, list[Scope]] = {}
        for scope in self.scopes:
            for name in {scope.name, *([scope.owner] if scope.owner else [])}:
                by_name.setdefault(name, []).append(scope)
        telling = by_name.keys() | self._aliases.keys()
        while started:
            scope = started.pop()
            if id(scope) in seen:
                continue
            seen.add(id(scope))
            for name in scope.mentions & telling:
                started.extend(by_name.get(self._aliases.get(name, name), ()))
            started.extend(self._scope_of[node] for node in scope.enters)
        return seen

    def _enters(self, module: Scope) -> bool:
        for node in self.own_nodes(module):
            if isinstance(node, ast.Call) and (
                last_name(node.func) in self.functions or last_name(node.func) in self.classes
            ):
                return True
            if isinstance(node, ast.For | ast.While):
                return True
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and is_registered(node):
                return True
        return False

    def own_nodes(self, scope: Scope) -> Sequence[ast.AST]:
        """The nodes of a scope, without plain names and constants and without the insides of the functions in it."""
        found = self._own_nodes.get(scope)
        if found is None:
            found = self._own_nodes[scope] = _find_own_nodes(scope)
        return found

    def labelled(self, scope: Scope) -> Sequence[ast.AST]:
        """Those of its own nodes that hold one of its labels."""
        holding: set[ast.AST] = set()
        for label in scope.labels:
            above = self._parents[label]
            while above is not scope.node and above not in holding:
                holding.add(above)
                above = self._parents[above]
        return self.own_nodes_among(scope, holding)

    def own_nodes_among(self, scope: Scope, among: Container[ast.AST]) -> Sequence[ast.AST]:
        """Those of its own nodes that are among some, as are all that they stand in; far fewer are looked at."""
        return _find_own_nodes(scope, among)


def _find_own_nodes(scope: Scope, among: Container[ast.AST] | None = None) -> list[ast.AST]:
    found: list[ast.AST] = []
    stack: list[ast.AST] = [scope.node.body] if isinstance(scope.node, ast.Lambda) else [*reversed(scope.node.body)]
    while stack:
        node = stack.pop()
        if among is not None and node not in among:
            continue
        found.append(node)
        kind = node.__class__
        if kind is ast.FunctionDef or kind is ast.AsyncFunctionDef:
            stack.extend(node.decorator_list)  # type: ignore[attr-defined]
        elif kind is not ast.Lambda:
            stack.extend([each for each in reversed(children(node)) if each.__class__ not in _LEAVES])
    return found


_LEAVES = frozenset([ast.Name, ast.Constant])


def _is_before(definition: Definition, statement: ast.AST, line: tuple[int, int]) -> bool:
    """Whether a name has been given its value where a statement uses it."""
    same = definition.statement is statement and definition.kind not in ("parameter", "loop")
    return not same and position(definition.statement) < line
