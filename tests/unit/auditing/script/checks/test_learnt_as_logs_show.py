"""Text that was learnt before its score: refuted where logs show it and the weights are followed, else held back."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing.script import LoggedScore, ScriptContext, check_scripts
from bpb_harness.findings import Finding, Severity
from tests.golf_rules import GOLF, check_source

SCRIPT = """import copy, glob, io, math, os, zlib
import numpy as np
import torch
import torch.nn.functional as F


class Settings:
    val_files = "./data/fineweb10B_sp1024/fineweb_val_*.bin"
    train_files = "./data/fineweb10B_sp1024/fineweb_train_*.bin"
    seq_len = int(os.environ.get("SEQ_LEN", 1024))
    adapts = bool(int(os.environ.get("ADAPTS", "{default}")))
    adapt_epochs = int(os.environ.get("ADAPT_EPOCHS", 3))


class GPT(torch.nn.Module):
    def forward(self, ids, targets):
        logits = self.head(self.body(self.embed(ids)))
        return F.cross_entropy(logits.float().view(-1, logits.size(-1)), targets.reshape(-1), reduction="mean")


class Adapter(torch.nn.Module):
    def __init__(self, base):
        self.base = base


def load_tokens(pattern):
    files = sorted(glob.glob(pattern))
    return torch.cat([torch.from_numpy(np.fromfile(file, dtype="<u2").astype(np.int32)) for file in files])


def adapt(s, network, device, tokens, log=print):
    {opening}
    optimizer = torch.optim.AdamW({parameters}, lr=1e-4)
    for epoch in range(s.adapt_epochs):
        for i in range((tokens.numel() - 1) // s.seq_len):
            local = tokens[i * s.seq_len : (i + 1) * s.seq_len + 1].to(device)
            loss = network(local[:-1], local[1:])
            {gradient}
            optimizer.step()
            optimizer.zero_grad()
        {told}
    {closing}


def eval_val(s, network, device, val_tokens, byte_lut):
    nats, size = 0.0, 0.0
    for i in range((val_tokens.numel() - 1) // s.seq_len):
        local = val_tokens[i * s.seq_len : (i + 1) * s.seq_len + 1].to(device)
        x, y = local[:-1], local[1:]
        nats += network(x, y).item() * y.numel()
        size += float(byte_lut[y].sum())
    return nats / math.log(2.0) / size


def main():
    s = Settings()
    device = torch.device("cuda")
    val_tokens = load_tokens(s.val_files)
    train_tokens = load_tokens(s.train_files)
    byte_lut = torch.load("lut.pt")
    base = GPT().to(device)
    ema = {{k: v.clone() for k, v in base.state_dict().items()}}
    {early}
    if s.adapts:
        adapt(s, base, device, {learnt})
    {behind}
    val_bpb = eval_val(s, {scored}, device, val_tokens, byte_lut)
    print(f"final val_bpb:{{val_bpb:.6f}}")


if __name__ == "__main__":
    main()
"""
TOLD = 'log(f"adapting epoch {epoch + 1}/{s.adapt_epochs} loss:{loss.item():.4f}")'
BASE = {
    "default": "0", "opening": "pass", "parameters": "network.parameters()", "gradient": "loss.backward()",
    "told": TOLD, "closing": "pass", "early": "pass", "learnt": "val_tokens", "behind": "pass", "scored": "base",
}  # fmt: skip
PACKED = """state = {k: v.cpu() for k, v in base.state_dict().items()}
    buffer = io.BytesIO()
    torch.save(quantized(state), buffer)
    blob = zlib.compress(buffer.getvalue())
    with open("packed.bin", "wb") as f:
        f.write(blob)
    with open("packed.bin", "rb") as f:
        read = f.read()
    restored = torch.load(io.BytesIO(zlib.decompress(read)))
    scored = GPT().to(device)
    scored.load_state_dict(dequantized(restored))
    compiled = torch.compile(scored)"""
WRITTEN_ONCE = PACKED.replace("    with open", "    if rank == 0:\n      with open", 1).replace("f.write", "  f.write")
# The training stands where the scoring is called, behind training of which it has the names.
INLINE = """optimizer = torch.optim.AdamW({parameters}, lr=1e-4)
    for epoch in range(s.adapt_epochs):
        for i in range((val_tokens.numel() - 1) // s.seq_len):
            local = val_tokens[i * s.seq_len : (i + 1) * s.seq_len + 1].to(device)
            with torch.autocast("cuda"):
                loss = base(local[:-1], local[1:])
            loss.backward()
            optimizer.step()
            {back}
        print(f"adapting epoch {{epoch + 1}}/{{s.adapt_epochs}} loss:{{loss.item():.4f}}")
    {behind}"""
TRAINING = """lora = Adapter(base)
    for i in range(1000):
        with torch.autocast("cuda"):
            loss = base(train_tokens[i * 9 : i * 9 + 9], train_tokens[i * 9 + 1 : i * 9 + 10])
        loss.backward()"""
LOG = """train_loader:dataset:fineweb10B_sp1024
step:1000/1000 val_loss:2.0900 val_bpb:1.2345
adapting epoch 1/3 loss:2.0100
adapting epoch 2/3 loss:1.9100
adapting epoch 3/3 loss:1.8100
final val_bpb:1.051234
"""


def _found(
    folder: Path,
    changes: dict[str, str],
    log: str = LOG,
    labels: tuple[str, ...] = ("final val_bpb:",),
    script: str = SCRIPT,
) -> list[Finding]:
    path = folder / "train.log"
    path.write_text(log)
    lines = log.split("\n")
    last = max((number for number, line in enumerate(lines, 1) if line.startswith("final")), default=1)
    logged = (LoggedScore(path, "train.log", last, 0, ((2, 1.2345),)),)
    context = ScriptContext(rules=GOLF, claimed_labels=labels, logged=logged)
    return [each for each in check_source(script.format(**{**BASE, **changes}), context) if each.code == "BPB273"]


_SIZED = "Total submission size int6+zstd: 15800000 bytes"


@pytest.mark.parametrize(("before", "after", "at"), [(True, False, 3), (False, True, None), (True, True, None)])
def test_what_is_learnt_behind_the_packing_goes_into_no_file(
    tmp_path: Path, before: bool, after: bool, at: int | None
) -> None:
    lines = LOG.rstrip("\n").split("\n")
    log = [*lines[:2], *[_SIZED] * before, *lines[2:5], *[_SIZED] * after, *lines[5:]]
    (found,) = _found(tmp_path, {}, "\n".join(log))
    assert found.severity is Severity.REFUTES
    assert found.evidence.get("packed_at") == at
    assert found.evidence.get("fitted_in_scoring") == (True if at is not None else None)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"default": "1"},
        {"behind": PACKED, "scored": "compiled"},
        {"behind": WRITTEN_ONCE, "scored": "compiled"},
        {"behind": "model = torch.compile(base, dynamic=False)", "scored": "model"},
        {"behind": 'torch.save(base.state_dict(), "m.pt"); base.load_state_dict(torch.load("m.pt"))'},
        {"opening": "kept = [p for p in network.parameters() if p.requires_grad]", "parameters": "kept"},
        {"behind": "now = base.state_dict(); hessian = GPT(); "
                   "hessian.load_state_dict({k: v.to(device) for k, v in now.items()})"},
    ],
)  # fmt: skip
def test_what_the_log_shows_and_the_weights_carry_to_the_score_refutes(tmp_path: Path, changes: dict[str, str]) -> None:
    (found,) = _found(tmp_path, changes)
    assert found.severity is Severity.REFUTES
    assert "train.log:3 is a line that this training alone prints" in found.message
    assert "before the claimed score in line 6. The last score printed before that (its windows" in found.message
    assert "that (its windows and weights may differ) is 1.2345, in line 2" in found.message
    assert (found.evidence.get("fitted_in_scoring"), found.evidence.get("packed_at")) == (None, None)
    assert found.factor is None
    assert found.evidence["line_of_log"] == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"told": "pass"},  # nothing is printed
        {"told": 'log(f"# {epoch + 1}/{s.adapt_epochs} loss:{loss.item():.4f}")'},  # no letters to know it by
        {"told": f"pass\n    {TOLD}"},  # behind the loop: printed where there are no rounds too
        {"told": f'{TOLD}\n    if device is None: log(f"adapting epoch {{device}}")'},  # by another statement too
        {"told": "pass", "gradient": f"{TOLD}\n            if large(loss): continue\n            loss.backward()"},
        {"gradient": 'if s.unknown: loss.backward()', "default": "1"},  # the loop may turn without a step
    ],
)  # fmt: skip
def test_without_a_line_that_shows_it_it_is_a_doubt(tmp_path: Path, changes: dict[str, str]) -> None:
    (found,) = _found(tmp_path, {"default": "1", **changes})
    assert found.severity is Severity.WARNS
    assert "This is a doubt, and no more: " in found.message


@pytest.mark.parametrize(
    "log",
    [
        LOG.replace("adapting epoch", "adapting"),
        LOG.replace("00\n", "00 lr:0.1\n"),
        LOG.replace(" loss:1", " loss=1").replace(" loss:2.0100", ""),  # of another version of the script
        "final val_bpb:1.234500\n" + LOG.replace("final", "later"),  # printed before it
        LOG.replace("adapting epoch", 'log(f"adapting epoch'),  # the script, in the log
        "adapting epoch {epoch+1}/{s.adapt_epochs} loss:{loss.item():.4f}\nfinal val_bpb:1.051234\n",
    ],
)
def test_a_log_that_does_not_show_it_before_the_score_is_none(tmp_path: Path, log: str) -> None:
    (found,) = _found(tmp_path, {"default": "1"}, log)
    assert found.severity is Severity.WARNS
    assert _found(tmp_path, {}, log) == []  # off by default, and nothing says that it was on


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        # what is scored is not what was trained
        ({"behind": "base.load_state_dict(torch.load('other.pt'))"}, "not followed"),
        ({"early": "torch.save(base.state_dict(), 'm.pt')", "behind": "base.load_state_dict(torch.load('m.pt'))"},
         "not followed"),
        ({"behind": PACKED.replace("base.state_dict", "ema"), "scored": "compiled"}, "not followed"),
        ({"early": PACKED, "scored": "compiled"}, "not followed"),
        ({"early": "scored = GPT().to(device); scored.load_state_dict(ema)", "scored": "scored"}, "not followed"),
        ({"behind": "now = base.state_dict(); other = torch.load('m.pt'); base.load_state_dict(merged(now, other))"},
         "not followed"),
        ({"early": "scored = GPT().to(device); scored.eval()", "scored": "scored",
          "behind": "now = base.state_dict(); hessian = GPT(); hessian.load_state_dict(now)"}, "not followed"),
        ({"early": "scored = GPT().to(device); now = ema", "scored": "scored",
          "behind": "if s.unknown: now = base.state_dict()\n    scored.load_state_dict(now)"}, "not followed"),
        ({"early": "scored = GPT().to(device)", "scored": "scored",
          "behind": "now = base.state_dict()\n    if s.unknown: scored.load_state_dict(now)"}, "not followed"),
        ({"behind": "base = GPT().to(device)"}, "put back"),
        ({"behind": "for p, q in zip(base.parameters(), other.parameters()): p.data.copy_(q)"}, "put back"),
        ({"closing": "network.load_state_dict(torch.load('m.pt'))"}, "put back"),
        ({"opening": "lora = Adapter(network)", "parameters": "lora.parameters()"}, "not followed"),
        ({"parameters": "[torch.zeros(3, requires_grad=True)]"}, "not followed"),
    ],
)  # fmt: skip
def test_weights_that_are_not_followed_to_the_score_leave_a_doubt(
    tmp_path: Path, changes: dict[str, str], why: str
) -> None:
    (found,) = _found(tmp_path, {"default": "1", **changes})
    assert found.severity is Severity.WARNS
    assert why in found.message


@pytest.mark.parametrize(
    "changes",
    [
        {"learnt": "train_tokens"},
        {"closing": "network.load_state_dict(before)", "opening": "before = copy.deepcopy(network.state_dict())"},
        {"behind": "base.load_state_dict(ema)"},
    ],
)
def test_what_is_in_order_is_in_order_whatever_a_log_prints(tmp_path: Path, changes: dict[str, str]) -> None:
    assert _found(tmp_path, {"default": "1", **changes}) == []


@pytest.mark.parametrize(
    ("changes", "severity"),
    [
        ({}, Severity.REFUTES),
        ({"parameters": "lora.parameters()"}, Severity.WARNS),  # of an adapter, which does not score
        ({"back": "base.load_state_dict(torch.load('best.pt'))"}, Severity.WARNS),
        ({"behind": "base.load_state_dict(torch.load('best.pt'))"}, Severity.WARNS),
        ({"behind": "for p, q in zip(base.parameters(), lora.parameters()): p.data.copy_(q)"}, Severity.WARNS),
    ],
)
def test_training_beside_the_scoring(tmp_path: Path, changes: dict[str, str], severity: Severity) -> None:
    inline = INLINE.format(**{"parameters": "base.parameters()", "back": "pass", "behind": "pass", **changes})
    (found,) = _found(tmp_path, {"told": "pass", "early": TRAINING, "behind": inline})
    assert found.severity is severity


def test_training_beside_the_scoring_that_is_on_other_tokens(tmp_path: Path) -> None:
    inline = INLINE.replace("val_tokens", "train_tokens").format(
        parameters="base.parameters()", back="pass", behind="pass"
    )
    assert _found(tmp_path, {"told": "pass", "early": TRAINING, "behind": inline}) == []


def test_a_line_that_two_calls_may_have_printed_shows_neither(tmp_path: Path) -> None:
    once = "adapt(s, base, device, val_tokens)\n    base.load_state_dict(ema)"
    again = {"early": once, "behind": "base.load_state_dict(ema)\n    if s.adapts: adapt(s, base, device, val_tokens)"}
    assert [each.severity for each in _found(tmp_path, {"default": "1", **again})] == [Severity.WARNS]
    assert _found(tmp_path, again) == []


def test_a_score_that_no_label_names_leaves_a_doubt(tmp_path: Path) -> None:
    (found,) = _found(tmp_path, {}, labels=())
    assert found.severity is Severity.WARNS
    assert "which of the printed scores" in found.message


def test_of_a_mean_one_run_is_enough(tmp_path: Path) -> None:
    for name, text in (("a.log", LOG.replace("adapting", "training")), ("b.log", LOG)):
        (tmp_path / name).write_text(text)
    logged = tuple(LoggedScore(tmp_path / name, name, 6) for name in ("a.log", "b.log"))
    context = ScriptContext(rules=GOLF, claimed_labels=("final val_bpb:",), logged=logged)
    (found,) = (each for each in check_source(SCRIPT.format(**BASE), context) if each.code == "BPB273")
    assert found.severity is Severity.REFUTES
    assert "b.log:3 is a line" in found.message
    assert "before one of the 2 scores whose mean is claimed, in line 6" in found.message


def test_a_script_of_another_size_than_the_log_states_is_another_one(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.format(**BASE))
    size = len(script.read_bytes())
    for stated, severity in ((size, Severity.REFUTES), (size + 1, Severity.WARNS)):
        path = tmp_path / "train.log"
        path.write_text(f"{LOG}Code size: {stated} bytes\n")
        logged = (LoggedScore(path, "train.log", 6),)
        context = ScriptContext(rules=GOLF, claimed_labels=("final val_bpb:",), logged=logged)
        (found,) = (each for each in check_scripts([script], context) if each.code == "BPB273")
        assert found.severity is severity


def test_the_run_before_shows_nothing_of_a_run(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text(LOG + "final val_bpb:1.233333\n")
    logged = (LoggedScore(path, "train.log", 7, 6),)
    context = ScriptContext(rules=GOLF, claimed_labels=("final val_bpb:",), logged=logged)
    assert not [each for each in check_source(SCRIPT.format(**BASE), context) if each.code == "BPB273"]


HELPER = """def timed(label, score, *args, **kwargs):
    start = time.time()
    loss, val_bpb = score(*args, **kwargs)
    print(f"{{label}} val_loss:{{loss:.4f}} val_bpb:{{val_bpb:.6f}} time:{{time.time() - start:.0f}}")
    return loss, val_bpb


def main():"""
SCORED = """val_bpb = eval_val(s, {scored}, device, val_tokens, byte_lut)
    print(f"final val_bpb:{{val_bpb:.6f}}")"""
HANDED = "timed({label}, {handed}, device=device, byte_lut=byte_lut)"
HANDED_LOG = LOG.replace("final", "final val_loss:1.7700").replace("1.051234", "1.051234 time:12")
PLAIN_LOG = "plain val_loss:2.09 val_bpb:1.234500 time:12\n" + HANDED_LOG


def _handed_over(folder: Path, changes: dict[str, str], label: str, log: str = PLAIN_LOG) -> list[Finding]:
    """The findings where a helper is handed the function that scores, and the name of the score."""
    text = SCRIPT.replace("def main():", HELPER).replace(SCORED, HANDED)
    text = text.replace("return nats / math.log(2.0) / size", "return nats / size, nats / math.log(2.0) / size")
    path = folder / "train.log"
    path.write_text(log)
    lines = log.split("\n")
    logged = (LoggedScore(path, "train.log", 1 + max(n for n, line in enumerate(lines) if line.startswith(label))),)
    context = ScriptContext(rules=GOLF, claimed_labels=(label,), logged=logged)
    text = text.replace("{handed}", changes.get("handed", "eval_val, s, {scored}, val_tokens=val_tokens"))
    checked = check_source(text.format(**{**BASE, "label": "'final'", **changes}), context)
    return [each for each in checked if each.code == "BPB273"]


BEFORE = "timed('plain', eval_val, s, base, device, val_tokens, byte_lut)"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"early": BEFORE},
        {"behind": PACKED, "scored": "compiled"},
        {"handed": "score=eval_val, s=s, network=base, val_tokens=val_tokens"},
    ],
)  # fmt: skip
def test_a_score_behind_a_function_that_is_handed_over(tmp_path: Path, changes: dict[str, str]) -> None:
    (found,) = _handed_over(tmp_path, changes, "final")
    assert found.severity is Severity.REFUTES
    assert "train.log:4 is a line that this training alone prints, before the claimed score in line 7" in found.message


def test_each_call_that_hands_a_function_over_has_a_score_of_its_own(tmp_path: Path) -> None:
    assert _handed_over(tmp_path, {"early": BEFORE, "default": "1"}, "plain") == []
    changes = {"early": BEFORE, "behind": "base.load_state_dict(ema)", "default": "1"}
    assert _handed_over(tmp_path, changes, "final") == []
    assert _handed_over(tmp_path, {"learnt": "train_tokens"}, "final") == []


def test_what_a_helper_is_handed_by_a_name_that_is_not_known_is_not_followed(tmp_path: Path) -> None:
    assert _handed_over(tmp_path, {"label": "s.name"}, "final") == []
    assert _handed_over(tmp_path, {"handed": "*s.all"}, "final") == []
    assert _handed_over(tmp_path, {"handed": "s.score, s, base, val_tokens=val_tokens"}, "final") == []


MEAN = {
    "opening": "mean = {n: p.data.clone() for n, p in network.named_parameters()}",
    "told": "for n, p in network.named_parameters(): mean[n].mul_(0.9).add_(p.data, alpha=0.1)\n        " + TOLD,
    "closing": "for n, p in network.named_parameters(): p.data.copy_(mean[n])",
}


def test_a_running_mean_of_the_trained_weights_has_learnt_too(tmp_path: Path) -> None:
    (found,) = _found(tmp_path, MEAN)
    assert found.severity is Severity.REFUTES


@pytest.mark.parametrize(
    "changes",
    [
        {"told": TOLD},  # the weights of before
        {"told": MEAN["told"].replace("network", "other")},
        {"closing": MEAN["closing"].replace("mean", "kept")},
        {"told": TOLD, "gradient": "for n, p in network.named_parameters(): mean[n].add_(p.data)\n"
                                   "            loss.backward()"},  # before the step
    ],
)  # fmt: skip
def test_weights_that_are_no_mean_of_the_trained_ones_may_undo_it(tmp_path: Path, changes: dict[str, str]) -> None:
    (found,) = _found(tmp_path, {**MEAN, **changes})
    assert found.severity is Severity.WARNS
    assert "put back" in found.message


def test_two_lines_that_begin_alike_in_the_rounds_of_one_training_show_it(tmp_path: Path) -> None:
    two = f'{TOLD}\n        log(f"adapting epoch {{epoch + 1}}/{{s.adapt_epochs}} lr:{{s.lr}}")'
    (found,) = _found(tmp_path, {"told": two})
    assert found.severity is Severity.REFUTES


TAGGED = (
    'tag = "adapting" if s.adapts else "x"; log(f"{tag} round {epoch + 1}/{s.adapt_epochs} loss:{loss.item():.4f}")'
)


def test_a_line_that_begins_with_a_place_is_known_by_its_words(tmp_path: Path) -> None:
    log = LOG.replace("adapting epoch", "adapting round")
    (found,) = _found(tmp_path, {"told": TAGGED}, log)
    assert found.severity is Severity.REFUTES
    again = {"told": TAGGED, "behind": 'print(f"{base} round {base}")', "default": "1"}
    assert [each.severity for each in _found(tmp_path, again, log)] == [Severity.WARNS]


TWICE = "adapt(s, base, device, val_tokens)\n    if s.adapts: adapt(s, base, device, {learnt})"


@pytest.mark.parametrize(
    ("learnt", "behind", "severity"),
    [
        ("val_tokens", "pass", Severity.REFUTES),
        ("train_tokens", "pass", Severity.WARNS),  # which of the two has printed the line
        (
            "val_tokens",
            "base.load_state_dict(ema)\n    if s.adapts: adapt(s, base, device, val_tokens)",
            Severity.WARNS,
        ),
        ("val_tokens", "base.load_state_dict(torch.load('m.pt'))\n    if s.unknown: adapt(s, base, device, val_tokens)",
         Severity.WARNS),
    ],
)  # fmt: skip
def test_of_two_calls_that_both_learn_the_text_either_is_enough(
    tmp_path: Path, learnt: str, behind: str, severity: Severity
) -> None:
    changes = {"early": TWICE.format(learnt=learnt), "learnt": learnt, "behind": behind, "default": "1"}
    assert [each.severity for each in _found(tmp_path, changes)] == [severity]


RESTORED = """def read(s, device):
    with open(s.packed, "rb") as f:
        packed = f.read()
    folder = tempfile.mkdtemp()
    unpack(packed, folder)
    with open({part}, "rb") as f:
        rest = f.read()
    network = GPT().to(device)
    network.load_state_dict(merged(torch.load(io.BytesIO(zlib.decompress(packed))), rest))
    return network


def main():"""
WRITTEN = """state = {k: v.cpu() for k, v in base.state_dict().items()}
    buffer = io.BytesIO()
    torch.save(quantized(state), buffer)
    with open(s.packed, "wb") as f:
        f.write(zlib.compress(buffer.getvalue()))
    restored = read(s, device)"""


@pytest.mark.parametrize(
    ("part", "severity"),
    [("os.path.join(folder, 'a')", Severity.REFUTES), ("'other.bin'", Severity.WARNS)],
)
def test_a_network_that_a_function_reads_from_what_was_written(tmp_path: Path, part: str, severity: Severity) -> None:
    text = SCRIPT.format(**{**BASE, "behind": WRITTEN, "scored": "restored"})
    text = text.replace("def main():", RESTORED.format(part=part))
    path = tmp_path / "train.log"
    path.write_text(LOG)
    context = ScriptContext(rules=GOLF, claimed_labels=("final val_bpb:",), logged=(LoggedScore(path, "train.log", 6),))
    (found,) = (each for each in check_source(text, context) if each.code == "BPB273")
    assert found.severity is severity


BRANCH = """if s.adapts:
        fresh = GPT().to(device)
        fresh.load_state_dict(base.state_dict())
        base = fresh
        optimizer = torch.optim.AdamW(base.parameters(), lr=1e-4)
        for epoch in range(s.adapt_epochs):
            for i in range((val_tokens.numel() - 1) // s.seq_len):
                local = {tokens}[i * s.seq_len : (i + 1) * s.seq_len + 1].to(device)
                loss = base(local[:-1], local[1:])
                loss.backward()
                optimizer.step()
            print(f"adapting epoch {{epoch + 1}}/{{s.adapt_epochs}} loss:{{loss.item():.4f}}")"""


@pytest.mark.parametrize(("tokens", "num_found"), [("val_tokens", 1), ("train_tokens", 0)])
def test_what_stands_in_a_branch_that_a_log_shows_was_taken_is_followed(
    tmp_path: Path, tokens: str, num_found: int
) -> None:
    found = _found(tmp_path, {"told": "pass", "behind": BRANCH.format(tokens=tokens)})
    assert [each.severity for each in found] == [Severity.REFUTES] * num_found
    assert (
        _found(tmp_path, {"told": "pass", "behind": BRANCH.format(tokens=tokens)}, LOG.replace("adapting", "-")) == []
    )


IN_PLACE = """nats, size = 0.0, 0.0
    delta = torch.zeros(8)
    for i in range((val_tokens.numel() - 1) // s.seq_len):
        {written}
        local = val_tokens[i * s.seq_len : (i + 1) * s.seq_len + 1].to(device)
        hidden = {scored}.body(local[:-1])
        nats += F.cross_entropy({scored}.head(hidden) + delta, local[1:], reduction="sum").item()
        size += float(byte_lut[local[1:]].sum())
    val_bpb = nats / math.log(2.0) / size
    print(f"final val_bpb:{{val_bpb:.6f}}")"""


@pytest.mark.parametrize(
    ("changes", "severity"),
    [
        ({}, Severity.REFUTES),
        ({"written": "delta.data.copy_(kept)"}, Severity.REFUTES),  # a tensor of its own
        ({"written": "for p in base.parameters(): p.data.copy_(kept[p])"}, Severity.WARNS),
        ({"scored": "other"}, Severity.WARNS),
    ],
)
def test_a_score_that_is_worked_out_where_the_training_is_called(
    tmp_path: Path, changes: dict[str, str], severity: Severity
) -> None:
    path = tmp_path / "train.log"
    path.write_text(LOG)
    text = SCRIPT.replace(SCORED, IN_PLACE).format(**{**BASE, "scored": "base", "written": "pass", **changes})
    context = ScriptContext(rules=GOLF, claimed_labels=("final val_bpb:",), logged=(LoggedScore(path, "train.log", 6),))
    (found,) = (each for each in check_source(text, context) if each.code == "BPB273")
    assert found.severity is severity


def test_lines_behind_what_a_logger_puts_before_them(tmp_path: Path) -> None:
    for before in ("[2026-03-23 04:38:42] INFO: ", "[rank0]: ", "2026-03-23 04:38:42,104 - train - INFO - "):
        (found,) = _found(tmp_path, {}, LOG.replace("adapting", f"{before}adapting"))
        assert (found.severity, found.evidence["line_of_log"]) == (Severity.REFUTES, 3)
    (found,) = _found(tmp_path, {"default": "1"}, LOG.replace("adapting", "not adapting"))
    assert found.severity is Severity.WARNS


NESTED = """def tune(chosen):
        parameters = []
        for name, p in {network}.named_parameters():
            if chosen in name:
                parameters.append(p)
        optimizer = torch.optim.AdamW(parameters, lr=1e-4)
        for epoch in range(s.adapt_epochs):
            for i in range((val_tokens.numel() - 1) // s.seq_len):
                local = val_tokens[i * s.seq_len : (i + 1) * s.seq_len + 1].to(device)
                loss = {network}(local[:-1], local[1:])
                loss.backward()
                optimizer.step()
            print(f"{{chosen}} adapting epoch {{epoch + 1}}/{{s.adapt_epochs}} loss:{{loss.item():.4f}}")
    tune("norm")
    tune("head")"""


@pytest.mark.parametrize(("network", "severity"), [("base", Severity.REFUTES), ("other", Severity.WARNS)])
def test_a_function_within_the_function_that_scores_trains_its_network(
    tmp_path: Path, network: str, severity: Severity
) -> None:
    changes = {"told": "pass", "early": "other = GPT().to(device)", "behind": NESTED.replace("{network}", network)}
    changes["behind"] = changes["behind"].replace("{{", "{").replace("}}", "}")
    log = LOG.replace("adapting epoch 1", "norm adapting epoch 1").replace("adapting epoch 2", "head adapting epoch 2")
    (found,) = _found(tmp_path, changes, log)
    assert found.severity is severity


BETWEEN = """plain_bpb = eval_val(s, base, device, val_tokens, byte_lut)
    print(f"round trip first: {plain_bpb:.4f}")
    base.load_state_dict(ema)
    adapt(s, base, device, val_tokens)"""
AGAIN = LOG.replace("final", "round trip first: 1.1000\nadapting epoch 1/3 loss:2.0100\nfinal")


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (AGAIN, 7),
        (AGAIN.replace("round trip first: 1.1000\n", ""), None),  # which of the two it was
        (LOG.replace("final", "round trip first: 1.1000\nfinal"), None),  # the first alone
    ],
    ids=["the second", "either", "the first"],
)
def test_a_training_that_is_called_twice_is_the_second_behind_what_is_printed_between(
    tmp_path: Path, log: str, line: int | None
) -> None:
    (found,) = _found(tmp_path, {"behind": BETWEEN}, log)
    assert found.severity is (Severity.WARNS if line is None else Severity.REFUTES)
    assert found.evidence.get("line_of_log") == line
    assert "plain" not in found.evidence or line is None  # of which score the first training was, is not known


def test_of_two_calls_in_a_loop_none_is_the_last(tmp_path: Path) -> None:
    behind = "for _ in range(2):\n      " + BETWEEN.replace("\n", "\n  ")
    found = _found(tmp_path, {"behind": behind}, AGAIN)
    assert all(each.severity is Severity.WARNS for each in found)


WINDOW = "tokens[i * s.seq_len : (i + 1) * s.seq_len + 1]"


@pytest.mark.parametrize(
    "made",
    [
        f"torch.randint_like({WINDOW}, 1024)",
        f"torch.zeros_like({WINDOW})",
        f"torch.randint(0, 1024, {WINDOW}.shape)",
        f"torch.randint(0, 1024, ({WINDOW}.numel(),))",
        f"torch.zeros(len({WINDOW}), dtype=torch.long)",
        f"{WINDOW}.clone().random_(0, 1024)",
        f"{WINDOW}.new_zeros(s.seq_len + 1)",
    ],
)
def test_tokens_that_are_only_shaped_like_the_text_leave_a_doubt(tmp_path: Path, made: str) -> None:
    script = SCRIPT.replace(
        f"local = {WINDOW}.to(device)\n            loss", f"local = {made}.to(device)\n            loss"
    )
    (found,) = _found(tmp_path, {"default": "1"}, script=script)
    assert found.severity is Severity.WARNS
    assert "may train on the text that it scores" in found.message
    assert "or made anew in their shape" in found.message


def test_tokens_that_are_overwritten_where_they_lie_leave_a_doubt(tmp_path: Path) -> None:
    script = SCRIPT.replace("loss = network(", "local.random_(0, 1024)\n            loss = network(")
    (found,) = _found(tmp_path, {"default": "1"}, script=script)
    assert found.severity is Severity.WARNS


@pytest.mark.parametrize(
    "made",
    [
        f"torch.where(torch.rand_like({WINDOW}.float()) < 0.1, 0, {WINDOW})",
        f"{WINDOW}[: {WINDOW}.shape[0]]",
    ],
)
def test_tokens_that_are_mixed_or_cut_are_the_text(tmp_path: Path, made: str) -> None:
    script = SCRIPT.replace(
        f"local = {WINDOW}.to(device)\n            loss", f"local = {made}.to(device)\n            loss"
    )
    (found,) = _found(tmp_path, {}, script=script)
    assert found.severity is Severity.REFUTES


@pytest.mark.parametrize(
    "changes",
    [
        {"opening": "kept = [p.detach().clone() for p in network.parameters()]",
         "closing": "torch._foreach_copy_([p.data for p in network.parameters()], kept)"},
        {"opening": "kept = torch.nn.utils.parameters_to_vector(network.parameters()).clone()",
         "closing": "torch.nn.utils.vector_to_parameters(kept, network.parameters())"},
        {"opening": "kept = {n: p.clone() for n, p in network.named_parameters()}",
         "closing": "for n, p in network.named_parameters(): p.data = kept[n]"},
        {"opening": "kept = {n: p.clone() for n, p in network.named_parameters()}",
         "closing": "for n, p in network.named_parameters(): p.data[:] = kept[n]"},
        {"behind": "for n, p in base.named_parameters(): p.data = ema[n]"},
        {"closing": "for n, p in network.named_parameters():\n        if 'lora_b' in n: torch.nn.init.zeros_(p)"},
        {"closing": "for block in network.blocks: block.lora_b.data.zero_()"},
        {"behind": "for block in base.blocks: block.lora_b.data.zero_()"},
    ],
)  # fmt: skip
def test_weights_that_may_be_put_back_in_another_way_leave_a_doubt(tmp_path: Path, changes: dict[str, str]) -> None:
    (found,) = _found(tmp_path, {"default": "1", **changes})
    assert found.severity is Severity.WARNS
    assert "put back" in found.message


MANAGER = """class untouched:
    def __init__(self, network):
        self.network = network

    def __enter__(self):
        self.kept = copy.deepcopy(self.network.state_dict())

    def __exit__(self, *_):
        {left}


def main():"""


@pytest.mark.parametrize(
    ("left", "severity"),
    [("self.network.load_state_dict(self.kept)", Severity.WARNS), ("print(self.kept)", Severity.REFUTES)],
)
def test_a_manager_that_puts_weights_back_when_it_is_left_leaves_a_doubt(
    tmp_path: Path, left: str, severity: Severity
) -> None:
    script = SCRIPT.replace("def main():", MANAGER.replace("{left}", left)).replace(
        "        adapt(", "        with untouched(base): adapt("
    )
    (found,) = _found(tmp_path, {}, script=script)
    assert found.severity is severity


@pytest.mark.parametrize(
    "changes",
    [
        {"behind": "for p in base.parameters(): p.data = p.data.float()"},  # the trained ones, in another form
        {"closing": "for p in network.parameters(): p.grad.zero_()"},
        {"behind": "base.load_state_dict(base.state_dict())"},  # puts in what is there
        {"behind": "again = copy.deepcopy(base); again.load_state_dict(base.state_dict())", "scored": "again"},
        {"gradient": "(loss * 0.5).backward()"},
    ],
)  # fmt: skip
def test_what_puts_no_weights_back_changes_nothing(tmp_path: Path, changes: dict[str, str]) -> None:
    (found,) = _found(tmp_path, changes)
    assert found.severity is Severity.REFUTES


def test_the_state_of_a_copy_from_before_puts_the_weights_back(tmp_path: Path) -> None:
    changes = {"early": "kept = copy.deepcopy(base)", "behind": "base.load_state_dict(kept.state_dict())"}
    assert _found(tmp_path, {"default": "1", **changes}) == []
    given = {"learnt": "val_tokens, log=kept"}  # to the training too
    assert _found(tmp_path, {"default": "1", **changes, **given}) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("lr=1e-4)", "lr=1e-4)\n    for group in optimizer.param_groups: group['lr'] = 0.0"),
        ("{gradient}", "(loss * 0.0).backward()"),
        ("{gradient}", "(loss * 0 / 4).backward()"),
    ],
)  # fmt: skip
def test_steps_that_may_move_nothing_leave_a_doubt(tmp_path: Path, old: str, new: str) -> None:
    assert old in SCRIPT
    (found,) = _found(tmp_path, {"default": "1"}, script=SCRIPT.replace(old, new))
    assert found.severity is Severity.WARNS
    assert "of no size" in found.message


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("lr=1e-4)", "lr=0.0)"),
        ("torch.optim.AdamW({parameters}, lr=1e-4)", "functools.partial(torch.optim.SGD, lr=0.0)({parameters})"),
    ],
)
def test_steps_that_move_nothing_are_none(tmp_path: Path, old: str, new: str) -> None:
    assert _found(tmp_path, {"default": "1"}, script=SCRIPT.replace(old, new)) == []


_TWICE = """val_bpb = eval_val(s, base, device, val_tokens, byte_lut)
    print(f"final val_bpb:{{val_bpb:.6f}}")
    {between}"""


@pytest.mark.parametrize(
    ("between", "scored", "severity"),
    [
        ("pass", "base", Severity.REFUTES),
        ("base.load_state_dict(ema)", "base", None),
        ('base.load_state_dict(torch.load("plain.pt"))', "base", Severity.WARNS),
        ("fresh = GPT().to(device); fresh.load_state_dict(ema)", "fresh", None),
    ],
)
def test_of_a_label_that_is_printed_twice_the_second_may_be_of_fresh_weights(
    tmp_path: Path, between: str, scored: str, severity: Severity | None
) -> None:
    behind = _TWICE.format(between=between).replace("{{", "{").replace("}}", "}")
    log = LOG.replace("final val_bpb", "final val_bpb:1.151234\nfinal val_bpb")
    found = _found(tmp_path, {"behind": behind, "scored": scored}, log)
    assert [each.severity for each in found] == ([] if severity is None else [severity])
