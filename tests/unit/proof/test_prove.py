"""What a proof and a decoded file are said to be, and by which exit code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bpb_harness.errors import SecondLookError, UsageError
from bpb_harness.evaluation.settings import Settings
from bpb_harness.proof import prove, reading
from bpb_harness.proof.cashed import Cashed
from bpb_harness.proof.choice import Choice
from bpb_harness.proof.claim import Claim
from bpb_harness.proof.contained import _targets, needs_containing, plain_written, read_written
from bpb_harness.proof.decoding import Decoded
from bpb_harness.proof.header import Header, digest_of
from bpb_harness.proof.plain import plain_of
from bpb_harness.proof.prove import Proof, Written
from bpb_harness.proof.reading import Opened, read_file
from bpb_harness.proof.score_line import ScoreLine
from bpb_harness.proof.verdict import Costs
from bpb_harness.text.corpus import load_shards
from tests.shards import write_shard
from tests.unit.proof.test_header import PLAIN

TARGETS = np.arange(9)
ALONE = ("network", "files")


def opened(*, tokens=TARGETS, held=ALONE, lost=None, runs_code=False, differences=(), **header) -> Opened:
    spans = [] if lost else np.split(tokens, 3)
    plain = PLAIN | {"digest": digest_of(TARGETS), "runs_code": runs_code} | header
    return Opened(
        Header.read(plain, "a"), Decoded(spans, held, lost), np.zeros(2, dtype=np.int64), 80, [*differences], runs_code
    )


def tried(*, coded=1.0, claim=1.0, scored=1.0, is_contained=False, num_bytes=20, **more) -> Proof:
    each = np.full(3, 10.0)
    costs = Costs(Claim(claim * each, 0 * each, 0), scored * each, coded * each, np.zeros((0, 3)), 9, "float32")
    written = Written("bpb ~<= 1.0", costs, np.array([4, 16, 30]), TARGETS, num_bytes, 1.0)
    return Proof(written, opened(**more), 1000, 300, is_contained)


WRONG = np.array([0, 1, 2, 3, 4, 5, 6, 7, 9])
SCORE = "bpb|method:chain = 1.0000 (corpus se n/a; 1.000 bytes/token; 9 tokens, 9 bytes)"
OFF = "bpb|contract:off ~<= 1.0"
THESE = "3 of 9 spans, chosen by a hash of the score,"


@pytest.mark.parametrize(
    ("change", "code", "sentence"),
    [
        ({}, 0, f"proved: {THESE} came back, token by token, from 80 bits, given 2 tokens before them"),
        ({"contexts": [0, 0, 0]}, 0, "came back, token by token, from 80 bits"),
        ({"held": ()}, 0, f"proved: {THESE}"),  # no code that is foreign
        ({"tokens": WRONG}, 1, "not decoded: 1 of 9 tokens came back as others"),
        ({"lost": "why"}, 1, "not decoded: the text did not come back: why"),
        ({"coded": 1.1, "scored": 2.0}, 1, f"not proved: {THESE} cost more than the claim for them by more than 4"),
        ({"coded": 1.1, "claim": 2.0}, 1, f"not proved: {THESE} cost more than they did in the score by more than 4"),
        ({"score": OFF}, 3, f"decoded, not checked: {THESE} came back from 80 bits; the score was made with --no-c"),
        ({"runs_code": True}, 3, f"decoded, not isolated: {THESE} came back from 80 bits, by code that could reach"),
        ({"runs_code": True, "is_contained": True}, 0, f"proved: {THESE}"),
        ({"runs_code": True, "is_contained": True, "held": ("network",)}, 3, "decoded, not isolated"),
        ({"runs_code": True, "is_contained": True, "score": OFF}, 3, "decoded, not checked"),
        ({"runs_code": True, "tokens": WRONG}, 1, "not decoded: 1 of 9 tokens"),
        ({"score": OFF, "tokens": WRONG}, 1, "not decoded: 1 of 9 tokens"),
    ],
)
def test_a_proof(change, code, sentence):
    proof = tried(**change)
    assert proof.exit_code == code
    assert sentence in proof.sentence()
    assert str(proof).endswith("\n" + proof.sentence())


def test_what_is_printed():
    nats = f"{30.0 / np.log(2.0):.1f}"
    assert str(tried()).splitlines()[:-1] == [
        "bpb ~<= 1.0",
        f"  claim for these windows, computed again: {nats} bits",
        f"  coded: {nats} bits by the network",
        "  file: 10 bytes of bits, and 290 of header and given tokens",
        "  cashed: 4.0000 bits per byte (+84.84 % above the network's own)",
        "  decoded in a process of its own, without network and files",
        "  text of 9 tokens, 20 bytes; checkpoint of 1,000 bytes, which may know the text by heart",
    ]
    drawn = tried()
    drawn = replace(drawn, written=replace(drawn.written, costs=replace(
        drawn.written.costs, claim=replace(drawn.written.costs.claim, num_draws=64)
    )))  # fmt: skip
    assert f"  claim for these windows, estimated again: {nats} bits +- " in str(drawn)
    assert "cashed: 8.8889 bits per token" in str(tried(num_bytes=None))
    assert "text of 9 tokens; checkpoint" in str(tried(num_bytes=None))


@pytest.mark.parametrize(
    ("change", "code", "sentence"),
    [
        ({}, 0, f"proved: {THESE} came back, token by token, from 80 bits, given 2 tokens before them"),
        ({"contexts": [0, 0, 0]}, 0, "proved: 3 of 9 windows, chosen by a hash of the score, came back, token by"),
        ({"held": ()}, 0, f"proved: {THESE} came"),
        ({"tokens": WRONG}, 1, "not decoded: the tokens are not those that were written, whose digest the file holds"),
        ({"lost": "why"}, 1, "not decoded: the tokens are not those that were written"),
        ({"lost": "why", "differences": ["a", "b"]}, 1, "not decoded: the numerics differ from those of the encoder"),
        ({"tokens": WRONG, "differences": ["a", "b"]}, 1, "(a; b)"),
        ({"runs_code": True}, 0, f"proved: {THESE} came"),
        ({"runs_code": True, "held": ()}, 3, f"decoded, not isolated: {THESE} came back from 80 bits, by code that"),
        ({"runs_code": True, "held": ("network",)}, 3, "decoded, not isolated"),
        ({"runs_code": True, "held": (), "tokens": WRONG}, 1, "not decoded"),
        ({"score": OFF}, 3, f"decoded, not checked: {THESE} came back from 80 bits; the score was made with --no-c"),
        ({"score": OFF.replace("off", "own-process")}, 3, "decoded, not checked"),
        ({"score": OFF.replace("off", "checked")}, 0, f"proved: {THESE} came"),
        ({"score": OFF, "tokens": WRONG}, 1, "not decoded"),
        ({"score": OFF, "runs_code": True, "held": ()}, 3, "decoded, not isolated"),
    ],
)
def test_a_file_that_somebody_else_wrote(change, code, sentence):
    said = opened(**change)
    assert said.exit_code == code
    assert sentence in said.sentence()
    assert str(said).splitlines()[-1] == said.sentence()


def test_what_costs_more_than_the_whole_of_a_score_is_refuted():
    proof = tried()
    dearer = replace(proof, written=replace(proof.written, exceeds_whole=True))
    assert dearer.exit_code == 1
    assert dearer.sentence() == f"not proved: {THESE} cost more than the score says by more than 4 errors"


def test_a_strangers_file_that_costs_more_than_its_score_is_refuted():
    said = replace(opened(), cashed=Cashed(ScoreLine.read(SCORE), 80, np.full(3, 30.0), np.full(3, 3), True))
    assert said.exit_code == 1
    assert said.sentence().startswith(f"not proved: {THESE} cost more than the score says by more than 4 errors")


OPEN = "bpb|method:discrete ~<= 1.0000 (mc se 0.3000, corpus se n/a; 1.000 bytes/token; 9 tokens, 9 bytes)"
ALIKE = {"num_bits": 80, "span_units": np.full(3, 3), "counts_bytes": True}


@pytest.mark.parametrize(
    ("cashed", "code", "words"),
    [
        (Cashed(ScoreLine.read(SCORE), span_bits=np.full(3, 3.0), **ALIKE | {"num_bits": 8}), 0, "proved: "),
        (Cashed(ScoreLine.read(SCORE), span_bits=np.full(3, 30.0), **ALIKE), 1, "cost more than the score says by"),
        (Cashed(ScoreLine.read(OPEN), span_bits=np.full(3, 3.0), **ALIKE), 3, "the score's own error, 0.3000, is more"),
        (
            Cashed(ScoreLine.read(OPEN.replace("0.3000", "n/a")), span_bits=np.full(3, 3.0), **ALIKE), 3,
            "no error from masks",
        ),
        (
            Cashed(ScoreLine.read(SCORE), 8, np.full(1, 3.0), np.full(1, 3), counts_bytes=True), 3,
            "one window alone shows no spread",
        ),
    ],
)  # fmt: skip
def test_who_writes_a_proof_and_a_stranger_say_the_same(cashed, code, words):
    theirs = replace(opened(), cashed=cashed)
    mine = replace(tried(), opened=theirs)
    assert (mine.exit_code, mine.sentence()) == (theirs.exit_code, theirs.sentence())
    assert theirs.exit_code == code
    assert words in theirs.sentence()
    assert f"  against the whole of the score: {cashed}" in str(mine)


def test_code_does_not_say_of_itself_that_it_is_none():
    proof = tried(runs_code=True)
    header = replace(proof.opened.header, runs_code=False)
    assert replace(proof, opened=replace(proof.opened, header=header)).exit_code == 3


def test_what_a_file_says_of_its_cost_is_not_printed_where_it_came_back():
    said = opened(network_bits=1.0)
    said = replace(said, decoded=replace(said.decoded, nats=np.full(3, 10.0)))
    assert plain_of(said, 300)["network_bits"] == pytest.approx(30.0 / np.log(2.0))
    lost = opened(network_bits=1.0, tokens=WRONG)
    assert plain_of(lost, 300)["network_bits"] == 1.0


def test_a_proof_of_code_goes_through_pipes_as_it_is():
    written = tried().written
    again = read_written(*plain_written(written))
    assert (again.score, again.num_bytes, again.seconds) == ("bpb ~<= 1.0", 20, 1.0)
    assert again.costs.coded_bits == written.costs.coded_bits
    assert again.costs.claim.degrees_of_freedom is None
    assert len(again.targets) == 0  # those are read again
    drawn = Claim(np.ones(3), np.ones(3), 8, np.full(3, 7.0))
    costs = Costs(drawn, np.ones(3), np.ones(3), np.ones((2, 3)), 9, "bfloat16", 0.1)
    again = read_written(*plain_written(Written("", costs, written.starts, TARGETS, None, 1.0)))
    assert (again.costs.claim.degrees_of_freedom == 7.0).all()
    assert again.costs.further_nats.shape == (2, 3)
    assert (again.costs.order_share, again.costs.dtype, again.num_bytes) == (0.1, "bfloat16", None)


def test_the_text_is_read_again(tmp_path):
    write_shard(tmp_path / "a.bin", np.arange(100))
    text = load_shards([tmp_path / "a.bin"])
    header = Header.read(PLAIN | {"data": text.digest}, "a")
    starts = np.array([20, 40, 10])
    assert _targets(header, np.array([8, 9]), text, starts).tolist() == [20, 21, 22, 40, 41, 42, 10, 11, 12]
    for given, where, data in (
        ([8, 8], [20, 40, 10], text.digest),
        ([8, 9], [20, 22, 10], text.digest),  # twice
        ([8, 9], [20, 98, 10], text.digest),
        ([8, 9], [20, 40], text.digest),
        ([8, 9], [-1, 40, 10], text.digest),
        ([8, 9], [20, 40, 10], "another"),
    ):
        other = Header.read(PLAIN | {"data": data}, "a")
        with pytest.raises(SecondLookError, match="of other spans"):
            _targets(other, np.array(given), text, np.array(where))


def test_which_networks_are_contained(tmp_path):
    assert not needs_containing(Settings(device="cpu"))
    assert needs_containing(Settings(device="cpu", allow_code=True))
    assert not needs_containing(Settings(device="cpu", allow_code=True, resume=tmp_path / "x", tolerance=0.1))


def test_what_has_no_proof(monkeypatch):
    with pytest.raises(UsageError, match="--compare"):
        prove._require_known(Settings(compare=True))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="2 processes"):
        prove._require_known(Settings())
    monkeypatch.setenv("WORLD_SIZE", "1")
    prove._require_known(Settings())


def test_what_is_written_is_what_is_asked_back(tmp_path, repository, monkeypatch):
    """Everything but the decoding process, whose place something takes that knows the text."""
    checkpoint, file = repository / "fixtures" / "checkpoints" / "mdlm-tiny.pt", tmp_path / "a.bits"
    settings = Settings(method="chain", limit=6, context_length=8, stride=4, device="cpu", check_contract=False)
    seen, asked = [], []
    written = prove.write_proof(
        checkpoint, settings, file, num_windows=None, progress=lambda *numbers: seen.append(numbers)
    )
    header, given, bits = read_file(file)
    assert header.score == written.score
    assert header.digest == digest_of(written.targets)
    assert len(header.windows) == header.num_spans == 6  # fewer than a minute's
    assert header.windows == Choice(header.model, header.data, header.score).spans(6, 6).tolist()
    assert written.starts.tolist() == [0, *range(8, 28, 4)]
    assert seen[-1] == (len(written.targets), len(written.targets))
    assert written.costs.num_tokens == len(written.targets) == 28
    assert written.costs.scored_nats == pytest.approx(written.costs.coded_nats, abs=1e-4)
    assert written.costs.claim.nats == pytest.approx(written.costs.coded_nats, abs=1e-4)
    assert written.num_bytes is not None

    def decoded(*words, **more):
        asked.append((words, more))
        return Decoded(np.split(written.targets, np.cumsum(header.lengths)[:-1]), ALONE)

    monkeypatch.setattr(reading, "decode", decoded)
    proof = prove.get_back(written, checkpoint, settings, file, time_limit=7.0)
    ((told, given_again, bits_again, source), more) = asked[0]
    assert (told, given_again.tolist(), bits_again) == (header, given.tolist(), bits)
    assert (more["seconds"], more["progress"]) == (7.0, None)
    assert source.load["path"] == str(checkpoint)
    assert {name: source.load[name] for name in ("adapter", "model_loader", "weights", "block_size")} == dict.fromkeys(
        ("adapter", "model_loader", "weights", "block_size")
    )
    assert (source.device.type, source.dtype) == ("cpu", "float32")
    assert (proof.exit_code, proof.num_wrong) == (3, 0)
    assert proof.opened.given.tolist() == given.tolist()
    assert (proof.checkpoint_bytes, proof.file_bytes) == (checkpoint.stat().st_size, file.stat().st_size)
    prove.get_back(written, checkpoint, settings, file)
    assert asked[1][1]["seconds"] == 120.0 + 20.0 * written.seconds


@pytest.mark.parametrize(("order", "share"), [("left-to-right", 0.0), ("random", 0.0), ("confidence", 0.1)])
def test_only_an_order_by_predictions_may_cost_more_in_other_batches(tmp_path, repository, order, share):
    checkpoint = repository / "fixtures" / "checkpoints" / "mdlm-tiny.pt"
    settings = Settings(method="chain", order=order, limit=2, context_length=4, device="cpu", check_contract=False)
    written = prove.write_proof(checkpoint, settings, tmp_path / "a.bits", num_windows=1)
    assert written.costs.order_share == share


def test_a_checkpoint_of_several_files_is_as_large_as_all(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "sub" / "b").write_bytes(b"4567")
    assert prove._size_of(tmp_path) == 7
    assert prove._size_of(tmp_path / "a") == 3
