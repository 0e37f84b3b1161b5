"""The places where a program reports its score: what is printed, logged or stored as bits per byte."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bpb_harness.auditing.script.domains.handed_over import calls_of_parameters, element_of, handed_over
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Scope, last_name

_LABEL = re.compile(r"bpb|bits[_ \-/]*(per[_ \-]*)?byte", re.IGNORECASE)
_ENDS_IN_LABEL = re.compile(
    r"(bpb|bits[_ \-/]*(?:per[_ \-]*)?byte)[^:=,;|\w]*\w{0,12}[^:=,;|\w]*[:=]?[^:=,;|\w]*$", re.I
)
_ENDS_IN_LOSS = re.compile(r"(?<!train_)(?<!train )loss\s*[:=]?\s*$", re.IGNORECASE)
_ELSEWHERE = re.compile(
    r"train|approx|proxy|sanity|debug|rough|target|baseline|best|delta|diff|gap|thresh|improv|limit|uniform|prior|std|err",
    re.IGNORECASE,
)
_A_NUMBER = re.compile(r"\s*(?:#|(?<![A-Za-z_0-9])[0-9][0-9.,]*)\s*")
_INSIDE_A_WORD = re.compile(r"(?<=\w) # (?=\w)")  # a value between letters: no blank stands beside it in the text
_MOST_VARIANTS = 8  # of one text
_TELLING = 4  # letters of a label that tell one line from another
_FINAL = re.compile(r"final|variational|elbo|roundtrip|full|var_bpb|official", re.IGNORECASE)


@dataclass(frozen=True)
class Sink:
    """A place where the program reports bits per byte.

    Attributes:
        node: the expression whose value is reported.
        label: the text or key that names it.
        final: whether the label says that this is the score, not progress.
        printed: what its line begins with, `#` where another value stands; empty where that is not known.
        variants: the same with each text that a name in it may hold, where it holds nothing but texts.
    """

    node: ast.expr
    label: str
    final: bool
    printed: str = ""
    variants: tuple[str, ...] = ()

    def is_printed_as(self, label: str, *, loosely: bool = False) -> bool:
        """Whether a log's line that begins with a label may be one of this place's.

        Args:
            label: what the line begins with.
            loosely: whether a value inside of a word may be several words that are joined by underscores.
        """
        wanted = _without_numbers(label)
        if len(wanted) < _TELLING:
            return False
        begins = re.compile(rf"{re.escape(wanted)}(?![\w.])")
        return any(begins.match(_without_numbers(own)) for own in (self.printed, *self.variants)) or self._is_glued_as(
            wanted, r"\+?[a-z0-9_]+" if loosely else r"\+?[a-z0-9]+"
        )

    def _is_glued_as(self, wanted: str, value: str) -> bool:
        """Whether a label is what this place prints with a value inside of a word: final_ngram{order}_exact."""
        first, *others = _INSIDE_A_WORD.split(self.printed.lower())
        if not others or not wanted.startswith(first) or len(first) < _TELLING:
            return False
        rest = others[-1]
        inside = "".join(f"{value}{re.escape(part)}" for part in others[:-1])
        end = re.match(r"\w*", rest)  # the word that the value stands in
        word = f"{inside}{value}{re.escape(end[0] if end else rest)}"
        return re.fullmatch(word, wanted[len(first) :]) is not None


def _without_numbers(text: str) -> str:
    return _A_NUMBER.sub("# ", " ".join(text.lower().split())).strip()


def find_sinks(program: Program, claimed_labels: Sequence[str] = ()) -> list[Sink]:
    """The places that report the score; final ones alone where there are any, and those that print the claim's lines.

    Args:
        program: the scripts.
        claimed_labels: what the lines of logs that carry the claim begin with.
    """
    reachable = program.reachable()
    sinks: list[Sink] = []
    for scope in program.scopes:
        if scope.labels and id(scope) in reachable:
            sinks.extend(_sinks_of(program, scope))
    unique = {id(sink.node): sink for sink in sinks}
    kept = [sink for sink in unique.values() if not _ELSEWHERE.search(sink.label)]
    final = [sink for sink in kept if sink.final]
    others = [sink for sink in unique.values() if any(map(sink.is_printed_as, claimed_labels))]
    chosen = {id(sink): sink for sink in (*(final or kept), *others)}
    handed = [sink for sink in _of_handed_over(program, sinks) if any(map(sink.is_printed_as, claimed_labels))]
    return [*handed, *(sink for sink in unique.values() if id(sink) in chosen)]


def printed_losses(program: Program, sink: Sink) -> list[Sink]:
    """What the text that prints a score prints as the loss beside it: f"val_loss:{val_loss:.4f} val_bpb:{...}"."""
    text, before = program.parent(program.parent(sink.node) or sink.node), ""
    found = []
    for part in text.values if isinstance(text, ast.JoinedStr) else ():
        if isinstance(part, ast.FormattedValue) and _ENDS_IN_LOSS.search(before):
            found.append(Sink(part.value, before, sink.final))
        before = str(part.value) if isinstance(part, ast.Constant) else ""
    return found


def _sinks_of(program: Program, scope: Scope) -> Iterator[Sink]:
    for node in program.labelled(scope):
        if isinstance(node, ast.JoinedStr):
            yield from _formatted(program, node)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, str) and _LABEL.search(key.value):
                    yield _sink(value, key.value)
        elif isinstance(node, ast.Assign):
            target = node.targets[0]
            if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
                key_text = str(target.slice.value)
                if _LABEL.search(key_text):
                    yield _sink(node.value, key_text)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant):
            values = node.right.elts if isinstance(node.right, ast.Tuple) else [node.right]
            yield from _percent(str(node.left.value), values)
        elif isinstance(node, ast.Call):
            yield from _called(node)


def _of_handed_over(program: Program, sinks: Sequence[Sink]) -> Iterator[Sink]:
    """What a helper prints of the functions that it is handed, at each of its calls: with the label of that call."""
    by_call = {call: handed_over(program, call) for call in calls_of_parameters(program)}
    for sink in sinks if by_call else ():
        text = program.parent(program.parent(sink.node) or sink.node)
        defined = program.reaching(sink.node) if isinstance(sink.node, ast.Name) else ()
        value = defined[0].value if len(defined) == 1 and defined[0].kind == "assign" else None
        if not isinstance(text, ast.JoinedStr) or not isinstance(value, ast.Call):
            continue
        for each in by_call.get(value, ()):
            printed = _printed_with(text, sink.node, each.bound)
            yield _sink(element_of(program, each, defined[0].index), printed, printed)


def _printed_with(text: ast.JoinedStr, node: ast.expr, bound: Mapping[str, ast.expr]) -> str:
    """What is printed up to a value, with the texts that a call hands over."""
    printed = ""
    for part in text.values:
        value = part.value if isinstance(part, ast.FormattedValue) else part
        if value is node:
            break
        value = bound.get(value.id, value) if isinstance(value, ast.Name) else value
        printed += str(value.value) if isinstance(value, ast.Constant) else " # "
    return printed


def _sink(node: ast.expr, label: str, printed: str = "", variants: tuple[str, ...] = ()) -> Sink:
    names = " ".join(part.id for part in ast.walk(node) if isinstance(part, ast.Name))
    return Sink(node, label, bool(_FINAL.search(label) or _FINAL.search(names)), printed, variants)


def _formatted(program: Program, node: ast.JoinedStr) -> Iterator[Sink]:
    text, variants = "", [""]
    for part in node.values:
        if isinstance(part, ast.Constant):
            text += str(part.value)
            variants = [each + str(part.value) for each in variants]
        elif isinstance(part, ast.FormattedValue):
            label = text[-60:]
            if _ENDS_IN_LABEL.search(label) or (isinstance(part.value, ast.Name) and _LABEL.search(part.value.id)):
                name = part.value.id if isinstance(part.value, ast.Name) else ""
                others = tuple(each for each in variants if each != text)
                yield _sink(part.value, text if _FINAL.search(text) else f"{_tail(label)} {name}", text, others)
            text += " # "
            held = _texts(program, part.value) or [" # "]
            variants = [f"{each}{one}" for each in variants for one in held][:_MOST_VARIANTS]


def _texts(program: Program, node: ast.expr | None, depth: int = 0) -> list[str]:
    """The texts that an expression may be, where all of them are written out; nothing where it may be anything else."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    given: Sequence[ast.expr | None] = [node.body, node.orelse] if isinstance(node, ast.IfExp) else []
    if isinstance(node, ast.Name) and depth == 0:
        defined = program.reaching(node)
        given = [each.value if each.kind == "assign" and not each.index else None for each in defined]
    found = [_texts(program, each, depth + 1) for each in given]
    return [text for texts in found for text in texts] if all(found) else []


def _tail(label: str) -> str:
    return re.split(r"[,;|#]|\s{2,}", label)[-1].strip()[-30:] or label


def _percent(text: str, values: list[ast.expr]) -> Iterator[Sink]:
    pieces = re.split(r"%[-+ #0]*\d*(?:\.\d+)?[sdifgeEGr]", text)
    for number, (label, value) in enumerate(zip(pieces, values, strict=False)):
        if _ENDS_IN_LABEL.search(label):
            yield _sink(value, label, " # ".join(pieces[: number + 1]))


def _called(node: ast.Call) -> Iterator[Sink]:
    for keyword in node.keywords:
        if (
            keyword.arg
            and _LABEL.search(keyword.arg)
            and last_name(node.func) in ("log", "info", "dict", "write", "print")
        ):
            yield _sink(keyword.value, keyword.arg)
    func = node.func
    if isinstance(func, ast.Attribute) and func.attr == "format" and isinstance(func.value, ast.Constant):
        pieces = re.split(r"\{[^{}]*\}", str(func.value.value))
        for number, (label, value) in enumerate(zip(pieces, node.args, strict=False)):
            if _ENDS_IN_LABEL.search(label):
                yield _sink(value, label, " # ".join(pieces[: number + 1]))
    for label_node, value in itertools.pairwise(node.args):
        if isinstance(label_node, ast.Constant) and isinstance(label_node.value, str):
            if isinstance(value, ast.Constant | ast.JoinedStr):
                continue
            if "%" not in label_node.value and _ENDS_IN_LABEL.search(label_node.value):
                yield _sink(value, label_node.value, label_node.value if label_node is node.args[0] else "")
            elif "%" in label_node.value:
                values = node.args[node.args.index(label_node) + 1 :]
                yield from _percent(label_node.value, values)
