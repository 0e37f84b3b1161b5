"""Documents against the shards that are said to be made of them, by the borders that the shards really have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bpb_harness.byte_count import (
    Belonging,
    Comparison,
    Disagreement,
    Following,
    GroundTruth,
    Reason,
    Tokenizer,
    compare_with_text,
    follow_documents,
)
from bpb_harness.findings import Finding, Json, Severity, register
from bpb_harness.text.corpus import Corpus
from bpb_harness.text.separators import Borders

OTHER_DOCUMENTS = register(
    "BPB179",
    "documents-differ-from-shards",
    Severity.WARNS,
    "The documents, encoded, are not the tokens of the shards.",
)
NOT_SET_OFF = register(
    "BPB180",
    "documents-not-set-off",
    Severity.INFORMS,
    "No named token sets documents off in the shards; the documents' own tokens tell where each ends.",
)


@dataclass(frozen=True)
class Compared:
    """What was held against each other.

    Attributes:
        truth: the sums and the first disagreements.
        num_texts: documents that were given.
        following: how far they went, where their own tokens told where each ends; None otherwise.
    """

    truth: GroundTruth
    num_texts: int
    following: Following | None = None


def compare_documents(
    tokenizer: Tokenizer,
    corpus: Corpus,
    documents: Iterable[str],
    borders: Borders,
    belonging: Belonging | None,
    from_shards: bool,
) -> Compared:
    """Hold documents against the tokens between borders, or along the whole stream where the borders are not theirs.

    Args:
        tokenizer: the one that the tokens are said to come from.
        corpus: the tokens.
        documents: their texts; read a second time, where they can be, if they do not lie between the borders.
        borders: where documents lie.
        belonging: whether the tokenizer belongs to the tokens.
        from_shards: the corpus is shards.
    """
    if from_shards and not borders.are_known:
        return _follow(tokenizer, corpus, documents)
    counted = _Counted(documents)
    belongs = belonging.belongs if belonging else None
    truth = compare_with_text(
        tokenizer, corpus, borders.starts, counted, belongs=belongs, from_shards=from_shards
    )  # fmt: skip
    compared = Compared(truth, counted.exhaust())
    can_read_again = iter(documents) is not documents
    if from_shards and can_read_again and set(truth.tokens.reasons) - {Reason.OTHER_TOKENS}:
        followed = _follow(tokenizer, corpus, documents)
        if followed.following is not None and followed.following.is_whole:
            return followed
    return compared


def _follow(tokenizer: Tokenizer, corpus: Corpus, documents: Iterable[str]) -> Compared:
    counted = _Counted(documents)
    truth, following = follow_documents(tokenizer, corpus, counted)
    return Compared(truth, counted.exhaust(), following)


class _Counted:
    """An iterable that knows how many documents it gave."""

    def __init__(self, documents: Iterable[str]) -> None:
        self._iterator = iter(documents)
        self.given = 0

    def __iter__(self) -> _Counted:
        return self

    def __next__(self) -> str:
        document = next(self._iterator)
        self.given += 1
        return document

    def exhaust(self) -> int:
        """Read what is left; the number of all documents."""
        for _ in self:
            pass
        return self.given


def document_findings(tokenizer: Tokenizer, corpus: Corpus, compared: Compared, borders: Borders) -> list[Finding]:
    """Whether the documents that were given are those of the shards."""
    truth, num_texts, num_in_tokens = compared.truth, compared.num_texts, len(borders.starts)
    if compared.following is not None:
        return _following_findings(tokenizer, corpus, compared, compared.following, borders)
    if truth.tokens.first is None and num_texts == num_in_tokens:
        return []
    message = _documents_message(truth, num_texts, num_in_tokens)
    return [
        OTHER_DOCUMENTS.finding(
            f"{message} {sentence(truth.tokens.first, unit='token')}".rstrip(),
            severity=Severity.WARNS if truth.tokens.first is not None or not truth.num_documents else Severity.INFORMS,
            texts=num_texts,
            documents_in_shards=num_in_tokens,
            facts=place(truth.tokens),
        )
    ]


def _following_findings(
    tokenizer: Tokenizer, corpus: Corpus, compared: Compared, following: Following, borders: Borders
) -> list[Finding]:
    """The same where the documents' own tokens told where each ends."""
    truth, num_found = compared.truth, len(following.starts)
    met = " and ".join(f"{tokenizer.pieces[token]!r} (id {token})" for token in following.between[:4])
    spells = any(tokenizer.piece_bytes[token] for token in following.between)
    as_text = "; its bytes are counted as text: pass it as --separator" if spells else ""
    between = f" Between them stands {met}, which is not named as a BOS or EOS{as_text}." if met else ""
    lead = "No BOS or EOS that is named sets documents off in the shards."
    if borders.are_known:
        lead, between = f"{borders} does not set off these documents.", f" Between them stands {met}." if met else ""
    findings = [
        NOT_SET_OFF.finding(
            f"{lead} Told apart by their own tokens, the first {num_found:,} of {compared.num_texts:,} texts are "
            f"{following.num_tokens:,} of the {corpus.num_tokens:,} tokens.{between}",
            texts=compared.num_texts,
            found=num_found,
            between=list(following.between),
        )
    ]
    if following.is_whole:
        return findings
    if truth.tokens.first is not None:
        message = (
            f"The documents are not those of the shards: {num_found:,} of {compared.num_texts:,} texts are found "
            f"there, one after the other. {sentence(truth.tokens.first, unit='token')}"
        )
    elif num_found < compared.num_texts:
        message = (
            f"The shards hold only the first {num_found:,} of the {compared.num_texts:,} documents that were given."
        )
    else:
        message = f"Only the first {following.num_tokens:,} of {corpus.num_tokens:,} tokens are of the documents given."
    severity = Severity.WARNS if truth.tokens.first is not None or not num_found else Severity.INFORMS
    facts = place(truth.tokens)
    findings.append(
        OTHER_DOCUMENTS.finding(message, severity=severity, texts=compared.num_texts, found=num_found, facts=facts)
    )
    return findings


def _documents_message(truth: GroundTruth, num_texts: int, num_in_tokens: int) -> str:
    """How the documents that were given and those of the shards go together."""
    compared, differing = truth.num_documents, truth.tokens.num_documents
    if not compared or set(truth.tokens.reasons) - {Reason.OTHER_TOKENS}:
        return (
            f"The documents are not those of the shards: {num_texts:,} texts, {num_in_tokens:,} documents in the "
            f"shards, {differing:,} of the {compared:,} compared differ in their tokens."
        )
    part = ""
    if num_texts < num_in_tokens:
        part = f"Only the first {num_texts:,} of {num_in_tokens:,} documents in the shards were given. "
    elif num_texts > num_in_tokens:
        part = f"The shards hold only the first {num_in_tokens:,} of the {num_texts:,} documents that were given. "
    if not differing:
        return f"{part}Those {compared:,} are all equal to the shards; nothing is said of the others."
    return (
        f"{part}The shards spell these documents, but the tokenizer writes {differing:,} of {compared:,} with other "
        "tokens, as another version of its library may."
    )


def sentence(first: Disagreement | None, unit: str = "byte") -> str:
    """Where the first document that disagrees does, in words."""
    if first is None:
        return ""
    return (
        f"First in document {first.document} (from 0) at {unit} {first.position:,}: {first.reason} "
        f"(expected {first.expected!r}, met {first.seen!r})."
    )


def first_facts(first: Disagreement | None) -> dict[str, Json]:
    """The same as facts."""
    if first is None:
        return {}
    return {
        "document": first.document,
        "position": first.position,
        "reason": first.reason.name.lower(),
        "expected": first.expected,
        "met": first.seen,
    }


def place(comparison: Comparison) -> dict[str, Json]:
    """A comparison as facts: its first disagreement, and the numbers of documents by reason."""
    reasons: dict[str, Json] = {reason.name.lower(): count for reason, count in comparison.reasons.items()}
    return {**first_facts(comparison.first), "documents": comparison.num_documents, "documents_by_reason": reasons}
