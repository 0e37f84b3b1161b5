"""Compressed artifacts: rounding, the round trip, the cap, and files that somebody made by hand."""

from __future__ import annotations

import io
import lzma
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from bpb_harness.adapters import load_model
from bpb_harness.checkpoints import read_checkpoint, save_checkpoint
from bpb_harness.errors import CheckpointError, NumericsError, UnsafeCheckpointError, UsageError
from bpb_harness.networks.reference import ReferenceConfig, ReferenceDenoiser
from reference.export import export, quantize_rows
from reference.model import initial_network

CONFIG = ReferenceConfig(vocab_size=60, context_length=16, num_layers=2, width=32, num_heads=2, mlp_width=64)


def write_checkpoint(path: Path, config: ReferenceConfig = CONFIG) -> Path:
    network = initial_network(config, seed=3)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    save_checkpoint(
        path, tensors=network.state_dict(), adapter="reference", config=config.to_dict(), schedule="loglinear[0.001]",
        tokenizer=b"tokenizer bytes",
    )  # fmt: skip
    return path


@pytest.mark.parametrize(("bits", "most"), [(8, 127), (6, 31)])
def test_levels_are_within_range_and_rounding_is_fine(bits: int, most: int) -> None:
    weights = torch.randn(64, 300, generator=torch.Generator().manual_seed(0)) * torch.logspace(-3, 1, 64)[:, None]
    weights[5] = 0.0
    weights[6] = 1e-12  # below what a float16 step can say
    levels, steps = quantize_rows(weights, bits)
    assert levels.dtype == torch.int8
    assert steps.dtype == torch.float16
    assert int(levels.abs().max()) == most
    error = levels.float() * steps.float()[:, None] - weights
    assert not bool(error[5].any())
    assert error[6].abs().max() <= 1e-12
    relative = error[7:].square().mean(dim=1).sqrt() / weights[7:].square().mean(dim=1).sqrt()
    assert float(relative.max()) < 4.5 / most / 12**0.5  # a uniform error over steps of 4.5 deviations / most
    whole = (weights[7:].abs().amax(dim=1, keepdim=True) / most).half().float()
    plain = ((weights[7:] / whole).round().clamp(-most, most) * whole - weights[7:]).square().sum(dim=1)
    assert bool((error[7:].square().sum(dim=1) <= plain * (1 + 1e-6)).all())  # never worse than the plain step


@pytest.mark.parametrize("bits", [8, 6])
def test_artifact_loads_as_the_rounded_network(tmp_path: Path, bits: int) -> None:
    source, out = write_checkpoint(tmp_path / "model.pt"), tmp_path / "model.ptz"
    done = export(source, out, bits=bits)
    assert done.num_bytes == out.stat().st_size < source.stat().st_size / 2
    before, after = read_checkpoint(source), read_checkpoint(out)
    assert after.layout == "native-int8"
    for name in ("adapter", "config", "schedule", "tokenizer", "data"):
        assert getattr(after, name) == getattr(before, name)
    assert before.tensors.keys() == after.tensors.keys()
    for name, weights in before.tensors.items():
        levels, steps = quantize_rows(weights, bits)
        assert torch.equal(after.tensors[name], levels.float() * steps.float()[:, None])
    _, adapted = load_model(out, device=torch.device("cpu"), dtype=torch.float32)
    assert isinstance(adapted.model, ReferenceDenoiser)
    assert export(source, tmp_path / "again.ptz", bits=bits) == done
    assert (tmp_path / "again.ptz").read_bytes() == out.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.ptz", "model.pt", "model.ptz"]


def test_six_bits_of_bell_shaped_weights_cost_less_than_six_bits(tmp_path: Path) -> None:
    wide = ReferenceConfig(vocab_size=60, context_length=16, num_layers=2, width=192, num_heads=2, mlp_width=768)
    done = export(write_checkpoint(tmp_path / "model.pt", wide), tmp_path / "model.ptz", bits=6)
    assert 8 * done.num_bytes / done.num_parameters < 5.7  # 21 million parameters: 15.0 million bytes


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "model.pt")
    out = tmp_path / "model.ptz"
    with pytest.raises(CheckpointError, match=r"too large: got .* in 8 bits, expected at most 1,000; pass --bits 6"):
        export(source, out, bits=8, cap_bytes=1000)
    with pytest.raises(CheckpointError, match="train a smaller network"):
        export(source, out, bits=6, cap_bytes=1000)
    with pytest.raises(UsageError, match=r"ends in \.ptz"):
        export(source, tmp_path / "model.zip")
    with pytest.raises(UsageError, match="--bits: got 4"):
        export(source, out, bits=4)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        export(tmp_path / "none.pt", out)
    export(source, out)
    with pytest.raises(CheckpointError, match="layout native-int8"):
        export(out, tmp_path / "twice.ptz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pt", "model.ptz"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 3e38])
def test_weights_that_are_no_numbers_are_refused_and_leave_nothing(tmp_path: Path, value: float) -> None:
    """The last one is a number, whose row has no step in float16."""
    network = initial_network(CONFIG, seed=3)
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    tensors["embedding.weight"][3, 2] = value
    save_checkpoint(
        tmp_path / "m.pt", tensors=tensors, adapter="reference", config=CONFIG.to_dict(), schedule="loglinear[0.001]",
        tokenizer=b"tokenizer bytes",
    )  # fmt: skip
    with pytest.raises((CheckpointError, NumericsError)) as caught:
        export(tmp_path / "m.pt", tmp_path / "m.ptz")
    assert value == 3e38 or str(caught.value).startswith("m.pt: tensor 'embedding.weight': got 1 of ")
    assert [path.name for path in tmp_path.iterdir()] == ["m.pt"]
    with pytest.raises(CheckpointError) if value != 3e38 else nullcontext() as loaded:
        load_model(tmp_path / "m.pt", device=torch.device("cpu"), dtype=torch.float32)
    assert loaded is None or str(loaded.value).startswith("m.pt: reference network: tensor 'embedding.weight'")


def rewritten(source: Path, path: Path, **changes: Any) -> Path:
    """An artifact with some of its entries changed."""
    content = torch.load(io.BytesIO(lzma.decompress(source.read_bytes())), weights_only=True)
    buffer = io.BytesIO()
    torch.save({**content, **changes}, buffer)
    path.write_bytes(lzma.compress(buffer.getvalue()))
    return path


def test_damaged_and_hostile_artifacts_are_one_line(tmp_path: Path) -> None:
    out = tmp_path / "model.ptz"
    export(write_checkpoint(tmp_path / "model.pt"), out)
    good = out.read_bytes()
    bad = tmp_path / "bad.ptz"
    bomb = lzma.compress(bytes(17 << 20), preset=0)  # 16 MiB are never too much
    huge_dictionary = lzma.compress(b"x", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 28}])
    for content, error, message in (
        (good[: len(good) // 2], CheckpointError, "truncated|damaged"),
        (good[:6], CheckpointError, "truncated"),
        (good[:100] + bytes([good[100] ^ 255]) + good[101:], CheckpointError, "damaged"),
        (bomb, UnsafeCheckpointError, "unpacks to more than"),
        (huge_dictionary, CheckpointError, "damaged"),
        (lzma.compress(b"not a checkpoint"), CheckpointError, "bad.ptz"),
    ):
        bad.write_bytes(content)
        with pytest.raises(error, match=message) as caught:
            read_checkpoint(bad)
        assert "\n" not in str(caught.value)
    levels = torch.ones(4, 5, dtype=torch.int8)
    for changes, message in (
        ({"quantized": {"a": levels}, "scales": {}}, "scales of a"),
        ({"quantized": {"a": levels}, "scales": {"a": torch.ones(3)}}, "scales of a: got [3]"),
        ({"quantized": {"a": levels[0, 0]}, "scales": {"a": torch.ones(3)}}, "scales of a"),
        ({"quantized": [levels]}, "state dict"),
        ({"tensors": {"head.weight": torch.ones(2)}}, "both quantized and not"),
    ):
        with pytest.raises(CheckpointError, match=re.escape(message)):
            read_checkpoint(rewritten(out, bad, **changes))


@pytest.mark.parametrize("tokenizer", [None, b"tokenizer bytes"])
def test_an_artifact_carries_what_its_checkpoint_does(tmp_path: Path, tokenizer: bytes | None) -> None:
    network = initial_network(CONFIG, seed=3)
    for data in (None, {"paths": ["val.bin"], "notes": {}}):
        save_checkpoint(
            tmp_path / "m.pt", tensors=network.state_dict(), adapter="reference", config=CONFIG.to_dict(),
            schedule="loglinear[0.001]", tokenizer=tokenizer, data=data,
        )  # fmt: skip
        source = read_checkpoint(tmp_path / "m.pt")
        (tmp_path / "below").mkdir(exist_ok=True)
        beside, below = tmp_path / "m.ptz", tmp_path / "below" / "m.ptz"
        for out in (beside, below):
            export(tmp_path / "m.pt", out)
            saved = read_checkpoint(out)
            assert (saved.tokenizer, saved.schedule, saved.adapter) == (source.tokenizer, source.schedule, "reference")
            assert saved.data == (data if out is beside else None)  # its paths begin at the folder of the file


def test_refusals_of_an_export_in_whole(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "model.pt")

    def said(out: str, **options: Any) -> str:
        with pytest.raises((UsageError, CheckpointError)) as caught:
            export(source, tmp_path / out, **options)
        return str(caught.value)

    assert said("m.zip") == "--out: got 'm.zip', expected a name that ends in .ptz"
    assert said("m.ptz", bits=4) == "--bits: got 4, expected 8 or 6"
    num_parameters = sum(tensor.numel() for tensor in read_checkpoint(source).tensors.values())
    size = export(source, tmp_path / "m.ptz").num_bytes
    export(source, tmp_path / "m.ptz", cap_bytes=size)
    assert said("m.ptz", cap_bytes=size - 1) == (
        f"the artifact is too large: got {size:,} bytes for {num_parameters:,} parameters in 8 bits, expected at most "
        f"{size - 1:,}; pass --bits 6"
    )


def test_the_rounding_error_is_that_of_all_weights(tmp_path: Path) -> None:
    done = export(write_checkpoint(tmp_path / "model.pt"), tmp_path / "m.ptz", bits=6)
    before, after = (read_checkpoint(tmp_path / name).tensors for name in ("model.pt", "m.ptz"))
    error = torch.cat([(after[name].double() - before[name].double()).flatten() for name in before])
    weights = torch.cat([before[name].double().flatten() for name in before])
    assert done.relative_error == pytest.approx(float(error.norm() / weights.norm()))
    assert done.num_parameters == len(weights)
