"""What bpb-eval writes, by every method and layout: valid by the schema that is shipped, and read back as it was."""

import json

import pytest
import torch

import bpb_harness
from bpb_harness.formats import read_result
from tests.own_json import own_json
from tests.tiny_checkpoints import make_golf_gpt

ANSWERS = [
    {"prompt": "do do do ", "answer": word * 9, "text": word * 90, "kind": kind}
    for word, kind in (("ha", "a"), ("he", None), ("hi", "a"), ("ho", 3))
]
CASES = {
    "discrete": {"compare": True, "num_steps": 4, "limit": 3},
    "all steps": {"num_steps": 3, "num_samples": "all", "limit": 2},
    "tolerance": {"method": "mc", "tolerance": 0.2, "limit": 12},
    "one draw": {"method": "mc", "num_samples": 1, "limit": 3, "seed": 2**63, "schedule": "cosine-md4[0.01]"},
    "no bytes": {"method": "mc", "byte_rule": "none", "limit": 2, "tail": "drop"},
    "stride": {"method": "mc", "stride": 64, "limit": 4},
    "blocks": {"method": "mc", "block_size": 32, "limit": 5},
    "prefix": {"method": "mc", "unpaid_prefix": 4, "limit": 3},
    "documents": {"method": "mc", "per_document": True, "limit": 4},
    "slices": {"method": "mc", "slice_field": "kind", "with_documents": True},
    "slices of answers": {"slice_field": "kind", "context_field": "prompt", "target_field": "answer", "num_steps": 4},
    "slices of documents": {"slice_field": "kind", "per_document": True, "tail": "drop", "limit": 3},
    "chain": {"method": "chain", "order": "random", "tokens_per_step": 16, "limit": 2},
    "chain of blocks": {"method": "chain", "block_size": 32, "tokens_per_step": 16, "limit": 2},
    "exact": {"method": "exact", "context_length": 4, "num_steps": 4, "limit": 3},
    "answers": {"method": "mc", "context_field": "prompt", "target_field": "answer"},
    "answers, one draw": {"method": "mc", "num_samples": 1, "context_field": "prompt", "target_field": "answer"},
    "ar": {"method": "ar", "limit": 2},
    "ar stride": {"method": "ar", "stride": 16, "context_length": 64, "limit": 20},
    "ar documents": {"method": "ar", "per_document": True, "limit": 5},
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_scores_are_read_back(case, repository, one_block, tmp_path):
    settings = dict(CASES[case])
    fixtures = repository / "fixtures"
    checkpoint = one_block
    tokenizer = fixtures / "tokenizers" / "tiny_512_bpe.model"
    if settings.get("method") == "ar":
        checkpoint = tmp_path / "causal.pt"
        torch.save(make_golf_gpt(vocab_size=512), checkpoint)
        data = fixtures / "corpora" / "tiny_val_000000.bin"
        settings |= {"adapter": "golf-gpt", "data": data, "tokenizer": tokenizer}
    if "target_field" in settings or "slice_field" in settings:
        docs = tmp_path / "qa.jsonl"
        docs.write_text("\n".join(map(json.dumps, ANSWERS)))
        settings |= {"docs": docs, "tokenizer": tokenizer}
    result = bpb_harness.evaluate(checkpoint, device="cpu", check_contract=False, **settings)
    file = tmp_path / "result.json"
    file.write_text(result.to_json())
    own_json(file.read_text())
    again = read_result(file)
    assert again.to_dict() == result.to_dict()
    assert str(again) == str(result)
