"""Score lines of logs, in the shapes that people print."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpb_harness.claim.log_reader import read_log
from bpb_harness.claim.names import tokenizers_in
from bpb_harness.claim.printed import Printed, Source
from bpb_harness.claim.record import LogRecord, ScoreLine
from bpb_harness.claim.told_by_log import PartTold
from fixtures.claims.patterns import EMBEDDED_SCRIPT
from tests.bounded import require_an_end


@pytest.mark.parametrize(
    ("line", "label", "nats", "score", "step"),
    [
        ("final_int8_exact val_loss:2.65530960 val_bpb:1.62519980", "final_int8_exact", 2.6553096, 1.6251998, False),
        (
            "ttt_sliding:done val_loss=1.889768 val_bpb=1.119230 elapsed=409s",
            "ttt_sliding:done",
            1.889768,
            1.11923,
            False,
        ),
        ("step:5/10 val_loss: 2.1 val_bpb: 1.2", "step:5/10", 2.1, 1.2, True),
        ("4000/20000 val_loss: 2.8741 val_bpb: 1.1127", "4000/20000", 2.8741, 1.1127, True),
        ("VARIATIONAL BPB: 1.1567", "VARIATIONAL", None, 1.1567, False),
        ("Quantized BPB (no XSA): 1.026927", "Quantized (no XSA)", None, 1.026927, False),
        ("  EMA BPB:       1.018060", "EMA", None, 1.01806, False),
        ("pll_loss:3.2108 pll_bpb:1.8587 scored_tokens:32736", "", 3.2108, 1.8587, False),
        ("[rank0]: final val_loss:2.1 val_bpb:1.2", "final", 2.1, 1.2, False),
        ("2026-03-20 10:11:12,345 - INFO - final val_loss:2.1 val_bpb:1.2", "final", 2.1, 1.2, False),
        ("\x1b[1mfinal\x1b[0m val_loss:2.1 val_bpb:1.2", "final", 2.1, 1.2, False),
        ('{"step": 5, "val_loss": 2.1, "val_bpb": 1.2}', 'step": 5', 2.1, 1.2, True),
        ('{"event": "final", "tokenizer": "sp1024", "val_loss": 2.1, "val_bpb": 1.2}', None, 2.1, 1.2, False),
        ("train_loss:3.0 val_loss:2.1 val_bpb:1.2", "", 2.1, 1.2, False),
        ("val_loss 2.031 | val_bpb 1.203", "", 2.031, 1.203, False),
        ("val_loss 2.031, val_bpb 1.203, time 3.1s", "", 2.031, 1.203, False),
        ("val_loss 2.031 val_bpb   1.203", "", 2.031, 1.203, False),
        ("val_bpb 1.203", "", None, 1.203, False),
        ("final val_loss 2.031 | val_bpb 1.203 | done", "final", 2.031, 1.203, False),
        ("step 100 | train_loss 3.0 | val_loss 2.031 | val_bpb 1.203", "step 100", 2.031, 1.203, True),
        ("100/2000 val_loss 2.031 val_bpb 1.203", "100/2000", 2.031, 1.203, True),
        ("final val_loss: 2,03125 val_bpb: 1,2030", "final", 2.03125, 1.203, False),
        ("ttt:vl=2.031250 bpb=1.203000 t=455.7s", "ttt", 2.03125, 1.203, False),
        ("ttt_x vl:2.03125000 bpb:1.20300000", "ttt_x", 2.03125, 1.203, False),
        ("final vl: 2.031 val_bpb: 1.203", "final", 2.031, 1.203, False),
        ("final lvl:2.031 bpb:1.203", "final lvl:2.031", None, 1.203, False),
        ("final vl_x:0.031 bpb:1.203", "final vl_x:0.031", None, 1.203, False),
    ],
)
def test_shapes(line: str, label: str | None, nats: float | None, score: float, step: bool) -> None:
    (found,) = read_log(line, "f.log").lines
    assert (found.bpb.value, found.is_training_step) == (score, step)
    assert label is None or found.label == label
    assert (found.nats_per_token.value if found.nats_per_token else None) == nats


@pytest.mark.parametrize(
    "line",
    [
        'log0(f"final val_loss:{loss:.4f} val_bpb:{bpb:.4f}")',
        'print("val_bpb: 1.2")',
        "# val_bpb: 1.2",
        "val_bpb: nan",
        "val_bpb: inf",
        "val_bpb: 1e999",
        "val_bpb: 0.0",
        "val_bpb: -1.2",
        "val_bpb: 12%",
        "val_bpb: 1.2.3",
        "val_bpb: 1,203",  # or a thousand and more
        "val_bpb: 1,2030 after 1.5 h",
        "val_bpb: 1,2030,5",
        "val_bpb: \u0661.\u0662",
        "delta_bpb: 0.012",
        "baseline_bpb: 1.2244",
        "val_bpb_std: 0.001",
        "target bpb: 1.1",
        "val_bpb 1,203",
        "val_bpb 1.2 is what we hope for",
        "improved val_bpb 1.2",
        "target_bpb 1.1 | val_loss 2.0",
        "a val_loss 2.0 and val_bpb 1.2 were seen before",
        "val_bpb 12%",
        "val_bpb 1.2.3",
        "val_bpb nan",
        "val_bpb",
        "",
    ],
)
def test_what_is_no_score(line: str) -> None:
    assert read_log(line, "f.log").lines == ()


def test_the_script_in_the_log_is_not_the_log() -> None:
    record = read_log(EMBEDDED_SCRIPT + "step:0/9 val_loss:6.9 val_bpb:4.1\nfinal val_loss:2.1 val_bpb:1.2\n", "f.log")
    assert [line.bpb.value for line in record.lines] == [4.1, 1.2]
    assert record.embedded_code_lines > 10


def test_the_final_score_is_the_last_that_is_no_step_with_its_digits() -> None:
    exact = "final_exact val_loss:2.07269931 val_bpb:1.22436570"
    text = f"step:9/9 val_bpb:1.30\nfinal val_bpb:1.2244\n{exact}\nfinal val_bpb:1.2244\n"
    final = read_log(text, "f.log").final
    assert final is not None
    assert final.bpb.value == 1.2243657


def test_the_last_of_two_runs() -> None:
    text = "seed:1\nfinal_exact val_bpb:1.30\nseed:2\nfinal_exact val_bpb:1.20\n"
    record = read_log(text, "f.log")
    assert [line.run for line in record.lines] == [0, 1]
    assert record.seed == "2"
    assert record.final is not None
    assert record.final.bpb.value == 1.2


def test_settings() -> None:
    text = (
        "val_loader:shards pattern=./d/fineweb10B_sp1024/fineweb_val_*.bin tokens:62021632\n"
        "val_var_bpb:enabled var_eval_steps:32\nSerialized model: 1 bytes\n"
        "Total submission size: 67272625 bytes\nTotal submission size int8+zlib: 15863489 bytes\n"
    )
    record = read_log(text, "train_seed42.log")
    assert record.split_tokens == (62021632,)
    assert record.tokenizers == ("sp1024",)
    assert record.dataset == "fineweb_val"
    assert record.num_steps == 32
    assert record.seed == "42"
    assert [size.value for size in record.artifact_bytes] == [67272625, 15863489]


def test_names_say_whether_loss_and_score_are_one_estimator() -> None:
    (same,) = read_log("val_loss:2.1 val_bpb:1.2", "f").lines
    (other,) = read_log("val_loss:2.1 val_var_bpb:1.2", "f").lines
    assert same.same_estimator
    assert not other.same_estimator


def test_line_numbers_count_newlines_only() -> None:
    (line,) = read_log("a\x0cb\u2028c\x85d\r\nprogress 1\rprogress 2\nval_bpb:1.2\n", "f").lines
    assert line.bpb.source.line == 3


def test_the_ratio_is_that_of_the_line() -> None:
    (line,) = read_log("final_exact val_loss:2.07269931 val_bpb:1.22436570", "f").lines
    assert line.nats_per_token is not None
    assert math.isclose(line.nats_per_token.value / math.log(2) / line.bpb.value, 2.4423, rel_tol=1e-5)


HOSTILE_LINES = [
    "a" * 1990 + "bpb", "bpb" * 660, "val_bpb " * 240, "loss:1 bpb:" * 170, " " * 1990 + "|bpb", "|" * 1990 + "bpb",
    "val_loader" + "x" * 1980, "2026-03-20 " * 180 + "bpb", ":" * 1990 + "bpb", "bpb" + " " * 1990, "bpb(" * 480,
    "bpb 1 " * 330 + "x", "bpb 1|" * 150, "bpb:1|" * 150, "bpb" + " 1" * 990, "a 1e1 " * 330 + "bpb",
    "bpb 1" + "0" * 1980 + "x",
]  # fmt: skip


def test_hostile_lines_come_to_an_end() -> None:
    require_an_end(
        "from bpb_harness.claim.log_reader import read_log\n"
        "from bpb_harness.claim.readme_reader import read_readme\n"
        f"for line in {HOSTILE_LINES!r}:\n"
        "    text = '\\n'.join([line] * 20)\n"
        "    read_log(text, 'f.log')\n"
        "    read_readme(text, 'README.md')\n"
    )


WHOLE_LOG = """\
val_loader:shards pattern=./data/fineweb10B_sp1024/fineweb_val_*.bin tokens:62021632
train_loader:shards pattern=./data/wikitext_sp8192/wikitext_train_*.bin tokens:9
tokenizer: ./lower-cased/sp.model
seed: 7
final val_loss:2.10 val_bpb:1.30 T=64
val_loader:shards tokens:62021632
Total submission size int8+zlib: 15,863,489 bytes
artifact size: 5 bytes
step:0/9 val_loss:6.93 val_bpb:4.1234
final_exact val_loss:2.00 val_var_bpb:1.2345 scored_tokens:1,024 bpb_of_others 1.777
seed: 8
ema bpb: 1.5
bpb is computed with T=32
loss without the other word 1.999
"""


def test_a_whole_log() -> None:
    def at(line: int) -> Source:
        return Source("f.log", line)

    assert read_log(WHOLE_LOG, "f.log") == LogRecord(
        file="f.log",
        lines=(
            ScoreLine(
                "final", Printed(1.3, 2, at(5), "val_bpb"), Printed(2.1, 2, at(5), "val_loss"), True, num_steps=64
            ),
            ScoreLine(
                "step:0/9", Printed(4.1234, 4, at(9), "val_bpb"), Printed(6.93, 2, at(9), "val_loss"), True, True, 0, 1
            ),
            ScoreLine(
                "final_exact", Printed(1.2345, 4, at(10), "val_var_bpb"), Printed(2.0, 2, at(10), "val_loss"), False,
                run=1, scored_tokens=1024,
                counted=PartTold("scored_tokens:1,024", at(10), 1, count=1024, unit="tokens", is_counted=True),
            ),
            ScoreLine("ema", Printed(1.5, 1, at(12), "bpb"), run=2),
        ),
        seed="8",
        split_tokens=(62021632,),
        artifact_bytes=(
            Printed(15863489.0, 0, at(7), "artifact bytes"), Printed(5.0, 0, at(8), "artifact bytes")
        ),
        packed=(Printed(15863489.0, 0, at(7), "Total submission size int8+zlib: 15,863,489 bytes"),),
        tokenizers=("sp1024", "sp8192"),
        models=("sp.model",),
        num_steps=64,
        num_steps_at=at(5),
        dataset="fineweb_val",
        folded="./lower-cased/sp.model",
        numbers_beside_bpb=frozenset({4.1234, 1.2345, 1.777}),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "nats", "same"),
    [
        ("val_loss:2.1 var_loss:2.2 var_bpb:1.2", ("var_loss", 2.2), True),
        ("var_loss:2.2 val_loss:2.1 val_bpb:1.2", ("val_loss", 2.1), True),
        ("val_loss:2.1 ema_loss:2.2 var_bpb:1.2", ("val_loss", 2.1), False),
        ("val_loss:0 val_bpb:1.2", None, True),
        ("val_loss:-2.1 val_bpb:1.2", None, True),
        ("val_loss:1e999 val_bpb:1.2", None, True),
        ("train_loss:2.1 TRAIN_loss:2.2 val_bpb:1.2", None, False),
    ],
)
def test_which_loss_belongs_to_a_score(line: str, nats: tuple[str, float] | None, same: bool) -> None:
    (found,) = read_log(line, "f").lines
    loss = found.nats_per_token
    assert ((loss.name, loss.value) if loss is not None else loss) == nats
    assert found.same_estimator is same


@pytest.mark.parametrize(
    ("line", "dataset"),
    [
        ("val_loader:shards pattern=./d/Wikitext_val_*.bin tokens:9", "wikitext_val"),
        ("val files: fineweb_val_000001.bin", "fineweb_val"),
        ("val_files: ./d/fineweb10B_sp9000_folded_v2_own/fineweb_val_[0-9][0-9].bin", "fineweb_val"),
        ("val_files: ./d/fineweb10B_sp9000_folded_v2_own/fineweb_val_????.bin", "fineweb_val"),
        ("val_bytes_files: ./d/fineweb10B_sp9000_v2_own/fineweb_val_bytes_*.bin", "fineweb_val"),
        ("val_loader: ./d/sp9000_v2/fineweb_train_[0-9].bin val.bin", "fineweb_train"),
        ("val_loader:shards pattern=./d/fineweb_train_*.bin", "fineweb_train"),
        ("val: ./d/fineweb_train_*.bin", None),
        ("val_loader: ./d/wikitext_sp1024/validation.bin", "wikitext_val"),
        ("val_loader: ./d/fineweb_sp1024/validation.bin", None),
        ("val_loader: ./d/FineWeb10B_sp1024/val.bin", None),
        ("val_loader: ./d/wikitext_val_*.npy", None),
        ("train: ./d/wikitext_sp1024/train.bin, wikitext_v", None),
        ("a wikitext_val_0 of no kind", None),
    ],
)
def test_the_text_that_a_log_names(line: str, dataset: str | None) -> None:
    assert read_log(line, "f").dataset == dataset


def test_the_first_text_that_is_named_stays() -> None:
    text = "val: ./d/a_val_0.bin\nval: ./d/b_val_0.bin\n"
    assert read_log(text, "f").dataset == "a_val"


@pytest.mark.parametrize(
    ("line", "folded"),
    [
        ("tokenizer_path=./d/case-folded/sp.model", "tokenizer_path=./d/case-folded/sp.model"),
        ("val_loader: pattern=./UNCASED/*.bin tokens:9", "pattern=./UNCASED/*.bin"),
        ("val_loader: pattern=./" + "x" * 300 + "-uncased/*.bin", "pattern=./" + "x" * 190),
        ("tokenizer: ./lowercase/sp.model", "./lowercase/sp.model"),
        ("train_loader: ./uncased/*.bin", None),
        ("tokenizer: ./ununcased/sp.model", None),
    ],
)
def test_letters_that_were_folded(line: str, folded: str | None) -> None:
    assert read_log(line, "f").folded == folded


@pytest.mark.parametrize(
    ("line", "steps"),
    [
        *(("var_eval_steps=32 bpb", 32), ("bpb: T: 512", 512), ("num_timesteps:64 val_bpb:1.2", 64)),
        *(("step:5/10 val_bpb:1.2 T=64", None), ("# bpb T=64", None), ("T=64", None), ("bpb AT=64 BT:5", None)),
    ],
)
def test_diffusion_steps_of_an_evaluation(line: str, steps: int | None) -> None:
    assert read_log(line, "f").num_steps == steps


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        (["seed:1", "final bpb:1.1", "seed:1", "seed:2", "final bpb:1.2"], [0, 1]),
        (["step:0/9 bpb:4.1", "step:9/9 bpb:1.2", "step:0/9 bpb:4.1", "step:9/9 bpb:1.1"], [0, 0, 0, 0]),
        (["final bpb:1.1", "0/9 val_bpb:4.1", "step:9/9 bpb:1.1", "final bpb:1.0"], [0, 1, 1, 1]),
        (["final bpb:1.1", "step:10/90 val_bpb:1.4"], [0, 0]),
    ],
)
def test_where_a_run_ends(text: list[str], runs: list[int]) -> None:
    assert [line.run for line in read_log("\n".join(text), "f").lines] == runs


@pytest.mark.parametrize(
    ("file", "text", "seed"),
    [
        *(("run_seed42.log", "", "42"), ("Seed-7.log", "", "7"), ("seed42.log", "seed=8", "8"), ("a.log", "", None)),
        *(("a.log", "the seed: 8", None), ("a.log", "  SEED: 8", "8")),
    ],
)
def test_the_seed(file: str, text: str, seed: str | None) -> None:
    assert read_log(text, file).seed == seed


def test_byte_is_a_tokenizer_in_a_path_alone() -> None:
    assert read_log("byte-level bpb of sp1024", "f").tokenizers == ("sp1024",)
    assert read_log("tokenizer: byte260", "f").tokenizers == ("byte",)
    assert read_log("fineweb_1024_bpe.model\nsp1024 fineweb_2048_bpe.model", "f").tokenizers == ("sp1024", "sp2048")


COUNTED = "".join(f"chunks:{50 * i} loss:2.{i} bpb:1.{i}\n" for i in range(1, 6))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (COUNTED + "final bpb:1.25\n", [1.25]),
        (COUNTED.replace("chunks:", "AR "), []),  # a label that does not say of what
        (COUNTED.replace("chunks:", "ttt DIAG rank:7 ci="), []),
        (COUNTED.replace("chunks:", "seed:"), [1.1, 1.2, 1.3, 1.4, 1.5]),
        (COUNTED.replace("chunks:", "T="), [1.1, 1.2, 1.3, 1.4, 1.5]),
        (COUNTED.replace("chunks:", "temp=0."), [1.1, 1.2, 1.3, 1.4, 1.5]),  # a setting
        (COUNTED.replace(":150 ", ":160 "), [1.1, 1.2, 1.3, 1.4, 1.5]),  # no equal steps
        (COUNTED + "chunks:400 bpb:1.6\nchunks:400 bpb:1.7\nchunks:600 bpb:1.8\n", []),  # larger ones later on
        ("\n".join(COUNTED.split("\n")[:3]), [1.1, 1.2, 1.3]),
        ((COUNTED + COUNTED).replace("chunks:", "vl:0.5 part "), []),  # from the start again
    ],
)
def test_running_values_are_known_by_their_counter(text: str, values: list[float]) -> None:
    assert [line.bpb.value for line in read_log(text, "f.log").lines] == values


def test_many_counted_lines_take_time_in_proportion() -> None:
    program = (
        "from bpb_harness.claim.log_reader import read_log\n"
        "text = ''.join(f'piece {i} of it {i} bpb:1.{i:05d}\\n' for i in range(20_000))\n"
        "print(len(read_log(text, 'f.log').lines))"
    )
    assert require_an_end(program, seconds=12).strip() == "0"


@pytest.mark.parametrize(
    "first",
    [
        "PLACEHOLDER LOG FILE",
        "# PLACEHOLDER TRAIN LOG",
        "placeholder: the full run is pending",
        "Placeholder for the training log",
        "\n\nReplace this file with the real log of the run",
    ],
)
def test_a_placeholder_for_a_log_is_none(first: str) -> None:
    read = read_log(f"{first}\n\nIntended run:\n- val_loss: 2.2\n- val_bpb: 1.303\n", "train.log")
    assert read.lines == ()
    assert read.placeholder is not None


@pytest.mark.parametrize(
    "text",
    [
        "seed: 1\nstart\nval_loss: 2.2 val_bpb: 1.303\nPLACEHOLDER LOG FILE",
        "placeholder tokens: 3\nval_bpb: 1.303",
        "a\nb\nc\nd\nplaceholder log\nval_bpb: 1.303",
        "wrote placeholder file\nval_bpb: 1.303",
    ],
    ids=["at the end", "another thing", "later", "a sentence"],
)
def test_a_log_that_speaks_of_placeholders_is_one(text: str) -> None:
    read = read_log(text, "train.log")
    assert len(read.lines) == 1
    assert read.placeholder is None


_PIECES = (
    "sp",
    "SP",
    "-",
    "_",
    " ",
    "/",
    "x",
    "1024",
    "12",
    "fineweb",
    "fineweb10B_",
    "_bpe",
    "byte",
    "260",
    "caseops",
)


@settings(max_examples=300)
@given(st.lists(st.sampled_from(_PIECES), max_size=8).map("".join))
def test_every_tokenizer_that_a_line_names_is_found(line: str) -> None:
    """A first look passes over most lines that cannot name one."""
    named = [name for name in tokenizers_in(line) if name != "byte" or "byte260" in line]
    assert read_log(line, "f").tokenizers == tuple(named)
