"""``--resume``: an evaluation that stops, for whatever reason, goes on to the same bits; other files are refused."""

import json
import shutil
import signal
from pathlib import Path

import pytest
import torch

from bpb_harness.errors import HarnessError, InputError, OutputError, UsageError
from bpb_harness.evaluation import api as evaluation
from bpb_harness.evaluation import draw_file
from bpb_harness.evaluation.draw_file import DrawFile
from bpb_harness.terminal.score import describe
from tests.printed import words_of
from tests.tiers import some_of
from tests.two_processes import interrupt_one

FAST = {"limit": 12, "batch_tokens": 512, "check_contract": False, "device": "cpu"}


@pytest.fixture(scope="module")
def tiny(one_block) -> Path:
    return one_block


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    """A finished evaluation of both bounds, its file and its result."""
    path = tmp_path_factory.mktemp("resume") / "draws.jsonl"
    return path, evaluation.evaluate(tiny, compare=True, resume=path, **FAST)


@pytest.fixture
def copy(finished, tmp_path):
    return Path(shutil.copy(finished[0], tmp_path / "draws.jsonl"))


def draw_lines(path: Path) -> list[bytes]:
    """The lines of a file but for the score at its end."""
    *lines, last = path.read_bytes().splitlines(keepends=True)
    assert last.startswith(b'{"score": ')
    return lines


def same_score(one, other):
    assert one.length.nats == other.length.nats  # to the last bit
    assert str(one) == str(other)
    assert one.comparison == other.comparison


def test_a_file_changes_nothing(tiny, finished):
    same_score(evaluation.evaluate(tiny, compare=True, **FAST), finished[1])


def test_whatever_is_missing_is_done_again_to_the_same_bits(tiny, finished, copy, monkeypatch):
    lines = draw_lines(copy)
    assert len(lines) == 1 + 2 * 6  # two bounds of 24 draws, 4 windows a batch
    copy.write_bytes(b"".join([*lines[:4], *lines[9:11]]))
    appended = []
    keep = DrawFile.keep
    monkeypatch.setattr(DrawFile, "keep", lambda self, key, done: (appended.append(key), keep(self, key, done)))
    same_score(evaluation.evaluate(tiny, compare=True, resume=copy, **FAST), finished[1])
    assert appended == [(0, "discrete")] * 3 + [(0, "mc")] * 4
    assert sorted(copy.read_bytes().splitlines()) == sorted(finished[0].read_bytes().splitlines())


def test_other_batches_keep_no_draw_twice(tiny, finished, copy):
    """Of 4 windows a batch two are there, and one of the next 6 with them."""
    lines = draw_lines(copy)
    copy.write_bytes(b"".join(lines[:3]))
    for batch_tokens, kept in ((768, "8 of 48 draws"), (640, "all draws")):
        again = evaluation.evaluate(tiny, compare=True, resume=copy, **FAST | {"batch_tokens": batch_tokens})
        assert again.length.nats == pytest.approx(finished[1].length.nats, rel=1e-6)
        (said,) = (remark.message for remark in again.remarks if remark.code == "draws.kept")
        assert said.startswith(kept)


def test_a_finished_run_says_that_the_network_did_not_run(tiny, finished, copy):
    first, again = finished[1], evaluation.evaluate(tiny, compare=True, resume=copy, **FAST)
    assert first.num_forward_tokens == 2 * 2 * first.length.num_tokens  # two bounds, K = 2
    assert again.num_forward_tokens == 0
    assert again.to_dict()["forward_tokens_per_second"] is None
    text = words_of(describe(again))
    again = "to check that file, 16 of them were scored again beside the score, and cost the same"  # 8 of each bound
    assert f"all draws were kept from {copy}; {again}" in text
    assert " scoring no forward tokens in " in text
    assert "kept from" not in describe(first)


def test_a_run_that_goes_on_counts_what_it_adds(tiny, finished, copy):
    lines = draw_lines(copy)
    copy.write_bytes(b"".join(lines[:-2]))  # two batches of 4 windows of 128 tokens are missing
    result = evaluation.evaluate(tiny, compare=True, resume=copy, **FAST)
    assert result.num_forward_tokens == 2 * 512
    assert f"40 of 48 draws were kept from {copy}" in words_of(describe(result))


def test_a_line_cut_short_by_a_crash_is_dropped(tiny, finished, copy):
    copy.write_bytes(copy.read_bytes()[:-40])
    same_score(evaluation.evaluate(tiny, compare=True, resume=copy, **FAST), finished[1])
    assert copy.read_bytes() == finished[0].read_bytes()


@pytest.mark.parametrize("changed", [{"seed": 1}, {"limit": 13}, {"num_samples": 3}, {"method": "mc"}])
def test_a_file_of_another_evaluation_is_refused(tiny, copy, changed):
    before = copy.read_bytes()
    with pytest.raises(UsageError, match="belongs to another evaluation"):
        evaluation.evaluate(tiny, **{"compare": True, "resume": copy, **FAST, **changed})
    assert copy.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a file of draws"),
        (b"\x00\x01\x02", "not a file of draws"),
        (b'{"format": "bpb-harness draws", "format_version": 1}\n', "another version"),
        (b'{"format": "bpb-harness draws", "format_version": 3, "signature": "bpb"}\n', "incomplete"),
        (b"[" * 100_000, "not a file of draws"),
    ],
)
def test_other_files_are_refused_and_left_alone(tiny, tmp_path, content, message):
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        evaluation.evaluate(tiny, resume=path, **FAST)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "line", [b"{}", b"nonsense", b'{"pass": 0, "bound": "discrete", "rows": [99999], "nats": [1.0], "num_masked": [1]}']
)
def test_a_damaged_line_is_named(tiny, copy, line):
    lines = copy.read_bytes().splitlines()
    lines[2] = line
    copy.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(InputError, match="damaged"):
        evaluation.evaluate(tiny, compare=True, resume=copy, **FAST)


def forged(path, change):
    """The file with every line of draws changed and signed again, and without a score."""
    first, *lines = draw_lines(path)
    records = [json.loads(line) for line in lines]
    for record in records:
        del record["check"]
        change(record)
    path.write_bytes(first + b"".join(draw_file._signed(first, record) for record in records))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda record: record.update(nats=[x / 2 for x in record["nats"]]),
            "was scored again, and costs something else",
        ),
        (lambda record: record.update(num_masked=[3 * x for x in record["num_masked"]]), "has another mask"),
        (lambda record: record.update(control=[0.0 for _ in record["control"]]), "has another control value"),
        (lambda record: record.update(rows=[x + 1 for x in record["rows"]]), "has another mask|that the plan does not"),
        (lambda record: record.update(rows=[10**20] * len(record["rows"])), "holds no draws"),
    ],
)
def test_a_forgery_with_right_checksums_is_refused_by_line(tiny, copy, change, words):
    forged(copy, change)
    before = copy.read_bytes()
    with pytest.raises(InputError, match=rf"{copy}: line \d+.*({words})"):
        evaluation.evaluate(tiny, compare=True, resume=copy, **FAST)
    assert copy.read_bytes() == before


def test_a_folder_or_a_missing_folder_is_one_line(tiny, tmp_path):
    for path in (tmp_path, tmp_path / "no" / "draws"):
        with pytest.raises(HarnessError):
            evaluation.evaluate(tiny, resume=path, **FAST)


def test_passes_for_a_tolerance_append(tiny, tmp_path):
    path = tmp_path / "draws.jsonl"
    short = {**FAST, "context_length": 32}
    coarse = evaluation.evaluate(tiny, tolerance=10.0, resume=path, **short)
    size = path.stat().st_size
    tolerance = 0.4  # some five passes
    fine = evaluation.evaluate(tiny, tolerance=tolerance, resume=path, **short)
    assert path.stat().st_size > size
    assert int(fine.signature.passes) > int(coarse.signature.passes or 1)
    alone = evaluation.evaluate(tiny, tolerance=tolerance, **short)
    same_score(fine, alone)
    assert fine.ci95[1] - fine.bits_per_byte <= tolerance


LONG = {"check_contract": False, "limit": 30, "batch_tokens": 256, "device": "cpu"}


@pytest.fixture(scope="module")
def never_stopped(tiny):
    """Nats of the evaluation that the commands are stopped in."""
    return evaluation.evaluate(tiny, **LONG).length.nats


@pytest.mark.parametrize("how", some_of([signal.SIGINT, signal.SIGKILL], everyday=1))
def test_a_stopped_command_goes_on_to_the_same_line(tiny, never_stopped, tmp_path, how):
    path = tmp_path / "draws.jsonl"
    flags = (
        "--no-contract", "--limit", "30", "--batch-tokens", "256", "--device", "cpu", "--format", "json", "--quiet",
    )  # fmt: skip
    code, out, err = interrupt_one(
        "bpb_harness.cli.eval", [tiny, *flags, "--resume", path], how=how, cwd=tmp_path,
        waits=("bpb_harness.evaluation.draw_file:DrawFile.keep", 4),
    )  # fmt: skip
    assert out == ""
    if how == signal.SIGINT:
        assert code == 130
        assert err.splitlines() == [
            f"bpb-eval: finished draws are kept in {path}; run the same command again to go on",
            "bpb-eval: interrupted",
        ]
    else:
        assert code == -how
    assert path.read_bytes().count(b"\n") == 1 + 4
    assert evaluation.evaluate(tiny, resume=path, **LONG).length.nats == never_stopped
    rows = [row for line in draw_lines(path)[1:] for row in json.loads(line)["rows"]]
    assert sorted(rows) == list(range(60))  # nothing was done twice


@pytest.mark.parametrize("more", [{}, {"ttt": "sgd", "method": "mc"}], ids=["draws", "a network that learns"])
def test_a_file_that_cannot_be_kept_is_refused_before_anything_is_loaded(tmp_path, more):
    path = tmp_path / "no folder" / "draws"
    with pytest.raises(OutputError, match=f"^{path} cannot be written: got No such file"):
        evaluation.evaluate(tmp_path / "no checkpoint.pt", resume=path, **more)
    with pytest.raises(OutputError, match=f"^{path} cannot be written: got No such file"):
        evaluation.evaluate(torch.nn.Identity(), resume=path, **more)
