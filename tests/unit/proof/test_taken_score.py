"""A score that is there already is taken only where everything that it was made of is found here too."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bpb_harness.errors import InputError
from bpb_harness.proof import taken_score
from bpb_harness.result import Signature
from bpb_harness.units import CodeLength
from tests.scores import SIGNATURE

LENGTH = CodeLength(700.0, 100, 260, 4)


def load(
    monkeypatch: pytest.MonkeyPatch, *, signature: Signature = SIGNATURE, length: CodeLength = LENGTH,
    check_contract: bool = True,
) -> list[str]:  # fmt: skip
    """What is done with a score, where this signature and this length are what is found here."""
    done: list[str] = []
    stated = SimpleNamespace(signature=SIGNATURE, length=LENGTH)
    layout = SimpleNamespace(code_length=lambda nats: replace(length, nats=nats))
    job: Any = SimpleNamespace(
        require_scorable=lambda: done.append("scorable"), lay_out=lambda: layout,
        signature=lambda _, passes: signature if passes == 1 else None,
    )  # fmt: skip
    monkeypatch.setattr(taken_score, "read_result", lambda _: stated)
    monkeypatch.setattr(taken_score, "load_job", lambda *_: job)
    monkeypatch.setattr(taken_score, "Contract", lambda _: done.append("contract"))
    settings: Any = SimpleNamespace(check_contract=check_contract)
    assert taken_score.load_scored(Path("m.pt"), settings, Path("s.json")) == (job, stated)
    return done


def test_the_network_is_asked_whether_it_behaves(monkeypatch):
    assert load(monkeypatch) == ["scorable", "contract"]
    assert load(monkeypatch, check_contract=False) == ["scorable"]
    assert load(monkeypatch, signature=replace(SIGNATURE, version="9.9")) == ["scorable", "contract"]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            replace(LENGTH, num_bytes=261),
            "s.json is another score: got 100 tokens, 261 bytes here, expected 100 and 260",
        ),
        (
            replace(LENGTH, num_tokens=99),
            "s.json is another score: got 99 tokens, 260 bytes here, expected 100 and 260",
        ),
    ],
)
def test_other_tokens_or_bytes_are_another_score(monkeypatch, found, said):
    with pytest.raises(InputError) as caught:
        load(monkeypatch, length=found)
    assert str(caught.value).startswith(f"{said}; pass the --data or --docs that was scored")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "44444444"}, "model: got 44444444 here, expected 33333333; pass the checkpoint that was scored"),
        ({"seed": "1"}, "seed: got 1 here, expected 0; pass the seed that it was scored with"),
        ({"contract": "off"}, "contract: got off here, expected checked; score the checkpoint's file with bpb-eval"),
    ],
)
def test_what_differs_is_named(monkeypatch, changes, said):
    with pytest.raises(InputError) as caught:
        load(monkeypatch, signature=replace(SIGNATURE, **changes))
    assert str(caught.value) == f"s.json is another score: {said}"


@pytest.mark.parametrize(("here", "is_read"), [(None, True), ("0", True), ("1", False)])
def test_a_seed_that_is_stated_of_a_score_without_draws_is_no_difference(monkeypatch, here, is_read):
    with nullcontext() if is_read else pytest.raises(InputError, match="seed: got 1 here"):
        load(monkeypatch, signature=replace(SIGNATURE, seed=here))
