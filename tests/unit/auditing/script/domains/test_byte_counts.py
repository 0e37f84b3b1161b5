"""Tables that are converted together: what a name holds then is still the table that the loop filled."""

from __future__ import annotations

import pytest

from tests.golf_rules import check_source

SCRIPT = """import math
import numpy as np
import torch
import torch.nn.functional as F
import sentencepiece as spm


def build_tables(sp):
    size = np.zeros((sp.vocab_size(),), dtype=np.int16)
    spaced = np.zeros((sp.vocab_size(),), dtype=np.bool_)
    bound = np.ones((sp.vocab_size(),), dtype=np.bool_)
    for i in range(sp.vocab_size()):
        if sp.is_control(i) or sp.is_unknown(i) or sp.is_unused(i):
            continue
        bound[i] = False
        if sp.is_byte(i):
            size[i] = 1
            continue
        piece = sp.id_to_piece(i)
        if piece.startswith("\\u2581"):
            spaced[i] = True
            piece = piece[1:]
        size[i] = len(piece.encode("utf-8"))
    return size, spaced, bound


def evaluate(model, tokens, tables):
    CONVERTED
    nats, count = 0.0, 0
    for x, y in zip(tokens[:-1].split(512), tokens[1:].split(512)):
        nats += F.cross_entropy(model(x[None])[0].float(), y, reduction="sum").item()
        count += (size[y].int() + (spaced[y] & ~bound[x]).int()).sum().item()
    return nats / math.log(2) / count


sp = spm.SentencePieceProcessor(model_file="./data/tokenizers/fineweb_1024_bpe.model")
print(f"final val_bpb:{evaluate(torch.load('m.pt'), torch.load('v.pt'), build_tables(sp)):.6f}")
"""
FORMS = [
    "size, spaced, bound = [torch.tensor(each) for each in tables]",
    "size, spaced, bound = (torch.from_numpy(each).to('cuda') for each in tables)",
    "size, spaced, bound = tuple(torch.as_tensor(t, device='cuda') for t in tables)",
    "size, spaced, bound = list(map(torch.tensor, tables))",
    "size, spaced, bound = map(lambda each: torch.tensor(each).cuda(), tables)",
    "on_card = [torch.tensor(each) for each in tables]\n    size, spaced, bound = on_card",
    "on_card = [torch.tensor(each) for each in tables]\n    size, spaced, bound = on_card[0], on_card[1], on_card[2]",
]


def _codes(text: str) -> set[str]:
    return {finding.code for finding in check_source(text)}


@pytest.mark.parametrize("converted", FORMS)
def test_tables_that_are_converted_together_are_followed(converted: str) -> None:
    honest = SCRIPT.replace("CONVERTED", converted)
    assert _codes(honest) == {"BPB162"}
    twice = honest.replace("piece = piece[1:]\n", "piece = ' ' + piece[1:]\n")
    assert _codes(twice) == {"BPB151"}


@pytest.mark.parametrize(
    "converted",
    [
        "size, spaced, bound = [torch.tensor(each) for each in tables if each.any()]",  # which of them, nothing says
        "size, spaced, bound = [torch.tensor(each) for rows in tables for each in rows]",
        "size, spaced, bound = [torch.tensor(other(each)) for each in tables]",
        "size, spaced, bound = map(other, tables)",
        "size, spaced, bound = map(torch.tensor, tables, tables)",
    ],
)
def test_what_is_made_of_a_table_on_the_way_is_not_taken_for_it(converted: str) -> None:
    assert not _codes(SCRIPT.replace("CONVERTED", converted)) & {"BPB151", "BPB162"}


@pytest.mark.parametrize(
    ("counted", "code"),
    [
        ('len(piece.encode("utf-8"))', "BPB162"),
        ("len(piece)", "BPB165"),
        ("sum(1 for _ in piece)", None),
    ],
)
def test_characters_are_told_from_bytes(counted: str, code: str | None) -> None:
    text = SCRIPT.replace("CONVERTED", "size, spaced, bound = tables").replace('len(piece.encode("utf-8"))', counted)
    assert _codes(text) <= {"BPB162", "BPB165"}
    assert code is None or _codes(text) == {code}
    assert code is not None or "BPB165" not in _codes(text)


def test_pieces_that_stand_for_bytes_are_counted_by_their_characters() -> None:
    text = SCRIPT.replace("CONVERTED", "size, spaced, bound = tables").replace(
        'len(piece.encode("utf-8"))', "len(piece)"
    )
    assert "BPB165" not in _codes(text.replace("sp.id_to_piece(i)", "sp.convert_ids_to_tokens(i)"))


TABLES = """size, spaced, bound = np.zeros(V, dtype=np.int16), np.zeros(V, dtype=bool), np.ones(V, dtype=bool)
for i in range(sp.vocab_size()):
    if sp.is_control(i) or sp.is_unknown(i):
        continue
    bound[i] = False
    if sp.is_byte(i):
        size[i] = 1
        continue
    piece = sp.id_to_piece(i)
    spaced[i] = piece.startswith("\\u2581")
    size[i] = len(piece.replace("\\u2581", "").encode("utf-8"))
size, spaced, bound = torch.tensor(size), torch.tensor(spaced), torch.tensor(bound)
"""
DICTIONARIES = """size, spaced, bound = {}, {}, {}
for i in range(V):
    piece = sp.id_to_piece(i)
    bound[i], spaced[i] = sp.is_control(i), piece.startswith("\\u2581")
    size[i] = 0 if bound[i] else 1 if sp.is_byte(i) else len(piece.replace("\\u2581", "").encode("utf-8"))
"""
LOOKED_UP = "(size[y].int() + (spaced[y] & ~bound[x]).int()).sum().item()"
ONE_BY_ONE = "sum(size[b] + (1 if spaced[b] and not bound[a] else 0) for a, b in zip(x.tolist(), y.tolist()))"
EVALUATION = """nats, count = 0.0, 0
for x, y in zip(tokens[:-1].split(512), tokens[1:].split(512)):
    nats += F.cross_entropy(model(x[None])[0].float(), y, reduction="sum").item()
    count += COUNTED
val_bpb = nats / math.log(2) / count
print(f"val_bpb:{val_bpb:.6f}")
"""
OPENED = """import math
import numpy as np
import torch
import torch.nn.functional as F
import sentencepiece as spm
V = 1024
sp = spm.SentencePieceProcessor(model_file="./data/tokenizers/fineweb_1024_bpe.model")
model, tokens = torch.load("m.pt"), torch.load("v.pt")
"""


def _inside(head: str, text: str) -> str:
    return head + "\n" + "".join(f"    {line}\n" for line in text.splitlines())


PLACES = {
    "module": lambda tables, scores: tables + scores,
    "main": lambda tables, scores: _inside("if __name__ == '__main__':", tables + scores),
    "tables in the module": lambda tables, scores: tables + _inside("def main():", scores) + "main()\n",
    "tables under main": lambda tables, scores: (
        _inside("def evaluate():", scores) + _inside("if __name__ == '__main__':", tables + "evaluate()\n")
    ),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("tables", "counted"), [(TABLES, LOOKED_UP), (DICTIONARIES, ONE_BY_ONE)])
def test_statements_of_a_module_fill_tables_as_those_of_a_function_do(tables: str, counted: str, place: str) -> None:
    honest = OPENED + PLACES[place](tables, EVALUATION.replace("COUNTED", counted))
    assert _codes(honest) == {"BPB162"}
    assert _codes(honest.replace('"\\u2581", ""', '"\\u2581", " "')) == {"BPB151"}


def test_a_name_that_a_function_gives_a_value_of_its_own_is_not_the_modules() -> None:
    evaluation = "size = torch.load('sizes.pt')\n" + EVALUATION.replace("COUNTED", LOOKED_UP)
    text = OPENED + TABLES.replace('"\\u2581", ""', '"\\u2581", " "') + _inside("def main():", evaluation) + "main()\n"
    assert "BPB151" not in _codes(text)


STARRED = [
    ("def evaluate(model, tokens, size, spaced, bound):", "evaluate(model, tokens, *tables())"),
    ("def evaluate(model, tokens, size, spaced, bound, *, every=64):", "evaluate(model, tokens, *tables(), every=8)"),
    ("def evaluate(size, spaced, bound, tokens=tokens, model=model):", "evaluate(*tables(), tokens=tokens)"),
    ("def evaluate(size, spaced, *, bound):", "evaluate(*tables()[:2], bound=tables()[2])"),
]


@pytest.mark.parametrize(("head", "call"), STARRED)
def test_a_starred_argument_is_followed_to_its_elements(head: str, call: str) -> None:
    evaluation = EVALUATION.replace("COUNTED", LOOKED_UP)
    tables = _inside("def tables():", TABLES + "return size, spaced, bound")
    honest = OPENED + tables + _inside(head, evaluation) + call
    twice = honest.replace('"\\u2581", ""', '"\\u2581", " "')
    is_whole = ":2" not in call
    assert ("BPB162" in _codes(honest), "BPB151" in _codes(twice)) == (is_whole, is_whole)
    swapped = honest.replace("return size, spaced, bound", "return spaced, size, bound")
    assert "BPB162" not in _codes(swapped)


def test_what_stands_behind_a_starred_argument_is_not_told() -> None:
    evaluation = EVALUATION.replace("COUNTED", LOOKED_UP)
    text = OPENED + _inside("def evaluate(tokens, size, spaced, bound):", evaluation)
    assert not _codes(text + "evaluate(*tables(), bound)") & {"BPB151", "BPB162"}


PAIRS = "for a, b in zip(x.tolist(), y.tolist())"


@pytest.mark.parametrize(
    "counted",
    [
        f"sum(0 if not bound[a] else (1 if spaced[b] else 0) {PAIRS})",
        f"sum((1 if spaced[b] else 0) if bound[a] else 0 {PAIRS})",
        f"sum(2 * (1 if spaced[b] and not bound[a] else 0) {PAIRS})",
        f"sum(-(1 if spaced[b] and not bound[a] else 0) {PAIRS})",
        f"sum((1 if spaced[b] and not bound[a] else 0) {PAIRS} if b > 7)",
    ],
)
def test_a_choice_that_is_not_added_as_it_stands_is_no_right_count(counted: str) -> None:
    text = OPENED + TABLES + EVALUATION.replace("COUNTED", f"size[y].sum()\n    count += {counted}")
    assert "BPB162" not in _codes(text)


KEPT = """class Validation:
    def __init__(self, sp):
        self.size, self.spaced, self.bound = build_tables(sp)


"""


def _kept(text: str) -> str:
    """The script with its tables in an object that a function fills by one assignment."""
    text = text.replace("    CONVERTED\n", "").replace(
        "def evaluate(model, tokens, tables):", "def evaluate(model, tokens, kept):"
    )
    text = text.replace(
        "size[y].int() + (spaced[y] & ~bound[x])", "kept.size[y].int() + (kept.spaced[y] & ~kept.bound[x])"
    )
    text = text.replace("torch.load('v.pt'), build_tables(sp))", "torch.load('v.pt'), Validation(sp))")
    return text.replace("def evaluate", f"{KEPT}def evaluate")


def test_tables_that_one_assignment_puts_into_an_object_are_followed() -> None:
    assert "BPB162" in _codes(_kept(SCRIPT))
    twice = _kept(SCRIPT).replace("            piece = piece[1:]\n", "            piece = ' ' + piece[1:]\n")
    assert "BPB151" in _codes(twice)
    swapped = _kept(SCRIPT).replace("self.size, self.spaced, self.bound", "self.bound, self.spaced, self.size")
    assert not {"BPB162", "BPB151"} & _codes(swapped)
