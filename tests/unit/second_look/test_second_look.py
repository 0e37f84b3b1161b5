"""When two answers are the same, what is asked, and the process that answers."""

from __future__ import annotations

import dataclasses
import os
import threading
import time

import numpy as np
import pytest
import torch

from bpb_harness.errors import SecondLookError
from bpb_harness.second_look import answering, waiting
from bpb_harness.second_look.asking import AnsweringProcess, ModelSource, ask_here
from bpb_harness.second_look.fresh_process import ask_once, serve
from bpb_harness.second_look.messages import Channel
from bpb_harness.second_look.questions import Answer, Question, require_same_answers


def asked(nats: float, count: int = 10, *, paid: slice = slice(None), order: str | None = None) -> Question:
    chosen = np.zeros(count, dtype=bool)
    chosen[paid] = True
    where = np.arange(count)
    return Question("window 3 at mask rate 0.5", where, (0.5, 0.5, -1.0), where, where, chosen, nats, order)


def said(nats: float, count: int = 10, score=None) -> Answer:
    return Answer(
        np.full(count, nats / count), np.full(count, -0.1) if score is None else np.asarray(score, dtype=float)
    )


class TestRequireSameAnswers:
    def test_rounding_passes(self):
        require_same_answers([asked(30.0)], [said(30.0005)], dtype="float32", where="it")
        require_same_answers([asked(30.0)], [said(30.5)], dtype="bfloat16", where="it")

    @pytest.mark.parametrize("sign", [1.0, -1.0])
    def test_one_question_that_moved_is_named_with_both_numbers(self, sign):
        questions = [asked(30.0), asked(20.0), asked(40.0)]
        answers = [said(30.0), said(20.0 + sign * 0.1), said(40.0)]
        with pytest.raises(
            SecondLookError, match=r"^it does not give .*got \S+ bits for window 3 .*, 1 of 3 such"
        ) as e:
            require_same_answers(questions, answers, dtype="float32", where="it")
        assert f"expected {20.0 / np.log(2):.6g}" in str(e.value)

    def test_bfloat16_has_a_limit_too(self):
        with pytest.raises(SecondLookError):
            require_same_answers([asked(30.0)], [said(31.6)], dtype="bfloat16", where="it")

    @pytest.mark.parametrize("wrong", [np.nan, np.inf])
    def test_what_is_no_number_is_no_agreement(self, wrong):
        with pytest.raises(SecondLookError, match="1 of 2 such"):
            require_same_answers([asked(30.0), asked(3.0)], [said(30.0), said(wrong)], dtype="float32", where="it")

    def test_a_drift_that_no_single_question_shows(self):
        questions = [asked(3000.0, 1000) for _ in range(200)]
        answers = [said(3000.0 + 0.05, 1000) for _ in range(200)]  # 5e-5 nats a token each: below one question's limit
        with pytest.raises(SecondLookError, match=r"\+7\.21e-05 bits a token over 200 questions"):
            require_same_answers(questions, answers, dtype="float32", where="it")

    def test_only_paid_positions_count(self):
        answer = Answer(np.array([5.0, 1.0, 1.0]), np.zeros(3))
        require_same_answers([asked(2.0, 3, paid=slice(1, 3))], [answer], dtype="float32", where="it")
        with pytest.raises(SecondLookError):
            require_same_answers([asked(7.0, 3, paid=slice(1, 3))], [answer], dtype="float32", where="it")

    @pytest.mark.parametrize("order", ["confidence", "entropy", "margin"])
    def test_an_order_by_predictions_must_be_the_networks_own(self, order):
        question = asked(0.1, 3, paid=slice(0, 1), order=order)
        answer = Answer(np.array([0.1, 9.0, 9.0]), np.array([-0.1, -0.2, -0.3]))
        require_same_answers([question], [answer], dtype="float32", where="it")
        surer = dataclasses.replace(answer, score=np.array([-0.1, -0.01, -0.3]))
        with pytest.raises(SecondLookError, match=f"surest elsewhere at window 3.*a score by {order} of -0.01 at"):
            require_same_answers([question], [surer], dtype="float32", where="it")
        free = dataclasses.replace(question, order=None)
        require_same_answers([free], [surer], dtype="float32", where="it")


LIMITS = [
    # count, nats that may be between two sums: mean + 6 own deviations
    ("float32", 10, 1e-4 * 10 + 6e-4 * 10**0.5), ("float32", 40_000, 1e-4 * 40_000 + 6e-4 * 200),
    ("bfloat16", 10, 2e-3 * 10 + 0.48 * 10**0.5), ("bfloat16", 40_000, 2e-3 * 40_000 + 0.48 * 200),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "count", "limit"), LIMITS)
def test_how_far_one_question_may_move(dtype, count, limit):
    require_same_answers([asked(30.0, count)], [said(30.0 + 0.98 * limit, count)], dtype=dtype, where="it")
    with pytest.raises(SecondLookError, match="1 of 1 such"):
        require_same_answers([asked(30.0, count)], [said(30.0 - 1.02 * limit, count)], dtype=dtype, where="it")


@pytest.mark.parametrize(("dtype", "drift"), [("float32", 1e-5), ("bfloat16", 1e-3)])
def test_how_far_all_questions_may_move_together(dtype, drift):
    """400 questions that move alike scatter by a twentieth of their sum."""
    limit = drift * 1000 / (1.0 - 6.0 / 20.0)
    questions = [asked(3000.0, 1000)] * 400
    require_same_answers(questions, [said(3000.0 + 0.98 * limit, 1000)] * 400, dtype=dtype, where="it")
    with pytest.raises(SecondLookError, match="bits a token over 400 questions"):
        require_same_answers(questions, [said(3000.0 - 1.02 * limit, 1000)] * 400, dtype=dtype, where="it")


@pytest.mark.parametrize(("dtype", "limit"), [("float32", 6e-4), ("bfloat16", 0.48)])
@pytest.mark.parametrize(("order", "share"), [("confidence", 1.0), ("entropy", 3.0), ("margin", 1.0)])
def test_how_much_surer_the_network_may_be_elsewhere(dtype, limit, order, share):
    """Of an entropy of 2 nats three times as much as of a log-probability."""
    question, limit = asked(0.1, 3, paid=slice(0, 1), order=order), share * limit

    def look(passed_over: float) -> None:
        answer = Answer(np.array([0.1, 9.0, 9.0]), np.array([-2.0, -3.0, passed_over]))
        require_same_answers([question], [answer], dtype=dtype, where="it")

    look(-2.0 + 0.98 * limit)
    with pytest.raises(SecondLookError, match="surest elsewhere"):
        look(-2.0 + 1.02 * limit)


def test_messages_carry_arrays_and_end_with_their_sender():
    (read, write), numbers = os.pipe(), np.array([1.5, -np.inf])
    channel = Channel(read, write)
    assert not channel.has_message()
    channel.send({"level": [0.5, 1.0]}, tokens=np.arange(6).reshape(2, 3), numbers=numbers)
    assert channel.has_message()
    content, arrays = channel.receive()
    assert content == {"level": [0.5, 1.0]}
    assert arrays["tokens"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert arrays["tokens"].dtype == np.int64
    assert arrays["numbers"].tolist() == numbers.tolist()
    os.write(write, (1 << 40).to_bytes(8, "little"))
    with pytest.raises(ValueError, match="a header of"):
        channel.receive()
    os.close(write)
    with pytest.raises(EOFError):
        channel.receive()
    os.close(read)


USER_MODEL = """
import os, sys
import torch

class Model:
    vocab_size, mask_token_id, context_length, time_conditioned, schedule = 4, 4, 8, False, "loglinear"
    def logits(self, xt, level):
        {body}
        return torch.arange(4.0).expand(*xt.shape, 4).clone()

def load(path, device):
    {loading}
    return Model()
"""


def source(tmp_path, *, body: str = "pass", loading: str = "pass") -> ModelSource:
    file = tmp_path / "model.py"
    file.write_text(USER_MODEL.format(body=body, loading=loading))
    (tmp_path / "weights.bin").write_bytes(b"weights")
    load = {"path": str(tmp_path / "weights.bin"), "model_loader": f"{file}:load", "allow_code": True}
    return ModelSource(load, torch.device("cpu"), "float32")


QUESTION = Question(
    "a mask", np.array([4, 1, 4]), (0.5, 0.5, -1.0), np.array([0, 2]), np.array([3, 0]), np.ones(2, dtype=bool), 0.0
)
EXPECTED = float(torch.logsumexp(torch.arange(4.0), 0)) - np.array([3.0, 0.0])


def _wait_for_failure(process: AnsweringProcess) -> None:
    for _ in range(6000):
        process.require_no_failure()
        time.sleep(0.01)


class TestAnsweringProcess:
    def test_one_is_started_ahead_in_an_empty_folder_without_a_word_of_the_text_and_taken(self, tmp_path, monkeypatch):
        monkeypatch.setenv("BPB_DATA", "/somewhere/val.bin")
        monkeypatch.setenv("RANK", "0")
        waiting.stop_all()
        waiting.start_ahead()
        waiting.start_ahead()
        (ahead,) = waiting._idle
        told = "[name for name in os.environ if name.startswith(('BPB', 'RANK'))]"
        process = AnsweringProcess(source(tmp_path, body=f"print(os.listdir(), {told}, sys.argv[1:], file=sys.stderr)"))
        assert process._server is ahead
        process.ask([QUESTION])
        assert process._server.last_words() == "[] [] []"
        process.close()

    def test_it_answers_what_the_network_says(self, tmp_path):
        process = AnsweringProcess(source(tmp_path))
        orders = ["confidence", "entropy", "margin"]
        answer, *scored = process.ask([QUESTION, *(dataclasses.replace(QUESTION, order=order) for order in orders)])
        process.close()
        by_order = {order: each.score for order, each in zip(orders, scored, strict=True)}
        assert answer.nats == pytest.approx(EXPECTED, abs=1e-6)
        assert answer.score.tolist() == []
        assert by_order["confidence"] == pytest.approx([EXPECTED[0] * -1] * 2, abs=1e-6)
        p = torch.arange(4.0, dtype=torch.float64).softmax(0).tolist()
        assert by_order["entropy"] == pytest.approx([sum(each * np.log(each) for each in p)] * 2, abs=1e-6)
        assert by_order["margin"] == pytest.approx([p[3] - p[2]] * 2, abs=1e-6)

    @pytest.mark.usefixtures("forked_second_look")
    def test_a_network_that_cannot_be_built_without_its_folder_is_an_error_at_once(self, tmp_path):
        process = AnsweringProcess(source(tmp_path, loading="open('vocabulary.txt')"))
        with pytest.raises(SecondLookError, match=r"cannot build the network.*vocabulary.txt.*--no-contract"):
            _wait_for_failure(process)
        process.close()

    @pytest.mark.usefixtures("forked_second_look")
    @pytest.mark.parametrize("where", ["body", "loading"])
    def test_a_process_that_ends_is_an_error_with_its_last_words(self, tmp_path, where):
        ending = "print('no room left', file=sys.stderr, flush=True); os._exit(3)"
        process = AnsweringProcess(source(tmp_path, **{where: ending}))
        with pytest.raises(SecondLookError, match=r"it ended \(no room left\)"):
            process.ask([QUESTION])
        process.close()

    def test_what_a_network_prints_is_no_answer(self, tmp_path):
        process = AnsweringProcess(source(tmp_path, body="print('x' * 100, flush=True)"))
        assert process.ask([QUESTION])[0].nats == pytest.approx(EXPECTED, abs=1e-6)
        process.close()

    def test_the_next_network_gets_a_process_that_has_run_none(self, tmp_path):
        counting = "torch.calls = getattr(torch, 'calls', 0) + 1; assert torch.calls == 1"
        numbers = []
        for _ in range(2):
            process = AnsweringProcess(source(tmp_path, body=counting))
            process.ask([QUESTION])
            numbers.append(process._server.process.pid)
            process.close()
        assert numbers[0] == numbers[1]

    @pytest.mark.usefixtures("forked_second_look")
    def test_after_a_failure_nothing_is_used_again(self, tmp_path):
        process = AnsweringProcess(source(tmp_path, body="raise ValueError('no')"))
        with pytest.raises(SecondLookError, match="cannot score a mask: got ValueError: no"):
            process.ask([QUESTION])
        process.close()
        assert waiting._idle == []
        assert process._server.process.returncode is not None

    @pytest.mark.usefixtures("forked_second_look")
    def test_one_that_still_owes_an_answer_is_ended(self, tmp_path, monkeypatch):
        process = AnsweringProcess(source(tmp_path))
        process.wait_until_built()

        def interrupted(_):
            raise KeyboardInterrupt

        monkeypatch.setattr(Channel, "receive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            process.ask([QUESTION])
        process.close()
        assert waiting._idle == []
        assert process._server.process.returncode is not None

    @pytest.mark.usefixtures("forked_second_look")
    def test_one_that_is_not_waited_for_is_ended(self, tmp_path):
        process = AnsweringProcess(source(tmp_path, loading="import time; time.sleep(600)"))
        process.close()
        assert process._server.process.returncode is not None
        assert waiting._idle == []


def test_targets_are_sent_when_the_logits_are_held(tmp_path):
    """The answering side says that it holds its logits before it has been told any target."""
    to_it, from_it = os.pipe(), os.pipe()
    mine, its = Channel(from_it[0], to_it[1]), Channel(to_it[0], from_it[1])
    wish = source(tmp_path)
    mine.send({
        "load": wish.from_anywhere(), "device": "cpu", "dtype": "float32", "threads": torch.get_num_threads(),
        "precision": "highest",
    })  # fmt: skip
    asked = {"level": list(QUESTION.level), "context_length": 0}
    mine.send(asked, tokens=QUESTION.tokens, positions=QUESTION.positions)
    thread = threading.Thread(target=serve, args=(its,))
    thread.start()
    assert len(mine.receive()[0]["digest"]) >= 8
    assert mine.receive()[0] == {"held": True}
    mine.send({"order": None}, targets=QUESTION.targets)
    assert mine.receive()[1]["nats"] == pytest.approx(EXPECTED, abs=1e-6)
    mine.send({"end": True})
    thread.join()
    for end in (*to_it, *from_it):
        os.close(end)


class Fixed:
    """Logits that are given, whatever is asked."""

    vocab_size, mask_token_id, context_length, time_conditioned = 4, 1, 8, False

    def __init__(self, logits) -> None:
        self._logits = logits

    def logits(self, xt, level):
        return self._logits.expand(*xt.shape, -1)


def test_a_mask_inside_the_vocabulary_gets_no_mass():
    question = dataclasses.replace(QUESTION, tokens=np.array([1, 0, 1]))
    (answer,) = ask_here(Fixed(torch.tensor([0.0, 50.0, 1.0, 2.0])), torch.device("cpu"), [question])
    total = np.log(1 + np.e + np.e**2)
    assert answer.nats == pytest.approx([total - 2.0, total], abs=1e-6)


def test_arithmetic_that_somebody_replaced_is_seen(monkeypatch):
    plain = torch.log_softmax
    monkeypatch.setattr(torch, "log_softmax", lambda x, dim: plain(x, dim=dim) * 0.5)
    with pytest.raises(SecondLookError, match="normalised logits are not what they must be"):
        ask_here(Fixed(torch.arange(4.0)), torch.device("cpu"), [QUESTION])


@pytest.mark.parametrize("row", [0, -1])
@pytest.mark.parametrize(("shift", "is_seen"), [(9e-4, False), (1.1e-3, True), (-1.1e-3, True)])
def test_a_thousandth_of_a_nat_in_the_first_or_last_row_is_seen(monkeypatch, row, shift, is_seen):
    plain = torch.log_softmax

    def shifted(x, dim):
        log_probs = plain(x, dim=dim).double()
        log_probs[row] += shift
        return log_probs

    monkeypatch.setattr(torch, "log_softmax", shifted)
    where = np.arange(7)
    question = dataclasses.replace(QUESTION, tokens=np.full(7, 1), positions=where, targets=np.full(7, 3))
    model = Fixed(torch.tensor([0.0, 50.0, 1.0, 2.0]))
    if not is_seen:
        ask_here(model, torch.device("cpu"), [question])
        return
    with pytest.raises(SecondLookError) as caught:
        ask_here(model, torch.device("cpu"), [question])
    right = np.log(1.0 + np.e + np.e**2) - 2.0
    assert str(caught.value) == (
        f"normalised logits are not what they must be: got {right - shift:.6g} nats, expected {right:.6g}; the "
        "network's code replaces functions of torch: take that out"
    )


class OfPositions:
    """Logits that differ from place to place, and with the tokens."""

    vocab_size, mask_token_id, context_length, time_conditioned = 5, 5, 16, False

    def logits(self, xt, level):
        place = torch.arange(xt.shape[1])[:, None]
        return (torch.sin(place * torch.arange(1.0, 6.0)) * 3.0).expand(*xt.shape, -1) + xt[..., None] * 0.0


class WithAHead(OfPositions):
    def hidden(self, xt, level):
        return torch.arange(xt.shape[1], dtype=torch.float32)[:, None].expand(*xt.shape, 1).clone()

    def head(self, hidden):
        return torch.sin(hidden * torch.arange(1.0, 6.0)) * 3.0


@pytest.mark.parametrize("model", [OfPositions(), WithAHead()], ids=["whole", "with-a-head"])
@pytest.mark.parametrize("rows", [3, 1024])
def test_targets_are_looked_up_at_their_own_positions_in_pieces_or_at_once(monkeypatch, model, rows):
    monkeypatch.setattr(answering, "_ROWS_PER_CALL", rows)
    positions, targets = np.array([0, 2, 3, 5, 6, 9, 10, 11]), np.array([4, 0, 1, 2, 3, 4, 0, 2])
    question = dataclasses.replace(
        QUESTION, tokens=np.full(12, 5), positions=positions, targets=targets, order="confidence"
    )
    (answer,) = ask_here(model, torch.device("cpu"), [question])
    log_probs = torch.log_softmax(model.logits(torch.full((1, 12), 5), None)[0], -1).numpy()
    assert answer.nats == pytest.approx(-log_probs[positions, targets], abs=1e-5)
    assert answer.score == pytest.approx(log_probs[positions].max(axis=1), abs=1e-5)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30, 1e300])
def test_logits_of_any_size_pass(scale):
    logits = torch.tensor([0.0, 1.0, 1.0, 0.5], dtype=torch.float64) * scale
    ask_here(Fixed(logits), torch.device("cpu"), [dataclasses.replace(QUESTION, targets=np.array([2, 3]))])


@pytest.mark.parametrize("length", [16, 5_000])
@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_a_made_up_row_is_asked_for_before_anybody_waits(length, is_causal, fails):
    """No token of it is of the text, and what fails is left to who asks for something."""
    asked = []

    class Network:
        vocab_size, context_length = 8, length

        def answer(self, x):
            asked.append(x)
            if fails:
                raise RuntimeError("no kernel")
            return torch.zeros(*x.shape, 8)

    class Causal(Network):
        def logits(self, x):
            return self.answer(x)

    class Masked(Network):
        mask_token_id, time_conditioned = 8, False

        def logits(self, xt, level):
            return self.answer(xt)

    ask_once(Causal() if is_causal else Masked(), torch.device("cpu"))
    (row,) = asked
    assert row.shape == (1, min(length, 2048))
    assert not row.any()
