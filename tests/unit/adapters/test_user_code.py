"""A network of the user's own: every refusal in whole, and what the wrapper hands on."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from bpb_harness.adapters.user_code import load_user_model
from bpb_harness.denoiser import own_block_size
from bpb_harness.errors import CheckpointError, UsageError
from bpb_harness.schedule import LogLinear, parse_schedule

HEAD = """
import torch
from bpb_harness.schedule import parse_schedule

class Network(torch.nn.Module):
    vocab_size, context_length, mask_token_id, time_conditioned = 5, 9, 5, True

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 2, bias=False)

    def _answer(self, kind, *given):
        self.given = (kind, *given)
        x = self.linear(torch.ones(1, 2))
        return torch.zeros(*given[0].shape, 5, dtype=x.dtype) + float(self.training)

    def logits(self, *given):
        return self._answer("logits", *given)

class Told(Network):
    def logits_given(self, *given):
        return self._answer("given", *given)

class Blocks(Network):
    block_size = 3
    def block_logits(self, *given):
        return self._answer("blocks", *given)

class Both(Told, Blocks):
    pass

class Causal:
    vocab_size, context_length, block_size = 5, 9, 3
    def logits(self, x): ...

def make(kind, **changes):
    made = kind()
    for name, value in changes.items():
        setattr(made, name, value)
    return made
"""
XT = torch.zeros(1, 3, dtype=torch.int64)
LEVEL = LogLinear(1e-3).level(torch.tensor([0.5]))


def _load(folder: Path, body: str, *, loader: str = "load", dtype: torch.dtype = torch.float32, **more: Any) -> Any:
    (folder / "x.pt").write_bytes(b"weights")
    (folder / "x.py").write_text(f"{HEAD}\ndef load(path, device):\n    return {body}\n")
    options = {"allow_code": True, "device": torch.device("cpu"), "dtype": dtype} | more
    return load_user_model(folder / "x.pt", f"{folder / 'x.py'}:{loader}", **options)


def _refusal(folder: Path, body: str, **more: Any) -> str:
    with pytest.raises(UsageError) as caught:
        _load(folder, body, **more)
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "offers"),
    [
        ("Network", ()),
        ("Told", ("logits_given",)),
        ("Blocks", ("block_logits",)),
        ("Both", ("logits_given", "block_logits")),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_calls_are_handed_on_in_the_dtype_and_without_gradients(
    tmp_path: Path, kind: str, offers: tuple[str, ...], dtype: torch.dtype
) -> None:
    _, adapted = _load(tmp_path, f"make({kind})", dtype=dtype)
    model = adapted.model
    assert (model.vocab_size, model.context_length, model.mask_token_id) == (5, 9, 5)
    assert model.time_conditioned is True
    assert [hasattr(model, name) for name in ("logits_given", "block_logits")] == [
        name in offers for name in ("logits_given", "block_logits")
    ]
    calls: dict[str, tuple[Any, ...]] = {"logits": (XT, LEVEL)}
    calls |= {"logits_given": (XT, LEVEL, torch.zeros(1))} if "logits_given" in offers else {}
    calls |= {"block_logits": (XT, XT, LEVEL)} if "block_logits" in offers else {}
    names = {"logits": "logits", "logits_given": "given", "block_logits": "blocks"}
    for name, arguments in calls.items():
        logits = getattr(model, name)(*arguments)
        assert (logits.shape, logits.dtype, logits.requires_grad) == ((1, 3, 5), dtype, False)
        assert not logits.any(), "in evaluation mode"
        called, *given = model._model.given
        assert called == names[name]
        assert all(one is other for one, other in zip(given, arguments, strict=True))
    assert not offers or getattr(model, "block_size", 3) == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("context_length", "None"), ("context_length", "True"), ("context_length", "0"), ("context_length", "8.5"),
        ("vocab_size", "'five'"), ("vocab_size", "float('inf')"), ("vocab_size", "[5]"), ("mask_token_id", "None"),
        ("mask_token_id", "-1"), ("mask_token_id", "False"),
    ],
)  # fmt: skip
def test_what_is_no_whole_number_is_named(tmp_path: Path, name: str, value: str) -> None:
    said = _refusal(tmp_path, f"type('N', (Network,), {{'{name}': {value}}})()")
    assert said == f"x.py:load returned N: got {name} {eval(value)!r}, expected a whole number"


def test_a_causal_network_has_no_mask(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"weights")
    source = (
        "import torch\nclass Model:\n    vocab_size, context_length = 5.0, 9.0\n    def logits(self, x):\n"
        "        return torch.nn.functional.linear(torch.ones(*x.shape, 2), torch.ones(5, 2, requires_grad=True))\n"
        "def load(path, device):\n    assert (path.name, str(device)) == ('x.pt', 'cpu')\n    return Model()\n"
    )
    (tmp_path / "x.py").write_text(source)
    for dtype in (torch.float32, torch.bfloat16):
        _, adapted = load_user_model(
            tmp_path / "x.pt", f"{tmp_path / 'x.py'}:load", allow_code=True, device=torch.device("cpu"), dtype=dtype
        )
        logits = adapted.model.logits(XT)  # with gradients where they are recorded: while the network adapts
        assert (logits.shape, logits.dtype, logits.requires_grad) == ((1, 3, 5), dtype, True)
        with torch.inference_mode():
            assert not adapted.model.logits(XT).requires_grad
        assert (adapted.model.vocab_size, adapted.model.context_length, adapted.schedule) == (5, 9, None)
        assert not hasattr(adapted.model, "mask_token_id")


@pytest.mark.parametrize(
    ("stated", "schedule"),
    [
        ("'loglinear[0.01]'", LogLinear(0.01)),
        ("parse_schedule('cosine-mdlm[0.01]')", parse_schedule("cosine-mdlm[0.01]")),
        ("None", None),
        ("3", None),
    ],
)
def test_the_schedule_that_a_network_states(tmp_path: Path, stated: str, schedule: Any) -> None:
    checkpoint, adapted = _load(tmp_path, f"make(Network, schedule={stated})")
    assert adapted.schedule == schedule
    digest = hashlib.sha256((tmp_path / "x.py").read_bytes()).hexdigest()[:8]
    assert adapted.adapter == f"user-code@{digest}/load"
    assert adapted.notes == (f"the network was built by x.py:load (sha256 {digest}), code that was permitted",)
    assert (checkpoint.path, checkpoint.layout) == (tmp_path / "x.pt", "user-code")
    assert checkpoint.digest == hashlib.sha256(b"weights").hexdigest()


def test_code_that_is_written_to_while_it_runs_has_no_digest(tmp_path: Path) -> None:
    """An editor that saves it meanwhile: the signature would name code that did not run."""
    file, checkpoint = tmp_path / "x.py", tmp_path / "x.pt"
    checkpoint.write_bytes(b"weights")
    saving = "def load(path, device):\n    with open(__file__, 'a') as own: own.write('# more')\n    return Network()\n"
    file.write_text(HEAD + saving)
    with pytest.raises(CheckpointError, match=r"x\.py was written to while it was read; score it again"):
        load_user_model(checkpoint, f"{file}:load", allow_code=True, device=torch.device("cpu"), dtype=torch.float32)


_NO_NETWORK = "expected a Denoiser or CausalLM (docs/adapters.md has a worked example)"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("3", f"x.py:load returned int: got no logits, vocab_size, context_length, {_NO_NETWORK}"),
        ("make(Network, logits=3)", f"x.py:load returned Network: got no method logits, {_NO_NETWORK}"),
        (
            "type('Half', (), {'logits': len, 'vocab_size': 3, 'context_length': 3, 'mask_token_id': 3})()",
            "x.py:load returned Half: got no time_conditioned, expected True or False",
        ),
        *(
            (
                f"make({kind}, block_size={size})",
                f"x.py:load returned {kind}, which has block_logits: block_size: got {seen}, expected a number of "
                "tokens from 1 to its context of 9",
            )
            for kind, size, seen in (
                ("Blocks", "0", "0"),
                ("Blocks", "10", "10"),
                ("Blocks", "True", "True"),
                ("Both", "3.0", "3.0"),
                ("Both", "None", "none"),
            )
        ),
    ],
)
def test_what_is_no_network_is_refused(tmp_path: Path, body: str, said: str) -> None:
    assert _refusal(tmp_path, body) == said


@pytest.mark.parametrize("size", [1, 9])
def test_blocks_of_one_token_and_of_the_window(tmp_path: Path, size: int) -> None:
    assert _load(tmp_path, f"make(Blocks, block_size={size})")[1].model.block_size == size


def test_what_is_not_a_function_of_the_file(tmp_path: Path) -> None:
    example = "docs/adapters.md has a worked example"
    assert _refusal(tmp_path, "3", loader="Missing") == (
        f"x.py has no function: got Missing, expected one of its own: make, load; {example}"
    )
    for loader in ("", "a b", "1x"):
        given = f"{tmp_path}/x.py:{loader}"
        expected = "FILE.py:LOADER, the name of a function in that file"
        assert _refusal(tmp_path, "3", loader=loader) == f"--model: got {given!r}, expected {expected}"
    options = {"allow_code": True, "device": torch.device("cpu"), "dtype": torch.float32}
    for loader, said in {
        "load": "--model: got 'load', expected FILE.py:LOADER, the name of a function in that file",
        "gone.py:load": "--model: got no file gone.py, expected FILE.py:LOADER",
        f"{tmp_path / 'x.pt'}:load": f"--model: got {tmp_path / 'x.pt'}, expected a Python file, FILE.py",
    }.items():
        with pytest.raises(UsageError) as caught:
            load_user_model(tmp_path / "x.pt", loader, **options)  # type: ignore[arg-type]
        assert str(caught.value) == said
    (tmp_path / "one.py").write_text("def lod(path, device): ...\n")
    with pytest.raises(UsageError) as caught:
        load_user_model(tmp_path / "x.pt", f"{tmp_path / 'one.py'}:load", **options)  # type: ignore[arg-type]
    assert str(caught.value) == (
        f"one.py has no function: got load, expected one of its own: lod; pass --model {tmp_path / 'one.py'}:lod"
    )
    with pytest.raises(CheckpointError):
        load_user_model(tmp_path / "none.pt", f"{tmp_path / 'x.py'}:load", **options)  # type: ignore[arg-type]


def test_without_permission_nothing_runs(tmp_path: Path) -> None:
    said = _refusal(tmp_path, "(path.parent / 'ran').touch()", allow_code=False)
    hint = "read it, then pass --allow-code as well to permit it (allow_code=True as an argument)"
    assert said == f"--model {tmp_path / 'x.py'}:load runs code of yours; {hint}"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["Network", "Told"])
@pytest.mark.parametrize(("size", "own"), [(3, 3), (8, 8), (9, None), (0, None), (2.0, None)])
def test_blocks_that_are_asked_one_by_one(tmp_path: Path, kind: str, size: object, own: int | None) -> None:
    model = _load(tmp_path, f"make({kind}, block_size={size})")[1].model
    assert own_block_size(model) == own
    assert not hasattr(model, "block_logits")


def test_a_causal_model_has_no_blocks(tmp_path: Path) -> None:
    assert not hasattr(_load(tmp_path, "Causal()")[1].model, "block_size")


def test_code_that_ends_the_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"")
    for text, said in (
        ("import sys\nsys.exit(0)\n", "x.py failed at line 2: got SystemExit: 0"),
        ("def load(*_):\n    raise SystemExit\n", "x.py:load failed at line 2: got SystemExit:"),
    ):
        (tmp_path / "x.py").write_text(text)
        with pytest.raises(UsageError) as caught:
            load_user_model(
                tmp_path / "x.pt", f"{tmp_path / 'x.py'}:load", allow_code=True, device=torch.device("cpu"),
                dtype=torch.float32,
            )  # fmt: skip
        assert str(caught.value) == said
