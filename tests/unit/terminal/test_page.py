"""Rows and paragraphs: broken between words, for any width, with colour or without."""

from __future__ import annotations

import io
import re

import pytest

from bpb_harness.terminal.page import Page
from bpb_harness.terminal.screen import FILE_WIDTH, Screen

LONG = "some words, one of which is /a/path/that/is/longer/than/any/line/of/this/small/terminal.bin, and more"
SEQUENCE = re.compile(r"\x1b\[[0-9;]*m")


def page_of(screen: Screen) -> str:
    page = Page(screen, 13)
    page.paragraph("0.8 bits per byte", "bold")
    page.gap()
    page.gap()
    page.row("label", LONG)
    page.row("a label that is too long", LONG, "red", label_style="bold red")
    page.whole("bpb|" + "x" * 300, "dim")
    page.paragraph(LONG, indent=2)
    return str(page)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120])
def test_words_are_never_cut(width):
    text = page_of(Screen(width))
    assert text.count("/a/path/that/is/longer/than/any/line/of/this/small/terminal.bin,") == 3
    assert " ".join(text.split()).count(LONG) == 3
    assert "bpb|" + "x" * 300 in text.splitlines()
    for line in text.splitlines():
        assert len(line) <= width or " " not in line.strip()
        assert line == line.rstrip()
    assert "\n\n\n" not in text


@pytest.mark.parametrize("width", [40, 80, 120])
def test_colour_changes_no_character(width):
    coloured = page_of(Screen(width, has_colour=True))
    assert SEQUENCE.search(coloured)
    assert [line.rstrip() for line in SEQUENCE.sub("", coloured).splitlines()] == page_of(Screen(width)).splitlines()


def test_what_looks_like_markup_is_text():
    page = Page(Screen(80, has_colour=True), 13)
    page.row("note", "[bold]data[0:3/4][/bold] :smile:", "red")
    assert "[bold]data[0:3/4][/bold] :smile:" in SEQUENCE.sub("", str(page))


@pytest.mark.parametrize("has_colour", [False, True])
def test_a_terminal_obeys_no_text_of_strangers(has_colour):
    page = Page(Screen(80, has_colour), 13)
    hostile = "a \x1b[2J\x1b]0;title\x07 name\u202e"
    page.row(hostile, hostile)
    page.whole(hostile)
    page.paragraph(hostile)
    text = SEQUENCE.sub("", str(page))
    assert text.count("a <U+001B>[2J<U+001B>]0;title<U+0007> name<U+202E>") == 4
    assert all(each.isprintable() or each == "\n" for each in text)


def test_nothing_above_needs_no_gap():
    page = Page(Screen(), 13)
    page.gap()
    page.whole("first")
    assert str(page) == "first"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch):
    for name, value in (("COLUMNS", "80"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Terminal()


def test_a_terminal_says_how_wide_it_is(terminal, monkeypatch):
    assert Screen.of(terminal) == Screen(80, has_colour=True)
    for columns, width in (("120", 120), ("300", 120), ("10", 40)):
        monkeypatch.setenv("COLUMNS", columns)
        assert Screen.of(terminal).width == width


@pytest.mark.parametrize(
    ("name", "value", "has_colour"), [("NO_COLOR", "1", False), ("NO_COLOR", "", True), ("TERM", "dumb", False)]
)
def test_colour_is_not_forced_upon_anybody(terminal, monkeypatch, name, value, has_colour):
    monkeypatch.setenv(name, value)
    assert Screen.of(terminal).has_colour is has_colour


def test_a_pipe_is_as_wide_everywhere(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert Screen.of(io.StringIO()) == Screen() == Screen(FILE_WIDTH, has_colour=False)


@pytest.mark.parametrize("width", [40, 60, 80])
def test_code_is_never_broken(width):
    code = "`bpb-audit FOLDER --checkpoint FILE --data FILE --tokenizer FILE`"
    page = Page(Screen(width), 13)
    page.paragraph(f"some words that are there to fill a line, and then {code}; and `a b` more", indent=4, hanging=2)
    page.row("label", f"some words that are there to fill a line, and then {code}; and `a b` more")
    lines = str(page).splitlines()
    assert len([line for line in lines if code in line]) == len([line for line in lines if "`a b`" in line]) == 2
    assert all(len(line) <= width or code in line for line in lines)
    assert "\x00" not in str(page)


def test_backticks_far_apart_are_no_code():
    page = Page(Screen(40), 13)
    page.paragraph("a ` " + "word " * 60 + "` b")
    assert all(len(line) <= 40 for line in str(page).splitlines())
