"""Which of the values in a file of ``torch.save`` are the weights.

Trainers save dictionaries around a state dict: ``{"model": .., "optimizer": .., "step": 7}``. Where one set of weights
is inside, under a key that says so, it is taken. Where there are several, nobody can tell from the file which one a
score should be of: the keys are named, and the user says which (``--weights KEY``). What else the dictionary holds is
kept as settings, for the adapter to account for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from bpb_harness.checkpoints.names import split_tensors
from bpb_harness.checkpoints.torch_pickle import ForeignObject
from bpb_harness.errors import CheckpointError

# Keys under which trainers keep the weights of the network that they train.
_KEYS = re.compile(
    r"""state_?dict | (model|net|network|module|ema|ema_model|model_ema|averaged_model)(_state_?dict|_state|_weights)?
    | (state_?dict|weights|params|parameters)(_ema)? | model_(params|weights)""",
    re.VERBOSE | re.IGNORECASE,
)
# Keys under which tensors are no weights: what optimizers, random streams and loaders remember.
NO_WEIGHTS = re.compile(
    r"""(\w+_)?(optim|optims|optimizer|optimizers|opt)(_state(_?dict)?s?|_states?|_\d+|s)?
    | (?!(\w+_)?(noise|mask|masking|diffusion|corruption|forward|sigma|alpha|snr|time|timestep)_schedulers?)
      (\w+_)?(scheduler|schedulers|lr_sched|grad_scaler|scaler|amp)(_state(_?dict)?s?)?
    | (\w+_)?(rng|rng_states?|random_states?|generator_state) | (data)?loader(_state)? | sampler(_state)?
    | optimizer_states | lr_schedulers | loops | MixedPrecisionPlugin | NativeMixedPrecisionPlugin""",
    re.VERBOSE | re.IGNORECASE,
)
# Keys of averaged weights, and what stands beside them of how the average is taken.
_AVERAGE = re.compile(r"(.*[._])?(ema|averaged?|shadow|swa)([._].*)?", re.IGNORECASE)
_AVERAGED_MODEL = "n_averaged"  # of how many, in a state dict of torch.optim.swa_utils
_OF_AVERAGES = frozenset(("decay", "num_updates", "updates", "n_averaged", "initted"))
_MAX_WRAPPERS = 8
_DEEPEST = 64


@final
@dataclass(frozen=True)
class WeightSet:
    """One set of weights in a file.

    Attributes:
        key: where it stands, with dots; empty where the file is the state dict itself.
        tensors: by name, as the file spells them.
        rest: what stands beside it that is not of an optimizer, a random stream or a loader.
    """

    key: str
    tensors: dict[str, Tensor]
    rest: dict[Any, Any]


def find_weights(content: dict[Any, Any], path: Path, chosen: str | None = None) -> WeightSet:
    """The one set of weights in a dictionary, or the one that was chosen.

    Args:
        content: what the file holds.
        path: of the file, for messages.
        chosen: the key of a set, with dots where it lies deeper.

    Raises:
        CheckpointError: if there is no set of weights, more than one, one under a key that does not say so, or none
            under the chosen key.
    """
    if chosen is not None:
        return _chosen(content, path, chosen)
    key = ""
    rest: dict[Any, Any] = {}
    for _ in range(_MAX_WRAPPERS):
        loose, others = split_tensors(content, _what(path, key))
        holders = [name for name, value in others.items() if holds_weights(name, value)]
        if not holders:
            break
        weights = {name: value for name, value in loose.items() if _counts(name, value)}
        if weights or len(holders) > 1:
            raise _several(path, key, holders, weights)
        (holder,) = holders
        inner = f"{key}.{holder}" if key else str(holder)
        if not (isinstance(content[holder], dict) and _KEYS.fullmatch(str(holder))):
            raise _unnamed(path, inner, content[holder])
        rest |= _beside(content, holder, key)
        key, content = inner, content[holder]
    else:
        hint = "save the weights alone: torch.save(network.state_dict(), ...)"
        seen = f"more than {_MAX_WRAPPERS} dictionaries around them"
        raise CheckpointError(f"{path.name}: its weights", seen=seen, hint=hint)
    return _whole(content, path, key, rest)


def _chosen(content: dict[Any, Any], path: Path, chosen: str) -> WeightSet:
    """The set under a key, with dots where it lies deeper; a key that contains dots is tried whole first."""
    rest: dict[Any, Any] = {}
    left: str | None = chosen
    inside = content
    while left is not None:
        candidates = [key for key in inside if isinstance(key, str) and (left == key or left.startswith(key + "."))]
        key = max(candidates, key=len, default=None)
        if key is None or not isinstance(inside[key], dict):
            sets = [str(name) for name, value in content.items() if holds_weights(name, value)]
            raise CheckpointError(
                f"{path.name} has no weights under {chosen!r}",
                seen=f"keys {', '.join(map(str, list(content)[:8]))}",
                expected=f"--weights {' or '.join(sets)}" if sets else "no --weights: the file is one state dict",
            )
        # Other sets, and tensors of none, are what the user did not choose.
        others = {name: value for name, value in inside.items() if not _has_weights(name, value)}
        rest |= _beside(others, key, chosen.removesuffix(left).rstrip("."))
        left, inside = None if left == key else left[len(key) + 1 :], inside[key]
    for _ in range(_MAX_WRAPPERS):  # what was chosen may hold the one set that there is in it, and how it was averaged
        holders = [name for name, value in inside.items() if holds_weights(name, value)]
        if len(holders) != 1 or any(_counts(name, value) for name, value in split_tensors(inside, "")[0].items()):
            break
        (holder,) = holders
        if not isinstance(inside[holder], dict):
            raise _nameless(path, f"{chosen}.{holder}", inside[holder])
        rest |= _beside(inside, holder, chosen)
        inside = inside[holder]
    return _whole(inside, path, chosen, rest)


def _nameless(path: Path, key: str, value: Any) -> CheckpointError:
    kind = value.name if isinstance(value, ForeignObject) else type(value).__name__
    return CheckpointError(
        f"{path.name} holds its tensors under {key!r} without names",
        seen=f"a {kind}",
        expected="a state dict: tensors by name",
        hint="load them into the network with the code that trained it, and save its state_dict()",
    )


def _whole(content: dict[Any, Any], path: Path, key: str, rest: dict[Any, Any]) -> WeightSet:
    """A state dict without sets of weights inside; what is no tensor in it is settings too."""
    tensors, others = split_tensors(content, _what(path, key))
    tensors = {
        name: value for name, value in tensors.items()
        if not NO_WEIGHTS.fullmatch(name) and not (name == _AVERAGED_MODEL and value.ndim == 0)
    }  # fmt: skip
    if not tensors:
        raise CheckpointError(
            f"{path.name} holds no tensors" + (f" under {key!r}" if key else ""),
            seen=f"keys {', '.join(map(str, list(content)[:8])) or 'none'}",
            expected="a native checkpoint or a state dict",
            hint="save the weights alone: torch.save(network.state_dict(), ...)",
        )
    nested = [name for name, value in others.items() if holds_weights(name, value)]
    if nested:
        raise _several(path, key, nested, tensors)
    return WeightSet(key, tensors, rest | _beside(others, None))


def _beside(content: Mapping[Any, Any], taken: Any, key: str = "") -> dict[Any, Any]:
    """What stands beside a set: numbers in tensors of no dimension as numbers, states of optimizers left out.

    Args:
        content: of the dictionary that holds the set.
        taken: the set's key in it.
        key: of the dictionary itself; of an average, how it is taken is left out too.
    """
    of_average = _OF_AVERAGES if _AVERAGE.fullmatch(key) else frozenset()
    beside = {}
    for name, value in content.items():
        if name is taken or name in of_average or (isinstance(name, str) and NO_WEIGHTS.fullmatch(name)):
            continue
        beside[name] = value.item() if isinstance(value, Tensor) and value.ndim == 0 else value
    return beside


def holds_weights(name: Any, value: Any) -> bool:
    """Whether a value that is no tensor has tensors with dimensions inside, and may be a set of weights."""
    if isinstance(value, Tensor) or (isinstance(name, str) and NO_WEIGHTS.fullmatch(name)):
        return False
    return any(tensor.ndim > 0 for tensor in _tensors_inside(value))


def _counts(name: Any, value: Tensor) -> bool:
    return value.ndim > 0 and not NO_WEIGHTS.fullmatch(str(name))


def _has_weights(name: Any, value: Any) -> bool:
    return _counts(name, value) if isinstance(value, Tensor) else holds_weights(name, value)


def _tensors_inside(value: Any) -> Iterator[Tensor]:
    """Every tensor inside, each container entered once: a pickle's lists can share their parts without end."""
    waiting, entered = [(value, 0)], set()
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, Tensor):
            yield value
            continue
        if isinstance(value, ForeignObject):
            parts: list[Any] = [value.args, value.state, value.items]
        elif isinstance(value, Mapping):
            parts = [part for name, part in value.items() if not NO_WEIGHTS.fullmatch(str(name))]
        elif isinstance(value, list | tuple):
            parts = list(value)
        else:
            continue
        if id(value) not in entered and depth <= _DEEPEST:
            entered.add(id(value))
            waiting += [(part, depth + 1) for part in parts]


def _what(path: Path, key: str) -> str:
    return f"{path.name}: {key}" if key else path.name


def _several(path: Path, key: str, holders: list[Any], loose: Mapping[str, Tensor]) -> CheckpointError:
    keys = [f"{key}.{name}" if key else str(name) for name in holders]
    seen = f"tensors under {' and under '.join(keys[:6])}"
    if loose:
        seen += f", and {len(loose)} beside them ({', '.join(list(loose)[:3])})"
    return CheckpointError(
        f"{path.name} holds more than one set of weights, and which one the score is of is for you to say",
        seen=seen,
        hint=f"pass --weights {keys[0]}" + (f" or --weights {keys[1]}" if len(keys) > 1 else ""),
    )


def _unnamed(path: Path, key: str, value: Any) -> CheckpointError:
    if not isinstance(value, dict):
        kind = value.name if isinstance(value, ForeignObject) else type(value).__name__
        return CheckpointError(
            f"{path.name} holds its tensors under {key!r}",
            seen=f"a {kind}",
            expected="a state dict: tensors by name",
            hint=f"save the weights alone, by name: torch.save(network.state_dict(), {path.stem + '_weights.pt'!r})",
        )
    tensors = split_tensors(value, key)[0]
    levels = [name for name, tensor in tensors.items() if tensor.dtype in (torch.int8, torch.uint8)]
    if levels:
        return CheckpointError(
            f"{path.name} holds quantised weights under {key!r}",
            seen=f"{len(levels)} tensors of 8-bit levels ({levels[0]}), whose scales its own program alone applies",
            hint="multiply them out with that program and save the network's state dict",
        )
    taken = f"torch.load({path.name!r})" + "".join(f"[{part!r}]" for part in key.split("."))
    alone = f"torch.save({taken}, {path.stem + '_weights.pt'!r})"
    return CheckpointError(
        f"{path.name} holds its tensors under {key!r}, a key that does not say that they are the network's weights",
        hint=f"if they are, pass --weights {key}, or save them alone: {alone}",
    )
