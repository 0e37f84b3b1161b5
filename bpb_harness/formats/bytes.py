"""``bpb-bytes/1``: the bytes behind a score, by every rule."""

from __future__ import annotations

from bpb_harness.formats.audit import FINDING
from bpb_harness.formats.kinds import Flag, Key, ListOf, Named, Number, Record, Text, Whole, maybe

BYTES_FORMAT = "bpb-bytes/1"

_SEPARATOR = Record((
    Key("id", Whole(), "The token."),
    Key("piece", Text(), "Its piece."),
    Key("place", maybe(Text()), "Where it stands: before documents, or behind them."),
    Key("named_by", Text(), "What names it."),
))  # fmt: skip
_CORPUS = Record((
    Key("name", Text(), "Name of the text."),
    Key("digest", Text(), "Digest of its tokens."),
    Key("format", Text(), "How it was stored."),
))  # fmt: skip
_TOKENIZER = Record((
    Key("kind", Text(), "What kind of tokenizer it is."),
    Key("vocab_size", Whole(1), "Number of its pieces."),
    Key("digest", Text(), "Digest of its file."),
))  # fmt: skip
_COMPARED = Record((
    Key("num_documents", Whole(), "Documents that were compared."),
    Key("num_tokens", Whole(), "Tokens of these.", "tokens"),
    Key("num_bytes_official", Whole(), "Bytes of these by the official rule.", "bytes"),
    Key("num_bytes_exact", Whole(), "Bytes of these by the exact rule.", "bytes"),
))  # fmt: skip
_PLACE = Record((
    Key("document", Whole(), "First document that differs, from 0.", is_optional=True),
    Key("position", Whole(), "Where in it, a byte or a token from 0.", is_optional=True),
    Key("reason", Text(), "Why.", is_optional=True),
    Key("expected", Text(), "What was expected there.", is_optional=True),
    Key("met", Text(), "What stands there.", is_optional=True),
    Key("documents", Whole(1), "Documents that differ."),
    Key("documents_by_reason", Named(Whole()), "The same, by reason."),
))  # fmt: skip

BYTES = Record((
    Key("format", Text((BYTES_FORMAT,)), "This format; the first key."),
    Key("num_tokens", Whole(), "Tokens of the text.", "tokens"),
    Key("num_documents", Whole(), "Documents of the text."),
    Key("num_bytes_official", Whole(), "Bytes by the official rule.", "bytes"),
    Key("num_bytes_exact", Whole(), "Bytes by the exact rule.", "bytes"),
    Key("num_bytes_normalized", maybe(Whole()), "UTF-8 bytes of the normalised documents that were compared; null "
        "without documents.", "bytes"),
    Key("num_bytes_raw", maybe(Whole()), "UTF-8 bytes of these documents; null without documents.", "bytes"),
    Key("bytes_per_token", Number(0.0), "Official bytes over tokens.", "bytes"),
    Key("num_unknown_tokens", Whole(), "Tokens whose text is lost.", "tokens"),
    Key("lossless", Flag(), "No text is known to be lost."),
    Key("separator", maybe(_SEPARATOR), "The token that sets documents off; null: none is named or found."),
    Key("corpus", _CORPUS, "What was counted."),
    Key("tokenizer", _TOKENIZER, "What counted."),
    Key("compared", maybe(_COMPARED), "What the bytes of the documents are to be held against; null without "
        "documents."),
    Key("differences", Named(_PLACE), "What differs, by what was compared; empty where nothing does."),
    Key("findings", ListOf(FINDING), "In the order of their codes."),
))  # fmt: skip
