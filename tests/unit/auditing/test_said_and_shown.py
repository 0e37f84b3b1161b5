"""A training on the scored text that a record tells of in its own words, beside its log, its script or its score."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, bpb, submission
from tests.unit.auditing.script.checks.test_learnt_as_logs_show import BASE, SCRIPT

NATS = 2.0312
LEARNS = SCRIPT.format(**BASE | {"told": 'log(f"ttt:epoch {epoch + 1}/{s.adapt_epochs} loss:{loss.item():.4f}")'})
LEARNS = LEARNS.replace(
    'print(f"final val_bpb:{val_bpb:.6f}")', 'print(f"final val_loss:{val_loss:.8f} val_bpb:{val_bpb:.8f}")'
)
OTHER_SIZE = len(LEARNS) + 23
RUN = f"""val_loader:shards pattern=./data/datasets/fineweb10B_sp1024/fineweb_val_*.bin tokens:62021632
step:1000/1000 val_loss:2.0900 val_bpb:1.2345
Code size: {OTHER_SIZE} bytes
ttt:epoch 1/3 loss:2.0100
ttt:epoch 2/3 loss:1.9100
ttt:epoch 3/3 loss:1.8100
final val_loss:NATS val_bpb:SCORE
"""
ADMITS = "TTT adapts all weights to the validation data by SGD before scoring.\n"
SCORE_FIRST = "TTT: each chunk is scored before the network is trained on it.\n"


def _report(folder: Path, readme: str, *, script: str = LEARNS, run: str = RUN, nats: float = NATS) -> AuditReport:
    folder.mkdir(exist_ok=True)
    score = f"{bpb(nats, SP1024):.8f}"
    (folder / "submission.json").write_text(submission(val_bpb=float(score)))
    (folder / "README.md").write_text(f"# A network (val_bpb {score})\n\n{readme}")
    (folder / "train_gpt.py").write_text(script)
    (folder / "train.log").write_text(run.replace("NATS", f"{nats:.8f}").replace("SCORE", score))
    return audit(folder)


def test_script_log_and_words_together_are_no_doubt(tmp_path: Path) -> None:
    report = _report(tmp_path, ADMITS)
    (found,) = report.with_code("BPB273")
    assert (report.verdict, found.severity) == ("refuted", "error")
    assert "Another version of it ran, by the size that the log states, and did the same: train.log:4" in found.message
    assert "README.md:3 says itself that it came first" in found.message
    assert report.corrected_bpb is None


@pytest.mark.parametrize(
    ("readme", "script", "run"),
    [
        (SCORE_FIRST, LEARNS, RUN),
        ("", LEARNS, RUN),  # nothing is said
        (ADMITS, LEARNS, RUN.replace("ttt:epoch", "ttt:round")),  # the log has another training's lines
        (ADMITS, LEARNS.replace("device, val_tokens)", "device, train_tokens)", 1), RUN),  # the script another text
        (
            ADMITS,
            LEARNS,
            RUN.replace("final", "step:1001/1001").replace("ttt:epoch 1", "final val_bpb:1.2\nttt:epoch 1"),
        ),
        (
            ADMITS,
            LEARNS.replace(
                "    val_bpb = eval", "    base.load_state_dict(torch.load('other.pt'))\n    val_bpb = eval"
            ),
            RUN,
        ),
        (ADMITS, LEARNS, RUN.replace("final", "result")),
        ("Unlike others, no TTT adapts weights to the validation data before scoring.\n", LEARNS, RUN),
    ],
    ids=[
        "score first",
        "silent",
        "another line",
        "another text",
        "behind the score",
        "put back",
        "another score",
        "denied",
    ],
)
def test_two_of_the_three_leave_a_doubt_at_most(tmp_path: Path, readme: str, script: str, run: str) -> None:
    report = _report(tmp_path, readme, script=script, run=run)
    assert report.verdict != "refuted"


PLAIN = "import torch\n"
PLAIN_RUN = (
    "val_loader:shards pattern=./fineweb10B_sp1024/fineweb_val_*.bin tokens:62021632\n" + RUN.split("\n")[-2] + "\n"
)
ON_IT = "Val-only training: the network was trained on the validation shard.\n"


def test_a_score_below_all_that_stands_is_void_by_the_words_that_say_why(tmp_path: Path) -> None:
    report = _report(tmp_path, ON_IT, script=PLAIN, run=PLAIN_RUN, nats=1.6)
    (found,) = report.with_code("BPB213")
    assert (report.verdict, found.severity) == ("refuted", "error")
    assert report.with_code("BPB420")  # which the message names


@pytest.mark.parametrize(
    ("readme", "said"),
    [
        (ON_IT, "README.md:3 says 'Val-only training: the network was trained on the validation shard.': if it is so,"),
        (
            "# Our Pre-Quant TTT and more\n",
            "README.md:3 names 'Pre-Quant TTT', in 'Our Pre-Quant TTT and more': if that is what such names usually "
            "stand for,",
        ),
        ("# Pre-Quant TTT\n", "README.md:3 says 'Pre-Quant TTT': if it is so,"),
    ],
    ids=["a sentence", "a name in a title", "a name alone"],
)
def test_a_name_in_a_title_is_told_from_a_sentence(tmp_path: Path, readme: str, said: str) -> None:
    (found,) = _report(tmp_path, readme, script=PLAIN, run=PLAIN_RUN).with_code("BPB213")
    assert found.message.startswith(said)


FIGURES = "".join(f"print(f'part {number}: {{ms}} ms {{size}} bytes')\n" for number in range(9))
PRINTS = "print(f'{label} val_loss:{loss:.8f} val_bpb:{score:.8f}')\n"


@pytest.mark.parametrize(
    ("script", "missing"),
    [
        (
            f"{PLAIN}{FIGURES}print(f'final_s0 val_loss:{{loss:.8f}} val_bpb:{{score:.8f}}')\n",
            "the script that printed 'final' (train.log:2), a line that train_gpt.py does not print: does it do "
            "what the record says?",
        ),
        (
            f"{PLAIN}{FIGURES}print(f'final val_loss:{{loss:.8f}} val_bpb:{{score:.8f}}')\n",
            "a look into the script that made the score: does it do what the record says?",
        ),
        (PLAIN + FIGURES + PRINTS, "a look into the script that made the score: does it do what the record says?"),
        (PLAIN, "a look into the script that made the score: does it do what the record says?"),
    ],
    ids=["another line", "that line", "any line", "none"],
)
def test_the_script_that_is_asked_for_is_one_that_prints_the_score(tmp_path: Path, script: str, missing: str) -> None:
    (found,) = _report(tmp_path, ON_IT, script=script, run=PLAIN_RUN).with_code("BPB213")
    assert found.evidence["missing"] == missing


@pytest.mark.parametrize(
    ("readme", "nats"),
    [
        (ON_IT, NATS),  # as high as others: what the words mean is open
        ("The network was never trained on the validation shard.\n", 1.6),
        ("Unlike val-only training, the network was trained on the training shards alone.\n", 1.6),
        ("Single-pass training on val data (not multi-pass), each token scored first.\n", 1.6),
        ("The LoRA is trained on the validation data chunk by chunk.\n", 1.6),
        ("Trained on the training shards (no val-only training).\n", 1.6),
        ("The script has a flag for val-only training, which is off.\n", 1.6),
        ("The mixing weight is chosen by a validation-only training of one scalar.\n", 1.6),
        ("The hyperparameters were chosen on the validation shard.\n", 1.6),
        ("", 1.6),
    ],
    ids=[
        "high",
        "denied",
        "compared",
        "at test time",
        "an adapter",
        "denied in brackets",
        "a flag",
        "a scalar",
        "chosen",
        "silent",
    ],
)
def test_neither_words_nor_a_low_score_alone_refute(tmp_path: Path, readme: str, nats: float) -> None:
    assert _report(tmp_path, readme, script=PLAIN, run=PLAIN_RUN, nats=nats).verdict == "unverifiable"


@pytest.mark.parametrize(
    "words",
    [
        *("by a flag", "as an option", "behind a switch", "that is off", "that is disabled", "by default"),
        *("that is unused here", "of one scalar", "of a temperature", "of the gates", "of the mixing weight"),
        *("of what was chosen", "(no option)"),
    ],
)
def test_val_only_training_of_less_than_the_network_or_by_a_setting_refutes_nothing(tmp_path: Path, words: str) -> None:
    said = f"Val-only training {words}: the network was trained on the validation shard.\n"
    report = _report(tmp_path, said, script=PLAIN, run=PLAIN_RUN, nats=1.6)
    assert (report.verdict, bool(report.with_code("BPB213"))) == ("unverifiable", True)
    both = _report(tmp_path / "both", f"{said}\n{ON_IT}", script=PLAIN, run=PLAIN_RUN, nats=1.6)
    assert both.verdict == "refuted"  # another sentence says it plainly
