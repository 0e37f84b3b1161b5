"""Answers given their prompts, on networks whose every conditional is known: what each costs, and its own error."""

from __future__ import annotations

import io
import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
import sentencepiece
import torch

from bpb_harness.byte_count import load_tokenizer
from bpb_harness.errors import CorpusError, HarnessError, UsageError
from bpb_harness.evaluation.answers import answer_remarks
from bpb_harness.evaluation.job import Job
from bpb_harness.evaluation.score import score
from bpb_harness.evaluation.settings import Settings
from bpb_harness.schedule import parse_schedule
from bpb_harness.terminal.score import describe
from tests.answers import FIELDS, Given, answers_job, ids
from tests.oracles.bounds import continuous_bound, t_step_bound
from tests.oracles.chain import chain_nats
from tests.oracles.conditionals import Markov, Table
from tests.oracles.denoisers import MarkovCausalLM, OracleDenoiser
from tests.oracles.schedules import schedule as oracle_schedule
from tests.printed import words_of

ROWS = [("ab", "c"), ("", "ba"), ("cab", "abc"), ("a", "cc"), ("bb", "acb")]


def job(tmp_path, rows=ROWS, model: Any = None, **settings: Any) -> Job:
    return answers_job(tmp_path, rows, model or OracleDenoiser(Table(3, seed=1)), **settings)


def refusal(call, kind: type[HarnessError]) -> str:
    with pytest.raises(HarnessError) as error:
        call()
    assert type(error.value) is kind
    return str(error.value)


# What an answer costs


@pytest.mark.parametrize("name", ["loglinear", "cosine-md4"])
@pytest.mark.parametrize("method", ["exact", "mc"])
def test_all_masks_of_an_answer_give_its_bound_given_the_prompt(tmp_path, method, name):
    """7 draws are what the masks of three tokens take, so that no answer is sampled; 14, where u_0 is a term."""
    table, named = Table(3, seed=1), oracle_schedule(name, 0.1)
    num_samples = {} if method == "exact" else {"num_samples": 7 if name == "loglinear" else 14}
    result = score(job(tmp_path, method=method, schedule=f"{name}[0.1]", **num_samples))
    terms = [continuous_bound(Given(table, ids(p)), ids(a), named) for p, a in ROWS]
    expected = [each.total for each in terms]
    assert result.windows.nats.tolist() == pytest.approx(expected, abs=1e-9)
    assert result.length.nats == pytest.approx(sum(expected), abs=1e-9)
    assert (result.relation, result.mc_stderr) == ("<=", 0.0)
    assert result.windows.stderr_bits.tolist() == [0.0] * 5
    assert not result.windows.is_sampled.any()
    for term, nats in result.terms_nats.items():
        assert nats == pytest.approx(sum(getattr(each, term) for each in terms), abs=1e-9)


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("name", ["loglinear", "cosine-md4"])
@pytest.mark.parametrize("settings", [{"method": "exact"}, {"method": "discrete", "num_samples": 50}])
def test_the_bound_of_a_few_steps_is_a_finite_sum_even_for_a_network_that_is_told(tmp_path, settings, name, told):
    table, named = Table(3, seed=2, time_conditioned=told), oracle_schedule(name, 0.1)
    made = job(tmp_path, model=OracleDenoiser(table), schedule=f"{name}[0.1]", num_steps=4, **settings)
    result = score(made)
    terms = [t_step_bound(Given(table, ids(p)), ids(a), named, 4) for p, a in ROWS]
    assert result.windows.nats.tolist() == pytest.approx([each.total for each in terms], abs=1e-9)
    for term, nats in result.terms_nats.items():
        assert nats == pytest.approx(sum(getattr(each, term) for each in terms), abs=1e-9)
    assert (result.relation, result.mc_stderr) == ("<=", 0.0)
    if settings["method"] == "discrete":
        has_low = name == "cosine-md4"  # where u_0 > 0, reconstruction is a term of its own
        calls = [(2 ** len(a) - 1) * ((4 if told else 1) + has_low) for _, a in ROWS]
        tokens = [len(p + a) * count for (p, a), count in zip(ROWS, calls, strict=True)]
        assert result.num_forward_tokens == sum(tokens), "each mask is asked about once, or once a step"


def test_answers_of_two_steps_weigh_what_their_masks_weigh_at_the_last_step_alone_too(tmp_path):
    """At rate 1 every target is masked: all other masks weigh nothing there, and are not asked about."""
    table = Table(3, seed=3, time_conditioned=True)
    made = job(tmp_path, [("ab", "cab")], OracleDenoiser(table), schedule="loglinear", method="discrete", num_steps=1)
    result = score(made)
    assert result.num_forward_tokens == 5
    expected = t_step_bound(Given(table, ids("ab")), ids("cab"), oracle_schedule("loglinear"), 1).total
    assert result.length.nats == pytest.approx(expected, abs=1e-9)


def test_only_what_is_no_dearer_than_sampling_is_gone_through(tmp_path):
    """Masks of 1, 2 and 3 tokens: 1, 3 and 7. A network that is told the level has no finite sum in continuous time."""
    lengths = np.array([len(a) for _, a in ROWS])
    for samples, sampled in ((1, lengths > 1), (2, lengths > 1), (3, lengths > 2), (6, lengths > 2), (7, lengths > 3)):
        result = score(job(tmp_path, method="mc", num_samples=samples))
        assert result.windows.is_sampled.tolist() == sampled.tolist()
        assert result.relation == ("~<=" if sampled.any() else "<=")
        assert result.answers.num_sampled == sampled.sum()
    told = OracleDenoiser(Table(3, seed=2, time_conditioned=True))
    assert score(job(tmp_path, model=told, method="mc", num_samples=9)).windows.is_sampled.all()
    steps = score(job(tmp_path, model=told, method="discrete", num_samples=9, num_steps=3))
    assert steps.windows.is_sampled.tolist() == (lengths > 2).tolist()
    off = score(job(tmp_path, method="mc", num_samples=9, enumerate_short=False))
    assert off.windows.is_sampled.all()
    assert "|enum:off|" in str(off.signature)


def test_the_chain_rule_goes_from_the_prompt_on(tmp_path):
    table = Table(3, seed=1)
    result = score(job(tmp_path, method="chain"))
    expected = [chain_nats(Given(table, ids(p)), ids(a), range(len(a))) for p, a in ROWS]
    assert result.windows.nats.tolist() == pytest.approx(expected, abs=1e-9)
    assert (result.relation, result.mc_stderr, result.ci95[0]) == ("=", 0.0, result.bits_per_byte)
    both = sum(math.exp(-each) for each in _chain_of_all_answers(tmp_path))
    assert both == pytest.approx(1.0, abs=1e-9), "answers of one length share out all of the mass"


def _chain_of_all_answers(tmp_path):
    rows = [("ab", "".join(answer)) for answer in itertools.product("abc", repeat=3)]
    return score(job(tmp_path, rows, method="chain")).windows.nats


def test_bounds_of_all_answers_of_a_length_are_a_code(tmp_path):
    rows = [("ab", "".join(answer)) for answer in itertools.product("abc", repeat=3)]
    for settings in ({"method": "mc", "num_samples": 7}, {"method": "discrete", "num_samples": 7, "num_steps": 2}):
        nats = score(job(tmp_path, rows, **settings)).windows.nats
        assert 0.1 < np.exp(-nats).sum() <= 1.0


def test_a_causal_model_pays_for_the_answer_alone(tmp_path):
    chain = Markov.random(3, seed=4)
    rows = [row for row in ROWS if row[0]]
    result = score(job(tmp_path, rows, MarkovCausalLM(chain), schedule=None, method="ar"))
    expected = [
        -sum(math.log(chain.transition[one][other]) for one, other in itertools.pairwise(ids(p[-1] + a)))
        for p, a in rows
    ]
    assert result.windows.nats.tolist() == pytest.approx(expected, abs=1e-9)
    said = refusal(lambda: score(job(tmp_path, ROWS, MarkovCausalLM(chain), schedule=None, method="ar")), CorpusError)
    assert said == (
        f"{tmp_path / 'qa.jsonl'}: line 2: nothing stands before the answer, whose first token cannot be predicted: "
        "got an empty prompt and no token between documents, expected a prompt of a token or more; pass --separator "
        "bos, or leave that document out"
    )


# Its error


def test_the_error_of_an_answer_is_the_spread_of_its_own_draws(tmp_path):
    """Without the control variate's coefficient, which needs more draws than these, a draw's value is L C / |M|."""
    result = score(job(tmp_path, method="mc", num_samples=4, enumerate_short=False, schedule="loglinear"))
    frame = result.windows
    assert frame.stderr_bits[0] == pytest.approx(0.0, abs=1e-9), "a single token: every mask is the same"
    assert (frame.stderr_bits[1:] > 1e-3).all()
    total = math.sqrt((frame.stderr_bits**2).sum())
    assert result.mc_stderr == pytest.approx(total / frame.num_bytes.sum())
    low, high = result.ci95
    half = (high - low) / 2.0
    degrees = 3 * total**4 / (frame.stderr_bits**4).sum()
    from scipy import special

    assert half == pytest.approx(special.stdtrit(degrees, 0.975) * result.mc_stderr)
    assert (low + high) / 2.0 == pytest.approx(result.bits_per_byte)


@pytest.mark.parametrize(("method", "steps"), [("discrete", {"num_steps": 1}), ("mc", {})])
def test_draws_of_an_answer_that_agree_tell_nothing_of_its_error(tmp_path, method, steps):
    """Of one step all is masked in every draw; of many, two draws may meet one mask by chance."""
    unknown = 0
    for seed in range(1 if steps else 12):
        settings = {"method": method, "num_samples": 2, "enumerate_short": False, "schedule": "loglinear", "seed": seed}
        result = score(job(tmp_path, **settings, **steps, with_documents=True))
        frame = result.windows
        assert (frame.stderr_bits.isna() | (frame.stderr_bits > 1e-6) | (frame.num_tokens == 1)).all()
        assert frame.stderr_bits[0] == pytest.approx(0.0, abs=1e-9), "a single token: every mask is the same"
        assert frame.stderr_bits.isna().tolist() == result.documents.stderr_bits.isna().tolist()
        every = (frame.stderr_bits.isna() | (frame.num_tokens == 1)).all()
        assert (result.mc_stderr is None) == (result.ci95 is None) == bool(every)
        assert every or result.mc_stderr > 0.0
        unknown += int(frame.stderr_bits.isna().sum())
        assert not steps or unknown == 4
    assert unknown >= 1


def test_a_single_token_has_no_error_however_often_it_is_drawn(tmp_path):
    alone = score(job(tmp_path, method="mc", num_samples=2, enumerate_short=False, schedule="loglinear", limit=1))
    assert alone.windows.num_tokens.tolist() == [1]
    assert alone.mc_stderr == pytest.approx(0.0, abs=1e-9)


def test_a_single_draw_tells_nothing_of_the_error(tmp_path):
    one = job(tmp_path, method="mc", num_samples=1)
    result = score(one)
    assert result.mc_stderr is None
    assert result.ci95 is None
    assert result.corpus_stderr is None
    assert result.windows.stderr_bits.isna().tolist() == result.windows.is_sampled.tolist() == [False] + [True] * 4
    plain = json.loads(result.to_json())
    assert plain["mc_stderr"] is plain["ci95"] is None
    assert "mc se n/a" in str(result)
    last = answer_remarks(one)[-1]
    assert (last.code, last.message) == (
        "answers.one-draw", "one draw an answer tells nothing of its error; pass --samples 2 or more"
    )  # fmt: skip
    assert "answers.one-draw" not in [r.code for r in answer_remarks(job(tmp_path, method="mc", num_samples=2))]
    assert not [r for r in result.remarks if r.code == "few-draws"]
    result.to_frame()


def test_what_is_scored_does_not_hang_on_batches_or_on_other_answers(tmp_path):
    kept = {"method": "mc", "num_samples": 2}
    one = score(job(tmp_path, batch_tokens=1, **kept)).windows.nats
    assert one.tolist() == pytest.approx(score(job(tmp_path, **kept)).windows.nats.tolist(), abs=1e-12)
    fewer = score(job(tmp_path, limit=3, **kept))
    assert fewer.windows.nats.tolist() == pytest.approx(one[:3].tolist(), abs=1e-12)
    assert fewer.num_documents == 3
    assert "[0:3/5]|" in str(fewer.signature)


# How answers lie


def test_a_prompt_is_cut_from_the_left_and_that_is_said(tmp_path):
    table, named = Table(3, seed=1), oracle_schedule("loglinear", 0.1)
    made = job(tmp_path, method="exact", context_length=4)
    result = score(made)
    expected = [continuous_bound(Given(table, ids(p[max(len(p + a) - 4, 0) :])), ids(a), named).total for p, a in ROWS]
    assert result.windows.nats.tolist() == pytest.approx(expected, abs=1e-9)
    assert result.windows.num_cut.tolist() == [0, 0, 2, 0, 1]
    assert result.windows.num_context.tolist() == [2, 0, 1, 1, 1]
    assert result.answers.num_prompts_cut == 2
    said = [remark.message for remark in answer_remarks(made) if remark.code == "answers.prompt-cut"]
    assert said == ["2 of 5 prompts were cut from the left to fit into 4 tokens with their answers: by up to 2 tokens"]
    whole = [r.message for r in answer_remarks(job(tmp_path, method="exact", context_length=3))]
    assert "up to 3 tokens, 2 of them whole" in whole[1]


def test_an_answer_longer_than_the_network_takes(tmp_path):
    said = refusal(lambda: score(job(tmp_path, method="exact", context_length=2)), CorpusError)
    assert "qa.jsonl: line 3: the answer is longer than the network takes: got 3 tokens, expected at most 2" in said
    assert said.endswith("pass --stride 1 to cut it")
    table, named = Table(3, seed=1), oracle_schedule("loglinear", 0.1)
    result = score(job(tmp_path, method="exact", context_length=2, stride=1))
    for row, (prompt, answer) in enumerate(ROWS):
        parts = [answer] if len(answer) <= 2 else list(answer)
        expected, before = 0.0, prompt
        for part in parts:
            seen = before[len(before) + len(part) - 2 :] if len(before) + len(part) > 2 else before
            expected += continuous_bound(Given(table, ids(seen)), ids(part), named).total
            before += part
        assert result.windows.nats[row] == pytest.approx(expected, abs=1e-9), row
    assert result.windows.num_bytes.tolist() == [len(a) for _, a in ROWS]
    assert result.length.num_windows == 9
    assert result.num_documents == 5
    said = refusal(lambda: score(job(tmp_path, method="exact", stride=65)), UsageError)
    assert said == "--stride: got 65, expected 1 .. 64, the context length"


def test_what_is_given_stands_beside_the_score(tmp_path):
    made = job(tmp_path, method="mc", num_samples=2)
    result = score(made)
    assert "|given:prompts+lengths|" in str(result.signature)
    plain = json.loads(result.to_json())
    assert plain["num_documents"] == plain["answers"]["num_answers"] == 5
    assert plain["bits_per_document"] == pytest.approx(result.length.bits / 5)
    (remark,) = answer_remarks(made)
    assert (remark.code, remark.message) == (
        "answers", "5 answers, each given its prompt and its number of tokens: that it ends is not paid for"
    )  # fmt: skip
    frame = result.windows
    assert frame.source.str.endswith(("line 1", "line 2", "line 3", "line 4", "line 5")).all()
    assert frame.bits.sum() == pytest.approx(result.length.bits)
    assert frame.num_bytes.sum() == result.length.num_bytes
    assert frame.bits_per_byte.tolist() == pytest.approx((frame.bits / frame.num_bytes).tolist())
    assert list(frame) == [
        "document", "source", "num_context", "num_cut", "num_tokens", "num_bytes", "nats", "bits", "bits_per_byte",
        "stderr_bits", "is_sampled",
    ]  # fmt: skip
    assert frame.document.tolist() == [0, 1, 2, 3, 4]
    assert frame.num_tokens.dtype.kind == frame.num_bytes.dtype.kind == "i"
    none = score(job(tmp_path, method="mc", num_samples=2, byte_rule="none")).windows
    assert not {"num_bytes", "bits_per_byte"} & set(none.columns)


def test_bytes_of_an_answer_in_parts_add_up(tmp_path):
    answers = job(tmp_path, method="exact", context_length=2, stride=1).answers
    whole = np.array([1, 7, 5, 0, 2])
    parts = answers.share(whole, np.array([1, 2, 1, 0, 3, 2, 0, 0, 0]))
    assert parts.tolist() == [1, 7, 1, 0, 4, 0, 0, 0, 2]
    assert (np.bincount(answers.answer, weights=parts) == whole).all()
    first_in_parts = job(tmp_path, [("a", "cab"), ("a", "b")], method="exact", context_length=2, stride=1).answers
    assert first_in_parts.share(np.array([8, 3]), np.array([1, 2, 1, 4])).tolist() == [2, 4, 2, 3]
    assert first_in_parts.of_spans(np.array([1.0, 2.0, 4.0, 8.0])).tolist() == [7.0, 8.0]


@pytest.mark.parametrize(
    ("flag", "settings"),
    [
        ("--text-field", {"text_field": "x"}),
        ("--per-document", {"per_document": True}),
        ("--unpaid-prefix", {"unpaid_prefix": 1}),
        ("--tail drop", {"tail": "drop"}),
        ("--compare", {"compare": True}),
        ("--tolerance", {"tolerance": 0.1}),
        ("--samples all", {"num_samples": "all", "method": "discrete"}),
    ],
)
def test_what_means_nothing_for_answers_is_refused(flag, settings):
    chosen = {"docs": "qa.jsonl", "method": "mc"} | FIELDS | settings
    said = refusal(lambda: Settings(**chosen), UsageError)
    assert said.startswith(f"{flag} with --target-field: got both, expected answers, each scored by itself; ")
    assert said.endswith("pass --samples K for smaller errors" if flag in ("--tolerance", "--samples all") else flag)


def test_flags_that_need_answers(tmp_path):
    said = refusal(lambda: Settings(docs="a.jsonl", enumerate_short=False), UsageError)
    assert said == "--no-enumerate: got no --target-field, expected --context-field and --target-field"
    said = refusal(lambda: Settings(docs="a.jsonl", method="chain", enumerate_short=False, **FIELDS), UsageError)
    assert said == "--no-enumerate: got --method chain, expected --method discrete or mc"
    said = refusal(lambda: Settings(docs="a.jsonl", target_field="answer"), UsageError)
    assert said.startswith("--target-field answer: got no --context-field")
    said = refusal(lambda: job(tmp_path, [("a", "b" * 13)], method="exact").require_scorable(), UsageError)
    assert said.startswith("--method exact: got answers of 13 tokens, expected at most 12; leave such answers out")


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_a_network_of_blocks_scores_an_answer_block_by_block(tmp_path, size):
    """Blocks are counted from where the prompt begins; the answer's part of one is given all that stands before."""
    table, named = Table(3, seed=1), oracle_schedule("loglinear", 0.1)
    network: Any = OracleDenoiser(table)
    network.block_size = size
    rows = [*ROWS, ("abc", "abca"), ("cc", "cabbac")]
    result = score(job(tmp_path, rows, network, method="exact"))
    for row, (prompt, answer) in enumerate(rows):
        expected, before = 0.0, prompt
        while len(before) < len(prompt + answer):
            part = (prompt + answer)[len(before) : (len(before) // size + 1) * size]
            expected += continuous_bound(Given(table, ids(before)), ids(part), named).total
            before += part
        assert result.windows.nats[row] == pytest.approx(expected, abs=1e-9), (prompt, answer)
    assert result.windows.num_context.tolist() == [len(prompt) for prompt, _ in rows]
    assert f"|block:{size}|" in str(result.signature)
    sampled = score(job(tmp_path, rows, network, method="mc", num_samples=7))
    assert (sampled.relation == "<=") == (size <= 3)
    if size <= 3:
        assert sampled.windows.nats.tolist() == pytest.approx(result.windows.nats.tolist(), abs=1e-9)


def test_what_is_not_scored_may_be_longer_than_the_network_takes(tmp_path):
    rows = [("ab", "ca"), ("a", "cbabc"), ("a", "b")]
    result = score(job(tmp_path, rows, method="exact", context_length=3, limit=1))
    assert "[0:1/3]|" in str(result.signature)
    assert result.windows.num_tokens.tolist() == [2]
    parts = score(job(tmp_path, rows, method="exact", context_length=3, limit=2, stride=1))
    assert "[0:2/3]|" in str(parts.signature)
    assert (parts.length.num_windows, parts.num_documents) == (6, 2)
    whole = score(job(tmp_path, rows, method="exact", context_length=3, limit=3, stride=1))
    assert "[0:" not in str(whole.signature)


class Recording(OracleDenoiser):
    """A network that remembers the rates that it is told."""

    def logits(self, xt, level):
        self.told = [*getattr(self, "told", []), *level.mask_rate.tolist()]
        return super().logits(xt, level)


def test_a_network_that_ignores_the_rate_is_told_another_one_with_each_mask(tmp_path):
    """Should it not ignore it after all, no single rate decides the number; reconstruction is at u_0."""
    network = Recording(Table(3, seed=1))
    score(job(tmp_path, [("ab", "cab")], network, method="mc", num_samples=14, schedule="cosine-md4[0.1]"))
    low = parse_schedule("cosine-md4[0.1]").min_mask_rate
    assert len(network.told) == 14
    others = [rate for rate in network.told if rate != pytest.approx(low)]
    assert len(set(others)) == 7
    assert all(low < rate <= 1.0 for rate in others)


def spelled_otherwise(tmp_path, rows, **settings):
    """A job whose tokenizer drops spaces; its network is never called."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the cat sat on the mat, the rat ate the cat"] * 10), model_writer=model,
        model_type="bpe", vocab_size=300, hard_vocab_limit=False, byte_fallback=True, num_threads=1, minloglevel=2,
    )  # fmt: skip
    return job(tmp_path, rows, method="mc", tokenizer=load_tokenizer(model.getvalue()), **settings)


def test_borders_and_bytes_that_are_not_as_written_are_said(tmp_path):
    rows = [("the mat", " cat"), ("the c", "at sat"), ("the", " cat  \n"), ("the ca", "t"), ("the", " cat ")]
    _, border, spelled = answer_remarks(spelled_otherwise(tmp_path, rows))
    path = tmp_path / "qa.jsonl"
    assert (border.code, border.message) == (
        "answers.border",
        "in 2 of 5 documents the prompt does not end where a token does: up to 2 of its last tokens are paid for too, "
        f"but only the answer has bytes (the first: {path}: line 2)",
    )
    assert (spelled.code, spelled.message) == (
        "answers.bytes",
        "the tokens of 2 of 5 answers spell fewer bytes by the rule official than are written, 19 of 23 in all (the "
        f"first: {path}: line 3); --bytes raw counts those",
    )
    raw = answer_remarks(spelled_otherwise(tmp_path, rows, byte_rule="raw"))
    assert [remark.code for remark in raw] == ["answers", "answers.border"]
    none = answer_remarks(spelled_otherwise(tmp_path, rows, byte_rule="none"))
    assert [remark.code for remark in none] == ["answers", "answers.border"]
    assert len(answer_remarks(spelled_otherwise(tmp_path, rows, limit=1))) == 1


def test_a_network_is_not_compiled_for_rows_of_many_lengths():
    gpu, answers = torch.device("cuda"), {"docs": "qa.jsonl"} | FIELDS
    assert Settings(docs="qa.jsonl").compiles(gpu)
    assert not Settings(docs="qa.jsonl").compiles(gpu, pays=False)
    assert not Settings(docs="qa.jsonl").compiles(torch.device("cpu"))
    assert not Settings(**answers).compiles(gpu)
    assert Settings(**answers, compile_network=True).compiles(gpu)


def test_an_enumeration_that_draws_levels_has_an_error_for_each_answer(tmp_path):
    told = OracleDenoiser(Table(3, seed=2, time_conditioned=True))
    result = score(job(tmp_path, model=told, method="exact", num_samples=3))
    frame = result.windows
    assert result.relation == "~<="
    assert frame.is_sampled.all()
    assert (frame.stderr_bits > 0.0).all()
    assert result.mc_stderr == pytest.approx(math.sqrt((frame.stderr_bits**2).sum()) / frame.num_bytes.sum())
    assert result.answers.num_sampled == 5


@pytest.mark.parametrize("byte_rule", ["exact", "none"])
def test_a_person_reads_bits_an_answer(tmp_path, byte_rule):
    result = score(job(tmp_path, method="mc", num_samples=2, byte_rule=byte_rule))
    printed = words_of(describe(result))
    assert f"{result.bits_per_document:.2f} bits per answer" in printed
    assert f"{result.bits_per_token:.4f} bits per token" in printed
    assert "needs at most that for these answers, each given its prompt and its length" in printed
    assert " (95 % interval " in printed
    one = words_of(describe(score(job(tmp_path, method="mc", num_samples=1, byte_rule=byte_rule))))
    assert "bits per answer" in one
    assert "95 % interval" not in one
    assert "one draw of each answer does not tell it; pass --samples 2 or more" in one
