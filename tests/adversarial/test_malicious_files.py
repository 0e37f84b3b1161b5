"""Every hostile file: one line, exit 2, in little memory, nothing executed; none keeps the reader busy for a minute."""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import json
import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest
import torch
import typer.main

from bpb_harness.cli import eval as command
from bpb_harness.second_look import waiting
from fixtures.adversarial.hostile_files import HostileFile, make_hostile_files
from tests.forked_servers import FORKS, no_main_module


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


def _run_each(lines: list[list[str]], folder: Path) -> None:
    """One process imports the command, then forks for each file: what a child takes above that is what the file costs.

    (Starting the command afresh for each would measure the import of torch forty times.)
    """
    typer.main.get_command = functools.cache(typer.main.get_command)  # a command's options are made once
    gc.freeze()  # what is there is not looked through again, in memory that a fork would have to copy
    _ = torch.ones(1, device="meta") + 1  # torch imports what knows the sizes of results
    sys.argv = ["bpb-eval", "no.pt"]
    with contextlib.suppress(SystemExit), contextlib.redirect_stderr(io.StringIO()):
        command.main()  # and the command what it imports when it runs
    codes = []
    for index, words in enumerate(lines):
        child = os.fork()
        if child == 0:
            _run_one(words, folder / f"{index}.stderr", folder / f"{index}.megabytes")
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    (folder / "codes.json").write_text(json.dumps(codes))


def _run_one(words: list[str], stderr: Path, megabytes: Path) -> NoReturn:
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
    os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    sys.argv = ["bpb-eval", *words]
    code: object = 99
    try:
        command.main()
    except SystemExit as ended:
        code = ended.code
    finally:
        waiting.stop_all()  # as a command does at its end: the fresh process would import torch before it notices
        sys.stderr.flush()
        megabytes.write_text(str((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024))
        os._exit(int(str(code or 0)))


@pytest.fixture(scope="module")
def outcomes(
    folder: Path, hostile_files: list[HostileFile], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Outcome]:
    said = tmp_path_factory.mktemp("said")
    lines = [[str(file.path), *file.arguments, "--device", "cpu"] for file in hostile_files]
    process = FORKS.Process(target=_run_each, args=(lines, said))
    with no_main_module():
        process.start()
    process.join(3000)
    assert process.exitcode == 0
    codes = json.loads((said / "codes.json").read_text())
    return {
        file.path.name: Outcome(
            code, float((said / f"{index}.megabytes").read_text()), (said / f"{index}.stderr").read_text()
        )
        for index, (file, code) in enumerate(zip(hostile_files, codes, strict=True))
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
