"""The process that decodes: ``main`` is what it runs. Arguments: the device, bytes it may hold, the files it needs.

It gets the checkpoint, the bits, and how they were made; no token of the text, and no digest of it, by which a network
could try texts. What it can be kept from, it is kept from before it imports anything else.
"""

from __future__ import annotations

import sys
from typing import Any

from bpb_harness.message_pipes import keep_pipes
from bpb_harness.proof.isolation import run_isolated
from bpb_harness.proof.namespaces import end_with_parent


def main() -> None:
    """Decode once."""
    end_with_parent()
    read_from, write_to = keep_pipes()
    on_cpu = sys.argv[1] == "cpu"
    if on_cpu:
        _limit_memory(int(sys.argv[2]))

    def work(held: list[str]) -> None:
        from bpb_harness.second_look.messages import Channel

        _answer(Channel(read_from, write_to), held)

    run_isolated(work, sys.argv[3:], hide_files=on_cpu)


def _limit_memory(size: int) -> None:
    """Let a network that takes ever more memory fail here, before the machine does."""
    if size and sys.platform.startswith("linux"):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        size = size if most == resource.RLIM_INFINITY else min(size, most)
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def _answer(channel: Any, held: list[str]) -> None:
    from bpb_harness.errors import HarnessError

    channel.send({"held": held})  # before there is any code that could say so in its place
    wish, arrays = channel.receive()
    try:
        digest, tokens, nats, lost = _decode(channel, wish, arrays)
        channel.send({"digest": digest, "lost": lost}, tokens=tokens, nats=nats)
    except HarnessError as error:
        channel.send({"error": str(error), "exit": error.exit_code})
    except MemoryError:  # Python's has no text
        channel.send({"error": "MemoryError: it takes more memory than was free as it started", "exit": 4})
    except Exception as error:  # whatever a network does
        channel.send({"error": f"{type(error).__name__}: {error}", "exit": 4})


def _network_of(wish: dict[str, Any], given: Any, device: Any) -> Any:
    """The checkpoint, and its network, if the file of bits is of it.

    Raises:
        InputError: if it is not.
    """
    from bpb_harness.adapters import load_model
    from bpb_harness.denoiser import Denoiser, num_clean_tokens
    from bpb_harness.errors import InputError
    from bpb_harness.second_look.fresh_process import dtype_of

    checkpoint, adapted = load_model(device=device, dtype=dtype_of(wish["dtype"]), **wish["load"])
    model = adapted.model
    if checkpoint.digest != wish["model"]:
        raise InputError(
            "the file of bits is of another checkpoint", seen=checkpoint.digest[:8], expected=wish["model"][:8]
        )
    if adapted.adapter != wish["adapter"]:  # it tells sets of weights apart, and settings that no file holds
        raise InputError(
            "the file of bits reads the network in another way than its score", seen=adapted.adapter[:200],
            expected=str(wish["adapter"])[:200], hint="take a file that bpb-prove --proof wrote",
        )  # fmt: skip
    is_causal = wish["settings"]["method"] == "ar"
    if is_causal == isinstance(model, Denoiser) or model.vocab_size != wish["vocab_size"]:
        raise InputError("the file of bits is not of this network", hint="read it as --proof did")
    most = model.vocab_size
    if len(given) and not 0 <= int(given.min()) <= int(given.max()) < most:
        raise InputError("a given token of the file", seen=int(given.max()), expected=f"0..{most - 1}")
    if isinstance(model, Denoiser):
        assert num_clean_tokens(model) > 0
        if (given == model.mask_token_id).any():
            raise InputError("a given token of the file", seen="the mask", expected="a clean token")
    return checkpoint, model


def _decode(channel: Any, wish: dict[str, Any], arrays: dict[str, Any]) -> tuple[str, Any, Any, str | None]:
    """The digest of the checkpoint, the tokens and what each span cost in nats; or why the bits lead to none."""
    import numpy as np

    from bpb_harness.errors import InputError
    from bpb_harness.evaluation.settings import Settings
    from bpb_harness.proof.batches import Batches, split
    from bpb_harness.proof.codes import code_of
    from bpb_harness.proof.range_coder import Decoder
    from bpb_harness.proof.symbols import Unknown
    from bpb_harness.sampling.streams import RandomStreams
    from bpb_harness.schedule import parse_schedule
    from bpb_harness.second_look.fresh_process import prepare

    device = prepare(wish)
    # The code is settled before the network is there.
    schedule = None if wish["schedule"] is None else parse_schedule(wish["schedule"])
    code = code_of(Settings(**wish["settings"]).estimators(schedule)[0], RandomStreams(wish["key"]))
    reader = Decoder(arrays["bits"].astype(np.uint8).tobytes())
    places = split(arrays["places"], arrays["batch_sizes"].tolist())
    batches = Batches(arrays["windows"], arrays["contexts"], arrays["lengths"], places)
    checkpoint, model = _network_of(wish, arrays["given"], device)
    batches.require_fits(model)
    nats, ends, done = np.zeros(len(batches.windows)), list[tuple[Any, Unknown]](), 0

    def unknown(places: Any) -> Unknown:
        ends.append((places, Unknown(reader, len(places))))
        return ends[-1][1]

    def advance(tokens: int) -> None:
        nonlocal done
        done += tokens
        channel.send({"done": done})

    contexts = split(arrays["given"], batches.contexts.tolist())
    try:
        found = batches.follow(code, model, contexts, unknown, device=device, advance=advance)
        reader.finish()
    except InputError as error:  # of the bits: nothing else is read here
        return checkpoint.digest, np.zeros(0, dtype=np.int64), nats, str(error)
    for rows, end in ends:
        nats[rows] = end.nats
    return checkpoint.digest, np.concatenate(found), nats, None


if __name__ == "__main__":
    main()
