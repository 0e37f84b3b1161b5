"""A proof of a network of code: it is scored in a process that leaves nothing behind, and decoded after its end."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bpb_harness.checkpoints import Checkpoint, digest_of
from bpb_harness.distributed import pick_device
from bpb_harness.errors import ContractError, HarnessError, InputError, SecondLookError
from bpb_harness.evaluation.inputs import find_text
from bpb_harness.evaluation.settings import FLAGS, Settings
from bpb_harness.proof.claim import Claim
from bpb_harness.proof.header import Header
from bpb_harness.proof.neighbours import require_no_neighbours
from bpb_harness.proof.prove import Proof, Written, get_back
from bpb_harness.proof.reading import read_file
from bpb_harness.proof.verdict import Costs
from bpb_harness.second_look.server import Server
from bpb_harness.text.corpus import Corpus
from bpb_harness.text.spans import Spans
from bpb_harness.whole_file import write_whole

Ints = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]
_MODULE = "bpb_harness.proof.scoring_process"
_SECONDS_TO_END = 20.0
_WRITTEN = ("score", "num_bytes", "seconds", "exceeds_whole")


def needs_containing(settings: Settings) -> bool:
    """Whether code may run that has to be contained, and can be: not with a GPU, or a file of draws that is kept."""
    return settings.allow_code and settings.resume is None and pick_device(settings.device).type == "cpu"


def prove_contained(
    checkpoint: Path, settings: Settings, file: Path, *, num_windows: int | None, progress: Progress | None = None,
    time_limit: float | None = None, score: Path | None = None,
) -> Proof | None:  # fmt: skip
    """As :func:`bpb_harness.proof.prove.prove`, of a network whose code nobody has read.

    What the code says of the score is its own word. The text is read again here, and the file is decoded when all that
    the code has started is over.

    Returns:
        None where the system offers no such thing.

    Raises:
        HarnessError: for anything that cannot be scored, coded or decoded.
    """
    wish = {
        "checkpoint": str(checkpoint), "num_windows": num_windows, "score": _plain(score), "cwd": str(Path.cwd()),
        "settings": {name: _plain(getattr(settings, name)) for name in FLAGS},
        "environment": {name: value for name, value in os.environ.items() if name.startswith("BPB_")},
    }  # fmt: skip
    answer = _score(wish, progress)
    if answer is None:
        return None
    said, arrays = answer
    content = arrays["file"].tobytes()[: said["file_bytes"]]
    write_whole(file, lambda out: out.write(content))
    header, given, _ = read_file(file)
    text = find_text(Checkpoint(checkpoint, "user-code", digest_of(checkpoint), {}), settings)
    if said["written"]["score"] != header.score:
        raise SecondLookError(
            "the process that scores the network", seen="a file of bits of another score", expected="that of its own"
        )
    targets = _targets(header, given, text.corpus, arrays["starts"])
    written = replace(read_written(said, arrays), targets=targets, tokenizer=text.tokenizer)
    return get_back(written, checkpoint, settings, file, time_limit=time_limit, is_contained=True)


def read_written(said: dict[str, Any], arrays: dict[str, Any]) -> Written:
    """What the process that scores says of it; its tokens apart, at whose word nobody takes it."""
    claim = Claim(arrays["claim"], arrays["variance"], said["num_draws"], arrays.get("degrees_of_freedom"))
    costs = Costs(claim, arrays.get("scored"), arrays["coded"], arrays["further"], **said["costs"])
    return Written(costs=costs, starts=arrays["starts"], targets=np.zeros(0, dtype=np.int64), **said["written"])


def plain_written(written: Written) -> tuple[dict[str, Any], dict[str, Any]]:
    """The other way."""
    costs, claim = written.costs, written.costs.claim
    said = {
        "num_draws": claim.num_draws,
        "costs": {name: getattr(costs, name) for name in ("num_tokens", "dtype", "order_share")},
        "written": {name: getattr(written, name) for name in _WRITTEN},
    }
    arrays = {
        "claim": claim.nats, "variance": claim.variance, "coded": costs.coded_nats,
        "further": costs.further_nats, "starts": written.starts,
    }  # fmt: skip
    if costs.scored_nats is not None:
        arrays["scored"] = costs.scored_nats
    if claim.degrees_of_freedom is not None:
        arrays["degrees_of_freedom"] = claim.degrees_of_freedom
    return said, arrays


def _targets(header: Header, given: Ints, text: Corpus, starts: Ints) -> Ints:
    """The tokens of the spans, out of the text.

    Raises:
        SecondLookError: if the spans are none of this text's, one after another, or contexts are not what stands there.
    """
    contexts, lengths = np.array(header.contexts), np.array(header.lengths)
    if header.data == text.digest and len(starts) == len(lengths):
        spans = Spans(starts - contexts, starts, starts + lengths)
        order = np.argsort(starts)
        is_inside = int(spans.context_starts.min()) >= 0 and int(spans.ends.max()) <= text.num_tokens
        if is_inside and (spans.ends[order][:-1] <= starts[order][1:]).all():
            before = [text.read(int(a), int(b)) for a, b in zip(spans.context_starts, spans.starts, strict=True)]
            if np.array_equal(np.concatenate(before), given):
                return np.concatenate([text.read(int(a), int(b)) for a, b in zip(starts, spans.ends, strict=True)])
    raise SecondLookError(
        "the process that scores the network", seen="a file of bits of other spans", expected="spans of the text"
    )


def _score(wish: dict[str, Any], progress: Progress | None) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """What the process that scores says; all that it was is over then."""
    server = Server.start(_MODULE)
    try:
        try:
            server.channel.receive()
        except (EOFError, ValueError):  # the system does not let it give up what it has to
            return None
        if (loader := wish["settings"]["model"]) is not None:
            require_no_neighbours(loader, Path(wish["checkpoint"]))
        server.channel.send(wish)
        while True:
            said, arrays = _next(server)
            if "progress" not in said:
                break
            if progress is not None:
                progress(*said["progress"])
        if not server.wait(_SECONDS_TO_END):
            raise SecondLookError("the process that scores the network", seen="it goes on after its last word")
    finally:
        server.stop()
    if "error" in said:
        raise _error(said)
    return said, arrays


def _next(server: Server) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        return server.channel.receive()
    except (EOFError, ValueError):
        raise SecondLookError(
            "the process that scores the network ended", seen=server.last_words(), hint="read what its code does"
        ) from None


def _error(said: dict[str, Any]) -> HarnessError:
    text = str(said["error"])
    return InputError(text) if said.get("exit") == HarnessError.exit_code else ContractError(text)


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
