"""What training minimises: the same bound that ``bpb-eval --method mc`` scores, in nats per token.

The bound's identity (MATHS.md, equation 7) turns the weight -dalpha/(1 - alpha) of the *sum* of masked cross-entropies
into a bounded one: with u = u_max v, v uniform, one position masked for certain and the others with probability u,

    NELBO / L = alpha(1) ln V + u_max E[ C(x, M; t(u)) / |M| ].

The plain form has infinite variance: rare, almost clean windows get weights up to 1/u. Here every window weighs the
same, and its masked tokens share that weight. The times of a batch are stratified: one in each of B equal cells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from bpb_harness.adapters.reference import ReferenceTransformer
from bpb_harness.estimators.bound import Bound, prior_nats
from bpb_harness.masking import size_biased_masks
from bpb_harness.schedule import NoiseLevel

Hidden = Callable[[Tensor, Tensor | None], Tensor]


def draw_masks(
    shape: Sequence[int], bound: Bound, generator: torch.Generator, device: torch.device | str = "cpu"
) -> tuple[Tensor, NoiseLevel]:
    """Size-biased masks of a batch at stratified times.

    Returns:
        masked, (B, L) bool, and the noise level of each row, (B,).
    """
    num_windows, length = shape

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device, dtype=torch.float64)

    cell = torch.arange(num_windows, device=device, dtype=torch.float64)
    v = (cell + 1.0 - uniform(num_windows)) / num_windows  # in (0, 1]
    level = bound.schedule.level_at(bound.move_chance(v))
    target = torch.randint(length, (num_windows,), generator=generator, device=device)
    return size_biased_masks(uniform(num_windows, length), target, level), level


def mdlm_objective(
    network: ReferenceTransformer,
    x0: Tensor,
    masked: Tensor,
    level: NoiseLevel,
    bound: Bound,
    hidden: Hidden | None = None,
) -> Tensor:
    """One draw of NELBO / L, averaged over the batch, in nats per token.

    Args:
        network: whose head runs at masked positions alone.
        x0: clean tokens, (B, L) int64.
        masked: size-biased masks, (B, L) bool; at least one in every row.
        level: noise level of each row, (B,).
        bound: a bound with one sample; gives the weight u_max.
        hidden: the network's ``hidden`` in compiled form, if there is one.

    Returns:
        Scalar float32; its gradient is an unbiased gradient of the bound.
    """
    config = network.config
    xt = torch.where(masked, config.mask_token_id, x0)
    sigma = level.sigma if config.time_conditioned else None
    states = (hidden or network.hidden)(xt, sigma)
    logits = network.head(states[masked])[:, : config.vocab_size]
    nll_nats = functional.cross_entropy(logits.float(), x0[masked], reduction="none")
    share = masked.float() / masked.sum(dim=1, keepdim=True)  # 1 / |M| of its row at every masked position
    diffusion = bound.draw_weight * (nll_nats @ share[masked]) / len(x0)
    return diffusion + prior_nats(bound.schedule, 1, config.vocab_size)


def causal_objective(network: ReferenceTransformer, x: Tensor, hidden: Hidden | None = None) -> Tensor:
    """Mean cross-entropy of tokens 1 .. L given those before, in nats per token; x is (B, L + 1)."""
    states = (hidden or network.hidden)(x[:, :-1], None)
    logits = network.head(states)[..., : network.config.vocab_size]
    return functional.cross_entropy(logits.float().flatten(0, 1), x[:, 1:].flatten())
