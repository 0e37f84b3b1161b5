"""What a process gives up: tried in processes of their own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys, pathlib, socket
from bpb_harness.proof import namespaces
from bpb_harness.proof.isolation import run_isolated
def seen(path):
    try:
        return bool(pathlib.Path(path).read_bytes())
    except OSError:
        return False
def writes(path):
    try:
        return bool(pathlib.Path(path).write_text("x"))
    except OSError:
        return False
def unlocks(path):
    try:
        namespaces.mount(None, path, None, namespaces.BIND | namespaces.REMOUNT)
    except OSError:
        return False
    return True
def connects(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return True
    except OSError:
        return False
def work(held):
    import numpy
    needed, text, port = sys.argv[1:4]
    print(
        held, seen(needed), seen(text), seen("/proc/1/cmdline"), writes(needed), connects(int(port)), unlocks(needed),
        flush=True,
    )
run_isolated(work, [sys.argv[1]], hide_files=sys.argv[4] == "hide")
"""


def run(tmp_path: Path, how: str) -> str:
    for name in ("needed", "text", "cwd"):
        (tmp_path / name).mkdir(exist_ok=True)
    for name in ("needed", "text"):
        (tmp_path / name / "file").write_text(name)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        words = [str(tmp_path / "needed" / "file"), str(tmp_path / "text" / "file"), str(port), how]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, cwd=tmp_path / "cwd", check=True
        )
    return done.stdout.strip()


def test_the_text_and_the_network_are_out_of_reach(tmp_path):
    said = run(tmp_path, "hide")
    if said.startswith("[]"):
        pytest.skip("no user namespaces here")
    assert said == "['network', 'files'] True False False False False False"


def test_files_stay_where_a_gpu_needs_them_and_that_is_said(tmp_path):
    said = run(tmp_path, "show")
    if said.startswith("[]"):
        pytest.skip("no user namespaces here")
    assert said == "['network'] True True True True False False"


CONTAINED = """
import os, sys, pathlib
from bpb_harness.proof import namespaces
from bpb_harness.proof.scoring_process import run_contained
folder = pathlib.Path(sys.argv[1])
def fails(call, *arguments):
    try:
        call(*arguments)
    except OSError:
        return True
    return False
def work():
    kept = pathlib.Path.cwd() / "kept"
    kept.write_text("memory of its own")
    said = [
        fails((folder / "left").write_text, "x"), fails(os.utime, folder / "file"), fails((folder / "file").unlink),
        fails(os.setxattr, folder / "file", "user.left", b"x"), fails(pathlib.Path(os.__file__).write_text, "x"),
        fails(namespaces.mount, None, "/", None, namespaces.BIND | namespaces.REMOUNT),
        fails(os.kill, int(sys.argv[2]), 0), (folder / "file").read_text() == "text", kept.exists(),
    ]
    if not os.fork():
        os.setsid()
        os.read(0, 1)  # goes on as long as it is let
    print(said, flush=True)
sys.exit(run_contained(work, os.getcwd()))
"""


def test_what_is_contained_leaves_nothing_behind(tmp_path):
    for name in ("data", "cwd"):
        (tmp_path / name).mkdir()
    (tmp_path / "data" / "file").write_text("text")
    process = subprocess.Popen(
        [sys.executable, "-c", CONTAINED, str(tmp_path / "data"), str(os.getpid())], cwd=tmp_path / "cwd",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stdin is not None  # held open: the process that was left would wait for it
        assert process.stdout is not None
        assert process.stderr is not None
        said, complaints = process.stdout.read(), process.stderr.read()
        if not said:
            pytest.skip(f"no user namespaces here: {complaints}")
    assert said == f"{[True] * 9}\n"
    assert process.returncode == 0
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["file"]
    assert list((tmp_path / "cwd").iterdir()) == []
