"""The documentation as a site: it builds strictly and loads nothing; what its first pages say to run, runs."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bpb_harness.cli.eval import main
from fixtures.build import VALIDATION
from tests.commands import run_here, run_line_here
from tests.tiers import some_of, thorough

_NUMBER = re.compile(r"-?\d+(?:[.,]\d+)*")
PART = 8_192  # tokens


def _blocks(page: Path, language: str) -> list[str]:
    text = page.read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(repository: Path, tmp_path: Path) -> Path:
    """A folder in which a reader may write, with what the pages name."""
    (tmp_path / "fixtures").symlink_to(repository / "fixtures")
    (tmp_path / "docs").symlink_to(repository / "docs")
    return tmp_path


def unlike(shown: str, printed: str) -> list[str]:
    """The lines shown that were not printed, in their order, but for rounding; ``...`` stands for what is left out.

    Rounding differs between processors and versions of torch, in the fifth digit at most.
    """
    lines = iter(printed.splitlines())
    missing = []
    for line in shown.splitlines():
        whole, _, is_cut = line.rstrip().partition("...") if line.rstrip().endswith("...") else (line, "", None)
        if whole.strip() and not any(_alike(whole, other, cut=is_cut is not None) for other in lines):
            missing.append(line)
            lines = iter(printed.splitlines())
    return missing


def _alike(shown: str, printed: str, *, cut: bool) -> bool:
    if cut:
        return printed.startswith(shown)
    if " ".join(_NUMBER.sub("#", shown).split()) != " ".join(_NUMBER.sub("#", printed).split()):
        return False
    pairs = zip(_NUMBER.findall(shown), _NUMBER.findall(printed), strict=True)
    return all(
        float(a.replace(",", "")) == pytest.approx(float(b.replace(",", "")), rel=1e-3, abs=3e-4) for a, b in pairs
    )


def test_lines_that_are_not_printed_are_found() -> None:
    printed = "a 0.80251 b\n  c  1,417.9\nd|e|f\n"
    assert unlike("a 0.8025 b\n...\nc 1,417.2\nd|e|...\n", printed) == []
    assert unlike("a 0.8045 b\n", printed) == ["a 0.8045 b"]
    assert unlike("c 1,417.9\na 0.8025 b", printed) == ["a 0.8025 b"]
    assert unlike("d|g|...", printed) == ["d|g|..."]


def without_words(shown: str, printed: str) -> list[str]:
    """The parts shown, between lines of ``...``, whose words were not printed, whatever the numbers among them."""

    def words(text: str) -> str:
        return " ".join(_NUMBER.sub("#", re.sub(r"@[0-9a-f]{8}\b", "@#", text)).split())

    parts = (words(part).rstrip("|") for part in re.split(r"\.\.\.(?:\n|$)", shown))
    return [part for part in parts if part not in words(printed)]


def test_words_that_are_not_printed_are_found() -> None:
    printed = "a 0.80251\n b\n  c  1,417.9\nd|e[0]|f\n"
    assert without_words("a 0.1 b\n...\nc 1\nd|e|...\n", printed) == []
    assert without_words("a 0.1 b\n...\nc 1\nd|f|...\n", printed) == ["c # d|f"]


# Every day a part of the text is scored: the same words, with other numbers, which test_scores and test_readme have.
WHOLE = [pytest.param(False, id="a part"), pytest.param(True, id="as it stands there")]


@thorough(everyday="integration/test_docs_site.py::test_python_on_the_page_runs")
@pytest.mark.usefixtures("forked_decoding")
@pytest.mark.parametrize("is_whole", some_of(WHOLE, everyday=1))
def test_the_tutorial_prints_what_it_shows(repository: Path, folder: Path, is_whole: bool) -> None:
    page = repository / "docs" / "tutorial.md"
    exits = {}
    header = np.fromfile(VALIDATION, "<i4", 256)
    header[2] = PART
    tokens = np.fromfile(VALIDATION, "<u2", PART, offset=header.nbytes)
    (folder / VALIDATION.name).write_bytes(header.tobytes() + tokens.tobytes())
    on_part = f" --data {VALIDATION.name} --tokenizer fixtures/tokenizers/tiny_512_bpe.model"
    for block in _blocks(page, "console"):
        for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n?)*)", block, flags=re.MULTILINE):
            unchecked = " --no-contract" if command.startswith("bpb-eval") else ""  # which has tests of its own
            is_part = not is_whole and command.startswith("bpb-eval")
            done = run_line_here(command + unchecked + (on_part if is_part else ""), cwd=folder)
            exits[command.split()[0]] = done.returncode
            if is_part and "ar.json" in command:  # what the source needs is known of the whole text alone
                scored = json.loads((folder / "ar.json").read_text("utf-8"))
                (folder / "ar.json").write_text(json.dumps({**scored, "source": {"code_length_bits_per_byte": 0.65}}))
            scores = is_part or (not is_whole and command.startswith("bpb-compare"))
            missing = (without_words if scores else unlike)(shown, done.stdout)
            if is_part:
                missing = [part for part in missing if not part.startswith("source the source itself")]
            assert missing == [], (command, done.stdout, done.stderr)
    assert exits == {"bpb-eval": 0, "bpb-compare": 0, "python": 0, "bpb-prove": 0, "bpb-audit": 1}
    if is_whole:
        _plot_is_the_one_shown(repository, folder)
    else:
        assert "masked diffusion" in (folder / "steps.svg").read_text("utf-8")


def _plot_is_the_one_shown(repository: Path, folder: Path) -> None:
    """Its words, and the values that it was drawn from, are those of the file that the page shows."""
    shown, drawn = (
        at.read_text("utf-8") for at in (repository / "docs/images/tutorial-steps.svg", folder / "steps.svg")
    )
    words = [re.findall(r"<text [^>]*>([^<]*)</text>", text) for text in (shown, drawn)]
    assert len(words[0]) > 10
    assert unlike("\n".join(words[0]), "\n".join(words[1])) == []
    page = (repository / "docs" / "tutorial.md").read_text("utf-8")
    steps = json.loads((folder / "steps.json").read_text("utf-8"))
    assert f"about {steps['mc_stderr']:.3f} as a whole" in page


@pytest.mark.parametrize(("page", "count"), [("tutorial.md", 1), ("your-model.md", 4)])
def test_python_on_the_page_runs(
    repository: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, page: str, count: int
) -> None:
    examples = _blocks(repository / "docs" / page, "python")
    assert len(examples) == count
    monkeypatch.chdir(folder)
    names: dict[str, object] = {"__name__": page}
    for number, example in enumerate(examples, 1):
        exec(compile(example, f"{page}, example {number}", "exec"), names)
    assert 0.5 < names["result"].bits_per_byte < 4
    if page == "tutorial.md":
        assert (names["report"].verdict, round(names["report"].corrected_bpb, 3)) == ("refuted", 1.203)


def test_the_loader_of_the_page_scores_a_checkpoint(repository: Path, folder: Path) -> None:
    page = repository / "docs" / "your-model.md"
    network, denoiser, _, load = _blocks(page, "python")
    (folder / "my_model.py").write_text("\n".join((network, denoiser, load)), "utf-8")
    names = runpy.run_path(str(folder / "my_model.py"))
    torch.save(names["MyNetwork"]().state_dict(), folder / "my_checkpoint.pt")
    (folder / "val_0.bin").symlink_to(repository / "fixtures/corpora/tiny_val_000000.bin")
    (folder / "sp.model").symlink_to(repository / "fixtures/tokenizers/tiny_512_bpe.model")
    (command,) = re.findall(r"^bpb-eval my_checkpoint\.pt (?:.*\\\n)*.*$", page.read_text("utf-8"), flags=re.MULTILINE)
    words = shlex.split(command.replace("\\\n", " "))
    done = run_here(main, *words[1:], "--limit", "8", "--format", "json", cwd=folder)
    assert done.returncode == 0, done.stderr
    scored = json.loads(done.stdout)
    assert 0.5 < scored["bits_per_byte"] < 4
    assert "loglinear[0.001]" in scored["signature"]


def swallowed(page: str) -> list[str]:
    """Bullets, fences and rows of tables that the site made words of a paragraph; in a list they are indented by 4."""
    paragraphs = re.findall(r"<p>(.*?)</p>", page, flags=re.DOTALL)
    lines = [line.strip() for paragraph in paragraphs for line in paragraph.splitlines()]
    return [line for line in lines if re.match(r"- <(?:strong|code|a)\b|```|\|.*\|$", line)]


def test_swallowed_bullets_are_found() -> None:
    page = "<p>words</p>\n<p>words\n- <strong>A</strong>\n  - <code>b</code>\n```\n| c | d |</p>- <strong>no</strong>"
    assert swallowed(page) == ["- <strong>A</strong>", "- <code>b</code>", "```", "| c | d |"]


@thorough(everyday="unit/test_links.py::test_links_lead_somewhere")
def test_the_site_builds_strictly_and_loads_nothing(repository: Path, tmp_path: Path) -> None:
    pytest.importorskip("material", reason="the extra docs is not installed")
    pytest.importorskip("mkdocstrings", reason="the extra docs is not installed")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    build(load_config(str(repository / "mkdocs.yml"), site_dir=str(tmp_path / "site"), strict=True))
    pages = {path.name: path.read_text("utf-8") for path in (tmp_path / "site").glob("*.html")}
    sources = {path.with_suffix(".html").name for path in (repository / "docs").glob("*.md")}
    assert set(pages) == sources | {"maths.html", "404.html"}
    for name, text in pages.items():
        assert re.findall(r"""<(?:script|link|img|iframe)[^>]*(?:src|href)=["']?(?:https?:)?//[^>]*""", text) == [], (
            name
        )
        assert swallowed(text) == [], name
    assert 'href="your-model.html"' in pages["index.html"]
    assert 'id="bpb_harness.evaluate"' in pages["python.html"]
    assert ":func:" not in pages["python.html"]
    assert (tmp_path / "site" / "search" / "search_index.js").is_file()  # a search without a server
    assert '<script src="iframe-worker.js">' in pages["index.html"]
    assert '<a href="bytes.html">' in pages["commands.html"]
    assert not list((tmp_path / "site").rglob("*.py"))


def test_links_are_made_for_the_site(repository: Path) -> None:
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    hook = runpy.run_path(str(repository / "docs" / "site_hook.py"))
    there = hook["REPOSITORY"]
    for link, origin, page, expected in (
        ("errors.md#a", "docs/index.md", "index.md", "errors.md#a"),
        ("../bpb_harness/MATHS.md#b", "docs/index.md", "index.md", "maths.md#b"),
        ("../docs/errors.md", "bpb_harness/MATHS.md", "maths.md", "errors.md"),
        ("../README.md#c", "docs/index.md", "index.md", "index.md"),
        ("../SECURITY.md#d", "docs/index.md", "index.md", f"{there}SECURITY.md#d"),
        ("examples/x.yml", "docs/index.md", "index.md", f"{there}docs/examples/x.yml"),
        ("#e", "docs/index.md", "index.md", "#e"),
        ("https://a.b/c.md", "docs/index.md", "index.md", "https://a.b/c.md"),
    ):
        assert hook["target"](link, origin, page) == expected
    page = SimpleNamespace(file=SimpleNamespace(src_uri="index.md"), meta={})
    shown, written = (
        "# A\n\n    [a](../SECURITY.md)\n\n{} `[b](../x.md)` [`c`]({})\n```\n[d](../x.md)\n```\n".format(*links)
        for links in (
            ("[Errors that can be trusted](errors.md)", f"{there}x.py"),
            ("[errors.md](errors.md)", "../x.py"),
        )
    )
    assert hook["on_page_markdown"](written, page=page) == shown


def test_make_docs_needs_what_the_extra_names(repository: Path) -> None:
    assert shutil.which("git") is None or "/site/" in (repository / ".gitignore").read_text("utf-8").splitlines()
    constraints = (repository / "constraints.txt").read_text("utf-8")
    extra = re.search(r"^docs = \[(.*)\]", (repository / "pyproject.toml").read_text("utf-8"), flags=re.MULTILINE)
    assert extra
    for name in re.findall(r'"([\w-]+)', extra[1]):
        assert f"\n{name}==" in constraints, name


def test_make_docs_counts_warnings(repository: Path) -> None:
    """With --quiet, mkdocs does not see them, and --strict lets broken links pass."""
    (line,) = re.findall(r"mkdocs build.*", (repository / "Makefile").read_text("utf-8"))
    assert line == "mkdocs build --strict"
