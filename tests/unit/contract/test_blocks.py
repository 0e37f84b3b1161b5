"""The contract of networks that take all blocks of a window in one call: what a block may see."""

from __future__ import annotations

import re

import pytest
import torch

from bpb_harness import errors
from bpb_harness.contract import examine, precision_finding
from bpb_harness.contract.blocks import check_blocks
from bpb_harness.contract.probe import block_probe, denoiser_probe, revealed
from bpb_harness.contract.subject import Subject
from bpb_harness.schedule import LogLinear
from fixtures.adversarial.models import block_cheats

V, L = 64, 32
SCHEDULE = LogLinear(1e-3)


def windows(seed: int = 0, *, rows: int = 8, length: int = L) -> torch.Tensor:
    return torch.randint(V, (rows, length), generator=torch.Generator().manual_seed(seed))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class TestQuestions:
    @pytest.mark.parametrize(("length", "size"), [(32, 4), (30, 4), (3, 4), (5, 1), (32, 32), (1, 1)])
    def test_every_block_has_a_mask_and_a_level_of_its_own(self, length, size):
        model = block_cheats.HonestBlockDenoiser(block_size=size)
        probe = block_probe(windows(length=length), SCHEDULE, generator(), model)
        count = -(-length // size)
        assert probe.by_blocks
        assert probe.level.t.shape == (8, count)
        assert len(set(probe.level.t.flatten().tolist())) == 8 * count
        for k in range(count):
            assert probe.counted[:, k * size : (k + 1) * size].any(dim=1).all()
        assert probe[:3].level.t.shape == (3, count)
        assert revealed(probe, generator()).by_blocks

    @pytest.mark.parametrize(("length", "size"), [(32, 4), (30, 4), (33, 4), (3, 4), (5, 1), (32, 32)])
    def test_rows_are_asked_for_their_last_block(self, length, size):
        model = block_cheats.HonestBlockDenoiser(context_length=40, block_size=size)
        probe = denoiser_probe(windows(length=length), SCHEDULE, generator(), model)
        start = (length - 1) // size * size
        assert not probe.by_blocks
        assert not probe.counted[:, :start].any()
        assert probe.counted.any(dim=1).all()
        assert probe.counted[:, start:].float().mean() > 0.3

    def test_a_network_that_is_told_contexts_too(self):
        class Told(block_cheats.HonestBlockDenoiser):
            def logits_given(self, xt, level, context_lengths):
                assert (context_lengths >= (xt.shape[1] - 1) // 4 * 4).all() or not context_lengths.any()
                return self.logits(xt, level)

        probe = denoiser_probe(windows(), SCHEDULE, generator(), Told())
        assert probe.context_lengths[0] == 28
        assert len(set(probe.context_lengths.tolist())) > 2
        assert (probe.counted.int().argmax(dim=1) >= probe.context_lengths).all()
        examine(Told(), windows(), schedule=SCHEDULE)
        examine(Told(), windows(), schedule=SCHEDULE, by_blocks=True)


@pytest.mark.parametrize(
    ("kind", "size", "length", "time_conditioned"),
    [
        (block_cheats.HonestBlockDenoiser, 1, 12, True), (block_cheats.HonestBlockDenoiser, 4, 32, True),
        (block_cheats.HonestBlockDenoiser, 5, 31, False), (block_cheats.HonestBlockDenoiser, 32, 32, True),
        (block_cheats.HonestBlockDenoiser, 4, 2, True), (block_cheats.HonestBlockDenoiser, 1, 1, False),
        (block_cheats.FactoredBlocks, 4, 32, False), (block_cheats.FactoredBlocks, 5, 31, True),
    ],
)  # fmt: skip
def test_an_honest_network_passes(kind, size, length, time_conditioned):
    model = kind(V, L, block_size=size, time_conditioned=time_conditioned)
    for by_blocks in (True, False):
        done = examine(model, windows(length=length), schedule=SCHEDULE, batch_rows=5, by_blocks=by_blocks)
        assert {finding.code for finding in done.findings} <= {"contract.mask-mass"}
        done.witness.check()


@pytest.mark.parametrize("kind", block_cheats.CHEATS_OF_BLOCKS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(("seed", "batch_rows"), [(0, 2), (1, 8)])
def test_a_cheat_is_caught_by_its_own_error(kind, seed, batch_rows):
    with pytest.raises(errors.ContractError) as caught:
        examine(kind(), windows(seed), schedule=SCHEDULE, seed=seed, batch_rows=batch_rows, by_blocks=True)
    assert type(caught.value) is kind.error, str(caught.value)
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        (block_cheats.SeesItsOwnCleanBlock, 1), (block_cheats.SeesItsOwnCleanBlock, 16),
        (block_cheats.SeesItsOwnCleanBlock, 32), (block_cheats.SeesTheNextCleanBlock, 16),
        (block_cheats.CleanHalfSeesAhead, 1), (block_cheats.SeesNoisedLaterBlocks, 16),
        (block_cheats.SeesNoisedLaterBlocks, 1), (block_cheats.SeesNoisedEarlierBlocks, 3),
        (block_cheats.CountsOnThroughTheCleanHalf, 16), (block_cheats.TellsAllBlocksTheFirstLevel, 5),
    ],
)  # fmt: skip
def test_whatever_the_size_of_the_blocks(kind, size):
    with pytest.raises(errors.ContractError) as caught:
        examine(kind(block_size=size), windows(length=31), schedule=SCHEDULE, by_blocks=True)
    assert type(caught.value) is kind.error, str(caught.value)


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (block_cheats.SeesItsOwnCleanBlock, "clean tokens of a block, or of later ones, change what the network says "
         "of that block: got a log-probability that moved by"),
        (block_cheats.SeesNoisedEarlierBlocks, "noised tokens of other blocks change what the network says of a block"),
        (block_cheats.CountsOnThroughTheCleanHalf, r"all blocks in one call and block \d alone get different answers"),
    ],
)  # fmt: skip
def test_what_is_said(kind, line):
    with pytest.raises(errors.ContractError, match=f"^{line}.*, expected (no change|the same answer)$"):
        examine(kind(), windows(), schedule=SCHEDULE, by_blocks=True)


class Kept(block_cheats.HonestBlockDenoiser):
    """Keeps what it was asked."""

    def __init__(self, **kwargs):
        super().__init__(V, L, **kwargs)
        self.asked: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.rows: list[torch.Tensor] = []

    def block_logits(self, xt, x0, level):
        self.asked.append((xt.clone(), x0.clone()))
        return super().block_logits(xt, x0, level)

    def logits(self, xt, level):
        self.rows.append(xt.clone())
        return super().logits(xt, level)


def asked_of(size: int, *, most_rows: int, batch_rows: int = 4, rows: int = 2):
    model = Kept(block_size=size)
    few = block_probe(windows()[:rows], SCHEDULE, generator(), model)
    subject = Subject(model, torch.float32, torch.device("cpu"))
    first = subject.ask(few)
    model.asked.clear()
    check_blocks(subject, few, first, batch_rows=batch_rows, most_rows=most_rows, generator=generator())
    return model, few


class TestWhatIsAsked:
    def test_every_border_of_the_clean_half_where_rows_allow_it(self):
        model, few = asked_of(4, most_rows=100)
        borders: list[int] = []
        assert len(model.asked) == 4
        for xt, x0 in model.asked[2:]:
            assert torch.equal(xt, few.x0.masked_fill(few.counted, V)[torch.arange(4) % 2])
            changed = (x0 != few.x0[torch.arange(4) % 2]).view(4, 8, 4)
            assert torch.equal(changed.any(-1), changed.all(-1))
            borders += [int(row.any(-1).int().argmax()) for row in changed]
            assert all(row[border:].all() for row, border in zip(changed, borders[-4:], strict=True))
        assert sorted(borders) == list(range(8))

    def test_one_batch_at_least(self):
        model, _ = asked_of(4, most_rows=0)
        assert [len(xt) for xt, _ in model.asked] == [4, 2, 4]

    def test_the_ends_first_where_they_do_not(self):
        model, few = asked_of(4, most_rows=2, batch_rows=2)
        assert len(model.asked) == 4
        _, x0 = model.asked[3]
        changed = (x0 != few.x0).view(2, 8, 4).any(-1)
        assert changed.sum(dim=1).tolist() == [8, 1]

    def test_of_any_two_blocks_each_is_shown_while_the_other_is_asked_for(self):
        model, few = asked_of(4, most_rows=8)
        pairs: set[tuple[int, int]] = set()
        for start, (xt, x0) in enumerate(model.asked[:2]):
            window = (torch.arange(len(xt)) + 4 * start) % 2
            assert torch.equal(x0, few.x0[window])
            shown = ((xt != x0) & (xt != V)).view(len(xt), 8, 4).all(-1)
            for row in shown.tolist():
                pairs |= {(i, j) for i in range(8) for j in range(8) if row[i] and not row[j]}
        assert pairs == {(i, j) for i in range(8) for j in range(8) if i != j}

    def test_rows_that_end_with_the_first_block_the_last_and_some_between(self):
        model, few = asked_of(4, most_rows=8)
        ends = [xt.shape[1] for xt in model.rows]
        assert ends[0] == 4
        assert ends[-1] == L
        assert 3 <= len(ends) <= 4
        for xt in model.rows:
            assert torch.equal(xt[:, :-4], few.x0[:, : xt.shape[1] - 4])

    def test_one_block_has_no_other(self):
        model, _ = asked_of(32, most_rows=8)
        assert len(model.asked) == 1
        assert [xt.shape[1] for xt in model.rows] == [L]


def test_in_two_precisions_blocks_are_asked_as_they_are_scored():
    model = Kept()
    assert precision_finding(model, model, windows(), schedule=SCHEDULE, stderr_bits_per_token=0.0) is None
    assert (len(model.asked), len(model.rows)) == (2, 0)
    other = block_cheats.SeesNothingBeforeItsBlock()
    said = precision_finding(model, other, windows(), schedule=SCHEDULE, stderr_bits_per_token=1e-9)
    assert said is not None
    assert re.match("low precision moves the masked cross-entropy by", said.message)


def test_rows_of_a_network_of_blocks_are_no_windows():
    """Without ``by_blocks`` nothing is asked in one call."""
    model = Kept()
    examine(model, windows(), schedule=SCHEDULE).witness.check()
    assert not model.asked
    assert not any((xt[:, :28] == V).any() for xt in model.rows if xt.shape[1] == L)


def test_the_check_of_blocks_is_told_among_the_others():
    told = []
    model = block_cheats.HonestBlockDenoiser()
    examine(model, windows(), schedule=SCHEDULE, by_blocks=True, tell=told.append)
    assert told[5:7] == ["checks 6 of 9: blocks", "checks 7 of 9: the noise level"]
    assert len(told) == 9
