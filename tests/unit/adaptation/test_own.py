"""``--ttt own``: what the network's own method may do to the program."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor, nn

from bpb_harness.adaptation.own import OwnAdaptation
from bpb_harness.errors import UsageError


class Leaving(nn.Module):
    def adapt(self, tokens: Tensor) -> None:
        sys.exit(0 if len(tokens) == 3 else "bye")


@pytest.mark.parametrize(("count", "seen"), [(3, "0"), (4, "'bye'")])
def test_a_network_that_ends_the_program_while_it_learns_is_refused(count: int, seen: str) -> None:
    with pytest.raises(UsageError) as caught:
        OwnAdaptation(Leaving()).learn(torch.zeros(count, dtype=torch.int64), 7, 9)
    assert str(caught.value) == (
        f"adapt(tokens), at chunk 7, ends the program: got sys.exit({seen}), expected code that returns, or raises an "
        "error"
    )
