"""config.json on its way to the library, without the library."""

from __future__ import annotations

import math

import pytest

from bpb_harness.adapters.huggingface.network import is_known_type
from bpb_harness.adapters.huggingface.settings import for_the_library


def test_infinity_as_version_5_writes_it() -> None:
    limits = [0.0, {"__float__": "Infinity"}, {"__float__": "-Infinity"}]
    assert for_the_library({"time_step_limit": limits}) == {"time_step_limit": [0.0, math.inf, -math.inf]}


def test_how_to_compute_is_left_to_the_library() -> None:
    part = {"hidden_size": 8, "attn_implementation": "somebody/kernel", "dtype": "float16"}
    settings = {"text_config": part, "quantization_config": {"a": 1}, "auto_map": {}, "vocab_size": 3}
    assert for_the_library(settings) == {"text_config": {"hidden_size": 8}, "vocab_size": 3}
    assert part["dtype"] == "float16", "what was read stays as it is"


@pytest.mark.parametrize(("model_type", "known"), [("llama", True), ("qwen3_5_text", True), ("homemade", False)])
def test_types_that_the_library_brings(model_type: str, known: bool) -> None:
    pytest.importorskip("transformers", minversion="5.23")
    assert is_known_type(model_type) == known
