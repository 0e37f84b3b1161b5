"""``huggingface``: a local folder with a masked or causal language model of the ``transformers`` library.

The library builds the network from ``config.json``, renames and joins; the weights are the tensors that this package
read, so no pickle of the folder is opened by anyone else, and every one of them is accounted for. Code in the folder
(``trust_remote_code``) runs only with --allow-code.
Needs the extra ``huggingface``: ``pip install '.[huggingface]'``.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any, final

import torch
from torch import Tensor, nn

from bpb_harness.adapters.adapter import AdaptedModel
from bpb_harness.adapters.huggingface.blocks import (
    BLOCK_TYPES,
    of_blocks,
    require_both_sides,
    require_both_sides_of_a_mask,
)
from bpb_harness.adapters.huggingface.network import build_network, is_known_type
from bpb_harness.adapters.huggingface.settings import names_known_to
from bpb_harness.checkpoints import LARGEST_TOKENIZER, Checkpoint, read_json
from bpb_harness.errors import CheckpointError, UsageError
from bpb_harness.networks.layers import autocast, ready
from bpb_harness.schedule import LogLinear, NoiseLevel

# Architectures whose position embeddings start behind the padding id; others show it by their embeddings.
_OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "roberta-prelayernorm", "longformer")
_CONTEXT_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "max_sequence_length",
    "model_max_length",
    "seq_length",
    "max_seq_len",
    "context_length",
)
# What says that both sides of a row are seen; gemma's "vision" speaks of images.
_BOTH_SIDES: Mapping[str, tuple[object, ...]] = {
    "use_bidirectional_attention": (True, "all"),
    "bidirectional": (True,),
    "is_causal": (False,),
    "causal": (False,),
}
_HEADS_OF_LABELS = (
    "Classification", "ForQuestionAnswering", "ForMultipleChoice", "ForNextSentencePrediction", "RewardModel",
    "ForReward",
)  # fmt: skip
_ANY_LENGTH = 1 << 20  # of networks that have no longest window: --context says how long


@final
class HuggingFaceDenoiser:
    """A masked language model as a :class:`bpb_harness.denoiser.Denoiser`; it never learns the noise level."""

    time_conditioned = False

    def __init__(
        self, network: nn.Module, *, vocab_size: int, mask_token_id: int, context_length: int, dtype: torch.dtype
    ) -> None:
        self.vocab_size, self.mask_token_id, self.context_length = vocab_size, mask_token_id, context_length
        self._network, self._dtype, self.device = network, dtype, next(network.parameters()).device
        # Windows hold no padding. Some networks of the library guess it from ids where they are not told; code from
        # elsewhere may want other masks.
        is_of_library = type(network).__module__.startswith("transformers.models.")
        self._is_told = is_of_library and "attention_mask" in inspect.signature(network.forward).parameters

    def logits(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        del level
        return self.row_logits(xt)

    def row_logits(self, xt: Tensor) -> Tensor:
        """Logits of rows, whatever the noise."""
        with autocast(xt.device, self._dtype):
            told = {"attention_mask": torch.ones_like(xt)} if self._is_told else {}
            logits: Tensor = self._network(input_ids=xt, **told).logits
            return logits


@final
class HuggingFaceCausalLM:
    """A causal language model as a :class:`bpb_harness.denoiser.CausalLM`."""

    def __init__(self, network: nn.Module, *, vocab_size: int, context_length: int, dtype: torch.dtype) -> None:
        self.vocab_size, self.context_length = vocab_size, context_length
        self._network, self._dtype = network, dtype

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
            "the adapter 'huggingface' needs the transformers library", hint="pip install 'transformers>=4.56'"
        )
    config, kind = checkpoint.config, _kind(checkpoint)
    model_type = str(config["model_type"])
    runs_code = allow_code and "auto_map" in config
    if "auto_map" in config and not allow_code and not is_known_type(model_type):
        raise UsageError(
            f"{checkpoint.path.name} is a model of type {model_type!r} that brings its own code",
            hint="read the .py files of the folder, then pass --allow-code to permit them",
        )
    mask_token_id = _mask_token_id(checkpoint)
    # LLaDA and its kin call a bidirectional network causal: a mask in config.json is what tells, or their type.
    is_causal = kind == "causal" and _stated_mask(checkpoint) is None and model_type not in BLOCK_TYPES
    if not is_causal and mask_token_id is None:
        raise CheckpointError(
            f"{checkpoint.path.name}: no mask token",
            expected="mask_token_id in config.json, or a mask token in the tokenizer's files",
            hint="copy the tokenizer's files into the folder, or add mask_token_id to config.json",
        )
    if is_causal:
        _require_one_side(checkpoint)
    if kind == "masked" and config.get("is_decoder") is True:
        raise CheckpointError(
            f"{checkpoint.path.name}: config.json makes a decoder of a masked language model",
            seen="is_decoder True",
            expected="a network that sees both sides of a row",
            hint="set is_decoder to false if it was trained so; else score it by a loader of your own: "
            "--model FILE.py:LOADER --allow-code",
        )
    network, findings = build_network(checkpoint, kind, allow_code=runs_code)
    ready(network, device)
    notes = ["code from the checkpoint's folder was run, as permitted"] if runs_code else []
    notes += findings
    vocab_size, context_length = _vocab_size(checkpoint, network), _context_length(checkpoint, network)
    longest, is_stated = context_length or _ANY_LENGTH, any(key in config for key in _CONTEXT_KEYS)
    known: dict[str, Any] = {
        "context_is_open": context_length is None,
        "context_is_guess": context_length is not None and not is_stated,
    }
    if is_causal:
        causal = HuggingFaceCausalLM(network, vocab_size=vocab_size, context_length=longest, dtype=dtype)
        return AdaptedModel(causal, "huggingface", None, tuple(notes), **known)
    assert mask_token_id is not None
    rows = _embedding_rows(network)
    if not 0 <= mask_token_id < (rows or vocab_size):
        raise CheckpointError(
            f"{checkpoint.path.name}: mask id", seen=mask_token_id, expected=f"below {rows}, the rows of its embedding"
        )
    denoiser = HuggingFaceDenoiser(
        network, vocab_size=vocab_size, mask_token_id=mask_token_id, context_length=longest, dtype=dtype
    )
    folder = checkpoint.path.name
    if model_type in BLOCK_TYPES:
        notes.append(
            f"mask id {mask_token_id}; each token sees its block and those before it, as its own sampler has it"
        )
        blocks = partial(of_blocks, network, denoiser, dtype=dtype, folder=folder)
        return AdaptedModel(denoiser, "huggingface", LogLinear(), tuple(notes), of_blocks=blocks, **known)
    # A mask added to config.json means that the model was trained at all mask rates, linearly in t; a BERT was not,
    # and some classes of settings have a mask id for BERTs.
    is_diffusion = _stated_mask(checkpoint) is not None and not _is_setting_of_its_class(network, "mask_token_id")
    schedule = LogLinear() if is_diffusion else None
    notes.append(
        f"mask id {mask_token_id}; the network gets the windows as they are: no [CLS] or [SEP] is put round them"
    )
    if kind == "causal" and not runs_code:
        require_both_sides_of_a_mask(denoiser, denoiser.row_logits, folder=folder, device=denoiser.device)
    sees = partial(_seeing_both_sides, denoiser, folder)
    return AdaptedModel(denoiser, "huggingface", schedule, tuple(notes), of_blocks=sees, **known)


def _seeing_both_sides(denoiser: HuggingFaceDenoiser, folder: str, block_size: int | None) -> HuggingFaceDenoiser:
    """The same network, looked at where it is to be asked block by block."""
    if block_size is not None:
        require_both_sides(denoiser, denoiser.row_logits, folder=folder, device=denoiser.device)
    return denoiser


def _kind(checkpoint: Checkpoint) -> str:
    """Either "masked" or "causal", from the architecture that config.json names."""
    folder, names = checkpoint.path.name, checkpoint.config.get("architectures")
    if checkpoint.config.get("is_encoder_decoder"):
        raise CheckpointError(
            f"{folder} is an encoder-decoder model",
            seen=checkpoint.config.get("model_type"),
            expected="a masked or causal language model of one stack",
            hint="score it by a loader of your own: --model FILE.py:LOADER --allow-code",
        )
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    auto_map = checkpoint.config.get("auto_map")
    mapped = auto_map if isinstance(auto_map, Mapping) else {}
    if name.endswith("ForMaskedLM") or "AutoModelForMaskedLM" in mapped:
        return "masked"
    if name.endswith(("ForCausalLM", "LMHeadModel")) or "AutoModelForCausalLM" in mapped:
        return "causal"
    raise CheckpointError(
        f"{folder}: architecture",
        seen=name or "none",
        expected="one ...ForMaskedLM or ...ForCausalLM",
        hint=f"{_no_language_model(name)}; score a language model's folder, or this one by a loader of your own: "
        "--model FILE.py:LOADER --allow-code",
    )


def _no_language_model(name: str) -> str:
    """What an architecture is that is no language model, as far as its name says."""
    if not name:
        return "config.json names no architecture"
    if name.endswith("ForConditionalGeneration"):
        return "this one takes images or the like beside text, and the harness does not read the language model in it"
    if name.endswith(_HEADS_OF_LABELS):
        return "a head that scores or classifies gives no likelihood of text"
    if name.endswith("Model"):
        return "a network without a head predicts no tokens"
    return "the harness does not know what this one predicts"


def _require_one_side(checkpoint: Checkpoint) -> None:
    """Refuse a network of no mask that config.json lets see both sides; some kernels of the library pass that over."""
    for key, sees_both in _BOTH_SIDES.items():
        value = checkpoint.config.get(key)
        if value in sees_both and isinstance(value, bool | str):
            raise CheckpointError(
                f"{checkpoint.path.name}: config.json lets an autoregressive network see both sides",
                seen=f"{key} {value!r}",
                expected="a network that sees what is behind it, or one with mask_token_id in config.json",
                hint="name its mask in config.json if it is a masked language model",
            )


def _vocab_size(checkpoint: Checkpoint, network: nn.Module) -> int:
    """Rows of the output head, by the settings that the library took."""
    value = _setting(network, "vocab_size")
    if value is None:
        value = checkpoint.config.get("vocab_size")
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 24:
        raise CheckpointError(
            f"{checkpoint.path.name}: vocab_size in config.json", seen=repr(value), expected="a positive integer"
        )
    return value


def _embedding_rows(network: Any) -> int | None:
    try:
        rows = network.get_input_embeddings().weight.shape[0]
    except Exception:  # networks of other people's code need not have any
        return None
    return int(rows)


def _setting(network: Any, key: str) -> Any:
    config = network.config
    if hasattr(config, "get_text_config"):
        config = config.get_text_config()
    return getattr(config, key, None)


def _is_setting_of_its_class(network: Any, key: str) -> bool:
    kind = type(network.config)
    return kind.__module__.startswith("transformers.models.") and key in names_known_to(kind)


def _context_length(checkpoint: Checkpoint, network: nn.Module) -> int | None:
    """The longest window, by the settings that the library took; None where they state none."""
    key = next((key for key in _CONTEXT_KEYS if _setting(network, key) not in (None, -1)), None)
    if key is None:
        return None
    length = _setting(network, key)
    if not isinstance(length, int) or isinstance(length, bool) or not 0 < length < 1 << 24:
        raise CheckpointError(
            f"{checkpoint.path.name}: {key} in config.json", seen=repr(length), expected="a positive integer"
        )
    return length - _offset_of_positions(network)


def _offset_of_positions(network: nn.Module) -> int:
    """How many rows of the position embeddings stand before the first position: up to the padding's own."""
    for name, module in network.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None:
            return module.padding_idx + 1
    if _setting(network, "model_type") in _OFFSET_POSITIONS:
        return int(_setting(network, "pad_token_id") or 0) + 1
    return 0


def _stated_mask(checkpoint: Checkpoint) -> int | None:
    stated = checkpoint.config.get("mask_token_id")
    return stated if isinstance(stated, int) and not isinstance(stated, bool) else None


def _mask_token_id(checkpoint: Checkpoint) -> int | None:
    """From config.json (LLaDA and its kin), else the id of the tokenizer's mask token (BERT and its kin).

    Raises:
        CheckpointError: if the two name different ids, or files of the tokenizer different tokens.
    """
    stated, named = _stated_mask(checkpoint), dict[str, str]()
    for file in ("special_tokens_map.json", "tokenizer_config.json"):
        token = read_json(checkpoint.path / file).get("mask_token") if (checkpoint.path / file).is_file() else None
        content = token.get("content") if isinstance(token, Mapping) else token
        if isinstance(content, str):
            named[file] = content
    if len(set(named.values())) > 1:  # versions of transformers take one or the other
        raise CheckpointError(
            f"{checkpoint.path.name}: two mask tokens",
            seen=" and ".join(f"{content!r} in {file}" for file, content in named.items()),
            expected="one",
            hint="mend the one that is wrong",
        )
    text = next(iter(named.values()), None)
    usual = BLOCK_TYPES.get(str(checkpoint.config.get("model_type")), "[MASK]")
    own = _id_of(checkpoint, usual if text is None else text)
    if stated is not None and text is not None and own is not None and own != stated:
        raise CheckpointError(
            f"{checkpoint.path.name}: two mask ids",
            seen=f"{stated} in config.json, {own} ({text!r}) in the tokenizer's files",
            expected="one",
            hint="mend the one that is wrong",
        )
    return own if stated is None else stated


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
