"""A log that lacks a line which the script prints in every run, between two that it holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, bpb, submission

NATS = 2.0312
SCRIPT = """import os

import torch


class Settings:
    seed = int(os.environ.get("SEED", 1337))
    ema = bool(int(os.environ.get("EMA", "1")))


def describe(network, log):
    log(f"network:{type(network).__name__} with params:{count(network)}")


def main(rank, val_tokens, network):
    s = Settings()
    master_process = rank == 0

    def log0(text: str, console: bool = True) -> None:
        if master_process:
            print(text)

    log0(f"Running Python {s}", console=False)
    log0(f"Running PyTorch {torch.__version__}", console=False)
    log0(f"val_loader:shards pattern=./data/datasets/fineweb10B_sp1024/fineweb_val_*.bin tokens:{val_tokens.numel()}")
    describe(network, log0)
    log0(f"seed:{s.seed}")
    with torch.no_grad():
        log0(
            f"hashed_bigrams:{s.bigrams} "
            f"ema_decay:{s.ema_decay} zirconium_gate:{s.gate}"
        )
    for step in range(10):
        log0(f"step:{step}/10 train_loss:{train(network):.4f}")
    if s.ema:
        log0("ema:applied")
    if rank == 0:
        log0(f"Serialized model: {count(network)} bytes")
        log0(f"Code size: {len(CODE)} bytes")
    log0(f"peak memory allocated: {torch.cuda.max_memory_allocated()} MiB")
    val_loss, val_bpb = eval_val(network, val_tokens)
    log0(f"final_int8_zlib_roundtrip_exact val_loss:{val_loss:.8f} val_bpb:{val_bpb:.8f}")


if __name__ == "__main__":
    main(int(os.environ["RANK"]), load_tokens(), build())
"""
MISSING = "hashed_bigrams:4096 ema_decay:0.99 zirconium_gate:0.5\n"
LOG = f"""val_loader:shards pattern=./data/datasets/fineweb10B_sp1024/fineweb_val_*.bin tokens:62021632
network:GPT with params:17059912
seed:1337
{MISSING}step:0/10 train_loss:6.9330
step:9/10 train_loss:2.1330
ema:applied
Serialized model: 67224983 bytes
Code size: SIZE bytes
peak memory allocated: 11273 MiB
final_int8_zlib_roundtrip_exact val_loss:{NATS:.8f} val_bpb:{bpb(NATS, SP1024):.8f}
"""
LACKING = LOG.replace(MISSING, "")
OWN, OTHER = str(len(SCRIPT)), "47000"


def _report(folder: Path, text: str, size: str, *, name: str = "A net", script: str = SCRIPT) -> AuditReport:
    folder.mkdir(exist_ok=True)
    (folder / "submission.json").write_text(submission(val_bpb=round(bpb(NATS, SP1024), 8), name=name))
    (folder / "train_gpt.py").write_text(script)
    (folder / "train.log").write_text(text.replace("SIZE", size))
    return audit(folder)


def test_a_line_that_was_taken_out(tmp_path: Path) -> None:
    report = _report(tmp_path, LACKING, OWN)
    (found,) = report.with_code("BPB450")
    assert report.verdict == "unverifiable"
    assert (
        "train.log lacks, between its lines 3 and 7, the line 'hashed_bigrams:' that train_gpt.py prints in every run"
        in found.message
    )
    assert f"the size of the code that does, {int(OWN):,} bytes: the line was taken out, or changed" in found.message
    assert "train.log as the run printed it" in report.judgement.missing


@pytest.mark.parametrize("name", ["11L + Zirconium gates", "ZirconiumNet", "a record: zirconium + EMA"])
def test_a_log_of_another_script_that_says_nothing_of_what_the_title_claims(tmp_path: Path, name: str) -> None:
    text = LACKING.replace("ema:applied\n", "")
    report = _report(tmp_path, text, OTHER, name=name)
    (found,) = report.with_code("BPB450")
    assert report.verdict == "unverifiable"
    assert (
        "states a code size of 47,000 bytes, which no script there has: another script made the score" in found.message
    )
    assert "zirconium" in found.message
    assert "the script that wrote train.log, or a log that train_gpt.py wrote" in report.judgement.missing


def test_a_log_without_the_code_size_that_its_script_always_prints(tmp_path: Path) -> None:
    more = ["attention:causal", "optimizer:adam", "scaling:none", "rotary:whole"]
    script = SCRIPT.replace("    with torch", "".join(f'    log0("{line}")\n' for line in more) + "    with torch")
    text = LACKING.replace("Code size: SIZE bytes\n", "").replace("step:0", "\n".join([*more, "step:0"]))
    (found,) = _report(tmp_path, text, OWN, name="Zirconium gates", script=script).with_code("BPB450")
    assert "states no size of its code, which that script always prints too: another script made" in found.message
    assert _report(tmp_path, text, OWN, name="A net", script=script).with_code("BPB450") == []
    script = script.replace('        log0(f"Code size: {len(CODE)} bytes")\n', "")
    assert _report(tmp_path, text, OWN, name="Zirconium gates", script=script).with_code("BPB450") == []


TITLE = "Zirconium gates"
MOVED = LACKING.replace("seed:1337\n", "").replace("final_int8", "seed:1337\nfinal_int8")
SUMMARY = "".join(line + "\n" for line in LOG.split("\n") if "loss" in line or "size" in line or "val_loader" in line)


@pytest.mark.parametrize(
    ("text", "size", "name"),
    [
        pytest.param(LOG, OWN, TITLE, id="a whole log"),
        pytest.param(LOG.replace(" zirconium_gate:0.5", ""), OWN, TITLE, id="a line that was shorter"),
        pytest.param(LOG.replace("hashed_bigrams", "[rank1] x\rhashed_bigrams"), OWN, TITLE, id="lines in each other"),
        pytest.param(LACKING, OTHER, "A net", id="an earlier version of the script"),
        pytest.param(LACKING, OTHER, "A net with losses and layers", id="what any title says"),
        pytest.param(LACKING.replace("GPT", "ZirconiumGPT"), OTHER, TITLE, id="told by another line"),
        pytest.param(LOG.replace("Code size: SIZE bytes\n", ""), OWN, TITLE, id="no code size"),
        pytest.param(
            LACKING.replace("Code size: SIZE bytes\n", ""), OWN, "A net", id="no code size, and another title"
        ),
        pytest.param(LACKING.partition("step:0")[2], OWN, TITLE, id="cut at its beginning"),
        pytest.param(LOG.replace("peak memory allocated: 11273 MiB\n", ""), OTHER, "Allocated", id="the last line"),
        pytest.param(LOG.partition("\n")[2], OTHER, "Shards", id="the first line"),
        pytest.param(SUMMARY, OWN, TITLE, id="picked lines"),
        pytest.param(MOVED, OWN, TITLE, id="in another order"),
        pytest.param("import os\n" + "x = 1\n" * 40 + "=" * 80 + "\n" + LACKING, OWN, TITLE, id="holds its script"),
    ],
)
def test_what_logs_lack_that_are_in_order(tmp_path: Path, text: str, size: str, name: str) -> None:
    assert _report(tmp_path, text, size, name=name).with_code("BPB450") == []


LINE = SCRIPT[SCRIPT.index("    with torch.no_grad():") : SCRIPT.index("    for step in")]
PRINTED = 'log0(f"hashed_bigrams:{s.bigrams} zirconium_gate:{s.gate}")'


@pytest.mark.parametrize(
    "printed",
    [
        f"if s.loud: {PRINTED}",
        f"for _ in s.all: {PRINTED}",
        f"while s.goes_on(): {PRINTED}",
        f"try: s.other()\n    except Exception: {PRINTED}",
        f"if rank == 0 and s.loud: {PRINTED}",
        f"if rank == 1: {PRINTED}",
        f"if rank != 0: {PRINTED}",
        PRINTED.replace('")', '", console=False)'),
        PRINTED.replace("log0", "print"),
        PRINTED.replace("log0", "debug"),
        PRINTED.replace("log0", "table.write"),
        PRINTED.replace('")', '", s)'),
        PRINTED.replace("hashed_bigrams", "\\x1b[1mhashed_bigrams"),
        PRINTED.replace("hashed_bigrams", "\u2713 hashed_bigrams"),
        PRINTED.replace("hashed_bigrams:", "h:").replace("zirconium_gate", "z"),
        f"def later(): {PRINTED}",
        f"later = lambda: {PRINTED}",
    ],
)
def test_what_need_not_be_printed(tmp_path: Path, printed: str) -> None:
    script = SCRIPT.replace(LINE, f"    {printed}\n")
    assert _report(tmp_path, LACKING, str(len(script.encode())), script=script).with_code("BPB450") == []


@pytest.mark.parametrize(
    "printed",
    [
        PRINTED,
        f"if master_process: {PRINTED}",
        f"if rank == 0: {PRINTED}",
        f"if not s.distributed or rank == 0: {PRINTED}",
        f"if is_main_process(): {PRINTED}",
        f"with s.timer(): {PRINTED}",
        PRINTED.replace('")', '", flush=True)'),
        PRINTED.replace('f"hashed', '"hashed" + f"'),
        f"def told(log):\n        {PRINTED.replace('log0', 'log')}\n    told(log0)",
    ],
)
def test_what_is_always_printed(tmp_path: Path, printed: str) -> None:
    script = SCRIPT.replace(LINE, f"    {printed}\n")
    assert len(_report(tmp_path, LACKING, str(len(script.encode())), script=script).with_code("BPB450")) == 1


def test_each_log_of_a_mean_has_to_lack_it(tmp_path: Path) -> None:
    losses = (2.0312, 2.0331)
    (tmp_path / "train_gpt.py").write_text(SCRIPT)
    mean = sum(bpb(nats, SP1024) for nats in losses) / 2
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(mean, 8)))
    for others, is_found in ((LACKING, True), (LOG, False)):
        for seed, (nats, text) in enumerate(zip(losses, (LACKING, others), strict=True)):
            own = text.replace(f"{NATS:.8f}", f"{nats:.8f}").replace(
                f"{bpb(NATS, SP1024):.8f}", f"{bpb(nats, SP1024):.8f}"
            )
            (tmp_path / f"seed{seed}.log").write_text(own.replace("seed:1337", f"seed:{seed}").replace("SIZE", OWN))
        assert bool(audit(tmp_path).with_code("BPB450")) is is_found


def test_four_fifths_of_what_is_always_printed(tmp_path: Path) -> None:
    for number, is_found in ((0, True), (2, False)):
        more = "".join(f'    log0("part {word} is ready")\n' for word in "ab"[:number])
        script = SCRIPT.replace("    describe(", f"{more}    describe(", 1)
        report = _report(tmp_path, LACKING, str(len(script)), script=script)
        assert bool(report.with_code("BPB450")) is is_found


@pytest.mark.parametrize(("named", "is_found"), [("attention_kind", False), ("beryllium_kind", True)])
def test_words_that_any_title_may_have_claim_nothing(tmp_path: Path, named: str, is_found: bool) -> None:
    script = SCRIPT.replace("zirconium_gate", named)
    report = _report(tmp_path, LACKING, OTHER, name="Attention, and beryllium", script=script)
    assert bool(report.with_code("BPB450")) is is_found


@pytest.mark.parametrize(
    ("test", "is_found"),
    [("s.ema", True), ("not s.ema", False), ("s.unknown", False), ("s.ema and s.unknown", False)],
)
def test_what_settings_decide(tmp_path: Path, test: str, is_found: bool) -> None:
    script = SCRIPT.replace(LINE, f"    if {test}:\n        {PRINTED}\n")
    assert _report(tmp_path / "own", LACKING, str(len(script)), script=script).with_code("BPB450") == []
    found = _report(tmp_path / "other", LACKING, OTHER, name=TITLE, script=script).with_code("BPB450")
    assert [("prints by its settings" in each.message) for each in found] == [True] * is_found


def test_a_branch_of_which_nobody_knows_whether_it_is_taken(tmp_path: Path) -> None:
    script = SCRIPT.replace(LINE, f"    if s.unknown:\n        pass\n    else:\n        {PRINTED}\n")
    assert _report(tmp_path, LACKING, OTHER, name=TITLE, script=script).with_code("BPB450") == []
