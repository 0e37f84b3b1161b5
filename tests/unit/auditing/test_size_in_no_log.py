"""BPB511: a stated size of the artifact that no log prints, and what an honest author may mean by such a number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bpb_harness.auditing import audit
from bpb_harness.findings import Finding

END = "final val_loss:2.03186 val_bpb:1.20340000\n"


def _sizes(network: int = 14_530_872, code: int = 64_829) -> str:
    return (
        f"Serialized model: 86099351 bytes\nCode size: {code} bytes\n"
        f"Serialized model int8+zlib: {network} bytes\nTotal submission size int8+zlib: {network + code} bytes\n"
    )


def _found(folder: Path, text: str, stated: object, **more: Any) -> list[Finding]:
    (folder / "train.log").write_text(text + END)
    (folder / "submission.json").write_text(json.dumps({"val_bpb": 1.2034, "bytes_total": stated, **more}))
    return audit(folder, rules="parameter-golf").with_code("BPB511")


def test_a_size_that_no_log_prints(tmp_path: Path) -> None:
    (found,) = _found(tmp_path, _sizes(), 15_900_102)
    assert (found.severity, found.message) == (
        "info",
        "15,900,102 bytes, by submission.json (bytes_total), are in none of its logs, which print 14,595,701 "
        "(train.log:4)",
    )
    (found,) = _found(tmp_path, _sizes(17_000_000), 15_900_102)
    assert found.message.endswith("which print 17,064,829 (train.log:4), over the cap of 16,000,000")
    (found,) = _found(tmp_path, _sizes(), 14_595_701 + 64_829, bytes_code=64_829)
    assert found.message.endswith("; that is a total of theirs and the code, which is in it, once more")


@pytest.mark.parametrize(
    ("stated", "more"),
    [
        (14_595_701, {}),
        (14_595_700, {}),
        (14_530_872, {}),  # the network alone
        (14_600_000, {}),  # rounded
        (15_304_702, {}),  # 14.595701 "MB" of 1,048,576 bytes
        (14_548_875, {"bytes_code": 18_003}),  # with the code as it is packed
        (14_555_873, {}),  # with the script beside it, which was changed
        (14.6, {}),
        (12_345_678, {}),  # printed elsewhere in the log
        (14_000_000 + 200_000, {"seed_results": {"1": {"artifact_bytes": 14_200_000}}}),
        (15_900_102, {"seeds": [1, 2, 3]}),  # of a run whose log is not here
    ],
    ids=[
        *("its own", "off by one", "the network", "rounded", "units", "code in JSON", "code beside", "MB", "elsewhere"),
        *("rounded, of seeds", "other runs"),
    ],
)
def test_a_size_that_may_be_right(tmp_path: Path, stated: object, more: dict[str, Any]) -> None:
    (tmp_path / "train_gpt.py").write_text("x = 1\n".ljust(25_001, "#"))
    text = _sizes() + "again: 12,345,678 bytes of it\nTotal submission size int6: 14200000 bytes\n" + _sizes()
    assert _found(tmp_path, text, stated, **more) == []


def test_code_that_was_packed_behind_the_run_by_a_readme(tmp_path: Path) -> None:
    stated = 14_530_872 + 31_002
    for said, number in (("31,002 bytes", 0), ("`31002` bytes", 0), ("31,003.5 kB", 1), ("131,002 bytes", 1)):
        (tmp_path / "README.md").write_text(f"# A net\n\nThe code is minified to {said}\n")
        assert len(_found(tmp_path, _sizes(), stated)) == number


def test_of_several_sizes_that_do_not_stand_at_the_top_one_is_of_this_run(tmp_path: Path) -> None:
    runs = [{"seed": 1, "bytes_total": 15_900_102}, {"seed": 2, "bytes_total": 14_595_701}]
    (tmp_path / "train.log").write_text(_sizes() + END)
    for more, expected in (({}, 0), ({"bytes_total": 14_595_701}, 0), ({"bytes_total": 15_900_102}, 1)):
        (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": 1.2034, **more, "study": runs}))
        assert len(audit(tmp_path, rules="parameter-golf").with_code("BPB511")) == expected


def test_a_mean_over_runs_is_no_other_size(tmp_path: Path) -> None:
    sizes, scores = (14_500_000, 14_600_001, 14_700_003), (1.2, 1.201, 1.202)
    for size, score in zip(sizes, scores, strict=True):
        at_step = f"step:90/90 val_loss:2.1 val_bpb:1.3 artifact_bytes:{size - 7}\n"
        (tmp_path / f"seed{size}.log").write_text(f"{at_step}{_sizes(size)}final val_loss:2.03 val_bpb:{score:.8f}\n")
    for stated in (14_600_001, 14_664_830, 14_600_001 + 20_000, 14_599_994):
        each = {str(size): {"artifact_bytes": size - 7} for size in sizes}
        value = {"val_bpb": 1.201, "bytes_total": stated, "bytes_code": 20_000, "seed_results": each}
        (tmp_path / "submission.json").write_text(json.dumps(value))
        assert audit(tmp_path, rules="parameter-golf").with_code("BPB511") == []
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": 1.201, "bytes_total": 14_640_000 + 777}))
    assert len(audit(tmp_path, rules="parameter-golf").with_code("BPB511")) == 1


def test_rules_without_a_cap_ask_for_no_size(tmp_path: Path) -> None:
    _found(tmp_path, _sizes(), 15_900_102)
    assert audit(tmp_path, rules="none").with_code("BPB511") == []


@pytest.mark.parametrize(
    "line", ["[POST] artifact: 12134416 bytes, headroom: 3791736", "artifact: 12.13 MB", "artifact:12.13MB code:73848"]
)
def test_a_network_that_is_called_the_artifact_and_the_code_make_what_is_stated(tmp_path: Path, line: str) -> None:
    (tmp_path / "train_gpt.py").write_text("x = 1\n".ljust(73_848, "#"))
    assert _found(tmp_path, f"{line}\n", 12_134_416 + 73_848) == []
    assert len(_found(tmp_path, f"{line}\n", 12_134_416 + 93_848)) == 1
    assert len(_found(tmp_path, f"Total submission size: {12_134_416} bytes\n", 12_134_416 + 73_848)) == 1


def test_a_rounded_size_is_quoted_as_it_is_rounded(tmp_path: Path) -> None:
    (found,) = _found(tmp_path, "int8+zlib artifact: 15.94 MB\n", 14_980_840)
    assert found.message.endswith("which print 15.94 MB (train.log:1)")


@pytest.mark.parametrize(
    "word",
    [
        *("Est. artifact: 15.79 MB", "estimated artifact: 15.79 MB", "artifact: ~15.79 MB", "artifact: 15.79 MB, est."),
        *("\uc608\uc0c1 artifact: 15.79 MB", "Projected artifact: 15.79 MB"),
    ],
)
def test_an_estimate_is_no_size(tmp_path: Path, word: str) -> None:
    assert _found(tmp_path, f"{word}\n", 15_132_719) == []


def test_a_score_that_a_log_of_another_packing_prints_too(tmp_path: Path) -> None:
    assert len(_found(tmp_path, _sizes(), 15_900_102)) == 1
    (tmp_path / "storage.log").write_text("again val_loss:2.1 val_bpb:1.3\n")
    assert len(_found(tmp_path, _sizes(), 15_900_102)) == 1
    (tmp_path / "storage.log").write_text(f"quant_bytes=15807214\n{END}")
    assert _found(tmp_path, _sizes(), 15_900_102) == []
