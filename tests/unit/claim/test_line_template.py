"""Lines of logs as a contest's scripts print them."""

from __future__ import annotations

import pytest

from bpb_harness.claim.line_template import LineTemplate
from bpb_harness.claim.log_reader import read_log
from bpb_harness.claim.printed import Source


@pytest.mark.parametrize(
    ("template", "line", "numbers"),
    [
        ("val_loss:{loss} train_time:{train_ms}ms", "step:5/5 val_loss:3.2785 train_time:204345ms", (3.2785, 204345)),
        ("val_loss:{loss} train_time:{train_ms}ms", "val_loss:3.2785 val_bpb:1.2 train_time:204345ms", None),
        ("val_loss:{loss} train_time:{train_ms}ms", "pre_val_loss:3.2785 train_time:204345ms", None),
        ("loss {loss} end", "loss   3.5\tend", (3.5,)),
        ("bpb is {score}", "bpb is 1.25", (1.25,)),
        ("bpb is {score}", "bpb is 1.25x", None),
        ("bpb is {score}", "bpb is 1.2.5", None),
        ("bpb is {score}", "bpb is nan", None),
        ("bpb is {score}", "BPB is 1.25", None),
        ("Total size{text}: {number} bytes", "Total size int8+zlib: 15863489 bytes", ()),
        ("Total size{text}: {number} bytes", "Total size: 5 bytes", ()),
        ("Total size{text}: {number} bytes", "Total size" + "x" * 61 + ": 5 bytes", None),
        ("val_tokens = {tokens}", "    val_tokens = 20 * 524288 # fixed", (10485760,)),
        ("val_tokens = {tokens}", "val_tokens = 10,485,760", (10485760,)),
        ("val_tokens = {tokens}", "val_tokens = 10_485_760", (10485760,)),
        ("took {evaluate_min} (min)", "took 1.5 (min)", (1.5,)),
    ],
)
def test_what_a_line_holds(template: str, line: str, numbers: tuple[float, ...] | None) -> None:
    found = LineTemplate(template).find(line, Source("f", 3))
    assert (None if found is None else tuple(printed.value for printed in found.values())) == numbers
    if found:
        assert {(printed.source.file, printed.source.line) for printed in found.values()} == {("f", 3)}


def test_of_a_log_the_last_and_the_largest_are_kept() -> None:
    loss, code = LineTemplate("loss {loss} after {train_s} s"), LineTemplate("TOKENS = {tokens}")
    text = "import os\nTOKENS = 2 * 8\nprint('loss 9.9 after 99 s')\nif __name__ == '__main__':\n    main()\n"
    text += "=" * 100 + "\nloss 4.0 after 30 s\nTOKENS = 17\nloss 3.5 after 20 s\nloss none after 50 s\n"
    log = read_log(text, "a.log", (loss, code, LineTemplate("never {score}")))
    by_line, by_code = log.found
    assert (by_line.template, by_line.count, by_line.last["loss"].value) == (loss, 2, 3.5)
    assert (by_line.last["loss"].source.line, by_line.largest["loss"].value) == (9, 4.0)
    assert (by_line.last["train_s"].value, by_line.largest["train_s"].value) == (20.0, 30.0)
    assert by_code.distinct == (16, 17)
    assert read_log(text, "a.log").found == ()


@pytest.mark.parametrize(
    ("text", "count", "line"),
    [
        ("loss 1\nloss 2\n\nother\nloss 3", 3, 5),
        ("loss 1\rother\rloss 2\nother\n", 2, 1),  # a progress bar
        ("other\rloss 1\n\n\nloss 2\rloss 3", 3, 4),
        ("10:00:00 loss 1\n\x1b[1mlo\x1b[0mss 2", 2, 2),
        ("loss none\nloss loss 2\nloss" + " " * 3000 + "3", 1, 2),  # a line is cut where it is too long
    ],
)
def test_the_lines_of_a_template_are_found_wherever_they_stand(text: str, count: int, line: int) -> None:
    (found,) = read_log(text, "a.log", (LineTemplate("loss {loss}"),)).found
    assert (found.count, found.last["loss"].source.line) == (count, line)


def test_scripts_of_two_logs_are_told_apart() -> None:
    script = "import os\nx = 1\nif __name__ == '__main__':\n    main()\n"
    one, other = read_log(script + "\nloss 1\n", "a.log"), read_log(script.replace("x = 1", "x = 2"), "b.log")
    assert one.code_digest == read_log("\n" + script + "loss 2\n", "c.log").code_digest
    assert one.code_digest != other.code_digest
    assert read_log("loss 1\n", "d.log").code_digest is None


@pytest.mark.parametrize(
    "text",
    ["{score}", "ab {score}", "a}b longer", "loss {loss}{score}", "loss {loss} {number}", "loss {Loss}",
     "loss {loss} or {loss}", "long {text} and {text} and {text}", "text " * 50],
)  # fmt: skip
def test_what_is_no_template(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        LineTemplate(text)


def test_no_line_takes_long() -> None:
    # Quadratic or worse, these would not end within the time that a test has.
    template = LineTemplate("aaaa{text}aaaa{text}aaaa {number} b")
    assert template.find("a" * 2000, Source("f")) is None
    assert LineTemplate("loss {loss} end").find("loss " + "1" * 2000, Source("f")) is None


@pytest.mark.parametrize(
    ("template", "name", "fits"),
    [
        ("train.log", "train.log", True),
        ("train.log", "train_log", False),
        ("train_{number}.log", "train_7.log", True),
        ("train_{number}.log", "train_7_old.log", False),
        ("train_{number}.log", "my_train_7.log", False),
        ("train_{text}.log", "train_a_b.log", True),
    ],
)
def test_a_template_of_a_whole_name(template: str, name: str, fits: bool) -> None:
    assert LineTemplate(template).is_whole(name) is fits
