"""The expected cost of each token, against enumeration of every mask by the oracles."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad

from bpb_harness.errors import UsageError
from bpb_harness.evaluation.score import score
from bpb_harness.evaluation.settings import Settings
from tests.answers import answers_job, ids
from tests.oracles.bounds import all_masks
from tests.oracles.conditionals import Conditionals, Table, Uniform
from tests.oracles.denoisers import OracleDenoiser
from tests.oracles.given import Given
from tests.unit.evaluation.test_document_table import DOCUMENTS, FLAT, job_of

LOW, HIGH = 0.0, 0.9  # loglinear[0.1]
ASKED = {"with_tokens": True, "surprisal": True, "with_documents": False, "slice_field": None}


def token_costs(model: Conditionals, x: tuple[int, ...], u: float) -> list[float]:
    """E[-log p(x_i | visible)] given that i is hidden and every other token is with probability u."""
    costs = [0.0] * len(x)
    for mask in all_masks(len(x)):
        rows = model.log_probs(tuple(None if hidden else token for token, hidden in zip(x, mask, strict=True)), u)
        for place in (place for place, hidden in enumerate(mask) if hidden):
            others = sum(mask) - 1
            costs[place] += u**others * (1 - u) ** (len(x) - 1 - others) * -rows[place][x[place]]
    return costs


def expected(model: Conditionals, x: tuple[int, ...], num_steps: int | None) -> list[float]:
    """Nats of each token under the continuous bound, or that of T steps."""
    prior = (1 - HIGH) * math.log(model.vocab_size)
    if num_steps is None:
        return [
            prior + quad(lambda u, place=place: token_costs(model, x, u)[place], LOW, HIGH, epsrel=1e-6)[0]
            for place in range(len(x))
        ]
    rates = [HIGH * step / num_steps for step in range(num_steps + 1)]
    steps = [(b - a, token_costs(model, x, b)) for a, b in itertools.pairwise(rates)]
    return [prior + sum(width * costs[place] for width, costs in steps) for place in range(len(x))]


@pytest.mark.parametrize(
    ("method", "told"),
    [({"method": "mc"}, True), ({"method": "discrete", "num_steps": 3}, False)],
)
def test_it_is_unbiased_with_an_honest_error_and_never_negative(tmp_path, method, told):
    """8 tokens in 12 runs: each mean is within 5 errors, and the errors stated are about the spread.

    A false alarm is rarer than once in 10,000 runs: seeds are fixed.
    """
    table = Table(3, seed=4, time_conditioned=told)
    truth = [
        nats / math.log(2)
        for start in range(0, 8, 4)
        for nats in expected(table, ids(FLAT[start : start + 4]), method.get("num_steps"))
    ]
    runs, errors = [], []
    for seed in range(12):
        made = job_of(
            tmp_path, OracleDenoiser(table), seed=seed, context_length=4, limit=2, num_samples=1, surprisal_draws=4,
            **ASKED, **method,
        )  # fmt: skip
        tokens = score(made).tokens
        assert (tokens["surprisal_bits"] >= 0.1 * math.log2(3)).all()
        runs.append(tokens["surprisal_bits"].to_numpy())
        errors.append(tokens["surprisal_stderr_bits"].to_numpy())
    spread = np.std(runs, axis=0, ddof=1)
    assert (np.abs(np.mean(runs, axis=0) - truth) < 5 * spread / math.sqrt(12)).all()
    stated = math.sqrt(np.mean(np.square(errors)))
    measured = math.sqrt(np.mean(np.square(np.array(runs) - truth)))
    assert 0.85 * measured < stated < 2.0 * measured  # of collapsed strata: too large, if anything


@pytest.mark.parametrize("layout", [{"stride": 2}, {"block_size": 2, "context_length": 4}, {"unpaid_prefix": 1}])
def test_it_is_of_targets_given_their_contexts(tmp_path, layout):
    """A network that ignores what it sees has no spread: every layout gives the entropy of its guess."""
    made = job_of(tmp_path, OracleDenoiser(Uniform(3)), method="mc", surprisal_draws=2, **ASKED, **layout)
    tokens = score(made).tokens
    assert tokens["surprisal_bits"].tolist() == pytest.approx([math.log2(3)] * len(tokens))
    assert tokens["surprisal_stderr_bits"].tolist() == pytest.approx([0.0] * len(tokens), abs=1e-12)


def test_a_context_is_seen_and_never_hidden(tmp_path):
    table = Table(3, seed=4)
    made = job_of(
        tmp_path, OracleDenoiser(table), method="mc", stride=1, context_length=4, limit=3, surprisal_draws=4, **ASKED
    )
    tokens = score(made).tokens  # the last two windows have one target: hidden alone, whatever the rate
    for place in (4, 5):
        given = Given(table, ids(FLAT[place - 3 : place]))
        (nats,) = expected(given, ids(FLAT[place]), 1)
        row = tokens[tokens["position"] == place].iloc[0]
        assert row["surprisal_bits"] == pytest.approx(nats / math.log(2))
        assert row["surprisal_stderr_bits"] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("method", [{"method": "chain"}, {"method": "exact"}, {"method": "exact", "num_steps": 3}])
def test_where_nothing_is_drawn_it_is_the_share_of_the_score(tmp_path, method):
    tokens = score(job_of(tmp_path, context_length=4, **ASKED, **method)).tokens
    assert tokens["surprisal_bits"].tolist() == tokens["share_bits"].tolist()
    assert (tokens["surprisal_stderr_bits"] == 0.0).all()
    if method["method"] == "exact":
        truth = expected(Table(3, seed=1), ids(FLAT[:4]), method.get("num_steps"))
        assert tokens["surprisal_bits"][:4].tolist() == pytest.approx([nats / math.log(2) for nats in truth], rel=1e-5)


def test_drawn_levels_have_an_error_by_token(tmp_path):
    result = score(job_of(tmp_path, told=True, method="exact", context_length=4, limit=2, **ASKED))
    assert (result.tokens["surprisal_stderr_bits"] > 0.0).all()


def test_answers_that_are_gone_through_are_known(tmp_path):
    rows = [("ab", "c"), ("", "cabca"), ("cab", "ab")]
    made = answers_job(
        tmp_path, rows, OracleDenoiser(Table(3, seed=1)), method="mc", num_samples=4, with_tokens=True, surprisal=True
    )
    tokens = score(made).tokens
    drawn = tokens["document"] == 1
    assert (tokens["surprisal_stderr_bits"] > 0).tolist() == drawn.tolist()
    assert tokens["surprisal_bits"][~drawn].tolist() == tokens["share_bits"][~drawn].tolist()


def test_no_batch_moves_it_and_it_moves_no_score(tmp_path):
    settings: dict[str, Any] = {"method": "mc", "seed": 2, "surprisal_draws": 4}
    found = [score(job_of(tmp_path, batch_tokens=size, **ASKED, **settings)) for size in (1, 10_000)]
    one, other = (each.tokens["surprisal_bits"].tolist() for each in found)
    assert one == pytest.approx(other)
    plain = score(job_of(tmp_path, **settings))
    assert found[1].length == plain.length
    assert found[0].num_forward_tokens == found[1].num_forward_tokens > plain.num_forward_tokens
    assert json.loads(found[0].to_json())["signature"] == json.loads(plain.to_json())["signature"]
    assert DOCUMENTS


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"surprisal": True}, "--surprisal: got no --tokens"),
        (
            {"surprisal": True, "with_tokens": True, "surprisal_draws": 3},
            "--surprisal-draws: got 3, expected an even number",
        ),
        ({"method": "chain", "surprisal_draws": 4}, "--surprisal-draws: got --method chain"),
    ],
)
def test_what_it_cannot_be_asked_for(settings, expected):
    with pytest.raises(UsageError) as caught:
        Settings(**settings)
    assert expected in str(caught.value)
