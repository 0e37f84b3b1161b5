"""An answer from before the corpus was scored, asked for again afterwards."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from bpb_harness.contract.difference import Answer
from bpb_harness.contract.own_state import OwnState
from bpb_harness.contract.probe import Probe, causal_probe, denoiser_probe
from bpb_harness.contract.subject import Subject
from bpb_harness.denoiser import CausalLM, Denoiser
from bpb_harness.errors import RowDependenceError, StatefulError
from bpb_harness.schedule import NoiseSchedule


@final
class Witness:
    """A batch of questions, and what a network said of it before the corpus was scored.

    A memory that fills up or a drift too small for a few calls shows over a whole corpus. The rows are asked again in
    the opposite order, which an honest network does not notice either.
    """

    def __init__(
        self,
        model: Denoiser | CausalLM,
        windows: Tensor,
        *,
        schedule: NoiseSchedule | None = None,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Ask now.

        Args:
            model: the network.
            windows: clean tokens, (N, L); each is a row.
            schedule: of a denoiser's noise levels; None for a causal model.
            seed: of the masks.
            dtype: what the network computes in.
        """
        subject = Subject(model, dtype, windows.device)
        if isinstance(model, Denoiser):
            assert schedule is not None
            probe = denoiser_probe(windows, schedule, torch.Generator().manual_seed(seed), model)
        else:
            probe = causal_probe(windows)
        state = OwnState(model)
        spread = subject.ask(probe[:1]).spread
        self._remember(subject, state, probe, subject.price(probe, spread), len(probe))

    @classmethod
    def of(cls, subject: Subject, state: OwnState, probe: Probe, answer: Answer, rows: int) -> Witness:
        """One that need not ask, for it is told the answer.

        Args:
            subject: the network.
            state: its parameters and buffers.
            probe: the questions.
            answer: to them.
            rows: how many of them will be asked again.
        """
        witness = cls.__new__(cls)
        witness._remember(subject, state, probe, answer, rows)
        return witness

    def _remember(self, subject: Subject, state: OwnState, probe: Probe, answer: Answer, rows: int) -> None:
        self._subject, self._state = subject, state
        self._probe, self._rows = probe[:rows], list(range(min(rows, len(probe))))
        self._answer = answer if rows >= len(probe) else answer.of_rows(self._rows)

    def check(self) -> None:
        """Ask again.

        Raises:
            StateMutatedError: if the network changed itself since.
            StatefulError: if the answer moved since.
            RowDependenceError: if only the order of the rows moves it.
        """
        self._state.require_unchanged()
        backwards = torch.tensor(self._rows[::-1], device=self._probe.x0.device)
        spread = self._answer.spread
        turned = self._subject.price(self._probe[backwards], spread).of_rows(self._rows[::-1])
        if not self._subject.differ(self._answer, turned):
            return
        self._subject.require_same(
            self._answer,
            self._subject.price(self._probe, spread),
            StatefulError,
            "scoring the corpus changed the network's answer to an input from before",
            "the same answer",
        )
        self._subject.require_same(
            self._answer,
            turned,
            RowDependenceError,
            f"rows get other answers when the order of the {len(self._rows)} rows of their batch is turned round",
            "an answer that depends on its own row alone",
        )
