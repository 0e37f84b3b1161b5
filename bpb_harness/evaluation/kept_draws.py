"""Draws that ``--resume`` found in a file, made sure of: masks are drawn again, and some nats scored again.

Masks are functions of the seed, so the number of masked tokens and the control variate of every kept draw are made
again and compared; the score uses those made here. Nats alone come from the file. Of each pass and bound
:data:`NUM_SCORED_AGAIN` draws, chosen by a hash of all that the file holds, go through the network again.

What that is worth: numbers changed in many lines are found; one changed line among many is found by chance. No check
stops somebody who forges nats, writes the checksums and tries until the draws chosen are honest ones. A score that is
to convince others is computed without ``--resume``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import final

import numpy as np
import numpy.typing as npt

from bpb_harness.evaluation.batches import DrawPlan, DrawSource, consecutive
from bpb_harness.evaluation.device_source import DeviceSource
from bpb_harness.evaluation.draw_file import refused
from bpb_harness.evaluation.draws import FinishedDraws
from bpb_harness.evaluation.runner import MaskedNllRunner
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.units import nats_to_bits

NUM_SCORED_AGAIN = 8
_CONTROL_ROUNDING = 1e-9
# A draw's mean token may move by rounding, which differs with the number of rows in a batch: (alike, each its own way).
_ROUNDING = {"float32": (1e-4, 1e-4), "bfloat16": (5e-3, 0.15)}
_MAX_OWN_ERRORS = 6.0
Ints = npt.NDArray[np.int64]


@final
class KeptDrawsCheck:
    """Makes sure of the kept draws of one bound in one pass.

    Args:
        plan: the draws of the bound.
        source: makes their masks.
        streams: their noise.
        runner: runs the network.
        dtype: "float32" or "bfloat16", its arithmetic.
        batch_tokens: tokens of a batch whose masks are made at once.
    """

    def __init__(
        self,
        plan: DrawPlan,
        source: DrawSource | DeviceSource,
        streams: RandomStreams,
        runner: MaskedNllRunner,
        *,
        dtype: str,
        batch_tokens: int,
    ) -> None:
        self._plan, self._source, self._streams, self._runner = plan, source, streams, runner
        self._dtype, self._batch_tokens = dtype, batch_tokens

    def require_drawn(self, kept: Sequence[FinishedDraws]) -> list[FinishedDraws]:
        """The draws, with what the streams give in the place of what the file says.

        Raises:
            InputError: naming the first line that holds a draw which the plan does not have, or another mask's.
        """
        return [self._made_again(line) for line in kept]

    def _made_again(self, draws: FinishedDraws) -> FinishedDraws:
        if len(draws.rows) and draws.rows.max() >= len(self._plan):
            last = len(self._plan) - 1
            raise refused(draws, "a draw that the plan does not have", f"row {draws.rows.max()}", f"rows 0 .. {last}")
        num_masked, control = np.empty_like(draws.num_masked), np.empty_like(draws.control)
        lengths = self._source.spans.input_lengths[self._plan.window[draws.rows]]
        for places, _ in consecutive(lengths, self._batch_tokens):
            prepared = self._source.prepare(self._plan, self._streams, draws.rows[places])
            num_masked[places], control[places] = prepared.num_masked, prepared.control
        for row, said, made in zip(draws.rows, draws.num_masked, num_masked, strict=True):
            if said != made:
                raise refused(draws, f"draw {row} has another mask", f"{said} masked tokens", f"{made}, by its seed")
        differs = np.abs(draws.control - control) > _CONTROL_ROUNDING * (1.0 + np.abs(control))
        for place in np.flatnonzero(differs):
            what = f"draw {draws.rows[place]} has another control value"
            raise refused(draws, what, f"{draws.control[place]:.12g}", f"{control[place]:.12g}, by its seed")
        return replace(draws, num_masked=num_masked, control=control)

    def require_scored(self, kept: Sequence[FinishedDraws], digest: str) -> int:
        """Score some of the draws again, and count them.

        Args:
            kept: all lines of this pass and bound.
            digest: of all that the file holds; it chooses.

        Raises:
            InputError: naming the line whose nats the network does not give.
        """
        places = [(line, place) for line in kept for place in range(len(line.rows))]
        rows = np.array([line.rows[place] for line, place in places], dtype=np.int64)
        seed = hashlib.sha256(f"{digest}/{self._streams.pass_index}/{len(rows)}".encode()).digest()
        generator = np.random.Generator(np.random.PCG64(int.from_bytes(seed, "little")))
        chosen = np.sort(generator.permutation(len(rows))[:NUM_SCORED_AGAIN])
        lengths = self._source.spans.input_lengths[self._plan.window[rows[chosen]]]
        for batch, _ in consecutive(lengths, self._batch_tokens):
            prepared = self._source.prepare(self._plan, self._streams, rows[chosen[batch]])
            again = self._runner.row_nats(prepared).cpu().numpy()
            for index, nats, count in zip(chosen[batch], again, prepared.num_masked, strict=True):
                line, place = places[index]
                self._require_same(line, place, float(nats), int(count))
        return len(chosen)

    def _require_same(self, line: FinishedDraws, place: int, again: float, count: int) -> None:
        said = float(line.nats[place])
        alike, own = _ROUNDING[self._dtype]
        # Not "exceeds": a difference that is no number is no agreement either.
        if not abs(said - again) <= alike * count + _MAX_OWN_ERRORS * own * count**0.5:
            what = f"draw {line.rows[place]} was scored again, and costs something else"
            bits = [f"{nats_to_bits(nats):.6g} bits" for nats in (said, again)]
            raise refused(line, what, bits[0], bits[1])
