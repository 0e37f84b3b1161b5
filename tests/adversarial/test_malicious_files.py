"""Every hostile file: one line, exit 2, in little memory, nothing executed; none keeps the reader busy for a minute."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.adversarial.hostile_files import HostileFile, make_hostile_files

# One process imports torch and the command, then forks for each file: what a child takes above that is what the file
# costs. (Starting the command afresh for each would measure the import of torch forty times.)
_RUNNER = """
import contextlib, io, json, os, resource, sys
os.environ["OMP_NUM_THREADS"] = "1"
import torch
import bpb_harness.evaluation.api, bpb_harness.adapters
from bpb_harness.cli import eval as command

bpb_harness.adapters.available_adapters()
torch.ones(1, device="meta") + 1  # torch imports what knows the sizes of results
sys_argv, sys.argv = sys.argv, ["bpb-eval", "no.pt"]
try:  # what the command imports when it runs
    with contextlib.redirect_stderr(io.StringIO()):
        command.main()
except SystemExit:
    sys.argv = sys_argv
for index, words in enumerate(json.load(open(sys.argv[1]))):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
        error = os.open(f"{sys.argv[1]}.{index}.stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(error, 2)
        sys.argv = ["bpb-eval", *words]
        code = 99
        try:
            command.main()
        except SystemExit as exit:
            code = exit.code
        finally:
            sys.stderr.flush()
            used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024
            os.write(3, f"{used}\\n".encode())
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@dataclass(frozen=True)
class Outcome:
    exit_code: int
    megabytes: float
    stderr: str


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def hostile_files(folder: Path) -> list[HostileFile]:
    return make_hostile_files(folder)


@pytest.fixture(scope="module")
def outcomes(folder: Path, hostile_files: list[HostileFile]) -> dict[str, Outcome]:
    words = [[str(file.path), *file.arguments, "--device", "cpu"] for file in hostile_files]
    (folder / "words.json").write_text(json.dumps(words))
    read, write = os.pipe()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    runner = subprocess.Popen(
        ["bash", "-c", f'exec 3>&{write}; exec "$@"', "-", sys.executable, "-c", _RUNNER, str(folder / "words.json")],
        stdout=subprocess.PIPE,
        pass_fds=[write],
        env=environment,
        text=True,
    )
    os.close(write)
    stdout, _ = runner.communicate(timeout=3000)
    assert runner.returncode == 0
    with os.fdopen(read) as pipe:
        megabytes = [float(line) for line in pipe]
    results = [int(line) for line in stdout.splitlines()]
    assert len(results) == len(words) == len(megabytes)
    return {
        file.path.name: Outcome(code, used, (folder / f"words.json.{index}.stderr").read_text())
        for index, (file, code, used) in enumerate(zip(hostile_files, results, megabytes, strict=True))
    }


def test_there_are_many_kinds(hostile_files: list[HostileFile]) -> None:
    assert len({file.mentions for file in hostile_files}) >= 12


def test_each_ends_with_one_line_and_exit_2(hostile_files: list[HostileFile], outcomes: dict[str, Outcome]) -> None:
    for file in hostile_files:
        outcome = outcomes[file.path.name]
        assert outcome.exit_code == 2, (file.path.name, outcome)
        assert outcome.stderr.count("\n") == 1, (file.path.name, outcome)
        # The file's own name does not count as an explanation.
        assert file.mentions in outcome.stderr.replace(file.path.name, ""), (file.path.name, outcome)


def test_each_takes_less_than_200_megabytes(outcomes: dict[str, Outcome]) -> None:
    for name, outcome in outcomes.items():
        assert outcome.megabytes < 200.0, (name, outcome)


def test_nothing_was_executed(folder: Path, outcomes: dict[str, Outcome]) -> None:
    assert len(outcomes) > 12
    assert not (folder / "canary").exists()


def test_the_canary_would_sing(folder: Path, hostile_files: list[HostileFile], outcomes: dict[str, Outcome]) -> None:
    """The attacks are real: an unpickler without care runs them."""
    victim = f"import pickle, sys; pickle.load(open({str(folder / 'bare_pickle.pt')!r}, 'rb'))"
    subprocess.run([sys.executable, "-c", victim], check=False, timeout=300)
    assert (folder / "canary").exists()
    (folder / "canary").unlink()
