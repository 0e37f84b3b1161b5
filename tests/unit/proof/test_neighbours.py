"""Files beside the code of a network, which the decoding process does not see: refused before the work."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.errors import UsageError
from bpb_harness.proof import contained
from bpb_harness.proof.neighbours import require_no_neighbours

LOAD = "def load(path, device):\n    {}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my_net.py").write_text("")
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "__init__.py").write_text("")
    (tmp_path / "types.py").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    "text",
    ["import my_net", "from my_net import Net", "import torch, my_package.blocks as b", LOAD.format("import my_net")],
)
def test_a_file_beside_is_refused(folder: Path, text: str) -> None:
    (folder / "my_model.py").write_text(text)
    with pytest.raises(UsageError, match=r"my_model.py imports my_.*beside it.*put both into one file"):
        require_no_neighbours(f"{folder / 'my_model.py'}:load", folder / "c.pt")


@pytest.mark.parametrize(
    "text",
    [
        "import torch",
        "import types",
        "try:\n    import my_net\nexcept ImportError:\n    my_net = None",
        "import other",
        "def train():\n    import my_net",
        "if False:\n    import my_net",
        "not python",
        "my_net = 1",
    ],
)
def test_what_may_work_is_tried(folder: Path, text: str) -> None:
    (folder / "my_model.py").write_text(text)
    require_no_neighbours(f"{folder / 'my_model.py'}:load", folder / "c.pt")


def test_files_of_the_checkpoint_are_seen(folder: Path) -> None:
    (folder / "my_model.py").write_text("import my_net")
    require_no_neighbours(f"{folder / 'my_model.py'}:load", folder / "my_net.py")


def test_it_is_refused_before_anything_is_scored(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Scorer:
        """A process that has given up what it has to."""

        def __init__(self) -> None:
            self.channel, self.is_stopped = self, False

        def receive(self) -> None:
            """It is ready."""

        def send(self, wish: object) -> None:
            pytest.fail("scored")

        def stop(self) -> None:
            self.is_stopped = True

    scorer = Scorer()
    monkeypatch.setattr(contained.Server, "start", lambda *_: scorer)
    (folder / "my_model.py").write_text("import my_net")
    wish = {"settings": {"model": f"{folder / 'my_model.py'}:load"}, "checkpoint": str(folder / "c.pt")}
    with pytest.raises(UsageError, match="my_net"):
        contained._score(wish, None)
    assert scorer.is_stopped
