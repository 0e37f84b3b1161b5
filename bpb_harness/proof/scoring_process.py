"""The process that scores a network of code for a proof: ``main`` is what it runs.

Code that runs where the text is could leave it somewhere: in files, their attributes, the environment, processes that
go on. So it runs where nothing can be written but in memory that goes with the process, and where all that it starts
ends with it. What it says of the score is its own word; what it cannot do is tell the decoding process anything but by
the file of bits.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Any

from bpb_harness.message_pipes import keep_pipes
from bpb_harness.proof import namespaces

_SECONDS_BETWEEN_REPORTS = 0.2
# Beside the folder of its own: where sockets of other programs lie, and memory that processes share.
_HIDDEN = ("/run", "/dev/shm")  # noqa: S108


def main() -> None:
    """Score and code once."""
    namespaces.end_with_parent()
    read_from, write_to = keep_pipes()

    def work() -> None:
        from bpb_harness.second_look.messages import Channel

        _answer(Channel(read_from, write_to))

    sys.exit(run_contained(work, str(Path.cwd())))


def run_contained(work: Any, folder: str) -> int:
    """Run something where it can write to memory of its own alone, at ``folder``, and leave no process behind.

    Raises:
        OSError: if the system does not allow it.
    """
    if not namespaces.is_possible():
        raise OSError("no namespaces here")
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    kinds = namespaces.NEW_USER | namespaces.NEW_MOUNTS
    namespaces.leave(kinds | namespaces.NEW_NETWORK | namespaces.NEW_IPC | namespaces.NEW_PIDS, proc=proc)
    namespaces.leave_keyring()
    namespaces.mount(None, "/", None, namespaces.RECURSIVE | namespaces.PRIVATE)
    namespaces.make_all_read_only()
    for place in (folder, *(name for name in _HIDDEN if Path(name).is_dir() and not Path(name).is_symlink())):
        namespaces.mount("tmpfs", place, "tmpfs", 0)
    os.environ["TMPDIR"] = folder

    def locked() -> None:
        namespaces.leave(kinds, proc=proc)
        os.close(proc)
        work()

    return namespaces.run_in_own_space(locked)


def _answer(channel: Any) -> None:
    from bpb_harness.errors import HarnessError

    channel.send({"contained": True})
    wish, _ = channel.receive()
    try:
        os.environ.update(wish["environment"])
        with contextlib.chdir(wish["cwd"]):
            said, arrays = _prove(channel, wish)
        channel.send(said, **arrays)
    except HarnessError as error:
        channel.send({"error": str(error), "exit": error.exit_code})
    except Exception as error:  # whatever a network does
        channel.send({"error": f"the network fails: {type(error).__name__}: {error}", "exit": 4})


def _prove(channel: Any, wish: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    import numpy as np

    from bpb_harness.evaluation.settings import Settings
    from bpb_harness.proof.contained import plain_written
    from bpb_harness.proof.prove import write_proof

    reported = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal reported
        if time.monotonic() - reported >= _SECONDS_BETWEEN_REPORTS:
            reported = time.monotonic()
            channel.send({"progress": [done, total]})

    file, settings = Path(os.environ["TMPDIR"]) / "proof", Settings(**wish["settings"])
    written = write_proof(
        Path(wish["checkpoint"]), settings, file, num_windows=wish["num_windows"], progress=progress,
        score=None if wish["score"] is None else Path(wish["score"]),
    )  # fmt: skip
    said, arrays = plain_written(written)
    content = file.read_bytes()
    padded = np.frombuffer(content.ljust(-(-len(content) // 8) * 8, b"\0"), dtype="<i8")
    return said | {"file_bytes": len(content)}, arrays | {"file": padded}


if __name__ == "__main__":
    main()
