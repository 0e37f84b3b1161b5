"""Tokens of the split times bytes per token are its bytes, under whatever vocabulary: no row of the table is needed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from bpb_harness.rules.denominators import Denominator
from fixtures.claims.patterns import bpb, log, submission
from tests.golf_rules import GOLF

NUM_BYTES = 151_080_891


def audit_of(
    folder: Path, num_tokens: int, ratio: float, export: str, *, nats: float = 3.2, untrained: float = 6.9371
) -> AuditReport:
    (folder / "submission.json").write_text(submission(val_bpb=round(bpb(nats, ratio), 6)))
    text = log(nats, ratio, tokens=num_tokens, export=export)
    first = f"val_loss:{6.9371:.4f} val_bpb:{bpb(6.9371, ratio):.4f}"
    assert first in text
    text = text.replace(first, f"val_loss:{untrained:.4f} val_bpb:{bpb(untrained, ratio):.4f}")
    (folder / "train.log").write_text(text)
    return audit(folder)


def codes(report: AuditReport) -> set[str]:
    return {finding.code for finding in report.findings}


@pytest.mark.parametrize("num_tokens", [36_500_480, 41_234_432, 50_003_968, 57_999_360, 75_000_832, 151_129_088])
@pytest.mark.parametrize(
    "export", ["fineweb10B_sp2048", "fineweb10B_tenthousand", "fineweb10B_sp8192", "fineweb10B_byte260"]
)
def test_all_the_bytes_of_the_split_are_right(tmp_path: Path, num_tokens: int, export: str) -> None:
    report = audit_of(tmp_path, num_tokens, NUM_BYTES / num_tokens, export)
    assert report.verdict == "consistent", report.judgement.reason
    assert "BPB301" not in codes(report)


@pytest.mark.parametrize("factor", [1.18, 1.25, 1.31])
@pytest.mark.parametrize("export", ["fineweb10B_sp2048", "fineweb10B_tenthousand"])
def test_more_bytes_than_there_are_is_refuted(tmp_path: Path, factor: float, export: str) -> None:
    num_tokens = 55_000_064
    report = audit_of(tmp_path, num_tokens, factor * NUM_BYTES / num_tokens, export, untrained=7.35)
    assert report.verdict == "refuted"
    assert report.corrected_bpb == pytest.approx(factor * report.claimed_bpb, rel=1e-4)
    (found,) = report.with_code("BPB105")
    assert f"{factor:.4g} times the bytes that are there" in found.message


@pytest.mark.parametrize(
    ("factor", "export", "is_told"),
    [(1.2437, "fineweb10B_sp1024", True), (1.275, "fineweb10B_sp1024", False), (1.2437, "fineweb10B_sp4096", False)],
)
def test_a_bug_that_would_need_more_tokens_than_there_are_is_not_offered(
    tmp_path: Path, factor: float, export: str, is_told: bool
) -> None:
    """A space of three byte pieces is three tokens for two bytes too many: 4.13 bytes a token, where 3.32 are right."""
    row = GOLF.table.full_split(export.rpartition("_")[2])
    assert row is not None
    untrained = math.log(int(export.rpartition("sp")[2]))
    report = audit_of(tmp_path, row.num_tokens, factor * row.bytes_per_token, export, untrained=untrained, nats=3.2)
    found = [each for each in report.findings if each.code in ("BPB104", "BPB105")]
    assert found
    assert any("no bare U+2581" in each.message for each in found) is is_told


@pytest.mark.parametrize(("pieces", "num_tokens"), [(12_000, 49_999_872), (3_000, 99_999_744)])
def test_a_shard_cut_after_a_round_number_of_tokens_is_no_split(tmp_path: Path, pieces: int, num_tokens: int) -> None:
    usual = {12_000: 3.91, 3_000: 3.12}[pieces]
    report = audit_of(tmp_path, num_tokens, usual, f"fineweb10B_sp{pieces}", untrained=math.log(pieces), nats=3.2)
    assert report.verdict == "unverifiable"
    assert report.corrected_bpb is None
    (found,) = report.with_code("BPB106")
    assert "no row for fineweb_val under" in found.message
    assert f"{num_tokens * usual / NUM_BYTES:.4g} times the bytes that are there" in found.message


def test_a_loss_in_bits_would_look_the_same(tmp_path: Path) -> None:
    num_tokens = 55_000_064
    ratio = NUM_BYTES / num_tokens / math.log(2.0)
    report = audit_of(tmp_path, num_tokens, ratio, "fineweb10B_tenthousand", untrained=7.35 / math.log(2.0))
    assert report.verdict == "unverifiable"


@pytest.mark.parametrize("factor", [1.02, 1.041, 1.09, 1.14])
def test_what_another_export_could_have_is_a_doubt_with_the_numbers(tmp_path: Path, factor: float) -> None:
    num_tokens = 61_000_704
    report = audit_of(tmp_path, num_tokens, factor * NUM_BYTES / num_tokens, "fineweb10B_sp1024")
    assert report.verdict == "unverifiable"
    assert "BPB301" not in codes(report)
    said = " ".join(finding.message for finding in report.findings)
    assert f"{factor * NUM_BYTES / 1e6:.1f} MB" in said


@pytest.mark.parametrize("num_tokens", [4_000_256, 20_000_256, 45_000_192])
def test_a_part_of_the_split_is_a_part(tmp_path: Path, num_tokens: int) -> None:
    report = audit_of(tmp_path, num_tokens, 2.4361, "fineweb10B_sp1024")
    assert report.verdict == "unverifiable"
    assert "BPB301" in codes(report)
    (tmp_path / "other").mkdir()
    assert audit_of(tmp_path / "other", num_tokens, 2.4361, "fineweb10B_tenthousand").verdict == "unverifiable"


def test_as_many_tokens_as_bytes_is_another_export() -> None:
    assert GOLF.table.split_of_size(NUM_BYTES, "fineweb_val", "bytes") is None
    assert GOLF.table.split_of_size(NUM_BYTES + 50_000, "fineweb_val", "bytes") is not None
    assert GOLF.table.split_of_size(50_000_000, "wikitext_val", "x") is None
    assert GOLF.table.split_of_size(1_048_576, "fineweb_val", "x") is None


@pytest.mark.parametrize(
    ("num_tokens", "rounding"), [(45_510_000, 5_000), (62_021_846, 0), (45_514_000, 500), (1_000, 1)]
)
def test_a_rounded_number_of_tokens_holds_what_it_may_have_been(num_tokens: int, rounding: int) -> None:
    row = Denominator("x_val", "sp4096", "full", num_tokens, 3 * num_tokens, 3.0)
    assert row.rounding == rounding
    assert row.holds(num_tokens + rounding)
    assert not row.holds(num_tokens + rounding + 1)
    assert row.holds(num_tokens - 4_999)
    assert not row.holds(num_tokens - 5_000 - rounding)


@pytest.mark.parametrize("size", [45_516_800, 45_514_752, 45_512_704])  # windows of 2,048, 4,096, 8,192
def test_windows_of_any_length_load_the_whole_split(tmp_path: Path, size: int) -> None:
    (row,) = (row for row in GOLF.table.rows if row.tokenizer == "sp4096")
    assert row.holds(size)
    assert not row.holds(size + 5_000)
    report = audit_of(tmp_path, size, 1.26 * NUM_BYTES / size, "fineweb10B_sp4096", untrained=8.3178)
    assert report.verdict == "refuted"
    assert report.corrected_bpb == pytest.approx(1.26 * report.claimed_bpb, rel=1e-4)
    (tmp_path / "right").mkdir()
    assert audit_of(tmp_path / "right", size, NUM_BYTES / size, "fineweb10B_sp4096").verdict == "consistent"


def test_the_untrained_loss_is_that_of_the_vocabulary() -> None:
    assert GOLF.table.bits_of_untrained("sp1024", 9.9) == 10.0
    for size, ratio in ((1024, 2.4359), (4096, 3.32), (8192, 3.7266), (16384, 4.067)):
        assert GOLF.table.bits_of_untrained(None, ratio) == pytest.approx(math.log2(size), abs=0.01)
    assert 10.0 < GOLF.table.bits_of_untrained(None, 2.8) < 12.0
    assert GOLF.table.bits_of_untrained(None, 4.3) > 14.0


@pytest.mark.parametrize("name", ["sp8192_casefold", "sp8192_lowercased", "sp4096_uncased", "sp1024_case_insensitive"])
def test_a_folded_text_is_another_text(tmp_path: Path, name: str) -> None:
    num_tokens = 37_000_192
    report = audit_of(tmp_path, num_tokens, NUM_BYTES / num_tokens, f"fineweb10B_{name}")
    assert report.verdict == "unverifiable"
    (said,) = report.with_code("BPB112")
    assert name in said.message
    assert report.judgement.reason == said.message


@pytest.mark.parametrize("name", ["sp8192_caseops", "sp8192_lossless_caps", "sp8192_flower"])
def test_other_names_say_nothing_of_the_kind(tmp_path: Path, name: str) -> None:
    report = audit_of(tmp_path, 37_000_192, NUM_BYTES / 37_000_192, f"fineweb10B_{name}")
    assert report.verdict == "consistent"


def test_the_shards_that_were_read_outweigh_a_name_in_prose(tmp_path: Path) -> None:
    (tmp_path / "submission.json").write_text(
        json.dumps({"val_bpb": round(bpb(2.3, NUM_BYTES / 62_021_632), 6), "dataset": "somebody/their-upload"})
    )
    (tmp_path / "train.log").write_text(log(2.3, NUM_BYTES / 62_021_632))
    assert audit(tmp_path).verdict == "consistent"


@pytest.mark.parametrize(("ratio", "verdict"), [(2.43593, "consistent"), (2.3, "unverifiable")])
def test_a_tokenizer_that_prose_names_beside_the_ratio_of_another(tmp_path: Path, ratio: float, verdict: str) -> None:
    nats = 2.0312
    (tmp_path / "submission.json").write_text(
        submission(val_bpb=round(bpb(nats, ratio), 8), blurb="half of what byte-level networks need")
    )
    (tmp_path / "train.log").write_text(log(nats, ratio, tokens=None))
    assert audit(tmp_path).verdict == verdict


@pytest.mark.parametrize(("ratio", "where", "verdict"), [
    (1.0, "log", "consistent"), (0.9997, "log", "consistent"), (0.99, "log", "unverifiable"),
    (1.0, "prose", "unverifiable"),
])  # fmt: skip
def test_bytes_as_tokens_are_one_byte_each(tmp_path: Path, ratio: float, where: str, verdict: str) -> None:
    nats = 0.8312
    said = {"blurb": "a byte-level network"} if where == "prose" else {}
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(bpb(nats, ratio), 8), **said))
    shards = "train_files: ./data/fineweb10B_byte260/fineweb_train_*.bin\n" if where == "log" else ""
    (tmp_path / "train.log").write_text(shards + log(nats, ratio, tokens=None))
    report = audit(tmp_path)
    assert report.verdict == verdict, report.judgement.reason


@pytest.mark.parametrize("untrained", [6.87, 4.1091])
@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (lambda loss: loss, "the score is the loss itself, in nats per token"),
        (math.exp, "the score is e to the power of the loss, a perplexity per token"),
        (lambda loss: loss / math.log(2.0), "the score is in bits per token"),
    ],
)
def test_a_score_that_is_the_loss_or_its_exponential(
    tmp_path: Path, shown: Callable[[float], float], said: str, untrained: float
) -> None:
    """Refuted where the untrained network's loss shows nats per token; a loss field may merely repeat the score."""
    lines = ["val_loader:shards pattern=./data/fineweb10B_sp1024/fineweb_val_*.bin tokens:62021632"]
    lines += [f"step:0/9 val_loss:{untrained:.4f} val_bpb:{shown(untrained):.4f}"]
    lines += [f"final_exact val_loss:2.03120000 val_bpb:{shown(2.0312):.8f}"]
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": round(shown(2.0312), 6), "val_loss": 2.0312}))
    (tmp_path / "train.log").write_text("\n".join(lines) + "\n")
    report = audit(tmp_path)
    (found,) = report.with_code("BPB108")
    assert said in found.message
    if untrained > 6:
        assert report.verdict == "refuted"
        assert report.corrected_bpb == pytest.approx(2.0312 / math.log(2.0) * 62_021_846 / NUM_BYTES, rel=1e-4)
    else:
        assert report.verdict == "unverifiable"
        assert "unless it is the loss that is in another unit" in found.message


def test_a_loss_that_repeats_the_score_beside_a_right_log_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text(log(2.0312, 2.43593))
    score = round(bpb(2.0312, 2.43593), 6)
    (tmp_path / "submission.json").write_text(submission(val_bpb=score, val_loss=score))
    assert audit(tmp_path).verdict == "consistent"


def test_a_loss_that_repeats_the_score_where_nothing_tells_the_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": 1.18013, "val_loss": 1.18013}))
    report = audit(tmp_path)
    (found,) = report.with_code("BPB106")
    assert "the loss beside the score is the same number" in found.message
    assert report.verdict == "unverifiable"


@pytest.mark.parametrize(("scored", "is_right"), [(1_048_576, True), (1_040_000, True), (8_192, False)])
def test_a_parts_own_ratio_is_right_for_a_part_of_its_size_alone(tmp_path: Path, scored: int, is_right: bool) -> None:
    keys = {"val_loss": 2.0312, "val_bpb": round(bpb(2.0312, 2.40774), 8), "scored_tokens": scored}
    (tmp_path / "submission.json").write_text(submission(**keys, tokenizer="sp1024"))
    report = audit(tmp_path)
    assert bool(report.with_code("BPB101")) is is_right
    assert bool(report.with_code("BPB104")) is not is_right
    assert report.verdict == "unverifiable"  # a part is no score of the whole split


CAPS_TOKENS = 47_851_520


@pytest.mark.parametrize(
    ("tokens", "ratio", "readme", "verdict"),
    [
        (CAPS_TOKENS, NUM_BYTES / 47_853_343, "", "consistent"),  # its size tells
        (None, NUM_BYTES / 47_853_343, "Case-ops of capitals.", "consistent"),  # ratio and words do
        (None, NUM_BYTES / 47_853_343, "Nothing of the kind.", "unverifiable"),
        (None, 3.2987, "CaseOps.", "unverifiable"),
        (CAPS_TOKENS, 3.43969, "CaseOps.", "unverifiable"),
        (40_540_160, NUM_BYTES / 47_853_343, "CaseOps.", "refuted"),  # another size than the variant's
    ],
)
def test_a_variant_of_which_only_the_plain_name_was_read(
    tmp_path: Path, tokens: int | None, ratio: float, readme: str, verdict: str
) -> None:
    nats = 2.3
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(bpb(nats, ratio), 8), tokenizer="sp8192"))
    (tmp_path / "train.log").write_text(log(nats, ratio, tokens=tokens, export="fineweb10B_sp8192"))
    (tmp_path / "README.md").write_text(f"# A model\n\n{readme}\n")
    assert audit(tmp_path).verdict == verdict


@pytest.mark.parametrize("is_one", [True, False])
def test_no_byte_count_is_suspected_where_the_run_has_no_one_number(tmp_path: Path, is_one: bool) -> None:
    ratios = [2.7964] * 4 if is_one else [3.637, 2.2965, 2.2727, 2.7964]  # of a mixture's scores
    lines = ["val_loader:shards pattern=./data/fineweb10B_sp1024/fineweb_val_*.bin tokens:62021632"]
    for step, ratio in enumerate(ratios[:3]):
        lines.append(f"step:{step}/3 val_loss:{7.0 - step:.4f} val_bpb:{bpb(7.0 - step, ratio):.4f}")
    lines.append(f"final_exact val_loss:2.73898667 val_bpb:{bpb(2.73898667, ratios[3]):.8f}")
    (tmp_path / "train.log").write_text("\n".join(lines) + "\n")
    (found,) = audit(tmp_path).with_code("BPB104")
    assert ("the tokenizer does not belong to the shards" in found.message) is is_one
    assert ("x bytes per token = 173.4 MB" in found.message) is is_one
    assert ("the lines of its run divide by 2.2727 to 3.63" in found.message) is not is_one
