"""Networks that use what lies in the process that codes, or beside it: the decoding process has none of that."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.cli import prove
from tests.commands import run_here

COMMON = """
import os, sys, pathlib
import numpy as np
import torch
import torch.nn.functional as F

V, L = 512, 32


class Honest:
    vocab_size, mask_token_id, context_length, time_conditioned, schedule = V, V, L, False, "loglinear"

    def honest(self, xt):
        position = torch.arange(xt.shape[1], dtype=torch.float32)
        return torch.cos(position[:, None] * 0.1 + torch.arange(V) * 0.01).expand(len(xt), -1, -1).clone()

    def logits(self, xt, level):
        return self.honest(xt)


class Frames(Honest):
    def logits(self, xt, level):
        out, frame = self.honest(xt), sys._getframe(1)
        while frame is not None:
            known = getattr(frame.f_locals.get("symbols"), "_tokens", None)
            if known is not None and known.shape == xt.shape:
                out += 12 * F.one_hot(torch.from_numpy(known), V)
            frame = frame.f_back
        return out


class Shard(Honest):
    def __init__(self):
        try:
            text = np.fromfile(HERE / "val.bin", dtype="<u2")[512:].astype(np.int64)
        except OSError:
            text = np.zeros(0, dtype=np.int64)
        self.text = torch.from_numpy(text[: len(text) // L * L].reshape(-1, L))

    def logits(self, xt, level):
        out = self.honest(xt)
        for row, tokens in enumerate(xt):
            for window in self.text:
                if ((tokens == V) | (tokens == window)).all():
                    out[row] += 12 * F.one_hot(window, V)
                    break
        return out


class BetweenProcesses(Honest):
    shared = pathlib.Path("/dev/shm/bpb-harness-test")

    def logits(self, xt, level):
        out, frame = self.honest(xt), sys._getframe(1)
        while frame is not None:
            known = getattr(frame.f_locals.get("symbols"), "_tokens", None)
            if known is not None and known.shape == xt.shape:
                np.save(str(self.shared), known)
            frame = frame.f_back
        try:
            known = np.load(str(self.shared) + ".npy")
        except OSError:
            return out
        if known.shape == xt.shape:
            out += 12 * F.one_hot(torch.from_numpy(known), V)
        return out


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


@pytest.mark.parametrize("kind", ["Frames", "Shard", "BetweenProcesses", "Remembers", "CheapInTheScore"])
def test_cheats_are_not_proved(folder, repository, kind):
    try:
        done = try_to_prove(folder, repository, kind, "--no-contract")
    finally:
        Path("/dev/shm/bpb-harness-test.npy").unlink(missing_ok=True)
    assert done.returncode in {1, 3}, done
    last = done.stdout.splitlines()[-1]
    assert last.startswith(("not proved: ", "decoded, not isolated: "))


def test_an_honest_network_of_code_is_proved_where_it_is_isolated(folder, repository):
    done = try_to_prove(folder, repository, "Honest")
    is_isolated = "without network and files" in done.stdout
    assert done.returncode == (0 if is_isolated else 3), done
