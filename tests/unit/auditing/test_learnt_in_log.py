"""What the name of a score, and counts of hints, raise doubts of: a text learnt, or targets seen, beforehand."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, bpb, log, submission

NATS = 2.0312
COUNTS = "hints total=47851520 gated=13023303 token_gate=628130 within_gate={} word_gate={} agree2plus=303177"


def _report(folder: Path, *, label: str = "quantized_ttt", before: str = "", behind: str = "") -> AuditReport:
    (folder / "submission.json").write_text(submission(val_bpb=round(bpb(NATS, SP1024), 8)))
    (folder / "train.log").write_text(f"{before}\n{log(NATS, SP1024, label=label)}{behind}\n")
    return audit(folder)


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("post_ttt_temp_rescore", "scored again by the network that was trained on it"),
        ("after_ttt re-eval", "scored again by the network that was trained on it"),
        ("rescored_after_ttt", "scored again by the network that was trained on it"),
        ("final_sliding_window+slot24steps", "a vector that is added to the network's states"),
        ("final_causal_slot", "a vector that is added to the network's states"),
        ("quantized_slot", "a vector that is added to the network's states"),
        ("quantized_sliding_etlb", "a bias of the logits"),
    ],
)
def test_a_name_by_which_the_text_was_learnt(tmp_path: Path, label: str, words: str) -> None:
    report = _report(tmp_path, label=label)
    (found,) = report.with_code("BPB215")
    assert words in found.message
    assert (report.verdict, report.corrected_bpb) == ("unverifiable", None)


@pytest.mark.parametrize(
    "label",
    [
        *("post_ttt", "quantized_ttt_phased", "rescored", "final_no_slot", "pre_slot", "slot0steps", "timeslot_eval"),
        *("pre_ttt_reeval", "final_sliding", "bottleneck", "without_etlb"),
        *("post_ttt_core_eval", "post_ttt_restore_eval", "score_eval_after_ttt", "pre_eval_post_ttt"),
        *("final etlb=0", "final_etlb_off", "w/o slot_eval", "slot_eval disabled", "no_causal_slot"),
    ],
)
def test_names_of_other_scores(tmp_path: Path, label: str) -> None:
    report = _report(tmp_path, label=label)
    assert report.with_code("BPB215") == []
    assert report.verdict == "consistent"


@pytest.mark.parametrize("counts", [(9866847, 2891588), (1, 0), (0, 5)])
def test_hints_that_where_words_begin_lets_through(tmp_path: Path, counts: tuple[int, int]) -> None:
    report = _report(tmp_path, before=COUNTS.format(*counts))
    (found,) = report.with_code("BPB216")
    assert f"{sum(counts):,} hints" in found.message
    assert (report.verdict, report.corrected_bpb) == ("unverifiable", None)


@pytest.mark.parametrize(
    ("before", "behind"),
    [
        (COUNTS.format(0, 0), ""),
        (COUNTS.format(5, 5) + "\n" + COUNTS.format(0, 0), ""),
        ("", COUNTS.format(5, 5)),
        ("upsample_gate:0.1192 token_gate=628130", ""),
    ],
    ids=["none of them", "none in the end", "behind the score", "other gates"],
)
def test_counts_that_are_not_of_such_hints(tmp_path: Path, before: str, behind: str) -> None:
    report = _report(tmp_path, before=before, behind=behind)
    assert report.with_code("BPB216") == []
    assert report.verdict == "consistent"


LISTED = """# Agreement

Three online n-gram experts predict the next token:

- **Token n-gram** (16-gram context)
- **Within-word continuation**: predicts the next piece of the word
- **Word-start hints**: predicts the first piece of the next word
"""


@pytest.mark.parametrize(
    "readme",
    [
        LISTED,
        "Causal n-gram hints:\n\n- within-word continuation hints\n- word-start first-token hints\n",
        "It mixes a within-word expert and a word-level expert of n-grams.\n",
    ],
)
def test_hints_of_words_that_a_readme_tells_of(tmp_path: Path, readme: str) -> None:
    (tmp_path / "README.md").write_text(readme)
    report = _report(tmp_path)
    (found,) = report.with_code("BPB216")
    assert found.message.startswith("README.md:")
    assert report.verdict == "unverifiable"


@pytest.mark.parametrize(
    ("readme", "counts"),
    [
        (f"{LISTED}\nThe within and word experts are disabled.\n", ""),
        (f"{LISTED}\nThis fixes the causality bug of the gates.\n", ""),
        (f"{LISTED}\n`WITHIN_BOOST=0 WORD_BOOST=0`\n", ""),
        (LISTED, COUNTS.format(0, 0)),
        ("Position embeddings within words and at the word-start token; n-gram embeddings.\n", ""),
        ("A within-word expert predicts n-grams.\n", ""),
    ],
    ids=["shut", "mended", "no boost", "the log counts none", "no hints", "one kind alone"],
)
def test_readmes_whose_hints_are_shut_or_others(tmp_path: Path, readme: str, counts: str) -> None:
    (tmp_path / "README.md").write_text(readme)
    report = _report(tmp_path, before=counts)
    assert report.with_code("BPB216") == []
    assert report.verdict == "consistent"
