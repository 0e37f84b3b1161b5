"""One HTML page that needs nothing beside itself: no script, no font, no picture from outside.

Everything that is put into a template may come from a hostile file. It is escaped by jinja2 and made visible; what a
template takes as it is are the charts, which are drawn here (:mod:`bpb_harness.report.charts`).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from bpb_harness._version import __version__
from bpb_harness.report.visible import cut, visible

if TYPE_CHECKING:
    import jinja2

_LONGEST_CELL, _LONGEST_LINE = 600, 120  # characters


def render(template: str, **values: Any) -> str:
    """A page of a template.

    Args:
        template: file in templates/.
        **values: what it shows.
    """
    return _environment().get_template(template).render(version=__version__, **values).strip() + "\n"


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bpb_harness.report", "templates"),
        autoescape=True,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "cell": lambda value: cut(str(value), _LONGEST_CELL),
        "short": _short,
        "count": lambda number: f"{number:,}",
    }
    return environment


def _finalize(value: Any) -> Any:
    """What is said to be safe stays; any other text is made visible."""
    return value if hasattr(value, "__html__") else visible(str(value))


def _short(value: object) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(str(value).split())
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 4]} ..."
