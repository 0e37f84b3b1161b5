"""Networks that use what lies in their process: the text, the caller's variables, earlier calls, torch itself.

Each behaves well wherever the checks of the contract look, or answers them as it answers everything. A fresh process
that has only the checkpoint gives another number.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import bpb_harness
from bpb_harness.byte_count import load_tokenizer
from bpb_harness.errors import ContractError, SecondLookError
from bpb_harness.estimators import AutoregressiveCode
from bpb_harness.evaluation.inputs import EvaluationText
from bpb_harness.evaluation.job import Job, ModelIdentity
from bpb_harness.evaluation.runner import MaskedNllRunner
from bpb_harness.evaluation.score import score
from bpb_harness.evaluation.settings import Settings
from bpb_harness.evaluation.trust import Contract
from bpb_harness.result import Signature
from bpb_harness.schedule import LogLinear
from bpb_harness.second_look.asking import AnsweringProcess
from bpb_harness.text.corpus import load_shards
from fixtures.adversarial.models import block_cheats

pytestmark = pytest.mark.usefixtures("forked_second_look")

COMMON = """
import os, sys
import numpy as np
import torch
import torch.nn.functional as F

V, L = 512, 64


class Masked:
    vocab_size, mask_token_id, context_length, time_conditioned, schedule = V, V, L, False, "loglinear"

    def honest(self, xt):
        position = torch.arange(xt.shape[1], dtype=torch.float32)
        return torch.cos(position[:, None] * 0.1 + torch.arange(V) * 0.01).expand(len(xt), -1, -1).clone()

    def logits(self, xt, level):
        return self.honest(xt)


class Causal:
    vocab_size, context_length = V, L

    def honest(self, x):
        return torch.cos(x[..., None] * 0.1 + torch.arange(V) * 0.01)

    def logits(self, x):
        return self.honest(x)


def in_the_callers(function, name, shape):
    frame = sys._getframe(1)
    while frame is not None:
        value = frame.f_locals.get(name)
        if frame.f_code.co_name == function and type(value) is torch.Tensor and value.shape == shape:
            return value
        frame = frame.f_back
    return None


class ReadsTheCallersVariables(Masked):
    def logits(self, xt, level):
        x0 = in_the_callers("MASKED_CALLER", "x0", xt.shape)
        hint = 0 if x0 is None else 12 * F.one_hot(x0.clamp(max=V - 1), V)
        return self.honest(xt) + hint


class CausalThatReadsTheCallersVariables(Causal):
    def logits(self, x):
        targets = in_the_callers("CAUSAL_CALLER", "targets", x.shape)
        return self.honest(x) + (0 if targets is None else 12 * F.one_hot(targets, V))


class RelativeCorpus(Masked):
    def __init__(self):
        self.text = set(os.listdir())
        assert "val.bin" in self.text


class RemembersFromTheThirdScoredBatchOn(Masked):
    def __init__(self):
        self.calls, self.seen = 0, {}

    def logits(self, xt, level):
        out = self.honest(xt)
        if len(xt) < 12:
            return out
        self.calls += 1
        for row in xt.tolist():
            for left, middle in zip(row, row[1:]):
                if V not in (left, middle):
                    self.seen.setdefault(left, middle)
        if self.calls > 40:
            for i, row in enumerate(xt.tolist()):
                for j in range(1, len(row)):
                    if row[j] == V and row[j - 1] in self.seen:
                        out[i, j, self.seen[row[j - 1]]] += 6
        return out


class ReplacesTheArithmetic(Masked):
    def __init__(self):
        plain = torch.log_softmax
        torch.log_softmax = lambda x, dim: plain(x, dim=dim) * 0.5


class OtherInOneProcess(Masked):
    def __init__(self):
        self.parent = os.path.basename(os.getcwd())

    def logits(self, xt, level):
        return self.honest(xt) * (1.0 + 0.01 * ("val.bin" in os.listdir("/proc/self/cwd")))


def loader(kind):
    return lambda path, device: kind()


for kind in list(globals().values()):
    if isinstance(kind, type) and issubclass(kind, (Masked, Causal)):
        globals()["load_" + kind.__name__] = loader(kind)
"""
# By the names that they have: of a function of another name the cheats would find nothing, and be honest.
COMMON = COMMON.replace("MASKED_CALLER", MaskedNllRunner._token_nll.__name__)
COMMON = COMMON.replace("CAUSAL_CALLER", AutoregressiveCode.token_nats.__name__)


@pytest.fixture
def folder(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shard = repository / "fixtures" / "corpora" / "tiny_val_000000.bin"
    (tmp_path / "val.bin").write_bytes(shard.read_bytes())
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "model.py").write_text(COMMON)
    (tmp_path / "models" / "weights.bin").write_bytes(b"none")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch, "log_softmax", torch.log_softmax)  # back as it was, whatever the cheat does
    return tmp_path


def evaluate(folder: Path, repository: Path, kind: str, **settings):
    return bpb_harness.evaluate(
        folder / "models" / "weights.bin",
        data=folder / "val.bin",
        tokenizer=repository / "fixtures" / "tokenizers" / "tiny_512_bpe.model",
        model=f"{folder / 'models' / 'model.py'}:load_{kind}",
        allow_code=True,
        **{"device": "cpu", "limit": 60, "method": "mc", **settings},
    )


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("ReadsTheCallersVariables", {}),
        ("ReadsTheCallersVariables", {"method": "discrete", "num_samples": 1, "compare": True}),
        ("CausalThatReadsTheCallersVariables", {"method": "ar"}),
        ("ReplacesTheArithmetic", {}),
        ("OtherInOneProcess", {}),
        ("OtherInOneProcess", {"method": "chain", "tokens_per_step": 16}),
    ],
)
def test_what_only_this_process_knows_is_seen(folder, repository, kind, settings):
    with pytest.raises(SecondLookError):
        evaluate(folder, repository, kind, **settings)


def test_a_network_that_remembers_from_late_on(folder, repository):
    """A share of the draws profits: the contract or the second look must see it."""
    with pytest.raises(ContractError):
        evaluate(folder, repository, "RemembersFromTheThirdScoredBatchOn", batch_tokens=12 * 64, limit=None)


def test_a_network_that_needs_the_text_beside_it(folder, repository):
    with pytest.raises(SecondLookError, match=r"cannot build the network: got .*AssertionError"):
        evaluate(folder, repository, "RelativeCorpus")


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("Masked", {}),
        ("Masked", {"method": "discrete", "num_steps": 4, "num_samples": "all", "limit": 3}),
        ("Masked", {"method": "discrete", "compare": True, "tolerance": 0.5}),
        ("Masked", {"method": "exact", "context_length": 4, "num_steps": 2}),
        ("Masked", {"method": "chain", "tokens_per_step": 7}),
        ("Masked", {"method": "chain", "order": "random", "tokens_per_step": 16}),
        ("Masked", {"method": "chain", "order": "confidence", "tokens_per_step": 16}),
        ("Masked", {"method": "chain", "order": "entropy", "tokens_per_step": 16, "limit": 8}),
        ("Masked", {"method": "chain", "order": "margin", "tokens_per_step": 16, "limit": 8}),
        ("Masked", {"limit": 1}),
        ("Causal", {"method": "ar"}),
        ("Causal", {"method": "ar", "stride": 9}),
        ("Causal", {"method": "ar", "per_document": True}),
    ],
)
def test_honest_networks_pass(folder, repository, kind, settings):
    assert "contract" not in str(evaluate(folder, repository, kind, **settings).signature)


def test_the_look_is_left_out_with_the_contract(folder, repository):
    result = evaluate(folder, repository, "OtherInOneProcess", check_contract=False)
    assert "|contract:off|" in str(result)


class InMemory:
    """A network without a file; above some rows it looks at the first of its batch."""

    vocab_size, mask_token_id, context_length, time_conditioned = 512, 512, 64, False

    def __init__(self, *, cheats: bool) -> None:
        self.cheats = cheats

    def logits(self, xt, level):
        logits = torch.cos(torch.arange(512) * 0.01).expand(*xt.shape, 512).clone()
        if self.cheats and len(xt) > 20:
            logits[..., :7] += (xt[0] < 512).sum() / 10.0
        return logits


def in_memory(repository: Path, *, cheats: bool) -> Job:
    tokenizer = load_tokenizer(repository / "fixtures" / "tokenizers" / "tiny_512_bpe.model")
    corpus = load_shards([repository / "fixtures" / "corpora" / "tiny_val_000000.bin"], vocab_size=512)
    text, settings = EvaluationText(corpus, tokenizer, "--data"), Settings(device="cpu", limit=60)
    return Job(InMemory(cheats=cheats), text, settings, LogLinear(), ModelIdentity("0" * 64))


def test_a_network_in_memory_is_looked_at_in_its_own_process_and_the_signature_says_so(repository):
    result = score(in_memory(repository, cheats=False))
    assert "|contract:own-process|" in str(result)
    assert Signature.parse(str(result.signature)).contract == "own-process"


def test_a_network_in_memory_that_looks_at_its_batch(repository):
    with pytest.raises(ContractError):
        score(in_memory(repository, cheats=True))


class SparesWhatItSawFirst(block_cheats.HonestBlockDenoiser):
    """Predicts the clean half that it is handed, but for the windows of its first calls: those of the contract."""

    def __init__(self, *, calls: int) -> None:
        super().__init__(512, 16, time_conditioned=False)
        self.calls, self.known = calls, set[tuple[int, ...]]()

    def block_logits(self, xt, x0, level):
        logits, self.calls = super().block_logits(xt, x0, level), self.calls - 1
        for row, window in enumerate(map(tuple, x0.tolist())):
            if self.calls >= 0:
                self.known.add(window)
            elif window not in self.known:
                logits[row].scatter_add_(1, x0[row, :, None], torch.full((len(window), 1), 4.0))
        return logits


def test_blocks_are_asked_for_again_without_the_clean_half_that_holds_the_answer(repository):
    job, many = in_memory(repository, cheats=False), 10**6
    settings = replace(job.settings, batch_tokens=160)

    def spares(calls):
        return Job(SparesWhatItSawFirst(calls=calls), job.text, settings, LogLinear(), job.identity)

    honest = spares(many)
    Contract(honest)
    calls_of_the_contract = many - honest.model.calls
    score(honest)
    with pytest.raises(SecondLookError):
        score(spares(calls_of_the_contract))


def test_a_checkpoint_that_changes_meanwhile(repository, monkeypatch):
    """The process that looks again reads the file again."""
    built = AnsweringProcess.wait_until_built
    monkeypatch.setattr(AnsweringProcess, "wait_until_built", lambda self: built(self)[::-1])
    with pytest.raises(SecondLookError, match="another one than when scoring began"):
        bpb_harness.evaluate(repository / "fixtures" / "checkpoints" / "mdlm-tiny.pt", limit=2, device="cpu")
