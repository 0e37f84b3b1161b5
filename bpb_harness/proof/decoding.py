"""The asking end of the decoding process."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt
import torch

from bpb_harness.errors import ContractError, InputError, SecondLookError
from bpb_harness.proof.batches import split
from bpb_harness.proof.choice import Choice
from bpb_harness.proof.header import Header
from bpb_harness.proof.isolation import FILES, NETWORK
from bpb_harness.second_look import ModelSource
from bpb_harness.second_look.server import Server

Ints = npt.NDArray[np.int64]
_MODULE = "bpb_harness.proof.decoding_process"


@final
@dataclass(frozen=True)
class Decoded:
    """What came out of the decoding process.

    Attributes:
        spans: the targets of each span; none where the bits led to no text at all.
        nats: what each span cost by the network, (N,).
        held: what was out of its reach.
        lost: why they did; None where they did not.
    """

    spans: list[Ints]
    nats: npt.NDArray[np.float64]
    held: tuple[str, ...]
    lost: str | None = None

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


def decode(header: Header, given: Ints, bits: bytes, source: ModelSource) -> Decoded:
    """Get the tokens back in a fresh process.

    Args:
        header: of the file.
        given: contexts of the spans, one after another.
        bits: of the targets.
        source: how the network is built.

    Raises:
        ContractError: if the network fails.
        InputError: if the file or the checkpoint is not what it should be.
    """
    load = source.from_anywhere()
    loader = (load.get("model_loader") or "").rpartition(":")[0]
    needed = [str(path) for name in (load["path"], loader) if name for path in _with_links(Path(name).resolve())]
    server = Server.start(_MODULE, source.device.type, *needed)
    try:
        with contextlib.suppress(OSError):  # it is gone: its last words are in what is received
            _send(server, header, given, bits, source)
        try:
            content, arrays = server.channel.receive()
        except (EOFError, ValueError):
            raise SecondLookError("the decoding process ended", seen=server.last_words(), hint=_HINT) from None
    finally:
        server.stop()
    if "error" in content:
        kind = ContractError if content.get("exit") == ContractError.exit_code else InputError
        raise kind(f"the decoding process, {_reach(content)}", seen=content["error"], hint=_HINT)
    if content.get("digest") != header.model:
        raise SecondLookError("the decoding process", seen="another checkpoint", expected=header.model[:8])
    held, lost = tuple(content["held"]), content["lost"]
    if lost is not None:
        return Decoded([], np.zeros(0), held, str(lost))
    tokens, nats = arrays["tokens"], arrays["nats"]
    if len(tokens) != sum(header.lengths) or len(nats) != len(header.lengths):
        raise SecondLookError("the decoding process", seen=f"{len(tokens)} tokens", expected=sum(header.lengths))
    return Decoded(split(tokens, header.lengths), nats, held)


def _with_links(path: Path) -> list[Path]:
    """A path, and what the links of a folder lead to."""
    return [path, *(entry.resolve() for entry in path.iterdir() if entry.is_symlink())] if path.is_dir() else [path]


_HINT = "it sees the checkpoint, the file of --model and installed packages, nothing else"


def _reach(content: dict[str, object]) -> str:
    held = content.get("held")
    return f"without {' and '.join(held)}" if isinstance(held, list) and held else "not isolated"


def _send(server: Server, header: Header, given: Ints, bits: bytes, source: ModelSource) -> None:
    load = source.from_anywhere()
    load["path"] = str(Path(load["path"]).resolve())
    if load.get("model_loader"):
        file, colon, function = load["model_loader"].rpartition(":")
        load["model_loader"] = f"{Path(file).resolve()}{colon}{function}"
    wish = {
        "load": load, "device": str(source.device), "dtype": header.dtype, "threads": header.threads,
        "precision": header.precision, "schedule": header.schedule, "key": key_of(header), "model": header.model,
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


def same_device(header: Header) -> list[str]:
    """How this machine differs from the one that wrote a file; empty if nothing is known to."""
    here = {"torch": str(torch.__version__)}
    if header.device == "cuda" and torch.cuda.is_available():
        here["device_name"] = torch.cuda.get_device_name()
    return [
        f"{name} {value}, not {getattr(header, name)}" for name, value in here.items() if value != getattr(header, name)
    ]
