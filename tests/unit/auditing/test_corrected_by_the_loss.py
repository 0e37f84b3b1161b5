"""A loss that stands beside a score: no correction contradicts what it gives over the right bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, Verdict, audit
from fixtures.claims.build import HERE
from fixtures.claims.patterns import SP1024, SP1024_TOKENS, bpb, log, submission

NATS = 2.0512
RIGHT = bpb(NATS, SP1024)
HONEST = (HERE.parent / "scripts" / "honest_ar_tables.py").read_text(encoding="utf-8")
SPACE_TWICE = (HERE.parent / "scripts" / "wrong_space_twice_table.py").read_text(encoding="utf-8")
BITS = "val_loss.item() / math.log(2.0)"


def audited(
    folder: Path, script: str, ratio: float, nats: float = NATS, tokens: int | None = SP1024_TOKENS
) -> AuditReport:
    (folder / "train_gpt.py").write_text(script, encoding="utf-8")
    record = submission(val_loss=nats, val_bpb=round(bpb(nats, ratio), 8), tokenizer="sp1024")
    (folder / "submission.json").write_text(record)
    (folder / "train.log").write_text(log(nats, ratio, label="final", tokens=tokens))
    return audit(folder)


@pytest.mark.parametrize(
    ("bits", "factor"), [(f"{BITS} / 2.2", 2.2), (f"{BITS} * 0.95", 1 / 0.95), (BITS.replace("2.0", "3.0"), 1.5849625)]
)
def test_a_constant_on_the_bits_gives_what_the_loss_gives(tmp_path: Path, bits: str, factor: float) -> None:
    report = audited(tmp_path, HONEST.replace(BITS, bits), SP1024 * factor)
    assert report.verdict is Verdict.REFUTED
    assert "BPB167" in report.judgement.rests_on
    assert report.corrected_bpb == pytest.approx(RIGHT, rel=1e-5)
    assert not [each for each in report.findings if "it could be that" in each.message]  # what is known explains it


def test_a_constant_on_the_loss_is_beside_the_loss_of_the_log(tmp_path: Path) -> None:
    """The loss that the log prints has it too: divided by the right bytes it is the claimed score, and as wrong."""
    script = HONEST.replace("val_loss = loss_sum / token_count", "val_loss = loss_sum / token_count * 0.95")
    report = audited(tmp_path, script, SP1024, 0.95 * NATS)
    assert report.verdict is Verdict.REFUTED
    assert report.corrected_bpb == pytest.approx(RIGHT, rel=1e-5)


def test_a_factor_that_nearly_fits_gives_way_to_the_loss(tmp_path: Path) -> None:
    report = audited(tmp_path, SPACE_TWICE, SP1024 * 1.1806, tokens=None)
    assert report.verdict is Verdict.REFUTED
    assert report.corrected_bpb == pytest.approx(RIGHT, rel=1e-5)
    assert "the record's own loss over the right bytes; the factor of BPB151, 1.16714" in str(
        report.judgement.corrected_from
    )
    (doubt,) = [each for each in report.findings if each.code == "BPB104"]
    assert "alone makes +16.71 %, and nothing that was found tells of the rest" in doubt.message
    assert "it could be" not in doubt.message


def test_a_factor_that_fits_is_as_it_was(tmp_path: Path) -> None:
    report = audited(tmp_path, SPACE_TWICE, SP1024 * 1.16714)
    assert report.corrected_bpb == pytest.approx(RIGHT, rel=1e-5)
    assert "does not quite fit" not in str(report.judgement.corrected_from)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_a_factor_that_the_loss_contradicts_gives_no_score(tmp_path: Path, factor: float) -> None:
    report = audited(tmp_path, SPACE_TWICE, SP1024 * factor)
    assert report.verdict is Verdict.REFUTED
    assert report.corrected_bpb is None
    assert f"the record's own loss over the right bytes, {RIGHT:.4f}, contradicts what" in str(
        report.judgement.corrected_from
    )


CHARACTERS = (HERE.parent / "scripts" / "wrong_characters_counted.py").read_text(encoding="utf-8")
PREFIX = 2.40774  # bytes per token of the first 1,048,576 tokens


def test_characters_for_bytes_come_before_a_part_that_the_ratio_alone_suggests(tmp_path: Path) -> None:
    report = audited(tmp_path, CHARACTERS, PREFIX, tokens=None)
    assert report.judgement.rests_on == ("BPB165",)
    (doubt,) = [each for each in report.findings if each.code == "BPB302"]
    assert "BPB165 (train_gpt.py:" in doubt.message
    assert "so would a part of the split, a prefix of about 1,048,576 tokens" in doubt.message
    assert "a part of the split was scored" not in doubt.message


def test_characters_explain_no_more_bytes_than_there_are(tmp_path: Path) -> None:
    report = audited(tmp_path, CHARACTERS, SP1024 * 1.02, tokens=None)
    (doubt,) = [each for each in report.findings if each.code == "BPB104"]
    assert "BPB165" not in doubt.message


def test_a_part_that_the_ratio_suggests_where_bytes_are_counted(tmp_path: Path) -> None:
    report = audited(tmp_path, HONEST, PREFIX, tokens=None)
    assert report.judgement.rests_on == ("BPB302",)
    assert "a part of the split was scored" in report.judgement.reason


def test_no_mistake_of_counting_is_guessed_where_the_script_counts_by_the_rule(tmp_path: Path) -> None:
    report = audited(tmp_path, HONEST, SP1024 * 1.055, tokens=None)
    (doubt,) = [each for each in report.findings if each.code == "BPB104"]
    assert "the script beside it counts by the rule (BPB162), which explains none of that" in doubt.message
    assert "it could be" not in doubt.message
    (tmp_path / "train_gpt.py").unlink()
    (doubt,) = [each for each in audit(tmp_path).findings if each.code == "BPB104"]
    assert "it could be that byte pieces are counted by their spelling" in doubt.message


FIRST_PART = HONEST.replace(
    "val_tokens = torch.cat([load_shard(path) for path in sorted(glob.glob(s.val_files))])",
    "val_tokens = torch.cat([load_shard(path) for path in sorted(glob.glob(s.val_files))])[: 1024 * 1024 + 1]",
)


@pytest.mark.parametrize(
    ("size", "severity"),
    [("1024 * 1024 + 1", "warning"), ("int(os.environ.get('MAX_TOKENS', 1048577))", "info")],
)
def test_a_script_that_scores_a_part_did_not_write_a_log_of_the_whole(tmp_path: Path, size: str, severity: str) -> None:
    assert FIRST_PART != HONEST
    report = audited(tmp_path, FIRST_PART.replace("1024 * 1024 + 1", size), SP1024)
    (found,) = [each for each in report.findings if each.code == "BPB350"]
    assert found.severity.value == severity
    assert ("the script, as it stands, did not write that log" in found.message) is (severity == "warning")
    assert (report.verdict is Verdict.CONSISTENT) is (severity == "info")


SEES = "that the network does not see the tokens that it predicts"
ATTENTION = "F.scaled_dot_product_attention(q, k, v, is_causal=True)"


def test_whether_a_network_sees_its_targets_is_unchecked(tmp_path: Path) -> None:
    """Some ways of seeing them are looked for; where one is found it is a doubt, and no open question."""
    assert SEES in audited(tmp_path, HONEST, SP1024).unchecked
    seeing = audited(tmp_path, HONEST.replace(ATTENTION, "F.scaled_dot_product_attention(q, k, v)"), SP1024)
    assert "BPB278" in {each.code for each in seeing.findings}
    assert SEES not in seeing.unchecked
    (tmp_path / "train_gpt.py").unlink()
    assert "how the score was computed" in audit(tmp_path).unchecked  # says that too
    assert SEES not in audit(tmp_path).unchecked
