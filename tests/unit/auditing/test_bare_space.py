"""BPB102 where the tokenizer's model in the folder spells a space alone by three byte pieces."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import pytest
import sentencepiece

from bpb_harness.auditing import AuditReport, Verdict, audit
from fixtures.claims.patterns import bpb, submission

NUM_BYTES, TOKENS = 151_080_891, 144_967_680
RIGHT = NUM_BYTES / TOKENS
FIXTURES = Path(__file__).parents[3] / "fixtures" / "scripts"
COUNTS = (FIXTURES / "honest_ar_tables.py").read_text()
NATS, MODEL = 0.9, "own_1.0.model"


@cache
def _model(*, has_space: bool) -> bytes:
    """A vocabulary with byte pieces; without a piece for a space alone, which is renamed to another of its length."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the cat sat on the mat"] * 5), model_writer=model, model_type="bpe", vocab_size=300,
        hard_vocab_limit=False, byte_fallback=True, normalization_rule_name="identity", minloglevel=2,
    )  # fmt: skip
    bare = b"\x0a\x03" + "\u2581".encode()  # field 1, three bytes
    assert model.getvalue().count(bare) == 1
    return model.getvalue() if has_space else model.getvalue().replace(bare, b"\x0a\x03" + "\u2582".encode())


def _audit(
    folder: Path, times: float = 1.2327, *, model: bytes | None = None, named: str = MODEL,
    dataset: str = "fineweb_own", readme: str = "On fineweb_val.", script: str | None = COUNTS,
    measured: str = "The mean over the split.",
) -> AuditReport:  # fmt: skip
    ratio = RIGHT * times
    lines = [
        f"val_bpb:enabled tokenizer_kind=sentencepiece tokenizer_path=./data/tokenizers/{named}",
        f"val_loader:shards pattern=./data/datasets/{dataset}/fineweb_val_*.bin tokens:{TOKENS}",
    ]
    for step, loss in ((0, 6.94), (4000, NATS + 0.2), (8000, NATS)):
        lines.append(f"step:{step}/8000 val_loss:{loss:.6f} val_bpb:{bpb(loss, ratio):.6f}")
    lines.append(f"final_int8_zlib_roundtrip_exact val_loss:{NATS:.8f} val_bpb:{bpb(NATS, ratio):.8f}\n")
    (folder / "train.log").write_text("\n".join(lines))
    (folder / "submission.json").write_text(submission(val_bpb=round(bpb(NATS, ratio), 8), measurement=measured))
    (folder / "README.md").write_text(f"# A run\n\n{readme}\n")
    if script is not None:
        (folder / "train_gpt.py").write_text(script)
    (folder / MODEL).write_bytes(_model(has_space=False) if model is None else model)
    return audit(folder, rules="parameter-golf")


def test_a_model_without_a_space_alone_explains_the_bytes_that_are_too_many(tmp_path: Path) -> None:
    report = _audit(tmp_path)
    assert report.verdict is Verdict.REFUTED
    (found,) = report.with_code("BPB102")
    assert found.factor == pytest.approx(1.2327, abs=1e-4)
    assert f"{MODEL}, the tokenizer that the log names, has no piece for a space alone" in found.message
    assert not report.with_code("BPB104")
    assert report.corrected_bpb == pytest.approx(bpb(NATS, RIGHT), rel=1e-4)


@pytest.mark.parametrize("times", [1.0, 1.1, 1.4])
def test_bytes_that_it_does_not_explain(tmp_path: Path, times: float) -> None:
    assert _audit(tmp_path, times).with_code("BPB102") == []


def test_a_model_with_a_space_alone(tmp_path: Path) -> None:
    assert _audit(tmp_path, model=_model(has_space=True)).with_code("BPB102") == []


def test_a_model_that_the_log_does_not_name(tmp_path: Path) -> None:
    assert _audit(tmp_path, named="another.model").with_code("BPB102") == []


@pytest.mark.parametrize("model", [b"", b"not a model", b"\x00" * 64])
def test_a_model_that_cannot_be_read(tmp_path: Path, model: bytes) -> None:
    assert _audit(tmp_path, model=model).with_code("BPB102") == []


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside.model", tmp_path / "run"
    folder.mkdir()
    _audit(folder)
    outside.write_bytes(_model(has_space=False))
    (folder / MODEL).unlink()
    (folder / MODEL).symlink_to(outside)
    assert audit(folder, rules="parameter-golf").with_code("BPB102") == []


def test_the_model_that_was_read_is_among_the_files(tmp_path: Path) -> None:
    assert MODEL in _audit(tmp_path).files
    assert MODEL not in _audit(tmp_path, 1.0).files


@pytest.mark.parametrize(
    "entry",
    [
        "0 if sp.id_to_piece(token_id) in ('<0x96>', '<0x81>') else 1",  # a space that is spelt counts one
        "1 if sp.id_to_piece(token_id) < '<0x80>' else 0",
        "1 / 3 if sp.id_to_piece(token_id) in ('<0xE2>', '<0x96>', '<0x81>') else 1",
        "OWN_BYTES.get(sp.id_to_piece(token_id), 1) if sp.id_to_piece(token_id) != '<0x41>' else 1",  # nobody knows
    ],
)
def test_a_script_that_counts_one_for_the_three(tmp_path: Path, entry: str) -> None:
    assert COUNTS.count("base[token_id] = 1\n") == 1
    report = _audit(tmp_path, script=COUNTS.replace("base[token_id] = 1\n", f"base[token_id] = {entry}\n"))
    assert report.with_code("BPB102") == []
    assert report.verdict is not Verdict.REFUTED


@pytest.mark.parametrize("script", [None, "print('hello')\n", COUNTS.replace("piece[1:]", "own(piece)")])
def test_a_script_whose_table_is_not_followed(tmp_path: Path, script: str | None) -> None:
    report = _audit(tmp_path, script=script)
    assert report.with_code("BPB102") == []
    assert report.verdict is not Verdict.REFUTED


@pytest.mark.parametrize(
    "readme",
    [
        "The validation set is a larger one: the first 61,700 documents of FineWeb, re-encoded.",
        "The validation set is longer than the challenge's, re-encoded.",
        "We score the first 61,700 documents.",
        "We score 100k docs.",
        "The validation text here holds 186.2 MB.",
        "The validation text is FineWeb val plus documents of ours.",
        "All scores are on the C4 validation text.",
        "Evaluated on C4.",
    ],
)
@pytest.mark.parametrize("in_json", [False, True])
def test_words_of_another_text(tmp_path: Path, readme: str, in_json: bool) -> None:
    given = {"measured": readme} if in_json else {"readme": readme}
    report = _audit(tmp_path, **given)
    assert report.with_code("BPB102") == []
    assert report.verdict is not Verdict.REFUTED


@pytest.mark.parametrize(
    "readme",
    [
        "The validation set is the same FineWeb first-50k-document split as all use, re-encoded.",
        "The validation split has 50,000 documents, 151.08 MB.",
        "The validation text holds 151,080,891 bytes.",
        "The tokenizer was trained on 100,000 documents. It has larger pieces.",
        "The n-gram table was trained on C4.",
        "Uses the contest's own `eval_val()`.",
    ],
)
def test_words_of_the_split_take_nothing_back(tmp_path: Path, readme: str) -> None:
    assert _audit(tmp_path, readme=readme).verdict is Verdict.REFUTED


@pytest.mark.parametrize(
    ("dataset", "is_split"),
    [
        ("fineweb10B_sp1024", True),
        ("fineweb_own_1.0", True),
        ("fineweb_100k_docs_own", False),
        ("fineweb_large", False),
    ],
)
def test_a_folder_of_shards_by_its_name(tmp_path: Path, dataset: str, is_split: bool) -> None:
    assert bool(_audit(tmp_path, dataset=dataset).with_code("BPB102")) is is_split
