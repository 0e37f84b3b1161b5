"""``huggingface``: a local folder with a masked or causal language model of the ``transformers`` library.

The library builds the network from ``config.json``; the weights are the tensors that this package read, so no pickle
of the folder is opened by anyone else. Code in the folder (``trust_remote_code``) runs only with --allow-code.
Needs the extra ``huggingface``: ``pip install bpb-harness[huggingface]``.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from bpb_harness.adapters._network import autocast, ready
from bpb_harness.adapters._registry import AdaptedModel
from bpb_harness.checkpoint import LARGEST_TOKENIZER, Checkpoint, read_json
from bpb_harness.errors import CheckpointError, HarnessError, UsageError
from bpb_harness.schedule import LogLinear, NoiseLevel

# Architectures whose position embeddings start behind the padding id.
_OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "roberta-prelayernorm", "longformer")
_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_sequence_length", "model_max_length", "seq_length")


@final
class HuggingFaceDenoiser:
    """A masked language model as a :class:`bpb_harness.denoiser.Denoiser`; it never learns the noise level."""

    time_conditioned = False

    def __init__(
        self, network: nn.Module, *, vocab_size: int, mask_token_id: int, context_length: int, dtype: torch.dtype
    ) -> None:
        self.vocab_size, self.mask_token_id, self.context_length = vocab_size, mask_token_id, context_length
        self._network, self._dtype = network, dtype

    @torch.no_grad()
    def logits(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        del level
        with autocast(xt.device, self._dtype):
            logits: Tensor = self._network(input_ids=xt).logits
            return logits


@final
class HuggingFaceCausalLM:
    """A causal language model as a :class:`bpb_harness.denoiser.CausalLM`."""

    def __init__(self, network: nn.Module, *, vocab_size: int, context_length: int, dtype: torch.dtype) -> None:
        self.vocab_size, self.context_length = vocab_size, context_length
        self._network, self._dtype = network, dtype

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        with autocast(x.device, self._dtype):
            logits: Tensor = self._network(input_ids=x, use_cache=False).logits
            return logits


@final
class HuggingFaceAdapter:
    """Folders that ``save_pretrained`` wrote."""

    name = "huggingface"

    def fits(self, checkpoint: Checkpoint) -> bool:
        return checkpoint.layout == "folder" and isinstance(checkpoint.config.get("model_type"), str)

    def load(self, checkpoint: Checkpoint, *, device: torch.device, dtype: torch.dtype) -> AdaptedModel:
        return _load(checkpoint, device=device, dtype=dtype, allow_code=False)

    def load_with_code(self, checkpoint: Checkpoint, *, device: torch.device, dtype: torch.dtype) -> AdaptedModel:
        """Like ``load``; code in the folder may run."""
        return _load(checkpoint, device=device, dtype=dtype, allow_code=True)


def _load(checkpoint: Checkpoint, *, device: torch.device, dtype: torch.dtype, allow_code: bool) -> AdaptedModel:
    if importlib.util.find_spec("transformers") is None:
        raise UsageError(
            "the adapter 'huggingface' needs the transformers library", hint="pip install 'bpb-harness[huggingface]'"
        )
    config, kind = checkpoint.config, _kind(checkpoint)
    has_code = "auto_map" in config
    if has_code and not allow_code and not _is_known(str(config["model_type"])):
        raise UsageError(
            f"{checkpoint.path.name} is a model of type {config['model_type']!r} that brings its own code",
            hint="read the .py files of the folder, then pass --allow-code to permit them",
        )
    mask_token_id = _mask_token_id(checkpoint)
    network = _build(checkpoint, kind, allow_code=allow_code and has_code)
    ready(network, device)
    context_length, vocab_size = _context_length(checkpoint), _integer(checkpoint, "vocab_size")
    notes = ["code from the checkpoint's folder was run, as permitted"] if allow_code and has_code else []
    # LLaDA and its kin call a bidirectional network causal: a mask in config.json is what tells.
    if kind == "causal" and not isinstance(config.get("mask_token_id"), int):
        causal = HuggingFaceCausalLM(network, vocab_size=vocab_size, context_length=context_length, dtype=dtype)
        return AdaptedModel(causal, "huggingface", None, tuple(notes))
    if mask_token_id is None:
        raise CheckpointError(
            f"{checkpoint.path.name}: no mask token",
            expected="mask_token_id in config.json, or a mask token in the tokenizer's files",
        )
    denoiser = HuggingFaceDenoiser(
        network, vocab_size=vocab_size, mask_token_id=mask_token_id, context_length=context_length, dtype=dtype
    )
    # A mask in config.json means that the model was trained at all mask rates, linearly in t; a BERT was not.
    schedule = LogLinear() if isinstance(config.get("mask_token_id"), int) else None
    notes.append(f"mask id {mask_token_id}; windows are fed as they are, without [CLS] or [SEP]")
    return AdaptedModel(denoiser, "huggingface", schedule, tuple(notes))


def _kind(checkpoint: Checkpoint) -> str:
    """Either "masked" or "causal", from the architecture that config.json names."""
    names = checkpoint.config.get("architectures")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    auto_map = checkpoint.config.get("auto_map")
    mapped = auto_map if isinstance(auto_map, Mapping) else {}
    if name.endswith("ForMaskedLM") or "AutoModelForMaskedLM" in mapped:
        return "masked"
    if name.endswith(("ForCausalLM", "LMHeadModel")) or "AutoModelForCausalLM" in mapped:
        return "causal"
    raise CheckpointError(
        f"{checkpoint.path.name}: architecture", seen=name or "none", expected="one ...ForMaskedLM or ...ForCausalLM"
    )


def _is_known(model_type: str) -> bool:
    """Whether the library brings the model type itself; found without importing it, which takes seconds."""
    spec = importlib.util.find_spec("transformers")
    places = spec.submodule_search_locations if spec is not None else None
    folder = re.sub(r"\W", "_", model_type)
    return any((Path(place) / "models" / folder).is_dir() for place in places or ())


def _build(checkpoint: Checkpoint, kind: str, *, allow_code: bool) -> nn.Module:
    import transformers

    auto: Any = transformers.AutoModelForMaskedLM if kind == "masked" else transformers.AutoModelForCausalLM
    folder = str(checkpoint.path.resolve())
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=allow_code, local_files_only=True)
        network = auto.from_config(config, trust_remote_code=allow_code, dtype=torch.float32)
    except (HarnessError, KeyboardInterrupt):
        raise
    except Exception as error:  # a hostile or foreign config may fail anywhere in the library
        raise CheckpointError(
            f"{checkpoint.path.name}: transformers cannot build it", seen=f"{type(error).__name__}: {error}"
        ) from error
    _fill(network, checkpoint)
    assert isinstance(network, nn.Module)
    return network


def _fill(network: Any, checkpoint: Checkpoint) -> None:
    """Copy the tensors in; what is tied to another may be missing, anything else may not."""
    own = network.state_dict()
    wrong = [
        name
        for name, value in own.items()
        if name in checkpoint.tensors and checkpoint.tensors[name].shape != value.shape
    ]
    if wrong:
        raise CheckpointError(
            f"{checkpoint.path.name}: {wrong[0]}",
            seen=list(checkpoint.tensors[wrong[0]].shape),
            expected=list(own[wrong[0]].shape),
        )
    given = {name: value for name, value in checkpoint.tensors.items() if name in own}
    network.load_state_dict(given, strict=False)
    network.tie_weights()
    filled = {value.data_ptr() for name, value in network.state_dict().items() if name in given}
    missing = [
        name for name, value in network.state_dict().items() if name not in given and value.data_ptr() not in filled
    ]
    buffers = dict(network.named_buffers())
    missing = [name for name in missing if name not in buffers]
    if missing:
        raise CheckpointError(f"{checkpoint.path.name} lacks the tensor {missing[0]}", seen=f"{len(missing)} missing")


def _integer(checkpoint: Checkpoint, key: str) -> int:
    value = checkpoint.config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 24:
        raise CheckpointError(
            f"{checkpoint.path.name}: {key} in config.json", seen=repr(value), expected="a positive integer"
        )
    return value


def _context_length(checkpoint: Checkpoint) -> int:
    key = next((key for key in _CONTEXT_KEYS if key in checkpoint.config), _CONTEXT_KEYS[0])
    length = _integer(checkpoint, key)
    if checkpoint.config.get("model_type") in _OFFSET_POSITIONS:
        length -= int(checkpoint.config.get("pad_token_id") or 0) + 1
    return length


def _mask_token_id(checkpoint: Checkpoint) -> int | None:
    """From config.json (LLaDA and its kin), else the id of the tokenizer's mask token (BERT and its kin)."""
    stated = checkpoint.config.get("mask_token_id")
    if isinstance(stated, int) and not isinstance(stated, bool):
        return stated
    token = None
    for file in ("special_tokens_map.json", "tokenizer_config.json"):
        if token is None and (checkpoint.path / file).is_file():
            token = read_json(checkpoint.path / file).get("mask_token")
    text = token.get("content") if isinstance(token, Mapping) else token
    if not isinstance(text, str):
        text = "[MASK]"
    return _id_of(checkpoint, text)


def _id_of(checkpoint: Checkpoint, text: str) -> int | None:
    if (checkpoint.path / "tokenizer.json").is_file():
        tokenizer = read_json(checkpoint.path / "tokenizer.json", largest=LARGEST_TOKENIZER)
        added = tokenizer.get("added_tokens")
        for entry in added if isinstance(added, list) else []:
            if isinstance(entry, Mapping) and entry.get("content") == text and isinstance(entry.get("id"), int):
                return int(entry["id"])
    for file in ("vocab.json", "added_tokens.json"):
        if (checkpoint.path / file).is_file():
            found = read_json(checkpoint.path / file).get(text)
            if isinstance(found, int):
                return found
    if (checkpoint.path / "vocab.txt").is_file():
        lines = (checkpoint.path / "vocab.txt").read_text(encoding="utf-8", errors="replace").splitlines()
        return lines.index(text) if text in lines else None
    return None
