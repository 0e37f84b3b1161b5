"""Bytes per token that a record states, held against its own loss and score."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, Verdict, audit
from fixtures.claims.patterns import SP1024, bpb, claim, submission

NATS, TOKENS = 2.0712, 62021632
SCORE = round(bpb(NATS, SP1024), 6)
LOADED = f"val_loader:shards pattern=./data/datasets/fineweb10B_sp1024/fineweb_val_*.bin tokens:{TOKENS}\n"
FINAL = f"final_int8_zlib_roundtrip val_loss:{NATS:.6f} val_bpb:{SCORE:.6f}"


def _audit(folder: Path, log: str | None = None, loaded: str = LOADED, **record: object) -> AuditReport:
    if log is not None:
        (folder / "train.log").write_text(f"{loaded}{log}\n")
    if record:
        (folder / "submission.json").write_text(submission(**record))
    return audit(folder)


def _said(report: AuditReport) -> list[str]:
    return [finding.message for finding in report.findings if finding.code == "BPB115"]


WRONG_IN_LOG = [
    f"{FINAL} bytes_per_token:2.0000",
    f"bytes_per_token:2.0000\n{FINAL}",
    f"{FINAL}\nval_bytes_per_token: 2.0000",
    f"{FINAL} bytes:{2 * TOKENS} tokens:{TOKENS}",
    f"{FINAL} num_tokens={TOKENS}, num_bytes={2 * TOKENS}",
    f"{FINAL} eval_tokens:{TOKENS} time:12ms eval_bytes:{2 * TOKENS}",
    f"{FINAL} tokens:1000000 bytes:2000000",
    f"final val_loss {NATS:.6f} val_bpb {SCORE:.6f} bytes_per_token 2.0000",
    f"{FINAL}\nbytes/token 2.0",
    f"scored tokens 1000000 scored bytes 2000000\n{FINAL}",
    f"tokens:1000000 bytes:2000000\n{FINAL}",
    f"{FINAL}\nnum_tokens=1,000,000, num_bytes=2,000,000",
    f'{{"num_tokens": 1000000, "num_bytes": 2000000}}\n{FINAL}',
    json.dumps({"val_loss": NATS, "val_bpb": SCORE, "num_tokens": 1_000_000, "num_bytes": 2_000_000}),
]
WRONG_IN_JSON = [
    {"bytes_per_token": 2.0},
    {"val_bytes_per_token": 2.0},
    {"num_tokens": TOKENS, "num_bytes": 2 * TOKENS},
    {"val_tokens": TOKENS, "val_bytes": 2 * TOKENS},
    {"num_tokens": 1_000_000, "num_bytes": 2_000_000},
]


@pytest.mark.parametrize("line", WRONG_IN_LOG)
def test_bytes_that_a_log_states_are_held_against_its_loss_and_score(tmp_path: Path, line: str) -> None:
    report = _audit(tmp_path, line, val_bpb=SCORE)
    assert report.verdict is Verdict.UNVERIFIABLE
    (said,) = _said(report)
    assert "train.log:" in said
    assert "states 2" in said
    assert "2.4359" in said


@pytest.mark.parametrize("stated", WRONG_IN_JSON)
@pytest.mark.parametrize("has_own_loss", [True, False])
def test_bytes_that_a_submission_states_are_held_against_loss_and_score(
    tmp_path: Path, stated: dict[str, float], has_own_loss: bool
) -> None:
    loss = {"val_loss": NATS} if has_own_loss else {}
    report = _audit(tmp_path, FINAL, val_bpb=SCORE, tokenizer="sp1024", **loss, **stated)
    assert report.verdict is Verdict.UNVERIFIABLE
    (said,) = _said(report)
    assert "submission.json (" in said
    assert "2.4359" in said
    assert "contradict each other" in report.judgement.reason


@pytest.mark.parametrize("dataset", ["fineweb_val", "mywiki"])
def test_a_claim_file_whose_own_numbers_contradict_each_other_is_doubted(tmp_path: Path, dataset: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(claim(claimed_bpb=SCORE, nats_per_token=NATS, dataset=dataset, bytes_per_token=2.0))
    report = audit(path, rules="none")
    assert report.verdict is Verdict.UNVERIFIABLE
    assert "states 2.0 bytes" in report.judgement.reason
    assert "2.4359" in report.judgement.reason


def test_a_constant_is_called_a_constant(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    stated = {"bytes_per_token": 2.0, "bytes_per_token_is_constant": True}
    path.write_text(claim(claimed_bpb=SCORE, nats_per_token=NATS, dataset="mywiki", **stated))
    report = audit(path, rules="none")
    assert report.verdict is Verdict.REFUTED
    assert not _said(report)


HONEST_IN_LOG = [
    f"{FINAL} bytes_per_token:2.4359",
    f"{FINAL} bytes_per_token:2.42",
    f"{FINAL} bytes:151080891 tokens:62021846",
    f"{FINAL}\nbytes_per_token:2.0 bytes_per_token:2.4",
    # Of something else than the scored text.
    f"train_bytes_per_token:2.0\n{FINAL}",
    f"the tokenizer's bytes_per_token: 2.0 over the training text\n{FINAL}",
    f"{FINAL} avg_bytes_per_token:2.0",
    f"{FINAL} artifact bytes:158000000 tokens:79000000",
    f"{FINAL} tokens:524288000 model_bytes:1048576000",
    f"{FINAL} tokens:80000000 time:3 bytes:158000000",
    f"{FINAL} total_bytes:15800000 batch_tokens:7900000",
    f"{FINAL} bytes:15800000 tokens:62021632",
    f"tokens:1000000 bytes:2000000\nwarming up\n{FINAL}",
    f"read tokens:1000000 bytes:2000000\n{FINAL}",
    f"tokens:1000000 bytes:2000000 files:2\n{FINAL}",
    f"tokens:1000000 bytes:2435930\n{FINAL}",
    f"bytes_per_token:2.0\nbytes_per_token:2.4359\n{FINAL}",
    f"step:9000/9000 val_loss:{NATS:.6f} val_bpb:{SCORE:.6f} tokens:524288000 bytes:1048576000",
]


@pytest.mark.parametrize("line", HONEST_IN_LOG)
def test_no_honest_log_is_doubted_for_bytes_of_something_else(tmp_path: Path, line: str) -> None:
    report = _audit(tmp_path, line, val_bpb=SCORE)
    assert not _said(report)
    assert report.verdict is Verdict.CONSISTENT


@pytest.mark.parametrize(
    "stated",
    [
        {"bytes_per_token": 2.436}, {"bytes_per_token": 2.45}, {"bytes_per_token": "unknown"}, {"bytes_per_token": 2.4},
        {"num_tokens": 62021846, "num_bytes": 151080891}, {"bytes_total": 2 * TOKENS, "num_tokens": TOKENS},
        {"num_bytes": 15_800_000}, {"num_bytes": 15_800_000, "num_tokens": TOKENS}, {"bytes_per_token": 0},
        {"training": {"bytes_per_token": 2.0, "num_tokens": 10**9, "num_bytes": 2 * 10**9}},
        {"train_bytes_per_token": 2.0}, {"tokens_per_batch": 524288, "bytes": 15_800_000},
    ],
)  # fmt: skip
def test_no_honest_submission_is_doubted_for_bytes_of_something_else(tmp_path: Path, stated: dict[str, object]) -> None:
    report = _audit(tmp_path, FINAL, val_bpb=SCORE, val_loss=NATS, tokenizer="sp1024", **stated)
    assert not _said(report)
    assert report.verdict is Verdict.CONSISTENT


def test_two_estimators_say_nothing_of_stated_bytes(tmp_path: Path) -> None:
    line = f"final val_loss:{NATS:.6f} val_var_bpb:{SCORE * 1.1:.6f} bytes_per_token:2.4359"
    assert not _said(_audit(tmp_path, line))


def test_the_tokens_that_stand_beside_their_bytes_are_those_scored(tmp_path: Path) -> None:
    report = _audit(tmp_path, f"{FINAL} num_tokens=1000000 num_bytes=2435930", val_bpb=SCORE)
    assert report.verdict is Verdict.UNVERIFIABLE
    assert "BPB301" in {finding.code for finding in report.findings}


def _with_readme(folder: Path, readme: str, log: str = FINAL) -> AuditReport:
    (folder / "README.md").write_text(f"# A model\n\n{readme}\n")
    return _audit(folder, log, val_bpb=SCORE)


WRONG_IN_TABLE = [
    f"| run | val_bpb | bytes per token |\n|---|---|---|\n| ours | {SCORE} | 2.00 |",
    f"| run | Val BPB | val_loss | bytes/token |\n|---|---|---|---|\n| ours | **{SCORE}** | {NATS} | **2.0** |",
    f"| run | val_bpb | scored tokens | scored bytes |\n|---|---|---|---|\n| ours | {SCORE} | 1,000,000 | 2,000,000 |",
    f"| Metric | Value |\n|---|---|\n| val_bpb | {SCORE} |\n| bytes per token | 2.0 |",
    f"| Metric | Value |\n|---|---|\n| eval tokens | 1000000 |\n| eval bytes | 2000000 |\n| val_bpb | {SCORE} |",
]


@pytest.mark.parametrize("table", WRONG_IN_TABLE)
def test_bytes_that_a_readme_table_states_are_held_against_its_score(tmp_path: Path, table: str) -> None:
    report = _with_readme(tmp_path, table)
    assert report.verdict is Verdict.UNVERIFIABLE
    (said,) = _said(report)
    assert "README.md:" in said
    assert "states 2" in said


@pytest.mark.parametrize(
    "table",
    [
        f"| run | val_bpb | bytes per token |\n|---|---|---|\n| ours | {SCORE} | 2.44 |",
        f"| run | val_bpb | bytes per token |\n|---|---|---|\n| ours | {SCORE} | - |\n| theirs | 1.3 | 2.0 |",
        f"| run | val_bpb | tokens | bytes |\n|---|---|---|---|\n| ours | {SCORE} | 7000000 | 15863489 |",
        f"| Metric | Value |\n|---|---|\n| val_bpb | {SCORE} |\n\n| Metric | Value |\n|---|---|\n| bytes/token | 2.0 |",
        f"| Metric | Value |\n|---|---|\n| val_bpb | {SCORE} |\n| eval bytes | 151080363 |\n| eval tokens | 62021632 |",
    ],
)
def test_other_tables_are_no_doubt(tmp_path: Path, table: str) -> None:
    report = _with_readme(tmp_path, table)
    assert report.verdict is Verdict.CONSISTENT
    assert not _said(report)


GIVEN = ["```\npython evaluate.py --bytes-per-token=4\n```", "`BYTES_PER_TOKEN=4 ./run.sh`",
         "run `evaluate --bytes_per_token 4 model.pt`"]  # fmt: skip


@pytest.mark.parametrize("command", GIVEN)
def test_a_flag_that_the_log_does_not_divide_by_was_not_used_for_it(tmp_path: Path, command: str) -> None:
    report = _with_readme(tmp_path, command)
    assert report.verdict is Verdict.CONSISTENT
    assert not report.with_code("BPB103")


@pytest.mark.parametrize("command", GIVEN)
def test_a_flag_that_the_log_divides_by_refutes(tmp_path: Path, command: str) -> None:
    line = f"final_int8_zlib_roundtrip val_loss:{NATS:.4f} val_bpb:{bpb(NATS, 4.0):.4f}"
    (tmp_path / "README.md").write_text(command)
    report = _audit(tmp_path, line, val_bpb=round(bpb(NATS, 4.0), 4))
    assert report.verdict is Verdict.REFUTED
    assert report.judgement.corrected_bpb == pytest.approx(SCORE, rel=1e-3)
    (found,) = [finding for finding in report.findings if finding.code == "BPB103"]
    assert "README.md:" in found.message


def test_a_flag_where_no_loss_is_printed_is_a_doubt(tmp_path: Path) -> None:
    report = _with_readme(tmp_path, GIVEN[0], log=f"final val_bpb:{SCORE}")
    assert report.verdict is Verdict.UNVERIFIABLE
    assert report.with_code("BPB106")


def test_the_right_number_given_to_a_command_is_no_doubt(tmp_path: Path) -> None:
    assert _with_readme(tmp_path, "`--bytes-per-token=2.436`").verdict is Verdict.CONSISTENT


_STEPS = "".join(
    f"step:{step}/3 val_loss:{NATS + 0.1 * (3 - step):.4f} val_bpb:{bpb(NATS + 0.1 * (3 - step), SP1024):.4f}\n"
    for step in range(4)
)


@pytest.mark.parametrize(
    ("factor", "kind"),
    [
        (1 / 1.16714, "the leading space of a piece is counted in the table"),
        (0.6931, "in nats per byte"),
        (2.43593, "in bits per token"),
        (1 / 1.33428, "the table tests for a question mark"),
    ],
)
def test_a_last_line_alone_is_given_a_possible_kind(tmp_path: Path, factor: float, kind: str) -> None:
    score = round(SCORE * factor * 1.002, 4)
    report = _audit(tmp_path, f"{_STEPS}final val_bpb:{score}", val_bpb=score)
    assert report.verdict is Verdict.UNVERIFIABLE
    (found,) = [finding for finding in report.findings if finding.code == "BPB106"]
    assert kind in found.message
    assert "possible explanation and no proof" in found.message
    assert report.judgement.corrected_bpb is None


@pytest.mark.parametrize("factor", [0.9, 1.1, 1.02])
def test_a_last_line_alone_that_no_kind_fits_is_given_none(tmp_path: Path, factor: float) -> None:
    score = round(SCORE * factor, 4)
    report = _audit(tmp_path, f"{_STEPS}final val_bpb:{score}", val_bpb=score)
    assert "possible explanation" not in " ".join(finding.message for finding in report.findings)
