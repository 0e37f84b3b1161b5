"""From findings to a verdict: what refutes, what confirms, what is missing, which reason is first, what is right."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any, ClassVar

import pytest

from bpb_harness.auditing import Recomputed, Verdict
from bpb_harness.auditing.evidence import Evidence, gather
from bpb_harness.auditing.learnt import TRAINED_AGAIN, WITHOUT_FIT, WITHOUT_MIXING
from bpb_harness.auditing.script import codes as script_codes
from bpb_harness.auditing.settling import SCORED_AGAIN, settling
from bpb_harness.auditing.verdict import judge, reconcile
from bpb_harness.claim import Claim, Printed, Source
from bpb_harness.findings import CODES, Finding, Severity
from tests.golf_rules import GOLF

HERE = Source("f.json", key="val_bpb")
SCORE = Printed(1.2, 4, HERE, "val_bpb")
LOSS = Printed(2.0, 4, HERE, "val_loss")
RIGHT = {"bytes_per_token": 2.43594, "expected": 2.43593, "uncertainty": 1e-6}
TO_SCORE_ANEW = f"instead of all that: {SCORED_AGAIN}"
A_LOG = "a log that prints the claimed score"
PAIR = {"implied_ratio": 2.4, "expected_ratio": 2.5, "num_steps": 32}
OF_ALL = "what the mistake does to the bytes of the whole text"
BYTES = "bytes per token: a loss in nats per token beside the score, or the script that counted"


def _of(**changes: Any) -> Evidence:
    return gather(Claim(**({"name": "x", "score": SCORE, "claimed_in": "submission"} | changes)), GOLF)


def _found(code: str, message: str = "", factor: float | None = None, **evidence: Any) -> Finding:
    return CODES[code].finding(message or f"{code} it is", factor=factor, **evidence)


def _again(score: float = 1.3) -> Recomputed:
    return Recomputed(score, 0.0, None, "=", "bpb|seed:0")


# Those of scripts enter the registry with their module.
assert script_codes
REFUTING = sorted(rule.code for rule in CODES.values() if rule.severity is Severity.REFUTES and int(rule.code[3]) < 6)
WARNING = sorted(rule.code for rule in CODES.values() if rule.severity is Severity.WARNS)


@pytest.mark.parametrize("code", REFUTING)
def test_whatever_refutes_refutes_a_number_whatever_speaks_for_it(code: str) -> None:
    support = [_found("BPB101"), _found("BPB401"), _found("BPB402")]
    judged = judge(_of(), [*support, _found(code)], None)
    assert (judged.verdict, judged.reason, judged.rests_on) == (Verdict.REFUTED, f"{code} it is", (code,))
    assert judged.missing[0].startswith("the evaluation run again, with")
    assert judged.missing[1:] == (f"instead of that: {SCORED_AGAIN}",)
    without = judge(_of(score=None), [_found(code)], None)  # nothing is claimed that could be refuted
    assert without.verdict is Verdict.UNVERIFIABLE


@pytest.mark.parametrize("code", WARNING)
def test_whatever_warns_of_the_number_holds_a_confirmation_back(code: str) -> None:
    judged = judge(_of(), [_found("BPB101"), _found("BPB401"), _found(code)], None)
    concerns_the_entry = code.startswith("BPB5")
    assert judged.verdict is (Verdict.CONSISTENT if concerns_the_entry else Verdict.UNVERIFIABLE)
    if not concerns_the_entry:
        assert judged.reason == f"{code} it is"


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (["BPB401", "BPB101"], "consistent"),
        (["BPB411", "BPB101"], "consistent"),
        (["BPB412", "BPB101"], "consistent"),
        (["BPB401", "BPB206", "BPB110"], "consistent"),
        (["BPB401", "BPB206"], "unverifiable"),
        (["BPB401", "BPB110"], "unverifiable"),
        (["BPB401", "BPB111"], "unverifiable"),
        (["BPB101", "BPB110", "BPB206"], "unverifiable"),
        (["BPB601"], "confirmed"),
        (["BPB601", "BPB402"], "confirmed"),
        ([], "unverifiable"),
    ],
)
def test_a_number_and_its_bytes_must_both_be_supported(found: list[str], verdict: str) -> None:
    evidence = {
        "how": "line", "num_seeds": 3, "seeds_in_logs": "one seed", "logged": 1.1, "full_split": True,
        "implied_ratio": 2.4, "expected_ratio": 2.5, "num_steps": 32,
    }  # fmt: skip
    assert judge(_of(), [_found(code, **evidence) for code in found], None).verdict == verdict


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (
            {"BPB401": {"how": "line"}, "BPB101": {}},
            "the log prints the score, and the record divides by the right number of bytes",
        ),
        (
            {"BPB401": {"how": "mean"}, "BPB101": {}, "BPB110": {}},
            "the score is the mean of what its logs print, and the record divides by the right number of bytes",
        ),
        (
            {"BPB412": {}, "BPB101": {}},
            "the log's loss, divided by the right number of bytes, is the score, and the record divides by the right "
            "number of bytes",
        ),
        (
            {
                "BPB411": {"num_seeds": 3, "seeds_in_logs": "one seed", "logged": 1.1, "full_split": True},
                "BPB101": {},
            },
            "the score is the mean of its own 3 seed results, which no log prints; the log of one seed shows the "
            "full-split value 1.10000, and the record divides by the right number of bytes",
        ),
        (
            {
                "BPB411": {"num_seeds": 2, "seeds_in_logs": "2 seeds", "logged": 1.1, "full_split": False},
                "BPB101": {},
            },
            "the score is the mean of its own 2 seed results, which no log prints; the log of 2 seeds shows another "
            "score of that run, 1.10000, and the record divides by the right number of bytes",
        ),
        (
            {"BPB401": {"how": "line"}, "BPB110": {}, "BPB206": PAIR},
            "the log prints the score, and loads the whole split; that it scored all of it, it does not say. Loss and "
            "score are not one quantity over the whole split (loss / ln 2 / score is 2.400, not its 2.500 bytes per "
            "token): either they are two estimates, as their names say, the score one of a bound of T = 32 steps, with "
            "which their gap is compatible, or a part of the split was scored (BPB206)",
        ),
    ],
)
def test_what_agrees_is_said_and_that_nobody_else_computed_it(found: dict[str, dict[str, Any]], reason: str) -> None:
    judged = judge(_of(), [_found(code, **evidence) for code, evidence in found.items()], None)
    assert judged.reason == f"{reason}; only its author has computed the score"
    assert (judged.verdict, judged.corrected_bpb, judged.corrected_from) == (Verdict.CONSISTENT, None, None)
    assert judged.missing[-1].removeprefix("instead of that: ").startswith(SCORED_AGAIN)
    printed = [item.startswith("a log that prints how many tokens were scored") for item in judged.missing[:-1]]
    assert printed == [True] * ("BPB206" in found)  # what only has to be printed comes first
    assert judged.rests_on == tuple(sorted(found))


def test_a_correction_below_all_that_is_known_is_none() -> None:
    """A factor that brings a claim there was worked out with another tokenizer than its own."""
    fault = _found("BPB103", factor=0.8)
    of_known, of_unknown = (_of(score=Printed(1.2, 4, HERE, "val_bpb"), dataset=name) for name in ("fineweb_val", "x"))
    judged = judge(of_known, [fault], None)
    assert judged.verdict is Verdict.REFUTED
    assert judged.corrected_bpb is None
    assert "under which none is known to be sound" in (judged.corrected_from or "")
    assert "0.96" not in (judged.corrected_from or "")
    assert judge(of_unknown, [fault], None).corrected_bpb == pytest.approx(0.96)
    assert judge(of_known, [_found("BPB103", factor=0.9)], None).corrected_bpb == pytest.approx(1.08)
    again = judge(of_known, [_found("BPB602")], _again(0.7))  # what the harness got stands as it is
    assert again.corrected_bpb == 0.7


def test_a_score_doubted_for_being_low_is_not_corrected_downwards() -> None:
    """Bytes that bring it lower still are of another tokenizer than its own; upwards they say what is left."""
    of_known = _of(dataset="fineweb_val")
    for doubt in ("BPB213", "BPB215", "BPB272", "BPB273", "BPB414"):
        low = judge(of_known, [_found("BPB103", factor=0.95), _found(doubt)], None)
        assert (low.verdict, low.corrected_bpb) == (Verdict.REFUTED, None)
        assert f"lower a score that is doubted already for being too low, by {doubt} (" in (low.corrected_from or "")
        assert "1.14" not in (low.corrected_from or "")
        high = judge(of_known, [_found("BPB103", factor=1.2), _found(doubt)], None)
        assert high.corrected_bpb == pytest.approx(1.44)
    assert judge(of_known, [_found("BPB103", factor=0.95), _found("BPB304")], None).corrected_bpb == pytest.approx(1.14)


def test_a_record_by_itself_is_never_confirmed() -> None:
    """Whatever supports it: only a rescoring or a proof is somebody else's computation."""
    supporting = [code for code in CODES if CODES[code].severity is Severity.CONFIRMS]
    known = {"how": "line", "num_seeds": 3, "seeds_in_logs": "one seed", "logged": 1.1, "full_split": True}
    known |= {"implied_ratio": 2.4, "expected_ratio": 2.5, "num_steps": 32}
    for count in range(len(supporting) + 1):
        for found in combinations(supporting, count):
            judged = judge(_of(), [_found(code, **known) for code in found], None)
            others = {"BPB601", "BPB604"}.intersection(found)
            assert (judged.verdict is Verdict.CONFIRMED) == bool(others), found


@pytest.mark.parametrize(
    ("evidence", "found", "recomputed", "missing"),
    [
        ({}, {}, None, (A_LOG, BYTES, TO_SCORE_ANEW)),
        ({}, {}, _again(), (A_LOG, BYTES)),
        ({"nats_per_token": LOSS}, {}, None, (A_LOG, TO_SCORE_ANEW)),
        ({}, {"BPB401": {}}, None, (BYTES, TO_SCORE_ANEW)),
        ({}, {"BPB101": {}}, None, (A_LOG, TO_SCORE_ANEW)),
        (
            {"nats_per_token": LOSS},
            {"BPB206": {}, "BPB401": {}},
            None,
            (
                "a log that prints how many tokens were scored, by how many bytes their bits were divided, and the "
                "loss and the T-step bound over the same tokens",
                TO_SCORE_ANEW,
            ),
        ),
        (
            {},
            {"BPB101": {}, "BPB401": {}, "BPB902": {}},
            None,
            (SCORED_AGAIN,),
        ),
        ({}, {"BPB402": {"missing": "a log of it"}, "BPB101": {}}, _again(), ("a log of it",)),  # and no second log
        ({}, {"BPB402": {}, "BPB101": {}}, _again(), (A_LOG,)),
        ({}, {"BPB106": {"missing": "its loss"}, "BPB401": {}}, None, ("its loss", TO_SCORE_ANEW)),
        ({}, {"BPB402": {"missing": A_LOG}, "BPB101": {"missing": A_LOG}}, _again(), (A_LOG,)),
        ({"score": None}, {"BPB409": {"missing": "a score"}}, None, ("a score",)),
    ],
)
def test_what_is_missing(
    evidence: dict[str, Any], found: dict[str, dict[str, Any]], recomputed: Recomputed | None, missing: tuple[str, ...]
) -> None:
    judged = judge(_of(**evidence), [_found(code, **facts) for code, facts in found.items()], recomputed)
    assert (judged.verdict, judged.missing) == (Verdict.UNVERIFIABLE, missing)
    assert (judged.corrected_bpb, judged.corrected_from) == (None, None)


@pytest.mark.parametrize("code", ["BPB267", "BPB274", "BPB275"])
@pytest.mark.parametrize("low", [("BPB414",), ("BPB414", "BPB420")])
def test_what_is_mixed_into_a_score_leaves_the_networks_own(code: str, low: tuple[str, ...]) -> None:
    refuting = [replace(_found(code), severity=Severity.REFUTES)]
    doubts = [_found(each) for each in low]
    run, instead = settling(refuting, [*refuting, *doubts], [], of_part=False, is_recomputed=False)
    assert run == "the evaluation run again, with probabilities that add up to 1 over all tokens"
    assert instead == f"instead of that: {WITHOUT_MIXING}"


def test_of_a_mixture_and_a_text_that_may_be_learnt_both_are_mended() -> None:
    refuting = [replace(_found("BPB267"), severity=Severity.REFUTES)]
    findings = [*refuting, _found("BPB215"), _found("BPB414")]
    run, instead = settling(refuting, findings, [], of_part=False, is_recomputed=False)
    assert run.endswith("add up to 1 over all tokens and with each part scored before it is learnt")
    assert instead == f"instead of that: {TRAINED_AGAIN}"


LEARNING = [("BPB213", {"learnt": True}), *((code, {}) for code in ("BPB215", "BPB272", "BPB273", "BPB414", "BPB420"))]


_BEHIND = ("BPB273", {"fitted_in_scoring": True, "log": "a.log", "packed_at": 9})


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ((), WITHOUT_FIT),
        ((("BPB420", {}), ("BPB213", {"learnt": True, "fitted_in_scoring": True})), WITHOUT_FIT),
        ((("BPB213", {"learnt": True}),), TRAINED_AGAIN),
        ((("BPB215", {}),), TRAINED_AGAIN),
        ((("BPB273", {}),), TRAINED_AGAIN),
        # Passes that the log shows are those behind the packing, or others.
        ((_BEHIND, ("BPB215", {"place": "a.log:12"})), WITHOUT_FIT),
        ((_BEHIND, ("BPB215", {"place": "a.log:8"})), TRAINED_AGAIN),
        ((_BEHIND, ("BPB215", {"place": "b.log:12"})), TRAINED_AGAIN),
    ],
)
def test_what_a_scoring_fits_leaves_the_packed_network_as_it_was(
    others: tuple[tuple[str, dict[str, Any]], ...], expected: str
) -> None:
    found = [_found("BPB272", fitted_in_scoring=True), *(_found(code, **says) for code, says in others)]
    doubted = judge(_of(), [_found("BPB101"), _found("BPB401"), *found], None)
    assert doubted.missing[-1] == f"instead of all that: {expected}"
    refuting = [CODES["BPB272"].finding("last", severity=Severity.REFUTES, facts={"fitted_in_scoring": True})]
    (_, instead) = settling(refuting, [*refuting, *found], [], of_part=False, is_recomputed=False)
    assert instead == f"instead of that: {expected}"


@pytest.mark.parametrize(("code", "says"), LEARNING)
def test_no_rescoring_and_no_proof_lifts_that_the_text_was_learnt(code: str, says: dict[str, Any]) -> None:
    """The number is that of those weights; what they have seen is as open as before."""
    doubt = _found(code, **says, missing="a reading of the script")
    again = judge(_of(), reconcile([_found("BPB601"), _found("BPB402", missing=A_LOG), doubt]), _again())
    proved = judge(_of(), reconcile([_found("BPB604"), doubt]), None)
    alone = judge(_of(), [_found("BPB101"), _found("BPB401"), doubt], None)
    assert again.reason.startswith("the score was computed a second time, and is right for these weights; whether")
    assert (again.rests_on, A_LOG in again.missing) == ((code, "BPB601"), False)
    for judged in (again, proved, alone):
        assert judged.verdict is Verdict.UNVERIFIABLE
        assert judged.missing[0] == "a reading of the script"
        assert judged.missing[-1] == f"instead of all that: {TRAINED_AGAIN}"
        assert not any("--checkpoint" in item or "--proof" in item for item in judged.missing)
    is_at_the_end = code in ("BPB215", "BPB414")
    assert [item.startswith("as the claim, the score of the network from before") for item in again.missing[1:-1]] == (
        [True] * is_at_the_end
    )
    other = judge(_of(), [_found("BPB601"), _found("BPB213"), _found("BPB267")], _again())
    assert other.verdict is Verdict.CONFIRMED  # the harness has scored without that fault


def test_a_rescoring_does_not_lift_that_a_script_learns_a_text_that_scores_so_low() -> None:
    findings = [_found("BPB272"), _found("BPB414"), _found("BPB601")]
    assert judge(_of(), reconcile(findings), _again()).verdict is Verdict.REFUTED


def test_the_weightiest_doubt_is_the_reason() -> None:
    order = [
        *("BPB409", "BPB603", "BPB414", "BPB213", "BPB212", "BPB208", "BPB210", "BPB108", "BPB107", "BPB301"),
        *("BPB302", "BPB402", "BPB403", "BPB104", "BPB906"),
    ]
    for stronger, weaker in pairwise(order):
        doubts = [replace(_found(code), severity=Severity.WARNS) for code in (weaker, stronger)]
        assert judge(_of(), doubts, None).reason == f"{stronger} it is"
        assert judge(_of(), doubts[::-1], None).reason == f"{stronger} it is"
    nothing = judge(_of(), [_found("BPB304")], None)
    assert nothing.reason == "nothing speaks against the number, and not enough for it"


@pytest.mark.parametrize(
    ("code", "comes_first"),
    [("BPB250", True), ("BPB267", True), ("BPB253", False), ("BPB258", False), ("BPB207", False)],
)
def test_a_fault_of_a_scripts_estimator_comes_before_a_missing_log(code: str, comes_first: bool) -> None:
    doubts = [_found("BPB402"), replace(_found(code), severity=Severity.WARNS)]
    assert judge(_of(), doubts, None).reason == f"{code if comes_first else 'BPB402'} it is"


class TestReconcile:
    def test_a_reproduced_score_outweighs_what_refutes(self) -> None:
        refuting, warning = _found("BPB102", factor=1.1, bug="x"), _found("BPB402")
        same = _found("BPB601")
        assert reconcile([refuting, warning]) == [refuting, warning]
        demoted = _found("BPB102", "BPB102 it is (the harness gets the claimed score all the same)", bug="x")
        assert reconcile([refuting, warning, same]) == [replace(demoted, severity=Severity.WARNS), warning, same]

    @pytest.mark.parametrize("code", ["BPB150", "BPB151", "BPB155"])
    def test_a_log_outweighs_the_bytes_of_a_script(self, code: str) -> None:
        finding = replace(_found(code, factor=1.1), severity=Severity.REFUTES)
        said = (
            "the record divides by the right number all the same, so this script, as it was followed here, is not "
            "what made the score"
        )
        demoted = replace(finding, severity=Severity.WARNS, message=f"{code} it is ({said})", factor=None)
        assert reconcile([finding]) == [finding]
        ended = replace(finding, message=f"{finding.message}.")  # sentences of scripts' findings have their full stop
        assert reconcile([ended, _found("BPB101")]) == [demoted, _found("BPB101")]
        assert reconcile([finding, _found("BPB101")]) == [demoted, _found("BPB101")]
        mild = replace(finding, severity=Severity.WARNS)
        assert reconcile([mild, _found("BPB101")])[0] == mild

    @pytest.mark.parametrize(
        ("code", "said", "left"),
        [
            ("BPB151", "It counts 5 bytes; so the score is too low (too good) (a.py:9).", "It counts 5 bytes (a.py:9)"),
            ("BPB153", "It counts 3 bytes; so the score is too high (a.py:9).", "It counts 3 bytes (a.py:9)"),
            (
                "BPB154",
                "It counts 6, which makes the score too low (too good): by how much, depends on the text (a.py:9).",
                "It counts 6 (a.py:9)",
            ),
            (
                "BPB154",
                "Another count has 6: the score is too low (too good) (a.py:9).",
                "Another count has 6 (a.py:9)",
            ),
        ],
    )
    def test_a_byte_table_that_the_claims_own_ratio_contradicts_is_a_remark(
        self, code: str, said: str, left: str
    ) -> None:
        finding = replace(_found(code, said, factor=1.1), severity=Severity.REFUTES)
        right = replace(_found("BPB101", inferred=False, places=["log:3"]), severity=Severity.CONFIRMS)
        (remark, *_) = reconcile([finding, right], _of())
        assert (remark.severity, remark.factor) == (Severity.INFORMS, None)
        assert remark.message == (
            f"{left}. The claimed score was not divided by that: its own loss and score (log:3) give the right bytes "
            "per token, so the script, as it was followed here, is not what made it"
        )

    @pytest.mark.parametrize(
        ("code", "right"),
        [
            ("BPB151", replace(_found("BPB101", inferred=True), severity=Severity.CONFIRMS)),  # by the ratio alone
            ("BPB151", replace(_found("BPB101", inferred=False), severity=Severity.INFORMS)),  # nearly right
            ("BPB161", replace(_found("BPB101", inferred=False), severity=Severity.CONFIRMS)),
        ],
    )
    def test_it_is_a_doubt_where_that_is_less_sure(self, code: str, right: Finding) -> None:
        finding = replace(_found(code, factor=1.1), severity=Severity.REFUTES)
        assert reconcile([finding, right], _of())[0].severity is Severity.WARNS

    @pytest.mark.parametrize(("factor", "is_left"), [(1.01, True), (1.2, False), (None, False)])
    def test_a_factor_that_lifts_no_score_over_all_known_leaves_the_doubt(
        self, factor: float | None, is_left: bool
    ) -> None:
        low = _found("BPB420", lowest=_of().claim.score.value * 1.1)  # type: ignore[union-attr]
        refuting = replace(_found("BPB154", factor=factor), severity=Severity.REFUTES)
        assert (low in reconcile([refuting, low], _of())) is is_left

    @pytest.mark.parametrize(
        ("other", "said"),
        [
            (_found("BPB104"), "that does not make the number right that the score was divided by (BPB104)"),
            (_found("BPB154", is_second_count=True), "the claimed score is divided by another count: BPB154"),
            (_found("BPB101"), None),
        ],
    )
    def test_a_right_table_makes_no_number_right_that_is_off(self, other: Finding, said: str | None) -> None:
        head = "The script's byte count, followed for four tokens without running it, is right: 4 bytes (a.py:1)."
        (table, *_) = reconcile([_found("BPB162", head), other])
        right = "A byte table of the script, followed for four tokens without running it, counts by the rule: 4 bytes"
        assert table.message == (head if said is None else f"{right} (a.py:1); {said}")

    @pytest.mark.parametrize("code", ["BPB267", "BPB274", "BPB275"])
    def test_a_script_that_did_not_write_the_log_voids_nothing(self, code: str) -> None:
        hashed = _found(code, better_of_two=True, is_of_claimed_line=True, of_another_version=True)
        assert hashed in reconcile([_found("BPB414"), hashed])

    @pytest.mark.parametrize("code", ["BPB267", "BPB272", "BPB273", "BPB274", "BPB275"])
    @pytest.mark.parametrize("wonder", ["BPB414", "BPB420"])
    def test_a_script_that_makes_scores_too_low_and_one_that_is_refute_it(self, wonder: str, code: str) -> None:
        hashed = _found(code, better_of_two=True, is_of_claimed_line=True)
        assert reconcile([hashed]) == [hashed]
        assert reconcile([hashed, _found("BPB403")])[0] == hashed
        voided = reconcile([_found(wonder), hashed])
        (found,) = (each for each in voided if each.code == code)
        assert found.severity is Severity.REFUTES
        low = {
            "BPB414": "far below what the network itself scores in the same run",
            "BPB420": "below every score that is known to stand on that text",
        }
        assert f"And the score is low: {low[wonder]} ({wonder})" in found.message
        assert wonder in {each.code for each in voided}  # what the message names is shown
        judged = judge(_of(), voided, None)
        assert (judged.verdict, judged.corrected_bpb) == (Verdict.REFUTED, None)

    @pytest.mark.parametrize("code", ["BPB267", "BPB274", "BPB275"])
    def test_what_averaging_may_have_gained_does_not_refute_a_mixture(self, code: str) -> None:
        """A step of training is scored as it stands: not averaged, not packed, and with no sliding window."""
        mixed = _found(code, better_of_two=True, is_of_claimed_line=True)
        of_a_step = _found("BPB414", may_be_averaging=True)
        assert mixed in reconcile([of_a_step, mixed])
        (found,) = (each for each in reconcile([of_a_step, mixed, _found("BPB420")]) if each.code == code)
        assert found.severity is Severity.REFUTES
        assert "BPB420" in found.message
        assert "BPB414" not in found.message

    def test_a_mixture_that_the_log_shows_is_refuted_beside_a_step_too(self) -> None:
        mixed = _found("BPB274", is_of_claimed_line=True, shown_by_its_log="train.log:9")
        (found,) = (e for e in reconcile([_found("BPB414", may_be_averaging=True), mixed]) if e.code == "BPB274")
        assert found.severity is Severity.REFUTES
        assert mixed in reconcile([_found("BPB101"), mixed])  # with nothing that is low

    @pytest.mark.parametrize("code", ["BPB272", "BPB273"])
    def test_text_that_a_script_learns_first_is_refuted_beside_a_step_too(self, code: str) -> None:
        learnt = _found(code, is_of_claimed_line=True)
        (found,) = (e for e in reconcile([_found("BPB414", may_be_averaging=True), learnt]) if e.code == code)
        assert found.severity is Severity.REFUTES

    def test_what_is_not_sure_of_a_mixture_or_of_passes_stays_a_doubt(self) -> None:
        """Under a bound prices may be of less than 1: what is taken from the others may have been likelier."""
        for found in (
            _found("BPB275", better_of_two=False, is_of_claimed_line=True),
            _found("BPB275", better_of_two=True, is_of_claimed_line=False),  # which line is claimed is not known
            _found("BPB274", is_of_claimed_line=False),
            _found("BPB273"),
            _found("BPB276"),
            _found("BPB272", passes_not_told=True),  # one pass would be in order
        ):
            assert found in reconcile([_found("BPB414"), found])

    def test_a_training_on_the_text_that_the_record_tells_of_refutes_a_score_below_all_that_stands(self) -> None:
        said = _found("BPB213", "it says so", learnt=True, trained_on_it_alone=True)
        (found,) = (each for each in reconcile([said, _found("BPB420")]) if each.code == "BPB213")
        assert found.severity is Severity.REFUTES
        assert found.message == (
            "it says so. And the score is low: below every score that is known to stand on that text (BPB420)"
        )
        judged = judge(_of(), reconcile([said, _found("BPB420")]), None)
        assert (judged.verdict, judged.corrected_bpb) == (Verdict.REFUTED, None)
        assert judged.missing[0] == "the evaluation run again, of a network that has not learnt the text"
        for others in (
            [said, _found("BPB414")],  # other things make a score lower than the network's own
            [said, _found("BPB101")],
            [_found("BPB213", learnt=True, trained_on_it_first=True), _found("BPB420")],  # at test time, it may be
            [_found("BPB213", learnt=True), _found("BPB420")],  # tokens that are stored, a vector that is fitted
            [_found("BPB215", epochs=3), _found("BPB420")],  # nothing says which text
        ):
            assert all(each.severity is not Severity.REFUTES for each in reconcile(others))

    @pytest.mark.parametrize("learnt", ["BPB272", "BPB213"])
    def test_that_a_part_alone_lies_below_scores_of_the_whole_text_is_said(self, learnt: str) -> None:
        voids = _found(learnt, is_of_claimed_line=True, learnt=True, trained_on_it_alone=True)
        part = _found("BPB301", scored_tokens=2_096_128)
        said = "Those are scores of the whole text, and a part of it was scored here: 2,096,128 tokens (BPB301)"
        for beside, is_said in (([part], True), ([], False)):
            (found,) = (e for e in reconcile([voids, _found("BPB420"), *beside], _of()) if e.code == learnt)
            assert found.severity is Severity.REFUTES
            assert (said in found.message) is is_said

    def test_of_a_part_nothing_is_said_where_it_is_low_beside_the_network_itself(self) -> None:
        part, hashed = _found("BPB301", scored_tokens=2_096_128), _found("BPB267")
        (found,) = (e for e in reconcile([hashed, _found("BPB414"), part], _of()) if e.code == "BPB267")
        assert found.severity is Severity.REFUTES
        assert "scores of the whole text" not in found.message

    def test_a_training_that_script_log_and_words_tell_of_is_no_doubt_for_another_size_of_the_script(self) -> None:
        shown = _found("BPB273", "it trains. This is a doubt, and no more: a size", shown_by_another_version="a.log:7")
        epochs, said = _found("BPB215", epochs=22), _found("BPB213", place="README.md:3", trained_on_it_first=True)
        (found,) = (each for each in reconcile([shown, epochs, said]) if each.code == "BPB273")
        assert found.severity is Severity.REFUTES
        assert found.message.startswith(
            "it trains. Another version of it ran, by the size that the log states, and did the same: a.log:7 is a "
            "line of this training, before the score, of one of 22 epochs, and README.md:3 says itself that it came"
        )
        for place, when in (
            ("a.log:9", "a.log:7 is a line of this training, before its 22 epochs and the score, and README.md:3"),
            ("a.log:7", "before the score, of one of 22 epochs, and"),
            ("b.log:9", "before the score, of one of 22 epochs, and"),
        ):
            at = _found("BPB215", epochs=22, place=place)
            (found,) = (each for each in reconcile([shown, at, said]) if each.code == "BPB273")
            assert when in found.message
        for two in (
            [shown, epochs],
            [shown, said],
            [_found("BPB273", "it trains"), epochs, said],  # more is open than the size
            [shown, epochs, _found("BPB213", learnt=True, fitted_in_scoring=True)],
            [shown, _found("BPB215", label="slot8steps"), said],
        ):
            assert all(each.severity is not Severity.REFUTES for each in reconcile(two))

    @pytest.mark.parametrize("code", ["BPB102", "BPB103", "BPB250"])
    def test_but_not_those_of_the_record_nor_the_estimator(self, code: str) -> None:
        finding = replace(_found(code), severity=Severity.REFUTES)
        assert reconcile([finding, _found("BPB101")])[0] == finding

    @pytest.mark.parametrize(
        ("right", "settled"),
        [
            (RIGHT, True),
            (RIGHT | {"bytes_per_token": 2.43597, "uncertainty": 2e-6}, True),
            (RIGHT | {"bytes_per_token": 2.43599}, False),
            (RIGHT | {"bytes_per_token": 2.43587}, False),
            (RIGHT | {"uncertainty": 2e-5}, False),
            (RIGHT | {"uncertainty": None}, False),
            (RIGHT | {"expected": None}, False),
            (RIGHT | {"bytes_per_token": None}, False),
            (RIGHT | {"scope": "prefix"}, False),
            (RIGHT | {"bytes_per_token": 1.0, "expected": 1.0}, False),  # tokens are bytes, in every part
            (RIGHT | {"bytes_per_token": 1.00003, "expected": 1.00003}, False),
            (RIGHT | {"scope": "full"}, True),
        ],
    )
    def test_five_digits_of_the_whole_split_leave_no_room_for_a_part(
        self, right: dict[str, Any], settled: bool
    ) -> None:
        subset = _found("BPB350")
        said = "BPB350 it is (the log divides by the whole split's number to five digits all the same)"
        expected = replace(subset, severity=Severity.INFORMS, message=said) if settled else subset
        assert reconcile([subset, _found("BPB101", **right)])[0] == expected
        assert reconcile([subset, _found("BPB104", **right)])[0] == subset
        assert reconcile([subset, _found("BPB104"), _found("BPB101", **right)])[0] == expected

    @pytest.mark.parametrize(
        ("beside", "settled"),
        [
            (_found("BPB303", full_split_at="train.log:9"), True),
            (_found("BPB303"), False),  # its author says so alone
            (_found("BPB301"), False),
            (_found("BPB401"), False),
        ],
    )
    def test_a_part_that_is_said_beside_the_whole_splits_score_is_no_doubt(
        self, beside: Finding, settled: bool
    ) -> None:
        subset = _found("BPB350")
        said = "BPB350 it is (the record says so, and a log prints the whole split's score too, at train.log:9)"
        expected = replace(subset, severity=Severity.INFORMS, message=said) if settled else subset
        assert reconcile([subset, beside])[0] == expected


class TestExplained:
    OFF: ClassVar[dict[str, Any]] = {"bytes_per_token": 2.6, "expected": 2.43593}

    @pytest.mark.parametrize(
        ("other", "is_explained"),
        [
            (_found("BPB150", constant=2.6, file="train.py", line=3), True),
            (_found("BPB151", factor=1.0673), True),
            (_found("BPB151", factor=1.0673 * 1.01), False),
            (_found("BPB150", constant=2.5), False),
            (_found("BPB151"), False),
            (_found("BPB250", factor=1.0673), False),  # no fault of the bytes
        ],
    )
    def test_a_ratio_that_another_finding_explains_is_no_open_doubt(self, other: Finding, is_explained: bool) -> None:
        off = _found("BPB104", "off; no known bug has this factor", **self.OFF)
        found, kept = reconcile([off, replace(other, severity=Severity.REFUTES)])
        assert kept.code == other.code
        assert (found.severity is Severity.INFORMS) == is_explained
        assert ("explains it" in found.message) == is_explained
        assert (f"{other.code}{' (train.py:3)' if 'file' in other.evidence else ''} explains it" in found.message) == (
            is_explained
        )
        doubted = reconcile([off, replace(other, severity=Severity.WARNS)])[0]
        assert (doubted.severity, "explains it" in doubted.message) == (Severity.WARNS, is_explained)

    @pytest.mark.parametrize(("score", "so_low"), [(1.2, ""), (1.1, ", below 1, under which no score of fineweb_val ")])
    def test_a_constant_is_held_against_one_number_alone(self, score: float, so_low: str) -> None:
        """The bytes that the vocabulary's size tells of, and not those of the nearest row of another tokenizer."""
        source = "fineweb_val (full) under sp4096, inferred from the vocabulary alone"
        constant = _found("BPB150", constant=2.6, expected=3.0, tokenizer=source, file="train.py", line=3)
        findings = [_found("BPB104", "off", **self.OFF), replace(constant, severity=Severity.WARNS)]
        found, _ = reconcile(findings, _of(score=replace(SCORE, value=score)))
        assert (found.severity, found.evidence["expected"]) == (Severity.WARNS, 3.0)
        assert "2.43593" not in found.message
        assert "which is a constant of the script by BPB150 (train.py:3)" in found.message
        assert f"the text may have 3.00000 ({source})" in found.message
        assert f"by which the score would be {score * 2.6 / 3.0:.4f}{so_low}" in found.message
        assert bool(so_low) == ("below" in found.message)
        unscored, _ = reconcile(findings, _of(score=None))
        assert "the score would be" not in unscored.message

    @pytest.mark.parametrize(("beside", "says"), [("BPB350", True), ("BPB304", False), ("BPB301", False)])
    def test_the_headline_uses_what_the_script_says_of_a_part(self, beside: str, says: bool) -> None:
        facts = self.OFF | {"bytes_per_token": 2.42, "may_be_of_a_part": True}
        off = _found("BPB104", "it is off; 9 MB", **facts)
        findings = reconcile([off, _found(beside, file="train.py", line=85)], _of())
        (reason,) = (finding.message for finding in findings if finding.code == "BPB104")
        assert judge(_of(), findings, None).reason == reason or beside == "BPB301"
        assert ("the record says neither" in reason) != says
        assert ("and the script scores one (BPB350, train.py:85)" in reason) == says
        assert reason.startswith("it is off; 9 MB; a part of the split")


class TestCorrected:
    def _judged(self, *findings: Finding, recomputed: Recomputed | None = None, **claim: Any) -> tuple[Any, str]:
        judged = judge(_of(**claim), findings, recomputed)
        assert judged.verdict is Verdict.REFUTED
        assert judged.corrected_from is not None
        return judged.corrected_bpb, judged.corrected_from

    def test_by_the_harness(self) -> None:
        found = (_found("BPB102", factor=1.1), _found("BPB602", factor=1.2))
        assert self._judged(*found, recomputed=_again()) == (1.3, "rescored by the harness: bpb|seed:0")
        value, how = self._judged(found[0], recomputed=_again())
        assert (value, how) == (pytest.approx(1.32), f"1.2000 x 1.10000 ({OF_ALL}: BPB102)")

    def test_by_the_numbers_of_bytes(self) -> None:
        facts = {"expected": 2.4, "tokenizer": "sp1024"}
        for counted, said in (
            ({"bytes_per_token": 2.64}, "2.64 / 2.4 bytes per token, sp1024: BPB102"),
            ({"constant": 4}, "4 / 2.4 bytes per token, sp1024: BPB102"),
            ({"bytes_per_token": 2.64, "bug": "twice"}, "2.64 / 2.4 bytes per token, sp1024: BPB102"),
        ):
            value, how = self._judged(_found("BPB102", factor=1.1, **facts, **counted))
            assert (value, how) == (pytest.approx(1.32), f"1.2000 x 1.10000 ({said})")

    def test_two_findings_of_the_denominator_are_one_fault(self) -> None:
        record, script = _found("BPB103", factor=1.1), replace(_found("BPB151", factor=1.5), severity=Severity.REFUTES)
        assert self._judged(script, record)[0] == pytest.approx(1.32)
        assert self._judged(script)[0] == pytest.approx(1.8)
        assert self._judged(script, script)[0] == pytest.approx(1.8)
        other = replace(_found("BPB150", factor=1.1), severity=Severity.REFUTES)
        said = "none: several faults of the byte count act together: BPB151, BPB150"
        assert self._judged(script, other) == (None, said)
        nothing = replace(_found("BPB152"), severity=Severity.REFUTES)
        said = f"none: BPB152 ({CODES['BPB152'].name}) gives no factor"
        assert self._judged(nothing) == self._judged(nothing, script) == (None, said)

    def test_by_what_the_log_says(self) -> None:
        logged = _found("BPB404", factor=1.25)
        assert self._judged(logged) == (pytest.approx(1.5), "1.2000 claimed, the log's own 1.50000")
        both = self._judged(logged, _found("BPB102", factor=1.1))
        assert both == (pytest.approx(1.65), f"1.2000 claimed, the log's own 1.50000 x 1.10000 ({OF_ALL}: BPB102)")

    def test_what_voids_a_number_leaves_none(self) -> None:
        void = _found("BPB203")
        named = "none: BPB203 (two-pass) gives no number in its place"
        assert self._judged(void) == (None, named)
        both = self._judged(void, _found("BPB102", factor=1.1))
        assert both == (None, named + "; the right number of bytes alone would make it 1.3200")

    def test_by_a_factor_of_another_kind(self) -> None:
        factor = replace(_found("BPB250", factor=2.0), severity=Severity.REFUTES)
        assert self._judged(factor) == (pytest.approx(2.4), "1.2000 x 2.00000 (BPB250)")
        both = self._judged(factor, _found("BPB102", factor=1.1))
        assert both == (pytest.approx(2.64), f"1.2000 x 1.10000 ({OF_ALL}: BPB102) x 2.00000 (BPB250)")

    @pytest.mark.parametrize("part", ["BPB301", "BPB302", "BPB350"])
    def test_of_a_part_both_ratios_are_given(self, part: str) -> None:
        known = {"tokenizer": "sp1024", "dataset": "fineweb_val"}
        value, how = self._judged(_found("BPB102", factor=1.1), _found(part), **known)
        assert value == pytest.approx(1.32)
        there = 1.32 * 151080891 / 62021846 / 2.40774
        assert how == (
            f"1.2000 x 1.10000 ({OF_ALL}: BPB102); that is by the whole text's bytes per token, of a part, how many "
            f"tokens of it, nothing tells ({part}); the only part whose bytes are known, the first 1,048,576 tokens of "
            f"the text, has 2.40774 bytes per token by the table of the rules: by those it is {there:.4f} for that part"
        )
        for without in ({"tokenizer": "sp8192"}, {"tokenizer": None}):
            told = self._judged(_found("BPB102", factor=1.1), _found(part), **known | without)[1]
            assert told.endswith(", whose own are not known")
        assert "part" not in self._judged(_found("BPB102", factor=1.1), **known)[1]
        logged = _found("BPB404", factor=1.25)
        assert "part" not in self._judged(logged, _found(part), **known)[1]

    def test_a_part_of_another_size_than_the_known_one_is_not_taken_for_it(self) -> None:
        known = {"tokenizer": "sp1024", "dataset": "fineweb_val"}
        for tokens, is_near in ((1_024_000, True), (1_048_576, True), (409_600, False), (2_000_000, False)):
            part = _found("BPB350", num_tokens=tokens, file="train.py", line=7)
            how = self._judged(_found("BPB102", factor=1.1), part, **known)[1]
            assert ("2.40774" in how) is is_near
            if is_near:
                assert "costs as much per token as the part that was scored (BPB350, train.py:7)" in how
                assert f"if it costs as much per byte, it is {1.32 * 151080891 / 62021846 / 2.40774:.4f}: the " in how
            else:
                assert how.endswith(
                    f"of a part, at most {tokens:,} tokens (BPB350, train.py:7), whose own are not known"
                )

    def test_without_a_log_a_scripts_fault_corrects_only_what_it_printed(self) -> None:
        script = replace(_found("BPB150", factor=1.1), severity=Severity.REFUTES)
        said = ", taken that the script printed the score, which no log shows"
        assert self._judged(script)[1].endswith(said)
        assert said not in self._judged(_found("BPB102", factor=1.1))[1]

    def test_what_was_settled_not_to_be_a_part_is_none(self) -> None:
        whole = replace(_found("BPB350", num_tokens=1_024_000), severity=Severity.INFORMS)
        assert "part" not in self._judged(_found("BPB102", factor=1.1), whole, tokenizer="sp1024")[1]


def test_exit_codes() -> None:
    assert {verdict.value: verdict.exit_code for verdict in Verdict} == {
        "confirmed": 0, "consistent": 0, "refuted": 1, "unverifiable": 3,
    }  # fmt: skip


def test_a_fault_that_hurts_its_author_is_named_behind_one_that_does_not() -> None:
    hurts, helps, voids = _found("BPB103", factor=0.9), _found("BPB150", factor=1.1), _found("BPB257")
    for findings, reason in (([hurts, voids], "BPB257"), ([hurts, helps], "BPB150"), ([hurts], "BPB103")):
        judged = judge(_of(), findings, None)
        assert (judged.verdict, judged.reason) == (Verdict.REFUTED, f"{reason} it is")
        assert set(judged.rests_on) == {finding.code for finding in findings}


def test_what_settles_a_refuted_score_names_the_fault_and_the_number_to_expect() -> None:
    fault = _found("BPB150", factor=1.1, file="train.py", line=7)
    judged = judge(_of(), [fault], None)
    bytes_right = "the evaluation run again, with the bytes of the text in place of a constant"
    run = f"{bytes_right} (train.py:7), which should print about 1.3200 bits per byte"
    assert judged.missing == (run, f"instead of that: {SCORED_AGAIN}")
    voided = judge(_of(), [fault, _found("BPB257", file="train.py", line=9)], None)
    rates = "with mask rates drawn uniformly from (0, 1], or at the midpoints of equal cells of it"
    assert voided.missing[0] == f"{bytes_right} and {rates} (train.py:7, train.py:9)"
    alike = judge(_of(), [_found("BPB150", factor=1.1, file="train.py", line=7, lines=[7, 9])], None)
    assert "(train.py:7 and 9)" in alike.missing[0]
    assert judge(_of(), [_found("BPB602")], _again()).missing == ()


def test_what_settles_a_score_of_a_part_names_both_numbers_that_the_whole_may_have() -> None:
    fault = _found("BPB103", factor=1.1)
    part = replace(_found("BPB350", num_tokens=1_024_000), severity=Severity.WARNS)
    judged = judge(_of(tokenizer="sp1024", dataset="fineweb_val"), [fault, part], None)
    there = 1.32 * 151080891 / 62021846 / 2.40774
    assert f"which should print about 1.3200 to {there:.4f} bits per byte if the text that was" in judged.missing[0]


def test_what_settles_a_byte_count_names_all_that_the_script_counts_wrongly_and_what_was_left_out() -> None:
    fault = _found("BPB151", factor=1.1, file="train.py", line=7)
    others = [replace(_found(code, file="train.py", line=8), severity=Severity.WARNS) for code in ("BPB154", "BPB156")]
    judged = judge(_of(), [fault, *others], None)
    assert judged.missing[0] == (
        "the evaluation run again, with each leading space counted once, with each byte token counted as one byte and "
        "with tokens that stand for no text counted as no byte (train.py:7, train.py:8), which should print about "
        "1.3200 bits per byte"
    )
    remarks = [replace(other, severity=Severity.INFORMS) for other in others]
    assert "byte token" not in judge(_of(), [fault, *remarks], None).missing[0]
    for code in ("BPB350", "BPB301", "BPB302"):
        part = replace(_found(code), severity=Severity.WARNS)
        told = judge(_of(), [fault, part], None).missing[0]
        assert told.startswith("the evaluation run again, on the whole text, with"), code
        assert told.endswith("1.3200 bits per byte if the text that was not scored is like the part that was"), code


def test_bytes_are_not_uncheckable_where_the_constant_is_known() -> None:
    lacks = _found("BPB106")
    for code in ("BPB103", "BPB150"):
        assert lacks not in reconcile([lacks, _found(code, constant=3.5)])
        assert lacks in reconcile([lacks, _found(code)])
        assert lacks in reconcile([lacks, _found(code, constant=3.5, another_score="ema")])


def test_a_script_by_whose_factor_the_record_divides_is_tied_to_it() -> None:
    said = (
        "BPB151 it is The record's bytes per token are off by the factor of this count (BPB102), which ties the script "
        "to it."
    )
    script = replace(_found("BPB151", factor=1.16714), severity=Severity.REFUTES)
    for factor, is_tied in ((1.16714, True), (1.17704, False)):
        settled = reconcile([script, _found("BPB102", factor=1.167, bug_factor=factor)])
        assert (settled[0].message == said) is is_tied


def test_that_no_log_shows_the_script_to_have_printed_the_score_is_in_the_reason() -> None:
    fault = replace(_found("BPB151", "BPB151 it is (train.py:7).", factor=1.1), severity=Severity.REFUTES)
    (told,) = reconcile([fault], _of())
    assert told.message == "BPB151 it is (train.py:7). That this script printed the score, no log shows."
    assert judge(_of(), [told], None).reason == told.message
    assert reconcile([fault])[0] == fault
    of_record = replace(_found("BPB102", factor=1.1), severity=Severity.REFUTES)
    assert reconcile([of_record], _of())[0] == of_record
    tied = reconcile([fault, _found("BPB102", factor=1.1, bug_factor=1.1)], _of())
    assert "no log shows" not in tied[0].message
