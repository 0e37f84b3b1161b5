"""What a pack of rules changes in an audit: the cap, times, significance, the target, which line is the claim, none."""

from __future__ import annotations

import base64
import json
import lzma
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bpb_harness.auditing import AuditReport, audit, audit_folders
from bpb_harness.auditing.checks.rules import target_p_value
from bpb_harness.auditing.report import summary_to_dict, summary_to_markdown
from bpb_harness.auditing.report_text import summary_to_text
from bpb_harness.auditing.verdict import Verdict
from bpb_harness.errors import UsageError
from bpb_harness.findings import Finding
from bpb_harness.report.audit import audit_page
from fixtures.claims.other_contests import RUNS, SCRIPT, slowrun_log, speedrun_log
from fixtures.claims.patterns import SP1024, bpb, log, submission

HEAD = 'format = "bpb-rules/1"\nname = "mine"\ntitle = "t"\n'


def _pack(folder: Path, text: str) -> Path:
    (folder / "mine.toml").write_text(HEAD + text)
    return folder / "mine.toml"


def _submitted(folder: Path, **keys: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "submission.json").write_text(submission(**{"val_bpb": round(bpb(2.0312, SP1024), 6)} | keys))
    (folder / "train.log").write_text(log(2.0312, SP1024))
    return folder


def _codes(report: AuditReport) -> set[str]:
    return {finding.code for finding in report.findings}


@pytest.mark.parametrize(("size", "is_over"), [(2000, False), (2001, True)])
def test_the_cap_is_the_packs(tmp_path: Path, size: int, is_over: bool) -> None:
    pack = _pack(tmp_path, 'largest_artifact = 2000\n[fields]\nartifact_bytes = ["size"]\n')
    report = audit(_submitted(tmp_path / "x", size=size), rules=pack)
    assert ("BPB501" in _codes(report)) is is_over
    assert "BPB502" not in _codes(report)
    assert _codes(audit(tmp_path / "x", rules="none")).isdisjoint({"BPB501", "BPB502"})


@pytest.mark.parametrize(("size", "is_over"), [("16.00 MB", False), ("16.01 MB", True), ("15.9 MiB", True)])
def test_a_size_in_megabytes_is_over_the_cap_where_rounding_does_not_explain_it(
    tmp_path: Path, size: str, is_over: bool
) -> None:
    folder = _submitted(tmp_path / "x")
    text = log(2.0312, SP1024).replace("Total submission size int8+zlib: 15480132 bytes", f"Artifact size: {size}")
    (folder / "train.log").write_text(text)
    (folder / "submission.json").write_text(f'{{"val_bpb": {bpb(2.0312, SP1024):.6f}}}')
    assert ("BPB501" in _codes(audit(folder))) is is_over


@pytest.mark.parametrize(("claimed", "is_doubted"), [(1.0, False), (1.0004, False), (0.9996, True), (0.98, True)])
def test_a_score_that_rounding_may_have_put_below_what_is_believed_is_not(
    tmp_path: Path, claimed: float, is_doubted: bool
) -> None:
    assert ("BPB420" in _codes(audit(_submitted(tmp_path / "x", val_bpb=claimed)))) is is_doubted


def test_without_rules_nothing_of_a_contest_is_left(tmp_path: Path) -> None:
    folder = _submitted(tmp_path / "x", val_bpb=0.95, bytes_total=17_000_000)
    assert {"BPB420", "BPB501"} <= _codes(audit(folder))
    alone = audit(folder, rules="none")
    assert not _codes(alone) & {"BPB101", "BPB102", "BPB420"}
    assert not any(code.startswith("BPB5") for code in _codes(alone))
    own = audit(_submitted(tmp_path / "y", val_bpb=None, mean_bpb=1.2), rules="none")
    assert own.claimed_bpb is None  # a name that only parameter-golf knows, beside a null
    assert audit(tmp_path / "y").claimed_bpb == 1.2


@pytest.mark.parametrize(
    ("limit", "codes"), [("train_seconds = 328", set()), ("train_seconds = 327", {"BPB506"}), ("", set())]
)  # the log trains for 328,000 ms
def test_times_of_rules_without_tracks_hold_for_every_record(tmp_path: Path, limit: str, codes: set[str]) -> None:
    pack = _pack(tmp_path, f'[time]\n{limit}\nlines = ["train_time:{{train_ms}}ms"]\n')
    assert _codes(audit(_submitted(tmp_path / "x"), rules=pack)) & {"BPB506"} == codes


def test_a_time_is_one_of_the_claims_own_run(tmp_path: Path) -> None:
    pack = _pack(tmp_path, '[time]\ntrain_seconds = 300\nlines = ["train_time: {train_ms}ms"]\n')
    runs = [f"train_time: {took}ms\n{log(nats, SP1024)}" for took, nats in ((400_000, 2.1), (301_500, 2.0312))]
    folder = _submitted(tmp_path / "x")
    (folder / "train.log").write_text("".join(runs))
    (found,) = audit(folder, rules=pack).with_code("BPB506")
    line = runs[0].count("\n") + 1
    assert found.message == f"training took 301.5 s (train.log:{line}); the limit is 300 s"
    (folder / "train.log").write_text("".join(runs).replace("301500", "299000"))
    assert not audit(folder, rules=pack).with_code("BPB506")


@pytest.mark.parametrize(("took", "is_over"), [("600137ms", False), ("601153ms", True)])
def test_times_behind_a_blank(tmp_path: Path, took: str, is_over: bool) -> None:
    folder = _submitted(tmp_path / "x", track="10min_16mb")
    text = log(2.0312, SP1024)
    (folder / "train.log").write_text(f"stopping_early: wallclock_cap train_time: {took} step: 4945/20000\n{text}")
    assert bool(audit(folder).with_code("BPB506")) is is_over


@pytest.mark.parametrize(("least", "codes"), [(1, set()), (3, set()), (4, {"BPB509"})])
def test_a_claim_rests_on_as_many_runs_as_the_rules_ask_for(tmp_path: Path, least: int, codes: set[str]) -> None:
    pack = _pack(tmp_path, f"least_runs = {least}\n")
    assert _codes(audit(_seeds(tmp_path / "x", [1.9, 1.9004, 1.8996]), rules=pack)) & {"BPB509"} == codes
    if least == 1:
        assert "BPB509" not in _codes(audit(_submitted(tmp_path / "y"), rules=pack))


def test_a_score_that_is_claimed_goes_before_losses(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(speedrun_log(3.2771))
    (tmp_path / "submission.json").write_text('{"val_bpb": 0.9}')
    report = audit(tmp_path, rules="modded-nanogpt")
    assert (report.claimed_bpb, report.verdict) == (0.9, "unverifiable")
    assert "BPB421" not in _codes(report)


def _seeds(folder: Path, losses: Sequence[float]) -> Path:
    folder.mkdir()
    for seed, nats in enumerate(losses):
        (folder / f"train_seed{seed}.log").write_text(log(nats, SP1024, seed=seed))
    return folder


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ("[gain]\nmore_than = 0.005\np_below = 0.01\n", "BPB503"),
        ("[gain]\nmore_than = 0.0205\np_below = 0.01\n", "BPB504"),  # they gain 0.02
        ("[gain]\nmore_than = 0.019\np_below = 0.01\n", "BPB504"),  # p is 0.019
        ("[gain]\nmore_than = 0.019\np_below = 0.05\n", "BPB503"),
        ("", "BPB505"),
    ],
)
def test_a_claim_must_beat_the_baseline_by_what_the_pack_asks_for(tmp_path: Path, rule: str, code: str) -> None:
    theirs, mine = _seeds(tmp_path / "theirs", [1.92, 1.9204, 1.9196]), _seeds(tmp_path / "mine", [1.9, 1.9004, 1.8996])
    text = "[[texts]]\nname = 'fineweb_val'\n" + rule
    report = audit(mine, baseline=theirs, rules=_pack(tmp_path, text))
    assert _codes(report) & {"BPB503", "BPB504", "BPB505"} == {code}
    worse = audit(theirs, baseline=mine, rules=tmp_path / "mine.toml")
    assert _codes(worse) & {"BPB503", "BPB504", "BPB505"} == {"BPB505" if code == "BPB505" else "BPB504"}


def test_p_of_the_target_is_students() -> None:
    # t = (mean - target) / (s / sqrt n); for two degrees of freedom P(T < t) = 1/2 + t / (2 sqrt(2 + t^2)).
    values = [3.27, 3.275, 3.28]
    t = (np.mean(values) - 3.28) / (np.std(values, ddof=1) / math.sqrt(3))
    assert target_p_value(values, 3.28) == pytest.approx(0.5 + t / (2.0 * math.sqrt(2.0 + t * t)), rel=1e-9)
    assert target_p_value(values, 3.27) > 0.8
    assert (target_p_value([3.2, 3.2], 3.28), target_p_value([3.28, 3.28], 3.28)) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("shift", "code"), [(0.0, "BPB507"), (0.0025, "BPB508"), (0.01, "BPB508")]  # means 3.2771, 3.2796, 3.2871
)  # fmt: skip
def test_runs_of_one_script_are_held_against_the_target(tmp_path: Path, shift: float, code: str) -> None:
    for number, loss in enumerate(RUNS):
        (tmp_path / f"{number}.txt").write_text(speedrun_log(loss + shift))
    report = audit(tmp_path)
    assert _codes(report) & {"BPB507", "BPB508"} == {code}
    (found,) = report.with_code(code)
    assert found.evidence["mean"] == pytest.approx(np.mean(RUNS) + shift, abs=1e-9)
    assert ("waived for a record" in found.message) is (code == "BPB508")
    assert report.verdict == "consistent"  # the rule concerns the entry, not the number
    assert report.claimed_bpb is None
    assert "5 logs of one script" in (report.claimed_in or "")


def test_a_copy_of_a_log_is_no_second_run(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text(speedrun_log(3.2771))
    (found,) = audit(tmp_path).with_code("BPB508")
    assert found.message.startswith("one run (3.2771 nats per token), and a test needs two or more")


def test_other_tokens_are_another_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(speedrun_log(3.1, tokens="val_tokens = 2 * 524288"))
    report = audit(tmp_path)
    assert report.verdict == "unverifiable"
    assert "a.txt says 1,048,576" in report.judgement.reason
    twice = SCRIPT.format(tokens="val_tokens = 10485760") + "val_tokens = 4096\n" + speedrun_log(3.1)
    (tmp_path / "a.txt").write_text(twice)
    assert "a.txt says 4,096 and 10,485,760" in audit(tmp_path).judgement.reason


def test_a_loss_is_no_score_where_the_rules_do_not_say_so(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(speedrun_log(3.2771))
    report = audit(tmp_path, rules="parameter-golf")
    assert (report.verdict, _codes(report) & {"BPB409", "BPB421"}) == ("unverifiable", {"BPB409"})
    (tmp_path / "a.txt").write_text(log(2.0312, SP1024))
    other = audit(tmp_path, rules="modded-nanogpt")  # no line of its kind: the score is what it is without
    assert other.claimed_bpb == pytest.approx(bpb(2.0312, SP1024), abs=1e-8)
    assert "BPB421" not in _codes(other)


def test_rules_without_a_number_of_tokens_leave_open_what_was_scored(tmp_path: Path) -> None:
    pack = _pack(tmp_path, '[claim]\nunit = "nats per token"\nlines = ["val_loss:{loss} train_time:"]\n')
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.txt").write_text(speedrun_log(3.2771))
    report = audit(tmp_path / "x", rules=pack)
    assert (report.verdict, report.judgement.missing[0]) == ("unverifiable", "the text that was scored")


def test_the_least_loss_of_a_slowrun_is_its_claim(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text(slowrun_log((3.61, 3.402, 3.411)))
    report = audit(tmp_path)
    assert report.claimed_in == "train.log ends with a loss of 3.402000 nats per token"
    assert report.claimed_bpb is None
    assert [finding.code for finding in report.findings].count("BPB510") == 2


@pytest.mark.parametrize(
    ("lines", "claimed"),
    [
        ('["pond score {score}"]', 1.25),  # the last of its lines, not the last score of the log
        ('["pond score {score}", "pond loss {loss}"]', 1.25),
        ('["nothing such {score}"]', None),  # no line: no claim of that log
    ],
)
def test_the_claim_is_the_line_that_the_rules_name(tmp_path: Path, lines: str, claimed: float | None) -> None:
    pack = _pack(tmp_path, f"[claim]\nlines = {lines}\n")
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "a.log").write_text("pond score 1.5000\npond score 1.2500\npond loss 2.0000\nfinal val_bpb:9.0000\n")
    report = audit(folder, rules=pack)
    assert report.claimed_bpb == claimed
    if claimed is not None:
        assert report.claimed_in == "a.log:2"
        assert "BPB401" in _codes(report)
        divided = [finding.evidence["bytes_per_token"] for finding in report.findings if finding.code == "BPB106"
                   and "bytes_per_token" in finding.evidence]  # fmt: skip
        assert divided == ([pytest.approx(2.0 / math.log(2.0) / 1.25)] if "loss" in lines else [])
    assert audit(folder, rules="none").claimed_bpb == 9.0


def _folder_of(folder: Path, **logs: float) -> Path:
    folder.mkdir()
    for name, score in logs.items():
        (folder / f"{name}.log").write_text(f"step 1\nfinal val_loss:2.000000 val_bpb:{score:.6f}\n")
    return folder


def test_the_claim_is_of_the_logs_that_the_rules_name(tmp_path: Path) -> None:
    pack = _pack(tmp_path, '[claim]\nlogs = ["pond.log", "pond_{number}.log"]\n')
    seeds = _folder_of(tmp_path / "seeds", pond_1=1.25, pond_2=1.26, pond_2_old=3.0, a_trial=9.0)
    report = audit(seeds, rules=pack)
    assert "of 4 logs those carry the claim that the rules name so: pond_1.log, pond_2.log" in str(report)
    (found,) = report.with_code("BPB906")  # and of the two no mean is made that nobody wrote
    assert "2 of them end with a score: 1.250000 (pond_1.log:2), 1.260000 (pond_2.log:2);" in found.message
    assert report.claimed_bpb is None
    (seeds / "pond_2.log").unlink()
    assert audit(seeds, rules=pack).claimed_bpb == 1.25
    (seeds / "pond.log").write_text("final val_bpb:1.300000\n")
    assert audit(seeds, rules=pack).claimed_bpb == 1.3  # the best name that fits any
    assert audit(seeds, rules="none").claimed_bpb is None
    other = _folder_of(tmp_path / "other", a=1.25)  # none so called: all of them
    assert audit(other, rules=pack).claimed_bpb == 1.25


def test_a_mean_over_the_named_logs_is_the_claim_where_the_rules_say_so(tmp_path: Path) -> None:
    pack = _pack(tmp_path, '[claim]\nlogs = ["pond_{number}.log"]\nmean = true\n')
    folder = _folder_of(tmp_path / "x", pond_1=1.25, pond_2=1.27, pond_2_old=3.0, a_trial=9.0)
    report = audit(folder, rules=pack)
    assert report.claimed_bpb == pytest.approx(1.26)
    assert "the mean of their 2 last scores is taken" in str(report)
    (folder / "submission.json").write_text('{"val_bpb": 1.3}')
    assert audit(folder, rules=pack).claimed_bpb == 1.3  # what a record states goes first
    other = _folder_of(tmp_path / "other", a=1.25, b=1.27)  # none so called
    assert audit(other, rules=pack).claimed_bpb is None


def test_a_named_log_without_a_score_gives_way_to_the_next_name(tmp_path: Path) -> None:
    pack = _pack(tmp_path, '[claim]\nlogs = ["pond.log", "pond_{number}.log"]\n')
    folder = _folder_of(tmp_path / "x", pond_1=1.25, trial=9.0)
    (folder / "pond.log").write_text("step 1\nstep 2\n")
    assert audit(folder, rules=pack).claimed_bpb == 1.25
    (folder / "pond.log").write_text("final val_loss:nan val_bpb:nan\n")  # it ran, and came to nothing
    report = audit(folder, rules=pack)
    assert report.claimed_bpb is None
    (folder / "pond_1.log").unlink()
    (folder / "pond.log").write_text("step 1\n")
    assert audit(folder, rules=pack).claimed_bpb is None  # the trial's score is nobody's claim


def test_which_line_and_which_log_go_together(tmp_path: Path) -> None:
    text = '[claim]\nlogs = ["pond_{number}.log"]\nlines = ["final val_loss:{loss} val_bpb:{score}"]\n'
    folder = _folder_of(tmp_path / "x", pond_1=1.25, pond_2=1.27, trial=3.0)
    assert audit(folder, rules=_pack(tmp_path, text)).claimed_bpb == pytest.approx(1.26)


def test_of_two_logs_that_print_a_stated_score_the_named_one_carries_it(tmp_path: Path) -> None:
    folder = _folder_of(tmp_path / "x", a=1.25, pond_1=1.25)
    (folder / "submission.json").write_text('{"val_bpb": 1.25}')
    named = audit(folder, rules=_pack(tmp_path, '[claim]\nlogs = ["pond_{number}.log"]\n'))
    assert named.with_code("BPB401")[0].evidence["places"] == ["pond_1.log:2"]
    assert audit(folder, rules="none").with_code("BPB401")[0].evidence["places"] == ["a.log:2"]


def test_losses_are_of_the_named_logs_too(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    for name, loss in (("pond_1", 3.1), ("pond_2", 3.2), ("trial", 9.0)):
        (tmp_path / "x" / f"{name}.log").write_text(f"scored 1000 tokens\nfinal loss {loss}\n")
    named = NATS.replace("[claim]\n", '[claim]\nlogs = ["pond_{number}.log"]\n')
    report = audit(tmp_path / "x", rules=_pack(tmp_path, named))
    assert "trial.log" not in str(report.claimed_in)
    assert "2 logs" in str(report.claimed_in)


def test_seeds_in_bits_per_byte_are_held_against_a_target(tmp_path: Path) -> None:
    pack = _pack(tmp_path, '[target]\nat_most = 1.2\np_below = 0.01\n[fields]\nseeds = ["each"]\n')
    for name, scores, code in (("a", (1.19, 1.191, 1.189), "BPB507"), ("b", (1.19, 1.22, 1.18), "BPB508")):
        each = {str(seed): {"val_bpb": score} for seed, score in enumerate(scores)}
        folder = tmp_path / name
        folder.mkdir()
        (folder / "submission.json").write_text(json.dumps({"val_bpb": round(sum(scores) / 3, 6), "each": each}))
        assert _codes(audit(folder, rules=pack)) & {"BPB507", "BPB508"} == {code}


NATS = (
    '[claim]\nunit = "nats per token"\nlines = ["final loss {loss}"]\ntokens = 1000\ntext = "the diary"\n'
    'tokens_lines = ["scored {tokens} tokens"]\n[target]\nat_most = 3.2\np_below = 0.01\n'
)


def _logged(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "a.log").write_text(text)
    return folder


def test_bits_per_byte_are_no_loss_that_reaches_a_target(tmp_path: Path) -> None:
    """1.2 is below 3.2, and says nothing of it."""
    scores = {"1": {"val_bpb": 1.2}, "2": {"val_bpb": 1.21}, "3": {"val_bpb": 1.19}}
    report = audit(_submitted(tmp_path / "x", val_bpb=1.2, seed_results=scores), rules=_pack(tmp_path, NATS))
    (target,) = [found for found in report.findings if found.code in ("BPB507", "BPB508")]
    assert target.code == "BPB508"
    assert target.message.startswith("the claim is 1.2 bits per byte, which is no loss in nats per token; at most 3.2")


@pytest.mark.parametrize("spoilt", ["nan", "NaN", "inf", "-Infinity"])
@pytest.mark.parametrize(
    ("pack", "line"), [(NATS, "final loss {}"), ('[claim]\nlines = ["the end: {score}"]\n', "the end: {}"),
                       ("", "val_loss: 2.0 val_bpb: {}")]
)  # fmt: skip
def test_a_log_that_ends_with_no_number_is_not_taken_at_the_one_before(
    tmp_path: Path, pack: str, line: str, spoilt: str
) -> None:
    rules = _pack(tmp_path, pack)
    good, bad = f"scored 1000 tokens\n{line.format(3.1)}\n", f"{line.format(spoilt)}\n"
    ends = audit(_logged(tmp_path / "x", good + bad), rules=rules)
    assert "BPB907" in _codes(ends)
    assert ends.verdict is Verdict.UNVERIFIABLE
    for sound in (good, bad + good, good + bad + line.format(3.0)):
        assert "BPB907" not in _codes(audit(_logged(tmp_path / "x", sound), rules=rules))


@pytest.mark.parametrize("loss", ["0.01", "3.1e-300", "25.0"])
def test_a_loss_that_no_model_of_text_has_is_doubted(tmp_path: Path, loss: str) -> None:
    report = audit(_logged(tmp_path / "x", f"scored 1000 tokens\nfinal loss {loss}\n"), rules=_pack(tmp_path, NATS))
    assert "BPB908" in _codes(report)
    assert report.verdict is Verdict.UNVERIFIABLE


def test_bits_per_byte_beside_a_claimed_loss_are_not_spoken_for(tmp_path: Path) -> None:
    text = "scored 1000 tokens\nfinal loss 3.1\nfinal val_bpb: 0.9\n"
    report = audit(_logged(tmp_path / "x", text), rules=_pack(tmp_path, NATS))
    assert report.verdict is Verdict.CONSISTENT
    (said,) = [found.message for found in report.findings if found.code == "BPB909"]
    assert "bits per byte too (0.9 at a.log:3), which the rules do not claim" in said
    alone = audit(_logged(tmp_path / "x", text.rpartition("final val")[0]), rules=_pack(tmp_path, NATS))
    assert "BPB909" not in _codes(alone)


def test_a_record_is_read_by_the_keys_of_its_own_contest_alone(tmp_path: Path) -> None:
    """A key that another of the named packs calls a score stands in it, before its own."""
    packs = []
    for name in ("lake", "pond"):
        marks = f'[marks]\nfiles = ["{name}.json"]\n[fields]\nscore = ["{name}_score"]\n'
        packs.append(tmp_path / f"{name}.toml")
        packs[-1].write_text(f'format = "bpb-rules/1"\nname = "{name}"\ntitle = "t"\n{marks}')
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "pond.json").write_text('{"lake_score": 2.08, "pond_score": 1.2}')
    for rules in (packs, packs[::-1], packs[1:]):
        report = audit(tmp_path / "x", rules=rules, baseline=tmp_path / "x")
        assert (report.claimed_bpb, report.claimed_in) == (1.2, "pond.json (pond_score)")


def test_every_output_names_the_rules(tmp_path: Path) -> None:
    one = audit(_submitted(tmp_path / "x"), rules=_pack(tmp_path, ""))
    assert one.to_dict()["rules"] == {"name": "mine", "file": "mine.toml", "chosen": "as asked"}
    assert "  rules      mine of mine.toml (as asked)\n" in one.to_text()
    assert "\n- rules: mine of mine.toml (as asked)\n" in one.to_markdown()
    assert "<dt>rules</dt><dd>mine of mine.toml (as asked)</dd>" in audit_page([one])
    many = [one, audit(tmp_path / "x"), audit(tmp_path / "x", rules="none")]
    counted = "mine 1, parameter-golf 1, none 1"
    assert f"rules: {counted}" in summary_to_text(many)
    assert f"Rules: {counted}" in summary_to_markdown(many)
    assert f"Rules: {counted}." in audit_page(many)
    (_, second, _) = summary_to_dict(many)["audits"]  # type: ignore[misc]
    assert second["rules"]["chosen"] == "by its submission.json"  # type: ignore[call-overload,index]


def test_many_folders_are_each_held_against_their_own(tmp_path: Path) -> None:
    _submitted(tmp_path / "golf")
    (tmp_path / "speed").mkdir()
    (tmp_path / "speed" / "a.txt").write_text(speedrun_log(3.2771))

    def chosen(rules: str | list[str] | None) -> list[str]:
        return [report.rules.pack.name for report in audit_folders(tmp_path, rules=rules) if report.rules]

    assert chosen(None) == ["parameter-golf", "modded-nanogpt"]
    assert chosen(["modded-nanogpt", "parameter-golf"]) == ["parameter-golf", "modded-nanogpt"]
    assert chosen(["modded-nanogpt", "slowrun"]) == ["none", "modded-nanogpt"]
    assert chosen("slowrun") == ["slowrun", "slowrun"]
    with pytest.raises(UsageError, match="--rules: got 'nonsuch'"):
        chosen("nonsuch")


@pytest.mark.parametrize(
    ("packed", "total", "said"),
    [
        (16_102_053, 16_177_019, "by train.log 16,177,019 (line 3)"),
        (16_102_052, 16_177_019, "by submission.json 16,102,053 (bytes_total)"),  # of another network
        (16_102_053, 67_304_823, "by submission.json 16,102,053 (bytes_total)"),  # of what is not packed
    ],
)
def test_the_size_of_a_network_alone_is_not_that_of_what_is_submitted(
    tmp_path: Path, packed: int, total: int, said: str
) -> None:
    lines = f"Code size: 74966 bytes\nSerialized model int8+zlib: {packed} bytes (payload:1)\n"
    lines += f"Total submission size int8+zlib: {total} bytes\n"
    (tmp_path / "train.log").write_text(f"{lines}final val_loss:2.03186 val_bpb:1.20340000\n")
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": 1.2034, "bytes_total": 16_102_053}))
    (found,) = audit(tmp_path, rules="parameter-golf").with_code("BPB501")
    assert said in found.message


def test_code_that_a_log_counts_may_be_packed_when_it_is_submitted(tmp_path: Path) -> None:
    lines = "Serialized model int8+zlib: 15990000 bytes\nTotal submission size int8+zlib: 16064966 bytes\n"
    (tmp_path / "train.log").write_text(f"{lines}final val_loss:2.03186 val_bpb:1.20340000\n")
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": 1.2034, "bytes_total": 15_990_000}))
    assert "BPB501" not in _codes(audit(tmp_path, rules="parameter-golf"))


@pytest.mark.parametrize(
    ("readme", "is_over"),
    [
        ("Total submission size quantized+brotli = 16,064,966 bytes: over", True),
        ("It has 16064966 bytes.", True),
        ("It has 15,990,000 bytes.", False),
    ],
)
def test_a_total_over_the_cap_counts_where_the_record_gives_it_too(tmp_path: Path, readme: str, is_over: bool) -> None:
    lines = "Serialized model int8+zlib: 15990000 bytes\nTotal submission size int8+zlib: 16064966 bytes\n"
    (tmp_path / "train.log").write_text(f"{lines}final val_loss:2.03186 val_bpb:1.20340000\n")
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": 1.2034, "bytes_total": 15_990_000}))
    (tmp_path / "README.md").write_text(readme)
    found = audit(tmp_path, rules="parameter-golf").with_code("BPB501")
    assert ["by train.log 16,064,966 (line 2)" in each.message for each in found] == [True] * is_over


def _network_alone(folder: Path, script: int = 75_000, json_more: str = "", **texts: str) -> list[Finding]:
    lines = "Serialized model int8+zlib: 15990000 bytes\nTotal submission size int8+zlib: 16064966 bytes\n"
    (folder / "train.log").write_text(f"{lines}final val_loss:2.03186 val_bpb:1.20340000\n")
    (folder / "submission.json").write_text(f'{{"val_bpb": 1.2034, "bytes_total": 15990000{json_more}}}')
    (folder / "train_gpt.py").write_text("x = 1\n".ljust(script, "#"))
    for name, text in texts.items():
        (folder / name.replace("__", ".")).write_text(text)
    return audit(folder, rules="parameter-golf").with_code("BPB501")


@pytest.mark.parametrize("script", [74_966, 80_000, 10_001])
def test_a_size_of_the_network_alone_beside_a_script_that_takes_it_over(tmp_path: Path, script: int) -> None:
    more = ', "seed_results": {"7": {"artifact_bytes": 15990000}}'
    text = "The model has 15.99 MB, and the network is compressed."
    (found,) = _network_alone(tmp_path, script, more, README__md=text)
    assert (found.severity, found.message) == (
        "warning",
        "the artifact is over the cap of 16,000,000 bytes: by train.log 16,064,966 (line 2); 15,990,000, of "
        "submission.json (bytes_total), is the packed network without its code",
    )


@pytest.mark.parametrize(
    "said",
    [
        *("The code is minified.", "minify the script", "Source through lzma", "zlib of train_gpt", "run.py, zstd-19"),
        *("brotli for code", "the script goes through gzip", "base64 of the source", "code in base85"),
        *("compressed code", "A wrapper of the script", "packed code", "obfuscated source", "the code is bundled"),
        "stripped of comments, the code has 9 kB",
    ],
)
def test_words_of_code_that_is_packed(tmp_path: Path, said: str) -> None:
    assert _network_alone(tmp_path, README__md=said) == []


def test_a_mean_of_networks_alone_is_no_size_with_the_code(tmp_path: Path) -> None:
    lines = "Serialized model int8+zlib: 15994000 bytes\nTotal submission size int8+zlib: 16068966 bytes\n"
    (tmp_path / "train_8.log").write_text(f"{lines}debug_run val_loss:2.13186 val_bpb:1.26340000\n")
    listed = ', "seed_results": {"8": {"artifact_bytes": 15994000}}, "bytes_mean": '
    assert len(_network_alone(tmp_path, json_more=f"{listed}15992000")) == 1
    assert _network_alone(tmp_path, json_more=f"{listed}15995000") == []  # what it has with another code, may be


@pytest.mark.parametrize(
    "more",
    [
        {"script": 10_000},  # as the script lies, it is within
        {"json_more": ', "bytes_code": 9000, "bytes_all": 15999000'},
        {"README__md": "With the code as it is sent in: 15,999,321 bytes."},
        {"README__md": "The script is minified before it is counted."},
        {"README__md": "LZMA-compressed code counts."},
        {"NOTES__md": "# Notes\n\nIt scores 1.2034. The script is minified before it is counted."},
        {"json_more": ', "note": "code packed with lzma, as all do"'},
        {"unpack__py": "import lzma\nexec(lzma.decompress(open('x', 'rb').read()))\n"},
    ],
    ids=[
        "small",
        "another total",
        "another in prose",
        "minified",
        "compressed",
        "in notes",
        "said in JSON",
        "a script unpacks",
    ],
)
def test_code_that_may_be_packed_when_it_is_counted(tmp_path: Path, more: dict[str, Any]) -> None:
    assert _network_alone(tmp_path, **more) == []


UNPACKS = "import lzma, base64\nexec(lzma.decompress(base64.b85decode({payload!r})))\n"


@pytest.mark.parametrize(
    ("network", "counted", "severity", "said"),
    [
        (15_990_000, 74_966, "info", "16,064,966 bytes for the artifact, which is over the cap of 16,000,000; 74,966"),
        (16_010_000, 74_966, "warning", "by train.log 16,084,966 (line 3; 16,010,"),
        (15_990_000, 60_000, "warning", "by train.log 16,064,966 (line 3)"),  # what it counts besides, nothing says
    ],
)
def test_code_that_a_log_counts_unpacked(tmp_path: Path, network: int, counted: int, severity: str, said: str) -> None:
    source = "\n".join(f"x{number} = {number}" for number in range(300))
    payload = base64.b85encode(lzma.compress(source.encode()))
    (tmp_path / "train_gpt.py").write_text(UNPACKS.format(payload=payload.decode()))
    size = (tmp_path / "train_gpt.py").stat().st_size
    lines = f"Code size: {counted} bytes\nSerialized model int8+zlib: {network} bytes\n"
    lines += f"Total submission size int8+zlib: {network + 74_966} bytes\n"
    (tmp_path / "train.log").write_text(f"{lines}final val_loss:2.03186 val_bpb:1.20340000\n")
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": 1.2034}))
    (found,) = audit(tmp_path, rules="parameter-golf").with_code("BPB501")
    assert found.severity == severity
    assert said in found.message
    assert severity == "warning" or found.message.endswith(f"has {size:,}: with that it is {network + size:,}")
    (tmp_path / "other.py").write_text(UNPACKS.format(payload=payload.decode()))
    (found,) = audit(tmp_path, rules="parameter-golf").with_code("BPB501")
    assert found.severity == "warning"  # nothing says which of two scripts is counted


def _of_packings(folder: Path, lines: str = "", **sizes: int) -> list[Finding]:
    text = f"{lines}Total submission size int8+zlib: 42950518 bytes\nfinal val_loss:2.03186 val_bpb:1.20340000\n"
    (folder / "train.log").write_text(text)
    (folder / "submission.json").write_text(json.dumps({"val_bpb": 1.2034, **sizes}))
    return audit(folder, rules="parameter-golf").with_code("BPB501")


PACKINGS = {"bytes_ternary_plus_code": 12_270_709, "bytes_int8_zlib_plus_code": 42_950_518}


def test_a_log_that_tells_one_of_several_packings_need_not_tell_the_artifact(tmp_path: Path) -> None:
    (found,) = _of_packings(tmp_path, **PACKINGS)
    assert found.severity == "info"
    assert found.message == (
        "a log tells a packing of 42,950,518 bytes (train.log:1), over the cap of 16,000,000; submission.json gives "
        "sizes of others, within it: 12,270,709 (bytes_ternary_plus_code); no log of the claim prints any of these"
    )
    (found,) = _of_packings(tmp_path, "ternary: 12270709 bytes\n", **PACKINGS)
    assert found.message.endswith("within it: 12,270,709 (bytes_ternary_plus_code)")


@pytest.mark.parametrize(
    "sizes",
    [
        {"bytes_ternary_plus_code": 12_270_709},  # the log's is none of the record's
        {**PACKINGS, "bytes_ternary_plus_code": 16_270_709},
        {**PACKINGS, "bytes_total": 42_950_518},  # which is the submitted one's
        {"bytes_ternary": 12_270_709, "bytes_int8_zlib_plus_code": 42_950_518},  # without its code
    ],
)
def test_the_size_that_a_log_tells_is_the_artifacts_where_no_other_packing_fits(
    tmp_path: Path, sizes: dict[str, int]
) -> None:
    (found,) = _of_packings(tmp_path, **sizes)
    assert (found.severity, found.message[:37]) == ("warning", "the artifact is over the cap of 16,00")


def _packed_codes(folder: Path, lines: str, stated: int = 15_162_375) -> list[Finding]:
    (folder / "train.log").write_text(f"{lines}final val_loss:2.03186 val_bpb:1.20340000\n")
    (folder / "submission.json").write_text(json.dumps({"val_bpb": 1.2034, "bytes_total": stated}))
    report = audit(folder, rules="parameter-golf")
    assert report.verdict == "consistent"  # a rule of the contest says nothing of the number
    return report.with_code("BPB501")


OVER = "Serialized model int8+zlib: 21410856 bytes\nSerialized model int6+zstd: 17482082 bytes (payload:23486756)\n"


def test_a_packed_network_that_is_over_the_cap_by_itself(tmp_path: Path) -> None:
    (found,) = _packed_codes(tmp_path, OVER)
    assert found.message == (
        "the packed network alone is over the cap of 16,000,000 bytes, by its log: 17,482,082 (train.log:2); no log of "
        "the claim prints 15,162,375, of submission.json (bytes_total)"
    )
    (found,) = _packed_codes(tmp_path, OVER, stated=17_482)
    assert "prints 17,482, of" in found.message


@pytest.mark.parametrize(
    "lines",
    [
        f"{OVER}storage_pass quant_bytes=15826872\n",
        f"{OVER}pruned: 15,826,872 bytes\n",
        f"{OVER}Serialized model int5+zstd: 14482082 bytes\n",
        OVER.replace("17482082", "15999999"),  # with its code it may be over
        "Serialized model: 67235929 bytes\nTotal submission size: 67285929 bytes\n",  # not packed
        "Compressed artifact: 16.01 MB\n",
        "Total submission size int6+zstd: 16182082 bytes\n",
        "Serialized teacher int8+zlib: 40224983 bytes\n",
        "Compressed checkpoint zstd: 52224983 bytes\n",
        f"{OVER}part 1 of the artifact: 7,815,847\npart 2 of the artifact: 8,000,000\n",
    ],
    ids=[
        *("packed again", "pruned", "in another way", "below", "not packed", "megabytes", "with its code"),
        *("a teacher", "a checkpoint", "in parts"),
    ],
)
def test_a_packed_network_that_may_be_below_the_cap(tmp_path: Path, lines: str) -> None:
    assert _packed_codes(tmp_path, lines) == []


def _run(nats: float, packed: int, seed: int = 7) -> str:
    """A run that packs its network before it scores it."""
    size = f"Serialized model int8+zlib: {packed} bytes\nTotal submission size int8+zlib: {packed + 50_000} bytes\n"
    lines = log(nats, SP1024, seed=seed).split("\n")
    final = next(number for number, line in enumerate(lines) if line.startswith("final"))
    return "\n".join([*lines[1:final], size + lines[final], *lines[final + 1 :]])


@pytest.mark.parametrize(
    ("nats", "is_over"), [(2.0312, True), (2.0333, False)], ids=["of the first run", "of the second run"]
)
def test_the_size_is_that_of_the_run_whose_score_is_claimed(tmp_path: Path, nats: float, is_over: bool) -> None:
    (tmp_path / "train.log").write_text(_run(2.0312, 16_100_000) + _run(2.0333, 15_900_000))
    score = round(bpb(nats, SP1024), 8)
    said = "the packed network alone is over the cap of 16,000,000 bytes, by its log: 16,100,000 (train.log:7)"
    said += "; no log of the claim prints 15,950,001, of submission.json (bytes_total)"
    for stated in ({"bytes_total": 15_950_001}, {}):
        (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": score, **stated}))
        found = [each.message for each in audit(tmp_path, rules="parameter-golf").with_code("BPB501")]
        if stated:
            assert found == [said] * is_over
        else:
            assert [message.endswith(": by train.log 16,150,000 (line 8)") for message in found] == [True] * is_over


@pytest.mark.parametrize(
    ("behind", "is_over"), [("ttt:start chunks=12", True), ("GPTQ: collecting Hessians", False), ("pruned 3 %", False)]
)
def test_a_run_that_packs_its_network_once_more_has_another_size(tmp_path: Path, behind: str, is_over: bool) -> None:
    (tmp_path / "train.log").write_text(_run(2.0312, 16_100_000).replace("final_", f"{behind}\nfinal_", 1))
    score = round(bpb(2.0312, SP1024), 8)
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": score, "bytes_total": 15_900_000}))
    assert ("BPB501" in _codes(audit(tmp_path, rules="parameter-golf"))) is is_over
    (tmp_path / "repacked.log").write_text(f"repacked: 15900000 bytes\nfinal_exact val_bpb:{score:.8f}\n")
    assert "BPB501" not in _codes(audit(tmp_path, rules="parameter-golf"))


def test_the_packed_network_of_each_seed_is_looked_at(tmp_path: Path) -> None:
    for seed, nats, size in ((1, 2.0312, 15_900_000), (2, 2.0333, 16_100_000)):
        (tmp_path / f"seed{seed}.log").write_text(_run(nats, size, seed))
    mean = round((bpb(2.0312, SP1024) + bpb(2.0333, SP1024)) / 2, 8)
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": mean, "bytes_total": 15_950_000}))
    (found,) = audit(tmp_path, rules="parameter-golf").with_code("BPB501")
    assert "by its log: 16,100,000 (seed2.log:7)" in found.message


def test_a_packed_network_is_named_where_nothing_gives_the_whole_artifact(tmp_path: Path) -> None:
    lines = "\n".join(line for line in log(2.0312, SP1024).split("\n") if "submission size" not in line)
    packed = "serialized_model_int8_zlib:10610003 bytes (payload:17178912 payload_ratio:3.91x)"
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": bpb(2.0312, SP1024), "track": "non_record_16mb"}))
    for text, said in (
        (lines, "no artifact size is recognised in what was read; the cap"),
        (f"{packed}\n{lines}", "read; a network is packed into 10,610,003 bytes (train.log:1); the cap"),
    ):
        (tmp_path / "train.log").write_text(text)
        (found,) = audit(tmp_path).with_code("BPB502")
        assert said in found.message
    (tmp_path / "train.log").write_text(f"{packed}\nTotal submission size int8+zlib: 10660003 bytes\n{lines}")
    assert audit(tmp_path).with_code("BPB502") == []
