"""Scores of text that was trained on in earlier passes: they are added up in the last of several epochs alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing.script import ScriptContext
from bpb_harness.auditing.script.context import LoggedScore
from bpb_harness.findings import Finding
from tests.golf_rules import GOLF, check_source

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
        {"test": "if epoch == EPOCHS - 1:\n                    cost = loss.detach(); loss = cost"},
    ],
)
def test_a_score_of_the_last_pass_over_text_that_is_learnt_is_found_with_its_line(changes: dict[str, str]) -> None:
    text = SCRIPT.format(**{**BASE, **changes}).splitlines()
    (line,) = _lines(**changes)
    assert text[int(str(line)) - 1].strip() == changes.get("test", BASE["test"]).split("\n")[0]


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
    assert "in several passes (3 by its default; in one" in found.message
    # The number of passes, their loop, the last of them, what is added up there, and the learning.
    for epochs in ("3", '"3"'):
        (found,) = [each for each in check_source(SCRIPT.format(**BASE | {"epochs": epochs})) if each.code == "BPB272"]
        assert [line["code"] for line in found.evidence["quoted"]] == [code.format(epochs=epochs) for code in QUOTED]
    assert found.severity.value == "warning"
    text = SCRIPT.format(**BASE).replace('int(os.environ.get("TTT_EPOCHS", 3))', "4")
    (found,) = [each for each in check_source(text) if each.code == "BPB272"]
    assert "in 4 passes, trains" in found.message
    assert "what it trains on was learnt before it is scored" in found.message
    assert found.evidence["fitted_in_scoring"] is True


HONEST = """import math
import torch
import torch.nn.functional as F


def train(model, train_chunks, val_chunks, size_of, optimizer):
    nats, size = 0.0, 0.0
    for epoch in range(3):
        {before}
        for chunk in train_chunks:
            loss = F.cross_entropy(model(chunk[:-1]).float(), chunk[1:])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        {test}
            for held in val_chunks:
                cost = F.cross_entropy(model(held[:-1]).float(), held[1:])
                nats += cost.item() * (len(held) - 1)
                size += float(size_of[held[1:]].sum())
    val_bpb = nats / math.log(2.0) / size
    print(f"val_bpb:{{val_bpb:.6f}}")
"""


@pytest.mark.parametrize(
    "changes",
    [{"before": "pass", "test": "if epoch == 2:"}, {"before": "nats, size = 0.0, 0.0", "test": "if True:"}],
)
def test_a_network_that_learns_another_text_in_several_passes_is_in_order(changes: dict[str, str]) -> None:
    assert [each for each in check_source(HONEST.format(**changes)) if each.code == "BPB272"] == []


BY_HAND = {"passes": "EPOCHS", "before": "pass"}
WHILE = SCRIPT.replace("for epoch in range({passes}):", "epoch = {first}\n        while epoch {until}:")
WHILE = WHILE.replace("    val_bpb =", "            {counts}\n    val_bpb =")


@pytest.mark.parametrize(
    ("first", "until", "counts", "is_found"),
    [
        ("0", "< EPOCHS", "epoch += 1", True),
        ("0", "!= EPOCHS", "epoch += 1", True),
        ("2", "< EPOCHS", "epoch += 1", False),  # one pass
        ("0", "< EPOCHS", "epoch += 2", False),  # which the last one is, is not known
        ("0", "> EPOCHS", "epoch += 1", False),
        ("start()", "< EPOCHS", "epoch += 1", False),
    ],
)
def test_passes_that_are_counted_by_hand(first: str, until: str, counts: str, is_found: bool) -> None:
    text = WHILE.format(**BASE, first=first, until=until, counts=counts)
    assert [each.code for each in check_source(text) if each.code == "BPB272"] == ["BPB272"] * is_found


ANEW = """import math, os
import torch
import torch.nn.functional as F


def evaluate(model, documents, size_of, optimizer):
    nats, size = torch.zeros(()), 0.0
    for document in documents:
        chunks = document.split(256)
        own, own_size, best = [torch.zeros(()) for _ in range(2)], 0.0, [9e9, 9e9]
        for epoch in range({passes}):
            {before}
            {begins}
            for i, chunk in enumerate(chunks):
                x, y = {read}[:-1], {read}[1:]
                costs = F.cross_entropy(model(x).float(), y, reduction="none")
                {adds}
                own_size += float(size_of[y].sum())
                {loss}
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            {ends}
        {kept}
        size += own_size
    val_bpb = nats.item() / math.log(2.0) / size
    print(f"val_bpb:{{val_bpb:.6f}}")
"""
BEGUN = {
    "passes": "3", "before": "pass", "begins": "own[0].zero_(); own_size = 0.0", "read": "chunk",
    "adds": "own[0] += costs.detach().sum()", "loss": "loss = costs.mean()", "ends": "pass", "kept": "nats += own[0]",
}  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"begins": "for b in range(1): own[b].zero_(); own_size = 0.0"},
        {"begins": "own = torch.zeros(()); own_size = 0", "adds": "own += costs.sum()", "kept": "nats += own"},
        {"begins": "own, own_size = 0.0, 0.0", "adds": "own += costs.sum()", "kept": "nats += own"},
        {"begins": "own[0] = torch.zeros(()); own_size = 0.0"},
        {"passes": 'int(os.environ["EPOCHS"])'},
        {"adds": "with torch.no_grad(): own[0] += F.cross_entropy(model(x), y).sum()"},  # asked for once more
        {"loss": "loss = torch.zeros(9)\n                loss[0] = costs.mean()\n                loss = loss.sum()"},
        {"before": "for group in optimizer.param_groups: group['lr'] = 0.1 / (epoch + 1)"},
        {"before": "seen = torch.zeros(9); seen[:4] = 1.0; seen.mul_(2.0); print(epoch); model.train()"},
        {"ends": "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)"},
        {"ends": "for p in model.parameters(): p.grad.zero_(); p.grad = None"},
        {"ends": "for b in range(2):\n                if b > 5: break"},  # of another loop
        {"ends": "history = [own[0].item()]"},  # which nothing reads
    ],
)
def test_a_sum_that_each_pass_begins_anew_is_that_of_the_last(changes: dict[str, str]) -> None:
    (found,) = [each for each in check_source(ANEW.format(**BEGUN | changes)) if each.code == "BPB272"]
    assert "begins its sum anew in each, so that the score is that of the last one" in found.message
    assert "or of the best one" not in found.message


BEST = {"kept": "nats += best[0] if found else own[0]", "ends": "if own[0] < best[0]: best[0] = own[0].clone()"}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ends": "if best[0] >= own[0]: best[0] = own[0].clone()"},
        {"ends": "if len(chunks) > 1:\n                if own[0] < best[0]: best[0] = own[0].clone()"},
        {"ends": "mean = own[0].item() / 3\n            if mean < best[1]: best[1] = mean; best[0].copy_(own[0])"},
    ],
)
def test_a_sum_that_each_pass_begins_anew_is_that_of_the_best_where_sums_are_compared(changes: dict[str, str]) -> None:
    (found,) = [each for each in check_source(ANEW.format(**BEGUN | BEST | changes)) if each.code == "BPB272"]
    assert "or of the best one" in found.message


@pytest.mark.parametrize(
    "ends",
    [
        "if epoch == 0: best[0] = own[0].clone()",
        "if epoch == 0 and own[0] < best[0]: best[0] = own[0].clone()",
        "if epoch < 1:\n                if own[0] < best[0]: best[0] = own[0].clone()",
        "first = epoch < 1\n            if first: best[0].copy_(own[0])",
        "if own[0] > best[0]: best[0] = own[0].clone()",  # the worst
        "if len(best) > 1: best[0] = own[0].clone()",
        "if own[0] < best[0]: pass\n            else: best[0] = own[0].clone()",
        "if own[0] < best[0]: best[0] = own[0] * 1.0\n            else: best[1] = own[0].clone()",
        "best.append(own[0].clone())",
        "best[epoch] = own[0].clone()",
        "if own[0] > 0: best[0] = min(best[0], own[0].clone())",
    ],
)
def test_a_sum_that_is_kept_by_another_test_may_be_that_of_the_first_pass(ends: str) -> None:
    found = check_source(ANEW.format(**BEGUN | BEST | {"ends": ends}))
    assert [each for each in found if each.code == "BPB272"] == []


WRITTEN = [
    "for p, start in zip(model.parameters(), starts): p.copy_(start)",
    "for p, start in zip(model.parameters(), starts): p.data = start",
    "for p, start in zip(model.parameters(), starts): p.data[:] = start",
    "for p in model.parameters(): p *= 0.0",
    "for p in list(model.parameters()): p.data.zero_()",
    "held = [p for p in model.parameters()]; held[0].fill_(0.0)",
    "[p.data.copy_(start) for p, start in zip(model.parameters(), starts)]",
    "for part in model.modules(): torch.nn.init.zeros_(part.weight)",
    "optimizer.state.clear()",
    "for held in optimizer.state.values(): held['exp_avg'].zero_()",
    "model = copy_of(start)",
    "begin(model)",
    "_ = begin(model)",
    "begin()",
    "model.begin()",
    "setattr(model, 'weight', start)",
    "torch._foreach_copy_(list(model.parameters()), starts)",
    "torch.nn.utils.vector_to_parameters(starts, model.parameters())",
]


@pytest.mark.parametrize("written", WRITTEN)
def test_what_is_learnt_is_written_to_in_each_pass_by_something_else(written: str) -> None:
    begin = "def begin(*_):\n    START.clear()\n\n\ndef evaluate("
    for text in (ANEW.format(**BEGUN | {"before": written}), SCRIPT.format(**BASE | {"before": written})):
        found = check_source(text.replace("def evaluate(", begin))
        assert [each for each in found if each.code == "BPB272"] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"passes": "1"},
        {"begins": "own_size = 0.0", "kept": "nats += own[0] / 3"},  # that of all passes
        {"kept": "nats += best[0]"},
        {"read": "chunks[epoch]"},
        {"read": "next(chunks)"},
        {"before": "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)"},  # each pass begins anew
        {"before": "reset(model)"},
        {"before": "model.load_state_dict(kept)"},
        {"loss": "loss = F.cross_entropy(model(earlier[:-1]), earlier[1:])"},  # another text is learnt
        {"begins": "own_size = 0.0", "ends": "own[0].zero_()", "kept": "nats += own[0]"},
        {"begins": "own[0] = float(epoch); own_size = 0.0"},
        {"ends": "break"},
        {"ends": "if own[0] > 1e9: break"},
        {"ends": "return own[0]"},
        {"before": "if epoch > 0: continue"},
        {"ends": "if epoch == 0: first = own[0].clone()", "kept": "own[0] = first; nats += own[0]"},
        {"kept": "own[0].copy_(cost_of(document)); nats += own[0]"},
        {"kept": "own[0] = cost_of(document); nats += own[0]"},
        {"ends": "if epoch == 0: first = own[0].clone()", "kept": "own[0].copy_(first); nats += own[0]"},
    ],
)
def test_a_sum_of_all_passes_or_of_what_was_not_learnt_is_not(changes: dict[str, str]) -> None:
    found = [each for each in check_source(ANEW.format(**BEGUN | changes)) if each.code == "BPB272"]
    assert found == []


TELLING = SCRIPT.replace("    for document in documents:", "    {told}\n    for document in documents:", 1)
PRINTED = 'print(f"learning rank=8 epochs={EPOCHS} chunk=256")'


def _of_a_run(
    tmp_path: Path, *logs: str, told: str = PRINTED, readme: str = "", settings: dict[str, str] | None = None
) -> list[Finding]:
    """What is found of a script by the logs of a claim, each of which ends with a score of it."""
    scores = []
    for number, log in enumerate(logs):
        path = tmp_path / f"seed{number}.log"
        path.write_text(f"{log}\nval_bpb:0.900000\n")
        scores.append(LoggedScore(path, path.name, log.count("\n") + 2))
    context = ScriptContext(
        rules=GOLF, claimed_labels=("val_bpb:",), logged=tuple(scores), readme=readme, settings=settings or {}
    )
    found = check_source(TELLING.format(**BASE, told=told), context)
    return [finding for finding in found if finding.code == "BPB272"]


def test_a_log_that_prints_the_number_of_passes_knows_better_than_a_default_or_a_command(tmp_path: Path) -> None:
    for settings in ({}, {"TTT_EPOCHS": "7"}):
        (found,) = _of_a_run(tmp_path, "learning rank=8 epochs=2 chunk=256", settings=settings)
        assert "over the same text in 2 passes (seed0.log:1 prints their number), trains" in found.message
        assert (found.evidence["passes"], found.evidence.get("passes_not_told")) == (2, None)


def test_one_pass_by_a_log_is_in_order_whatever_a_default_says(tmp_path: Path) -> None:
    assert _of_a_run(tmp_path, "learning rank=8 epochs=1 chunk=256") == []
    both = ("learning rank=8 epochs=1 chunk=256", "learning rank=8 epochs=4 chunk=256")
    assert _of_a_run(tmp_path, *both) == []  # of a mean one score is in order


@pytest.mark.parametrize(
    ("readme", "passes"),
    [
        ("Each document is gone over in 2 epochs.", 2), ("A two-epoch adaptation; 2 epochs a document.", 2),
        ("Run with TTT_EPOCHS=5 in the environment.", 5), ("`ttt_epochs`: 4", 4), ("Test-time training: 3 passes.", 3),
    ],
)  # fmt: skip
def test_a_readme_tells_the_passes_where_no_log_does(tmp_path: Path, readme: str, passes: int) -> None:
    (found,) = _of_a_run(tmp_path, "nothing", told="pass", readme=readme)
    assert f"in {passes} passes (its README says so), trains" in found.message
    assert found.evidence.get("passes_not_told") is None


@pytest.mark.parametrize(
    "readme", ["A single epoch a document.", "TTT_EPOCHS=1", "one-pass TTT", "1 epoch of adaptation"]
)
def test_one_pass_by_a_readme_is_in_order(tmp_path: Path, readme: str) -> None:
    assert _of_a_run(tmp_path, "nothing", told="pass", readme=readme) == []


@pytest.mark.parametrize(
    "readme",
    ["", "TTT of 2 epochs here, and 1 epoch there", "multi-epoch TTT", "0 epochs of TTT", "trained for 2 epochs"],
)
def test_passes_that_nothing_tells_are_those_of_a_default_and_no_more_than_a_doubt(tmp_path: Path, readme: str) -> None:
    (found,) = _of_a_run(tmp_path, "nothing", told="pass", readme=readme)
    assert "several passes (3 by its default; in one pass the same lines would be in order)" in found.message
    assert found.evidence["passes_not_told"] is True


ROUNDS = """import math, os
import torch
import torch.nn.functional as F
ON = int(os.environ.get("TTT_ON", 0))


def evaluate(model, chunks, val, size_of, optimizer, kept, loader, text):
    nats, size, at = 0.0, 0.0, 0
    for epoch in range(3):
        {before}
        {begins}
        for chunk in chunks:
            loss = F.cross_entropy(model(chunk[:-1]).float(), chunk[1:])
            {adds}
                nats += loss.item() * (len(chunk) - 1)
                size += float(size_of[chunk[1:]].sum())
            {learns}
        {ends}
    {behind}
    val_bpb = nats / math.log(2.0) / size
    print(f"val_bpb:{{val_bpb:.6f}}")
"""
WAYS = [
    {"begins": "nats, size = 0.0, 0.0", "adds": "if True:"},
    {"begins": "pass", "adds": "if epoch == 2:"},
]
PLAIN = {"before": "pass", "learns": "loss.backward(); optimizer.step()", "ends": "pass", "behind": "pass"}
STEP = "loss.backward(); optimizer.step()"
AGAIN = """nats, size = 0.0, 0.0
    for held in val:
        nats += F.cross_entropy(model(held[:-1]).float(), held[1:]).item()
        size += float(size_of[held[1:]].sum())"""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("changes", "is_found"),
    [
        ({}, True),
        # nothing is learnt before the last pass
        ({"learns": f"if ON: {STEP}"}, False),
        ({"learns": f"if not ON: continue\n            {STEP}"}, False),
        ({"learns": f"if epoch == 2: {STEP}"}, False),
        ({"learns": f"if epoch < 2: continue\n            {STEP}"}, False),
        ({"learns": f"if epoch < 2: {STEP}"}, True),
        ({"learns": f"if len(chunk) < 9: continue\n            {STEP}"}, True),
        # or it is put back
        ({"before": "for p, q in zip(model.parameters(), kept): p.data.copy_(q)"}, False),
        ({"ends": "for p, q in zip(model.parameters(), kept): p.data = q.clone()"}, False),
        ({"before": "with torch.no_grad():\n            for p, q in zip(kept, kept): p.copy_(q)"}, False),
        ({"before": "torch._foreach_copy_(list(model.parameters()), kept)"}, False),
        ({"before": "torch.nn.utils.vector_to_parameters(kept, model.parameters())"}, False),
        ({"before": "for p in model.parameters(): torch.nn.init.zeros_(p)"}, False),
        ({"before": "model.load_state_dict(kept)"}, False),
        ({"before": "model = Net(); optimizer = torch.optim.SGD(model.parameters(), lr=0.1)"}, False),
        ({"before": "for p in model.parameters(): p.grad.zero_()"}, True),
        # there is no second pass
        ({"ends": "break"}, False),
        ({"ends": "if not ON: break"}, False),
        ({"ends": "if epoch == 0: break"}, False),
        ({"ends": "if ON: break"}, True),
        ({"ends": "for i in range(9):\n            if i > len(chunks): break"}, True),
        # each pass is over another text
        ({"before": "chunks = text[at : at + 8]; at += 8"}, False),
        ({"before": "chunks = loader.read(8)"}, False),
        ({"before": "chunks = loader(8)"}, False),
        ({"before": "loader.set_epoch(epoch); chunks = loader.parts()"}, False),
        ({"before": "chunks = text[at : at + 8]"}, True),
        # what is scored behind it is a sum of its own
        ({"behind": AGAIN}, False),
        ({"behind": AGAIN.replace("nats, size = 0.0, 0.0", "size = 0.0")}, True),
    ],
)
def test_rounds_that_go_on_learning_one_text(way: dict[str, str], changes: dict[str, str], is_found: bool) -> None:
    found = [each for each in check_source(ROUNDS.format(**PLAIN | way | changes)) if each.code == "BPB272"]
    assert len(found) == is_found
