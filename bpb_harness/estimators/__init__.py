"""Estimators: one file for each ``--method``.

A *bound* (``discrete``, ``mc``) says at which mask rates a window is looked at and what each look weighs; the harness
draws the masks and calls the network. A *window score* (``exact``, ``chain``, ``ar``) computes the nats of whole
windows itself, without sampling error.
"""

from bpb_harness.estimators.ar import AutoregressiveCode
from bpb_harness.estimators.bound import Bound, prior_nats
from bpb_harness.estimators.chain import ChainRule
from bpb_harness.estimators.discrete import DiscreteBound
from bpb_harness.estimators.exact import EnumeratedBound, ExactBound
from bpb_harness.estimators.mc import ContinuousBound

__all__ = [
    "AutoregressiveCode",
    "Bound",
    "ChainRule",
    "ContinuousBound",
    "DiscreteBound",
    "EnumeratedBound",
    "ExactBound",
    "prior_nats",
]
