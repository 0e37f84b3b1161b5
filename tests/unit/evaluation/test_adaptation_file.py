"""When the chunks of ``--ttt`` are written to the file of ``--resume``, and whose file it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bpb_harness.adaptation.chunks import Chunk
from bpb_harness.distributed import Processes
from bpb_harness.errors import UsageError
from bpb_harness.evaluation import adaptation_file
from bpb_harness.evaluation.adaptation_file import KEPT, NOT_KEPT, AdaptationFile

HEADER = {"signature": "s", "model": "m", "data": "d", "tokens": NOT_KEPT}
CHUNKS = [Chunk(index, 4 * index, 4 * index + 4, index, index + 1) for index in range(3)]


class Learnt:
    """A network that has learnt from so many chunks."""

    def __init__(self, count=0):
        self.count = count

    def state(self):
        return {"count": torch.tensor([self.count])}

    def load_state(self, state):
        self.count = int(state["count"])


def kept(path, header=HEADER):
    """How many chunks a later run finds, and from how many its network has learnt."""
    learner = Learnt()
    parts = AdaptationFile(path, header, Processes(), learner).open(CHUNKS)
    assert [part["nats"].tolist() for part in parts] == [[float(index)] for index in range(len(parts))]
    return len(parts), learner.count


def parts_of(count):
    return [{"nats": np.array([float(index)])} for index in range(count)]


def test_the_first_chunk_is_written_at_once_and_others_every_ten_seconds(tmp_path, monkeypatch):
    """Whoever is interrupted loses ten seconds, and a long text is not spent on writing."""
    now, path, learner = [1000.0], tmp_path / "a.resume", Learnt()
    monkeypatch.setattr(adaptation_file.time, "monotonic", lambda: now[0])
    file = AdaptationFile(path, HEADER, Processes(), learner)
    assert file.open(CHUNKS) == []
    for seconds, found in ((0.0, 1), (9.9, 1), (0.1, 3)):
        now[0] += seconds
        learner.count += 1
        file.keep(parts_of(learner.count))
        assert kept(path) == (found, found)


def test_what_is_not_written_yet_is_when_it_is_closed(tmp_path):
    path, learner = tmp_path / "a.resume", Learnt()
    file = AdaptationFile(path, HEADER, Processes(), learner)
    for _ in CHUNKS:
        learner.count += 1
        file.keep(parts_of(learner.count))
    assert kept(path) == (1, 1)
    file.close()
    assert kept(path) == (3, 3)


def test_the_first_process_writes_and_nobody_without_resume(tmp_path):
    path = tmp_path / "a.resume"
    for file in (
        AdaptationFile(path, HEADER, Processes(rank=1, count=2), Learnt()),
        AdaptationFile(None, HEADER, Processes(), Learnt()),
    ):
        file.keep(parts_of(1))
        file.close()
        assert not file.is_there
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("began", "goes_on", "how"), [(NOT_KEPT, KEPT, "without"), (KEPT, NOT_KEPT, "with")])
def test_costs_of_tokens_are_kept_from_the_beginning_or_not_at_all(tmp_path, began, goes_on, how):
    path = tmp_path / "a.resume"
    AdaptationFile(path, HEADER | {"tokens": began}, Processes(), Learnt(1)).keep(parts_of(1))
    with pytest.raises(UsageError) as caught:
        kept(path, HEADER | {"tokens": goes_on})
    assert str(caught.value) == (
        f"--resume {path} was begun {how} costs of tokens (--score-file, --tokens); repeat the flags that it was begun "
        "with, or name a new file"
    )
    assert kept(path, HEADER | {"tokens": began}) == (1, 1)
