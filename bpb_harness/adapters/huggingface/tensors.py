"""Every tensor of a folder against every tensor of the network that ``transformers`` made of it.

What the library says of itself (missing, unexpected) is not enough: patterns in its classes silence it, ties overwrite,
and two names may lead to one place. So what it loaded is compared with what the file holds, value by value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bpb_harness.adapters.huggingface.unneeded import is_unneeded, may_be_unneeded
from bpb_harness.checkpoints import Checkpoint
from bpb_harness.errors import CheckpointError
from bpb_harness.findings import first_of

_MAX_NAMED = 4
_OLD_ENDINGS = ((".gamma", ".weight"), (".beta", ".bias"))
_LORA = ("lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector", "base_layer", "ia3_l")
_DEQUANTIZE = "dequantize() it with transformers, then save_pretrained() into a new folder"
_QUANTIZED = ("qweight", "qzeros", "scales", "g_idx", "SCB", "absmax", "quant_map", "weight_scale", "input_scale")


class Places:
    """Where in a network a tensor of the file goes, as far as its name tells.

    Args:
        network: built from config.json; its values do not matter.
    """

    def __init__(self, network: nn.Module) -> None:
        own = network.state_dict()
        self.shapes = {name: value.shape for name, value in own.items()}
        self.holds_weights = {name: value.is_floating_point() for name, value in own.items()}
        self._prefix = str(getattr(network, "base_model_prefix", "") or "") + "."

    def of(self, name: str) -> str | None:
        """The network's name of a tensor; None where it is not so simple, as for experts that are joined."""
        names = [name, *(name.removesuffix(old) + new for old, new in _OLD_ENDINGS if name.endswith(old))]
        for each in names:
            for candidate in (each, self._prefix + each, each.removeprefix(self._prefix)):
                if candidate in self.shapes:
                    return candidate
        return None


def split_unneeded(checkpoint: Checkpoint, places: Places, *, masked: bool) -> tuple[dict[str, Tensor], list[str]]:
    """What the network is to take, and the names of what it may do without (to be looked at once it is filled)."""
    unneeded = [name for name in checkpoint.tensors if places.of(name) is None and may_be_unneeded(name, masked=masked)]
    return {name: value for name, value in checkpoint.tensors.items() if name not in unneeded}, unneeded


def require_shapes(checkpoint: Checkpoint, tensors: Mapping[str, Tensor], places: Places) -> None:
    """Refuse tensors of another shape, or of a type that holds no weights.

    Raises:
        CheckpointError: naming the first.
    """
    for name, value in tensors.items():
        place = places.of(name)
        if place is None:
            continue
        if places.holds_weights[place] and not value.is_floating_point():
            raise CheckpointError(
                f"{checkpoint.path.name}: {name} holds integers where the network has weights, as quantised files do",
                seen=value.dtype,
                expected="floating-point numbers",
                hint=_DEQUANTIZE,
            )
        if value.shape != places.shapes[place]:
            raise CheckpointError(
                f"{checkpoint.path.name}: {name}",
                seen=list(value.shape),
                expected=f"{list(places.shapes[place])}, by its config.json",
                hint="config.json and the weights are not of one model: copy both again",
            )


def require_counts(
    checkpoint: Checkpoint, tensors: Mapping[str, Tensor], network: nn.Module, places: Places, *, masked: bool
) -> None:
    """Before anything is filled: refuse more numbers, or fewer, than the network has room for.

    Args:
        checkpoint: the folder, for messages.
        tensors: what the network is to take.
        network: built without storage, so that sizes that only config.json states cost no memory.
        places: of the network.
        masked: whether it is a masked language model.

    Raises:
        CheckpointError: naming tensors that are left over or missing.
    """
    own = network.state_dict(keep_vars=True)
    filled = {id(own[place]) for name in tensors if (place := places.of(name)) is not None}
    rest = [name for name in tensors if places.of(name) is None]
    lacking = [
        name for name, value in own.items() if id(value) not in filled and not may_be_unneeded(name, masked=masked)
    ]
    if sum(tensors[name].numel() for name in rest) != sum(own[name].numel() for name in lacking):
        raise _mismatch(checkpoint.path.name, rest, lacking)


def _mismatch(folder: str, given: list[str], own: list[str]) -> CheckpointError:
    return left_over(folder, given, lacking=own) if given else missing(folder, own)


def conflicting_ties(tensors: Mapping[str, Tensor], network: nn.Module, places: Places) -> list[tuple[str, str]]:
    """Pairs of tensors that the network ties to each other while the file holds two that differ."""
    groups: dict[int, list[str]] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        groups.setdefault(id(parameter), []).append(name)
    given = {place: name for name in tensors if (place := places.of(name)) is not None}
    pairs = []
    for group in groups.values():
        present = [given[place] for place in group if place in given]
        first = present[0] if present else ""
        pairs += [(first, other) for other in present[1:] if not _equal(tensors[first], tensors[other])]
    return pairs


def account(
    checkpoint: Checkpoint, tensors: Mapping[str, Tensor], unneeded: list[str], network: nn.Module, *, masked: bool
) -> None:
    """Compare a filled network with the file.

    Args:
        checkpoint: the folder, for messages and for the tensors called unneeded.
        tensors: what the network was given.
        unneeded: names of what it was not given.
        network: filled.
        masked: whether it is a masked language model.

    Raises:
        CheckpointError: naming tensors that are left over, that are missing, or that are not what the file holds.
    """
    folder, own, places = checkpoint.path.name, network.state_dict(), Places(network)
    if unfilled := [name for name, value in own.items() if value.is_meta]:
        raise missing(folder, unfilled)
    rest, filled = [], set()
    for name, value in tensors.items():
        place = places.of(name)
        if place is None:
            rest.append(name)
            continue
        if not _equal(own[place], value):
            raise CheckpointError(
                f"{folder}: transformers does not keep {name} as the file has it",
                seen=f"other values in {place}",
                expected="the file's, which two tensors under one name or a tie may overwrite",
                hint="load it with transformers, save_pretrained() into a new folder and score that",
            )
        filled.add(own[place].data_ptr())
    lacking = [
        name
        for name, value in own.items()
        if value.data_ptr() not in filled
        and not (value.numel() == 0 or (may_be_unneeded(name, masked=masked) and is_unneeded(name, value, network)))
    ]
    _require_the_rest(folder, {name: tensors[name] for name in rest}, {name: own[name] for name in lacking})
    for name in unneeded:
        if not is_unneeded(name, checkpoint.tensors[name], network):
            raise CheckpointError(
                f"{folder}: {name} is not what the network makes itself",
                seen="other values",
                expected="the buffer that old versions of transformers saved, by the settings in config.json",
                hint="config.json and the weights are not of one model: copy both again",
            )


def _require_the_rest(folder: str, given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """What goes by other names, as experts that the library joins: as many numbers, and the same ones in sum."""
    kinds = [[value for value in side.values() if value.is_floating_point()] for side in (given, own)]
    others = [[value for value in side.values() if not value.is_floating_point()] for side in (given, own)]
    if _same_numbers(*kinds) and _same_numbers(*others):
        return
    raise _mismatch(folder, list(given), list(own))


def left_over(folder: str, names: list[str], *, lacking: list[str]) -> CheckpointError:
    """The error for tensors of the file that have no place in the network."""
    also = f", and lacks {first_of(lacking, _MAX_NAMED)}" if lacking else ""
    return CheckpointError(
        f"{folder} has tensors that the network does not use{also}", seen=first_of(names, _MAX_NAMED), hint=_hint(names)
    )


def missing(folder: str, names: list[str]) -> CheckpointError:
    """The error for tensors of the network that the file lacks."""
    more = f"{len(names)} missing: {first_of(names, _MAX_NAMED)}" if len(names) > 1 else "1 missing"
    return CheckpointError(
        f"{folder} lacks the tensor {names[0]}",
        seen=more,
        hint="copy all files of the model; a network whose head was not saved cannot be scored",
    )


def _hint(names: list[str]) -> str:
    parts = {part for name in names for part in name.split(".")}
    if parts & set(_LORA):
        return "these belong to LoRA: merge_and_unload() of peft, then save_pretrained() into a new folder"
    if parts & set(_QUANTIZED):
        return f"these belong to quantised weights; {_DEQUANTIZE}"
    return "score the network by its own code: --model FILE.py:LOADER --allow-code"


def _equal(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    other = other.to(one.dtype)
    # NaN in a file is for the scoring to refuse, which says where it came up.
    return torch.equal(one, other) or bool(((one == other) | (one.isnan() & other.isnan())).all())


def _same_numbers(one: list[Tensor], other: list[Tensor]) -> bool:
    """Whether two lists hold the same numbers, in any order and shape: how many, their sum and their squares."""
    (count, total, squares), (other_count, other_total, other_squares) = _sums(one), _sums(other)
    spread = max(squares, other_squares) ** 0.5
    return (
        count == other_count
        and abs(total - other_total) <= 1e-6 * spread
        and (abs(squares - other_squares) <= 1e-6 * spread**2)
    )


def _sums(values: list[Tensor]) -> tuple[int, float, float]:
    count, total, squares = 0, 0.0, 0.0
    for value in values:
        count += value.numel()
        total += float(value.sum(dtype=torch.float64))
        squares += float(torch.linalg.vector_norm(value.double())) ** 2
    return count, total, squares


def names_in(info: Mapping[str, Any], key: str) -> list[str]:
    """Names that the library reports under a key of its loading info."""
    return sorted(entry if isinstance(entry, str) else str(entry[0]) for entry in info.get(key) or ())
