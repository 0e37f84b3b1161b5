"""Networks of the adapters learn: one small step lowers the loss by the rate times the gradient's square."""

import math

import pytest
import torch

from bpb_harness.adaptation.learner import make_learner
from bpb_harness.adaptation.settings import AdaptationSettings
from bpb_harness.adapters import load_model
from bpb_harness.denoiser import Denoiser
from bpb_harness.network_modules import modules_of
from fixtures.build import CAUSAL_CHECKPOINT, CHECKPOINT
from tests.tiny_checkpoints import (
    in_banks,
    make_golf_ddit,
    make_golf_gpt,
    make_golf_mdlm,
    make_golf_prefix,
    make_golf_record,
)

CPU, RATE, L = torch.device("cpu"), 1e-5, 16
OF_RECORD = [
    "xsa_last_n=2", "rope_dims=4", "ln_scale=1", "activation=leaky_relu", "ve_layers=1,4", "train_seq_len=64"
]  # fmt: skip
OF_DDIT = ["num_heads=4", "train_seq_len=600", "time_conditioning=1"]
KINDS = {
    "golf-mdlm": (make_golf_mdlm, "golf-mdlm", []),
    "golf-gpt": (make_golf_gpt, "golf-gpt", []),
    "golf-prefix": (make_golf_prefix, "golf-prefix", []),
    "golf-ddit": (make_golf_ddit, "golf-ddit", OF_DDIT),
    "record": (make_golf_record, "golf-gpt", OF_RECORD),
    "record-in-banks": (lambda: in_banks(make_golf_record()), "golf-gpt", OF_RECORD),
    "reference": (CHECKPOINT, None, []),
    "reference-causal": (CAUSAL_CHECKPOINT, None, []),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_lowers_the_loss_by_what_its_gradient_says(kind, tmp_path):
    made, adapter, stated = KINDS[kind]
    path = made
    if callable(made):
        path = tmp_path / "tiny.pt"
        torch.save(made(), path)
    adapted = load_model(path, adapter=adapter, stated=stated, device=CPU)[1]
    model = adapted.model
    is_masked = isinstance(model, Denoiser)
    schedule = adapted.schedule if is_masked else None

    def learner_at(rate):
        settings = AdaptationSettings("sgd", 4 * L, rate, momentum=0.0, epochs=1, largest_norm=math.inf)
        return make_learner(model, settings, device=CPU, window_length=L, schedule=schedule)

    learner = learner_at(RATE)
    weights = {path + name: value for path, module in modules_of(model) for name, value in module.named_parameters()}
    before = {name: value.detach().clone() for name, value in weights.items()}
    tokens = torch.randint(3, 50, (4 * L + (not is_masked),), generator=torch.Generator().manual_seed(1))
    windows = learner._loss.windows(tokens)

    @torch.inference_mode()
    def loss():  # on the masks of the one step
        return float(learner._loss.nats(windows, "0/0/0/0").double()) / learner._loss.num_targets(windows)

    first = loss()  # in inference mode, as a score is made
    assert learner.rehearse(3) == []
    learner.learn(tokens, 0, 2)
    square = sum(float((before[name] - value.detach()).double().square().sum()) for name, value in weights.items())
    assert loss() - first == pytest.approx(-square / RATE, rel=0.05)
    learner.undo()
    assert all(torch.equal(value, before[name]) for name, value in weights.items())
    assert loss() == first
    learner_at(1e4 * RATE).learn(tokens, 0, 2)  # a step that float32 can tell of every weight
    assert not [name for name, value in weights.items() if torch.equal(value, before[name])]
