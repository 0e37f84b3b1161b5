"""``bpb-eval`` as a user runs it: its output, its exit code, and bad input in one line."""

import contextlib
import importlib
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

import bpb_harness
from bpb_harness.checkpoints import read_checkpoint, save_checkpoint
from bpb_harness.cli.eval import main
from bpb_harness.errors import CorpusError, UsageError
from bpb_harness.result import Signature
from tests.commands import settle
from tests.own_json import own_json
from tests.printed import signature_line, without_progress, words_of
from tests.shards import write_shard


@pytest.fixture(scope="module")
def tiny(one_block) -> Path:
    return one_block


@pytest.fixture(scope="module")
def trained(repository) -> Path:
    """For what hangs on how well a network predicts."""
    return repository / "fixtures" / "checkpoints" / "mdlm-tiny.pt"


def in_a_process(*arguments, code=("-m", "bpb_harness", "eval")):
    """Run the command as its own process."""
    return subprocess.run(
        [sys.executable, *code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env={key: value for key, value in os.environ.items() if key != "BPB_DATA"} | {"OMP_NUM_THREADS": "1"},
        check=False,
    )


def bpb_eval(*arguments, cwd: Path | None = None, **environment):
    """Run the command inside this process, which saves importing torch each time; looks like a finished process."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["bpb-eval", *map(str, arguments)])
        patch.delenv("BPB_DATA", raising=False)
        settle(patch)
        for name, value in environment.items():
            patch.setenv(name, value)
        if cwd is not None:
            patch.chdir(cwd)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
    return subprocess.CompletedProcess(arguments, ended.value.code, out.getvalue(), err.getvalue())


def refusal(*arguments, **kwargs) -> str:
    """The one line of a refused command."""
    done = bpb_eval(*arguments, **kwargs)
    assert done.returncode == 2, done.stderr + done.stdout
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("bpb-eval: ")
    assert "Traceback" not in done.stderr
    return done.stderr


def test_the_signature_stands_below_the_score_on_a_line_of_its_own(tiny):
    done = bpb_eval(tiny, "--limit", "4")
    assert done.returncode == 0, done.stderr
    signature = Signature.parse(signature_line(done.stdout))
    assert str(signature) == signature_line(done.stdout)
    assert (signature.method, signature.num_steps, signature.num_samples) == ("discrete", "128", "2")
    assert signature.data.endswith("[0:4/361]")
    assert done.stdout.startswith("~<= ")
    assert "prior" in done.stdout
    assert without_progress(done.stderr) == ""


def test_json_of_a_comparison(trained, tmp_path):
    path = tmp_path / "out.json"
    done = bpb_eval(
        trained, "--compare", "--samples", "8", "--limit", "24", "--no-contract", "--format", "json", "--output", path
    )
    assert (done.returncode, done.stdout) == (0, "")
    plain = own_json(path.read_text())
    both = plain["comparison"]
    assert both["consistent"] is True
    assert both["discrete"] == pytest.approx(plain["bits_per_byte"])
    assert both["gap_bits_per_byte"] == pytest.approx(both["discrete"] - both["mc"])
    assert [row["steps"] for row in both["t_curve"]] == [8, 16, 32, 64, 128, 256, 512, 1024, None]
    assert all(
        a["bits_per_byte"] > b["bits_per_byte"] for a, b in zip(both["t_curve"], both["t_curve"][1:], strict=False)
    )
    assert sum(plain["terms_nats"].values()) == pytest.approx(plain["nats"], rel=1e-12)
    low, high = plain["ci95"]
    assert low < plain["bits_per_byte"] < high
    assert plain["bits_per_byte"] == pytest.approx(plain["bits_per_token"] / plain["bytes_per_token"])
    # the T-curve that f(u) implies goes through what was measured
    at_128 = next(row["bits_per_byte"] for row in both["t_curve"] if row["steps"] == 128)
    assert at_128 == pytest.approx(both["discrete"], abs=4 * (both["gap_stderr"] + both["predicted_gap_stderr"]))


def test_both_methods_alone_are_those_of_the_comparison(tiny):
    shared = ("--limit", "12", "--format", "json", "--no-contract")
    both = own_json(bpb_eval(tiny, "--compare", *shared).stdout)["comparison"]
    for method in ("discrete", "mc"):
        alone = own_json(bpb_eval(tiny, "--method", method, *shared).stdout)
        assert alone["bits_per_byte"] == pytest.approx(both[method], rel=1e-12)


def test_tables_add_up_to_the_total(tiny, tmp_path):
    windows, tokens = tmp_path / "w.parquet", tmp_path / "t.parquet"
    done = bpb_eval(
        tiny, "--limit", "12", "--no-contract", "--format", "json", "--windows", windows, "--tokens", tokens
    )
    plain = own_json(done.stdout)
    by_window, by_token = pd.read_parquet(windows), pd.read_parquet(tokens)
    bits = plain["bits_per_token"] * plain["num_tokens"]
    assert by_window["bits"].sum() == pytest.approx(bits, rel=1e-12)
    assert by_token["share_bits"].sum() == pytest.approx(bits, rel=1e-12)
    assert by_token.groupby("window")["share_bits"].sum().to_numpy() == pytest.approx(
        by_window["bits"].to_numpy(), rel=1e-12
    )
    assert by_window["num_bytes"].sum() == plain["num_bytes"] == by_token["end_byte"].max()
    assert (by_token["first_byte"].to_numpy()[1:] == by_token["end_byte"].to_numpy()[:-1]).all()
    assert (by_window["num_masked"].map(len) == 2).all()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.parquet", "w.parquet"]
    for name, path, table in (("bpb-windows/1", windows, by_window), ("bpb-tokens/1", tokens, by_token)):
        said = {"format": name, "signature": plain["signature"], "version": plain["versions"]["bpb_harness"]}
        assert table.attrs == said
        metadata = pq.read_schema(path).metadata
        assert {key: metadata[key.encode()].decode() for key in said} == said


@pytest.mark.parametrize(("expect", "code"), [(0.8, 0), (0.7, 1)])
def test_an_expectation_is_met_or_missed(trained, expect, code):
    done = bpb_eval(trained, "--limit", "60", "--samples", "1", "--no-contract", "--expect", expect, "--within", "0.08")
    assert done.returncode == code
    assert done.stderr.startswith("bpb-eval: expected 0.7" if code else "")


def test_every_step_on_every_window(tiny):
    plain = own_json(
        bpb_eval(tiny, "--samples", "all", "--steps", "4", "--limit", "5", "--no-contract", "--format", "json").stdout
    )  # fmt: skip
    assert plain["num_forward_tokens"] == 4 * 5 * 128
    assert "|K:all|" in plain["signature"]


def test_exact_and_chain(tiny):
    shared = ("--context", "6", "--limit", "3", "--no-contract", "--format", "json")
    exact = own_json(bpb_eval(tiny, "--method", "exact", *shared).stdout)
    assert (exact["relation"], exact["mc_stderr"]) == ("<=", 0.0)
    assert exact["num_forward_tokens"] == 3 * 6 * (2**6 - 1)
    sampled = own_json(bpb_eval(tiny, "--method", "mc", "--samples", "400", *shared).stdout)
    assert sampled["bits_per_byte"] == pytest.approx(exact["bits_per_byte"], abs=4 * sampled["mc_stderr"])
    chain = own_json(bpb_eval(tiny, "--method", "chain", *shared).stdout)
    assert chain["relation"] == "="


def test_long_windows_are_not_enumerated_and_nothing_is_asked_before(tiny, monkeypatch):
    def never(*_):
        raise AssertionError("the contract was asked")

    monkeypatch.setattr(importlib.import_module("bpb_harness.evaluation.score"), "Contract", never)
    with pytest.raises(UsageError, match=r"--method exact: got windows of 13 tokens, expected at most 12"):
        bpb_harness.evaluate(tiny, method="exact", context_length=13, limit=2, device="cpu")
    with pytest.raises(AssertionError, match="was asked"):
        bpb_harness.evaluate(tiny, method="exact", context_length=12, limit=2, device="cpu")


def test_documents_and_raw_bytes(tiny, repository):
    docs = repository / "fixtures" / "corpora" / "tiny_val_docs.jsonl"
    plain = own_json(bpb_eval(tiny, "--docs", docs, "--limit", "10", "--no-contract", "--format", "json").stdout)
    shard = own_json(bpb_eval(tiny, "--limit", "10", "--no-contract", "--format", "json").stdout)
    assert plain["nats"] == shard["nats"]
    assert plain["num_bytes"] == shard["num_bytes"]
    assert "--bytes raw needs" in refusal(tiny, "--docs", docs, "--bytes", "raw", "--limit", "10", "--no-contract")
    assert "--bytes raw needs" in refusal(tiny, "--bytes", "raw", "--no-contract")


def test_data_from_the_environment(tiny, tmp_path):
    tokens = np.fromfile(tiny.parent / "tiny_val_000000.bin", dtype="<u2", offset=1024)[:500]
    shard = write_shard(tmp_path / "mine_000000.bin", tokens)
    done = bpb_eval(tiny, "--no-contract", BPB_DATA=str(shard))
    assert "data:mine@" in done.stdout
    assert "BPB_DATA" in done.stdout


@pytest.mark.parametrize("named", ["nowhere.bin", "short.bin"])
def test_data_of_the_environment_that_cannot_be_read_is_said_to_be_of_it(tiny, tmp_path, monkeypatch, named):
    (tmp_path / "short.bin").write_bytes(b"short")
    monkeypatch.setenv("BPB_DATA", str(tmp_path / named))
    with pytest.raises(CorpusError) as refused:
        bpb_harness.evaluate(tiny)
    assert f"{named}: no" in str(refused.value)
    assert "(named by the environment variable BPB_DATA)" in str(refused.value)
    assert str(refused.value).endswith("; or unset BPB_DATA")
    with pytest.raises(CorpusError) as refused:
        bpb_harness.evaluate(tiny, data=tmp_path / named)
    assert "BPB_DATA" not in str(refused.value)


def test_data_below_the_current_folder(tiny, tmp_path, repository):
    checkpoint = read_checkpoint(tiny)
    bare = tmp_path / "bare.pt"
    save_checkpoint(
        bare, tensors=checkpoint.tensors, adapter="reference", config=checkpoint.config, schedule=checkpoint.schedule
    )
    assert "nothing to score" in refusal(bare, cwd=tmp_path)
    shards, tokenizers = tmp_path / "data/datasets/fineweb10B_sp1024", tmp_path / "data/tokenizers"
    shards.mkdir(parents=True)
    tokenizers.mkdir(parents=True)
    tokens = np.fromfile(tiny.parent / "tiny_val_000000.bin", dtype="<u2", offset=1024)[:500]
    write_shard(shards / "fineweb_val_000000.bin", tokens)
    model = repository / "fixtures/tokenizers/tiny_512_bpe.model"
    (tokenizers / "fineweb_1024_bpe.model").write_bytes(model.read_bytes())
    done = bpb_eval(bare, "--no-contract", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "fineweb_val" in done.stdout


class Canary:
    """Its unpickling creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def hostile_pickle(path: Path, canary: Path) -> Path:
    """A torch zip file whose pickle opens a file when it is loaded."""
    torch.save({"weight": torch.zeros(1)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, pickle.dumps(Canary(canary)) if name.endswith("data.pkl") else content)
    return path


def test_a_network_that_cheats_is_caught_before_its_score(tiny, tmp_path, repository):
    loader = tmp_path / "cheat.py"
    loader.write_text(
        "from bpb_harness.adapters import load_model\n"
        "import torch\n"
        "class Remembers:\n"
        "    def __init__(self, honest):\n"
        "        self.honest, self.seen = honest, None\n"
        "        self.vocab_size, self.mask_token_id = honest.vocab_size, honest.mask_token_id\n"
        "        self.context_length, self.time_conditioned = honest.context_length, honest.time_conditioned\n"
        "    def logits(self, xt, level):\n"
        "        logits = self.honest.logits(xt, level).clone()\n"
        "        if self.seen is not None and self.seen.shape == xt.shape:\n"
        "            ids = self.seen.clamp(max=511).unsqueeze(-1)\n"
        "            logits.scatter_add_(-1, ids, torch.full_like(logits[..., :1], 9.0))\n"
        "        self.seen = xt\n"
        "        return logits\n"
        "def load(path, device):\n"
        "    return Remembers(load_model(path, device=device, dtype=torch.float32)[1].model)\n"
    )
    tokenizer = repository / "fixtures/tokenizers/tiny_512_bpe.model"
    flags = ("--model", f"{loader}:load", "--schedule", "loglinear[0.001]", "--tokenizer", tokenizer, "--limit", "8")
    data = ("--data", tiny.parent / "tiny_val_000000.bin")
    assert "--allow-code" in refusal(tiny, *flags, *data)
    done = bpb_eval(tiny, *flags, *data, "--allow-code")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (4, "", 1)
    unchecked = bpb_eval(tiny, *flags, *data, "--allow-code", "--no-contract")
    assert "|contract:off|" in unchecked.stdout


def test_shards_that_the_tokenizer_did_not_write_are_refused(tiny, tmp_path):
    spelled_in_bytes = [3 + byte for byte in b"no encoder of this vocabulary writes letters one by one"]
    tokens = np.tile([1, *spelled_in_bytes], 40)
    shard = write_shard(tmp_path / "random_000000.bin", tokens)
    assert "does not belong to these shards" in refusal(tiny, "--data", shard)
    done = bpb_eval(tiny, "--data", shard, "--limit", "4", "--no-contract")
    assert "|contract:off|" in done.stdout
    assert "may not belong to these shards" in words_of(done.stdout)


def test_another_tokenizer_than_the_checkpoints_own_is_refused_though_it_has_as_many_pieces(tiny, tmp_path, repository):
    pieces = [chr(code) for code in range(0x4E00, 0x4E00 + 508)]
    (tmp_path / "other.json").write_text(json.dumps([*"abc ", *pieces]))
    (tmp_path / "docs.jsonl").write_text(json.dumps({"text": "abc cab " * 40}) + "\n")
    flags = ("--docs", tmp_path / "docs.jsonl", "--tokenizer", tmp_path / "other.json")
    line = refusal(tiny, *flags)
    assert "the tokenizer is not the one inside the checkpoint: got 512 ids" in line
    done = bpb_eval(tiny, *flags, "--no-contract")
    assert "|contract:off|" in done.stdout
    assert "is not the one inside the checkpoint" in words_of(done.stdout)
    copied = tmp_path / "copied.model"
    own = repository / "fixtures/tokenizers/tiny_512_bpe.model"
    copied.write_bytes(own.read_bytes() + b"\x9a\x01\x00")  # an empty field more: another file, the same pieces
    done = bpb_eval(tiny, "--tokenizer", copied, "--limit", "3", "--no-contract")
    assert done.returncode == 0
    assert "inside the checkpoint" not in words_of(done.stdout)


def test_a_score_worse_than_guessing_is_pointed_out(trained, tmp_path):
    shard = write_shard(tmp_path / "noise_000000.bin", np.random.default_rng(0).integers(3, 512, 400))
    assert "guessing blindly" in words_of(bpb_eval(trained, "--data", shard, "--limit", "3", "--no-contract").stdout)
    assert "guessing blindly" not in words_of(bpb_eval(trained, "--limit", "3", "--no-contract").stdout)


GUESSING = """
import torch
class Model:
    vocab_size = mask_token_id = 512
    context_length, time_conditioned, schedule = 128, False, "loglinear"
    def logits(self, xt, level):
        return torch.zeros(*xt.shape, 512, device=xt.device)
def load(path, device):
    return Model()
"""


def test_the_floor_stands_beside_scores_of_the_whole_text_alone(tiny, tmp_path, repository):
    (tmp_path / "guessing.py").write_text(GUESSING)  # the whole text in a moment
    options = (
        tiny, "--model", f"{tmp_path / 'guessing.py'}:load", "--allow-code", "--no-contract", "--samples", "1",
        "--tokenizer", repository / "fixtures" / "tokenizers" / "tiny_512_bpe.model",
        "--data", tiny.with_name("tiny_val_000000.bin"),
    )  # fmt: skip
    whole, part = bpb_eval(*options), bpb_eval(*options, "--limit", "5")
    assert whole.returncode == part.returncode == 0, whole.stderr + part.stderr
    assert "the source itself" in words_of(whole.stdout)
    assert "the source itself" not in words_of(part.stdout)


class TestBadInput:
    def test_no_such_checkpoint(self, tmp_path):
        assert "nowhere.pt" in refusal(tmp_path / "nowhere.pt")

    def test_no_such_shard(self, tiny, tmp_path):
        assert "nowhere.bin" in refusal(tiny, "--data", tmp_path / "nowhere.bin")

    def test_wrong_magic(self, tiny, tmp_path):
        line = refusal(tiny, "--data", write_shard(tmp_path / "a.bin", [1, 2, 3], magic=7))
        assert "7" in line
        assert "20240520" in line

    def test_odd_size(self, tiny, tmp_path):
        path = write_shard(tmp_path / "a.bin", [1, 2, 3])
        path.write_bytes(path.read_bytes() + b"x")
        assert "a.bin" in refusal(tiny, "--data", path)

    def test_truncated(self, tiny, tmp_path):
        assert "a.bin" in refusal(tiny, "--data", write_shard(tmp_path / "a.bin", [1, 2, 3], count=30))

    def test_token_beyond_the_vocabulary(self, tiny, tmp_path):
        line = refusal(tiny, "--data", write_shard(tmp_path / "a.bin", [1, 2, 700]))
        assert "700" in line

    def test_empty_corpus(self, tiny, tmp_path):
        assert refusal(tiny, "--data", write_shard(tmp_path / "a.bin", []))

    def test_nothing_left_to_score(self, tiny, tmp_path):
        line = refusal(tiny, "--data", write_shard(tmp_path / "a.bin", [1, 2, 3]), "--tail", "drop")
        assert "3 tokens" in line

    def test_tokenizer_of_another_vocabulary(self, tiny, tmp_path):
        vocabulary = tmp_path / "characters.json"
        vocabulary.write_text(json.dumps([chr(code) for code in range(97, 697)]))
        line = refusal(tiny, "--tokenizer", vocabulary, "--data", write_shard(tmp_path / "a.bin", [1, 2, 3]))
        assert "600" in line
        assert "512" in line

    def test_not_a_tokenizer(self, tiny, tmp_path):
        path = tmp_path / "a.model"
        path.write_bytes(b"nothing of the kind")
        assert "a.model" in refusal(tiny, "--tokenizer", path)

    def test_checkpoint_of_unknown_format(self, tmp_path):
        path = tmp_path / "a.pt"
        path.write_bytes(b"nothing of the kind")
        assert "a.pt" in refusal(path)

    def test_a_pickle_that_would_run_code_does_not_run(self, tmp_path):
        canary = tmp_path / "canary"
        done = bpb_eval(hostile_pickle(tmp_path / "a.pt", canary))
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert "open" in done.stderr
        assert not canary.exists()

    def test_nan_weights(self, tiny, tmp_path):
        checkpoint = read_checkpoint(tiny)
        broken = {
            name: torch.full_like(tensor, torch.nan) if tensor.is_floating_point() else tensor
            for name, tensor in checkpoint.tensors.items()
        }
        path = tmp_path / "nan.pt"
        save_checkpoint(
            path, tensors=broken, adapter="reference", config=checkpoint.config, schedule=checkpoint.schedule,
            tokenizer=checkpoint.tokenizer,
        )  # fmt: skip
        shard = write_shard(tmp_path / "a.bin", [1, 2, 3])
        assert "nan" in refusal(path, "--data", shard).lower()
        assert "nan" in refusal(path, "--data", shard, "--no-contract")

    @pytest.mark.parametrize(
        "flags",
        [
            ("--steps", "0"),
            ("--samples", "0"),
            ("--samples", "some"),
            ("--method", "magic"),
            ("--method", "ar"),
            ("--method", "exact"),
            ("--method", "mc", "--samples", "all"),
            ("--method", "chain", "--compare"),
            ("--context", "100000"),
            ("--limit", "0"),
            ("--seed", "-1"),
            ("--tail", "keep"),
            ("--bytes", "guess"),
            ("--schedule", "cosine"),
            ("--device", "tpu"),
            ("--dtype", "float8"),
            ("--format", "xml"),
            ("--adapter", "nonesuch"),
            ("--stride", "400"),
            ("--order", "random"),
            ("--method", "mc", "--steps", "64"),
            ("--method", "chain", "--samples", "9"),
            ("--method", "exact", "--context", "4", "--samples", "7"),
            ("--expect", "1", "--within", "-1"),
            ("--unknown-flag",),
            ("--expect", "nan"),
            ("--output", "."),
            ("--windows", "same.parquet", "--tokens", "same.parquet"),
            ("--output", "no/such/folder/out.json"),
        ],
    )
    def test_bad_flags(self, tiny, flags):
        assert refusal(tiny, *flags)


@pytest.mark.parametrize("flag", ["--windows", "--tokens"])
@pytest.mark.parametrize("name", ["table.csv", "table", "parquet", "table.parquet.gz"])
def test_a_table_goes_into_a_parquet_file_alone(tiny, tmp_path, flag, name):
    line = refusal(tiny, flag, tmp_path / name)
    assert f"{flag}: got '{name}', expected a file name that ends in .parquet" in line
    assert list(tmp_path.iterdir()) == []


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("flags", [[], ["--quiet"]])
def test_a_terminal_is_told_what_is_being_done_unless_it_is_to_be_quiet(tiny, monkeypatch, flags):
    from bpb_harness.cli import _progress

    monkeypatch.setattr(_progress, "_LEAST_SECONDS_BETWEEN_WRITES", 0.0)
    monkeypatch.setattr(sys, "argv", ["bpb-eval", str(tiny), "--limit", "2", "--device", "cpu", *flags])
    terminal = _Terminal()
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(terminal),
        contextlib.suppress(SystemExit),
    ):
        main()
    written = terminal.getvalue()
    if flags:
        assert written == ""
        return
    done = [line.removeprefix("bpb-eval: ").partition(",")[0] for line in written.split("\r\x1b[2K") if line]
    begun = list(dict.fromkeys(done))
    told = ["starting", "imports", "loading", "bytes", "checks", "checks 1 of 8: the same question again"]
    assert begun[: len(told)] == told
    for later in ("checks 7 of 8: the mask's mass", "scoring", "marks", "checks: a second look"):
        assert later in begun
    assert "100 % of 512 tokens" in written


def test_help_and_version_do_without_torch():
    blocked = "import sys; sys.modules['torch'] = None; from bpb_harness.cli.eval import main; main()"
    for flag, part in (("--help", "CHECKPOINT"), ("--version", "bpb-harness")):
        done = in_a_process(flag, code=("-c", blocked))
        assert done.returncode == 0, done.stderr
        assert part in done.stdout


def test_an_unknown_command_is_refused():
    done = in_a_process("guess", code=("-m", "bpb_harness"))
    assert done.returncode == 2
    assert "eval or audit or bytes or prove or compare or lm-eval" in done.stderr
