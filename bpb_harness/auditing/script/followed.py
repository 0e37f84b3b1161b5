"""What of the way from text to score was not followed: silence about it is no check."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.checks.coverage import scored_texts
from bpb_harness.auditing.script.checks.mixed_prices import is_mixed
from bpb_harness.auditing.script.checks.weights import are_weighed
from bpb_harness.auditing.script.domains.analysis import Analysis
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.findings import Finding, listed

SCORE = "how the score was computed"
TEXT, BYTES = "how much of the text the script scores", "how the script counts bytes"
MASKS = "how the script draws and weighs masked tokens"
MIXTURE = "whether the probabilities that the script mixes add up to 1"
_UNIFORM = frozenset(["rand", "rand_like", "bernoulli", "uniform_", "bernoulli_"])
_OF_BYTES, _OF_MASKS = ("BPB15", "BPB16"), ("BPB25", "BPB26")


def check_followed(analysis: Analysis, findings: Sequence[Finding], files: str) -> Iterator[Finding]:
    """A remark on what the checks could not look at: a report says it beside what else is unchecked.

    Args:
        analysis: the scripts.
        findings: what the other checks have found.
        files: the names of the scripts.
    """
    parts = [*_not_followed(analysis, findings)]
    if parts:
        yield not_followed(parts, files)


def not_followed(parts: Sequence[str], files: str) -> Finding:
    """The remark that parts of the way were not followed."""
    why = "nothing in the script is known to report bits per byte" if SCORE in parts else "it may be wrong there"
    message = f"{listed(parts)} was not followed: {why}, and that nothing was found there is no check"
    return codes.NOT_FOLLOWED.finding(message[:1].upper() + message[1:], parts=[*parts], file=files)


def _not_followed(analysis: Analysis, findings: Sequence[Finding]) -> Iterator[str]:
    if not analysis.sinks:
        yield SCORE
        return
    texts = scored_texts(analysis)
    if not texts or not all(text.is_followed for text in texts):
        yield TEXT
    if not any(finding.code.startswith(_OF_BYTES) for finding in findings):
        yield BYTES
    if not any(finding.code.startswith(_OF_MASKS) for finding in findings) and _has_masks(analysis):
        yield MASKS
    if is_mixed(analysis):
        yield MIXTURE


def _has_masks(analysis: Analysis) -> bool:
    """Whether tokens are hidden at random behind a score, and it is not known how often, or what their costs weigh."""
    if analysis.masks:
        return any(not are_weighed(analysis, group) for group in analysis.draw_groups)
    if _UNIFORM.isdisjoint(analysis.program.calls):
        return False  # most programs draw nothing that could hide a token
    calls = (node for _, _, score in analysis.scores() for node, _ in analysis.behind(score))
    return any(isinstance(node, ast.Call) and last_name(node.func) in _UNIFORM for node in calls)
