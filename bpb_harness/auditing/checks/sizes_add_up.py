"""BPB459: a log's total size that is not the sum of the two that it states, where its script prints their sum.

Held against each other are only the lines that a script prints one right behind the other, ``{model}`` and
``{model + code}``, with a size of the code that is worked out in one way alone, and only in a log that states the size
of that very script. What else belongs to an artifact (a prefix, a packed script) is a sum of its own there.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.held_script import script_of_its_size
from bpb_harness.auditing.said import text_of_log
from bpb_harness.claim import LogRecord
from bpb_harness.claim.text_file import read_text
from bpb_harness.errors import ClaimError
from bpb_harness.findings import Finding

_MODEL, _CODE, _TOTAL = "Serialized model", "Code size", "Total submission size"
_SIZE = re.compile(
    rf"\s{{0,8}}(?P<head>{_MODEL}|{_CODE}|{_TOTAL})(?P<of>[^:\n]{{0,60}}): (?P<size>[0-9]{{1,12}}) bytes\s{{0,3}}"
)


@dataclass(frozen=True)
class _Sum:
    """Lines of a log: the model's size, and the total behind it."""

    line: int
    model: int
    code: int
    total: int


def check_sizes_add_up(evidence: Evidence) -> Iterator[Finding]:
    """Name the first total in the claim's logs that is not what its own script makes of the log's sizes."""
    for log in evidence.claim_logs:
        found = next(_unlike(log), None)
        printed = _script_of(log, evidence) if found is not None else None
        if found is None or printed is None:
            continue
        off = found.total - found.model - found.code
        than = f"{abs(off):,} bytes {'more' if off > 0 else 'less'} than"
        message = (
            f"{log.file}:{found.line} gives {found.total:,} bytes in all, behind {found.model:,} of the model and "
            f"{found.code:,} of code: {than} the sum of both, which its script prints there ({printed}), by the size "
            "that the log states: lines of the log were changed, or another script wrote it"
        )
        missing = f"{log.file} as the run printed it, with the script that did"
        yield codes.SIZES_DO_NOT_ADD_UP.finding(message, place=f"{log.file}:{found.line}", off=off, missing=missing)
        return


def _unlike(log: LogRecord) -> Iterator[_Sum]:
    """Totals right behind a model of the same name that are not more by the size of the code, which is stated once."""
    text = text_of_log(log)
    if _TOTAL not in text or _MODEL not in text:
        return
    # Most lines of a log are others, which their ends tell at once.
    ends = ((number, line) for number, line in enumerate(text.split("\n"), 1) if "bytes" in line[-8:])
    found = {number: size for number, line in ends if (size := _SIZE.fullmatch(line)) is not None}
    stated = {int(size["size"]) for size in found.values() if size["head"] == _CODE}
    for number, total in found.items() if len(stated) == 1 else ():
        model = found.get(number - 1)
        if total["head"] == _TOTAL and model is not None and model["head"] == _MODEL and model["of"] == total["of"]:
            (code,) = stated
            if int(total["size"]) != int(model["size"]) + code:
                yield _Sum(number, int(model["size"]), code, int(total["size"]))


def _script_of(log: LogRecord, evidence: Evidence) -> str | None:
    """Where the script whose size the log states has its sum; None where it prints the total otherwise."""
    from bpb_harness.auditing.script import foreign_code_size  # deferred: rare

    try:
        name, source = log.file, script_of_its_size(log, evidence.lines)
        if source is None and not log.holds_script:
            text = text_of_log(log)
            own = [script for script in evidence.claim.scripts if foreign_code_size(text, [script]) is None]
            name, source = (own[0].name, read_text(own[0], own[0].name).text) if len(own) == 1 else ("", None)
        sums = [*_sums(ast.parse(source or ""))]
    except (ClaimError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return f"{name}:{sums[0]}" if sums and None not in sums else None


def _sums(tree: ast.Module) -> Iterator[int | None]:
    """Of each total that a script prints, the line, if it is that of the line before it and of the code's size."""
    assigned: dict[str, set[str]] = {}
    plain: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    assigned.setdefault(target.id, set()).add(ast.dump(node.value))
                    plain.add(id(target))
    for node in ast.walk(tree):  # whatever else gives a name its value may add to it: `code_bytes += len(tokenizer)`
        if isinstance(node, ast.arg) or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)):
            name = node.arg if isinstance(node, ast.arg) else node.id
            assigned.setdefault(name, set()).update([] if id(node) in plain else ["", name])
    code = {held.id for node in ast.walk(tree) if isinstance(held := _printed(node, _CODE), ast.Name)}
    code = {name for name in code if len(assigned.get(name, ())) == 1}
    for before, after in _neighbours(tree):
        total, model = _printed(after, _TOTAL), _printed(before, _MODEL)
        if total is not None:
            parts = (total.left, total.right) if isinstance(total, ast.BinOp) and isinstance(total.op, ast.Add) else ()
            names = [part.id for part in parts if isinstance(part, ast.Name)]
            is_sum = isinstance(model, ast.Name) and len(names) == 2 and names[0] == model.id and names[1] in code
            yield after.lineno if is_sum else None


def _neighbours(tree: ast.Module) -> Iterator[tuple[ast.stmt | None, ast.stmt]]:
    """Each statement with the one right before it."""
    for node in ast.walk(tree):
        for block in (getattr(node, field, None) for field in ("body", "orelse", "finalbody")):
            if isinstance(block, list):
                yield from zip([None, *block], block, strict=False)


def _printed(node: ast.AST | None, head: str) -> ast.expr | None:
    """What a statement prints last, in an f-string that begins with some words."""
    call = node.value if isinstance(node, ast.Expr) else None
    text = call.args[0] if isinstance(call, ast.Call) and call.args else None
    parts = text.values if isinstance(text, ast.JoinedStr) else []
    if not parts or not isinstance(parts[0], ast.Constant) or not str(parts[0].value).startswith(head):
        return None
    held = [part.value for part in parts if isinstance(part, ast.FormattedValue)]
    return held[-1] if held else None
