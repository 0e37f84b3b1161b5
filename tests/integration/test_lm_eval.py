"""The model of lm-evaluation-harness, asked by lm-eval itself: each request costs what bpb-eval says of it."""

import json
import math
import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}  # read when the library is imported
lm_eval = pytest.importorskip("lm_eval", reason="the extra lm-eval is not installed")

import datasets  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

import bpb_harness  # noqa: E402
from bpb_harness.cli import lm_eval as command  # noqa: E402
from bpb_harness.denoiser import causal_logits, denoiser_logits  # noqa: E402
from bpb_harness.errors import CorpusError, TokenizerError, UsageError  # noqa: E402
from bpb_harness.evaluation.api import load_job  # noqa: E402
from bpb_harness.evaluation.settings import Settings  # noqa: E402
from bpb_harness.lm_evaluation.greedy import are_greedy  # noqa: E402
from bpb_harness.lm_evaluation.model import HarnessLM  # noqa: E402
from bpb_harness.schedule import LogLinear  # noqa: E402
from fixtures.build import CAUSAL_CHECKPOINT as TRAINED  # noqa: E402
from fixtures.build import DOCUMENTS  # noqa: E402
from tests.one_block import one_block_of  # noqa: E402
from tests.tiers import some_of  # noqa: E402

CHECKPOINT, CAUSAL_CHECKPOINT = one_block_of("mdlm-tiny.pt"), one_block_of("ar-tiny.pt")

TEXTS = [json.loads(line)["text"] for line in DOCUMENTS.read_text(encoding="utf-8").splitlines()]
LONG = [text for text in TEXTS if len(text) > 140]
CHOICES = [
    {"prompt": text[:60], "choices": [text[60:70], LONG[index + 1][90:105]], "answer": 0}
    for index, text in enumerate(LONG[:3])
]
TASKS = {
    "choice": ("multiple_choice", CHOICES, 'doc_to_text: "{{prompt}}"\ndoc_to_choice: choices\ndoc_to_target: answer'),
    "continuation": (
        "loglikelihood",
        [{"prompt": text[:50], "target": text[50:62]} for text in LONG[3:6]] + [{"prompt": "", "target": LONG[6][:9]}],
        'doc_to_text: "{{prompt}}"\ndoc_to_target: "{{target}}"',
    ),
    "rolling": (
        "loglikelihood_rolling",
        [{"text": LONG[7]}, {"text": " ".join(LONG[8:11])}],
        'doc_to_text: ""\ndoc_to_target: "{{text}}"',
    ),
    "generation": (
        "generate_until",
        [{"prompt": "a", "target": "b"}],
        'doc_to_text: "{{prompt}}"\ndoc_to_target: "{{target}}"\ngeneration_kwargs: {until: ["."]}',
    ),
}
METRICS = {
    "multiple_choice": "acc", "loglikelihood": "perplexity", "loglikelihood_rolling": "bits_per_byte",
    "generate_until": "exact_match",
}  # fmt: skip
FAST = {"device": "cpu", "check_contract": False}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    datasets.config.HF_DATASETS_CACHE = folder / "cache"
    for name, (kind, documents, fields) in TASKS.items():
        data = folder / f"{name}.jsonl"
        data.write_text("".join(json.dumps(each) + "\n" for each in documents), encoding="utf-8")
        (folder / f"{name}.yaml").write_text(
            f"task: tiny_{name}\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {data}}}}}\n"
            f'test_split: test\noutput_type: {kind}\ntarget_delimiter: ""\n{fields}\n'
            f"metric_list: [{{metric: {METRICS[kind]}}}]\n"
        )
    return folder


def answers(checkpoint, pairs, folder: Path, **settings):
    """What bpb-eval says of each pair."""
    file = folder / "pairs.jsonl"
    file.write_text("".join(json.dumps({"c": c, "t": t}) + "\n" for c, t in pairs), encoding="utf-8")
    given = {"docs": file, "context_field": "c", "target_field": "t", "with_windows": True} | settings | FAST
    return bpb_harness.evaluate(checkpoint, **given)


@pytest.mark.parametrize(
    ("checkpoint", "options", "same"),
    some_of(
        [
            (CHECKPOINT, {"num_samples": 3}, {"method": "mc", "num_samples": 3}),
            (CAUSAL_CHECKPOINT, {}, {"method": "ar"}),
        ],
        everyday=1,
    ),
)
def test_lm_eval_gets_what_bpb_eval_says(checkpoint, options, same, tasks, tmp_path):
    model = HarnessLM(str(checkpoint), device="cpu", batch_size=1, check_contract=False, **options)
    found = lm_eval.simple_evaluate(
        model=model, tasks=["tiny_choice", "tiny_continuation", "tiny_rolling"], bootstrap_iters=0,
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
    )  # fmt: skip
    samples = {name: found["samples"][f"tiny_{name}"] for name in ("choice", "continuation", "rolling")}
    # 1. Continuations, those of both tasks in one score.
    pairs = [(each["prompt"], choice) for each in CHOICES for choice in each["choices"]]
    pairs += [(each["prompt"], each["target"]) for each in TASKS["continuation"][1]]
    expected = answers(checkpoint, pairs, tmp_path, **same).windows
    told = [resp for each in samples["choice"] for resp in each["filtered_resps"]]
    told += [resp for each in samples["continuation"] for resp in each["filtered_resps"]]
    assert [-float(nats) for nats, _ in told] == pytest.approx(list(expected["nats"]), rel=1e-6)
    right = [expected["nats"][2 * row] < expected["nats"][2 * row + 1] for row in range(len(CHOICES))]
    assert found["results"]["tiny_choice"]["acc,none"] == np.mean(right)
    # 2. Whole texts: every token once.
    texts = [each["text"] for each in TASKS["rolling"][1]]
    rolled = answers(checkpoint, [("", text) for text in texts], tmp_path, stride=64, **same)
    said = [-float(each["filtered_resps"][0]) for each in samples["rolling"]]
    assert said == pytest.approx(list(rolled.windows["nats"]), rel=1e-6)
    num_bytes = sum(len(text.encode()) for text in texts)
    of_lm_eval = found["results"]["tiny_rolling"]["bits_per_byte,none"]
    assert of_lm_eval == pytest.approx(rolled.length.nats / math.log(2) / num_bytes, rel=1e-6)
    # 3. What stands beside them.
    signatures = found["config"]["bpb_signatures"]
    assert sorted(signatures) == ["loglikelihood", "loglikelihood_rolling"]
    assert f"|method:{same['method']}|" in signatures["loglikelihood"][0]
    assert "|stride:64|" in signatures["loglikelihood_rolling"][0]
    model.write_requests(tmp_path / "requests.jsonl")
    kept = [json.loads(line) for line in (tmp_path / "requests.jsonl").read_text().splitlines()]
    assert [each["nats"] for each in kept[: len(pairs)]] == pytest.approx(list(expected["nats"]), rel=1e-6)
    stderr = np.array([each["stderr_nats"] for each in kept[: len(pairs)]])
    assert stderr == pytest.approx(expected["stderr_bits"].to_numpy() * math.log(2), rel=1e-4)
    sampled = [*expected["is_sampled"], *rolled.windows["is_sampled"]]
    own = ["=" if checkpoint is CAUSAL_CHECKPOINT else "~<=" if drawn else "<=" for drawn in sampled]
    assert [each["relation"] for each in kept] == own


def test_each_request_has_the_relation_of_its_own(tmp_path):
    """One whose masks were all gone through is bounded, whatever was sampled beside it."""
    model = HarnessLM(str(CHECKPOINT), device="cpu", check_contract=False, num_samples=64)
    model.loglikelihood([_request("loglikelihood", (LONG[0][:40], after)) for after in (" a", LONG[0][40:120])])
    model.write_requests(tmp_path / "requests.jsonl")
    short, long = (json.loads(line) for line in (tmp_path / "requests.jsonl").read_text().splitlines())
    assert (short["relation"], short["stderr_nats"], long["relation"]) == ("<=", 0.0, "~<=")
    assert long["stderr_nats"] > 0.0


def test_a_text_of_ten_thousand_tokens_is_paid_for_once(tmp_path):
    text = " ".join(TEXTS)
    model = HarnessLM(str(TRAINED), device="cpu", check_contract=False)
    text = text[: len(text) // 4]
    cost = -model.loglikelihood_rolling([_request("loglikelihood_rolling", (text,))])[0]
    job = load_job(TRAINED, Settings(method="ar", docs=_file(tmp_path, text), **FAST))
    model.write_requests(tmp_path / "requests.jsonl")
    kept = json.loads((tmp_path / "requests.jsonl").read_text())
    assert kept["num_tokens"] == job.text.corpus.num_tokens - 1 > 10_000  # all but the one before the text
    # Windows that see less pay more; one network of twice the text's tokens would pay twice.
    windows = bpb_harness.evaluate(TRAINED, method="ar", docs=_file(tmp_path, text), **FAST)
    assert 0.9 * windows.length.nats < cost < windows.length.nats


def _file(folder: Path, text: str) -> Path:
    path = folder / "text.jsonl"
    path.write_text(json.dumps({"text": text}) + "\n", encoding="utf-8")
    return path


def _request(kind, arguments):
    from lm_eval.api.instance import Instance

    return Instance(request_type=kind, doc={}, arguments=arguments, idx=0, metadata=("task", 0, 1))


@pytest.mark.parametrize("checkpoint", [CAUSAL_CHECKPOINT, CHECKPOINT])
def test_greedy_is_what_a_decoder_would_say(checkpoint, tmp_path):
    """Continuations that a decoding loop of this test's own has written, and the same with one token changed."""
    pairs = tmp_path / "pairs.jsonl"
    prompts = [text[:40] for text in LONG[:4]]
    pairs.write_text("".join(json.dumps({"c": each, "t": "xxxxxx"}) + "\n" for each in prompts), encoding="utf-8")
    method = "ar" if checkpoint is CAUSAL_CHECKPOINT else "mc"
    job = load_job(checkpoint, Settings(method=method, docs=pairs, context_field="c", target_field="t", **FAST))
    tokens, spans = job.text.corpus.read(0, job.text.corpus.num_tokens).copy(), job.spans
    for index in range(len(spans)):
        begin, start, end = (int(each[index]) for each in (spans.context_starts, spans.starts, spans.ends))
        for place in range(start, end):
            tokens[place] = _next_token(job.model, tokens[begin:place], end - place, end - start)
    assert are_greedy(_of_tokens(job, tokens)).all()
    changed = tokens.copy()
    for place in (int(spans.starts[1]), int(spans.ends[2]) - 1):
        changed[place] = (changed[place] + 1) % 512
    assert are_greedy(_of_tokens(job, changed)).tolist() == [True, False, False, True]


def _of_tokens(job, tokens):
    corpus = SimpleNamespace(read=lambda start, stop: tokens[start:stop], num_tokens=len(tokens))
    return replace(job, text=replace(job.text, corpus=corpus))


def _next_token(model, before, num_left, num_targets) -> int:
    with torch.no_grad():
        known = torch.from_numpy(before.astype(np.int64))
        if not hasattr(model, "mask_token_id"):
            return int(causal_logits(model, known[None])[0, -1, :512].argmax())
        xt = torch.cat([known, torch.full((num_left,), model.mask_token_id)])[None]
        schedule = LogLinear(1e-3)
        level = schedule.level_at(torch.tensor([schedule.max_mask_rate * num_left / num_targets], dtype=torch.float64))
        return int(denoiser_logits(model, xt, level)[0, len(known), :512].argmax())


def test_what_generates_is_refused_in_one_line(tasks):
    model = HarnessLM(str(CAUSAL_CHECKPOINT), device="cpu", check_contract=False)
    with pytest.raises(UsageError, match="tasks that generate text: tiny_generation: got generate_until") as caught:
        lm_eval.simple_evaluate(
            model=model, tasks=["tiny_generation"],
            task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        )  # fmt: skip
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"docs": "x"}, "--model_args docs: got a setting of a text"),
        ({"tolerance": 0.1}, "--model_args tolerance"),
        ({"sampels": 3}, "--model_args sampels: got no setting of bpb-eval"),
        ({"num_samples": 3}, "--samples: got --method ar"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        HarnessLM(str(CAUSAL_CHECKPOINT), device="cpu", **options)


def test_a_model_without_a_checkpoint_is_refused():
    with pytest.raises(UsageError, match="--model_args: got no checkpoint"):
        HarnessLM(device="cpu")


def test_an_empty_continuation_is_refused():
    model = HarnessLM(str(CAUSAL_CHECKPOINT), device="cpu", check_contract=False)
    with pytest.raises(CorpusError, match=r"^request 2 \(task task, doc_id 0, idx 0\): the answer is empty: "):
        model.loglikelihood([_request("loglikelihood", ("a", "b")), _request("loglikelihood", ("a", ""))])


def test_an_answer_that_is_too_long_is_refused_with_what_to_write():
    model = HarnessLM(str(CHECKPOINT), device="cpu", check_contract=False)
    with pytest.raises(
        CorpusError,
        match=r"^request 1 \(task task, .*\): the answer is longer .*; pass --model_args stride=64 to cut it$",
    ):
        model.loglikelihood([_request("loglikelihood", ("a", " ".join(LONG)))])


def run(monkeypatch, *words) -> int:
    monkeypatch.setattr(sys, "argv", ["bpb-lm-eval", *map(str, words)])
    # The library would read the thousands of files of its own tasks, for seconds.
    monkeypatch.setattr(lm_eval.tasks, "TaskManager", partial(TaskManager, include_defaults=False))
    with pytest.raises(SystemExit) as ended:
        command.main()
    return int(ended.value.code or 0)


def test_the_command_writes_errors_and_signatures_beside_the_samples(tasks, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    shared = ["--include_path", tasks, "--model", "bpb_harness", "--device", "cpu"]
    arguments = f"checkpoint={CHECKPOINT},num_samples=2,check_contract=False"
    code = run(
        monkeypatch, *shared, "--tasks", "tiny_continuation", "--model_args", arguments, "--output_path", out,
        "--log_samples",
    )  # fmt: skip
    assert code == 0
    (results,) = out.rglob("results_*.json")
    assert "|method:mc|" in json.loads(results.read_text())["config"]["bpb_signatures"]["loglikelihood"][0]
    (requests,) = results.parent.glob("bpb_requests_*.jsonl")
    kept = [json.loads(line) for line in requests.read_text().splitlines()]
    assert [each["doc_id"] for each in kept] == [0, 1, 2, 3]
    assert all(each["stderr_nats"] >= 0 for each in kept)
    capsys.readouterr()
    assert run(monkeypatch, *shared, "--tasks", "tiny_generation", "--model_args", arguments) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("bpb-lm-eval: tasks that generate text")


def test_without_lm_eval_the_command_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "lm_eval.__main__", None)
    assert run(monkeypatch, "--tasks", "x") == 2
    assert "pip install lm-eval" in capsys.readouterr().err


def test_a_task_that_there_is_not_is_one_line(tasks, monkeypatch, capsys):
    arguments = ("--include_path", tasks, "--model", "bpb_harness", "--model_args", f"checkpoint={CHECKPOINT}")
    assert run(monkeypatch, *arguments, "--tasks", "nosuchtask") == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("bpb-lm-eval: lm-eval: Tasks not found: nosuchtask; ")


def test_help_says_first_what_is_ours(monkeypatch, capsys):
    assert run(monkeypatch, "--help") == 0
    said = capsys.readouterr().out
    ours, _, theirs = said.partition("All else is lm-eval's own:")
    assert ours.startswith("bpb-lm-eval ")
    assert "--model bpb_harness --model_args checkpoint=PATH" in ours
    assert "usage: " in theirs


def test_no_arguments_are_an_error(monkeypatch, capsys):
    assert run(monkeypatch) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("bpb-lm-eval: nothing to score: expected --model bpb_harness ")


def test_a_tokenizer_that_there_is_not_is_refused_before_any_request():
    with pytest.raises((TokenizerError, UsageError), match=r"none\.model"):
        HarnessLM(str(CHECKPOINT), device="cpu", tokenizer="none.model")
