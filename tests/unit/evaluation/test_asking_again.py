"""The process that answers, beside scoring: when there is one, what it is asked, and what comes of a failure."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from bpb_harness.errors import SecondLookError
from bpb_harness.evaluation import asking_again
from bpb_harness.evaluation.api import load_job
from bpb_harness.evaluation.asking_again import answering_process, look_again, watching
from bpb_harness.evaluation.score import score
from bpb_harness.evaluation.second_answers import Asked
from bpb_harness.evaluation.settings import Settings
from bpb_harness.second_look.questions import Answer, Question

RESULT: Any = SimpleNamespace(signature="bpb|method:mc", length=SimpleNamespace(nats=100.0))


class Windows(Asked):
    """One question of each of some windows."""

    def __init__(self, number: int) -> None:
        self._number = number

    @property
    def window(self):
        return np.arange(self._number)

    def questions(self, index, generator):
        at = np.arange(2)
        return [Question(str(index), at, None, at, at, np.ones(2, dtype=bool), 1.0)]


class Process:
    """The other end, in small."""

    def __init__(self, digest="m", nats=1.0) -> None:
        self.digest, self.nats, self.asked, self.is_closed = digest, nats, 0, False

    def wait_until_built(self):
        return self.digest

    def ask(self, questions):
        self.asked += len(questions)
        return [Answer(np.full(2, self.nats / 2), np.zeros(2)) for _ in questions]

    def require_no_failure(self):
        if self.digest is None:
            raise SecondLookError("it cannot build the network")

    def close(self):
        self.is_closed = True


@dataclass
class Task:
    """As much of a job as is looked at."""

    progress: Any = None
    source: Any = "there"
    check: bool = True
    model: Any = None

    device: ClassVar = torch.device("cpu")
    identity: ClassVar = SimpleNamespace(digest="m")
    text: ClassVar = SimpleNamespace(corpus=SimpleNamespace(digest="d", let_go=lambda: None))

    @property
    def settings(self):
        return Settings(device="cpu", check_contract=self.check)


def test_the_fresh_process_is_asked_and_compared(monkeypatch):
    process, let_go = Process(), []
    monkeypatch.setattr(Task.text.corpus, "let_go", lambda: let_go.append(process.asked))
    look_again(Task(), RESULT, Windows(50), process)
    assert process.asked == 32
    assert let_go == [0]  # of the text's pages, before the network is asked
    with pytest.raises(
        SecondLookError, match=r"^a fresh process that has only the checkpoint does not give .* 32 of 32"
    ):
        look_again(Task(), RESULT, Windows(50), Process(nats=1.1))


def test_another_checkpoint_is_not_asked():
    process = Process(digest="m2")
    with pytest.raises(
        SecondLookError, match=r"^the checkpoint is another one than when scoring began; score it again$"
    ):
        look_again(Task(), RESULT, Windows(50), process)
    assert process.asked == 0


def test_without_a_process_the_network_itself_is_asked_and_compared(monkeypatch):
    heard = []
    monkeypatch.setattr(
        asking_again,
        "ask_here",
        lambda model, device, questions: heard.append(model) or Process(nats=1.1).ask(questions),
    )
    with pytest.raises(SecondLookError, match=r"^the network, asked again window by window, does not give"):
        look_again(Task(model="it"), RESULT, Windows(5), None)
    assert heard == ["it"]


def test_progress_tells_at_once_what_has_failed_in_the_other_process():
    told = []
    task = Task(progress=lambda done, total: told.append((done, total)))
    process = Process()
    watched = watching(task, process)
    watched.progress(1, 5)
    assert told == [(1, 5)]
    process.digest = None
    with pytest.raises(SecondLookError, match="cannot build"):
        watched.progress(2, 5)
    with pytest.raises(SecondLookError, match="cannot build"):
        watching(Task(), process).progress(2, 5)
    watching(Task(), Process()).progress(2, 5)


@pytest.mark.parametrize(
    ("task", "is_first", "starts"),
    [
        (Task(), True, True),
        (Task(), False, False),
        (Task(source=None), True, False),
    ],
)
def test_a_process_is_started_where_there_is_a_file_to_look_at_and_always_ended(monkeypatch, task, is_first, starts):
    begun = []
    monkeypatch.setattr(asking_again, "is_first_process", lambda: is_first)
    monkeypatch.setattr(asking_again, "AnsweringProcess", lambda source: begun.append(Process()) or begun[-1])
    for wrong in (None, ValueError):
        with nullcontext() if wrong is None else pytest.raises(wrong), answering_process(task) as process:
            assert (process is not None) is starts
            if wrong is not None:
                raise wrong
    assert [each.is_closed for each in begun] == [True, True] * starts


@pytest.mark.parametrize("check", [True, False])
def test_no_process_is_started_for_a_network_that_is_not_checked(repository, monkeypatch, check):
    class StartedError(Exception):
        pass

    def start(source):
        raise StartedError

    monkeypatch.setattr(asking_again, "AnsweringProcess", start)
    job = load_job(
        repository / "fixtures" / "checkpoints" / "mdlm-tiny.pt",
        Settings(limit=1, context_length=8, check_contract=check, device="cpu"),
    )
    with pytest.raises(StartedError) if check else nullcontext():
        score(job)


@pytest.mark.parametrize(
    ("source", "check", "word"),
    [("a file", True, "checked"), (None, True, "own-process"), ("a file", False, "off"), (None, False, "off")],
)
def test_the_signature_says_who_looked(repository, source, check, word):
    tiny = repository / "fixtures" / "checkpoints" / "mdlm-tiny.pt"
    job = load_job(tiny, Settings(limit=1, context_length=8, check_contract=False, device="cpu"))
    job = replace(job, source=source, settings=replace(job.settings, check_contract=check))
    assert job.signature(job.lay_out()).contract == word
