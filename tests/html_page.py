"""A page as a reader gets it: its text, its elements, and whether it is well-formed and needs nothing from outside."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"meta", "br", "wbr", "hr", "img", "input", "link"}
_POINTERS = ("src", "href", "xlink:href", "srcset", "action", "data", "poster", "background")


@dataclass
class Page:
    """What a page holds.

    Attributes:
        text: as it is shown, white space folded, styles left out.
        elements: (tag, attributes) in their order.
        styles: of the page.
        faults: what is not well-formed.
    """

    text: str = ""
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    styles: str = ""
    faults: list[str] = field(default_factory=list)

    def with_tag(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def require_self_contained(self) -> None:
        """One file, no script, nothing from outside, every name once."""
        assert self.faults == []
        tags = {tag for tag, _ in self.elements}
        assert tags.isdisjoint({"script", "iframe", "object", "embed", "link", "base", "form", "img", "image"}), tags
        names: list[str] = []
        for tag, attributes in self.elements:
            for key, value in attributes.items():
                assert not key.startswith("on"), (tag, key)
                if key in _POINTERS:
                    assert (value or "").startswith("#"), (tag, key, value)
                for target in re.findall(r"url\(([^)]*)\)", value or ""):
                    assert target.startswith("#"), (tag, key, value)
            if attributes.get("id"):
                names.append(str(attributes["id"]))
        assert len(names) == len(set(names))
        pointed = [value for _, attributes in self.elements for value in attributes.values() if value]
        targets = {found for value in pointed for found in re.findall(r"^#(.+)$|url\(#([^)]+)\)", value)}
        assert {first or second for first, second in targets} <= set(names)
        assert "@import" not in self.styles
        assert "url(" not in self.styles
        policy = [each for each in self.with_tag("meta") if each.get("http-equiv") == "Content-Security-Policy"]
        assert [each["content"] for each in policy] == ["default-src 'none'; style-src 'unsafe-inline'"]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page, self._open, self._parts = Page(), list[str](), list[str]()

    def handle_starttag(self, tag, attrs):
        if len(dict(attrs)) != len(attrs):
            self.page.faults.append(f"an attribute twice in <{tag}>")
        self.page.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)
        self._parts.append(" " if tag in {"td", "th", "p", "dt", "dd", "li", "h1", "h2", "h3", "br", "summary"} else "")

    def handle_startendtag(self, tag, attrs):
        self.page.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self._open or self._open.pop() != tag:
            self.page.faults.append(f"</{tag}> without its beginning")

    def handle_data(self, data):
        if self._open and self._open[-1] == "style":
            self.page.styles += data
        else:
            self._parts.append(data)

    def handle_comment(self, data):
        self.page.faults.append(f"a comment: {data[:40]}")

    def close(self) -> None:
        super().close()
        self.page.faults += [f"<{tag}> without its end" for tag in self._open]
        self.page.text = re.sub(r"\s+", " ", "".join(self._parts))


def read_page(html: str) -> Page:
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.page
