"""A network that is in memory: what is taken from it, what must be said, and how it is left."""

from __future__ import annotations

import copy
import re
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import bpb_harness
from bpb_harness.adapters import load_model
from bpb_harness.distributed import Processes
from bpb_harness.errors import ContextLengthError, StateMutatedError, UsageError
from bpb_harness.evaluation import score
from bpb_harness.evaluation.in_memory import InMemory
from bpb_harness.evaluation.settings import Settings
from bpb_harness.result import Signature
from bpb_harness.schedule import LogLinear

V, L = 512, 16


class Net(nn.Module):
    """Masked, with dropout, a table that it makes when it is first asked, and names that look like another protocol."""

    vocab_size, mask_token_id, context_length, time_conditioned = V, V, L, False
    schedule = "loglinear"

    def __init__(self) -> None:
        super().__init__()
        self.hidden = 8
        self.embedding = nn.Embedding(V + 1, self.hidden)
        self.dropout, self.norm = nn.Dropout(0.5), nn.LayerNorm(self.hidden)
        self.head = nn.Linear(self.hidden, V)
        self.table = None

    def logits(self, xt, level):
        if self.table is None or len(self.table) != xt.shape[1]:
            self.table = torch.ones(xt.shape[1], 1).cumsum(0)
        return self.head(self.dropout(self.norm(self.embedding(xt) * self.table)))


class Causal:
    """No module itself; holds one."""

    vocab_size, context_length = V, L

    def __init__(self) -> None:
        self.network = nn.Sequential(nn.Embedding(V, 8), nn.Linear(8, V))

    def logits(self, x):
        return self.network(x)


class Plain:
    vocab_size, mask_token_id, context_length, time_conditioned = V, V, L, False

    def logits(self, xt, level):
        return torch.cos(torch.arange(V) * 0.01).expand(*xt.shape, V).clone()


@pytest.fixture
def text(repository):
    return {
        "data": repository / "fixtures" / "corpora" / "tiny_val_000000.bin",
        "tokenizer": repository / "fixtures" / "tokenizers" / "tiny_512_bpe.model",
        "limit": 3,
    }


def test_a_checkpoint_that_was_loaded_scores_as_its_file_does(repository, text):
    path = repository / "fixtures" / "checkpoints" / "mdlm-tiny.pt"
    adapted = load_model(path)[1]
    settings = text | {"method": "mc", "device": "cpu", "context_length": 16, "check_contract": False}
    from_file = bpb_harness.evaluate(path, **settings)
    here = bpb_harness.evaluate(adapted.model, schedule=str(adapted.schedule), **settings)
    assert here.length.nats == from_file.length.nats
    assert here.mc_stderr == from_file.mc_stderr


def test_a_network_between_two_steps_of_its_training(text):
    """It is scored without dropout, and trains on as if nothing had been."""
    torch.manual_seed(0)
    network = Net()
    network.norm.eval()
    tokens, generator = torch.arange(L).expand(2, L), torch.get_rng_state()
    result = bpb_harness.evaluate(network, **text, method="mc")
    assert torch.equal(torch.get_rng_state(), generator)
    assert (network.training, network.dropout.training, network.norm.training) == (True, True, False)
    assert network.embedding.weight.grad is None
    network.logits(tokens, None).sum().backward()  # the table is one that autograd takes
    assert network.embedding.weight.grad is not None
    signature = Signature.parse(str(result))
    assert (signature.adapter, signature.contract) == ("in-memory/Net", "own-process")
    assert signature.schedule == "loglinear"
    assert result.bits_per_token > 0
    again = bpb_harness.evaluate(network, **text, method="mc")
    assert (str(again), again.length.nats) == (str(result), result.length.nats)
    assert bpb_harness.evaluate(network.eval(), **text, method="mc").length.nats == result.length.nats


def test_modes_come_back_after_a_refusal(text, monkeypatch):
    network = Net()
    monkeypatch.setattr(Net, "logits", lambda self, xt, level: torch.zeros(*xt.shape, 3))
    with pytest.raises(bpb_harness.errors.HarnessError):
        bpb_harness.evaluate(network, **text)
    assert all(module.training for module in network.modules())


def test_a_network_that_counts_its_calls_is_refused(text):
    class Counts(Net):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def logits(self, xt, level):
            self.calls += 1
            return super().logits(xt, level)

    with pytest.raises(StateMutatedError, match=r"calls"):
        bpb_harness.evaluate(Counts(), **text)


def test_so_is_one_that_is_called_as_a_function_and_holds_a_module(text):
    class Holds(Causal):
        def __call__(self, x):
            self.network[1].bias.data += 1e-3
            return self.network(x)

        def logits(self, x):
            return self(x)

    with pytest.raises(StateMutatedError, match=r"network\.1\.bias"):
        bpb_harness.evaluate(Holds(), **text, method="ar")


def test_a_network_that_overwrites_what_it_is_given_is_told_so(text):
    class Overwrites(Net):
        def logits(self, xt, level):
            xt[:, 0] = 0
            return super().logits(xt, level)

    with pytest.raises(ContextLengthError, match=r"it overwrites what it is given, .* on a copy, x\.clone\(\)$"):
        bpb_harness.evaluate(Overwrites(), **text)


def test_a_causal_network(text):
    result = bpb_harness.evaluate(Causal(), **text, method="ar")
    assert (result.relation, Signature.parse(str(result)).adapter) == ("=", "in-memory/Causal")
    unnamed = bpb_harness.evaluate(Causal(), **text)
    assert unnamed.signature.method == "ar"
    assert "scored by --method ar: none was given" in " ".join(remark.message for remark in unnamed.remarks)
    with pytest.raises(UsageError, match="--method discrete: got Causal, which has no mask_token_id"):
        bpb_harness.evaluate(Causal(), **text, method="discrete")


def test_a_network_without_parameters_needs_a_name(text):
    with pytest.raises(UsageError, match=r"pass name=TEXT, which stands in the signature"):
        bpb_harness.evaluate(Plain(), **text, schedule="loglinear")
    one, other, same = (
        bpb_harness.evaluate(Plain(), **text, schedule="loglinear", name=name, method="mc", check_contract=False)
        for name in ("the first", "b|2", "the first")
    )
    first, second = Signature.parse(str(one)), Signature.parse(str(other))
    assert (first.adapter, second.adapter) == ("in-memory/the_first", "in-memory/b_2")
    assert first.model != second.model
    assert str(one) == str(same)
    with pytest.raises(UsageError, match=r"--resume: got a network in memory without parameters"):
        InMemory(Plain(), Settings(name="x", schedule="loglinear", resume="a.draws"))


def settings(**more) -> Settings:
    return Settings(**{"schedule": "loglinear", "data": "val.bin", "tokenizer": "tok.model"} | more)


def digest(network, **more) -> str:
    return InMemory(network, settings(**more)).checkpoint.digest


def test_the_digest_is_that_of_names_types_shapes_and_bits():
    network = Net()
    same, compiled = copy.deepcopy(network), torch.compile(network)
    assert digest(same) == digest(network) == digest(compiled) == digest(network, name="else")
    assert len(digest(network)) == 64
    with torch.no_grad():
        same.head.bias[-1] = torch.nextafter(same.head.bias[-1], torch.tensor(9.0))
    swapped = copy.deepcopy(network)
    swapped.head.weight.data = swapped.head.weight.data.T.contiguous().view(V, 8)
    wide = copy.deepcopy(network).double()
    counted = copy.deepcopy(network)
    counted.register_buffer("steps", torch.tensor(3))
    assert len({digest(each) for each in (network, same, swapped, wide, counted)}) == 5


@pytest.mark.parametrize(
    "zeros",
    [torch.zeros(2, 3), torch.zeros(3, 2), torch.zeros(6), torch.zeros(3), torch.zeros(2, 3, dtype=torch.int32)],
    ids=lambda zeros: f"{tuple(zeros.shape)} of {zeros.dtype}",
)
def test_zeros_of_other_shapes_and_types_are_others(zeros):
    def with_buffer(values, name="zeros"):
        network = nn.Module()
        network.register_buffer(name, values)
        for kept in ("vocab_size", "mask_token_id", "context_length", "time_conditioned", "logits"):
            setattr(network, kept, getattr(Plain(), kept))
        return digest(network)

    every = [torch.zeros(2, 3), torch.zeros(3, 2), torch.zeros(6), torch.zeros(3), torch.zeros(2, 3, dtype=torch.int32)]
    same = [with_buffer(other) == with_buffer(zeros) for other in every]
    assert sum(same) == 1
    assert with_buffer(zeros, "others") != with_buffer(zeros)


def test_the_digest_finds_modules_among_attributes():
    one, other = Causal(), Causal()
    assert digest(one, method="ar", schedule=None) != digest(other, method="ar", schedule=None)
    other.network.load_state_dict(one.network.state_dict())
    assert digest(one, method="ar", schedule=None) == digest(other, method="ar", schedule=None)
    other.network.eval()
    with InMemory(one, settings(method="ar", schedule=None)).evaluated():
        assert not one.network[1].training
    assert one.network[1].training


class Split(Plain):
    """A denoiser of two halves, by methods."""

    def hidden(self, xt, level):
        return torch.nn.functional.one_hot(xt, V + 1).float()

    def head(self, hidden):
        return hidden[:, :V] * 2.0

    def hidden_at(self, xt, level, positions):
        return self.hidden(xt, level).flatten(0, 1)[positions]


class OneArgument(Split):
    def hidden(self, xt):
        return xt


class OfLayers(Net):
    """Layers of those names take anything, until they are called."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(8, 8), nn.Linear(8, V)


class OfContexts(Plain):
    is_stateless = True

    def logits_given(self, xt, level, context_lengths):
        return self.logits(xt, level)


class OfBlocks(Plain):
    block_size = 4

    def block_logits(self, xt, x0, level):
        return self.logits(xt, level)


class OfBlocksOneByOne(Plain):
    block_size = 4


class OfOneBlock(Plain):
    block_size = L


PROTOCOLS = ("hidden", "head", "hidden_at", "logits_given", "block_logits", "block_size")


@pytest.mark.parametrize(
    ("network", "offers"),
    [
        (Plain(), ()),
        (Net(), ()),  # a number and a layer are no methods
        (OfLayers(), ()),
        (Split(), ("hidden", "head", "hidden_at")),
        (OneArgument(), ()),
        (OfContexts(), ("logits_given",)),
        (OfBlocks(), ("block_logits", "block_size")),
        (OfBlocksOneByOne(), ("block_size",)),
        (OfOneBlock(), ()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_methods_are_protocols_and_other_attributes_are_not(network, offers):
    model = InMemory(network, settings(name="x")).adapted.model
    assert tuple(name for name in PROTOCOLS if hasattr(model, name)) == offers
    assert model.is_stateless is isinstance(network, OfContexts)
    assert (model.vocab_size, model.mask_token_id, model.context_length, model.time_conditioned) == (V, V, L, False)


def test_blocks_that_are_asked_one_by_one_are_scored_as_blocks(text):
    of_blocks = Net()
    of_blocks.block_size = 4
    signatures = []
    for size in (4, L, 2 * L):
        of_blocks.block_size = size
        result = bpb_harness.evaluate(of_blocks, method="chain", **text)
        assert result.signature.block_size == ("4" if size == 4 else None)
        signatures.append(str(result))
    assert signatures[1] == signatures[2] != signatures[0]
    of_blocks.block_size = 5
    with pytest.raises(UsageError, match=r"^the network's blocks of 5: got windows of 16 .*; pass --context 15, a"):
        bpb_harness.evaluate(of_blocks, method="chain", **text)


def test_a_causal_model_with_a_number_of_that_name(text):
    plain, named = Causal(), Causal()
    named.network, named.block_size = plain.network, 4
    scores = [bpb_harness.evaluate(network, method="ar", **text) for network in (plain, named)]
    assert str(scores[0]) == str(scores[1])


def test_blocks_as_long_as_the_context_are_not_asked_for_in_one_call(text):
    class OneBlock(OfBlocks):
        block_size = L

        def block_logits(self, xt, x0, level):
            raise AssertionError("a level of each block of 4, of a network whose block is the window")

    for size in (None, 4):
        result = bpb_harness.evaluate(OneBlock(), method="mc", name="x", schedule="loglinear", block_size=size, **text)
        assert result.signature.block_size == (size and str(size))


@pytest.mark.parametrize("size", [None, 0, L + 1, True, 2.0])
def test_a_network_of_blocks_says_how_long_they_are(size):
    network = OfBlocks()
    network.block_size = size
    with pytest.raises(UsageError, match=r"OfBlocks, which has block_logits: block_size: got .*, expected a number of"):
        InMemory(network, settings(name="x"))


def test_low_precision_runs_under_autocast():
    network = Net()
    tokens = torch.arange(L).expand(2, L)
    for dtype in ("float32", "bfloat16"):
        for records in (False, True):  # as a caller that adapts the network asks for it
            with torch.set_grad_enabled(records):
                answer = InMemory(network, settings(dtype=dtype)).adapted.model.logits(tokens, tokens)
            assert (answer.dtype, answer.requires_grad) == (getattr(torch, dtype), records)
    with torch.inference_mode():
        assert not InMemory(network, settings()).adapted.model.logits(tokens, tokens).requires_grad


def test_the_callers_autocast_is_not_the_scores(text):
    network, shared = Net(), text | {"method": "mc", "check_contract": False}
    plain = bpb_harness.evaluate(network, **shared)
    with torch.autocast("cpu", torch.bfloat16):
        inside = bpb_harness.evaluate(network, **shared)
    assert (str(inside), inside.length.nats) == (str(plain), plain.length.nats)


def test_draws_are_kept_for_the_same_parameters_alone(text, tmp_path):
    network, shared = Net(), text | {"method": "mc", "check_contract": False, "resume": tmp_path / "a.draws"}
    first = bpb_harness.evaluate(network, **shared)
    again = bpb_harness.evaluate(network, **shared)
    assert (again.length.nats, again.num_forward_tokens) == (first.length.nats, 0)
    with torch.no_grad():
        network.head.bias[0] += 1.0
    with pytest.raises(UsageError, match="model:"):
        bpb_harness.evaluate(network, **shared)


def lacking(*names, **instead):
    kept = {name: getattr(Plain, name) for name in vars(Plain) if name[0] != "_" and name not in names}
    return type("Lacking", (), kept | instead)()


class Wrapper(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (None, "got NoneType, which has no logits, no vocab_size, no context_length, expected a path"),
        (nn.Linear(2, 2), "got Linear, which has no logits, no vocab_size, no context_length, expected a path"),
        (Net, "got the class Net, expected a path, a Denoiser or a CausalLM (bpb_harness.denoiser); pass an object of"),
        (lacking("logits"), "got Lacking, which has no logits, expected"),
        (lacking("mask_token_id"), "got Lacking, which has no mask_token_id, expected"),
        (lacking("time_conditioned"), "got Lacking, which has no time_conditioned, expected"),
        (lacking("time_conditioned", "context_length"), "which has no context_length, no time_conditioned, expected"),
        (Wrapper(Net()), "a Denoiser or a CausalLM (bpb_harness.denoiser); pass its .module"),
        (Wrapper(nn.Linear(2, 2)), "docs/training-loop.md shows what a network must have"),
        (lacking(logits=3), "Lacking.logits: got int, expected a method"),
        (lacking(logits=nn.Linear(2, 2)), "Lacking.logits: got Linear, expected a method"),
        (lacking(vocab_size=0), "Lacking.vocab_size: got 0, expected a whole number, 1 or more"),
        (lacking(vocab_size=True), "Lacking.vocab_size: got True, expected a whole number, 1 or more"),
        (lacking(context_length=2.0), "Lacking.context_length: got 2.0, expected a whole number, 1 or more"),
        (lacking(context_length=None), "Lacking.context_length: got None, expected a whole number, 1 or more"),
        (lacking(mask_token_id=-1), "Lacking.mask_token_id: got -1, expected a whole number, 0 or more"),
        (lacking(time_conditioned="no"), "Lacking.time_conditioned: got 'no', expected True or False"),
        (lacking(time_conditioned=None), "Lacking.time_conditioned: got None, expected True or False"),
        (lacking("mask_token_id", "time_conditioned"), "--method discrete: got Lacking, which has no mask_token_id: an "
         "autoregressive model, expected --method ar; a masked denoiser has mask_token_id and time_conditioned"),
        (Net().to("meta"), "got embedding.weight on meta, expected all parameters on one device, cpu or cuda"),
        (Net().bfloat16(), "dtype='float32': got parameters in bfloat16, expected dtype='bfloat16'; dtype='bf"),
        (Net().half(), "dtype='float32': got parameters in float16, expected parameters in float32, or in bfloat16"),
    ],
)  # fmt: skip
def test_what_cannot_be_scored_is_named(network, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        InMemory(network, settings(name="x"))


def test_a_lazy_layer_is_named():
    network = Net()
    network.later = nn.LazyLinear(3)
    with pytest.raises(UsageError, match=r"a network in memory: later\.weight: got no value yet"):
        InMemory(network, settings())


def test_layers_on_two_devices_are_named():
    network = Net()
    network.head.to("meta")
    with pytest.raises(UsageError, match=r"got .* on cpu, .* on meta, expected all parameters on one device"):
        InMemory(network, settings())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_precision_that_a_setting_names_is_taken(dtype):
    assert InMemory(Net().to(dtype), settings()).device == "cpu"
    assert InMemory(Net().bfloat16(), settings(dtype="bfloat16")).device == "cpu"


def test_a_network_is_scored_where_it_is():
    with pytest.raises(UsageError, match=r"--device cuda: got parameters on cpu, expected device='cpu'; a network in"):
        InMemory(Net(), settings(device="cuda"))
    assert InMemory(Plain(), settings(name="x")).device == "cpu"


@pytest.mark.parametrize(
    ("name", "value"), [("adapter", "a"), ("weights", "ema"), ("model", "a.py:f"), ("allow_code", True)]
)
def test_what_says_how_to_read_a_checkpoint_is_refused(name, value):
    with pytest.raises(UsageError, match=rf"{name}={value!r} says how to read a checkpoint: .*; leave out {name}"):
        InMemory(Net(), settings(**{name: value}))


def test_all_that_nobody_says_is_asked_for_at_once(text):
    with pytest.raises(UsageError) as caught:
        bpb_harness.evaluate(Plain(), data=text["data"])
    assert str(caught.value) == (
        "a network in memory, Plain, does not say all that a checkpoint says; pass tokenizer=FILE, whose pieces its "
        "token ids are; and schedule='loglinear[0.001]', or another, that it was trained with; and name=TEXT, which "
        "stands in the signature for the digest of parameters that it does not have"
    )


def test_nothing_to_score_is_said(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BPB_DATA", raising=False)
    with pytest.raises(UsageError, match=r"nothing to score: got no --data, no --docs.* in a network in memory"):
        bpb_harness.evaluate(Net())


def test_a_schedule_may_be_the_networks_own_and_is_overruled(text):
    network = Net()
    network.schedule = LogLinear(0.25)
    assert InMemory(network, settings(schedule=None)).adapted.schedule == LogLinear(0.25)
    result = bpb_harness.evaluate(network, **text, schedule="cosine-md4[0.01]", method="mc", check_contract=False)
    assert "|sched:cosine-md4[0.01]|" in str(result)


def test_a_path_has_no_name():
    with pytest.raises(UsageError, match=r"name='x': got a path, expected a network in memory; leave out name"):
        bpb_harness.evaluate("x.pt", name="x")


def test_networks_of_several_processes_are_compared_before_they_are_scored(text, monkeypatch):
    monkeypatch.setattr(score, "open_processes", lambda **_: nullcontext(Processes(0, 2)))
    monkeypatch.setattr(Processes, "gather", lambda self, value: [value, ("b" * 64, *value[1:])])
    with pytest.raises(UsageError, match="processes that score one network"):
        bpb_harness.evaluate(Net(), **text, check_contract=False)


@pytest.mark.parametrize(("source", "hint"), [(None, "$"), ("a file", "; score copies of files that nothing writes")])
def test_processes_bring_one_network_and_one_text(monkeypatch, source, hint):
    network, corpus, tokenizer = (SimpleNamespace(digest=letter * 64) for letter in "ace")
    job = SimpleNamespace(source=source, identity=network, text=SimpleNamespace(corpus=corpus, tokenizer=tokenizer))
    for others, seen in (
        ("bce", "networks aaaaaaaa, b"),
        ("ade", "texts cccccccc, d"),
        ("acf", "tokenizers eeeeeeee, f"),
    ):
        other = tuple(letter * 64 for letter in others)
        monkeypatch.setattr(Processes, "gather", lambda self, value, other=other: [value, other])
        with pytest.raises(UsageError, match=f"got {seen}.*, expected the same in each{hint}"):
            score._require_one_score(job, Processes(0, 2))
    monkeypatch.setattr(Processes, "gather", lambda self, value: [value, value])
    score._require_one_score(job, Processes(0, 2))
