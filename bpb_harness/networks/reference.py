"""The reference network: one transformer that the project trains itself, as a masked-diffusion or a causal model.

Its definition stands here, and not beside the trainer, so that an installed harness scores reference checkpoints
without the trainer. ``reference/model.py`` adds what only training needs.

The network is a pre-norm transformer without biases or norm weights: RMS norm, rotary positions, normalised queries and
keys, squared-ReLU feed-forward layers, and a head: the embedding's rows again, or one of its own, whose width is a
multiple of 64 (columns from ``vocab_size`` on are padding, which the harness ignores). Conditioned on time, each block
scales and shifts its normalised input by a function of sigma = -log alpha_t (adaptive layer norm, Peebles and Xie 2023,
arXiv 2212.09748, section 3.2).

A network of blocks predicts the blocks of a window in order, each given all tokens before it and the visible ones of
its own (block diffusion, Arriola et al. 2025, arXiv 2503.09573). The tokens before it are read causally, so that such a
network can learn to tell the token behind each of them as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias, final

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.nn import functional

from bpb_harness.checkpoints.names import require_weights
from bpb_harness.errors import CheckpointError
from bpb_harness.kernels import squared_relu
from bpb_harness.kernels import training as training_kernels
from bpb_harness.kernels.block_attention import dense_sight, sparse_attention
from bpb_harness.kernels.squared_relu import squared_relu_linear
from bpb_harness.networks.layers import NothingDrawn, autocast, rms_norm
from bpb_harness.schedule import NoiseLevel

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

OBJECTIVES = ("mdlm", "ar")
_LARGEST = 1 << 24  # of every size
_NUM_TIME_FEATURES = 64
_TIED_SCALE = 0.5  # of the embedding's rows as a head
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
        block_size: B, tokens of a block, each predicted given all tokens before it; None: a window is predicted whole.
        tied_head: whether the head is the embedding.

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
    block_size: int | None = None
    tied_head: bool = False

    def __post_init__(self) -> None:
        for name in ("vocab_size", "context_length", "num_layers", "width", "num_heads", "mlp_width"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _LARGEST:
                is_large = isinstance(value, int) and value > _LARGEST
                expected = f"at most {_LARGEST:,}" if is_large else "a positive integer"
                raise CheckpointError(f"reference network: {name}", seen=repr(value), expected=expected)
        if self.width % (2 * self.num_heads):
            seen = f"width {self.width}, {self.num_heads} heads"
            raise CheckpointError("reference network", seen=seen, expected="a width that is a multiple of 2 x heads")
        if self.objective not in OBJECTIVES:
            raise CheckpointError("reference network: objective", seen=repr(self.objective), expected="mdlm or ar")
        for name in ("time_conditioned", "tied_head"):
            if not isinstance(getattr(self, name), bool):
                raise CheckpointError(f"reference network: {name}", seen=repr(getattr(self, name)))
        if self.time_conditioned and self.objective == "ar":
            raise CheckpointError("reference network: a causal model has no noise level to be conditioned on")
        if self.block_size is not None:
            self._check_blocks(self.block_size)

    def _check_blocks(self, size: object) -> None:
        if not isinstance(size, int) or isinstance(size, bool) or not 0 < size < self.context_length:
            expected = f"a positive integer below context_length {self.context_length}"
            raise CheckpointError("reference network: block_size", seen=repr(size), expected=expected)
        if self.objective == "ar" or self.time_conditioned:
            what = "a causal model" if self.objective == "ar" else "a network that is told the noise level"
            raise CheckpointError("reference network: block_size", seen=f"{size} in {what}", expected="none")

    @property
    def mask_token_id(self) -> int:
        """Id of the absorbing state: the first beyond the clean tokens."""
        return self.vocab_size

    @property
    def head_width(self) -> int:
        """W: the vocabulary; with a head of its own up to a multiple of 64, which matrix products on a GPU like."""
        return self.vocab_size if self.tied_head else -(-self.vocab_size // 64) * 64

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint's ``config``; without blocks or a tied head, those of before there were any."""
        values = asdict(self)
        if self.block_size is None:
            del values["block_size"]
        if not self.tied_head:
            del values["tied_head"]
        return values

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

    def rows_of(self, x: Tensor) -> Tensor:
        """(B, L, D) to (n, D). Rows of padding give no gradient."""
        if self.slots is None:
            return x.flatten(0, 1).index_select(0, self.positions)
        return training_kernels.gather_rows(x.flatten(0, 1), self.positions, self.slots)


class Seen(StrEnum):
    """What a position's attention reads."""

    ALL = "all"
    UP_TO_ITSELF = "up to itself"


# That, a table of it, (L, L) bool, or a table whose empty tiles are skipped: of the noised half of a network of blocks.
Sight: TypeAlias = "Seen | Tensor | BlockMask"


class Attention(nn.Module):
    """Multi-head attention with rotary positions and normalised queries and keys."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)

    def mix(self, x: Tensor, cos: Tensor, sin: Tensor, sight: Sight) -> Tensor:
        """The heads' results side by side, before the last matrix; (B, L, D) to (B, L, D).

        Args:
            x: normalised stream, (B, L, D).
            cos: of each position's rotation, (L, d / 2).
            sin: likewise.
            sight: what each position reads.
        """
        q, k, v = (each.transpose(1, 2) for each in self._project(x, cos, sin))
        if isinstance(sight, Seen):
            mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=sight is Seen.UP_TO_ITSELF)
        elif isinstance(sight, Tensor):
            mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=sight)
        else:
            mixed = sparse_attention(q, k, v, sight)
        return mixed.transpose(1, 2).reshape(x.shape)

    def _project(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised and rotated queries and keys, and values, each (B, L, H, d)."""
        batch, length, width = x.shape
        fits = is_compiling() and training_kernels.fits_rotary(width, self.num_heads)
        if fits and training_kernels.is_specialised(x, "rotary"):
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
        if not is_compiling():  # kernels serve compiled networks alone
            out: Tensor = self.down(functional.relu(self.up(x)).square())
        elif training_kernels.is_specialised(x, "squared_relu") and squared_relu.fits(up):
            out = training_kernels.squared_relu_feed_forward(x, up, down)
        else:
            out = self.down(squared_relu_linear(x, up))
        return out


class Block(nn.Module):
    """Attention, then feed-forward, each on the normalised stream and added to it.

    Attributes:
        dropout: share of what is added that a training step leaves out; scoring leaves out nothing.
    """

    dropout = 0.0

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.feed_forward = FeedForward(config)
        self.modulation = nn.Linear(config.width, 4 * config.width, bias=False) if config.time_conditioned else None

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, sight: Sight, condition: Tensor | None,
        gathered: GatheredPositions | None = None,
    ) -> Tensor:  # fmt: skip
        """Map (B, L, D) to (B, L, D), or to (n, D) at gathered positions; ``condition`` is (B, 1, D) or None."""
        if self.modulation is None or condition is None:
            mixed = self.attention.mix(rms_norm(x), cos, sin, sight)
            if gathered is not None:  # attention looks everywhere, what follows it is each position's own
                mixed, x = gathered.rows_of(mixed), gathered.rows_of(x)
            x = x + self._kept(self.attention.out(mixed))
            out: Tensor = x + self._kept(self.feed_forward(rms_norm(x)))
            return out
        scale1, shift1, scale2, shift2 = self.modulation(condition).chunk(4, dim=-1)
        mixed = self.attention.mix(rms_norm(x) * (1 + scale1) + shift1, cos, sin, sight)
        if gathered is not None:
            window = gathered.positions // x.shape[1]
            scale2, shift2 = (each.flatten(0, 1).index_select(0, window) for each in (scale2, shift2))
            mixed, x = gathered.rows_of(mixed), gathered.rows_of(x)
        x = x + self._kept(self.attention.out(mixed))
        conditioned: Tensor = x + self._kept(self.feed_forward(rms_norm(x) * (1 + scale2) + shift2))
        return conditioned

    def _kept(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout) if self.dropout and self.training else x


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


class TiedHead(nn.Module):
    """The embedding's rows as a head, halved; the mask's is none."""

    def __init__(self, embedding: nn.Embedding, vocab_size: int) -> None:
        super().__init__()
        self._embedding, self._vocab_size = (embedding,), vocab_size  # in a tuple, for it is not this module's own

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., V)."""
        return functional.linear(x, self._embedding[0].weight[: self._vocab_size] * _TIED_SCALE)


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
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.head: nn.Linear | TiedHead
        if config.tied_head:
            self.head = TiedHead(self.embedding, config.vocab_size)
        else:
            self.head = nn.Linear(config.width, config.head_width, bias=False)

    def set_dropout(self, share: float) -> None:
        """Leave out a share of what each branch adds, in training alone."""
        for block in self.blocks:
            assert isinstance(block, Block)
            block.dropout = share

    def embed(self, tokens: Tensor) -> Tensor:
        """Map (B, L) tokens to (B, L, D), the start of the residual stream; under autocast in its type."""
        table = rms_norm(self.embedding.weight)  # a row a token, not a row a position
        kind = table.device.type
        table = table.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else table
        return functional.embedding(tokens, table)

    def trunk(
        self, tokens: Tensor, sigma: Tensor | None = None, gathered: GatheredPositions | None = None, *,
        causal: bool = False,
    ) -> Tensor:  # fmt: skip
        """Map (B, L) tokens, and sigma (B,) where conditioned, to the end of the residual stream (B, L, D).

        With ``gathered``, to (n, D): the last block's attention reads every position and answers for these alone. With
        ``causal``, and in a causal network always, a position reads those up to itself.
        """
        condition = None
        if self.time_embedding is not None:
            assert sigma is not None, "a time-conditioned network needs sigma"
            condition = self.time_embedding(sigma)
        sight = Seen.UP_TO_ITSELF if causal or self.config.objective == "ar" else Seen.ALL
        return self._through_blocks(tokens, self._angles(tokens), sight, condition, gathered)

    def block_trunk(
        self, xt: Tensor, x0: Tensor, gathered: GatheredPositions | None = None, sight: Sight | None = None
    ) -> Tensor:
        """Map noised windows and the same clean, (B, L) each, to the end of both streams, clean first, (B, 2 L, D).

        Args:
            xt: noised, (B, L) int64.
            x0: clean, (B, L) int64.
            gathered: positions of the (B, 2 L) that are asked for; None: all.
            sight: what attention reads, in a form that is faster than a table; None: a table.
        """
        size, length = self.config.block_size, xt.shape[1]
        assert size is not None
        cos, sin = (table.repeat(2, 1) for table in self._angles(xt))
        sight = dense_sight(length, size, xt.device) if sight is None else sight
        return self._through_blocks(torch.cat((x0, xt), dim=1), (cos, sin), sight, None, gathered)

    def _angles(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine of the rotation of each position, (L, d / 2) float32."""
        length, head_width = tokens.shape[1], self.config.width // self.config.num_heads
        assert length <= self.config.context_length, "window longer than the context"
        # Positions are computed in float32 on every pass: tables stored in bfloat16 could not tell far ones apart.
        pair = torch.arange(head_width // 2, device=tokens.device, dtype=torch.float32)
        angle = torch.outer(
            torch.arange(length, device=tokens.device, dtype=torch.float32), 10_000.0 ** (-2.0 * pair / head_width)
        )
        return angle.cos(), angle.sin()

    def _through_blocks(
        self, tokens: Tensor, angles: tuple[Tensor, Tensor], sight: Sight, condition: Tensor | None,
        gathered: GatheredPositions | None,
    ) -> Tensor:  # fmt: skip
        x = self.embed(tokens)
        *first, last = self.blocks
        for block in first:
            x = block(x, *angles, sight, condition)
        end: Tensor = last(x, *angles, sight, condition, gathered)
        return end

    def hidden(self, tokens: Tensor, sigma: Tensor | None = None, gathered: GatheredPositions | None = None) -> Tensor:
        """Map (B, L) tokens, and sigma (B,) where conditioned, to normalised hidden states (B, L, D), or (n, D)."""
        return rms_norm(self.trunk(tokens, sigma, gathered))

    def forward(self, tokens: Tensor, sigma: Tensor | None = None) -> Tensor:
        """Map (B, L) tokens to (B, L, W) logits."""
        logits: Tensor = self.head(self.hidden(tokens, sigma))
        return logits


class _ReferenceNetwork:
    """What is the same of all reference networks: the settings of a model, and its head. :func:`adapt` makes them."""

    def __init__(self, network: ReferenceTransformer, dtype: torch.dtype = torch.float32) -> None:
        self.network, self._dtype = network, dtype
        self.vocab_size = network.config.vocab_size
        self.context_length = network.config.context_length

    def head(self, hidden: Tensor) -> Tensor:
        """Map (..., D) to logits (..., W)."""
        with autocast(hidden.device, self._dtype):
            logits: Tensor = self.network.head(hidden)
        return logits


class _MaskedReference(_ReferenceNetwork):
    """What is the same of those that predict masked tokens; logits by way of the head."""

    is_stateless = True
    autocasts = True

    def __init__(self, network: ReferenceTransformer, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(network, dtype)
        self.mask_token_id = network.config.mask_token_id
        self.time_conditioned = network.config.time_conditioned

    def hidden(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        """Map (B, L) tokens at a noise level of (B,) to (B, L, D)."""
        raise NotImplementedError

    def logits(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        """Map the tokens and levels of :meth:`hidden` to (B, L, W) logits."""
        return self.head(self.hidden(xt, level))


@final
class ReferenceDenoiser(_MaskedReference):
    """A reference network as a :class:`bpb_harness.denoiser.Denoiser`.

    ``hidden`` and ``head`` split :meth:`logits` so that the head can run at masked positions alone.

    Args:
        network: an mdlm network, its weights in float32.
        dtype: bfloat16 runs matrix products in it, by autocast, as in training.
    """

    def hidden(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        """Map (B, L) tokens at a noise level of (B,) to (B, L, D)."""
        with autocast(xt.device, self._dtype):
            return self.network.hidden(xt, level.sigma if self.time_conditioned else None)

    def hidden_at(self, xt: Tensor, level: NoiseLevel, positions: Tensor) -> Tensor:
        """The same at some positions of the flattened batch, (n, D): the last block answers for these alone."""
        with autocast(xt.device, self._dtype):
            return self.network.hidden(xt, level.sigma if self.time_conditioned else None, GatheredPositions(positions))


@final
class ReferenceBlockDenoiser(_MaskedReference):
    """A reference network of blocks as a :class:`bpb_harness.denoiser.FactoredBlockDenoiser`.

    Args:
        network: an mdlm network with blocks, its weights in float32.
        dtype: bfloat16 runs matrix products in it, by autocast, as in training.
    """

    def __init__(self, network: ReferenceTransformer, dtype: torch.dtype = torch.float32) -> None:
        assert network.config.block_size is not None
        super().__init__(network, dtype)
        self.block_size = network.config.block_size

    def block_hidden(self, xt: Tensor, x0: Tensor, level: NoiseLevel) -> Tensor:  # noqa: ARG002
        """Map noised windows and the same clean, (B, L) each, to (B, L, D)."""
        with autocast(xt.device, self._dtype):
            return rms_norm(self.network.block_trunk(xt, x0)[:, xt.shape[1] :])

    def block_logits(self, xt: Tensor, x0: Tensor, level: NoiseLevel) -> Tensor:
        """Map the same to (B, L, W) logits."""
        return self.head(self.block_hidden(xt, x0, level))

    def hidden(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        """Map rows that end in the block that is asked for, (B, L), the blocks before it clean, to (B, L, D)."""
        return self.block_hidden(xt, xt, level)


@final
class ReferenceCausalLM(_ReferenceNetwork):
    """A causal reference network as a :class:`bpb_harness.denoiser.CausalLM`.

    Args:
        network: an ar network, its weights in float32.
        dtype: bfloat16 runs matrix products in it, by autocast, as in training.
    """

    def hidden(self, x: Tensor) -> Tensor:
        """Map (B, L) tokens to (B, L, D)."""
        with autocast(x.device, self._dtype):
            return self.network.hidden(x)

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
    return (ReferenceDenoiser if network.config.block_size is None else ReferenceBlockDenoiser)(network, dtype)


def build_network(config: ReferenceConfig, tensors: Mapping[str, Tensor]) -> ReferenceTransformer:
    """A network with a checkpoint's weights, in float32.

    Nothing is allocated before names and shapes were compared, so a config cannot ask for memory that the file lacks.

    Raises:
        CheckpointError: if a tensor is missing, left over, of another shape, or no finite floats.
    """
    with torch.device("meta"), NothingDrawn():
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
