"""What of a score is asked a second time: a hash of the result chooses among the draws, or windows, that it sums."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt
import torch

from bpb_harness.denoiser import Denoiser, masked_nll
from bpb_harness.errors import NumericsError
from bpb_harness.estimators import ChainRule
from bpb_harness.estimators.orders import SCORES
from bpb_harness.evaluation.batches import DrawSource, PreparedBatch, stack_spans
from bpb_harness.evaluation.draws import DrawTable
from bpb_harness.result import BpbResult
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import NoiseLevel, NoiseSchedule
from bpb_harness.second_look.questions import Question
from bpb_harness.text.corpus import Corpus
from bpb_harness.text.spans import Spans

NUM_QUESTIONS = 32
_CONTROL_ROUNDING = 1e-9
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Asked(ABC):
    """What went into a score, as questions that can be put to a network again."""

    @property
    @abstractmethod
    def window(self) -> Ints:
        """The window of each thing that can be asked again, (R,)."""

    @abstractmethod
    def questions(self, index: int, generator: np.random.Generator) -> list[Question]:
        """Ask for thing ``index`` again."""

    def choose(
        self, result: BpbResult, model: str, data: str, *, below: int | None = None
    ) -> list[tuple[int, Question]]:
        """The questions that the result's hash chooses, each with its window, another one as far as there are enough.

        ``below``: windows before this one alone.
        """
        text = f"{model}/{data}/{result.signature}/{result.length.nats!r}"
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest(), "little")
        generator = np.random.Generator(np.random.PCG64(seed))
        shuffled = generator.permutation(len(self.window))
        if below is not None:
            shuffled = shuffled[self.window[shuffled] < below]
        _, first = np.unique(self.window[shuffled], return_index=True)
        is_new = np.zeros(len(shuffled), dtype=bool)
        is_new[first] = True
        chosen = np.concatenate([shuffled[is_new], shuffled[~is_new]])[:NUM_QUESTIONS]
        asked = [(int(self.window[index]), self.questions(int(index), generator)) for index in chosen]
        return [(window, question) for window, questions in asked for question in questions]


@final
@dataclass(frozen=True)
class AskedDraws(Asked):
    """Draws of sampled bounds.

    Attributes:
        source: makes their masks again.
        mask_token_id: what stands at masked positions.
        drawn: tables of draws, each with the streams that its masks came from.
    """

    source: DrawSource
    mask_token_id: int
    drawn: Sequence[tuple[DrawTable, RandomStreams]]

    @property
    def window(self) -> Ints:
        return np.concatenate([table.plan.window for table, _ in self.drawn])

    def questions(self, index: int, generator: np.random.Generator) -> list[Question]:
        del generator  # a draw is asked for whole
        for table, streams in self.drawn:
            if index < len(table.plan):
                return [self._question(table, streams, index)]
            index -= len(table.plan)
        raise AssertionError(index)

    def _question(self, table: DrawTable, streams: RandomStreams, row: int) -> Question:
        prepared = self.source.prepare(table.plan, streams, np.array([row]))
        _require_its_mask(table, row, prepared)
        positions = prepared.positions
        return Question(
            f"window {table.plan.window[row]} at mask rate {table.plan.mask_rate[row]:.4f}",
            prepared.x0.masked_fill(prepared.masked, self.mask_token_id)[0].numpy(),
            _plain(prepared.level),
            positions.numpy(),
            prepared.x0[0][positions].numpy(),
            np.ones(len(positions), dtype=bool),
            float(table.nats[row]),
            context_length=int(prepared.context_lengths[0]),
        )


def _require_its_mask(table: DrawTable, row: int, prepared: PreparedBatch) -> None:
    """Refuse a draw that was scored with another mask than the host gives it: a device may have made that.

    What the mask cost is asked again; by how many tokens that is divided, and what is subtracted from it, is not.

    Raises:
        NumericsError: naming what differs.
    """
    for name, scored, made in (
        ("masked tokens", int(table.num_masked[row]), int(prepared.num_masked[0])),
        ("nats of its control variate", float(table.control[row]), float(prepared.control[0])),
    ):
        if not abs(scored - made) <= _CONTROL_ROUNDING * (1.0 + abs(made)):
            what = f"window {table.plan.window[row]} at mask rate {table.plan.mask_rate[row]:.4f}: {name}"
            raise NumericsError(
                what, seen=f"{scored:.12g}", expected=f"{made:.12g}, by its seed",
                hint="the kernels or the memory of a device are at fault: score on another, or with --device cpu",
            )  # fmt: skip


@dataclass(frozen=True)
class _AskedBySpan(Asked):
    """Spans of a text, each of which can be asked about again."""

    corpus: Corpus
    spans: Spans

    @property
    def window(self) -> Ints:
        return np.arange(len(self.spans))


@final
@dataclass(frozen=True)
class AskedSpans(_AskedBySpan):
    """Spans of a causal model: each whole, and again cut behind one of its tokens, which then has no later ones."""

    token_nats: Floats

    def questions(self, index: int, generator: np.random.Generator) -> list[Question]:
        spans, count = self.spans, int(self.spans.lengths[index])
        begin, start = int(spans.context_starts[index]), int(spans.starts[index])
        tokens = self.corpus.read(begin, int(spans.ends[index]))
        offset = int(spans.lengths[:index].sum())
        nats = self.token_nats[offset : offset + count]
        positions = np.arange(start - 1, start - 1 + count) - begin
        whole = Question(
            f"span {index}", tokens[:-1], None, positions, tokens[positions + 1], np.ones(count, dtype=bool),
            float(nats.sum()),
        )  # fmt: skip
        cut = int(generator.integers(count))
        last = positions[cut : cut + 1]
        alone = Question(
            f"token {cut} of span {index} without the text behind it", tokens[: last[0] + 1], None, last,
            tokens[last + 1], np.ones(1, dtype=bool), float(nats[cut]),
        )  # fmt: skip
        return [whole, alone]


@final
@dataclass(frozen=True)
class AskedSteps(_AskedBySpan):
    """Steps of the chain rule: what one of them reveals, given all that was revealed before it.

    Attributes:
        estimator: the chain rule.
        denoiser: the network.
        token_nats: of each target, in the order of the spans.
        steps: in which step of its span each target was revealed, likewise.
    """

    estimator: ChainRule
    denoiser: Denoiser
    token_nats: Floats
    steps: Ints

    def questions(self, index: int, generator: np.random.Generator) -> list[Question]:
        length, context = int(self.spans.lengths[index]), int(self.spans.context_lengths[index])
        offset = int(self.spans.lengths[:index].sum())
        # What is in the context was revealed before all steps, at no price.
        steps = np.concatenate([np.full(context, -1), self.steps[offset : offset + length]])
        nats = np.concatenate([np.zeros(context), self.token_nats[offset : offset + length]])
        x0 = stack_spans(self.corpus, self.spans, np.array([index]))[0].numpy()
        step, order = int(generator.integers(steps.max() + 1)), self.estimator.order
        positions = np.flatnonzero(steps >= step)
        paid = steps[positions] == step
        seen, level = self.estimator.told(self.denoiser, len(positions), length, context, 1)
        return [
            Question(
                f"step {step} of window {index}", np.where(steps < step, x0, self.denoiser.mask_token_id),
                _plain(level), positions, x0[positions], paid, float(nats[positions][paid].sum()),
                order=order if order in SCORES else None, context_length=int(seen[0]),
            )
        ]  # fmt: skip


@final
@dataclass(frozen=True)
class AskedMasks(Asked):
    """Masks out of an enumeration: single ones have no sum of their own, so this process asks its network first."""

    corpus: Corpus
    spans: Spans
    denoiser: Denoiser
    schedule: NoiseSchedule
    device: torch.device

    @property
    def window(self) -> Ints:
        return np.resize(np.arange(len(self.spans)), max(len(self.spans), NUM_QUESTIONS))

    def questions(self, index: int, generator: np.random.Generator) -> list[Question]:
        window = int(self.window[index])
        x0 = stack_spans(self.corpus, self.spans, np.array([window]))
        length, context = int(self.spans.lengths[window]), int(self.spans.context_lengths[window])
        masked = torch.zeros(x0.shape, dtype=torch.bool)
        masked[0, -length:] = torch.from_numpy(generator.random(length) < 0.5)
        masked[0, -1 - int(generator.integers(length))] = True
        low, high = self.schedule.min_mask_rate, self.schedule.max_mask_rate
        level = self.schedule.level_at(torch.tensor([high - (high - low) * generator.random()], dtype=torch.float64))
        with torch.inference_mode():
            # Two rows, as no question has them.
            rows = [part.expand(2, *part.shape[1:]).to(self.device) for part in (x0, masked)]
            contexts = torch.full((2,), context, device=self.device)
            both = level.each(lambda part: part.expand(2).to(self.device))
            nats = float(masked_nll(self.denoiser, rows[0], rows[1], both, context_lengths=contexts)[0])
        positions = masked[0].nonzero()[:, 0].numpy()
        return [
            Question(
                f"a mask of window {window}", x0.masked_fill(masked, self.denoiser.mask_token_id)[0].numpy(),
                _plain(level), positions, x0[0].numpy()[positions], np.ones(len(positions), dtype=bool), nats,
                context_length=context,
            )
        ]  # fmt: skip


def _plain(level: NoiseLevel) -> tuple[float, float, float]:
    return float(level.t[0]), float(level.alpha_t[0]), float(level.dalpha_t[0])
