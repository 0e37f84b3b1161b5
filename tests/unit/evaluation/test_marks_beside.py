"""Marks are found beside a GPU that scores, and after a processor that does."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from bpb_harness.evaluation import reference_marks

LAYOUT = SimpleNamespace(spans="spans", total_units=70)


class Network:
    """A denoiser whose mask is one of its 9 ids, or the one behind them; with neither, a causal model."""

    vocab_size, context_length, time_conditioned = 9, 16, False

    def __init__(self, mask_token_id=None):
        if mask_token_id is not None:
            self.mask_token_id = mask_token_id

    def logits(self, *_): ...


def job_of(network, *, device="cpu", byte_rule="official"):
    """As much of a job as is looked at."""
    return SimpleNamespace(
        model=network, device=SimpleNamespace(type=device), settings=SimpleNamespace(byte_rule=byte_rule),
        text=SimpleNamespace(corpus="corpus", tokenizer=SimpleNamespace(vocab_size=12)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("device", "is_first", "beside"), [("cuda", True, True), ("cuda", False, False), ("cpu", True, False)]
)
def test_marks_are_found_beside_a_gpu_and_after_a_cpu(monkeypatch, device, is_first, beside):
    asked, may_end = [], threading.Event()

    def marks(*_, num_units, **__):
        if beside:
            assert may_end.wait(60)
        asked.append((num_units, threading.current_thread().name))
        return "marks"

    monkeypatch.setattr(reference_marks, "reference_marks", marks)
    monkeypatch.setattr(reference_marks, "is_first_process", lambda: is_first)
    found = reference_marks.marks_beside(job_of(Network(9), device=device), LAYOUT)
    assert asked == [], "nothing was waited for"
    may_end.set()
    assert found() == "marks"
    ((num_units, thread),) = asked
    assert num_units == 70
    assert thread.startswith("marks") == beside


def test_what_fails_there_fails_where_the_marks_are_asked_for(monkeypatch):
    def marks(*_, **__):
        raise ValueError("no marks")

    monkeypatch.setattr(reference_marks, "reference_marks", marks)
    found = reference_marks.marks_beside(job_of(Network(9), device="cuda"), LAYOUT)
    with pytest.raises(ValueError, match="no marks"):
        found()


@pytest.mark.parametrize(
    ("network", "byte_rule", "num_clean", "spells"),
    [(Network(9), "official", 9, True), (Network(4), "exact", 8, True), (Network(), "none", 9, False)],
)
def test_marks_pay_for_the_ids_that_the_score_pays_for(monkeypatch, network, byte_rule, num_clean, spells):
    """V is that of the network, the mask left out; where tokens do not give the text back there is none to pack."""
    asked = []
    monkeypatch.setattr(reference_marks, "reference_marks", lambda *given, **named: asked.append((given, named)) or "m")
    job = job_of(network, byte_rule=byte_rule)
    assert reference_marks.marks_beside(job, LAYOUT)() == "m"
    ((given, named),) = asked
    assert given == ("corpus", "spans", job.text.tokenizer if spells else None)
    assert named == {"vocab_size": 12, "num_clean": num_clean, "num_units": 70}
