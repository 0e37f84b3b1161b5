"""Byte tables that a script's main fills in a loop: each becomes a function, whose value its arguments are made by.

    table = torch.zeros(args.vocab_size)                   def table_in_main_at_line_7(args, sp):
    for i in range(args.vocab_size):              ->           ..
        table[i] = len(sp.id_to_piece(i))                      return table
                                                           table = table_in_main_at_line_7(args, sp)

Nothing is run here.
"""

from __future__ import annotations

import ast
import builtins
import copy
from collections.abc import Iterator, Sequence

from bpb_harness.auditing.script.domains.pieces import PIECE_CALLS
from bpb_harness.auditing.script.frontend.nodes import calls_in, names_in, new_function
from bpb_harness.auditing.script.frontend.scopes import Script, last_name
from bpb_harness.auditing.script.running.lifted_loops import before_entry, free_names, is_plain, silent
from bpb_harness.auditing.script.running.neighbours import names_of_module

TABLE = "table_in_"
_ADDS = frozenset(["append", "extend", "add", "update"])


def lift_tables(scripts: Sequence[Script]) -> None:
    """Make functions of the loops of functions that fill tables by looking at pieces, in the trees that are given."""
    own = {name for script in scripts for name in names_of_module(script.tree)}
    for script in scripts:
        for function in [part for part in ast.walk(script.tree) if isinstance(part, ast.FunctionDef)]:
            for holder in [
                part for part in ast.walk(function) if isinstance(part, ast.FunctionDef | ast.If | ast.With)
            ]:
                for block in (getattr(holder, "body", []), getattr(holder, "orelse", [])):
                    _lift_in(script.tree, function, block, own)


def _lift_in(tree: ast.Module, function: ast.FunctionDef, block: list[ast.stmt], own: set[str]) -> None:
    for end in range(len(block) - 1, -1, -1):
        loop = block[end]
        if not isinstance(loop, ast.For) or not any(last_name(call.func) in PIECE_CALLS for call in calls_in(loop)):
            continue
        filled = [*dict.fromkeys(_filled(loop))]
        start = _first_of(block, end, filled)
        if not filled or start is None or not all(map(is_plain, block[start : end + 1])):
            continue
        _lift(tree, function, block, slice(start, end + 1), filled, own)
        return


def _filled(loop: ast.For) -> Iterator[str]:
    """The names whose entries a loop sets: table[i] = .., table.append(..)."""
    for part in ast.walk(loop):
        holder: ast.expr | None = None
        if isinstance(part, ast.Subscript) and isinstance(part.ctx, ast.Store):
            holder = part.value
        elif isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and part.func.attr in _ADDS:
            holder = part.func.value
        if isinstance(holder, ast.Name):
            yield holder.id


def _first_of(block: Sequence[ast.stmt], end: int, names: Sequence[str]) -> int | None:
    """Where the first of some names is made before a place; None where one is not made in the block."""
    places = []
    for name in names:
        made = [place for place, held in enumerate(block[:end]) if name in _assigned(held)]
        if not made:
            return None
        places.append(made[-1])
    return min(places, default=None)


def _assigned(statement: ast.stmt) -> set[str]:
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return set()
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return names_in(*targets)


def _lift(
    tree: ast.Module, owner: ast.FunctionDef, block: list[ast.stmt], region: slice, filled: list[str], own: set[str]
) -> None:
    loop = block[region][-1]
    name = f"{TABLE}{owner.name}_at_line_{loop.lineno}"
    body = [silent(copy.deepcopy(statement)) for statement in block[region]]
    # What else the statements make is read behind them too.
    made = dict.fromkeys([*filled, *(each for statement in block[region] for each in sorted(_assigned(statement)))])
    value: ast.expr = ast.Tuple([ast.Name(each, ast.Load()) for each in made], ast.Load())
    target: ast.expr = ast.Tuple([ast.Name(each, ast.Store()) for each in made], ast.Store())
    if len(made) == 1:
        value, target = value.elts[0], target.elts[0]  # type: ignore[attr-defined]
    end = ast.Return(value)
    parameters = [each for each in free_names([*body, end]) if each not in own and not hasattr(builtins, each)]
    function = new_function(name, parameters, [*body, end])
    call = ast.Call(ast.Name(name, ast.Load()), [ast.Name(each, ast.Load()) for each in parameters], [])
    placed = ast.Assign([target], call)
    for part in (function, placed):
        ast.copy_location(part, loop)
        ast.fix_missing_locations(part)
    block[region] = [placed]
    tree.body.insert(before_entry(tree), function)
