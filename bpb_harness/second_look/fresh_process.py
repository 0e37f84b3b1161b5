"""The process that has only the checkpoint: ``main`` is what it runs.

It waits until it is told which checkpoint to build, builds it, and answers questions until there are no more. On a CPU
each checkpoint is built in a fork of a process that has imported torch and has never run a network, so that programs
that score many pay for the import once. A process that has used CUDA cannot be forked: there it answers itself, and
ends.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from bpb_harness.message_pipes import keep_pipes

FORK, DIRECT = b"F", b"D"
_FAILED = 1
_MADE_UP_TOKENS = 2048
_IMPORTED_BEFORE_FORKS = ("bpb_harness.adapters", "bpb_harness.second_look.answering")


def main() -> None:
    """Serve one checkpoint after another until standard input ends."""
    read_from, write_to = keep_pipes()
    from bpb_harness.second_look.messages import Channel

    gc.disable()
    for module in _IMPORTED_BEFORE_FORKS:
        import_module(module)
    gc.freeze()  # what is imported stays: it is not searched for garbage, here or in a fork
    gc.enable()
    channel = Channel(read_from, write_to)
    while wish := os.read(read_from, 1):
        if wish == DIRECT:
            serve(channel)
            return
        child = os.fork()
        if not child:
            status = _FAILED
            try:
                serve(channel)
                status = 0
            except BaseException as error:  # whatever a network does, its process ends here
                _report(error)
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status:
            channel.send({"ended": status})


def serve(channel: Any) -> None:
    """Build one network, and answer what is asked of it.

    Raises:
        EOFError: if the asking process is gone.
    """
    from bpb_harness.adapters import load_model
    from bpb_harness.errors import HarnessError
    from bpb_harness.second_look.answering import HeldLogits

    wish, _ = channel.receive()
    with _empty_folder():
        try:
            device = prepare(wish)
            checkpoint, adapted = load_model(device=device, dtype=dtype_of(wish["dtype"]), **wish["load"])
            channel.send({"digest": checkpoint.digest})
            if device.type == "cuda" and not wish["load"].get("allow_code"):
                ask_once(adapted.model, device)
            relearn = _Relearning(adapted.model, device)
            while True:
                asked, arrays = channel.receive()
                if "end" in asked:
                    return
                if "learn" in asked:
                    relearn(arrays["tokens"], **asked["learn"])
                    channel.send({"learnt": True})
                    continue
                level = None if asked["level"] is None else tuple(asked["level"])
                tokens, positions, context_length = arrays["tokens"], arrays["positions"], asked["context_length"]
                held = HeldLogits(adapted.model, tokens, level, positions, device, context_length)
                channel.send({"held": True})
                asked, arrays = channel.receive()
                answer = held.answer(arrays["targets"], asked["order"])
                channel.send({"held": False}, nats=answer.nats, score=answer.score)
        except HarnessError as error:
            channel.send({"error": str(error)})
        except EOFError:
            raise
        except Exception as error:
            channel.send({"error": f"{type(error).__name__}: {error}"})


def ask_once(model: Any, device: Any) -> None:
    """Ask for a made-up row while nobody waits: a GPU's libraries take a second before their first answer.

    What fails here fails again where it is asked for, and is said there.
    """
    import numpy as np

    from bpb_harness.denoiser import Denoiser
    from bpb_harness.second_look.answering import HeldLogits

    tokens = np.zeros(min(model.context_length, _MADE_UP_TOKENS), dtype=np.int64)
    level = (0.5, 0.5, -1.0) if isinstance(model, Denoiser) else None
    places = np.arange(len(tokens))
    with contextlib.suppress(Exception):
        HeldLogits(model, tokens, level, places, device).answer(tokens)


class _Relearning:
    """Learns from the chunks that this process is handed, one after another, as the scoring process did."""

    def __init__(self, model: Any, device: Any) -> None:
        self._model, self._device = model, device
        self._learner: Any = None

    def __call__(self, tokens: Any, *, chunk: int, num_chunks: int, **plain: Any) -> None:
        import torch

        from bpb_harness.adaptation.learner import learner_of

        if self._learner is None:
            self._learner = learner_of(plain, self._model, self._device)
        self._learner.learn(torch.from_numpy(tokens).to(self._device), chunk, num_chunks)


def prepare(wish: dict[str, Any]) -> Any:
    """Set what makes this process compute as the other one does; gives the device."""
    import torch

    torch.set_num_threads(wish["threads"])
    torch.set_float32_matmul_precision(wish["precision"])
    return torch.device(wish["device"])


def dtype_of(name: str) -> Any:
    """The arithmetic by its name."""
    import torch

    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


@contextlib.contextmanager
def _empty_folder() -> Any:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder, contextlib.chdir(folder):
        yield


def _report(error: BaseException) -> None:
    sys.stderr.write(f"{type(error).__name__}: {error}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
