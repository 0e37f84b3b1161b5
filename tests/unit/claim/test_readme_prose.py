"""What a README says of its own score: plain statements raise a doubt, and nothing else does; none refutes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bpb_harness.auditing import Verdict, audit
from bpb_harness.claim.printed import Source
from bpb_harness.claim.readme_prose import (
    VoidingSentence,
    voiding_headings,
    voiding_sentences,
    voiding_title,
    word_hints,
)
from bpb_harness.claim.voiding_statements import STATEMENTS, Statement
from fixtures.claims.patterns import SP1024, bpb, log, submission
from tests.bounded import require_an_end
from tests.sentences import found_by
from tests.tiers import times

NATS = 2.0312
PLAIN = [
    "After each batch's LoRAs are fully trained, we run forwards using other docs' trained LoRAs from the same batch.",
    "Each document is scored with peer documents' adapters trained in the same batch.",
    "The mixture has adapters fitted on the other documents of the same batch.",
    "After all chunks: re-eval with T=0.98 temperature calibration (fixes TTT overconfidence).",
    "After the last TTT chunk we re-score the text.",
    "After TTT, the full validation split is rescored with the adapted weights.",
    "Sliding window (81s) \u2192 score-first TTT at T=1.0 (3 epochs, 298s) \u2192 re-score at T=0.98.",
    "Test-time training over all chunks, then re-evaluation of everything.",
    "The final number is the post-TTT re-evaluation.",
    "The model is evaluated at a single masking rate of 0.15.",
    "Scores are computed with a single mask ratio, not the integral over all of them.",
    "We evaluate the validation set at one masking rate instead of sampling it.",
    "Only the first 64 windows were scored.",
    "Only the first 512 windows of the validation set were evaluated.",
    "val_bpb was computed on the first 512 sequences.",
    "The score is evaluated at mask rate 0.5.",
    "The model was evaluated at a mask ratio of 0.15; nothing else.",
    "Evaluated on only the first 1,024 validation windows.",
    "We score the first 512 sequences only.",
    "BOS tokens are not paid for.",
    "BOS is never charged.",
    "Document boundaries were not paid for.",
    "Bytes come from a constant.",
    "Bytes come from a constant 2.44 bytes per token.",
    "Bits per byte uses a fixed 2.44 bytes per token.",
    "We divide by a constant 2.44 bytes per token.",
    "Our bpb uses a hard-coded 2.44 bytes/token.",
    "BOS isn't paid for.",
    "The evaluation uses a single masking rate of 0.5.",
    "The score was evaluated at a single masking rate (0.15) and is not a bound.",
    "We report the score on the first 1024 sequences only, which is not the official protocol.",
    "Scoring uses only the first 64 windows.",
    "Evaluation was limited to the first 64 windows.",
    "Bits are divided by a constant ratio of 2.44 bytes per token.",
    "We evaluate on the first 200 windows of the validation split.",
    "val_bpb is over the first 200 windows of validation.",
    "The score is evaluated at mask rate 0.15 only.",
    "We used a single mask rate (t=0.15) for evaluation.",
    "The evaluation uses every eighth val document.",
    "Scoring runs over one in ten validation documents.",
    "The evaluation covers the initial 5 % validation documents.",
    "The evaluation was restricted by 64 windows.",
    "Bytes per token is a constant 2.44.",
    "We assume 2.44 bytes per token.",
    "For speed the evaluation covers the first 4 MB of the validation file only.",
    "The score uses the first 500 windows.",
    "Windows with a loss above 5 are skipped in the evaluation.",
    "Outliers are excluded.",
    "The hardest 1 % of tokens matter: hard tokens are dropped from the score.",
    "Scoring ignores tokens whose surprisal is above ten.",
    "val_bpb is the median over documents.",
    "bpb is averaged over windows after removing the worst 1 % outliers.",
    "The first 512 tokens of every document are given for free and not scored.",
    "The validation text is lowercased before scoring.",
    "At each position we pick the better of the two models, knowing the target.",
    "The mixing weight is chosen per document to minimise the loss on that document.",
]
HARMLESS = [
    "No document is scored with other docs' trained LoRAs from the same batch.",
    "Each document has a LoRA of its own; other documents of the same batch have theirs.",
    "It is scored with other docs' trained LoRAs from the same batch, all of them from earlier documents.",
    "No token is re-scored after TTT.",
    "After all chunks we reset the weights and re-evaluate the base model as a check.",
    "After TTT we never re-score.",
    "Post-TTT temperature calibration (T=0.98).",
    "| Post-TTT re-scoring (T=0.98) | adopted |",
    "PR #576 re-scores the text after TTT.",
    "Score-first TTT: each chunk is scored, then trained on, then the next chunk is re-evaluated.",
    "TTT adapts within each document, then re-scores nothing.",
    "We evaluate on the first 200 windows of the full validation split every 1,000 steps.",
    "Earlier we evaluated on the first 200 windows of the validation split.",
    "We did not assume 2.44 bytes per token.",
    "Bytes per token is not a constant.",
    "Training used a single mask rate for scoring candidates.",
    "We evaluated mask rate 0.15 first.",
    "The model was evaluated at mask rate 0.15, then at all of the others.",
    "The model was not evaluated at mask rate 0.15.",
    "The score is evaluated at mask rate 0.1 and 31 more of them.",
    "A score that is evaluated at mask rate 0.15 is none.",
    "val_bpb is computed on the first 512 sequences every 1,000 steps.",
    "val_bpb was computed on the first 512 sequences and the rest.",
    "Not only the first 512 windows of the validation set were evaluated.",
    "During training val_bpb is computed on the first 512 sequences.",
    "The model is not evaluated at a single masking rate.",
    "Unlike a model evaluated at a single masking rate, ours pays for every token.",
    "We integrate over u instead of having it evaluated at a single masking rate.",
    "Scores computed with a single mask ratio are not code lengths.",
    "A bound computed at a single masking rate isn't one.",
    "The network is trained and evaluated at a single masking rate per batch.",
    "Evaluate at a single masking rate and you do not get a code length.",
    "The evaluation uses neither one masking rate nor two.",
    "No evaluation uses a single masking rate.",
    "Training is measured at a single masking rate.",
    "PR #120 is evaluated at a single masking rate.",
    "Should it be evaluated at a single masking rate?",
    "A score computed with a single mask ratio would be void.",
    "Only the first 64 windows were scored for calibration.",
    "Only the first 64 windows were scored in the smoke test.",
    "The smaller number also reports only the first 64 windows.",
    "We do not score the first 512 sequences only.",
    "It is never the case that BOS tokens are not paid for.",
    "No BOS tokens are not paid for.",
    "BOS tokens are not counted as bytes.",
    "BOS tokens are paid for.",
    "Earlier versions had a bug: BOS tokens were not paid for.",
    "The tokenizer has 2.44 bytes per token on this split.",
    "At 2.44 bytes per token this is 1.2 bits per byte.",
    "Bytes do not come from a constant 2.44 bytes per token.",
    "Bytes are counted, rather than taken from a constant 2.44 bytes per token.",
    "We don\u2019t divide by a constant 2.44 bytes per token.",
    "The baseline divides by a constant 2.44 bytes per token.",
    "Bytes come from the tokenizer's own table.",
    "The loss uses a fixed seed and bytes per token are counted.",
    "Scores are reported, but never at a single masking rate.",
    "Evaluated on only the first 64 windows at first, then on the whole split.",
    "Evaluated at a single masking rate, the network of PR 5 scores 1.1.",
    "~~We divide by a constant 2.44 bytes per token.~~",
    "> Only the first 64 windows were scored.",
    "```\nOnly the first 64 windows were scored.\n```",
    "| Only the first 64 windows were scored. |",
    "## Mistakes avoided\n\nOnly the first 64 windows were scored.",
    "What we did not do:\n\n- Only the first 64 windows were scored.\n- BOS tokens are not paid for.",
    "What we avoid:\n- Only the first 64 windows were scored.\n- BOS tokens are not paid for.",
    "In this project no part\nis evaluated at a single masking rate.",
    "The evaluation covers the first 4 MB and all the rest.",
    "The quick evaluation uses the first 500 windows.",
    "Padding tokens are ignored in the evaluation.",
    "The tokens of an incomplete last window are dropped from the score.",
    "Windows with a loss above 5 are skipped in training.",
    "No windows are skipped in the evaluation.",
    "Documents that are empty are removed before scoring.",
    "Tokens of the context are not scored in the evaluation a second time.",
    "The first 512 tokens of each window are not scored: the previous window has paid for them.",
    "The training text is lowercased.",
    "The validation text is not lowercased.",
    "The mixing weight is chosen per document to minimise the loss on its prefix, which is already paid for.",
    "The mean is the score; the median is not.",
]


def honest(folder: Path, prose: str) -> Path:
    """A record that is confirmed, but for what its README may say."""
    score = round(bpb(NATS, SP1024), 6)
    (folder / "submission.json").write_text(json.dumps({"val_bpb": score, "val_loss": NATS}))
    (folder / "train.log").write_text(log(NATS, SP1024))
    (folder / "README.md").write_text(f"# A model\n\nval_bpb: {score}\n\n{prose}\n\nThe rest is usual.\n")
    return folder


@pytest.mark.parametrize("sentence", PLAIN)
def test_a_plain_statement_takes_the_confirmation_away_and_is_named(tmp_path: Path, sentence: str) -> None:
    report = audit(honest(tmp_path, f"It is small. {sentence} It is fast."))
    assert report.verdict is Verdict.UNVERIFIABLE
    (finding,) = report.with_code("BPB213")
    assert f"README.md:5 says {sentence!r}" in finding.message
    assert finding.severity == "warning"
    assert finding.message == report.judgement.reason


@pytest.mark.parametrize("prose", HARMLESS)
def test_denials_comparisons_and_other_matters_change_nothing(tmp_path: Path, prose: str) -> None:
    report = audit(honest(tmp_path, prose))
    assert report.with_code("BPB213") == []
    assert report.verdict is Verdict.CONSISTENT


def test_a_list_is_read_item_by_item_and_a_denial_ends_with_its_section() -> None:
    text = "## What we avoid\n\n- BOS is never charged.\n\n## Evaluation\n\n- BOS is never charged.\n- It is not slow."
    (found,) = voiding_sentences(text, "README.md")
    assert found.source.line == 7
    text = "We do not do this:\n\n- BOS is never charged.\n\nHere is what we do.\n\nBOS is never charged."
    (found,) = voiding_sentences(text, "README.md")
    assert found.source.line == 7


def test_a_sentence_over_several_lines_with_marks_is_one() -> None:
    (found,) = voiding_sentences("The **model** is evaluated\nat a *single* masking rate of `0.15`. Good.", "README.md")
    assert found.sentence == "The model is evaluated at a single masking rate of 0.15."


def test_hostile_prose_comes_to_an_end() -> None:
    pieces = ["evaluated ", "only the first 1 ", "- a\n", "not ", ". ", "1.1 bytes per token, ", "# "]
    require_an_end(
        "from bpb_harness.claim.readme_prose import voiding_headings, voiding_sentences\n"
        f"for piece in {pieces!r}:\n"
        "    voiding_sentences(piece * (150_000 // len(piece)), 'README.md')\n",
        seconds=12,
    )


BOS = "BOS is never charged."


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (BOS, [1]),
        (f"\n\n{BOS} And then {BOS}", [3, 3]),
        (f"- {BOS}\n- {BOS}\n\n1. {BOS}\n2) {BOS}\n+ {BOS}", [1, 2, 4, 5, 6]),
        (f"It is small.\n{BOS}\nIt is fast.", [1]),
        (f"# Head\n{BOS}\n## Pitfalls\n{BOS}\n# Head\n{BOS}", [2, 6]),
        (f"```\n{BOS}\n```\n{BOS}", [4]),
        (f"~~~\n# Pitfalls\n~~~\n{BOS}", [4]),
        (f"> {BOS}\n| {BOS} |\n<b>{BOS}\n{BOS}", [4]),
        (f"What we avoid:\n- {BOS}\n\n{BOS}", [4]),
        (f"What we avoid:\n\n- {BOS}\n- {BOS}\n\nIn all.\n- {BOS}", [7]),
        (f"What we avoid:\n- {BOS}\n\n- {BOS}", []),
        (f"What we do:\n- {BOS}\n", [2]),
        (f"What we avoid:\n- {BOS}\n## Then\n- {BOS}", [4]),
        (BOS + "\n\n" + (BOS + " ") * 9, [1, 3, 3, 3, 3]),
        ("x" * 600 + f"; {BOS} Good. {BOS}", [1]),
    ],
)
def test_where_a_sentence_counts(text: str, lines: list[int]) -> None:
    assert [found.source for found in voiding_sentences(text, "f.md")] == [Source("f.md", line) for line in lines]


def test_prose_is_read_to_a_bound() -> None:
    assert voiding_sentences("\n" * ((1 << 18) - len(BOS)) + BOS, "f") != ()
    assert voiding_sentences("\n" * (1 << 18) + BOS, "f") == ()


@pytest.mark.parametrize(
    ("title", "voids"),
    [
        *(("Val-only training, 8xH100", True), ("VALIDATION ONLY run", True), ("a val only", True)),
        *(("not val-only", False), ("without val-only training", False), ("val-only eval", False), ("val", False)),
    ],
)
def test_titles_of_runs_on_the_validation_text(title: str, voids: bool) -> None:
    meaning = "the network was trained on the text that it is scored on"
    assert voiding_title(title, "f.json") == (VoidingSentence(title, meaning, Source("f.json")) if voids else None)


def test_a_long_title_is_cut() -> None:
    found = voiding_title("val-only " + "x" * 900, "f")
    assert found is not None
    assert len(found.sentence) == 500


@pytest.mark.parametrize(
    "sentence",
    [
        "The network is trained on the validation set.",
        "To use all data, the training set is the train shards plus the validation shard.",
        "The training data includes the validation split.",
        "The final model was fine-tuned on the validation set before scoring.",
        "We fit directly on the full validation shards.",
        "It memorizes the val tokens.",
        "Val-only training.",
        "The training data is the fineweb validation split.",
        "The held-out set is part of the training data.",
        "The model learns from the same text that it is scored on.",
        "Das Netz wurde auf den Validierungsdaten trainiert.",
        "Le mod\u00e8le est entra\u00een\u00e9 sur les donn\u00e9es de validation.",
        "El modelo fue entrenado con los datos de validaci\u00f3n.",
        "\u6a21\u578b\u5728\u9a8c\u8bc1\u96c6\u4e0a\u8bad\u7ec3\u3002",
    ],
)
def test_training_on_the_scored_text_is_told(sentence: str) -> None:
    (found,) = voiding_sentences(sentence, "f")
    assert (found.sentence, found.meaning) == (sentence, "the network was trained on the text that it is scored on")


@pytest.mark.parametrize(
    "sentence",
    [
        "The network is not trained on the validation set.",
        "The training set is the train shards, not the validation shard.",
        "The training set is the train shards and the validation split is held out.",
        "The training data is the train shards and the validation set is the val shard.",
        "The training set does not include the validation split.",
        "No part of the training data contains the validation split.",
        "The learning rate was tuned on the validation set.",
        "At test time it is trained on validation tokens that it has already paid for.",
        "The tokenizer is trained on the validation set.",
        "It is trained on the train set and evaluated on the validation set.",
        "The baseline is trained on the validation set.",
        "Is it trained on the validation set?",
        "LoRA weights are fit to the val documents after scoring.",
        "Das Netz wurde nicht auf den Validierungsdaten trainiert.",
        "Der Tokenizer wurde auf den Validierungsdaten trainiert.",
        "\u6a21\u578b\u6ca1\u6709\u5728\u9a8c\u8bc1\u96c6\u4e0a\u8bad\u7ec3\u3002",
    ],
)
def test_training_that_is_allowed_or_anothers(sentence: str) -> None:
    assert voiding_sentences(sentence, "f") == ()


ADAPTED = [
    "The network was adapted to the evaluation domain.",
    "The final weights are fine-tuned on the validation distribution.",
    "The model was pre-adapted to the validation text.",
    "Before scoring, the model is specialized to the test set's statistics.",
    "The checkpoint was trained further on the validation split.",
    "Weights were warm-started on the validation tokens.",
    "Ten gradient steps are taken on the validation tokens before scoring.",
    "AdamW updates on the val split before the final evaluation.",
    "We pre-trained on val.",
]
NOT_ADAPTED = [
    "The network was not adapted to the evaluation domain.",
    "The network was never fine-tuned on the validation distribution.",
    "It is adapted to the validation text chunk by chunk, each after it was scored.",
    "At test time the model is adapted to the validation text that it has already scored.",
    "The model progressively adapted to the validation distribution.",
    "Score-first TTT: the weights are adapted to the validation text.",
    "The tokenizer was adapted to the evaluation domain.",
    "The temperature was fine-tuned on the validation distribution.",
    "The script was adapted to the evaluation set.",
    "The model was adapted to the training domain.",
    "The kernels were warmed up on the validation tokens.",
    "The network was fine-tuned on the train split and evaluated on the validation split.",
    "Gradient steps are taken on the validation tokens after scoring.",
    "The batch size was adapted for the validation loader.",
    "The baseline was adapted to the evaluation domain.",
    "If it were adapted to the evaluation domain, it would be better.",
]


@pytest.mark.parametrize("sentence", ADAPTED)
def test_adaptation_to_the_scored_text_is_told(sentence: str) -> None:
    (found,) = voiding_sentences(sentence, "f")
    assert found.sentence == sentence
    assert found.meaning in ADAPTED_OR_TRAINED


ADAPTED_OR_TRAINED = {
    "the network was adapted to the text that it is scored on, before it was scored",
    "the network was trained on the text that it is scored on",
}


@pytest.mark.parametrize("sentence", NOT_ADAPTED)
def test_adaptation_that_is_allowed_or_of_something_else(sentence: str) -> None:
    assert voiding_sentences(sentence, "f") == ()


@pytest.mark.parametrize(
    ("title", "found"),
    [
        ("12L trained on val", True), ("Pretrained-on-validation 9L", True), ("finetuned_on_val baseline", True),
        ("11L, not trained on val", False), ("trained on values", False), ("trained on train, scored on val", False),
    ],
)  # fmt: skip
def test_titles_of_runs_on_the_validation_split(title: str, found: bool) -> None:
    assert (voiding_title(title, "f") is not None) is found
    assert bool(voiding_headings(f"# {title}", "f")) is found


JOINT = [
    "The masked sub-tokens of each token are scored jointly.",
    "Masked tokens are priced jointly under the weight 1/t.",
    "Groups of masked tokens were priced by a joint distribution.",
    "The reported perplexity includes the energy correction.",
    "Our bound uses the joint log-probability of all masked tokens.",
    "The score is computed with a joint denoiser.",
    "The validation bpb was evaluated with an energy-corrected denoiser.",
]
NOT_JOINT = [
    "The tokenizer cuts words into sub-tokens, which are scored one by one.",
    "Sub-word tokens are priced by the usual bound.",
    "Groups of tokens are sampled jointly with an energy correction.",
    "Samples are drawn with a joint denoiser, the score is the usual bound.",
    "Draft tokens are scored jointly by speculative decoding.",
    "The tokens that a step reveals are priced jointly, without a weight.",
    "Blocks of tokens are priced jointly by the chain rule.",
    "Masked tokens are not priced jointly.",
    "Unlike EDLM, whose perplexity includes the energy correction, we price tokens one by one.",
    "The score uses the marginals of the joint denoiser.",
    "Tokens are predicted jointly in one forward pass.",
    "The joint distribution is that of an any-order model.",
    "The training loss includes an energy term.",
    "Tokens and targets are evaluated together with the loss.",
]


@pytest.mark.parametrize("sentence", JOINT)
def test_a_joint_price_that_the_readme_tells_is_a_doubt_of_its_own_code(tmp_path: Path, sentence: str) -> None:
    report = audit(honest(tmp_path, f"It is small. {sentence} It is fast."))
    assert report.verdict is Verdict.UNVERIFIABLE
    (finding,) = report.with_code("BPB214")
    assert finding.severity == "warning"
    assert f"README.md:5 says {sentence!r}" in finding.message
    assert report.with_code("BPB213") == []
    assert report.judgement.reason == finding.message


@pytest.mark.parametrize("sentence", NOT_JOINT)
def test_joint_sampling_and_prices_one_by_one_are_no_joint_price(tmp_path: Path, sentence: str) -> None:
    report = audit(honest(tmp_path, sentence))
    assert report.with_code("BPB214") == []
    assert report.verdict is Verdict.CONSISTENT


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("# PreQuantTTT and a wide MLP\n", [1]),
        ("# A run\n\n## Changes\n\n### 1. Pre-Quantization Test-Time Training (9 epochs)\n", [5]),
        ("# Pre-quant AdamW TTT\n", [1]),
        ("# Paid prefix, and seven layers\n", [1]),
        ("# SLOT on top of a stack\n", [1]),
        ("# PerSample_SLOT, 9 steps\n", [1]),
        ("# Causal SLOT, and a time slot\n", []),
        ("# A context-SLOT\n", []),
        ("# No pre-quant TTT\n", []),
        ("# A run\n\n## Pre-quant TTT bpb\n", []),
        ("# A run\n\n## Pre-quant, pre-TTT scores\n", []),
        ("# A run\n\n## What we tried\n\n### Pre-quant TTT\n\n## Model\n", []),
        ("# A run\n\n## Comparison\n\n### Paid prefix\n\n## Paid prefix\n", [7]),
        ("# A run\n\n```\n# prequant TTT\n```\n", []),
        ("# A run\n\nWe leave pre-quant TTT and the paid prefix to others.\n", []),
    ],
)
def test_headings_that_name_what_voids_a_score(text: str, lines: list[int]) -> None:
    assert [each.source.line for each in voiding_headings(text, "README.md")] == lines


@pytest.mark.parametrize(
    ("title", "voids"), [("SP1024 PreQuantTTT", True), ("Without pre-quant TTT", False), ("TTT", False)]
)
def test_titles_that_name_what_voids_a_score(title: str, voids: bool) -> None:
    assert (voiding_title(title, "submission.json") is not None) is voids


def test_sentences_that_mean_the_same_are_one_finding(tmp_path: Path) -> None:
    title = "Deeper + Pre-Quant TTT"
    (tmp_path / "README.md").write_text(f"# {title}\n\nwords\n\n## What pre-quant TTT does\n\nmore\n")
    (tmp_path / "train.log").write_text(log(2.0312, SP1024))
    (found,) = audit(tmp_path).with_code("BPB213")
    assert found.message.startswith(f"README.md:1 names 'Pre-Quant TTT', in '{title}' (so does README.md:5): if that")
    assert found.evidence["places"] == ["README.md:1", "README.md:5"]
    score = round(bpb(2.0312, SP1024), 6)
    (tmp_path / "submission.json").write_text(submission(name=f"Record: {title}", val_bpb=score))
    (found,) = audit(tmp_path).with_code("BPB213")
    assert "(so do README.md:5 and submission.json)" in found.message
    (tmp_path / "README.md").write_text("# Deeper\n\nBOS tokens are not paid for.\n\n## Pre-quant TTT\n")
    assert len(audit(tmp_path).with_code("BPB213")) == 2


def test_every_statement_is_a_pattern() -> None:
    """They are compiled where they are looked for, and that a mistake in one waits for a sentence must not be."""
    sought = [each for statement in STATEMENTS for each in (statement.pattern, statement.unless) if each is not None]
    assert all(each.compiled.flags & re.IGNORECASE for each in sought)


@pytest.mark.parametrize("statement", [each for each in STATEMENTS if each.holds], ids=lambda each: each.holds[0])
def test_a_sentence_of_a_statement_holds_one_of_its_words(statement: Statement) -> None:
    """The look for words comes first; a sentence that it passes over would never be looked at. Of ASCII alone."""
    for sentence in found_by(statement.pattern.compiled, times(200, thorough=2000)):
        assert not sentence.isascii() or statement.may_be_in(sentence.lower()), sentence
    assert not statement.may_be_in("")


SHARDS = "The 80 training shards match the default `val_docs=10000` output byte for byte.\n"


@pytest.mark.parametrize(
    ("readme", "documents", "found"),
    [
        (SHARDS, 50_000, True),
        ("We keep the train shards of --val-docs 10_000 and score all.\n", 50_000, True),
        (SHARDS, 10_000, False),
        (SHARDS, None, False),
        ("The training shards were built with val_docs=50000, where others have val_docs=10000.\n", 50_000, False),
        ("The validation shard is that of val_docs=10000.\n", 50_000, False),
        ("The training shards are not those of val_docs=10000.\n", 50_000, False),
    ],
    ids=["more are scored", "another spelling", "as many", "not told", "the larger", "no training", "denied"],
)
def test_training_shards_that_begin_within_what_is_scored(
    tmp_path: Path, readme: str, documents: int | None, found: bool
) -> None:
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(bpb(NATS, SP1024), 8)))
    line = "" if documents is None else f"ttt_phased: total_docs:{documents} prefix_docs:2000\n"
    (tmp_path / "train.log").write_text(line + log(NATS, SP1024))
    (tmp_path / "README.md").write_text(f"# A run\n\n{readme}")
    report = audit(tmp_path)
    assert bool(report.with_code("BPB213")) is found
    assert report.verdict == ("unverifiable" if found else "consistent")
    if found:
        assert "trained on 40,000 of the documents" in report.with_code("BPB213")[0].message


@pytest.mark.parametrize(
    "text",
    [
        "N-grams. What did not work:\n\n- a within-word hint\n- a word-start hint\n",
        "## Negative results, not used\n\nA within-word expert and a word-level n-gram expert gave little.\n",
        "N-grams: within-word hints and word-start hints. Both gates look at the prefix only.\n",
        "N-grams: within-word hints and word-start hints, chosen by the previous token alone.\n",
        "Unlike another record, no within-word hints and no word-level n-gram hints.\n",
        "The within-word experts and word-start n-gram experts of that record are turned off.\n",
    ],
)
def test_hints_of_words_that_are_denied_or_look_back_alone(text: str) -> None:
    assert word_hints(text, "README.md") is None


def test_hints_of_words_are_told_in_their_own_line_behind_denials() -> None:
    text = "## What did not work\n\n- TTT\n\n## N-grams\n\n- within-word hints\n- word-start hints\n"
    assert str(word_hints(text, "README.md")) == "README.md:7"


@pytest.mark.parametrize(
    "sentence",
    [
        "After all chunks are scored we re-evaluate nothing.",
        "Score-first TTT: score, train, then re-score is forbidden.",
    ],
)
def test_a_second_pass_that_is_forbidden_is_none(sentence: str) -> None:
    assert voiding_sentences(sentence, "README.md") == ()


@pytest.mark.parametrize("name", ["fineweb_val_*.bin", "data/*/val_*.bin", "val_loader", "*_val_*"])
def test_what_is_set_as_code_is_quoted_as_it_is(name: str) -> None:
    text = f"An **11-layer** GPT, _trained on the validation shard_ (`{name}`)."
    (found,) = voiding_sentences(text, "README.md")
    assert found.sentence == f"An 11-layer GPT, trained on the validation shard ({name})."
