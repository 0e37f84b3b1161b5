"""Tensors in files of ``transformers`` that no network needs: a closed list, and a look at each of them.

Old versions saved buffers that the network makes itself, and heads over whole sentences that give no logits. A name
alone proves nothing: a causal mask must be one, rotary frequencies must be those that the network now has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

_BUFFERS = re.compile(
    r"""(^|\.)(
        (attn|attention|self_attn|self_attention|crossattention)\.(attention\.)?(?P<causal>bias)
        | (attn|attention|self_attn|self_attention|crossattention)\.(attention\.)?(?P<lowest>masked_bias)
        | (\w+\.)*(?P<frequencies>inv_freq)
        | (?P<positions>position_ids)
        | (?P<types>token_type_ids)
    )$""",
    re.VERBOSE,
)
# They read the first position's last hidden state and say something of the sentence.
_SENTENCE_HEADS = re.compile(
    r"(^|\.)(pooler\.(dense\.)?(weight|bias)|cls\.seq_relationship\.(weight|bias)|sop_classifier\.classifier\.(weight|bias))$"
)


def may_be_unneeded(name: str, *, masked: bool) -> bool:
    """Whether a name is on the list.

    Args:
        name: of a tensor that has no place in the network, or of one of the network's that the file lacks.
        masked: for masked language models the heads over sentences are on it too.
    """
    return bool(_BUFFERS.search(name)) or (masked and bool(_SENTENCE_HEADS.search(name)))


def is_unneeded(name: str, value: Tensor, network: nn.Module) -> bool:
    """Whether a tensor of the list holds what its name promises, so that the network does without it.

    Args:
        name: on the list.
        value: what the file, or the network itself, holds there.
        network: built from config.json.
    """
    found = _BUFFERS.search(name)
    if found is None:
        return True
    buffers = {own: buffer for own, buffer in network.named_buffers() if own == name or own.endswith("." + name)}
    if any(_is_another(buffer, value) and _equal(buffer, value) for buffer in buffers.values()):
        return True
    match next(kind for kind, matched in found.groupdict().items() if matched):
        case "causal":
            return value.ndim >= 2 and _equal(value, torch.ones(value.shape[-2:]).tril().expand(value.shape))
        case "lowest":
            return value.numel() == 1 and float(value) <= -1e4
        case "positions":
            return value.ndim >= 1 and _equal(value, torch.arange(value.shape[-1]).expand(value.shape))
        case "types":
            return not bool(value.any())
    return _are_its_frequencies(value, network)


def _is_another(buffer: Tensor, value: Tensor) -> bool:
    """Whether a buffer vouches for a value: not for itself, which a state dict gives as another object."""
    return buffer.data_ptr() != value.data_ptr()


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.double(), other.double())


def _are_its_frequencies(value: Tensor, network: nn.Module) -> bool:
    """Whether rotary frequencies, which files round to 16 bits at worst, are the network's own, scaled or not yet."""
    frequencies = (buffer for name, buffer in network.named_buffers() if name.endswith("inv_freq"))
    own = [buffer for buffer in frequencies if _is_another(buffer, value)]
    bases = {float(base) for base in _bases(getattr(network, "config", None))}
    size = 2 * value.numel()
    own += [1.0 / base ** (torch.arange(0, size, 2, dtype=torch.float64) / size) for base in sorted(bases)]
    finite = bool(torch.isfinite(value).all())
    return finite and any(
        one.shape == value.shape and torch.allclose(one.double(), value.double(), rtol=5e-3, atol=1e-7) for one in own
    )


def _bases(config: object) -> list[float]:
    found = [getattr(config, "rope_theta", None), getattr(config, "rotary_emb_base", None)]
    parameters = getattr(config, "rope_parameters", None)
    if isinstance(parameters, Mapping):
        found += [each.get("rope_theta") for each in (parameters, *parameters.values()) if isinstance(each, Mapping)]
    return [base for base in found if isinstance(base, int | float) and base > 1]
