"""What runs in a program beside plain operators: sizes that stay within 64 bits, and guarded operators."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional

from bpb_harness.adapters.exported.archive import _tensor
from bpb_harness.adapters.exported.functions import SIZE_FUNCTIONS, exactly, guarded
from bpb_harness.adapters.exported.memory import memory_of
from bpb_harness.adapters.exported.values import ValueReader
from bpb_harness.errors import UnsafeCheckpointError

aten: Any = torch.ops.aten


def test_sizes_that_leave_64_bits_are_errors() -> None:
    add, power = SIZE_FUNCTIONS["_operator.add"], SIZE_FUNCTIONS["_operator.pow"]
    assert add((1 << 62), (1 << 62) - 1) == (1 << 63) - 1
    assert add(-(1 << 62), -(1 << 62)) == -(1 << 63)
    assert power(2, 62) == 1 << 62
    assert power(1, 64) == power(5, 0) == 1
    for name, numbers in (
        ("add", (1 << 62, 1 << 62)), ("sub", (-(1 << 62), (1 << 62) + 1)), ("mul", (1 << 32, 1 << 31)),
        ("pow", (2, 63)), ("pow", (1, 65)), ("pow", (2, -1)), ("pow", (1 << 63, 1)), ("pow", (-(1 << 63), 1)),
    ):  # fmt: skip
        with pytest.raises(OverflowError):
            SIZE_FUNCTIONS[f"_operator.{name}"](*numbers)
    assert SIZE_FUNCTIONS["torch.sym_ite"](True, 1, 2) == 1
    assert SIZE_FUNCTIONS["torch.sym_ite"](False, 1, 2) == 2


def test_sizes_of_a_tensor() -> None:
    x = torch.zeros(6)[1:5].view(2, 2)
    called = {
        "sym_size.int": (x, 1), "sym_stride.int": (x, 0), "sym_numel.default": (x,), "sym_storage_offset.default": (x,)
    }  # fmt: skip
    for target, arguments in called.items():
        name, _, overload = target.partition(".")
        runs = guarded(getattr(getattr(aten, name), overload))
        assert runs is not None
        assert runs(*arguments) == {"sym_size.int": 2, "sym_stride.int": 2, "sym_numel.default": 4}.get(target, 1)


def test_conditions_of_a_program_are_required() -> None:
    scalar, tensors = guarded(aten._assert_scalar.default), guarded(aten._assert_async.msg)
    assert scalar is not None
    assert tensors is not None
    scalar(1, "")
    tensors(torch.ones(1), "")
    tensors(torch.zeros(1, device="meta"), "")
    for call in (lambda: scalar(0, ""), lambda: tensors(torch.zeros(1), "")):
        with pytest.raises(ValueError, match="a condition of the program does not hold"):
            call()


def test_attention_looks_at_sizes_first() -> None:
    attention = guarded(aten._scaled_dot_product_flash_attention_for_cpu.default)
    assert attention is not None
    query, key, value = (torch.randn(2, 3, n, 4, generator=torch.Generator().manual_seed(n)) for n in (5, 6, 6))
    right = functional.scaled_dot_product_attention(query, key, value)
    assert torch.equal(attention(query, key, value)[0], right)
    scaled = functional.scaled_dot_product_attention(query, key, value, scale=0.1)
    assert torch.equal(attention(query, key, value, scale=0.1)[0], scaled)
    assert torch.equal(
        attention(key, key, value, 0.0, True)[0],
        functional.scaled_dot_product_attention(key, key, value, is_causal=True),
    )
    mask = torch.randn(5, 6)
    masked = functional.scaled_dot_product_attention(query, key, value, mask)
    assert torch.equal(attention(query, key, value, attn_mask=mask)[0], masked)
    for arguments in (
        (query, key, value, 0.5),
        (query[..., :3], key, value),
        (query, key[:, :, :5], value),
        (query[:1], key, value),
        (query, key[:, :1], value),
        (query, key, value[:, :2]),
        (query[:, :2], key, value),
    ):
        with pytest.raises(ValueError, match="queries, keys and values whose sizes do not fit"):
            attention(*arguments)


def test_memory_that_nobody_wrote_is_zero() -> None:
    for name, arguments in (("empty", ([3],)), ("new_empty", (torch.ones(1), [3])), ("empty_like", (torch.ones(3),))):
        for _ in range(3):
            runs = guarded(getattr(getattr(aten, name), "memory_format" if name == "empty" else "default"))
            assert runs is not None
            assert runs(*arguments).tolist() == [0.0] * 3
            torch.full((3,), 7.0)


def test_a_group_norm_and_a_fourier_transform_look_at_sizes_first() -> None:
    norm = guarded(aten.native_group_norm.default)
    assert norm is not None
    x = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(norm(x, None, None, 2, 4, 3, 2, 1e-5)[0], functional.group_norm(x, 2))
    for sizes in ((1, 4, 3, 2), (2, 3, 3, 1), (2, 4, 2, 2), (2, 4, 3, 3), (2, 4, 3, 0)):
        with pytest.raises(ValueError, match="group norm"):
            norm(x, None, None, *sizes, 1e-5)
    forward, back = guarded(aten._fft_r2c.default), guarded(aten._fft_c2r.default)
    assert forward is not None
    assert back is not None
    half = torch.fft.rfft(x)
    assert torch.equal(forward(x, [2], 0, True), half)
    assert torch.allclose(back(half, [2], 2, 3), x, atol=1e-6)
    for call in (
        lambda: forward(x, [], 0, True), lambda: forward(x, [3], 0, True), lambda: forward(x, [-1], 0, True),
        lambda: forward(x, [2, 2], 0, True), lambda: forward(x, [2], 3, True), lambda: back(half, [2], 2, 5),
        lambda: back(half, [2], 2, 1),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="Fourier transform"):
            call()


def test_what_notes_sizes_computes_nothing_and_pieces_are_counted() -> None:
    assert guarded(aten.sym_constrain_range.default) is None
    assert guarded(aten._assert_tensor_metadata.default) is None
    assert guarded(aten.tanh.default) is aten.tanh.default
    pieces = [torch.ones(1), torch.ones(1)]
    assert exactly(pieces, 2) is pieces
    for count in (1, 3):
        with pytest.raises(ValueError, match=f"2 pieces where the program takes {count}"):
            exactly(pieces, count)


def test_memory_is_the_cards_or_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=80 << 30))
    assert memory_of(torch.device("cuda")) == 80 << 30
    assert 1 << 20 < memory_of(torch.device("cpu")) < 1 << 50


@pytest.mark.parametrize(
    ("stated", "kind", "value"),
    [
        ({"as_memory_format": 2}, "MemoryFormat", torch.channels_last),
        ({"as_scalar_type": 7}, "ScalarType", torch.float32),
        ({"as_layout": 7}, "Layout", torch.strided),
        ({"as_device": {"type": "cuda"}}, "Device", torch.device("cpu")),
        ({"as_string": "a"}, "str", "a"),
        ({"as_ints": [1, 2]}, "List[int]", [1, 2]),
        ({"as_int": 3}, "List[int]", 3),
        ({"as_bools": [True]}, "List[bool]", [True]),
        ({"as_floats": [0.5, 1]}, "List[float]", [0.5, 1.0]),
        ({"as_sym_ints": [{"as_int": 3}]}, "List[int]", [3]),
        ({"as_optional_tensors": [{"as_none": True}]}, "List[Optional[Tensor]]", [None]),
    ],
)
def test_values_of_each_kind(stated: dict[str, Any], kind: str, value: Any) -> None:
    assert ValueReader("f", {}, torch.device("cpu")).read(stated, kind, False, "a") == value


@pytest.mark.parametrize(
    ("stated", "kind"),
    [
        ({"as_memory_format": 99}, "MemoryFormat"), ({"as_memory_format": "2"}, "MemoryFormat"),
        ({"as_scalar_type": 99}, "ScalarType"), ({"as_layout": 1}, "Layout"), ({"as_layout": "7"}, "Layout"),
        ({"as_string": 5}, "str"), ({"as_ints": [1, "2"]}, "List[int]"), ({"as_ints": 5}, "List[int]"),
        ({"as_sym_ints": [{"as_float": 3.0}]}, "List[int]"), ({"as_optional_tensors": [{"as_int": 1}]},
        "List[Optional[Tensor]]"), ({"as_optional_tensor": {"as_tensor": {"name": "x"}}}, "Tensor"),
        ({"as_optional_tensor": {}}, "Tensor"), ({"as_tensor": "x"}, "Tensor"), ({"as_tensor": {"name": 5}}, "Tensor"),
    ],
)  # fmt: skip
def test_values_that_are_none_of_their_kind(stated: dict[str, Any], kind: str) -> None:
    ((form, content),) = stated.items()
    with pytest.raises(UnsafeCheckpointError) as caught:
        ValueReader("f", {}, torch.device("cpu")).read(stated, kind, False, "a")
    assert str(caught.value).startswith(f"f: a: {form}: got {content!r}, expected a value of type {kind}")


def _meta(sizes: list[int], strides: list[int], offset: int = 0, dtype: int = 7) -> dict[str, Any]:
    numbers = [[{"as_int": n} for n in part] for part in (sizes, strides)]
    return {
        "dtype": dtype, "layout": 7, "sizes": numbers[0], "strides": numbers[1], "storage_offset": {"as_int": offset}
    }  # fmt: skip


def test_a_weight_stays_within_its_record() -> None:
    memory = torch.arange(6.0).view(torch.uint8)
    for meta, right in (
        (_meta([2, 3], [3, 1]), [[0, 1, 2], [3, 4, 5]]),
        (_meta([3, 2], [1, 3]), [[0, 3], [1, 4], [2, 5]]),
        (_meta([2], [1], 4), [4, 5]),
        (_meta([], [], 5), 5),
        (_meta([0, 9], [9, 1], 99), []),
    ):
        assert _tensor(meta, memory, "w", "f").tolist() == right
    assert _tensor(_meta([5], [1], dtype=1), memory[:5], "w", "f").tolist() == memory[:5].tolist()
    for meta in (_meta([2, 3], [4, 1]), _meta([7], [1]), _meta([2], [1], 5), _meta([], [], 6), _meta([7], [0])):
        with pytest.raises(UnsafeCheckpointError, match="the file is damaged or hostile"):
            _tensor(meta, memory, "w", "f")
    for meta in (_meta([2], [1, 1]), _meta([-1], [1]), _meta([1], [-1]), _meta([1], [1], -1), _meta([1 << 62], [0])):
        with pytest.raises(UnsafeCheckpointError, match="w: shape"):
            _tensor(meta, memory, "w", "f")
