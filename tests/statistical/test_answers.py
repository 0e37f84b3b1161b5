"""Answers of 1 to 12 tokens of a real network: sampled against all of their masks, and the error of each."""

from __future__ import annotations

import json
import random
from functools import partial

import numpy as np
import pytest
from scipy import special

import bpb_harness
from bpb_harness.byte_count import load_tokenizer
from bpb_harness.evaluation.score import score
from bpb_harness.text.answers import common_length
from bpb_harness.units import NATS_PER_BIT
from tests.answers import Given, answers_job, ids
from tests.oracles import OracleDenoiser, Table, continuous_bound, schedule, t_step_bound
from tests.tiers import some_of, times

# Most of them short: one of twelve tokens has 4,095 masks. Two hundred in all, or six less.
LONGEST = times(8, thorough=12)
HOW_MANY = dict(enumerate((48, 46, 38, 28, 20, 10, 4, 2, 1, 1, 1, 1)[:LONGEST], start=1))
K, SEEDS = 8, 4
ALL_MASKS = 2**12 - 1
LONGEST_PROMPT = 3  # tokens: what is visible costs time as well
ROUNDING_BITS = 1e-4  # a single token costs the same under every mask, but for float32


@pytest.fixture(scope="module")
def answers(repository, tmp_path_factory):
    """Words of the fixture's text, the last one cut anywhere, given the words before them."""
    fixtures = repository / "fixtures"
    tokenizer = load_tokenizer(fixtures / "tokenizers" / "tiny_512_bpe.model")
    lines = (fixtures / "corpora" / "tiny_val_docs.jsonl").read_text(encoding="utf-8").splitlines()
    documents = [words for line in lines if len(words := json.loads(line)["text"].split(" ")) > 3]
    rng, missing, rows = random.Random(0), dict(HOW_MANY), []
    while any(missing.values()):
        words = rng.choice(documents)
        first = rng.randrange(len(words) - 2)
        prompt = words[first]
        answer = " " + " ".join(words[first + 1 : first + 1 + rng.randrange(1, 5)])
        answer = answer[: rng.randrange(2, len(answer) + 1)]
        alone, whole = tokenizer.encode(prompt), tokenizer.encode(prompt + answer)
        length = len(whole) - len(alone)
        if common_length(alone, whole) == len(alone) <= LONGEST_PROMPT and missing.get(length):
            missing[length] -= 1
            rows.append({"prompt": prompt, "answer": answer})
    path = tmp_path_factory.mktemp("answers") / "qa.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def scored(checkpoint, answers, **settings):
    return bpb_harness.evaluate(
        checkpoint, docs=answers, context_field="prompt",
        target_field="answer", method="mc", with_windows=True, check_contract=False, device="cpu", **settings,
    )  # fmt: skip


def test_answers_of_up_to_eight_or_twelve_tokens(one_block, answers):
    """The total within 4 of its errors, four times (3e-4 in all); per-answer intervals by Student's t hold 90 to 99 %.

    Of 800 intervals that hold 94 %, fewer than 90 % or more than 99 % do once in 100,000.
    """
    truth = scored(one_block, answers, num_samples=ALL_MASKS)
    assert truth.relation == "<="
    assert truth.mc_stderr == 0.0
    assert np.bincount(truth.windows.num_tokens)[1:].tolist() == list(HOW_MANY.values())
    quantile, held = special.stdtrit(K - 1, 0.975), []
    for seed in range(SEEDS):
        result = scored(one_block, answers, num_samples=K, enumerate_short=False, seed=seed)
        away = result.bits_per_byte - truth.bits_per_byte
        assert abs(away) < 4.0 * result.mc_stderr
        assert result.mc_stderr < 0.05 * truth.bits_per_byte
        frame = result.windows
        apart = np.abs(frame.bits - truth.windows.bits)
        held += (apart <= quantile * frame.stderr_bits + ROUNDING_BITS).tolist()
    assert 0.9 <= np.mean(held) <= 0.99


ROWS = [("ab", "c"), ("", "bab"), ("cab", "ab"), ("bb", "acbb")]
REPEATS = 50


@pytest.mark.parametrize(("method", "steps"), some_of([("discrete", {"num_steps": 5}), ("mc", {})], everyday=1))
def test_a_network_that_is_told_the_level_is_sampled_without_bias(tmp_path, method, steps):
    """Each of four answers within 4.5 errors of its bound (6e-5 in all); errors of K = 3 draws right to 50 %.

    A variance over 50 seeds is known to 20 % where estimates are normal, and the mean of 50 sample variances to 14 %:
    50 % is two of both together; seeds are fixed.
    """
    table, named = Table(3, seed=6, time_conditioned=True), schedule("cosine-md4", 0.1)
    believed = [Given(table, ids(prompt)) for prompt, _ in ROWS]
    bound = continuous_bound if method == "mc" else partial(t_step_bound, num_steps=5)
    truth = [bound(each, ids(answer), named).total for each, (_, answer) in zip(believed, ROWS, strict=True)]
    nats, variances = [], []
    for seed in range(REPEATS):
        job = answers_job(
            tmp_path, ROWS, OracleDenoiser(table), schedule="cosine-md4[0.1]", method=method, num_samples=3, seed=seed,
            enumerate_short=False, **steps,
        )  # fmt: skip
        frame = score(job).windows
        nats.append(frame.nats.to_numpy())
        stderr = frame.stderr_bits.fillna(0.0).to_numpy()  # of draws that agree none is stated; in the mean it is 0
        variances.append((stderr * NATS_PER_BIT) ** 2)
    error = np.std(nats, axis=0, ddof=1) / np.sqrt(REPEATS)
    assert (np.abs(np.mean(nats, axis=0) - truth) < 4.5 * error).all()
    assert np.mean(variances, axis=0) == pytest.approx(np.var(nats, axis=0, ddof=1), rel=0.5)
