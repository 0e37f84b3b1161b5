"""``--method ar``: the exact code length of an autoregressive model."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np
import numpy.typing as npt
from torch import Tensor

from bpb_harness.denoiser import CausalLM, causal_logits, clean_log_probs
from bpb_harness.errors import UsageError
from bpb_harness.text.corpus import Windows, cut

Ints = npt.NDArray[np.int64]


@final
@dataclass(frozen=True)
class Spans(Windows):
    """Windows of tokens that are paid for, and from where on the model sees text before them.

    Span i pays for tokens ``starts[i] .. starts[i] + lengths[i] - 1`` and feeds the model all tokens from
    ``context_starts[i]`` to the one before the last of them.
    """

    context_starts: Ints

    @property
    def input_lengths(self) -> Ints:
        """Tokens that go through the network for each span."""
        return self.starts + self.lengths - 1 - self.context_starts


@final
@dataclass(frozen=True)
class AutoregressiveCode:
    """Chain rule of a causal model, window by window; the first token of the text is given, not paid for.

    Attributes:
        stride: tokens paid for in each window after the first; None for windows that do not overlap.
    """

    stride: int | None = None

    method: ClassVar[str] = "ar"
    relation: ClassVar[str] = "="

    def spans(
        self, num_tokens: int, context_length: int, *, tail: Literal["score", "drop"], documents: Ints | None = None
    ) -> Spans:
        """Lay windows over a token stream.

        Args:
            num_tokens: length of the stream.
            context_length: most tokens that the model sees at once.
            tail: "drop" leaves out the last, shorter window, as the contest's official evaluator does.
            documents: positions where documents start; windows then never see across a border, and the first token of
                each document (its separator) is paid for by the window of the document before.

        Raises:
            UsageError: if the stride does not lie in 1 .. context_length.
        """
        stride = context_length if self.stride is None else self.stride
        if not 1 <= stride <= context_length:
            raise UsageError("--stride", seen=self.stride, expected=f"1 .. {context_length}, the context length")
        borders = [0, num_tokens - 1] if documents is None else [*np.unique([0, *documents[1:], num_tokens - 1])]
        parts: list[Ints] = [np.empty((3, 0), dtype=np.int64)]
        for begin, end in itertools.pairwise(map(int, borders)):
            # The first token is given; the first window has no text before it, and so pays for all that the model sees.
            paid = cut(begin + 1, end + 1, context_length, later=stride, tail=tail)
            last_read = paid.starts + paid.lengths - 2
            parts.append(np.stack([paid.starts, paid.lengths, np.maximum(begin, last_read + 1 - context_length)]))
        return Spans(*np.concatenate(parts, axis=1))

    def token_nats(self, model: CausalLM, x: Tensor, targets: Tensor) -> Tensor:
        """Negative log-likelihood of each target, (B, L) float64 nats.

        Args:
            model: the network.
            x: input tokens, (B, L) int64.
            targets: the token after each of them, (B, L) int64.
        """
        log_probs = clean_log_probs(causal_logits(model, x), vocab_size=model.vocab_size, mask_token_id=-1)
        return -log_probs.gather(-1, targets.unsqueeze(-1)).squeeze(-1).double()
