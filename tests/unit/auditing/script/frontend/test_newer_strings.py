"""Formatted strings of Python 3.12 are read by every Python, as what they are; what is not followed is no Python."""

from __future__ import annotations

import ast

import pytest

from bpb_harness.auditing.script.frontend.newer_strings import parse_newer

# What only a newer Python reads, and how an older one would have it written.
PAIRS = {
    "its own quotes": ("""x = f"{d["a"]}" """, """x = f"{d['a']}" """),
    "twice in one": ("""f"{d["a"]}, {e["b"]:.3f}" """, """f"{d['a']}, {e['b']:.3f}" """),
    "a backslash": (r"""f"{"\n".join(x)}" """, """f'{NEWLINE.join(x)}'"""),
    "a string within a string": ("""f"a{f"b{c["d"]}"}e" """, """f'''a{f"b{c['d']}"}e'''"""),
    "a conversion": ("""f"{x["a"]!r}" """, """f"{x['a']!r}" """),
    "a width of its own": ("""f"{d["a"]:{w["x"]}}" """, """f"{d['a']:{w['x']}}" """),
    "comparisons": ("""f"{x if y=="a" else z!="q"}" """, """f"{x if y=='a' else z!='q'}" """),
    "braces of a dictionary": ("""f"{ {"a": 1}["a"] }" """, """f"{ {'a': 1}['a'] }" """),
    "braces that are text": ("""f"{{{d["a"]}}}" """, """f"{{{d['a']}}}" """),
    "beside others": ("""g(f"{d["a"]}" f"x{b}" "c", 'd')""", """g(f"{d['a']}" f"x{b}" "c", 'd')"""),
    "a raw one": (r"""rf"\{d["a"]}\d" """, r"""rf"\{d['a']}\d" """),
    "a prefix within": ("""f"{d[b"a"]}" """, """f"{d[b'a']}" """),
    "a keyword before a string": ("""f"{a if"b"else c}" """, """f"{a if'b'else c}" """),
    "a named character": (r"""f"\N{DASH}{d["a"]}" """.replace("DASH", "EN DASH"), """f"\u2013{d['a']}" """),
    "quotes in a comment before": ("""# it's "so\nf"{d["a"]}" """, """# no\nf"{d['a']}" """),
    "one that shows itself": ("""f"{a=:.6f}{a = !r}{a = } {d["a"]}" """, """f"{a=:.6f}{a = !r}{a = } {d['a']}" """),
    "a walrus": ("""f"{(n:="a")}" """, """f"{(n:='a')}" """),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_a_newer_string_is_read_as_what_it_is(kind: str) -> None:
    newer, older = PAIRS[kind]
    expected = ast.dump(ast.parse(older)).replace("Name(id='NEWLINE', ctx=Load())", "Constant(value='\\n')")
    assert ast.dump(parse_newer(newer)) == expected


def test_every_node_stands_in_its_line() -> None:
    tree = parse_newer('a = 1\nb = f"""{d["a"]}\n{e["b"]}{"\\n"}"""\nc = f"{g["h"]}"\n')
    lines = {ast.unparse(node): node.lineno for node in ast.walk(tree) if isinstance(node, ast.Subscript)}
    assert lines == {"d['a']": 2, "e['b']": 3, "g['h']": 4}
    assert [statement.lineno for statement in tree.body] == [1, 2, 4]


@pytest.mark.parametrize(
    "text",
    [
        "x = (",
        'f"{d["a"]',
        'f"{d["a"] e}"',
        'f"{d["a"]:"',
        'f"{d["a"]!r',
        'f"{d["a"]\n',
        'f"{"' * 40,
        "f'{" * 2000,
        'f"{d["a"]} {}"',
        'f"{d["a"] + _expression_0_}"; x = (',
    ],
)
def test_what_is_no_python_is_none(text: str) -> None:
    with pytest.raises(SyntaxError):
        parse_newer(text)


def test_a_name_like_those_that_are_put_in_is_not_mistaken() -> None:
    """Where a script has such a name itself, nothing is cut out: an older Python does not read it, a newer one does."""
    text = 'f"{d["a"]}", _expression_0_'
    try:
        tree = parse_newer(text)
    except SyntaxError:
        return
    assert ast.dump(tree) == ast.dump(ast.parse(text))
