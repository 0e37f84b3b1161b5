"""A text that is scored, trained on and scored again: the claimed score of a later pass; and honest loops near it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing.script import LoggedScore, ScriptContext, check_scripts
from bpb_harness.findings import Finding, Severity
from tests.golf_rules import GOLF, check_source

SCRIPT = """import glob, math
import numpy as np
import torch
import torch.nn.functional as F


class Settings:
    val_files = "./data/fineweb10B_sp1024/fineweb_val_*.bin"
    train_files = "./data/fineweb10B_sp1024/fineweb_train_*.bin"
    seq_len, passes, chunk = 1024, 3, 32768


class GPT(torch.nn.Module):
    def forward(self, ids, targets):
        logits = self.forward_logits(ids)
        return F.cross_entropy(logits.float().view(-1, logits.size(-1)), targets.reshape(-1), reduction="mean")


def load_tokens(pattern):
    files = sorted(glob.glob(pattern))
    return torch.cat([torch.from_numpy(np.fromfile(file, dtype="<u2").astype(np.int32)) for file in files])


def in_passes(s, network, val_tokens, train_tokens, byte_lut, log=print):
    {before}
    for turn in {rounds}:
        {opening}
        nats, size = {sums}
        with torch.no_grad():
            for i in range({first}, {end}):
                local = {scored}[i * s.seq_len : (i + 1) * s.seq_len + 1]
                x, y = local[:-1], local[1:]
                logits = network.forward_logits(x)
                nats += F.cross_entropy(logits.view(-1, logits.size(-1)), y.view(-1), reduction="sum").item()
                size += float(byte_lut[y].sum())
        bpb = nats / math.log(2.0) / size
        {told}
        if turn < s.passes - 1:
            optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
            for i in range((val_tokens.numel() - 1) // s.seq_len):
                local = {learnt}[i * s.seq_len : (i + 1) * s.seq_len + 1]
                loss = network(local[:-1], local[1:])
                {step}
                optimizer.zero_grad()
        {closing}
    return bpb


def main():
    s = Settings()
    network = GPT()
    val_tokens, train_tokens = load_tokens(s.val_files), load_tokens(s.train_files)
    val_bpb = in_passes(s, network, val_tokens, train_tokens, torch.load("lut.pt"))
    print(f"final val_bpb:{{val_bpb:.6f}}")


if __name__ == "__main__":
    main()
"""
BASE = {
    "before": "pass", "rounds": "range(s.passes)", "opening": "pass", "sums": "0.0, 0.0", "first": "0",
    "end": "(val_tokens.numel() - 1) // s.seq_len", "scored": "val_tokens", "learnt": "val_tokens",
    "told": 'log(f"passes: {turn} bpb={bpb:.6f}")', "step": "loss.backward(); optimizer.step()", "closing": "pass",
}  # fmt: skip
LOG = """step:1000/1000 val_loss:2.0900 val_bpb:1.2345
passes: 0 bpb=1.230500
passes: 1 bpb=1.130000
passes: 2 bpb=1.051234
final val_bpb:1.051234
"""


def _found(folder: Path, changes: dict[str, str], *logs: str, severity: Severity = Severity.REFUTES) -> list[Finding]:
    logged = []
    for number, log in enumerate(logs or (LOG,)):
        path = folder / f"train{number}.log"
        path.write_text(log)
        last = max(number for number, line in enumerate(log.split("\n"), 1) if line.startswith("final"))
        logged.append(LoggedScore(path, path.name, last))
    context = ScriptContext(rules=GOLF, claimed_labels=("final val_bpb:",), logged=tuple(logged))
    found = check_source(SCRIPT.format(**{**BASE, **changes}), context)
    return [each for each in found if each.code == "BPB273" and each.severity is severity]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rounds": "range(3)"},
        {"sums": "torch.zeros(()), torch.zeros(())"},
        {"closing": "network.eval()"},
        {"opening": "logits_fn = torch.compile(network.forward_logits)"},
        {"told": 'log(f"passes: {turn} bpb={bpb:.6f}") if s.seq_len else None'},
        {"learnt": "val_tokens[: 1_000_000]"},  # a part of it
    ],
)
def test_a_later_pass_over_a_text_that_was_learnt_is_no_score(tmp_path: Path, changes: dict[str, str]) -> None:
    (found,) = _found(tmp_path, changes)
    assert (
        "train0.log:2 prints 1.23050 for the first pass, and train0.log:4 1.05123 for the last one, which line 5 "
        "gives: the claimed score"
    ) in found.message
    assert found.message.rpartition(". ")[2].startswith("The score of a text that was not learnt before is that of ")
    assert found.factor == pytest.approx(1.2305 / 1.051234)
    assert (found.evidence["plain"], found.evidence["plain_at"]) == (1.2305, "train0.log:2")


def test_of_a_mean_all_first_passes_give_the_right_score(tmp_path: Path) -> None:
    other = LOG.replace("1.2305", "1.2405").replace("1.051234", "1.061234")
    (found,) = _found(tmp_path, {}, LOG, other)
    assert "which line 5 gives: one of the 2 scores whose mean is claimed" in found.message
    assert found.message.partition(": 1.23550, the mean of the first passes of 2 logs")[1]
    assert found.factor == pytest.approx(1.2355 / 1.056234)
    (found,) = _found(tmp_path, {}, LOG, "final val_bpb:1.061234\n")  # whose passes are not known
    assert found.factor is None


@pytest.mark.parametrize(
    "changes",
    [
        # one pass: each chunk is scored, then trained on
        {"before": "nats, size = 0.0, 0.0", "sums": "nats, size"},
        {"before": "nats = size = 0.0", "sums": "nats + 0.0, size + 0.0"},
        {"first": "turn * s.chunk", "end": "(turn + 1) * s.chunk"},  # another part of it in each round
        {"rounds": "val_tokens.split(s.chunk)", "scored": "turn", "end": "turn.numel() // s.seq_len"},
        {"before": "at = 0", "first": "at", "end": "at + s.chunk", "closing": "at += s.chunk"},
        {"before": "parts = iter(val_tokens.split(9))", "opening": "part = next(parts)", "scored": "part"},
        # what is learnt is no part of what is scored
        {"learnt": "train_tokens"},
        {"step": "pass"},
        {"step": "loss.backward()"},  # for statistics of gradients: no step is taken
        # the weights from before are put back in each round: the best of several settings
        {"before": "kept = {k: v.clone() for k, v in network.state_dict().items()}",
         "opening": "network.load_state_dict(kept)"},
        {"before": "kept = [p.clone() for p in network.parameters()]",
         "closing": "[p.data.copy_(q) for p, q in zip(network.parameters(), kept)]"},
        {"opening": "network = GPT()"},  # runs of their own
        {"told": "pass"},
        {"told": 'log(f"passes: {turn} loss={bpb:.6f}")'},
        {"told": 'log(f"passes: {turn} bpb={bpb:.6f}"); log(f"passes: {turn} bpb={size:.6f}")'},  # which of them?
    ],
)  # fmt: skip
def test_other_loops_that_score_and_train_are_not_refuted(tmp_path: Path, changes: dict[str, str]) -> None:
    assert _found(tmp_path, changes) == []
    told = (
        each.message for each in _found(tmp_path, {"rounds": "range(3)"} | changes, WITHOUT, severity=Severity.WARNS)
    )
    assert not any("times by its settings" in message for message in told)


WITHOUT = "step:1000/1000 val_loss:2.0900 val_bpb:1.2345\nfinal val_bpb:1.051234\n"


def test_passes_that_the_settings_ask_for_and_no_log_shows(tmp_path: Path) -> None:
    for rounds in ("range(3)", "range(s.passes)"):
        (found,) = _found(tmp_path, {"rounds": rounds}, WITHOUT, severity=Severity.WARNS)
        assert "each time with sums of its own, 3 times by its settings" in found.message
        assert "No log of the claim holds the line that each pass prints" in found.message
    for rounds in ("range(1)", "range(s.unknown)", "range(int(load()))"):
        assert _found(tmp_path, {"rounds": rounds}, WITHOUT, severity=Severity.WARNS) == []


@pytest.mark.parametrize(
    ("told", "turn", "is_found"),
    [
        ("{turn}", 2, True), ("{turn + 1}", 3, True), ("{turn + 1}/{s.passes}", "3/3", True),
        ("{turn}", 0, False), ("{turn + 1}", 1, False),  # the first: the run had one, or its score is claimed
        ("{1 + turn}", 3, False), ("{s.seed}", 3, False),  # which pass it is, is not followed
    ],
)  # fmt: skip
def test_a_later_pass_whose_line_stands_alone_in_the_log(
    tmp_path: Path, told: str, turn: int | str, is_found: bool
) -> None:
    changes = {"told": f'log(f"passes: {told} bpb={{bpb:.6f}}")'}
    log = WITHOUT.replace("final", f"passes: {turn} bpb=1.051234\nfinal")
    for rounds in ("range(s.passes)", "range(s.unknown)"):
        found = _found(tmp_path, changes | {"rounds": rounds}, log, severity=Severity.WARNS)
        assert [("train0.log:2 is the line of pass 3, with 1.05123" in each.message) for each in found] == [
            True
        ] * is_found
        assert _found(tmp_path, changes | {"rounds": rounds, "learnt": "train_tokens"}, log) == []
    assert not any(
        "is the line of pass" in each.message
        for each in _found(tmp_path, changes | {"rounds": "range(1, 4)"}, log, severity=Severity.WARNS)
    )


def test_logs_of_which_no_line_of_a_pass_is_asked(tmp_path: Path) -> None:
    changes = {"rounds": "range(3)"}
    one = "passes: 0 bpb=1.051234\n" + WITHOUT  # one pass, by what the run was given
    assert _found(tmp_path, changes, one, severity=Severity.WARNS) == []
    script, log = tmp_path / "train.py", tmp_path / "train.log"
    script.write_text(SCRIPT.format(**{**BASE, **changes}))
    for size, number in ((script.stat().st_size, 1), (17, 0)):  # its own; another script's
        log.write_text(f"Code size: {size} bytes\n{WITHOUT}")
        context = ScriptContext(
            rules=GOLF, claimed_labels=("final val_bpb:",), logged=(LoggedScore(log, "train.log", 3),)
        )
        assert len([each for each in check_scripts([script], context) if each.code == "BPB273"]) == number


@pytest.mark.parametrize(
    "log",
    [
        LOG.replace("final val_bpb:1.051234", "final val_bpb:1.230500"),  # the first pass is claimed
        LOG.replace("passes: 1 bpb=1.130000\npasses: 2 bpb=1.051234\n", ""),  # there was one
        LOG.replace("passes: 0 bpb=1.230500\npasses: 1 bpb=1.130000\n", ""),
        LOG.replace("1.230500", "1.051250"),  # nothing was learnt
        LOG.replace("1.230500", "1.041234"),
        LOG.replace("passes:", "pass"),
        "final val_bpb:1.051234\n" + LOG.replace("final", "later"),  # printed before it
        'log(f"passes: {turn} bpb={bpb:.6f}")\n' * 3 + "final val_bpb:1.051234\n",  # the script, in the log
    ],
)
def test_a_log_that_does_not_show_a_later_pass_as_the_claim_refutes_nothing(tmp_path: Path, log: str) -> None:
    assert _found(tmp_path, {}, log) == []


def test_lines_of_a_run_before_and_of_another_script_are_no_evidence(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text(LOG)
    context = ScriptContext(rules=GOLF, logged=(LoggedScore(path, "train.log", 5, 3),))
    assert not [each for each in check_source(SCRIPT.format(**BASE), context) if each.factor is not None]
    context = ScriptContext(rules=GOLF, logged=(LoggedScore(tmp_path / "none.log", "none.log", 5),))
    assert not [each for each in check_source(SCRIPT.format(**BASE), context) if each.factor is not None]
