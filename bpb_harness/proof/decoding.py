"""The asking end of the decoding process."""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch

from bpb_harness.checkpoints import digest_of, files_of
from bpb_harness.errors import ContractError, InputError, SecondLookError
from bpb_harness.proof.batches import split
from bpb_harness.proof.choice import Choice
from bpb_harness.proof.header import Header, code_of_loader
from bpb_harness.proof.isolation import FILES, NETWORK
from bpb_harness.result import Signature
from bpb_harness.second_look.asking import ModelSource
from bpb_harness.second_look.server import Server
from bpb_harness.units import counted

Ints = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]
_MODULE = "bpb_harness.proof.decoding_process"
_SHARE_OF_MEMORY = 0.75


@final
@dataclass(frozen=True)
class Decoded:
    """What came out of the decoding process.

    Attributes:
        spans: the targets of each span; none where the bits led to no text at all.
        held: what was out of its reach.
        lost: why they did; None where they did not.
        nats: what each span cost by the network, (N,).
    """

    spans: list[Ints]
    held: tuple[str, ...]
    lost: str | None = None
    nats: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    @property
    def is_isolated(self) -> bool:
        """Whether it could reach neither the network nor files."""
        return {NETWORK, FILES} <= set(self.held)

    @property
    def in_words(self) -> str:
        """What held."""
        if not self.held:
            return "the system offers no isolation: network and files were within its reach"
        missing = "" if self.is_isolated else "; files were within its reach"
        return f"without {' and '.join(self.held)}{missing}"


def decode(
    header: Header, given: Ints, bits: bytes, source: ModelSource, *, seconds: float, progress: Progress | None = None
) -> Decoded:
    """Get the tokens back in a fresh process.

    Args:
        header: of the file.
        given: contexts of the spans, one after another.
        bits: of the targets.
        source: how the network is built.
        seconds: how long it may take, the start of the process included.
        progress: called with (tokens decoded, tokens in all).

    Raises:
        ContractError: if the network fails, or takes longer.
        InputError: if the file or the checkpoint is not what it should be.
    """
    load = source.from_anywhere()
    _require_same_network(header, load)
    until = time.monotonic() + seconds
    server = Server.start(_MODULE, source.device.type, str(_memory_bytes()), *_needed(load))
    held: tuple[str, ...] = ()
    try:
        held = tuple(_receive(server, header, until, seconds)[0].get("held", ()))
        with contextlib.suppress(OSError):  # it is gone: its last words are in what is received
            _send(server, header, given, bits, source)
        while True:
            content, arrays = _receive(server, header, until, seconds)
            if "done" not in content:
                break
            if progress is not None:
                progress(int(content["done"]), sum(header.lengths))
    finally:
        server.stop()
    if "error" in content:
        kind = ContractError if content.get("exit") == ContractError.exit_code else InputError
        raise kind(f"the decoding process, {_reach(held)}", seen=content["error"], hint=_HINT)
    if content.get("digest") != header.model:
        raise SecondLookError("the decoding process", seen="another checkpoint", expected=header.model[:8])
    if content["lost"] is not None:
        return Decoded([], held, str(content["lost"]))
    tokens = arrays.get("tokens", np.zeros(0, dtype=np.int64))
    if tokens.shape != (sum(header.lengths),) or tokens.dtype != np.int64:
        raise SecondLookError(
            "the decoding process",
            seen=counted(tokens.size, "token"),
            expected=f"{sum(header.lengths)} of them, as integers",
        )
    nats = arrays.get("nats", np.zeros(0))
    if nats.shape != (len(header.lengths),) or nats.dtype != np.float64 or not np.isfinite(nats).all():
        raise SecondLookError("the decoding process", seen=f"costs of {nats.size} spans", expected=len(header.lengths))
    return Decoded(split(tokens, header.lengths), held, nats=nats)


def _receive(server: Server, header: Header, until: float, seconds: float) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        return server.channel.receive(until=until, most=sum(header.lengths))
    except TimeoutError:
        raise SecondLookError(
            "the decoding process has not come to an end", seen=f"{seconds:g} s without one",
            expected="one within its limit", hint="the network hangs there, or --time-limit is too short",
        ) from None  # fmt: skip
    except (EOFError, ValueError, KeyError, TypeError):
        raise SecondLookError("the decoding process ended", seen=server.last_words(), hint=_HINT) from None


def _require_same_network(header: Header, load: dict[str, Any]) -> None:
    """Refuse another checkpoint or other code here: what the process says of itself is the word of that code."""
    require_same_checkpoint(header, Path(load["path"]))
    code = code_of_loader(load.get("model_loader"))
    if code != header.code:
        raise InputError(
            "--model is not the code of the file of bits", seen=_shown(code), expected=_shown(header.code),
            hint="pass the file and the function that it was written with",
        )  # fmt: skip


def require_same_checkpoint(header: Header, path: Path) -> None:
    """Refuse a checkpoint that is not the one which a file was written with.

    Raises:
        InputError: naming both digests.
        CheckpointError: if it is not there, or cannot be read.
    """
    found = digest_of(path)
    if found != header.model:
        raise InputError(
            f"{path.name} is not the checkpoint of the file of bits", seen=found[:8], expected=header.model[:8],
            hint="pass the checkpoint that it was written with",
        )  # fmt: skip


def _shown(code: str | None) -> str:
    if code is None:
        return "none"
    digest, _, function = code.partition("/")
    return f"{digest[:8]}:{function}"


def _memory_bytes() -> int:
    """What the decoding process may hold: most of what is free; 0 where nobody knows how much that is."""
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
        return int(_SHARE_OF_MEMORY * 1024 * int(lines["MemAvailable"].split()[0]))
    except (KeyError, ValueError, OSError):
        return 0


def _needed(load: dict[str, Any]) -> list[str]:
    """Files that the process needs: those that the checkpoint's digest is of, and the code's."""
    file = (load.get("model_loader") or "").rpartition(":")[0]
    return [str(path) for path in (*files_of(_place(load["path"])), *([_place(file)] if file else []))]


def _place(name: str) -> Path:
    """Where a file or folder lies; a file that is a link keeps its own name."""
    path = Path(name)
    return path.resolve() if path.is_dir() else path.parent.resolve() / path.name


_HINT = "it sees the files that the checkpoint's digest is of, the file of --model and installed packages, nothing else"


def _reach(held: tuple[str, ...]) -> str:
    return f"without {' and '.join(held)}" if held else "not isolated"


def _send(server: Server, header: Header, given: Ints, bits: bytes, source: ModelSource) -> None:
    load = source.from_anywhere()
    load["path"] = str(_place(load["path"]))
    if load.get("model_loader"):
        file, colon, function = load["model_loader"].rpartition(":")
        load["model_loader"] = f"{_place(file)}{colon}{function}"
    wish = {
        "load": load, "device": str(source.device), "dtype": header.dtype, "threads": header.threads,
        "precision": header.precision, "adapter": Signature.parse(header.score).adapter,
        "schedule": header.schedule, "key": key_of(header), "model": header.model,
        "vocab_size": header.vocab_size,
        "settings": {
            "method": header.method, "num_steps": header.num_steps, "order": header.order,
            "tokens_per_step": header.tokens_per_step, "seed": header.seed,
        },
    }  # fmt: skip
    server.channel.send(
        wish,
        windows=np.array(header.windows), contexts=np.array(header.contexts), lengths=np.array(header.lengths),
        batch_sizes=np.array([len(batch) for batch in header.batches]),
        places=np.array([place for batch in header.batches for place in batch]),
        given=given, bits=np.frombuffer(bits, dtype=np.uint8).astype(np.int64),
    )  # fmt: skip


def key_of(header: Header) -> int:
    """What the shared randomness is keyed by."""
    return Choice(header.model, header.data, header.score).key


def name_of(device: torch.device) -> str:
    """What computes: a GPU's name, or the processor's and the instructions that torch takes of it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_processor()} {torch.backends.cpu.get_cpu_capability()}"


def _processor() -> str:
    """The model, for which libraries choose among ways to add: or its kind, where the system does not tell more."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return " ".join(value.split())
    return platform.machine()


def same_device(header: Header) -> list[str]:
    """How this machine differs from the one that wrote a file; empty if nothing is known to."""
    here = {"torch": str(torch.__version__)}
    if header.device == "cpu" or torch.cuda.is_available():
        here["device_name"] = name_of(torch.device(header.device))
    return [
        f"{name} {value}, not {getattr(header, name)}" for name, value in here.items() if value != getattr(header, name)
    ]
