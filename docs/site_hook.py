"""What mkdocs.yml's site needs beyond its pages, so that these stay as GitHub shows them.

Links are written as GitHub follows them: relative to the page, also out of docs/. Here a link to a page of the site
stays, one to MATHS.md or README.md leads to the site's page of it, any other one to the repository; a link that says
no more than the name of a page says its title. Anchors are made as GitHub makes them. Docstrings are written for
``help()``: their roles become plain code.
"""

from __future__ import annotations

import os.path
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
REPOSITORY = "https://github.com/bpb-harness/bpb-harness/blob/main/"
# Pages from elsewhere in the repository, by their place there.
PLACES = {"bpb_harness/MATHS.md": "maths.md", "README.md": "index.md"}
# Pages of one wide table, which have no use for a column of headings.
WIDE = {"settings.md"}
ORIGINS = {"maths.md": "bpb_harness/MATHS.md"}

_CODE = re.compile(
    r"^(```|~~~)[\s\S]*?^\1[ ]*$"  # fenced
    r"|(?<=\n\n)(?:(?: {4}|\t).*\n)+"  # indented
    r"|(`+)(?!`).*?(?<!`)\2(?!`)",  # within a line
    re.M,
)
_LINK = re.compile(r"(?<=\[)([^\]\[]*)\]\(([^)\s]+)(?=\))")
_NUMBER = re.compile(r"^( {4}.*?\S) {3,}(\(\d+\))$", re.M)
_MARK = re.compile(r"^<!-- \w+: (?:start|end) -->$", re.M)
_NAMED = re.compile(r"\bdocs/([\w-]+)\.md\b")
_ROLE = re.compile(r":(?:func|class|meth|attr|exc|mod):<code>(~?)([\w.]+)</code>")


def slug(heading: str, separator: str = "-") -> str:
    """The anchor of a heading, as GitHub makes it: lower case, no punctuation, hyphens for spaces."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", separator)


def on_config(config: Any) -> Any:
    """Before anything is read."""
    config.mdx_configs["toc"]["slugify"] = slug
    return config


def on_files(files: Any, *, config: Any) -> Any:
    """Pages that lie elsewhere in the repository."""
    for name, origin in ORIGINS.items():
        files.append(File.generated(config, name, content=(ROOT / origin).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """A page's text as the site needs it."""
    if page.file.src_uri in WIDE:
        page.meta["hide"] = ["toc"]
    origin = ORIGINS.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    markdown = _NUMBER.sub(r"\1   \2", _MARK.sub("", markdown))  # a page is narrower than the columns of an equation
    masked = _CODE.sub(lambda code: "x" * len(code[0]), markdown)  # of the same length: links are not looked for there
    parts, end = [], 0
    for link in _LINK.finditer(masked):
        words = markdown[link.start(1) : link.end(1)]
        leads = target(link[2], origin, page.file.src_uri)
        parts += [markdown[end : link.start(1)], title(words, leads, page.file.src_uri), "](", leads]
        end = link.end(2)
    return "".join([*parts, markdown[end:]])


def on_page_content(html: str, **_: Any) -> str:
    """What docstrings and the lines of ``--help`` say for readers of plain text: pages by their path, and roles."""
    parts = re.split(r"(<(pre|code|a)\b.*?</\2>)", html, flags=re.S)
    html = "".join(
        _NAMED.sub(_named, part) if place % 3 == 0 else part for place, part in enumerate(parts) if place % 3 < 2
    )
    html = _ROLE.sub(lambda role: f"<code>{role[2].rpartition('.')[2] if role[1] else role[2]}</code>", html)
    return html.replace("<p>::</p>\n", "").replace("::</p>\n<div", ":</p>\n<div")


def _named(path: re.Match[str]) -> str:
    name = f"{path[1]}.md"
    if not (ROOT / "docs" / name).is_file():
        return path[0]
    return f'<a href="{path[1]}.html">{title(name, name, name)}</a>'


def title(words: str, leads: str, page: str) -> str:
    """What a link says: where it is the name of a page, that page's first heading."""
    name = posixpath.normpath(posixpath.join(posixpath.dirname(page), leads.partition("#")[0]))
    if not words.endswith(".md") or re.match("https?:", leads) or " " in words:
        return words
    text = (ROOT / ORIGINS.get(name, f"docs/{name}")).read_text("utf-8")
    heading = re.match(r"# (.+)", text)
    return heading[1] if heading else words


def target(link: str, origin: str, page: str) -> str:
    """Where a link leads on the site.

    Args:
        link: as it is written.
        origin: the page that it stands on, from the root of the repository.
        page: that page's place on the site.
    """
    if link.startswith("#") or re.match(r"[a-z][a-z0-9+.-]*:", link):
        return link
    name, mark, anchor = link.partition("#")
    there = posixpath.normpath(posixpath.join(posixpath.dirname(origin), name))
    within = PLACES.get(there) or (there.removeprefix("docs/") if _is_of_site(there) else None)
    if within is None:
        return f"{REPOSITORY}{there}{mark}{anchor}"
    if there == "README.md":
        mark = anchor = ""
    return f"{os.path.relpath(within, posixpath.dirname(page) or '.')}{mark}{anchor}"


def _is_of_site(path: str) -> bool:
    return path.startswith("docs/") and path.endswith((".md", ".svg", ".css"))
