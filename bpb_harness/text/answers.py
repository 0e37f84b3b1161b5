"""Prompts and answers -> one stream of tokens, and where in it each answer lies.

The tokens of an answer are those of prompt and answer together less those of the prompt, where these begin with those.
Where they do not, a token straddles the end of the prompt, or the prompt's last tokens are cut differently once text
follows. The border then goes back to the last token up to which both agree: what of the prompt lies behind it is paid
for too, which makes the bound no lower (MATHS.md, equation 32). Bytes are always the answer's alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self, final, get_args

import numpy as np
import numpy.typing as npt

from bpb_harness.byte_count import ByteCounter, Rule, Tokenizer
from bpb_harness.errors import CorpusError, UsageError
from bpb_harness.text.corpus import LARGEST_DOCUMENT_BYTES, Corpus, corpus_of_documents
from bpb_harness.text.documents import find_records
from bpb_harness.text.fields import Record, TextField

Ints = npt.NDArray[np.int64]

RAW = "raw"


@final
@dataclass(frozen=True)
class Answers:
    """Where the prompts and answers of a corpus lie; one entry a document, (N,) int64 each.

    Attributes:
        starts: the document's first token: the token between documents, where there is one.
        target_starts: the first token that is paid for.
        ends: behind the last one.
        num_bytes: of each answer, by the name of the rule: as it is written (`raw`), and as its tokens spell it
            (`official`, `exact`), never more than are written; `raw` alone where the tokenizer cannot be counted.
        moved_tokens: tokens of the prompt, encoded alone, behind the border; 0 where the prompt ends with a token.
        places: file, and line or row, of each document.
    """

    starts: Ints
    target_starts: Ints
    ends: Ints
    num_bytes: Mapping[str, Ints]
    moved_tokens: Ints
    places: Sequence[str]

    def __len__(self) -> int:
        return len(self.starts)

    def first(self, count: int | None) -> Self:
        """The first documents; all if None."""
        kept = slice(count)
        return replace(
            self, starts=self.starts[kept], target_starts=self.target_starts[kept], ends=self.ends[kept],
            num_bytes={rule: each[kept] for rule, each in self.num_bytes.items()},
            moved_tokens=self.moved_tokens[kept], places=self.places[kept],
        )  # fmt: skip


def answer_fields(context_field: str | None, target_field: str | None, *, docs: bool) -> tuple[TextField, TextField]:
    """The fields of prompt and answer.

    Raises:
        UsageError: one of the two alone, both the same, an empty name, or no documents to find them in.
    """
    for given, missing, other in (
        (context_field, "--target-field", target_field),
        (target_field, "--context-field", context_field),
    ):
        if given is not None and other is None:
            flag = "--context-field" if missing == "--target-field" else "--target-field"
            raise UsageError(
                f"{flag} {given}", seen=f"no {missing}", expected="the fields of prompt and answer, both",
                hint=f"pass {missing} NAME",
            )  # fmt: skip
    assert context_field is not None
    assert target_field is not None
    if not docs:
        raise UsageError(
            "--context-field and --target-field", seen="no --docs", expected="--docs FILE.jsonl, which has fields"
        )
    if not context_field or not target_field or context_field == target_field:
        raise UsageError(
            "--context-field and --target-field", seen=f"{context_field!r} and {target_field!r}", expected="two names"
        )
    return (
        TextField(context_field, "--context-field", "prompt"),
        TextField(target_field, "--target-field", "answer", needs_text=True),
    )


def load_answers(
    paths: Sequence[Path | str],
    tokenizer: Tokenizer,
    fields: tuple[TextField, TextField],
    *,
    track: Callable[[Iterable[Record]], Iterable[Record]] = iter,
) -> tuple[Corpus, Answers]:
    """Tokenize prompts with their answers, in the order of the files; BOS before each where the tokenizer has one.

    Args:
        paths: as for :func:`bpb_harness.text.corpus.load_documents`; plain text has no fields.
        tokenizer: encodes each document on its own, once with its answer and once without.
        fields: of the prompt and of the answer.
        track: wraps the documents as they are read, to show progress.

    Returns:
        The corpus, whose digest covers the borders too, and where in it the answers lie.

    Raises:
        CorpusError: as `load_documents`; a field that is missing or holds no text, an empty answer, one that adds no
            token to its prompt: each with its line or row.
        UsageError: plain text.
    """
    files = find_records(paths, fields, largest=LARGEST_DOCUMENT_BYTES)
    counter = ByteCounter(tokenizer) if tokenizer.uncountable is None else None
    encoded = [
        _encode(record, tokenizer, counter) for record in track(each for file in files for each in file.records())
    ]
    if not encoded:
        raise CorpusError(f"{files[0].path}: no documents", expected="lines of an object with a prompt and an answer")
    bos = np.array([] if tokenizer.bos_id is None else [tokenizer.bos_id], np.int64)
    corpus = corpus_of_documents(
        files, [np.concatenate([bos, each.tokens]) for each in encoded], [each.written_bytes for each in encoded],
        vocab_size=tokenizer.vocab_size,
    )  # fmt: skip
    starts = corpus.known_document_starts
    assert starts is not None
    rules = (RAW,) if counter is None else (RAW, *get_args(Rule))
    answers = Answers(
        starts,
        starts + len(bos) + np.array([each.border for each in encoded], np.int64),
        np.append(starts[1:], corpus.num_tokens),
        {rule: np.array([each.num_bytes[rule] for each in encoded], np.int64) for rule in rules},
        np.array([each.moved_tokens for each in encoded], np.int64),
        [each.where for each in encoded],
    )
    return replace(corpus, digest=_digest(corpus, answers)), answers


def iterate_answered(paths: Sequence[Path | str], fields: tuple[TextField, TextField]) -> Iterator[str]:
    """Prompts with their answers as one text each, one after the other; raises what :func:`load_answers` does."""
    for file in find_records(paths, fields, largest=LARGEST_DOCUMENT_BYTES):
        yield from ("".join(record.texts) for record in file.records())


@final
@dataclass(frozen=True)
class _Encoded:
    """One document.

    Attributes:
        where: its place.
        tokens: of prompt and answer, (n,).
        border: how many of them are context.
        moved_tokens: tokens of the prompt alone behind the border.
        num_bytes: of the answer, by rule.
        written_bytes: of prompt and answer.
    """

    where: str
    tokens: Ints
    border: int
    moved_tokens: int
    num_bytes: Mapping[str, int]
    written_bytes: int


def _encode(record: Record, tokenizer: Tokenizer, counter: ByteCounter | None) -> _Encoded:
    prompt, answer = record.texts
    alone, whole = _tokens(tokenizer, prompt), _tokens(tokenizer, prompt + answer)
    if tokenizer.bos_id is not None and (whole == tokenizer.bos_id).any():
        raise CorpusError(
            f"{record.where}: is itself written with the token between documents",
            seen=repr(tokenizer.pieces[tokenizer.bos_id]),
            expected="a token that no text is written with",
            hint="take that out of the text, or name another token with --separator",
        )
    written = len(answer.encode())
    num_bytes, border = {RAW: written}, common_length(alone, whole)
    if counter is not None:
        spelled = {rule: _counted(counter, whole, rule) for rule in get_args(Rule)}
        of_prompt = {rule: int(_counted(counter, alone, rule).sum()) for rule in get_args(Rule)}
        # A token at the end of a text may spell less than where text follows: then it tells of the answer.
        before = np.concatenate([[0], np.cumsum(spelled["exact"])])
        while border and before[border] > of_prompt["exact"]:
            border -= 1
        num_bytes |= {
            rule: min(max(int(counts.sum()) - of_prompt[rule], 0), written) for rule, counts in spelled.items()
        }
    if border == len(whole):
        raise CorpusError(
            f"{record.where}: the answer adds no token to its prompt", seen=_shown(answer),
            expected="an answer that the tokenizer does not drop", hint="leave that document out",
        )  # fmt: skip
    return _Encoded(record.where, whole, border, len(alone) - border, num_bytes, len(prompt.encode()) + written)


def common_length(one: Ints, other: Ints) -> int:
    """How many first tokens two texts share."""
    shorter = min(len(one), len(other))
    differs = np.flatnonzero(one[:shorter] != other[:shorter])
    return int(differs[0]) if len(differs) else shorter


def _tokens(tokenizer: Tokenizer, text: str) -> Ints:
    return tokenizer.encode(text) if text else np.zeros(0, np.int64)


def _counted(counter: ByteCounter, tokens: Ints, rule: Rule) -> Ints:
    """Bytes of each token of a document by itself, (n,)."""
    return counter.per_token(tokens, rule=rule) if len(tokens) else tokens


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "...")


def _digest(corpus: Corpus, answers: Answers) -> str:
    """Of the tokens, of where answers start and end, and of how many bytes are written."""
    digest = hashlib.sha256(bytes.fromhex(corpus.digest))
    for column in (answers.target_starts, answers.ends, answers.num_bytes[RAW]):
        digest.update(np.ascontiguousarray(column, dtype="<i8").data)
    return digest.hexdigest()
