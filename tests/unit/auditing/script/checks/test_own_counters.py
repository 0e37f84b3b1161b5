"""BPB154 where the claimed score is divided by a count of its own, beside the script's first byte table."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing import Severity, Verdict, audit
from bpb_harness.auditing.script import ScriptContext
from bpb_harness.findings import Finding
from fixtures.claims.patterns import SP1024, bpb, submission
from tests.golf_rules import GOLF, check_source

SCRIPT = (Path(__file__).parents[5] / "fixtures" / "scripts" / "wrong_byte_spelling.py").read_text("utf-8")
_FIRST = """        boundary[token_id] = False
        piece"""
_RIGHT_FIRST = """        boundary[token_id] = False
        if sp.is_byte(token_id):
            base[token_id] = 1
            continue
        piece"""
MIXER = """
def mixed_bpb(targets, losses, sp):
    size = sp.vocab_size()
    spelt, lengths = [None] * size, np.zeros(size, dtype=np.int32)
    for i in range(size):
        piece = sp.id_to_piece(i)
        held = (" " + piece[1:]).encode() if piece.startswith("\\u2581") else piece.encode()
        spelt[i] = held
        lengths[i] = len(held)
    each = lengths[targets]
    text = b"".join(spelt[int(t)] for t in targets)
    total = len(text)
    shares = np.where(np.repeat(each, each) > 0, np.repeat(losses, each) / np.repeat(each, each), 0.0)
    mixed = 0.9 * np.exp(-shares) + 0.1 / 256
    return float(-np.log2(mixed).sum() / total)

"""
_END = '    print(f"final_exact val_loss:{val_loss:.8f} val_bpb:{val_bpb:.8f}")\n'
_MIX = """    losses = F.cross_entropy(model.all_logits(val_tokens), val_tokens[1:], reduction="none").cpu().numpy()
    score = mixed_bpb(val_tokens[1:].cpu().numpy(), losses, sp)
    print(f"final_mix val_bpb:{score:.8f}")
"""
SECOND = (
    SCRIPT.replace(_FIRST, _RIGHT_FIRST)
    .replace("\ndef eval_val(", f"{MIXER}\ndef eval_val(")
    .replace(_END, _END + _MIX)
)
assert len(SECOND) > len(SCRIPT) + len(MIXER) + len(_MIX)
LABELS = ("final_mix",)
SPELT = 1.0099


def _found(text: str, *, labels: tuple[str, ...] = LABELS, times: float | None = SPELT) -> list[Finding]:
    context = ScriptContext(rules=GOLF, claimed_labels=labels, printed_times=times, printed_at="train.log:6")
    return [finding for finding in check_source(text, context) if finding.code == "BPB154"]


def test_a_second_count_by_spelling_refutes_where_the_log_prints_its_bytes() -> None:
    (found,) = _found(SECOND)
    assert (found.severity, found.factor) == (Severity.REFUTES, SPELT)
    assert "train.log:6 prints 1.00990 times the bytes of the text" in found.message
    quoted = found.evidence["quoted"]
    assert isinstance(quoted, list)
    assert [each["code"] for each in quoted if isinstance(each, dict)] == [
        'held = (" " + piece[1:]).encode() if piece.startswith("\\u2581") else piece.encode()',
        "return float(-np.log2(mixed).sum() / total)",
    ]


@pytest.mark.parametrize("times", [None, 1.2, 0.98])
def test_it_is_a_doubt_where_the_log_does_not(times: float | None) -> None:
    (found,) = _found(SECOND, times=times)
    assert (found.severity, found.factor) == (Severity.WARNS, None)


def test_nor_does_a_log_that_prints_the_bytes_of_the_text() -> None:
    assert _found(SECOND, times=1.0003) == []


@pytest.mark.parametrize(
    ("told", "instead"),
    [
        ("    total = len(text)", "    total = int(each.sum())"),
        ("    total = len(text)", "    total = max(int(np.sum(lengths[targets])), 1)"),
        ("    total = len(text)", "    total = sum(lengths[t] for t in targets)"),
        ("    total = len(text)", "    text = bytes(text)\n    total = len(text)"),
    ],
)
def test_totals_are_written_in_several_ways(told: str, instead: str) -> None:
    assert told in SECOND
    assert [each.severity for each in _found(SECOND.replace(told, instead))] == [Severity.REFUTES]


STREAM = """
def mixed_bpb(targets, losses, sp):
    text = bytearray()
    for place, token in enumerate(targets):
        piece = sp.id_to_piece(int(token))
        held = (" " + piece[1:]).encode() if piece.startswith("\\u2581") else piece.encode()
        text.extend(held)
    text = bytes(text)
    total = len(text)
    mixed = 0.9 * np.exp(-losses) + 0.1 / 256
    return float(-np.log2(mixed).sum() / total)

"""


def test_a_string_that_is_made_longer_token_by_token() -> None:
    assert [each.severity for each in _found(SECOND.replace(MIXER, STREAM))] == [Severity.REFUTES]


INNOCENT = [
    # Byte pieces are one byte.
    SECOND.replace("else piece.encode()\n", "else (b'?' if sp.is_byte(i) else piece.encode())\n"),
    # The table is printed, and no score is divided by it.
    SECOND.replace(".sum() / total)", ".sum() / len(targets) / 2.4359)"),
    # The score is divided by the sum of another table of the same loop.
    SECOND.replace(
        "        lengths[i] = len(held)\n",
        "        lengths[i] = len(held)\n        right[i] = 1 if sp.is_byte(i) else len(held)\n",
    )
    .replace(
        "    spelt, lengths = [None] * size,",
        "    right = np.zeros(size, dtype=np.int32)\n    spelt, lengths = [None] * size,",
    )
    .replace("    total = len(text)", "    total = int(right[targets].sum())"),
    # Only a share of each token's price, in which the lengths cancel.
    SECOND.replace(".sum() / total)", ".sum() / byte_total(sp, targets))"),
]


@pytest.mark.parametrize("text", INNOCENT)
def test_honest_second_counts(text: str) -> None:
    assert text != SECOND
    assert _found(text) == []


_SCORED = "    return float(-np.log2(mixed).sum() / total)\n"
_HONEST = "byte_total(sp, targets))\n"
ASIDE = [  # the count is a rate that is taken back, or a weight; other bytes divide the score
    f"    rate = -np.log2(mixed).sum() / total\n    return float(rate * len(text) / {_HONEST}",
    f"    w = mixed.sum() / total\n    return float(-np.log2(0.9 * mixed + 0.1 * w).sum() / {_HONEST}",
    "    w = mixed.sum() / total\n    bits = -np.log2(0.9 * mixed + 0.1 * w).sum()\n"
    '    return float(bits / float(open("bytes.txt").read()))\n',
    f"    mixed = mixed / (1.0 + mixed.sum() / total)\n    return float(-np.log2(mixed).sum() / {_HONEST}",
    "    n = int(total / 64)\n    bits = sum(-np.log2(mixed[i : i + n]).sum() for i in range(0, len(mixed), n))\n"
    f"    return float(bits / {_HONEST}",
]


@pytest.mark.parametrize("instead", ASIDE)
def test_a_count_that_divides_something_else_on_the_way_is_none(instead: str) -> None:
    assert _SCORED in SECOND
    assert _found(SECOND.replace(_SCORED, instead)) == []


@pytest.mark.parametrize(
    "instead",
    [
        f"    return float(-np.log2(mixed).sum() / total / {_HONEST}",
        f"    rate = -np.log2(mixed).sum() / total\n    return float(rate * int(each.sum()) / {_HONEST}",
        "    rate = -np.log2(mixed).sum() / total\n    return float(rate * ratio_of(sp, targets))\n",
        "    return float(combined(-np.log2(mixed).sum() / total, targets))\n",
    ],
)
def test_it_is_a_doubt_beside_another_divisor(instead: str) -> None:
    found = _found(SECOND.replace(_SCORED, instead))
    assert {(each.severity, each.factor) for each in found} <= {(Severity.WARNS, None)}


@pytest.mark.parametrize(
    "instead",
    [
        "    rate = -np.log2(mixed).sum() / total\n    return float(rate)\n",
        "    return float(-np.log2(mixed).mean() * len(mixed) / total)\n",
        # The mixture may be left out, for a score by the first table.
        "    if USES_MIX:\n        return float(-np.log2(mixed).sum() / total)\n"
        "    return float(losses.sum() / np.log(2.0) / byte_total(sp, targets))\n",
        "    per = len(targets) / total\n    return float(-np.log(mixed).sum() / len(targets) / np.log(2.0) * per)\n",
    ],
)
def test_scores_are_divided_by_it_in_several_ways(instead: str) -> None:
    assert [each.severity for each in _found(SECOND.replace(_SCORED, instead))] == [Severity.REFUTES]


def test_bytes_of_the_text_may_be_added_up_from_the_same_table() -> None:
    right = "sum(1 if sp.is_byte(int(t)) else 0 if sp.is_control(int(t)) else int(lengths[int(t)]) for t in targets)"
    text = SECOND.replace(
        "    return float(-np.log2(mixed).sum() / total)\n",
        f"    right = {right}\n    return float(-np.log2(mixed).sum() / total) * total / right\n",
    )
    assert text != SECOND
    assert [each for each in _found(text) if each.severity is not Severity.WARNS] == []


def test_a_claim_of_the_first_count_is_none() -> None:
    assert _found(SECOND, labels=("final_exact",)) == []
    assert _found(SECOND, labels=()) == []  # which is claimed, nothing tells


def _folder(folder: Path, num_bytes: int, script: str = SECOND) -> Path:
    tokens, nats, score = 62_021_632, 2.6, 1.061234
    lines = [f"val_loader:shards pattern=./data/datasets/fineweb10B_sp1024/fineweb_val_*.bin tokens:{tokens}"]
    lines += [
        f"step:{step}/9 val_loss:{loss:.4f} val_bpb:{bpb(loss, SP1024):.4f}" for step, loss in ((0, 6.94), (9, nats))
    ]
    lines += [f"final_exact val_loss:{nats:.8f} val_bpb:{bpb(nats, SP1024):.8f}"]
    lines += [f"[final_mix] tokens={tokens} bytes={num_bytes} mix={score:.5f}", f"final_mix val_bpb:{score:.8f}", ""]
    (folder / "train.log").write_text("\n".join(lines))
    (folder / "submission.json").write_text(submission(val_bpb=score))
    (folder / "train_gpt.py").write_text(script)
    return folder


def test_a_record_is_refuted_by_its_log_and_its_script_together(tmp_path: Path) -> None:
    report = audit(_folder(tmp_path, 152_574_319), rules="parameter-golf")
    assert report.verdict is Verdict.REFUTED
    assert report.judgement.rests_on == ("BPB154",)
    assert report.corrected_bpb is None, "a model of other bytes gives other bits"
    assert "the claimed bits over the text's own bytes would be 1.0717" in report.to_text()
    (off,) = report.with_code("BPB104")
    assert off.severity is Severity.INFORMS
    assert "BPB154 (train_gpt.py:" in off.message


def test_neither_log_nor_script_alone_refutes(tmp_path: Path) -> None:
    honest = INNOCENT[0]
    assert audit(_folder(tmp_path, 152_574_319, honest), rules="parameter-golf").verdict is Verdict.UNVERIFIABLE
    report = audit(_folder(tmp_path, 151_080_363), rules="parameter-golf")
    assert not report.with_code("BPB154")
    assert report.verdict is not Verdict.REFUTED
