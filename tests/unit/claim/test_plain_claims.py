"""Scores that a README claims in plain sentences, and what looks like such a sentence and claims none."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.claim import NoteKind, read_claim
from bpb_harness.claim.plain_claims import SENTENCE, plain_claims
from bpb_harness.claim.readme_reader import read_readme
from fixtures.claims.patterns import log, submission

FILE = "README.md"


def _claimed(text: str) -> list[str]:
    return [f"{score} {score.source}" for score in plain_claims(read_readme(text, FILE))]


@pytest.mark.parametrize(
    "sentence",
    [
        *(
            "val_bpb 0.85",
            "Bits per byte: 0.85",
            "bits/byte = 0.85",
            "Final BPB = 0.85 (3-seed mean)",
            "- val_bpb 0.85",
        ),
        *("0.85 bits per byte on FineWeb", "0.85 bits per byte on FineWeb.", "**0.85 bpb**", "## 0.85 bits per byte"),
        *("bpb of 0.85", "A bpb of 0.85.", "Score: 0.85 bits per byte", "Result: **0.85 bits/byte**."),
        *("achieves 0.85 BPB", "Achieves 0.85 BPB.", "Our model achieves 0.85 BPB.", "We achieved 0,8512 BPB."),
        "We trained a 12-layer network, and it reaches a val_bpb of **0.85** on the validation split.",
        *("This submission scores 0.85 bits per byte.", "The final score is 0.85 BPB.", "Our bits-per-byte is 0.85."),
        "Trained on the training split, our model gets 0.85 BPB.",
        "With 12 layers and Muon, our network gets about 0.85 bits per byte.",
        "A tiny masked diffusion model that reaches 0.85 BPB on FineWeb.",
        "MiniLM, with next-token prediction and the Muon optimizer, reaches 0.85 bits per byte.",
        "Our model, trained from scratch, compresses FineWeb to 0.85 bits per byte.",
        SENTENCE.replace("0.8500", "0.85"),
    ],
)
def test_a_plain_sentence_claims_its_score(sentence: str) -> None:
    assert _claimed(f"# MiniLM for text\n\n{sentence}\n") in (["0.85 README.md:3"], ["0.8512 README.md:3"])


@pytest.mark.parametrize(
    "sentence",
    [
        *("Our model does not achieve 0.85 BPB.", "Our model didn't reach 0.85 BPB.", "It never gets 0.85 bpb."),
        *("The baseline achieves 0.85 BPB.", "GPT-2 reaches 0.85 BPB.", "Other networks reach 0.85 BPB."),
        *("Target: 0.85 BPB", "The goal is 0.85 BPB.", "We hope to reach 0.85 BPB.", "It would reach 0.85 BPB."),
        *("If it works, the model achieves 0.85 BPB.", "Did it reach 0.85 BPB?", "It is expected to get 0.85 bpb."),
        *("Our model improves by 0.85 BPB.", "It is 0.85 bits per byte lower.", "We got from 1.2 to 0.85 BPB."),
        *("Our model beats 0.85 BPB.", "Our model is below 0.85 BPB.", "It gets +0.85 bpb.", "< 0.85 bpb"),
        *("The record stands at 0.85 BPB.", "Shannon's estimate is 0.85 bits per byte.", "Bigger ones get 0.85 bpb."),
        *("train_bpb 0.85", "Training bpb: 0.85", "Step 100: val_bpb 0.85", "bpb 0.85%", "bpb_std 0.85", "0.85 bpbx"),
        *("> Our model achieves 0.85 BPB.", "```\nval_bpb 0.85\n```", "The baseline gives:\n\n- val_bpb 0.85"),
        *(
            "The stock model gets 0.85 BPB.",
            "The organizers' model gets 0.85 BPB.",
            "The run by @somebody has 0.85 BPB.",
        ),
        *("A score of 0.85 bits per byte means that it packs.", "Our model has 0.85 BPB on the training text."),
        *("## Baseline\n\nval_bpb 0.85", "Our loss is 0.85 nats, and its score 2.44 bytes per token.", "bpb 0.01"),
    ],
)
def test_a_number_that_is_no_score_of_its_own_is_no_claim(sentence: str) -> None:
    assert _claimed(f"# MiniLM for text\n\n{sentence}\n") == []


@pytest.mark.parametrize(
    ("title", "is_claimed"),
    [
        *(
            ("# Masked diffusion, bpb of 0.85", True),
            ("# Diffusion: bits/byte 0.85", True),
            ("# A net, bpb is 0.85", True),
        ),
        *(("# Toward a bpb of 0.85", False), ("# Beating a bpb of 0.85", False), ("# Not a bpb of 0.85", False)),
        *(("# T\n\n## Of a bpb of 0.85", False), ("# T\n\n## Final bpb of 0.85", True)),
    ],
)
def test_the_title_claims_its_number(title: str, is_claimed: bool) -> None:
    assert bool(_claimed(f"{title}\n\nWords.\n")) is is_claimed


def test_a_sentence_goes_on_in_the_next_line_and_its_number_has_its_own() -> None:
    assert _claimed("# T\n\nHere is how. Our model\nachieves 0.8512\nBPB on it.\n") == ["0.8512 README.md:4"]


def test_what_stands_beside_a_claim_is_told_too() -> None:
    text = (
        "# T\n\nOur model achieves 0.85 BPB.\n\nWith retrieval the number goes to 0.83 BPB. The baseline has 1.2 BPB.\n"
    )
    assert _claimed(text) == ["0.85 README.md:3", "0.83 README.md:5"]


def test_numbers_without_a_sentence_of_a_plain_form_claim_nothing() -> None:
    assert _claimed("# T\n\nRetrieval takes the number to 0.83 BPB.\n") == []


@pytest.mark.parametrize("name", ["README.md", "readme.txt"])
def test_the_claim_of_a_record_of_a_readme_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("# T\n\nOur model achieves 0.85 BPB. On a longer text: 0.8512 bits per byte.\n")
    claim = read_claim(tmp_path)
    assert claim.score is not None
    assert (str(claim.score), claim.claimed_in) == ("0.8512", "readme")


def test_several_sentences_are_named_and_none_is_chosen(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("# T\n\nOur model achieves 0.85 BPB.\n\nOur second model achieves 0.95 BPB.\n")
    claim = read_claim(tmp_path)
    assert claim.score is None
    (note,) = claim.notes
    assert note.kind is NoteKind.AMBIGUOUS
    assert note.message == (
        "README.md gives several scores in its sentences, and does not say which is claimed: 0.85 (README.md:3), 0.95 "
        "(README.md:5)"
    )


def test_a_sentence_claims_before_a_log_does_and_several_leave_it_to_the_log(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text(log(2.0312, 2.436))
    (tmp_path / FILE).write_text("# T\n\nOur model achieves 0.85 BPB.\n")
    assert read_claim(tmp_path).claimed_in == "readme"
    (tmp_path / FILE).write_text("# T\n\nOur model achieves 0.85 BPB.\n\nIt gets 0.95 BPB with retrieval.\n")
    claim = read_claim(tmp_path)
    assert claim.claimed_in == "log"
    assert all(note.kind is not NoteKind.AMBIGUOUS for note in claim.notes)


@pytest.mark.parametrize("record", [{"val_bpb": None}, {"val_bpb": 1.2}, {"pre_quant_val_bpb": 1.2, "proxy_bpb": 1.1}])
def test_a_sentence_decides_nothing_against_a_submission(tmp_path: Path, record: dict[str, float | None]) -> None:
    (tmp_path / "submission.json").write_text(submission(**record))
    (tmp_path / FILE).write_text("# T\n\nOur model achieves 0.85 BPB.\n")
    score = read_claim(tmp_path).score
    assert (score.value if score is not None else None) == record.get("val_bpb")


def test_a_sentence_chooses_among_the_scores_of_a_submission(tmp_path: Path) -> None:
    (tmp_path / "submission.json").write_text(submission(pre_quant_val_bpb=1.2, proxy_bpb=1.1))
    (tmp_path / FILE).write_text("# T\n\nOur model achieves 1.1 BPB.\n")
    score = read_claim(tmp_path).score
    assert score is not None
    assert str(score.source) == "README.md:3"
