"""What can be said about the bytes of a corpus: counts by every rule, and findings under stable codes.

`measure_bytes` is what `bpb-bytes` prints; its findings belong beside any score of the same tokenizer and tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bpb_harness.byte_count import (
    Belonging,
    ByteCounter,
    Following,
    GroundTruth,
    PieceKind,
    Reason,
    Tokenizer,
    encode_again,
    lost_by_tokenizer,
    why_rules_differ,
)
from bpb_harness.byte_report.against_documents import (
    NOT_SET_OFF,
    OTHER_DOCUMENTS,
    compare_documents,
    document_findings,
    first_facts,
    place,
    sentence,
)
from bpb_harness.byte_report.byte_bugs import sentinel_bytes
from bpb_harness.errors import TokenizerError
from bpb_harness.findings import Finding, Json, Severity, register
from bpb_harness.formats.bytes import BYTES_FORMAT
from bpb_harness.text.corpus import Corpus
from bpb_harness.text.separators import Borders, Separators, find_borders, find_separators

__all__ = ["NOT_SET_OFF", "OTHER_DOCUMENTS", "ByteReport", "measure_bytes"]

_CHUNK_TOKENS = 1 << 18

SPACE_AS_BYTES = register(
    "BPB170",
    "space-as-byte-pieces",
    Severity.WARNS,
    "The vocabulary has no bare U+2581, a space is spelled as three byte pieces, and the official rule counts it as 3.",
)
UNKNOWN_TOKENS = register(
    "BPB171",
    "unknown-tokens",
    Severity.REFUTES,
    "Unknown tokens stand for text that is lost: every count is a lower bound.",
)
FOREIGN_TOKENIZER = register(
    "BPB172",
    "tokenizer-does-not-belong",
    Severity.REFUTES,
    "What the tokens spell, encoded again, gives other tokens: the tokenizer does not belong to these shards.",
)
OFFICIAL_FOOLED = register(
    "BPB173",
    "official-rule-differs",
    Severity.WARNS,
    "The official rule and the exact rule differ for another reason than BPB170.",
)
TEXT_NOT_SPELLED = register(
    "BPB174",
    "text-not-spelled",
    Severity.REFUTES,
    "The pieces do not spell the normalised text.",
)
NORMALISER_CHANGES = register(
    "BPB175",
    "normaliser-changes-text",
    Severity.INFORMS,
    "The normaliser changes the text before it is cut into pieces: raw and normalised bytes differ.",
)
LETTERS_LOST = register(
    "BPB181",
    "letters-lost",
    Severity.REFUTES,
    "The tokenizer changes letters or drops text: what its tokens spell is another text.",
)
LITERAL_SYMBOL = register(
    "BPB176",
    "literal-space-symbol",
    Severity.WARNS,
    "The text holds a literal U+2581, which pieces cannot tell from a space.",
)
UNUSED_PIECES = register(
    "BPB177",
    "unused-pieces",
    Severity.WARNS,
    "The tokens hold unused pieces, which no encoder emits.",
)
SENTINELS = register(
    "BPB178",
    "private-use-characters",
    Severity.WARNS,
    "The tokens hold private-use characters, as text transforms leave them; they are counted as text.",
)

_STEPS = {
    FOREIGN_TOKENIZER.code: "give the --tokenizer that wrote the shards",
    OTHER_DOCUMENTS.code: "give the --docs that the shards were made of",
}


@dataclass(frozen=True)
class ByteReport:
    """Bytes by every rule.

    Attributes:
        tokenizer: what counted.
        corpus: what was counted.
        num_bytes_official: by the official rule.
        num_bytes_exact: by the exact rule.
        num_unknown_tokens: tokens whose text is lost.
        belonging: whether the tokenizer belongs to shards, by encoding again; None where it encoded the tokens itself,
            and where they spell the documents that were given.
        truth: comparison with the documents; None without them.
        lost: what the tokenizer loses of any text, where there are no documents to see it in; None: nothing is known.
        borders: where documents lie, and which token says so.
        following: how far the documents' own tokens told where each ends, where nothing else did; None otherwise.
        findings: in the order of their codes.
    """

    tokenizer: Tokenizer
    corpus: Corpus
    num_documents: int
    num_bytes_official: int
    num_bytes_exact: int
    num_unknown_tokens: int
    belonging: Belonging | None
    truth: GroundTruth | None
    lost: str | None
    borders: Borders
    following: Following | None
    findings: tuple[Finding, ...]

    @property
    def num_bytes_raw(self) -> int | None:
        """UTF-8 bytes of the documents that were compared; None without documents."""
        return None if self.truth is None else self.truth.num_bytes_raw

    @property
    def num_bytes_normalized(self) -> int | None:
        """UTF-8 bytes of the normalised documents that were compared; None without documents."""
        return None if self.truth is None else self.truth.num_bytes_normalized

    @property
    def compares_all(self) -> bool:
        """Documents were given, and every document of the corpus was compared with one."""
        if self.following is not None:
            return self.following.is_whole
        return self.truth is not None and self.truth.num_documents == self.num_documents

    @property
    def bytes_per_token(self) -> float:
        """Official bytes per token."""
        return self.num_bytes_official / self.corpus.num_tokens

    @property
    def lossless(self) -> bool:
        """No text is known to be lost: no unknown token, a tokenizer that belongs, and pieces that spell the documents.

        Without documents it is what the tokens alone can show.
        """
        belongs = self.belonging is None or self.belonging.belongs is not False
        spelled = self.lost is None if self.truth is None else self.truth.lossless
        return self.num_unknown_tokens == 0 and belongs and spelled

    @property
    def void(self) -> Finding | None:
        """Why the counts are of another text than was written, which has no bits per byte; None where they are not.

        What explains other findings stands for them: another tokenizer's tokens, or other documents' text.
        """
        if self.lossless:
            return None
        found = {each.code: each for each in self.findings}
        held = () if self.truth is None else (self.truth.pieces, self.truth.tokens)
        of_other_text = any(each.reasons[Reason.OTHER_TEXT] > 0 for each in held)
        return (
            found.get(FOREIGN_TOKENIZER.code)
            or (found.get(OTHER_DOCUMENTS.code) if of_other_text else None)
            or next((each for each in self.findings if each.severity is Severity.REFUTES), None)
        )

    def require_text(self) -> None:
        """Refuse counts of another text than was written.

        Raises:
            TokenizerError: with the finding that says so, and what to do about it.
        """
        if self.void is not None:
            raise TokenizerError(
                f"{self.tokenizer.name}: the tokens do not give the text back, so there are no bits per byte",
                seen=f"{self.void.code} ({self.void.message.rstrip('.')})",
                expected="every letter of the text",
                hint=_STEPS.get(self.void.code, "`bpb-eval --bytes none` scores in bits per token"),
            )

    def to_dict(self) -> dict[str, Json]:
        """The report with the stable keys of the JSON output."""
        truth = self.truth
        return {
            "format": BYTES_FORMAT,
            "num_tokens": self.corpus.num_tokens,
            "num_documents": self.num_documents,
            "num_bytes_official": self.num_bytes_official,
            "num_bytes_exact": self.num_bytes_exact,
            "num_bytes_normalized": self.num_bytes_normalized,
            "num_bytes_raw": self.num_bytes_raw,
            "bytes_per_token": self.bytes_per_token,
            "num_unknown_tokens": self.num_unknown_tokens,
            "lossless": self.lossless,
            "separator": _separator(self.borders),
            "corpus": {"name": self.corpus.name, "digest": self.corpus.digest, "format": self.corpus.form},
            "tokenizer": {
                "kind": self.tokenizer.kind,
                "vocab_size": self.tokenizer.vocab_size,
                "digest": self.tokenizer.digest,
            },
            "compared": None if truth is None else _compared(truth),
            "differences": {} if truth is None else _differences(truth),
            "findings": [found.to_dict() for found in self.findings],
        }


def measure_bytes(
    tokenizer: Tokenizer,
    corpus: Corpus,
    documents: Iterable[str] | None = None,
    *,
    from_shards: bool = True,
    separators: Separators | None = None,
) -> ByteReport:
    """Count the bytes of a corpus by every rule and say what is wrong with them.

    Args:
        tokenizer: the one that the tokens are said to come from.
        corpus: shards, or documents that `tokenizer` encoded.
        documents: the texts of the same documents, in the same order.
        from_shards: the corpus is shards; False where `tokenizer` has encoded it just now.
        separators: the tokens that may set documents off; None: those that the tokenizer's own file names.

    Raises:
        CorpusError: a token outside the vocabulary.
    """
    counter = ByteCounter(tokenizer)
    counts = _histogram(corpus, tokenizer.vocab_size)
    borders = find_borders(corpus, separators or find_separators(tokenizer))
    belonging = encode_again(corpus, borders.starts, tokenizer) if from_shards else None
    compared = (
        None if documents is None else compare_documents(tokenizer, corpus, documents, borders, belonging, from_shards)
    )
    truth, following = (None, None) if compared is None else (compared.truth, compared.following)
    num_documents = len(borders.starts)
    if following is not None and following.is_whole:
        # Now it is known where documents start: a space that the tokenizer puts there is no text.
        corpus, num_documents = replace(corpus, known_document_starts=following.starts), len(following.starts)
    if truth is not None and truth.num_documents and truth.lossless:
        belonging = None  # the tokens spell the text: it is the better witness
    official, exact = counter.total(corpus, "official"), counter.total(corpus, "exact")
    findings = [
        *_space_findings(tokenizer, corpus, official, exact, truth, num_documents),
        *_token_findings(tokenizer, corpus, counts),
        *_belonging_findings(tokenizer, belonging, counts),
        *([] if compared is None else _text_findings(compared.truth)),
        *([] if compared is None else document_findings(tokenizer, corpus, compared, borders)),
    ]
    lost = lost_by_tokenizer(tokenizer) if truth is None else None
    if lost is not None:
        findings.append(LETTERS_LOST.finding(f"The tokenizer does not give any text back: {lost}."))
    return ByteReport(
        tokenizer=tokenizer,
        corpus=corpus,
        num_documents=num_documents,
        num_bytes_official=official,
        num_bytes_exact=exact,
        num_unknown_tokens=int(counts[tokenizer.piece_kinds == PieceKind.UNKNOWN].sum()),
        belonging=belonging,
        truth=truth,
        lost=lost,
        borders=borders,
        following=following,
        findings=tuple(sorted(findings, key=lambda found: found.code)),
    )


def _histogram(corpus: Corpus, vocab_size: int) -> NDArray[np.int64]:
    counts = np.zeros(vocab_size, np.int64)
    for start in range(0, corpus.num_tokens, _CHUNK_TOKENS):
        stop = min(start + _CHUNK_TOKENS, corpus.num_tokens)
        counts += np.bincount(corpus.read(start, stop), minlength=vocab_size)
    return counts


def _space_findings(
    tokenizer: Tokenizer, corpus: Corpus, official: int, exact: int, truth: GroundTruth | None, num_documents: int
) -> list[Finding]:
    """Where the two rules part: known for each document, or from the first such token where there are no documents."""
    where: dict[Reason, dict[str, Json]] = {}
    if truth is None or truth.num_documents < num_documents:
        where |= _first_difference(tokenizer, corpus)
    if truth is not None:
        where |= {reason: first_facts(first) for reason, first in truth.official.firsts.items()}
    findings = []
    for reason, evidence in where.items():
        if reason is Reason.SPACE_AS_BYTES:
            message = (
                "The vocabulary has no bare U+2581: spaces are spelled as the byte pieces E2 96 81, which the official "
                f"rule counts as 3. It counts {official:,} bytes where the pieces spell {exact:,}."
            )
            factor = official / exact if exact else None
            findings.append(
                SPACE_AS_BYTES.finding(message, factor=factor, official=official, exact=exact, facts=evidence)
            )
        else:
            message = f"The official rule counts {official:,} bytes, the pieces spell {exact:,}: {reason}."
            findings.append(OFFICIAL_FOOLED.finding(message, official=official, exact=exact, facts=evidence))
    return findings


def _first_difference(tokenizer: Tokenizer, corpus: Corpus) -> dict[Reason, dict[str, Json]]:
    counter = ByteCounter(tokenizer)
    for start in range(0, corpus.num_tokens, _CHUNK_TOKENS):
        stop = min(start + _CHUNK_TOKENS, corpus.num_tokens)
        surplus = counter.span(corpus, start, stop, "official") - counter.span(corpus, start, stop, "exact")
        differing = np.flatnonzero(surplus)
        if len(differing):
            position = start + int(differing[0])
            tokens = corpus.read(max(0, position - 1), position + 1).tolist()
            before = tokens[0] if position else None
            reason = why_rules_differ(tokenizer, tokens[-1], before, int(surplus[differing[0]]))
            return {reason: {"token": position, "reason": reason.name.lower()}}
    return {}


def _token_findings(tokenizer: Tokenizer, corpus: Corpus, counts: NDArray[np.int64]) -> list[Finding]:
    findings = []
    unknown = int(counts[tokenizer.piece_kinds == PieceKind.UNKNOWN].sum())
    if unknown:
        findings.append(
            UNKNOWN_TOKENS.finding(
                f"{unknown:,} of {corpus.num_tokens:,} tokens are unknown: their text cannot be recovered, so every "
                "count is a lower bound and bits per byte an upper one.",
                unknown=unknown,
                tokens=corpus.num_tokens,
            )
        )
    unused = np.flatnonzero((tokenizer.piece_kinds == PieceKind.UNUSED) & (counts > 0))
    if len(unused):
        findings.append(
            UNUSED_PIECES.finding(
                f"{int(counts[unused].sum()):,} tokens are unused pieces, {tokenizer.pieces[int(unused[0])]!r} first: "
                "no encoder emits them.",
                ids=unused[:10].tolist(),
            )
        )
    if sentinels := sentinel_bytes(tokenizer, corpus):
        findings.append(
            SENTINELS.finding(
                f"{sentinels:,} bytes are private-use characters, as text transforms leave them: they are counted as "
                "text, and the text may have had none.",
                bytes=sentinels,
            )
        )
    return findings


def _belonging_findings(tokenizer: Tokenizer, belonging: Belonging | None, counts: NDArray[np.int64]) -> list[Finding]:
    if belonging is None or belonging.belongs is not False:
        return []
    used = np.flatnonzero(counts)
    return [
        FOREIGN_TOKENIZER.finding(
            f"The tokenizer does not belong to these tokens: {belonging}. The tokens use {len(used):,} ids up to "
            f"{int(used[-1]):,} of {tokenizer.vocab_size:,}.",
            excerpts=belonging.num_excerpts,
            identical=belonging.num_identical,
            largest_id=int(used[-1]),
            vocab_size=tokenizer.vocab_size,
        )
    ]


def _text_findings(truth: GroundTruth) -> list[Finding]:
    findings = []
    literal = truth.pieces.reasons[Reason.LITERAL_SYMBOL]
    if literal:
        where = truth.pieces.firsts[Reason.LITERAL_SYMBOL]
        findings.append(
            LITERAL_SYMBOL.finding(
                f"{literal:,} documents hold a literal U+2581, which pieces cannot tell from a space: it counts 1 byte "
                f"instead of 3. {sentence(where)}",
                documents=literal,
                facts=first_facts(where),
            )
        )
    told = (Reason.LITERAL_SYMBOL, Reason.OTHER_TEXT, Reason.JOINED_SPACE)  # above, by other findings, by the table
    unspelled = truth.pieces.num_documents - sum(truth.pieces.reasons[reason] for reason in told)
    if unspelled:
        first = next(where for reason, where in truth.pieces.firsts.items() if reason not in told)
        findings.append(
            TEXT_NOT_SPELLED.finding(
                f"In {unspelled:,} of {truth.num_documents:,} documents the pieces do not spell the normalised text. "
                f"{sentence(first)}",
                facts={**place(truth.pieces), **first_facts(first)},
            )
        )
    if truth.normaliser.first is not None:
        findings.append(
            NORMALISER_CHANGES.finding(
                f"The normaliser changes {truth.normaliser.num_documents:,} of {truth.num_documents:,} documents: "
                f"{truth.num_bytes_raw:,} raw bytes, {truth.num_bytes_normalized:,} normalised. "
                f"{sentence(truth.normaliser.first)}",
                facts=place(truth.normaliser),
            )
        )
    if truth.letters.first is not None:
        findings.append(
            LETTERS_LOST.finding(
                f"The normaliser makes another text of {truth.letters.num_documents:,} of {truth.num_documents:,} "
                f"documents. {sentence(truth.letters.first)}",
                facts=place(truth.letters),
            )
        )
    return findings


def _separator(borders: Borders) -> dict[str, Json] | None:
    """The token that sets documents off."""
    if borders.token is None:
        return None
    token = borders.token
    return {"id": token.token, "piece": token.piece, "place": borders.place, "named_by": token.where}


def _compared(truth: GroundTruth) -> dict[str, Json]:
    """What the bytes of the documents are to be held against: the tokens of those documents alone."""
    return {
        "num_documents": truth.num_documents,
        "num_tokens": truth.num_tokens,
        "num_bytes_official": truth.num_bytes_official,
        "num_bytes_exact": truth.num_bytes_exact,
    }


def _differences(truth: GroundTruth) -> dict[str, Json]:
    named = {
        "official_and_exact": truth.official,
        "exact_and_normalized": truth.pieces,
        "normalized_and_raw": truth.normaliser,
        "letters_and_raw": truth.letters,
        "tokens_and_text": truth.tokens,
    }
    return {name: place(comparison) for name, comparison in named.items() if comparison.num_documents}
