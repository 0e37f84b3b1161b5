"""Byte tables and the loops that use them: what they count for a few example tokens, against what the text has."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeGuard

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.algebra import Term
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit, beside_the_claim, doubted
from bpb_harness.auditing.script.domains.byte_counts import Counter
from bpb_harness.auditing.script.domains.own_vocabulary import is_public_vocabulary
from bpb_harness.auditing.script.domains.pieces import (
    ACCENTED,
    BYTE,
    CONTROL,
    PIECE_CALLS,
    SPELT_SPACE,
    SUFFIX,
    WORD,
    ByteLoop,
    Specimen,
    find_byte_loops,
)  # fmt: skip
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.findings import Json, Rule, Severity
from bpb_harness.rules import RulePack

OF_A_SPELT_SPACE = "bytes of <0xE2>, <0x96>, <0x81>"  # in the evidence of BPB162


def check_byte_tables(analysis: Analysis) -> Iterator[Hit]:
    """What the script counts for a word, a word part, a byte piece and a control token."""
    loops = find_byte_loops(analysis.program)
    if not loops:
        return
    for number, terms in enumerate(analysis.terms):
        counter = Counter(analysis.program, loops)
        word = counter.count(terms, WORD)
        spaces = [node for node, value in counter.met if value == 1]  # what counts a word's space by itself
        if word is None or counter.used is None:
            continue
        counted = {WORD.name: word} | {each.name: counter.count(terms, each) for each in (SUFFIX, BYTE, CONTROL)}
        loop, characters = counter.used, None
        if all(ACCENTED.name in each.outcomes for each in loops):
            characters = counter.count(terms, ACCENTED)
        is_beside, is_alone = analysis.is_beside_the_claim(number), counter.divides_alone(terms)
        spelt_space = _of_a_spelt_space(counter, loops, terms) if is_alone and not is_beside else None
        judged = _judged(number, loop, counted, spaces, analysis.context.rules.pack, characters, spelt_space)
        judged = judged if is_public_vocabulary(analysis) else map(_unless_it_has_none, judged)
        judged = judged if is_alone else map(_beside_another, judged)
        yield from map(beside_the_claim, judged) if is_beside else judged


def _beside_another(hit: Hit) -> Hit:
    """What is counted wrong by a table that the score need not be divided by."""
    return doubted(
        hit,
        "What is divided by it is a price of each token, or is divided by something else too; which of them is the "
        "bytes of the score, the script does not tell.",
    )


def _unless_it_has_none(hit: Hit) -> Hit:
    """What is counted wrong of a kind of piece, where the vocabulary may have none of that kind."""
    needed = _OF_A_KIND.get(hit.rule)
    if needed is None:
        return hit
    said = f"{hit.message} Which vocabulary the tokens are of, the record does not tell; one may have no {needed}"
    return replace(hit, message=said, factor=None, severity=Severity.WARNS)


_MARKED = "pieces that begin with U+2581"
_OF_A_KIND: dict[Rule, str] = {
    codes.SPACE_TWICE: _MARKED, codes.SPACE_NEVER: _MARKED, codes.WRONG_MARKER: _MARKED,
    codes.BYTE_SPELLING: "byte pieces", codes.DECODED_SINGLY: "byte pieces", codes.SPECIAL_COUNTED: "control tokens",
}  # fmt: skip


def _judged(
    number: int, loop: ByteLoop, counted: dict[str, float | None], spaces: Sequence[ast.expr], pack: RulePack,
    accented: float | None, spelt_space: list[Json] | None,
) -> Iterator[Hit]:  # fmt: skip
    word, suffix, byte, control = (counted[s.name] for s in (WORD, SUFFIX, BYTE, CONTROL))
    if suffix != SUFFIX.num_bytes or word is None:
        return  # not understood well enough to judge the rest by it
    place = _place(loop)
    evidence: dict[str, Json] = {f"counted for {name}": value for name, value in counted.items()}
    if accented == len(ACCENTED.piece):
        said = (
            "The script counts 2 bytes for the token `\u00e9t`, which has 3: characters are counted, not bytes; so the "
            "score is too high (worse than it is), by how much depends on the text."
        )
        yield Hit(codes.CHARACTERS, said, place, number, evidence=evidence)
    elif (word, byte, control) == (WORD.num_bytes, BYTE.num_bytes, CONTROL.num_bytes):
        said = (
            "The script's byte count, followed for four tokens without running it, is right: 4 bytes for `\u2581the` "
            "after another word, 3 for `ing`, 1 for the byte `<0x41>`, 0 for `<s>`."
        )
        also: dict[str, Json] = {} if spelt_space is None else {OF_A_SPELT_SPACE: spelt_space}
        yield Hit(codes.BYTES_READ, said, place, number, evidence=evidence | also)
    spelt = byte == len(BYTE.piece)
    space = _space(word, loop, spelt)
    if space is not None:
        rule, what, bug = space
        factor = pack.factor_of(bug) if bug is not None else None
        effect = "so the score is too low (too good)" if word > WORD.num_bytes else "so the score is too high"
        where = _written_by(loop, WORD) or place
        quoted = (where, *(spaces if rule is codes.SPACE_TWICE else _asks_for_a_marker(loop)))
        yield Hit(rule, f"The script {what}; {effect}.", where, number, factor, evidence=evidence, quoted=quoted)
    if loop.decodes_singly is not None:
        said = (
            "The script decodes ids one by one: a byte token becomes the character U+FFFD, three bytes in place of one."
        )
        yield Hit(codes.DECODED_SINGLY, said, loop.decodes_singly, number)
    elif spelt:
        severity = Severity.WARNS if word != WORD.num_bytes else None
        factor = _spelling_factor(loop, pack) if (word, control) == (WORD.num_bytes, len(CONTROL.piece)) else None
        how_much = (
            "by how much, by itself, depends on the text" if factor is None
            else f"with 3 for each `<s>`, there are {factor:g} times the bytes of the whole text"
        )  # fmt: skip
        said = (
            "The script counts 6 bytes for the byte token `<0x41>`, the letters of its name; it stands for 1 byte, "
            f"which makes the score too low (too good): {how_much}."
        )
        yield Hit(codes.BYTE_SPELLING, said, place, number, factor, severity, evidence)
    if control:
        said = f"The script counts {control:g} bytes for the token `<s>`, which stands for no text."
        yield Hit(codes.SPECIAL_COUNTED, said, place, number, evidence=evidence)


def _of_a_spelt_space(counter: Counter, loops: Sequence[ByteLoop], terms: list[Term]) -> list[Json] | None:
    """What is counted for each of the byte pieces that spell a space; None where one of them is not followed."""
    if not all(each.name in loop.outcomes for each in SPELT_SPACE for loop in loops):
        return None
    counted = [counter.count(terms, each) for each in SPELT_SPACE]
    return None if None in counted else [*counted]


def _spelling_factor(loop: ByteLoop, pack: RulePack) -> float | None:
    """By what byte pieces and control tokens, counted as they are spelt, multiply the bytes; None where it is not told.

    What both bugs together make of the bytes, less what the space does alone: one adds spaces, the other letters. A
    table that holds a word's space counts it behind a control token too, where the text has none.
    """
    both, space = pack.factor_of("space_twice_pieces_by_spelling"), pack.factor_of("space_counted_twice")
    entries = [value for value in loop.outcomes[WORD.name].writes.values() if not isinstance(value, bool)]
    holds_space = any(value == WORD.num_bytes for value in entries)
    return None if both is None or space is None or holds_space else round(1.0 + both - space, 5)


def _space(word: float, loop: ByteLoop, spelt: bool) -> tuple[Rule, str, str | None] | None:
    """What is wrong with a word's leading space, and the name of the byte bug where its factor is known."""
    the = "the token `\u2581the` after another word; the text has 4"
    if word == WORD.num_bytes + 1:
        what = f"counts 5 bytes for {the}: the leading space is counted in the table and once more in the loop"
        return codes.SPACE_TWICE, what, "space_twice_pieces_by_spelling" if spelt else "space_counted_twice"
    if word == WORD.num_bytes - 1 and loop.decodes_singly is None:
        return codes.SPACE_NEVER, f"counts 3 bytes for {the}: the leading space is never counted", "space_never_counted"
    if word == WORD.num_bytes - 1:
        what = f"decodes ids one by one, which strips the leading space: 3 bytes for {the}"
        return codes.SPACE_NEVER, what, "space_never_counted"
    if word in (WORD.num_bytes + 2, WORD.num_bytes + 3):
        what = f"counts {word:g} bytes for {the}: U+2581 is not recognised and counts as three bytes"
        return codes.WRONG_MARKER, what, "question_mark_for_space" if word == WORD.num_bytes + 2 else None
    return None


def _asks_for_a_marker(loop: ByteLoop) -> list[ast.expr]:
    """Where a loop looks at what a piece begins with, takes something away from it, or decodes it by itself."""
    if loop.decodes_singly is not None:
        return [loop.decodes_singly]
    return [part for part in ast.walk(loop.node) if _is_of_a_marker(part)]


def _is_of_a_marker(node: ast.AST) -> TypeGuard[ast.expr]:
    """piece.startswith(MARK), piece.replace(MARK, ""), piece[0] == MARK."""
    if isinstance(node, ast.Call):
        return last_name(node.func) in _OF_MARKERS and bool(node.args)
    return isinstance(node, ast.Compare) and any(
        isinstance(side, ast.Constant) and isinstance(side.value, str) and len(side.value) == 1
        for side in (node.left, *node.comparators)
    )


_OF_MARKERS = frozenset(["startswith", "lstrip", "strip", "removeprefix", "replace"])


def _written_by(loop: ByteLoop, specimen: Specimen) -> ast.AST | None:
    """The statement that gave a token its bytes, where one did that asks for a length."""
    outcome = loop.outcomes[specimen.name]
    numbers = {name for name, value in outcome.writes.items() if isinstance(value, int | float) and value is not True}
    places = [place for name, place in outcome.written_by.items() if name in numbers and _asks_length(place)]
    return places[0] if len(places) == 1 else None


def _asks_length(statement: ast.AST) -> bool:
    return any(isinstance(each, ast.Call) and last_name(each.func) == "len" for each in nodes_within(statement))


def _place(loop: ByteLoop) -> ast.AST:
    """The line that stores or adds the bytes, for the report."""
    parts = nodes_within(loop.node)
    asking = next((part for part in parts if isinstance(part, ast.Call) and last_name(part.func) in PIECE_CALLS), None)
    for part in parts if asking is not None else ():
        if isinstance(part, ast.Assign | ast.AugAssign) and _asks_length(part):
            return part
    return asking or loop.node
