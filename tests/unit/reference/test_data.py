"""Training windows: functions of seed and step alone, inside their shards, each place as likely as any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bpb_harness.errors import CorpusError
from reference.data import Shard, TokenShards, dropout_seed, step_seed
from tests.shards import write_shard


def _philox(seed: int, step: int, purpose: int, size: int) -> list[int]:
    generator = np.random.Philox(key=np.array([seed, step], np.uint64), counter=np.array([0, purpose, 0, 0], np.uint64))
    return [int(word) for word in generator.random_raw(size)]


@pytest.mark.parametrize(("seed", "step"), [(0, 0), (3, 17), (2**40, 5)])
def test_the_seed_of_a_steps_masks_is_half_a_word_of_their_own_stream(seed: int, step: int) -> None:
    assert step_seed(seed, step) == _philox(seed, step, 1, 1)[0] >> 32
    assert 0 <= step_seed(seed, step) < 2**32


@pytest.fixture
def shards(tmp_path: Path) -> TokenShards:
    """Three shards of 7, 5 and 9 tokens, all different: 3, 1 and 5 windows of 5."""
    ends = np.cumsum([0, 7, 5, 9])
    paths = [write_shard(tmp_path / f"{i}.bin", np.arange(ends[i], ends[i + 1])) for i in range(3)]
    return TokenShards(paths, window_length=5, vocab_size=21)


def test_what_a_step_leaves_out_is_of_its_own_stream_in_every_process() -> None:
    seeds = {dropout_seed(seed, step, process) for seed in (0, 1) for step in (0, 7) for process in (0, 1, 2)}
    assert len(seeds) == 12
    assert not seeds & {step_seed(seed, step) for seed in (0, 1) for step in (0, 7)}
    assert dropout_seed(1, 7, 2) == dropout_seed(1, 7, 2) < 1 << 32


def test_windows_lie_in_one_shard_and_every_place_is_as_likely(shards: TokenShards) -> None:
    assert shards.num_tokens == 21
    starts = [0, 1, 2, 7, 12, 13, 14, 15, 16]
    batch = shards.batch(seed=4, step=9, num_windows=9000)
    assert (batch.shape, batch.dtype) == ((9000, 5), torch.int64)
    assert torch.equal(batch, batch[:, :1] + torch.arange(5))
    found, counts = np.unique(batch[:, 0].numpy(), return_counts=True)
    assert found.tolist() == starts
    assert counts.min() > 850  # five deviations of a count of 1,000
    expected = [starts[word % 9] for word in _philox(4, 9, 0, 9000)]
    assert batch[:, 0].tolist() == expected


def test_shorter_windows_have_more_places(shards: TokenShards) -> None:
    batch = shards.batch(seed=0, step=0, num_windows=4000, window_length=2)
    assert torch.equal(batch, batch[:, :1] + torch.arange(2))
    assert sorted(set(batch[:, 0].tolist())) == [*range(6), *range(7, 11), *range(12, 20)]


def test_steps_and_seeds_give_other_windows(shards: TokenShards) -> None:
    def batch(seed: int, step: int) -> list[int]:
        return shards.batch(seed=seed, step=step, num_windows=50)[:, 0].tolist()

    assert batch(1, 2) == batch(1, 2)
    assert len({tuple(batch(seed, step)) for seed in (1, 2) for step in (1, 2)}) == 4


def test_a_shard_shorter_than_a_window_is_refused(tmp_path: Path) -> None:
    short = write_shard(tmp_path / "short.bin", np.arange(4))
    whole = write_shard(tmp_path / "whole.bin", np.arange(5))
    TokenShards([whole], window_length=5, vocab_size=5)
    with pytest.raises(CorpusError) as caught:
        TokenShards([whole, short], window_length=5, vocab_size=5)
    assert str(caught.value) == f"shard {short} is too short: got 4 tokens, expected at least one window of 5"
    with pytest.raises(CorpusError):
        TokenShards([whole], window_length=5, vocab_size=4)


@pytest.mark.parametrize("length", [5, 2_000, 300_000])
def test_a_fingerprint_is_of_the_tokens_and_not_of_the_file(length: int) -> None:
    tokens = np.random.default_rng(0).integers(0, 500, length).astype(np.uint16)
    own = Shard(Path("a.bin"), tokens).fingerprint
    assert own == Shard(Path("b.bin"), tokens.astype(np.uint32)).fingerprint
    assert own != Shard(Path("a.bin"), tokens[:-1]).fingerprint
    assert own != Shard(Path("a.bin"), tokens[::-1]).fingerprint
    changed = tokens.copy()
    changed[0] += 1
    assert own != Shard(Path("a.bin"), changed).fingerprint
