"""Tables that something writes to between the loop that fills them and the count that looks them up."""

from __future__ import annotations

import pytest

from tests.golf_rules import check_source

# The loop leaves the word's space in the table, and the count adds it once more: what stands between them decides.
SCRIPT = """import math
import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
import sentencepiece as spm


def build_tables(sp, device):
    size = torch.zeros(sp.vocab_size(), dtype=torch.int16)
    spaced = torch.zeros(sp.vocab_size(), dtype=torch.bool)
    bound = torch.ones(sp.vocab_size(), dtype=torch.bool)
    for i in range(sp.vocab_size()):
        if sp.is_control(i) or sp.is_unknown(i) or sp.is_unused(i):
            continue
        bound[i] = False
        if sp.is_byte(i):
            size[i] = 1
            continue
        piece = sp.id_to_piece(i)
        spaced[i] = piece.startswith("\\u2581")
        size[i] = len(piece.replace("\\u2581", " ").encode("utf-8"))
    # BUILT
    return size, spaced, bound


def evaluate(model, tokens, size, spaced, bound):
    # GIVEN
    nats, count = 0.0, 0
    for x, y in zip(tokens[:-1].split(512), tokens[1:].split(512)):
        nats += F.cross_entropy(model(x[None])[0].float(), y, reduction="sum").item()
        held = size[y].int()
        held += (spaced[y] & ~bound[x]).int()
        # COUNTED
        count += held.sum().item()
    return nats / math.log(2) / count


def main():
    sp = spm.SentencePieceProcessor(model_file="./data/tokenizers/fineweb_1024_bpe.model")
    size_lut, spaced_lut, bound_lut = build_tables(sp, "cuda")
    # OWN
    score = evaluate(torch.load("m.pt"), torch.load("v.pt"), size_lut, spaced_lut, bound_lut)
    print(f"final val_bpb:{score:.6f}")


# MODULE
main()
"""
OF_BYTES = {"BPB150", "BPB151", "BPB152", "BPB153", "BPB154", "BPB155", "BPB156", "BPB162", "BPB165"}
BUILT = [
    "size[spaced] -= 1",
    "size -= spaced.to(torch.int16)",
    "size = torch.where(spaced, size - 1, size)",
    "size = size.sub(spaced.to(size.dtype))",
    "size = size - spaced.to(size.dtype)",
    "size.sub_(spaced.to(size.dtype))",
    "size[spaced].sub_(1); size[spaced] = size[spaced] - 1",
    "size.index_add_(0, spaced.nonzero()[:, 0], torch.tensor(-1))",
    "torch.sub(size, spaced.to(size.dtype), out=size)",
    "np.subtract(size, spaced, out=size)",
    "np.subtract.at(size, np.flatnonzero(spaced), 1)",
    "np.add.at(size, np.flatnonzero(spaced), -1)",
    "np.copyto(size, size - spaced)",
    "np.putmask(size, spaced, size - 1)",
    "np.place(size, spaced, size[spaced] - 1)",
    "size.data -= spaced.to(size.dtype)",
    "size.numpy()[spaced.numpy()] -= 1",
    "size[2:] -= spaced[2:].to(size.dtype)",
    "size[2:].sub_(spaced[2:].to(size.dtype))",
    "size.view(-1)[spaced] -= 1",
    "other = size; other -= spaced.to(size.dtype)",
    "spaced.zero_()",
    "spaced[:] = False",
    "spaced = torch.zeros_like(spaced)",
    "spaced.fill_(False)",
    "bound.fill_(True)",
    "for i in range(len(size)):\n        if spaced[i]:\n            size[i] = size[i] - 1",
    "for i in range(len(size)):\n        size[i] -= int(spaced[i])",
    "for each in (size,):\n        each -= spaced.to(each.dtype)",
    "both = [size, spaced]\n    both[0] -= both[1].to(torch.int16)",
    "held = {'size': size}\n    held['size'] -= spaced.to(torch.int16)",
    "from elsewhere import without_space\n    without_space(size, spaced)",
    "from elsewhere import without_space\n    size = without_space(size, spaced)",
    "without_space(size, spaced)",
    "if True:\n        size = size - spaced.to(size.dtype)",
    "try:\n        size = size - spaced.to(size.dtype)\n    except TypeError:\n        size[spaced] -= 1",
    "return size - spaced.to(size.dtype), spaced, bound",
    "return size, torch.zeros_like(spaced), bound",
    "held = dict(size=size)\n    held['size'] -= spaced.to(torch.int16)",
    "held = {}\n    held['size'] = size\n    held['size'] -= spaced.to(torch.int16)",
    "held = {}\n    held['size'] = size\n    held['size'][spaced] -= 1",
    "held = {}\n    held.update(size=size)\n    held['size'][spaced] -= 1",
    "held = {}\n    held.update({'size': size})\n    held['size'].sub_(spaced.to(torch.int16))",
    "held = {}\n    same = held.setdefault('size', size)\n    same -= spaced.to(torch.int16)",
    "from torch import sub\n    sub(size, spaced.to(size.dtype), out=size)",
    "from torch.nn.init import zeros_\n    zeros_(spaced)",
    "from numpy import copyto\n    copyto(size, size - spaced)",
    "from .tables import Counter as without\n    without(size, spaced)",
    "from tables import Counter\n    Counter(size, spaced)",
    "import collections\n    for each in collections.deque((size,)):\n        each -= spaced.to(each.dtype)",
    "import tables as np\n    np.without_space(size, spaced)",
    "np.ndarray.sort(size)",
    "getattr(size, 'sub_')(spaced.to(size.dtype))",
    "getattr(size, way)(spaced.to(size.dtype))",
    "size.sort()",
]
OF_PARAMETERS = [("GIVEN", each) for each in BUILT if "return" not in each]
OWN = [
    "size_lut -= spaced_lut.to(size_lut.dtype)",
    "size_lut.sub_(spaced_lut.to(size_lut.dtype))",
    "size_lut = size_lut - spaced_lut.to(size_lut.dtype)",
    "size_lut[spaced_lut] -= 1",
    "spaced_lut.zero_()",
    "spaced_lut = torch.zeros_like(spaced_lut)",
    "if sp.vocab_size() == 1024:\n        size_lut = size_lut - spaced_lut.to(size_lut.dtype)",
    "without_space(size_lut, spaced_lut)",
    "def mend():\n        nonlocal size_lut\n        size_lut = size_lut - spaced_lut.to(size_lut.dtype)\n    mend()",
    "def mend():\n        size_lut[spaced_lut] -= 1\n    mend()",
]
HELPER = "def without_space(size, spaced):\n    size[spaced] -= 1\n    return size\n\n\n"
COUNTED = [
    "held -= spaced[y].int()",
    "held.sub_(spaced[y].int())",
    "held[spaced[y]] -= 1",
    "held = torch.where(spaced[y], held - 1, held)",
    "held = held - spaced[y].int()",
    "torch.sub(held, spaced[y].int(), out=held)",
    "without_space(held, spaced[y])",
    "count -= spaced[y].int().sum().item()",
]


def _codes(place: str, text: str, head: str = "") -> set[str]:
    script = SCRIPT.replace(f"# {place}", text).replace("def evaluate", head + "def evaluate")
    return {finding.code for finding in check_source(script)} & OF_BYTES


def test_the_script_alone_counts_the_space_twice() -> None:
    assert _codes("OWN", "pass") == {"BPB151"}


CASES = [*[("BUILT", each) for each in BUILT], *OF_PARAMETERS, *[("OWN", each) for each in OWN]]


@pytest.mark.parametrize(("place", "text"), [*CASES, *[("COUNTED", each.replace("\n", "\n    ")) for each in COUNTED]])
@pytest.mark.parametrize("head", ["", HELPER])
def test_a_table_that_is_changed_behind_its_loop_is_not_judged_by_the_loop(place: str, text: str, head: str) -> None:
    assert _codes(place, text, head) <= {"BPB162"}


@pytest.mark.parametrize(("place", "text"), CASES)
def test_what_is_changed_is_not_shown_to_be_right_either(place: str, text: str) -> None:
    """The loop's own count is right here, and what is taken away makes it wrong."""
    honest = SCRIPT.replace('"\\u2581", " "', '"\\u2581", ""')
    assert {finding.code for finding in check_source(honest)} & OF_BYTES == {"BPB162"}
    script = honest.replace(f"# {place}", text).replace("def evaluate", HELPER + "def evaluate")
    assert "BPB162" not in {finding.code for finding in check_source(script)}


READ = [
    ("BUILT", "assert size.sum() > 0 and not spaced.all() and size.max() < 200"),
    ("BUILT", "print(size[spaced].float().mean())"),
    ("BUILT", "size, spaced, bound = size.to(device), spaced.to(device), bound.to(device)"),
    ("BUILT", "size = size.to(device)\n    spaced = spaced.to(device)"),
    ("BUILT", "return size.to(device), spaced.to(device), bound.to(device)"),
    ("BUILT", "torch.save({'size': size, 'spaced': spaced}, 'tables.pt')"),
    ("BUILT", "for i in range(3):\n        print(i, size[i], spaced[i])"),
    ("BUILT", "words = size.clone().float()\n    mean = words[spaced].mean()"),
    ("BUILT", "longest = size + 1\n    longest -= 1"),
    ("BUILT", "import collections\n    lengths = collections.Counter(size.tolist())"),
    ("BUILT", "from collections import Counter\n    lengths = Counter(size.tolist())"),
    ("BUILT", "from pprint import pprint\n    pprint(size)"),
    ("BUILT", "from torch import save\n    save((size, spaced), 'tables.pt')"),
    ("BUILT", "from copy import deepcopy\n    kept = deepcopy(size)"),
    ("BUILT", "import torch.utils.data as loaders\n    loaders.default_collate(size)"),
    ("BUILT", "import hashlib\n    print(hashlib.md5(size.numpy()).hexdigest())"),
    ("BUILT", "ranked = torch.sort(size); ranked = np.sort(size.numpy()); longer = np.append(size, 0)"),
    ("BUILT", "with open('t', 'w') as file:\n        file.writelines(map(str, size.tolist()))"),
    ("BUILT", "filled = size.masked_fill(spaced, 0).scatter(0, spaced.long(), 1)"),
    ("BUILT", "held = {}\n    held['size'] = size\n    print(held['size'])"),
    ("BUILT", "held = dict(size=size, number=3)\n    held['number'] -= 1"),
    ("BUILT", "print(getattr(size, 'device'), getattr(size, 'shape'))"),
    ("BUILT", "held = dict(size=size, spaced=spaced)\n    torch.save(held, 'tables.pt')"),
    ("BUILT", "held = {}\n    held.update(size=size)\n    print(held.setdefault('size', size).sum())"),
    ("OWN", "print('words', int(spaced_lut.sum()), len(size_lut))"),
    ("OWN", "dist.broadcast(size_lut, 0)"),
    ("OWN", "size_lut = size_lut.cuda()"),
    ("OWN", "reported = evaluate(torch.load('e.pt'), torch.load('v.pt'), size_lut, spaced_lut, bound_lut)"),
    ("OWN", "total = size_lut[torch.load('v.pt')].sum()\n    total -= 1"),
    ("GIVEN", "size = size.cuda()"),
    ("MODULE", "def other(size, spaced):\n    size -= spaced"),
    ("MODULE", "def other():\n    size = torch.zeros(3)\n    size -= 1"),
]


@pytest.mark.parametrize(("place", "text"), READ)
def test_a_table_that_is_only_read_or_converted_is_judged(place: str, text: str) -> None:
    assert _codes(place, text) == {"BPB151"}


KEPT = """class Validation:
    def __init__(self, sp):
        self.size, self.spaced, self.bound = build_tables(sp, "cuda")
        # INIT

    def mend(self):
        # MEND


"""


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("INIT", "self.size -= self.spaced.to(self.size.dtype)"),
        ("INIT", "self.size.sub_(self.spaced.to(self.size.dtype))"),
        ("INIT", "self.size = self.size - self.spaced.to(self.size.dtype)"),
        ("MEND", "self.size[self.spaced] -= 1"),
        ("MEND", "self.spaced.zero_()"),
        ("OWN", "kept.size[kept.spaced] -= 1"),
        ("OWN", "setattr(kept, 'size', kept.size - kept.spaced.int())"),
    ],
)
def test_tables_that_an_object_holds_are_changed_through_it(place: str, text: str) -> None:
    script = SCRIPT.replace(
        "def evaluate(model, tokens, size, spaced, bound)", KEPT + "def evaluate(model, tokens, kept)"
    )
    script = script.replace(
        '    size_lut, spaced_lut, bound_lut = build_tables(sp, "cuda")', "    kept = Validation(sp)"
    )
    script = script.replace("size_lut, spaced_lut, bound_lut)", "kept)").replace("size[y]", "kept.size[y]")
    script = script.replace("spaced[y] & ~bound[x]", "kept.spaced[y] & ~kept.bound[x]")
    assert {found.code for found in check_source(script.replace("# MEND", "pass"))} & OF_BYTES == {"BPB151"}
    changed = script.replace(f"# {place}", text).replace("# MEND", "pass")
    assert not {found.code for found in check_source(changed)} & OF_BYTES


def test_tables_that_two_loops_fill_are_not_judged_by_the_first() -> None:
    again = """for i in range(sp.vocab_size()):
        piece = sp.id_to_piece(i)
        if piece.startswith("\\u2581"):
            size[i] = len(piece[1:].encode("utf-8"))"""
    assert not _codes("BUILT", again)


READER = "def shown(size, spaced):\n    print(size.sum(), spaced.sum())\n\n\n"


@pytest.mark.parametrize(
    ("text", "is_judged"),
    [
        ("way = shown if sp.vocab_size() else listed\n    way(size_lut, spaced_lut)", True),
        ("way = shown\n    if sp.vocab_size() == 1024:\n        way = listed\n    way(size_lut, spaced_lut)", True),
        ("way = shown if sp.vocab_size() else without_space\n    way(size_lut, spaced_lut)", False),
        ("way = without_space if sp.vocab_size() else shown\n    way(size_lut, spaced_lut)", False),
        ("way = shown if sp.vocab_size() else unknown\n    way(size_lut, spaced_lut)", False),
        ("way = unknown(shown)\n    way(size_lut, spaced_lut)", False),
        ("way, other = shown, listed\n    way(size_lut, spaced_lut)", False),
        ("for way in (shown, without_space):\n        way(size_lut, spaced_lut)", False),
    ],
)
def test_a_function_that_a_test_chooses_is_each_of_them(text: str, is_judged: bool) -> None:
    head = HELPER + READER + READER.replace("shown", "listed")
    assert _codes("OWN", text, head) == ({"BPB151"} if is_judged else set())
