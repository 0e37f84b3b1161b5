"""Whether a script beside a log can have written it."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, bpb, log, submission

NATS = 2.0312
LOG = (
    log(NATS, SP1024)
    + """step:1/8000 train_loss:6.9338 train_time:27ms step_avg:26.74ms
stopping_early: wallclock_cap train_time:600041ms step:8000/20000
peak memory allocated: 11392 MiB reserved: 11684 MiB
Serialized model: 74573987 bytes
Code size: 63215 bytes
embed_lr:0.05 matrix_lr:0.04 train_batch_tokens:524288
"""
)
# What prints it, as trainers are written: helpers, literals that go on in the next line, labels that are put together.
OWN = r"""
def report(log0, args, tag, step, loss, score, ms, size, code):
    log0(f"val_loader:shards pattern={args.files} tokens:{args.tokens}")
    log0(f"step:{step}/{args.iterations} val_loss:{loss:.4f} val_bpb:{score:.4f} "  # goes on
         f"train_time:{ms:.0f}ms")
    log0("step:%d/%d train_loss:%.4f train_time:%.0fms step_avg:%.2fms" % (step, 8000, loss, ms, ms / step))
    log0("stopping_early: wallclock_cap " + f"train_time:{ms}ms step:{step}/{args.iterations}")
    log0("peak memory allocated: {} MiB reserved: {} MiB".format(size, size))
    log0(f"Serialized model: {size} bytes\nCode size: {code} bytes")
    log0(f"Total submission size int8+{tag}: {size + code} bytes")
    log0(f"embed_lr:{args.embed_lr} " + " ".join(["matrix_lr"]) + f":{args.lr} train_batch_tokens:{args.batch}")
    log0(f"final_{tag}_roundtrip val_loss:{loss:.4f} val_bpb:{score:.4f} eval_time:{ms}ms")
    log0(f"final_{tag}_roundtrip_exact val_loss:{loss:.8f} val_bpb:{score:.8f}")
"""
OTHER = r"""
def report(log0, args, step, loss, score, ms, size, code):
    log0(f"World size: {args.world}, batch tokens: {args.batch}")
    log0(f"Model params: {args.params:,} ({args.params / 1e6:.1f}M)")
    log0(f"iteration {step} train loss: {loss:.4f} time: {ms:.1f} ms")
    log0(f"EMA val_loss:{loss:.4f} val_bpb:{score:.4f}")
    log0(f"Compressed model: {size:,} bytes")
    log0(f"Total artifact: {size + code:,} bytes")
    log0(f"Roundtrip int6 val_loss:{loss:.4f} val_bpb:{score:.8f}")
"""


def _report(folder: Path, scripts: dict[str, str], *, logs: dict[str, str] | None = None) -> AuditReport:
    (folder / "submission.json").write_text(submission(val_bpb=round(bpb(NATS, SP1024), 8)))
    for name, text in {**scripts, **(logs or {"train.log": LOG})}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return audit(folder)


def test_a_log_of_another_script(tmp_path: Path) -> None:
    report = _report(tmp_path, {"train_gpt.py": OTHER})
    (found,) = report.with_code("BPB427")
    assert report.verdict == "unverifiable"
    assert "no script of the record can have written train.log" in found.message
    assert "none that train_gpt.py can print" in found.message
    assert "a code size of 63,215 bytes, which no script there has" in found.message
    assert "`Total submission size int8+zlib: 15480132 bytes` (train.log:1)" in found.message
    assert "the script that wrote train.log, or a log that train_gpt.py wrote" in report.judgement.missing
    assert "that the script wrote the log" not in report.unchecked


def test_a_log_of_the_script_beside_it(tmp_path: Path) -> None:
    report = _report(tmp_path, {"train_gpt.py": OWN})
    assert report.with_code("BPB427") == []
    assert report.verdict == "consistent"
    (version,) = report.with_code("BPB431")  # whose code has another size
    assert version.severity == "info"
    assert "how the version of the script that wrote the log computed the score" in report.unchecked
    own = OWN + "#" * (63_214 - len(OWN)) + "\n"
    report = _report(tmp_path, {"train_gpt.py": own})
    assert (report.with_code("BPB427"), report.with_code("BPB431"), report.verdict) == ([], [], "consistent")
    assert "that the script wrote the log" in report.unchecked


def _packed(source: str) -> str:
    payload = base64.b85encode(zlib.compress(source.encode()))
    return f"import base64, zlib\nexec(zlib.decompress(base64.b85decode({payload!r})))\n"


def _written_out(source: str) -> str:
    return (
        f"FILES = {{'inner.py': {source * 4!r}}}\nfor name, text in FILES.items():\n    open(name, 'w').write(text)\n"
    )


UNREADABLE = f"BLOB = {'c$|ee' * 900!r}\nrun(unpack_it(BLOB))\n"


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"train_gpt.py": _packed(OWN)}, id="the script unpacks itself"),
        pytest.param({"train_gpt.py": _written_out(OWN)}, id="the script holds another one's text"),
        pytest.param({"train_gpt.py": OTHER + UNREADABLE}, id="a payload that nothing here unpacks"),
        pytest.param({"train_gpt.py": "exec(open('run.py').read())\n"}, id="a script that prints no figures"),
        pytest.param({"train_gpt.py": OTHER.replace("bpb", "bits")}, id="modules that are not there score"),
        pytest.param({"train_gpt.py": OTHER + "exec(decrypt(b'0123', key))\n"}, id="a payload of an own cipher"),
        pytest.param({"eval.py": OTHER, "train_gpt.py": OWN}, id="one of two scripts"),
        pytest.param({"train_gpt.py": OTHER, "a/b/run.py": OWN}, id="a script further down"),
        pytest.param({"train_gpt.py": OTHER, "run.sh": OWN}, id="a shell script"),
        pytest.param({"train_gpt.py": OTHER, "run.cu": OWN}, id="a program in another language"),
        pytest.param({"train_gpt.py": OTHER, "run.ipynb": "{}"}, id="a notebook"),
        pytest.param({}, id="no script"),
    ],
)
def test_where_scripts_tell_nothing_or_enough(tmp_path: Path, files: dict[str, str]) -> None:
    report = _report(tmp_path, files)
    assert report.with_code("BPB427") == []
    assert report.verdict == "consistent"


LIBRARY = "import lightning\n" + OTHER + "    self.log('eval_bpb', score)\n"


def test_a_library_that_trains_prints_no_words_of_its_own_on_bits_per_byte(tmp_path: Path) -> None:
    report = _report(tmp_path, {"train_gpt.py": LIBRARY})
    (found,) = report.with_code("BPB427")
    assert "`Total submission size int8+zlib: 15480132 bytes` (train.log:1)" in found.message
    assert "peak memory" not in found.message


@pytest.mark.parametrize(
    "script", [LIBRARY.replace("lightning", "torchtitan"), f"import lightning\n{OWN}self.log('bpb', x)"]
)
def test_lines_of_a_library_that_trains_are_no_other_scripts(tmp_path: Path, script: str) -> None:
    of_library = "".join(
        f"[rank0] {name} step {n}: loss: 2.{n} memory: {n}.5GiB tps: {n}00 eval_bpb: 1.{n}\n{name} params: {n}00\n"
        for n, name in enumerate("abcdefghi", 1)
    )
    own = f"Roundtrip int6 val_loss:{NATS:.4f} val_bpb:{bpb(NATS, SP1024):.8f}\n"
    known = own if script.endswith("score)\n") else LOG
    report = _report(tmp_path, {"train_gpt.py": script}, logs={"train.log": of_library + known})
    assert report.with_code("BPB427") == []


PAIRS = "".join(f"{name}_loss:{n}.5 {name}_bpb:{n}.25 {name}_time:{n}ms\n" for n, name in enumerate("abcdefghi"))


@pytest.mark.parametrize(
    ("looped", "is_its"),
    [
        ("log0(' '.join(f'{name}:{value}' for name, value in metrics.items()))", True),
        ("log0(' '.join(f'{name} = {value}' for name, value in metrics.items()))", True),
        ("log0(' '.join(f'{name} {value}' for name, value in metrics.items()))", False),
    ],
)
def test_names_that_a_loop_puts_together(tmp_path: Path, looped: str, is_its: bool) -> None:
    report = _report(tmp_path, {"train_gpt.py": f"{OTHER}\n{looped}\n"}, logs={"train.log": PAIRS + log(NATS, SP1024)})
    assert bool(report.with_code("BPB427")) is not is_its


@pytest.mark.parametrize(
    "mark",
    [
        "2026-03-04 05:06:07,891 INFO ",
        "1776142360.539 ",
        "[default0]:",
        "[rank0]: ",
        "05:06:07 | ",
        "[rank0]:2026-03-04 05:06:07,891 - __main__ - INFO - ",
        "0: [default0]:2026-03-04 05:06:07 | INFO | node-1 | a:b:7 | ",
    ],
)
def test_times_and_marks_before_each_line_are_none_of_its_own(tmp_path: Path, mark: str) -> None:
    marked = "".join(f"{mark}{line}\n" for line in LOG.splitlines())
    report = _report(tmp_path, {"train_gpt.py": OWN}, logs={"train.log": marked})
    assert (report.with_code("BPB427"), report.verdict) == ([], "consistent")


NOISE = "".join(
    f"""W0318 14:37:5{n}.159000 87168{n} torch/distributed/run.py:852] Setting OMP_NUM_THREADS: default {n}
| {n}  NVIDIA H100 80GB HBM3 On | 00000000:{n}B:00.0 Off | 0 | 4MiB / 81559MiB |
Requirement already satisfied: torch=={n}.9.1 in /usr/lib
wandb: Run summary {"abcdefghi"[n]}: lr 0.{n}
+ export SETTING_{n}={n}
    "metric_{"abcdefghi"[n]}_loss": {n}.5,
hyper_{"abcdefghi"[n]}_tokens: {n}
평가 {"abcdefghi"[n]} val_loss: {n}.5
"""
    for n in range(9)
)


def test_lines_of_other_programs_do_not_count(tmp_path: Path) -> None:
    report = _report(tmp_path, {"train_gpt.py": OWN}, logs={"train.log": NOISE + LOG + NOISE})
    assert (report.with_code("BPB427"), report.verdict) == ([], "consistent")


def test_what_is_started_around_a_script_has_lines_of_its_own(tmp_path: Path) -> None:
    around = "".join(f"{name} stage done: {n} ms, memory: {n}0 of it\n" for n, name in enumerate("abcdefghijklmno", 1))
    report = _report(tmp_path, {"train_gpt.py": OWN}, logs={"train.log": around + LOG})
    assert (report.with_code("BPB427"), report.verdict) == ([], "consistent")
    (tmp_path / "more").mkdir()
    losses = around.replace("memory", "val_loss")  # a trainer's
    report = _report(tmp_path / "more", {"train_gpt.py": OWN}, logs={"train.log": losses + LOG})
    assert len(report.with_code("BPB427")) == 1


@pytest.mark.parametrize(("of_own", "num_strange", "is_its"), [
    (log(NATS, SP1024), 5, True), (log(NATS, SP1024), 6, False), (LOG, 6, True), (LOG, 9, False),
])  # fmt: skip
def test_how_many_lines_it_takes(tmp_path: Path, of_own: str, num_strange: int, is_its: bool) -> None:
    strange = "".join(f"{name} stage val_loss: {n}.5 here\n" for n, name in enumerate("abcdefghi"[:num_strange]))
    report = _report(tmp_path, {"train_gpt.py": OWN}, logs={"train.log": strange + of_own})
    assert bool(report.with_code("BPB427")) is not is_its


def test_a_log_that_holds_a_script(tmp_path: Path) -> None:
    source = "import os\ndef run():\n" + "    x = 1\n" * 40 + "=" * 80 + "\n"
    report = _report(tmp_path, {"train_gpt.py": OTHER}, logs={"train.log": source + LOG})
    assert (report.with_code("BPB427"), report.verdict) == ([], "consistent")


def test_the_script_in_a_log_beside(tmp_path: Path) -> None:
    source = "import os\n" + OWN + "    x = 1\n" * 40 + "=" * 80 + "\n"
    report = _report(tmp_path, {"train_gpt.py": OTHER}, logs={"train.log": LOG, "code.log": source})
    assert (report.with_code("BPB427"), report.verdict) == ([], "consistent")


def test_another_log_of_the_score_that_the_script_wrote(tmp_path: Path) -> None:
    summary = LOG.replace("final_int8_zlib_roundtrip", "best").replace("Serialized", "Stored").replace("Code", "Own")
    summary = summary.replace("step:", "after:").replace("peak", "top").replace("stopping_early", "stopped")
    logs = {"a_summary.log": summary.replace("Total submission size int8+zlib", "Whole"), "seed.log": LOG}
    (tmp_path / "alone").mkdir()
    alone = _report(tmp_path / "alone", {"train_gpt.py": OWN}, logs={"a_summary.log": logs["a_summary.log"]})
    assert len(alone.with_code("BPB427")) == 1
    report = _report(tmp_path, {"train_gpt.py": OWN}, logs=logs)
    assert (report.with_code("BPB427"), report.verdict) == ([], "consistent")


def _but(source: str, num_lines: int) -> str:
    """The script without what prints the last lines, and with as many other ones."""
    lines = source.rstrip("\n").split("\n")
    return "\n".join(lines[: len(lines) - num_lines]) + OTHER


def test_few_lines_that_it_cannot_print_are_those_of_a_version_next_to_it(tmp_path: Path) -> None:
    # Of the score's own lines two are no more than a label that was renamed.
    for logs in ({"train.log": LOG}, {"train.log": log(NATS, SP1024)}):
        assert _report(tmp_path, {"train_gpt.py": _but(OWN, 2)}, logs=logs).with_code("BPB427") == []
    # With two more, where the score's own line is one, the log is another script's.
    (tmp_path / "more").mkdir()
    report = _report(tmp_path / "more", {"train_gpt.py": _but(OWN, 4)})
    assert len(report.with_code("BPB427")) == 1
    # With four that do not print the score it may be a version next to it.
    (tmp_path / "others").mkdir()
    kept = "\n".join(line for line in OWN.split("\n") if not any(s in line for s in ("Serialized", "peak", "stopping")))
    report = _report(tmp_path / "others", {"train_gpt.py": kept})
    assert report.with_code("BPB427") == []


def test_a_claim_that_is_doubted_anyway_is_not_read_again(tmp_path: Path) -> None:
    doubted = LOG.replace("final_int8_zlib_roundtrip", "final_causal_slot")
    report = _report(tmp_path, {"train_gpt.py": OTHER}, logs={"train.log": doubted})
    assert len(report.with_code("BPB215")) == 1
    assert report.with_code("BPB427") == []


def test_files_named_one_by_one_need_not_be_all(tmp_path: Path) -> None:
    _report(tmp_path, {"train_gpt.py": OTHER})
    report = audit([tmp_path / name for name in ("submission.json", "train.log", "train_gpt.py")])
    assert report.with_code("BPB427") == []


def test_each_of_several_seeds(tmp_path: Path) -> None:
    losses = (2.0312, 2.0324, 2.0331)
    scores = [bpb(nats, SP1024) for nats in losses]
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": round(sum(scores) / 3, 5), "seeds": [0, 1, 2]}))
    (tmp_path / "train_gpt.py").write_text(OTHER)
    for seed, nats in enumerate(losses):
        own = LOG.replace(log(NATS, SP1024), log(nats, SP1024, seed=seed))
        (tmp_path / f"train_seed{seed}.log").write_text(own)
    (found,) = audit(tmp_path).with_code("BPB427")
    assert found.evidence["logs"] == [f"train_seed{seed}.log" for seed in range(3)]
    assert "and so of 2 more logs" in found.message


def test_sizes_that_a_script_has_are_not_named(tmp_path: Path) -> None:
    size = len(OTHER.encode())
    logs = {"train.log": LOG.replace("Code size: 63215", f"Code size: {size}")}
    (found,) = _report(tmp_path, {"train_gpt.py": OTHER}, logs=logs).with_code("BPB427")
    assert "code size of" not in found.message
    assert "code_size" not in found.evidence


PACKING = """Serialized model int6+zstd: 15424198 bytes
read back int6 val_loss:1.9311 val_bpb:1.1437 eval_time:6150ms
read back int6 exact val_loss:1.93114580 val_bpb:1.14373332
"""
SCORED = "read back int6 exact val_loss:1.93114580 val_bpb:1.14373332\n"
PACKED_LOG = LOG.replace("final_int8_zlib_roundtrip val", f"{PACKING}final_int8_zlib_roundtrip val", 1)


def test_a_log_whose_run_packed_what_no_script_packs(tmp_path: Path) -> None:
    report = _report(tmp_path, {"train_gpt.py": OWN}, logs={"train.log": PACKED_LOG})
    (found,) = report.with_code("BPB427")
    assert report.verdict == "unverifiable"
    assert "`Serialized model int6+zstd: 15424198 bytes` (train.log:8)" in found.message
    assert ", 3 are none that train_gpt.py can print" in found.message
    assert found.message.endswith("; that run packed its network, and no script there packs one")


@pytest.mark.parametrize(
    ("scripts", "text"),
    [
        ({"train_gpt.py": f"import zlib\n{OWN}"}, PACKED_LOG),
        ({"train_gpt.py": OWN, "pack.py": "import brotli\n"}, PACKED_LOG),
        ({"train_gpt.py": OWN, "pack.sh": "zstd --ultra -22 model.pt\n"}, PACKED_LOG),
        ({"train_gpt.py": f"import runpy\n{OWN}"}, PACKED_LOG),
        (
            {"train_gpt.py": OWN},
            PACKED_LOG.replace(SCORED, ""),
        ),
        ({"train_gpt.py": OWN}, PACKED_LOG.replace("Serialized model int6+zstd: 15424198 bytes\n", "")),
        ({"train_gpt.py": OWN}, PACKED_LOG.replace(" int6+zstd", "")),
    ],
    ids=["packs", "packs elsewhere", "a shell packs", "runs another", "one score", "no size", "a size that is printed"],
)
def test_a_log_whose_packing_may_be_that_of_a_script(tmp_path: Path, scripts: dict[str, str], text: str) -> None:
    report = _report(tmp_path, scripts, logs={"train.log": text})
    assert (report.with_code("BPB427"), report.verdict) == ([], "consistent")
