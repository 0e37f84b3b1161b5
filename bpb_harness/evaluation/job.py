"""One evaluation: a network, a text and settings, and what follows from them before any number is computed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import final

import numpy as np
import numpy.typing as npt
import torch

from bpb_harness._version import __version__
from bpb_harness.denoiser import BlockDenoiser, CausalLM, Denoiser, num_clean_tokens, own_block_size
from bpb_harness.distributed import Processes, pick_device
from bpb_harness.errors import CorpusError, TokenizerError, UsageError
from bpb_harness.estimators import Bound, ChainRule, ExactBound
from bpb_harness.estimators.exact import SpanKind, require_enumerable
from bpb_harness.evaluation.block_networks import require_whole_blocks, with_own_blocks
from bpb_harness.evaluation.inputs import EvaluationText, require_same_vocabulary
from bpb_harness.evaluation.layout import Layout, lay_spans, limited
from bpb_harness.evaluation.methods import METHODS, Estimator, Method, either, names
from bpb_harness.evaluation.phase_clock import PhaseClock
from bpb_harness.evaluation.settings import Settings, as_paths
from bpb_harness.result import Signature
from bpb_harness.sampling.bigram import bigram_difficulty, count_bigrams, in_threads
from bpb_harness.schedule import NoiseSchedule
from bpb_harness.second_look.asking import ModelSource
from bpb_harness.text.answer_spans import AnswerSpans, answer_spans
from bpb_harness.text.files import named_paths
from bpb_harness.text.spans import Spans, runs_of, span_bytes
from bpb_harness.units import counted

_CHUNK_TOKENS = 1 << 20

Progress = Callable[[int, int], None]
Ints = npt.NDArray[np.int64]


@final
@dataclass(frozen=True)
class ModelIdentity:
    """How the signature names a model: its digest, and its adapter where that is not the native one."""

    digest: str
    adapter: str | None = None


@final
@dataclass(frozen=True)
class Job:
    """What is scored, and how.

    Attributes:
        model: a denoiser, or a causal model for ``method="ar"``; on the settings' device.
        text: what is scored.
        settings: how.
        schedule: the noise schedule of a denoiser.
        identity: the model's part of the signature.
        progress: called with (tokens done, tokens in all).
        tokenizer_is_own: whether the text's tokenizer is, byte for byte, the one inside the checkpoint.
        source: how another process builds the network; None for one that exists in this process alone.
        clock: where the seconds go.
        own_block: B of a network that predicts blocks; None of any other.
    """

    model: Denoiser | CausalLM
    text: EvaluationText
    settings: Settings
    schedule: NoiseSchedule | None
    identity: ModelIdentity
    progress: Progress | None = None
    tokenizer_is_own: bool = False
    source: ModelSource | None = None
    clock: PhaseClock = field(default_factory=PhaseClock, compare=False, repr=False)
    own_block: int | None = field(init=False, compare=False, repr=False)

    @property
    def method(self) -> Method:
        """What is known of the method."""
        return METHODS[self.settings.method]

    @property
    def denoiser(self) -> Denoiser:
        """The model, where it is a masked denoiser."""
        assert isinstance(self.model, Denoiser)
        return self.model

    def __post_init__(self) -> None:
        """A network of blocks is scored by its own blocks, where the settings name no other layout."""
        object.__setattr__(self, "own_block", own_block_size(self.model))
        if self.own_block is not None or self.settings.scores_answers:
            object.__setattr__(self, "settings", with_own_blocks(self.settings, self.model))

    @property
    def one_call_block_size(self) -> int | None:
        """B, where the network takes all blocks of a window in one call; None where each span is a row."""
        takes_all = self.own_block is not None and isinstance(self.model, BlockDenoiser)
        return self.own_block if takes_all and self.own_block == self.settings.block_size else None

    @property
    def asks_by_blocks(self) -> bool:
        """Whether that one call is what is made: masks are drawn. Enumerations and chains ask for each block alone."""
        return bool(self.bounds) and self.one_call_block_size is not None

    def require_scorable(self) -> None:
        """Refuse a method that is not the network's, a missing schedule, a tokenizer of another vocabulary.

        Raises:
            UsageError: method, schedule, windows too long for the method, or a layout that is not the network's.
            TokenizerError: tokenizer.
            CorpusError: ``--method exact`` and no window to score.
        """
        model, method = self.model, self.method
        is_causal = not isinstance(model, Denoiser)
        if method.is_causal != is_causal:
            seen = "an autoregressive model" if is_causal else "a masked denoiser"
            right = f"--method {either(names(lambda row: row.is_causal == is_causal))}"
            raise UsageError(f"--method {method.name}", seen=seen, expected=right)
        num_clean = model.vocab_size
        if isinstance(model, Denoiser):
            num_clean = num_clean_tokens(model)
            if self.schedule is None:
                raise UsageError("the checkpoint names no noise schedule", hint="pass --schedule 'loglinear[0.001]'")
            if method.enumerates and self.settings.num_samples is not None and not model.time_conditioned:
                raise UsageError(
                    f"--samples with --method {method.name}",
                    seen="a network that is not told the noise level, whose bound needs no draws",
                    expected="a network that is told it",
                    hint="leave out --samples",
                )
        tokenizer = self.text.tokenizer
        require_same_vocabulary(tokenizer, model.vocab_size, num_clean, is_own=self.tokenizer_is_own)
        if tokenizer.vocab_size > model.vocab_size:  # a rank file leaves open how many special tokens there are
            self._require_known_tokens()
        if isinstance(model, Denoiser):
            spans = self.spans  # what cannot be laid out is refused before the network is asked anything
            if self.own_block is not None:
                require_whole_blocks(model, spans)
        if method.enumerates:  # before the contract, which asks batches as large as the run's: all masks of a window
            settings = self.settings
            kind: SpanKind = "blocks" if settings.block_size else "spans" if settings.stride else "windows"
            require_enumerable(int(self.spans.lengths.max()), kind if self.answers is None else "answers")

    def _require_known_tokens(self) -> None:
        corpus = self.text.corpus
        starts = range(0, corpus.num_tokens, _CHUNK_TOKENS)
        stops = [min(start + _CHUNK_TOKENS, corpus.num_tokens) for start in starts]
        largest = max(int(corpus.read(start, stop).max()) for start, stop in zip(starts, stops, strict=True))
        if largest >= self.model.vocab_size:
            raise TokenizerError(
                "the text holds a token that the network does not have",
                seen=largest,
                expected=f"0..{self.model.vocab_size - 1}",
                hint="pass the --tokenizer and --data that it was trained with",
            )

    @cached_property
    def device(self) -> torch.device:
        """Where the network runs."""
        return pick_device(self.settings.device)

    @cached_property
    def estimators(self) -> tuple[Estimator, ...]:
        """The method's estimator, then the one that it is compared with, if any."""
        return self.settings.estimators(self.schedule)

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """The sampled bounds to run, the headline first; none of a method that draws no masks."""
        return tuple(each for each in self.estimators if isinstance(each, Bound))

    @property
    def draws_levels(self) -> bool:
        """Whether all masks are enumerated, each at noise levels that are drawn."""
        estimator = self.estimators[0]
        if not isinstance(estimator, ExactBound):
            return False
        return estimator.draws_levels(time_conditioned=self.denoiser.time_conditioned)

    @property
    def context_length(self) -> int:
        """Tokens a window.

        Raises:
            UsageError: if more are asked for than the network takes.
        """
        longest = self.model.context_length
        context = self.settings.context_length or longest
        if context > longest:
            raise UsageError("--context", seen=context, expected=f"at most {longest}, the network's context length")
        return context

    @cached_property
    def answers(self) -> AnswerSpans | None:
        """The answers that are scored; None where text is.

        Raises:
            CorpusError: if one is longer than the network takes, without a stride.
            UsageError: if the stride does not fit the context length.
        """
        if self.text.answers is None:
            return None
        return answer_spans(
            self.text.answers.first(self.settings.limit), self.context_length, stride=self.settings.stride,
            given=int(self.method.is_causal), block_size=self.own_block,
        )  # fmt: skip

    @cached_property
    def _spans_of_corpus(self) -> Spans:
        documents = None
        if self.settings.per_document:
            borders = self.text.require_borders()
            documents = borders.first_given() if self.method.is_causal else borders.starts
        return lay_spans(self.settings, self.text.corpus.num_tokens, self.context_length, documents)

    @cached_property
    def spans(self) -> Spans:
        """What is scored.

        Raises:
            CorpusError: if there is nothing to score, or nothing says where documents end.
            UsageError: if the layout does not fit the context length.
        """
        return limited(self.settings, self._spans_of_corpus) if self.answers is None else self.answers.spans

    def lay_out(self, processes: Processes | None = None) -> Layout:
        """The spans with their bytes and, where masks are drawn, their difficulty.

        Args:
            processes: each counts a part of the text; this one all of it if None.

        Raises:
            CorpusError: if there is nothing to score, or nothing says where documents end.
            UsageError: for raw bytes of a part of the text, or of shards.
        """
        spans, corpus, together = self.spans, self.text.corpus, processes or Processes()
        own = spans.take(together.part(len(spans)))
        is_shared = together.count > 1 and self.answers is None and self.settings.byte_rule in ("official", "exact")
        with ThreadPoolExecutor(1) as beside:
            counted = beside.submit(lambda: self._bytes_of_spans(own, len(own)) if is_shared else self.num_units)
            difficulty, bigrams = np.zeros(len(spans), dtype=np.int64), None
            if self.bounds:
                bigrams = counts = count_bigrams(corpus, spans, together)
                difficulty = np.concatenate(together.together(lambda: bigram_difficulty(corpus, own, counts)))
            num_units = together.together(counted.result)
        if is_shared:
            object.__setattr__(self, "num_units", self._with_bytes(np.concatenate(num_units)))
        counts_bytes = self.settings.byte_rule != "none"
        return Layout(spans, self._num_in_corpus, self.num_units, counts_bytes, difficulty, bigrams)

    @property
    def _num_in_corpus(self) -> int:
        """Spans of the whole corpus; answers that are left out are not cut, and count as one each."""
        if self.answers is None:
            return len(self._spans_of_corpus)
        assert self.text.answers is not None
        return len(self.spans) + len(self.text.answers) - len(self.answers)

    @cached_property
    def num_units(self) -> Ints:
        """What rates are over, of each span: bytes under the chosen rule, or tokens under "none"; (N,).

        Raises:
            CorpusError: if there are none.
            UsageError: for raw bytes of a part of the text, or of shards.
        """
        spans = self.spans
        if self.settings.byte_rule == "none":
            return spans.lengths
        return self._with_bytes(self._bytes_of_spans(spans, self._num_in_corpus))

    def _with_bytes(self, num_bytes: Ints) -> Ints:
        if not num_bytes.any():
            spans = self.spans
            seen = f"{counted(spans.num_tokens, 'token')}, 0 bytes"
            paths = as_paths(self.settings.docs) or as_paths(self.settings.data)
            where = named_paths(paths) if paths else self.text.corpus.name
            raise CorpusError(f"{where}: what is left to score spells no bytes", seen=seen, hint="pass more text")
        return num_bytes

    def num_documents(self, layout: Layout) -> int | None:
        """Documents of the text, where the whole of it is scored and something says where they end; or answers."""
        if self.answers is not None:
            return len(self.answers)
        settings = self.settings
        whole = layout.is_whole and settings.tail == "score" and not settings.unpaid_prefix
        whole = whole and self.text.borders.are_known
        return len(self.text.borders.starts) if whole else None

    @property
    def num_exact_bytes(self) -> int:
        """Bytes that the pieces of what is scored spell."""
        if self.answers is not None:
            assert self.text.answers is not None
            return int(self.text.answers.num_bytes["exact"][: len(self.answers)].sum())
        return int(span_bytes(self.text.corpus, self.spans, self.text.counter, "exact").sum())

    def _bytes_of_spans(self, spans: Spans, num_in_corpus: int) -> Ints:
        rule, counter = self.settings.byte_rule, self.text.counter
        assert rule != "none"
        if self.answers is not None:
            assert self.text.answers is not None
            whole = self.text.answers.num_bytes[rule][: len(self.answers)]
            return self.answers.share(whole, span_bytes(self.text.corpus, spans, counter, "exact"))
        if rule != "raw":
            corpus = self.text.corpus
            counted = in_threads(lambda run: span_bytes(corpus, spans.take(run), counter, rule), runs_of(spans))
            return np.concatenate([np.zeros(0, dtype=np.int64), *counted])
        raw = self.text.corpus.num_raw_bytes
        if raw is None or len(spans) < num_in_corpus or self.settings.tail == "drop":
            raise UsageError(
                "--bytes raw needs the original documents, whole",
                seen="shards alone" if raw is None else f"{len(spans)} of {num_in_corpus} windows",
                hint="pass --docs FILE.jsonl without --limit and --tail drop",
            )
        # Tokens that are given, and so not paid for: the first of an autoregressive model, the prefixes of windows, and
        # a last window that is nothing else.
        ends_before, begins = np.append(0, spans.ends), np.append(spans.starts, self.text.corpus.num_tokens)
        given = Spans.without_context(ends_before, begins).take(np.flatnonzero(ends_before < begins))
        unpaid = int(span_bytes(self.text.corpus, given, counter, "exact").sum())
        # Raw bytes belong to documents, not tokens: spans share them in proportion to their exact bytes.
        exact = span_bytes(self.text.corpus, spans, counter, "exact")
        if self.settings.unpaid_prefix and raw != (normalised := unpaid + int(exact.sum())):
            raise UsageError(
                "--bytes raw with --unpaid-prefix: nobody knows which of the original bytes are paid for",
                seen=f"{raw:,} of them, of which the normaliser makes {normalised:,}",
                expected="a text that its normaliser leaves alone",
                hint="pass --bytes exact",
            )
        raw -= unpaid
        shares = np.floor(np.cumsum(exact) * (raw / max(int(exact.sum()), 1)) + 0.5).astype(np.int64)
        shares[-1] = raw
        return np.asarray(np.diff(shares, prepend=0), dtype=np.int64)

    def signature(self, layout: Layout, num_passes: int = 1) -> Signature:
        """Everything that the score depends on."""
        data = f"{self.text.corpus.name}@{self.text.corpus.digest[:8]}"
        if not layout.is_whole:
            scored = len(layout) if self.answers is None else len(self.answers)
            data += f"[0:{scored}/{layout.num_in_corpus - len(layout) + scored}]"
        if self.settings.per_document and self.text.separator_id is None:  # no token says where documents lie
            data += f"/{hashlib.sha256(self.text.borders.starts.astype('<i8').tobytes()).hexdigest()[:8]}"
        steps, drawn = (getattr(self.estimators[0], name, None) for name in ("num_steps", "num_samples"))
        checked = "own-process" if self.source is None else "checked"
        found_out = {
            "num_steps": None if steps is None else str(steps),
            "num_samples": str(drawn) if self.bounds or self.draws_levels else None,
            "schedule": None if self.schedule is None else str(self.schedule),
            "passes": str(num_passes) if num_passes > 1 else None,
            "data": data,
            "tokenizer": self.text.tokenizer.digest[:8],
            "separator": None if self.text.separators is None else self.text.separators.in_signature(),
            "context_length": str(self.context_length),
            "model": self.identity.digest[:8],
            "adapter": self.identity.adapter,
            "given": "prompts+lengths" if self.answers is not None else "lengths" if self.is_given_lengths else None,
            **({} if self.answers is None or self.own_block is None else {"block_size": str(self.own_block)}),
            **({"stride": None} if self.answers is not None and len(layout) == len(self.answers) else {}),
            "enumeration": "off" if self.answers is not None and not self.settings.enumerate_short else None,
            "told": self._told_in_signature(layout.spans),
            "contract": checked if self.settings.check_contract else "off",
            "seed": str(self.settings.seed) if self._draws else None,
            "adaptation": None if self.settings.ttt is None else str(self.settings.adaptation),
            "version": __version__,
        }
        return Signature(**self.settings.in_signature() | found_out)

    @property
    def is_given_lengths(self) -> bool:
        """Whether spans end where documents do, and nothing that is paid for says so: a bound given their lengths.

        A causal network pays for the token between documents, where there is one, and so for the end of each; but not
        if the last tokens of documents are left out.
        """
        pays = self.method.is_causal and self.text.separator_id is not None and self.settings.tail == "score"
        return self.settings.per_document and not pays

    @property
    def _draws(self) -> bool:
        """Whether the score depends on random numbers: masks, levels, an order, or masks that it learns from."""
        estimator = self.estimators[0]
        if self.bounds or self.draws_levels or (isinstance(estimator, ChainRule) and estimator.order == "random"):
            return True
        return self.settings.ttt == "sgd" and not self.method.is_causal

    def _told_in_signature(self, spans: Spans) -> str | None:
        """What a network is told of a span's noise, where a context leaves a choice: the rate among its targets."""
        if not isinstance(self.model, Denoiser):
            return None
        estimator = self.estimators[0]
        if isinstance(estimator, ChainRule) and estimator.grows_context(self.model):
            return "revealed-as-context"
        return "target-rate" if self.model.time_conditioned and spans.have_context else None


@final
class TokenCount:
    """Counts tokens that went through the network; how many there will be may turn out later."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self.total, self._done = progress, total, 0

    def __call__(self, tokens: int) -> None:
        self._done = min(self._done + tokens, self.total)
        if self._progress is not None:
            self._progress(self._done, self.total)
