"""The means of estimators on the oracle, against the kit's formulas: two implementations of one sum over masks."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bpb_harness.auditing.script.running.judged_scores import judge_scores
from bpb_harness.auditing.script.running.known_means import (
    EVERY_MASK,
    LENGTH,
    PROBES,
    Floats,
    Mean,
    Setting,
    bounds,
    costs_of,
    mistakes,
)
from bpb_harness.auditing.script.running.measured import _fixed_rates
from bpb_harness.auditing.script.running.scored_texts import choose_texts
from bpb_harness.auditing.script.running.scoring_function import ScoringFunction
from bpb_harness.auditing.script.running.scoring_process import _Process
from bpb_harness.byte_count import load_tokenizer
from bpb_harness.schedule import parse_schedule
from bpb_harness.testing.formula import Formula, bound, diffusion
from bpb_harness.testing.known_mistakes import Setting as KitSetting
from bpb_harness.testing.known_mistakes import known_mistakes
from bpb_harness.testing.probes import ArbitraryProbe

V, STEPS = 11, 8
TOKENIZER = Path(__file__).resolve().parents[5] / "fixtures" / "tokenizers" / "tiny_512_bpe.model"


def _known(eps: float, calls: int = STEPS) -> list[Mean]:
    setting = Setting(V, calls, 100, None, (eps,) if eps else ())
    return [*bounds(setting), *mistakes(setting)]


def _agree(mean: Mean, formula: Formula) -> bool:
    coefficients = formula.coefficients.sum(axis=0)
    return np.allclose(mean.coefficients[1:], coefficients[1:], rtol=1e-4, atol=1e-6) and math.isclose(
        mean.offset_nats, formula.offset_nats, abs_tol=1e-9
    )


@pytest.mark.parametrize("eps", [0.0, 0.1])
@pytest.mark.parametrize("num_steps", [None, STEPS])
def test_the_bounds_are_the_kits(eps: float, num_steps: int | None) -> None:
    schedule = parse_schedule(f"loglinear[{eps}]" if eps else "loglinear")
    formula = bound(schedule, LENGTH, V, num_steps)
    name = "the continuous bound" if num_steps is None else f"the bound of {num_steps} steps"
    assert any(_agree(mean, formula) for mean in _known(eps) if mean.name == name and mean.is_bound)


def test_the_cosine_bounds_are_the_kits() -> None:
    formula = bound(parse_schedule("cosine-md4"), LENGTH, V, STEPS)
    assert any(_agree(mean, formula) for mean in _known(0.0) if "cosine-md4" in mean.name)


def test_a_missing_prior_term_is_the_diffusion_term_alone() -> None:
    formula = diffusion(parse_schedule("loglinear[0.1]"), LENGTH, STEPS)
    assert any(_agree(mean, formula) for mean in _known(0.1) if mean.codes == ("BPB256",))


_SAME = [  # what the kit calls it; the code of ours; network calls
    ("1/t applied twice", "BPB251", STEPS),
    ("t = 1 dropped from the grid", "BPB259", STEPS - 1),
    ("the cleaner end of each step", "BPB260", STEPS),
    ("no weight: the plain sum", "BPB254", STEPS),
    ("two passes that condition on each other", "BPB265", STEPS),
    ("pseudo-log-likelihood: each token given all", "BPB264", STEPS),
]


@pytest.mark.parametrize(("kit_name", "code", "calls"), _SAME)
def test_mistakes_of_steps_are_the_kits(kit_name: str, code: str, calls: int) -> None:
    schedule = parse_schedule("loglinear")
    x0 = torch.randint(V, (5, LENGTH), generator=torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(4)
    probe = ArbitraryProbe.random(x0, V, mask_column=False, time_conditioned=False, generator=generator)
    costs = probe.masked_costs(np.zeros(1))[0]
    theirs = [
        mistake.mean_nats(probe)
        for mistake in known_mistakes(KitSetting(schedule, STEPS, V, LENGTH))
        if mistake.diagnosis.startswith(kit_name)
    ]
    ours = [mean for mean in _known(0.0, calls) if code in mean.codes]
    assert theirs
    found = [np.array([mean.nats(row) for row in costs]) for mean in ours]
    assert any(np.allclose(one, other, rtol=1e-4) for one in theirs for other in found)


def test_costs_of_a_probe_are_sums_over_the_hidden_tokens() -> None:
    """The whole text hidden costs L ln V where masks of L tokens are charged, and nothing elsewhere."""
    for count in range(1, LENGTH + 1):
        costs = costs_of(f"count {count}", V, 0)
        charged = np.array([code.bit_count() == count for code in range(1 << LENGTH)])
        assert np.allclose(costs[charged], count * math.log(V))
        assert not costs[~charged].any()


def test_the_probe_of_every_mask_tells_rotations_apart() -> None:
    assert EVERY_MASK in PROBES
    assert not np.allclose(costs_of(EVERY_MASK, V, 0), costs_of(EVERY_MASK, V, 1))


def test_every_bound_is_the_same_where_all_masks_cost_alike() -> None:
    """A uniform network: every bound is L ln V, whatever the steps and the schedule (MATHS.md, equations 4 and 5)."""
    costs = sum(costs_of(probe, V, 0) for probe in PROBES[:LENGTH])
    assert isinstance(costs, np.ndarray)
    for mean in bounds(Setting(V, STEPS, 100, None, (0.001, 0.1))):
        assert mean.nats(costs) == pytest.approx(LENGTH * math.log(V), rel=1e-6), mean.name


def test_an_unnamed_mistake_is_no_bound() -> None:
    """No mistake has the coefficients of a bound, or a right function could be called wrong."""
    setting = Setting(V, STEPS, 100, (0.2, 0.4, 0.6, 0.8), (0.1,))
    costs = [costs_of(probe, V, 0) for probe in PROBES]
    right = np.array([[mean.nats(one) for one in costs] for mean in bounds(setting)])
    for mean in (mean for mean in mistakes(setting) if not mean.is_mild):
        values = np.array([mean.nats(one) for one in costs])
        nearest = np.abs(right - values).max(axis=1).min() / np.abs(values[np.isfinite(values)]).max()
        assert nearest > 0.015, mean.name


# --- what is said of numbers -----------------------------------------------------------------------------------------


def _reply(values: list[float], errors: list[float]) -> dict[str, object]:
    """An answer of the limited process with these means and standard errors: 12 calls, half above and half below."""
    masks = []
    for probe, value, error in zip(PROBES, values, errors, strict=True):
        away = error * math.sqrt(11.0)
        returned = [[value + (away if call % 2 else -away)] for call in range(12)]
        masks.append({
            "probe": probe, "returned": returned, "rows": 64, "rates": None, "spread": 0.3, "calls": STEPS,
            "ever": [True] * LENGTH, "dispersion": 1.0, "tokens_a_call": 256.0,
        })  # fmt: skip
    return {"masks": masks, "clean": 512, "vocabulary": 512, "levels": [], "rotation": 0, "masks_seen": 16}


def _said(share: float, errors_between: float) -> str:
    """The code for numbers between the bound of 8 steps and that without a weight, so many errors apart."""
    setting = Setting(512, STEPS, 64, None, ())
    costs = [costs_of(probe, 512, 0) for probe in PROBES]
    right = next(mean for mean in bounds(setting) if mean.name == f"the bound of {STEPS} steps")
    wrong = next(mean for mean in mistakes(setting) if mean.codes == ("BPB254",))
    pairs = [(right.nats(one), wrong.nats(one)) for one in costs]
    values = [a + share * (b - a) for a, b in pairs]
    reply = _reply(values, [abs(b - a) / errors_between for a, b in pairs])
    function = ScoringFunction("nelbo", None, "train.py", 1, (), "", (), (), (), is_numpy=False)
    tokenizer = load_tokenizer(TOKENIZER)
    behaviour = judge_scores([function], [reply], choose_texts(tokenizer), tokenizer, {"nelbo"})
    return behaviour.findings[0].code


@pytest.mark.parametrize(
    ("share", "errors_between", "code"),
    [
        (1.0, 40.0, "BPB270"),  # what the mistake gives, 40 errors from the bound
        (0.0, 400.0, "BPB269"),  # what the bound gives
        (0.7, 9.0, "BPB271"),  # the mistake fits, and the bound is 6.3 errors away: no fit, and not excluded
        (0.5, 400.0, "BPB271"),  # sharp, and neither
    ],
)
def test_a_mistake_is_named_where_it_fits_and_every_bound_is_excluded(
    share: float, errors_between: float, code: str
) -> None:
    assert _said(share, errors_between) == code


# --- windows that are shown one by one -------------------------------------------------------------------------------


_Draw = Callable[[np.random.Generator, tuple[int, int]], Floats]


def _one_by_one(draw: _Draw, windows: int = 100) -> dict[str, object]:
    """A run of 12 calls, each of which shows its windows of four tokens one after the other."""
    generator = np.random.default_rng(5)
    levels = draw(generator, (12, windows))
    columns = (generator.random((12, windows, LENGTH)) < levels[..., None]).mean(axis=2)
    return {
        "returned": [[1.0]] * 12, "rows": windows, "rates": columns.mean(axis=0).tolist(), "dispersion": 1.0,
        "spread": float(columns.std(axis=0).max()), "tokens_a_call": float(LENGTH),
        "between": _Process._between(columns, LENGTH),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("draw", "rates"),
    [
        (lambda generator, shape: np.full(shape, 0.5), (0.5,)),
        (lambda generator, shape: np.full(shape, 0.15), (0.15,)),
        (lambda generator, shape: generator.random(shape), None),  # a rate for each window
        (lambda generator, shape: np.round(generator.random(shape)) * 0.5 + 0.25, None),
        (lambda generator, shape: (np.arange(shape[1]) + generator.random(shape)) / shape[1], None),  # strata
    ],
)
def test_a_rate_is_fixed_where_windows_vary_by_chance_alone(draw: _Draw, rates: tuple[float, ...] | None) -> None:
    found = _fixed_rates(_one_by_one(draw))
    assert found == rates or (rates is not None and found == pytest.approx(rates, abs=0.03))


def test_few_windows_tell_nothing_of_their_rate() -> None:
    assert _fixed_rates(_one_by_one(lambda generator, shape: np.full(shape, 0.5), windows=20)) is None
