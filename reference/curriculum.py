"""The curriculum of window lengths: short windows in the first stage of a run, where that is asked for.

A network that has learnt little needs no long windows. With short ones a step has more of them for about as many
tokens, each with its own noise level, so that its gradient is less noisy, and attention costs less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bpb_harness.errors import UsageError
from bpb_harness.estimators.bound import Bound
from reference.cuda_graph import CapturedGradient
from reference.objective import gather_capacity
from reference.settings import Training

SHORT_SHARE = 0.6  # of the run, where it has short windows


@dataclass
class Stage:
    """A part of a run.

    Attributes:
        context: tokens of a window that are predicted.
        window_length: tokens of a window; one more than are predicted for the causal twin.
        num_windows: a step, all processes together.
        capacity: masked positions of a process's share of a step.
        graph: the gradient of a step as a CUDA graph, or None where kernels are launched one by one.
    """

    context: int
    window_length: int
    num_windows: int
    capacity: int
    causal: bool = False
    until: float = 1.0
    seen: Any = None
    graph: CapturedGradient | None = None


def make_stages(training: Training, *, bound: Bound, num_processes: int) -> list[Stage]:
    """The stages of a run, in their order.

    Args:
        training: says how long windows are.
        bound: whose masks are drawn.
        num_processes: that share every step.

    Raises:
        UsageError: if the windows of a step cannot be shared evenly.
    """
    stages = []
    short = training.short_context or training.context
    plan = [(short, True, training.causal_share), (short, False, training.short_share), (training.context, False, 1.0)]
    if not training.causal_share:
        del plan[0]
    if not training.short_context:
        del plan[-2]
    for context, causal, until in plan:
        causal = causal or training.objective == "ar"
        num_windows = training.batch_tokens // context
        if num_windows % num_processes:
            seen = f"{num_windows} windows of {context} a step, {num_processes} processes"
            raise UsageError("--batch-tokens", seen=seen, expected="as many windows for each process")
        rows, length = num_windows // num_processes, context
        if training.block_size:
            rows, length = rows * (context // training.block_size), training.block_size
        capacity = gather_capacity(rows, length, bound, num_processes)
        stages.append(Stage(context, context + causal, num_windows, capacity, causal, until))
    return stages


def stage_at(stages: list[Stage], progress: float) -> Stage:
    """The stage of a step that is taken at ``progress`` in [0, 1]."""
    return next((stage for stage in stages if progress < stage.until), stages[-1])
