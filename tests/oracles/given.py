"""A model of some tokens given others: the same conditionals, behind a context that is never masked."""

from __future__ import annotations

from tests.oracles.conditionals import Conditionals, Window


class Given(Conditionals):
    """What a model believes of the tokens behind a context; as a model of these alone it has a bound like any other.

    Args:
        model: believes something of context and targets together.
        context: tokens before the targets, all visible.
    """

    def __init__(self, model: Conditionals, context: tuple[int, ...]) -> None:
        self.vocab_size, self.time_conditioned = model.vocab_size, model.time_conditioned
        self._model, self._context = model, context

    def log_probs(self, window: Window, u: float) -> list[list[float]]:
        return self._model.log_probs(self._context + window, u)[len(self._context) :]
