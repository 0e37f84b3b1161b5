"""Which text is scored, and with which tokenizer: what the user said, or the first default that exists."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import final

from bpb_harness.byte_count import ByteCounter, Tokenizer, load_tokenizer
from bpb_harness.byte_count.spelled_documents import spelled_documents
from bpb_harness.checkpoints import Checkpoint
from bpb_harness.errors import CorpusError, TokenizerError, UsageError
from bpb_harness.evaluation.beside import Beside
from bpb_harness.evaluation.settings import Settings, as_paths
from bpb_harness.result import SourceFloor
from bpb_harness.text.answers import Answers, answer_fields, load_answers
from bpb_harness.text.corpus import Corpus, load_documents, load_shards, require_text_flags
from bpb_harness.text.fields import TextField
from bpb_harness.text.labels import DocumentLabels, load_labels
from bpb_harness.text.separators import Borders, Separators, find_borders, find_separators, own_folder
from bpb_harness.units import CodeLength, bits_to_nats

DEFAULT_SHARDS = "data/datasets/fineweb10B_sp1024/fineweb_val_*.bin"
DEFAULT_TOKENIZER = "data/tokenizers/fineweb_1024_bpe.model"
# Rows that a network's vocabulary may have beyond the tokenizer's: sizes are rounded up for speed and room is left for
# special tokens (Qwen 267 to 399, DeepSeek 465, Phi-2 905 of 51,200, gpt-oss 1,069 of 201,088). No token of a text
# reaches them. More than that is another tokenizer, unless it is the checkpoint's own.
_MAX_PADDING = 511
_SHARE_OF_PADDING = 32  # or one row in so many of the network's, if that is more


@final
@dataclass(frozen=True)
class EvaluationText:
    """The text of an evaluation.

    Attributes:
        corpus: the token stream.
        tokenizer: what turns its tokens into bytes.
        origin: how it was found, in words.
        source: the floor of a text of a known source.
        separators: the tokens between documents that the tokenizer's files name; None: the tokenizer's own `bos_id`.
        answers: where in the corpus the answers lie, where those alone are scored.
        labels: what documents are called, where they were read as text and it is asked what they cost.
    """

    corpus: Corpus
    tokenizer: Tokenizer
    origin: str
    source: SourceFloor | None = None
    separators: Separators | None = None
    answers: Answers | None = None
    labels: DocumentLabels | None = None

    @cached_property
    def borders(self) -> Borders:
        """Where documents lie in the corpus."""
        if self.separators is not None:
            return find_borders(self.corpus, self.separators)
        starts = self.corpus.document_starts(self.tokenizer.bos_id)
        return Borders(starts, "none" if self.corpus.known_document_starts is None and len(starts) == 1 else "before")

    @cached_property
    def counter(self) -> ByteCounter:
        """Of the bytes that tokens spell; where the tokenizer says what they do."""
        return ByteCounter(self.tokenizer)

    @cached_property
    def spelled_digest(self) -> Beside[str]:
        """Of what each document spells, by whatever tokenizer; empty where tokens spell nothing that is known."""
        return Beside(lambda: _spelled_digest(self), "digest")

    @property
    def separator_id(self) -> int | None:
        """The token that sets documents off in the corpus; None where none is known to."""
        return None if self.borders.token is None else self.borders.token.token

    def require_borders(self, what: str = "--per-document") -> Borders:
        """Where documents lie, for what needs to know it.

        Raises:
            CorpusError: shards in which nothing sets documents off.
        """
        if self.borders.are_known:
            return self.borders
        named = [] if self.separators is None else [str(name) for name in self.separators.named]
        raise CorpusError(
            f"{what}: nothing sets documents off in {self.corpus.name}",
            seen=f"no {' and no '.join(named)}" if named else "no BOS or EOS that a file names",
            expected="a token before or behind each document",
            hint="pass --separator ID for the one that does, or the documents with --docs",
        )


def _spelled_digest(text: EvaluationText) -> str:
    if text.tokenizer.uncountable is not None:
        return ""
    digest = hashlib.sha256()
    for spelled in spelled_documents(text.tokenizer, text.corpus, text.borders.starts):
        digest.update(len(spelled).to_bytes(8, "little") + spelled)
    return digest.hexdigest()


def find_text(checkpoint: Checkpoint, settings: Settings) -> EvaluationText:
    """Resolve --data, --docs and --tokenizer.

    With neither data nor docs, the first of these is taken: the environment variable BPB_DATA (paths separated like
    PATH), the checkpoint's own record of its data, the contest's validation shards below the current folder.

    Args:
        checkpoint: what is scored; it may carry a tokenizer, and name its data.
        settings: name the text and how to read it; bytes that nobody counts need no tokenizer that spells them.

    Raises:
        UsageError: if there is nothing to score, or no tokenizer; a flag for what is not given.
        CorpusError: if a file is not what it should be.
        TokenizerError: likewise.
    """
    data, docs = as_paths(settings.data), as_paths(settings.docs)
    if data and docs:
        raise UsageError(
            "--data and --docs", seen="both", expected="one", hint="--docs alone encodes the documents itself"
        )
    form = require_text_flags(docs=bool(docs), text_field=settings.text_field, shard_format=settings.shard_format)
    if docs:
        tokenizer, separators = _find_tokenizer(checkpoint, settings)
        labels, answers = _labels(docs, settings), None
        if settings.scores_answers:
            fields = answer_fields(settings.context_field, settings.target_field, docs=True)
            corpus, answers = load_answers(docs, tokenizer, fields)
        else:
            corpus = load_documents(docs, tokenizer, text_field=settings.text_field)
        return EvaluationText(corpus, tokenizer, "--docs", separators=separators, answers=answers, labels=labels)
    paths, origin, beside = (data, "--data", None) if data else _default_data(checkpoint)
    tokenizer, separators = _find_tokenizer(checkpoint, settings, beside)
    with _named_by(origin):
        corpus = load_shards(paths, vocab_size=tokenizer.vocab_size, shard_format=form)
    return EvaluationText(corpus, tokenizer, origin, _read_source(paths), separators)


@contextmanager
def _named_by(origin: str) -> Iterator[None]:
    """Say of shards that cannot be read that the environment names them, where nothing on the command does."""
    try:
        yield
    except CorpusError as problem:
        if origin != _VARIABLE:
            raise
        what = f"{problem.what} (named by the environment variable {_VARIABLE})"
        hint = f"{problem.hint or 'name other shards'}; or unset {_VARIABLE}"
        raise CorpusError(what, seen=problem.seen, expected=problem.expected, hint=hint) from problem


_VARIABLE = "BPB_DATA"


def _labels(docs: Sequence[Path], settings: Settings) -> DocumentLabels | None:
    """What the documents are called, if it is asked what they cost."""
    if not settings.wants_documents:
        return None
    fields: Sequence[TextField] = ()
    if settings.scores_answers:
        fields = answer_fields(settings.context_field, settings.target_field, docs=True)
    elif settings.text_field is not None:
        fields = [TextField(settings.text_field)]
    return load_labels(docs, fields, key_field=settings.key_field, slice_field=settings.slice_field)


def _default_data(checkpoint: Checkpoint) -> tuple[list[Path], str, Path | None]:
    """Paths, how they were found, and the tokenizer that goes with them."""
    if variable := os.environ.get(_VARIABLE):
        return [Path(part) for part in variable.split(os.pathsep) if part], _VARIABLE, None
    folder = checkpoint.path.parent.resolve()
    # Below that folder: who read the checkpoint has refused any others.
    recorded = [(folder / name).resolve() for name in (checkpoint.data or {}).get("paths", [])]
    if recorded and all(path.is_file() for path in recorded):
        return recorded, "the checkpoint's own record", None
    shards = sorted(Path.cwd().glob(DEFAULT_SHARDS))
    if shards:
        tokenizer = Path.cwd() / DEFAULT_TOKENIZER
        return shards, DEFAULT_SHARDS, tokenizer if tokenizer.is_file() else None
    raise UsageError(
        "nothing to score",
        seen=f"no --data, no --docs, no BPB_DATA, no data named in {checkpoint.path.name}, no {DEFAULT_SHARDS}",
        hint="pass --data SHARD.bin or --docs FILE.jsonl",
    )


def _find_tokenizer(
    checkpoint: Checkpoint, settings: Settings, default: Path | None = None
) -> tuple[Tokenizer, Separators]:
    """The tokenizer, which takes the tokens between documents for what they are.

    Args:
        checkpoint: its own tokenizer serves if the settings name none.
        settings: name the tokenizer, and the token between documents.
        default: what serves if it has none either.
    """
    needs_bytes, separator = settings.byte_rule != "none", settings.separator
    path = default if checkpoint.tokenizer is None else None
    if settings.tokenizer is not None:
        path = Path(settings.tokenizer)
    if path is not None:
        tokenizer = load_tokenizer(path, needs_bytes=needs_bytes)
    elif checkpoint.tokenizer is not None:
        tokenizer = own_tokenizer(checkpoint, needs_bytes=needs_bytes)
    else:
        raise UsageError(
            "no tokenizer: bytes cannot be counted",
            seen=f"none inside {checkpoint.path.name}",
            hint="pass --tokenizer MODEL",
        )
    folders = [] if path is None else own_folder(path)
    if checkpoint.path.is_dir() and checkpoint.tokenizer in (None, tokenizer.model_bytes):
        folders.append(checkpoint.path)
    chosen = None if separator is None else str(separator)
    separators = find_separators(tokenizer, folders, chosen=chosen, for_documents=bool(settings.docs))
    return separators.apply(tokenizer), separators


def own_tokenizer(checkpoint: Checkpoint, *, needs_bytes: bool = True) -> Tokenizer:
    """The tokenizer that a checkpoint carries.

    Args:
        checkpoint: that has one.
        needs_bytes: refuse one whose pieces do not say what they spell.

    Raises:
        TokenizerError: if it cannot be read.
    """
    assert checkpoint.tokenizer is not None
    if checkpoint.path.is_dir():  # of a folder, so that it is said why which file was taken
        return load_tokenizer(checkpoint.path, name=checkpoint.path.name, needs_bytes=needs_bytes)
    name = f"the tokenizer inside {checkpoint.path.name}"
    return load_tokenizer(checkpoint.tokenizer, name=name, needs_bytes=needs_bytes)


def require_same_vocabulary(
    tokenizer: Tokenizer, vocab_size: int, num_clean_tokens: int, *, is_own: bool = False
) -> None:
    """Refuse a tokenizer that cannot be the one the network was trained with.

    A network's vocabulary may be padded, and may hold the mask itself. Rows beyond the tokenizer's own pieces make no
    number wrong: no token of the text reaches them, and what mass the network gives them is paid for. They only tell
    that the tokenizer may be another one, which nobody need ask where it is the checkpoint's own.

    Args:
        tokenizer: the one in question.
        vocab_size: of the network.
        num_clean_tokens: without its mask.
        is_own: whether the tokenizer is, byte for byte, the one inside the checkpoint.

    Raises:
        TokenizerError: if the sizes do not fit.
    """
    fits = tokenizer.vocab_size - tokenizer.num_unnamed in {vocab_size, num_clean_tokens}
    most = max(_MAX_PADDING, vocab_size // _SHARE_OF_PADDING)
    least = tokenizer.vocab_size - tokenizer.num_unnamed
    padded = least < vocab_size and (is_own or vocab_size - tokenizer.vocab_size <= most)
    if not fits and not padded:
        raise TokenizerError(
            "the tokenizer does not belong to this checkpoint",
            seen=f"a tokenizer of {least} pieces",
            expected=f"{vocab_size}, the network's vocabulary",
            hint="pass the --tokenizer that it was trained with",
        )


def require_guessed_vocabulary(tokenizer: Tokenizer, vocab_size: int, name: str) -> None:
    """Refuse a tokenizer of another size than the guess at a file's vocabulary: the mask would be another row.

    Args:
        tokenizer: that of the text.
        vocab_size: the guess.
        name: of the file.

    Raises:
        TokenizerError: if the sizes differ.
    """
    pieces = tokenizer.vocab_size - tokenizer.num_unnamed
    if pieces != vocab_size:
        raise TokenizerError(
            f"{name} does not say how many of its rows are tokens, and which is the mask",
            seen=f"a tokenizer of {pieces} pieces",
            expected=f"{vocab_size}, the usual number for so many rows",
            hint=f"pass the --tokenizer that it was trained with; if its mask is {vocab_size} all the same, say so "
            f"beside the weights: torch.save({{'model': weights, 'mask_token_id': {vocab_size}}}, 'model.pt'); else "
            "score it through a loader of your own (--model FILE.py:LOADER --allow-code)",
        )


def num_foreign_pieces(checkpoint: Checkpoint, text: EvaluationText) -> int:
    """How many token ids spell something else by the tokenizer inside the checkpoint, if that is a usable one."""
    tokenizer = text.tokenizer
    assert checkpoint.tokenizer is not None
    try:
        own = load_tokenizer(checkpoint.tokenizer, name=f"the tokenizer inside {checkpoint.path.name}")
    except TokenizerError:  # which may be why another one was passed
        return 0
    silent = () if text.separators is None else text.separators.silent
    own = own.set_off_by(None, *(name.token for name in silent if name.token < own.vocab_size))
    same = sum(ours == theirs for ours, theirs in zip(own.piece_bytes, tokenizer.piece_bytes, strict=False))
    return max(own.vocab_size, tokenizer.vocab_size) - same


def _read_source(paths: Sequence[Path]) -> SourceFloor | None:
    """The side file of a shard whose source is known exactly, if there is one."""
    if len(paths) != 1 or not paths[0].name:  # as that of the working folder, "."
        return None
    side_file = paths[0].with_suffix(".source.json")
    if not side_file.is_file():
        return None
    try:
        record = json.loads(side_file.read_text(encoding="utf-8"))
        bits = float(record["code_length_bits"])
        length = CodeLength(bits_to_nats(bits), 0, int(record["num_bytes"]), 0)
        return SourceFloor(
            str(record["description"]), float(record["entropy_bits_per_byte"]), length.bits_per_byte, bits,
            length.num_bytes,
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorpusError(f"{side_file.name}: record of the source", seen=f"{type(error).__name__}: {error}") from None
