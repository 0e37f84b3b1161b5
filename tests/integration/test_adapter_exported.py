"""Exported programs score what the network scores, and are checked before they are loaded."""

from __future__ import annotations

import importlib.util
import json
import zipfile
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from bpb_harness.adapters import load_model
from bpb_harness.adapters.exported import export_model
from bpb_harness.denoiser import CausalLM, Denoiser, masked_nll
from bpb_harness.errors import CheckpointError, UnsafeCheckpointError, UsageError
from bpb_harness.schedule import LogLinear, NoiseLevel
from fixtures.adversarial.models.cheats import HonestCausalLM, HonestContextDenoiser, HonestDenoiser
from tests.tiers import thorough

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch.export.pt2_archive") is None, reason="this torch writes another layout"
)
_CPU = {"device": torch.device("cpu"), "dtype": torch.float32}
_SCHEDULE = LogLinear(1e-3)


class _Trainable(torch.nn.Module):
    """A trainer's own module that becomes a denoiser with a method and four attributes."""

    vocab_size, mask_token_id, context_length, time_conditioned = 20, 20, 24, True

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = torch.nn.Embedding(21, 16)
        self.mixer = torch.nn.Conv1d(16, 32, 3, padding=1)
        self.dropout = torch.nn.Dropout(0.5)
        self.out = torch.nn.Linear(33, 21)

    def logits(self, xt: torch.Tensor, level: NoiseLevel) -> torch.Tensor:
        h = self.mixer(self.embedding(xt).transpose(1, 2)).transpose(1, 2)
        sigma = level.sigma.float()[:, None, None].expand(-1, xt.shape[1], 1)
        return self.out(torch.cat((self.dropout(h), sigma), dim=-1))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.pt2"
    export_model(HonestDenoiser(), path, schedule="loglinear[0.001]")
    return path


def test_a_denoiser_scores_the_same_for_every_shape(exported: Path) -> None:
    original = HonestDenoiser()
    assert set(size_ranges(exported)) == {(1, original.context_length), (1, 1 << 16)}
    checkpoint, adapted = load_model(exported, **_CPU)
    assert checkpoint.layout == checkpoint.adapter == adapted.adapter == "exported"
    assert adapted.schedule == _SCHEDULE
    model = adapted.model
    assert isinstance(model, Denoiser)
    for name in ("vocab_size", "mask_token_id", "context_length", "time_conditioned"):
        assert getattr(model, name) == getattr(original, name)
    generator = torch.Generator().manual_seed(0)
    for B, L in ((1, 1), (1, 128), (2, 3), (3, 1), (5, 64)):
        x0 = torch.randint(64, (B, L), generator=generator)
        masked = torch.rand(B, L, generator=generator) < 0.5
        level = _SCHEDULE.level(torch.rand(B, generator=generator))
        torch.testing.assert_close(
            masked_nll(model, x0, masked, level), masked_nll(original, x0, masked, level), atol=1e-4, rtol=1e-5
        )


def size_ranges(path: Path) -> list[tuple[int, int]]:
    """Least and most of each size that may vary."""
    with zipfile.ZipFile(path) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("models/model.json")]
        ranges = json.loads(archive.read(name))["range_constraints"]
    return [(limits["min_val"], limits["max_val"]) for limits in ranges.values()]


def test_a_trainers_module_is_exported_in_evaluation_mode_and_left_as_it_was(tmp_path: Path) -> None:
    original = _Trainable().train()
    export_model(original, tmp_path / "x.pt2", schedule="cosine-mdlm[0.001]")
    assert original.training
    original.eval()
    model = load_model(tmp_path / "x.pt2", **_CPU)[1].model
    assert isinstance(model, Denoiser)
    xt, level = torch.randint(21, (3, 11)), _SCHEDULE.level(torch.tensor([0.1, 0.6, 0.9]))
    with torch.no_grad():
        torch.testing.assert_close(model.logits(xt, level), original.logits(xt, level), atol=1e-5, rtol=1e-5)


def test_a_causal_model(tmp_path: Path) -> None:
    original = HonestCausalLM()
    export_model(original, tmp_path / "x.pt2")
    _, adapted = load_model(tmp_path / "x.pt2", **_CPU)
    assert isinstance(adapted.model, CausalLM)
    assert not isinstance(adapted.model, Denoiser)
    assert adapted.schedule is None
    assert set(size_ranges(tmp_path / "x.pt2")) == {(1, adapted.model.context_length), (1, 1 << 16)}
    x = torch.randint(64, (4, 30))
    torch.testing.assert_close(adapted.model.logits(x), original.logits(x), atol=1e-5, rtol=1e-5)


def test_what_is_refused_loads_as_it_is_with_permission(exported: Path, tmp_path: Path) -> None:
    """A compressed copy: the reader of this package refuses it, torch's takes it. It is the same program."""
    path = tmp_path / "x.pt2"
    with zipfile.ZipFile(exported) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for record in old.infolist():
            new.writestr(record.filename, old.read(record))
    path.with_suffix(".json").write_text(
        json.dumps(json.loads(exported.with_suffix(".json").read_text()) | {"sha256": None})
    )
    with pytest.raises(UnsafeCheckpointError, match="compressed"):
        load_model(path, **_CPU)
    checked, unchecked = load_model(exported, allow_code=True, **_CPU)[1], load_model(path, allow_code=True, **_CPU)[1]
    assert checked.notes == ()
    assert any("unchecked" in note for note in unchecked.notes)
    x, level = torch.randint(64, (2, 9)), _SCHEDULE.level(torch.tensor([0.2, 0.8]))
    assert isinstance(checked.model, Denoiser)
    assert isinstance(unchecked.model, Denoiser)
    assert torch.equal(checked.model.logits(x, level), unchecked.model.logits(x, level))


def test_a_network_that_torch_cannot_trace_is_one_line(tmp_path: Path) -> None:
    class LooksAtValues(HonestDenoiser):
        def logits(self, xt: torch.Tensor, level: NoiseLevel) -> torch.Tensor:
            return super().logits(xt, level) * (2.0 if int(xt.sum()) > 10 else 1.0)

    with pytest.raises(CheckpointError, match=r"torch\.export cannot trace LooksAtValues") as caught:
        export_model(LooksAtValues(), tmp_path / "x.pt2")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_takes_no_single_token_is_told_how_to(tmp_path: Path) -> None:
    """Smear gates and hashed bigrams look one token back; what they pad with must come before the slice."""

    class Smears(HonestCausalLM):
        def before(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat((torch.zeros_like(x[:, :1]), x[:, :-1]), dim=1)

        def logits(self, x: torch.Tensor) -> torch.Tensor:
            return super().logits(x) + super().logits(self.before(x))

    class Pads(Smears):
        def before(self, x: torch.Tensor) -> torch.Tensor:
            return functional.pad(x, (1, 0))[:, :-1]

    with pytest.raises(CheckpointError) as caught:
        export_model(Smears(), tmp_path / "x.pt2")
    assert str(caught.value).endswith(
        "; every length from 1 token on must work: where the network leaves the last token out, x[:, :-1], let it pad "
        "first, functional.pad(x, (1, 0))[:, :-1]"
    )
    export_model(Pads(), tmp_path / "x.pt2")
    model = load_model(tmp_path / "x.pt2", **_CPU)[1].model
    assert isinstance(model, CausalLM)
    for length in (1, 2, 9):
        x = torch.randint(64, (2, length))
        torch.testing.assert_close(model.logits(x), Smears().logits(x), atol=1e-5, rtol=1e-5)


class _WithoutLogits(torch.nn.Module):
    vocab_size, mask_token_id, context_length, time_conditioned = 20, 20, 24, True


class _OfBlocks(HonestDenoiser):
    """Such as one that is told the noise, and so has no call for all blocks."""

    block_size = 4


class _NamedAlike(HonestCausalLM):
    """A causal model has no blocks."""

    block_size = 4


def test_a_causal_model_with_a_number_of_that_name(tmp_path: Path) -> None:
    export_model(_NamedAlike(context_length=8), tmp_path / "m.pt2")
    assert isinstance(load_model(tmp_path / "m.pt2", **_CPU)[1].model, CausalLM)


@pytest.mark.parametrize(
    ("model", "schedule", "words"),
    [
        (
            torch.nn.Linear(2, 2),
            None,
            "Linear is no denoiser: got no vocab_size, mask_token_id, context_length, time_co",
        ),
        (
            _WithoutLogits(),
            "loglinear",
            "_WithoutLogits is no denoiser: got no logits, expected vocab_size, mask_token_",
        ),
        (HonestCausalLM(), "loglinear", "HonestCausalLM is no denoiser: got no mask_token_id, time_conditioned"),
        (HonestContextDenoiser(), "loglinear", "HonestContextDenoiser reads contexts or blocks, which an exported"),
        (
            _OfBlocks(),
            "loglinear",
            "which an exported program does not: got blocks of 4 tokens, expected a denoiser that",
        ),
    ],
)
def test_what_a_network_lacks_is_one_line(
    tmp_path: Path, model: torch.nn.Module, schedule: str | None, words: str
) -> None:
    with pytest.raises(CheckpointError) as error:
        export_model(model, tmp_path / "m.pt2", schedule=schedule)
    assert words in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_arguments_of_the_exporter(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"got '\.pt', expected \.pt2"):
        export_model(HonestDenoiser(), tmp_path / "x.pt")
    with pytest.raises(UsageError, match="schedule"):
        export_model(HonestDenoiser(), tmp_path / "x.pt2", schedule="nonsense")


def _tampered(exported: Path, folder: Path, change) -> Path:
    """A copy whose model.json went through ``change``."""
    path = folder / "x.pt2"
    with zipfile.ZipFile(exported) as old, zipfile.ZipFile(path, "w") as new:
        for record in old.infolist():
            data = old.read(record)
            if record.filename.endswith("models/model.json"):
                graph = json.loads(data)
                change(graph)
                data = json.dumps(graph).encode()
            new.writestr(record.filename, data)
    description = json.loads(exported.with_suffix(".json").read_text())
    description["sha256"] = None
    path.with_suffix(".json").write_text(json.dumps(description))
    return path


def test_untampered_copies_load(exported: Path, tmp_path: Path) -> None:
    load_model(_tampered(exported, tmp_path, lambda graph: None), **_CPU)


def test_code_slipped_into_any_string_of_a_real_program_is_refused_or_dropped(exported: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    code = f"__import__('pathlib').Path({str(canary)!r}).touch()"

    def in_guards(graph) -> None:
        graph["guards_code"] = [code]

    def in_metadata(graph) -> None:
        graph["graph_module"]["graph"]["nodes"][0]["metadata"]["stack_trace"] = code

    def in_target(graph) -> None:
        graph["graph_module"]["graph"]["nodes"][0]["target"] = "torch.hub.load"

    def in_input_name(graph) -> None:
        graph["graph_module"]["graph"]["inputs"][-1]["as_tensor"]["name"] = f"x={code}"

    def in_shape(graph) -> None:
        graph["graph_module"]["graph"]["sym_int_values"]["s"] = {"as_expr": {"expr_str": code, "hint": None}}

    def in_size_of_an_input(graph) -> None:
        graph["graph_module"]["graph"]["tensor_values"]["xt"]["sizes"][0] = {"as_expr": {"expr_str": code}}

    def in_symbol(graph) -> None:
        graph["range_constraints"][code] = {"min_val": 1, "max_val": 2}

    def in_spec(graph) -> None:
        for call in graph["graph_module"]["module_call_graph"]:
            if call.get("signature"):
                call["signature"]["in_spec"] = json.dumps([1, {"type": "os.environ", "context": "null"}])

    def in_argument_names(graph) -> None:
        for call in graph["graph_module"]["module_call_graph"]:
            if call.get("signature"):
                call["signature"]["forward_arg_names"] = [f"x={code}"]

    def in_an_argument(graph) -> None:
        node = next(n for n in graph["graph_module"]["graph"]["nodes"] if n["target"].endswith("gelu.default"))
        node["inputs"].append({"name": "approximate", "arg": {"as_string": code}, "kind": 2})

    # What no part of the function depends on is never looked at; all that is read must be understood.
    for harmless in (in_metadata, in_shape, in_spec, in_argument_names):
        load_model(_tampered(exported, tmp_path, harmless), **_CPU)
    for hostile in (in_guards, in_target, in_input_name, in_size_of_an_input, in_symbol, in_an_argument):
        with pytest.raises(UnsafeCheckpointError):
            load_model(_tampered(exported, tmp_path, hostile), **_CPU)
    assert not canary.exists()


def test_the_json_must_describe_this_file(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.pt2"
    path.write_bytes(exported.read_bytes())
    description = json.loads(exported.with_suffix(".json").read_text())
    for changes, line in (
        ({"sha256": "0" * 64}, "describes another file"),
        ({"vocab_size": "64"}, "vocab_size: got '64', expected an int"),
        ({"vocab_size": True}, "vocab_size: got True"),
        ({"context_length": 0}, "context_length: got 0"),
        ({"mask_token_id": -1}, "mask_token_id: got -1"),
        ({"time_conditioned": 1}, "time_conditioned: got 1, expected true or false"),
        ({"format": "other"}, "format: got 'other', expected 'bpb-harness-exported'"),
        ({"format_version": 2}, "format_version: got 2, expected 1"),
        ({"format_version": True}, "format_version: got True, expected 1"),
        ({"torch_version": 2}, "torch_version: got int, expected str"),
        ({"sha256": "abc"}, "sha256: got 'abc', expected 64 hexadecimal digits"),
        ({"kind": "causal"}, "mask_token_id of a causal model"),
        ({"mask_id": 3}, "has a key that is not known: got mask_id"),
        ({"kind": "other"}, "kind: got 'other'"),
        ({"schedule": 5}, "schedule: got 5"),
    ):
        path.with_suffix(".json").write_text(json.dumps({**description, **changes}))
        with pytest.raises(CheckpointError, match=line):
            load_model(path, **_CPU)


def test_a_key_that_stands_twice_beside_a_program_is_refused(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.pt2"
    path.write_bytes(exported.read_bytes())
    text = exported.with_suffix(".json").read_text().replace("{", '{"mask_token_id": 0,', 1)
    path.with_suffix(".json").write_text(text)
    with pytest.raises(CheckpointError, match="the key 'mask_token_id' is there twice, with two values"):
        load_model(path, **_CPU)


def test_the_digest_of_a_model_is_of_the_program_and_what_stands_beside_it(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.pt2"
    path.write_bytes(exported.read_bytes())
    description = json.loads(exported.with_suffix(".json").read_text())
    digests = set()
    for changes in ({}, {"mask_token_id": 63}, {"schedule": "loglinear[0.01]"}, {"context_length": 64}):
        path.with_suffix(".json").write_text(json.dumps({**description, **changes}))
        digests.add(load_model(path, **_CPU)[0].digest)
    assert len(digests) == 4


@thorough(everyday="integration/test_adapter_exported.py::test_a_denoiser_scores_the_same_for_every_shape")
@pytest.mark.lab
def test_a_contest_checkpoint_scores_the_same_bits_exported(lab: Path, tmp_path: Path) -> None:
    original = load_model(lab / "foreign" / "pr1106_small.pt", adapter="golf-mdlm", **_CPU)[1]
    assert isinstance(original.model, Denoiser)
    export_model(original.model, tmp_path / "x.pt2", schedule=str(original.schedule))
    model = load_model(tmp_path / "x.pt2", **_CPU)[1].model
    assert isinstance(model, Denoiser)
    generator = torch.Generator().manual_seed(0)
    x0 = torch.randint(1024, (2, 512), generator=generator)
    masked = torch.rand(2, 512, generator=generator) < 0.5
    level = _SCHEDULE.level(torch.tensor([0.3, 0.7]))
    nats = [masked_nll(network, x0, masked, level).sum() for network in (original.model, model)]
    torch.testing.assert_close(nats[1], nats[0], rtol=1e-5, atol=0.0)
