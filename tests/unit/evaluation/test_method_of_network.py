"""Where nobody names a method, a checkpoint of an autoregressive model is scored by its own."""

from __future__ import annotations

from pathlib import Path

import pytest

import bpb_harness
from bpb_harness.errors import UsageError
from bpb_harness.evaluation.settings import Settings

AR, MASKED = (Path("fixtures") / "checkpoints" / name for name in ("ar-tiny.pt", "mdlm-tiny.pt"))
SAID = "an autoregressive model, scored by --method ar: none was given"


def test_the_network_decides_where_no_method_is_given(repository: Path) -> None:
    result = bpb_harness.evaluate(repository / AR, limit=2)
    assert result.signature.method == "ar"
    assert result.relation == "="
    assert SAID in [remark.message for remark in result.remarks]
    named = bpb_harness.evaluate(repository / AR, limit=2, method="ar")
    assert named.bits_per_byte == result.bits_per_byte
    assert SAID not in [remark.message for remark in named.remarks]
    assert bpb_harness.evaluate(repository / MASKED, limit=1).signature.method == "discrete"


def test_one_that_is_given_stays_a_refusal(repository: Path) -> None:
    with pytest.raises(UsageError, match="--method discrete: got an autoregressive model, expected --method ar"):
        bpb_harness.evaluate(repository / AR, limit=2, method="discrete")


def test_settings_of_another_method_are_refused_by_name(repository: Path) -> None:
    said = (
        "--steps: got an autoregressive model, scored by --method ar where none is given, expected --method discrete "
        "or exact; leave it out, or say --method once for each of the checkpoints that are compared"
    )
    with pytest.raises(UsageError, match=f"^{said}$"):
        bpb_harness.evaluate(repository / AR, limit=2, num_steps=4)
    with pytest.raises(UsageError, match=r"^--steps: got --method ar, expected --method discrete or exact$"):
        bpb_harness.evaluate(repository / AR, limit=2, num_steps=4, method="ar")


def test_nothing_but_an_open_method_gives_way() -> None:
    assert Settings(method_is_open=True).for_network(is_causal=True).method == "ar"
    assert Settings(method_is_open=True).for_network(is_causal=False).method == "discrete"
    assert Settings().for_network(is_causal=True).method == "discrete"
