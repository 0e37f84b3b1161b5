"""Which of a checkpoint's weights are scored: those that its own evaluator takes, or those that the user chose."""

from __future__ import annotations

import re

from bpb_harness.adapters.accounting.account import Account
from bpb_harness.adapters.mdlm.backbone import PREFIX, ROTARY, Backbone
from bpb_harness.adapters.mdlm.settings import MdlmSettings
from bpb_harness.checkpoints import EMA_PREFIX
from bpb_harness.errors import CheckpointError

# Beside the backbone: what metrics count, BD3-LM's range of mask rates to train on.
_ASIDE = r"(train_metrics|valid_metrics|test_metrics|metrics|gen_ppl_metric)\..*|sampling_eps_(min|max)"


def fill(model: Backbone, account: Account, settings: MdlmSettings) -> str:
    """Fill the network with the weights that its own evaluator takes, or that the user chose; says which they are.

    That code copies the moving average over the parameters before it evaluates, unless ``eval.disable_ema`` is set or
    none was kept (``training.ema`` is 0).
    """
    tensors = account.checkpoint.tensors
    account.set_aside(_ASIDE)
    shadow = [name for name in tensors if name.startswith(EMA_PREFIX)]
    # In the order of parameters, which is the order of the state dict.
    trained = [name for name in tensors if name.startswith(PREFIX) and name != ROTARY]
    chosen = account.checkpoint.weights if account.checkpoint.weights_chosen else None
    switched_off = settings.get("eval.disable_ema") is True or settings.get("training.ema") == 0
    if not shadow or (switched_off and chosen != "ema"):
        account.fill(model, {name.removeprefix(PREFIX): name for name in trained})
        account.set_aside(re.escape(EMA_PREFIX) + r"\d+")
        if chosen == "state_dict":
            return "weights as trained (no moving average), as chosen by --weights state_dict"
        return "weights as trained (no moving average)"
    if len(shadow) != len(trained):
        raise CheckpointError(
            f"{account.checkpoint.path.name}: moving average",
            seen=f"{len(shadow)} tensors",
            expected=f"{len(trained)}",
        )
    for name, average in zip(trained, shadow, strict=True):
        if tensors[name].shape != tensors[average].shape:
            raise CheckpointError(
                f"{account.checkpoint.path.name}: moving average of {name.removeprefix(PREFIX)}",
                seen=list(tensors[average].shape),
                expected=list(tensors[name].shape),
            )
    averages = dict(zip(trained, shadow, strict=True))
    account.fill(model, {name: averages.get(PREFIX + name, PREFIX + name) for name in model.state_dict()})
    own = {PREFIX + name for name in model.state_dict()}
    account.set_aside("|".join(re.escape(name) for name in trained if name in own))
    how = "as chosen by --weights ema" if chosen == "ema" else "as its own evaluator uses"
    return f"weights: the moving average (EMA), {how}"
