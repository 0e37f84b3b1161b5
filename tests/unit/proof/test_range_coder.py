"""The range coder: known streams, ends, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from bpb_harness.errors import InputError, NumericsError
from bpb_harness.proof.range_coder import Decoder, Encoder
from tests.oracles import interval_coder

HINT = "the file is damaged, or this network's numbers are not those that it was written with"
ROWS = np.tile(np.array([[2**20, 2**23, 2**24 - 2**23 - 2**20]]), (40, 1))
TOKENS = np.array([0, 1, 2, 2] * 10)


def coded(symbols) -> bytes:
    encoder = Encoder()
    for symbol in symbols:
        encoder.encode(*symbol)
    return encoder.finish()


def stream_of_rows() -> bytes:
    encoder = Encoder()
    encoder.encode_rows(ROWS, TOKENS)
    return encoder.finish()


@pytest.mark.parametrize(
    ("symbols", "stream"),
    [
        ([], "00"),
        ([(0, 1, 1)] * 100, "00"),
        ([(0, 1, 2)], "00"),
        ([(1, 1, 2)], "80"),
        ([(0xAB, 1, 256)], "ab"),
        ([(0xAB, 1, 256), (0xCD, 1, 256)], "abcd"),
        ([(0xABCDEF01, 1, 2**32), (1, 1, 2)], "abcdef0180"),
        # A third of the interval is no multiple of bytes: 2^64 / 3 is cut, 0x5555555555555555, and rounded up to 0x56.
        ([(1, 1, 3)], "56"),
    ],
)
def test_streams_by_hand(symbols, stream):
    assert coded(symbols).hex() == stream
    decoder = Decoder(bytes.fromhex(stream))
    for low, frequency, total in symbols:
        assert low <= decoder.target(total) < low + frequency
        decoder.advance(low, frequency, total)
    decoder.finish()


def test_a_carry_runs_through_bytes_that_are_full():
    """The middle half over and over holds 1/2: low is 7f ff ff .. until what follows settles on which side it ends."""
    ends_of_halves = 0
    for count in range(120):
        middle = [(1, 2, 4)] * count
        above = [*middle, (2, 1, 4), (0, 1, 2**20)]
        below = [*middle, (1, 1, 4), (0, 1, 2**20)]
        for symbols in (middle, above, below):
            stream = coded(symbols)
            assert stream == interval_coder.encode(symbols)
            decoder = Decoder(stream)
            for symbol in symbols:
                assert symbol[0] <= decoder.target(symbol[2]) < symbol[0] + symbol[1]
                decoder.advance(*symbol)
            decoder.finish()
        ends_of_halves += coded(middle) == b"\x80".ljust(len(coded(middle)), b"\0")
        assert coded(above).startswith(b"\x80" + bytes(count // 8))
        assert coded(below)[: count // 8] == (b"\x7f" + b"\xff" * 20)[: count // 8]
    # The end itself carries, where the interval is narrow for its scale.
    assert ends_of_halves > 10


def test_a_target_at_the_end_of_a_symbol_is_the_next_one():
    assert Decoder(b"\x80").decode_rows(np.array([[1, 1]])).tolist() == [1]
    target = Decoder(b"\xff" * 7 + b"\xfd").target(2**32)
    assert (target, type(target)) == (2**32 - 1, int)


def test_as_many_rows_as_tokens():
    for tokens in (TOKENS[:-1], TOKENS[:1]):
        with pytest.raises(ValueError):
            Encoder().encode_rows(ROWS, tokens)


def test_finish_may_be_asked_twice_and_does_not_end_anything():
    encoder = Encoder()
    encoder.encode(3, 1, 7)
    first = encoder.finish()
    assert encoder.finish() == first == coded([(3, 1, 7)])
    encoder.encode(6, 1, 7)
    assert encoder.finish() == coded([(3, 1, 7), (6, 1, 7)])


def test_rows_are_symbols():
    one_by_one = [(int(row[:token].sum()), int(row[token]), 2**24) for row, token in zip(ROWS, TOKENS, strict=True)]
    assert stream_of_rows() == coded(one_by_one)
    decoder = Decoder(stream_of_rows())
    assert decoder.decode_rows(ROWS[:15]).tolist() == TOKENS[:15].tolist()
    none = decoder.decode_rows(ROWS[:0])
    assert (none.tolist(), none.dtype) == ([], np.int64)
    assert decoder.decode_rows(ROWS[15:]).tolist() == TOKENS[15:].tolist()
    decoder.finish()


def refused(stream: bytes) -> str:
    decoder = Decoder(stream)
    decoder.decode_rows(ROWS)
    decoder.finish()
    raise AssertionError("it was decoded")


def test_every_stream_that_is_cut_short():
    stream = stream_of_rows()
    for length in range(len(stream)):
        with pytest.raises(InputError) as caught:
            refused(stream[:length])
        assert str(caught.value) == f"the bits: got their end before the last symbol; {HINT}"


def test_bits_behind_the_end():
    for more in (b"\0", b"\xff", bytes(1000)):
        with pytest.raises(InputError) as caught:
            refused(stream_of_rows() + more)
        assert str(caught.value) == f"the bits: got {len(more):,} bytes behind their end, expected none; {HINT}"


def test_an_early_end_stops_at_once():
    decoder = Decoder(b"\0\0")
    decoder.advance(0, 1, 256)
    decoder.advance(0, 1, 256)
    with pytest.raises(InputError, match="their end before the last symbol"):
        decoder.advance(0, 1, 256)


def test_one_last_byte_alone_ends_a_stream():
    stream, accepted = stream_of_rows(), []
    for last in range(256):
        decoder = Decoder(stream[:-1] + bytes([last]))
        try:
            tokens = decoder.decode_rows(ROWS)
            decoder.finish()
        except InputError:
            continue
        accepted.append((last, tokens.tolist()))
    # Other last bytes may end other tokens; the tokens that were written have this one only.
    assert [last for last, tokens in accepted if tokens == TOKENS.tolist()] == [stream[-1]]
    decoder = Decoder(b"\x01")
    with pytest.raises(InputError) as caught:
        decoder.finish()
    assert str(caught.value) == f"the bits: got another last byte, expected the one that ends them; {HINT}"


def test_a_number_that_no_symbol_has():
    with pytest.raises(InputError) as caught:
        Decoder(b"\xff" * 8).target(3)  # 2^64 = 1 modulo 3
    assert str(caught.value) == f"the bits: got a number that no symbol has; {HINT}"


@pytest.mark.parametrize(
    ("low", "frequency", "total"), [(0, 0, 4), (-1, 1, 4), (3, 2, 4), (0, -1, 4), (0, 1, 2**32 + 1), (0, 0, 0)]
)
def test_what_is_no_interval(low, frequency, total):
    text = (
        f"a symbol to be coded: got {frequency} parts behind {low} of {total}, expected 1 or more parts, of a total of "
        "at most 2^32; a token without any mass has no code"
    )
    for call in (Encoder().encode, Decoder(b"\0").advance):
        with pytest.raises(NumericsError) as caught:
            call(low, frequency, total)
        assert str(caught.value) == text


def test_a_symbol_that_is_not_the_targets():
    for wrong in ((0, 1, 4), (3, 1, 4)):
        with pytest.raises(NumericsError, match=r"a symbol to go on behind: got . . 1, expected that of the target"):
            Decoder(coded([(1, 1, 4)])).advance(*wrong)


def test_a_token_without_mass_is_not_written():
    with pytest.raises(NumericsError, match="0 parts behind 5 of 9"):
        Encoder().encode_rows(np.array([[5, 0, 4]]), np.array([1]))
