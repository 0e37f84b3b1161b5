"""What runs in an exported program beside tensor operators: arithmetic on sizes, and guarded forms of some operators.

Each guarded form is what an operator does on sound arguments, and an error on the others, for which the operator itself
would read memory that is not its own, or leave it as it was found.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Number = int | float | bool
_LARGEST = 1 << 63


def _bounded(function: Callable[..., Number]) -> Callable[..., Number]:
    """The function with a result that a size can have: integers of Python grow without end."""

    def bounded(*numbers: Number) -> Number:
        result = function(*numbers)
        if not -_LARGEST <= result < _LARGEST:
            raise OverflowError(f"a size beyond 64 bits: {function.__name__}")
        return result

    return bounded


def _power(base: Number, exponent: Number) -> Number:
    if not 0 <= exponent <= 64 or not abs(base) < _LARGEST:
        raise OverflowError("a power beyond 64 bits")
    result: Number = base**exponent
    return result


# By the name that a program calls them.
SIZE_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "_operator.add": _bounded(operator.add),
    "_operator.sub": _bounded(operator.sub),
    "_operator.mul": _bounded(operator.mul),
    "_operator.floordiv": operator.floordiv,
    "_operator.truediv": operator.truediv,
    "_operator.mod": operator.mod,
    "_operator.pow": _bounded(_power),
    "_operator.neg": operator.neg,
    "_operator.eq": operator.eq,
    "_operator.ne": operator.ne,
    "_operator.lt": operator.lt,
    "_operator.le": operator.le,
    "_operator.gt": operator.gt,
    "_operator.ge": operator.ge,
    "_operator.and_": operator.and_,
    "_operator.or_": operator.or_,
    "_operator.not_": operator.not_,
    "math.ceil": math.ceil,
    "math.floor": math.floor,
    "math.trunc": math.trunc,
    "math.sqrt": math.sqrt,
    "torch.sym_int": int,
    "torch.sym_float": float,
    "torch.sym_max": max,
    "torch.sym_min": min,
    "torch.sym_not": operator.not_,
    "torch.sym_ite": lambda condition, yes, no: yes if condition else no,
}


def _size(x: Tensor, dim: int) -> int:
    return x.size(dim)


def _stride(x: Tensor, dim: int) -> int:
    return x.stride(dim)


def _numel(x: Tensor) -> int:
    return x.numel()


def _storage_offset(x: Tensor) -> int:
    return int(x.storage_offset())


def _require(condition: Number, _message: str) -> None:
    if not condition:
        raise ValueError("a condition of the program does not hold")


def _require_all(condition: Tensor, _message: str | None = None) -> None:
    if not condition.is_meta and not bool(condition):
        raise ValueError("a condition of the program does not hold")


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, None]:
    """The kernel of a CPU, by the way that looks at sizes first; so it runs on every device."""
    same = query.shape[:-2] == key.shape[:-2] == value.shape[:-2] and key.shape[-2] == value.shape[-2]
    if not same or query.shape[-1] != key.shape[-1] or dropout_p != 0.0:
        raise ValueError("attention of queries, keys and values whose sizes do not fit")
    return functional.scaled_dot_product_attention(query, key, value, attn_mask, 0.0, is_causal, scale=scale), None


def _zeroed(found: torch._ops.OpOverload) -> Callable[..., Tensor]:
    def zeroed(*arguments: object, **named: object) -> Tensor:
        result: Tensor = found(*arguments, **named)
        return result.zero_()

    return zeroed


def _fourier(found: torch._ops.OpOverload) -> Callable[..., Tensor]:
    """A Fourier transform that looks at its dimensions, and at the length that it is told, first."""
    to_real = found is torch.ops.aten._fft_c2r.default

    def transform(x: Tensor, dims: Sequence[int], normalization: int, last: int | bool) -> Tensor:
        is_sound = bool(dims) and len(set(dims)) == len(dims) and all(0 <= dim < x.ndim for dim in dims)
        if not is_sound or normalization not in (0, 1, 2) or (to_real and x.shape[dims[-1]] != last // 2 + 1):
            raise ValueError("a Fourier transform of other sizes than its tensor has")
        result: Tensor = found(x, dims, normalization, last)
        return result

    return transform


def _group_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, rows: int, channels: int, inner: int, groups: int, eps: float
) -> tuple[Tensor, ...]:
    sizes = (rows, channels, rows * channels * inner)
    if x.ndim < 2 or (*x.shape[:2], x.numel()) != sizes or groups < 1 or channels % groups:
        raise ValueError("a group norm of other sizes than its tensor has")
    result: tuple[Tensor, ...] = torch.ops.aten.native_group_norm.default(
        x, weight, bias, rows, channels, inner, groups, eps
    )
    return result


_OWN: dict[str, Callable[..., Any]] = {
    "sym_size.int": _size,
    "sym_stride.int": _stride,
    "sym_numel.default": _numel,
    "sym_storage_offset.default": _storage_offset,
    "_assert_scalar.default": _require,
    "_assert_async.default": _require_all,
    "_assert_async.msg": _require_all,
    "_scaled_dot_product_flash_attention_for_cpu.default": _attention,
    "native_group_norm.default": _group_norm,
}
# Bounds that torch notes of sizes, and types that it saw.
_COMPUTES_NOTHING = frozenset(["_assert_tensor_metadata", "sym_constrain_range", "sym_constrain_range_for_size"])
_EMPTIES = frozenset(["empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided"])


def guarded(found: torch._ops.OpOverload) -> Callable[..., Any] | None:
    """What runs in the place of an operator: itself, or its guarded form; None for what computes nothing."""
    name = found._schema.name.removeprefix("aten::")
    if name in _COMPUTES_NOTHING:
        return None
    own = _OWN.get(f"{name}.{found._schema.overload_name or 'default'}")
    if own is not None:
        return own
    if name in _EMPTIES:
        return _zeroed(found)
    return _fourier(found) if name.startswith("_fft_") else found


def exactly(values: Sequence[Tensor], count: int) -> Sequence[Tensor]:
    """The values of an operator that gives many, if they are as many as the program takes."""
    if len(values) != count:
        raise ValueError(f"{len(values)} pieces where the program takes {count}")
    return values
