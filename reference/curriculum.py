"""The curriculum of window lengths: short windows in the first stage of a run, where that is asked for.

A network that has learnt little needs no long windows. With short ones a step has more of them for about as many
tokens, each with its own noise level, so that its gradient is less noisy, and attention costs less.

A network of blocks may learn next tokens alone before that: a causal network is a part of it, and costs half as much.
"""

from __future__ import annotations

from dataclasses import dataclass

from bpb_harness.errors import UsageError
from bpb_harness.estimators.bound import Bound
from bpb_harness.networks.reference import Sight
from reference.cuda_graph import CapturedGradient
from reference.objective import gather_capacity
from reference.settings import Training


@dataclass
class Stage:
    """A part of a run.

    Attributes:
        context: tokens of a window that are predicted.
        window_length: tokens of a window; one more than are predicted where next tokens are learnt.
        num_windows: a step, all processes together.
        capacity: masked positions of a process's share of a step.
        is_causal: whether next tokens are learnt, and nothing is masked.
        until: share of the run at which the next stage begins.
        sight: what attention reads in a network of blocks; None: a table, made on the way.
        graph: the gradient of a step as a CUDA graph, or None where kernels are launched one by one.
    """

    context: int
    window_length: int
    num_windows: int
    capacity: int
    is_causal: bool
    until: float = 1.0
    sight: Sight | None = None
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
    short, is_twin = training.short_context or training.context, training.objective == "ar"
    tokens = training.batch_tokens
    plan = [(training.context, is_twin, 1.0, tokens)]
    if training.short_context:
        plan.insert(0, (short, is_twin, training.short_share, tokens))
    if training.causal_share:
        plan.insert(0, (short, True, training.causal_share, tokens))
    if training.growth_share:
        plan.insert(0, (short, is_twin, training.growth_share, tokens // 2))
    for context, is_causal, until, step_tokens in plan:
        num_windows = step_tokens // context
        if num_windows % num_processes:
            seen = f"{num_windows} windows of {context} a step, {num_processes} processes"
            raise UsageError("--batch-tokens", seen=seen, expected="as many windows for each process")
        size = training.block_size or context
        num_masked = num_windows - round(training.causal_rows * num_windows)
        capacity = gather_capacity(num_masked // num_processes * (context // size), size, bound, num_processes)
        stages.append(Stage(context, context + is_causal, num_windows, capacity, is_causal, until))
    return stages


def stage_at(stages: list[Stage], progress: float) -> Stage:
    """The stage of a step that is taken at ``progress`` in [0, 1]."""
    return next((stage for stage in stages if progress < stage.until), stages[-1])
