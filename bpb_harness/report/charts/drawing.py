"""A chart drawn by matplotlib, twice: for a wide page and for a narrow one.

The SVG is made to live inside a page: its colours are the page's variables, so that it follows light and dark; its
text is text, in the page's font; names of parts are its own; nothing in it changes from one run to the next.
"""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final
from xml.etree import ElementTree

from bpb_harness.report.visible import visible

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

# Colours that no chart has otherwise: each is written into the SVG, found there and replaced by a variable of the page.
INK, MUTED, GRID, FIRST, SECOND = "#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04", "#0a0b05"
_VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--rule", FIRST: "--first", SECOND: "--second"}
_WIDTHS = {"wide": 760, "narrow": 360}  # units of the drawing, which are CSS pixels where there is room
_POINTS_PER_INCH = 72.0
_TARGET = re.compile(r"(?<=^#)[\w-]+$|(?<=url\(#)[\w-]+")
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],  # which matplotlib brings; it only measures by it, the page has its own
    "font.size": 12,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 12,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.linewidth": 0.8,
    "axes.formatter.useoffset": False,
    "figure.facecolor": "none",
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "legend.fontsize": 12,
}

Paint = Callable[["Axes", bool], None]


@final
@dataclass(frozen=True)
class Table:
    """The numbers of a chart, for those who read them.

    Attributes:
        columns: heads.
        rows: cells as text.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@final
@dataclass(frozen=True)
class Chart:
    """A chart, what to see in it, and its numbers.

    Attributes:
        title: of the section.
        sentence: what to see.
        svg: both drawings, safe to put into a page.
        table: its numbers; None where they stand beside it already.
    """

    title: str
    sentence: str
    svg: Markup
    table: Table | None


def draw(name: str, title: str, description: str, paint: Paint, *, height: int = 260) -> Markup:
    """A chart as SVG for both widths.

    Args:
        name: of the chart, once a page; letters and dashes.
        title: what a screen reader calls it.
        description: what it tells of it.
        paint: draws into axes; gets True where the page is narrow.
        height: units.
    """
    from markupsafe import Markup

    drawings = [
        _for_page(_drawn(f"{name}-{size}", size, paint, height), f"{name}-{size}", size, title, description)
        for size in _WIDTHS
    ]
    return Markup("\n").join(Markup(drawing) for drawing in drawings)  # noqa: S704  # made by matplotlib, cleaned below


def _drawn(name: str, size: str, paint: Paint, height: int) -> bytes:
    """An SVG as matplotlib writes it."""
    # Of its caches and fonts matplotlib speaks on stderr, where a command has one line for what went wrong.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: Any = _STYLE | {"svg.hashsalt": name}
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that its font lacks, and the page's need not
        mpl.rcdefaults()  # a reader's own style is not the page's
        mpl.rcParams.update(style)
        inches = _WIDTHS[size] / _POINTS_PER_INCH, height / _POINTS_PER_INCH
        figure = Figure(figsize=inches, dpi=_POINTS_PER_INCH, layout="constrained")
        paint(figure.add_subplot(), size == "narrow")
        drawn = io.BytesIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()


def _for_page(drawn: bytes, name: str, size: str, title: str, description: str) -> str:
    """The SVG without what belongs to a file of its own: document type, name spaces, metadata, global style."""
    root = ElementTree.fromstring(drawn)  # noqa: S314  # of matplotlib, no line of it is a stranger's
    for element in root.iter():
        element.tag = element.tag.partition("}")[2] or element.tag
        element.attrib = {key.partition("}")[2] or key: value for key, value in element.attrib.items()}
        for child in list(element):
            if child.tag.endswith(("metadata", "style")):
                element.remove(child)
    _keep_own_names(root, name)
    box = root.get("viewBox", "")
    root.attrib = {
        "class": size, "viewBox": box, "role": "img", "aria-labelledby": f"{name}-title {name}-text",
    }  # fmt: skip
    for position, (tag, text) in enumerate((("title", title), ("desc", description))):
        said = ElementTree.Element(tag, {"id": f"{name}-{'text' if position else 'title'}"})
        said.text = visible(text)
        root.insert(position, said)
    text = ElementTree.tostring(root, encoding="unicode")
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return re.sub(r"\n\s*", "\n", text)


def _keep_own_names(root: ElementTree.Element, name: str) -> None:
    """Names of parts that are pointed to, made this drawing's own; the others go. Numbers lose what no eye sees."""
    pointed = {target for each in root.iter() for value in each.attrib.values() for target in _TARGET.findall(value)}
    for element in root.iter():
        own = element.attrib.pop("id", None)
        if own in pointed:
            element.set("id", f"{name}-{own}")
        for key, value in element.attrib.items():
            if key != "id":
                renamed = _TARGET.sub(lambda found: f"{name}-{found[0]}", value)
                element.set(key, _LONG_NUMBER.sub(lambda found: f"{float(found[0]):.2f}", renamed))
