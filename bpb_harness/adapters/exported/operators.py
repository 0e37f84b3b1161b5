"""The closed list of what an exported program may do: tensor operators by name, with their text arguments.

On the list is what computes a tensor from tensors and nothing else: no files, devices, printing or random numbers, and
no operator that believes the sizes that it is told. An overload whose schema has any type but tensors, numbers and
layouts of memory (names of dimensions, generators, storages), or that writes into an ``out=``, is not on it, whatever
its name. An operator that leaves its result as it found the memory (``empty``) gives zeros here.
"""

from __future__ import annotations

import re
from functools import cache

import torch


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Core ATEN, what torch.export writes before and after run_decompositions(), and the composites between the two.
_NAMES = _words(
    """
    __and__ __lshift__ __or__ __rshift__ __xor__ _adaptive_avg_pool2d _adaptive_avg_pool3d _cdist_forward _conj
    _conj_copy _conj_physical _convolution _fft_c2c _fft_c2r _fft_r2c _fused_rms_norm _local_scalar_dense _log_softmax
    _native_batch_norm_legit _native_batch_norm_legit_no_training _neg_view _neg_view_copy _pdist_forward
    _reshape_copy _safe_softmax _scaled_dot_product_flash_attention_for_cpu _softmax _stack _to_copy _unsafe_index
    _unsafe_index_put _unsafe_masked_index _unsafe_view _weight_norm _weight_norm_interface abs absolute acos acosh
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d add addbmm addcdiv addcmul addmm addmv addr adjoint
    alias alias_copy all allclose amax amin aminmax angle any arange arccos arccosh arcsin arcsinh arctan arctan2
    arctanh argmax argmin argsort argwhere as_strided as_strided_copy as_strided_scatter asin asinh atan atan2 atanh
    atleast_1d atleast_2d atleast_3d avg_pool1d avg_pool2d avg_pool3d baddbmm batch_norm bitwise_and
    bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor block_diag bmm broadcast_tensors
    broadcast_to bucketize cat cdist ceil celu chain_matmul channel_shuffle chunk clamp clamp_max clamp_min clip clone
    column_stack complex concat concatenate conj conj_physical constant_pad_nd contiguous conv1d conv2d conv3d
    conv_transpose1d conv_transpose2d conv_transpose3d convolution copy copysign cos cosh cosine_similarity
    count_nonzero cross cummax cummin cumprod cumsum deg2rad detach detach_copy diag diag_embed diagflat diagonal
    diagonal_copy diagonal_scatter diff dist div divide dot dropout dsplit dstack einsum elu embedding empty
    empty_like empty_permuted empty_strided eq equal erf erfc erfinv exp exp2 expand expand_as expand_copy expm1 eye
    feature_dropout fft_fft fft_fft2 fft_fftn fft_fftshift fft_hfft fft_ifft fft_ifft2 fft_ifftn fft_ifftshift
    fft_ihfft fft_irfft fft_irfft2 fft_irfftn fft_rfft fft_rfft2 fft_rfftn fill fix flatten flip fliplr flipud
    float_power floor floor_divide fmax fmin fmod frac frexp full full_like gather gcd ge gelu glu greater
    greater_equal group_norm gt hardshrink hardsigmoid hardswish hardtanh heaviside hsplit hstack hypot i0 igamma
    igammac imag index index_add index_copy index_fill index_put index_reduce index_select inner instance_norm
    is_nonzero isclose isfinite isin isinf isnan isneginf isposinf isreal item kron layer_norm lcm ldexp le leaky_relu
    lerp less less_equal lgamma lift_fresh lift_fresh_copy linalg_cross linalg_diagonal linalg_matmul
    linalg_matrix_norm linalg_multi_dot linalg_norm linalg_vecdot linalg_vector_norm linear linspace log log10 log1p
    log2 log_sigmoid log_softmax logaddexp logaddexp2 logcumsumexp logical_and logical_not logical_or logical_xor
    logit logspace logsumexp lt masked_fill masked_scatter masked_select matmul matrix_power max max_pool1d max_pool2d
    max_pool3d maximum mean median meshgrid min minimum mish mm moveaxis movedim msort mul multiply mv mvlgamma
    nan_to_num nanmean nanmedian nanquantile nansum narrow narrow_copy native_batch_norm native_group_norm
    native_layer_norm ne neg negative new_empty new_empty_strided new_full new_ones new_zeros nextafter nonzero
    nonzero_numpy norm not_equal numpy_T one_hot ones ones_like outer pad pairwise_distance pdist permute permute_copy
    pixel_shuffle pixel_unshuffle polar polygamma positive pow prelu prod quantile rad2deg ravel real reciprocal
    reflection_pad1d reflection_pad2d reflection_pad3d relu relu6 remainder renorm repeat repeat_interleave
    replication_pad1d replication_pad2d replication_pad3d reshape reshape_as resolve_conj resolve_neg rms_norm roll
    rot90 round rsqrt rsub scalar_tensor scaled_dot_product_attention scatter scatter_add scatter_reduce searchsorted
    select select_copy select_scatter selu sgn sigmoid sign signbit silu sin sinc sinh size slice slice_copy
    slice_scatter softmax softplus softshrink sort special_bessel_j0 special_bessel_j1 special_digamma special_entr
    special_erf special_erfc special_erfcx special_erfinv special_exp2 special_expit special_expm1 special_gammaln
    special_i0 special_i0e special_i1 special_i1e special_log1p special_log_ndtr special_log_softmax special_logit
    special_logsumexp special_ndtr special_ndtri special_round special_sinc special_softmax special_xlog1py
    special_xlogy split split_copy split_with_sizes split_with_sizes_copy sqrt square squeeze squeeze_copy stack std
    std_mean sub subtract sum sum_to_size swapaxes swapdims t t_copy take take_along_dim tan tanh tensor_split
    tensordot threshold tile to topk trace transpose transpose_copy trapezoid tril tril_indices triu triu_indices
    true_divide trunc type_as unbind unbind_copy unflatten unfold unfold_copy unsafe_chunk unsafe_split
    unsafe_split_with_sizes unsqueeze unsqueeze_copy upsample_bilinear2d upsample_linear1d upsample_nearest1d
    upsample_nearest2d var var_mean vdot view view_as view_as_complex view_as_complex_copy view_as_real
    view_as_real_copy view_copy vsplit vstack where xlogy zero zeros zeros_like
    """
)

# What needs no tensor to make one.
_CREATES = _words(
    "arange empty empty_permuted empty_strided eye full linspace logspace ones scalar_tensor tril_indices triu_indices"
    " zeros"
)
_TYPES = _words(
    "Tensor int number float bool str ScalarType Layout MemoryFormat Device List[int] List[float] List[bool]"
    " List[Tensor] List[Optional[Tensor]]"
)
_RETURNS = frozenset(["Tensor", "List[Tensor]", "number", "int", "bool"])
# These may hand back an argument as it is, where their schema does not say so.
_MAY_RETURN_AN_ARGUMENT = _words(
    """atleast_1d atleast_2d atleast_3d broadcast_tensors conj dropout einsum feature_dropout meshgrid pad resolve_conj
    resolve_neg to type_as"""
)
_NORMS = frozenset(["backward", "ortho", "forward"])
_REDUCTIONS = frozenset(["sum", "prod", "mean", "amax", "amin"])
_INTERPOLATIONS = frozenset(["linear", "lower", "higher", "midpoint", "nearest"])
_EQUATION = re.compile(r"[A-Za-z.,> -]{1,200}")
# Text by operator and argument; anything else is refused.
_TEXTS: dict[tuple[str, str], frozenset[str]] = {
    ("gelu", "approximate"): frozenset(["none", "tanh"]),
    ("gelu_", "approximate"): frozenset(["none", "tanh"]),
    ("pad", "mode"): frozenset(["constant", "reflect", "replicate", "circular"]),
    ("meshgrid", "indexing"): frozenset(["ij", "xy"]),
    ("scatter_reduce", "reduce"): _REDUCTIONS,
    ("scatter_reduce_", "reduce"): _REDUCTIONS,
    ("index_reduce", "reduce"): _REDUCTIONS - {"sum"},
    ("index_reduce_", "reduce"): _REDUCTIONS - {"sum"},
    ("scatter", "reduce"): frozenset(["add", "multiply"]),
    ("scatter_", "reduce"): frozenset(["add", "multiply"]),
    ("searchsorted", "side"): frozenset(["left", "right"]),
    ("linalg_matrix_norm", "ord"): frozenset(["fro", "nuc"]),
    ("linalg_norm", "ord"): frozenset(["fro", "nuc"]),
}
_TEXTS |= {(name, "padding"): frozenset(["same", "valid"]) for name in ("conv1d", "conv2d", "conv3d")}
_TEXTS |= {(name, "rounding_mode"): frozenset(["trunc", "floor"]) for name in ("div", "div_", "divide", "divide_")}
_TEXTS |= {(name, "interpolation"): _INTERPOLATIONS for name in ("quantile", "nanquantile")}
_TEXTS |= {(name, "norm"): _NORMS for name in _NAMES if name.startswith("fft_")}
_CONDITIONS = _words(
    "_assert_async _assert_scalar _assert_tensor_metadata sym_constrain_range sym_constrain_range_for_size"
)
_LISTED = _NAMES | _CONDITIONS | _words("sym_numel sym_size sym_storage_offset sym_stride")
# Arguments that may have one value alone: with any other the operator draws random numbers, keeps statistics, believes
# a size that it is told, or takes memory of another kind.
_ONLY: dict[str, tuple[object, ...]] = {
    "train": (False,),
    "training": (False,),
    "dropout_p": (0, 0.0, None),
    "pin_memory": (False, None),
    "sorter": (None,),
    "path": (None,),
    "sparse_grad": (False,),
    "sparse": (False,),
}
# By operator: these would believe a size, or change the statistics that they are given.
_ONLY_IN: dict[tuple[str, str], tuple[object, ...]] = {
    ("repeat_interleave", "output_size"): (None,),
    ("instance_norm", "running_mean"): (None,),
    ("instance_norm", "running_var"): (None,),
}
# Without statistics of their own there are none to change.
_TRAINS_NOTHING = frozenset([("_native_batch_norm_legit", "no_stats")])
# Their in-place forms change what a tensor is, not what it holds.
_NO_IN_PLACE = frozenset(["as_strided", "empty", "size", "item"])


@cache
def find_operator(name: str, overload: str) -> torch._ops.OpOverload | None:
    """The operator ``aten.NAME.OVERLOAD``, or None where it is not on the list or this torch has none."""
    base = _base(name)
    if not is_listed(name, overload):
        return None
    packet = getattr(torch.ops.aten, name, None)
    if packet is None or overload not in packet.overloads():
        return None
    found: torch._ops.OpOverload = getattr(packet, overload)
    arguments, returns = found._schema.arguments, found._schema.returns
    kinds = {_type_of(argument) for argument in arguments} | {_type_of(value) for value in returns}
    is_about_tensors = base in _CREATES or any("Tensor" in _type_of(argument) for argument in arguments)
    writes = [argument for argument in arguments if argument.alias_info is not None and argument.alias_info.is_write]
    is_known = kinds <= _TYPES and all(_type_of(value) in _RETURNS for value in returns)
    is_known = is_known and (bool(returns) or base in _CONDITIONS)
    # A functional operator writes nothing, one in place its first argument.
    is_sound = not writes if name == base else [argument.name for argument in writes] == [arguments[0].name]
    return found if is_known and is_about_tensors and is_sound else None


def _base(name: str) -> str:
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def is_listed(name: str, overload: str) -> bool:
    """Whether the list has an operator of this name, be it that this torch lacks it."""
    base = _base(name)
    if "out" in overload.split("_"):
        return False
    return base in _LISTED and (name == base or base not in _NO_IN_PLACE)


def name_of(found: torch._ops.OpOverload) -> str:
    """The operator's name without its overload."""
    return found._schema.name.removeprefix("aten::")


def makes_tensors(found: torch._ops.OpOverload) -> bool:
    """Whether it makes a tensor out of numbers alone, on a device that nothing else says."""
    return name_of(found) in _CREATES


def may_return_an_argument(found: torch._ops.OpOverload) -> bool:
    """Whether the result may be an argument, or a view of one, although the schema does not say so."""
    return _base(name_of(found)) in _MAY_RETURN_AN_ARGUMENT


def _type_of(value: torch._C.Argument) -> str:
    """The type of an argument or a result, such as ``List[int]``, whether it may be None or not."""
    return (
        str(value.real_type).removeprefix("Optional[").removesuffix("]" * str(value.real_type).startswith("Optional["))
    )


def type_of(argument: torch._C.Argument) -> tuple[str, bool]:
    """What kind of value an argument takes, and whether it may be None."""
    return _type_of(argument), str(argument.real_type).startswith("Optional[")


def why_not(found: torch._ops.OpOverload, argument: str, value: object) -> str | None:
    """What is wrong with a plain value of an argument: the values that would be right; None if nothing is."""
    name, overload = name_of(found), found._schema.overload_name
    if argument == "assert_msg":  # never printed
        return None
    if isinstance(value, str):
        if (name, argument) == ("einsum", "equation"):
            return None if _EQUATION.fullmatch(value) else "an equation of letters"
        allowed = _TEXTS.get((name, argument), frozenset())
        return None if value in allowed else " or ".join(sorted(allowed)) or "no text"
    only = _ONLY_IN.get((name, argument), _ONLY.get(argument))
    if only is None or value in only or (argument == "training" and (name, overload) in _TRAINS_NOTHING):
        return None
    return " or ".join(map(str, only))
