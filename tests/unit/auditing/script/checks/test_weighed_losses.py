"""Scored losses that weigh each token by its place in the window, or by what it costs (BPB284)."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing.script import ScriptContext
from bpb_harness.auditing.script.context import LoggedScore
from bpb_harness.findings import Finding, Severity
from fixtures.claims.build import HERE
from tests.golf_rules import GOLF, check_source

SCRIPT = (HERE.parent / "scripts" / "honest_ar_tables.py").read_text(encoding="utf-8")
LOSS = 'return F.cross_entropy(logits.float().view(-1, logits.size(-1)), targets.reshape(-1), reduction="mean")'
PRICES = 'ce = F.cross_entropy(logits.float().view(-1, logits.size(-1)), targets.reshape(-1), reduction="none")'
RAMP = f"""b, t = ids.shape
        {PRICES}
        w = (torch.arange(t).repeat(b) / 256).clamp(0.0, 1.0)
        """
FOCAL = f"{PRICES}\n        w = (1.0 - torch.exp(-ce.detach())) ** 2.0\n        "
ASKED = [
    ("    softcap = 30.0\n", '    softcap = 30.0\n    ramp = int(os.environ.get("LOSS_RAMP", 0))\n'),
    ("self.softcap = s.softcap", "self.softcap = s.softcap\n        self.ramp = s.ramp"),
    (LOSS, f"""b, t = ids.shape
        {PRICES}
        w = torch.ones_like(ce)
        if self.ramp > 0:
            w = w * (torch.arange(t).repeat(b) / self.ramp).clamp(0.0, 1.0)
        return (ce * w).mean()"""),
]  # fmt: skip


def found(*changes: tuple[str, str], context: ScriptContext | None = None) -> list[Finding]:
    text = SCRIPT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return [each for each in check_source(text, context) if each.code == "BPB284"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (f"{RAMP}return (ce * w).mean()", "by its place in the window"),
        (f"{RAMP}return (w * ce).sum() / ce.numel()", "by its place in the window"),
        (f"{RAMP}return torch.mean(torch.mul(w, ce))", "by its place in the window"),
        (f"{RAMP}ce = ce * w\n        return ce.mean()", "by its place in the window"),
        (f"{RAMP}ce *= w\n        return ce.mean()", "by its place in the window"),
        (f"{FOCAL}return (ce * w).mean()", "by what it costs"),
        (f"{FOCAL}return torch.mean(w * ce)", "by what it costs"),
        (f"{PRICES}\n        return (ce * (1 - torch.exp(-ce)).pow(0.5)).mean()", "by what it costs"),
    ],
)
def test_weights_below_one_leave_out_part_of_what_tokens_cost(given: str, said: str) -> None:
    (hit,) = found((LOSS, given))
    assert hit.severity is Severity.REFUTES
    assert said in hit.message
    assert "too low" in hit.message


@pytest.mark.parametrize(
    "given",
    [
        f"{RAMP}return (ce * w).sum() / w.sum()",
        f"{RAMP}w = w / w.mean()\n        return (ce * w).mean()",
        f"{RAMP}return (ce * w / w.mean()).mean()",
        f"{RAMP}return (ce * w).sum() / (w.sum() + 1e-9)",
        f"{RAMP}return torch.dot(ce, w / w.sum())",
        f"{RAMP}return (ce * (0.5 + w)).mean()",
        f"{RAMP}return (ce * w * self.table[targets.reshape(-1)]).mean()",
        f"{FOCAL}return (ce * w).sum() / w.sum()",
        f"{FOCAL}return (ce * (1.0 + w)).mean()",
    ],
)
def test_a_weighted_mean_is_no_code_length_either_but_may_be_above_it(given: str) -> None:
    (hit,) = found((LOSS, given))
    assert hit.severity is Severity.WARNS
    assert "may be too low or too high" in hit.message


@pytest.mark.parametrize(
    "given",
    [
        f"{RAMP}return (ce * w).mean() if self.training else ce.mean()",
        f"{RAMP}if self.training:\n            return (ce * w).mean()\n        return ce.mean()",
        f"{RAMP}if not self.training:\n            return ce.mean()\n        return (ce * w).mean()",
        f"{RAMP}w = w if self.training else torch.ones_like(w)\n        return (ce * w).mean()",
        f"{RAMP}w = torch.ones_like(w)\n        return (ce * w).mean()",
        f"{RAMP}if not self.training:\n            w = torch.ones_like(w)\n        return (ce * w).mean()",
        f"{RAMP}if self.unknown:\n            w = torch.ones_like(w)\n        return (ce * w).mean()",
        f"{RAMP}w = w.clamp(1.0, 1.0)\n        return (ce * w).mean()",
        # masks of places, whose tokens are left out or were scored before
        f"{RAMP}return (ce * (torch.arange(t).repeat(b) >= 64).float()).sum() / 960",
        f"{RAMP}return (ce * (torch.arange(t).repeat(b) - 63).clamp(0, 1)).sum() / 960",
        f"{RAMP}return (ce * (w > 0.5)).mean()",
        f"{RAMP}return ce.mean()",
        f"{RAMP}return (ce * self.scale(w)).mean()",
        f"{PRICES}\n        return (ce * self.weights[targets.reshape(-1)]).mean()",
        f"{FOCAL}return (ce * w).mean() if self.training else ce.mean()",
        f"{PRICES}\n        return (ce * (1.0 - torch.exp(-ce)) ** 0.0).mean()",
        f"{PRICES}\n        return (ce * torch.exp(-ce / ce.mean())).mean()",
        f"{RAMP}if ids is None:\n            return (ce * w).mean()\n        return ce.mean()",
        f"{RAMP}if self.training:\n            return (ce * w).mean()\n        return self.measured(ids, targets)",
        f"{RAMP}if self.unknown:\n            return (ce * w).mean()\n        return self.measured(ids, targets)",
    ],
)
def test_losses_that_may_be_in_order(given: str) -> None:
    assert not found((LOSS, given))


PLACES = f"b, t = ids.shape\n        {PRICES}\n        "
OF_PLACE = "return (ce * (torch.arange(t).repeat(b) / 256).clamp(low, 1)).mean()"


@pytest.mark.parametrize(
    "given",
    [
        f"low = 0.2 if self.training else 1.0\n        {OF_PLACE}",
        f"low = 0.2 if torch.is_grad_enabled() else 1.0\n        {OF_PLACE}",
        f"low = 0.2 if self.unknown else 1.0\n        {OF_PLACE}",
        "gamma = 2.0 if self.training else 0.0\n        return (ce * (1 - torch.exp(-ce)) ** gamma).mean()",
    ],
)
def test_a_weight_by_a_choice_that_nobody_knows_is_not_told(given: str) -> None:
    assert not found((LOSS, f"{PLACES}{given}"))


@pytest.mark.parametrize(
    "changes",
    [
        "w.clamp_(1.0, 1.0)", "w.clamp_min_(1.0)", "torch.nn.init.ones_(w)", "even(w)", "torch.clamp(w, 1.0, out=w)",
        "w.data = torch.ones_like(w)", "w.data[:] = 1", "v = w.view(-1)\n        v.fill_(1)",
        "w = (w * w)\n        w.clamp_(1.0, 1.0)",
    ],
)  # fmt: skip
def test_a_weight_that_is_changed_behind_its_assignment_is_not_known(changes: str) -> None:
    assert not found((LOSS, f"{RAMP}{changes}\n        return (ce * w).mean()"))


@pytest.mark.parametrize(
    "given",
    [
        "p = torch.arange(t)\n        p.add_(t)\n        return (ce * (p.repeat(b) / 256).clamp(0, 1)).mean()",
        "w = 1.0 - torch.exp(-ce.detach())\n        w.pow_(0)\n        return (ce * w).mean()",
        "w = (torch.arange(t).repeat(b) / 256).clamp(0, 1)\n        loss = (ce * w).mean()\n        "
        "loss.data = ce.mean().data\n        return loss",
    ],
)
def test_neither_are_places_nor_means_that_are_changed(given: str) -> None:
    assert not found((LOSS, f"{PLACES}{given}"))


@pytest.mark.parametrize("looks", ["self.kept.append(w)", "print(w)", "self.seen = w", "log(w)"])
def test_looking_at_a_weight_leaves_it_what_it_is(looks: str) -> None:
    assert found((LOSS, f"{RAMP}{looks}\n        return (ce * w).mean()"))


def test_weights_of_one_price_that_may_add_up_to_one_are_in_order() -> None:
    assert not found((LOSS, f"{RAMP}return (ce * w).mean() + (ce * (1 - w)).mean()"))


def test_a_weight_in_the_evaluation_itself_is_found_too() -> None:
    changes = [
        (LOSS, f"return {PRICES.removeprefix('ce = ')}"),
        ("batch_loss = model(x, y).detach()", "prices = model(x, y).detach()\n                place = torch.arange("
         "s.seq_len).repeat(last - first)\n                batch_loss = (prices * (place / 64).clamp(max=1.0)).mean()"),
    ]  # fmt: skip
    (hit,) = found(*changes)
    assert hit.severity is Severity.WARNS  # windows that overlap may share the weights of a token
    assert "by its place in the window" in hit.message


def test_a_setting_that_is_off_weighs_nothing() -> None:
    assert not found(*ASKED)
    assert not found(*ASKED, context=ScriptContext(rules=GOLF, settings={"LOSS_RAMP": "0"}))


@pytest.mark.parametrize(
    ("line", "severity"),
    [("", Severity.WARNS), ("loss_ramp:256 seed:1337", Severity.REFUTES), ("loss_ramp:64", Severity.WARNS)],
)
def test_a_setting_refutes_where_the_log_tells_it(tmp_path: Path, line: str, severity: Severity) -> None:
    log = tmp_path / "train.log"
    log.write_text(f"{line}\nfinal_exact val_loss:2.0 val_bpb:1.2\n", encoding="utf-8")
    scores = (LoggedScore(log, log.name, 2),)
    context = ScriptContext(
        rules=GOLF, settings={"LOSS_RAMP": "256"}, logged=scores, claimed_labels=("final_exact val_loss",)
    )
    (hit,) = found(*ASKED, context=context)
    assert hit.severity is severity


def test_a_score_beside_it_that_does_without() -> None:
    """The sliding evaluation of a script asks for logits, and the loss of training is none of its."""
    sliding = [
        (LOSS, f"{RAMP}return (ce * w).mean()\n\n    def logits_of(self, ids):\n        x = self.embed(ids)\n"
         "        for block in self.blocks:\n            x = block(x)\n"
         "        return F.linear(F.rms_norm(x, (x.size(-1),)), self.embed.weight)"),
        ("batch_loss = model(x, y).detach()",
         "batch_loss = F.cross_entropy(model.logits_of(x).float().flatten(0, 1), y.flatten())"),
    ]  # fmt: skip
    assert not found(*sliding)


PLAIN = """    def plain(self, ids, targets):
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x)
        logits = F.linear(F.rms_norm(x, (x.size(-1),)), self.embed.weight)
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
"""
BOTH = (LOSS, f"{RAMP}return (ce * w).mean()\n\n{PLAIN}")


def test_another_way_to_the_score_that_does_without() -> None:
    either = "batch_loss = (model(x, y) if first else model.plain(x, y)).detach()"
    assert not found(BOTH, ("batch_loss = model(x, y).detach()", either))


def test_of_scores_none_of_which_is_claimed_all_have_to_be_weighed() -> None:
    """One of two that are printed need not be the record's."""
    first, last = SCRIPT.index("def eval_val"), SCRIPT.index("def main")
    again = SCRIPT[first:last].replace("eval_val", "eval_last").replace("model(x, y)", "model.plain(x, y)")
    final = "    val_loss, val_bpb = eval_val(s, compiled"
    changes = [BOTH, ("def main", f"{again}def main"), (final, final.replace("eval_val", "eval_last"))]
    changes += [("step:{step}/{s.iterations} val_loss", "quick val_loss")]
    assert SCRIPT.count(final) == 1
    assert not found(*changes)
    assert found(*changes, context=ScriptContext(rules=GOLF, claimed_labels=("quick val_loss",)))


def test_a_weight_that_is_given_its_value_round_a_loop_is_not_known() -> None:
    changes = [
        (LOSS, f"return {PRICES.removeprefix('ce = ')}"),
        ("    model.eval()\n", "    model.eval()\n    share = 1.0\n"),
        ("batch_loss = model(x, y).detach()",
         "batch_loss = (model(x, y).detach() * share).mean()\n                share = (torch.arange(s.seq_len)"
         ".repeat(last - first) / 64).clamp(max=1.0)"),
    ]  # fmt: skip
    assert not found(*changes)
