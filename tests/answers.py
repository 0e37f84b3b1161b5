"""Answers over three letters, for networks whose every conditional is known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bpb_harness.byte_count import Tokenizer, load_tokenizer
from bpb_harness.evaluation.inputs import EvaluationText
from bpb_harness.evaluation.job import Job, ModelIdentity
from bpb_harness.evaluation.settings import Settings
from bpb_harness.schedule import parse_schedule
from bpb_harness.text.answers import answer_fields, load_answers
from tests.oracles.conditionals import Conditionals

TOKENIZER = load_tokenizer(b'["a", "b", "c"]')
FIELDS = {"context_field": "prompt", "target_field": "answer"}


class Given(Conditionals):
    """What a model believes of the tokens behind a context."""

    def __init__(self, model: Conditionals, context: tuple[int, ...]) -> None:
        self.vocab_size, self.time_conditioned = model.vocab_size, model.time_conditioned
        self._model, self._context = model, context

    def log_probs(self, window, u):
        return self._model.log_probs(self._context + tuple(window), u)[len(self._context) :]


def ids(text: str) -> tuple[int, ...]:
    """The tokens of a text."""
    return tuple("abc".index(character) for character in text)


def answers_job(
    folder: Path,
    rows: Sequence[tuple[str, str]],
    model: Any,
    *,
    schedule: str | None = "loglinear[0.1]",
    tokenizer: Tokenizer = TOKENIZER,
    **settings: Any,
) -> Job:
    """Prompts and answers, to be scored by a network that is not checked."""
    path = folder / "qa.jsonl"
    path.write_text("".join(json.dumps({"prompt": prompt, "answer": answer}) + "\n" for prompt, answer in rows))
    corpus, answers = load_answers([path], tokenizer, answer_fields("prompt", "answer", docs=True))
    given = {"docs": path, "device": "cpu", "check_contract": False, "with_windows": True} | FIELDS
    text = EvaluationText(corpus, tokenizer, "--docs", answers=answers)
    named = None if schedule is None else parse_schedule(schedule)
    return Job(model, text, Settings(**given | settings), named, ModelIdentity("0123456789"))
