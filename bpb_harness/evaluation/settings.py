"""The settings of an evaluation, checked as far as they can be before anything is loaded.

Each is known in one place, its field here: :mod:`bpb_harness.evaluation.flags` says what is made of it. Nothing here
imports torch before it is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, fields, replace
from importlib import import_module
from operator import attrgetter
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, final, get_args

from bpb_harness.adaptation.settings import (
    MAX_BATCH,
    MAX_CHUNK,
    MAX_EPOCHS,
    AdaptationMethod,
    AdaptationSettings,
)
from bpb_harness.errors import UsageError
from bpb_harness.evaluation.flags import INNER, AnyPath, flagged, flags_of, make_plain, require_known, require_values
from bpb_harness.evaluation.methods import METHODS, Method, either
from bpb_harness.result import MAX_SAMPLES, Signature

if TYPE_CHECKING:
    import torch

    from bpb_harness.evaluation.methods import Estimator
    from bpb_harness.schedule import NoiseSchedule

Paths = AnyPath | Sequence[AnyPath]
ByteRule = Literal["official", "exact", "raw", "none"]
Tail = Literal["score", "drop"]
Dtype = Literal["float32", "bfloat16"]
Order = Literal["left-to-right", "random", "confidence", "entropy", "margin"]
DEFAULT_SAMPLES = 2
# Far beyond what changes a score: at a million steps the bounds of a real model differ by 1e-6 bits a byte.
MAX_STEPS = 1_000_000
MAX_STEPS_OF_ALL = 10_000  # every one of them is a draw of every window
_CPU_BATCH_TOKENS = 8_192
# Of a GPU: of a full batch every multiprocessor gets the same number of tiles of 128 tokens; none waits for a last few.
_BATCH_TOKENS_OF_MULTIPROCESSOR = 1_024


def parse_samples(text: str | None) -> int | str | None:
    """The value of --samples: a number, ``all``, or None.

    Raises:
        UsageError: for anything else.
    """
    if text is None or text == "all":
        return text
    try:
        return int(text)
    except ValueError:
        raise UsageError("--samples", seen=repr(text), expected="a number, or 'all'") from None


def as_paths(given: Paths | None) -> list[Path]:
    """One path or several.

    Raises:
        UsageError: for what is neither, and for an empty text, which would stand for the folder that one is in.
    """
    if given is None or isinstance(given, str | PathLike):
        return [] if given is None else [as_path(given)]
    is_of_values = isinstance(given, bytes | bytearray | Mapping | Set) or hasattr(given, "dtype")
    if is_of_values or not isinstance(given, Iterable):
        raise UsageError(
            "a path", seen=type(given).__name__, expected="a file, a folder, or a list of them, in the text's order",
            hint="write tokens to a file: numpy.save('tokens.npy', ids)" if hasattr(given, "dtype") else None,
        )  # fmt: skip
    return [as_path(path) for path in given]


def as_path(given: AnyPath) -> Path:
    """A path that was given.

    Raises:
        UsageError: for an empty text, and for what is no path.
    """
    if not isinstance(given, str | PathLike):
        raise UsageError("a path", seen=type(given).__name__, expected="a file or a folder")
    if not str(given):
        raise UsageError("a path", seen="an empty text", expected="a file or a folder", hint="'.' is this folder")
    return Path(given)


def _typed_paths(given: Sequence[AnyPath] | None) -> Sequence[Path]:
    """The paths of a command line; the default where there are none."""
    return as_paths(given) or ()


def _named_schedule(given: object) -> str:
    """The name of a noise schedule that was given as one: settings are written down, and told to other processes."""
    from bpb_harness.schedule import SCHEDULES  # deferred: imports torch

    if type(given) in SCHEDULES.values():
        return str(given)
    raise UsageError(
        "--schedule", seen=type(given).__name__, expected="a name, such as 'loglinear[0.001]'",
        hint="a schedule of your own is the network's: its attribute schedule",
    )  # fmt: skip


def _is_given(path: Path | None) -> bool:
    return path is not None


def as_words(given: str | Sequence[str] | None) -> Sequence[str]:
    """One word or several."""
    return (given,) if isinstance(given, str) else tuple(given or ())


_SAMPLES, _CHAIN = attrgetter("samples"), attrgetter("goes_in_order")
# Settings that no other one contradicts, but for a method that they are not of.
_GO_WITH_ANYTHING = {
    "method", "num_steps", "order", "tokens_per_step", "schedule", "check_contract", "data", "docs", "tokenizer",
    "shard_format", "separator", "context_length", "limit", "adapter", "weights", "seed", "device", "dtype",
    "batch_tokens", "compile_network", "with_windows", "with_costs",
}  # fmt: skip


def _ADAPTS(method: Method) -> bool:  # noqa: N802 (beside the two above)
    return not method.enumerates


def _MASKED(method: Method) -> bool:  # noqa: N802 (beside the two above)
    return not method.is_causal


@final
@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is scored, and how; every default is what the command takes.

    Raises:
        UsageError: for a value that a setting does not take, or settings that do not go together.
    """

    method: str = flagged(
        "discrete", f"{either([*METHODS])}.", key="method", one_of=(*METHODS,),
        note="Where none is given, a checkpoint of an autoregressive model is scored by ar.",
    )  # fmt: skip
    num_steps: int | None = flagged(
        None, "T of the discrete bound (128 if not given).", option="--steps", key="T", least=1, most=MAX_STEPS,
        of=attrgetter("takes_steps"), note="Of the exact method: the bound of T steps, not the continuous one.",
    )  # fmt: skip
    num_samples: int | Literal["all"] | None = flagged(
        None, "K draws a window (2, or 1 with --tolerance), or 'all'; of --method exact, levels a mask.",
        option="--samples", key="K", one_of=("all",), least=1, most=MAX_SAMPLES,
        of=lambda method: method.samples or method.enumerates, kind=str | None, read=parse_samples,
        note="'all' draws every node of the grid; levels are drawn for a network that is told them, 2 or more.",
    )  # fmt: skip
    order: Order = flagged(
        "left-to-right", "Of --method chain: left-to-right, random, confidence, entropy, margin.", key="order",
        one_of=get_args(Order), of=_CHAIN, note="docs/orders.md says which sampler each is exact for.",
    )  # fmt: skip
    tokens_per_step: int = flagged(1, "Of --method chain: positions revealed together.", key="order", of=_CHAIN)
    stride: int | None = flagged(
        None, "Tokens paid for in each sliding window; those before them in it are context.", key="stride", least=1,
        note="The first window is paid for whole.",
    )  # fmt: skip
    block_size: int | None = flagged(
        None, "Tokens of a block; within a window, each block sees all blocks before it.", key="block", least=1,
        of=_MASKED, note="The bound of block diffusion.",
    )  # fmt: skip
    per_document: bool = flagged(
        False, "Windows end at document borders.", key="order", option="--per-document/--no-per-document",
        note="A masked network is then scored given the lengths of the documents.",
    )  # fmt: skip
    unpaid_prefix: int = flagged(
        0, "First tokens of each window that are visible and not paid for.", key="prefix", least=0, of=_MASKED,
    )  # fmt: skip
    compare: bool = flagged(False, "Both bounds on the same draws, and their gap.", of=attrgetter("other"))
    schedule: str | None = flagged(None, "NAME[eps], where the checkpoint carries none.", key="sched", of=_MASKED)
    tail: Tail = flagged("score", "score or drop the last, shorter window.", key="tail", one_of=get_args(Tail))
    check_contract: bool = flagged(
        True, "Skip the checks of the network.", option="--no-contract", key="contract", kind=bool,
        read=lambda skipped: not skipped, note="As an argument: make them.",
    )  # fmt: skip
    data: Paths = flagged(
        (), "Token shard, folder or glob; may be repeated.", key="data", kind=list[Path] | None, read=_typed_paths,
        note="Neither this nor docs: BPB_DATA, the checkpoint's own record, the contest's shards below this folder.",
    )  # fmt: skip
    docs: Paths = flagged(
        (), "Documents instead of shards; may be repeated.", key="data", kind=list[Path] | None, read=_typed_paths,
        note="docs/texts.md lists what is read.",
    )  # fmt: skip
    tokenizer: AnyPath | None = flagged(
        None, "Tokenizer file, where the checkpoint has none.", key="tok", kind=Path | None
    )
    text_field: str | None = flagged(None, "Of --docs: the text's key or column ('text').")
    key_field: str | None = flagged(
        None, "Of --docs: the key or column that names a document in --document-table.",
        note="If not given, the first 80 characters of its text do.",
    )  # fmt: skip
    slice_field: str | None = flagged(
        None, "Of --docs: the key or column by whose values the score is split too.", option="--slice",
        note="docs/tables.md says what a slice's errors are.",
    )  # fmt: skip
    context_field: str | None = flagged(
        None, "Of --docs: the prompt's key or column; each answer is then scored given its prompt.", key="given",
        note="Together with target_field.",
    )  # fmt: skip
    target_field: str | None = flagged(None, "Of --docs: the answer's key or column.", key="given")
    enumerate_short: bool = flagged(
        True, "Sample short answers too, instead of going through all their masks.", option="--no-enumerate",
        key="enum", kind=bool, read=lambda sampled: not sampled, of=_SAMPLES,
        note="As an argument: go through all masks of an answer where they are no more than num_samples.",
    )  # fmt: skip
    shard_format: str = flagged("auto", "Of --data: auto, v1, v1-uint32, v7, npy, uint16 or uint32 (no header).")
    separator: str | int | None = flagged(
        None, "Between documents: bos, eos, none, an id or a piece (what files name).", key="sep", kind=str | None
    )
    byte_rule: ByteRule = flagged(
        "official", "official, exact, raw, or none.", option="--bytes", key="bytes", one_of=get_args(ByteRule),
        note="none counts no bytes and scores in bits per token.",
    )  # fmt: skip
    context_length: int | None = flagged(
        None, "Tokens a window (the network's own if not given).", option="--context", key="ctx", least=1
    )
    limit: int | None = flagged(None, "Score only the first so many windows, or answers.", key="data", least=1)
    adapter: str | None = flagged(None, "How to read the checkpoint; see --list-adapters.", key="adapter")
    golf_preset: str | None = flagged(
        None, "Of --adapter golf-gpt and golf-ddit: the entry, by date, whose settings no file holds: 2026-03-25, ...",
        note="docs/adapters.md lists them.",
    )  # fmt: skip
    golf_setting: str | Sequence[str] = flagged(
        (), "Of the same: NAME=VALUE of one such setting; may be repeated.", kind=list[str] | None,
        read=as_words, note="Stands above the preset's.",
    )  # fmt: skip
    weights: str | None = flagged(None, "Key of the weights to score, where the file holds several sets: model, ema.")
    model: str | None = flagged(None, "FILE.py:LOADER, your own code; needs --allow-code.")
    allow_code: bool = flagged(False, "Run code that comes with the checkpoint.")
    seed: int = flagged(0, "Of all randomness.", key="seed")
    tolerance: float | None = flagged(
        None, "As many passes as pilot draws say that half a 95 % interval of this many bits per byte takes.",
        key="passes", of=_SAMPLES,
    )  # fmt: skip
    resume: AnyPath | None = flagged(
        None, "Keep finished draws in this file, and go on from those that it holds.", kind=Path | None,
        note="Of sampled bounds; with --ttt, of every method: what chunks cost, and what the network has learnt.",
    )  # fmt: skip
    ttt: AdaptationMethod | None = flagged(
        None, "Test-time training: score a chunk, then learn from it. sgd, or own (the network's adapt).", key="ttt",
        one_of=(None, *get_args(AdaptationMethod)), kind=str | None, of=_ADAPTS,
        note="docs/adaptation.md says what it is a code of.",
    )  # fmt: skip
    ttt_chunk: int = flagged(
        32_768, "Of --ttt: tokens of a chunk.", key="ttt", least=1, most=MAX_CHUNK,
    )  # fmt: skip
    ttt_lr: float = flagged(
        0.002, "Of --ttt sgd: the first chunk's learning rate, which falls by a cosine over chunks.", key="ttt"
    )
    ttt_momentum: float = flagged(0.9, "Of --ttt sgd.", key="ttt")
    ttt_epochs: int = flagged(
        3, "Of --ttt sgd: times that a chunk is gone through.", key="ttt", least=1, most=MAX_EPOCHS
    )
    ttt_batch: int = flagged(32, "Of --ttt sgd: windows of a step.", key="ttt", least=1, most=MAX_BATCH)
    ttt_clip: float = flagged(1.0, "Of --ttt sgd: the largest norm of a gradient; inf for none.", key="ttt")
    device: str = flagged("auto", "auto, cpu or cuda.", one_of=("auto", "cpu", "cuda"))
    dtype: Dtype = flagged("float32", "float32 or bfloat16.", key="dtype", one_of=get_args(Dtype))
    batch_tokens: int | None = flagged(None, "Forward tokens a call; never changes the score.", least=1)
    compile_network: bool | None = flagged(
        None, "Run the network as it is on a GPU too.", option="--no-compile", kind=bool,
        read=lambda as_it_is: False if as_it_is else None,
        note="As an argument: compile the network of a sampled bound; None: on a GPU where it pays, not for answers.",
    )  # fmt: skip
    with_windows: bool = flagged(
        False, "Write one row a window to this .parquet file.", option="--windows", kind=Path | None, read=_is_given,
        note="As an argument: put the table into the result.",
    )  # fmt: skip
    with_tokens: bool = flagged(
        False, "Write one row a token to this .parquet file.", option="--tokens", kind=Path | None, read=_is_given,
        note="As an argument: put the table into the result.",
    )  # fmt: skip
    surprisal: bool = flagged(
        False, "With --tokens: each token's expected cost over mask rates too, with its error.",
        note="Of a sampled bound it takes some 6 calls of the network a draw and window: docs/tables.md.",
    )  # fmt: skip
    surprisal_draws: int = flagged(
        16, "Of --surprisal: draws of each token, an even number.", least=2, most=MAX_SAMPLES, of=_SAMPLES
    )
    with_documents: bool = flagged(
        False, "Write one row a document to this .parquet or .csv file.", option="--document-table",
        kind=Path | None, read=_is_given, note="As an argument: put the table into the result.",
    )  # fmt: skip
    with_costs: bool = flagged(
        False, "Keep the score in this file, for bpb-compare.", option="--score-file", kind=Path | None,
        read=_is_given, note="As an argument: put what bpb_harness.compare needs into the result.",
    )  # fmt: skip
    progress: Callable[[int, int], None] | None = None  # called with (tokens done, tokens in all)
    name: str | None = None  # of a network in memory: stands in the signature
    # Nobody has named a method: it is the network's.
    method_is_open: bool = field(default=False, metadata={INNER: True})

    @classmethod
    def of(cls, given: dict[str, Any]) -> Self:
        """Settings of keywords.

        Raises:
            TypeError: for a keyword that there is not, with the nearest that there is.
            UsageError: as for any settings; and for a list without a path, from whoever made it of files: another text
                would be scored.
        """
        if not given.keys() <= DEFAULTS.keys():
            require_known(given, cls)
        settings = cls(**given)
        for name in ("data", "docs"):
            if isinstance(paths := getattr(settings, name), list) and not paths:
                raise UsageError(f"--{name}", seen="an empty list", expected="a path or more", hint="no file fits it?")
        return settings

    def __post_init__(self) -> None:
        from bpb_harness.sampling.streams import RandomStreams  # deferred: imports numpy

        make_plain(self)
        if not isinstance(self.schedule, str | bool | None):
            object.__setattr__(self, "schedule", _named_schedule(self.schedule))
        self._require_paths()
        require_values(self)
        if self.num_samples == "all":
            steps = replace(FLAGS["num_steps"], option="--steps with --samples all", most=MAX_STEPS_OF_ALL)
            steps.require(self.num_steps)
        RandomStreams(self.seed)
        if self.tolerance is not None and not 0.0 < self.tolerance < math.inf:
            raise UsageError("--tolerance", seen=self.tolerance, expected="bits per byte, more than 0")
        changed = {name for name in FLAGS if getattr(self, name) != DEFAULTS[name]}
        by_themselves = {"num_samples", "compare"} | ({"num_steps"} if self.compare else set())
        for name, flag in FLAGS.items():
            if name in changed - by_themselves:
                flag.require_method(self.method)
        if changed - _GO_WITH_ANYTHING:
            from bpb_harness.evaluation.conflicts import require_no_conflict  # deferred: asks the flags made here

            require_no_conflict(self)

    def _require_paths(self) -> None:
        """Refuse what is no path; and, of what no command has an option for, what is of another kind."""
        for name in ("data", "docs", "tokenizer", "resume"):
            if not isinstance(given := getattr(self, name), bool):
                as_paths(given)
        if self.progress is not None and not callable(self.progress):
            raise UsageError("progress", seen=repr(self.progress), expected="a function of tokens done and in all")
        if not isinstance(self.name, str | None):
            raise UsageError("name", seen=repr(self.name), expected="text")

    def for_network(self, *, is_causal: bool) -> Self:
        """The settings with the network's own method, where nobody has named one.

        Raises:
            UsageError: for settings that are not of that method.
        """
        if not (self.method_is_open and is_causal):
            return self
        try:
            return replace(self, method="ar")
        except UsageError as error:
            raise UsageError(
                error.what, seen="an autoregressive model, scored by --method ar where none is given",
                expected=error.expected,
                hint="leave it out, or say --method once for each of the checkpoints that are compared",
            ) from None  # fmt: skip

    @property
    def adaptation(self) -> AdaptationSettings | None:
        """How the network learns on the way; None if it does not."""
        if self.ttt is None:
            return None
        if self.ttt == "own":
            return AdaptationSettings("own", self.ttt_chunk)
        return AdaptationSettings(
            self.ttt, self.ttt_chunk, self.ttt_lr, self.ttt_momentum, self.ttt_epochs, self.ttt_batch, self.ttt_clip
        )

    @property
    def wants_documents(self) -> bool:
        """Whether it is asked what documents cost."""
        return self.with_documents or self.slice_field is not None

    @property
    def wants_tables(self) -> bool:
        """Whether any table is asked for beside the score."""
        return self.with_windows or self.with_tokens or self.wants_documents

    @property
    def kept_costs(self) -> Literal["tokens", "stretches"] | None:
        """Whose costs are kept beside those of spans, which tell what documents cost only where these end there.

        For a comparison those of stretches of tokens do, each within a document and a block, where the network learns
        nothing in between.
        """
        ends_with_documents = self.per_document or self.scores_answers
        if self.with_tokens or (self.wants_documents and not ends_with_documents):
            return "tokens"
        if not self.with_costs:
            return None
        if self.ttt is not None:
            return "tokens"
        return "stretches" if self.resume is None else None  # draws that are kept are sums of spans

    @property
    def scores_answers(self) -> bool:
        """Whether answers are scored given their prompts."""
        return self.context_field is not None or self.target_field is not None

    @property
    def samples(self) -> int | Literal["all"]:
        """K: as said, or the default."""
        default = DEFAULT_SAMPLES if self.tolerance is None else 1
        return default if self.num_samples is None else self.num_samples

    def estimators(self, schedule: NoiseSchedule | None) -> tuple[Estimator, ...]:
        """The estimator of the method, then the one that it is compared with, if any.

        Each is made of what its fields are called after: the schedule, K, T, the seed's streams, the order.
        """
        from bpb_harness.sampling.streams import RandomStreams  # deferred: imports numpy

        row = METHODS[self.method]
        rows = (row, METHODS[row.other]) if self.compare and row.other is not None else (row,)
        given = {
            "schedule": schedule, "num_samples": self.samples, "streams": RandomStreams(self.seed),
            "order": self.order, "tokens_per_step": self.tokens_per_step,
        } | ({} if self.num_steps is None else {"num_steps": self.num_steps})  # fmt: skip
        made = []
        for each in rows:
            module, _, name = each.estimator.partition(":")
            kind = getattr(import_module(f"bpb_harness.estimators.{module}"), name)
            made.append(kind(**{field.name: given[field.name] for field in fields(kind) if field.name in given}))
        return tuple(made)

    def in_signature(self) -> dict[str, str | None]:
        """The entries of a signature that are settings, by field; what a job finds out goes before them."""
        named = {entry.metadata["key"]: entry.name for entry in fields(Signature)}
        values = {name: getattr(self, name) for name, flag in FLAGS.items() if named.get(flag.key) == name}
        stated = {name: None if value is None else str(value) for name, value in values.items()}
        ordered = ["per-document"] if self.per_document else []
        if METHODS[self.method].goes_in_order:  # else it leaves no choice
            ordered.append(self.order + (f"/{self.tokens_per_step}" if self.tokens_per_step > 1 else ""))
        return stated | {"order": ",".join(ordered) or None}

    @property
    def stated(self) -> list[str]:
        """What is stated beside a checkpoint that does not hold it, ``NAME=VALUE`` each."""
        preset = [] if self.golf_preset is None else [f"golf_preset={self.golf_preset}"]
        return preset + list(as_words(self.golf_setting))

    def compiles(self, device: torch.device, *, pays: bool = True) -> bool:
        """Whether the network is compiled.

        By itself on a GPU where that pays, but not for answers, whose rows have many lengths, nor where it learns on
        the way.
        """
        by_itself = device.type == "cuda" and pays and not self.scores_answers and self.ttt is None
        return by_itself if self.compile_network is None else self.compile_network

    def torch_dtype(self) -> torch.dtype:
        """The network's arithmetic."""
        import torch

        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[self.dtype]

    def tokens_per_batch(self, device: torch.device) -> int:
        """Forward tokens a call."""
        if self.batch_tokens:
            return self.batch_tokens
        if device.type != "cuda":
            return _CPU_BATCH_TOKENS
        import torch

        return _BATCH_TOKENS_OF_MULTIPROCESSOR * torch.cuda.get_device_properties(device).multi_processor_count


def describe_device(device: torch.device, num_processes: int = 1) -> str:
    """The device in words, for the result."""
    import torch

    if device.type == "cuda":
        name = f"cuda ({torch.cuda.get_device_name(device)})"
    else:
        name = f"cpu ({torch.get_num_threads()} threads)"
    return (f"{num_processes} x " if num_processes > 1 else "") + f"{name}, torch {torch.__version__}"


FLAGS = flags_of(Settings)
DEFAULTS = {field.name: field.default for field in fields(Settings)}
