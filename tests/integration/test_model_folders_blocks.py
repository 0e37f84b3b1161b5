"""Model folders whose networks are asked block by block: who gets a mask of attention for it, and who is refused."""

from __future__ import annotations

import itertools
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from sentencepiece import SentencePieceProcessor
from torch import Tensor

from bpb_harness import evaluate
from bpb_harness.adapters import load_model
from bpb_harness.adapters.huggingface import HuggingFaceCausalLM, HuggingFaceDenoiser
from bpb_harness.adapters.huggingface.blocks import HuggingFaceBlockDenoiser
from bpb_harness.errors import CheckpointError, UsageError
from bpb_harness.schedule import LogLinear
from tests.tiny_folders import CPU, change_config, network, save

pytest.importorskip("transformers")
V, MASK, CONTEXT, WIDTH, SIZE = 520, 519, 16, 8, 4
_NUMBERS = itertools.count()
_CODE = """import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput


class C(PretrainedConfig):
    model_type = "TYPE"


class M(PreTrainedModel):
    config_class = C

    def __init__(self, config):
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.qkv = nn.ModuleList(nn.Linear(config.hidden_size, 3 * config.hidden_size) for _ in range(2))
        self.out = nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, position_ids=None, use_cache=None):
        positions = torch.arange(input_ids.shape[1])[None] if position_ids is None else position_ids
        h = self.embed(input_ids) + self.position(positions)
        for layer in self.qkv:
            q, k, v = layer(h).unsqueeze(1).chunk(3, dim=-1)
            ATTEND
            h = h + nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=attention_mask)[:, 0]
        return CausalLMOutput(logits=self.out(h))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a network of blocks with its own code, as the test writes it."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "copies"))
    monkeypatch.setattr("sys.path", [*sys.path])
    made = tmp_path / f"blocks{next(_NUMBERS)}"
    made.mkdir()
    write(made)
    return made


def weights() -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(0)
    shapes = {
        "embed.weight": (V, WIDTH),
        "position.weight": (CONTEXT, WIDTH),
        "out.weight": (V, WIDTH),
        "out.bias": (V,),
    }
    shapes |= {f"qkv.{i}.weight": (3 * WIDTH, WIDTH) for i in range(2)}
    shapes |= {f"qkv.{i}.bias": (3 * WIDTH,) for i in range(2)}
    return {name: torch.randn(shape, generator=g) * 0.4 for name, shape in shapes.items()}


def write(folder: Path, attend: str = "pass", *, model_type: str = "llada2_moe", **config: Any) -> None:
    (folder / "own.py").write_text(_CODE.replace("TYPE", model_type).replace("ATTEND", attend))
    save_file(weights(), folder / "model.safetensors")
    auto_map = {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"}
    sizes = {"vocab_size": V, "hidden_size": WIDTH, "max_position_embeddings": CONTEXT}
    stated = {"architectures": ["M"], "auto_map": auto_map, "model_type": model_type, **sizes, **config}
    (folder / "config.json").write_text(json.dumps(stated))
    added = [{"id": 3, "content": "<|endoftext|>"}, {"id": MASK, "content": "<|mask|>"}]
    (folder / "tokenizer.json").write_text(json.dumps({"added_tokens": added}))


def loaded(folder: Path, block_size: int | None = SIZE, **more: Any) -> Any:
    given = {"adapter": "huggingface", "allow_code": True, "block_size": block_size, **CPU}
    return load_model(folder, **given | more)[1]


def expected(tokens: list[int], size: int) -> Tensor:
    """A token at a time: it attends to its block and those before it."""
    p = {name: value.double() for name, value in weights().items()}
    h = torch.stack([p["embed.weight"][token] + p["position.weight"][i] for i, token in enumerate(tokens)])
    for layer in range(2):
        qkv = h @ p[f"qkv.{layer}.weight"].T + p[f"qkv.{layer}.bias"]
        added = []
        for i in range(len(tokens)):
            seen = qkv[: min((i // size + 1) * size, len(tokens))]
            scores = seen[:, WIDTH : 2 * WIDTH] @ qkv[i, :WIDTH] / math.sqrt(WIDTH)
            added.append(scores.softmax(0) @ seen[:, 2 * WIDTH :])
        h = h + torch.stack(added)
    return h @ p["out.weight"].T + p["out.bias"]


LEVEL = LogLinear().level(torch.tensor([0.5, 0.5]))


class TestWhoGetsAMask:
    @pytest.mark.parametrize("size", [1, 4, 8, 16])
    @pytest.mark.parametrize("length", [16, 10, 3])
    def test_a_known_type_sees_its_block_and_those_before(self, folder: Path, size: int, length: int) -> None:
        adapted = loaded(folder, size)
        model = adapted.model
        assert isinstance(model, HuggingFaceBlockDenoiser)
        assert (model.block_size, model.vocab_size, model.mask_token_id, model.context_length) == (size, V, MASK, 16)
        assert (model.time_conditioned, adapted.schedule) == (False, LogLinear())
        start = (length - 1) // size * size
        rows = torch.randint(V - 1, (2, length), generator=torch.Generator().manual_seed(length))
        rows[:, start::2] = MASK
        logits = model.logits(rows, LEVEL)
        for row in range(2):
            torch.testing.assert_close(logits[row].double(), expected(rows[row].tolist(), size), rtol=0, atol=1e-4)

    def test_in_bfloat16(self, folder: Path) -> None:
        rows = torch.arange(2 * CONTEXT).view(2, -1)
        full, low = (loaded(folder, dtype=dtype).model.logits(rows, LEVEL) for dtype in (torch.float32, torch.bfloat16))
        assert 0 < (low.float() - full).abs().max() < 0.05 * full.abs().max()

    def test_others_that_see_both_sides_need_none(self, folder: Path) -> None:
        write(folder, "assert attention_mask is None", model_type="homemade", mask_token_id=MASK)
        model = loaded(folder).model
        assert isinstance(model, HuggingFaceDenoiser)
        logits = model.logits(torch.arange(CONTEXT)[None], LEVEL)[0]
        torch.testing.assert_close(logits.double(), expected(list(range(CONTEXT)), CONTEXT), rtol=0, atol=1e-4)
        saved = save(folder.parent / "bert", network("bert"))
        for block_size in (4, None):
            model = loaded(saved, block_size, allow_code=False).model
            assert isinstance(model, HuggingFaceDenoiser)

    def test_a_score_of_blocks(self, folder: Path, repository: Path) -> None:
        shard = repository / "fixtures" / "corpora" / "tiny_val_000000.bin"
        given = {
            "adapter": "huggingface", "allow_code": True, "data": [shard], "device": "cpu", "limit": 1,
            "tokenizer": repository / "fixtures" / "tokenizers" / "tiny_512_bpe.model", "method": "chain",
        }  # fmt: skip
        result = evaluate(folder, block_size=SIZE, check_contract=False, **given)
        tokens = torch.frombuffer(bytearray(shard.read_bytes()[1024 : 1024 + 2 * CONTEXT]), dtype=torch.uint16).long()
        nats = 0.0
        for i in range(CONTEXT):
            row = [*tokens[:i].tolist(), *[MASK] * (SIZE - i % SIZE)]
            scores = expected(row, SIZE)[i]
            scores[MASK] = -torch.inf
            nats -= float(scores.log_softmax(0)[tokens[i]])
        assert result.length.nats == pytest.approx(nats, rel=1e-5)
        assert "|block:4|" in str(result)
        with pytest.raises(
            UsageError, match="network of blocks, whose size none of its files states; pass --block-size"
        ):
            evaluate(folder, **given)

    def test_a_score_of_answers(self, folder: Path, repository: Path, tmp_path: Path) -> None:
        tokenizer = repository / "fixtures" / "tokenizers" / "tiny_512_bpe.model"
        pieces = SentencePieceProcessor(model_file=str(tokenizer))
        rows, docs = [("The", " fox sees"), ("a", " b")], tmp_path / "qa.jsonl"
        docs.write_text("".join(json.dumps({"p": prompt, "a": answer}) + "\n" for prompt, answer in rows))
        given = {
            "adapter": "huggingface", "allow_code": True, "docs": docs, "context_field": "p", "target_field": "a",
            "device": "cpu", "tokenizer": tokenizer, "method": "chain", "check_contract": False,
        }  # fmt: skip
        result = evaluate(folder, block_size=SIZE, with_windows=True, **given)
        assert f"|block:{SIZE}|" in str(result)
        for row, (prompt, answer) in enumerate(rows):
            tokens = [pieces.bos_id(), *pieces.encode(prompt + answer)]
            nats, end = 0.0, len(tokens)
            for i in range(1 + len(pieces.encode(prompt)), end):
                scores = expected([*tokens[:i], *[MASK] * (min(i + SIZE - i % SIZE, end) - i)], SIZE)[i]
                scores[MASK] = -torch.inf
                nats -= float(scores.log_softmax(0)[tokens[i]])
            assert result.windows.nats[row] == pytest.approx(nats, rel=1e-5)
        with pytest.raises(UsageError, match="states; pass --block-size; --block-size 32 is what its own sampler"):
            evaluate(folder, **given)


class TestWhoIsRefused:
    def test_nothing_runs_without_permission(self, folder: Path) -> None:
        (folder / "own.py").write_text("raise SystemExit('ran')")
        with pytest.raises(UsageError, match="a model of type 'llada2_moe' that brings its own code"):
            loaded(folder, allow_code=False)

    def test_blocks_whose_size_nobody_says(self, folder: Path) -> None:
        with pytest.raises(UsageError) as caught:
            loaded(folder, None)
        assert str(caught.value) == (
            f"{folder.name} is a network of blocks, whose size none of its files states; pass --block-size; "
            "--block-size 32 is what its own sampler takes where it is not told"
        )

    @pytest.mark.parametrize("size", [0, 17, -1])
    def test_or_of_a_size_that_is_none(self, folder: Path, size: int) -> None:
        with pytest.raises(
            UsageError, match=f"--block-size: got {size}, expected 1 to 16, the longest row of the netw"
        ):
            loaded(folder, size)

    @pytest.mark.parametrize(
        ("attend", "wrong"),
        [
            ("attention_mask = None", "tokens of a block that change what it says of the block before"),
            (
                "attention_mask = torch.full_like(attention_mask, -torch.inf).triu(1)",
                "a position that hears nothing of the next one in its block",
            ),
            (
                "attention_mask = torch.where(torch.arange(h.shape[1]) // 4 == torch.arange(h.shape[1])[:, None] // 4, "
                "0.0, -torch.inf)",
                "a block that hears nothing of the one before",
            ),
        ],
    )
    def test_code_that_does_not_follow_the_mask(self, folder: Path, attend: str, wrong: str) -> None:
        write(folder, attend)
        with pytest.raises(CheckpointError) as caught:
            loaded(folder)
        assert f"does not follow the attention mask of its blocks: got {wrong}, expected each token" in str(
            caught.value
        )
        assert "--model FILE.py:LOADER" in str(caught.value)

    def test_code_that_takes_no_mask(self, folder: Path) -> None:
        own = (folder / "own.py").read_text().replace("attention_mask=None, ", "").replace("=attention_mask", "=None")
        (folder / "own.py").write_text(own)
        with pytest.raises(
            CheckpointError, match=r"fails on a row of blocks: got TypeError: .*unexpected keyword"
        ) as said:
            loaded(folder)
        assert "\n" not in str(said.value)

    def test_code_that_fails(self, folder: Path) -> None:
        write(folder, "raise ValueError('no rows')", model_type="homemade", mask_token_id=MASK)
        assert isinstance(loaded(folder, None).model, HuggingFaceDenoiser)
        with pytest.raises(CheckpointError, match="the network fails on a row of blocks: got ValueError: no rows, exp"):
            loaded(folder)

    @pytest.mark.parametrize("kind", ["llama", "gpt2", "mamba", "qwen2"])
    @pytest.mark.parametrize("block_size", [None, 4])
    def test_causal_networks_that_call_themselves_masked(
        self, tmp_path: Path, kind: str, block_size: int | None
    ) -> None:
        """Nobody knows which attention they were trained with: that of their class, or one that their trainer gave."""
        saved = save(tmp_path / kind, network(kind))
        change_config(saved, mask_token_id=49)
        with pytest.raises(CheckpointError) as caught:
            loaded(saved, block_size, allow_code=False)
        assert str(caught.value) == (
            f"{kind}: mask_token_id in config.json says that it fills masks, and the network of its class sees one "
            "side of a row alone: got a position that hears nothing of the next one, expected one that sees both "
            "sides: no file says which attention it was trained with, nor of which token its logits are; take "
            "mask_token_id out of config.json if it is an autoregressive model (--method ar); else score it by a "
            "loader of your own that gives it its attention: --model FILE.py:LOADER --allow-code"
        )
        change_config(saved, mask_token_id=None)
        assert isinstance(loaded(saved, None, allow_code=False).model, HuggingFaceCausalLM)

    def test_code_of_the_folder_brings_its_own_attention(self, folder: Path) -> None:
        backwards = "attention_mask = torch.ones(h.shape[1], h.shape[1]).tril().bool()"
        write(folder, backwards, model_type="homemade", mask_token_id=MASK)
        assert isinstance(loaded(folder, None).model, HuggingFaceDenoiser)
        with pytest.raises(CheckpointError, match="--block-size with a network that sees one side of a row alone: got"):
            loaded(folder)

    def test_a_folder_that_names_no_mask(self, folder: Path) -> None:
        (folder / "tokenizer.json").write_text(json.dumps({"added_tokens": []}))
        with pytest.raises(CheckpointError, match=r"no mask token: expected mask_token_id in config\.json"):
            loaded(folder)
        write(folder, mask_token_id=MASK)
        assert loaded(folder).model.mask_token_id == MASK
