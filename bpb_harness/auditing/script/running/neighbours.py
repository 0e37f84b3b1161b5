"""Names that are followed from file to file of a submission: ``from train import GPT``, ``import train as t``; t.GPT.

What is found is run in one namespace. So that no file gets another's constant, two files that mean two things by one
name are not run together.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from bpb_harness.auditing.script.frontend.scopes import Script

HERE = "__here__"
"""Under which the limited process has an object whose attributes are the names of its namespace."""


@dataclass(frozen=True)
class Followed:
    """A name, and the number of the file in which it was read."""

    name: str
    file: int


class Neighbours:
    """The modules of a submission.

    Args:
        scripts: its files, parsed.
    """

    def __init__(self, scripts: Sequence[Script]) -> None:
        self.scripts = scripts
        self.by_stem = {PurePath(script.path).stem: file for file, script in enumerate(scripts)}
        self.tables = [names_of_module(script.tree) for script in scripts]
        self.modules = [self._imported_whole(file) for file in range(len(scripts))]

    def _imported_whole(self, file: int) -> dict[str, int]:
        """The names under which a file has other files: t of ``import train as t``."""
        found = {}
        for node in ast.walk(self.scripts[file].tree):
            for alias in node.names if isinstance(node, ast.Import) else ():
                neighbour = self.by_stem.get(alias.name)
                if neighbour is not None and neighbour != file:
                    found[alias.asname or alias.name] = neighbour
        return found

    def named_in(self, statement: ast.AST, file: int) -> Iterator[Followed]:
        """The names that a statement of a file reads, those of other files' modules among them."""
        whole = self.modules[file]
        for part in ast.walk(statement):
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load):
                yield Followed(part.id, file)
            elif isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id in whole:
                yield Followed(part.attr, whole[part.value.id])

    def followed(self, start: Sequence[Followed]) -> tuple[list[tuple[ast.stmt, int]], str | None]:
        """The statements that some names need, imported files first; and why they cannot be run together, if so."""
        waiting, done = [*start], set[Followed]()
        chosen: dict[int, tuple[ast.stmt, int]] = {}
        meant: dict[str, dict[int, list[ast.stmt]]] = {}
        while waiting:
            wanted = waiting.pop()
            if wanted in done:
                continue
            done.add(wanted)
            for statement, file in self._binding(wanted):
                neighbours = [*self._of_neighbours(statement, file)]
                if neighbours:
                    waiting += [
                        Followed(alias.name, other) for alias, other in neighbours if _given(alias) == wanted.name
                    ]
                else:
                    meant.setdefault(wanted.name, {}).setdefault(file, []).append(statement)
                if id(statement) not in chosen:
                    chosen[id(statement)] = statement, file
                    waiting += [] if neighbours else self.named_in(statement, file)
        clash = next((said for name, files in meant.items() if (said := self._clash(name, files)) is not None), None)
        order = {file: place for place, file in enumerate(self._order())}
        places = {id(held): place for script in self.scripts for place, held in enumerate(script.tree.body)}
        ordered = sorted(chosen.values(), key=lambda held: (order[held[1]], places.get(id(held[0]), 0)))
        return [(made, file) for held, file in ordered for made in self._resolved(held, file)], clash

    def _binding(self, wanted: Followed) -> Iterator[tuple[ast.stmt, int]]:
        """The statements that give a name its value: of its own file, else of those whose names it takes over whole."""
        own = self.tables[wanted.file].get(wanted.name)
        if own is not None:
            yield from ((statement, wanted.file) for statement in own)
            return
        for file in [*self._taken_over(wanted.file), *(f for f in range(len(self.scripts)) if f != wanted.file)]:
            held = self.tables[file].get(wanted.name)
            if held is not None:
                yield from ((statement, file) for statement in held)
                return

    def _taken_over(self, file: int) -> Iterator[int]:
        """The files of which a file imports all names."""
        for statement in _top_level(self.scripts[file].tree):
            if isinstance(statement, ast.ImportFrom) and any(alias.name == "*" for alias in statement.names):
                neighbour = self.by_stem.get(statement.module or "")
                if neighbour is not None:
                    yield neighbour

    def _of_neighbours(self, statement: ast.stmt, file: int) -> Iterator[tuple[ast.alias, int]]:
        """What a statement imports from other files of the submission by name."""
        if isinstance(statement, ast.ImportFrom):
            neighbour = self.by_stem.get((statement.module or "").rpartition(".")[2])
            if neighbour is not None and neighbour != file:
                yield from ((alias, neighbour) for alias in statement.names)

    def _resolved(self, statement: ast.stmt, file: int) -> Iterator[ast.stmt]:
        """A statement as it is run: what it imports from other files is there already, under its own name."""
        neighbours = [*self._of_neighbours(statement, file)]
        whole = self.modules[file]
        if neighbours:
            renamed = [(alias.asname, alias.name) for alias, _ in neighbours if alias.asname not in (None, alias.name)]
            yield from (_same(new, old, statement) for new, old in renamed if new is not None)
        elif isinstance(statement, ast.Import) and any(_given(alias) in whole for alias in statement.names):
            others = [alias for alias in statement.names if _given(alias) not in whole]
            if others:
                yield ast.copy_location(ast.Import(others), statement)
            yield from (_same(_given(each), HERE, statement) for each in statement.names if _given(each) in whole)
        else:
            yield statement

    def _clash(self, name: str, files: dict[int, list[ast.stmt]]) -> str | None:
        said = {tuple(map(ast.dump, statements)) for statements in files.values()}
        if len(said) < 2 or all(isinstance(held[0], ast.Import | ast.ImportFrom) for held in files.values()):
            return None
        first, second = (PurePath(self.scripts[file].path).name for file in sorted(files)[:2])
        return (
            f"{name} is one thing in {first} and another in {second}, and it needs both; a file that holds all that it "
            "needs can be run"
        )

    def _order(self) -> list[int]:
        """The files, those that others import first."""
        ordered: list[int] = []
        seen: set[int] = set()

        def place(file: int) -> None:
            if file in seen:
                return
            seen.add(file)
            for neighbour in sorted({*self.modules[file].values(), *self._imported_from(file)}):
                place(neighbour)
            ordered.append(file)

        for file in range(len(self.scripts)):
            place(file)
        return ordered

    def _imported_from(self, file: int) -> Iterator[int]:
        for statement in _top_level(self.scripts[file].tree):
            yield from (other for _, other in self._of_neighbours(statement, file))


def _given(alias: ast.alias) -> str:
    """The name that an import gives."""
    return (alias.asname or alias.name).split(".", maxsplit=1)[0]


def _same(name: str, other: str, where: ast.stmt) -> ast.stmt:
    made = ast.Assign([ast.Name(name, ast.Store())], ast.Name(other, ast.Load()))
    return ast.fix_missing_locations(ast.copy_location(made, where))


def _top_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements of a module, without `if __name__ == ..`."""
    for statement in tree.body:
        if not isinstance(statement, ast.If) or "__name__" not in ast.dump(statement.test):
            yield statement


def names_of_module(tree: ast.Module) -> dict[str, list[ast.stmt]]:
    """For each name of a module, the statements that bind it."""
    table: dict[str, list[ast.stmt]] = {}
    for statement in _top_level(tree):
        for name in _bound(statement):
            table.setdefault(name, []).append(statement)
    return table


def _bound(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.For | ast.While | ast.With | ast.Expr):
        return set()  # what a module does is not run
    names: set[str] = set()
    for part in ast.walk(statement):
        if isinstance(part, ast.Import | ast.ImportFrom):
            names |= {_given(alias) for alias in part.names}
        elif isinstance(part, ast.FunctionDef | ast.ClassDef):
            names.add(part.name)
        elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            names.add(part.id)
    return names
