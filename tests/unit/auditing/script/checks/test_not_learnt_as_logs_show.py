"""Training on the scored text that a whole log does not show: it did not come, unless something says that it may."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing.script import LoggedScore, ScriptContext, check_scripts
from bpb_harness.findings import Finding, Severity
from tests.golf_rules import GOLF

SCRIPT = """import glob, math, os
import numpy as np
import torch
import torch.nn.functional as F


class Settings:
    val_files = "./data/fineweb10B_sp1024/fineweb_val_*.bin"
    seq_len = int(os.environ.get("SEQ_LEN", 1024))
    adapts = bool(int(os.environ.get("ADAPTS", "1")))


class GPT(torch.nn.Module):
    def forward(self, ids, targets):
        logits = self.head(self.body(self.embed(ids)))
        return F.cross_entropy(logits.float().view(-1, logits.size(-1)), targets.reshape(-1), reduction="mean")


def load_tokens(pattern):
    files = sorted(glob.glob(pattern))
    return torch.cat([torch.from_numpy(np.fromfile(file, dtype="<u2").astype(np.int32)) for file in files])


def adapt(s, network, device, tokens):
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    for i in range((tokens.numel() - 1) // s.seq_len):
        local = tokens[i * s.seq_len : (i + 1) * s.seq_len + 1].to(device)
        loss = network(local[:-1], local[1:])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def eval_val(s, network, device, val_tokens, byte_lut):
    nats, size = 0.0, 0.0
    for i in range((val_tokens.numel() - 1) // s.seq_len):
        local = val_tokens[i * s.seq_len : (i + 1) * s.seq_len + 1].to(device)
        x, y = local[:-1], local[1:]
        nats += network(x, y).item() * y.numel()
        size += float(byte_lut[y].sum())
    return nats / math.log(2.0) / size


def main(rank):
    s = Settings()
    device = torch.device("cuda")

    def log0(text, console=True):
        if rank == 0:
            print(text)

    log0(f"Running Python {s}", console=False)
    val_tokens = load_tokens(s.val_files)
    log0(f"val_loader:shards pattern={s.val_files}")
    byte_lut = torch.load("lut.pt")
    base = GPT().to(device)
    log0(f"model_params:{count(base)}")
    log0(f"seed:{s.seed}")
    if rank == 0:
        log0(f"Serialized model: {count(base)} bytes")
        log0(f"Code size: {len(CODE)} bytes")
    if s.adapts:
        OPENING
        adapt(s, base, device, val_tokens)
    log0("scoring now")
    val_bpb = eval_val(s, base, device, val_tokens, byte_lut)
    log0(f"final val_bpb:{val_bpb:.6f}")


if __name__ == "__main__":
    main(int(os.environ["RANK"]))
"""
OPENING = 'log0(f"adapting:start lr:{s.lr}")'
LOG = """val_loader:shards pattern=./data/fineweb10B_sp1024/fineweb_val_*.bin
model_params:17059912
seed:1337
step:1000/1000 val_loss:2.0900 val_bpb:1.2345
Serialized model: 67224983 bytes
Code size: {size} bytes
scoring now
final val_bpb:1.{digits}
"""
OTHER_SIZE, LOWER, HIGHER = "47000", "231234", "251234"


def _found(
    folder: Path,
    log: str,
    script: str = SCRIPT,
    opening: str = OPENING,
    settings: dict[str, str] | None = None,
    readme: str = "",
    said: tuple[str, ...] = (),
) -> list[Finding]:
    path, written = folder / "train.log", folder / "train_gpt.py"
    written.write_text(script.replace("OPENING", opening))
    path.write_text(log.replace("OWN", str(len(written.read_bytes()))))
    lines = log.split("\n")
    last = max(number for number, line in enumerate(lines, 1) if line.startswith("final"))
    before = tuple((number, 1.2345) for number, line in enumerate(lines[: last - 1], 1) if "val_bpb" in line)
    logged = (LoggedScore(path, "train.log", last, 0, before, float(lines[last - 1].rpartition(":")[2])),)
    context = ScriptContext(
        rules=GOLF,
        claimed_labels=("final val_bpb:",),
        logged=logged,
        settings=settings or {},
        readme=readme,
        said=said,
    )
    return [each for each in check_scripts([written], context) if each.code == "BPB273"]


@pytest.mark.parametrize(
    ("log", "why"),
    [
        (LOG.format(size=OTHER_SIZE, digits=LOWER), "the log states a size of its code that no script there has"),
        (LOG.format(size="OWN", digits=HIGHER),
         "the score does not fall there, from 1.2345 in line 4 to 1.2512 in line 8"),
        ("adapts=0 lr=0.1\n" + LOG.format(size="OWN", digits=LOWER), "line 1 says that it was switched off"),
        ("adapts: False\n" + LOG.format(size="OWN", digits=LOWER), "line 1 says that it was switched off"),
    ],
)  # fmt: skip
def test_a_whole_log_without_its_line(tmp_path: Path, log: str, why: str) -> None:
    (found,) = _found(tmp_path, log)
    assert found.severity is Severity.INFORMS
    assert "there is no line 'adapting:start lr:', which the training prints first" in found.message
    assert why in found.message
    assert found.message.count("That no line was taken out of the log is not checked") == 1


def test_settings_of_the_readme_that_the_log_does_not_show(tmp_path: Path) -> None:
    script = SCRIPT.replace('"ADAPTS", "1"', '"ADAPTS", "0"')
    log = LOG.format(size="OWN", digits=LOWER)
    (found,) = _found(tmp_path, log, script, settings={"ADAPTS": "1"})
    assert found.severity is Severity.INFORMS
    assert "by the script's own settings it is left out" in found.message
    assert _found(tmp_path, log, script) == []


WHOLE = LOG.format(size=OTHER_SIZE, digits=LOWER)


@pytest.mark.parametrize(
    "log",
    [
        pytest.param(LOG.format(size="OWN", digits=LOWER), id="nothing says that it was off"),
        pytest.param(WHOLE.replace("Code size: 47000 bytes\n", ""), id="the last line before it is not there"),
        pytest.param("\n".join(WHOLE.split("\n")[3:]), id="cut at its beginning"),
        pytest.param("".join(x + "\n" for x in WHOLE.split("\n") if "val_bpb" in x or "size" in x), id="picked lines"),
        pytest.param("Code size: 47000 bytes\n" + WHOLE, id="in another order"),
        pytest.param(WHOLE.replace("scoring", "adapting:start lr:0.1\nscoring"), id="its line"),
        pytest.param(WHOLE.replace("scoring", "adapting for 3 rounds\nscoring"), id="another word of it"),
        pytest.param(WHOLE.replace("scoring", "epoch 3 loss 1.2\nscoring"), id="what speaks of training"),
        pytest.param("adapting:start lr:0.1\n" + WHOLE, id="its line, elsewhere"),
        pytest.param("adapts=1 lr=0.1\n" + LOG.format(size="OWN", digits=LOWER), id="switched on"),
    ],
)
def test_a_log_that_does_not_show_that_it_did_not_come(tmp_path: Path, log: str) -> None:
    (found,) = _found(tmp_path, log)
    assert found.severity is Severity.WARNS


@pytest.mark.parametrize(
    ("readme", "severity"),
    [
        ("# A net\nEleven layers.", Severity.INFORMS),
        ("# A net + TTT", Severity.WARNS),
        ("It is adapted at test time", Severity.WARNS),
        ("adapting: three rounds", Severity.WARNS),
    ],
)
def test_another_code_size_says_nothing_where_the_record_claims_the_training(
    tmp_path: Path, readme: str, severity: Severity
) -> None:
    (found,) = _found(tmp_path, WHOLE, readme=readme)
    assert found.severity is severity


@pytest.mark.parametrize(
    ("test", "severity"),
    [
        ("s.adapts and s.whole_text", Severity.INFORMS),
        ("s.adapts or s.whole_text", Severity.WARNS),
        ("s.adapts and not s.whole_text", Severity.WARNS),
    ],
)
def test_which_setting_has_to_be_on(tmp_path: Path, test: str, severity: Severity) -> None:
    script = SCRIPT.replace("    if s.adapts:", f"    if {test}:").replace(
        "adapts = bool",
        'whole_text = bool(int(os.environ.get("WHOLE", "' + ("0" if "not" in test else "1") + '")))\n    adapts = bool',
    )
    (found,) = _found(tmp_path, "whole_text=0\n" + LOG.format(size="OWN", digits=LOWER), script)
    assert found.severity is severity


@pytest.mark.parametrize(
    "opening",
    [
        "pass",
        'log0(f"adapting:start lr:{s.lr}", console=False)',  # into a file, of which nothing is here
        'print(f"adapting:start lr:{s.lr}")',
        'if s.loud: log0(f"adapting:start lr:{s.lr}")',
        'for x in s.all: log0(f"adapting:start lr:{x}")',
        'log0(f"# {s.lr}")',
    ],
)
def test_a_training_that_need_not_print_where_the_log_is_from(tmp_path: Path, opening: str) -> None:
    (found,) = _found(tmp_path, WHOLE, opening=opening)
    assert found.severity is Severity.WARNS


ANOTHER = "adapt(s, base, device, val_tokens)\n"


@pytest.mark.parametrize(
    "another", [f"    {ANOTHER}", f"    with s.timer():\n        with s.other():\n            {ANOTHER}"]
)
@pytest.mark.parametrize("place", ['    log0("scoring now")', "    if s.adapts:"])
def test_another_training_is_held_against_the_score_all_the_same(tmp_path: Path, place: str, another: str) -> None:
    (found,) = _found(tmp_path, WHOLE, SCRIPT.replace(place, another + place))
    assert found.severity is Severity.WARNS


def test_four_fifths_of_what_is_always_printed_before_it(tmp_path: Path) -> None:
    for number, severity in ((1, Severity.INFORMS), (2, Severity.WARNS)):
        more = "".join(f'    log0("part {word} is ready")\n' for word in "abc"[:number])
        (found,) = _found(tmp_path, WHOLE, SCRIPT.replace("    base = GPT()", f"{more}    base = GPT()", 1))
        assert found.severity is severity


def test_what_begins_as_its_line_does(tmp_path: Path) -> None:
    for line, severity in (("done\n", Severity.INFORMS), ("polishing of 3 layers\n", Severity.WARNS)):
        log = WHOLE.replace("scoring", f"{line}scoring")
        (found,) = _found(tmp_path, log, opening='log0(f"polishing:start {s.rate}")')
        assert found.severity is severity


def test_what_has_to_be_off_for_it(tmp_path: Path) -> None:
    script = SCRIPT.replace("    if s.adapts:\n", "    if s.frozen:\n        pass\n    else:\n")
    script = script.replace('adapts = bool(int(os.environ.get("ADAPTS", "1")))', "frozen = False")
    (found,) = _found(tmp_path, "frozen: False\n" + LOG.format(size="OWN", digits=LOWER), script)
    assert found.severity is Severity.WARNS


def test_each_log_of_a_mean_has_to_show_it(tmp_path: Path) -> None:
    script = tmp_path / "train_gpt.py"
    script.write_text(SCRIPT.replace("OPENING", OPENING))
    for second, severity in ((WHOLE, Severity.INFORMS), (WHOLE.replace("Code size", "Size"), Severity.WARNS)):
        logged = []
        for name, text in (("one.log", WHOLE), ("two.log", second)):
            (tmp_path / name).write_text(text)
            logged.append(LoggedScore(tmp_path / name, name, text.count("\n"), 0, (), 1.231234))
        context = ScriptContext(rules=GOLF, claimed_labels=("final val_bpb:",), logged=tuple(logged))
        (found,) = (each for each in check_scripts([script], context) if each.code == "BPB273")
        assert found.severity is severity
        assert ("the other log has none either" in found.message) is (severity is Severity.INFORMS)


@pytest.mark.parametrize(
    ("readme", "severity"),
    [
        ("# A net\nval_bpb 1.2512, with TTT", Severity.WARNS),
        ("| step | bpb |\n| adapted | 1.25123 |", Severity.WARNS),
        ("# A net\nval_bpb 1.2601, with TTT", Severity.INFORMS),  # of another run
        ("val_bpb 1.2512, no TTT", Severity.INFORMS),
        ("val_bpb 1.2512", Severity.INFORMS),
    ],
)
def test_a_score_that_does_not_fall_says_nothing_where_the_record_claims_the_training(
    tmp_path: Path, readme: str, severity: Severity
) -> None:
    (found,) = _found(tmp_path, LOG.format(size="OWN", digits=HIGHER), readme=readme)
    assert found.severity is severity


@pytest.mark.parametrize(
    ("said", "severity"),
    [
        ("1.2312 (TTT)", Severity.WARNS),
        ("1.2412 (TTT)", Severity.INFORMS),
        ("1.2312 without TTT, 1.2011 with it", Severity.INFORMS),
        ("1.2312", Severity.INFORMS),
    ],
)
def test_settings_of_a_readme_that_gives_the_claimed_score(tmp_path: Path, said: str, severity: Severity) -> None:
    script, readme = SCRIPT.replace('"ADAPTS", "1"', '"ADAPTS", "0"'), f"ADAPTS=1 python train_gpt.py\n{said}"
    log = LOG.format(size="OWN", digits=LOWER)
    (found,) = _found(tmp_path, log, script, settings={"ADAPTS": "1"}, readme=readme)
    assert found.severity is severity


@pytest.mark.parametrize(
    ("blurb", "severity"),
    [
        ("Eleven layers. An exponential mean.", Severity.INFORMS),
        ("Eleven layers. TTT over the whole text, 3 rounds.", Severity.WARNS),
        ("Eleven layers, adapting before the score", Severity.WARNS),
        ("Eleven layers + order-adaptive mixture", Severity.INFORMS),
    ],
)
@pytest.mark.parametrize("why", ["another size", "does not fall", "by its settings"])
def test_the_words_of_the_json_may_claim_the_training(tmp_path: Path, blurb: str, severity: Severity, why: str) -> None:
    log = LOG.format(size=OTHER_SIZE if why == "another size" else "OWN", digits=HIGHER if "fall" in why else LOWER)
    is_off = why == "by its settings"
    script = SCRIPT.replace('"ADAPTS", "1"', '"ADAPTS", "0"') if is_off else SCRIPT
    settings = {"ADAPTS": "1"} if is_off else {}
    (found,) = _found(tmp_path, log, script, settings=settings, said=("A net", blurb))
    assert found.severity is severity


def test_words_of_the_json_that_deny_the_training_claim_nothing(tmp_path: Path) -> None:
    (found,) = _found(tmp_path, LOG.format(size="OWN", digits=HIGHER), said=("Eleven layers, no TTT; a mean",))
    assert found.severity is Severity.INFORMS
    (found,) = _found(tmp_path, LOG.format(size="OWN", digits=HIGHER), said=("No masks, TTT; a mean",))
    assert found.severity is Severity.WARNS
