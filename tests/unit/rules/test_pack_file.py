"""Packs of rules: what is read, and what is refused, in one line: the field, what stands there, what is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.errors import InputError
from bpb_harness.rules import pack_of, read_pack, shipped_names, shipped_pack

HEAD = 'format = "bpb-rules/1"\nname = "pond"\ntitle = "Pond"\n'
TEXT = '[[texts]]\nname = "t"\n'
ROW = '[[denominators]]\ndataset = "t"\ntokenizer = "frog"\ntokens = 10\n'


@pytest.mark.parametrize("name", shipped_names())
def test_every_shipped_pack_is_read_and_names_its_sources(name: str) -> None:
    pack = shipped_pack(name)
    assert (pack.name, pack.file) == (name, None)
    assert pack.sources


def test_what_is_left_out_is_none() -> None:
    pack = pack_of(HEAD, "f")
    assert (pack.name, pack.title) == ("pond", "Pond")
    assert (pack.largest_artifact, pack.least_runs, pack.gain, pack.target) == (None, None, None, None)
    assert (pack.denominators, pack.byte_factors, pack.constants, pack.templates) == ((), (), (), ())
    assert pack.claim.unit == "bits per byte"
    assert not pack.marks.otherwise


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "is not TOML: got Invalid value (at "),
        ('name = "a"\nname = "b"\n', "is not TOML: got Cannot overwrite a value (at line 2, column 11)"),
        ("", "format: got nothing, expected bpb-rules/1"),
        (HEAD.replace("rules/1", "rules/2"), "format: got 'bpb-rules/2', expected bpb-rules/1"),
        (HEAD.replace("pond", "Pond!"), "name: got 'Pond!', expected small letters, digits"),
        (HEAD.replace("pond", "none"), "name: got 'none', expected small letters, digits"),
        (HEAD + "largest_artefact = 5\n", "largest_artefact: got a key that is not known"),
        (HEAD + "largest_artifact = 0\n", "largest_artifact: got 0, expected a whole number >= 1"),
        (HEAD + "largest_artifact = 1.5\n", "largest_artifact: got 1.5, expected a whole number >= 1"),
        (HEAD + 'largest_artifact = "16 MB"\n', "largest_artifact: got '16 MB', expected a whole number >= 1"),
        (HEAD + "least_runs = true\n", "least_runs: got true, expected a whole number >= 1"),
        (HEAD + "constants = [4.3, 0]\n", "constants[1]: got 0, expected a number above 0"),
        (HEAD + "constants = [nan]\n", "constants[0]: got no finite number, expected a finite number >= 0"),
        (HEAD + "day = 2026-01-01\n", "day: got a key that is not known"),
        (HEAD + TEXT + TEXT, "texts: got two of one name"),
        (HEAD + TEXT + ROW, "denominators[0].bytes: got nothing, expected the bytes, or bytes_per_token"),
        (HEAD + TEXT + ROW + "bytes_per_token = 0.0\n", "denominators[0].bytes_per_token: got 0.0, expected a number"),
        (HEAD + TEXT + ROW + "bytes = 30\nbytes_per_token = 3.1\n", "got 3.1, expected 3.000000, bytes over tokens"),
        (
            HEAD + TEXT + ROW + 'bytes = 30\nscope = "half"\n',
            "denominators[0].scope: got 'half', expected full or tail-",
        ),
        (HEAD + ROW + "bytes = 30\n", "denominators[0].dataset: got 't', expected a name of texts: there is none"),
        (HEAD + TEXT.replace('"t"', '"u"') + ROW + "bytes = 30\n", "got 't', expected a name of texts: u"),
        (HEAD + '[[byte_bugs]]\nname = "b"\nstory = "s"\n', "byte_bugs[0]: got no factor, expected factor, or lowest"),
        (HEAD + '[[byte_bugs]]\nname = "b"\nstory = "s"\nlowest = 1.1\n', "byte_bugs[0]: got lowest, expected factor,"),
        (HEAD + '[[byte_bugs]]\nname = "b"\nstory = "s"\nfactor = 0\n', "byte_bugs[0].factor: got 0.0, expected a"),
        (
            HEAD + '[[byte_bugs]]\nname = "b"\nstory = "s"\nlowest = 1.2\nhighest = 1.1\n',
            "byte_bugs[0].highest: got 1.1, expected at least the lowest, 1.2",
        ),
        (
            HEAD + TEXT + '[[doubted]]\ndataset = "t"\nbits_per_byte = 1.0\nlowest_accepted = 0.9\nas_of = "now"\n',
            "doubted[0].lowest_accepted: got 0.9, expected no less than bits_per_byte, 1",
        ),
        (HEAD + "[gain]\nmore_than = 0.005\np_below = 1\n", "gain.p_below: got 1, expected a level between 0 and 1"),
        (HEAD + "[gain]\nmore_than = -0.005\np_below = 0.1\n", "gain.more_than: got -0.005, expected a number >= 0"),
        (HEAD + "[gain]\nmore_than = 0.005\n", "gain.p_below: got nothing, expected number >= 0"),
        (HEAD + "[target]\nat_most = 0\np_below = 0.1\n", "target.at_most: got 0, expected a number above 0"),
        (HEAD + "[time]\ntrain_seconds = 600\n", "time.lines: got nothing, expected lines that print a time"),
        (
            HEAD + '[time]\nlines = ["took {number} s"]\n',
            "time.lines[0]: got 'took {number} s', expected a line with {",
        ),
        (
            HEAD + '[marks]\nlines = ["bpb {scor}"]\n',
            "marks.lines[0]: got the place {scor}, expected text, with places",
        ),
        (
            HEAD + '[marks]\nlines = ["{score}"]\n',
            "marks.lines[0]: got '{score}', without 3 characters of text in a row",
        ),
        (HEAD + '[marks]\nlines = ["result {score} {loss}"]\n', "two places with no text between them"),
        (HEAD + '[marks]\nlines = ["result {score"]\n', "with a brace that is not closed"),
        (
            HEAD + '[claim]\nlines = ["the tokens {tokens}"]\n',
            "claim.lines[0]: got 'the tokens {tokens}', expected a line",
        ),
        (
            HEAD + '[claim]\nlines = ["the loss {loss}"]\n',
            "claim.lines: got no {score}, expected a line with {score}, for",
        ),
        (
            HEAD + '[claim]\nlogs = ["train_{score}.log"]\n',
            "claim.logs[0]: got 'train_{score}.log', expected a file's name, with no place but {number} and {text}",
        ),
        (HEAD + '[claim]\nlogs = ["logs/train.log"]\n', "claim.logs[0]: got 'logs/train.log', expected a file's name"),
        (HEAD + "[claim]\nmean = true\n", "claim.mean: got true, expected it beside claim.logs, for a claim in"),
        (HEAD + '[claim]\nlogs = ["a.log"]\nmean = 1\n', "claim.mean: got 1"),
        (HEAD + '[claim]\nunit = "nats"\n', "claim.unit: got 'nats', expected bits per byte or nats per token"),
        (HEAD + '[claim]\nunit = "nats per token"\n', "claim.lines: got no {loss}, expected a line with {loss}"),
        (HEAD + "[claim]\ntokens = 5\n", "claim.tokens_lines: got nothing, expected it beside claim.tokens"),
        (
            HEAD + '[claim]\ntokens_lines = ["tokens={tokens}"]\n',
            "claim.tokens: got nothing, expected it beside claim.tokens_lines",
        ),
        (
            HEAD + '[claim]\ntokens = 5\ntokens_lines = ["tokens={tokens}"]\n',
            "claim.text: got nothing, expected it beside claim.tokens",
        ),
        (
            HEAD + '[claim]\ntokens = 5\ntext = "t"\ntokens_lines = ["tokens={tokens}"]\n',
            "claim.tokens: got 5, expected it for claims in nats per token alone",
        ),
        (HEAD + "largest_artifact = " + 5000 * "9", "is not TOML: got Exceeds the limit (4300 digits)"),
        (HEAD + '[[texts]]\nname = "t"\nalso = ["pond", ""]\n', "texts[0].also[1]: got '', expected non-blank text"),
        (HEAD + '[[texts]]\nname = " "\n', "texts[0].name: got ' ', expected non-blank text"),
        (
            HEAD + TEXT + ROW + "bytes = 30\n" + ROW + "bytes = 31\n",
            "denominators[1]: got a second row of t (full) under frog, expected one",
        ),
        (
            HEAD + TEXT + 2 * (ROW + 'bytes = 30\nscope = "prefix"\n'),
            "denominators[1]: got a second row of t (prefix) under frog, 10 tokens, expected one",
        ),
        (
            HEAD + 2 * '[[byte_bugs]]\nname = "b"\nstory = "s"\nfactor = 1.2\n',
            "byte_bugs[1]: got a second row of b, expected one",
        ),
        (
            HEAD + TEXT + 2 * '[[doubted]]\ndataset = "t"\nbits_per_byte = 1.0\nlowest_accepted = 1.0\nas_of = "now"\n',
            "doubted[1]: got a second row of t, expected one",
        ),
        (
            HEAD + '[[byte_bugs]]\nname = "b"\nstory = "s"\nfactor = 1.0\n',
            "byte_bugs[0].factor: got 1.0, expected factors that are off 1 by more than 0.003",
        ),
        (
            HEAD + '[[byte_bugs]]\nname = "b"\nstory = "s"\nlowest = 0.9\nhighest = 1.1\n',
            "byte_bugs[0].lowest: got 0.9, expected factors that are off 1 by more than 0.003",
        ),
        (
            HEAD + '[time]\ntrain_seconds = 60\nevaluate_seconds = 60\nlines = ["took {train_s} s"]\n',
            "time.lines: got no {evaluate_s}, expected a line with {evaluate_ms}, {evaluate_s} or {evaluate_min}",
        ),
        (HEAD + "[fields]\nbpb = []\n", "fields.bpb: got a key that is not known"),
        (HEAD + '[fields]\nscore = "bpb"\n', "fields.score: got 'bpb', expected a list"),
    ],
)
def test_a_broken_pack_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        read_pack(file)
    message = str(caught.value)
    assert message.startswith(str(file))
    assert said in message
    assert message.endswith("; docs/rules.md lists the fields")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe", "is no text: got bytes that are no UTF-8, expected TOML"),
        (None, "cannot be read: got No such file or directory"),
    ],
)
def test_what_is_no_text_file_is_no_pack(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "mine.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_pack(file)


def test_prefixes_of_other_lengths_are_other_rows() -> None:
    rows = ROW + 'bytes = 30\nscope = "prefix"\n' + ROW.replace("10", "20") + 'bytes = 70\nscope = "prefix"\n'
    assert [row.num_tokens for row in pack_of(HEAD + TEXT + rows, "f").denominators] == [10, 20]


def test_a_text_is_known_and_told_apart_in_any_case() -> None:
    (text,) = pack_of(HEAD + TEXT + 'also = ["Pond Diary"]\nbut_not = ["Training"]\n', "f").texts
    assert text.is_meant_by("the POND diary")
    assert not text.is_meant_by("Pond Diary, TRAINING part")
