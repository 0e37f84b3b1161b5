"""Kernels are imported for a GPU alone, and launched from their own files; triton is one that only notes launches."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.pretend_triton import environment_with, write_triton

OF_ANY_TRITON = ["draws", "normalise", "token_nll", "training"]
OF_A_LATER_ONE = ["attention", "query_key", "squared_relu"]
LOAD = """
import sys
import torch
import bpb_harness.evaluation.api, bpb_harness.networks.reference
from bpb_harness.kernels import loading

def say():
    of_gpu = [name.rpartition(".")[2] for name in sys.modules if name.startswith("bpb_harness.kernels.on_gpu.")]
    print("triton" in sys.modules, loading.has_triton(), loading.has_descriptors(), *sorted(of_gpu))

loading.load_kernels(torch.device("cpu"))
say()
loading.load_kernels(torch.device("cuda"))
say()
"""
LAUNCH = """
import torch, sys
from bpb_harness.kernels import attention, draws, normalise, query_key, squared_relu, token_nll, training

assert "triton" not in sys.modules
low, wide = torch.zeros(256, 128, dtype=torch.bfloat16), torch.zeros(256, 512, dtype=torch.bfloat16)
places = torch.zeros(128, dtype=torch.int64)
attention._launch(low, wide, 128, 64)
attention._launch(low, wide, 128, 64, places)
made_of = draws.Draws(torch.zeros(6, 3, dtype=torch.int64), torch.zeros(3, 700, dtype=torch.int64))
masked = draws._masks_by_kernel(made_of)
draws._sums_by_kernel(made_of, masked, draws.DeviceTables(*torch.zeros(5, 8)))
normalise._launch(torch.zeros(256, 48), None, None, None, None, 1, in_place=False)
query_key._launch(low, wide.T.contiguous(), torch.zeros(128, 64))
squares = squared_relu._launch_forward(low, wide.T.contiguous())
squared_relu._launch_backward(low, wide[:128], squares)
token_nll._launch(torch.zeros(30, 120), torch.zeros(30, dtype=torch.int64), 100, 7)
angles = torch.zeros(37, 32), torch.zeros(37, 32)
told = training._launch_rotate(torch.zeros(3, 37, 3, 4, 64), *angles)
training._launch_rotate_backward(*torch.zeros(3, 3, 37, 4, 64), *told, *angles)
import triton
print(*triton.launches, sep="\\n")
"""


def run(program: str, triton: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment_with(triton)
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("kind", "at_first", "loaded"),
    [
        ({}, [True, True], [True, True, True, *sorted(OF_ANY_TRITON + OF_A_LATER_ONE)]),
        ({"has_descriptors": False}, [True, False], [True, True, False, *OF_ANY_TRITON]),
        ({"start": "raise ImportError('its library is not there')"}, [True, True], [False, False, False]),
    ],
    ids=["whole", "before 3.4", "broken"],
)
def test_kernels_are_imported_for_a_gpu_alone(tmp_path, kind, at_first, loaded):
    write_triton(tmp_path, **kind)
    before, after = run(LOAD, tmp_path)
    assert before == " ".join(map(str, [False, *at_first]))
    assert after == " ".join(map(str, loaded))


def test_every_kernel_is_launched_from_its_own_file(tmp_path):
    write_triton(tmp_path)
    assert run(LAUNCH, tmp_path) == [
        f"bpb_harness.kernels.on_gpu.{name}"
        for name in (
            "attention._attention_kernel", "attention._picked_attention_kernel", "draws._mask_kernel",
            "draws._sum_kernel", "normalise._kernel", "query_key._turned_qk_kernel",
            "squared_relu._squared_relu_kernel", "squared_relu._squared_relu_kernel", "token_nll._kernel",
            "training._rotate_kernel", "training._rotate_backward_kernel",
        )
    ]  # fmt: skip
