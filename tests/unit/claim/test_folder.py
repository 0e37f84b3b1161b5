"""A folder to one claim: which number is taken for the claim, where it stands, and what is said of the reading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bpb_harness.claim import Claim, Note, NoteKind, Printed, Source, claim_of_logs, read_claim, read_record
from bpb_harness.errors import ClaimError

SHARDS = "val_loader:shards pattern=./data/fineweb10B_sp1024/fineweb_val_*.bin tokens:62021632\n"


def _folder(folder: Path, **files: Any) -> Path:
    """Files by name, with two underscores for the point; what is no text is written as JSON."""
    for name, held in files.items():
        text = held if isinstance(held, str) else json.dumps(held)
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def _notes(claim: Claim) -> list[tuple[NoteKind, str]]:
    return [(note.kind, str(note.source)) for note in claim.notes]


class TestOneLog:
    def test_its_last_score_is_the_claim_and_the_others_are_named(self, tmp_path: Path) -> None:
        lines = "step:1/9 val_bpb:1.40\nraw val_loss:2.10 val_bpb:1.30\nval_bpb:1.29\nint8 val_loss:2.00 val_bpb:1.25\n"
        claim = read_claim(_folder(tmp_path, train__log=lines))
        assert claim.score == Printed(1.25, 2, Source("train.log", 4), "val_bpb")
        assert claim.nats_per_token == Printed(2.0, 2, Source("train.log", 4), "val_loss")
        assert (claim.claimed_in, claim.same_estimator) == ("log", True)
        message = (
            "no claim beside the log: its last score is taken, 'int8' at train.log:4; other scores in it: unnamed, raw"
        )
        assert claim.notes == (Note(NoteKind.CHOICE, message, Source("train.log", 4)),)

    def test_a_score_without_a_label_is_called_by_its_name(self, tmp_path: Path) -> None:
        claim = read_claim(_folder(tmp_path, train__log="val_loss:2.0 val_var_bpb:1.25\n"))
        message = "no claim beside the log: its last score is taken, 'val_var_bpb' at train.log:1"
        assert claim.notes == (Note(NoteKind.CHOICE, message, Source("train.log", 1)),)
        assert (claim.same_estimator, claim.protocol.method) == (False, "discrete")

    def test_many_other_scores_are_not_all_named(self, tmp_path: Path) -> None:
        lines = "".join(f"stage_{i}{'x' * 80} val_bpb:1.3\n" for i in range(9)) + "int8 val_bpb:1.25\n"
        (note,) = read_claim(_folder(tmp_path, train__log=lines)).notes
        assert note.message.count("stage_") == 8
        assert "x" * 60 not in note.message

    def test_without_a_score_it_claims_none(self, tmp_path: Path) -> None:
        claim = read_claim(_folder(tmp_path, train__log="hello\n"))
        assert (claim.score, claim.claimed_in, claim.notes, claim.files) == (None, None, (), ("train.log",))


class TestSeveralLogs:
    def test_last_lines_are_never_averaged_into_a_claim(self, tmp_path: Path) -> None:
        logs = {"a__log": "int8 val_loss:2.0 val_bpb:1.2\n", "b__log": "int8 val_loss:2.2 val_bpb:1.35\n"}
        claim = read_claim(_folder(tmp_path, **logs))
        assert (claim.score, claim.claimed_in) == (None, None)
        message = (
            "no claim beside the logs, and 2 of them end with a score: 1.2 (a.log:1), 1.35 (b.log:1); a mean of them "
            "is nobody's"
        )
        assert claim.notes == (Note(NoteKind.AMBIGUOUS, message, Source("b.log", 1)),)

    def test_what_a_claim_is_compared_with_may_be_their_mean(self, tmp_path: Path) -> None:
        logs = {"a__log": "int8 val_loss:2.0 val_bpb:1.2\n", "b__log": "int8 val_loss:2.2 val_bpb:1.35\n"}
        claim = claim_of_logs(read_record(_folder(tmp_path, **logs)), averages=True)
        place = Source("a.log", key="mean over 2 logs")
        assert claim.score is not None
        assert claim.score == Printed(pytest.approx(1.275), 2, place, "val_bpb")  # type: ignore[arg-type]
        assert claim.nats_per_token == Printed(2.1, 1, place, "val_loss")
        assert (claim.claimed_in, claim.same_estimator) == ("log", True)
        message = "no claim beside the logs: the mean of their 2 last scores is taken"
        assert claim.notes == (Note(NoteKind.CHOICE, message, Source("b.log", 1)),)

    def test_without_a_loss_in_each_there_is_no_mean_loss(self, tmp_path: Path) -> None:
        logs = {"a__log": "int8 val_loss:2.0 val_bpb:1.2\n", "b__log": "int8 val_bpb:1.3\n", "c__log": "nothing\n"}
        claim = claim_of_logs(read_record(_folder(tmp_path, **logs)), averages=True)
        assert claim.score is not None
        assert (claim.score.value, claim.nats_per_token, claim.same_estimator) == (pytest.approx(1.25), None, False)

    def test_scores_of_several_names_claim_nothing_and_that_is_said(self, tmp_path: Path) -> None:
        claim = read_claim(_folder(tmp_path, a__log="raw val_bpb:1.2\n", b__log="int8 val_bpb:1.3\n"))
        assert (claim.score, claim.claimed_in) == (None, None)
        message = "no claim beside the logs, and they end with differently named scores"
        assert claim.notes == (Note(NoteKind.AMBIGUOUS, message, Source("b.log", 1)),)


class TestReadme:
    def test_its_score_comes_before_those_of_logs(self, tmp_path: Path) -> None:
        files = {"README__md": "# A run\n\nval_bpb: 1.234\n", "train__log": "int8 val_loss:2.0 val_bpb:1.25\n"}
        claim = read_claim(_folder(tmp_path, **files))
        assert claim.score == Printed(1.234, 3, Source("README.md", 3), "val_bpb")
        assert (claim.claimed_in, claim.nats_per_token, claim.same_estimator) == ("readme", None, False)
        message = "the score audited is 1.234, of README.md:3: no submission.json, claim file or result claims one"
        assert claim.notes == (Note(NoteKind.CHOICE, message, Source("README.md", 3)),)

    @pytest.mark.parametrize(
        ("loss", "score", "why"),
        [
            ("1.2227", 1.2227, "submission.json (val_loss) gives 1.2227, and calls it a loss"),
            ("1.2222", 1.2222, "submission.json (val_loss) gives 1.2222, and calls it a loss"),
            ("1.22", 1.2222, "submission.json (val_loss) gives 1.22, and calls it a loss"),
            ("2.0653", 1.2222, "no submission.json, claim file or result claims one"),
            (
                '2.0653, "small": {"val_bpb": 1.2222, "steps": 9}, "large": {"val_bpb": 1.1}',
                1.2222,
                "submission.json gives small.val_bpb, large.val_bpb, and does not say which of its scores is claimed",
            ),
        ],
        ids=["the mean", "the first seed", "too few digits to choose by", "a loss", "scores of several networks"],
    )
    def test_of_its_scores_that_counts_which_the_record_calls_a_loss(
        self, tmp_path: Path, loss: str, score: float, why: str
    ) -> None:
        seeds = "seed=1: val_bpb=1.2222\nseed=2: val_bpb=1.2228\n\n3-seed mean: val_bpb=1.2227\n"
        files = {"README__md": f"# A run\n\n```\n{seeds}```\n", "submission__json": f'{{"val_loss": {loss}}}'}
        claim = read_claim(_folder(tmp_path, **files))
        assert claim.score is not None
        assert (claim.score.value, claim.claimed_in) == (score, "readme")
        assert why in claim.notes[-1].message

    def test_what_a_coarse_number_agrees_with_may_still_be_two_scores(self, tmp_path: Path) -> None:
        claim = read_claim(_folder(tmp_path, README__md="# Wider\n\n**1.12 bpb**, **1.1234 bpb**, **1.1163 bpb**\n"))
        assert claim.score is None
        assert [note.kind for note in claim.notes] == [NoteKind.AMBIGUOUS]

    def test_several_in_a_table_claim_nothing_and_the_log_is_not_asked(self, tmp_path: Path) -> None:
        table = "| seed | val_bpb |\n|---|---|\n| 1 | 1.25 |\n| 2 | 1.21 |\n"
        claim = read_claim(_folder(tmp_path, README__md=table, train__log="int8 val_loss:2.0 val_bpb:1.25\n"))
        assert (claim.score, claim.claimed_in) == (None, None)
        message = "README.md gives several scores in tables, and does not say which is claimed"
        assert claim.notes == (Note(NoteKind.AMBIGUOUS, message, Source("README.md", 3)),)

    def test_its_title_comes_before_its_prose(self, tmp_path: Path) -> None:
        claim = read_claim(_folder(tmp_path, README__md="# Wider (1.2066 BPB)\n\nval_bpb: 1.19\n"))
        assert claim.score == Printed(1.2066, 4, Source("README.md", 1), "bpb")

    def test_two_scores_in_a_title_claim_nothing_and_say_so(self, tmp_path: Path) -> None:
        text = "# 1.21 BPB plain, 1.19 BPB with windows\n\nval_bpb: 1.19\n"
        claim = read_claim(_folder(tmp_path, README__md=text, train__log="int8 val_loss:2.0 val_bpb:1.25\n"))
        assert (claim.score, claim.claimed_in) == (None, None)
        message = "README.md states several scores, and does not say which is claimed: 1.21 (README.md:1), 1.19 "
        assert claim.notes == (Note(NoteKind.AMBIGUOUS, f"{message}(README.md:1)", Source("README.md", 1)),)

    @pytest.mark.parametrize(("given", "claimed"), [(1.1, None), (1.21, 1.21)])
    def test_a_table_is_no_claim_beside_other_scores_of_the_json(
        self, tmp_path: Path, given: float, claimed: float | None
    ) -> None:
        """An earlier record's row, say; where both give it, it is the claim."""
        table = "| run | val_bpb |\n|---|---|\n| mean of the last entry | 1.21 |\n"
        record = {"results": {"60min": {"val_bpb": given}, "240min": {"val_bpb": 1.05}}}
        claim = read_claim(_folder(tmp_path, README__md=table, submission__json=record))
        assert (claim.score.value if claim.score else None) == claimed
        assert (NoteKind.AMBIGUOUS in {note.kind for note in claim.notes}) is (claimed is None)

    def test_its_table_over_steps_is_taken_where_the_record_has_none(self, tmp_path: Path) -> None:
        table = "| T | val_bpb |\n|---|---|\n| 64 | 1.25 |\n| 512 | 1.21 |\n"
        claim = read_claim(_folder(tmp_path, README__md=table, submission__json={"val_bpb": 1.21}))
        assert {steps: score.value for steps, score in claim.steps_table.items()} == {64: 1.25, 512: 1.21}
        record = {"val_bpb": 1.21, "val_bpb_T32": 1.4}
        claim = read_claim(_folder(tmp_path, submission__json=record))
        assert {steps: score.value for steps, score in claim.steps_table.items()} == {32: 1.4}

    def test_the_first_of_two_is_read(self, tmp_path: Path) -> None:
        claim = read_claim(_folder(tmp_path, README__md="val_bpb: 1.2\n", README__rst="val_bpb: 1.3\n"))
        assert claim.readme is not None
        assert claim.readme.file == "README.md"
        assert claim.files == ("README.md", "README.rst")


class TestRecord:
    def test_a_null_is_no_leave_to_look_for_another_score(self, tmp_path: Path) -> None:
        files = {"README__md": "val_bpb: 1.2\n", "train__log": "int8 val_bpb:1.25\n"}
        claim = read_claim(_folder(tmp_path, submission__json={"val_bpb": None}, **files))
        assert claim.score is None
        assert _notes(claim) == [(NoteKind.NOT_A_NUMBER, "submission.json (val_bpb)")]

    def test_other_scores_of_a_record_keep_the_logs_from_claiming(self, tmp_path: Path) -> None:
        record = {"sliding_bpb": 1.1, "plain_bpb": 1.3}
        claim = read_claim(_folder(tmp_path, submission__json=record, train__log="int8 val_bpb:1.25\n"))
        assert (claim.score, claim.notes) == (None, ())

    def test_a_claim_file_goes_before_a_submission_that_fills_in_the_rest(self, tmp_path: Path) -> None:
        own = {"format": "bpb-claim/1", "claimed_bpb": 1.21, "same_estimator": False, "num_steps": 64}
        record = {"val_bpb": 1.21, "val_loss": 2.0, "seeds": [1], "eval_steps": 512, "estimator": "nelbo", "name": "x"}
        claim = read_claim(_folder(tmp_path, my__claim__json=own, submission__json=record))
        assert claim.score == Printed(1.21, 2, Source("my.claim.json", key="claimed_bpb"), "claimed_bpb")
        assert (claim.name, claim.title, claim.claimed_in, claim.seeds) == (tmp_path.name, "x", "claim file", ("1",))
        assert (claim.protocol.num_steps, claim.protocol.method) == (64, "mc")
        assert claim.nats_per_token is not None
        assert (claim.nats_per_token.value, claim.same_estimator) == (2.0, True)
        assert claim.notes == ()

    def test_of_a_submission_with_another_score_no_fact_is_taken(self, tmp_path: Path) -> None:
        own = {"format": "bpb-claim/1", "claimed_bpb": 1.21, "num_steps": 64}
        record = {"val_bpb": 1.35, "val_loss": 2.0, "seeds": [1], "eval_steps": 512, "tokenizer": "sp4096"}
        table = "val_bpb: 1.35\n\n| T | val_bpb |\n|---|---|\n| 64 | 1.25 |\n| 512 | 1.21 |\n"
        files = {"README__md": table, "train__py": "x = 1\n", "a__log": "val_bpb:1.35\n", "b__log": "val_bpb:1.21\n"}
        claim = read_claim(_folder(tmp_path, my__claim__json=own, submission__json=record, **files))
        assert (str(claim.score), claim.claimed_in, claim.protocol.num_steps) == ("1.21", "claim file", 64)
        assert (claim.nats_per_token, claim.seeds, claim.tokenizer, claim.steps_table) == (None, (), None, {})
        assert (claim.readme, claim.scripts, [log.file for log in claim.logs]) == (None, (), ["b.log"])
        assert len(claim.files) == 6
        message = (
            "two claimed scores: my.claim.json (claimed_bpb) says 1.21, submission.json (val_bpb) says 1.35; "
            "the first is audited, without the other's facts"
        )
        assert claim.notes == (Note(NoteKind.AMBIGUOUS, message, Source("my.claim.json", key="claimed_bpb")),)

    def test_a_perplexity_is_not_held_against_another_networks_loss(self, tmp_path: Path) -> None:
        own = {"format": "bpb-claim/1", "claimed_perplexity": 20.0}
        claim = read_claim(_folder(tmp_path, my__claim__json=own, submission__json={"val_bpb": 1.2, "val_loss": 2.03}))
        assert (claim.score, str(claim.perplexity)) == (None, "20.0")
        assert [kind for kind, _ in _notes(claim)] == [NoteKind.AMBIGUOUS]

    def test_scores_that_rounding_alone_tells_apart_are_one(self, tmp_path: Path) -> None:
        own = {"format": "bpb-claim/1", "claimed_bpb": 1.2}
        claim = read_claim(_folder(tmp_path, my__claim__json=own, submission__json={"val_bpb": 1.2345}))
        assert claim.notes == ()
        own = {"format": "bpb-claim/1", "claimed_bpb": 1.2345}
        claim = read_claim(_folder(tmp_path, my__claim__json=own, submission__json={"val_bpb": 1.2}))
        assert claim.notes == ()

    def test_a_submission_speaks_where_a_claim_file_is_silent(self, tmp_path: Path) -> None:
        own = {"format": "bpb-claim/1", "nats_per_token": 2.0, "same_estimator": False}
        claim = read_claim(_folder(tmp_path, my__claim__json=own, submission__json={"val_bpb": 1.3, "val_loss": 2.1}))
        assert claim.score is not None
        assert claim.nats_per_token is not None
        assert (claim.score.value, claim.claimed_in) == (1.3, "submission")
        assert (claim.nats_per_token.value, claim.same_estimator) == (2.0, False)

    def test_the_score_may_stand_in_another_json_alone(self, tmp_path: Path) -> None:
        claim = read_claim(_folder(tmp_path, results__json={"val_bpb": 1.3}))
        assert claim.score is not None
        assert claim.score.value == 1.3
        beside = read_claim(_folder(tmp_path, submission__json={"name": "x"}))
        assert (beside.score, beside.files) == (None, ("submission.json",))
        named = read_claim(tmp_path / "submission.json", tmp_path / "results.json")
        assert named.score is not None
        assert named.files == ("submission.json", "results.json")

    def test_what_had_to_be_mended_is_said(self, tmp_path: Path) -> None:
        record = '\ufeff\ufeff{"val_bpb": 1.10, "val_bpb": 1.2, "val_bpb": 1.3,}'
        claim = read_claim(_folder(tmp_path, submission__json=record))
        assert claim.score is not None
        assert claim.score.value == 1.3
        odd = "submission.json is not valid JSON: {}; read all the same"
        twice = "submission.json holds 'val_bpb' more than once, as 1.10 and 1.2 and 1.3; the last, 1.3, is audited"
        here = Source("submission.json")
        assert claim.notes == (
            Note(NoteKind.ENCODING, odd.format("a byte-order mark at the start"), here),
            Note(NoteKind.REPAIRED, odd.format("a trailing comma"), here),
            Note(NoteKind.AMBIGUOUS, twice, Source("submission.json", key="val_bpb")),
            Note(NoteKind.ENCODING, "submission.json starts with a byte-order mark", here),
        )


class TestTokenizerAndText:
    def test_the_paths_of_a_log_outweigh_the_prose(self, tmp_path: Path) -> None:
        files = {"train__log": SHARDS + "int8 val_bpb:1.25\n", "README__md": "with sp8192\n"}
        claim = read_claim(_folder(tmp_path, submission__json={"val_bpb": 1.25, "tokenizer": "sp4096"}, **files))
        assert (claim.tokenizer, claim.tokenizer_source) == ("sp1024", Source("train.log"))
        assert claim.dataset == "fineweb_val"

    def test_a_claim_file_outweighs_the_log(self, tmp_path: Path) -> None:
        own = {"format": "bpb-claim/1", "claimed_bpb": 1.25, "tokenizer": "fineweb_8192_bpe.model", "dataset": "mine"}
        claim = read_claim(_folder(tmp_path, my__claim__json=own, train__log=SHARDS + "int8 val_bpb:1.25\n"))
        assert (claim.tokenizer, claim.tokenizer_source) == ("sp8192", Source("my.claim.json", key="tokenizer"))
        assert claim.dataset == "mine"

    def test_a_claim_file_that_names_none_leaves_them_to_log_and_readme(self, tmp_path: Path) -> None:
        own = {"format": "bpb-claim/1", "claimed_bpb": 1.25}
        claim = read_claim(_folder(tmp_path, my__claim__json=own, train__log=SHARDS, README__md="with sp8192\n"))
        assert (claim.tokenizer, claim.tokenizer_source) == ("sp8192", Source("README.md", 1))
        assert claim.dataset == "fineweb_val"

    def test_the_readme_names_it_where_nothing_else_does(self, tmp_path: Path) -> None:
        claim = read_claim(_folder(tmp_path, README__md="with sp8192\n", train__log="int8 val_bpb:1.25\n"))
        assert (claim.tokenizer, claim.tokenizer_source) == ("sp8192", Source("README.md", 1))

    def test_names_that_differ_are_none(self, tmp_path: Path) -> None:
        claim = read_claim(_folder(tmp_path, README__md="sp8192, not sp1024\n", train__log="int8 val_bpb:1.25\n"))
        assert (claim.tokenizer, claim.tokenizer_source, claim.dataset) == (None, None, None)

    def test_steps_are_those_that_all_logs_agree_on(self, tmp_path: Path) -> None:
        line = "int8 val_var_bpb:1.25\n"
        folder = _folder(tmp_path, a__log="bpb with T=64\n" + line, b__log="bpb with T=64\n" + line, c__log=line)
        assert read_claim(folder).protocol.num_steps == 64
        assert read_claim(_folder(tmp_path, c__log="bpb with T=65\n" + line)).protocol.num_steps is None


class TestFiles:
    def test_what_is_read_is_listed_and_a_script_is_only_listed(self, tmp_path: Path) -> None:
        files = {"train__log": "int8 val_bpb:1.25\n", "train_gpt__py": "print(1)\n", "empty__py": "", "vocab__txt": "x"}
        claim = read_claim(_folder(tmp_path, config__json={"lr": 1}, submission__json={"val_bpb": 1.25}, **files))
        assert claim.files == ("empty.py", "submission.json", "train.log", "train_gpt.py")
        assert claim.scripts == (tmp_path / "empty.py", tmp_path / "train_gpt.py")
        assert [log.path for log in claim.logs] == [tmp_path / "train.log"]

    def test_a_file_that_is_named_is_a_log_unless_its_name_says_otherwise(self, tmp_path: Path) -> None:
        folder = _folder(tmp_path, output="int8 val_bpb:1.25\n")
        claim = read_claim(folder / "output")
        assert (claim.name, claim.files, claim.claimed_in) == ("output", ("output",), "log")

    def test_an_empty_file_is_refused_where_it_is_named(self, tmp_path: Path) -> None:
        folder = _folder(tmp_path, train__log="", script__py="", submission__json="", my__claim__json="")
        for name in ("train.log", "script.py", "my.claim.json"):
            with pytest.raises(ClaimError, match=rf"^{name} is empty: got 0 bytes, expected a record of a score$"):
                read_claim(folder / name)

    def test_an_empty_submission_is_said(self, tmp_path: Path) -> None:
        claim = read_claim(_folder(tmp_path, submission__json="", train__log="int8 val_bpb:1.25\n"))
        assert claim.notes[0] == Note(
            NoteKind.UNREADABLE, "submission.json is empty: got 0 bytes, expected a record of a score",
            Source("submission.json"),
        )  # fmt: skip

    def test_broken_json_of_another_name_is_passed_over_and_named_it_is_refused(self, tmp_path: Path) -> None:
        folder = _folder(tmp_path, other__json="{", submission__json={"val_bpb": 1.25}, empty__log="")
        claim = read_claim(folder)
        assert (claim.files, claim.notes) == (("submission.json",), ())
        with pytest.raises(ClaimError, match=r"^other.json is not JSON"):
            read_claim(folder / "other.json")

    def test_a_broken_claim_file_is_refused_wherever_it_lies(self, tmp_path: Path) -> None:
        with pytest.raises(ClaimError, match=r"^my.claim.json is not JSON"):
            read_claim(_folder(tmp_path, my__claim__json="{", submission__json={"val_bpb": 1.25}))

    def test_a_broken_submission_alone_is_what_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(ClaimError) as caught:
            read_claim(_folder(tmp_path, submission__json="{"))
        assert str(caught.value).startswith(f"nothing in {tmp_path.name} can be read: got submission.json is not JSON")

    def test_json_of_which_nothing_is_a_record(self, tmp_path: Path) -> None:
        with pytest.raises(ClaimError, match=rf"^nothing in {tmp_path.name} can be read: got no file with a record$"):
            read_claim(_folder(tmp_path, other__json="{"))

    def test_large_json_and_readmes_are_cut_sooner_than_logs(self, tmp_path: Path) -> None:
        long = "hello\n" + "x" * (5 << 20) + "\n"
        claim = read_claim(_folder(tmp_path, README__md=long, train__log=long, submission__json=" " * (5 << 20)))
        assert [(note.kind, note.source.file) for note in claim.notes] == [
            (NoteKind.TRUNCATED, "README.md"),
            (NoteKind.UNREADABLE, "submission.json"),
        ]
        assert claim.readme is not None
        assert len(claim.readme.text) == (4 << 20) + 1

    def test_nothing_to_audit_names_what_was_looked_for(self, tmp_path: Path) -> None:
        expected = "expected submission.json, a log, a README, a script or a claim file"
        with pytest.raises(ClaimError) as caught:
            read_claim(tmp_path)
        assert str(caught.value) == f"nothing to audit in {tmp_path}: {expected}"
        (tmp_path / "inner").mkdir()
        with pytest.raises(ClaimError) as caught:
            read_claim(tmp_path, tmp_path)
        where = f"{tmp_path}, {tmp_path}"
        hint = "bpb-audit --recursive audits its folders one by one"
        assert str(caught.value) == f"nothing to audit in {where}: {expected}; {hint}"

    def test_what_was_passed_over_is_said_with_its_reason(self, tmp_path: Path) -> None:
        folder = _folder(tmp_path, train__log="int8 val_bpb:1.25\n")
        (folder / "b.log").symlink_to("nowhere.log")
        (folder / "my.claim.json").symlink_to("nowhere.json")
        reason = "was not read: it is No such file or directory, no regular file of the folder"
        assert read_claim(folder).notes[:2] == (
            Note(NoteKind.SKIPPED, f"b.log {reason}", Source("b.log")),
            Note(NoteKind.UNREADABLE, f"my.claim.json {reason}", Source("my.claim.json")),
        )
