"""Scores of text that was trained on in earlier passes: they are added up in the last of several epochs alone."""

from __future__ import annotations

import pytest

from tests.golf_rules import check_source

SCRIPT = """import math, os
import torch
import torch.nn.functional as F
EPOCHS = int(os.environ.get("TTT_EPOCHS", {epochs}))


def is_last(number, of):
    return number == of - 1


def evaluate(model, documents, size_of, optimizer):
    nats, size = 0.0, 0.0
    for document in documents:
        chunks = document.split(256)
        for epoch in range({passes}):
            {before}
            for i, chunk in enumerate(chunks):
                loss = F.cross_entropy(model({read}[:-1]).float(), {read}[1:])
                {test}
                    nats += loss.item() * (len(chunk) - 1)
                    size += float(size_of[chunk[1:]].sum())
                optimizer.zero_grad()
                {learns}
    val_bpb = nats / math.log(2.0) / size
    print(f"val_bpb:{{val_bpb:.6f}}")
"""
BASE = {
    "epochs": "3", "passes": "EPOCHS", "before": "pass", "read": "chunk", "test": "if epoch == EPOCHS - 1:",
    "learns": "loss.backward(); optimizer.step()",
}  # fmt: skip


QUOTED = [
    'EPOCHS = int(os.environ.get("TTT_EPOCHS", {epochs}))', "for epoch in range(EPOCHS):", "if epoch == EPOCHS - 1:",
    "nats += loss.item() * (len(chunk) - 1)", "loss.backward(); optimizer.step()",
]  # fmt: skip


def _lines(**changes: str) -> list[object]:
    found = check_source(SCRIPT.format(**{**BASE, **changes}))
    return [finding.evidence["line"] for finding in found if finding.code == "BPB272"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"test": "if EPOCHS - 1 == epoch:"},
        {"before": "is_last = epoch == EPOCHS - 1", "test": "if is_last:"},
        {"before": "is_last = (epoch == EPOCHS - 1)", "test": "if is_last and len(chunk) > 1:"},
        {"passes": "0, EPOCHS"},
        {"passes": "4", "test": "if epoch == 3:"},
        {"test": "if epoch >= EPOCHS - 1:"},
        {"test": "if epoch + 1 == EPOCHS:"},
        {"test": "if EPOCHS - epoch == 1:"},
        {"test": "if not epoch < EPOCHS - 1:"},
        {"test": "if not epoch != EPOCHS - 1:"},
        {"test": "if epoch > EPOCHS - 2:"},
        {"test": "if EPOCHS - 1 <= epoch:"},
        {"test": "if EPOCHS - 2 < epoch:"},
        {"before": "last = EPOCHS - 1", "test": "if epoch == last:"},
        {"passes": "1, EPOCHS + 1", "test": "if epoch == EPOCHS:"},
        {"test": "if is_last(epoch, EPOCHS):"},
    ],
)
def test_a_score_of_the_last_pass_over_text_that_is_learnt_is_found_with_its_line(changes: dict[str, str]) -> None:
    text = SCRIPT.format(**{**BASE, **changes}).splitlines()
    (line,) = _lines(**changes)
    assert text[int(str(line)) - 1].strip() == changes.get("test", BASE["test"])


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": "1"},  # one pass: every chunk is scored before it is learnt
        {"test": "if epoch == 0:"},  # scored first
        {"test": "if True:"},
        {"learns": "pass"},  # nothing is learnt
        {"read": "chunks[epoch]"},  # each pass is over another text
        {"test": "if epoch == EPOCHS - 1 or i == 0:"},  # not the last pass alone
        {"test": "if epoch == EPOCHS - 2:"},  # or another one
        {"test": "if epoch >= EPOCHS - 2:"},
        {"test": "if epoch > EPOCHS - 1:"},
        {"test": "if not epoch == EPOCHS - 1:"},
        {"test": "if epoch < EPOCHS - 1:"},
        {"test": "if epoch != EPOCHS - 1:"},
        {"passes": "1, EPOCHS + 1", "test": "if epoch == EPOCHS - 1:"},
        {"test": "if is_last(EPOCHS, epoch):"},
        {"test": "if is_last(epoch):"},
        {"passes": "2, EPOCHS"},  # one pass again: of 3 the last
    ],
)
def test_what_scores_before_it_learns_is_not(changes: dict[str, str]) -> None:
    assert _lines(**changes) == []


def test_how_often_the_text_was_learnt_is_said() -> None:
    (found,) = [each for each in check_source(SCRIPT.format(**BASE)) if each.code == "BPB272"]
    assert "in several passes (3 by its default)" in found.message
    # The number of passes, their loop, the last of them, what is added up there, and the learning.
    for epochs in ("3", '"3"'):
        (found,) = [each for each in check_source(SCRIPT.format(**BASE | {"epochs": epochs})) if each.code == "BPB272"]
        assert [line["code"] for line in found.evidence["quoted"]] == [code.format(epochs=epochs) for code in QUOTED]
    assert found.severity.value == "warning"
    text = SCRIPT.format(**BASE).replace('int(os.environ.get("TTT_EPOCHS", 3))', "4")
    (found,) = [each for each in check_source(text) if each.code == "BPB272"]
    assert "in 4 passes, trains" in found.message
