"""What could make a score wrong without a word while it is made: a text that is written to, a device's masks."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import bpb_harness
from bpb_harness.errors import CorpusError, NumericsError
from bpb_harness.evaluation import device_source, passes
from bpb_harness.evaluation.device_source import DeviceSource
from bpb_harness.sampling.streams import RandomStreams

CPU = torch.device("cpu")


@pytest.fixture
def text(tmp_path, repository):
    """A copy of the text, in the place of the checkpoint's own."""
    path = tmp_path / "val.bin"
    shutil.copy(repository / "fixtures" / "corpora" / "tiny_val_000000.bin", path)
    return path


@pytest.mark.parametrize("method", ["mc", "chain"])
def test_a_text_that_is_written_to_gives_no_score(method, text, one_block):
    def write(done, total):
        """As a program would that tokenizes it anew."""
        if done:
            tokens = np.fromfile(text, "<u2")
            tokens[512 + 9_999] += 1
            with text.open("r+b") as file:
                file.write(tokens.tobytes())
            os.utime(text, ns=(0, 0))

    settings = {"data": text, "method": method, "limit": 4, "context_length": 16, "check_contract": False}
    score = bpb_harness.evaluate(one_block, **settings)
    text.touch()  # says nothing of what is in it
    assert bpb_harness.evaluate(one_block, **settings).length == score.length
    with pytest.raises(CorpusError, match=r"its shards were written to while they were scored"):
        bpb_harness.evaluate(one_block, **settings, progress=write)


def other_masks(draws, device):
    class Other(DeviceSource):
        def prepare(self, plan, streams, rows):
            return super().prepare(plan, RandomStreams(streams.seed + 1, streams.pass_index), rows)

    return Other(draws, device)


def other_control(monkeypatch):
    plain = device_source.control_sums

    def control_sums(sums):
        made = plain(sums)
        return replace(made, drawn=made.drawn + (1 << 20))

    monkeypatch.setattr(device_source, "control_sums", control_sums)


@pytest.mark.usefixtures("forked_second_look")
@pytest.mark.parametrize("fault", [None, "masks", "control"])
def test_what_a_device_makes_of_a_draw_is_made_again_by_the_host(fault, one_block, monkeypatch):
    maker = other_masks if fault == "masks" else DeviceSource
    monkeypatch.setattr(passes, "source_of_batches", lambda job, draws: maker(draws, CPU))
    if fault == "control":
        other_control(monkeypatch)
    settings = {"limit": 4, "context_length": 16, "method": "mc"}
    if fault is None:
        bpb_harness.evaluate(one_block, **settings)
        return
    with pytest.raises(
        NumericsError, match=r"window \d at mask rate .*, by its seed; the kernels or the memory of a de"
    ):
        bpb_harness.evaluate(one_block, **settings)
