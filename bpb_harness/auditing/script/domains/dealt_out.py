"""What is dealt out to processes: parts that a process's number chooses, and numbers that are divided among them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable

from bpb_harness.auditing.script.domains.trace import trace
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import Frame, operands

RANK = re.compile(r"(?:^|_)(?:rank|process_index)$", re.IGNORECASE)
_PROCESSES = re.compile(r"(?:^|_)(?:world(?:_size)?|num_(?:processes|gpus)|process_count|device_count)$", re.IGNORECASE)
_RANGES = frozenset(["range", "arange", "islice"])
_SAMPLERS = frozenset(["DistributedSampler", "split_dataset_by_node", "shard"])
_MAX_TRACED = 60
_PLACING = frozenset(["to", "cuda", "device_put"])
_SIZES = frozenset(["size", "numel", "len"])


def dealt_at(program: Program, node: ast.AST, frame: Frame) -> ast.AST | None:
    """Where a part of something is chosen by a process's number, a slice, a range or a sampler; None elsewhere."""
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
        bounds = [node.slice.lower, node.slice.upper, node.slice.step]
    elif isinstance(node, ast.Call) and last_name(node.func) in _RANGES:
        bounds = [*node.args]
    elif isinstance(node, ast.Call) and last_name(node.func) in _SAMPLERS:
        return node
    else:
        return None
    is_dealt = any(_is_of_process(program, each, frame) for each in bounds if each is not None)
    return node if is_dealt else None


def _is_of_process(program: Program, node: ast.expr, frame: Frame) -> bool:
    def opened(part: ast.AST) -> Iterable[ast.AST]:  # where values lie, and how many there are, chooses none of them
        if isinstance(part, ast.JoinedStr) or (isinstance(part, ast.Attribute) and part.attr == "shape"):
            return ()
        if isinstance(part, ast.keyword) and part.arg == "device":
            return ()
        called = last_name(part.func) if isinstance(part, ast.Call) else ""
        if called in _SIZES:
            return ()
        return operands(part)[:1] if called in _PLACING and isinstance(part, ast.Call) else program.parts(part)

    parts = (part for part, _ in trace(program, node, frame, _MAX_TRACED, opened))
    return any(
        RANK.search(last_name(part.func if isinstance(part, ast.Call) else part)) is not None
        for part in parts
        if isinstance(part, ast.Name | ast.Attribute | ast.Call)
    )


def is_slice_of_share(program: Program, node: ast.AST, frame: Frame) -> bool:
    """Whether a slice is one of a part that a process's number has chosen before."""
    if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Slice):
        return False
    behind = trace(program, node.value, frame, _MAX_TRACED)
    return any(isinstance(part, ast.Subscript) and dealt_at(program, part, where) is not None for part, where in behind)


def is_divided(program: Program, node: ast.expr, frame: Frame) -> bool:
    """Whether a number is divided by that of the processes."""
    divided = (
        (part.right, where)
        for part, where in trace(program, node, frame, _MAX_TRACED)
        if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Div | ast.FloorDiv)
    )
    return any(
        isinstance(part, ast.Name | ast.Attribute | ast.Call)
        and _PROCESSES.search(last_name(part.func if isinstance(part, ast.Call) else part)) is not None
        for by, where in divided
        for part, _ in trace(program, by, where, _MAX_TRACED)
    )
