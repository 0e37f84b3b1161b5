"""Which of a script's evaluations made the claim: by its settings in the README, and by the lines of the logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing import audit
from bpb_harness.auditing.script import ReadOnce, ScriptContext, check, check_scripts, decode_source
from bpb_harness.claim.settings import Contested
from bpb_harness.findings import Finding, Severity
from tests.golf_rules import GOLF, check_source

HEAD = """import math, os
import torch
import torch.nn.functional as F
MASK = 1024


class Settings:
    masked = bool(int(os.environ.get("MASKED_EVAL", "0")))
    rate = float(os.environ.get("EVAL_RATE", "0.4"))
    passes = int(os.environ.get("PASSES", "4"))


def causal(model, batches, size_of):
    nats, size = 0.0, 0.0
    for x in batches:
        nats += F.cross_entropy(model(x[:, :-1]).float().transpose(1, 2), x[:, 1:], reduction="sum").item()
        size += float(size_of[x[:, 1:]].sum())
    return nats / math.log(2.0) / size


def masked(args, model, batches, size_of):
    nats, size = 0.0, 0.0
    for x in batches:
        hidden = torch.rand(x.shape) < args.rate
        seen = x.clone()
        seen[hidden] = MASK
        nats += F.cross_entropy(model(seen)[hidden].float(), x[hidden], reduction="sum").item()
        size += float(size_of[x[hidden]].sum())
    return nats / math.log(2.0) / size


def learnt(args, model, optimizer, batches, size_of):
    nats, size = 0.0, 0.0
    for x in batches:
        for epoch in range(args.passes):
            loss = F.cross_entropy(model(x[:, :-1]).float().transpose(1, 2), x[:, 1:])
            if epoch == args.passes - 1:
                nats += loss.item() * x[:, 1:].numel()
                size += float(size_of[x[:, 1:]].sum())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return nats / math.log(2.0) / size


def main(model, optimizer, batches, size_of):
    args = Settings()
"""
CHOSEN = (
    HEAD
    + """    if args.masked:
        val_bpb = masked(args, model, batches, size_of)
    else:
        val_bpb = causal(model, batches, size_of)
    print(f"final_exact val_bpb:{val_bpb:.6f}")


main(*make())
"""
)
SEVERAL = (
    HEAD
    + """    plain_bpb = causal(model, batches, size_of)
    print(f"final_plain val_bpb:{plain_bpb:.6f}")
    if args.masked:
        masked_bpb = masked(args, model, batches, size_of)
        print(f"final_masked val_bpb:{masked_bpb:.6f}")
    if os.environ.get("LEARN") == "1":
        learnt_bpb = learnt(args, model, optimizer, batches, size_of)
        print("final_learnt seed:%d val_bpb:%.6f" % (args.seed, learnt_bpb))


main(*make())
"""
)


def _found(text: str, code: str, **facts: object) -> list[Finding]:
    context = ScriptContext(rules=GOLF, **facts)  # type: ignore[arg-type]
    return [finding for finding in check_source(text, context) if finding.code == code]


def test_a_setting_of_the_run_chooses_the_evaluation() -> None:
    assert _found(CHOSEN, "BPB264") == []
    (found,) = _found(CHOSEN, "BPB264", settings={"MASKED_EVAL": "1"})
    assert (found.severity, found.evidence["mask_rate"]) == (Severity.REFUTES, 0.4)
    assert "hidden = torch.rand(x.shape) < args.rate" in str(found.evidence["quoted"])
    (found,) = _found(CHOSEN, "BPB264", settings={"MASKED_EVAL": "1", "EVAL_RATE": "0.25"})
    assert found.evidence["mask_rate"] == 0.25
    assert _found(CHOSEN, "BPB264", settings={"MASKED_EVAL": "0"}) == []
    assert _found(CHOSEN, "BPB264", settings={"OTHER": "1"}) == []


def test_a_reader_is_told_with_which_settings_a_script_was_read() -> None:
    assert _found(CHOSEN, "BPB953") == []
    (found,) = _found(CHOSEN, "BPB953", settings={"MASKED_EVAL": "1", "EVAL_RATE": "0.25", "OTHER": "3"})
    assert found.evidence["settings"] == {"EVAL_RATE": "0.25", "MASKED_EVAL": "1"}
    assert "`EVAL_RATE=0.25`, `MASKED_EVAL=1` among that; what holds with the defaults" in found.message
    assert _found(CHOSEN, "BPB953", settings={"MASKED_EVAL": "0"}) == []  # its own default


def test_what_commands_give_otherwise_is_unknown_and_told() -> None:
    given = {"MASKED_EVAL": Contested("0", "1"), "EVAL_RATE": "0.25"}
    (found,) = _found(CHOSEN, "BPB953", settings=given)
    assert "Commands in the README give `MASKED_EVAL=0 or 1`, and which of them" in found.message
    alone = {"MASKED_EVAL": Contested("0", "1")}
    assert "was read with" not in _found(CHOSEN, "BPB953", settings=alone)[0].message


def test_with_several_values_of_a_setting_a_script_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, read = tmp_path / "eval.py", list[Path]()
    file.write_text(CHOSEN)
    monkeypatch.setattr(check, "decode_source", lambda path: (read.append(path), decode_source(path))[1])
    cases = [{"MASKED_EVAL": value} for value in ("0", "1", "0")]
    apart = [check_scripts([file], ScriptContext(rules=GOLF, settings=case)) for case in cases]
    assert len(read) == 3
    shared = ReadOnce()
    found = [check_scripts([file], ScriptContext(rules=GOLF, settings=case), shared=shared) for case in cases]
    assert found == apart
    assert found[0] != found[1]
    assert len(read) == 4


def test_of_several_words_none_is_taken() -> None:
    """Neither of them, put together, is what the script compares with."""
    text = CHOSEN.replace('bool(int(os.environ.get("MASKED_EVAL", "0")))', 'os.environ.get("MODE", "ar") == "masked"')
    assert _found(text, "BPB264") == []
    assert len(_found(text, "BPB264", settings={"MODE": Contested("ar", "masked")})) == 1
    text = OPTIONS.replace("if args.masked:", 'if args.mode == "masked":')
    text = text.replace('"--masked", action="store_true", default=False', '"--mode", default="ar"')
    assert _found(text, "BPB264") == []
    assert len(_found(text, "BPB264", flags={("<script>", "--mode"): "masked"})) == 1
    assert len(_found(text, "BPB264", flags={("<script>", "--mode"): Contested("ar", "masked")})) == 1


def test_a_flag_that_commands_give_otherwise_is_unknown() -> None:
    flags = {("<script>", "--masked"): "", ("<script>", "--mask-rate"): Contested("0.25", "0.4")}
    assert [each.evidence.get("mask_rate") for each in _found(OPTIONS, "BPB264", flags=flags)] in ([], [None])


@pytest.mark.parametrize("asked", ['os.environ["MASKED_EVAL"]', 'os.getenv("MASKED_EVAL")', 'env("MASKED_EVAL", "0")'])
def test_however_a_setting_is_asked_for(asked: str) -> None:
    text = CHOSEN.replace('os.environ.get("MASKED_EVAL", "0")', asked)
    helper = "def env(name, other):\n    return os.environ.get(name, other)\n\n\n"
    text = text.replace("class Settings", f"{helper}class Settings")
    assert len(_found(text, "BPB264", settings={"MASKED_EVAL": "1"})) == 1
    assert _found(text, "BPB264", settings={"MASKED_EVAL": "0"}) == []


OPTIONS = (
    CHOSEN.replace("import math, os\n", "import argparse, math, os\n")
    .replace("    args = Settings()\n", "    args = options()\n")
    .replace(
        "def main(",
        """def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--masked", action="store_true", default=False)
    parser.add_argument("-r", "--mask-rate", dest="rate", type=float, default=0.4)
    parser.add_argument("--passes", type=int, default=4)
    return parser.parse_args()


def main(""",
    )
)


@pytest.mark.parametrize(
    ("masked", "flags", "rate"),
    [
        ('"--masked", action="store_true", default=False', {}, None),
        ('"--masked", action="store_true", default=False', {"--masked": ""}, 0.4),
        ('"--masked", action="store_true", default=False', {"--masked": "", "--mask-rate": "0.25"}, 0.25),
        ('"--masked", action="store_true", default=False', {"--masked": "", "--mask-rate": "soon"}, ...),
        ('"--masked", action="store_false", default=True', {"--masked": ""}, None),
        ('"--masked", action="store_false", default=True', {}, 0.4),
        ('"--masked", action=argparse.BooleanOptionalAction, default=True', {"--no-masked": ""}, None),
        ('"--masked", action=argparse.BooleanOptionalAction, default=False', {"--masked": ""}, 0.4),
        ('"--masked", type=int, default=0', {"--masked": "1"}, 0.4),
        ('"--masked", type=int', {"--masked": "1"}, 0.4),
        ('"--masked", type=bool, default=False', {"--masked": "False"}, 0.4),  # as argparse has it
        ('"--masked", type=int, default=0', {"--other": "1"}, None),
    ],
)
def test_a_flag_of_the_run_chooses_the_evaluation(masked: str, flags: dict[str, str], rate: object) -> None:
    text = OPTIONS.replace('"--masked", action="store_true", default=False', masked)
    found = _found(text, "BPB264", flags={("<script>", flag): value for flag, value in flags.items()})
    rates = [each.evidence["mask_rate"] for each in found]
    assert rates == ([] if rate is None or rate is ... else [rate])  # ...: a rate that is not known is no rate


@pytest.mark.parametrize(
    ("flag", "then", "rate"),
    [
        ("--mask-rate", "", 0.25),
        ("-r", "", 0.25),
        ("--mask-rate", "args.rate = make()", None),  # what took its place is not known
        ("--mask-rate", "args.rate = 0.25", 0.25),
        ("--mask-rate", "args.rate /= 100.0", None),
        ("--mask-rate", "args.rate += 0.25", None),
        ("--mask-rate", "other.rate = make()", 0.25),
    ],
)
@pytest.mark.parametrize("is_given", [True, False])
def test_what_a_script_sets_an_option_to_itself_counts_beside_the_flag(
    flag: str, then: str, rate: float | None, *, is_given: bool
) -> None:
    text = OPTIONS.replace("    args = options()\n", f"    args = options()\n    {then}\n")
    text = (
        text
        if is_given
        else text.replace('"--mask-rate", dest="rate"', '"--rate"').replace("default=0.4", "default=0.25")
    )
    flags = {("<script>", "--masked"): "", **({("<script>", flag): "0.25"} if is_given else {})}
    found = _found(text, "BPB264", flags=flags)
    assert [each.evidence["mask_rate"] for each in found] == ([] if rate is None else [rate])


def test_flags_are_those_of_the_script_that_they_were_given_to() -> None:
    given = {("<script>", "--masked"): "", ("<script>", "--mask-rate"): "0.25", ("<script>", "--passes"): "4"}
    (found,) = _found(OPTIONS, "BPB953", flags=given)
    assert "`--mask-rate 0.25`, `--masked` among that; what holds with the defaults" in found.message
    other = {("prepare.py", flag): value for (_, flag), value in given.items()}
    assert _found(OPTIONS, "BPB264", flags=other) == _found(OPTIONS, "BPB953", flags=other) == []


def test_two_scripts_of_which_one_was_given_an_option_leave_it_open(tmp_path: Path) -> None:
    (tmp_path / "evaluate.py").write_text(OPTIONS)
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.3}')
    (tmp_path / "README.md").write_text("```\npython evaluate.py --masked\n```\n".replace("\\\n", "\n"))
    assert "BPB264" in {finding.code for finding in audit(tmp_path).findings}
    (tmp_path / "train.py").write_text(
        "import argparse\nargparse.ArgumentParser().add_argument('--masked', default=0)\n"
    )
    assert "BPB264" not in {finding.code for finding in audit(tmp_path).findings}


def test_the_printed_line_tells_which_branch_was_taken_and_which_score_is_claimed() -> None:
    assert _found(SEVERAL, "BPB264") == []  # off by default
    (found,) = _found(SEVERAL, "BPB264", claimed_labels=("final_masked",))
    assert found.severity is Severity.REFUTES
    assert _found(SEVERAL, "BPB264", claimed_labels=("final_plain",)) == []
    (found,) = _found(SEVERAL, "BPB264", settings={"MASKED_EVAL": "1"})  # two scores, and nothing says which
    assert found.severity is Severity.WARNS
    (found,) = _found(SEVERAL, "BPB264", settings={"MASKED_EVAL": "1"}, claimed_labels=("final_plain",))
    assert found.severity is Severity.WARNS
    assert "(final_plain" in found.message
    # a label that no place prints tells nothing, nor does one too short
    assert _found(SEVERAL, "BPB264", claimed_labels=("final_other", "", "f")) == []
    assert _found(SEVERAL, "BPB264", claimed_labels=("final_mask",)) == []


def test_a_test_that_two_claimed_lines_contradict_is_left_open() -> None:
    otherwise = "    else:\n        print(f'final_masked val_bpb:{plain_bpb}')\n"
    text = SEVERAL.replace("    if os.environ", f"{otherwise}    if os.environ")
    assert _found(text, "BPB264", claimed_labels=("final_masked",)) == []


def test_text_learnt_before_is_found_behind_a_setting_that_the_log_shows() -> None:
    assert _found(SEVERAL, "BPB272") == []
    (found,) = _found(SEVERAL, "BPB272", claimed_labels=("final_learnt seed:7",))
    assert "in several passes (4 by its default; in one" in found.message
    (found,) = _found(SEVERAL, "BPB272", claimed_labels=("final_learnt seed:7",), settings={"PASSES": "3"})
    assert "in 3 passes" in found.message
    assert _found(SEVERAL, "BPB272", claimed_labels=("final_learnt seed:7",), settings={"PASSES": "1"}) == []


def test_a_record_brings_its_settings_and_its_lines(tmp_path: Path) -> None:
    (tmp_path / "evaluate.py").write_text(SEVERAL)
    (tmp_path / "train.log").write_text("step 1\nfinal_plain val_bpb:1.500000\nfinal_masked val_bpb:1.300000\n")
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.3}')
    codes = {finding.code: finding.severity for finding in audit(tmp_path).findings}
    assert codes["BPB264"] is Severity.REFUTES
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.5}')
    assert "BPB264" not in {finding.code for finding in audit(tmp_path).findings}
    (tmp_path / "README.md").write_text("```\nMASKED_EVAL=1 python evaluate.py\n```\n")
    codes = {finding.code: finding.severity for finding in audit(tmp_path).findings}
    assert codes["BPB264"] is Severity.WARNS
