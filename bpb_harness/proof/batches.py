"""Which spans go through the network together, and the loop over them, alike in encoder and decoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt
import torch

from bpb_harness.denoiser import CausalLM, Denoiser
from bpb_harness.errors import InputError
from bpb_harness.evaluation.batches import consecutive
from bpb_harness.proof.codes.code import Canvas, Code
from bpb_harness.proof.symbols import Symbols
from bpb_harness.text.spans import Spans

Ints = npt.NDArray[np.int64]
_BYTES_OF_LOGITS = 1 << 29
_MAX_BYTES_OF_LOGITS = 1 << 33


@final
@dataclass(frozen=True)
class Batches:
    """The spans of one file.

    Attributes:
        windows: index of each among the spans that were scored, (N,).
        contexts: tokens before its targets, (N,).
        lengths: its targets, (N,).
        batches: places in these arrays that go through the network together, in the order of coding.
    """

    windows: Ints
    contexts: Ints
    lengths: Ints
    batches: Sequence[Ints]

    @classmethod
    def of(cls, windows: Ints, spans: Spans, *, batch_tokens: int, vocab_size: int) -> Batches:
        """Spans of one shape together, as many as keep the logits of a call small."""
        most = min(batch_tokens, _BYTES_OF_LOGITS // (4 * vocab_size))
        dealt = [rows for rows, _ in consecutive(spans.input_lengths, most, spans.context_lengths)]
        return cls(windows, spans.context_lengths, spans.lengths, dealt)

    def require_fits(self, model: Denoiser | CausalLM) -> None:
        """Refuse spans that are longer than the network takes, or batches that no encoder would make.

        Raises:
            InputError: if there are any.
        """
        longest = int((self.contexts + self.lengths).max()) - (not isinstance(model, Denoiser))
        if longest > model.context_length:
            raise InputError("a span of the file", seen=f"{longest} tokens", expected=f"at most {model.context_length}")
        if not isinstance(model, Denoiser) and not self.contexts.all():
            raise InputError("a span of the file", seen="no token given", expected="one, before an autoregressive span")
        for batch in self.batches:
            tokens = len(batch) * int(self.contexts[batch[0]] + self.lengths[batch[0]])
            size = 4 * tokens * model.vocab_size
            if size > _MAX_BYTES_OF_LOGITS:
                raise InputError("a batch of the file", seen=f"logits of {size:,} bytes", expected="at most 2^33")

    def follow(
        self,
        code: Code,
        model: Denoiser | CausalLM,
        given: Sequence[Ints],
        symbols_of: Callable[[Ints], Symbols],
        *,
        device: torch.device,
        advance: Callable[[int], None] = lambda _: None,
    ) -> list[Ints]:
        """Code every span.

        Args:
            code: the loop.
            model: the network.
            given: the context of each span.
            symbols_of: the end of the code for a batch, by places.
            device: where the network runs.
            advance: called with the targets done.

        Returns:
            The targets of each span.
        """
        found: list[Ints] = [np.zeros(0, dtype=np.int64)] * len(self.windows)
        hidden = model.mask_token_id if isinstance(model, Denoiser) else 0
        with torch.inference_mode():
            for places in self.batches:
                context, length = int(self.contexts[places[0]]), int(self.lengths[places[0]])
                tokens = torch.full((len(places), context + length), hidden, dtype=torch.int64)
                tokens[:, :context] = torch.from_numpy(np.stack([given[place] for place in places]))
                canvas = Canvas(tokens.to(device), self.windows[places], context)
                code.follow(model, canvas, symbols_of(places))
                for place, row in zip(places, canvas.tokens[:, context:].cpu().numpy(), strict=True):
                    found[place] = row
                advance(len(places) * length)
        return found


def split(values: Ints, sizes: Iterable[int]) -> list[Ints]:
    """Cut an array into consecutive parts."""
    ends = np.cumsum(np.fromiter(sizes, dtype=np.int64))
    return [values[end - size : end] for end, size in zip(ends, np.diff(ends, prepend=0), strict=True)]
