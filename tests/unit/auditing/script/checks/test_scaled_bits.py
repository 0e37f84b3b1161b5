"""Constants that scale a loss, or bits beside counted bytes; and honest numbers as near to them as can be."""

from __future__ import annotations

import math

import pytest

from bpb_harness.findings import Finding, Severity
from fixtures.claims.build import HERE
from tests.golf_rules import check_source

SCRIPT = (HERE.parent / "scripts" / "honest_ar_tables.py").read_text(encoding="utf-8")
BITS = "bits_per_token = val_loss.item() / math.log(2.0)"
LOSS = "val_loss = loss_sum / token_count"
SCORE = "float(bits_per_token * tokens_per_byte)"
CODES = ("BPB150", "BPB167", "BPB283")


def found(*changes: tuple[str, str]) -> list[Finding]:
    text = SCRIPT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return [each for each in check_source(text) if each.code in CODES]


@pytest.mark.parametrize(
    ("old", "new", "factor", "said"),
    [
        (BITS, f"{BITS} / 2.2", 2.2, "the bits are divided by 2.2: by that the score is 54.5 % too low (too good)"),
        (BITS, f"{BITS} * 0.95", 1 / 0.95, "the bits are multiplied by 0.95"),
        (SCORE, f"{SCORE[:-1]} * 0.95)", 1 / 0.95, "the bits are multiplied by 0.95"),
        (BITS, f"{BITS} / 0.6", 0.6, "66.7 % too high (worse than it is)"),
        (BITS, f"{BITS} / math.log(2.0) * 0.6", math.log(2) / 0.6, "13.4 % too low (too good)"),
        (BITS, BITS.replace("(2.0)", "(10.0)"), math.log2(10), "divided by math.log(10.0) = 2.30259 (bits take ln 2"),
        (BITS, BITS.replace("(2.0)", "(3.0)"), math.log2(3), "36.9 % too low (too good)"),
        (BITS, BITS.replace("(2.0)", "(256.0)"), 8.0, "87.5 % too low (too good)"),
        (BITS, f"{BITS} / math.log(10.0, 2)", math.log2(10), "69.9 % too low (too good)"),
        (BITS, f"{BITS} / np.log10(25.0)", math.log10(25), "28.5 % too low (too good)"),
    ],
)
def test_a_constant_beside_counted_bytes(old: str, new: str, factor: float, said: str) -> None:
    """It is no number of bytes per token (BPB150): the bytes of the text are counted as well."""
    (hit,) = found((old, new))
    assert (hit.code, hit.severity) == ("BPB167", Severity.REFUTES)
    assert hit.factor == pytest.approx(factor, rel=1e-6)
    assert said in hit.message


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (LOSS, f"{LOSS} * 0.95"),
        ("return F.cross_entropy(", "return 0.95 * F.cross_entropy("),
        ("loss_sum += batch_loss.to(torch.float64) * n", "loss_sum += 0.95 * batch_loss.to(torch.float64) * n"),
        (LOSS, f"kept = 0.95\n    {LOSS} * kept"),
    ],
)
def test_a_constant_of_the_loss_itself(old: str, new: str) -> None:
    """What is printed as the loss has it too, so that loss and score agree by the right number of bytes."""
    (hit,) = found((old, new))
    assert (hit.code, hit.severity) == ("BPB283", Severity.REFUTES)
    assert hit.factor == pytest.approx(1 / 0.95)
    assert "what is printed as the loss, and the score, are 5.0 % too low (too good)" in hit.message


def test_where_no_loss_is_printed_nothing_tells_which_it_is() -> None:
    changes = [(f"val_loss:{{val_loss:.{digits}f}} val_bpb", "val_bpb") for digits in (4, 8)]
    (hit,) = found((LOSS, f"{LOSS} * 0.95"), *changes)
    assert (hit.code, hit.severity, hit.factor) == ("BPB283", Severity.WARNS, None)


@pytest.mark.parametrize(
    "changes",
    [
        [],
        [(BITS, "bits_per_token = val_loss.item() * math.log2(math.e)")],
        [(BITS, "bits_per_token = val_loss.item() * 1.442695")],
        [(BITS, "bits_per_token = val_loss.item() / 0.6931")],
        [(BITS, "LN2 = float(np.log(2))\n    bits_per_token = val_loss.item() / LN2")],
        [(BITS, f"{BITS} * 1.0")],
        # by way of another base, all of it
        [(BITS, f"{BITS.replace('(2.0)', '(10.0)')} / math.log10(2.0)")],
        [(BITS, f"{BITS.replace('(2.0)', '(10.0)')} / np.log10(2.0)")],
        [(BITS, f"{BITS.replace('(2.0)', '(10.0)')} * math.log(10.0, 2)")],
        [(BITS, f"{BITS.replace('(2.0)', '(10.0)')} * torch.log2(torch.tensor(10.0)).item()")],
        [(BITS, "num_bytes = val_loss.item() / math.log(256.0)\n    bits_per_token = 8.0 * num_bytes")],
        [(BITS, f"{BITS} / 2.5 * 5 / 2")],
        # what is not known may be the rest of it
        [(BITS, f"{BITS.replace('(2.0)', '(10.0)')} / units.bits_of_digits()")],
        [(BITS, f"{BITS} / 2.2 * units.RATE")],
        [(BITS, f"{BITS} * 0.95"), (LOSS, f"{LOSS} / units.RATE")],
        [(BITS, f"{BITS} / 2 * 2.0")],
        [(BITS, f"digits = val_loss.item() / math.log(10.0)\n    print(f'digits {{digits:.3f}}')\n    {BITS}")],
        [(BITS, f"per_word = val_loss.item() / math.log(2.0) * 1.33\n    {BITS}")],
        [(BITS, f"smooth = val_loss.item() * 0.9\n    {BITS}")],
        # a loss in thirds; an average that moves along; a mean of two networks
        [("loss_sum += batch_loss.to(torch.float64) * n", "loss_sum += batch_loss.to(torch.float64) * n / 3.0"),
         ("token_count += n", "token_count += n / 3.0")],
        [(LOSS, f"{LOSS}\n    val_loss = 0.9 * val_loss + 0.1 * loss_sum / token_count")],
        [(LOSS, "val_loss = 0.15 * (loss_sum / token_count) + 0.85 * s.last_loss")],
        [("batch_loss = model(x, y).detach()", "batch_loss = 0.5 * model(x, y) + 0.5 * model(x, y)")],
        # what training alone weighs, and the softcap of the logits
        [("        loss.backward()", "        (0.95 * loss).backward()")],
        [("softcap = 30.0", "softcap = 28.5")],
    ],
)  # fmt: skip
def test_units_and_numbers_of_things_are_none(changes: list[tuple[str, str]]) -> None:
    assert found(*changes) == []
