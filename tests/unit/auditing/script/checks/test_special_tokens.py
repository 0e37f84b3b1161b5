"""Document ends that are never masked and never paid for (BPB255), and what looks like them."""

from __future__ import annotations

import pytest

from tests.golf_rules import check_source

SCRIPT = """import math, sys
import numpy as np, torch, torch.nn.functional as F
V = 1024; MASK = 1024; PAD_ID = 1025; EOS_ID = 1; L = 512; T = 64
model = torch.jit.load(sys.argv[1])
text_bytes = len(open(sys.argv[3], "rb").read())
special_table = torch.zeros(1026, dtype=torch.bool)
special_table[PAD_ID] = True
def is_special_token(x):
    return x == PAD_ID
@torch.no_grad()
def bits(x):
    total = torch.zeros(x.shape[0])
    real = (x != PAD_ID).float()
    total += real.sum(-1) * 1e-3 * math.log2(V)
    for step in range(1, T + 1):
        t = step / T
        SPARED
        m = (torch.rand(x.shape) < t) & ~spared
        z = torch.where(m, MASK, x)
        ce = F.cross_entropy(model(z).transpose(1, 2), x, reduction="none")
        total += (ce * m * real).sum(-1) / t / T / math.log(2)
    PAID
    return total
def documents(ids):
    ends = np.where(ids == EOS_ID)[0]
    start = 0
    for end in ends:
        doc = ids[start : end + 1]
        start = end + 1
        row = np.full((1, L), PAD_ID, dtype=np.int64)
        row[0, : min(len(doc), L)] = doc[:L]
        yield torch.from_numpy(row)
ids = np.fromfile(sys.argv[2], dtype="<u2", offset=1024).astype(np.int64)
score = 0.0
for x in documents(ids):
    score += float(bits(x).sum())
bpb = score / text_bytes
print(f"final val_bpb {bpb:.5f}")
"""


def severity(spared: str, paid: str = "pass") -> str | None:
    """How BPB255 is found in a script that spares some tokens and pays for some; None where it is not."""
    lines = spared.replace("\n", "\n        ")
    found = check_source(SCRIPT.replace("SPARED", lines).replace("PAID", paid))
    return next((finding.severity.value for finding in found if finding.code == "BPB255"), None)


@pytest.mark.parametrize(
    "spared",
    [
        "spared = x == EOS_ID",
        "is_special = (x == EOS_ID) | (x == PAD_ID)\nspared = is_special",
        "spared = (x == PAD_ID) | (x == EOS_ID)",
        "boundary = x == 1\nspared = boundary",
        "special = torch.tensor([EOS_ID, PAD_ID])\nspared = torch.isin(x, special)",
        "end = EOS_ID\nspared = x == end",
    ],
)
def test_ends_that_nobody_pays_for_are_found(spared: str) -> None:
    assert severity(spared) == "error"


@pytest.mark.parametrize(
    "spared",
    [
        "spared = x == PAD_ID",
        "is_special = x == PAD_ID\nspared = is_special",
        "is_special = (x == PAD_ID)\nspecial = is_special\nspared = special",
        "boundary = x == PAD_ID\nspared = boundary",
        "special = torch.tensor([PAD_ID])\nspared = torch.isin(x, special)",
        "special_ids = {PAD_ID}\nspared = torch.tensor([[int(i) in special_ids for i in row] for row in x])",
        "spared = special_table[x]",
        "spared = is_special_token(x)",
        "spared = x.eq(PAD_ID)",
    ],
)
def test_padding_is_no_text_whatever_it_is_called(spared: str) -> None:
    assert severity(spared) is None


@pytest.mark.parametrize("spared", ["special = x == 0\nspared = special", "special = x >= V\nspared = special"])
def test_special_tokens_that_are_not_known_to_be_ends_refute_nothing(spared: str) -> None:
    assert severity(spared) == "warning"


@pytest.mark.parametrize(
    "paid",
    [
        "ends = (x == EOS_ID).float()\n    total -= (ends * math.log2(1 / V) + (1 - ends) * math.log2(0.99)).sum()",
        "total += math.log2(L) * torch.eq(x, EOS_ID).sum(-1)",
        "total = total + len(x) * end_bits(x)",
        "total += torch.where(x == EOS_ID, math.log2(V), 0.0).sum(-1)",
        "plain = F.cross_entropy(model(x).mT, x, reduction='none')\n    total += (plain * (x == EOS_ID)).sum(-1)",
        "n_docs = x.shape[0]\n    total = total + n_docs * math.log2(L)",
    ],
)
def test_ends_that_are_paid_for_apart_refute_nothing(paid: str) -> None:
    assert severity("spared = x == EOS_ID", paid) == "warning"


@pytest.mark.parametrize(("price", "found"), [("math.log(V)", "warning"), ("0.0", "error")])
def test_ends_that_have_another_price_refute_nothing_unless_it_is_none(price: str, found: str) -> None:
    script = SCRIPT.replace("SPARED", "spared = x == EOS_ID").replace("PAID", "pass")
    script = script.replace("(ce * m * real)", f"torch.where(x == EOS_ID, {price}, ce * m * real)")
    assert [each.severity.value for each in check_source(script) if each.code == "BPB255"] == [found]


def test_another_summand_pays_for_no_end() -> None:
    assert severity("spared = x == EOS_ID", "total += (x != PAD_ID).sum(-1) * 1e-4") == "error"


# Totals that something holds: what is added, how the score is made of them.
PRICE = "math.log2(V) * (x == EOS_ID).sum()"
ADDED, USED = "    score += float(bits(x).sum())\n", "bpb = score / text_bytes\n"
HELD = [
    ("score = {'bits': 0.0}", "score['bits'] += TOTAL; score['bits'] += PRICE", "score['bits']"),
    ("score = {'bits': 0.0, 'b': 0.0}", "score['bits'] += TOTAL; score['b'] += PRICE", "(score['bits'] + score['b'])"),
    ("score = {'a': {'b': 0.0}}", "score['a']['b'] += TOTAL; score['a']['b'] += PRICE", "score['a']['b']"),
    ("score = defaultdict(float)", "score['bits'] += TOTAL; score['bits'] += float(PRICE)", "score['bits']"),
    ("score = [0.0]", "score[0] += TOTAL; score[0] += PRICE", "score[0]"),
    ("score = torch.zeros(2)", "score[0] += TOTAL; score[1] += PRICE", "score.sum()"),
    ("score = []", "score.append(TOTAL); score.append(PRICE)", "sum(score)"),
    ("score = []", "score += [TOTAL, PRICE]", "sum(score)"),
    ("score = []", "score.extend([TOTAL]); score.extend([PRICE])", "sum(score)"),
    ("score = 0.0", "score += sum([TOTAL, PRICE])", "score"),
    ("score = 0.0", "score = math.fsum([score, TOTAL, PRICE])", "score"),
    ("score = torch.zeros(())", "score.add_(TOTAL); score.add_(PRICE)", "score"),
    ("score = torch.zeros(())", "score = torch.add(score, TOTAL); score = torch.add(score, PRICE)", "score"),
    ("score = torch.zeros(())", "score = score.add(TOTAL).add(PRICE)", "score"),
    ("score = 0.0", "both = {'bits': TOTAL, 'b': PRICE}; score += both['bits'] + both['b']", "score"),
]


def _held(made: str, added: str, used: str) -> str | None:
    script = SCRIPT.replace("SPARED", "spared = x == EOS_ID").replace("PAID", "pass").replace("score = 0.0", made)
    added = added.replace("TOTAL", "float(bits(x).sum())").replace("PRICE", f"float({PRICE})")
    script = script.replace(ADDED, f"    {added}\n").replace(USED, f"bpb = {used} / text_bytes\n")
    return next((each.severity.value for each in check_source(script) if each.code == "BPB255"), None)


@pytest.mark.parametrize(("made", "added", "used"), HELD)
def test_ends_that_are_paid_for_in_totals_that_something_holds(made: str, added: str, used: str) -> None:
    assert _held(made, added, used) == "warning"


@pytest.mark.parametrize(("made", "added", "used"), HELD)
@pytest.mark.parametrize("other", ["(x != PAD_ID).sum()", "int((x == EOS_ID).sum())", "0.0"])
def test_counts_that_are_held_beside_a_total_pay_for_no_end(made: str, added: str, used: str, other: str) -> None:
    assert _held(made, added.replace("PRICE", other), used) == "error"


@pytest.mark.parametrize(
    ("returned", "used"),
    [
        ("{'bits': total, 'b': PRICE}", "float(out['bits'].sum() + out['b'].sum())"),
        ("total, PRICE", "float(out[0].sum() + out[1].sum())"),
        ("torch.stack([total, PRICE])", "float(out.sum())"),
    ],
)
def test_ends_that_are_paid_for_in_what_a_function_returns(returned: str, used: str) -> None:
    script = SCRIPT.replace("SPARED", "spared = x == EOS_ID").replace("PAID", "pass")
    script = script.replace("float(bits(x).sum())", used).replace("    score += ", "    out = bits(x)\n    score += ")
    per_row = PRICE.replace("sum()", "sum(-1)")
    paid = script.replace("return total", f"return {returned.replace('PRICE', per_row)}")
    assert [each.severity.value for each in check_source(paid) if each.code == "BPB255"] == ["warning"]
    told = script.replace("return total", f"return {returned.replace('PRICE', '(x == EOS_ID).sum(-1)')}")
    assert [each.severity.value for each in check_source(told) if each.code == "BPB255"] == ["error"]


def test_ends_that_are_paid_for_by_a_count_which_a_function_returns_beside_the_total() -> None:
    script = SCRIPT.replace("SPARED", "spared = x == EOS_ID").replace("PAID", "pass")
    script = script.replace("return total", "return total, (x == EOS_ID).sum(-1)")
    used = "    total, count = bits(x)\n    score += float(total.sum()) + float(count.sum()) * math.log2(V)\n"
    found = [each.severity.value for each in check_source(script.replace(ADDED, used)) if each.code == "BPB255"]
    assert found == ["warning"]
