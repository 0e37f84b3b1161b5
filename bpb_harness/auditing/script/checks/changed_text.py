"""Text that is changed for good before it is made tokens: the score is one of another text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.handed_on import ENCODERS, Form, Place, handed_on
from bpb_harness.auditing.script.domains.in_evaluation import tests_of
from bpb_harness.auditing.script.domains.losses_of_text import Loss, is_so_by_definition, losses_of_text
from bpb_harness.auditing.script.domains.scored_tokens import behind_target, scored_tokens
from bpb_harness.auditing.script.domains.shown_in_logs import is_branch_shown
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.nodes import names_in
from bpb_harness.auditing.script.frontend.once import once
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Scope, last_name
from bpb_harness.auditing.script.frontend.walker import Frame

# What keeps beside the text what is taken from it.
_KEPT = re.compile(
    r"is_?upper|is_?title|is_?lower|isalpha|uppercase|capital|(?:^|_)caps?(?:$|_)|sentinel|marker|(?:^|_)marks?(?:$|_)"
    r"|shift|swapcase|case_?(?:op|flag|bit|mask|mark|id)|restore|lossless|reversible",
    re.IGNORECASE,
)
_NO_TEXT = re.compile(r"prompt|query|question|answer|caption", re.IGNORECASE)  # what a network is asked
_VALIDATION = re.compile(r"(?:^|[^a-z])val(?:id\w*)?(?:[^a-z]|$)", re.IGNORECASE)
_SAVING = frozenset(["save", "savez", "savez_compressed", "write", "tofile"])
_LOADING = frozenset(["load", "from_file", "from_json", "from_dict", "from_pretrained", "open", "read"])
_MOST_WORK = 40_000  # of the program's bound: what is left is for the checks that follow
_MISSING = "a score of the text as it is, or of a reversible transform"


def check_changed_text(analysis: Analysis) -> Iterator[Hit]:
    """tokens = encode(text.lower()), where these are scored, or written for a validation, or the scorer's tokenizer's.

    A decoder that knows the score's tokens does not have the text: what two letters, or two texts, have in common is
    paid for once. Marks that keep what is taken (a sign before each capital) make a change that can be undone.
    """
    program = analysis.program
    taken, work = dict(program.taken), program.work_left
    for loss in losses_of_text(program):
        if work - program.work_left > _MOST_WORK:
            break
        found = next(_Follower(analysis, loss).reached(), None)
        if found is not None and not is_so_by_definition(program):
            said = (
                f"{loss.what} before the text is made tokens, which cannot be undone, and {found.said}: the score "
                "leaves out what was lost, so it is one of another text"
            )
            evidence = {"missing": _MISSING}
            yield analysis.hit(codes.TEXT_CHANGED, said, loss.node, shown=[loss.node, found.node], evidence=evidence)
            return
    program.taken = taken  # a reader is told of those settings alone that decided something


class _Reached(NamedTuple):
    said: str
    node: ast.AST


class _Follower:
    """A change of a text, and whether what is left of the text comes to be scored."""

    def __init__(self, analysis: Analysis, loss: Loss) -> None:
        self.analysis, self.program, self.loss = analysis, analysis.program, loss
        self.names = names_in(loss.text)

    def reached(self) -> Iterator[_Reached]:
        """Where it comes to be scored; nowhere where it does not for sure, or where what is lost is kept."""
        for place in handed_on(self.program, self.loss.node, self.loss.form, self._may_follow):
            if place.form is Form.TOKENS:
                found = self._scored(place) or self._written(place) or self._of_tokenizer(place)
                yield from [found] if found is not None else []

    def _may_follow(self, place: Place) -> bool:
        """Whether a text is this one wherever it stands, whatever was set; what is made of its tokens is not asked."""
        if place.form is Form.TOKENS and place.node is not self.loss.node:
            return True
        scope = self.program.scope(place.node)
        self.names |= {place.node.id} if isinstance(place.node, ast.Name) else set()
        if _keeps(self.program, scope) or self._is_compared(scope):
            return False
        if any(map(_NO_TEXT.search, self.names)):
            return False
        tests = tests_of(self.analysis, place.node, Frame.at(self.program, place.node))
        return tests is not None and all(self._is_of_text(test) for test, _ in tests)

    def _is_of_text(self, test: ast.expr) -> bool:
        """Whether a test asks for the text itself, or for how the script was started."""
        asked = names_in(test)
        return "__name__" in asked or not asked.isdisjoint(self.names)

    def _is_compared(self, scope: Scope) -> bool:
        """Whether a character is held against what it was changed to, or against capital letters."""
        for node in _compared(self.program, scope):
            sides = [node.left, *node.comparators]
            if any(isinstance(side, ast.Constant) and side.value in ("A", "Z") for side in sides):
                return True
            if isinstance(node.ops[0], ast.Eq | ast.NotEq) and any(map(self._is_changed, sides)):
                return True
        return False

    def _is_changed(self, side: ast.expr) -> bool:
        if isinstance(side, ast.Name):
            return any(each.value is self.loss.node for each in self.program.reaching(side))
        return ast.dump(side) == ast.dump(self.loss.node)

    def _scored(self, place: Place) -> _Reached | None:
        if place.node in self._targets:
            return _Reached("these tokens are the scored ones", place.node)
        return None

    @property
    def _targets(self) -> set[ast.AST]:
        memo = self.program.memo
        if check_changed_text not in memo:
            tokens = scored_tokens(self.analysis)
            memo[check_changed_text] = {node for each in tokens for node, _ in behind_target(self.analysis, each)}
        found: set[ast.AST] = memo[check_changed_text]
        return found

    def _written(self, place: Place) -> _Reached | None:
        """tokens.tofile(f), np.save(f, tokens), f.write(tokens.tobytes()), mapped[a:b] = tokens, for a validation."""
        above = self.program.parent(place.node)
        call = self.program.parent(above) if isinstance(above, ast.Attribute) else above
        is_saved = isinstance(call, ast.Call) and last_name(call.func) in _SAVING
        if isinstance(above, ast.Assign):
            is_saved = any(self._is_mapped(target) for target in above.targets)
        script = self.program.script(place.node)
        if not is_saved or _VALIDATION.search(script.text) is None:
            return None
        return _Reached("these tokens are written to a file beside those of a validation", place.node)

    def _is_mapped(self, target: ast.expr) -> bool:
        """Whether something is stored in a part of a file that is mapped into memory."""
        if not isinstance(target, ast.Subscript) or not isinstance(target.value, ast.Name):
            return False
        values = (each.value for each in self.program.reaching(target.value))
        return any(isinstance(value, ast.Call) and last_name(value.func) == "memmap" for value in values)

    def _of_tokenizer(self, place: Place) -> _Reached | None:
        """The encoder of a class that the script which scores makes or loads."""
        scope = self.program.scope(place.node)
        is_given = isinstance(self.program.parent(place.node), ast.Return)
        if not is_given or scope.owner is None or scope.name not in (*ENCODERS, "__call__"):
            return None
        scoring = {self.program.scope(sink.node).file for sink in self.analysis.sinks}
        for call in _made(self.program, scope.owner):
            if self.program.scope(call).file in scoring and self._is_run(call):
                return _Reached(f"the script that scores has its tokenizer from there ({scope.owner})", call)
        return None

    def _is_run(self, call: ast.Call) -> bool:
        tests = tests_of(self.analysis, call, Frame.at(self.program, call))
        if tests is None:
            return False
        asked = all(self._is_of_start(test) for test, _ in tests)
        return asked or is_branch_shown(self.program, call, self.analysis.context.logged)

    def _is_of_start(self, test: ast.expr) -> bool:
        return any(isinstance(part, ast.Name) and part.id == "__name__" for part in ast.walk(test))


@once
def _keeps(_program: Program, scope: Scope) -> bool:
    """Whether a function keeps beside a text what it takes from it, by the names in it; worked out once."""
    return any(map(_KEPT.search, (*scope.mentions, scope.name)))


@once
def _compared(_program: Program, scope: Scope) -> list[ast.Compare]:
    """The comparisons in a function; none of a module's own, where anything may be compared."""
    inside = nodes_within(scope.node) if not isinstance(scope.node, ast.Module) else []
    return [node for node in inside if isinstance(node, ast.Compare)]


def _made(program: Program, owner: str) -> Iterator[ast.Call]:
    """Class(..), Class.load(..)."""
    yield from program.calls.get(owner, [])
    for name in sorted(_LOADING):
        for call in program.calls.get(name, []):
            if isinstance(call.func, ast.Attribute) and last_name(call.func.value) == owner:
                yield call
