"""Which files of a folder are read: logs at some depth, other submissions left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing import audit, audit_folders
from bpb_harness.claim import find_submissions, find_unread, read_claim, submission_of
from bpb_harness.claim.listing import Listing, holds_folders, is_claim_name, kind_by_name, list_files
from bpb_harness.errors import ClaimError
from fixtures.claims.build import HERE
from fixtures.claims.patterns import SP1024, log, submission


def _record(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "submission.json").write_text(submission(val_loss=2.0312, val_bpb=1.202991))


@pytest.mark.parametrize("below", ["logs", "runs/seed_7", "out/a/b", "out/a/b/c"])
def test_logs_are_found_some_folders_down(tmp_path: Path, below: str) -> None:
    _record(tmp_path)
    (tmp_path / below).mkdir(parents=True)
    (tmp_path / below / "train.log").write_text(log(2.0312, SP1024))
    assert audit(tmp_path).verdict == "consistent"


def test_deeper_logs_are_not_and_the_report_says_where_it_looked(tmp_path: Path) -> None:
    _record(tmp_path)
    (tmp_path / "a/b/c/d/e").mkdir(parents=True)
    (tmp_path / "a/b/c/d/e/train.log").write_text(log(2.0312, SP1024))
    (missing,) = audit(tmp_path).with_code("BPB402")
    assert "4 folders" in missing.message


def test_the_logs_of_a_submission_further_down_are_its_own(tmp_path: Path) -> None:
    _record(tmp_path)
    _record(tmp_path / "older" / "attempt")
    (tmp_path / "older" / "attempt" / "train.log").write_text(log(2.5, SP1024))
    assert not read_claim(tmp_path).logs
    assert find_submissions(tmp_path) == [tmp_path, tmp_path / "older" / "attempt"]
    assert submission_of(tmp_path / "older/attempt/train.log", tmp_path) == tmp_path / "older" / "attempt"
    assert submission_of(tmp_path / "older/train.log", tmp_path) == tmp_path


def test_logs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    _record(tmp_path)
    for run in ("x/seed_1", "y/seed_1", "y/seed_2"):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "train.log").write_text(log(2.0312, SP1024, seed=1))
    names = {record.file for record in read_claim(tmp_path).logs}
    assert names == {"x/seed_1/train.log", "y/seed_1/train.log", "seed_2/train.log"}


def test_folders_of_logs_without_a_record_are_not_one_claim(tmp_path: Path) -> None:
    for run in ("one/logs", "two/logs"):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "train.log").write_text(log(2.0312, SP1024))
    with pytest.raises(ClaimError, match="--recursive"):
        read_claim(tmp_path)


@pytest.mark.parametrize(
    ("name", "kind", "claims"),
    [
        *(("submission.json", "json", True), ("SUBMISSION.JSON", "json", True), ("x.claim.json", "json", True)),
        *(("Claim.json", "json", True), ("config.json", "json", False), ("claim.txt", "log", False)),
        *(("README.md", "readme", False), ("readme", "readme", False), ("train.py", "script", False)),
        *(("TRAIN.LOG", "log", False), ("a.txt", "log", False), ("a.out", "log", False), ("model.pt", None, False)),
        *(("requirements-dev.txt", None, False), ("LICENSE.txt", None, False), ("licence.txt", None, False)),
        *(("the_vocab_1024.txt", None, False), ("CMakeLists.txt", None, False), ("log", None, False)),
    ],
)
def test_what_a_file_is_by_its_name(name: str, kind: str | None, claims: bool) -> None:
    path = Path("folder.log") / name
    assert kind_by_name(path) == kind
    assert is_claim_name(path) is claims


def _touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    return folder


def _shown(listing: Listing) -> list[str]:
    return [str(shown) for _, shown in listing.files]


def test_what_belongs_to_a_submission_in_order(tmp_path: Path) -> None:
    names = ["submission.json", "train.log", "b/config.json", "b/train.py", "b/c/run.log", "b/c/more.json", "model.pt"]
    _touch(tmp_path, *names, ".hidden/x.log", "b/.log", "d/submission.json", "d/e/x.log")
    listing = list_files(tmp_path)
    assert _shown(listing) == ["submission.json", "train.log", "b/config.json", "b/train.py", "b/c/run.log"]
    assert [path for path, _ in listing.files] == [tmp_path.resolve() / name for name in _shown(listing)]
    assert listing.skipped == ()
    assert list_files(tmp_path / "train.log") == Listing(((tmp_path.resolve() / "train.log", tmp_path / "train.log"),))


def test_one_folder_of_logs_is_a_submission_and_two_are_not(tmp_path: Path) -> None:
    _touch(tmp_path, "a/x.log", "b/notes.py")
    assert _shown(list_files(tmp_path)) == ["a/x.log", "b/notes.py"]
    _touch(tmp_path, "b/y.log")
    assert _shown(list_files(tmp_path)) == []
    _touch(tmp_path, "README.md")
    assert _shown(list_files(tmp_path)) == ["README.md", "a/x.log", "b/notes.py", "b/y.log"]


def test_links_and_what_they_lead_to(tmp_path: Path) -> None:
    folder = _touch(tmp_path / "f", "real/x.log", "a.py")
    _touch(tmp_path, "outside.log")
    links = {
        "in.log": "real/x.log",
        "out": "../outside.log",
        "gone.log": "nonsuch",
        "gone": "nonsuch",
        "dir.log": "real",
    }
    for name, target in links.items():
        (folder / name).symlink_to(target)
    listing = list_files(folder)
    assert _shown(listing) == ["a.py", "in.log", "real/x.log"]
    assert listing.files[1][0] == folder.resolve() / "real/x.log"
    assert [(str(shown), why) for shown, why in listing.skipped] == [
        ("dir.log", "a link to a folder"),
        ("gone.log", "No such file or directory"),
        ("out", "a link out of the folder"),
    ]


def test_a_long_chain_of_links_is_left_to_the_kernel(tmp_path: Path) -> None:
    (tmp_path / "0.log").write_text("val_bpb: 1.2")
    for i in range(1, 60):
        (tmp_path / f"{i}.log").symlink_to(f"{i - 1}.log")
    listing = list_files(tmp_path)
    assert (Path("9.log"), "Too many levels of symbolic links") not in listing.skipped
    assert (Path("59.log"), "Too many levels of symbolic links") in listing.skipped


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ClaimError) as caught:
        list_files(tmp_path / "nonsuch")
    assert str(caught.value) == f"{tmp_path / 'nonsuch'} does not exist; name a submission's folder, or its files"
    with pytest.raises(ClaimError, match=r"cannot be read"):
        list_files(tmp_path / ("n" * 300))
    (tmp_path / "gone").symlink_to("nonsuch")
    with pytest.raises(ClaimError, match="gone cannot be read: got No such file"):
        list_files(tmp_path / "gone")


def test_which_folders_hold_folders(tmp_path: Path) -> None:
    _touch(tmp_path, "a/x.log")
    assert [holds_folders(tmp_path / name) for name in (".", "a", "a/x.log")] == [True, False, False]


def test_folders_that_look_like_submissions(tmp_path: Path) -> None:
    _touch(tmp_path, "a/submission.json", "a/b/x.log", "c/x.claim.json", "d/e/x.LOG", "d/x.log", "g/requirements.txt")
    _touch(tmp_path, "h/scores.csv")
    assert [str(path.relative_to(tmp_path)) for path in find_submissions(tmp_path)] == ["a", "c", "d/e"]
    with pytest.raises(ClaimError, match=r"x.log is no folder; drop --recursive to audit a file$"):
        find_submissions(tmp_path / "d/x.log")


@pytest.mark.parametrize(
    ("name", "text", "unread"),
    [
        *(("a/scores.csv", "seed,val_bpb\n", True), ("a/scores.JSONL", '{"bits per byte": 1}', True)),
        *(("a/scores.csv", "BITS_PER_BYTE", True), ("a/scores.csv", "x" * (1 << 16) + "bpb", True)),
        *(("a/scores.csv", "bpb" + "x" * (1 << 17), True), ("a/scores.csv", "seed,loss\n", False)),
        *(("a/scores.csv", "x" * (1 << 17) + "bpb" + "x" * (1 << 17), False), ("a/scores.tsv", "bpb", True)),
        *(("a/train.py", "'val_bpb'", True), ("a/README", "Bits per byte", True), ("a/NOTES.md", "bpb", False)),
    ],
)
def test_folders_that_speak_of_scores_without_a_record(tmp_path: Path, name: str, text: str, unread: bool) -> None:
    _touch(tmp_path, name)
    (tmp_path / name).write_text(text)
    assert find_unread(tmp_path) == ([tmp_path / "a"] if unread else [])
    _touch(tmp_path, "a/below/train.log")
    assert find_unread(tmp_path) == []


def test_folders_below_one_that_is_named_are_not(tmp_path: Path) -> None:
    for name in ("a/train.py", "a/b/eval.py", "c/d/eval.py"):
        _touch(tmp_path, name)
        (tmp_path / name).write_text("val_bpb = 1")
    assert find_unread(tmp_path) == [tmp_path / "a", tmp_path / "c/d"]


def test_a_table_beside_a_log_or_behind_a_link_is_not_unread(tmp_path: Path) -> None:
    _touch(tmp_path, "a/scores.csv", "outside", "a/b/other.py")
    (tmp_path / "outside").write_text("bpb")
    (tmp_path / "a/scores.csv").unlink()
    (tmp_path / "a/scores.csv").symlink_to("../outside")
    assert find_unread(tmp_path) == []
    (tmp_path / "a/more.csv").write_text("bpb")
    assert find_unread(tmp_path) == [tmp_path / "a"]
    _touch(tmp_path, "a/train.log")
    assert find_unread(tmp_path) == []


def test_what_is_listed_is_bounded(tmp_path: Path) -> None:
    _touch(tmp_path, *(f"{i}.log" for i in range(310)))
    for i in range(25):
        (tmp_path / f"gone{i}.log").symlink_to("nonsuch")
    listing = list_files(tmp_path)
    assert (len(listing.files), len(listing.skipped)) == (300, 20)


def test_the_submission_of_a_file_is_the_one_that_a_search_finds() -> None:
    found = find_submissions(HERE)
    for folder in found:
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert {submission_of(path, HERE) for path in files} == {folder}
        assert submission_of(folder / "deleted.log", folder) == folder
    loose = [path for path in HERE.rglob("*") if path.is_file() and not any(f in path.parents for f in found)]
    assert len(loose) > 3
    assert {submission_of(path, HERE) for path in loose} == {None}


def test_a_submission_holds_what_is_deep_in_it_and_what_was_deleted(tmp_path: Path) -> None:
    for name in ("a/inner", "b/.hidden", "c"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("a/submission.json", "a/inner/claim.json", "b/.hidden/submission.json", "c/run.log"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    held = {
        "a/inner/x/y.py": "a", "a/inner/claim.json": "a", "c/gone.py": "c", "gone/submission.json": None,
        "b/.hidden/submission.json": None, "b/x.log": None, "link/submission.json": None, "x.log": None,
    }  # fmt: skip
    for name, folder in held.items():
        assert submission_of(tmp_path / name, tmp_path) == (None if folder is None else tmp_path / folder), name
    assert submission_of(tmp_path / "a" / "inner" / "x", tmp_path / "a" / "inner") == tmp_path / "a" / "inner"
    assert find_submissions(tmp_path) == [tmp_path / "a", tmp_path / "c"]


@pytest.mark.parametrize(
    ("below", "found"),
    [
        ("media/curve.png", ["run"]),
        ("media/deep/curve.png", ["run"]),
        ("extra/other.log", ["run/extra"]),
        ("extra/deep/other.log", ["run/extra/deep"]),
        ("extra/submission.json", ["run/extra"]),
        ("extra/metrics.csv", ["run/extra"]),
    ],
)
def test_logs_beside_pictures_are_a_submission_and_beside_records_are_not(
    tmp_path: Path, below: str, found: list[str]
) -> None:
    file = tmp_path / "run" / below
    file.parent.mkdir(parents=True)
    file.write_text("epoch,step,val_bpb\n")
    (tmp_path / "run" / "a.log").write_text("val_bpb:1.2\n")
    assert [path.relative_to(tmp_path).as_posix() for path in find_submissions(tmp_path)] == found


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"README.md": "# A run\n\nval_bpb: 1.2431\n", "train.py": "x = 1\n"}, True),
        ({"README.md": "# A run\n\n| val_bpb |\n|---|\n| 1.2431 |\n", "train.py": "x = 1\n"}, True),
        ({"README.md": "# A run\n\nval_bpb: 1.2431\n"}, False),
        ({"README.md": "# A program, which reports bpb\n", "train.py": "x = 1\n"}, False),
        ({"train.py": "val_bpb = 1.2431\n"}, False),
        ({"README.md": "val_bpb: 1.2431\n", "train.py": "x = 1\n", "requirements.txt": "torch\n"}, True),
    ],
)
def test_a_script_beside_a_readme_that_states_a_score_is_a_submission(
    tmp_path: Path, files: dict[str, str], found: bool
) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    assert find_submissions(tmp_path) == ([folder] if found else [])
    assert submission_of(folder / "train.py", tmp_path) == (folder if found else None)


def test_a_project_with_submissions_below_is_none_itself(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# A contest\n\nBaseline val_bpb: 1.2244, ours val_bpb: 1.21\n")
    (tmp_path / "train.py").write_text("x = 1\n")
    _record(tmp_path / "records" / "one")
    assert find_submissions(tmp_path) == [tmp_path / "records" / "one"]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("x/train.log", "val_bpb: 1.2\n"),
        ("x/claim.json", '{"candidate_id": "a", "requested_label": "reviewed"}'),  # another program's
        ("x/claim.json", '{"format": "bpb-audit/1", "claimed_bpb": 1.2}'),  # a report, which claims nothing
        ("x/metrics.json", '{"val_bpb": 1.2}'),
    ],
)
def test_what_is_no_submission_within_another(tmp_path: Path, file: str, text: str) -> None:
    _record(tmp_path)
    _touch(tmp_path, file, "x/README.md", "x/deep/run.log")
    (tmp_path / file).write_text(text)
    assert find_submissions(tmp_path) == [tmp_path]
    assert submission_of(tmp_path / file, tmp_path) == tmp_path
    assert {file, "x/README.md", "x/deep/run.log"} <= set(_shown(list_files(tmp_path)))


@pytest.mark.parametrize("below", ["x", "notes/deep", "a/b/c/d/e/f"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("submission.json", '{"val_bpb": 1.2}'),
        ("SUBMISSION.JSON", '{"verdict": "pass"}'),  # of what it is, nobody but its own report can say
        ("submission.json", "{"),
        ("claim.json", '{"format": "bpb-claim/1", "claimed_bpb": 1.2}'),
        ("x.claim.json", '{"claimed_bpb": 1.2}'),
        ("claim.json", "not JSON"),
    ],
)
def test_what_is_one_within_another_whatever_lies_beside_it(tmp_path: Path, below: str, name: str, text: str) -> None:
    _record(tmp_path)
    inner = _touch(tmp_path / below, name)
    (inner / name).write_text(text)
    assert find_submissions(tmp_path) == [tmp_path, inner]
    assert submission_of(inner / name, tmp_path) == inner
    assert _shown(list_files(tmp_path)) == ["submission.json"]


_STATES = "# A run\n\nval_bpb: 1.2431\n"


@pytest.mark.parametrize("below", ["logs/a.log", "seed_1/train.log", "runs/seed_1/wd_0/train.log", "out/a/b/c/x.log"])
@pytest.mark.parametrize("beside", ["README.md", "README.md train.py", "README.md screen.log train.py", "readme.rst"])
def test_a_readme_speaks_for_the_logs_below_it(tmp_path: Path, below: str, beside: str) -> None:
    """Not the logs by themselves, without what the README says of them."""
    folder = tmp_path / "a"
    _touch(folder, below, *beside.split()[1:])
    (folder / beside.split()[0]).write_text(_STATES)
    assert find_submissions(tmp_path) == [folder]
    assert submission_of(folder / below, tmp_path) == folder
    _touch(folder, "seed_2/train.log", "seed_2/train.py")  # the script of each seed beside its log
    assert find_submissions(tmp_path) == [folder]
    _touch(folder, "seed_3/train.log", "seed_3/submission.json")
    assert set(find_submissions(tmp_path)) > {folder / "seed_2", folder / "seed_3"}
    assert folder not in find_submissions(tmp_path)


@pytest.mark.parametrize(
    ("readme", "script", "below"),
    [
        ("# Experiments\n", False, "one/train.log"),  # says nothing of a score, and no script says what ran
        (None, True, "one/train.log"),
        (_STATES, True, "one/deep/claim.json"),
        (_STATES, True, "one/trainer_state.json"),
        (_STATES, True, "a/b/c/d/e/train.log one/train.log"),  # deeper than where logs are read
    ],
)
def test_where_logs_below_a_readme_are_by_themselves(
    tmp_path: Path, readme: str | None, script: bool, below: str
) -> None:
    _touch(tmp_path, *below.split(), *(["train.py"] if script else []))
    if readme is not None:
        (tmp_path / "README.md").write_text(readme)
    assert tmp_path not in (found := find_submissions(tmp_path))
    assert found


@pytest.mark.parametrize("beside", [{"README.md": _STATES}, {"README.md": "# One\n", "train.py": "x = 1\n"}])
def test_a_folder_of_records_with_readmes_of_their_own_is_none(tmp_path: Path, beside: dict[str, str]) -> None:
    (tmp_path / "README.md").write_text(_STATES)
    _touch(tmp_path, "train.py", "one/train.log", "two/train.log")
    assert find_submissions(tmp_path) == [tmp_path]
    _touch(tmp_path, "one/README.md")  # a word on the logs
    assert find_submissions(tmp_path) == [tmp_path]
    for name, text in beside.items():
        (tmp_path / "one" / name).write_text(text)
    assert find_submissions(tmp_path) == [tmp_path / "one", tmp_path / "two"]


def test_what_a_readme_says_of_logs_below_it_is_held_against_them(tmp_path: Path) -> None:
    """Each log by itself would be consistent."""
    for seed in (1, 2):
        (tmp_path / f"seed_{seed}").mkdir()
        (tmp_path / f"seed_{seed}/train.log").write_text(log(2.0312, SP1024, seed=seed))
    (tmp_path / "README.md").write_text("# A run\n\nval_bpb: 1.1031\n")
    (report,) = audit_folders(tmp_path)
    assert (report.verdict, report.claimed_bpb) == ("unverifiable", 1.1031)
    assert report.with_code("BPB403")
