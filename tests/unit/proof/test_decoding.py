"""What is made of what a decoding process says, whatever runs in it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bpb_harness.errors import ContractError, InputError, SecondLookError, UsageError
from bpb_harness.proof import decoding, decoding_process
from bpb_harness.proof.decoding import decode, same_device
from bpb_harness.proof.header import Header, code_of_loader
from bpb_harness.second_look.asking import ModelSource
from bpb_harness.second_look.server import Server
from tests.unit.proof.test_header import PLAIN

HELD = [{"held": ["network", "files"]}, {}]
TOKENS = {"tokens": ["<i8", [9], 72], "nats": ["<f8", [3], 24]}


@pytest.fixture
def pretended(tmp_path, monkeypatch):
    """Decode where a process says what it is told to."""
    (tmp_path / "weights").write_bytes(b"some")
    digest = hashlib.sha256(b"some").hexdigest()
    header = Header.read(PLAIN | {"model": digest}, "a.bits")
    source = ModelSource({"path": str(tmp_path / "weights")}, torch.device("cpu"), "float32")
    started = []
    start = Server.start

    def noted(*words):
        started.append(start(*words))
        return started[-1]

    def run(*said, seconds=300.0, progress=None):
        monkeypatch.setattr(decoding, "_MODULE", "tests.pretend_decoder")
        monkeypatch.setattr(Server, "start", noted)
        monkeypatch.setenv("PRETENDED", json.dumps(said).replace("DIGEST", digest))
        try:
            return decode(header, np.zeros(2, dtype=np.int64), b"\0", source, seconds=seconds, progress=progress)
        finally:
            assert started[-1].process.poll() is not None
            assert not Path(f"/proc/{started[-1].process.pid}").exists()

    return run


def test_what_it_says_is_taken(pretended):
    seen = []
    done = [{"done": 3}, {}]
    decoded = pretended(
        HELD, done, [{"digest": "DIGEST", "lost": None}, TOKENS], progress=lambda *numbers: seen.append(numbers)
    )
    assert [span.tolist() for span in decoded.spans] == [[0] * 3] * 3
    assert decoded.is_isolated
    assert decoded.in_words == "without network and files"
    assert seen == [(3, 9)]
    lost = pretended([{"held": ["network"]}, {}], [{"digest": "DIGEST", "lost": "why"}, {}])
    assert (lost.spans, lost.lost, lost.is_isolated) == ([], "why", False)
    assert lost.in_words == "without network; files were within its reach"


def test_what_held_is_said_before_any_code_runs(pretended):
    said = {"digest": "DIGEST", "lost": None, "held": ["network", "files"]}
    decoded = pretended([{"held": []}, {}], [said, TOKENS])
    assert not decoded.is_isolated
    assert decoded.in_words == "the system offers no isolation: network and files were within its reach"


@pytest.mark.parametrize("said", [("sleep",), (HELD, "sleep"), (HELD, "half", "sleep")])
def test_a_network_that_hangs_is_ended(pretended, said):
    with pytest.raises(SecondLookError, match=r"the decoding process has not come to an end: got 0\.5 s without one"):
        pretended(*said, seconds=0.5)


@pytest.mark.parametrize(
    ("said", "kind", "text"),
    [
        (("die",), SecondLookError, "the decoding process ended: got last words"),
        ((HELD, "die"), SecondLookError, "the decoding process ended: got last words"),
        ((HELD, "killed"), SecondLookError, r"the decoding process ended: got no message \(ended by signal 9\)"),
        ((HELD, "noise"), SecondLookError, "the decoding process ended: got no message"),
        ((HELD, [{"error": "x", "exit": 4}, {}]), ContractError, "the decoding process, without network and files"),
        ((HELD, [{"error": "x", "exit": 2}, {}]), InputError, "the decoding process, without network and files: got x"),
        ((HELD, [{"digest": "00", "lost": None}, TOKENS]), SecondLookError, "got another checkpoint"),
        (
            (HELD, [{"digest": "DIGEST", "lost": None}, {"tokens": ["<i8", [8], 64]}]),
            SecondLookError,
            "got 8 tokens, expected 9 of",
        ),
        (
            (HELD, [{"digest": "DIGEST", "lost": None}, {"tokens": ["<f8", [9], 72]}]),
            SecondLookError,
            "got 9 tokens, expected 9 of them, as integers",
        ),
        ((HELD, [{"digest": "DIGEST", "lost": None}, {}]), SecondLookError, "got 0 tokens, expected 9 of"),
        (
            (HELD, [{"digest": "DIGEST", "lost": None}, TOKENS | {"nats": ["<f8", [2], 16]}]),
            SecondLookError,
            "got costs of 2 spans, expected 3",
        ),
        (
            (HELD, [{"digest": "DIGEST", "lost": None}, TOKENS | {"nats": ["<i8", [3], 24]}]),
            SecondLookError,
            "got costs of 3 spans, expected 3",
        ),
        (
            (HELD, [{"digest": "DIGEST", "lost": None}, {"tokens": ["<i8", [1 << 50], 0]}, ]),
            SecondLookError,
            "the decoding process ended",
        ),
    ],
)  # fmt: skip
def test_what_is_no_answer(pretended, said, kind, text):
    with pytest.raises(kind, match=text):
        pretended(*said)


def test_memory_that_there_is_not_is_said_in_words(monkeypatch):
    """The text of Python's own MemoryError is empty."""
    said = []
    monkeypatch.setattr(decoding_process, "_decode", lambda *_: [0] * 2**60)
    channel = SimpleNamespace(send=lambda content, **_: said.append(content), receive=lambda: ({}, {}))
    decoding_process._answer(channel, [])
    assert said[1:] == [{"error": "MemoryError: it takes more memory than was free as it started", "exit": 4}]


def test_another_checkpoint_or_other_code_is_refused_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(Server, "start", None)
    (tmp_path / "weights").write_bytes(b"some")
    (tmp_path / "net.py").write_text("code")
    plain = PLAIN | {"model": hashlib.sha256(b"some").hexdigest()}
    digest = hashlib.sha256(b"code").hexdigest()
    loader = f"{tmp_path / 'net.py'}:load"
    assert code_of_loader(loader) == f"{digest}/load"
    assert code_of_loader(None) is None

    def attempt(header, given):
        source = ModelSource({"path": str(tmp_path / "weights"), "model_loader": given}, torch.device("cpu"), "float32")
        decode(Header.read(header, "a"), np.zeros(0, dtype=np.int64), b"", source, seconds=1.0)

    for header, given, text in (
        (
            plain | {"model": "ab"},
            None,
            "weights is not the checkpoint of the file of bits: got .*, expected ab;",
        ),
        (plain, loader, f"--model is not the code of the file of bits: got {digest[:8]}:load, expected none;"),
        (plain | {"code": f"{digest}/other"}, loader, f"got {digest[:8]}:load, expected {digest[:8]}:other;"),
        (plain | {"code": f"{digest}/load"}, loader.replace("net", "no"), "--model: got .*no.py:load: No such file"),
    ):
        with pytest.raises((InputError, UsageError), match=text):
            attempt(header, given)


def test_a_machine_that_is_another_is_named():
    here = {"torch": str(torch.__version__), "device_name": decoding.name_of(torch.device("cpu"))}
    assert same_device(Header.read(PLAIN | here, "a")) == []
    other = same_device(Header.read(PLAIN | here | {"torch": "1.0"}, "a"))
    assert other == [f"torch {torch.__version__}, not 1.0"]
    assert same_device(Header.read(PLAIN | here | {"device_name": "abacus"}, "a"))[0].endswith(", not abacus")
