"""Whatever is done to a document of the language, its code length is that of a code or there is none."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bpb_harness.errors import CorpusError
from fixtures.language import code_length_bits, source


@st.composite
def _few_characters(draw: st.DrawFn) -> str:
    """Of the language, which is made when the first test asks and not when tests are collected."""
    return draw(st.text(st.sampled_from(sorted(set("".join(source().spellings)))), max_size=3))


@settings(max_examples=60, deadline=None)
@given(
    index=st.integers(0, 10_000),
    cut=st.integers(0, 40),
    inserted=_few_characters(),
    removed=st.integers(0, 3),
)
def test_an_edited_document_is_refused_or_parses_to_itself(index: int, cut: int, inserted: str, removed: int) -> None:
    text = source().document(9, index)
    edited = text[:cut] + inserted + text[cut + removed :]
    try:
        walk = source().parse(edited)
    except CorpusError:
        return
    assert "".join(source().states[state].spelling for state in walk).removeprefix(" ") == edited
    assert code_length_bits([edited])[0] > 0.0


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**64 - 1), index=st.integers(0, 2**64 - 1))
def test_every_stream_gives_documents_of_the_language(seed: int, index: int) -> None:
    (bits,) = code_length_bits([source().document(seed, index)])
    assert 0.0 < bits < 1e5


def test_short_documents_satisfy_kraft() -> None:
    """Probabilities of all documents of at most three states sum to the chance of ending so soon, below 1."""
    language = source()
    P, end = language.transition, len(language.states) - 1
    texts = []
    for first in range(1, end):
        for second in range(1, end):
            if P[0, first] * P[first, second] * P[second, end] > 0.0:
                spelled = language.states[first].spelling + language.states[second].spelling
                texts.append(spelled.removeprefix(" "))
    assert len(texts) == len(set(texts)) > 100
    chance = (P @ P @ P)[0, end] - (P @ P)[0, end]
    assert abs(sum(2.0**-bits for bits in code_length_bits(texts)) - chance) < 1e-12
