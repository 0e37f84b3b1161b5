"""What is fitted to the tokens of a window before they are scored with it, whatever it is called."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from bpb_harness.auditing.script import LoggedScore, ScriptContext
from bpb_harness.findings import Finding, Severity
from tests.golf_rules import GOLF, check_source

SCRIPT = """import glob, math
import torch
import torch.nn.functional as F


def load(pattern):
    return torch.cat([torch.load(file) for file in sorted(glob.glob(pattern))])


def fit(network, h, tokens):
    extra = torch.zeros(1, 1, h.size(-1), requires_grad=True)
    optimizer = torch.optim.AdamW([extra], lr=0.01)
    for _ in range(8):
        optimizer.zero_grad()
        loss = F.cross_entropy(network.head(h + extra).flatten(0, 1), tokens.flatten())
        loss.backward()
        optimizer.step()
    return extra.detach()


def evaluate(network, val_tokens, size_of, length=1024, stride=64):
    nats, size, kept = 0.0, 0, torch.zeros(1)
    for i in range(0, len(val_tokens) - length, stride):
        x = val_tokens[i : i + length][None]
        y = val_tokens[i + 1 : i + length + 1][None]
        s = 0 if i == 0 else length - stride
        with torch.no_grad():
            h = network.body(x)
BEFORE
        nll = F.cross_entropy(network.head(h + extra).transpose(1, 2).float(), y, reduction="none")
        nats += nll[:, s:].sum().item()
        size += size_of[y[:, s:]].sum().item()
BEHIND
    return nats / math.log(2.0) / size


val_bpb = evaluate(torch.load("m.pt"), load("data/fineweb_val_*.bin"), torch.load("s.pt"))
print(f"val_bpb:{val_bpb:.5f}")
"""
STEPS = """
extra = torch.zeros(1, 1, h.size(-1), requires_grad=True)
optimizer = torch.optim.AdamW([extra], lr=0.01)
for _ in range(8):
    optimizer.zero_grad()
    LOSS
    loss.backward()
    optimizer.step()
"""
MASK = "mask = torch.zeros_like(y, dtype=torch.float)\nmask[:, PART] = 1.0\n"
EACH = 'ce = F.cross_entropy(network.head(h + extra).transpose(1, 2), y, reduction="none")'
FITTED = [
    STEPS.replace("LOSS", "loss = F.cross_entropy(network.head(h + extra).flatten(0, 1), y.flatten())"),
    STEPS.replace("LOSS", "loss = F.cross_entropy(network.head(h[:, s:] + extra).flatten(0, 1), y[:, s:].flatten())"),
    STEPS.replace("LOSS", f"{EACH}\n    loss = ce[:, s:].mean()"),
    MASK.replace("PART", "s:") + STEPS.replace("LOSS", f"{EACH}\n    loss = (ce * mask).sum() / mask.sum()"),
    STEPS.replace(
        "LOSS", "logp = F.log_softmax(network.head(h + extra), -1)\n    loss = -logp.gather(-1, y[..., None]).mean()"
    ),
    "extra = torch.zeros(1, 1, h.size(-1), requires_grad=True)\nfor _ in range(4):\n"
    "    loss = F.cross_entropy((network.head(h) + extra).flatten(0, 1), y.flatten())\n"
    "    (slope,) = torch.autograd.grad(loss, extra)\n    extra = (extra - 0.1 * slope).detach().requires_grad_()\n",
    "extra = fit(network, h, y)",
    # by a name of their own, and of all places of the window but the last
    STEPS.replace(
        "LOSS",
        "seen = y.contiguous()\n    loss = F.cross_entropy(network.head(h + extra).flatten(0, 1), seen.reshape(-1))",
    ),
    STEPS.replace(
        "LOSS",
        "seen = y[:, : length - 1].contiguous()\n    logits = network.head(h + extra)[:, :-1]\n"
        "    loss = F.cross_entropy(logits.flatten(0, 1), seen.reshape(-1))",
    ),
    STEPS.replace(
        "LOSS", "loss = F.cross_entropy((network.head(h) + extra)[:, :-1].flatten(0, 1), y[:, :-1].flatten())"
    ),
]
OTHERS = [
    # the window's beginning, which was scored before
    STEPS.replace("LOSS", "loss = F.cross_entropy(network.head(h[:, :s] + extra).flatten(0, 1), y[:, :s].flatten())"),
    STEPS.replace("LOSS", f"{EACH}\n    loss = ce[:, :s].mean()"),
    MASK.replace("PART", ":s")
    + STEPS.replace("LOSS", f"{EACH}\n    loss = (ce * mask).sum() / mask.sum().clamp(min=1)"),
    # a mask that nobody knows
    STEPS.replace("LOSS", f"{EACH}\n    loss = (ce * scored_before[i]).sum()"),
    MASK.replace("PART", "s:").replace("1.0", "weights[i]")
    + STEPS.replace("LOSS", f"{EACH}\n    loss = (ce * mask).sum() / max(1, mask.sum())"),
    # no step is taken
    "extra = torch.zeros(1, 1, h.size(-1), requires_grad=True)\n"
    "loss = F.cross_entropy((network.head(h) + extra).flatten(0, 1), y.flatten())\n"
    "(slope,) = torch.autograd.grad(loss, extra)\nsteepness = slope.norm()\n",
    # of other places than those that are scored, or of nobody knows which
    STEPS.replace(
        "LOSS", "loss = F.cross_entropy((network.head(h) + extra)[:, :-64].flatten(0, 1), y[:, :-64].flatten())"
    ),
    STEPS.replace("LOSS", "loss = F.cross_entropy((h @ w + extra)[:, :n].flatten(0, 1), y[:, :n].flatten())"),
    STEPS.replace(
        "LOSS", "seen = y + 1\n    loss = F.cross_entropy(network.head(h + extra).flatten(0, 1), seen.flatten())"
    ),
    # another window's
    STEPS.replace("LOSS", "loss = F.cross_entropy(network.head(h + extra).flatten(0, 1), earlier.flatten())"),
]


def _script(before: str, behind: str = "") -> str:
    text = SCRIPT.replace("BEFORE", textwrap.indent(before.strip("\n"), " " * 8))
    return text.replace("BEHIND", textwrap.indent(behind.strip("\n"), " " * 8))


def _found(text: str) -> dict[str, Severity]:
    return {each.code: each.severity for each in check_source(text) if each.code.startswith(("BPB27", "BPB95"))}


@pytest.mark.parametrize("before", FITTED)
def test_what_is_fitted_to_the_tokens_that_are_scored_next_has_seen_them(before: str) -> None:
    assert _found(_script(before)) == {"BPB273": Severity.WARNS}
    (found,) = (each for each in check_source(_script(before)) if each.code == "BPB273")
    assert found.evidence["fitted_in_scoring"] is True  # the network in its file is as it was


@pytest.mark.parametrize("before", OTHERS)
def test_what_is_fitted_to_other_tokens_is_in_order(before: str) -> None:
    assert _found(_script(before)) == {}


@pytest.mark.parametrize("behind", FITTED)
def test_what_is_fitted_after_the_score_is_in_order(behind: str) -> None:
    renamed = behind.replace("extra", "later")
    assert _found(_script("extra = kept", f"{renamed}\nkept = later.detach()")) == {}


def test_a_fit_of_no_steps_is_none() -> None:
    assert _found(_script(FITTED[0].replace("range(8)", "range(0)"))) == {}


def test_a_function_that_is_given_other_tokens_is_in_order() -> None:
    assert _found(_script("extra = fit(network, h, earlier)")) == {}
    assert _found(_script("extra = fit(network, h[:, :s], y[:, :s])")) == {}


SET = FITTED[0].replace("range(8)", "range(STEPS)")
PRINTED = 'print(f"steps:{STEPS} val:{val_bpb:.5f}")\n'


def _logged(folder: Path, before: str, log: str = "val_bpb:0.90000\n", printed: str = "") -> Finding:
    """The finding where a log holds the claimed score."""
    path = folder / "train.log"
    path.write_text(log)
    line = log.split("\n").index("val_bpb:0.90000") + 1
    logged = (LoggedScore(path, "train.log", line),)
    text = _script(before).replace("import glob, math", "import glob, math, os\nSTEPS = int(os.environ['STEPS'])")
    context = ScriptContext(rules=GOLF, claimed_labels=("val_bpb:",), logged=logged)
    (found,) = (each for each in check_source(text + printed, context) if each.code == "BPB273")
    return found


@pytest.mark.parametrize("before", FITTED)
def test_steps_that_every_window_takes_before_the_claimed_score_refute(tmp_path: Path, before: str) -> None:
    found = _logged(tmp_path, before)
    assert found.severity is Severity.REFUTES
    assert "train.log:1 prints what comes of it as the claimed score" in found.message


def test_steps_of_which_a_log_tells_how_many_refute(tmp_path: Path) -> None:
    log = "steps:12 val:0.95\nval_bpb:0.90000\n"
    found = _logged(tmp_path, SET, log, PRINTED)
    assert found.severity is Severity.REFUTES
    assert "train.log:1 tells of 12 steps, and line 2 prints what comes of it as the claimed score" in found.message


@pytest.mark.parametrize(
    ("before", "default", "is_told"),
    [
        (SET, ", '8'", True),
        (SET, ", '0'", None),  # none are taken
        (SET, "", False),  # how many, nothing tells
        (f"{SET}extra = kept\n", ", '8'", None),  # which are not scored with
        (f"{SET}extra.data.zero_()\n", ", '8'", False),
    ],
)
def test_steps_by_default_count_for_a_score_that_shows_them(
    tmp_path: Path, before: str, default: str, is_told: bool | None
) -> None:
    path = tmp_path / "train.log"
    path.write_text("val_bpb:0.90000\n")
    context = ScriptContext(rules=GOLF, claimed_labels=("val_bpb:",), logged=(LoggedScore(path, "train.log", 1),))
    setting = f"import glob, math, os\nSTEPS = int(os.environ.get('STEPS'{default}))"
    text = _script(before).replace("import glob, math", setting)
    found = [each for each in check_source(text, context) if each.code == "BPB273"]
    assert [each.severity for each in found] == [Severity.WARNS] * (is_told is not None)
    assert all((each.evidence.get("is_of_claimed_line") is True) is is_told for each in found)


NLL = 'nll = F.cross_entropy(network.head(h + extra).transpose(1, 2).float(), y, reduction="none")'
ON = "{f' lr:{LR} steps:{STEPS}' if ON else ''}"
TOLD_WITHIN = f'print(f"fit:start windows:{{len(y)}} of:{{length}}{ON}")\n'


@pytest.mark.parametrize(("tail", "severity"), [(" lr:0.01 steps:12", Severity.REFUTES), ("", Severity.WARNS)])
def test_steps_that_a_line_tells_in_a_part_that_may_be_left_out(tmp_path: Path, tail: str, severity: Severity) -> None:
    log = f"fit:start windows:9 of:1024{tail}\nval_bpb:0.90000\n"
    assert _logged(tmp_path, SET, log, TOLD_WITHIN).severity is severity


BRANCH = """if fits:
FITTED
    NLL
else:
    nll = F.cross_entropy(network.head(h).transpose(1, 2).float(), y, reduction="none")
"""


@pytest.mark.parametrize(("tail", "found"), [(" lr:0.01", [Severity.REFUTES]), ("", []), (" lr:0.01 of:9", [])])
def test_a_branch_that_is_off_by_default_counts_where_a_part_of_a_line_shows_it(
    tmp_path: Path, tail: str, found: list[Severity]
) -> None:
    path = tmp_path / "train.log"
    path.write_text(f"fit:start windows:9 of:1024{tail}\nval_bpb:0.90000\n")
    context = ScriptContext(rules=GOLF, claimed_labels=("val_bpb:",), logged=(LoggedScore(path, "train.log", 2),))
    branch = BRANCH.replace("FITTED", textwrap.indent(FITTED[0].strip(), "    ")).replace("NLL", NLL)
    text = _script("extra = kept").replace(" " * 8 + NLL, textwrap.indent(branch, " " * 8))
    told = "{f' lr:{kept}' if fits else ''}"
    told = f'fits = int(os.environ.get("FITS", "0"))\n    print(f"fit:start windows:{{len(y)}} of:{{length}}{told}")'
    text = text.replace("nats, size, kept =", f"{told}\n    nats, size, kept =").replace(
        "import glob", "import os, glob"
    )
    assert [each.severity for each in check_source(text, context) if each.code == "BPB273"] == found


ALL_BUT_LAST = FITTED[-1]
SCORED = {"nll[:, s:].sum()": "nll[:, PART].sum()", "y[:, s:]].sum()": "y[:, PART]].sum()"}


def _of_score(tmp_path: Path, text: str) -> list[Severity]:
    path = tmp_path / "train.log"
    path.write_text("val_bpb:0.90000\n")
    context = ScriptContext(rules=GOLF, claimed_labels=("val_bpb:",), logged=(LoggedScore(path, "train.log", 1),))
    return [each.severity for each in check_source(text, context) if each.code == "BPB273"]


@pytest.mark.parametrize(
    ("part", "found"),
    [("-64:", [Severity.REFUTES]), ("-1:", []), ("-1", []), ("at", [Severity.WARNS])],
)
def test_a_last_place_that_is_scored_alone_is_not_among_all_but_the_last(
    tmp_path: Path, part: str, found: list[Severity]
) -> None:
    text = _script(ALL_BUT_LAST)
    for old, new in SCORED.items():
        assert old in text
        text = text.replace(old, new.replace("PART", part))
    assert _of_score(tmp_path, text) == found


@pytest.mark.parametrize(
    ("behind", "found"),
    [
        ("", [Severity.REFUTES]),
        ("extra.data.zero_()", [Severity.WARNS]),
        ("with torch.no_grad(): extra.fill_(0.0)", [Severity.WARNS]),
        ("extra.data = torch.zeros(1)", [Severity.WARNS]),
        ("extra = torch.zeros(1)", []),
        ("fitted, extra = extra, kept", [Severity.WARNS]),
        ("seen = extra * 2", [Severity.REFUTES]),
    ],
)
def test_a_fit_that_is_put_away_before_the_score_refutes_nothing(
    tmp_path: Path, behind: str, found: list[Severity]
) -> None:
    assert _of_score(tmp_path, _script(f"{FITTED[0]}{behind}")) == found


@pytest.mark.parametrize(
    ("guard", "found"),
    [
        ("break", []),
        ("if not kept_on: continue", [Severity.WARNS]),
        ("if not ON: break", []),
        ("if ON: break", [Severity.REFUTES]),
        ("for q in h:\n        break", [Severity.WARNS]),
    ],
)
def test_steps_that_a_loop_leaves_first_are_not_taken(tmp_path: Path, guard: str, found: list[Severity]) -> None:
    text = _script(FITTED[0].replace("    optimizer.zero_grad()", f"    {guard}\n    optimizer.zero_grad()"))
    assert _of_score(tmp_path, text.replace("import glob, math", "import glob, math, os\nON = 0")) == found


def test_a_fit_for_the_next_window_is_in_order() -> None:
    renamed = FITTED[0].replace("extra", "later")
    assert _found(_script(f"extra = kept\n{renamed}", "kept = later.detach()")) == {}


@pytest.mark.parametrize(
    ("stride", "severity"),
    [("64", Severity.REFUTES), ("1", Severity.WARNS), ("int(os.environ['STRIDE'])", Severity.WARNS)],
)
def test_all_places_but_the_last_are_none_of_those_scored_one_by_one(
    tmp_path: Path, stride: str, severity: Severity
) -> None:
    path = tmp_path / "train.log"
    path.write_text("val_bpb:0.90000\n")
    context = ScriptContext(rules=GOLF, claimed_labels=("val_bpb:",), logged=(LoggedScore(path, "train.log", 1),))
    text = _script(FITTED[-1]).replace("stride=64", f"stride={stride}").replace("import glob", "import os, glob")
    assert [each.severity for each in check_source(text, context) if each.code == "BPB273"] == [severity]


@pytest.mark.parametrize(
    ("before", "log", "printed"),
    [
        (SET, "val_bpb:0.90000\n", PRINTED),  # nothing tells how many steps
        (SET, "steps:0 val:0.95\nval_bpb:0.90000\n", PRINTED),
        (SET, "val_bpb:0.90000\nsteps:12 val:0.90000\n", PRINTED),  # of a later score
        (SET, "steps:12 val:0.95\nval_bpb:0.90000\n", PRINTED.replace("STEPS", "STEPS + 1")),
        (SET, "steps:12 val:0.95\nval_bpb:0.90000\n", 2 * PRINTED),
        (f"{FITTED[0]}", "val_bpb:0.90000\n", 'val_bpb = other()\nprint(f"val_bpb:{val_bpb:.5f}")'),
        ("if int(os.environ.get('ON', '1')):\n" + textwrap.indent(FITTED[0].strip(), "    "), "val_bpb:0.90000\n", ""),
        # s is another one where the costs are added up
        (FITTED[2].replace("LOSS", "") + "s = s // 2\n", "val_bpb:0.90000\n", ""),
    ],
)
def test_steps_that_may_not_have_been_taken_leave_a_doubt(tmp_path: Path, before: str, log: str, printed: str) -> None:
    assert _logged(tmp_path, before, log, printed).severity is Severity.WARNS


EARLY = "logits = network.head(h + kept).transpose(1, 2).float()\n"


@pytest.mark.parametrize(
    ("nll", "severity"),
    [
        ('nll = F.cross_entropy(logits, y, reduction="none")', None),  # each is scored, and is learnt for the next one
        ('nll = F.cross_entropy(logits + network.other, y, reduction="none")', Severity.WARNS),
        ('last = h + extra\n        nll = F.cross_entropy(network.head(last), y, reduction="none")', Severity.REFUTES),
    ],
)
def test_logits_of_before_the_steps_owe_them_nothing(tmp_path: Path, nll: str, severity: Severity | None) -> None:
    path = tmp_path / "train.log"
    path.write_text("val_bpb:0.90000\n")
    context = ScriptContext(rules=GOLF, claimed_labels=("val_bpb:",), logged=(LoggedScore(path, "train.log", 1),))
    text = _script(EARLY + FITTED[0] + "kept = extra.detach()\n").replace(NLL, nll)
    found = [each.severity for each in check_source(text, context) if each.code == "BPB273"]
    assert found == ([] if severity is None else [severity])


def test_tokens_by_another_name_are_the_same_ones(tmp_path: Path) -> None:
    other = "target = y[:, s:]\n        nll = F.cross_entropy(network.head(h + extra), target, reduction='none')"
    found = {each.code for each in check_source(_script(FITTED[0]).replace(NLL, other)) if each.code == "BPB273"}
    assert found == {"BPB273"}


def test_a_score_that_may_be_one_without_steps_leaves_a_doubt(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text("val_bpb:0.90000\n")
    context = ScriptContext(rules=GOLF, claimed_labels=("val_bpb:",), logged=(LoggedScore(path, "train.log", 1),))
    fitted, plain = _script(FITTED[0]), _script("extra = kept").replace("def evaluate", "def plain")
    other = plain[plain.index("def plain") : plain.index("val_bpb = ")]
    given = "torch.load('m.pt'), load('data/fineweb_val_*.bin'), torch.load('s.pt')"
    chosen = "if int(os.environ.get('ON', '1')): val_bpb = "
    text = fitted.replace("val_bpb = ", f"{other}val_bpb = plain({given})\n{chosen}").replace("glob,", "glob, os,")
    assert [each.severity for each in check_source(text, context) if each.code == "BPB273"] == [Severity.WARNS]
