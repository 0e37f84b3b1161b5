"""A run's account of itself: what it reports, saves, resumes and refuses."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bpb_harness.checkpoints import read_checkpoint
from bpb_harness.distributed import Processes
from bpb_harness.errors import CheckpointError, CorpusError, NumericsError, TokenizerError, UsageError
from fixtures import build
from reference import run as runs
from reference.data import dropout_seed
from reference.objective import head_nll
from reference.optimizer import MovingAverage
from reference.run import Run
from reference.settings import Training
from tests.shards import write_shard
from tests.tiny_training import tiny_training


@pytest.fixture
def val(tmp_path: Path) -> Path:
    """Validation data beside the checkpoint."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "val.bin").write_bytes(build.VALIDATION.read_bytes())
    return folder / "val.bin"


def objectives(training: Training, processes: Processes) -> list[tuple[float, torch.Tensor]]:
    """What the first step of every stage says and its gradient, of a network that tells tokens apart."""
    run = Run(training, processes)
    with torch.no_grad():
        run.network.head.weight.normal_(generator=torch.Generator().manual_seed(3))
    found = []
    for stage in run._stages:
        nats = run._take_gradient(stage)
        gradient = torch.cat([each.grad.flatten() for each in run.network.parameters() if each.grad is not None])
        found.append((float(nats), gradient))
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {"mask_rates": "bell"},
        {"mask_rates": "low", "causal_rows": 0.25},
        {"block_size": 4, "causal_share": 0.25, "mask_rates": "bell"},
        {"objective": "ar"},
    ],
)
def test_shares_of_a_step_are_the_step(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Whatever is trained, objective and gradient of a batch are the means of those of its shares."""
    training = tiny_training(tmp_path / "m.pt", short_context=16, batch_tokens=256, **changes)
    alone = objectives(training, Processes())
    shares = [objectives(training, Processes(rank, 2)) for rank in range(2)]
    for (nats, gradient), *parts in zip(alone, *shares, strict=True):
        assert sum(each for each, _ in parts) / 2 == pytest.approx(nats, rel=1e-5)
        torch.testing.assert_close(sum(each for _, each in parts) / 2, gradient, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("objective", "kind"), [("mdlm", "NELBO"), ("ar", "NLL")])
def test_where_a_run_stands(tmp_path: Path, val: Path, objective: str, kind: str) -> None:
    run = Run(tiny_training(tmp_path / "m.pt", objective=objective, val_data=(val,), val_windows=4))
    assert math.isnan(run.recent_bits())
    for step in range(3):
        run.take_step(step / 3)
    assert run.recent_bits() == pytest.approx(sum(run.history) / 3 / math.log(2.0))
    assert run.recent_bits(1) == pytest.approx(run.history[-1] / math.log(2.0))
    result = run.validate()
    assert result is not None
    assert result.length.num_windows == 4
    assert result.signature.method == ("mc" if objective == "mdlm" else "ar")
    assert result.signature.num_samples == ("1" if objective == "mdlm" else None)
    assert result.relation == ("~<=" if objective == "mdlm" else "=")
    assert run.report() == (
        f"step 3: training {run.recent_bits():.4f} bits/token, validation (on training text) {kind} "
        f"{result.length.bits_per_token:.4f} ({result.length.bits_per_byte:.4f} bpb)"
    )
    plain = Run(tiny_training(tmp_path / "m.pt", objective=objective))
    plain.take_step(0.0)
    assert plain.report() == f"step 1: training {plain.recent_bits():.4f} bits/token"
    assert plain.validate() is None
    tokens = (len(build.VALIDATION.read_bytes()) - 1024) // 2
    windows = "4 windows of 32 a step, on cpu, torch " + torch.__version__
    parameters = sum(parameter.numel() for parameter in plain.network.parameters())
    assert plain.description == f"{objective}: {parameters:,} parameters, {tokens:,} tokens of data, {windows}"


@pytest.mark.parametrize("objective", ["mdlm", "ar"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_saved(tmp_path: Path, val: Path, objective: str, dtype: str) -> None:
    out = tmp_path / "m.pt"
    settings = tiny_training(out, objective=objective, val_data=(val,), export_dtype=dtype, schedule="loglinear[0.01]")
    run = Run(settings)
    run.take_step(0.0)
    run.save(seconds=2.5)
    state = torch.load(settings.state_path, weights_only=True)
    assert state["data"] == {"shards": [run.shards.files[0].fingerprint], "tokenizer": run.tokenizer.digest}
    assert state.keys() == {"identity", "data", "step", "seconds", "history", "network", "average", "optimizers"}
    assert (state["identity"], state["step"], state["seconds"]) == (settings.identity(), 1, 2.5)
    assert state["history"] == run.history
    assert all(torch.equal(state["network"][name], held) for name, held in run.network.state_dict().items())
    assert all(torch.equal(state["average"][name], held) for name, held in run.weights.items())
    saved = read_checkpoint(out)
    assert (saved.adapter, saved.tokenizer) == ("reference", build.TOKENIZER.read_bytes())
    assert saved.schedule == ("loglinear[0.01]" if objective == "mdlm" else None)
    assert saved.config == run.config.to_dict()
    assert saved.data == {"paths": ["data/val.bin"], "notes": {}}
    assert run.names_its_data
    for name, held in run.weights.items():
        assert torch.equal(saved.tensors[name], held.to(getattr(torch, dtype)))


@pytest.mark.parametrize("tied_head", [False, True])
def test_a_step_takes_its_rates_its_dropout_and_its_place_in_the_average(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tied_head: bool
) -> None:
    seeds: list[tuple[int, ...]] = []

    def noted(*of: int) -> int:
        seeds.append(of)
        return dropout_seed(*of)

    monkeypatch.setattr(runs, "dropout_seed", noted)
    run = Run(tiny_training(tmp_path / "m.pt", dropout=0.5, seed=4, tied_head=tied_head))
    expected = MovingAverage(run.network, run.training.ema)
    for step, progress in enumerate((0.0, 0.4, 0.7)):
        before = [parameter.detach().clone() for parameter in run.network.parameters()]
        run.take_step(progress)
        assert [seed[:2] for seed in seeds] == [(4, taken) for taken in range(step + 1)]
        for optimizer in run.optimizers:
            for group in optimizer.param_groups:
                assert group["lr"] == pytest.approx(group["initial_lr"] * (0.05, 1.0, 0.5)[step])
        assert any(not torch.equal(*pair) for pair in zip(before, run.network.parameters(), strict=True))
        expected.update(step + 1)
    assert all(torch.equal(run.weights[name], held) for name, held in expected.state_dict().items())


def test_a_run_with_a_tied_head_is_scored_and_resumed(tmp_path: Path, val: Path) -> None:
    settings = tiny_training(tmp_path / "m.pt", tied_head=True, val_data=(val,), val_windows=4)
    first = Run(settings)
    first.take_step(0.2)
    first.save(seconds=1.0)
    again = Run(settings)
    again.resume()
    for run in (first, again):
        run.take_step(0.4)
    assert all(torch.equal(first.weights[name], held) for name, held in again.weights.items())
    assert read_checkpoint(settings.out).config["tied_head"] is True
    scored = [run.validate() for run in (first, again)]
    assert scored[0] is not None
    assert scored[0].length == scored[1].length  # type: ignore[union-attr]
    with pytest.raises(CheckpointError, match="--resume with another --tied-head: got False now, True in"):
        Run(replace(settings, tied_head=False)).resume()


def test_one_process_of_several_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[int] = []
    monkeypatch.setattr(Processes, "wait", lambda self: waited.append(self.rank))
    settings = tiny_training(tmp_path / "m.pt")
    for rank, written in ((1, False), (0, True)):
        Run(settings, Processes(rank, 2)).save(seconds=1.0)
        assert settings.out.exists() is settings.state_path.exists() is written
    assert waited == [1, 0]


def test_folders_of_what_is_saved_are_made(tmp_path: Path) -> None:
    run = Run(tiny_training(tmp_path / "not" / "there" / "m.pt"))
    run.save(seconds=0.0)
    assert sorted(path.name for path in (tmp_path / "not" / "there").iterdir()) == [
        "m.pt",
        run.training.state_path.name,
    ]


def test_validation_does_not_change_the_run(tmp_path: Path, val: Path) -> None:
    run = Run(tiny_training(tmp_path / "m.pt", val_data=(val,), val_windows=4))
    first, again = run.validate(), run.validate()
    assert first is not None
    assert again is not None
    assert first.length == again.length
    assert all(parameter.requires_grad for parameter in run.network.parameters())
    other = Run(tiny_training(tmp_path / "m.pt", val_data=(val,), val_windows=4, seed=1)).validate()
    assert other is not None
    assert other.signature.seed != first.signature.seed
    # An untrained network predicts every token with the same chance, whatever the masks.
    assert first.length.bits_per_token == pytest.approx(9.0, abs=1e-5)


@pytest.mark.parametrize("where", ["elsewhere", "one of two"])
def test_data_outside_the_checkpoints_folder_are_not_named(tmp_path: Path, val: Path, where: str) -> None:
    given = (build.VALIDATION,) if where == "elsewhere" else (val, build.VALIDATION)
    run = Run(tiny_training(tmp_path / "m.pt", val_data=given))
    assert not run.names_its_data
    assert not Run(tiny_training(tmp_path / "m.pt")).names_its_data


def test_weights_and_batches_are_of_the_seed(tmp_path: Path) -> None:
    def taken(**changes: Any) -> list[float]:
        run = Run(tiny_training(tmp_path / "m.pt", **changes))
        for _ in range(6):
            run.take_step(0.5)
        return run.history

    assert taken() == taken(seed=0)
    assert taken() != taken(seed=1)
    assert taken(clip=0.0) != taken(clip=1e-3)
    assert taken() != taken(lr=1e-4)


def test_an_objective_that_is_no_number_is_refused_before_it_is_saved(tmp_path: Path) -> None:
    run = Run(tiny_training(tmp_path / "m.pt"))
    with torch.no_grad():
        run.network.embedding.weight.fill_(float("nan"))
    run.take_step(0.5)
    with pytest.raises(NumericsError, match="objective before step 1"):
        run.save(seconds=1.0)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_resumed_is_said(tmp_path: Path) -> None:
    settings = tiny_training(tmp_path / "m.pt")
    run = Run(settings)

    def said() -> str:
        with pytest.raises(CheckpointError) as caught:
            run.resume()
        return str(caught.value)

    state = settings.state_path
    hint = "leave --resume out, or pass --overwrite instead"
    assert said() == f"no state to resume from: {state}; {hint}"
    run.save(seconds=1.0)
    saved = torch.load(state, weights_only=True)
    for name in ("lr", "batch_tokens", "seed"):
        torch.save({**saved, "identity": {**saved["identity"], name: 7}}, state)
        now = settings.identity()[name]
        assert said() == f"--resume with another --{name.replace('_', '-')}: got {now} now, 7 in {state}"
    of_before = {key: held for key, held in saved["identity"].items() if key != "mlp_width"}
    torch.save({**saved, "identity": of_before}, state)
    run.resume()  # four times the width, as in this run
    other = replace(settings, mlp_width=16)
    with pytest.raises(CheckpointError, match=f"--mlp-width: got 16 now, {4 * settings.width} in"):
        Run(other).resume()
    without = {key: held for key, held in saved["identity"].items() if key not in ("mlp_width", "width")}
    torch.save({**saved, "identity": without}, state)
    assert said().startswith("--resume with another --width: got 16 now, None in ")
    torch.save({key: held for key, held in saved.items() if key != "history"}, state)
    damaged = "it is damaged, or another version wrote it; pass --overwrite to start afresh"
    assert said() == f"cannot read {state}: got KeyError: 'history'; {damaged}"
    torch.save(saved, state)
    run.resume()
    assert (run.step, run.seconds, run.history) == (0, 1.0, [])


def test_a_run_goes_on_with_its_data_wherever_they_lie(tmp_path: Path) -> None:
    """Places in the shards are what a step draws: other tokens, another order or fewer shards are another run."""
    tokens = np.fromfile(build.VALIDATION, dtype="<u2")[512:]
    first, second, copy = tmp_path / "a.bin", tmp_path / "b.bin", tmp_path / "elsewhere.bin"
    write_shard(first, tokens[:9000])
    write_shard(second, tokens[9000:18000])
    copy.write_bytes(first.read_bytes())
    settings = tiny_training(tmp_path / "m.pt", data=(first, second))
    Run(settings).save(seconds=1.0)
    Run(replace(settings, data=(copy, second))).resume()
    hint = "pass what the run was trained on, or --overwrite to start afresh"

    def said(data: tuple[Path, ...]) -> str:
        run = Run(replace(settings, data=data))
        with pytest.raises(CheckpointError) as caught:
            run.resume()
        return str(caught.value)

    one, other = (shard.fingerprint for shard in Run(settings).shards.files)
    what = "--resume with other training --data: got"
    assert said((second, first)) == f"{what} {second}, tokens {other}, expected the shard with tokens {one}; {hint}"
    assert said((first,)) == f"{what} 1 shard, expected 2 shards; {hint}"
    changed = tokens[9000:18000].copy()
    changed[1500:1600] = changed[1600:1700]
    write_shard(second, changed)
    assert said((first, second)).startswith(f"{what} {second}, tokens ")
    state = torch.load(settings.state_path, weights_only=True)
    torch.save({**state, "data": {**state["data"], "tokenizer": "another"}}, settings.state_path)
    assert said((first, second)) == f"--resume with another --tokenizer: got {build.TOKENIZER}; {hint}"
    torch.save({key: held for key, held in state.items() if key != "data"}, settings.state_path)
    Run(settings).resume()  # states of before name no data


def test_validation_on_training_text_is_called_so(tmp_path: Path, val: Path) -> None:
    assert Run(tiny_training(tmp_path / "m.pt", val_data=(val,))).shards_in_both == ["val.bin"]
    tokens = np.fromfile(val, dtype="<u2")[512:]
    write_shard(val, tokens[:9000])
    run = Run(tiny_training(tmp_path / "m.pt", val_data=(val,), val_windows=2))
    assert run.shards_in_both == []
    assert ", validation NELBO " in run.report()


@pytest.mark.parametrize("kept", [0, 1000, -1])
def test_a_state_that_was_cut_short_is_called_so(tmp_path: Path, kept: int) -> None:
    settings = tiny_training(tmp_path / "m.pt")
    Run(settings).save(seconds=1.0)
    whole = settings.state_path.read_bytes()
    settings.state_path.write_bytes(whole[:kept])
    with pytest.raises(CheckpointError) as caught:
        Run(settings).resume()
    assert str(caught.value) == (
        f"cannot read {settings.state_path}: got {len(whole[:kept]):,} bytes that are no whole state of a run; it was "
        "cut short, or another program wrote it; pass --overwrite to start afresh"
    )


def test_what_does_not_fit_the_devices_memory_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tiny_training(tmp_path / "m.pt"))

    def too_large(*_: object) -> None:
        raise torch.OutOfMemoryError("a long story")

    monkeypatch.setattr(run, "objective_nats", too_large)
    for call in (run.prepare, lambda: run.take_step(0.5)):
        with pytest.raises(UsageError) as caught:
            call()
        assert str(caught.value) == (
            "--batch-tokens: got 128, which does not fit into the device's memory; pass fewer, or train on more devices"
        )


def test_a_tokenizer_that_did_not_write_the_shards_is_refused(tmp_path: Path) -> None:
    other = write_shard(tmp_path / "other.bin", [1, *(3 + byte for byte in b"letters one by one")] * 40)
    for shards in ({"data": (other,)}, {"val_data": (other,)}):
        settings = {"context": 16, "batch_tokens": 64, **shards}
        with pytest.raises(TokenizerError):
            Run(tiny_training(tmp_path / "m.pt", **settings))
        Run(tiny_training(tmp_path / "m.pt", check_tokenizer=False, **settings))


@pytest.mark.parametrize("causal", [{"objective": "ar"}, {"block_size": 4, "causal_share": 0.25}, {}])
def test_a_shard_holds_the_longest_window_of_the_run(tmp_path: Path, causal: dict[str, Any]) -> None:
    """One more token than are predicted where next tokens are learnt; in blocks that is so in short windows alone."""
    needed = 33 if causal.get("objective") else 32
    for missing in (0, 1):
        shard = write_shard(tmp_path / "short.bin", [300] * (needed - missing))
        settings = tiny_training(tmp_path / "m.pt", data=(shard,), short_context=16, check_tokenizer=False, **causal)
        if missing:
            with pytest.raises(CorpusError, match=f"{needed - 1} tokens, expected at least one window of {needed}"):
                Run(settings)
        else:
            Run(settings).take_step(0.99)


def test_a_token_beyond_the_vocabulary_is_refused(tmp_path: Path) -> None:
    large = write_shard(tmp_path / "large.bin", [600] * 500)
    for shards in ({"data": (large,)}, {"val_data": (large,)}):
        with pytest.raises(CorpusError, match="600"):
            Run(tiny_training(tmp_path / "m.pt", check_tokenizer=False, **shards))


def test_a_block_is_compiled_once_and_what_comes_after_the_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[Any] = []

    def noted(function: Any, **options: Any) -> Any:
        assert options == {"dynamic": False}
        compiled.append(function)
        return function

    monkeypatch.setattr(torch, "compile", noted)
    run = Run(tiny_training(tmp_path / "m.pt", compile=True, layers=2))
    assert run.prepare() is None
    assert compiled[0] is head_nll
    assert [function.__self__ for function in compiled[1:]] == list(run.network.blocks)
    plain = Run(tiny_training(tmp_path / "m.pt", compile=False, layers=2))
    for each in (run, plain):
        each.take_step(0.5)
    assert run.history == plain.history


def test_kernels_are_imported_where_a_network_is_trained_on_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Imported(Exception):
        pass

    def load(device: torch.device) -> None:
        raise Imported(device.type)

    monkeypatch.setattr(runs, "load_kernels", load)
    Run(tiny_training(tmp_path / "m.pt"))
    monkeypatch.setattr(runs, "pick_device", lambda name: torch.device("cuda"))
    with pytest.raises(Imported, match="cuda"):
        Run(tiny_training(tmp_path / "m.pt"))
