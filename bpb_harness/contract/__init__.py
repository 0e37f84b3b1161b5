"""Behavioural checks of a network before it is scored: on a few windows, and on batches as large as the run's own.

A score means something only if the network is a fixed function of its own row: deterministic, without memory, blind to
the rest of its batch, blind to later tokens where it says so. Every check compares two calls that an honest network
answers alike; a failure is an error of its own (:mod:`bpb_harness.errors`) with the position and the numbers.

What is asked is what will be scored: whole windows, batches of as many rows, by the same way through trunk and head.
:class:`Witness` remembers the answer to one such batch and asks again after the whole corpus: what moved in between is
caught then.
"""

from bpb_harness.contract.examine import Examination, check_causal_lm, check_denoiser, examine
from bpb_harness.contract.precision import precision_finding
from bpb_harness.contract.witness import Witness

__all__ = [
    "Examination",
    "Witness",
    "check_causal_lm",
    "check_denoiser",
    "examine",
    "precision_finding",
]
