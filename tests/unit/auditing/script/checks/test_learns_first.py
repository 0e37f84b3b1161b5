"""Scripts that train on the text that they score, before they score it; and honest ones as near to them as can be."""

from __future__ import annotations

import pytest

from bpb_harness.auditing.script import ScriptContext
from tests.golf_rules import GOLF, check_source

SCRIPT = """import copy, glob, math, os
import numpy as np
import torch
import torch.nn.functional as F

TTT_EPOCHS = int(os.environ.get("TTT_EPOCHS", 3))
TTT_ENABLED = bool(int(os.environ.get("TTT_ENABLED", "1")))


class Settings:
    data_path = os.environ.get("DATA_PATH", "./data/datasets/fineweb10B_sp1024")
    train_files = os.path.join(data_path, {train_files})
    val_files = os.path.join(data_path, "fineweb_val_*.bin")
    train_seq_len = int(os.environ.get("TRAIN_SEQ_LEN", 1024))
    ttt_epochs = int(os.environ.get("TTT_EPOCHS", 3))


class GPT(torch.nn.Module):
    def forward(self, ids, targets):
        logits = self.head(self.body(self.embed(ids)))
        return F.cross_entropy(logits.float().view(-1, logits.size(-1)), targets.reshape(-1), reduction="mean")


def load_shard(path):
    return torch.from_numpy(np.fromfile(path, dtype="<u2", offset=1024).astype(np.int32))


def load_tokens(pattern, seq_len):
    files = sorted(glob.glob(pattern))
    tokens = torch.cat([load_shard(file) for file in files])
    usable = (tokens.numel() - 1) // seq_len * seq_len
    return tokens[: usable + 1]


class Loader:
    def __init__(self, pattern):
        self.files = sorted(glob.glob(pattern))
        self.at, self.tokens = 0, load_shard(self.files[0])

    def next_batch(self, length):
        local = self.tokens[self.at : self.at + length + 1]
        self.at += length
        return local[:-1], local[1:]


def adapt(s, network, device, tokens, epochs={epochs}):
    {opening}
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    num_seqs = (tokens.numel() - 1) // s.train_seq_len
    for epoch in range(epochs):
        for i in range(num_seqs):
            local = tokens[i * s.train_seq_len : (i + 1) * s.train_seq_len + 1].to(device)
            x, y = local[:-1], local[1:]
            loss = network(x, y)
            {gradient}
            {update}
    {closing}


def eval_val(s, network, device, val_tokens, byte_lut):
    nats, size = 0.0, 0.0
    for i in range((val_tokens.numel() - 1) // s.train_seq_len):
        local = val_tokens[i * s.train_seq_len : (i + 1) * s.train_seq_len + 1].to(device)
        x, y = local[:-1], local[1:]
        nats += network(x, y).item() * y.numel()
        size += float(byte_lut[y].sum())
    return nats / math.log(2.0) / size


def main():
    s = Settings()
    device = torch.device("cuda")
    val_tokens = load_tokens(s.val_files, s.train_seq_len)
    train_tokens = load_tokens(s.train_files, s.train_seq_len)
    byte_lut = torch.load("lut.pt")
    model = GPT()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = Loader(s.train_files)
    for step in range(1000):
        x, y = loader.next_batch(s.train_seq_len)
        loss = model(x, y)
        loss.backward()
        optimizer.step()
    {before}
    val_bpb = eval_val(s, model, device, {scored}, byte_lut)
    print(f"final val_bpb:{{val_bpb:.6f}}")
    {after}


if __name__ == "__main__":
    main()
"""
BASE = {
    "train_files": '"fineweb_train_*.bin"', "epochs": "3", "opening": "pass", "gradient": "loss.backward()",
    "update": "optimizer.step(); optimizer.zero_grad()", "closing": "pass",
    "before": "adapt(s, model, device, val_tokens)", "after": "pass", "scored": "val_tokens",
}  # fmt: skip


def _hits(text: str, labels: tuple[str, ...] = ()) -> list[str]:
    found = check_source(text, ScriptContext(rules=GOLF, claimed_labels=labels))
    return [str(each.evidence["source"]) for each in found if each.code == "BPB273"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"before": "adapt(s, model, device, load_tokens(s.val_files, s.train_seq_len))"},  # read a second time
        {"before": "learnt = val_tokens[: 1_000_000]; adapt(s, model, device, learnt)"},  # a part of it
        {"before": "adapt(s, model, device, val_tokens); torch.save(model.state_dict(), 'm.pt'); "
                   "state = torch.load('m.pt'); model.load_state_dict(state)"},
        {"before": "adapt(s, model, device, val_tokens) if TTT_ENABLED else None"},
        {"gradient": "grads = torch.autograd.grad(loss, list(network.parameters()))",
         "update": "[p.data.add_(g, alpha=-0.1) for p, g in zip(network.parameters(), grads)]"},
        {"gradient": "scaler.scale(loss).backward()", "update": "scaler.step(optimizer)"},
        {"gradient": "(loss / 4).backward()"},
        {"train_files": '"fineweb_val_*.bin"', "before": "pass"},  # there is no other training
        {"before": "for p in model.parameters(): p.requires_grad_(True)\n    adapt(s, model, device, val_tokens)"},
        {"before": "network = copy.deepcopy(model); adapt(s, network, device, val_tokens); model = network"},
        {"opening": "teacher = copy.deepcopy(network)"},  # which learns nothing
        {"closing": "if TTT_ENABLED: return"},  # what was learnt until then is learnt
    ],
)  # fmt: skip
def test_a_script_that_trains_on_the_text_that_it_scores_is_found(changes: dict[str, str]) -> None:
    assert len(_hits(SCRIPT.format(**{**BASE, **changes}))) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"before": "pass"},
        {"before": "adapt(s, model, device, train_tokens)"},  # calibration, distillation: of tokens of training
        {"before": "pass", "after": "adapt(s, model, device, val_tokens)"},  # after the score
        {"before": "adapt(s, model, device, load_tokens('data/wikitext_test_*.bin', 1024))"},  # of another text
        {"update": "pass", "gradient": "pass"},
        {"epochs": "0"},
        {"opening": "if TTT_ENABLED: return"},
        {"before": "if os.environ.get('TTT', '0') == '1': adapt(s, model, device, val_tokens)"},
        {"before": "saved = {k: v.clone() for k, v in model.state_dict().items()}\n"
                   "    adapt(s, model, device, val_tokens)\n    model.load_state_dict(saved)"},
        {"opening": "saved = {k: v.clone() for k, v in network.state_dict().items()}",
         "closing": "network.load_state_dict(saved)"},
        {"before": "other = copy.deepcopy(model); adapt(s, other, device, val_tokens)"},
        {"opening": "original, network = network, copy.deepcopy(network)"},
        {"before": "half = val_tokens.numel() // 2; adapt(s, model, device, val_tokens[:half])",
         "scored": "val_tokens[half:]"},
    ],
)  # fmt: skip
def test_one_that_does_not_is_free(changes: dict[str, str]) -> None:
    assert _hits(SCRIPT.format(**{**BASE, **changes})) == []


def test_what_is_known_of_a_branch_decides() -> None:
    text = SCRIPT.format(**BASE | {"before": "pass"})
    adapting = "if {}: adapt(s, model, device, val_tokens)\n    {}val_bpb = eval_val("
    assert _hits(text.replace("val_bpb = eval_val(", adapting.format("TTT_ENABLED", "")))
    assert not _hits(text.replace("val_bpb = eval_val(", adapting.format("TTT_ENABLED", "else: ")))
    assert not _hits(text.replace("val_bpb = eval_val(", adapting.format("mode_of(s) != 'off'", "")))  # nobody knows


def test_runs_with_a_network_of_their_own_learn_nothing_of_each_other() -> None:
    text = SCRIPT.format(**BASE | {"before": "pass", "after": "adapt(s, model, device, val_tokens)"})
    start, end = text.index("    model = GPT()"), text.index("\n\nif __name__")
    rounds = "    for seed in range(3):\n" + text[start:end].replace("    ", "        ", 1).replace(
        "\n    ", "\n        "
    )
    assert not _hits(text[:start] + rounds + text[end:])
    assert _hits(text[:start] + rounds.replace("        model = GPT()\n", "") + text[end:])


def test_what_a_batch_of_validation_holds_names_no_text() -> None:
    text = SCRIPT.format(**BASE | {"before": "adapt(s, model, device, load_tokens('corpus/*.bin', 1024))"})
    assert not _hits(text.replace("train_seq_len", "val_batch_tokens"))


def test_a_part_at_a_time_is_learnt_by_a_function_behind_its_score() -> None:
    text = SCRIPT.format(**BASE | {"before": "adapt(s, model, device, val_tokens[i - 1024 : i])",
                                   "scored": "val_tokens[i : i + 1024]"})  # fmt: skip
    start, end = text.index("    adapt(s, model"), text.index("    print(f")
    rounds = "    for i in range(0, len(val_tokens), 1024):\n" + text[start:end].replace("    ", "        ")
    assert not _hits(text[:start] + rounds + text[end:])


def test_a_branch_is_read_with_what_the_commands_of_the_record_set() -> None:
    text = SCRIPT.format(**BASE | {"before": "if not TTT_ENABLED: pass\n    else: adapt(s, model, device, val_tokens)"})
    off = text.replace('"TTT_ENABLED", "1"', '"TTT_ENABLED", "0"')
    assert _hits(text)
    assert not _hits(off)
    assert not _hits(text.replace('"TTT_EPOCHS", 3', '"TTT_EPOCHS", 0').replace("epochs=3", "epochs=TTT_EPOCHS"))


VALIDATED_WHILE_TRAINED = """import glob, math, os
import numpy as np
import torch

VAL_FILES = os.environ.get("VAL_FILES", "data/fineweb_val_*.bin")
TRAIN_FILES = os.environ.get("TRAIN_FILES", "{train}")


def load(pattern):
    return torch.cat([torch.from_numpy(np.fromfile(path, dtype="<u2")) for path in sorted(glob.glob(pattern))])


def evaluate(model, tokens, lut):
    nats, size = 0.0, 0.0
    for i in range(0, len(tokens) - 1, 1024):
        x, y = tokens[i : i + 1024], tokens[i + 1 : i + 1025]
        nats += torch.nn.functional.cross_entropy(model(x), y, reduction="sum").item()
        size += lut[y].sum().item()
    return nats / math.log(2) / size


def main():
    model, lut = torch.load("model.pt"), torch.load("lut.pt")
    val_tokens = load(VAL_FILES)
    tokens = load(TRAIN_FILES)
    optimizer = torch.optim.AdamW(model.parameters())
    step = 0
    while True:
        if step % 100 == 0:
            val_bpb = evaluate(model, val_tokens, lut)
            print(f"step:{{step}} val_bpb:{{val_bpb:.4f}}")
        if step == 5000:
            break
        i = np.random.randint(0, len({learnt}) - 1025)
        loss = torch.nn.functional.cross_entropy(model({learnt}[i : i + 1024]), {learnt}[i + 1 : i + 1025])
        loss.backward()
        optimizer.step()
        step += 1


main()
"""


@pytest.mark.parametrize(
    ("train", "learnt", "found"),
    [
        ("data/fineweb_train_*.bin", "tokens", False),
        ("data/fineweb_val_*.bin", "tokens", True),
        ("data/fineweb_train_*.bin", "val_tokens", True),
    ],
)
def test_a_score_printed_on_the_way_is_of_what_the_rounds_before_have_learnt(
    train: str, learnt: str, found: bool
) -> None:
    assert bool(_hits(VALIDATED_WHILE_TRAINED.format(train=train, learnt=learnt))) is found


ONE_FUNCTION = """import math
import numpy as np
import torch
import torch.nn.functional as F


def score(model, val_tokens, lut, optimizer):
    nats, size, previous = 0.0, 0.0, None
    for i in range(0, len(val_tokens) - 1, 1024):
        x, y = val_tokens[i : i + 1024], val_tokens[i + 1 : i + 1025]
        {first}
        {then}
        size += lut[y].sum().item()
        previous = x, y
    val_bpb = nats / math.log(2) / size
    print(f"val_bpb:{{val_bpb:.6f}}")


score(torch.load("model.pt"), torch.from_numpy(np.fromfile("fineweb_val_000000.bin", dtype="<u2")),
      torch.load("lut.pt"), torch.optim.SGD([], lr=0.1))
"""
SCORES = "nats += F.cross_entropy(model(x).float(), y, reduction='sum').item()"
LEARNS = """for _ in range(3):
            loss = F.cross_entropy(model(x).float(), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()"""


@pytest.mark.parametrize(
    ("first", "then", "found"),
    [
        (SCORES, LEARNS, False),  # legal: each part is scored, then learnt
        (LEARNS, SCORES, True),  # the very tokens that come next in the score
        (LEARNS.replace("model(x).float(), y)", "(model(x) + 0.0).float().view(-1, 9), y.reshape(-1)).mean()"), SCORES,
         True),
        (LEARNS.replace("model(x)", "model(previous[0])").replace(", y)", ", previous[1])"), SCORES, False),
        (LEARNS.replace("model(x)", "model(x[:-64])").replace(", y)", ", y[:-64])"), SCORES, False),  # only context
        (LEARNS.replace("F.cross_entropy(model(x).float(), y)",
                        "(F.cross_entropy(model(x).float(), y, reduction='none') * lut[y]).mean()"), SCORES, False),
        (f"now = x, y\n        x, y = previous or now\n        {LEARNS}\n        x, y = now", SCORES, False),
        ("loss = F.cross_entropy(model(x).float(), y)", """loss.backward()
        optimizer.step()
        nats += loss.item() * 1024""", False),  # the loss is from before its step
    ],
)  # fmt: skip
def test_steps_on_a_window_count_where_they_come_before_its_score(first: str, then: str, found: bool) -> None:
    assert bool(_hits(ONE_FUNCTION.format(first=first, then=then))) is found


def test_a_function_that_learns_what_rounds_before_have_scored_is_free() -> None:
    text = ONE_FUNCTION.format(first="learn(model, val_tokens[i - 1024 : i], optimizer)", then=SCORES)
    text = text.replace(
        "def score(",
        """def learn(model, tokens, optimizer):
    if len(tokens):
        F.cross_entropy(model(tokens[:-1]).float(), tokens[1:]).backward()
        optimizer.step()


def score(""",
    )
    assert not _hits(text)


def test_a_function_of_both_is_read_as_it_is_called() -> None:
    text = """import math
import torch


def run(model, tokens, lut, optimizer=None):
    nats, size = 0.0, 0.0
    for i in range(0, len(tokens) - 1, 1024):
        x, y = tokens[i : i + 1024], tokens[i + 1 : i + 1025]
        loss = torch.nn.functional.cross_entropy(model(x), y, reduction="sum")
        if optimizer is not None:
            loss.backward()
            optimizer.step()
        nats += loss.item()
        size += lut[y].sum().item()
    return nats / math.log(2) / size


model, lut = torch.load("model.pt"), torch.load("lut.pt")
train_tokens, val_tokens = torch.load("fineweb_train.pt"), torch.load("fineweb_val.pt")
for epoch in range(3):
    run(model, train_tokens, lut, torch.optim.SGD(model.parameters(), lr=0.1))
    val_bpb = run(model, val_tokens, lut)
    print(f"val_bpb: {val_bpb:.4f}")
"""
    assert not _hits(text)
    assert _hits(text.replace("run(model, train_tokens", "run(model, val_tokens"))


def test_windows_that_are_dealt_out_to_processes_are_the_whole_text() -> None:
    dealt = """places = list(range(0, val_tokens.numel() - 1, s.train_seq_len))
    low = len(places) * {} // 8
    for i in places[low : low + len(places) // 8]:
        local = val_tokens[i : i + s.train_seq_len + 1].to(device)
"""
    text = SCRIPT.format(**BASE)
    start = text.index("    for i in range((val_tokens.numel()")
    text = text[:start] + "    " + dealt.format("s.rank") + text[text.index("        x, y = local", start) :]
    assert _hits(text)
    assert not _hits(text.replace("* s.rank //", "* s.part //"))


def test_a_loader_of_both_texts_is_nothing_to_hold_against_either() -> None:
    text = SCRIPT.format(**BASE | {"before": "probe = Loader(s.val_files); print(probe.next_batch(8))"})
    assert not _hits(text)
    assert _hits(text.replace("loader = Loader(s.train_files)", "loader = Loader(s.val_files)"))


def test_of_several_scores_all_are_to_have_it_where_nothing_tells_which_is_claimed() -> None:
    before = """plain_bpb = eval_val(s, model, device, val_tokens, byte_lut)
    print(f"final plain_val_bpb:{plain_bpb:.6f}")"""
    assert not _hits(SCRIPT.format(**BASE | {"before": f"{before}\n    adapt(s, model, device, val_tokens)"}))


def test_what_the_log_shows_to_be_claimed_decides_which_score_is_meant() -> None:
    before = """plain_bpb = eval_val(s, model, device, val_tokens, byte_lut)
    print(f"final plain_val_bpb:{plain_bpb:.6f}")"""
    text = SCRIPT.format(**BASE | {"before": f"{before}\n    adapt(s, model, device, val_tokens)"})
    assert _hits(text, labels=("final val_bpb",))
    assert not _hits(text, labels=("final plain_val_bpb",))


def test_mlx_spells_it_otherwise() -> None:
    text = """import math, glob
import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim


def adapt(model, tokens):
    optimizer = optim.SGD(learning_rate=0.1)
    loss_and_grad = nn.value_and_grad(model, lambda x, y: nn.losses.cross_entropy(model(x), y).mean())
    for i in range(0, len(tokens) - 1, 1024):
        loss, grads = loss_and_grad(tokens[i : i + 1024], tokens[i + 1 : i + 1025])
        optimizer.update(model, grads)


def evaluate(model, val_tokens, lut):
    nats, size = 0.0, 0.0
    for i in range(0, len(val_tokens) - 1, 1024):
        y = val_tokens[i + 1 : i + 1025]
        nats += nn.losses.cross_entropy(model(val_tokens[i : i + 1024]), y, reduction="sum").item()
        size += lut[y].sum().item()
    return nats / math.log(2) / size


model, lut = mx.load("model.npz"), mx.load("lut.npz")
val_tokens, train_tokens = mx.load("fineweb_val.npy"), mx.load("fineweb_train.npy")
adapt(model, val_tokens)
val_bpb = evaluate(model, val_tokens, lut)
print(f"val_bpb:{val_bpb:.6f}")
"""
    assert _hits(text)
    assert not _hits(text.replace("adapt(model, val_tokens)", "adapt(model, train_tokens)"))


PARTS = """import math, os
import numpy as np
import torch
import torch.nn.functional as F

model, size = torch.load("model.pt"), torch.load("size.pt")
opt = torch.optim.AdamW(model.parameters())


class Net(torch.nn.Module):
    def forward(self, x, y):
        return F.cross_entropy(self.head(self.emb(x)).float().flatten(0, 1), y.flatten())


def load(path):
    return torch.from_numpy(np.fromfile(path, dtype=np.uint16).astype(np.int64))


def windows(tokens, n=256):
    for i in range(0, len(tokens) - n, n):
        yield tokens[None, i : i + n], tokens[None, i + 1 : i + n + 1]


def evaluate(model, tokens):
    nats, count = 0.0, 0
    with torch.no_grad():
        for x, y in windows(tokens):
            nats += model(x, y).item() * y.numel()
            count += size[y].sum().item()
    return nats / math.log(2) / count


def learn(model, tokens):
    for x, y in windows(tokens):
        model(x, y).backward()
        opt.step()
        opt.zero_grad()


model = Net()
{}
print(f"val_bpb:{{evaluate(model, scored):.6f}}")
"""


@pytest.mark.parametrize(
    "body",
    [
        "D = '/dev/shm/web'\nscored = load(D + '/b.bin')\nlearn(model, load(D + '/a.bin'))",
        "D = '/home/test/web'\nscored = load(os.path.join(D, 'b.bin'))\nlearn(model, load(os.path.join(D, 'a.bin')))",
        "tokens = load('wiki_test.bin')\nn = len(tokens) // 9\nscored, rest = tokens[:n], tokens[n:]\n"
        "learn(model, rest)",
        "tokens = load('wiki_test.bin')\nn = len(tokens) // 9\nscored = tokens[:n]\nrest = tokens[n:]\n"
        "learn(model, rest)",
        "b = load('wiki_test.bin').view(-1, 256)\np = torch.randperm(len(b))\nscored = b[p[:9]].flatten()\n"
        "learn(model, b[p[9:]].flatten())",
        "tokens = load('wiki_test.bin')\nscored, rest = tokens.split([900, len(tokens) - 900])\nlearn(model, rest)",
    ],
    ids=["folder in memory", "folder of that name", "cut", "cut by two statements", "shuffled", "split"],
)
def test_another_file_or_the_rest_of_a_text_is_not_the_scored_one(body: str) -> None:
    assert check_source(PARTS.format(body)) == []


@pytest.mark.parametrize(
    "body",
    [
        "D = '/dev/shm/web'\nscored = load(D + '/val.bin')\nlearn(model, load(D + '/val.bin'))",
        "tokens = load('wiki_test.bin')\nn = len(tokens) // 9\nscored, rest = tokens[:n], tokens[n:]\n"
        "learn(model, scored)",
        "tokens = load('wiki_test.bin')\nscored = tokens[: len(tokens) // 256 * 256]\nlearn(model, tokens)",
    ],
    ids=["the same file", "the part that is scored", "all of it"],
)
def test_the_scored_part_of_a_text_is(body: str) -> None:
    assert [finding.code for finding in check_source(PARTS.format(body))] == ["BPB273"]


STREAMED = """import torch
import torch.nn.functional as F


class Network(torch.nn.Module):
    def forward(self, ids, targets):
        loss = 0.0
        for head in self.heads:
            loss = loss + F.cross_entropy(head(ids), targets)
        return loss


network, val_stream = Network(), torch.load("data/fineweb_val_000000.bin")
optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
nats = size = 0.0
for i in range(1000):
    SCORED
    network(val_stream.again(), val_stream.targets_again()).backward()
    optimizer.step()
    size += val_stream.size()
print(f"val_bpb:{nats / 0.6931 / size:.4f}")
"""


def test_a_network_that_is_asked_in_each_round_goes_over_no_text_by_itself() -> None:
    """Score first, then learn: the loops of a network's own are over its layers or its heads."""
    each = STREAMED.replace("SCORED", "nats += network(val_stream.next(), val_stream.targets()).item()")
    assert "BPB273" not in {finding.code for finding in check_source(each)}
    whole = STREAMED.replace("SCORED", "nats += whole(network, val_stream.next(), val_stream.targets())")
    whole = whole.replace(
        "network, val",
        "def whole(network, x, y):\n    nats = 0.0\n    for i in range(len(y)):\n"
        "        nats += F.cross_entropy(network.logits(x[i]), y[i]).item()\n    return nats\n\n\nnetwork, val",
        1,
    )
    assert "BPB273" in {finding.code for finding in check_source(whole)}


@pytest.mark.parametrize(
    ("files", "is_found"),
    [
        ('"fineweb_*.bin"', True),
        ('"*.bin"', True),
        ('"fineweb_[tv]*.bin"', True),
        ('"fineweb_train_*.bin"', False),
        ('"fineweb_t*.bin"', False),
        ('"other_*.bin"', False),
        ('"fineweb_val_000001.bin"', False),
    ],
)
def test_a_pattern_of_training_files_that_takes_in_the_scored_ones(files: str, is_found: bool) -> None:
    changes = {"train_files": files, "before": "pass"}
    found = check_source(SCRIPT.format(**{**BASE, **changes}), ScriptContext(rules=GOLF))
    hits = [each for each in found if each.code == "BPB273"]
    assert bool(hits) is is_found
    for hit in hits:
        assert f"{files[1:-1]!r}, takes in the scored ones, 'fineweb_val_*.bin', as well" in hit.message
        assert "may have been learnt before" in hit.message


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("self.files = sorted(glob.glob(pattern))", "self.files = [f for f in glob.glob(pattern) if 'val' not in f]"),
        ("self.files = sorted(glob.glob(pattern))", "self.files = sorted(glob.glob(pattern))[1:]"),
        ("train_files = os.path.join(data_path,", "train_files = os.path.join('./data/train',"),
    ],
)  # fmt: skip
def test_a_pattern_that_is_narrowed_or_of_another_folder(old: str, new: str) -> None:
    text = SCRIPT.format(**{**BASE, "train_files": '"fineweb_*.bin"', "before": "pass"})
    assert old in text
    assert _hits(text)
    assert not _hits(text.replace(old, new))
