"""Networks that use what lies in the process that codes, or beside it: the decoding process has none of that."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bpb_harness.cli import prove
from bpb_harness.evaluation.settings import Settings
from bpb_harness.proof.prove import write_proof
from tests.commands import run_here

COMMON = r"""
import contextlib, ctypes, os, pathlib, socket, subprocess, sys
import numpy as np
import torch
import torch.nn.functional as F

V, L = 512, 32
WEIGHTS = HERE / "weights.bin"
libc = ctypes.CDLL(None, use_errno=True)


class Honest:
    vocab_size, mask_token_id, context_length, time_conditioned, schedule = V, V, L, False, "loglinear"

    def honest(self, xt):
        position = torch.arange(xt.shape[1], dtype=torch.float32)
        return torch.cos(position[:, None] * 0.1 + torch.arange(V) * 0.01).expand(len(xt), -1, -1).clone()

    def logits(self, xt, level):
        return self.honest(xt)


class LeavesItEverywhere(Honest):
    # Tells the decoding process the text by whatever outlives a process, or is handed on to another one.
    def logits(self, xt, level):
        out, known = self.honest(xt), None
        frame = sys._getframe(1)
        is_decoding = False
        while frame is not None:
            known = getattr(frame.f_locals.get("symbols"), "_tokens", known)
            is_decoding |= "reader" in frame.f_locals and "wish" in frame.f_locals
            frame = frame.f_back
        if known is not None and known.shape == xt.shape:
            self.leave(np.ascontiguousarray(known, dtype="<u2").tobytes())
        elif is_decoding and (left := self.found(2 * xt.numel())) is not None:
            known = np.frombuffer(left, dtype="<u2").reshape(xt.shape).astype(np.int64)
        if known is not None and known.shape == xt.shape:
            out += 12 * F.one_hot(torch.from_numpy(known), V)
        return out

    def leave(self, text):
        os.environ["HARMLESS"] = text.hex()
        attempts = [lambda path=path: path.write_bytes(text) for path in self.files()]
        attempts += [
            lambda: os.setxattr(WEIGHTS, "user.left", text),
            lambda: libc.syscall(248, b"user", b"bpb-left", text, len(text), -3),
            lambda: self.serve(text),
        ]
        for attempt in attempts:
            with contextlib.suppress(OSError):
                attempt()

    def found(self, size):
        attempts = [lambda: bytes.fromhex(os.environ["HARMLESS"])]
        attempts += [lambda path=path: path.read_bytes() for path in self.files()]
        attempts += [lambda: os.getxattr(WEIGHTS, "user.left"), self.asked, self.key]
        for attempt in attempts:
            with contextlib.suppress(OSError, KeyError):
                if len(left := attempt()) == size:
                    return left
        return None

    def files(self):
        installed = pathlib.Path(torch.__file__).parents[1]
        folders = [HERE, pathlib.Path("/dev/shm"), installed, installed / "bpb_harness", pathlib.Path.home()]
        return [folder / "bpb-left" for folder in folders] + [HERE.parent / "bpb-left"]

    def key(self):
        number = libc.syscall(250, 10, ctypes.c_long(-3), b"user", b"bpb-left", 0)
        kept = ctypes.create_string_buffer(1 << 16)
        return kept.raw[: max(libc.syscall(250, 11, number, kept, len(kept), 0), 0)]

    def serve(self, text):
        # A process that goes on, and tells whoever asks.
        if getattr(self, "serving", False):
            return
        self.serving = True
        program = (
            "import socket, sys; s = socket.socket(socket.AF_UNIX); s.settimeout(60); s.bind('\\0bpb-left')"
            "; s.listen(); s.accept()[0].sendall(bytes.fromhex(sys.argv[1]))"
        )
        subprocess.Popen([sys.executable, "-c", program, text.hex()], start_new_session=True)

    def asked(self):
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(5)
            asking.connect("\0bpb-left")
            return asking.makefile("rb").read()


class Remembers(Honest):
    def __init__(self):
        self.seen = torch.zeros(V + 1, V)

    def logits(self, xt, level):
        pairs = (xt[:, :-1] < V) & (xt[:, 1:] < V)
        self.seen[xt[:, :-1][pairs], xt[:, 1:][pairs]] = 6.0
        out = self.honest(xt)
        out[:, 1:] += self.seen[xt[:, :-1]]
        return out


class CheapInTheScore(Honest):
    def logits(self, xt, level):
        out, frame = self.honest(xt), sys._getframe(1)
        while frame is not None:
            x0 = frame.f_locals.get("x0")
            if type(x0) is torch.Tensor and x0.shape == xt.shape:
                return out + 12 * F.one_hot(x0.clamp(max=V - 1), V)
            frame = frame.f_back
        return out


def loader(kind):
    return lambda path, device: kind()


for kind in list(globals().values()):
    if isinstance(kind, type) and issubclass(kind, Honest):
        globals()["load_" + kind.__name__] = loader(kind)
"""


@pytest.fixture
def folder(tmp_path: Path, repository: Path) -> Path:
    shard = repository / "fixtures" / "corpora" / "tiny_val_000000.bin"
    (tmp_path / "val.bin").write_bytes(shard.read_bytes())
    (tmp_path / "model.py").write_text(COMMON.replace("HERE", f"pathlib.Path({str(tmp_path)!r})"))
    (tmp_path / "weights.bin").write_bytes(b"none")
    return tmp_path


def try_to_prove(folder: Path, repository: Path, kind: str, *words: str):
    return run_here(
        prove.main, "weights.bin", "--model", f"model.py:load_{kind}", "--allow-code", *words,
        "--data", "val.bin", "--tokenizer", repository / "fixtures" / "tokenizers" / "tiny_512_bpe.model",
        "--limit", "8", "--steps", "4", "--num-windows", "4", "--device", "cpu", "--proof", "a.bits", cwd=folder,
    )  # fmt: skip


def isolates(outcome) -> bool:
    return "without network and files" in outcome.stdout


@pytest.mark.parametrize(("kind", "words"), [("LeavesItEverywhere", ()), ("Remembers", ("--no-contract",))])
def test_what_the_scoring_process_knows_does_not_reach_the_decoding_one(folder, repository, kind, words):
    """The first does nothing before the contract has been checked that could be seen."""
    before = {path.name for path in folder.iterdir()}
    installed = Path(torch.__file__).parents[1]
    try:
        done = try_to_prove(folder, repository, kind, *words)
    finally:  # where nothing holds it back
        for place in (Path("/dev/shm"), installed, installed / "bpb_harness", Path.home(), folder.parent):
            (place / "bpb-left").unlink(missing_ok=True)
    assert done.returncode in {1, 3}, done
    assert done.stdout.splitlines()[-1].startswith(("not proved: ", "not decoded: ", "decoded, not isolated: "))
    if isolates(done):
        assert done.returncode == 1
        assert {path.name for path in folder.iterdir()} == before | {"a.bits"}


def test_a_cheat_in_the_score_costs_more_than_that(folder, repository):
    """Without the contract, which would see it; written where the test runs, for it shows in what the file costs."""
    settings = Settings(
        model=f"{folder / 'model.py'}:load_CheapInTheScore", allow_code=True, check_contract=False, device="cpu",
        data=folder / "val.bin", tokenizer=repository / "fixtures" / "tokenizers" / "tiny_512_bpe.model", limit=8,
        num_steps=4,
    )  # fmt: skip
    written = write_proof(folder / "weights.bin", settings, folder / "a.bits", num_windows=4)
    assert written.costs.exceeds_score()


def test_an_honest_network_of_code_is_proved_where_it_is_isolated(folder, repository):
    done = try_to_prove(folder, repository, "Honest")
    assert done.returncode == (0 if isolates(done) else 3), done
