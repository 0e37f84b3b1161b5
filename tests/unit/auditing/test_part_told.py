"""A part of the text by the words of a log or of a command: it holds a score back, and settings of others do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, SP1024_TOKENS, bpb, log, submission

NATS = 2.0312
SCRIPT = "import os\n\nlimit = int(os.environ.get('VAL_TOKENS', '0'))\n"


def _report(
    folder: Path,
    *settings: str,
    label: str = "legal_ttt",
    tokens: int | None = None,
    readme: str = "",
    script: str = "",
    tail: str = "",
) -> AuditReport:
    (folder / "submission.json").write_text(submission(val_bpb=round(bpb(NATS, SP1024), 8), tokenizer="sp1024"))
    text = log(NATS, SP1024, tokens=tokens, label=label, extra=tail)
    (folder / "train.log").write_text(text.replace("seed:1337\n", "\n".join(["seed:1337", *settings, ""])))
    if readme:
        (folder / "README.md").write_text(readme)
    if script:
        (folder / "train_gpt.py").write_text(script)
    return audit(folder)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["val_doc_fraction: 0.02"], "2 % of the text"),
        (["  eval_fraction=0.5"], "50 % of the text"),
        (["val_doc_fraction: 1.0", "val_doc_fraction: 0.25"], "25 % of the text"),
        (["ttt: starting eval on 1000 docs, chunk_size=48"], "151,080 bytes each"),
        (["eval: scored 1048576 of 62021632 validation tokens"], "1.69 % of the text"),
        (["scored 10 of 100 windows", "scored 20 of 100 windows"], "20 % of the text"),
        (["ttt_sliding:start chunks=2 chunk_tokens=32768"], "65,536 tokens"),
        (["total_windows=100 stride=64", "chunks=2 chunk_size=32768"], "65,536 tokens"),
        (["eval_max_windows: 512"], "at most 8,388,608 tokens, 14 % of the split"),
        (["train_seq_len:1024 eval_max_windows: 512"], "at most 524,288 tokens, 0.85 % of the split"),
        (["val_token_limit:1048576"], "at most 1,048,576 tokens, 1.7 % of the split"),
        (["eval_max_windows: 0", "max_eval_docs: 100"], "1,510,803 bytes each"),
        (["val_loader:bytes:1999872"], "'val_loader:bytes:1999872', 1.3 % of the split's 151.08 MB;"),
    ],
    ids=[
        *("share", "half", "the last share", "documents", "counted", "the last count", "chunks", "the most of several"),
        *("windows", "windows of a length", "a limit of tokens", "documents at most", "bytes"),
    ],
)
def test_a_part_by_the_words_of_the_log(tmp_path: Path, settings: list[str], said: str) -> None:
    report = _report(tmp_path, *settings)
    (found,) = report.with_code("BPB301")
    assert said in found.message
    assert report.verdict == "unverifiable"
    assert report.corrected_bpb is None
    assert "train.log:" in found.message


@pytest.mark.parametrize(
    ("settings", "more"),
    [
        (["val_doc_fraction: 1.0"], {}),
        (["val_doc_fraction: 0.02", "val_doc_fraction: 1.0"], {}),
        (["val_doc_fraction: 0.02"], {"label": "final_int8_zlib_roundtrip"}),
        (["val_doc_fraction: 0.02"], {"label": "diagnostic quantized"}),
        (["val_doc_fraction: 0.02"], {"tail": f" scored_tokens:{SP1024_TOKENS}"}),
        (["scored 10 of 100 windows", "scored 100 of 100 windows"], {}),
        (["scored 10 of 100 windows"], {"label": "quick val_loss:2.2 val_bpb:1.3030\nlegal_ttt"}),
        (["scored 10 of 100 windows"], {"tail": f" scored_tokens:{SP1024_TOKENS}"}),
        (["eval on 50000 docs"], {}),
        (["eval on 100 docs"], {"label": "quick val_loss:2.2 val_bpb:1.3030\nlegal_ttt"}),
        (["chunks=1893 chunk_tokens=32768"], {}),
        (["chunks=2 chunk_tokens=32768"], {"tokens": SP1024_TOKENS}),
        (["chunks=2 chunk_tokens=32768", "total_windows=969057 stride=64"], {}),
        (["eval_max_windows: 60568", "train_seq_len: 1024"], {}),
        (["val_token_limit:62021846"], {}),
        (["max_eval_docs: 50000"], {}),
        (["val_loader:bytes:151080891"], {}),
        (["train_loader:bytes:1999872"], {}),
        (["train_seq_len: 1024", "eval_max_windows: 512"], {"tail": f" tokens:{SP1024_TOKENS}"}),
        ([], {"tail": " windows:60568/60568"}),
        ([], {"tail": " docs:50000"}),
    ],
    ids=[
        *("all of it", "all in the end", "of the adapted one", "of another", "the score counts its tokens"),
        *("all counted", "a count of another score", "a count beside the score's own"),
        *("all documents", "of another score", "all chunks", "the split is loaded", "more is told elsewhere"),
        *(
            "as many windows",
            "as many tokens",
            "as many documents",
            "as many bytes",
            "of training",
            "counted beside",
            "all windows",
            "all of them",
        ),
    ],
)
def test_settings_that_tell_of_no_part_of_this_score(tmp_path: Path, settings: list[str], more: dict[str, str]) -> None:
    report = _report(tmp_path, *settings, **more)  # type: ignore[arg-type]
    assert report.with_code("BPB301") == []
    assert report.verdict == "consistent"


@pytest.mark.parametrize(
    ("tail", "said"),
    [
        (" tokens:1048576", "only 1,048,576 tokens, 1.7 % of the split were scored (train.log:"),
        (" windows:512/60568", "says 'windows:512/60568', 0.845 % of the text"),
        (" docs:100", "1,510,803 bytes each"),
    ],
)
@pytest.mark.parametrize("label", ["legal_ttt", "final_int8_zlib_roundtrip"])
def test_a_part_that_the_line_of_the_score_counts(tmp_path: Path, tail: str, said: str, label: str) -> None:
    report = _report(tmp_path, label=label, tail=tail, tokens=SP1024_TOKENS)
    (found,) = report.with_code("BPB301")
    assert said in found.message
    assert report.verdict == "unverifiable"


@pytest.mark.parametrize("name", ["eval_frac", "eval_fraction", "val_doc_fraction"])
def test_a_share_held_out_of_ones_own_text_is_none_of_a_known_split(tmp_path: Path, name: str) -> None:
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.52}')
    (tmp_path / "train.log").write_text(f"{name}: 0.05\nfinal val_bpb:1.5200\n")
    assert bool(audit(tmp_path).with_code("BPB301")) is (name == "val_doc_fraction")


def _command(setting: str) -> str:
    return f"# A run\n\n```bash\n{setting} \\\ntorchrun train_gpt.py\n```\n"


@pytest.mark.parametrize(
    "setting",
    [
        *("VAL_TOKENS=10485760", "MAX_VAL_TOKENS=65536", "VAL_TOKEN_LIMIT=1_048_576", "EVAL_MAX_TOKENS=524288"),
        *("EVAL_MAX_WINDOWS=512", "VAL_DOCS=100", "MAX_EVAL_BATCHES=8"),
    ],
)
def test_a_part_by_a_command_of_the_readme(tmp_path: Path, setting: str) -> None:
    name = setting.partition("=")[0]
    report = _report(tmp_path, readme=_command(setting), script=SCRIPT.replace("VAL_TOKENS", name))
    (found,) = report.with_code("BPB301")
    assert setting in found.message
    assert report.verdict == "unverifiable"


@pytest.mark.parametrize(
    ("setting", "more"),
    [
        ("VAL_TOKENS=0", {}),
        ("VAL_TOKENS=62021632", {}),
        ("VAL_BATCH_TOKENS=524288", {}),
        ("DOC_ISOLATED_EVAL=1", {"script": SCRIPT.replace("VAL_TOKENS", "DOC_ISOLATED_EVAL")}),
        ("EVAL_SLIDING_WINDOW=1", {"script": SCRIPT.replace("VAL_TOKENS", "EVAL_SLIDING_WINDOW")}),
        ("VAL_TOKENS=10485760", {"script": SCRIPT.replace("VAL_TOKENS", "OTHER")}),
        ("VAL_TOKENS=10485760", {"tokens": SP1024_TOKENS}),
        ("VAL_TOKENS=10485760", {"tail": f" scored_tokens:{SP1024_TOKENS}"}),
    ],
    ids=[
        *("no limit", "all of them", "a batch", "a switch", "a way to score", "nothing asks for it"),
        *("the split is loaded", "counted"),
    ],
)
def test_commands_that_tell_of_no_part(tmp_path: Path, setting: str, more: dict[str, str]) -> None:
    report = _report(tmp_path, readme=_command(setting), **{"script": SCRIPT, **more})  # type: ignore[arg-type]
    assert report.with_code("BPB301") == []


def test_right_bytes_of_the_whole_text_are_said_to_be_that_where_a_part_was_scored(tmp_path: Path) -> None:
    (found,) = _report(tmp_path, "val_doc_fraction: 0.02").with_code("BPB101")
    assert "that is the whole text's number, and a part of it was scored (BPB301, train.log:" in found.message


def test_a_byte_a_token_is_no_number_of_the_whole_text(tmp_path: Path) -> None:
    settings = "val_bpb:enabled tokenizer_kind=byte260\nval_loader:bytes:1999872"
    (tmp_path / "train.log").write_text(log(0.9, 0.99975, tokens=None).replace("seed:1337", settings))
    report = audit(tmp_path)
    (right,), (part,) = report.with_code("BPB101"), report.with_code("BPB301")
    assert right.message.endswith("its tokens are bytes, one each")
    assert "1.3 % of the split's 151.08 MB" in part.message
    assert report.verdict == "unverifiable"


def test_a_limit_of_windows_holds_whatever_is_loaded(tmp_path: Path) -> None:
    script = SCRIPT.replace("VAL_TOKENS", "EVAL_MAX_WINDOWS")
    report = _report(tmp_path, readme=_command("EVAL_MAX_WINDOWS=512"), script=script, tokens=SP1024_TOKENS)
    assert "'EVAL_MAX_WINDOWS=512'" in report.with_code("BPB301")[0].message


def test_a_limit_is_one_of_a_validation_that_is_claimed(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text("val_token_limit:65536\nstep:9/9 val_loss:2.0312 val_bpb:1.2030\n")
    assert "at most 65,536 tokens" not in str(audit(tmp_path).with_code("BPB301"))  # of no known split
    (tmp_path / "submission.json").write_text(submission(val_bpb=1.2030, tokenizer="sp1024"))
    assert "at most 65,536 tokens" in audit(tmp_path).with_code("BPB301")[0].message


_SMOKE = "```bash\nVAL_TOKENS=65536 torchrun train_gpt.py\n```\n"


@pytest.mark.parametrize(
    "readme",
    [
        f"# A run\n\nSmoke test on a laptop:\n\n{_SMOKE}",
        f"# A run\n\n{_SMOKE.replace('VAL', '# quick sanity check' + chr(10) + 'VAL', 1)}",
        f"# A run\n\n{_SMOKE}\nThe score:\n\n```bash\nSEED=1 torchrun train_gpt.py\n```\n",
    ],
    ids=["said in front", "said in a comment", "the same script is started without"],
)
def test_a_trial_in_the_readme_tells_of_no_part(tmp_path: Path, readme: str) -> None:
    assert _report(tmp_path, readme=readme, script=SCRIPT).with_code("BPB301") == []


@pytest.mark.parametrize(
    "readme",
    [
        f"# A run\n\n## Quick start\n\n{_SMOKE}",
        f"# A run\n\n```bash\npython prepare.py\n```\n{_SMOKE}",
        "# A run\n\n```bash\nexport VAL_TOKENS=65536\nexport SEED=1\ntorchrun train_gpt.py\n```\n",
        f"# A run\n\nSmoke test:\n\n{_SMOKE}\nThe score, on eight GPUs in ten minutes:\n\n{_SMOKE}",
    ],
    ids=["quick start", "another script", "exported", "both"],
)
def test_the_command_of_a_score_is_no_trial(tmp_path: Path, readme: str) -> None:
    assert len(_report(tmp_path, readme=readme, script=SCRIPT).with_code("BPB301")) == 1


def test_a_count_of_the_plain_networks_own_evaluation_is_one_of_its_score(tmp_path: Path) -> None:
    report = _report(tmp_path, "eval: scored 1048576 of 62021632 validation tokens", label="final_int8_zlib_roundtrip")
    assert report.with_code("BPB301")
    assert report.verdict == "unverifiable"
