"""A log with lines that its scripts do not print so: rounds, decimals, times."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, bpb

NATS = 2.0312
SCORE = f"final_exact val_loss:{NATS} val_bpb:{bpb(NATS, SP1024):.8f}\n"
SCRIPT = """
import time

def evaluate(chunks, log0, num_chunks):
    t0 = time.perf_counter()
    for ci in range(num_chunks):
        if log0 and (ci % 10 == 0 or ci == num_chunks - 1):
            score = chunks[ci]
            log0(f"  chunk [{ci+1}/{num_chunks}] bpb={score:.6f}")
    log0(f"scored all chunks, elapsed={time.perf_counter() - t0:.1f}s")
    return score

def main(log0, loss, score, ms, chunks):
    log0(f"step:{1} train_loss:{loss} train_time:{ms}ms")
    log0(f"step:{1} val_loss:{loss} val_bpb:{score} train_time:{ms}ms")
    log0(f"peak memory allocated: {ms} MiB")
    log0(f"Code size: {ms} bytes")
    t = time.perf_counter()
    score = evaluate(chunks, log0, len(chunks))
    log0(f"evaluated in {1000.0 * (time.perf_counter() - t):.0f}ms, "
         f"at last")
    log0(f"final_exact val_loss:{loss} val_bpb:{score}")
"""


def _log(chunks: str = "1 11 21 25", decimals: int = 6, elapsed: str = "178.5", milliseconds: int = 178612) -> str:
    lines = [f"  chunk [{each}/25] bpb={1.2:.{decimals}f}" for each in chunks.split()]
    timed = [f"scored all chunks, elapsed={elapsed}s", f"evaluated in {milliseconds}ms, at last"]
    return "\n".join([*lines, *timed, SCORE])


def _report(folder: Path, log: str, script: str = SCRIPT, **more: str) -> AuditReport:
    (folder / "submission.json").write_text(json.dumps({"val_bpb": round(bpb(NATS, SP1024), 8)}))
    for name, text in {"train.log": log, "train_gpt.py": script, **more}.items():
        (folder / name).write_text(text)
    return audit(folder)


ROUNDS = (
    "`chunk [5/25] bpb=1.200000` (train.log:2) and 1 more line are of a round at which train_gpt.py:7 prints nothing"
)
DECIMALS = "`chunk [1/25] bpb=1.2000` (train.log:1) and 3 more lines are with other decimals than train_gpt.py:9 gives"
TIMES = "178.175 s at train.log:6 for what encloses the 178.5 s of line 5 (train_gpt.py:20 and train_gpt.py:10)"


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (_log("1 5 20 25", decimals=4), [ROUNDS.replace("1.200000", "1.2000"), DECIMALS]),
        (_log("1 5 20 25", milliseconds=178175), [ROUNDS, TIMES]),
        (_log(decimals=4, milliseconds=178175), [DECIMALS, TIMES]),
    ],
    ids=["rounds and decimals", "rounds and times", "decimals and times"],
)
def test_two_signs_are_a_doubt(tmp_path: Path, log: str, said: list[str]) -> None:
    report = _report(tmp_path, log)
    (found,) = report.with_code("BPB432")
    assert found.message == f"no script of the record prints train.log as it is: {' and '.join(said)}"
    assert report.verdict == "unverifiable"


@pytest.mark.parametrize(
    ("log", "script"),
    [
        (_log(), SCRIPT),
        (_log("1 11 21 23"), SCRIPT),
        (_log("1 5 20 25"), SCRIPT),  # one sign alone is another version's
        (_log(decimals=4), SCRIPT),
        (_log(milliseconds=178175), SCRIPT),
        (_log(elapsed="178.6", milliseconds=178575, decimals=4), SCRIPT),  # as near as the digits are
        (_log("1 5 20 25", 4), SCRIPT.replace("ci % 10 == 0", "ci % 5 == 4")),
        (_log("1 5 20 25", 4), SCRIPT.replace("% 10 == 0", "% every == 0")),
        (_log("1 5 20 25", 4), SCRIPT.replace("or ci ==", "or loud or ci ==")),
        (_log("1 5 20 25", 4), SCRIPT.replace("ci == num_chunks - 1", "ci == special")),
        (_log("1 5 11 25", 4), SCRIPT.replace("or ci ==", "or ci == 4 or ci ==")),
        (_log("1 5 20 25", 4), SCRIPT.replace("            score =", "            ci = 4\n            score =")),
        (_log("1 5 20 25", 4), SCRIPT + '\nOTHER = "chunk ["\n'),  # printed elsewhere too, perhaps
        (_log(decimals=4, milliseconds=178175), SCRIPT.replace("{score:.6f}", "{score}").replace(":.6f", "")),
        (_log(decimals=4, milliseconds=178175), SCRIPT.replace("    score = evaluate", "    if t:\n     evaluate")),
        (_log(decimals=4, milliseconds=178175), SCRIPT.replace("t = time.perf_counter", "t = time.time")),
        (_log(decimals=4, milliseconds=178175), SCRIPT.replace("    log0(f\"scored", "    if t0: log0(f\"scored")),
        ("1 5 20 25" + _log("1 5 20 25", 4).replace("  chunk [", "  chunks ["), SCRIPT),
    ],
    ids=[
        "the script's own log", "a last line that is not the last round", "rounds alone", "decimals alone",
        "times alone",
        "times within their digits", "rounds of another rest", "a period that is a setting", "a condition beside it",
        "a value nobody knows", "a value beside it", "a variable that is changed", "words that stand elsewhere too",
        "decimals that are open", "a call on a condition", "another clock", "a time on a condition", "other words",
    ],
)  # fmt: skip
def test_one_sign_or_what_is_not_understood_is_none(tmp_path: Path, log: str, script: str) -> None:
    report = _report(tmp_path, log, script)
    assert not report.with_code("BPB432")
    assert report.verdict == "consistent"


def test_of_a_script_that_the_log_holds_nothing_is_said(tmp_path: Path) -> None:
    log = _log("1 5 20 25", decimals=4)
    helpers = "".join(f"def helper_{number}(x):\n    return x * {number}\n\n" for number in range(60))
    held = helpers + SCRIPT.replace("ci % 10 == 0", "ci % 5 == 4").replace(".6f", ".4f")
    report = _report(tmp_path, f"{held}\n{'=' * 100}\n{log}")
    assert not report.with_code("BPB432")


def test_two_runs_in_a_log_have_a_last_round_each(tmp_path: Path) -> None:
    twice = "\n".join(f"  chunk [{each}/{number}] bpb=1.2000" for number in (25, 8) for each in (1, number))
    assert not _report(tmp_path, f"{twice}\n{_log()}").with_code("BPB432")


SETTLED = "  chunk [8/25] settled=1.000\n  chunk [15/25] settled=1.000\n"
SETTLES = """

def settle(n, log0):
    for k in range(n):
        if k % 7 == 0:
            log0(f"  chunk [{k+1}/{n}] settled={k:.3f}")
"""


def test_lines_with_one_head_are_held_each_against_its_own_condition(tmp_path: Path) -> None:
    log = f"{SETTLED}{_log(milliseconds=178175)}"
    assert not _report(tmp_path, log, SCRIPT + SETTLES).with_code("BPB432")
    assert not _report(tmp_path, log, f"import time\n{SETTLES}{SCRIPT}").with_code("BPB432")
    (found,) = _report(tmp_path, log.replace("[15/", "[16/"), SCRIPT + SETTLES).with_code("BPB432")
    assert "`chunk [16/25] settled=1.000` (train.log:2) is of a round at which train_gpt.py:2" in found.message


@pytest.mark.parametrize(
    "printed",
    ['bpb={score:.6f}", end=" ")\n            log0(f"lr={score:.2e}")', 'bpb={score:.6f}", **how)'],
    ids=["a line that goes on", "it may go on"],
)
def test_a_line_that_is_written_on_has_more_behind_it(tmp_path: Path, printed: str) -> None:
    log = _log(milliseconds=178175).replace("bpb=1.200000", "bpb=1.200000 lr=1.00e-3")
    assert not _report(tmp_path, log, SCRIPT.replace('bpb={score:.6f}")', printed)).with_code("BPB432")
    assert _report(tmp_path, log, SCRIPT.replace('bpb={score:.6f}")', 'bpb={score:.6f}", flush=True)')).with_code(
        "BPB432"
    )
    written = SCRIPT.replace(
        'log0(f"  chunk [{ci+1}/{num_chunks}] bpb={score:.6f}")',
        'out.write(f"  chunk [{ci+1}/{num_chunks}] bpb={score:.6f}")',
    )
    assert not _report(tmp_path, log, written).with_code("BPB432")
    assert _report(tmp_path, log, written.replace('.6f}")', '.6f}\\n")')).with_code("BPB432")


def test_lines_that_are_cut_wrapped_or_coloured_have_no_decimals(tmp_path: Path) -> None:
    log = _log(milliseconds=178175)
    assert not _report(tmp_path, f"{log}  chunk [21/25] bpb=1.2").with_code("BPB432")
    assert not _report(tmp_path, log.replace("1.200000", "1.2000\n00")).with_code("BPB432")
    assert not _report(tmp_path, log.replace("1.200000", "\x1b[32m1.200000\x1b[0m")).with_code("BPB432")
