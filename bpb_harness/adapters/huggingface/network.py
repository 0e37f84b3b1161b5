"""A network of ``transformers`` from a folder that was read as data: the library builds, renames and joins; we account.

No pickle of the folder is opened by the library, no code of it runs without permission, nothing is fetched.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bpb_harness.adapters.huggingface.settings import for_the_library, require_buildable, require_known, versions
from bpb_harness.adapters.huggingface.tensors import (
    Places,
    account,
    conflicting_ties,
    left_over,
    missing,
    names_in,
    require_counts,
    require_shapes,
    split_unneeded,
)
from bpb_harness.adapters.huggingface.unneeded import may_be_unneeded
from bpb_harness.checkpoints import Checkpoint
from bpb_harness.errors import CheckpointError, HarnessError


def is_known_type(model_type: str) -> bool:
    """Whether the library brings the model type itself; found without importing it, which takes seconds."""
    spec = importlib.util.find_spec("transformers")
    places = spec.submodule_search_locations if spec is not None else None
    models = [Path(place) / "models" for place in places or ()]
    if any((each / re.sub(r"\W", "_", model_type)).is_dir() for each in models):
        return True
    # Parts of composite models stand in another model's folder.
    lists = [each / "auto" / name for each in models for name in ("configuration_auto.py", "auto_mappings.py")]
    return any(f'("{model_type}"' in file.read_text(encoding="utf-8") for file in lists if file.is_file())


def build_network(checkpoint: Checkpoint, kind: str, *, allow_code: bool) -> tuple[nn.Module, list[str]]:
    """Build and fill the network of a model folder.

    Args:
        checkpoint: a folder, read as data.
        kind: "masked" or "causal".
        allow_code: whether code in the folder may run, and is to.

    Returns:
        The network in float32, and findings worth printing.

    Raises:
        CheckpointError: the library does not know the model, a setting or an architecture; or a tensor is left over,
            missing or not what the file holds.
    """
    with _quiet_and_offline(), _refusals_by_name(checkpoint, allow_code=allow_code):
        require_buildable(checkpoint)
        config = _config_with_code(checkpoint) if allow_code else _config(checkpoint)
        if allow_code:
            network = _auto(kind).from_config(config, trust_remote_code=True, dtype=torch.float32)
        else:
            with suppress(KeyError):  # its module first: torch 2.6 cannot import a compiler under meta
                _auto(kind)._model_mapping[type(config)]
            with torch.device("meta"):
                network = _auto(kind).from_config(config, dtype=torch.float32)
            _require_architecture(checkpoint, network)
            require_known(checkpoint, config, network)
        masked, places = kind == "masked", Places(network)
        tensors, unneeded = split_unneeded(checkpoint, places, masked=masked)
        require_shapes(checkpoint, tensors, places)
        if not allow_code:
            require_counts(checkpoint, tensors, network, places, masked=masked)
        ties = conflicting_ties(tensors, network, places)
        if allow_code:
            _fill_by_name(network, tensors, places)
        else:
            network = _filled(checkpoint, type(network), config, tensors, ties, masked=masked)
        network = network.eval()
        account(checkpoint, tensors, unneeded, network, masked=masked)
    notes = [
        f"config.json ties {one} to {other}; the file holds two that differ, and both are used" for one, other in ties
    ]
    assert isinstance(network, nn.Module)
    return network, notes


def _auto(kind: str) -> Any:
    import transformers

    return transformers.AutoModelForMaskedLM if kind == "masked" else transformers.AutoModelForCausalLM


def _config(checkpoint: Checkpoint) -> Any:
    from transformers import CONFIG_MAPPING

    model_type = checkpoint.config["model_type"]
    if model_type not in CONFIG_MAPPING:
        raise CheckpointError(
            f"{checkpoint.path.name}: model_type {model_type!r} is not known to transformers",
            seen=versions(checkpoint),
            hint="install the version that wrote the folder, or score the network by its own code: "
            "--model FILE.py:LOADER --allow-code",
        )
    return CONFIG_MAPPING[model_type].from_dict(for_the_library(checkpoint.config))


def _config_with_code(checkpoint: Checkpoint) -> Any:
    import transformers

    folder = str(checkpoint.path.resolve())
    return transformers.AutoConfig.from_pretrained(folder, trust_remote_code=True, local_files_only=True)


def _require_architecture(checkpoint: Checkpoint, network: Any) -> None:
    names = checkpoint.config.get("architectures")
    stated = [str(name) for name in names] if isinstance(names, list) else []
    built = type(network).__name__
    if stated and built.lower() not in (name.lower() for name in stated):
        raise CheckpointError(
            f"{checkpoint.path.name}: architectures in config.json and its model_type "
            f"{checkpoint.config.get('model_type')!r} do not go together",
            seen=", ".join(stated[:4]),
            expected=f"{built}, which transformers builds for that type",
            hint="mend config.json, or score the network by its own code: --model FILE.py:LOADER --allow-code",
        )


def _filled(
    checkpoint: Checkpoint,
    kind: Any,
    config: Any,
    tensors: Mapping[str, Tensor],
    ties: list[tuple[str, str]],
    *,
    masked: bool,
) -> Any:
    """Let the library put the tensors in; untied where the file holds two and an old version would overwrite one."""
    network, info = _from_state_dict(kind, config, tensors)
    if ties and not _keeps(network, tensors, ties):
        config.tie_word_embeddings = False
        network, info = _from_state_dict(kind, config, tensors)
        if not _keeps(network, tensors, ties):
            one, other = ties[0]
            raise CheckpointError(
                f"{checkpoint.path.name}: config.json ties {one} to {other}, and the file holds two that differ",
                hint="set tie_word_embeddings to false in config.json if both are meant, or remove one of them",
            )
    folder = checkpoint.path.name
    lacking = [name for name in names_in(info, "missing_keys") if not may_be_unneeded(name, masked=masked)]
    if unexpected := names_in(info, "unexpected_keys"):
        raise left_over(folder, unexpected, lacking=lacking)
    if mismatched := names_in(info, "mismatched_keys"):
        raise CheckpointError(
            f"{folder}: {mismatched[0]} does not have the shape that config.json gives it",
            seen=f"{len(mismatched)} such tensors",
            hint="config.json and the weights are not of one model: copy both again",
        )
    if lacking:
        raise missing(folder, lacking)
    return network


def _from_state_dict(kind: Any, config: Any, tensors: Mapping[str, Tensor]) -> tuple[Any, Mapping[str, Any]]:
    network, info = kind.from_pretrained(
        None,
        config=config,
        state_dict=dict(tensors),
        dtype=torch.float32,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        local_files_only=True,
    )
    return network, info


def _keeps(network: Any, tensors: Mapping[str, Tensor], ties: list[tuple[str, str]]) -> bool:
    own, places = network.state_dict(), Places(network)
    names = {name for pair in ties for name in pair}
    return all(torch.equal(own[places.of(name)], tensors[name].to(torch.float32)) for name in names)


def _fill_by_name(network: Any, tensors: Mapping[str, Tensor], places: Places) -> None:
    """Networks of code in the folder: their tensors have the names that they were saved with."""
    network.load_state_dict(
        {place: value for name, value in tensors.items() if (place := places.of(name))}, strict=False
    )
    network.tie_weights()


@contextmanager
def _refusals_by_name(checkpoint: Checkpoint, *, allow_code: bool) -> Iterator[None]:
    try:
        yield
    except HarnessError:
        raise
    except Exception as error:  # a hostile or foreign config may fail anywhere in the library
        what = "the code in the folder fails" if allow_code else "transformers cannot build it"
        raise CheckpointError(
            f"{checkpoint.path.name}: {what}",
            seen=f"{type(error).__name__}: {str(error)[:200]}",
            hint=f"{versions(checkpoint)}; install the version that wrote it",
        ) from error


@contextmanager
def _quiet_and_offline() -> Iterator[None]:
    """No reports, no progress bars, no network, no kernels from a hub while the library works."""
    os.environ.setdefault("USE_HUB_KERNELS", "0")  # read once, when the library is imported
    from huggingface_hub import constants
    from transformers import utils

    reports: Any = utils.logging
    verbosity, bars, offline = reports.get_verbosity(), reports.is_progress_bar_enabled(), constants.HF_HUB_OFFLINE
    reports.set_verbosity(logging.CRITICAL)
    reports.disable_progress_bar()
    constants.HF_HUB_OFFLINE = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        constants.HF_HUB_OFFLINE = offline
        reports.set_verbosity(verbosity)
        if bars:
            reports.enable_progress_bar()
