"""BPB104 by the tokens and bytes that a log prints beside the claimed score."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, Severity, audit
from bpb_harness.findings import Finding
from fixtures.claims.patterns import SP8192, bpb, submission

NUM_BYTES, TOKENS = 151_080_891, 40_540_160
SPELT = 152_574_319
NATS, MIXED = 2.80, 1.0612345  # of the network, and bits per byte of the mixture
PART, OF_PART = 9_662_464, 3.0997


def _log(counts: str, *, tokens: int = TOKENS, ratio: float = SP8192, score: float = MIXED, loss: str = "") -> str:
    lines = [f"val_loader:shards pattern=./data/datasets/fineweb10B_sp8192/fineweb_val_*.bin tokens:{tokens}"]
    for step, nats in ((0, 9.0109), (2000, NATS + 0.3), (4000, NATS + 0.01)):
        lines.append(f"step:{step}/4000 val_loss:{nats:.4f} val_bpb:{bpb(nats, ratio):.4f}")
    lines.append(f"final_quantized val_loss:{NATS:.8f} val_bpb:{bpb(NATS, ratio):.8f}")
    lines += [each for each in counts.split("\n") if each]
    return "\n".join([*lines, f"final_mix {loss}val_bpb:{score:.8f}", ""])


def _audit(folder: Path, log: str, *, score: float = MIXED, readme: str = "", measured: str = "") -> AuditReport:
    (folder / "train.log").write_text(log)
    (folder / "submission.json").write_text(submission(val_bpb=score, measurement=measured))
    (folder / "README.md").write_text(f"# A run\n\n{readme}\n")
    return audit(folder, rules="parameter-golf")


def _off(report: AuditReport) -> list[Finding]:
    return [each for each in report.with_code("BPB104") if each.evidence.get("printed_counts") is True]


LINES = [
    f"[mix] tokens={TOKENS} bytes={SPELT} NN_byte=1.08755 mix={MIXED:.5f} NN_full=1.09832",
    f"mix bytes={SPELT} mix_bpb={MIXED:.6f} table_only=2.076814\nmix_time:110.1s subset={TOKENS} tokens",
    f"final_mix tokens={TOKENS} bytes={SPELT}",
]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("loss", ["", f"val_loss:{NATS:.8f} "])
def test_more_bytes_than_the_text_has_are_a_doubt(tmp_path: Path, line: str, loss: str) -> None:
    (found,) = _off(_audit(tmp_path, _log(line, loss=loss)))
    assert found.severity is Severity.WARNS
    assert found.message.startswith("train.log:6 prints, beside the claimed score, 152,574,319 bytes for 40,540,160")
    assert "1.00988 times the 151,080,891 bytes that fineweb_val (full) under sp8192 has" in found.message
    assert "byte pieces are counted by their spelling <0xXX>" in found.message


@pytest.mark.parametrize(
    ("tokens", "num_bytes"),
    [
        (TOKENS, 151_078_222),
        (TOKENS - 50_000, NUM_BYTES),  # without the token before each document
        (TOKENS, NUM_BYTES + 50_000),  # with the newline behind each
        (TOKENS, NUM_BYTES - 1_500_000),  # fewer: the score is worse than it is
        (TOKENS, 3 * NUM_BYTES),  # of something else than the text
    ],
)
def test_counts_of_the_text_are_none(tmp_path: Path, tokens: int, num_bytes: int) -> None:
    line = f"[mix] tokens={tokens} bytes={num_bytes} mix={MIXED:.5f}"
    assert _off(_audit(tmp_path, _log(line))) == []


@pytest.mark.parametrize(
    "line",
    [
        f"[mix] tokens={TOKENS} bytes={SPELT} mix=0.99101",  # of another evaluation
        f"[mix] tokens={TOKENS} bytes={SPELT} NN_full={MIXED:.5f}",  # a score that has another count
        f"other tokens={TOKENS} bytes={SPELT}",
        f"[mix] tokens={TOKENS} bytes={SPELT} mix={MIXED:.5f}\na\nb\nc\nd",  # far off
    ],
)
def test_counts_of_another_evaluation_say_nothing(tmp_path: Path, line: str) -> None:
    assert _off(_audit(tmp_path, _log(line))) == []


def test_a_score_whose_own_loss_gives_the_right_bytes_is_right(tmp_path: Path) -> None:
    score = round(bpb(NATS, SP8192), 8)
    line = f"[mix] tokens={TOKENS} bytes={SPELT} mix={score:.6f}"
    report = _audit(tmp_path, _log(line, score=score, loss=f"val_loss:{NATS:.8f} "), score=score)
    assert _off(report) == []
    assert report.with_code("BPB101")


def test_another_text_is_held_against_nothing(tmp_path: Path) -> None:
    log = _log(LINES[0]).replace("fineweb_val", "mywiki_val").replace("fineweb10B", "mywiki")
    assert _off(_audit(tmp_path, log)) == []


@pytest.mark.parametrize("num_bytes", [4 * TOKENS, 4 * (TOKENS + 1), 4 * TOKENS + 1024])
@pytest.mark.parametrize("part", [1.0, 0.2])
def test_bytes_of_the_numbers_themselves_are_no_text(tmp_path: Path, num_bytes: int, part: float) -> None:
    tokens, num_bytes = round(TOKENS * part), round(num_bytes * part)
    line = f"[mix] tokens={tokens} bytes={num_bytes} mix={MIXED:.5f}"
    assert _off(_audit(tmp_path, _log(line))) == []
    beside = f"[mix] mix={MIXED:.5f}\nfinal_mix tokens: {tokens} bytes: {num_bytes} gathered to rank 0"
    assert _off(_audit(tmp_path, _log(beside))) == []


def test_the_counts_beside_those_of_a_buffer_are_read(tmp_path: Path) -> None:
    buffer = f"[mix] tokens={TOKENS} bytes={4 * TOKENS} mix={MIXED:.5f}"
    assert len(_off(_audit(tmp_path, _log(f"{buffer}\n{LINES[0]}")))) == 1


@pytest.mark.parametrize(
    ("words", "is_other"),
    [
        ("C4 validation, cut to the FineWeb split's number of tokens.", True),
        ("All of it is evaluated on the C4 validation text (45,508,608 tokens).", True),
        ("The validation set is C4.", True),
        ("Scored on WikiText-103.", True),
        ("The full FineWeb validation set; the table was trained on C4.", False),
        ("Unlike on enwik8, the mixture gains little.", False),
    ],
)
@pytest.mark.parametrize("in_json", [False, True])
def test_a_record_that_names_another_text(tmp_path: Path, words: str, is_other: bool, in_json: bool) -> None:
    given = {"measured": words} if in_json else {"readme": words}
    assert bool(_off(_audit(tmp_path, _log(LINES[0]), **given))) is not is_other


def _of_a_part(counted: float) -> str:
    return f"mix tokens={PART} bytes={round(counted * PART)} mix_bpb={MIXED:.6f}"


def test_a_part_is_held_against_lines_of_the_very_same_tokens(tmp_path: Path) -> None:
    (found,) = _off(_audit(tmp_path, _log(_of_a_part(3.3900), tokens=PART, ratio=OF_PART)))
    assert found.severity is Severity.WARNS
    assert "1.0937 times the 3.09970 by which the other lines of its run divide (train.log:5)" in found.message
    assert "it could be" not in found.message  # what bugs do to all of the text, they need not do to a part


def test_a_part_with_the_bytes_of_the_other_lines_is_none(tmp_path: Path) -> None:
    assert _off(_audit(tmp_path, _log(_of_a_part(OF_PART * 1.001), tokens=PART, ratio=OF_PART))) == []


@pytest.mark.parametrize(("counted", "is_said"), [(4.2, True), (3.8, False), (3.4, False)])
def test_another_part_is_said_to_have_a_ratio_of_its_own(tmp_path: Path, counted: float, is_said: bool) -> None:
    log = _log(_of_a_part(counted).replace(str(PART), "8000000"), tokens=TOKENS)
    log = log.replace(f"bytes={round(counted * PART)}", f"bytes={round(counted * 8_000_000)}")
    found = _off(_audit(tmp_path, log))
    assert bool(found) is is_said
    assert all("a part of the split has a ratio of its own" in each.message for each in found)


def test_lines_of_the_same_part_that_differ_tell_nothing(tmp_path: Path) -> None:
    log = _log(_of_a_part(3.2), tokens=PART, ratio=OF_PART).replace("val_loss:3.1000", "val_loss:3.2000")
    assert _off(_audit(tmp_path, log)) == []
