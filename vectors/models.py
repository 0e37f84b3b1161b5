"""The tiny models and tokenizers of the vectors; their numbers come from digests, not from anybody's generator."""

from __future__ import annotations

import hashlib
import itertools
import math
from fractions import Fraction

from vectors.byte_rules import Piece, Pieces
from vectors.exact import Model, shown

Rows = dict[str, list[list[int] | None]]
STRONG, MILD = (1, 2, 3, 7, 12, 30, 60), (1, 2, 3, 4, 5)


def windows(vocab_size: int, lengths: range) -> list[str]:
    """Every partly masked window."""
    letters = [*map(str, range(vocab_size)), "_"]
    every = ("".join(window) for length in lengths for window in itertools.product(letters, repeat=length))
    return [window for window in every if "_" in window]


def arbitrary(name: str, vocab_size: int, lengths: range, weights: tuple[int, ...]) -> Rows:
    """Conditionals that contradict each other: each weight is chosen by the digest of where it stands."""

    def weight(window: str, position: int, token: int) -> int:
        digest = hashlib.sha256(f"{name}/{window}/{position}/{token}".encode()).digest()
        return weights[int.from_bytes(digest[:4], "big") % len(weights)]

    return {
        window: [
            [weight(window, i, token) for token in range(vocab_size)] if letter == "_" else None
            for i, letter in enumerate(window)
        ]
        for window in windows(vocab_size, lengths)
    }


INITIAL, TRANSITION = (5, 2, 1), ((1, 8, 1), (2, 1, 7), (6, 1, 3))


def source(text: tuple[int, ...]) -> Fraction:
    """p(x) of a Markov chain."""
    p = Fraction(INITIAL[text[0]], sum(INITIAL))
    return p * math.prod(Fraction(TRANSITION[a][b], sum(TRANSITION[a])) for a, b in itertools.pairwise(text))


def posterior(lengths: range) -> Rows:
    """What is exactly known of the masked tokens of a window of that chain: sums over all texts that it may be."""
    rows: Rows = {}
    for window in windows(len(INITIAL), lengths):
        hidden = sum(1 << i for i, letter in enumerate(window) if letter == "_")
        texts = itertools.product(range(len(INITIAL)), repeat=len(window))
        possible = [text for text in texts if shown(text, hidden) == window]
        of_position: list[list[int] | None] = []
        for i, letter in enumerate(window):
            if letter != "_":
                of_position.append(None)
                continue
            sums = [sum(source(text) for text in possible if text[i] == token) for token in range(len(INITIAL))]
            scale = math.lcm(*(Fraction(value).denominator for value in sums))
            whole = [int(value * scale) for value in sums]
            of_position.append([value // math.gcd(*whole) for value in whole])
        rows[window] = of_position
    return rows


def _same(window: str) -> list[list[int] | None]:
    """The visible token again, whichever it is; nothing visible: any."""
    seen = set(window) - {"_"}
    row = [int(str(token) in seen or not seen) for token in range(2)]
    return [row if letter == "_" else None for letter in window]


def models() -> list[Model]:
    """All of them."""
    told = (arbitrary(f"told/{end}", 2, range(1, 4), MILD) for end in ("clean", "noisy"))
    return [
        Model("uniform", "Knows nothing: L ln V by every method.", 5,
              {window: [[1] * 5 if letter == "_" else None for letter in window] for window in windows(5, range(3))}),
        Model("repeat", "One symbol again and again; a mixed text is impossible once a token is seen.", 2,
              {window: _same(window) for window in windows(2, range(1, 3)) if len(set(window) - {"_"}) < 2}),
        Model("markov", "The exact posterior of a Markov chain, so that every order costs -log p.", 3,
              posterior(range(1, 4))),
        Model("coin", "Arbitrary conditionals of two tokens.", 2, arbitrary("coin", 2, range(1, 5), STRONG)),
        Model("three", "Arbitrary conditionals of three tokens.", 3, arbitrary("three", 3, range(1, 4), STRONG)),
        Model("told", "Arbitrary, told the mask rate: (1 - u) rows + u rows_noisy.", 2, *told),
    ]  # fmt: skip


def _text(*pieces: str) -> list[Piece]:
    return [Piece("text", piece, piece.encode()) for piece in pieces]


def _bytes(*values: int) -> list[Piece]:
    return [Piece("byte", f"<0x{value:02X}>", bytes([value])) for value in values]


def tokenizers() -> list[Pieces]:
    """All of them; U+2581 is how SentencePiece writes a space."""
    s = "\u2581"
    special = [Piece("unknown", "<unk>", b""), Piece("control", "<s>", b""), Piece("control", "</s>", b"")]
    unused = Piece("unused", "<reserved>", b"<reserved>")
    raw = _bytes(0xE2, 0x96, 0x81, 0x82, 0xF0, 0x9F, 0x98, 0x80, 0x0A)
    text = _text(s, f"{s}{s}{s}", f"{s}the", f"{s}a{s}b", "the", "\u00e9", "\u4e2d", f"a{s}", "?", "<0x41>", f"{s}{s}a")
    letters = [Piece("text", name, value) for name, value in
               (("\u0120", b" "), ("\u0120a", b" a"), ("a", b"a"), ("\u00e2", b"\xe2"), ("\u0138\u0123", b"\x96\x81"),
                ("\u0120\u0120", b"  "), ("\u00c3", b"\xc3"), ("\u00a9", b"\xa9"))]  # fmt: skip
    return [
        Pieces("plain", "SentencePiece, no dummy prefix, byte fallback.", (*special, unused, *raw, *text)),
        Pieces("prefix", "The same with a dummy prefix.", (*special, unused, *raw, *text), prefix=True),
        Pieces("suffix", "The same with a dummy suffix.", (*special, unused, *raw, *text), suffix=True),
        Pieces("no-bare-space", "No bare U+2581: a space comes as the byte pieces E2 96 81.",
               (*special, *raw, *_text("a", "the", f"{s}the"))),
        Pieces("no-bare-space-prefix", "The same with a dummy prefix.",
               (*special, *raw, *_text("a", "the", f"{s}the")), prefix=True),
        Pieces("byte-level", "Byte-level BPE: pieces are bytes, parts of characters among them.",
               (Piece("control", "<|endoftext|>", b""), *letters), escapes=False),
    ]  # fmt: skip


STREAMS = {
    "plain": [
        ["<s>", "\u2581the", "\u2581the"], ["\u2581the", "the"], ["<unk>", "\u2581the", "<unk>", "\u2581"],
        ["<s>", "\u2581\u2581\u2581", "\u2581a\u2581b", "\u2581"], ["the", "<reserved>", "\u2581the"],
        ["the", "<0xE2>", "<0x96>", "<0x81>", "the"], ["the", "<0xE2>", "<0x96>", "<0x82>", "<0x0A>"],
        ["<0xF0>", "<0x9F>", "<0x98>", "<0x80>", "\u2581the", "\u4e2d", "\u00e9"],
        ["the", "<0xE2>", "<s>", "<0x96>", "<0x81>"], ["a\u2581", "\u2581the", "a\u2581", "</s>", "a\u2581"],
        ["\u2581", "?", "<0x41>", "<0x0A>", "\u2581\u2581a"], ["<s>", "</s>", "<s>"],
        ["<0x96>", "<0x81>", "<0xE2>", "<0x96>", "<0x81>", "<0xE2>"],
    ],
    "prefix": [
        ["<s>", "\u2581the", "\u2581the", "</s>", "<s>", "\u2581a\u2581b"], ["\u2581the", "\u2581the"],
        ["<s>", "the", "\u2581"], ["<unk>", "\u2581the"], ["<s>", "\u2581", "\u2581"],
        ["<s>", "\u2581\u2581\u2581", "the"], ["<s>", "<0xE2>", "<0x96>", "<0x81>", "the"],
    ],
    "suffix": [
        ["<s>", "a\u2581", "the", "a\u2581", "</s>", "a\u2581"], ["\u2581the", "\u2581"], ["a\u2581", "<unk>"],
        ["the", "<0xE2>", "<0x96>", "<0x81>"],
    ],
    "no-bare-space": [
        ["<s>", "the", "<0xE2>", "<0x96>", "<0x81>", "a", "<0xE2>", "<0x96>", "<0x81>"],
        ["<0xE2>", "<0x96>", "<0x81>", "\u2581the"], ["a", "<0xE2>", "<0xE2>", "<0x96>", "<0x81>", "<0x81>"],
    ],
    "no-bare-space-prefix": [
        ["<s>", "<0xE2>", "<0x96>", "<0x81>", "the", "<0xE2>", "<0x96>", "<0x81>", "a"],
        ["<0xE2>", "<0x96>", "<0x81>", "</s>", "<0xE2>", "<0x96>", "<0x81>"],
    ],
    "byte-level": [
        ["<|endoftext|>", "\u0120a", "\u0120", "\u0120\u0120", "a"], ["\u0120a", "\u00e2", "\u0138\u0123", "a"],
        ["a", "\u00c3", "\u00a9", "<|endoftext|>", "\u00c3"],
    ],
}  # fmt: skip
