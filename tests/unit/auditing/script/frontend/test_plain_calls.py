"""Calls in other words: what they call is read, where the words leave no doubt of it."""

from __future__ import annotations

import ast
from textwrap import dedent, indent

import pytest

from bpb_harness.auditing.script.frontend.plain_calls import make_calls_plain
from bpb_harness.auditing.script.frontend.trees import parse


def _plain(body: str) -> list[str]:
    text = "def f(net, tokens):\n" + indent(dedent(body), "    ")
    tree = ast.parse(text)
    make_calls_plain(tree.body, text)
    return ast.unparse(tree).split("\n")


@pytest.mark.parametrize(
    ("body", "call"),
    [
        ("functools.partial(fit, net)(tokens, lr=1)", "fit(net, tokens, lr=1)"),
        ("go = partial(fit, net, lr=1)\ngo(tokens)", "fit(net, tokens, lr=1)"),
        ("go = fit\ngo(net, tokens)", "fit(net, tokens)"),
        ("go = library.fit  # the same\ngo(net)", "library.fit(net)"),
        ('{"fit": fit}["fit"](net)', "fit(net)"),
        ('ways = {"fit": fit, "score": score}\nways["score"](net)', "score(net)"),
        ("go = lambda: fit(net, tokens)\ngo()", "fit(net, tokens)"),
        ("given = dict(net=net, lr=1)\nfit(tokens, **given)", "fit(tokens, net=net, lr=1)"),
        ('given = {"net": net}\nfit(tokens, **given, lr=1)', "fit(tokens, net=net, lr=1)"),
        ("go = fit\ndef inner():\n    go(net)", "fit(net)"),
        ("(lambda: fit(net, tokens))()\nscore(**more)", "fit(net, tokens)"),
    ],
)
def test_a_call_is_one_of_what_it_calls(body: str, call: str) -> None:
    assert any(line.strip() == call for line in _plain(body))


@pytest.mark.parametrize(
    "body",
    [
        "go = fit\nif net:\n    go = score\ngo(net)",  # which of the two
        "fit = make()\nfit = other()\ngo = fit\ngo(net)",
        "go = partial(fit, net)\nnet = other\ngo(tokens)",  # of which network
        "net = first\nnet = second\ngiven = dict(net=net)\nfit(**given)",
        'ways = {"fit": fit}\nways[name](net)',
        'ways = {name: fit}\nways["fit"](net)',
        "go = lambda x: fit(x)\ngo(net)",
        "given = load()\nfit(**given)",
        'given = {"net": net, **more}\nfit(**given)',
        "go = fit(net)\ngo(tokens)",
        "for go in (fit, score):\n    go(net)",
    ],
)
def test_a_call_that_may_be_of_something_else_stays(body: str) -> None:
    text = "def f(net, tokens):\n" + indent(dedent(body), "    ")
    assert _plain(body) == ast.unparse(ast.parse(text)).split("\n")


def test_the_lines_of_a_call_are_those_where_it_stands() -> None:
    text = "def f(net):\n    go = lambda: fit(\n        net)\n\n    go()\n    go()\n"
    tree = parse(text)
    assert tree is not None
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node) == "fit(net)"]
    assert sorted(node.lineno for node in calls) == [2, 5, 6]
    assert len({id(part) for node in calls for part in ast.walk(node) if not isinstance(part, ast.Load)}) == 9


def test_methods_are_read_too() -> None:
    text = "class A:\n    def f(self, net):\n        go = fit\n        return go(net)\n"
    tree = parse(text)
    assert tree is not None
    assert "return fit(net)" in ast.unparse(tree)
