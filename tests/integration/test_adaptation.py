"""``--ttt``: what a network costs that learns from each chunk once it is paid for."""

import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn import functional

import bpb_harness
from bpb_harness.adaptation.settings import AdaptationSettings
from bpb_harness.adaptation.sgd import SgdAdaptation
from bpb_harness.adapters import load_model
from bpb_harness.distributed import Processes
from bpb_harness.errors import (
    HarnessError,
    InputError,
    SecondLookError,
    StateMutatedError,
    UsageError,
)
from bpb_harness.evaluation import adaptation_file, adapting
from bpb_harness.evaluation.second_answers import NUM_QUESTIONS
from bpb_harness.evaluation.trust import Contract
from bpb_harness.result import BpbResult, Signature
from bpb_harness.second_look.asking import AnsweringProcess
from fixtures.build import TOKENIZER, VALIDATION, shard_bytes
from tests.one_block import one_block_of
from tests.tiers import some_of, thorough
from tests.two_processes import run_in_two

CHECKPOINT, CAUSAL_CHECKPOINT = one_block_of("mdlm-tiny.pt"), one_block_of("ar-tiny.pt")

CONTEXT, CHUNK, STRIDE, LIMIT = 128, 512, 64, 30
FAST = {"device": "cpu", "check_contract": False, "batch_tokens": 1024}
SGD = {"ttt": "sgd", "ttt_chunk": CHUNK, "ttt_lr": 0.05, "ttt_batch": 2, "ttt_epochs": 2}
AR = {"method": "ar", "limit": LIMIT, "stride": STRIDE} | FAST | SGD
MC = {"method": "mc", "limit": 12, "num_samples": 1, "ttt_epochs": 1} | FAST
MC = MC | SGD | {"ttt_epochs": 1}


def tokens_of(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(path.read_bytes()[1024:], dtype="<u2").astype(np.int64))


def own_loop(tokens: torch.Tensor, num_targets: int, num_chunks: int) -> list[float]:
    """Bits of each chunk: windows scored, then torch's own optimiser; nothing of the harness but the network."""
    network = load_model(CAUSAL_CHECKPOINT, device=torch.device("cpu"), dtype=torch.float32)[1].model.network
    network.requires_grad_(True)
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0, momentum=0.9)

    def nll(x, y):
        return functional.cross_entropy(network(x)[..., :512].double().flatten(0, 1), y.flatten(), reduction="none")

    # 1. Windows: the first pays for all of it, each later one for its last STRIDE predictions.
    windows, paid = [(0, CONTEXT, 0)], CONTEXT
    while paid < num_targets:
        end = min(paid + STRIDE, num_targets)
        windows.append((end - CONTEXT, end, paid))
        paid = end
    bits = []
    for chunk in range(num_chunks):
        # 2. Score those whose first prediction lies in the chunk.
        total = 0.0
        for begin, end, first in windows:
            if first // CHUNK == chunk:
                with torch.no_grad():
                    costs = nll(tokens[None, begin:end], tokens[None, begin + 1 : end + 1])
                total += float(costs[first - begin :].sum())
        bits.append(total / math.log(2))
        if chunk == num_chunks - 1:
            break
        # 3. Learn from the chunk.
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * (1 + math.cos(math.pi * chunk / (num_chunks - 1))) / 2
        rows = tokens[chunk * CHUNK : (chunk + 1) * CHUNK + 1]
        x, y = rows[:-1].view(-1, CONTEXT), rows[1:].view(-1, CONTEXT)
        for _ in range(2):
            for at in range(0, len(x), 2):
                optimizer.zero_grad()
                nll(x[at : at + 2], y[at : at + 2]).mean().backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
    return bits


@pytest.fixture(scope="module")
def adapted() -> BpbResult:
    return bpb_harness.evaluate(CAUSAL_CHECKPOINT, with_windows=True, **AR)


def bits_of_chunks(result) -> np.ndarray:
    """Of the windows table, by the first target."""
    table = result.windows
    return table.groupby((table["start"] - 1) // CHUNK)["bits"].sum().to_numpy()


def test_each_chunk_costs_what_a_loop_of_its_own_says(adapted):
    num_targets = adapted.length.num_tokens
    expected = own_loop(tokens_of(VALIDATION), num_targets, -(-num_targets // CHUNK))
    assert bits_of_chunks(adapted) == pytest.approx(expected, rel=1e-6)
    assert adapted.relation == "="
    plain = bpb_harness.evaluate(
        CAUSAL_CHECKPOINT, **{name: AR[name] for name in ("method", "limit", "stride")}, **FAST
    )
    assert abs(adapted.length.bits_per_unit - plain.length.bits_per_unit) > 1e-3  # it learnt something


def test_a_table_of_documents_does_not_advise_what_is_refused():
    result = bpb_harness.evaluate(CHECKPOINT, with_documents=True, **MC | {"limit": 4})
    (said,) = [remark.message for remark in result.remarks if remark.code == "documents.no-error"]
    assert "passes or more, and --ttt makes one: " in said


def test_the_signature_and_the_notes_say_how(adapted):
    assert adapted.signature.adaptation == "sgd[lr=0.05,momentum=0.9,epochs=2,chunk=512,batch=2,clip=1.0]"
    assert Signature.parse(str(adapted)).adaptation == adapted.signature.adaptation
    notes = " ".join(remark.message for remark in adapted.remarks)
    assert f"learnt on the way: 3 of 4 chunks of 512 tokens ({adapted.length.num_tokens:,} in all)" in notes
    assert adapted.seconds_by_phase["adapting"] > 0


def test_a_text_of_one_chunk_teaches_nothing_and_a_note_says_so():
    settings = AR | {"limit": 2}
    result = bpb_harness.evaluate(CAUSAL_CHECKPOINT, **settings)
    plain = {name: value for name, value in settings.items() if not name.startswith("ttt")}
    assert result.length.nats == bpb_harness.evaluate(CAUSAL_CHECKPOINT, **plain).length.nats
    assert f"learnt nothing: all {CONTEXT + STRIDE} tokens are one chunk" in result.remarks[0].message


def test_text_behind_a_chunk_changes_nothing_of_it(adapted, tmp_path):
    """To the last bit, wherever the text is replaced."""
    for first_changed in (CHUNK, 2 * CHUNK + 5):
        tokens = tokens_of(VALIDATION).numpy().copy()
        tokens[1 + first_changed + CONTEXT :] = tokens[1 : len(tokens) - first_changed - CONTEXT]
        other = tmp_path / "other_val_000000.bin"
        other.write_bytes(shard_bytes(tokens))
        changed = bpb_harness.evaluate(
            CAUSAL_CHECKPOINT, with_windows=True, data=other, tokenizer=TOKENIZER, **AR
        ).windows
        same = (changed["start"] + changed["num_tokens"]) <= 1 + first_changed + CONTEXT
        assert same.sum() >= first_changed // STRIDE
        assert (changed["bits"][same] == adapted.windows["bits"][same]).all()
        assert not (changed["bits"][~same] == adapted.windows["bits"][~same]).any()


@pytest.mark.parametrize(
    ("checkpoint", "settings"),
    some_of(
        [
            (CAUSAL_CHECKPOINT, {"method": "ar", "limit": 20, "stride": STRIDE}),
            (CAUSAL_CHECKPOINT, {"method": "ar", "limit": 9}),
            (CHECKPOINT, {"method": "mc", "limit": 12, "num_samples": 2}),
            (CHECKPOINT, {"method": "discrete", "limit": 9, "num_samples": 1, "compare": True, "with_tokens": True}),
            (
                CHECKPOINT,
                {"method": "chain", "order": "random", "tokens_per_step": 32, "limit": 9, "per_document": True},
            ),
            (CHECKPOINT, {"method": "mc", "block_size": 32, "limit": 20}),
        ],
        everyday=3,
    ),
)
def test_a_network_that_learns_nothing_costs_what_it_costs_without(checkpoint, settings):
    """Its masks, orders and windows are those of a score in one piece, whatever the chunks."""
    plain = bpb_harness.evaluate(checkpoint, **settings, **FAST)
    still = SGD | {"ttt_lr": 1e-300, "ttt_epochs": 1, "ttt_chunk": 300}
    chunked = bpb_harness.evaluate(checkpoint, **settings, **FAST, **still)
    assert chunked.length.nats == pytest.approx(plain.length.nats, rel=1e-6)
    assert chunked.mc_stderr == pytest.approx(plain.mc_stderr, rel=1e-4)
    assert chunked.num_forward_tokens == plain.num_forward_tokens
    assert chunked.terms_nats == pytest.approx(plain.terms_nats, rel=1e-6)
    if plain.comparison is not None:
        assert chunked.comparison.gap_bits_per_byte == pytest.approx(plain.comparison.gap_bits_per_byte, rel=1e-4)
    if plain.tokens is not None:
        assert np.allclose(chunked.tokens["share_bits"], plain.tokens["share_bits"], rtol=1e-4, atol=1e-4)


def test_a_masked_network_learns_too(tmp_path):
    """Of a text whose tokens have changed names it has much to learn, and that is worth more than noise."""
    renamed = tmp_path / "renamed_000000.bin"
    renamed.write_bytes(shard_bytes((tokens_of(VALIDATION).numpy() * 5 + 3) % 512))
    plain = {"method": "mc", "limit": 20, "data": renamed, "tokenizer": TOKENIZER, "byte_rule": "none"} | FAST
    settings = plain | SGD | {"ttt_lr": 0.02}
    before, after = bpb_harness.evaluate(CHECKPOINT, **plain), bpb_harness.evaluate(CHECKPOINT, **settings)
    assert after.relation == "~<="
    assert after.length.bits_per_unit < before.length.bits_per_unit - 2 * before.mc_stderr


@pytest.mark.parametrize(("checkpoint", "settings"), [(CAUSAL_CHECKPOINT, AR), (CHECKPOINT, MC)])
def test_interrupted_in_a_chunk_it_goes_on_to_the_same_total(checkpoint, settings, tmp_path, monkeypatch):
    whole = bpb_harness.evaluate(checkpoint, **settings)
    file, learn, learnt = tmp_path / "kept", SgdAdaptation.learn, []

    def interrupted(self, tokens, chunk, num_chunks):
        learn(self, tokens, chunk, num_chunks)  # in the middle of what is not kept yet
        learnt.append(chunk)
        if chunk == 1 and len(learnt) == 2:
            raise KeyboardInterrupt

    told: list[str] = []
    monkeypatch.setattr(adapting.LOG, "warning", lambda said, *of: told.append(said % of))
    monkeypatch.setattr(SgdAdaptation, "learn", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bpb_harness.evaluate(checkpoint, resume=file, **settings)
    assert told == [f"bpb-eval: finished chunks are kept in {file}; run the same command again to go on"]
    resumed = bpb_harness.evaluate(checkpoint, resume=file, **settings)
    assert learnt[:4] == [0, 1, 1, 2][: len(learnt)]
    assert resumed.length.nats == whole.length.nats
    assert resumed.num_forward_tokens == whole.num_forward_tokens
    again = bpb_harness.evaluate(checkpoint, resume=file, **settings)
    assert learnt.count(0) == 1
    assert again.length.nats == whole.length.nats
    assert "chunks were kept from" in " ".join(remark.message for remark in again.remarks)


def test_interrupted_before_a_chunk_is_finished_nothing_is_said_to_be_kept(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    told: list[str] = []
    monkeypatch.setattr(adapting.LOG, "warning", lambda said, *of: told.append(said % of))
    monkeypatch.setattr(SgdAdaptation, "learn", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bpb_harness.evaluate(CAUSAL_CHECKPOINT, resume=tmp_path / "kept", **AR)
    assert told == []
    assert not (tmp_path / "kept").exists()


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("kept") / "kept"
    bpb_harness.evaluate(CAUSAL_CHECKPOINT, resume=file, **AR | {"limit": 10})
    return file


@pytest.mark.parametrize("fault", ["text", "cut", "changed", "draws", "another", "seed"])
def test_a_file_that_is_not_of_this_score_is_refused_and_left(kept, tmp_path, fault, monkeypatch):
    file = Path(shutil.copy(kept, tmp_path / "file"))
    checkpoint, settings = CAUSAL_CHECKPOINT, AR | {"limit": 10}
    if fault == "text":
        file.write_text("hello\n")
    elif fault == "cut":
        file.write_bytes(file.read_bytes()[:-9])
    elif fault == "changed":
        content = bytearray(file.read_bytes())
        content[-5] ^= 1
        file.write_bytes(content)
    elif fault == "draws":
        file.unlink()
        plain = {name: value for name, value in MC.items() if not name.startswith("ttt")}
        bpb_harness.evaluate(CHECKPOINT, resume=file, **plain)
    elif fault == "another":
        settings |= {"ttt_lr": 0.06}
    else:  # a network that learns from no masks draws nothing: its file is of every seed
        file.unlink()
        checkpoint, settings = CHECKPOINT, MC | {"limit": 4}
        bpb_harness.evaluate(checkpoint, resume=file, **settings)
        settings |= {"seed": 1}
    before = file.read_bytes()
    with pytest.raises(HarnessError) as caught:
        bpb_harness.evaluate(checkpoint, resume=file, **settings)
    expected = UsageError if fault in {"another", "seed", "draws"} else InputError
    assert type(caught.value) is expected
    assert str(caught.value).startswith(f"--resume {file}")
    differs = {
        "draws": " is of an evaluation without --ttt; ",
        "seed": " belongs to another evaluation: got seed:0, expected seed:1; ",
        "another": " belongs to another evaluation: got ttt:sgd[lr=0.05,",
    }
    assert str(caught.value).startswith(f"--resume {file}{differs.get(fault, '')}")
    assert file.read_bytes() == before


def test_a_file_without_the_costs_that_are_asked_for_is_refused(tmp_path):
    """Draws of the other bound, and costs of single tokens, are kept where they are asked for alone."""
    file, settings = tmp_path / "kept", MC | {"limit": 8}
    bpb_harness.evaluate(CHECKPOINT, resume=file, **settings)
    without = r"was begun without costs of tokens \(--score-file, --tokens\); repeat the flags"
    for more, said in (
        ({"compare": True}, "belongs to another evaluation: got bounds mc, expected"),
        ({"with_tokens": True}, without),
        ({"with_costs": True}, without),
    ):
        with pytest.raises(UsageError, match=said):
            bpb_harness.evaluate(CHECKPOINT, resume=file, **settings, **more)
    bpb_harness.evaluate(CHECKPOINT, resume=tmp_path / "tokens", **settings, with_tokens=True)
    with pytest.raises(UsageError, match="was begun with costs of tokens"):
        bpb_harness.evaluate(CHECKPOINT, resume=tmp_path / "tokens", **settings)


def content_of(file: Path) -> tuple[dict[str, object], dict[str, torch.Tensor]]:
    with safe_open(file, "pt") as opened:
        return json.loads(opened.metadata()["bpb"]), {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118


@pytest.mark.parametrize("number", [0, -1, 5, 10**9, True, "2", None])
@pytest.mark.parametrize("has_checksum", [False, True])
def test_a_number_of_chunks_that_nobody_wrote_is_refused(kept, tmp_path, number, has_checksum):
    stated, tensors = content_of(kept)
    stated["chunks"] = number
    if has_checksum:
        del stated["check"]
        stated["check"] = adaptation_file._checksum(stated, tensors)
    save_file(tensors, tmp_path / "file", {"bpb": json.dumps(stated)})
    with pytest.raises(InputError, match=": chunks: " if has_checksum else "is damaged or was changed"):
        bpb_harness.evaluate(CAUSAL_CHECKPOINT, resume=tmp_path / "file", **AR | {"limit": 10})


def test_a_chunk_without_its_costs_is_not_left_out_of_the_sum(kept, tmp_path):
    stated, tensors = content_of(kept)
    tensors = {name: value for name, value in tensors.items() if not name.startswith("part/1/")}
    del stated["check"]
    stated["check"] = adaptation_file._checksum(stated, tensors)
    save_file(tensors, tmp_path / "file", {"bpb": json.dumps(stated)})
    with pytest.raises(InputError, match="chunk 1: expected the costs of its spans"):
        bpb_harness.evaluate(CAUSAL_CHECKPOINT, resume=tmp_path / "file", **AR | {"limit": 10})


def test_a_file_of_a_score_that_learns_serves_no_other(kept):
    with pytest.raises(UsageError, match="is of an evaluation with --ttt; name another file"):
        bpb_harness.evaluate(CHECKPOINT, resume=kept, method="mc", limit=2, **FAST)
    with pytest.raises(
        UsageError, match=r"kept is a file of --ttt: .*; pass what bpb-eval --score-file wrote in that run"
    ):
        bpb_harness.compare(CAUSAL_CHECKPOINT, kept)


def test_what_is_kept_is_written_at_the_end_of_a_chunk_and_not_in_one(tmp_path, monkeypatch):
    """Weights of the middle of a chunk would be those of no score."""
    monkeypatch.setattr(adaptation_file, "_SECONDS_BETWEEN", 0.0)
    file, seen = tmp_path / "kept", []
    learn = SgdAdaptation.learn

    def look(self, tokens, chunk, num_chunks):
        seen.append(file.read_bytes() if file.exists() else b"")
        learn(self, tokens, chunk, num_chunks)

    monkeypatch.setattr(SgdAdaptation, "learn", look)
    bpb_harness.evaluate(CAUSAL_CHECKPOINT, resume=file, **AR)
    assert seen[0] == b""
    assert len(set(seen)) == len(seen) == 3


@thorough(everyday="unit/adaptation/test_sgd.py::test_all_processes_step_as_one_does_to_the_last_bit")
def test_two_processes_are_one(tmp_path):
    words = {
        "ar": [CAUSAL_CHECKPOINT, "--method", "ar", "--limit", 20, "--stride", STRIDE],
        "mc": [CHECKPOINT, "--method", "mc", "--limit", 12],
    }
    shared = ["--no-contract", "--device", "cpu", "--batch-tokens", 256, "--format", "json"]
    shared += ["--ttt", "sgd", "--ttt-chunk", CHUNK, "--ttt-lr", 0.05, "--ttt-epochs", 1]
    together = run_in_two("bpb_harness.cli.eval", [[*each, *shared] for each in words.values()], cwd=tmp_path)
    for (method, _), ended in zip(words.items(), together, strict=True):
        assert ended.codes == [0, 0], ended.stderr
        limit = 20 if method == "ar" else 12
        alone = bpb_harness.evaluate(
            words[method][0], method=method, limit=limit, device="cpu", check_contract=False, batch_tokens=256,
            ttt="sgd", ttt_chunk=CHUNK, ttt_lr=0.05, ttt_epochs=1, stride=STRIDE if method == "ar" else None,
        )  # fmt: skip
        assert json.loads(ended.stdout[0])["nats"] == pytest.approx(alone.length.nats, rel=1e-6)


LEARNER = """
import torch
from torch import nn
from bpb_harness.adapters import load_model

class Net(nn.Module):
    vocab_size, context_length = 512, 128
    def __init__(self, path, device):
        super().__init__()
        self.net = load_model({checkpoint!r}, device=device, dtype=torch.float32)[1].model.network
        self.bias = nn.Parameter(torch.zeros(512), requires_grad=False)
        self.seen = torch.zeros(512)
    def logits(self, x):
        {while_scoring}
        return self.net(x)[..., :512] + self.bias
    def adapt(self, tokens):
        assert tokens.ndim == 1
        counts = torch.bincount(tokens, minlength=512){more}
        self.bias += 0.3 * (counts / counts.sum() - 1 / 512)

def load(path, device):
    return Net(path, device)
"""


def own(tmp_path, *, while_scoring="pass", more="", **settings):
    code = tmp_path / "own.py"
    code.write_text(LEARNER.format(checkpoint=str(CAUSAL_CHECKPOINT), while_scoring=while_scoring, more=more))
    return bpb_harness.evaluate(
        CAUSAL_CHECKPOINT, model=f"{code}:load", allow_code=True, method="ar", limit=20, stride=STRIDE, ttt="own",
        ttt_chunk=CHUNK, device="cpu", data=VALIDATION, tokenizer=TOKENIZER, **settings,
    )  # fmt: skip


def test_a_network_that_learns_by_itself_passes_every_check(tmp_path, monkeypatch):
    asked, check_again = [], Contract.check_again
    monkeypatch.setattr(Contract, "check_again", lambda self: asked.append(check_again(self)))
    result = own(tmp_path)
    assert len(asked) == 1  # when the first chunk is scored; later it is another network
    assert result.signature.adaptation == "own[chunk=512]"
    assert result.signature.contract == "checked"


@pytest.mark.parametrize("check_contract", [True, False])
def test_one_that_learns_while_it_is_scored_is_caught(tmp_path, check_contract):
    learning = "self.bias += 1e-3 * torch.bincount(x.flatten(), minlength=512)"
    with pytest.raises(StateMutatedError, match="bias"):
        own(tmp_path, while_scoring=learning, check_contract=check_contract)


def test_one_that_learns_from_windows_of_the_text_behind_is_caught_by_a_process_that_has_none(tmp_path):
    """It keeps what it is asked, first of all by the checks, whose windows lie all over the text."""
    with pytest.raises(SecondLookError):
        own(tmp_path, while_scoring="self.seen += torch.bincount(x.flatten(), minlength=512)", more=" + 5 * self.seen")


def with_logits(tmp_path, logits, **settings):
    """The harness's loop on a network whose last line is another."""
    code = tmp_path / "own.py"
    text = LEARNER.format(checkpoint=str(CAUSAL_CHECKPOINT), while_scoring="pass", more="")
    code.write_text(text.replace("return self.net(x)[..., :512] + self.bias", logits))
    given = AR | {"limit": 8, "model": f"{code}:load", "allow_code": True, "data": VALIDATION, "tokenizer": TOKENIZER}
    return bpb_harness.evaluate(CAUSAL_CHECKPOINT, **given | settings)


LATE = """
        if not torch.is_grad_enabled():
            self.met.append(float(self.bias.detach().norm()))
        late = self.calls() > 4 and bool(self.bias.any())  # not when it is asked as it was loaded
        return self.net(x)[..., :512] + self.bias + 20.0 * late * torch.nn.functional.one_hot(x.roll(-1, 1), 512)
    met = []
    def calls(self):
        return len(set(self.met))
"""


def test_code_that_plays_fair_in_the_first_chunks_is_caught_as_well(tmp_path):
    """Its weights tell it how much has been learnt; then it leaks what the window holds."""
    settings = {"limit": 12, "stride": None, "ttt_chunk": 256, "device": "cpu", "check_contract": True}
    with pytest.raises(SecondLookError):
        with_logits(tmp_path, LATE, **settings)


def test_a_network_without_gradients_is_refused_before_it_is_scored(tmp_path):
    scored = []
    with pytest.raises(UsageError, match="record no gradients"):
        with_logits(tmp_path, "return self.net(x)[..., :512].detach()", progress=lambda done, _: scored.append(done))
    assert not scored


def test_weights_that_learning_does_not_reach_are_named(tmp_path):
    result = with_logits(tmp_path, "return self.net(x)[..., :512]")
    remarks = {each.code: each.message for each in result.remarks}
    assert remarks["adaptation.not-reached"] == "1 weights have no gradient and stay: _model.bias"


@pytest.mark.parametrize(
    ("settings", "num_steps", "schedule"),
    [
        ({"method": "discrete", "num_steps": 7}, 7, "loglinear[0.001]"),
        ({"method": "mc", "schedule": "cosine-md4[0.01]"}, None, "cosine-md4[0.01]"),
        ({"method": "chain", "context_length": 64}, None, "loglinear[0.001]"),
    ],
)
def test_a_masked_network_is_trained_by_the_bound_that_is_asked_for(settings, num_steps, schedule, monkeypatch):
    made, learner_of = [], adapting.learner_of
    monkeypatch.setattr(adapting, "learner_of", lambda plain, *given: made.append(plain) or learner_of(plain, *given))
    more = {"limit": 3, "num_samples": None, "seed": 5, "ttt_chunk": 128}
    bpb_harness.evaluate(CHECKPOINT, **MC | more | settings)
    (plain,) = made
    assert (plain["num_steps"], plain["schedule"], plain["seed"]) == (num_steps, schedule, 5)
    assert plain["window_length"] == settings.get("context_length", CONTEXT)


def test_the_second_look_learns_the_first_chunks_again_and_asks_about_three(monkeypatch):
    learnt, asked = [], []
    learn, ask = AnsweringProcess.learn, AnsweringProcess.ask

    def learning(self, plain, tokens):
        learnt.append(plain["chunk"])
        learn(self, plain, tokens)

    def asking(self, questions):
        asked.append(len(questions))
        return ask(self, questions)

    monkeypatch.setattr(AnsweringProcess, "learn", learning)
    monkeypatch.setattr(AnsweringProcess, "ask", asking)
    bpb_harness.evaluate(CAUSAL_CHECKPOINT, **AR | {"check_contract": True})
    assert learnt == [0, 1]  # of four chunks
    assert len(asked) == 3
    assert all(asked)
    assert sum(asked) >= NUM_QUESTIONS


def test_a_network_that_is_not_brought_back_is_noticed(monkeypatch):
    monkeypatch.setattr(SgdAdaptation, "undo", lambda _: None)
    with pytest.raises(StateMutatedError):
        bpb_harness.evaluate(CAUSAL_CHECKPOINT, **AR | {"check_contract": True, "limit": 20})


def test_processes_do_not_learn_each_by_themselves():
    settings = SimpleNamespace(adaptation=AdaptationSettings("own", 9))
    with pytest.raises(UsageError, match="--ttt own: got 2 processes, expected one"):
        adapting.Adapting(SimpleNamespace(settings=settings), None, Processes(0, 2), lambda: None)


def test_a_network_in_memory_is_left_as_it_was():
    network = load_model(CAUSAL_CHECKPOINT, device=torch.device("cpu"), dtype=torch.float32)[1].model.network
    causal = type("Net", (torch.nn.Module,), {
        "vocab_size": 512, "context_length": 128, "logits": lambda self, x: self.net(x)[..., :512]
    })()  # fmt: skip
    causal.net = network
    before = {name: value.clone() for name, value in network.state_dict().items()}
    text = {"data": VALIDATION, "tokenizer": TOKENIZER}
    inside = bpb_harness.evaluate(causal, **text, **AR | {"limit": 12, "check_contract": True})
    from_file = bpb_harness.evaluate(CAUSAL_CHECKPOINT, **AR | {"limit": 12})
    assert inside.length.nats == pytest.approx(from_file.length.nats, rel=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
