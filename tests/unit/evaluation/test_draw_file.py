"""Files of draws: what they hold comes back to the bit, and every change of them is found, by line."""

import errno
import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bpb_harness.errors import InputError, OutputError, UsageError
from bpb_harness.estimators import ContinuousBound
from bpb_harness.evaluation import draw_file
from bpb_harness.evaluation.batches import DrawSource
from bpb_harness.evaluation.draw_file import DrawFile, DrawFileHeader
from bpb_harness.evaluation.draws import FinishedDraws, plan_draws, run_draws
from bpb_harness.evaluation.kept_draws import NUM_SCORED_AGAIN, KeptDrawsCheck
from bpb_harness.evaluation.runner import MaskedNllRunner
from bpb_harness.sampling.design import StratifiedDesign
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import LogLinear
from bpb_harness.text.corpus import load_shards
from tests.shards import write_shard
from tests.spans import windows_of

HEADER = DrawFileHeader("bpb|method:mc", "a" * 64, "b" * 64, 512, "cpu")
FIRST = FinishedDraws(np.array([0, 3]), np.array([1.5, 0.1 + 0.2]), np.array([4, 1]), np.array([-0.25, 1e-300]))
SECOND = FinishedDraws(np.array([1]), np.array([0.0]), np.array([2]), np.array([0.0]))

_NEXT = "name a new file, or the copy of this one that bpb-eval wrote"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "x.draws"
    file = DrawFile.open(path, HEADER)
    file.keep((0, "mc"), FIRST)
    file.keep((3, "discrete"), SECOND)
    file.close()
    return path


def same(one, other):
    for name in ("rows", "nats", "num_masked", "control"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def signed(path, *records, first=None):
    """The file with these records instead, each with a right checksum: what a forger writes."""
    first = HEADER.to_line() if first is None else first
    bodies = [json.dumps(record).encode()[:-1] if isinstance(record, dict) else record for record in records]
    path.write_bytes(first + b"".join(draw_file._line(first, body) for body in bodies))


def record(**changes):
    return {
        "pass": 0,
        "bound": "mc",
        "rows": [0, 3],
        "nats": [1.5, 0.3],
        "num_masked": [4, 1],
        "control": [-0.25, 0.0],
    } | changes


def read(path, header=HEADER):
    file = DrawFile.open(path, header)
    file.close()
    return file


def refusal(path, header=HEADER):
    before = path.read_bytes()
    with pytest.raises(InputError) as caught:
        DrawFile.open(path, header)
    assert path.read_bytes() == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_draws_come_back_to_the_bit_with_the_lines_that_held_them(path):
    file = DrawFile.open(path, HEADER)
    assert file.header == HEADER
    assert file.finished.keys() == {(0, "mc"), (3, "discrete")}
    same(file.finished[0, "mc"][0], FIRST)
    same(file.finished[3, "discrete"][0], SECOND)
    assert file.finished[3, "discrete"][0].where == f"--resume {path}: line 3"
    file.close()


def test_a_new_file_has_its_first_line_and_takes_more(tmp_path):
    path = tmp_path / "new.draws"
    DrawFile.open(path, HEADER).close()
    assert path.read_bytes() == HEADER.to_line()
    file = DrawFile.open(path, HEADER)
    file.keep((0, "mc"), FIRST)
    assert path.read_bytes().count(b"\n") == 2  # before it is closed
    file.close()
    same(read(path).finished[0, "mc"][0], FIRST)


def test_the_digest_is_of_what_the_file_holds_whatever_the_order(path, tmp_path):
    digest = read(path).digest
    assert len(digest) == 64
    first, second, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + third + second)
    assert read(path).digest == digest
    path.write_bytes(first + third)
    assert read(path).digest != digest


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_no_changed_byte_goes_unnoticed(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("draws") / "x.draws"
    file = DrawFile.open(path, HEADER)
    file.keep((0, "mc"), FIRST)
    file.keep((0, "mc"), SECOND)
    file.close()
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 2))  # without the last newline, a line is one that was cut short
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises((InputError, UsageError)):
        DrawFile.open(path, HEADER)


def test_a_changed_number_is_named_by_its_line(path):
    path.write_bytes(path.read_bytes().replace(b"1.5", b"1.4"))
    line = refusal(path)
    assert f"{path}: line 2 is damaged or was changed" in line
    assert "name a new file" in line


def test_lines_of_another_evaluation_do_not_pass_for_ones_of_this(path, tmp_path):
    other = replace(HEADER, signature="bpb|method:mc|seed:1")
    own = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(other.to_line() + b"".join(own[1:]))
    assert "line 2 is damaged or was changed" in refusal(path, other)


@pytest.mark.parametrize("name", ["signature", "model", "data"])
def test_a_file_of_another_evaluation_is_refused(path, name):
    before = path.read_bytes()
    with pytest.raises(UsageError) as caught:
        DrawFile.open(path, replace(HEADER, **{name: "other"}))
    assert str(caught.value) == (
        f"--resume {path} belongs to another evaluation: got {name} {getattr(HEADER, name)}, expected other; name "
        "another file, or repeat that evaluation's flags"
    )
    assert path.read_bytes() == before


def test_of_two_signatures_only_what_differs_is_named(path):
    whole = "bpb|method:mc|K:2|data:x|model:0123abcd|seed:0|version:0.1.0"
    DrawFile.open(path.with_name("whole"), replace(HEADER, signature=whole)).close()
    other = whole.replace("K:2", "K:3").replace("seed:0", "prefix:4|seed:0")
    with pytest.raises(UsageError) as caught:
        DrawFile.open(path.with_name("whole"), replace(HEADER, signature=other))
    assert "another evaluation: got K:2, prefix:0, expected K:3, prefix:4; name" in str(caught.value)
    with pytest.raises(UsageError, match="got no T, expected T:8; name"):
        DrawFile.open(path.with_name("whole"), replace(HEADER, signature=whole.replace("|K", "|T:8|K")))


def test_the_first_lines_device_and_batch_are_those_that_it_was_begun_with(path):
    file = DrawFile.open(path, replace(HEADER, batch_tokens=64, device="another"))
    assert file.header == HEADER
    file.close()
    assert path.read_bytes().startswith(HEADER.to_line())


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (b"", "not a file of draws"),
        (b"[1]\n", "not a file of draws"),
        (
            b'{"format": "bpb-harness draws", "format_version": 1, "signature": "s"}\n',
            "another version: got 1, expected 3",
        ),
        (b'{"format": "bpb-harness draws", "format_version": true}\n', "another version: got True"),
        (b'{"format": "bpb-harness draws", "format_version": 3}\n', "its first line is incomplete"),
        (HEADER.to_line().replace(b"512", b"513"), "line 1 is damaged or was changed"),
        (replace(HEADER, batch_tokens=0).to_line(), "line 1 is damaged"),
        (replace(HEADER, batch_tokens="512").to_line(), "its first line is incomplete"),
        (replace(HEADER, batch_tokens=True).to_line(), "its first line is incomplete"),
        (replace(HEADER, device=None).to_line(), "its first line is incomplete"),
        (HEADER.to_line().replace(b'"model"', b'"mode"'), "its first line is incomplete"),
    ],
)
def test_first_lines_that_are_refused(tmp_path, first, words):
    path = tmp_path / "x.draws"
    path.write_bytes(first)
    assert words in refusal(path)


_COPY = "; name a new file, or the copy of this one that bpb-eval wrote"


@pytest.mark.parametrize(
    ("first", "line"),
    [
        (b"", "not a file of draws; name a file that bpb-eval wrote, or a new one"),
        (
            b'{"format": "bpb-harness draws", "format_version": 1}\n',
            "a file of draws of another version: got 1, expected 3; name a new file: those draws are done again",
        ),
        (
            b'{"format": "bpb-harness draws", "format_version": 3, "%s": 1}\n' % (b"x" * 300),
            f"its first line is incomplete: got {'x' * 200}{_COPY}",
        ),
        (
            HEADER.to_line().replace(b"512", b"513"),
            f"line 1 is damaged or was changed: got another checksum{_COPY}",
        ),
        (HEADER.to_line() + b"x\n", f"line 2 is damaged or was changed: got another checksum{_COPY}"),
        (HEADER.to_line() + draw_file._line(HEADER.to_line(), b"x"), f"line 2 holds no draws: got not JSON{_COPY}"),
    ],
)
def test_messages_are_whole(tmp_path, first, line):
    path = tmp_path / "x.draws"
    path.write_bytes(first)
    assert refusal(path) == f"--resume {path}: {line}"


def test_a_file_that_cannot_be_read_is_named(path, monkeypatch):
    def fails(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", fails)
    with pytest.raises(InputError) as caught:
        DrawFile.open(path, HEADER)
    assert str(caught.value) == f"--resume {path}: cannot be read: got Input/output error"


def test_what_is_no_file_is_neither_read_nor_written(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    pipe = "a pipe or a device"
    for path, words in ((tmp_path, "a folder"), (tmp_path / "pipe", pipe), ("/dev/zero", pipe)):
        with pytest.raises(InputError) as caught:
            DrawFile.open(Path(path), HEADER)
        assert str(caught.value) == (
            f"--resume {path}: not a file of draws: got {words}; name a file that bpb-eval wrote, or a new one"
        )


def test_an_old_file_is_refused_with_the_next_step(tmp_path):
    path = tmp_path / "x.draws"
    path.write_bytes(b'{"format": "bpb-harness draws", "format_version": 1, "signature": "s"}\n')
    assert "name a new file: those draws are done again" in refusal(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rows": [0, 10**20]}, "row 100000000000000000000"),
        ({"rows": [0, -1]}, "row -1"),
        ({"rows": [0, True]}, "row True"),
        ({"rows": [0, 1.0]}, "row 1.0"),
        ({"rows": [0]}, "columns of different lengths"),
        ({"rows": "03"}, "columns of different lengths"),
        ({"nats": [1.5, -0.1]}, "nats -0.1"),
        ({"nats": [1.5, 1]}, "nats 1"),
        ({"nats": [1.5, None]}, "nats None"),
        ({"nats": [1.5, float("nan")]}, "nats nan"),
        ({"nats": [1.5, float("inf")]}, "nats inf"),
        ({"num_masked": [4, 0]}, "number of masked tokens 0"),
        ({"num_masked": [4, 1.5]}, "number of masked tokens 1.5"),
        ({"num_masked": [4, True]}, "number of masked tokens True"),
        ({"control": [0.0, float("-inf")]}, "control -inf"),
        ({"control": [0.0, 0]}, "control 0"),
        ({"pass": float("inf")}, "pass inf"),
        ({"pass": -1}, "pass -1"),
        ({"pass": 1 << 32}, "pass 4294967296"),
        ({"pass": False}, "pass False"),
        ({"bound": "exact"}, "bound 'exact'"),
        ({"bound": None}, "bound None"),
        ({"note": 1}, "keys pass, bound, rows, nats, num_masked, control, note"),
    ],
)
def test_signed_lines_of_other_types_are_refused(path, changes, words):
    signed(path, record(rows=[7, 8]), record(**changes))
    line = refusal(path)
    assert f"{path}: line 3 holds no draws: got {words}" in line


def test_a_missing_key_a_key_twice_and_no_object_are_refused(path):
    missing = {key: value for key, value in record().items() if key != "control"}
    for content in (missing, json.dumps(record()).encode()[:-1] + b', "pass": 1', b"[1", b"{" * 10_000):
        signed(path, content)
        assert "line 2 holds no draws" in refusal(path)


def test_a_draw_is_held_once(path):
    signed(path, record(), record(nats=[9.0, 9.0], rows=[5, 3]))
    assert f"{path}: line 3 repeats draw 3: got also in --resume {path}: line 2" in refusal(path)
    signed(path, record(rows=[3, 3]))
    assert "line 2 repeats draw 3" in refusal(path)
    signed(path, record(), record(bound="discrete"), record(**{"pass": 1}))
    assert len(read(path).finished) == 3


def test_a_part_says_where_it_lies(path):
    part = DrawFile.open_part(path, HEADER, 3)
    part.close()
    assert part.path == path.with_name(f"{path.name}.part3")
    assert part.header == HEADER
    assert part.path.read_bytes() == HEADER.to_line()


def test_parts_of_other_processes_are_joined_and_signed_anew(path):
    part = DrawFile.open_part(path, replace(HEADER, device="another"), 1)
    third = replace(SECOND, rows=np.array([9]))
    part.keep((0, "mc"), third)
    part.close()
    name = path.with_name("x.draws.part1")
    content = name.read_bytes()
    file = DrawFile.open(path, HEADER)
    assert not name.exists()
    same(file.finished[0, "mc"][1], third)
    assert file.header == HEADER
    file.close()
    # A run that ended between joining and removing the part: what is said twice counts once.
    name.write_bytes(content)
    again = DrawFile.open(path, HEADER)
    assert len(again.finished[0, "mc"]) == 2
    again.close()
    name.write_bytes(content.replace(b"[9]", b"[8]"))
    assert "x.draws.part1: line 2 is damaged" in refusal(path)


def test_a_line_cut_short_is_dropped(path):
    path.write_bytes(path.read_bytes()[:-5])
    file = DrawFile.open(path, HEADER)
    assert file.finished.keys() == {(0, "mc")}
    file.close()
    assert path.read_bytes().count(b"\n") == 2


class _FullDisk:
    """A file that takes some bytes more."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        count = min(len(data), self.room)
        if not count:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= count
        return self.file.write(bytes(data[:count]))

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 1, 40])
def test_a_full_disk_is_one_line_and_leaves_the_file_as_it_was(path, room):
    file, before = DrawFile.open(path, HEADER), path.read_bytes()
    file._file = _FullDisk(file._file, room)
    with pytest.raises(OutputError, match=rf"{path} cannot be written: got No space left on device"):
        file.keep((1, "mc"), FIRST)
    file.close()
    assert path.read_bytes() == before
    assert len(read(path).finished) == 2


@pytest.mark.parametrize("room", [0, 40, 1 << 20], ids=["before the line", "within it", "behind it"])
def test_an_interrupt_leaves_the_file_as_it_was(path, room):
    file, before = DrawFile.open(path, HEADER), path.read_bytes()

    class Interrupted(_FullDisk):
        def write(self, data):
            self.file.write(bytes(data[:room]))
            raise KeyboardInterrupt

    file._file = Interrupted(file._file, room)
    with pytest.raises(KeyboardInterrupt):
        file.keep((1, "mc"), FIRST)
    file.close()
    assert path.read_bytes() == before


def test_writes_in_pieces_make_whole_lines(path):
    file = DrawFile.open(path, HEADER)

    class Slow(_FullDisk):
        def write(self, data):
            return self.file.write(bytes(data[:7]))

    file._file = Slow(file._file, 0)
    file.keep((1, "mc"), FIRST)
    file.close()
    same(read(path).finished[1, "mc"][0], FIRST)


def test_no_number_is_written_that_is_none(path):
    file, before = DrawFile.open(path, HEADER), path.read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        file.keep((1, "mc"), replace(FIRST, nats=np.array([1.0, np.nan])))
    file.close()
    assert path.read_bytes() == before


# What the streams and the network say of it

L, V = 8, 5
SCHEDULE = LogLinear(1e-3)


class Counting:
    """Position and token decide the logits; counts its rows."""

    vocab_size, mask_token_id, context_length, time_conditioned = V, V, L, False

    def __init__(self):
        self.rows = 0

    def logits(self, xt, level):
        self.rows += len(xt)
        return (xt.sum(-1, keepdim=True)[..., None] + torch.arange(L * V).view(L, V)[: xt.shape[1]]).sin().float()


@pytest.fixture
def drawn(tmp_path):
    """A check of 22 draws of windows of two lengths, the network, and the draws as three lines."""
    corpus = load_shards([write_shard(tmp_path / "a.bin", np.random.default_rng(0).integers(0, V, 10 * L + 3))])
    source = DrawSource(corpus, windows_of(corpus, L), SCHEDULE)
    count, streams = len(source.spans), RandomStreams(5, 2)
    bound = ContinuousBound(SCHEDULE, 2)
    plan = plan_draws(bound, count, StratifiedDesign(streams, np.arange(count), 2))
    network = Counting()
    runner = MaskedNllRunner(network, torch.device("cpu"))
    table = run_draws(runner, source, plan, streams, device=torch.device("cpu"), batch_tokens=4 * L)
    check = KeptDrawsCheck(plan, source, streams, runner, dtype="float32", batch_tokens=4 * L)
    lines = [
        FinishedDraws(rows, table.nats[rows], table.num_masked[rows], table.control[rows], f"x: line {number}")
        for number, rows in enumerate(np.array_split(np.random.default_rng(1).permutation(len(plan)), 3), start=2)
    ]
    network.rows = 0
    return check, network, lines


def changed(lines, number, place, **columns):
    """The lines with one value changed."""
    draws = lines[number]
    new = {}
    for name, change in columns.items():
        new[name] = getattr(draws, name).copy()
        new[name][place] = change(new[name][place])
    return [*lines[:number], replace(draws, **new), *lines[number + 1 :]]


def test_sound_draws_come_back_and_the_network_runs_for_eight(drawn):
    check, network, lines = drawn
    for line, made in zip(lines, check.require_drawn(lines), strict=True):
        same(made, line)
    assert network.rows == 0
    assert check.require_scored(lines, "digest") == NUM_SCORED_AGAIN == network.rows == 8


def test_fewer_draws_are_all_scored_again(drawn):
    check, network, lines = drawn
    line = lines[0]
    few = [FinishedDraws(line.rows[:3], line.nats[:3], line.num_masked[:3], line.control[:3])]
    assert check.require_scored(few, "digest") == network.rows == 3


def test_another_number_of_masked_tokens_is_refused_by_line_and_draw(drawn):
    check, _, lines = drawn
    row = lines[1].rows[4]
    with pytest.raises(
        InputError, match=rf"x: line 3: draw {row} has another mask: got \d+ masked tokens, expected \d"
    ):
        check.require_drawn(changed(lines, 1, 4, num_masked=lambda n: n + 1))


def test_another_control_value_is_refused_and_rounding_is_not_read(drawn):
    check, _, lines = drawn
    row = lines[2].rows[0]
    said = lines[2].control[0]
    with pytest.raises(InputError) as caught:
        check.require_drawn(changed(lines, 2, 0, control=lambda c: c + 1e-6))
    assert str(caught.value) == (
        f"x: line 4: draw {row} has another control value: got {said + 1e-6:.12g}, expected {said:.12g}, by its seed; "
        f"{_NEXT}"
    )
    made = check.require_drawn(changed(lines, 2, 0, control=lambda c: c + 1e-12))
    assert made[2].control[0] == lines[2].control[0]
    place = int(np.abs(lines[2].control).argmax())
    most = 1e-9 * (1.0 + abs(lines[2].control[place]))
    assert most > 1.05e-9
    for by in (0.99 * most, -0.99 * most):
        check.require_drawn(changed(lines, 2, place, control=lambda c, by=by: c + by))
    for by in (1.01 * most, -1.01 * most):
        with pytest.raises(InputError):
            check.require_drawn(changed(lines, 2, place, control=lambda c, by=by: c + by))


def test_a_row_beyond_the_plan_is_refused_and_the_last_one_is_not(drawn):
    check, _, lines = drawn
    for row in (22, 1 << 60):
        with pytest.raises(InputError, match=rf"line 2: a draw that the plan does not have: got row {row}, .* 0 .. 21"):
            check.require_drawn(changed(lines, 0, 0, rows=lambda _, row=row: row))


def test_halved_nats_are_found_and_rounding_is_not(drawn):
    check, _, lines = drawn
    halved = [replace(line, nats=line.nats / 2) for line in lines]
    with pytest.raises(
        InputError, match=r"x: line \d: draw \d+ was scored again, and costs something else: got .* bits"
    ):
        check.require_scored(halved, "digest")
    rounded = [replace(line, nats=line.nats * (1 + 1e-6)) for line in lines]
    check.require_scored(rounded, "digest")


def _is_found(check, lines, digest) -> bool:
    try:
        check.require_scored(lines, f"{digest}")
    except InputError:
        return True
    return False


def test_a_hash_of_the_file_chooses_and_every_draw_may_be_chosen(drawn):
    check, _, lines = drawn
    for number in range(3):
        for place in (0, -1):
            forged = changed(lines, number, place, nats=lambda x: x + 1.0)
            found = [_is_found(check, forged, digest) for digest in range(30)]
            assert 2 <= sum(found) <= 20  # 8 of 22, about 11 of 30 times
            again = [_is_found(check, forged, digest) for digest in range(8)]
            assert again == found[:8]  # the same draws for the same file
    assert all(check.require_scored(lines, f"{digest}") == 8 for digest in range(3))


@pytest.mark.parametrize(("dtype", "limit"), [("float32", 9e-4 + 6 * 1e-4 * 3), ("bfloat16", 0.045 + 6 * 0.15 * 3)])
def test_how_far_a_draw_of_nine_tokens_may_move(drawn, dtype, limit):
    """A part that grows with the tokens, and six deviations of their own, which grows with their root."""
    check, _, lines = drawn
    check._dtype = dtype
    said = float(lines[0].nats[2])
    for sign in (-1.0, 1.0):
        check._require_same(lines[0], 2, said + sign * 0.999 * limit, 9)
        again = said + sign * 1.001 * limit
        with pytest.raises(InputError) as caught:
            check._require_same(lines[0], 2, again, 9)
        assert str(caught.value) == (
            f"x: line 2: draw {lines[0].rows[2]} was scored again, and costs something else: got "
            f"{said / math.log(2):.6g} bits, expected {again / math.log(2):.6g} bits; {_NEXT}"
        )
    with pytest.raises(InputError):
        check._require_same(lines[0], 2, math.nan, 9)


def test_bfloat16_may_differ_by_more(drawn):
    check, _, lines = drawn
    moved = [replace(line, nats=line.nats + 0.01) for line in lines]
    with pytest.raises(InputError):
        check.require_scored(moved, "digest")
    check._dtype = "bfloat16"
    check.require_scored(moved, "digest")
