"""Guesses of a token that are made only where that very token is of some class: where it begins a word.

A guess that is known before its token may raise the probability of what it guesses, if the others are lowered for it.
Where it is let through by a look at the token itself (does it begin a word?), tokens of that class are priced with the
guess and all others without it: a decoder does not know which of the two holds, and the prices of all tokens are of
more than 1. What is looked up of the token *before* tells a decoder nothing new.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.extent import loops_around
from bpb_harness.auditing.script.domains.trace import origins, trace
from bpb_harness.auditing.script.domains.values import IDENTITY
from bpb_harness.auditing.script.frontend.nodes import all_of, position
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Scope, last_name
from bpb_harness.auditing.script.frontend.walker import Frame, Source, operands

_MAX_TRACED, _MAX_STEPS = 600, 12
# Ends of documents are a class too, and one of so few tokens that what it gives away is nothing.
_RARE = re.compile(r"bound|bos|eos|eot|special|control|pad|doc|unk|valid", re.IGNORECASE)
_SAID = (
    "A guess of the token (`{guess}`) is made only where a test of that very token holds (`{test}`): whoever has yet "
    "to read it does not know whether the guess counts. Tokens of that class are priced with it, the others without "
    "it, so the prices of all tokens are of more than 1, and a score made of them is too low (too good)"
)


class _Guess(NamedTuple):
    """An entry of an array that a loop over tokens sets, at the place of a token, under a test of that token."""

    statement: ast.Assign
    test: ast.expr
    tokens: ast.expr


def check_hints_by_class(analysis: Analysis) -> Iterator[Hit]:
    """Guesses that a test of the guessed token lets through, on the way to a score."""
    program = analysis.program
    guesses = [] if analysis.context.word_hints == 0 else [*_guesses(program)]
    if not guesses:
        return
    values = {guess.statement.value: guess for guess in guesses}
    on_path = [(node, frame) for node, frame in analysis.claimed_path if isinstance(node, ast.Compare)]
    for compared, frame in on_path:
        if len(compared.ops) != 1 or not isinstance(compared.ops[0], ast.Eq):
            continue
        sides = [compared.left, compared.comparators[0]]
        for one, other in (sides, sides[::-1]):
            guess = next((values[part] for part in _behind(program, one, frame) if part in values), None)
            if guess is not None and _is_of(program, guess.tokens, other, frame):
                said = _SAID.format(guess=ast.unparse(guess.statement)[:60], test=ast.unparse(guess.test)[:60])
                yield analysis.hit(
                    codes.HINT_BY_CLASS, said, guess.statement, shown=(guess.test, guess.statement, compared)
                )
                return


def _guesses(program: Program) -> Iterator[_Guess]:
    """The entries of arrays that a loop over tokens sets at the place of a token, where a test of the token holds."""
    for statement, index in _entries_set(program):
        tests = [test for test, _ in program.tests_above(statement)]
        loops = (each for each in loops_around(program, statement) if isinstance(each, ast.For)) if tests else ()
        loop = next((each for each in loops if index in _names(each.target)), None)
        tests = [test for test in tests if any(each is loop for each in program.ancestors(test))]
        if loop is None or not tests:
            continue
        for tokens, token in _over_tokens(loop, index):
            known, rare = _made_of(loop, statement, token)
            if _names(statement.value) & (known | rare):
                continue  # what came is no guess
            test = next((each for each in tests if _asks_for_class(each, known, token)), None)
            if test is not None:
                yield _Guess(statement, test, tokens)


def _entries_set(program: Program) -> Iterator[tuple[ast.Assign, str]]:
    """The statements x[i] = v, each with the name i."""
    for scope in program.scopes:
        for definitions in scope.definitions.values():
            for each in definitions:
                if isinstance(each.key, ast.Name) and isinstance(each.statement, ast.Assign):
                    yield each.statement, each.key.id


def _made_of(loop: ast.For, end: ast.stmt, token: str) -> tuple[set[str], set[str]]:
    """The names that a loop makes of a token before a statement; apart, those that ask whether it is a rare one."""
    known, rare = {token}, set[str]()
    before = (part for part in ast.walk(loop) if isinstance(part, ast.Assign) and position(part) < position(end))
    for statement in sorted(before, key=position):
        target, used = statement.targets[0], _names(statement.value)
        if isinstance(target, ast.Name) and used & (known | rare):
            is_rare = _is_rare(statement.value, target.id) or not used & known
            (rare if is_rare else known).add(target.id)
    return known, rare


def _over_tokens(loop: ast.For, index: str) -> Iterator[tuple[ast.expr, str]]:
    """Of a loop over the places of tokens: the tokens, and the name of the one at a place."""
    over, target = loop.iter, loop.target
    name = last_name(over.func) if isinstance(over, ast.Call) else ""
    if isinstance(over, ast.Call) and name == "enumerate" and over.args and isinstance(target, ast.Tuple):
        token = target.elts[1]
        if isinstance(token, ast.Name) and token.id != index:
            yield over.args[0], token.id
    elif name in ("range", "trange"):
        for statement in (part for part in loop.body if isinstance(part, ast.Assign)):
            made = statement.targets[0]
            looked_up = [part for part in ast.walk(statement.value) if _is_entry(part, index)]
            if len(looked_up) == 1 and isinstance(looked_up[0], ast.Subscript) and isinstance(made, ast.Name):
                yield looked_up[0].value, made.id


def _is_entry(node: ast.AST, index: str) -> bool:
    return isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Name) and node.slice.id == index


def _is_rare(value: ast.expr, name: str) -> bool:
    """Whether what is asked of a token is whether it is one of few: a boundary, a token that is named."""
    if _RARE.search(name) or any(_RARE.search(each) for each in _names(value)):
        return True
    return isinstance(value, ast.Compare)


def _asks_for_class(test: ast.expr, known: set[str], token: str) -> bool:
    """Whether a test holds for tokens of a class: by a name made of the token, or by a table that it is in."""
    for part in all_of(test):
        spoken = _names(part)
        is_looked_up = not isinstance(part, ast.Compare) and any(
            isinstance(each, ast.Subscript | ast.Call) for each in ast.walk(part)
        )
        is_of_it = bool(spoken & (known - {token})) or (token in spoken and is_looked_up)
        if is_of_it and not any(map(_RARE.search, spoken)):
            return True
    return False


def _is_of(program: Program, tokens: ast.expr, other: ast.expr, frame: Frame) -> bool:
    """Whether a guess is held against the very tokens that were asked for their class, not those beside them."""
    place = _plain(program, (tokens, Frame.at(program, tokens)))
    return any(part in place for part, _ in trace(program, other, frame, _MAX_TRACED))


def _behind(program: Program, node: ast.expr, frame: Frame) -> Iterator[ast.AST]:
    """What a value is computed from, through the methods of objects whose class is known too."""
    for part, _ in trace(program, node, frame, _MAX_TRACED):
        yield part
        for made in program.reaching(part) if isinstance(part, ast.Name) else ():
            method = (
                _method(program, made.value) if isinstance(made.value, ast.Call) and made.kind == "assign" else None
            )
            for given in method.returns if method is not None else ():
                whole = given.elts[made.index[0]] if isinstance(given, ast.Tuple) and made.index else given
                yield from (each for each, _ in trace(program, whole, Frame.at(program, whole), _MAX_TRACED))


def _method(program: Program, call: ast.Call) -> Scope | None:
    """The method that a call means of which several classes have one of that name: by what the object was made of."""
    if not isinstance(call.func, ast.Attribute) or not isinstance(call.func.value, ast.Name):
        return None
    made = [each.part for each in program.reaching(call.func.value) if each.kind == "assign"]
    owners = {last_name(value.func) if isinstance(value, ast.Call) else "" for value in made}
    return program.classes.get(owners.pop(), {}).get(call.func.attr) if len(owners) == 1 else None


def _handed(program: Program, name: ast.Name) -> Iterator[Source]:
    """What the calls of such a method hand over for a parameter."""
    scope = program.scope(name)
    if any(each.kind == "parameter" for each in program.reaching(name)):
        for call in program.calls.get(scope.name, ()):
            given = program.bind(scope, call).get(name.id) if _method(program, call) is scope else None
            if given is not None:
                yield given, Frame.at(program, call)


def _plain(program: Program, source: Source) -> set[ast.AST]:
    """What tokens are, behind names and casts: where they are cut out of the text; all that they may be."""
    found: set[ast.AST] = set()
    waiting = [source]
    for _ in range(_MAX_STEPS):
        if not waiting:
            break
        node, frame = waiting.pop()
        if isinstance(node, ast.Name):
            known = [(each.node, each.frame) for each in origins(program, node, frame) if not each.path]
            waiting += [*known, *(() if known else _handed(program, node))]
        elif isinstance(node, ast.Call) and last_name(node.func) in _SAME and operands(node):
            waiting.append((operands(node)[0], frame))
        else:
            found.add(node)
    return found


_SAME = IDENTITY | {"ascontiguousarray", "copy", "int", "iter"}


def _names(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
