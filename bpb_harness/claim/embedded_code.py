"""Which lines of a log are not output but the training script, which many trainers print into their log first.

A script holds score lines too: in f-strings, in docstrings that quote an old result, in comments. None of
them is a measurement.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_OPENS = re.compile(r"(?:import [\w.]+|from [\w.]+ import |def \w+\(|class \w+\s*[:(]|@\w+|#!/)")
_OUTPUT = re.compile(
    r"={20,}|val_loader:|step:[0-9]+/[0-9]|seed: ?[0-9]|model_params:|world_size:"
    r"|final_\w+ |Running |[0-9]+/[0-9]+ val_"
)
_FIRST_OF_OUTPUT = frozenset("=vsmwfR0123456789")  # what such a line begins with; most lines of code do with a blank
_FIRST_OF_CODE = frozenset('ifdc@#"')
_LAST_LINE = re.compile(r"if __name__ *==")
_COMMENT = re.compile(r"\s*(?:#|//)")
_CODE_LIKE = re.compile(
    r"""(?<![A-Za-z0-9_])[fFrR]["']|\bprint\(|\blog0?\(|\blogger\.|\breturn\b"""
    r"""|^\s*(?:if|elif|for|while|with|def) .*:\s*$"""
)
_LONGEST_DOCSTRING = 300  # lines; more than this is a quote that never closed


def is_code(lines: Sequence[str]) -> list[bool]:
    """Mark every line of a script: a block from its first import to its end."""
    marks = [False] * len(lines)
    inside, docstring_since, ends_after = False, -1, -1
    for i, line in enumerate(lines):
        first = line[:1]
        if inside and docstring_since < 0 and first in _FIRST_OF_OUTPUT and _OUTPUT.match(line):
            inside = False
        if inside and ends_after >= 0 and i > ends_after and line.strip() and not line.startswith((" ", "\t")):
            inside, ends_after = False, -1
        if not inside and first in _FIRST_OF_CODE and (_OPENS.match(line) or line.startswith('"""')):
            inside, docstring_since, ends_after = True, -1, -1
        if inside:
            marks[i] = True
            if ('"""' in line or "'''" in line) and (line.count('"""') + line.count("'''")) % 2:
                docstring_since = i if docstring_since < 0 else -1
            if 0 <= docstring_since < i - _LONGEST_DOCSTRING:
                docstring_since = -1
            if first == "i" and _LAST_LINE.match(line):
                ends_after = i
    return marks


def is_statement(line: str) -> bool:
    """Whether a line outside any block is a comment, or a statement as a traceback prints it."""
    return bool(_COMMENT.match(line) or _CODE_LIKE.search(line))
