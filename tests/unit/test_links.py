"""Every relative link of the documentation leads to a file that is there, and to a heading that it has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PAGES = sorted(
    {
        *(_ROOT / name for name in ("bpb_harness/MATHS.md", "fixtures/README.md", "tests/README.md")),
        *_ROOT.glob("*.md"),
        *_ROOT.glob("docs/*.md"),
        *_ROOT.glob("reference/*.md"),
    }
)
_LINK = re.compile(r"\[[^\]\n]*(?:\n[^\]\n]+)?\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")


def _without_code(text: str) -> str:
    """Fenced blocks, indented blocks behind a blank line and code spans are no links and no headings."""
    text = re.sub(r"^(```|~~~).*?^\1[ ]*$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"(?<=\n\n)(?:(?: {4}|\t).*\n)+", "", text)
    return re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", lambda span: "x" * len(span[0]), text)


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them: lower case, no punctuation, hyphens for spaces."""
    text = re.sub(r"^```.*?^```[ ]*$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    anchors: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", text, flags=re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        repeats = sum(
            anchor == slug or re.fullmatch(re.escape(slug) + r"-\d+", anchor) is not None for anchor in anchors
        )
        anchors.add(f"{slug}-{repeats}" if repeats else slug)
    return anchors


def broken_links(page: Path, root: Path) -> list[str]:
    """The relative links of a page that lead nowhere, or out of the project."""
    broken = []
    for target in _LINK.findall(_without_code(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        inside = path.is_relative_to(root.resolve()) and path.exists()
        if not inside or (anchor and path.suffix == ".md" and anchor not in _anchors(path)):
            broken.append(target)
    return broken


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(_ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page, _ROOT) == []


def test_there_are_links_to_check() -> None:
    links = [link for page in _PAGES for link in _LINK.findall(_without_code(page.read_text(encoding="utf-8")))]
    assert len(links) >= 10
    assert any(link.startswith("#") for link in links)
    assert any(".md" in link for link in links)


def test_broken_ones_are_found(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "other.md").write_text("# What's `new`, here?\n\n## Two\n\n## Two\n\n```sh\n# no heading\n```\n")
    page = tmp_path / "inner" / "page.md"
    page.write_text(
        "# Page\n[a](../other.md) [b](../other.md#whats-new-here) [c](#page) [d](../other.md#two-1) [w](https://x.y/z)\n"
        "[e](other.md) [f](#pages) [g](../other.md#no-heading)\n[two\nlines](gone.md) [out](../../x.md) [folder](..)\n"
        "`[code](nothing.md)`\n\n    [more](nothing.md)\n\n```\n[code](nothing.md)\n```\n"
    )
    (tmp_path.parent / "x.md").touch()
    assert broken_links(page, tmp_path) == ["other.md", "#pages", "../other.md#no-heading", "gone.md", "../../x.md"]
