"""Evaluation loops that stand in a script's main: each becomes a function, which the others are run like.

    total = 0.0                                    def evaluation_in_main_at_line_7(val_tokens, model):
    for x in windows(val_tokens):          ->          total = 0.0
        total += bits(model, x)                        for x in windows(val_tokens): ..
    print(f"val_bpb: {total / count}")                 return total / count

What the loop and the statements right before it read of main becomes a parameter; what is printed is returned. Nothing
is run here. A loop that trains, or whose total is reported somewhere else, stays where it is.
"""

from __future__ import annotations

import ast
import builtins
import copy
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from bpb_harness.auditing.script.domains.sinks import find_sinks
from bpb_harness.auditing.script.frontend.nodes import calls_in, names_in, new_function, stored_in
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import FUNCTIONS, Scope, Script, last_name
from bpb_harness.auditing.script.running.neighbours import names_of_module

LIFTED = "evaluation_in_"
_LOOPS = (ast.For, ast.While)
_PRICES = frozenset(["cross_entropy", "log_softmax", "logsumexp", "nll_loss", "softmax"])
_TRAINS = frozenset(["backward", "step", "zero_grad", "save", "savez", "savez_compressed"])
_LOADS = frozenset(
    ["load", "open", "fromfile", "memmap", "parse_args", "load_state_dict", "from_pretrained", "urlopen"]
)
_SAYS = frozenset(["print", "log", "log0", "info", "write", "flush", "set_postfix", "set_description", "add_scalar"])
_BLOCKS = ("body", "orelse", "finalbody")


def lift_loops(
    scripts: Sequence[Script], callable_alone: Collection[str] = (), is_handed: Callable[[str], bool] = lambda _: False
) -> list[str]:
    """Make functions of the evaluation loops that print a score, in the trees that are given.

    Args:
        scripts: parsed files; their trees are changed.
        callable_alone: names of functions that can be called as they are: their loops stay.
        is_handed: whether a name of a module is handed over all the same: a text, or a network.

    Returns:
        The names of the functions, which begin with `LIFTED`.
    """
    program = Program(scripts)
    regions: dict[int, _Region] = {}  # one a loop
    for sink in find_sinks(program):
        scope = program.scope(sink.node)
        if scope.name in callable_alone:
            continue
        region = _region_of(program, scope, sink.node)
        if region is not None:
            known = regions.setdefault(id(region.loop), region)
            known.end = max(known.end, region.end)
            known.returned[ast.dump(sink.node)] = sink.node
    lifted = []
    for region in sorted(regions.values(), key=lambda each: -each.end):  # from behind, for places to stay right
        lifted.append(_lift(program, region, is_handed))
    return lifted[::-1]


@dataclass
class _Region:
    """Statements of one block, from ``start`` up to ``end``, in which a loop adds up what is printed behind them."""

    scope: Scope
    block: list[ast.stmt]
    start: int
    end: int
    loop: ast.stmt
    returned: dict[str, ast.expr]


def _region_of(program: Program, scope: Scope, reported: ast.expr) -> _Region | None:
    statement, block = _statement_and_block(program, reported)
    if block is None:
        return None
    end = next(place for place, held in enumerate(block) if held is statement)
    wanted = names_in(reported)
    loop = None
    for place in range(end - 1, -1, -1):
        held = block[place]
        made = _bound(held)
        if loop is None and made & wanted and _is_evaluation(program, held):
            loop = held
        if made & wanted:
            wanted |= {part.id for part in _read(held)}
        if loop is None and not is_plain(held):
            return None
    if loop is None:
        return None
    start = block.index(loop)
    while start > 0 and is_plain(block[start - 1]) and not _is_evaluation(program, block[start - 1]):
        start -= 1
    return _Region(scope, block, start, end, loop, {})


def _statement_and_block(program: Program, node: ast.AST) -> tuple[ast.stmt | None, list[ast.stmt] | None]:
    """The statement that holds an expression, in a block that no loop of its function goes round."""
    statement: ast.AST = node
    while not isinstance(statement, ast.stmt):
        above = program.parent(statement)
        if above is None:
            return None, None
        statement = above
    if any(isinstance(above, _LOOPS) for above in _within(program, statement)):
        return None, None
    holder = program.parent(statement)
    for name in _BLOCKS:
        block = getattr(holder, name, None)
        if isinstance(block, list) and statement in block:
            return statement, block
    return None, None


def _within(program: Program, node: ast.AST) -> Iterator[ast.AST]:
    """What holds a node, up to its function."""
    for above in program.ancestors(node):
        if isinstance(above, FUNCTIONS):
            return
        yield above


def _is_evaluation(program: Program, statement: ast.stmt) -> bool:
    """Whether a statement is a loop, perhaps under ``with``, that asks a network and learns nothing."""
    inner = statement
    while isinstance(inner, ast.With) and len(inner.body) == 1:
        inner = inner.body[0]
    if isinstance(inner, ast.With):
        return any(_is_evaluation(program, held) for held in inner.body)
    if not isinstance(inner, _LOOPS):
        return False
    calls = [*calls_in(inner)]
    return not {last_name(call.func) for call in calls} & _TRAINS and _asks(program, calls, 2)


def _asks(program: Program, calls: Sequence[ast.Call], depth: int) -> bool:
    """Whether calls price tokens, ask a network, or are of functions that do."""
    names = {last_name(call.func) for call in calls}
    if names & _PRICES or any("model" in name.lower() for name in names):
        return True
    callees = {callee for call in calls if (callee := program.callee(call)) is not None} if depth else set()
    return any(_asks(program, [*calls_in(callee.node)], depth - 1) for callee in callees)


def is_plain(statement: ast.stmt) -> bool:
    """Whether a statement only names, counts or prepares: nothing is learnt, read from a file, or made by a loop."""
    if isinstance(statement, ast.FunctionDef):
        return True
    if isinstance(statement, ast.Return | ast.Raise | ast.ClassDef | ast.Import | ast.ImportFrom | ast.Global):
        return False
    return not {last_name(call.func) for call in calls_in(statement)} & (_TRAINS | _LOADS)


def _lift(program: Program, region: _Region, is_handed: Callable[[str], bool]) -> str:
    """Take the region out of its block into a function of the module, and call that in its place."""
    tree = program.scripts[region.scope.file].tree
    line = region.loop.lineno
    owner = "the module" if isinstance(region.scope.node, ast.Module) else region.scope.name
    name = f"{LIFTED}{owner.replace(' ', '_')}_at_line_{line}"
    body = [silent(copy.deepcopy(statement)) for statement in region.block[region.start : region.end]]
    returned: list[ast.expr] = [copy.deepcopy(node) for node in region.returned.values()]
    end = ast.Return(returned[0] if len(returned) == 1 else ast.Tuple(returned, ast.Load()))
    own = [names_of_module(script.tree) for script in program.scripts]
    given = {name for names in own for name in names if not (is_handed(name) and _is_made(names[name]))}
    parameters = [name for name in free_names([*body, end]) if name not in given and not hasattr(builtins, name)]
    function = new_function(name, parameters, [*body, end])
    call = ast.Call(
        ast.Name(name, ast.Load()), [], [ast.keyword(each, ast.Name(each, ast.Load())) for each in parameters]
    )
    behind = region.block[region.end]
    for made in (function, end, call):
        ast.copy_location(made, region.loop)
    placed: ast.stmt = ast.copy_location(ast.Expr(call), behind)
    ast.fix_missing_locations(function)
    ast.fix_missing_locations(placed)
    region.block.insert(region.end, placed)
    tree.body.insert(before_entry(tree), function)
    return name


def before_entry(tree: ast.Module) -> int:
    """The place of a module's first statement that starts it; its end where none does."""
    for place, statement in enumerate(tree.body):
        if isinstance(statement, ast.If) and "__name__" in ast.dump(statement.test):
            return place
    return len(tree.body)


def _is_made(statements: Sequence[ast.stmt]) -> bool:
    """Whether a name of a module is a value, no function, class or module."""
    return all(isinstance(statement, ast.Assign | ast.AnnAssign) for statement in statements)


def free_names(body: Sequence[ast.stmt]) -> list[str]:
    """The names that some statements read before they give them a value, in order."""
    free: dict[str, None] = {}
    bound: set[str] = set()
    for statement in body:
        for part in _read(statement):
            if part.id not in bound and not _is_bound_inside(statement, part):
                free.setdefault(part.id)
        bound |= _bound(statement)
    return [*free]


def _read(statement: ast.AST) -> Iterator[ast.Name]:
    for part in ast.walk(statement):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load):
            yield part
        elif isinstance(part, ast.AugAssign) and isinstance(part.target, ast.Name):
            yield part.target


def _is_bound_inside(statement: ast.stmt, use: ast.Name) -> bool:
    """Whether a statement with statements in it gives a name its value before it reads it."""
    if isinstance(statement, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Expr):
        comprehensions = (part for part in ast.walk(statement) if isinstance(part, ast.comprehension))
        targets = {name.id for part in comprehensions for name in ast.walk(part.target) if isinstance(name, ast.Name)}
        return use.id in targets
    for part in ast.walk(statement):
        target: Iterator[ast.AST] = iter(())
        if isinstance(part, ast.Assign):
            target = (name for each in part.targets for name in ast.walk(each))
        elif isinstance(part, ast.For | ast.comprehension):
            target = ast.walk(part.target)
        elif isinstance(part, ast.With):
            target = (name for item in part.items if item.optional_vars for name in ast.walk(item.optional_vars))
        elif isinstance(part, ast.FunctionDef) and any(
            arg.arg == use.id for arg in ast.walk(part.args) if isinstance(arg, ast.arg)
        ):
            return True
        place = getattr(part, "lineno", 0)
        if any(isinstance(name, ast.Name) and name.id == use.id for name in target) and place <= use.lineno:
            return True
    return False


def _bound(statement: ast.stmt) -> set[str]:
    names = stored_in(statement)
    return names | ({statement.name} if isinstance(statement, ast.FunctionDef) else set())


class _Silent(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        if isinstance(node.value, ast.Call) and last_name(node.value.func) in _SAYS:
            return ast.copy_location(ast.Pass(), node)
        return node


def silent(statement: ast.stmt) -> ast.stmt:
    """A statement without what it prints: where a script writes its log is closed to it."""
    made: ast.stmt = _Silent().visit(statement)
    return made
