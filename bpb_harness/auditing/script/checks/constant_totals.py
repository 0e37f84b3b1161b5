"""Totals of the whole text that stand in a script as constants: they show nothing of what was scored."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.values import Evaluator

_TOTAL = 1e5  # bytes or tokens; what is larger is no size of a batch
_NAMES = ("scored_tokens", "tokens_scored", "num_scored_tokens", "eval_tokens")
_PRINTED = re.compile(rf"\b(?:{'|'.join(_NAMES)})\s?[:=]\s?(?:\{{\s*(?P<name>\w+)|(?P<number>[0-9][0-9_,]*))")


def check_constant_totals(analysis: Analysis) -> Iterator[Hit]:
    """A score that is divided by a constant number of bytes, and a printed number of scored tokens that is constant.

    A log that divides by the right number, or prints it, shows what was scored only where the run has counted it.
    """
    for number, terms in enumerate(analysis.terms):
        for factor in (factor for term in terms for factor in term.factors if factor.power < 0):
            evaluator = Evaluator(analysis.program)
            value = evaluator.number(factor.node, factor.frame)
            if value is not None and value >= _TOTAL and not evaluator.leaves:
                said = f"The score is divided by {value:,.0f}, a constant of the script, whatever was scored"
                evidence = {"constant_total": value}
                yield analysis.hit(codes.CONSTANT_TOTAL, said, factor.node, number, evidence=evidence)
                break
    yield from _printed(analysis)


def _printed(analysis: Analysis) -> Iterator[Hit]:
    # Most scripts hold none of the names, and a text is searched for a plain word far faster than for an expression.
    for script in (each for each in analysis.program.scripts if any(name in each.text for name in _NAMES)):
        for found in _PRINTED.finditer(script.text):
            value = _constant(analysis, found["name"]) if found["name"] else float(re.sub("[_,]", "", found["number"]))
            if value is not None and value >= _TOTAL:
                said = f"The script prints {value:,.0f} scored tokens, a constant, whatever was scored"
                yield analysis.hit(codes.CONSTANT_TOTAL, said, script.tree, evidence={"constant_total": value})
                return


def _constant(analysis: Analysis, name: str) -> float | None:
    """What a name is, wherever it is given its value; None where one of these is no number that is written out."""
    values = [analysis.number(value) for value in analysis.named_values(re.escape(name))]
    known = [value for value in values if value is not None]
    return known[0] if values and len(known) == len(values) == len([v for v in known if v == known[0]]) else None
