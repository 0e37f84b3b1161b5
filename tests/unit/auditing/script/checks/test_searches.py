"""Settings that were chosen by the scored text: a remark where one choice holds for all of it, else a doubt."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing.script import LoggedScore, ScriptContext
from bpb_harness.findings import Finding, Severity
from tests.golf_rules import GOLF, check_source

SCRIPT = """import glob, math, os
import numpy as np
import torch
import torch.nn.functional as F


def load_tokens(pattern):
    files = sorted(glob.glob(pattern))
    return torch.cat([torch.from_numpy(np.fromfile(file, dtype="<u2").astype(np.int32)) for file in files])


def eval_val(network, device, tokens, byte_lut, heat=1.0):
    nats, size = 0.0, 0.0
    for i in range((tokens.numel() - 1) // 1024):
        local = tokens[i * 1024 : (i + 1) * 1024 + 1].to(device)
        x, y = local[:-1], local[1:]
        {scoring}
        size += float(byte_lut[y].sum())
    return nats / math.log(2.0) / size


def main():
    device = torch.device("cuda")
    val_tokens = load_tokens("fineweb_val_*.bin")
    train_tokens = load_tokens("fineweb_train_*.bin")
    byte_lut = torch.load("lut.pt")
    network, ema = torch.load("a.pt"), torch.load("b.pt")
    best_heat, best_bpb = 1.0, float("inf")
    {before}
    val_bpb = eval_val(network, device, val_tokens, byte_lut, best_heat)
    print(f"final val_bpb:{{val_bpb:.6f}}")
    {after}


main()
"""
PLAIN = "nats += F.cross_entropy(network(x) / heat, y, reduction='sum').item()"
SEARCH = """for heat in [0.9, 1.0, 1.1]:
        bpb = eval_val(network, device, {text}, byte_lut, heat)
        {test}:
            best_bpb, best_heat = bpb, heat"""
GRID = SEARCH.format(text="val_tokens", test="if bpb < best_bpb")
EACH = """least = float("inf")
        for heat in (0.9, 1.0, 1.1):
            nll = F.cross_entropy(network(x) / heat, y, reduction="sum").item()
            if nll < least:
                least = nll
        nats += least"""
WITH_IT = EACH.replace("least = nll", "least, hot = nll, heat").replace(
    "nats += least", "cost = F.cross_entropy(network(x) / hot, y, reduction='sum')\n        nats += cost.item()"
)
BASE = {"scoring": PLAIN, "before": GRID, "after": "pass"}
TUNED = """def tune():
        least = 9.0
        for heat in (0.9, 1.0):
            bpb = eval_val(network, device, val_tokens, byte_lut, heat)
            if bpb < least:
                least, hot = bpb, heat
        return hot
    if int(os.environ.get("TUNES", "0")):
        best_heat = tune()"""
OF_SPLIT = {"text_tokens": 62_021_846, "bytes_per_token": 2.435930}


def _found(changes: dict[str, str], **context: float) -> list[Finding]:
    given = ScriptContext(rules=GOLF, **context)  # type: ignore[arg-type]
    found = check_source(SCRIPT.format(**{**BASE, **changes}), given)
    return [each for each in found if each.code == "BPB277"]


@pytest.mark.parametrize(
    "before",
    [
        GRID,
        SEARCH.format(text="val_tokens", test="if best_bpb > bpb"),
        SEARCH.format(text="val_tokens", test="if best_bpb is None or bpb < best_bpb"),
        SEARCH.format(text="val_tokens[: 1_000_000]", test="if bpb < best_bpb"),
        GRID.replace("best_bpb, best_heat = bpb, heat", "best_bpb = bpb; torch.save(network.state_dict(), 'a.pt')"),
        TUNED.replace('"0"', '"1"').replace("(0.9, 1.0)", "(0.9, 1.0, 1.1)"),
        "heats = [0.9, 1.0, 1.1]\n    " + GRID.replace("[0.9, 1.0, 1.1]", "heats"),
        "heats = [0.1 * i for i in range(3)]\n    " + GRID.replace("[0.9, 1.0, 1.1]", "heats"),
    ],
)
def test_one_choice_for_the_whole_text_is_a_remark_with_what_it_costs(before: str) -> None:
    (found,) = _found({"before": before}, **OF_SPLIT)
    assert found.severity is Severity.INFORMS
    assert "2 bits at most, 1.3e-08 bits per byte of this text, which is too little to matter" in found.message
    assert found.evidence["bits"] == pytest.approx(2.0)  # three, or the one from before


OF_WEIGHTS = """rb = eval_val(network, device, val_tokens, byte_lut)
    print(f"raw_model val_bpb:{{rb:.4f}}")
    raw, best, source = network.state_dict(), rb, "raw"
    network.load_state_dict(ema.state_dict())
    eb = eval_val(network, device, val_tokens, byte_lut)
    print(f"post_ema val_bpb:{{eb:.4f}}")
    if eb < best:
        best, source = eb, "ema"
    {otherwise}"""
UNDONE = "else:\n        network.load_state_dict(raw)"
BY_NAME = 'if source == "raw":\n        network.load_state_dict(raw)'
TOLD = 'else:\n        print("the mean is worse")\n    if source == "raw":\n        print(source)'


@pytest.mark.parametrize("otherwise", [UNDONE, BY_NAME, BY_NAME.replace('source == "raw"', 'source != "ema"')])
def test_weights_that_are_put_back_where_others_score_better_are_a_choice(otherwise: str) -> None:
    (found,) = _found({"before": OF_WEIGHTS.format(otherwise=otherwise).replace("{{", "{").replace("}}", "}")})
    assert "(`source`)" in found.message
    assert ": 1 bit at most, which is too little to matter" in found.message


@pytest.mark.parametrize(
    "before",
    [
        OF_WEIGHTS.format(otherwise=TOLD),  # it is only told which is better
        OF_WEIGHTS.format(otherwise=UNDONE).replace("val_bpb:", "seconds:"),  # nothing shows that it is a score
        OF_WEIGHTS.format(otherwise=UNDONE).replace("val_tokens", "train_tokens"),
    ],
)
def test_weights_that_nothing_of_the_scored_text_chooses_are_none(before: str) -> None:
    assert _found({"before": before.replace("{{", "{").replace("}}", "}")}) == []


def test_several_searches_are_told_together() -> None:
    both = GRID + "\n    " + GRID.replace("heat", "cap").replace("best_bpb", "best_loss")
    both += "\n    network.cap.fill_(best_cap)"
    (found,) = _found({"before": both})
    assert "(`best_heat`, `best_cap`)" in found.message
    assert ": 4 bits at most, which is too little to matter" in found.message
    assert found.evidence["num_searches"] == 2


@pytest.mark.parametrize(
    "before",
    [
        "bpb = eval_val(ema, device, val_tokens, byte_lut)\n    while bpb < 9.0:\n        bpb = eval_val(ema, device, "
        "val_tokens, byte_lut)\n        if bpb < best_bpb:\n            best_bpb, best_heat = bpb, 0.9",
        "heat_bpb = {h: eval_val(network, device, val_tokens, byte_lut, h) for h in np.arange(0.5, 2.0, 0.1)}\n"
        "    best_heat = min(heat_bpb, key=heat_bpb.get)",
    ],
)
def test_of_a_search_whose_length_is_unknown_the_bound_is_a_bit_for_each_comparison(before: str) -> None:
    (found,) = _found({"before": before}, **OF_SPLIT)
    assert (
        "a bit at most for each comparison of scores, and for a thousand 1,000, 6.6e-06 bits per byte of this text"
        in found.message
    )
    assert "bits" not in found.evidence


@pytest.mark.parametrize(
    ("within", "lines", "is_told"),
    [
        ("print(f'candidate heat:{heat} bpb:{bpb:.4f}')", "candidate heat:0.9 bpb:1.2000\n", True),
        ("print(f'candidate heat:{heat} bpb:{bpb:.4f}')", "candidates: 1\n", False),  # as by an empty setting
        ("print(f'candidate heat:{heat} bpb:{bpb:.4f}') if heat else 0", "", True),  # need not be printed
        ("pass", "", True),
    ],
)
def test_a_search_whose_line_the_log_lacks_was_off(tmp_path: Path, within: str, lines: str, is_told: bool) -> None:
    before = GRID.replace("        if bpb", f"        {within}\n        if bpb")
    (tmp_path / "train.log").write_text(f"step:9 train_loss:2.9\n{lines}final val_bpb:1.200000\n")
    logged = (LoggedScore(tmp_path / "train.log", "train.log", 2 + lines.count("\n")),)
    given = ScriptContext(rules=GOLF, logged=logged, claimed_labels=("final val_bpb:",))
    found = check_source(SCRIPT.format(**{**BASE, "before": before}), given)
    assert ("BPB277" in {each.code for each in found}) is is_told


def test_the_better_of_two_networks_is_one_bit() -> None:
    before = (
        "best_bpb = eval_val(network, device, val_tokens, byte_lut)\n    bpb = eval_val(ema, device, val_tokens, "
        "byte_lut)\n    if bpb < best_bpb:\n        best_bpb, network = bpb, ema"
    )
    (found,) = _found({"before": before})
    assert "(`network`)" in found.message
    assert ": 1 bit at most, which" in found.message


@pytest.mark.parametrize(
    "changes",
    [
        {"before": SEARCH.format(text="train_tokens", test="if bpb < best_bpb")},
        {"before": "pass", "after": GRID},  # behind the score
        {"before": "pass"},
        {"before": "if int(os.environ.get('SEARCHES', '0')):\n        " + GRID.replace("\n", "\n    ")},
        {"before": TUNED},
        {"before": GRID.replace("bpb", "size")},  # of no score
        {"before": GRID.replace("best_bpb, best_heat = bpb, heat", "print(bpb)")},  # nothing is kept
        {"before": GRID.replace("best_heat = bpb, heat", "told = bpb, heat") + "\n    print(told)"},  # it is only told
        {"before": GRID.replace("best_heat = bpb, heat", "patience = bpb, 0") + "\n    stop_behind(patience)"},
        {
            "before": "sizes = {h: eval_val(network, device, val_tokens, byte_lut, h) for h in (1, 2)}\n"
            "    best_heat = min(sizes, key=sizes.get)"
        },
        {"before": GRID.replace("best_bpb, best_heat = bpb, heat", "best_heat = heat").replace("best_bpb", "9.0")},
    ],
)
def test_where_the_scored_text_chooses_nothing_nothing_is_said(changes: dict[str, str]) -> None:
    assert _found(changes) == []


@pytest.mark.parametrize("scoring", [EACH, EACH.replace("least = nll", "least, hot = nll, heat"), WITH_IT])
def test_a_choice_for_each_window_by_its_own_tokens_is_a_doubt(scoring: str) -> None:
    (found,) = _found({"before": "pass", "scoring": scoring})
    assert found.severity is Severity.WARNS
    assert "2.0 bits for every window, and the score does not pay for them" in found.message


@pytest.mark.parametrize(
    "scoring",
    [
        PLAIN + "\n        " + EACH.replace("nats += least", "heat = 1.0"),  # of nothing that is scored
        "nll = F.cross_entropy(network(x), y, reduction='sum').item()\n        nats += nll\n"
        "        if nll < 5.0:\n            least = nll",
    ],
)
def test_what_a_window_is_not_scored_with_is_no_doubt(scoring: str) -> None:
    assert _found({"before": "pass", "scoring": scoring}) == []


def test_a_choice_by_the_window_before_is_no_doubt() -> None:
    scoring = (
        "nats += F.cross_entropy(network(x) / heat, y, reduction='sum').item()\n        least, hot = 1e9, 1.0\n"
        "        for each in (0.9, 1.0, 1.1):\n            nll = F.cross_entropy(network(x) / each, y).item()\n"
        "            if nll < least:\n                least, hot = nll, each\n        heat = bounded(hot)"
    )
    assert _found({"before": "pass", "scoring": scoring}) == []


def test_a_choice_that_the_window_before_makes_for_this_one_is_no_doubt() -> None:
    scoring = (
        "least, hot = 1e9, 1.0\n        for each in (0.9, 1.0, 1.1):\n            nll = F.cross_entropy("
        "network(last_x) / each, last_y).item()\n            if nll < least:\n                least, hot = nll, each\n"
        "        nats += F.cross_entropy(network(x) / bounded(hot), y, reduction='sum').item()\n"
        "        last_x, last_y = x, y"
    )
    assert _found({"before": "pass", "scoring": scoring}) == []
