"""Evaluations over a grid of mask rates: values carried round a loop, weights written out, ends that go unpaid."""
# ruff: noqa: E501 - lines of scripts, as they are

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bpb_harness.auditing.script import ScriptContext
from bpb_harness.findings import Severity
from tests.golf_rules import check_source

HEAD = """import math
import numpy as np
import torch
import torch.nn.functional as F
MASK = 512
torch.manual_seed(3)
"""
CARRIED = (
    HEAD
    + """
def evaluate(model, batches, size_of):
    bits, size = 0.0, 0.0
    for x0 in batches:
        {before}
        for {target} in {iterated}:
            {here}
            hidden = torch.rand(x0.shape) < {rate}
            xt = torch.where(hidden, MASK, x0)
            ce = F.cross_entropy(model(xt).float().transpose(1, 2), x0, reduction="none")
            bits = bits + ({weight} * (ce * hidden).sum()) / math.log(2.0)
            {behind}
        size = size + size_of[x0].sum()
    val_bpb = bits / size
    print(f"val_bpb:{{val_bpb:.6f}}")
"""
)
# Names of what a loop hands on, in the words of several authors; each weighs by (u - u of the step before) / u.
HANDED_ON = {
    "index": {"before": "u_old = 0.0", "target": "i", "iterated": "range(24)", "here": "u = (i + 1) / 24", "rate": "u",
                  "weight": "(u - u_old) / u", "behind": "u_old = u"},
    "alphas": {"before": "a_s = torch.tensor(1.0)", "target": "a_t", "iterated": "torch.linspace(1 - 1 / 40, 0.0, 40)",
                   "here": "pass", "rate": "1 - a_t", "weight": "(a_s - a_t) / (1 - a_t)", "behind": "a_s = a_t"},
    "enumerated": {"before": "last = 0.0", "target": "n, t", "iterated": "enumerate(np.arange(1, 33) / 32)", "here": "pass",
                       "rate": "t", "weight": "(t - last) / t", "behind": "last = t"},
    "listed": {"before": "last = 0.0", "target": "t", "iterated": "[0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0]",
                   "here": "pass", "rate": "t", "weight": "(t - last) / t", "behind": "last = t"},
    "backwards": {"before": "above = 1.05", "target": "i", "iterated": "reversed(range(20))", "here": "u = (i + 1) / 20",
                      "rate": "u", "weight": "(u - (above - 0.1)) / u", "behind": "above = u"},
}  # fmt: skip


def _codes(text: str, *severities: Severity) -> set[str]:
    wanted = severities or (Severity.REFUTES, Severity.WARNS)
    return {finding.code for finding in check_source(text) if finding.severity in wanted} - {"BPB262"}


@pytest.mark.parametrize("name", HANDED_ON)
def test_what_the_round_before_left_is_read_as_such(name: str) -> None:
    assert _codes(CARRIED.format(**HANDED_ON[name])) == set()


@pytest.mark.parametrize(
    ("weight", "code"),
    [("(u - u_old) / u ** 2", "BPB251"), ("(u - u_old)", "BPB254"), ("(u - u_old) / (1.02 - u)", "BPB254")],
)
def test_a_wrong_weight_of_a_handed_on_value_is_found(weight: str, code: str) -> None:
    assert code in _codes(CARRIED.format(**{**HANDED_ON["index"], "weight": weight}))


QUADRATURE = (
    HEAD
    + """
RATES = {rates}
WEIGHTS = {weights}


def evaluate(model, batches, size_of):
    nats, size = 0.0, 0
    for x0 in batches:
        for {target} in {iterated}:
            {here}
            hidden = torch.rand(x0.shape) < t
            xt = x0.clone()
            xt[hidden] = MASK
            ce = F.cross_entropy(model(xt).float().transpose(1, 2), x0, reduction="none") * hidden
            nats += w / t * ce.sum()
        size += int(size_of[x0].sum())
    val_bpb = float(nats) / math.log(2.0) / size
    print(f"val_bpb:{{val_bpb:.8f}}")
"""
)
LOOPS = {
    "zip": {"target": "t, w", "iterated": "zip(RATES, WEIGHTS)", "here": "pass"},
    "tensors": {"target": "t, w", "iterated": "zip(torch.tensor(RATES), torch.tensor(WEIGHTS))", "here": "pass"},
    "numbered": {"target": "i, (t, w)", "iterated": "enumerate(zip(RATES, WEIGHTS))", "here": "pass"},
    "indexed": {"target": "i", "iterated": "range(len(RATES))", "here": "t, w = RATES[i], WEIGHTS[i]"},
}  # fmt: skip


def _trapezoid(rates: Sequence[float]) -> list[float]:
    last = len(rates) - 1
    return [(rates[min(i + 1, last)] - rates[max(i - 1, 0)]) / 2 for i in range(len(rates))]


def _right(rates: Sequence[float]) -> list[float]:
    return [rate - before for before, rate in zip([0.0, *rates], rates, strict=False)]


INNER = [0.06, 0.12, 0.25, 0.4, 0.55, 0.7, 0.82, 0.94]
WHOLE = [0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0]


@pytest.mark.parametrize("loop", LOOPS)
def test_an_integral_without_its_ends_is_cut(loop: str) -> None:
    text = QUADRATURE.format(rates=INNER, weights=_trapezoid(INNER), **LOOPS[loop])
    assert _codes(text, Severity.REFUTES) == {"BPB257"}
    (found,) = [finding for finding in check_source(text) if finding.code == "BPB257"]
    assert "with weights that add up to 0.88" in found.message


@pytest.mark.parametrize("loop", LOOPS)
def test_steps_that_pay_for_all_of_it_are_not(loop: str) -> None:
    assert _codes(QUADRATURE.format(rates=WHOLE, weights=_right(WHOLE), **LOOPS[loop]), Severity.REFUTES) == set()


LONG = [0.07 + 0.93 * i / 24.4 for i in range(24)]


def _paid(*, low: bool, high: bool) -> list[float]:
    weights = _trapezoid(LONG)
    weights[0] += low * LONG[0]
    weights[-1] += high * (1.0 - LONG[-1])
    return weights


@pytest.mark.parametrize(("low", "high"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize(
    "order", [range(24), range(23, -1, -1), [0, *[5 * i % 22 + 1 for i in range(22)], 23]],
    ids=["up", "down", "of its own between the ends"],
)  # fmt: skip
def test_a_long_integral_without_an_end_is_cut_as_well(order: Sequence[int], low: bool, high: bool) -> None:
    """It is looked at in places first, which tell the honest ones."""
    weights = _paid(low=low, high=high)
    text = QUADRATURE.format(rates=[LONG[i] for i in order], weights=[weights[i] for i in order], **LOOPS["zip"])
    (found,) = [each for each in check_source(text) if each.severity is Severity.REFUTES and each.code == "BPB257"]
    assert found.evidence["total_weight"] == pytest.approx(sum(weights))


@pytest.mark.parametrize("step", [1, -1])
def test_a_long_one_whose_ends_are_paid_is_not(step: int) -> None:
    text = QUADRATURE.format(rates=LONG[::step], weights=_paid(low=True, high=True)[::step], **LOOPS["zip"])
    assert _codes(text, Severity.REFUTES) == set()


def test_one_whose_weights_fit_no_distances_says_nothing_of_its_ends() -> None:
    weights = [w * (1.2 if i == 17 else 1.0) for i, w in enumerate(_paid(low=False, high=False))]
    text = QUADRATURE.format(rates=LONG, weights=weights, **LOOPS["zip"])
    assert "BPB257" not in _codes(text, Severity.REFUTES)


MEANS = (
    HEAD
    + """
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Linear(8, 512)

    def forward(self, noised, clean):
        target = torch.where(noised == MASK, clean, -100)
        return F.cross_entropy(self.body(noised).view(-1, 512).float(), target.view(-1))


def evaluate(net, batches, size_of):
    total, tokens, size = 0.0, 0, 0
    for clean in batches:
        nats = 0.0
        for rate in {rates}:
            noised = clean.clone()
            hidden = torch.rand(clean.shape) < rate
            noised[hidden] = MASK
            nats += net(noised, clean).item() {weight}
        total += nats / {count} * clean.numel()
        tokens += clean.numel()
        size += size_of[clean].sum().item()
    val_loss = total / tokens
    val_bpb = val_loss / math.log(2) * tokens / size
    print(f"val_loss:{{val_loss:.6f}} val_bpb:{{val_bpb:.6f}}")


evaluate(Net(), torch.load("a.pt"), torch.load("b.pt"))
"""
)


@pytest.mark.parametrize(
    "rates", ["[0.1, 0.3, 0.5, 0.7, 0.9]", "[0.15, 0.3, 0.45, 0.6, 0.75, 0.9]", "(0.2, 0.4, 0.6, 0.8, 1.0)"]
)
def test_a_mean_over_masked_tokens_is_weighed_by_nothing_more(rates: str) -> None:
    twice = MEANS.format(rates=rates, weight="/ rate", count=5)
    assert "BPB252" in _codes(twice, Severity.REFUTES)
    once = MEANS.format(rates=rates, weight="", count=5)
    assert "BPB252" not in _codes(once)


def test_rates_that_are_written_out_without_ends_are_a_doubt() -> None:
    once = MEANS.format(rates="[0.1, 0.3, 0.5, 0.7, 0.9]", weight="", count=5)
    assert _codes(once, Severity.WARNS) == {"BPB257"}
    assert _codes(once, Severity.REFUTES) == set()
    # A mean over some rates may be higher than the bound, or lower.
    (found,) = [finding for finding in check_source(once) if finding.code == "BPB257"]
    assert "which way that moves the score depends on what is left out" in found.message
    assert "higher than the claimed score" not in found.message


@pytest.mark.parametrize("loop", LOOPS)
def test_a_cut_integral_names_its_rates_where_they_are_written_and_the_direction(loop: str) -> None:
    text = QUADRATURE.format(rates=INNER, weights=_trapezoid(INNER), **LOOPS[loop])
    (found,) = [finding for finding in check_source(text) if finding.code == "BPB257"]
    assert "0.06, 0.12, 0.25, 0.4, 0.55, 0.7, 0.82, 0.94" in found.message
    assert text.splitlines()[int(str(found.evidence["line"])) - 1] == f"RATES = {INNER}"
    quoted = [line["code"] for line in found.evidence["quoted"]]  # the rates, and where the weights stand
    assert quoted == [f"RATES = {INNER}", "nats += w / t * ce.sum()"]
    assert "The 0.12 that is left out can only add to it" in found.message
    assert "The error of the sum over the other rates may go either way" in found.message
    assert "log2 V" not in found.message  # nothing tells the vocabulary, or the bytes per token


def test_what_is_left_out_of_an_integral_is_told_by_its_size() -> None:
    text = QUADRATURE.format(rates=INNER, weights=_trapezoid(INNER), **LOOPS["zip"])
    known = ScriptContext(vocab_size=1024, bytes_per_token=2.5, text="a text")
    (found,) = [finding for finding in check_source(text, known) if finding.code == "BPB257"]
    assert (
        "up to about 0.48 bits per byte (0.12 x log2 V = 10 bits, what a guess costs, / 2.5 bytes per token)"
        in found.message
    )


INTEGRATED = (
    HEAD
    + """
def evaluate(model, batches, size_of):
    rates = torch.tensor({rates}, dtype=torch.float64)
    nats, hidden_tokens, size = torch.zeros({count}), torch.zeros({count}), 0.0
    for k in range({count}):
        t = float(rates[k])
        for x0 in batches:
            hidden = torch.rand(x0.shape) < t
            xt = x0.clone()
            xt[hidden] = MASK
            ce = F.cross_entropy(model(xt).float().transpose(1, 2), x0, reduction="none")
            nats[k] += (ce * hidden).sum()
            hidden_tokens[k] += hidden.sum()
            size += size_of[x0].sum()
    loss = torch.{rule}(nats / hidden_tokens, rates)
    val_bpb = loss.item() / math.log(2.0) / size
    print(f"val_bpb:{{val_bpb:.6f}}")
"""
)


@pytest.mark.parametrize("rule", ["trapezoid", "trapz"])
@pytest.mark.parametrize(("rates", "found"), [(INNER, {"BPB257"}), ([0.001, 0.1, 0.3, 0.6, 0.8, 0.9, 1.0], set())])
def test_a_quadrature_gives_each_rate_its_interval_itself(rule: str, rates: list[float], found: set[str]) -> None:
    """Uneven rates under it are no wrong weight: each has the interval between its neighbours."""
    assert _codes(INTEGRATED.format(rule=rule, rates=rates, count=len(rates))) == found


@pytest.mark.parametrize(
    ("over", "severity"),
    [
        ("/ rates", Severity.REFUTES),
        ("/ rates.to(x0.device)", Severity.REFUTES),
        ("* np.load('w.npy')", Severity.WARNS),
        ("/ torch.tensor([0.1, 0.1, 0.2, 0.4, 0.5, 0.6, 0.8, 0.9])", Severity.WARNS),
    ],
)
def test_what_a_quadrature_leaves_out_may_be_paid_by_weights_but_not_by_the_rates_themselves(
    over: str, severity: Severity
) -> None:
    text = INTEGRATED.format(rule="trapezoid", rates=INNER, count=len(INNER))
    text = text.replace("hidden_tokens, rates)", f"hidden_tokens {over}, rates)")
    (found,) = (finding for finding in check_source(text) if finding.code == "BPB257")
    assert found.severity is severity


@pytest.mark.parametrize(("tokenizer", "is_token"), [(512, False), (513, True), (1024, True), (None, True)])
def test_a_mask_id_behind_the_tokenizers_last_is_no_token(tokenizer: int | None, is_token: bool) -> None:
    text = MEANS.format(rates="[0.5]", weight="", count=1).replace(
        "MASK = 512", "vocab_size = 513\nmask_token_id = 512"
    )
    context = ScriptContext(vocab_size=tokenizer)
    assert ("BPB262" in {finding.code for finding in check_source(text, context)}) is is_token


@pytest.mark.parametrize(("points", "severity"), [(8, Severity.WARNS), (63, Severity.WARNS), (64, Severity.INFORMS)])
def test_both_ends_of_a_fine_grid_move_the_number_by_less_than_it_is_published_with(
    points: int, severity: Severity
) -> None:
    """Equal weights 1/K at K points, both ends with them: too high by (mean of the ends - mean) / K, as a rule."""
    idiom = {
        "before": "pass",
        "target": "t",
        "iterated": f"torch.linspace(0.001, 1.0, {points})",
        "here": "pass",
        "rate": "t",
        "weight": f"1.0 / {points} / t",
        "behind": "pass",
    }
    (found,) = (finding for finding in check_source(CARRIED.format(**idiom)) if finding.code == "BPB258")
    assert found.severity is severity
    assert ("makes the number too high" in found.message) is (severity is Severity.INFORMS)


SINGLE = (
    HEAD
    + """
class Net:
    def __init__(self):
        self.edges = {edges}

    def __call__(self, x):
        return x @ self.edges


def edges():
    return (torch.rand(64, 64) < 0.05).float()


def evaluate(model, batches, size_of):
    nats, size = 0.0, 0.0
    for x0 in batches:
        {hidden}
        ce = F.cross_entropy(model({read}).float().transpose(1, 2), x0, reduction="none")
        nats += {cost}.sum().item()
        size += size_of[x0].sum()
    val_bpb = nats / math.log(2.0) / size
    print(f"val_bpb:{{val_bpb:.6f}}")


evaluate(Net(), *load())
"""
)
PLAIN = {"edges": "torch.ones(64, 64)", "hidden": "pass", "read": "x0", "cost": "ce"}


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden": "m = torch.rand(x0.shape) < 0.3", "read": "torch.where(m, MASK, x0)"},
        {"hidden": "m = torch.rand(x0.shape) < 0.3; xt = x0.clone(); xt[m] = MASK", "read": "xt", "cost": "ce[m]"},
        {"hidden": "m = (torch.rand(x0.shape) < 0.3).long()", "read": "(x0 * (1 - m) + MASK * m)", "cost": "(ce * m)"},
        {"hidden": "xt = x0.clone(); xt[torch.rand(x0.shape) < 0.3] = MASK", "read": "xt"},
        {"hidden": "m = draw(x0)", "read": "x0.masked_fill(m, MASK)"},
        {"hidden": "m = torch.bernoulli(torch.full(x0.shape, 0.15)).bool()", "read": "torch.where(m, MASK, x0)"},
        {
            "hidden": "p = torch.full(x0.shape, 0.15); p.masked_fill_(x0 < 4, 0.0); m = torch.bernoulli(p).bool();"
            " xt = x0.clone(); xt[m] = MASK",
            "read": "xt",
        },
        {"hidden": "m = draw(x0).nonzero(as_tuple=True); xt = x0.clone(); xt[m] = MASK", "read": "xt"},
        {"hidden": "m = torch.logical_and(draw(x0), x0 > 3)", "read": "torch.where(m, MASK, x0)"},
    ],
)
def test_one_rate_of_hidden_tokens_is_no_code(changes: dict[str, str]) -> None:
    draw = "def draw(x):\n    return torch.rand(x.shape) < 0.3\n\n\n"
    text = SINGLE.format(**{**PLAIN, **changes}).replace("def evaluate", f"{draw}def evaluate")
    assert "BPB264" in _codes(text)


DRAWN = "m = torch.rand(x0.shape) < 0.3"
HANDED_OVER = "def hide(x, m):\n    return torch.where(m, MASK, x)\n\n\n"
HANDED_BACK = "def hide(x):\n    m = torch.rand(x.shape) < 0.3\n    return torch.where(m, MASK, x), m\n\n\n"
KEPT = """class Hide:
    def hide(self, x):
        self.m = torch.rand(x.shape) < 0.3
        return torch.where(self.m, MASK, x)


"""
PRICED = "def price(c, m):\n    return c * m\n\n\n"

PRICED_IN_PLACE = "def price(c, m):\n    c *= m\n    return c\n\n\n"


@pytest.mark.parametrize(
    ("helper", "changes"),
    [
        (HANDED_OVER, {"hidden": DRAWN, "read": "hide(x0, m)"}),
        (HANDED_OVER, {"hidden": DRAWN, "read": "hide(x0, m=m)"}),
        (HANDED_OVER, {"hidden": DRAWN, "read": "hide(*[x0, m])"}),
        (HANDED_BACK, {"hidden": "xt, m = hide(x0)", "read": "xt"}),
        (KEPT, {"hidden": "xt = Hide().hide(x0)", "read": "xt"}),
        (PRICED, {"hidden": f"{DRAWN}; xt = x0 + m * 7", "read": "xt", "cost": "price(ce, m)"}),
        (PRICED_IN_PLACE, {"hidden": f"{DRAWN}; xt = x0 + m * 7", "read": "xt", "cost": "price(ce, m)"}),
        ("draw = lambda s: torch.rand(s) < 0.3\n\n\n", {"hidden": "m = draw(x0.shape)", "read": "x0.where(m, MASK)"}),
        ("", {"hidden": f"{DRAWN}; w = m.float(); xt = x0 + w * 7", "read": "xt", "cost": "(ce * w)"}),
        ("", {"hidden": f"{DRAWN}; w = m.long()", "read": "(x0 * (1 - w) + MASK * w)"}),
        ("", {"hidden": f"{DRAWN}; w = m.long(); k = 1 - w", "read": "(x0 * k + MASK * w)"}),
        ("", {"hidden": f"{DRAWN}; w = m.long()", "read": "(x0 + w * (MASK - x0))"}),
        ("", {"hidden": f"{DRAWN}; n = m & (x0 != 0)", "read": "torch.where(n, MASK, x0)"}),
        ("", {"hidden": f"{DRAWN}; xt = x0 + 7 * m; flat = m.view(-1)", "read": "xt", "cost": "ce.view(-1)[flat]"}),
        ("", {"hidden": f"{DRAWN}; kept = {{'m': m}}", "read": "torch.where(kept['m'], MASK, x0)"}),
        ("", {"hidden": f"all_ = []; {DRAWN}; all_.append(m)", "read": "torch.where(all_[0], MASK, x0)"}),
        ("", {"hidden": "xt = torch.tensor([MASK if torch.rand(()) < 0.3 else t for t in x0])", "read": "xt"}),
    ],
)
def test_a_draw_is_followed_to_the_tokens_that_it_hides(helper: str, changes: dict[str, str]) -> None:
    text = SINGLE.format(**{**PLAIN, **changes}).replace("def evaluate", f"{helper}def evaluate")
    assert "BPB264" in _codes(text)


@pytest.mark.parametrize("dropped", ["x * keep / 0.9", "x * keep.float() + x", "drop(x, keep)", "x @ keep"])
def test_what_a_network_drops_hides_no_token(dropped: str) -> None:
    net = f"keep = torch.rand(x.shape) > 0.1\n        return {dropped}"
    helper = "def drop(x, keep):\n    return x * keep\n\n\n"
    text = SINGLE.format(**PLAIN).replace("return x @ self.edges", net).replace("def evaluate", f"{helper}def evaluate")
    assert "BPB264" not in _codes(text)


@pytest.mark.parametrize("edges", ["edges()", "(torch.rand(64, 64) < 0.05).float()", "torch.rand(64, 64) < 0.05"])
def test_what_is_drawn_for_the_network_itself_hides_no_token(edges: str) -> None:
    assert "BPB264" not in _codes(SINGLE.format(**{**PLAIN, "edges": edges}))


HIDDEN_IN = {
    "drawn and hidden": "xt = x0\n        if {test}:\n            m = torch.rand(x0.shape) < 0.3\n            xt = torch.where(m, MASK, x0)",
    "hidden": "m = torch.rand(x0.shape) < 0.3\n        xt = x0\n        if {test}:\n            xt = x0.masked_fill(m, MASK)",
    "chosen": "m = torch.rand(x0.shape) < 0.3\n        xt = torch.where(m, MASK, x0) if {test} else x0",
    "set": "xt = x0.clone()\n        if {test}:\n            m = torch.rand(x0.shape) < 0.3\n            xt[m] = MASK",
}


@pytest.mark.parametrize("where", HIDDEN_IN)
@pytest.mark.parametrize(
    ("test", "severity"),
    [
        ("model.training", None),
        ("model.training and model.drop > 0", None),
        ("not (not model.training)", None),
        ("model.masks", Severity.WARNS),  # nobody can say what it is
        ("not model.training", Severity.WARNS),
        ("model.training or model.masks", Severity.WARNS),
        ("MASK > 0", Severity.REFUTES),
        ("MASK < 0", None),
    ],
)
def test_masks_of_one_rate_in_a_branch_count_as_far_as_it_is_known_to_be_taken(
    where: str, test: str, severity: Severity | None
) -> None:
    text = SINGLE.format(**PLAIN | {"hidden": HIDDEN_IN[where].format(test=test), "read": "xt"})
    found = [finding for finding in check_source(text) if finding.code == "BPB264"]
    assert [each.severity for each in found] == ([] if severity is None else [severity])
    assert all(("If `" in each.message) is (severity is Severity.WARNS) for each in found)
