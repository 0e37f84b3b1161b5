"""--model FILE.py:LOADER, and adapters that third parties install."""

from __future__ import annotations

import os
import py_compile
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bpb_harness.adapters import Adapter, available_adapters, load_model
from bpb_harness.checkpoints import Checkpoint
from bpb_harness.denoiser import CausalLM, Denoiser
from bpb_harness.errors import CheckpointError, UsageError
from bpb_harness.result import Signature
from bpb_harness.schedule import LogLinear
from tests.commands import run_line_here
from tests.tiers import thorough

_CPU = {"device": torch.device("cpu"), "dtype": torch.float32}

# The worked example of docs/adapters.md is this file's text: see test_documentation below.
_REPOSITORY = Path(__file__).parents[2]
_PAGE = _REPOSITORY / "docs" / "adapters.md"
_LOADER = _REPOSITORY / "docs" / "examples" / "loss_only_model.py"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "mine.pt"
    state = {"embed.weight": torch.randn(513, 16), "mix.weight": torch.randn(16, 16), "mix.bias": torch.randn(16)}
    torch.save(state, path)
    return path


def test_the_worked_example_wraps_a_class_that_returns_a_loss(checkpoint: Path) -> None:
    read, adapted = load_model(checkpoint, model_loader=f"{_LOADER}:load", allow_code=True, **_CPU)
    assert isinstance(adapted.model, Denoiser)
    assert adapted.schedule == LogLinear(1e-3)
    assert read.layout == "user-code"
    assert "loss_only_model.py:load" in adapted.notes[0]
    with torch.no_grad():
        logits = adapted.model.logits(torch.full((2, 5), 512), LogLinear(1e-3).level(torch.tensor([0.5, 0.9])))
    assert logits.shape == (2, 5, 513)
    state = torch.load(checkpoint, weights_only=True)
    hidden = torch.tanh(state["embed.weight"][512] @ state["mix.weight"].T + state["mix.bias"])
    torch.testing.assert_close(logits[0, 0], hidden @ state["embed.weight"].T)


def test_the_name_in_the_signature_tells_one_code_from_another(checkpoint: Path, tmp_path: Path) -> None:
    """The checkpoint alone does not say what network is scored."""
    text = _LOADER.read_text() + "\n\nagain = load\n"
    (tmp_path / "one.py").write_text(text)
    (tmp_path / "two.py").write_text(text + "# changed\n")
    names = [
        load_model(checkpoint, model_loader=f"{tmp_path / loader}", allow_code=True, **_CPU)[1].adapter
        for loader in ("one.py:load", "one.py:load", "one.py:again", "two.py:load")
    ]
    assert names[0] == names[1]
    assert len(set(names)) == 3
    assert str(Signature.parse(str(Signature(adapter=names[0])))) == f"bpb|adapter:{names[0]}"


def test_the_file_s_own_text_runs_and_no_bytecode_of_an_earlier_one(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python takes bytecode for that of a file as long, written in the same second."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = tmp_path / "x.py"
    for number in ("3", "5"):
        path.write_text(_LOADER.read_text() + f"\n\nV = {number}\ndef sized(path, device):\n"
                        "    model = load(path, device)\n    model.vocab_size = V\n    return model\n")  # fmt: skip
        os.utime(path, (1_700_000_000, 1_700_000_000))
        py_compile.compile(str(path)) if number == "3" else None
        model = load_model(checkpoint, model_loader=f"{path}:sized", allow_code=True, **_CPU)[1].model
        assert model.vocab_size == int(number)


def test_without_permission_the_file_is_not_run(checkpoint: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (tmp_path / "x.py").write_text(f"import pathlib\npathlib.Path({str(canary)!r}).touch()\n")
    with pytest.raises(UsageError, match=r"runs code of yours; read it, then pass --allow-code"):
        load_model(checkpoint, model_loader=f"{tmp_path / 'x.py'}:load", **_CPU)
    assert not canary.exists()


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("def load(path, device):\n    return 1 / 0\n", r"x\.py:load failed at line 2: got ZeroDivisionError"),
        ("def load(path, device:\n", r"x\.py failed at line 1: got SyntaxError"),
        ("import missing_module_of_theirs\n", r"x\.py failed at line 1: got ModuleNotFoundError"),
        ("other = 3\n", r"x\.py has no function: got load, expected LOADER\(checkpoint_path, device\); docs"),
        ("def lod(path, device): ...\n", r"got load, expected one of its own: lod; pass --model .*x\.py:lod"),
        (
            "from pathlib import Path\nfrom inspect import getfile\ndef a(p, d): ...\ndef b(p, d): ...\n",
            r"got load, expected one of its own: a, b; docs/adapters\.md has a worked example",
        ),
        (
            "def load(path, device):\n    return object()\n",
            r"returned object: got no logits, vocab_size, context_length",
        ),
    ],
)
def test_faults_in_the_users_code_are_one_line(checkpoint: Path, tmp_path: Path, source: str, line: str) -> None:
    (tmp_path / "x.py").write_text(source)
    with pytest.raises(UsageError, match=line) as caught:
        load_model(checkpoint, model_loader=f"{tmp_path / 'x.py'}:load", allow_code=True, **_CPU)
    assert "\n" not in str(caught.value)


def test_wrong_words(checkpoint: Path, tmp_path: Path) -> None:
    for loader in ("x.py", "x.py:", "x.py:not an identifier", "missing.py:load"):
        with pytest.raises(UsageError, match=r"FILE\.py:LOADER"):
            load_model(checkpoint, model_loader=loader, allow_code=True, **_CPU)
    with pytest.raises(UsageError, match="exclude each other"):
        load_model(checkpoint, model_loader="x.py:load", adapter="mdlm", allow_code=True, **_CPU)
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_model(tmp_path / "none.pt", model_loader=f"{_LOADER}:load", allow_code=True, **_CPU)


def test_a_causal_model_and_its_neighbour_module(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "their_sizes.py").write_text("V = 7\n")
    (tmp_path / "x.py").write_text(
        "import torch\nfrom their_sizes import V\n"
        "class Model(torch.nn.Module):\n"
        "    vocab_size, context_length = V, 9\n"
        "    def logits(self, x):\n        return torch.zeros(*x.shape, V) + float(self.training)\n"
        "def load(path, device):\n    return Model()\n"
    )
    model = load_model(checkpoint, model_loader=f"{tmp_path / 'x.py'}:load", allow_code=True, **_CPU)[1].model
    assert isinstance(model, CausalLM)
    assert not isinstance(model, Denoiser)
    assert float(model.logits(torch.zeros(1, 2, dtype=torch.int64)).abs().max()) == 0.0, "in evaluation mode"
    assert str(tmp_path) not in sys.path


@pytest.fixture
def adapters_anew() -> Iterator[None]:
    """Installed packages are looked for once a process: here before the test and, without its own, after it."""
    available_adapters.cache_clear()
    yield
    available_adapters.cache_clear()
    sys.modules.pop("their_adapter", None)


@pytest.mark.usefixtures("adapters_anew")
def test_an_installed_package_adds_an_adapter(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pip would lay it out: a module, and metadata that names an entry point."""
    site = tmp_path / "site"
    information = site / "theirs-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[bpb_harness.adapters]\ntheirs = their_adapter:TheirAdapter\n")
    (site / "their_adapter.py").write_text(
        "from bpb_harness.adapters import AdaptedModel\n"
        "from bpb_harness.schedule import LogLinear\n"
        "class Model:\n"
        "    vocab_size = mask_token_id = 64\n"
        "    context_length, time_conditioned = 8, False\n"
        "    def __init__(self, embedding):\n        self.embedding = embedding\n"
        "    def logits(self, xt, level):\n        return self.embedding[xt] @ self.embedding.T\n"
        "class TheirAdapter:\n"
        "    name = 'theirs'\n"
        "    def fits(self, checkpoint):\n        return 'embed.weight' in checkpoint.tensors\n"
        "    def load(self, checkpoint, *, device, dtype):\n"
        "        model = Model(checkpoint.tensors['embed.weight'].to(device))\n"
        "        return AdaptedModel(model, self.name, LogLinear(0.001))\n"
    )
    monkeypatch.syspath_prepend(site)
    _, adapted = load_model(checkpoint, adapter="theirs", **_CPU)
    assert (adapted.adapter, str(adapted.schedule), adapted.model.vocab_size) == ("theirs", "loglinear[0.001]", 64)
    with pytest.raises(CheckpointError) as refused:
        load_model(checkpoint, **_CPU)
    assert str(refused.value) == "mine.pt does not name its adapter; those that fit: theirs; pass --adapter NAME"


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the page's relative paths are there, and what its examples write is not the repository's."""
    for name in ("docs", "fixtures"):
        (tmp_path / name).symlink_to(_REPOSITORY / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@thorough(everyday="integration/test_adapter_user_code.py::test_the_worked_example_s_commands_run_as_printed")
def test_the_page_s_python_examples_run(workplace: Path) -> None:
    examples = re.findall(r"^```python\n(.*?)^```", _PAGE.read_text(encoding="utf-8"), flags=re.M | re.S)
    assert len(examples) == 5
    names: dict[str, Any] = {"__name__": "page"}
    for number, example in enumerate(examples, 1):
        exec(compile(example, f"{_PAGE.name}, example {number}", "exec", dont_inherit=True), names)
    _, exported = load_model("model.pt2")
    assert exported.schedule == LogLinear(1e-3)
    assert names["logits"].shape[:2] == (1, 4)
    torch.testing.assert_close(exported.model.logits(names["xt"], names["level"]), names["logits"])
    own = names["MyAdapter"]()
    assert isinstance(own, Adapter)
    names["MyDenoiser"] = lambda rows, width: torch.nn.ModuleDict({"my_embedding": torch.nn.Embedding(rows, width)})
    tensors = {"my_embedding.weight": torch.ones(3, 2), "my_cache.angles": torch.zeros(4)}
    checkpoint = Checkpoint(Path("x.pt"), "tensors", "0", tensors)
    assert own.fits(checkpoint)
    assert not own.fits(names["checkpoint"])
    loaded = own.load(checkpoint, device=torch.device("cpu"), dtype=torch.float32)
    assert loaded.adapter == "mine"
    assert torch.equal(loaded.model["my_embedding"].weight, torch.ones(3, 2))
    more = Checkpoint(Path("x.pt"), "tensors", "0", {**tensors, "my_head.weight": torch.zeros(3, 2)})
    with pytest.raises(CheckpointError, match=r"my_head\.weight"):
        own.load(more, device=torch.device("cpu"), dtype=torch.float32)


def test_the_worked_example_s_commands_run_as_printed(workplace: Path) -> None:
    text = _PAGE.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"^    ((?:python|bpb-eval) .*(?:loss_only_model\.py).*)$", text, flags=re.M)
    assert len(lines) == 2
    for line in lines:
        done = run_line_here(line.replace("/tmp/", f"{workplace}/"), cwd=workplace)
        assert done.returncode == 0, done.stderr
    assert "46,095 tokens, 130,160 bytes" in done.stdout
    bits_per_token = float(re.findall(r"(\d\.\d+) bits per token", done.stdout)[0])
    assert bits_per_token == pytest.approx(9, abs=0.01)
    assert f"{9:.2f} bits a token" in text


def test_documentation() -> None:
    """The worked example in docs/adapters.md is the file that the tests run."""
    text = _PAGE.read_text(encoding="utf-8")
    assert _LOADER.read_text(encoding="utf-8").strip() in text
