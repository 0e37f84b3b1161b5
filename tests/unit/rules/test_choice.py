"""Which pack a record is held against."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bpb_harness.auditing import audit, audit_folders
from bpb_harness.claim import Claim, LogRecord, Printed, Source
from bpb_harness.claim.line_template import FoundLines, LineTemplate
from bpb_harness.errors import UsageError
from bpb_harness.rules import NO_PACK, Candidates, RulePack, candidates_of, rules_for, shipped_names
from bpb_harness.rules.denominators import Denominator
from bpb_harness.rules.pack import Marks, Text

LINE = LineTemplate("pond result {score}")
LOG = LogRecord("a.log", found=(FoundLines(LINE, 1, {"score": Printed(1.0, 1, Source("a.log", 1))}, {}),))
POND = RulePack(
    "pond",
    texts=(Text("diary_val", also=("diary",), but_not=("training",)),),
    marks=Marks(("pond_entries",), ("pond.json",), (LINE,), ("frog-512",)),
)
SEA = RulePack("sea", texts=(Text("log_val"), Text("diary_val")), marks=Marks(files=("sea.json",), otherwise=True))
SCORE = Printed(1.2, 1, Source("f"))
BOTH = Candidates((POND, SEA))


@pytest.mark.parametrize(
    ("claim", "path", "chosen", "why"),
    [
        (Claim("x", files=("sea.json",)), "pond_entries/x", "sea", "by its sea.json"),
        (Claim("x", score=SCORE), "pond_entries/x", "sea", "the record names no text: assumed"),
        (Claim("x", dataset="enwik8"), "pond_entries/x", "none", "no pack knows the text enwik8"),
        (
            Claim("x", dataset="diary_val"),
            "pond_entries/x",
            "pond",
            "by its data set diary_val, in its folder pond_entries",
        ),
        (Claim("x", files=("sub/Pond.json", "a.log")), "x", "pond", "by its pond.json"),
        (Claim("x", files=("pond.json",), dataset="diary, training part"), "x", "pond", "by its pond.json"),
        # A file's name says less than a data set.
        (Claim("x", files=("pond.json",), dataset="log_val"), "x", "sea", "by its data set log_val"),
        (Claim("x", files=("pond.json",), dataset="enwik8 test"), "x", "none", "no pack knows the text enwik8 test"),
        (Claim("x", files=("sea.json",), logs=(LOG,)), "x", "sea", "by its sea.json"),
        (Claim("x", logs=(LOG,), dataset="log_val"), "x", "pond", "by a line of a.log"),
        (Claim("x", dataset="The Diary of 2026"), "x", "pond", "by its data set diary_val"),
        (Claim("x", dataset="log_val"), "x", "sea", "by its data set log_val"),
        (Claim("x", tokenizer="frog-512"), "x", "pond", "by its tokenizer frog-512"),
        (Claim("x", tokenizer="frog-512", dataset="log_val"), "x", "sea", "by its data set log_val"),
        (Claim("x", score=SCORE), "x", "sea", "the record names no text: assumed"),
        (
            Claim("x", score=SCORE, written_by="a trainer"),
            "x",
            "none",
            "a trainer wrote it, of no text that a pack knows",
        ),
        (Claim("x", score=SCORE, written_by="a trainer", dataset="log_val"), "x", "sea", "by its data set log_val"),
        (Claim("x"), "x", "none", "the record names no text, and no score in bits per byte"),
        (Claim("x", dataset="enwik8"), "x", "none", "no pack knows the text enwik8"),
        (Claim("x", dataset="diary, training part"), "x", "none", "no pack knows the text diary, training part"),
        (Claim("x", dataset="enwik8", tokenizer="frog-512"), "x", "none", "no pack knows the text enwik8"),
        (
            Claim("x", dataset="diary_val"),
            "x",
            "sea",
            "by its data set diary_val, in no folder of another's",
        ),
        (Claim("x", files=("pond.json", "sea.json"), dataset="log_val"), "x", "sea", "by its sea.json"),
    ],
)
def test_the_first_mark_that_tells_packs_apart_decides(
    tmp_path: Path, claim: Claim, path: str, chosen: str, why: str
) -> None:
    rules = rules_for(claim, BOTH, [tmp_path / path])
    assert (rules.pack.name, rules.why) == (chosen, why)


def test_packs_that_fit_alike_and_no_folder_tells_apart() -> None:
    for folders in ((), ("x",)):
        lake = RulePack("lake", texts=POND.texts, marks=Marks(folders))
        rules = rules_for(Claim("x", dataset="diary_val"), Candidates((lake, replace(lake, name="bay"))), [Path("y/x")])
        assert (rules.pack, rules.why) == (
            NO_PACK,
            "lake and bay fit alike, by its data set diary_val; --rules says which",
        )


def test_a_folder_called_like_a_track_hides_nothing(tmp_path: Path) -> None:
    """What its contest's rules refute they refute wherever it lies; a folder tells tracks of one contest apart."""
    for folder in ("track_2_medium", "other"):
        here = tmp_path / folder / "entry"
        here.mkdir(parents=True)
        (here / "train.log").write_text("val_bpb: 1.2\nbytes per token 4.3\n")
        (here / "README.md").write_text("val_bpb: 1.2\n")
        (report,) = audit_folders(tmp_path / folder)
        assert report.rules is not None
        assert report.rules.pack.name == "parameter-golf"
        (here / "train.log").write_text("step:9/9 val_loss:2.9 train_time:100ms\n")
        (here / "README.md").unlink()
        (report,) = audit_folders(tmp_path / folder)
        assert report.rules is not None
        medium = "-medium" if folder == "track_2_medium" else ""
        assert report.rules.pack.name == f"modded-nanogpt{medium}"


def test_the_only_pack_that_is_asked_for_holds_whatever_the_record_is() -> None:
    other = Claim("x", dataset="log_val", files=("sea.json",))
    rules = rules_for(other, Candidates((POND,), asked=True), [])
    assert (rules.pack, rules.why) == (POND, "as asked")
    assert rules_for(other, Candidates((POND,)), []).pack is NO_PACK
    assert rules_for(other, Candidates((POND, SEA), asked=True), []).pack is SEA
    assert rules_for(other, candidates_of("none"), []).pack is NO_PACK


def test_nothing_is_assumed_where_several_packs_would_be() -> None:
    other = RulePack("other", marks=Marks(otherwise=True))
    rules = rules_for(Claim("x", score=SCORE), Candidates((SEA, other)), [])
    assert (rules.pack, rules.why) == (NO_PACK, "the record names no text that a pack knows")


def test_denominators_of_the_pack_come_behind_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = Denominator("diary_val", "frog-512", "full", 10, 30, 3.0)
    (tmp_path / "own.csv").write_text(
        "dataset,tokenizer,scope,num_tokens,num_bytes,bytes_per_token,note\nt,own,full,10,20,,\n"
    )
    monkeypatch.setenv("BPB_DENOMINATORS", str(tmp_path / "own.csv"))
    pack = RulePack("p", denominators=(row,))
    assert [each.tokenizer for each in rules_for(Claim("x"), Candidates((pack,), True), []).table.rows] == [
        "own",
        "frog-512",
    ]
    assert [each.tokenizer for each in rules_for(Claim("x"), candidates_of("none"), []).table.rows] == ["own"]


def test_names_of_packs(tmp_path: Path) -> None:
    mine = tmp_path / "mine.TOML"
    mine.write_text('format = "bpb-rules/1"\nname = "mine"\ntitle = "t"\n')
    assert [pack.name for pack in candidates_of(None).packs] == [*shipped_names()]
    assert not candidates_of(None).asked
    assert candidates_of([]) == candidates_of(None)
    two = candidates_of(["parameter-golf", mine])
    assert ([pack.name for pack in two.packs], two.asked) == (["parameter-golf", "mine"], True)
    assert two.packs[1].file == "mine.TOML"
    assert candidates_of("none") == Candidates((), asked=True)


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("parameter-gold", "--rules: got 'parameter-gold', expected .*parameter-golf.*, none, or a file that ends in"),
        ("a\0b.toml", r"--rules: got 'a\\x00b.toml', expected .*, none, or a file that ends in .toml"),
        (["none", "parameter-golf"], "--rules none: got 2 packs, expected none alone; leave it out"),
        (3, "--rules: got int, expected names of packs, or files that end in .toml"),
        ([None], "--rules: got NoneType, expected names of packs, or files that end in .toml"),
        (b"none", "--rules: got bytes, expected names of packs, or files that end in .toml"),
        ({"none": 1}, "--rules: got dict, expected names of packs, or files that end in .toml"),
        (["parameter-golf", "parameter-golf"], "--rules: got two packs called parameter-golf, expected a name each"),
    ],
)
def test_names_that_no_pack_has(named: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        candidates_of(named)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("files", [(), ("submission.json",)])
@pytest.mark.parametrize(
    ("words", "other"),
    [
        *(("We trained and evaluated on enwik8.", "enwik8"), ("All results are on text8, our own BPE", "text8")),
        *(("Evaluated on the Pile", "the Pile"), ("on OpenWebText, val", "OpenWebText"), ("We use FineWeb-Edu.", None)),
        *(("a split of C4", "C4"), ("page c4 of the notes", ""), ("the piles of it", ""), ("my text89", "")),
        *(("FineWeb, unlike enwik8", ""), ("nothing of it", "")),
    ],
)
def test_a_record_whose_words_name_another_public_text_is_of_no_pack(
    tmp_path: Path, words: str, other: str | None, files: tuple[str, ...]
) -> None:
    """A score whose bytes look like a known fault of another text refutes nothing of this one."""
    (tmp_path / "README.md").write_text(f"# M\n\n{words}\n\nval_bpb: 1.01646973\n")
    (tmp_path / "train.log").write_text("final val_loss:2.00312345 val_bpb:1.01646973\n")
    for name in files:
        (tmp_path / name).write_text('{"val_bpb": 1.01646973}')
    report = audit(tmp_path)
    is_other = other != ""
    assert (report.rules.pack is NO_PACK) == is_other
    assert report.verdict == ("unverifiable" if is_other else "refuted")
    if other:
        assert report.rules.why == f"no pack knows the text {other}"


def test_the_data_that_a_submission_names_is_its_text(tmp_path: Path) -> None:
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.01646973, "val_loss": 2.00312345, "data": "enwik8"}')
    report = audit(tmp_path)
    assert (report.verdict, report.rules.why) == ("unverifiable", "no pack knows the text enwik8")


@pytest.mark.parametrize(
    ("said", "other"),
    [
        *(
            ("dataset: text8", "text8"),
            ("data: enwik8", "enwik8"),
            ("data_path=/d/wikitext-103/val.bin", "wikitext-103"),
        ),
        *(("  'dataset_name': 'lm1b',", "lm1b"), ("loaded dataset enwik8 (90000000 bytes)", "enwik8")),
        *(("train_data: text8", "text8"), ("data: enwik8, byte-level", "enwik8"), ("corpus = C4", "C4")),
        *(("calibration data: C4", ""), ("data_dir: ./data", ""), ("Data: 81 shards", ""), ("metadata: text8", "")),
        *(("dataset: fineweb and C4", ""), ("dataset: C4\nval data: fineweb_val", ""), ("better than on text8", "")),
        *(("dataset: text8\ntokenizer: sp1024", ""), ("    dataset = load('text8')", "")),
    ],
)
def test_a_record_whose_log_names_another_public_text_is_of_no_pack(tmp_path: Path, said: str, other: str) -> None:
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.01646973}')
    (tmp_path / "train.log").write_text(f"{said}\nfinal val_loss:2.00312345 val_bpb:1.01646973\n")
    rules = audit(tmp_path).rules
    assert rules is not None
    assert (rules.pack is NO_PACK, rules.why) == (True, f"no pack knows the text {other}") or (not other)
    assert (rules.pack is NO_PACK) == bool(other)


def test_a_text_that_is_scored_byte_by_byte_is_another_too(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# M\n\nTrained and evaluated on enwik8, byte level.\n")
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.01646973}')
    rules = audit(tmp_path).rules
    assert rules is not None
    assert rules.why == "no pack knows the text enwik8"
