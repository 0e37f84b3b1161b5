"""Settings that a class of ``transformers`` states and none of its code reads: what they say is not what is computed.

A class may have a field for what its authors' own code does and the library does not, such as the scale of MPT's
logits. Such a field is harmless where it says what the class says by itself.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from types import ModuleType
from typing import Any

from torch import nn

from bpb_harness.adapters.huggingface.unneeded_settings import has_an_unneeded_name

# Code of the library that reads settings for every network.
_COMMON = (
    "activations", "cache_utils", "integrations.moe", "masking_utils", "modeling_attn_mask_utils", "modeling_layers",
    "modeling_rope_utils", "modeling_utils", "pytorch_utils",
)  # fmt: skip
_IS_CONFIG = re.compile(r"conf|cfg", re.IGNORECASE)
# Parts of composite models that a text never reaches.
_NO_TEXT = re.compile(r".*(vision|audio|image|video|speech|vq|talker|projector|perceiver).*")
# What a class of networks does anyway, said otherwise than by default.
_SAYS_THE_SAME: Mapping[tuple[str, str], tuple[Any, ...]] = {
    ("mpt", "norm_type"): ("layernorm",),  # in float32 a low-precision one is a plain one
    ("mpt", "learned_pos_emb"): (False,),  # it has none, and a file with some holds a tensor too many
}


def first_unread(root: Any, place: str, settings: Mapping[str, Any], taken: Any, network: nn.Module) -> str | None:
    """A setting that says something and that nothing reads; None where there is none.

    Args:
        root: what the library made of the whole config.json.
        place: of the settings in it, ``text_config.`` or the like; empty: config.json itself.
        settings: as they stand there.
        taken: what the library made of them.
        network: built of that.
    """
    kind = type(taken)
    if not kind.__module__.startswith("transformers.") or not _is_of_text(root, place, taken, network):
        return None
    for key in sorted(settings.keys() & _own_fields(kind)):
        value = settings[key]
        if value is None or has_an_unneeded_name(key) or value in _SAYS_THE_SAME.get((root.model_type, key), ()):
            continue
        names = {key, *_other_names(kind, key)}
        if _reads_any(names, _modules_of(network)) or _follows(key, value, settings, kind):
            continue
        if not (_derives(kind, names) or _reads_any(names, _common())):
            return key
    return None


def _is_of_text(root: Any, place: str, taken: Any, network: nn.Module) -> bool:
    """Whether a part is one that the network is built of."""
    if not place:
        return True
    if _NO_TEXT.fullmatch(place):
        return False
    beside = type(taken).__module__ == type(root).__module__
    return beside or any(type(getattr(part, "config", None)) is type(taken) for part in network.modules())


def _own_fields(kind: type) -> set[str]:
    """Fields that a class of settings, or one of its bases below the library's own, declares."""
    found: set[str] = set()
    for each in kind.__mro__:
        if each.__name__ in ("PreTrainedConfig", "PretrainedConfig"):
            break
        found |= set(vars(each).get("__annotations__", ()))
        if (initializer := vars(each).get("__init__")) is not None:
            found |= set(inspect.signature(initializer).parameters)
    return found - {"model_type", "sub_configs", "attribute_map", "base_config_key", "keys_to_ignore_at_inference"}


def _other_names(kind: type, key: str) -> Iterator[str]:
    for one, other in (getattr(kind, "attribute_map", None) or {}).items():
        if key in (one, other):
            yield from (one, other)


def _follows(key: str, value: Any, settings: Mapping[str, Any], kind: Any) -> bool:
    """Whether the class says the same without being told; a class that cannot be asked is believed."""
    rest = {name: each for name, each in settings.items() if name != key}
    try:
        alone = getattr(kind.from_dict(rest), key, None)
    except Exception:  # settings that do not go together without it
        return True
    return bool(_plain(alone) == _plain(value))


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _derives(kind: type, names: Iterable[str]) -> bool:
    """Whether the class makes other settings of one: its own code reads it."""
    modules = (sys.modules.get(each.__module__) for each in kind.__mro__)
    own = [each for each in modules if each is not None and each.__name__.startswith("transformers.models.")]
    return any(name in _read_by_itself(each) for each in own for name in names)


def _reads_any(names: Iterable[str], modules: Iterable[ModuleType]) -> bool:
    return any(name in _read_by(each) for each in modules for name in names)


def _modules_of(network: nn.Module) -> list[ModuleType]:
    """The library's modules that the parts of a network stand in."""
    names = {each.__module__ for part in network.modules() for each in type(part).__mro__}
    found = (sys.modules.get(name) for name in sorted(names) if name.startswith("transformers.models."))
    return [each for each in found if each is not None]


@cache
def _common() -> tuple[ModuleType, ...]:
    found = []
    for name in _COMMON:
        with suppress(ImportError):  # versions differ in their files
            found.append(importlib.import_module(f"transformers.{name}"))
    return tuple(found)


@cache
def _read_by(module: ModuleType) -> frozenset[str]:
    """Names that code asks settings for: ``config.name``, and every name that it has as text, as for ``getattr``."""
    found = set()
    for node in _nodes(module):
        if isinstance(node, ast.Attribute):
            owner = node.value
            name = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
            if _IS_CONFIG.search(name):
                found.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            found.add(node.value)
    return frozenset(found)


@cache
def _read_by_itself(module: ModuleType) -> frozenset[str]:
    """Names that the code of a class of settings looks at, but for keeping them: ``self.name = name``."""
    kept, found = set(), set()
    for node in _nodes(module):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
            kept |= {
                id(node.value) for to in node.targets if isinstance(to, ast.Attribute) and to.attr == node.value.id
            }
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            found.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in kept:
            found.add(node.id)
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            found.add(str(node.slice.value))
    return frozenset(found)


def _nodes(module: ModuleType) -> Iterator[ast.AST]:
    try:
        yield from ast.walk(ast.parse(inspect.getsource(module)))
    except (OSError, TypeError, SyntaxError):
        return
