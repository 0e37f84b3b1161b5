"""Two processes on the CPU score what one scores, to the last bit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from bpb_harness.evaluation import api as evaluation
from bpb_harness.torchrun import is_first_process, num_cores
from tests.own_json import own_json
from tests.tiers import thorough
from tests.two_processes import run_in_two

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="torch without torch.distributed")


@pytest.fixture(scope="module")
def tiny(one_block) -> Path:
    return one_block


def run_two(*arguments):
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {key: value for key, value in os.environ.items() if key != "BPB_DATA"} | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *launch, "-m", "bpb_harness", "eval", *map(str, arguments)],
        capture_output=True, text=True, timeout=300, env=environment, check=False,
    )  # fmt: skip


def score_with_two(*arguments):
    done = run_two(*arguments, "--format", "json")
    assert done.returncode == 0, done.stderr
    return own_json(done.stdout)  # one process alone printed


def score_with_one(checkpoint, num_threads=1, **settings):
    threads = torch.get_num_threads()
    torch.set_num_threads(num_threads)  # as in the processes: sums in another order differ in their last bits
    try:
        return evaluation.evaluate(checkpoint, check_contract=False, **settings).to_dict()
    finally:
        torch.set_num_threads(threads)


SAME = ("nats", "bits_per_byte", "mc_stderr", "ci95", "num_tokens", "num_bytes", "num_forward_tokens", "signature")


@thorough(everyday="integration/test_torchrun.py::test_an_exact_method_is_shared_and_an_error_is_said_once")
def test_two_processes_score_what_one_scores_and_share_a_file(tiny, tmp_path):
    settings = {"limit": 22, "batch_tokens": 512, "compare": True}
    path = tmp_path / "draws.jsonl"
    threads = max(num_cores() // 2, 1)  # torchrun's are given their share of the cores
    one = score_with_one(tiny, threads, **settings)
    flags = (tiny, "--no-contract", "--limit", "22", "--batch-tokens", "512", "--compare")
    two = score_with_two(*flags, "--resume", path)
    assert {key: one[key] for key in SAME} == {key: two[key] for key in SAME}
    assert one["comparison"] == two["comparison"]
    assert two["device"].startswith("2 x cpu")
    assert [file.name for file in tmp_path.iterdir()] == ["draws.jsonl"]
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:5]) + "\n")  # goes on alone where two have stopped
    assert score_with_one(tiny, threads, resume=path, **settings)["nats"] == one["nats"]
    assert sorted(path.read_text().splitlines()[1:]) == sorted(lines[1:])


def test_an_exact_method_is_shared_and_an_error_is_said_once(tiny, repository):
    flags = ("--limit", "3", "--context", "16", "--method", "chain", "--batch-tokens", "16", "--device", "cpu")
    wrong, done = run_in_two(
        "bpb_harness.cli.eval",
        [(tiny, "--steps", "0"), (tiny, "--no-contract", *flags, "--format", "json")],
        cwd=repository,
    )
    assert (wrong.codes, wrong.stdout, wrong.stderr[1]) == ([2, 2], ["", ""], "")
    assert wrong.stderr[0].startswith("bpb-eval: ")
    assert wrong.stderr[0].count("\n") == 1
    assert (done.codes, done.stdout[1]) == ([0, 0], "")
    one = score_with_one(tiny, limit=3, context_length=16, method="chain", batch_tokens=16, device="cpu")
    two = own_json(done.stdout[0])
    assert two["device"].startswith("2 x cpu")
    assert {key: one[key] for key in SAME} == {key: two[key] for key in SAME}


@thorough(
    everyday="unit/evaluation/test_draws.py::test_tokens_cost_the_same_bits_whoever_scores_them_in_whatever_batches"
)
def test_totals_and_costs_are_the_same_bits_in_any_number_of_processes(tiny, repository, tmp_path):
    """Several draws a token, and gradients of several micro-batches a step: sums that hang on their order."""
    common = (tiny, "--no-contract", "--limit", "9", "--batch-tokens", "256", "--format", "json")
    seen = []
    for count in (1, 3, 4):
        files = [tmp_path / f"{count}.{name}" for name in ("drawn", "learnt")]
        drawn = (*common, "--samples", "3", "--score-file", files[0])
        learnt = (*common, "--samples", "1", "--ttt", "sgd", "--ttt-chunk", "512", "--score-file", files[1])
        ended = run_in_two("bpb_harness.cli.eval", [drawn, learnt], cwd=repository, count=count)
        assert [each.codes for each in ended] == [[0] * count] * 2, [each.stderr for each in ended]
        results = [own_json(each.stdout[0]) for each in ended]
        assert all(each["device"].startswith(f"{count} x cpu" if count > 1 else "cpu") for each in results)
        totals = [{key: each[key] for key in SAME} for each in results]
        seen.append((totals, [file.read_bytes() for file in files]))
    assert seen[1] == seen[0]
    assert seen[2] == seen[0]


def test_variables_of_other_launchers_start_nothing(tiny, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("RANK", "3")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    assert score_with_one(tiny, limit=1, device="cpu")["device"].startswith("cpu")
    assert is_first_process()


def test_a_program_with_processes_of_its_own_scores_alone(tiny, monkeypatch, tmp_path):
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        assert score_with_one(tiny, limit=1, device="cpu")["device"].startswith("cpu")
    finally:
        dist.destroy_process_group()
