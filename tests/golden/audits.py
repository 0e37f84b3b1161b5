"""Whole reports of audits, word for word: a change of a check leaves them as they are, or changes what one reads here.

    python -m tests.golden.audits

writes the reports that lie beside this file, one line a case. The submissions of fixtures/claims that are not confirmed
and hold no script are cases; the others are made here, for each thing that a check may say of a record.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bpb_harness.auditing import Recomputed, audit
from bpb_harness.findings import Json
from fixtures.claims.build import HERE
from fixtures.claims.patterns import OLDER_EXPORT, OLDER_TOKENS, PREFIX, SP1024, SP8192, bpb, claim, log, submission

STORED = Path(__file__).with_suffix(".json")
NATS = 2.0312
SCORE = round(bpb(NATS, SP1024), 6)
LOADER = "val_loader:shards pattern=./data/fineweb10B_sp1024/fineweb_val_*.bin tokens:62021632\n"


@dataclass(frozen=True)
class Case:
    """A record, and what else the audit is given: a rescoring, the logs of a baseline."""

    files: dict[str, str] = field(default_factory=dict)
    recomputed: Recomputed | None = None
    baseline: dict[str, str] | None = None


def _stated(**keys: Any) -> Case:
    return Case({"claim.json": claim(**({"claimed_bpb": 1.5, "tokenizer": "sp1024"} | keys))})


def _raw(keys: str) -> Case:
    """A claim file that keeps the digits as they are written."""
    return Case({"claim.json": '{"format": "bpb-claim/1", ' + keys + "}"})


def _record(text: str | None = None, **keys: Any) -> Case:
    files = {"submission.json": submission(**({"val_bpb": SCORE} | keys))}
    return Case(files if text is None else files | {"train.log": text})


def _line(label: str, nats: float, score: float) -> str:
    return f"{label} val_loss:{nats:.8f} val_bpb:{score:.8f}\n"


def _seeds(losses: dict[int, float], ratio: float = SP1024) -> dict[str, str]:
    return {f"train_seed{seed}.log": log(nats, ratio, seed=seed) for seed, nats in losses.items()}


def _of_estimators() -> Iterator[tuple[str, Case]]:
    yield "rates.one", _stated(method="mc", u_range=[0.5, 0.5])
    yield "rates.low-cut", _stated(method="mc", u_range=[0.05, 1.0])
    yield "rates.high-cut", _stated(method="mc", u_range=[0.0, 0.95])
    yield "rates.ends-nearly", _stated(method="mc", u_range=[0.005, 0.996])
    yield "rates.all", _stated(method="mc", u_range=[0.001, 0.999])
    yield "pll.named", _stated(method="pseudo-likelihood")
    yield "pll.of-a-submission", _record(log(NATS, SP1024), estimator="pll")
    yield "two-pass.of-a-submission", _record(log(NATS, SP1024), estimator="two_pass_even_odd")
    for name, keys in {
        "twice": {"weight": "(1/t)^2"},
        "dsigma": {"weight": "dsigma", "schedule": "cosine"},
        "linear": {"weight": "1/(1-t)", "schedule": "linear"},
        "linear-by-eps": {"weight": "1 / (1 - t)", "schedule_eps": 0.001},
        "unknown-schedule": {"weight": "1/(1-t)"},
        "cosine": {"weight": "1/(1-t)", "schedule": "cosine"},
        "right": {"weight": "1/t", "schedule": "linear"},
        "chain": {"weight": "dsigma", "method": "chain"},
    }.items():
        yield f"weight.{name}", _stated(**keys)
    yield "unpaid", _stated(method="mc", unpaid_tokens="BOS")
    pair = {"method": "discrete", "nats_per_token": 2.6553096, "same_estimator": False}
    for rise in (0.5, 8.0, 11.0):
        score = round(bpb(2.6553096 + rise / 64 * math.log(2.0), SP1024), 8)
        yield f"two-estimators.{rise:g}-bits", _stated(claimed_bpb=score, num_steps=32, **pair)
    yield "two-estimators.no-steps", _stated(claimed_bpb=1.6, **pair)
    yield "two-estimators.no-vocabulary", _stated(claimed_bpb=1.6, num_steps=32, **pair | {"tokenizer": None})
    yield "two-estimators.few-digits", _stated(claimed_bpb=1.6, num_steps=512, **pair | {"nats_per_token": 2.7})
    text = LOADER + "bpb at T=32\n" + f"final_exact val_loss:2.65530960 val_var_bpb:{bpb(2.742, SP1024):.8f}\n"
    yield "two-estimators.whole-split", Case({"train.log": text})
    yield "two-estimators.other-size", Case({"train.log": text.replace("62021632", "62021631")})
    yield "two-estimators.rounded-row", Case({"train.log": text.replace("sp1024", "sp4096")})
    for name, table in {
        "rising": {"64": 1.10001, "128": 1.20003},
        "law": {"64": 1.1571, "128": 1.1508, "512": 1.1465},
        "steep": {"64": 1.9, "128": 1.5},
        "of-one": {"64": 1.5},
        "by-rounding": {"64": 1.3, "128": 1.2},
    }.items():
        yield f"steps.{name}", _stated(claimed_bpb=1.2, steps_table=table)
        if name in ("law", "steep"):
            yield f"steps.{name}.unnamed", _stated(claimed_bpb=1.2, steps_table=table, tokenizer=None)
            yield f"steps.{name}.no-bytes", _stated(claimed_bpb=1.2, steps_table=table, tokenizer="sp2048")
    for name, other in {"mc_bpb": 1.59, "nelbo_bpb": 2.2, "pre_quant_nelbo": 2.2, "elbo": 1.0, "l2r_bpb": 3.0}.items():
        keys = {"claimed_bpb": 1.63, "method": "discrete", "num_steps": 32, "other_bpb": {name: other}}
        yield f"pair.{name}", _stated(**keys)
    yield (
        "pair.unnamed",
        _stated(claimed_bpb=1.63, method="discrete", num_steps=32, other_bpb={"nelbo_bpb": 3.0}, tokenizer=None),
    )
    prose = f"# A run\n\nval_bpb: {SCORE}\n\nBOS tokens are not paid for.\n"
    record = _record(log(NATS, SP1024))
    yield "prose", Case(record.files | {"README.md": prose})
    yield "prose.title", _record(log(NATS, SP1024), name="val-only training")


def _of_records() -> Iterator[tuple[str, Case]]:
    good = log(NATS, SP1024)
    yield "record.unofficial", _record(good, note="This is not an official score. Good.")
    yield "record.no-claim", _record(val_bpb=None, sliding_bpb=1.1, proxy_bpb=0.9)
    yield "record.no-score-at-all", Case({"submission.json": "{}", "train.log": "nothing\n"})
    yield "record.log-without-score", _record("seed:1\nhello\n")
    yield "record.without-log", _record()
    yield "record.log-of-another", _record(log(NATS + 0.1, SP1024))
    yield "record.below-every-log", _record(log(NATS + 0.1, SP1024), val_bpb=1.0)
    yield "record.contradicted", _record(LOADER + _line("final_exact", NATS, 1.3), val_bpb=1.1, val_loss=NATS)
    yield "record.loss-in-log", _record(LOADER + _line("final_exact", NATS, 1.3), val_loss=NATS)
    yield (
        "record.contradicted-two-lines",
        _record(_line("a", NATS, 1.3) + _line("b", NATS, 1.31), val_bpb=1.1, val_loss=NATS),
    )
    yield (
        "record.printed-elsewhere",
        _record(_line("a", NATS, 1.3) + "of bpb 1.1000 we speak\n", val_bpb=1.1, val_loss=NATS),
    )
    yield "record.of-a-slice", _record(_line("a", NATS, 1.3), val_bpb=1.1, val_loss=NATS, eval_slice="first 64")
    yield (
        "record.step",
        _record(LOADER + _line("step:8/9", NATS, SCORE) + _line("final", NATS + 0.1, bpb(NATS + 0.1, SP1024))),
    )
    yield (
        "record.pre-quant",
        _record(LOADER + _line("pre_quant", NATS, SCORE) + _line("final", NATS + 0.1, bpb(NATS + 0.1, SP1024))),
    )
    yield "record.last-step", _record(LOADER + _line("step:8/9", NATS + 0.1, 1.3) + _line("step:9/9", NATS, SCORE))
    for name, label in {"at-the-end": "step:9/9", "still-learning": "step:8/9", "round-trip": "roundtrip"}.items():
        for gap in (0.04, 0.1, 0.2):
            text = LOADER + _line(label, NATS + 0.3, SCORE + gap) + _line("final_mixed", NATS, SCORE)
            yield f"plain.{name}.{gap:g}", _record(text)
    three = {1: 1.9, 2: 1.9004, 3: 1.8996}
    mean = round(sum(bpb(nats, SP1024) for nats in three.values()) / 3, 5)
    results = {str(seed): {"val_bpb": round(bpb(nats, SP1024), 5)} for seed, nats in three.items()}
    yield "seeds.mean", Case(_seeds(three) | {"submission.json": submission(val_bpb=mean)})
    yield "seeds.rounded-mean", Case(_seeds(three) | {"submission.json": submission(val_bpb=round(mean, 3) + 1e-7)})
    both = {"a.log": log(NATS, SP1024), "b.log": log(NATS, OLDER_EXPORT, tokens=OLDER_TOKENS)}
    of_both = round((bpb(NATS, SP1024) + bpb(NATS, OLDER_EXPORT)) / 2, 8)
    yield "seeds.two-texts", Case(both | {"submission.json": submission(val_bpb=of_both)})
    yield "seeds.no-logs", _record(val_bpb=mean, seed_results=results)
    yield "seeds.other-mean", _record(val_bpb=1.23456, seed_results=results)
    yield "seeds.best", _record(val_bpb=results["3"]["val_bpb"], seed_results=results)
    yield "seeds.spread-wrong", _record(val_bpb=mean, seed_results=results, val_bpb_std=0.12345)
    yield "seeds.spread-right", _record(val_bpb=mean, seed_results=results, val_bpb_std=0.00024)
    siblings = {
        str(seed): {"val_bpb": round(bpb(nats, SP1024) - 0.01, 6), "val_bpb_full_split": round(bpb(nats, SP1024), 6)}
        for seed, nats in three.items()
    }
    claimed = round(sum(scores["val_bpb"] for scores in siblings.values()) / 3, 6)
    for name, seeds in {"one": [1], "all": [1, 2, 3]}.items():
        logs = _seeds({seed: three[seed] for seed in seeds})
        yield (
            f"siblings.{name}",
            Case(logs | {"submission.json": submission(val_bpb=claimed, seed_results=siblings)}),
        )
    text = LOADER + "final val_bpb:1.3000 T=64\n"
    yield "table.against-log", _record(text, val_bpb=1.2, val_bpb_T64=1.25, val_bpb_T512=1.2)
    yield "table.in-log", _record(text + "other val_bpb:1.2500\n", val_bpb=1.2, val_bpb_T64=1.25)
    yield "readme.other-score", Case(_record(good).files | {"README.md": "val_bpb: 1.111\n"})
    yield (
        "readme.in-a-table",
        Case(_record(good).files | {"README.md": f"val_bpb: 1.111\n\n| val_bpb |\n|---|\n| {SCORE} |\n"}),
    )
    for name, tokens in {"whole": 62021632, "part": 1048576, "no-split": 4}.items():
        yield f"scored.{name}", _record(log(NATS, SP1024, extra=f" scored_tokens:{tokens}"))
    yield "scored.unknown-split", _record(tokenizer="sp2048", scored_tokens=40_000_000)
    yield "scored.part-of-unknown-split", _record(tokenizer="sp2048", scored_tokens=4_000_000)
    yield "slice.disclosed", _record(good, eval_slice="the first 64 windows")
    yield "slice.of-all", _record(good, eval_slice="the full val split")
    yield "slice.beside-the-whole", _record(good, scored_tokens=1048576, val_bpb_full_split=SCORE + 0.002)
    yield "slice.beside-another", _record(good, scored_tokens=1048576, val_bpb_full_split=SCORE + 0.2)
    yield "sampled", _stated(method="mc")
    yield "sampled.with-error", _stated(method="mc", stderr=0.01)
    yield "size.over", _record(good, bytes_total=16_000_001)
    yield "size.at-the-cap", _record(good, bytes_total=16_000_000)
    yield "size.none", Case({"train.log": good.replace("Total", "Some")})
    yield "size.in-log", Case({"train.log": "Total submission size: 17000000 bytes\n" + good.replace("Total", "Some")})
    for name, shift in {"beaten": 0.02, "not-beaten": 0.005, "worse": -0.1}.items():
        theirs = _seeds({seed: nats + shift for seed, nats in three.items()})
        claimed = {"submission.json": submission(val_bpb=mean)}
        yield f"baseline.{name}", Case(_seeds(three) | claimed, baseline=theirs)
    yield "seeds.unclaimed", Case(_seeds(three), baseline=_seeds(three))
    yield "baseline.too-few", Case(_seeds({1: 1.9}), baseline=_seeds({1: 1.9}))
    yield (
        "baseline.by-scores-of-seeds",
        Case(
            {"submission.json": submission(val_bpb=mean, seed_results=results, tokenizer="sp1024")},
            baseline=_seeds(three),
        ),
    )
    yield (
        "reading.notes",
        Case(
            {
                "submission.json": '\ufeff{"val_bpb": 1.2, "val_bpb": 1.3,}',
                "train.log": good,
                "README.md": "\ufeffwords\n",
            }
        ),
    )
    yield "reading.implausible", _record(val_bpb=12.5)


def _of_bytes() -> Iterator[tuple[str, Case]]:
    for factor in (0.5, 0.83286, 0.97, 0.9971, 1.004, 1.05, 1.16714, 1.2437, 1.33428):
        yield f"bytes.{factor:g}", Case({"train.log": log(NATS, SP1024 * factor)})
        yield f"bytes.{factor:g}.unnamed", Case({"train.log": log(NATS, SP1024 * factor, tokens=None)})
        yield f"bytes.{factor:g}.part", Case({"train.log": log(NATS, SP1024 * factor, tokens=8192)})
    for factor in (0.97, 1.004, 1.05, 1.16714, 1.2437):
        ratio = SP1024 * factor
        yield f"bytes.{factor:g}.unnamed", Case({"train.log": log(NATS, ratio, tokens=None)})
        prose = submission(val_loss=NATS, val_bpb=round(bpb(NATS, ratio), 8), blurb="an sp1024 model")
        yield f"bytes.{factor:g}.prose", Case({"submission.json": prose})
        own = log(NATS, factor * 151080891 / 60_000_256, tokens=60_000_256, export="fineweb10B_ours")
        yield f"bytes.{factor:g}.own", Case({"train.log": own})
    for factor in (0.97, 1.16714):
        yield f"bytes.{factor:g}.part", Case({"train.log": log(NATS, SP1024 * factor, tokens=8192)})
        elsewhere = log(NATS, SP1024 * factor).replace("fineweb_val_", "wikitext_val_")
        yield f"bytes.{factor:g}.other-text", Case({"train.log": elsewhere})
    for ratio in (1.0, 4.3, PREFIX, OLDER_EXPORT, SP8192, SP1024 * math.log(2.0), SP1024 / math.log(2.0)):
        yield f"ratio.{ratio:.5g}", Case({"train.log": log(NATS, ratio)})
        stated = {"claimed_bpb": round(bpb(NATS, ratio), 8), "nats_per_token": NATS}
        yield f"ratio.{ratio:.5g}.stated", _stated(**stated)
        if ratio in (1.0, PREFIX, SP8192):
            yield f"ratio.{ratio:.5g}.unnamed", Case({"train.log": log(NATS, ratio, tokens=None)})
            yield f"ratio.{ratio:.5g}.stated-part", _stated(**stated, scored_tokens=1_048_000)
            yield f"ratio.{ratio:.5g}.byte", _stated(**stated | {"tokenizer": "byte260"})
    yield "coarse", _raw('"tokenizer": "sp1024", "claimed_bpb": 1.303, "nats_per_token": 2.2')
    yield "coarse.unnamed", _raw('"claimed_bpb": 1.30, "nats_per_token": 2.20')
    mixed = log(NATS, SP1024) + _line("final_mixed_exact", NATS, 1.1)
    yield "elsewhere-right", _record(mixed, val_bpb=1.1)
    yield (
        "elsewhere-right.many",
        Case({f"seed{i}.log": mixed + _line("final_last", NATS, 1.1 + i / 1000) for i in range(6)}),
    )
    for constant in (4.3, 2.3):
        keys = {"bytes_per_token": constant, "bytes_per_token_is_constant": True}
        yield f"constant.{constant}", _stated(**keys)
        yield f"constant.{constant}.unnamed", _stated(**keys, **{"tokenizer": None})
        yield f"constant.{constant}.part", _stated(**keys, scored_tokens=1_048_000)
        yield f"constant.{constant}.void", _stated(**keys, unpaid_tokens="BOS")
        yield (
            f"constant.{constant}.of-readme",
            Case(
                {
                    "submission.json": submission(val_bpb=1.2, tokenizer="sp1024"),
                    "README.md": f"{constant} bytes per token\n",
                }
            ),
        )
    yield "folded", Case({"train.log": log(NATS, SP1024, export="fineweb10B_sp1024_casefold")})
    faulty = log(NATS, SP1024 * 1.16714, label="older")
    yield "faulty-beside", Case(_record(log(NATS, SP1024)).files | {"older.log": faulty, "oldest.log": faulty})
    yield "faulty-beside.one", Case(_record(log(NATS, SP1024)).files | {"older.log": faulty})
    uneven = log(NATS, SP1024 * 1.2437).replace("step:4000/8000 val_loss:2.34", "step:4000/8000 val_loss:2.54")
    yield "bytes-of-lines-that-differ", Case({"train.log": uneven})
    whole = log(NATS, SP1024 * 1.16714, extra=" scored_tokens:62021632")
    yield "bug-in-the-whole", Case({"train.log": whole})
    yield (
        "two-faults",
        _record(LOADER + _line("final_exact", NATS, bpb(NATS, SP1024 * 1.16714)), val_bpb=1.0, val_loss=NATS),
    )
    yield "bug-in-a-part", _record(log(NATS, SP1024 * 1.16714), val_bpb=round(bpb(NATS, SP1024 * 1.16714), 6),
                                   eval_slice="first")  # fmt: skip


def _of_rescoring() -> Iterator[tuple[str, Case]]:
    def again(score: float, files: Case | None = None, **changes: Any) -> Case:
        own = {"mc_stderr": 0.001, "corpus_stderr": 0.008, "relation": "~<=", "signature": "bpb|T:128"}
        recomputed = Recomputed(**({"bits_per_byte": score, "method": "discrete"} | own | changes))
        base = files or _raw(
            '"claimed_bpb": 1.5000, "method": "discrete", "num_steps": 128, "num_windows": 500, '
            '"context_length": 1024, "dataset": "fineweb_val", "tokenizer": "sp1024"'
        )
        return Case(base.files, recomputed)

    for score in (1.4, 1.5, 1.503, 1.504, 1.52, 1.6):
        yield f"again.{score}", again(score)
    for score in (1.5, 1.55, 1.6):
        for windows in (500, 96, 4):
            yield f"again.{score}.of-{windows}", again(score, num_windows=windows)
    yield "again.of-96.no-error-of-text", again(1.6, num_windows=96, corpus_stderr=None)
    yield "again.spread", again(1.52, _raw('"claimed_bpb": 1.5000, "stderr": 0.01'))
    yield "again.large-error", again(1.5, mc_stderr=0.02)
    yield "again.other-method", again(1.7, method="chain")
    yield "again.unknown-method", again(1.7, method=None)
    yield "again.other-steps", again(1.7, num_steps=16)
    yield "again.other-length", again(1.7, context_length=128)
    yield "again.same-settings", again(1.7, num_steps=128, context_length=1024, data_name="FineWeb_val")
    yield "again.other-text", again(1.5, data_name="tiny_val")
    for score, relation in ((1.55, "="), (1.55, "<="), (1.55, "~<="), (1.8, "<="), (1.4, "<=")):
        yield f"again.tighter.{relation}.{score}", again(score, _raw('"claimed_bpb": 1.5000'), relation=relation)
    yield "again.nothing-claimed", again(1.5, Case({"submission.json": submission(val_bpb=None)}))
    yield (
        "again.faulty-bytes",
        again(bpb(NATS, SP1024 * 1.16714), Case({"train.log": log(NATS, SP1024 * 1.16714)}), method=None),
    )
    yield "again.corrected", again(SCORE, Case({"train.log": log(NATS, SP1024 * 1.16714)}), corpus_stderr=None)


FIXTURES = {
    folder.name: folder
    for folder in sorted((HERE / "submissions").iterdir())
    if "script" not in folder.name and not folder.name.startswith("honest_")
}
MADE = {name: case for make in (_of_estimators, _of_records, _of_bytes, _of_rescoring) for name, case in make()}
CASES = [*FIXTURES, *MADE]


def _written(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def outcome(case: str, folder: Path) -> dict[str, Json]:
    """The report on a case, as data; its files go into a folder."""
    if case in FIXTURES:
        report = audit(FIXTURES[case])
    else:
        made = MADE[case]
        baseline = _written(folder / "baseline", made.baseline) if made.baseline is not None else None
        report = audit(_written(folder / "claim", made.files), recomputed=made.recomputed, baseline=baseline)
    return {
        key: held
        for key, held in report.to_dict().items()
        if held is not None and key not in ("format", "name", "files")
    }


def main() -> None:
    """Write the reports."""
    lines = []
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            lines.append(f"{json.dumps(case)}: {json.dumps(outcome(case, Path(folder)))}")
    STORED.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
