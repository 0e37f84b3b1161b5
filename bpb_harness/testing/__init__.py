"""Checks of likelihood code that other projects import into their own tests.

::

    check_code_length   is a score the length of any code? Kraft's inequality over all texts
    check_elbo          does an estimator of the bound have the bound as its mean? exact denoisers, known mistakes
    check_loss_weight   is the weight of the masked cross-entropies that of the schedule? pointwise

Each returns a report with ``ok`` and ``message``; the ``assert_`` forms raise AssertionError with that message. Nothing
here needs pytest. docs/testing-kit.md shows them at work; MATHS.md, section 8, derives their false-alarm rate.
"""

from bpb_harness.testing.code_length import CodeLengthReport, assert_code_length, check_code_length
from bpb_harness.testing.elbo import FALSE_ALARM_RATE, ElboReport, assert_elbo, check_elbo
from bpb_harness.testing.loss_weight import WeightReport, assert_loss_weight, check_loss_weight
from bpb_harness.testing.runs import ProbeResult

__all__ = [
    "FALSE_ALARM_RATE",
    "CodeLengthReport",
    "ElboReport",
    "ProbeResult",
    "WeightReport",
    "assert_code_length",
    "assert_elbo",
    "assert_loss_weight",
    "check_code_length",
    "check_elbo",
    "check_loss_weight",
]
