"""How many answers a network is asked about at once, where greedy decoding is followed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bpb_harness.lm_evaluation.greedy import are_greedy
from tests.answers import answers_job
from tests.oracles.conditionals import Markov
from tests.oracles.denoisers import MarkovCausalLM, OracleDenoiser

ROWS = [("a", answer) for answer in ("bc", "bb", "cb", "bc", "ab")]  # of three tokens a causal network is shown two


class CausalLM(MarkovCausalLM):
    shapes: list[tuple[int, ...]]

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(x.shape))
        return super().logits(x)


class Denoiser(OracleDenoiser):
    shapes: list[tuple[int, ...]]

    def logits(self, xt: torch.Tensor, level: object) -> torch.Tensor:
        self.shapes.append(tuple(xt.shape))
        return super().logits(xt, level)


@pytest.mark.parametrize(
    ("is_causal", "batch_tokens", "expected"),
    [
        (True, 4, [(2, 2), (2, 2), (1, 2)]),
        (True, 5, [(2, 2), (2, 2), (1, 2)]),
        (True, 3, [(1, 2)] * 5),
        (True, 10, [(5, 2)]),
        (False, 5, [(1, 3)] * 10),
        (False, 6, [(2, 3)] * 4 + [(1, 3)] * 2),  # a call for each of the two tokens of the answers
        (False, 15, [(5, 3)] * 2),
    ],
)
def test_a_call_takes_as_many_tokens_as_a_batch_may_have(
    tmp_path: Path, is_causal: bool, batch_tokens: int, expected: list[tuple[int, ...]]
) -> None:
    chain = Markov([1 / 3] * 3, [[0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.8, 0.1, 0.1]])  # a, b, c, a, ...
    network = CausalLM(chain) if is_causal else Denoiser(chain)
    network.shapes = []
    method = "ar" if is_causal else "mc"
    given = {"schedule": None} if is_causal else {}
    greedy = are_greedy(answers_job(tmp_path, ROWS, network, method=method, batch_tokens=batch_tokens, **given))
    assert network.shapes == expected
    assert greedy.tolist() == [True, False, False, True, False]
