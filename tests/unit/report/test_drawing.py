"""Charts: well-formed, in the page's colours and font, without names of others, the same bytes every time."""

import math
import sys
from xml.etree import ElementTree

import matplotlib as mpl
import pytest

from bpb_harness.report.charts.bound_curves import masked_entropy_chart, t_curve_chart
from bpb_harness.report.charts.drawing import FIRST, INK, SECOND, draw
from bpb_harness.report.charts.intervals import Interval, draw_intervals
from bpb_harness.report.charts.lines import draw_line
from bpb_harness.result import Comparison
from tests.undrawn_charts import undrawn_charts

NAMES = ["class", "viewBox", "role", "aria-labelledby"]


def intervals(name="errors", label="masks"):
    return str(draw_intervals(name, "Errors", [Interval(label, 0.5, 0.25, 0.75)], "bits per byte"))


def parts(svg):
    return [ElementTree.fromstring(f"<svg{part}") for part in svg.split("<svg")[1:]]


def test_a_chart_is_drawn_for_both_widths_in_the_colours_of_the_page():
    svg = intervals()
    wide, narrow = parts(svg)
    assert [each.get("class") for each in (wide, narrow)] == ["wide", "narrow"]
    assert [each.get("viewBox").split()[2] for each in (wide, narrow)] == ["760", "360"]
    for each in (wide, narrow):
        assert list(each.attrib) == NAMES
        title, text = list(each)[:2]
        assert (title.tag, text.tag) == ("title", "desc")
        assert each.get("aria-labelledby") == f"{title.get('id')} {text.get('id')}"
        assert title.text == "Errors"
        assert text.text == "masks: 0.5000, from 0.2500 to 0.7500"
        shown = ["".join(element.itertext()) for element in each.iter() if element.tag == "text"]
        assert {"masks", "bits per byte"} <= set(shown)
    assert "var(--ink)" in svg
    assert "var(--first)" in svg
    for colour in (INK, FIRST, SECOND):
        assert colour not in svg
    for foreign in ("http", "<style", "metadata", "xmlns", "xlink", "<?xml", "DOCTYPE", "matplotlib"):
        assert foreign not in svg


def test_the_same_chart_is_the_same_bytes_whatever_style_a_reader_has():
    first = intervals()
    with mpl.rc_context({"font.size": 31, "lines.color": "red", "svg.fonttype": "path", "axes.facecolor": "black"}):
        assert intervals() == first
        assert mpl.rcParams["font.size"] == 31
    assert intervals() == first


def test_names_of_parts_are_each_drawing_s_own():
    def names(svg):
        return [element.get("id") for part in parts(svg) for element in part.iter() if element.get("id")]

    one, other = names(intervals("one")), names(intervals("other"))
    assert len(one) == len(set(one)) > 4
    assert set(one).isdisjoint(other)


@pytest.mark.parametrize(
    "label", ["</text><script>x", "$\\frac{1}{2}$ & $", "\x00\x1b\u202e", "_^{}", "a" * 300, "\u3042\u4e00 \u05e9"]
)
def test_a_hostile_label_is_text(label):
    wide, narrow = parts(intervals(label=label))
    assert not [element for each in (wide, narrow) for element in each.iter() if element.tag == "script"]
    assert label.replace("\x00\x1b\u202e", "<U+0000>").split()[0][:8] in "".join(wide.itertext())


def test_errors_that_are_not_known_leave_no_band():
    def bands(error):
        points = [(0.0, 1.0, error), (1.0, 2.0, error)]
        svg = str(draw_line("line", "Line", "A line", points, ("x", "y")))
        return svg.count("fill-opacity: 0.22") + svg.count("; opacity: 0.22")

    assert bands(0.1) == 2
    assert bands(math.nan) == bands(0.0) == 0


def test_the_paint_knows_how_wide_the_page_is():
    asked = []
    draw("n", "N", "n", lambda axes, narrow: asked.append(narrow))
    assert asked == [False, True]


def comparison(**changes):
    values = {
        "discrete": 0.8125, "mc": 0.7911, "gap_bits_per_byte": 0.0214, "gap_stderr": 0.0019,
        "predicted_gap_bits_per_byte": 0.0092, "predicted_gap_stderr": 0.0004, "consistent": True, "threshold": 4.0,
        "t_curve": ((8.0, 0.9474), (16.0, 0.8669), (32.0, 0.8284), (math.inf, 0.7911)),
        "f_curve": ((0.001, 0.2304, 0.1), (0.5, 1.75, 0.05), (0.999, 6.8431, 0.2)),
    }  # fmt: skip
    return Comparison(**(values | changes))


def test_the_curves_of_both_bounds_say_what_to_see():
    falling = comparison(f_curve=((0.001, 2.0, 0.1), (0.999, 1.0, 0.1)))
    with undrawn_charts():
        chart, cheaper = masked_entropy_chart(comparison()), masked_entropy_chart(falling)
        inconsistent = t_curve_chart(comparison(consistent=False), 32)
    assert (
        "With 0.1 % of the tokens masked, a masked token costs 0.2304 bits; with 99.9 % masked 6.8431" in chart.sentence
    )
    assert "dearer" in chart.sentence
    assert chart.table.rows[1] == ("0.5", "1.7500", "0.0500")
    assert "cheaper" in cheaper.sentence
    assert "NOT consistent" in inconsistent.sentence

    curve = t_curve_chart(comparison(), 32)
    assert curve.sentence.startswith("With T steps the bound comes down to 0.7911 as T grows. The gap between")
    assert curve.table.rows == [("8", "0.9474"), ("16", "0.8669"), ("32", "0.8284"), ("without end", "0.7911")]
    assert "T = 32: 0.8125" in curve.svg
    assert "T without end: 0.7911" in curve.svg
    assert "T = " not in t_curve_chart(comparison(), None).svg


def test_nothing_of_matplotlib_is_loaded_that_opens_windows(monkeypatch):
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)  # another library's tests may have loaded it
    intervals()
    assert "matplotlib.pyplot" not in sys.modules
