"""What a model folder says of its kind, sizes, mask and positions; every refusal in whole. No library is imported."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from bpb_harness.adapters import huggingface, load_model
from bpb_harness.adapters.huggingface import settings, tensors
from bpb_harness.checkpoints import Checkpoint
from bpb_harness.errors import CheckpointError


def _checkpoint(path: Path = Path("/x/folder"), **config: Any) -> Checkpoint:
    return Checkpoint(path, "folder", "0", {}, config=config)


class _Network(nn.Module):
    """A network with settings, as the library gives it."""

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config = SimpleNamespace(**config)


def _said(ask: Any, *arguments: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        ask(*arguments)
    return str(caught.value)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"architectures": ["BertForMaskedLM"]}, "masked"),
        ({"architectures": ["LlamaForCausalLM"]}, "causal"),
        ({"architectures": ["GPT2LMHeadModel"]}, "causal"),
        ({"architectures": ["Own"], "auto_map": {"AutoModelForMaskedLM": "x.Own"}}, "masked"),
        ({"architectures": ["Own"], "auto_map": {"AutoModelForCausalLM": "x.Own"}}, "causal"),
        ({"auto_map": {"AutoModelForCausalLM": "x.Own"}, "is_encoder_decoder": False}, "causal"),
        ({"architectures": ["BertForMaskedLM", "LlamaForCausalLM"]}, "masked"),
    ],
)
def test_the_kind_of_network(config: dict[str, Any], kind: str) -> None:
    assert huggingface._kind(_checkpoint(**config)) == kind


_LABELS = "a head that scores or classifies gives no likelihood of text"
_IMAGES = "this one takes images or the like beside text, and the harness does not read the language model in it"
_HEADLESS = "a network without a head predicts no tokens"
_NONE, _UNKNOWN = "config.json names no architecture", "the harness does not know what this one predicts"


@pytest.mark.parametrize(
    ("config", "seen", "what"),
    [
        ({}, "none", _NONE),
        ({"architectures": []}, "none", _NONE),
        ({"architectures": "BertForMaskedLM"}, "none", _NONE),
        ({"architectures": [3]}, "none", _NONE),
        ({"architectures": ["BertForSequenceClassification"]}, "BertForSequenceClassification", _LABELS),
        ({"architectures": ["BertForQuestionAnswering"]}, "BertForQuestionAnswering", _LABELS),
        ({"architectures": ["Gemma3ForConditionalGeneration"]}, "Gemma3ForConditionalGeneration", _IMAGES),
        ({"architectures": ["BertModel"]}, "BertModel", _HEADLESS),
        ({"architectures": ["LlamaForCausalLMAndMore"], "auto_map": "x"}, "LlamaForCausalLMAndMore", _UNKNOWN),
        ({"architectures": ["Own"], "auto_map": {"AutoModel": "x.Own"}}, "Own", _UNKNOWN),
    ],
)
def test_heads_that_give_no_likelihood_are_called_what_they_are(config: dict[str, Any], seen: str, what: str) -> None:
    assert _said(huggingface._kind, _checkpoint(**config)) == (
        f"folder: architecture: got {seen}, expected one ...ForMaskedLM or ...ForCausalLM; {what}; score a "
        "language model's folder, or this one by a loader of your own: --model FILE.py:LOADER --allow-code"
    )


def test_two_stacks() -> None:
    folder = _checkpoint(is_encoder_decoder=True, model_type="t5", architectures=["T5ForMaskedLM"])
    assert _said(huggingface._kind, folder) == (
        "folder is an encoder-decoder model: got t5, expected a masked or causal language model of one stack; score it "
        "by a loader of your own: --model FILE.py:LOADER --allow-code"
    )


def test_the_size_of_the_vocabulary_is_what_the_library_took() -> None:
    assert huggingface._vocab_size(_checkpoint(vocab_size=3), _Network(vocab_size=5)) == 5
    assert huggingface._vocab_size(_checkpoint(vocab_size=3), _Network()) == 3
    text = SimpleNamespace(vocab_size=7)
    assert huggingface._vocab_size(_checkpoint(), _Network(get_text_config=lambda: text, vocab_size=5)) == 7
    assert huggingface._vocab_size(_checkpoint(), _Network(vocab_size=(1 << 24) - 1)) == (1 << 24) - 1
    for wrong in (0, -1, 1 << 24, True, 5.0, "5", None):
        assert _said(huggingface._vocab_size, _checkpoint(vocab_size=wrong), _Network(vocab_size=wrong)) == (
            f"folder: vocab_size in config.json: got {wrong!r}, expected a positive integer"
        )


@pytest.mark.parametrize(
    ("config", "length"),
    [
        ({"max_position_embeddings": 64}, 64),
        ({"n_positions": 64, "context_length": 32}, 64),
        ({"max_position_embeddings": -1, "max_seq_len": 32}, 32),
        ({"max_position_embeddings": None, "seq_length": 32}, 32),
        ({"max_position_embeddings": 1}, 1),
        ({"max_position_embeddings": -1}, None),
        ({}, None),
        ({"max_position_embeddings": 66, "model_type": "roberta", "pad_token_id": 1}, 64),
        ({"max_position_embeddings": 66, "model_type": "roberta", "pad_token_id": None}, 65),
        ({"max_position_embeddings": 66, "model_type": "bert", "pad_token_id": 1}, 66),
    ],
)
def test_the_longest_window(config: dict[str, Any], length: int | None) -> None:
    assert huggingface._context_length(_checkpoint(), _Network(**config)) == length


@pytest.mark.parametrize("length", [0, -2, 1 << 24, True, 64.0, "64"])
def test_no_length_of_a_window(length: object) -> None:
    network = _Network(max_sequence_length=length)
    assert _said(huggingface._context_length, _checkpoint(), network) == (
        f"folder: max_sequence_length in config.json: got {length!r}, expected a positive integer"
    )


def test_positions_start_behind_the_padding_of_their_own_embedding() -> None:
    network = _Network(max_position_embeddings=66, model_type="roberta", pad_token_id=9)
    network.position_embeddings = nn.Embedding(66, 2, padding_idx=3)
    assert huggingface._context_length(_checkpoint(), network) == 62
    network.position_embeddings = nn.Embedding(66, 2)
    assert huggingface._context_length(_checkpoint(), network) == 56
    network.word_embeddings = nn.Embedding(66, 2, padding_idx=3)
    assert huggingface._context_length(_checkpoint(), network) == 56


def _written(folder: Path, **files: object) -> Path:
    for name, held in files.items():
        text = held if isinstance(held, str) else json.dumps(held)
        (folder / name.replace("__", ".")).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "config", "mask"),
    [
        ({}, {}, None),
        ({}, {"mask_token_id": 7}, 7),
        ({}, {"mask_token_id": True}, None),
        ({}, {"mask_token_id": "7"}, None),
        ({"vocab__txt": "a\n[MASK]\n"}, {}, 1),
        ({"vocab__txt": "a\nb\n"}, {}, None),
        ({"vocab__json": {"[MASK]": 4}}, {}, 4),
        ({"vocab__json": {"[MASK]": "4"}, "added_tokens__json": {"[MASK]": 5}}, {}, 5),
        ({"added_tokens__json": {"[MASK]": 5}, "vocab__txt": "[MASK]"}, {}, 5),
        ({"tokenizer__json": {"added_tokens": [3, {"content": "x", "id": 1}, {"content": "[MASK]", "id": 6}]}}, {}, 6),
        ({"tokenizer__json": {"added_tokens": 3}, "vocab__txt": "[MASK]"}, {}, 0),
        ({"tokenizer__json": {"added_tokens": [{"content": "[MASK]", "id": "6"}]}, "vocab__txt": "[MASK]"}, {}, 0),
        ({"special_tokens_map__json": {"mask_token": "<mask>"}, "vocab__json": {"<mask>": 3, "[MASK]": 4}}, {}, 3),
        (
            {"special_tokens_map__json": {"mask_token": {"content": "<mask>"}}, "vocab__json": {"<mask>": 3}},
            {"mask_token_id": 3},
            3,
        ),
        (
            {
                "special_tokens_map__json": {"mask_token": "<a>"},
                "tokenizer_config__json": {"mask_token": {"content": "<a>"}},
                "vocab__json": {"<a>": 1, "<b>": 2},
            },
            {},
            1,
        ),
        (
            {
                "special_tokens_map__json": {"mask_token": None},
                "tokenizer_config__json": {"mask_token": "<b>"},
                "vocab__json": {"<b>": 2},
            },
            {},
            2,
        ),
        ({"tokenizer_config__json": {"mask_token": "<b>"}, "vocab__json": {"<b>": 2}}, {}, 2),
        ({"special_tokens_map__json": {"mask_token": "<gone>"}, "vocab__json": {"[MASK]": 2}}, {"mask_token_id": 9}, 9),
        ({"vocab__json": {"[MASK]": 2}}, {"mask_token_id": 9}, 9),  # no file calls that token the mask
    ],
)
def test_the_mask(tmp_path: Path, files: dict[str, Any], config: dict[str, Any], mask: int | None) -> None:
    assert huggingface._mask_token_id(_checkpoint(_written(tmp_path, **files), **config)) == mask


def test_two_masks_are_refused(tmp_path: Path) -> None:
    _written(tmp_path, special_tokens_map__json={"mask_token": "<m>"}, vocab__json={"<m>": 3})
    assert _said(huggingface._mask_token_id, _checkpoint(tmp_path, mask_token_id=4)) == (
        f"{tmp_path.name}: two mask ids: got 4 in config.json, 3 ('<m>') in the tokenizer's files, expected one; "
        "mend the one that is wrong"
    )


@pytest.mark.parametrize("config", [{}, {"mask_token_id": 1}])
def test_two_mask_tokens_are_refused(tmp_path: Path, config: dict[str, Any]) -> None:
    files: dict[str, Any] = {
        "special_tokens_map__json": {"mask_token": "<a>"}, "tokenizer_config__json": {"mask_token": {"content": "<b>"}}
    }  # fmt: skip
    _written(tmp_path, vocab__json={"<a>": 1, "<b>": 2}, **files)
    assert _said(huggingface._mask_token_id, _checkpoint(tmp_path, **config)) == (
        f"{tmp_path.name}: two mask tokens: got '<a>' in special_tokens_map.json and '<b>' in tokenizer_config.json, "
        "expected one; mend the one that is wrong"
    )


PretrainedConfig = type("PretrainedConfig", (), {"inherited": 1})


class _Settings(PretrainedConfig):  # type: ignore[misc,valid-type]
    attribute_map: ClassVar[dict[str, str]] = {"n_embd": "hidden_size"}
    of_the_class = 1

    def __init__(self, given: int = 1) -> None:
        self.set_there = given


class _NoDefaults(_Settings):
    def __init__(self, width: int) -> None:
        raise ValueError("no defaults that go together")


def test_names_that_a_class_of_settings_knows() -> None:
    known = settings.names_known_to(_Settings)
    assert {"given", "set_there", "of_the_class", "n_embd", "hidden_size", "attribute_map"} <= known
    assert "inherited" not in known
    assert {"width", "given", "of_the_class"} <= settings.names_known_to(_NoDefaults)
    assert "set_there" not in settings.names_known_to(_NoDefaults)


@pytest.mark.parametrize("key", settings._LISTS)
def test_what_would_take_hours_to_build(key: str) -> None:
    settings.require_buildable(_checkpoint(**{key: 10_000}))
    settings.require_buildable(_checkpoint(**{key: "many"}))
    said = f"folder: {key} in config.json: got 10001, expected at most 10000"
    assert _said(settings.require_buildable, _checkpoint(**{key: 10_001})) == said


def test_parts_of_composite_models_are_looked_at_each() -> None:
    class Whole:
        sub_configs: ClassVar[dict[str, int]] = {"text": 1, "image": 1, "absent": 1}
        text = SimpleNamespace(model_type="text")
        image = SimpleNamespace()

    stated = {"text": {"a": 1}, "image": {"b": 1}, "absent": {"c": 1}, "other": {"d": 1}}
    found = [(place, inner) for place, inner, _ in settings._parts_of("", stated, Whole())]
    assert found == [("", stated), ("text.", {"a": 1})]
    assert len(list(settings._parts_of("", {"text": 3}, Whole()))) == 1
    assert len(list(settings._parts_of("", stated, SimpleNamespace()))) == 1


@pytest.mark.parametrize(
    ("code", "is_read"),
    [
        *(("x = config.head_dim", True), ("getattr(config, 'head_dim', 1)", True), ("config.head_dims", False)),
        *(('hasattr(self.config, "head_dim")', True), ("kwargs.pop('head_dim')", True), ("kwargs['head_dim']", True)),
        *(("'head_dim' in kwargs", True), ("head_dim", False), ("# head_dim", False), ("aconfig.head_dim", False)),
    ],
)
def test_settings_that_a_models_code_reads(code: str, is_read: bool) -> None:
    assert settings._is_read_by(code, "head_dim") is is_read


NAN = float("nan")


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        *(([1.0, NAN], [1.0, NAN], True), ([1.0, NAN], [NAN, 1.0], False), ([1.0, NAN], [2.0, NAN], False)),
        *(([1.0, 2.0], [1.0, 2.0], True), ([1.0, 2.0], [1.0, 3.0], False), ([1.0], [1.0, 1.0], False)),
    ],
)
def test_tensors_of_equal_numbers(one: list[float], other: list[float], equal: bool) -> None:
    assert tensors._equal(torch.tensor(one), torch.tensor(other)) is equal
    assert tensors._equal(torch.tensor(one), torch.tensor(other, dtype=torch.bfloat16)) is equal


def test_numbers_are_compared_as_the_network_holds_them() -> None:
    assert tensors._equal(torch.tensor([0.1]), torch.tensor([0.1], dtype=torch.float64))
    assert not tensors._equal(torch.tensor([0.1]), torch.tensor([0.1001], dtype=torch.float64))


def test_tensors_that_a_folder_lacks_or_has_too_many() -> None:
    hint = "copy all files of the model; a network whose head was not saved cannot be scored"
    assert str(tensors.missing("folder", ["a"])) == f"folder lacks the tensor a: got 1 missing; {hint}"
    assert str(tensors.missing("folder", ["a", "b"])) == f"folder lacks the tensor a: got 2 missing: a, b; {hint}"
    own = "score the network by its own code: --model FILE.py:LOADER --allow-code"
    unused = "folder has tensors that the network does not use"
    assert str(tensors.left_over("folder", ["x.w"], lacking=[])) == f"{unused}: got x.w; {own}"
    assert str(tensors.left_over("folder", ["x.w"], lacking=["y"])) == f"{unused}, and lacks y: got x.w; {own}"
    lora = "these belong to LoRA: merge_and_unload() of peft, then save_pretrained() into a new folder"
    assert str(tensors.left_over("folder", ["x.lora_A.w"], lacking=[])) == f"{unused}: got x.lora_A.w; {lora}"
    quantised = f"these belong to quantised weights; {tensors._DEQUANTIZE}"
    assert str(tensors.left_over("folder", ["x.qweight"], lacking=[])) == f"{unused}: got x.qweight; {quantised}"


@pytest.mark.parametrize(
    ("config", "seen"),
    [
        ({"use_bidirectional_attention": True}, "use_bidirectional_attention True"),
        ({"use_bidirectional_attention": "all"}, "use_bidirectional_attention 'all'"),
        ({"is_causal": False}, "is_causal False"),
        ({"causal": False}, "causal False"),
        ({"use_bidirectional_attention": "vision", "causal": True, "is_causal": None}, None),
        ({"use_bidirectional_attention": False, "bidirectional": 0, "causal": 0}, None),
    ],
)
def test_autoregressive_networks_see_one_side(tmp_path: Path, config: dict[str, Any], seen: str | None) -> None:
    checkpoint = _checkpoint(tmp_path, **config)
    if seen is None:
        huggingface._require_one_side(checkpoint)
    else:
        said = _said(huggingface._require_one_side, checkpoint)
        assert f"config.json lets an autoregressive network see both sides: got {seen}, expected a network" in said


@pytest.mark.parametrize("adapter", ["huggingface", None])
def test_a_file_of_a_folder_is_told_to_be_one(tmp_path: Path, adapter: str | None) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    torch.save({"lm_head.weight": torch.ones(2, 2)}, folder / "pytorch_model.bin")
    (folder / "config.json").write_text('{"model_type": "llama"}')
    hint = f"it is of a model folder, whose config.json says what it is: pass {folder}"
    with pytest.raises(CheckpointError) as caught:
        load_model(folder / "pytorch_model.bin", adapter=adapter)
    assert str(caught.value).endswith(hint)
    for config in ('{"model_type": 3}', "{}", "[]", "no JSON"):
        (folder / "config.json").write_text(config)
        with pytest.raises(CheckpointError, match="no adapter fits its layout 'tensors'"):
            load_model(folder / "pytorch_model.bin", adapter=adapter)
