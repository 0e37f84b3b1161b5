"""Units: sums first, one division, and no rate of nothing."""

import math

import pytest

from bpb_harness.errors import NumericsError
from bpb_harness.units import CodeLength, bits_to_nats, counted, nats_to_bits


def test_one_bit_is_ln_2_nats():
    assert bits_to_nats(1.0) == math.log(2.0)
    assert nats_to_bits(math.log(2.0)) == 1.0


def test_rates_are_ratios_of_sums_not_means_of_ratios():
    long_easy = CodeLength(bits_to_nats(100.0), num_tokens=100, num_bytes=200, num_windows=1)
    short_hard = CodeLength(bits_to_nats(50.0), num_tokens=10, num_bytes=20, num_windows=1)
    both = long_easy + short_hard
    assert both.bits_per_byte == pytest.approx(150 / 220)
    assert both.bits_per_token == pytest.approx(150 / 110)
    assert both.bytes_per_token == pytest.approx(220 / 110)
    assert both.num_windows == 2
    mean_of_ratios = (long_easy.bits_per_byte + short_hard.bits_per_byte) / 2
    assert both.bits_per_byte != pytest.approx(mean_of_ratios, rel=0.1)


@pytest.mark.parametrize("nats", [math.nan, math.inf])
def test_a_total_that_is_no_number_is_refused(nats):
    with pytest.raises(NumericsError, match="finite"):
        CodeLength(nats, 1, 1, 1)


def test_negative_counts_are_refused():
    with pytest.raises(NumericsError, match="num_bytes"):
        CodeLength(1.0, 1, -1, 1)


@pytest.mark.parametrize(("rate", "unit"), [("bits_per_byte", "byte"), ("bits_per_token", "token")])
def test_a_rate_per_nothing_is_refused(rate, unit):
    with pytest.raises(NumericsError, match=f"per {unit}"):
        getattr(CodeLength(1.0, 0, 0, 1), rate)


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 tokens"), (1, "1 token"), (2, "2 tokens"), (12_345, "12,345 tokens")]
)
def test_numbers_of_things_are_counted_as_one_speaks(number, said):
    assert counted(number, "token") == said
