"""How a network is asked a second time: its logits are held before the targets are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np
import torch
from torch import Tensor

from bpb_harness.denoiser import CausalLM, Denoiser, FactoredDenoiser, causal_logits, clean_log_probs, splits, states_of
from bpb_harness.errors import SecondLookError
from bpb_harness.network_call import require_places, require_plain
from bpb_harness.schedule import NoiseLevel
from bpb_harness.second_look.questions import Answer, Floats, Ints

_ROWS_PER_CALL = 1024
_CHECKED_ROWS = 64
_LARGEST_DIFFERENCE_NATS = 1e-3


@final
class HeldLogits:
    """What a network said to one question; :meth:`answer` tells what the targets cost."""

    def __init__(
        self,
        model: Denoiser | CausalLM,
        tokens: Ints,
        level: tuple[float, float, float] | None,
        positions: Ints,
        device: torch.device,
        context_length: int = 0,
    ) -> None:
        self._vocab_size = model.vocab_size
        self._mask_token_id = model.mask_token_id if isinstance(model, Denoiser) else -1
        with torch.inference_mode():
            x, where = torch.from_numpy(tokens)[None].to(device), torch.from_numpy(positions).to(device)
            if level is None:
                assert isinstance(model, CausalLM)
                self._logits = causal_logits(model, x)[0].index_select(0, where)
                return
            assert isinstance(model, Denoiser)
            parts = (torch.full((1,), part, dtype=torch.float64, device=device) for part in level)
            context = torch.full((1,), context_length, dtype=torch.int64, device=device)
            states = states_of(model, x, NoiseLevel(*parts), where, context_lengths=context)
            if splits(model):
                states = torch.cat([self._unembed(model, part) for part in torch.split(states, _ROWS_PER_CALL)])
            self._logits = states.clone()

    @staticmethod
    def _unembed(model: FactoredDenoiser, states: Tensor) -> Tensor:
        logits = model.head(states)
        require_plain(logits, states.device)
        require_places(logits, (states.shape[0],), "logits")
        return logits.clone()

    def answer(self, targets: Ints, order: str | None = None) -> Answer:
        """Normalise, as the harness does, and look the targets up.

        Args:
            targets: the token at each position, (n,).
            order: of the chain rule, whose score of each position is wanted as well.

        Raises:
            SecondLookError: if this process's arithmetic is not NumPy's: something replaced a function of torch.
        """
        score = None if order is None else _score_of(order)
        nats, scores = [], [torch.empty(0, dtype=torch.float64)]
        with torch.inference_mode():
            wanted = torch.from_numpy(targets).to(self._logits.device)
            for logits, part in zip(
                torch.split(self._logits, _ROWS_PER_CALL), torch.split(wanted, _ROWS_PER_CALL), strict=True
            ):
                log_probs = clean_log_probs(logits, vocab_size=self._vocab_size, mask_token_id=self._mask_token_id)
                nats.append(-log_probs.gather(-1, part[:, None])[:, 0].double().cpu())
                if score is not None:
                    scores.append(score(log_probs).double().cpu())
        answer = Answer(torch.cat(nats).numpy(), torch.cat(scores).numpy())
        rows = np.linspace(0, len(targets) - 1, min(len(targets), _CHECKED_ROWS)).astype(np.int64)
        self._require_plain_arithmetic(answer.nats[rows], rows, targets[rows])
        return answer

    def _require_plain_arithmetic(self, nats: Floats, rows: Ints, targets: Ints) -> None:
        logits: Tensor = self._logits[torch.from_numpy(rows).to(self._logits.device)]
        wide = logits[:, : self._vocab_size].double().cpu().numpy().copy()
        if 0 <= self._mask_token_id < self._vocab_size:
            wide[:, self._mask_token_id] = -np.inf
        largest = wide.max(axis=1, keepdims=True)
        with np.errstate(all="ignore"):
            above = wide - largest
            again = np.log(np.exp(above).sum(axis=1)) - above[np.arange(len(rows)), targets]
            close = np.abs(again - nats) <= _LARGEST_DIFFERENCE_NATS * np.maximum(1.0, np.abs(again))
        if not (close | ~np.isfinite(again)).all():
            worst = int((~close).argmax())
            raise SecondLookError(
                "normalised logits are not what they must be",
                seen=f"{nats[worst]:.6g} nats",
                expected=f"{again[worst]:.6g}",
                hint="the network's code replaces functions of torch: take that out",
            )


def _score_of(order: str) -> Callable[[Tensor], Tensor]:
    from bpb_harness.estimators.orders import SCORES  # deferred: few questions have an order

    return SCORES[order]
