"""The codes: one file a code, each a loop that encoder and decoder run alike.

A code asks the network of what is revealed so far, and hands the predictions to
:class:`bpb_harness.proof.symbols.Symbols`, which writes or reads the tokens. The loop
itself never has a token before it is paid for.
"""

from __future__ import annotations

from bpb_harness.estimators import AutoregressiveCode, ChainRule, ContinuousBound, DiscreteBound, ExactBound
from bpb_harness.evaluation.methods import Estimator
from bpb_harness.proof.codes.autoregressive import AutoregressiveProof
from bpb_harness.proof.codes.chain import ChainProof
from bpb_harness.proof.codes.code import Code
from bpb_harness.proof.codes.continuous import ContinuousProof
from bpb_harness.proof.codes.t_step import TStepProof
from bpb_harness.sampling.streams import RandomStreams

__all__ = ["AutoregressiveProof", "ChainProof", "Code", "ContinuousProof", "TStepProof", "code_of"]


def code_of(estimator: Estimator, streams: RandomStreams, draw: int = 0) -> Code:
    """The code whose mean length, or length, an estimator gives.

    Args:
        estimator: of the score.
        streams: shared randomness of the codes of bounds; the chain rule's orders are those of its own.
        draw: which draw of that randomness; 0 is the one in a file.
    """
    if isinstance(estimator, ExactBound):  # of the same bounds, whose code does not ask how they were computed
        estimator = _sampled(estimator)
    match estimator:
        case DiscreteBound():
            return TStepProof(estimator, streams, draw)
        case ContinuousBound():
            return ContinuousProof(estimator, streams, draw)
        case ChainRule():
            return ChainProof(estimator)
        case AutoregressiveCode():
            return AutoregressiveProof()
    raise AssertionError(estimator)


def _sampled(exact: ExactBound) -> DiscreteBound | ContinuousBound:
    """The bound that an enumeration is of."""
    if exact.num_steps is None:
        return ContinuousBound(exact.schedule)
    return DiscreteBound(exact.schedule, num_steps=exact.num_steps)
