"""A score that was printed before the network was packed, with none behind it, is none of what is submitted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from bpb_harness.claim.log_reader import read_log
from fixtures.claims.patterns import SP1024, bpb, log, submission

NATS = 2.0312
PACKED = "Serialized model int8+zlib: 13279699 bytes (payload:17188644)\n"


def _report(folder: Path, last: str, behind: str, **more: object) -> AuditReport:
    """Of a log that ends with one score, and lines behind it; the claim is that score."""
    score = bpb(NATS, SP1024)
    (folder / "submission.json").write_text(submission(val_bpb=round(score, 4), **more))
    head = log(2.05, SP1024).split("final_int8")[0]
    (folder / "train.log").write_text(f"{head}{last} val_loss:{NATS:.4f} val_bpb:{score:.4f}\n{behind}")
    return audit(folder)


def test_a_packed_size_in_megabytes(tmp_path: Path) -> None:
    (found,) = _report(tmp_path, "pre-quantization post-ema", "Compressed artifact: 13.28 MB\n").with_code("BPB425")
    assert "'Compressed artifact: 13.28 MB'" in found.message


@pytest.mark.parametrize("last", ["step:7184/20000", "DIAGNOSTIC post_ema", "pre-quantization post-ema"])
@pytest.mark.parametrize(
    "behind",
    [
        PACKED,
        "Serialized model: 67235929 bytes\nTotal submission size rdquant+zstd: 16,638,468 bytes\n",
        "serialized_model_int8_zlib:9354004 bytes (payload:13276256)\n",
        "Compressed artifact: 13,280,000 bytes\n",
    ],
)
def test_a_score_of_the_network_before_it_was_packed(tmp_path: Path, last: str, behind: str) -> None:
    report = _report(tmp_path, last, behind)
    (found,) = report.with_code("BPB425")
    assert last in found.message
    assert behind.strip().split("\n")[-1].split(" bytes")[0] in found.message
    assert (report.verdict, report.corrected_bpb) == ("unverifiable", None)
    assert report.judgement.reason == found.message
    assert "a score of the packed network, read back from its file" in report.judgement.missing


@pytest.mark.parametrize("last", ["pre-quantization post-ema", "DIAGNOSTIC pre_quant"])
@pytest.mark.parametrize("behind", ["", "Serialized model: 128099193 bytes\nTraceback (most recent call last):\n"])
def test_a_score_before_a_packing_that_the_log_does_not_come_to(tmp_path: Path, last: str, behind: str) -> None:
    report = _report(tmp_path, last, behind)
    (found,) = report.with_code("BPB425")
    assert "ends with neither the size nor a score of a packed network" in found.message
    assert report.verdict == "unverifiable"
    assert _report(tmp_path, "DIAGNOSTIC post_ema", behind).with_code("BPB425") == []


BEST = "step:6000/20000"
WORSE = "step:7184/20000 val_loss:2.0512 val_bpb:1.2149\n"


@pytest.mark.parametrize("between", [WORSE, f"{WORSE}DIAGNOSTIC post_ema val_loss:2.0531 val_bpb:1.2160\n"])
def test_the_best_of_training_is_no_score_of_what_is_packed_at_its_end(tmp_path: Path, between: str) -> None:
    report = _report(tmp_path, BEST, between + PACKED)
    (found,) = report.with_code("BPB425")
    assert f"the score is that of {BEST!r} at train.log:8, and the network was packed after it" in found.message
    assert report.verdict == "unverifiable"


@pytest.mark.parametrize(
    "behind",
    [
        WORSE,
        f"{WORSE}{PACKED}final_int8_zlib_roundtrip val_loss:2.0112 val_bpb:1.1911\n",
        f"final_int8_zlib_roundtrip val_loss:2.0112 val_bpb:1.1911\n{PACKED}",
        f"{PACKED}{WORSE}{PACKED}",
    ],
    ids=["not packed", "scored behind it", "scored before its size", "trained on"],
)
def test_the_best_of_training_where_the_end_is_scored(tmp_path: Path, behind: str) -> None:
    assert _report(tmp_path, BEST, behind).with_code("BPB425") == []


def test_words_that_say_so_make_no_score_of_the_artifact(tmp_path: Path) -> None:
    report = _report(tmp_path, "step:7184/20000", PACKED, evaluation_mode="pre_roundtrip_full_val")
    assert (len(report.with_code("BPB425")), report.verdict) == (1, "unverifiable")


@pytest.mark.parametrize(
    ("last", "behind"),
    [
        ("step:7184/20000", ""),
        ("step:7184/20000", "Serialized model: 67235929 bytes\nCode size: 60996 bytes\n"),
        ("step:7184/20000", "skipping serialization and roundtrip validation\n"),
        ("step:7184/20000", "Serialized model: 67235929 bytes\nCode size (zlib-compressed): 14223 bytes\n"),
        ("final_int8_zlib_roundtrip", PACKED),
        ("diagnostic quantized", PACKED),
        ("", PACKED),
    ],
    ids=["nothing behind", "not packed", "no packing", "packed code", "a round trip", "a packed network", "no name"],
)
def test_logs_that_pack_nothing_behind_a_score_of_training(tmp_path: Path, last: str, behind: str) -> None:
    report = _report(tmp_path, last, behind)
    assert (report.with_code("BPB425"), report.verdict) == ([], "consistent")


def test_a_score_behind_the_packing(tmp_path: Path) -> None:
    report = _report(tmp_path, "step:7184/20000", f"{PACKED}final_int8_zlib_roundtrip val_loss:2.0209 val_bpb:1.1969\n")
    assert report.with_code("BPB425") == []


def test_packed_before_the_score(tmp_path: Path) -> None:
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(bpb(NATS, SP1024), 4)))
    lines = log(2.05, SP1024).split("final_int8")[0] + PACKED
    (tmp_path / "train.log").write_text(f"{lines}step:9/9 val_loss:{NATS:.4f} val_bpb:{bpb(NATS, SP1024):.4f}\n")
    assert audit(tmp_path).with_code("BPB425") == []


def _without_artifact(folder: Path, behind: str = "", **more: object) -> AuditReport:
    score = round(bpb(NATS, SP1024), 4)
    (folder / "submission.json").write_text(json.dumps({"val_bpb": score, "track": "non_record_16mb", **more}))
    lines = log(2.05, SP1024).split("final_int8_zlib")[0].split("\n")
    head = "".join(f"{each}\n" for each in lines if "submission size" not in each and each)
    (folder / "train.log").write_text(f"{head}step:7184/20000 val_loss:{NATS:.4f} val_bpb:{score:.4f}\n{behind}")
    return audit(folder)


@pytest.mark.parametrize("more", [{}, {"bytes_total": None, "bytes_code": 14_347}])
def test_a_training_of_which_nothing_is_ever_packed(tmp_path: Path, more: dict[str, object]) -> None:
    report = _without_artifact(
        tmp_path, "step:7200/20000 train_loss:2.1\nstep:7500/20000 val_loss:2.04 val_bpb:1.2100\n", **more
    )
    (found,) = report.with_code("BPB425")
    assert "'step:7184/20000'" in found.message
    assert found.message.endswith(
        "the log tells of no packed network, by a size or a score, there or behind it: what parameter-golf asks for is "
        "one of at most 16,000,000 bytes, and its score"
    )
    assert report.judgement.missing[0] == (
        "a score of the packed network, read back from its file; of a record of no such contest: --rules none"
    )
    assert report.verdict == "unverifiable"


@pytest.mark.parametrize(
    ("behind", "more"),
    [
        ("", {"bytes_total": 15_000_000}),
        ("Total submission size int8+zlib: 15000000 bytes\n", {}),
        (f"final_int8_zlib_roundtrip val_loss:{NATS:.4f} val_bpb:{bpb(NATS, SP1024):.4f}\n", {}),
    ],
    ids=["a size in the record", "a size in the log", "a score of the end"],
)
def test_a_training_of_which_something_is_packed(tmp_path: Path, behind: str, more: dict[str, object]) -> None:
    report = _without_artifact(tmp_path, behind, **more)
    assert not any("tells of no packed network" in each.message for each in report.with_code("BPB425"))


_OF_A_RUN = {"run_id": "a", "iterations": 80, "val_loss": NATS, "final_val_bpb": 0.0, "step_avg_ms": 141.9}


def _object_of_a_run(folder: Path, **fields: float) -> AuditReport:
    """Of a log that is one object, which counts the run's steps too; scores of 0 become the claimed one."""
    score = round(bpb(NATS, SP1024), 5)
    (folder / "submission.json").write_text(json.dumps({"val_bpb": score, "track": "non_record_16mb"}))
    held = {**_OF_A_RUN, **fields}
    given = {name: value or score if "bpb" in name else value for name, value in held.items()}
    (folder / "run.ndjson").write_text(json.dumps(given, separators=(",", ":")) + "\n")
    return audit(folder)


def test_an_object_of_a_run_that_holds_the_packed_score(tmp_path: Path) -> None:
    report = _object_of_a_run(tmp_path, roundtrip_val_bpb=0.0, compressed_artifact_bytes=1_922_999)
    assert (report.with_code("BPB425"), report.with_code("BPB502")) == ([], [])
    read = read_log((tmp_path / "run.ndjson").read_text(), "run.ndjson")
    (line, packed) = read.lines
    assert [(line.is_training_step, line.bpb.name), (packed.is_training_step, packed.bpb.name)] == [
        (False, "final_val_bpb"),
        (False, "roundtrip_val_bpb"),
    ]
    assert [size.value for size in read.artifact_bytes] == [1_922_999]


def test_a_step_beside_the_score_of_what_it_packed(tmp_path: Path) -> None:
    score = round(bpb(NATS, SP1024), 4)
    assert _report(tmp_path, f"step:7184/20000 int8_val_bpb:{score}", PACKED).with_code("BPB425") == []
    assert len(_report(tmp_path, f"step:7184/20000 ema_val_bpb:{score}", PACKED).with_code("BPB425")) == 1


@pytest.mark.parametrize("name", ["raw_artifact_bytes", "target_artifact_bytes", "code_bytes"])
def test_sizes_of_something_else_in_an_object(tmp_path: Path, name: str) -> None:
    assert len(_object_of_a_run(tmp_path, **{name: 8_474_030}).with_code("BPB502")) == 1


def test_a_log_alone_may_be_one_of_a_training_that_goes_on(tmp_path: Path) -> None:
    _without_artifact(tmp_path)
    assert audit(tmp_path / "train.log").with_code("BPB425") == []
    assert audit(tmp_path, rules="none").with_code("BPB425") == []
    (tmp_path / "submission.json").unlink()
    lines = [each for each in (tmp_path / "train.log").read_text().split("\n") if "fineweb" not in each]
    (tmp_path / "train.log").write_text("\n".join(lines))  # of a text that nothing names
    (tmp_path / "README.md").write_text("# A run of ours\n")
    report = audit(tmp_path)
    assert report.rules is not None
    assert (report.rules.is_assumed, report.with_code("BPB425")) == (True, [])


@pytest.mark.parametrize("of", ["", "FineWeb", "the C4 corpus"])
def test_a_record_that_names_no_text_of_the_contest_need_pack_nothing(tmp_path: Path, of: str) -> None:
    """Its submission.json may be any contest's, or none's; where it names the text, it is held to the rules of that."""
    score = round(bpb(NATS, SP1024), 4)
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": score}))
    (tmp_path / "README.md").write_text(f"# A plain network of {of}\n\nTrained for a day.\n")
    (tmp_path / "train.log").write_text(f"step 1 val_loss:5 val_bpb:2.9\nstep 9 val_loss:{NATS} val_bpb:{score}\n")
    assert bool(audit(tmp_path).with_code("BPB425")) is (of == "FineWeb")


def test_a_row_of_a_table_is_no_validation_in_training(tmp_path: Path) -> None:
    score = round(bpb(NATS, SP1024), 6)
    row = {"run_id": "a", "step": 80, "iterations": 80, "val_loss": NATS, "val_bpb": score}
    (tmp_path / "run.ndjson").write_text(json.dumps(row) + "\n")
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": score, "track": "non_record_16mb"}))
    report = audit(tmp_path)
    assert report.with_code("BPB401")
    assert report.with_code("BPB425") == []


SAVED = "We train in 8 bits, so the saved weights are the trained ones; model.bin has 15,815,847 bytes (15.8 MB)."


@pytest.mark.parametrize(
    ("text", "is_told"),
    [
        (SAVED, True),
        ("The checkpoint is 15.8 MB.", True),
        ("The round trip of the file changes nothing: all tensors are bit-identical after the roundtrip.", True),
        ("| model.int8.ptz | `model.int8.ptz`: 15.81 MB |", True),
        ("The artifact has to be below 16 MB.", False),
        ("11 layers are best. If artifact > 15.5MB, reduce the MLP.", False),
        ("It would fit: the artifact would be 15.5 MB, if the artifact is 15.5 MB.", False),
        ("The model is limited to 16,000,000 bytes.", False),
        ("A model of 9 layers, lossless in spirit, of 17,059,912 parameters.", False),
        ("The loss is unchanged by more layers.", False),
    ],
)
def test_a_readme_that_tells_of_the_saved_file(tmp_path: Path, text: str, is_told: bool) -> None:
    (tmp_path / "README.md").write_text(f"# A small network\n\n{text}\n")
    assert (_without_artifact(tmp_path).with_code("BPB425") == []) is is_told


@pytest.mark.parametrize(
    ("told", "is_unchanged"),
    [
        ("int8 roundtrip: all tensors equal bit for bit, val unchanged\n", True),
        ("reloaded, max_abs_diff=0.0\n", True),
        ("reloaded, max_abs_diff=0.0004\n", False),
        ("roundtrip skipped\n", False),
        ("zstd decompressed: identical bytes\n", False),
        ("lr unchanged\n", False),
    ],
)
def test_a_log_of_a_network_that_comes_back_unchanged(tmp_path: Path, told: str, is_unchanged: bool) -> None:
    report = _report(tmp_path, "step:7184/20000", PACKED + told)
    assert (report.with_code("BPB425") == []) is is_unchanged


@pytest.mark.parametrize("label", ["DIAGNOSTIC post_ema", "pre-quantization post-ema"])
def test_a_packed_network_that_is_scored_too_is_told(tmp_path: Path, label: str) -> None:
    behind = (
        f"{PACKED}final_int6_roundtrip val_loss:2.0531 val_bpb:1.2160\nfinal_int6_sliding val_loss:2.0 val_bpb:1.18\n"
    )
    report = _report(tmp_path, label, behind)
    (found,) = report.with_code("BPB425")
    assert found.message.startswith(f"the score is that of {label!r} at train.log:")
    assert "which the log prints behind it: 1.2160 of 'final_int6_roundtrip' (train.log:" in found.message
    assert (found.severity, report.verdict) == ("info", "consistent")


@pytest.mark.parametrize("label", ["DIAGNOSTIC post_ema", "step:7184/20000"])
def test_a_packed_network_of_the_claimed_score_is_the_claimed_one(tmp_path: Path, label: str) -> None:
    score = bpb(NATS, SP1024) if label[:4] == "DIAG" else 1.216
    behind = f"{PACKED}final_int6_roundtrip val_loss:{NATS:.4f} val_bpb:{score:.4f}\n"
    assert not _report(tmp_path, label, behind).with_code("BPB425")


def test_what_was_averaged_and_packed_is_packed(tmp_path: Path) -> None:
    behind = f"{PACKED}final_int6_roundtrip val_loss:2.0531 val_bpb:1.2160\n"
    assert not _report(tmp_path, "post_ema_int6", behind).with_code("BPB425")


@pytest.mark.parametrize(
    "said",
    [
        "skipping_final_int8_zlib_roundtrip_eval:1",
        "skip_roundtrip_eval: True",
        "final_int8_zlib_roundtrip skipped FINAL_ROUNDTRIP_EVAL=0",
    ],
)
def test_a_log_that_says_that_the_packed_network_was_not_scored(tmp_path: Path, said: str) -> None:
    report = _report(tmp_path, "step:0/0", f"saved it\n{said}\n")
    (found,) = report.with_code("BPB425")
    assert (found.severity, report.verdict) == ("info", "consistent")
    assert found.message.endswith(f"the log says that the packed one was not scored: `{said}` (train.log:10)")
    assert report.with_code("BPB401")


@pytest.mark.parametrize(
    ("last", "behind"),
    [
        ("step:0/0", "skipping_final_int8_zlib_roundtrip_eval:0\n"),
        ("step:0/0", "skip_roundtrip_eval: False\n"),
        ("step:0/0", "no round trip was skipped in this run\n"),
        ("step:0/0", "the zlib roundtrip skipped nothing\nround trip: diff 0.0\n"),
        ("final_int8_roundtrip", "skipping_second_roundtrip_eval:1\n"),  # the score is a packed one's
        ("final_sliding", "skipping_final_int8_zlib_roundtrip_eval:1\n"),  # nothing says of which network
    ],
)
def test_a_log_that_does_not_say_so(tmp_path: Path, last: str, behind: str) -> None:
    assert _report(tmp_path, last, behind).with_code("BPB425") == []
