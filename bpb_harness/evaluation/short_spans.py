"""A plan of draws in which short spans are gone through in place of being sampled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bpb_harness.estimators import Bound
from bpb_harness.estimators.all_masks import AllMasks, all_masks_of
from bpb_harness.evaluation.batches import DrawPlan
from bpb_harness.sampling.streams import RandomStreams

Ints = npt.NDArray[np.int64]


def enumerate_short_spans(
    plan: DrawPlan, bound: Bound, lengths: Ints, streams: RandomStreams, *, time_conditioned: bool
) -> DrawPlan:
    """Put all masks of a span in the place of its K draws, wherever these are not fewer.

    Args:
        plan: K draws of each span, without replicates.
        bound: what is sampled.
        lengths: targets of each span, (N,).
        streams: of the rates that a network which ignores them is told.
        time_conditioned: whether the network is told the noise level.
    """
    assert bound.num_samples != "all"
    assert not plan.num_replicates
    most = bound.num_samples
    by_length = {
        int(length): all_masks_of(bound, int(length), time_conditioned=time_conditioned, most=most)
        for length in np.unique(lengths)
    }
    parts = [
        _rows(bound, span, int(length), masks, streams)
        for span, length in enumerate(lengths)
        if (masks := by_length[int(length)]) is not None
    ]
    if not parts:
        return plan
    drawn = np.flatnonzero(~np.isin(plan.window, np.concatenate([part.window for part in parts])))
    return _in_order([_take(plan, drawn), *parts], is_independent=plan.is_independent)


def _take(plan: DrawPlan, rows: Ints) -> DrawPlan:
    """Some rows of a plan whose masks are drawn."""
    return DrawPlan(
        plan.window[rows], plan.sample[rows], plan.position[rows], plan.mask_rate[rows], plan.weight[rows],
        given=np.zeros(len(rows), dtype=np.int64),
    )  # fmt: skip


def _in_order(parts: Sequence[DrawPlan], *, is_independent: bool) -> DrawPlan:
    """Plans as one, in the order of the spans."""
    window, sample = (np.concatenate(column) for column in ([p.window for p in parts], [p.sample for p in parts]))
    order = np.lexsort((sample, window))
    return DrawPlan(
        window[order],
        sample[order],
        np.concatenate([part.position for part in parts])[order],
        np.concatenate([part.mask_rate for part in parts])[order],
        np.concatenate([part.weight for part in parts])[order],
        given=np.concatenate([part.given for part in parts if part.given is not None])[order],
        is_independent=is_independent,
    )


def _rows(bound: Bound, span: int, length: int, masks: AllMasks, streams: RandomStreams) -> DrawPlan:
    """All masks of one span; what L C / |M| is multiplied with is their weight times |M| / L."""
    mask_rate = masks.rates(bound, length, streams, span)
    return DrawPlan(
        np.full(len(masks), span),
        np.arange(len(masks)),
        mask_rate / bound.schedule.max_mask_rate,
        mask_rate,
        masks.weight * masks.num_masked / length,
        given=masks.masks,
    )
