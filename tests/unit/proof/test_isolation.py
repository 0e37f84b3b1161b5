"""What a process gives up: tried in processes of their own."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys, pathlib, socket
from bpb_harness.proof.isolation import isolate
held = isolate([sys.argv[1]], hide_files=sys.argv[4] == "hide")
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
def connects(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return True
    except OSError:
        return False
import numpy
needed, text, port = sys.argv[1:4]
print(held, seen(needed), seen(text), seen("/proc/1/cmdline"), writes(needed), connects(int(port)))
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
    assert said == "['network', 'files'] True False False False False"


def test_files_stay_where_a_gpu_needs_them_and_that_is_said(tmp_path):
    said = run(tmp_path, "show")
    if said.startswith("[]"):
        pytest.skip("no user namespaces here")
    assert said == "['network'] True True True True False"
