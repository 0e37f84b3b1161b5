"""What is written to a file, or a buffer, that something is read from by the same words."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import operands


def writings(program: Program, reading: ast.Call) -> Iterator[ast.Call]:
    """The calls that write to where a call reads from: torch.save(x, path), f.write(x), path.write_bytes(x)."""
    for name in ("save", "write", "dump", "write_bytes"):
        for call in program.calls.get(name, []):
            if call.args and any(_is_read(program, place, reading) for place in _places(program, call)):
                yield call


def _places(program: Program, call: ast.Call) -> Iterator[ast.expr]:
    """Where a call writes to: path of torch.save(x, path), of path.write_bytes(x), and f.write(x) of f = open(path)."""
    name = last_name(call.func)
    if name in ("save", "dump") and len(call.args) > 1:
        yield call.args[1]
    elif name in ("write", "write_bytes") and isinstance(call.func, ast.Attribute):
        yield call.func.value
        opened = program.reaching(call.func.value) if isinstance(call.func.value, ast.Name) else ()
        for each in opened:
            if isinstance(each.value, ast.Call) and last_name(each.value.func) == "open":
                yield from operands(each.value)[:1]


def _is_read(program: Program, place: ast.expr, reading: ast.Call) -> bool:
    """Whether what is written to and what is read from are one: the same path, or one buffer."""
    if isinstance(place, ast.Name) and any(each.value is reading for each in program.reaching(place)):
        return True
    return bool(reading.args) and ast.dump(place) == ast.dump(reading.args[0])
