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
        (15_900, {}),  # in kilobytes
        (999_999, {}),
        (15_900_102.5, {}),  # of a mean
        (13_919_545, {}),  # 14.595701 MB, counted as 1,048,576 bytes each and written as of 1,000,000
        (15_236_724, {}),  # the network in MB of 1,048,576 bytes
        (15_305_000, {}),  # rounded, and in these
        (14_580_000, {"artifact_bytes_seeds": {"1": 14_570_000, "2": 14_590_000}}),  # of two that the log prints
    ],
    ids=[
        *("its own", "off by one", "the network", "rounded", "units", "code in JSON", "code beside", "MB", "elsewhere"),
        *("rounded, of seeds", "other runs", "kB", "small", "a half", "units back", "the network in units"),
        *("units, rounded", "a mean of others"),
    ],
)
def test_a_size_that_may_be_right(tmp_path: Path, stated: object, more: dict[str, Any]) -> None:
    (tmp_path / "train_gpt.py").write_text("x = 1\n".ljust(25_001, "#"))
    text = _sizes() + "again: 12,345,678 bytes of it\nTotal submission size int6: 14200000 bytes\n" + _sizes()
    text += "seed 1 of 14570000, seed 2 of 14590000 bytes\n"
    assert _found(tmp_path, text, stated, **more) == []


@pytest.mark.parametrize(
    ("stated", "more"),
    [
        (1_000_001, {}),
        (15_900_102, {"seeds": [1]}),
        (15_900_102, {"bytes_code": 1_369_232}),  # with the network 15,900,104: two bytes off
        (14_580_003, {"artifact_bytes_seeds": {"1": 14_570_000, "2": 14_590_000}}),  # a mean, but for three bytes
        (14_580_000 + 700, {"artifact_bytes_seeds": {"1": 14_570_000, "2": 14_591_400}}),  # of one that no log has
    ],
    ids=["a million", "of this run", "two bytes off", "no mean", "a mean of another"],
)
def test_a_size_that_is_off(tmp_path: Path, stated: object, more: dict[str, Any]) -> None:
    text = f"{_sizes()}seed 1 of 14570000, seed 2 of 14590000 bytes\n"
    assert len(_found(tmp_path, text, stated, **more)) == 1


def test_a_size_up_to_the_rounding_of_the_sum(tmp_path: Path) -> None:
    assert _found(tmp_path, "artifact: 12134416 bytes\n", 12_723_857) == []  # in MB of 1,048,576 bytes
    assert _found(tmp_path, "artifact: 12134416 bytes\n", 12_134_416 + 73_849, bytes_code=73_848) == []
    assert len(_found(tmp_path, "artifact: 12134416 bytes\n", 12_134_416 + 73_850, bytes_code=73_848)) == 1


@pytest.mark.parametrize(
    ("stated", "networks", "is_over"),
    [
        (15_900_102, [17_000_000], True),
        (16_000_000, [18_900_000], True),
        (16_400_102, [17_000_000], False),  # over it as well
        (15_900_102, [15_935_171], False),  # 16,000,000 with the code: within
        (15_900_102, [15_000_000, 17_000_000], False),  # one of two
    ],
)
def test_a_cap_that_all_logs_are_over_and_the_record_is_not(
    tmp_path: Path, stated: int, networks: list[int], is_over: bool
) -> None:
    scores = [1.2034 + 0.002 * (2 * number - len(networks) + 1) for number in range(len(networks))]
    for network, score in zip(networks, scores, strict=True):
        (tmp_path / f"seed{network}.log").write_text(f"{_sizes(network)}final val_loss:2.03 val_bpb:{score:.8f}\n")
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": 1.2034, "bytes_total": stated}))
    (found,) = audit(tmp_path, rules="parameter-golf").with_code("BPB511")
    assert ("over the cap" in found.message) is is_over


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
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": 1.2034, "study": runs[:1]}))
    assert len(audit(tmp_path, rules="parameter-golf").with_code("BPB511")) == 1


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


def _of_a_mean(folder: Path, heads: list[str], stated: int, **more: Any) -> list[Finding]:
    for number, head in enumerate(heads):
        score = 1.2 + 0.001 * number + 0.0003 * (number > 0)
        (folder / f"seed{number}.log").write_text(f"{head}final val_loss:2.03 val_bpb:{score:.8f}\n")
    mean = 1.2 + 0.0005 * (len(heads) - 1) + 0.0003 * (len(heads) - 1) / len(heads)  # which none of them has
    value = {"val_bpb": round(mean, 6), "bytes_total": stated, **more}
    (folder / "submission.json").write_text(json.dumps(value))
    return audit(folder, rules="parameter-golf").with_code("BPB511")


def test_a_mean_of_sizes_that_no_run_has(tmp_path: Path) -> None:
    sizes = (14_500_000, 14_600_001, 14_700_603)
    heads = [_sizes(size) for size in sizes]
    network = sum(sizes) // 3
    for stated in (network, network + 64_829, network + 20_000, sizes[1] + 20_000, sizes[1]):
        assert _of_a_mean(tmp_path, heads, stated, bytes_code=20_000) == []
    assert len(_of_a_mean(tmp_path, heads, network + 7)) == 1
    (tmp_path / "another.log").write_text(f"{_sizes(9_000_000)}debug_run val_loss:2.13 val_bpb:1.25\n")
    assert _of_a_mean(tmp_path, heads, network + 64_829) == []  # it is the mean of the claim's logs
    assert _of_a_mean(tmp_path, heads, (sum(sizes) + 9_000_000) // 4 + 64_829) == []  # or of all


@pytest.mark.parametrize("is_in_front", [True, False])
def test_a_mean_over_runs_one_of_which_prints_more_sizes(tmp_path: Path, is_in_front: bool) -> None:
    sizes, codes = (14_500_000, 14_600_001, 14_700_603), (64_829, 64_929, 65_129)
    other = "Total submission size int4: 9000000 bytes\n"
    heads = [_sizes(size, code) for size, code in zip(sizes, codes, strict=True)]
    heads[0] = other + heads[0] if is_in_front else heads[0] + other
    mean = (sum(sizes) + sum(codes)) // 3
    assert _of_a_mean(tmp_path, heads, mean) == []
    assert len(_of_a_mean(tmp_path, heads, mean + 100)) == 1


def test_a_run_of_the_mean_that_prints_no_size(tmp_path: Path) -> None:
    assert _of_a_mean(tmp_path, [_sizes(), "seed:2\n"], 15_900_102) == []
    assert len(_of_a_mean(tmp_path, [_sizes(), _sizes()], 15_900_102)) == 1


def test_a_score_that_no_log_prints_has_no_size_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text(_sizes() + END)
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": 1.1034, "bytes_total": 15_900_102}))
    assert audit(tmp_path, rules="parameter-golf").with_code("BPB511") == []


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


@pytest.mark.parametrize(
    "line",
    [
        "[POST] total artifact: 12134416 bytes",
        "packed: 12109416 bytes\nCode size: 25000 bytes\nartifact: 12134416 bytes",
    ],
)
def test_a_total_has_no_code_to_come_whatever_it_is_called(tmp_path: Path, line: str) -> None:
    line = line.replace("packed", "Serialized model int8+zlib")
    assert len(_found(tmp_path, f"{line}\n", 12_134_416 + 18_003, bytes_code=18_003)) == 1


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        ("15.94 MB", "15.94 MB"),
        ("15.9 MB", "15.9 MB"),
        ("15.940123 MB", "15,940,123"),
        ("15940123.5 bytes", "15,940,124"),
        ("16 MB", "about 16,000,000"),
    ],
)
def test_a_rounded_size_is_quoted_as_it_is_rounded(tmp_path: Path, printed: str, told: str) -> None:
    (found,) = _found(tmp_path, f"int8+zlib artifact: {printed}\n", 13_980_840)
    assert found.message.startswith("13,980,840 bytes, by submission.json (bytes_total), are in none of its logs")
    assert f"which print {told} (train.log:1)" in found.message


def test_a_rounded_size_is_any_that_it_may_be_of(tmp_path: Path) -> None:
    assert _found(tmp_path, "int8+zlib artifact: 15.94 MB\n", 15_943_210) == []
    assert len(_found(tmp_path, "int8+zlib artifact: 15.94 MB\n", 15_946_210)) == 1


@pytest.mark.parametrize(
    "word",
    [
        *("Est. artifact: 15.79 MB", "estimated artifact: 15.79 MB", "artifact: ~15.79 MB", "artifact: 15.79 MB, est."),
        *("\uc608\uc0c1 artifact: 15.79 MB", "Projected artifact: 15.79 MB"),
    ],
)
def test_an_estimate_is_no_size(tmp_path: Path, word: str) -> None:
    assert _found(tmp_path, f"{word}\n", 15_132_719) == []
    (tmp_path / "train.log").write_text(f"{END}{word}")  # the last line, which may lack its end
    assert audit(tmp_path, rules="parameter-golf").with_code("BPB511") == []


def test_a_score_that_a_log_of_another_packing_prints_too(tmp_path: Path) -> None:
    assert len(_found(tmp_path, _sizes(), 15_900_102)) == 1
    (tmp_path / "storage.log").write_text("again val_loss:2.1 val_bpb:1.3\n")
    assert len(_found(tmp_path, _sizes(), 15_900_102)) == 1
    (tmp_path / "storage.log").write_text(f"quant_bytes=15807214\n{END}")
    assert _found(tmp_path, _sizes(), 15_900_102) == []
