"""The reference network: one transformer that the project trains itself, as a masked-diffusion or a causal model.

Its definition stands here, and not beside the trainer, so that an installed harness scores reference checkpoints
without the trainer. ``reference/model.py`` adds what only training needs.

The network is a pre-norm transformer without biases or norm weights: RMS norm, rotary positions, normalised queries and
keys, squared-ReLU feed-forward layers, and an untied head whose width is a multiple of 64 (columns from ``vocab_size``
on are padding, which the harness ignores). Conditioned on time, each block scales and shifts its normalised input by a
function of sigma = -log alpha_t (adaptive layer norm, Peebles and Xie 2023, arXiv 2212.09748, section 3.2).

What a checkpoint may have besides, each off unless its config says so: a vector for pairs of neighbouring tokens, added
to the embedding; a token's own vector among the values of the last blocks; a learned share of the embedding in every
block's input; answers that are read off one position to the left, as a causal network gives them; and blocks, each
predicted given all tokens before it (block diffusion, Arriola et al. 2025, arXiv 2503.09573).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from bpb_harness.checkpoints.weights import require_weights
from bpb_harness.errors import CheckpointError
from bpb_harness.kernels import squared_relu
from bpb_harness.kernels import training as training_kernels
from bpb_harness.kernels.squared_relu import squared_relu_linear
from bpb_harness.networks.layers import autocast, rms_norm
from bpb_harness.schedule import NoiseLevel

OBJECTIVES = ("mdlm", "ar")
_NUM_TIME_FEATURES = 64
_ALWAYS_STATED = (
    "vocab_size", "context_length", "num_layers", "width", "num_heads", "mlp_width", "objective", "time_conditioned",
)  # fmt: skip
# Places of two neighbours, from the token that is to be told: left, either side, right. A causal network has the first.
_NEIGHBOURS = ((-2, -1), (-1, 1), (1, 2))
_HASH_FACTOR = 2_654_435_761  # 2^32 over the golden ratio, a prime
_LARGEST_SIGMA = 20.0  # alpha = 2e-9: where alpha(1) = 0, sigma is infinite at t = 1


@final
@dataclass(frozen=True)
class ReferenceConfig:
    """Shape and kind of a reference network.

    Attributes:
        vocab_size: V, clean tokens; the mask is id V.
        context_length: the longest window.
        num_layers: transformer blocks.
        width: of the residual stream.
        num_heads: attention heads; width / num_heads is even.
        mlp_width: hidden width of the feed-forward layers.
        objective: "mdlm" attends both ways, "ar" causally.
        time_conditioned: whether the network is told sigma.
        neighbour_rows: rows of each table of neighbouring pairs; 0: there is none.
        value_embeddings: how many of the last blocks add a vector of the token itself to its values.
        input_mix: whether every block begins with a learned mix of the stream and the embedding.
        shifted: whether position i is answered for at i - 1, the first one at the last.
        block_size: B, tokens of a block, each predicted given all tokens before it; None: a window is predicted whole.

    Raises:
        CheckpointError: if a value is out of range or the values do not go together.
    """

    vocab_size: int
    context_length: int
    num_layers: int
    width: int
    num_heads: int
    mlp_width: int
    objective: str = "mdlm"
    time_conditioned: bool = False
    neighbour_rows: int = 0
    value_embeddings: int = 0
    input_mix: bool = False
    shifted: bool = False
    block_size: int | None = None

    def __post_init__(self) -> None:
        for name in ("vocab_size", "context_length", "num_layers", "width", "num_heads", "mlp_width"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1 << 24:
                raise CheckpointError(f"reference network: {name}", seen=repr(value), expected="a positive integer")
        if self.width % (2 * self.num_heads):
            seen = f"width {self.width}, {self.num_heads} heads"
            raise CheckpointError("reference network", seen=seen, expected="a width that is a multiple of 2 x heads")
        if self.objective not in OBJECTIVES:
            raise CheckpointError("reference network: objective", seen=repr(self.objective), expected="mdlm or ar")
        if not isinstance(self.time_conditioned, bool):
            raise CheckpointError("reference network: time_conditioned", seen=repr(self.time_conditioned))
        if self.time_conditioned and self.objective == "ar":
            raise CheckpointError("reference network: a causal model has no noise level to be conditioned on")
        self._check_additions()

    def _check_additions(self) -> None:
        for name, most in (("neighbour_rows", 1 << 24), ("value_embeddings", self.num_layers)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
                raise CheckpointError(f"reference network: {name}", seen=repr(value), expected=f"0 to {most}")
        for name in ("input_mix", "shifted"):
            if not isinstance(getattr(self, name), bool):
                raise CheckpointError(f"reference network: {name}", seen=repr(getattr(self, name)))
        size = self.block_size
        if size is not None and (
            isinstance(size, bool) or not isinstance(size, int) or not 0 < size < self.context_length
        ):
            expected = f"a positive integer below context_length {self.context_length}"
            raise CheckpointError("reference network: block_size", seen=repr(size), expected=expected)
        for name, value in (("shifted", self.shifted), ("block_size", size)):
            if value and self.objective == "ar":
                raise CheckpointError(f"reference network: a causal model has no {name}", seen=repr(value))
        if size is not None and (self.shifted or self.time_conditioned):
            what = "shifted" if self.shifted else "time_conditioned"
            raise CheckpointError(f"reference network: one of blocks is not {what}")

    @property
    def mask_token_id(self) -> int:
        """Id of the absorbing state: the first beyond the clean tokens."""
        return self.vocab_size

    @property
    def head_width(self) -> int:
        """W: the vocabulary rounded up to a multiple of 64, which matrix products on a GPU like."""
        return -(-self.vocab_size // 64) * 64

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint's ``config``; additions that are off are left out, as before there were any."""
        plain = ReferenceConfig(**{name: getattr(self, name) for name in _ALWAYS_STATED})
        return {
            name: value for name, value in asdict(self).items()
            if name in _ALWAYS_STATED or value != getattr(plain, name)
        }  # fmt: skip

    @classmethod
    def from_mapping(cls, config: Mapping[str, Any]) -> ReferenceConfig:
        """Read a checkpoint's ``config``.

        Raises:
            CheckpointError: if a value is missing, unknown or out of range.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(config) - known):
            raise CheckpointError("reference network: unknown config", seen=", ".join(map(str, unknown)))
        try:
            return cls(**config)
        except TypeError as error:
            raise CheckpointError("reference network: config is incomplete", seen=str(error)) from None


def _normalised_and_rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """RMS norm over d, then rotary positions, half split, on (B, L, H, d); cos and sin are (L, d / 2).

    Written so that a compiler makes one pass over memory of it, in the order in which x lies there: no reshaped copy
    for a norm of torch's, no halves put side by side again.
    """
    wide = x.float() if x.dtype != torch.float64 else x
    wide = wide * torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + torch.finfo(torch.float32).eps)
    halves = wide.reshape(*wide.shape[:-1], 2, wide.shape[-1] // 2)
    sines = torch.stack((sin, -sin), dim=-2)[:, None]
    rotated = halves * cos[:, None, None] + halves.flip(-2) * sines
    return rotated.flatten(-2).to(x.dtype)


@dataclass(frozen=True)
class GatheredPositions:
    """Positions of a batch that alone are asked for, in a tensor of a fixed number of rows.

    Attributes:
        positions: index into the flattened batch, (n,) int64; padded by any position.
        slots: the row of every position, (B L,) int64; n where it has none. None where no gradient is wanted.
    """

    positions: Tensor
    slots: Tensor | None = None

    def before(self, length: int) -> GatheredPositions:
        """The positions one to the left of these in windows of ``length``; of a window's first, its last."""
        begin = self.positions // length * length
        slots = None if self.slots is None else self.slots.view(-1, length).roll(-1, 1).flatten()
        return GatheredPositions(begin + (self.positions - begin - 1) % length, slots)

    def rows_of(self, x: Tensor) -> Tensor:
        """(B, L, D) to (n, D). Rows of padding give no gradient."""
        if self.slots is None:
            return x.flatten(0, 1).index_select(0, self.positions)
        return training_kernels.gather_rows(x.flatten(0, 1), self.positions, self.slots)


class Seen(StrEnum):
    """What a position's attention reads."""

    ALL = "all"
    UP_TO_ITSELF = "up to itself"


class Attention(nn.Module):
    """Multi-head attention with rotary positions and normalised queries and keys."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)

    def mix(
        self, x: Tensor, cos: Tensor, sin: Tensor, seen: Seen | Any = Seen.ALL, own: Tensor | None = None
    ) -> Tensor:
        """The heads' results side by side, before the last matrix; (B, L, D) to (B, L, D).

        Args:
            x: normalised stream, (B, L, D).
            cos: (L, d / 2).
            sin: (L, d / 2).
            seen: what each position reads: all, those up to itself, (L, L) bool, or a ``BlockMask`` of torch's.
            own: added to the values, (B, L, D).
        """
        q, k, v = self._project(x, cos, sin)
        if own is not None:
            v = v + own.view(v.shape)
        q, k, v = (each.transpose(1, 2) for each in (q, k, v))
        if isinstance(seen, Seen):
            mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=seen is Seen.UP_TO_ITSELF)
        elif isinstance(seen, Tensor):
            mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        else:
            from torch.nn.attention.flex_attention import flex_attention  # it takes the compiler along

            half = x.shape[1] // 2
            clean = functional.scaled_dot_product_attention(
                q[:, :, :half], k[:, :, :half], v[:, :, :half], is_causal=True
            )
            noised = flex_attention(q[:, :, half:], k, v, block_mask=seen)
            mixed = torch.cat((clean, noised), dim=2)
        return mixed.transpose(1, 2).reshape(x.shape)

    def _project(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised and rotated queries and keys, and values, each (B, L, H, d)."""
        batch, length, width = x.shape
        if training_kernels.is_specialised(x, "rotary") and training_kernels.fits_rotary(width, self.num_heads):
            return training_kernels.rotated_projection(x, self.qkv.weight, cos, sin, self.num_heads)
        qkv = self.qkv(x).view(batch, length, 3, self.num_heads, width // self.num_heads)
        q, k, v = qkv.unbind(dim=2)
        return _normalised_and_rotated(q, cos, sin), _normalised_and_rotated(k, cos, sin), v


class FeedForward(nn.Module):
    """Two linear maps with a squared ReLU between."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.width, config.mlp_width, bias=False)
        self.down = nn.Linear(config.mlp_width, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., D)."""
        up, down = self.up.weight, self.down.weight
        if training_kernels.is_specialised(x, "squared_relu") and squared_relu.fits(up):
            return training_kernels.squared_relu_feed_forward(x, up, down)
        out: Tensor = self.down(squared_relu_linear(x, up))
        return out


class Block(nn.Module):
    """Attention, then feed-forward, each on the normalised stream and added to it."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.feed_forward = FeedForward(config)
        self.modulation = nn.Linear(config.width, 4 * config.width, bias=False) if config.time_conditioned else None
        self.input_mix = nn.Parameter(torch.tensor([1.0, 0.0])) if config.input_mix else None
        self.dropout = 0.0

    def _dropped(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout, training=True) if self.dropout and self.training else x

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, condition: Tensor | None = None,
        gathered: GatheredPositions | None = None, seen: Seen | Any = Seen.ALL, own: Tensor | None = None,
        start: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Map (B, L, D) to (B, L, D), or to (n, D) at gathered positions.

        Args:
            x: the stream, (B, L, D).
            cos: of the positions, (L, d / 2).
            sin: likewise.
            condition: on the noise level, (B, 1, D), or None.
            gathered: positions that are asked for; None: all.
            seen: what each position's attention reads; see :meth:`Attention.mix`.
            own: vectors of the tokens among the values, (B, L, D), or None.
            start: the stream as it began, (B, L, D); read where it is mixed in.
        """
        if self.input_mix is not None:
            assert start is not None
            x = (self.input_mix[0] * x + self.input_mix[1] * start).to(x.dtype)
        if self.modulation is None or condition is None:
            mixed = self.attention.mix(rms_norm(x), cos, sin, seen, own)
            if gathered is not None:  # attention looks everywhere, what follows it is each position's own
                mixed, x = gathered.rows_of(mixed), gathered.rows_of(x)
            x = x + self._dropped(self.attention.out(mixed))
            out: Tensor = x + self._dropped(self.feed_forward(rms_norm(x)))
            return out
        scale1, shift1, scale2, shift2 = self.modulation(condition).chunk(4, dim=-1)
        mixed = self.attention.mix(rms_norm(x) * (1 + scale1) + shift1, cos, sin, seen, own)
        if gathered is not None:
            window = gathered.positions // x.shape[1]
            scale2, shift2 = (each.flatten(0, 1).index_select(0, window) for each in (scale2, shift2))
            mixed, x = gathered.rows_of(mixed), gathered.rows_of(x)
        x = x + self.attention.out(mixed)
        conditioned: Tensor = x + self.feed_forward(rms_norm(x) * (1 + scale2) + shift2)
        return conditioned


def _beside(tokens: Tensor, places: int, unknown: int) -> Tensor:
    """The tokens so many places to the right, (B, L); ``unknown`` beyond the window."""
    kept = max(tokens.shape[1] - abs(places), 0)
    nothing = tokens.new_full((tokens.shape[0], tokens.shape[1] - kept), unknown)
    return torch.cat(
        (nothing, tokens[:, :kept]) if places < 0 else (tokens[:, tokens.shape[1] - kept :], nothing), dim=1
    )


class NeighbourEmbedding(nn.Module):
    """Vectors of pairs of tokens near the one that is to be told, in tables that a hash of a pair points into.

    A masked neighbour counts as the mask, one that must not be seen as well: no token is read that attention may not
    read.
    """

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__()
        self.rows, self.num_ids = config.neighbour_rows, config.vocab_size + 1
        count = 1 if config.objective == "ar" else len(_NEIGHBOURS)
        self.tables = nn.ModuleList(nn.Embedding(config.neighbour_rows, config.width) for _ in range(count))

    def forward(self, beside: Callable[[int], Tensor]) -> Tensor:
        """The sum of the vectors of each position, (B, L, D).

        Args:
            beside: maps a place, from the token that is to be told, to the tokens there, (B, L) ids up to the mask's.
        """
        found = [
            functional.embedding(self._row(beside(first), beside(second)), _in_product_type(table.weight))
            for table, (first, second) in zip(self.tables, _NEIGHBOURS, strict=False)
        ]
        return torch.stack(found).sum(dim=0) if len(found) > 2 else sum(found[1:], start=found[0])

    def _row(self, first: Tensor, second: Tensor) -> Tensor:
        return (((first * self.num_ids + second) * _HASH_FACTOR) & 0xFFFFFFFF) % self.rows


def _in_product_type(table: Tensor) -> Tensor:
    """A table in autocast's type, under autocast."""
    kind = table.device.type
    return table.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else table


class TimeEmbedding(nn.Module):
    """sigma to a vector: sines and cosines of sigma at 64 frequencies, then a two-layer network."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(2 * _NUM_TIME_FEATURES, width, bias=False)
        self.outer = nn.Linear(width, width, bias=False)

    def forward(self, sigma: Tensor) -> Tensor:
        """Map (B,) to (B, 1, D)."""
        # Wave lengths from 1/4 to 64, for sigma is between about 0.001 and 10. In float32 whatever the weights are.
        exponent = torch.linspace(-6.0, 2.0, _NUM_TIME_FEATURES, device=sigma.device)
        angle = sigma.float().clamp(max=_LARGEST_SIGMA).unsqueeze(-1) * (2 * math.pi) * torch.exp2(exponent)
        features = torch.cat((angle.sin(), angle.cos()), dim=-1).to(self.inner.weight.dtype)
        out: Tensor = functional.silu(self.outer(functional.silu(self.inner(features)))).unsqueeze(1)
        return out


def block_sight(query: Tensor, key: Tensor, length: int, size: int) -> Tensor:
    """Whether a position of 2 L, clean ones first, reads another, where blocks of ``size`` are predicted in order."""
    clean_query, clean_key = query < length, key < length
    query_block, key_block = query % length // size, key % length // size
    among_clean = torch.where(clean_query, key <= query, key_block < query_block)
    return torch.where(clean_key, among_clean, ~clean_query & (query_block == key_block))


class ReferenceTransformer(nn.Module):
    """Tokens to hidden states to logits; what is trained.

    Args:
        config: its shape.
    """

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__()
        self.config = config
        num_inputs = config.vocab_size + (config.objective == "mdlm")  # a causal model never sees a mask
        self.embedding = nn.Embedding(num_inputs, config.width)
        self.time_embedding = TimeEmbedding(config.width) if config.time_conditioned else None
        self.neighbours = NeighbourEmbedding(config) if config.neighbour_rows else None
        self.value_embeddings = nn.ModuleList(
            nn.Embedding(num_inputs, config.width) for _ in range(config.value_embeddings)
        )
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.head = nn.Linear(config.width, config.head_width, bias=False)

    def embed(self, tokens: Tensor, *, causal: bool = False) -> Tensor:
        """Map (B, L) tokens to (B, L, D), the start of the residual stream; under autocast in its type.

        Args:
            tokens: (B, L) int64.
            causal: whether a position may know of no token behind it.
        """
        table = rms_norm(self.embedding.weight)  # a row a token, not a row a position
        start = functional.embedding(tokens, _in_product_type(table))
        if self.neighbours is None:
            return start
        unknown, ahead = self.config.mask_token_id, int(causal or self.config.shifted)

        def beside(place: int) -> Tensor:
            hidden = causal and place + ahead > 0
            return torch.full_like(tokens, unknown) if hidden else _beside(tokens, place + ahead, unknown)

        return start + self.neighbours(beside)

    def trunk(
        self, tokens: Tensor, sigma: Tensor | None = None, gathered: GatheredPositions | None = None, *,
        causal: bool | None = None,
    ) -> Tensor:  # fmt: skip
        """Map (B, L) tokens to the end of the residual stream (B, L, D), or at ``gathered`` positions alone, (n, D).

        The last block's attention then reads every position and answers for these alone.

        Args:
            tokens: (B, L) int64.
            sigma: (B,) where conditioned.
            gathered: positions that are asked for; None: all.
            causal: whether a position sees those up to itself alone, and tells the token behind it; None: as the
                network's objective is.
        """
        assert tokens.shape[1] <= self.config.context_length, "window longer than the context"
        causal = self.config.objective == "ar" if causal is None else causal
        condition = None
        if self.time_embedding is not None:
            assert sigma is not None, "a time-conditioned network needs sigma"
            condition = self.time_embedding(sigma)
        turned = self.config.shifted and not causal
        if turned and gathered is not None:
            gathered = gathered.before(tokens.shape[1])
        seen = Seen.UP_TO_ITSELF if causal else Seen.ALL
        end = self._through_blocks(
            self.embed(tokens, causal=causal),
            tokens,
            self._angles(tokens.shape[1], tokens.device),
            condition,
            gathered,
            seen,
        )
        return end.roll(1, dims=1) if turned and gathered is None else end

    def block_trunk(
        self, xt: Tensor, x0: Tensor, gathered: GatheredPositions | None = None, seen: Any = None
    ) -> Tensor:
        """Noised windows and the same clean, (B, L) each, to the end of the stream of both, clean first, (B, 2 L, D).

        A noised position sees the noised ones of its block and the clean ones of earlier blocks; a clean position sees
        the clean ones up to itself.

        Args:
            xt: (B, L) int64.
            x0: (B, L) int64.
            gathered: positions of the (B, 2 L) that are asked for, or None for all.
            seen: what attention reads, in another form than :meth:`block_sight`'s table.
        """
        size, length = self.config.block_size, xt.shape[1]
        assert size is not None
        assert length <= self.config.context_length, "window longer than the context"
        tokens = torch.cat((x0, xt), dim=1)
        start = torch.cat((self.embed(x0, causal=True), self._embed_noised(xt, x0, size)), dim=1)
        cos, sin = (table.repeat(2, 1) for table in self._angles(length, xt.device))
        if seen is None:
            place = torch.arange(2 * length, device=xt.device)
            seen = block_sight(place[:, None], place[None, :], length, size)
        return self._through_blocks(start, tokens, (cos, sin), None, gathered, seen)

    def _embed_noised(self, xt: Tensor, x0: Tensor, size: int) -> Tensor:
        start = functional.embedding(xt, _in_product_type(rms_norm(self.embedding.weight)))
        if self.neighbours is None:
            return start
        unknown, place = self.config.mask_token_id, torch.arange(xt.shape[1], device=xt.device)

        def beside(places: int) -> Tensor:
            same = (place + places) // size == place // size
            other = _beside(x0, places, unknown) if places < 0 else torch.full_like(xt, unknown)
            return torch.where(same, _beside(xt, places, unknown), other)

        return start + self.neighbours(beside)

    def _angles(self, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Cosine and sine of every position's rotation, (L, d / 2) float32."""
        head_width = self.config.width // self.config.num_heads
        # Positions are computed in float32 on every pass: tables stored in bfloat16 could not tell far ones apart.
        pair = torch.arange(head_width // 2, device=device, dtype=torch.float32)
        angle = torch.outer(
            torch.arange(length, device=device, dtype=torch.float32), 10_000.0 ** (-2.0 * pair / head_width)
        )
        return angle.cos(), angle.sin()

    def _through_blocks(
        self, x: Tensor, tokens: Tensor, angles: tuple[Tensor, Tensor], condition: Tensor | None,
        gathered: GatheredPositions | None, seen: Any,
    ) -> Tensor:  # fmt: skip
        start = x if self.config.input_mix else None
        first_own = len(self.blocks) - len(self.value_embeddings)
        for number, block in enumerate(self.blocks):
            own = None
            if number >= first_own:
                table = self.value_embeddings[number - first_own].weight
                own = functional.embedding(tokens, _in_product_type(table))
            at = gathered if number == len(self.blocks) - 1 else None
            x = block(x, *angles, condition, at, seen, own, start)
        return x

    def hidden(self, tokens: Tensor, sigma: Tensor | None = None, gathered: GatheredPositions | None = None) -> Tensor:
        """Map (B, L) tokens, and sigma (B,) where conditioned, to normalised hidden states (B, L, D), or (n, D)."""
        return rms_norm(self.trunk(tokens, sigma, gathered))

    def forward(self, tokens: Tensor, sigma: Tensor | None = None) -> Tensor:
        """Map (B, L) tokens to (B, L, W) logits."""
        logits: Tensor = self.head(self.hidden(tokens, sigma))
        return logits


@final
class ReferenceDenoiser:
    """A reference network as a :class:`bpb_harness.denoiser.Denoiser`.

    ``hidden`` and ``head`` split :meth:`logits` so that the head can run at masked positions alone.

    Args:
        network: an mdlm network, its weights in float32.
        dtype: bfloat16 runs matrix products in it, by autocast, as in training.
    """

    is_stateless = True

    def __init__(self, network: ReferenceTransformer, dtype: torch.dtype = torch.float32) -> None:
        assert network.config.objective == "mdlm"
        assert network.config.block_size is None
        self.network, self._dtype = network, dtype
        self.vocab_size = network.config.vocab_size
        self.mask_token_id = network.config.mask_token_id
        self.context_length = network.config.context_length
        self.time_conditioned = network.config.time_conditioned

    def hidden(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        """Map (B, L) tokens at a noise level of (B,) to (B, L, D)."""
        with autocast(xt.device, self._dtype):
            return self.network.hidden(xt, level.sigma if self.time_conditioned else None)

    def hidden_at(self, xt: Tensor, level: NoiseLevel, positions: Tensor) -> Tensor:
        """The same at some positions of the flattened batch, (n, D): the last block answers for these alone."""
        with autocast(xt.device, self._dtype):
            return self.network.hidden(xt, level.sigma if self.time_conditioned else None, GatheredPositions(positions))

    def head(self, hidden: Tensor) -> Tensor:
        """Map (..., D) to logits (..., W)."""
        with autocast(hidden.device, self._dtype):
            logits: Tensor = self.network.head(hidden)
        return logits

    def logits(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        """Map (B, L) tokens at a noise level of (B,) to (B, L, W) logits."""
        return self.head(self.hidden(xt, level))


@final
class ReferenceBlockDenoiser:
    """A reference network of blocks as a :class:`bpb_harness.denoiser.FactoredBlockDenoiser`.

    Args:
        network: an mdlm network with blocks, its weights in float32.
        dtype: bfloat16 runs matrix products in it, by autocast, as in training.
    """

    is_stateless = True
    time_conditioned = False

    def __init__(self, network: ReferenceTransformer, dtype: torch.dtype = torch.float32) -> None:
        assert network.config.block_size is not None
        self.network, self._dtype = network, dtype
        self.vocab_size = network.config.vocab_size
        self.mask_token_id = network.config.mask_token_id
        self.context_length = network.config.context_length
        self.block_size = network.config.block_size

    def block_hidden(self, xt: Tensor, x0: Tensor, level: NoiseLevel) -> Tensor:  # noqa: ARG002
        """Map noised windows and the same clean, (B, L) each, to (B, L, D): in block k given clean blocks before k."""
        with autocast(xt.device, self._dtype):
            return rms_norm(self.network.block_trunk(xt, x0)[:, xt.shape[1] :])

    def block_logits(self, xt: Tensor, x0: Tensor, level: NoiseLevel) -> Tensor:
        """The same to (B, L, W) logits."""
        return self.head(self.block_hidden(xt, x0, level))

    def hidden(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        """Map rows that end in the block that is asked for, (B, L), all before it clean, to (B, L, D)."""
        return self.block_hidden(xt, xt, level)

    def head(self, hidden: Tensor) -> Tensor:
        """Map (..., D) to logits (..., W)."""
        with autocast(hidden.device, self._dtype):
            logits: Tensor = self.network.head(hidden)
        return logits

    def logits(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        """Map such rows to (B, L, W) logits."""
        return self.head(self.hidden(xt, level))


@final
class ReferenceCausalLM:
    """A causal reference network as a :class:`bpb_harness.denoiser.CausalLM`.

    Args:
        network: an ar network, its weights in float32.
        dtype: bfloat16 runs matrix products in it, by autocast, as in training.
    """

    def __init__(self, network: ReferenceTransformer, dtype: torch.dtype = torch.float32) -> None:
        assert network.config.objective == "ar"
        self.network, self._dtype = network, dtype
        self.vocab_size = network.config.vocab_size
        self.context_length = network.config.context_length

    def hidden(self, x: Tensor) -> Tensor:
        """Map (B, L) tokens to (B, L, D)."""
        with autocast(x.device, self._dtype):
            return self.network.hidden(x)

    def head(self, hidden: Tensor) -> Tensor:
        """Map (..., D) to logits (..., W)."""
        with autocast(hidden.device, self._dtype):
            logits: Tensor = self.network.head(hidden)
        return logits

    def logits(self, x: Tensor) -> Tensor:
        """Map (B, L) tokens to (B, L, W) logits for the tokens that follow."""
        return self.head(self.hidden(x))


def adapt(
    network: ReferenceTransformer, dtype: torch.dtype = torch.float32
) -> ReferenceDenoiser | ReferenceBlockDenoiser | ReferenceCausalLM:
    """The network as the harness sees it; in evaluation mode, without gradients."""
    network = network.eval().requires_grad_(False)
    if network.config.objective == "ar":
        return ReferenceCausalLM(network, dtype)
    kind = ReferenceDenoiser if network.config.block_size is None else ReferenceBlockDenoiser
    return kind(network, dtype)


class _NothingDrawn(TorchFunctionMode):
    """Modules are made without first values: weights without memory need none, and asking imports torch's compiler."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == nn.init.__name__:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def build_network(config: ReferenceConfig, tensors: Mapping[str, Tensor]) -> ReferenceTransformer:
    """A network with a checkpoint's weights, in float32.

    Nothing is allocated before names and shapes were compared, so a config cannot ask for memory that the file lacks.

    Raises:
        CheckpointError: if a tensor is missing, left over, of another shape, or no finite floats.
    """
    with torch.device("meta"), _NothingDrawn():
        network = ReferenceTransformer(config)
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors:
            raise CheckpointError(f"reference network: tensor {name!r} is missing", expected=f"{expected[name]} floats")
        if name not in expected:
            raise CheckpointError("reference network: tensor does not belong", seen=repr(name))
        if tuple(tensors[name].shape) != expected[name] or not tensors[name].is_floating_point():
            seen = f"{tuple(tensors[name].shape)} of {tensors[name].dtype}"
            raise CheckpointError(f"reference network: tensor {name!r}", seen=seen, expected=f"{expected[name]} floats")
        require_weights(tensors[name], f"reference network: tensor {name!r}")
    # Copies are aligned in memory, tensors of a mapped file need not be: the same weights give the same bits.
    floats = {name: tensor.to(torch.float32, copy=True) for name, tensor in tensors.items()}
    network.load_state_dict(floats, strict=True, assign=True)
    return network
