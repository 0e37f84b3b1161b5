"""What the harness says of a network while it is trained: its own estimator, on the first validation windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from bpb_harness.byte_count import Tokenizer
from bpb_harness.evaluation.inputs import EvaluationText
from bpb_harness.evaluation.job import Job, ModelIdentity
from bpb_harness.evaluation.score import score
from bpb_harness.evaluation.settings import Settings
from bpb_harness.networks.reference import ReferenceTransformer, adapt
from bpb_harness.result import BpbResult
from bpb_harness.schedule import NoiseSchedule
from bpb_harness.text.corpus import load_shards


class Validation:
    """Scores weights on the same windows, with the same masks, at every call: differences are the network's.

    Args:
        paths: validation shards.
        tokenizer: what wrote them.
        num_windows: the first so many windows are scored.
        context: tokens of a window.
        device: cpu or cuda, in bfloat16 on the latter.
        seed: of the masks.

    Attributes:
        corpus: all of the validation text.
        num_windows: that are scored, no more than there are.

    Raises:
        CorpusError: for a shard that cannot be scored.
    """

    def __init__(
        self, paths: Sequence[Path], tokenizer: Tokenizer, *, num_windows: int, context: int, device: str, seed: int
    ) -> None:
        self.corpus = load_shards(list(paths), vocab_size=tokenizer.vocab_size)
        self._text = EvaluationText(self.corpus, tokenizer, "--val-data")
        windows = -(-self.corpus.num_tokens // context)
        self.num_windows, self._device, self._seed = min(num_windows, windows), device, seed

    def score(self, network: ReferenceTransformer, weights: Mapping[str, Tensor], schedule: NoiseSchedule) -> BpbResult:
        """NELBO by ``mc`` with one stratified draw a window, or the code length of a causal network.

        Args:
            network: whose form is scored; it stays as it is.
            weights: what to score in its place, by name.
            schedule: of the bound.

        Raises:
            NumericsError: if the network gives NaN.
        """
        causal = network.config.objective == "ar"
        settings = Settings(
            method="ar" if causal else "mc",
            num_samples=None if causal else 1,
            limit=self.num_windows,
            seed=self._seed,
            device=self._device,
            dtype="bfloat16" if self._device == "cuda" else "float32",
            compile_network=False,
        )
        model = adapt(_plain_copy(network, weights), settings.torch_dtype())
        return score(Job(model, self._text, settings, None if causal else schedule, ModelIdentity("training")))


def _plain_copy(network: ReferenceTransformer, weights: Mapping[str, Tensor]) -> ReferenceTransformer:
    """A network of the same form that is not compiled and takes no gradients."""
    with torch.device("meta"):
        copied = ReferenceTransformer(network.config)
    copied.load_state_dict({name: tensor.detach() for name, tensor in weights.items()}, assign=True)
    return copied
