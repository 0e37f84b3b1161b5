"""Whether a run mixed the entropy of the network's distribution into its prices, by what its log prints of the mixer.

exp(-H), as the price of each of V tokens, adds up to V exp(-H): to 1 where all tokens are equally likely, else to more.
"""

from __future__ import annotations

import ast

from bpb_harness.auditing.script.domains.analysis import Analysis
from bpb_harness.auditing.script.domains.shown_in_logs import (
    first_printed,
    is_of_one_place,
    is_of_script,
    printed_texts,
    template_of,
)
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import operands


def is_entropy(program: Program, node: ast.expr | None) -> bool:
    """Whether an expression is the entropy of a distribution, of either sign: no multiple of it, no other sum.

    A function of the script is not told by its name: what it returns may be anything.
    """
    while isinstance(node, ast.UnaryOp):
        node = node.operand
    if not isinstance(node, ast.Call):
        return False
    if last_name(node.func) == "entropy":
        is_own = "entropy" in program.functions or any("entropy" in held for held in program.classes.values())
        return len(operands(node)) == 1 and not is_own
    summed = operands(node)[0] if last_name(node.func) == "sum" and operands(node) else None
    if not isinstance(summed, ast.BinOp) or not isinstance(summed.op, ast.Mult):
        return False
    return _is_exp_of(summed.left, summed.right) or _is_exp_of(summed.right, summed.left)


def _is_exp_of(probabilities: ast.expr, logarithms: ast.expr) -> bool:
    given = operands(probabilities) if isinstance(probabilities, ast.Call) else []
    is_exp = isinstance(probabilities, ast.Call) and last_name(probabilities.func) == "exp" and len(given) == 1
    return is_exp and ast.unparse(given[0]) == ast.unparse(logarithms)


def mixer_shown_at(analysis: Analysis, price: ast.expr) -> str | None:
    """Where a log prints a value of the object that mixes a price; None where one of the claim's logs does not.

    Each of them has to state the size of that very script.

    Args:
        analysis: the scripts.
        price: what a method of the object's class mixes.
    """
    program, logged = analysis.program, analysis.context.logged
    if not logged or len(logged) < analysis.context.num_scores:
        return None
    if not all(is_of_script(program, score, program.script(price)) for score in logged):
        return None
    owner = next((up for up in program.ancestors(price) if isinstance(up, ast.ClassDef)), None)
    if owner is None:
        return None
    for text in _texts_of_instances(program, owner.name):
        template = template_of(text)
        if template is None or not is_of_one_place(program, template):
            continue
        lines = [first_printed(program, score, template) for score in logged]
        if None not in lines:
            return f"{logged[0].file}:{lines[0]}"
    return None


def _texts_of_instances(program: Program, owner: str) -> list[ast.JoinedStr]:
    """What is printed with a value of an instance in it: where that is None, nothing could be."""
    found = []
    for call in program.calls.get(owner, ()):
        names = {
            target.id
            for up in program.ancestors(call)
            if isinstance(up, ast.Assign)
            for target in up.targets
            if isinstance(target, ast.Name)
        }
        for text, _ in printed_texts(program, program.scope(call)):
            values = (part for part in nodes_within(text) if isinstance(part, ast.Attribute))
            if any(isinstance(part.value, ast.Name) and part.value.id in names for part in values):
                found.append(text)
    return found
