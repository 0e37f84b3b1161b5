"""Whether a network predicts each token from those before it, as far as its attention tells."""

from __future__ import annotations

import re

from bpb_harness.auditing.script.domains.analysis import Analysis
from bpb_harness.auditing.script.frontend.once import once
from bpb_harness.auditing.script.frontend.program import Program

_CAUSAL = re.compile(r"\b(?:is_)?causal\s*=\s*True|\btri[lu](?:_indices)?\(", re.IGNORECASE)
# The same in lower case. What stands in front is looked at behind the first letters, which is ten times as fast.
_CAUSAL_IN_LOWER = (
    re.compile(r"causal(?:(?<!\wcausal)|(?<=\bis_causal))\s*=\s*true"),
    re.compile(r"tri(?<!\wtri)[lu](?:_indices)?\("),
)


def is_causal(analysis: Analysis) -> bool:
    """Whether some attention is causal, and no tokens of the scored text are masked."""
    return not analysis.masks and _has_causal_attention(analysis.program)


@once
def _has_causal_attention(program: Program) -> bool:
    return any(_says_causal(script.text) for script in program.scripts)


def _says_causal(text: str) -> bool:
    if not text.isascii():  # other letters have more cases than two
        return _CAUSAL.search(text) is not None
    low = text.lower()
    return any(pattern.search(low) for pattern in _CAUSAL_IN_LOWER)
