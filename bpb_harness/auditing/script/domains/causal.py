"""Whether a network predicts each token from those before it, as far as its attention tells."""

from __future__ import annotations

import re

from bpb_harness.auditing.script.domains.analysis import Analysis

_CAUSAL = re.compile(r"\b(?:is_)?causal\s*=\s*True|\btri[lu](?:_indices)?\(", re.IGNORECASE)


def is_causal(analysis: Analysis) -> bool:
    """Whether some attention is causal, and no tokens of the scored text are masked."""
    return not analysis.masks and any(_CAUSAL.search(script.text) for script in analysis.program.scripts)
