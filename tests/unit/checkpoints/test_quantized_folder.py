"""Folders of float8 weights: blocks times their scales, and the refusals word for word."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from bpb_harness.checkpoints.quantized_folder import plain_weights
from bpb_harness.errors import CheckpointError

FLOAT8 = torch.float8_e4m3fn
_PLAIN_FIRST = "save the model in bfloat16 or float32 (dequantize(), then save_pretrained) and score that folder"
_NEEDED = "expected plain weights, or float8 with NAME_scale_inv (quant_method 'fp8')"


def quantized(**settings: Any) -> dict[str, Any]:
    return {"quantization_config": {"quant_method": "fp8", **settings}}


def float8(*rows: list[float]) -> Tensor:
    return torch.tensor(rows).to(FLOAT8)


def test_blocks_are_multiplied_out_and_the_rest_passes() -> None:
    stored = {
        "norm": torch.ones(2, dtype=torch.bfloat16),
        "w": float8([1, 2, 3], [4, 5, 6], [7, 8, 9]),
        "w_scale_inv": torch.tensor([[1, 10], [100, 0.5]], dtype=torch.bfloat16),
        "scale_inv": torch.ones(1),
    }
    plain, notes = plain_weights(stored, quantized(weight_block_size=[2, 2]), "m")
    assert sorted(plain) == ["norm", "scale_inv", "w"]
    assert plain["norm"] is stored["norm"]
    assert plain["w"].dtype == torch.float32
    assert plain["w"].tolist() == [[1, 2, 30], [4, 5, 60], [700, 800, 4.5]]
    assert notes == ("1 float8 tensors times their scales; activations are not rounded to float8",)


def test_blocks_that_are_no_squares_and_a_stack_of_matrices() -> None:
    stored = {"w": torch.stack([float8([1, 2, 3], [4, 5, 6])] * 2), "w_scale_inv": torch.tensor([[[1.0]], [[2.0]]])}
    plain, _ = plain_weights(stored, quantized(weight_block_size=[2, 3]), "m")
    assert plain["w"].tolist() == [[[1, 2, 3], [4, 5, 6]], [[2, 4, 6], [8, 10, 12]]]
    stored = {"w": float8([1, 2, 3], [4, 5, 6]), "w_scale_inv": torch.tensor([[1.0, 2.0, 3.0]])}
    plain, _ = plain_weights(stored, quantized(weight_block_size=[2, 1]), "m")
    assert plain["w"].tolist() == [[1, 4, 9], [4, 10, 18]]


def test_a_block_has_128_rows_and_columns_where_nothing_is_stated() -> None:
    stored = {"w": torch.ones(129, 130).to(FLOAT8), "w_scale_inv": torch.tensor([[1.0, 2.0], [3.0, 4.0]])}
    worth = plain_weights(stored, quantized(), "m")[0]["w"]
    assert [worth[i, j].item() for i, j in ((127, 127), (127, 128), (128, 127), (128, 128))] == [1, 2, 3, 4]


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_without_blocks_a_tensor_has_one_scale(shape: tuple[int, ...]) -> None:
    stored = {"w": float8([1, 2]), "b": float8([4])[0], "w_scale_inv": torch.full(shape, 3.0)}
    stored["b_scale_inv"] = torch.full(shape, 0.5)
    plain, notes = plain_weights(stored, quantized(weight_block_size=None), "m")
    assert {name: value.tolist() for name, value in plain.items()} == {"w": [[3, 6]], "b": [2]}
    assert notes[0].startswith("2 float8 tensors")


def test_plain_folders_stay_as_they_are() -> None:
    stored = {"w": torch.ones(2), "w_scale_inv": torch.ones(1), "v_scale_inv": torch.ones(1).to(FLOAT8)}
    for config in ({}, {"quantization_config": None}, {"quantization_config": {}}):
        assert plain_weights(stored, config, "m") == (stored, ())


_W = {"w": float8([1, 2], [3, 4])}
_PAIR = {**_W, "w_scale_inv": torch.ones(1, 1)}


@pytest.mark.parametrize(
    ("stored", "config", "line"),
    [
        (_W, {}, "m: w is stored in 8 bits: got torch.float8_e4m3fn, expected a quantization_config in config.json "
         f"that says what its numbers are worth; {_PLAIN_FIRST}"),
        (_W, quantized(), f"m: quantised weights: got quant_method 'fp8' without tensors NAME_scale_inv, {_NEEDED}; "
         f"{_PLAIN_FIRST}"),
        (_PAIR, {"quantization_config": {"quant_method": "gptq"}},
         f"m: quantised weights: got quant_method 'gptq', {_NEEDED}; {_PLAIN_FIRST}"),
        (_W, {"quantization_config": {"quant_method": "gptq"}},
         f"m: quantised weights: got quant_method 'gptq', {_NEEDED}; {_PLAIN_FIRST}"),
        (_PAIR, {"quantization_config": {"bits": 4}},
         f"m: quantised weights: got quantization_config in config.json, {_NEEDED}; {_PLAIN_FIRST}"),
        (_PAIR, {"quantization": "fp8"},
         f"m: quantised weights: got quantization in config.json, {_NEEDED}; {_PLAIN_FIRST}"),
        (_PAIR, {"compression_config": {"quant_method": "fp8"}},
         f"m: quantised weights: got quant_method 'fp8', {_NEEDED}; {_PLAIN_FIRST}"),
        ({**_PAIR, "v": float8([1])}, quantized(), "m: v is stored in 8 bits and has no v_scale_inv"),
        ({**_PAIR, "v_scale_inv": torch.ones(1)}, quantized(),
         "m: v_scale_inv belongs to a float8 tensor v: got no such tensor"),
        ({**_PAIR, "v": torch.ones(1, 1), "v_scale_inv": torch.ones(1, 1)}, quantized(),
         "m: v_scale_inv belongs to a float8 tensor v: got torch.float32"),
        ({**_PAIR, "w_scale_inv": torch.ones(1)}, quantized(),
         "m: w_scale_inv: got [1] torch.float32, expected [1, 1], floating-point"),
        ({**_PAIR, "w_scale_inv": torch.ones(1, 1).int()}, quantized(),
         "m: w_scale_inv: got [1, 1] torch.int32, expected [1, 1], floating-point"),
        ({**_PAIR, "w_scale_inv": torch.ones(2)}, quantized(weight_block_size=None),
         "m: w_scale_inv: got [2] torch.float32, expected one number, floating-point"),
        *[
            (_PAIR, quantized(weight_block_size=block),
             f"m: weight_block_size of w: got {block}, expected [rows, columns]")
            for block in (128, [128], [1, 1, 1], [0, 1], [1, 0], [2.0, 2], [True, 2], "128")
        ],
        ({"w": float8([1])[0], "w_scale_inv": torch.ones(1)}, quantized(weight_block_size=[1, 1]),
         "m: weight_block_size of w: got [1, 1], expected [rows, columns]"),
    ],
)  # fmt: skip
def test_refusals(stored: dict[str, Tensor], config: dict[str, Any], line: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        plain_weights(stored, config, "m")
    assert str(caught.value) == line
