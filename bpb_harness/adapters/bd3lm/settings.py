"""The settings of BD3-LM's checkpoints that decide what a block is and what the network computes of it.

The rest, how it was trained, sampled from and logged, is what :class:`MdlmSettings` sets aside; that file's look-ups
serve here too, for one code came out of the other.
"""

from __future__ import annotations

from bpb_harness.adapters.accounting.account import Account
from bpb_harness.adapters.mdlm.settings import KIND_OF_MODEL, MdlmSettings
from bpb_harness.errors import CheckpointError

# What the published folders state of training: the range of mask rates that was last trained on, which is among the
# tensors too. Which kernel attends is nothing that the network computes.
_ASIDE_IN_FOLDERS = r"attn_backend|var_min|sampling_eps_min|sampling_eps_max"


def require_implemented(settings: MdlmSettings, account: Account) -> None:
    """Refuse, by name, whatever the adapter would score as something that it is not.

    Raises:
        CheckpointError: naming the setting.
    """
    if settings.is_folder:
        account.set_settings_aside(_ASIDE_IN_FOLDERS)
    else:
        _require_algorithm(settings)
        settings.one_of("backbone", settings.either("backbone"), ("dit",), "dit")
        settings.one_of("diffusion", settings.either("diffusion"), ("absorbing_state",), "absorbing_state: masks")
        settings.one_of("model.type", settings.get("model.type"), ("ddit",), "ddit")
        settings.get("model.adaln")  # of causal networks alone; all others have it
        settings.either("T")  # steps of its sampler
    causal = settings.flag("causal_attention", "model.causal_attention", "model.causal", "causal")
    settings.one_of("causal attention", causal, (False,), "False: within a block both sides are seen")
    if settings.get("data.num_classes") is not None:
        raise settings.refuse("data.num_classes", settings.get("data.num_classes"), "none: no classes to condition on")


def _require_algorithm(settings: MdlmSettings) -> None:
    algorithm = settings.get("algo.name")
    if algorithm != "bd3lm":
        kind = KIND_OF_MODEL.get(str(algorithm))
        seen = "none stated" if algorithm is None else repr(algorithm) + (f", {kind}" if kind else "")
        other = "mdlm" if algorithm in (None, "mdlm", "ar") else None
        raise settings.refuse("algo.name", seen, "bd3lm", other_adapter=other)
    parameterization = settings.either("parameterization")
    if parameterization != "subs":
        seen = "none stated" if parameterization is None else repr(parameterization)
        raise settings.refuse("parameterization", seen, "subs: networks that predict the clean token")


def block_size_of(settings: MdlmSettings, name: str) -> int:
    """Tokens of a block; where there is one block, all of a window.

    Args:
        settings: of the checkpoint.
        name: of its file, for messages.

    Raises:
        CheckpointError: if it is not stated, or does not divide the window, or nothing shows a block the clean blocks
            before it.
    """
    size, length = settings.either("block_size", "model.block_size"), settings.length
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= length or length % size:
        seen = "none stated" if size is None else repr(size)
        raise CheckpointError(f"{name}: block_size", seen=seen, expected=f"a divisor of {length}, the window")
    crosses = settings.flag("cross_attn")
    if crosses is None:
        raise CheckpointError(
            f"{name}: cross_attn", seen="none stated", expected="true or false, as that code saves it"
        )
    if not crosses and size < length:
        raise settings.refuse(
            "cross_attn", f"False with block_size {size}: noised blocks that see each other",
            f"true, or one block of {length}, the window",
        )  # fmt: skip
    return size


def notes(settings: MdlmSettings, block_size: int) -> list[str]:
    """What is worth knowing beside the score."""
    length = settings.length
    how = "one block is all of a window" if block_size == length else f"{length // block_size} of them a window"
    said = [
        f"blocks of {block_size} tokens, {how}",
        "its own evaluator averages over mask rates from 0.001 to 1, and does not pay for position 0 of a window "
        "(--unpaid-prefix 1 leaves it out)",
    ]
    if settings.get("algo.ignore_bos") is True:
        said[-1] += "; nor was that ever masked in training"
    return said
