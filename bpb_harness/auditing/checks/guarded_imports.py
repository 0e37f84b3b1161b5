"""What a script imports, and under which settings: of ``if h.tilt:``, ``elif h.mode == "x":`` and what is else."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from bpb_harness.claim.settings_told import SettingTold, is_same_setting, quantity


@dataclass(frozen=True)
class Condition:
    """A test of one setting.

    Attributes:
        name: of the setting, in small letters.
        value: what it is compared with; None where it is asked to be on.
        holds: whether the test has to hold, or not to.
    """

    name: str
    value: str | None = None
    holds: bool = True

    @property
    def is_switch(self) -> bool:
        """Whether it asks for a setting to be on."""
        return self.holds and self.value is None

    def is_met(self, told: Mapping[str, SettingTold]) -> bool | None:
        """Whether it is, by what a log tells; None where that does not tell.

        Args:
            told: settings by name.
        """
        setting = told.get(self.name)
        if setting is None:
            return None
        if self.value is None:
            number = quantity(setting.value)
            return None if number is None else bool(number) is self.holds
        return is_same_setting(setting.value, self.value) is self.holds


@dataclass(frozen=True)
class Import:
    """A module that a script imports.

    Attributes:
        name: of the module.
        line: of the import.
        conditions: what has to be met for it.
        calls: of the function that it stands in, what each call of it asks for; none where one asks for nothing known.
    """

    name: str
    line: int
    conditions: tuple[Condition, ...] = ()
    calls: tuple[tuple[Condition, ...], ...] = ()

    @property
    def settings(self) -> set[str]:
        """The names of all settings that it hangs on."""
        return {each.name for conditions in (self.conditions, *self.calls) for each in conditions}

    def is_made(self, told: Mapping[str, SettingTold]) -> bool:
        """Whether all that it asks for is met, and some call of its function may be.

        Args:
            told: settings by name, as the log of the run tells them.
        """
        is_called = not self.calls or any(all(each.is_met(told) is not False for each in call) for call in self.calls)
        return is_called and all(each.is_met(told) for each in self.conditions)


def imports_of(tree: ast.Module, known: Collection[str]) -> Iterator[Import]:
    """The modules that a script imports in no attempt that may fail, and under no test but of settings.

    Args:
        tree: the script.
        known: modules that are passed over.
    """
    calls: dict[str, list[tuple[Condition, ...]]] | None = None
    for statement in tree.body:
        for found in (each for each in _imports([statement], ()) if each.name not in known):
            if not isinstance(statement, ast.FunctionDef):
                yield found
                continue
            calls = _calls(tree) if calls is None else calls
            guards = calls.get(statement.name, [])
            yield replace(found, calls=tuple(guards) if all(guards) else ())


def _imports(body: list[ast.stmt], conditions: tuple[Condition, ...]) -> Iterator[Import]:
    for statement in body:
        if isinstance(statement, ast.Import):
            yield from (Import(each.name.partition(".")[0], statement.lineno, conditions) for each in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
            yield Import(statement.module.partition(".")[0], statement.lineno, conditions)
        elif isinstance(statement, ast.If):
            test = _test(statement.test)
            if test is not None:
                yield from _imports(statement.body, (*conditions, test))
                yield from _imports(statement.orelse, (*conditions, replace(test, holds=not test.holds)))
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.With):
            may_fail = isinstance(statement, ast.With) and any(map(_suppresses, statement.items))
            yield from _imports([] if may_fail else statement.body, conditions)


def _suppresses(item: ast.withitem) -> bool:
    """Whether what is imported may fail: ``contextlib.suppress(ImportError)``."""
    called = item.context_expr.func if isinstance(item.context_expr, ast.Call) else None
    return (isinstance(called, ast.Name) and called.id == "suppress") or (
        isinstance(called, ast.Attribute) and called.attr == "suppress"
    )


def _test(test: ast.expr) -> Condition | None:
    """What a test asks of one setting: ``args.tilt_enabled``, ``not h.tilt``, ``h.compressor == "x"``."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = _test(test.operand)
        return None if inner is None else replace(inner, holds=not inner.holds)
    if isinstance(test, ast.Attribute) and isinstance(test.value, ast.Name):
        return Condition(test.attr.lower())
    if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not isinstance(test.ops[0], ast.Eq | ast.NotEq):
        return None
    left, right = _test(test.left), test.comparators[0]
    if left is None or not left.is_switch or not isinstance(right, ast.Constant) or not isinstance(right.value, str):
        return None
    return replace(left, value=right.value, holds=isinstance(test.ops[0], ast.Eq))


def _calls(tree: ast.Module) -> dict[str, list[tuple[Condition, ...]]]:
    """By name, what is asked for wherever a function is spoken of; an empty one where nothing known is."""
    found: dict[str, list[tuple[Condition, ...]]] = {}
    stack: list[tuple[ast.AST, tuple[Condition, ...]]] = [(tree, ())]
    while stack:
        node, conditions = stack.pop()
        if isinstance(node, ast.Name):
            found.setdefault(node.id, []).append(conditions)
        elif isinstance(node, ast.If) and (test := _test(node.test)) is not None:
            stack.append((node.test, conditions))
            stack += [(each, (*conditions, test)) for each in node.body]
            stack += [(each, (*conditions, replace(test, holds=not test.holds))) for each in node.orelse]
        else:
            stack += [(each, conditions) for each in ast.iter_child_nodes(node)]
    return found
