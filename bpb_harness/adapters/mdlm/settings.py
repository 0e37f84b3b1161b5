"""The settings of MDLM's Lightning checkpoints, and of its successors', which keep them in another place.

MDLM (github.com/kuleshov-group/mdlm) has them at the top of its configuration. BD3-LM (kuleshov-group/bd3lms) and Duo
(s-sahoo/duo) have the same tensors under the same names and the settings under ``algo``, and most of what they train is
another kind of model: block diffusion, uniform-state diffusion, score networks. What decides what the network computes
is read from both places, and taken only where this adapter implements it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, final

from bpb_harness.adapters.accounting.account import Account
from bpb_harness.errors import CheckpointError
from bpb_harness.schedule import CosineMdlm, Geometric, LogLinear, NoiseSchedule

# The constant of all three for loglinear and cosine noise, where no setting says another.
_NOISE_EPS = 1e-3
# BD3-LM's largest sigma: that of its last mask rate, 1 - eps.
_LARGEST_SIGMA = -math.log(_NOISE_EPS)

KIND_OF_MODEL = {
    "bd3lm": "block diffusion: blocks of a window one after another, each given clean earlier ones",
    "sedd": "a score network",
    "duo": "uniform-state diffusion, which has no mask",
    "duo_base": "uniform-state diffusion, which has no mask",
    "distillation": "uniform-state diffusion, which has no mask",
    "ot-finetune": "uniform-state diffusion, which has no mask",
    "d3pm": "D3PM with a mean parameterization",
}

# What decides nothing of what a trained network computes: how it was trained, sampled from and logged.
_ASIDE = r"""(loader|sampling|optim|trainer|wandb|hydra|checkpointing|callbacks|strategy|lr_scheduler|neptune)(\..*)?
    | mode | seed | zero_recon_loss | guidance(\..*)? | training\..* | eval\..* | data\..* | defaults
    | model\.(name|scale_by_sigma|dropout|tie_word_embeddings|attn_backend|vocab_lookup)
    | algo\.(dropout|var_min|clip_search_\w+|fix_clipping|sampler|loss_type|ignore_bos|curriculum(\..*)?)
    | noise\.(scale|sigma_min|sigma_max) | prior\.(latent_width|latent_height)"""
# Of the published folders' config.json: what the transformers library writes into each.
_ASIDE_IN_FOLDERS = (
    r"architectures|auto_map(\..*)?|model_type|torch_dtype|dtype|transformers_version|return_dict|_name_or_path|dropout"
)


@final
class MdlmSettings:
    """What a checkpoint states of its network, noise and weights.

    Args:
        account: of a Lightning checkpoint, or of a published folder.

    Raises:
        CheckpointError: if there are no hyper-parameters.
    """

    def __init__(self, account: Account) -> None:
        self._account, self._name = account, account.checkpoint.path.name
        self.is_folder = account.checkpoint.layout == "folder"
        self._prefix = "" if self.is_folder else "hyper_parameters.config."
        if not any(name.startswith(self._prefix) for name in account.settings):
            raise CheckpointError(
                f"{self._name} has no hyper-parameters", expected="hyper_parameters.config, as the MDLM code saves it"
            )
        if self.is_folder:
            account.set_settings_aside(_ASIDE_IN_FOLDERS)
        else:
            account.set_settings_aside(rf"(?x)hyper_parameters\.config\.({_ASIDE})")
            # Lightning's own records and a tokenizer's attributes.
            account.set_settings_aside(r"(?!hyper_parameters\.).*|hyper_parameters\.(tokenizer|_instantiator)(\..*)?")

    # Look-up

    def get(self, dotted: str, depth: int = 0) -> Any:
        """A setting by its dotted name; ``${a.b}`` refers to another entry; None where it is not stated."""
        value = self._account.setting(self._prefix + dotted)
        reference = re.fullmatch(r"\$\{([\w.]+)\}", value) if isinstance(value, str) else None
        return self.get(reference[1], depth + 1) if reference and depth < 8 else value

    def record_of(self, *keys: str) -> Mapping[str, Any]:
        """An object that stands in the checkpoint, as the attributes that it was pickled with; empty where none is."""
        inside: Any = self._account.checkpoint.config
        for key in keys:
            inside = inside.get(key) if isinstance(inside, Mapping) else None
        return inside if isinstance(inside, Mapping) else {}

    def either(self, name: str, *others: str) -> Any:
        """A setting that stands at the top, under ``algo``, or in another place; None where none states it.

        Raises:
            CheckpointError: if two places contradict each other.
        """
        stated = [(place, self.get(place)) for place in (name, f"algo.{name}", *others)]
        stated = [(place, value) for place, value in stated if value is not None]
        for place, value in stated[1:]:
            first_place, first = stated[0]
            if type(value) is not type(first) or value != first:
                raise CheckpointError(
                    f"{self._name}: two settings contradict each other",
                    seen=f"{first_place} = {first!r}, {place} = {value!r}",
                    expected="one value",
                )
        return stated[0][1] if stated else None

    def integer(self, dotted: str) -> int:
        """A setting that is a positive integer.

        Raises:
            CheckpointError: if it is anything else, or not stated.
        """
        value = self.get(dotted)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 24:
            raise CheckpointError(f"{self._name}: {dotted}", seen=repr(value), expected="a positive integer")
        return value

    def number(self, dotted: str, default: float | None = None) -> float:
        """A setting that is a finite number.

        Raises:
            CheckpointError: if it is anything else, or not stated and without a default.
        """
        value = self.get(dotted)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise CheckpointError(f"{self._name}: {dotted}", seen=repr(value), expected="a number")
        return float(value)

    def flag(self, name: str, *others: str) -> bool | None:
        """A setting that is true or false, looked for as :meth:`either` does; None where none states it.

        Raises:
            CheckpointError: if it is anything else.
        """
        value = self.either(name, *others)
        if value is not None and not isinstance(value, bool):
            raise CheckpointError(f"{self._name}: {name}", seen=repr(value), expected="true or false")
        return value

    def refuse(self, what: str, seen: object, expected: str, *, other_adapter: str | None = None) -> CheckpointError:
        """The error for a setting that this adapter does not implement.

        Args:
            what: the setting.
            seen: its value.
            expected: what is implemented.
            other_adapter: one that implements it.
        """
        own_loader = "score it through a loader of your own (--model FILE.py:LOADER --allow-code)"
        return CheckpointError(
            f"{self._name}: {what}",
            seen=seen,
            expected=expected,
            hint=f"the adapter {self._account.adapter!r} has nothing that scores it; "
            + (f"pass --adapter {other_adapter}" if other_adapter else own_loader),
        )

    def one_of(self, name: str, value: Any, allowed: tuple[Any, ...], expected: str) -> None:
        """Refuse a setting that is stated and is none of those implemented.

        Raises:
            CheckpointError: naming it.
        """
        if value is not None and value not in allowed:
            raise self.refuse(name, repr(value), expected)

    # What is implemented

    def require_implemented(self, *, is_causal: bool) -> None:
        """Refuse, by name, whatever this adapter would score as something that it is not.

        Args:
            is_causal: whether the tensors are those of the autoregressive baseline.

        Raises:
            CheckpointError: naming the setting.
        """
        algorithm = self.get("algo.name")
        if algorithm is not None and algorithm not in ("mdlm", "ar"):
            kind = KIND_OF_MODEL.get(str(algorithm), "no algorithm that this adapter knows")
            other = "bd3lm" if algorithm == "bd3lm" else None
            raise self.refuse("algo.name", f"{algorithm!r}, {kind}", "mdlm or ar", other_adapter=other)
        parameterization = self.either("parameterization")
        if parameterization is None:  # the published folders state none: they are what the paper names
            self._require_folder("parameterization", "subs, d3pm or ar")
            parameterization = "subs"
        expected = "subs or d3pm: networks that predict the clean token" + ("; ar is causal" if is_causal else "")
        self.one_of("parameterization", parameterization, ("subs", "d3pm", "ar"), expected)
        says_causal = "ar" in (algorithm, parameterization)
        if says_causal != is_causal or (algorithm is not None and (algorithm == "ar") != (parameterization == "ar")):
            tensors = "a causal network (it has no sigma_map)" if is_causal else "a network that is told the noise"
            raise CheckpointError(
                f"{self._name}: settings and tensors contradict each other",
                seen=f"algo.name {algorithm!r}, parameterization {parameterization!r}, tensors of {tensors}",
                expected="ar for causal networks, and for them alone",
            )
        self.one_of("diffusion", self.either("diffusion"), ("absorbing_state",), "absorbing_state: masks")
        self.one_of("backbone", self.either("backbone"), ("dit", "ar"), "dit or ar")
        self.one_of("model.type", self.get("model.type"), ("ddit",), "ddit")
        self.one_of("prior.type", self.get("prior.type"), ("none",), "none")
        self.one_of("algo.cross_attn", self.flag("cross_attn"), (False,), "false: no block diffusion")
        # Of a causal network the code reads no length of blocks.
        self._require_no_blocks() if not is_causal else self.either("block_size", "model.block_size")
        causal = self.flag("causal_attention", "model.causal", "model.causal_attention")
        self.one_of("causal attention", causal, (is_causal,), f"{is_causal}, as the tensors are")
        # BD3-LM: of causal networks alone; all others have it.
        self.one_of("model.adaln", self.get("model.adaln") and is_causal, (None, False), "false in a causal network")
        if self.get("data.num_classes") is not None:
            raise self.refuse("data.num_classes", self.get("data.num_classes"), "none: no classes to condition on")
        self.flag("subs_masking")  # either way the mask's probability is removed here
        if not is_causal and not self._has_algo() and self.time_conditioned:  # its successors do not read it
            self.one_of(
                "training.change_of_variables", self.get("training.change_of_variables"), (False,),
                "false in a network that is told the noise: with it that code tells it t, at mask rates of another law",
            )  # fmt: skip
        self.either("T")

    def _require_folder(self, name: str, expected: str) -> None:
        if not self.is_folder:
            expected += ", as that code saves it"
            raise CheckpointError(f"{self._name}: {name}", seen="none stated", expected=expected)

    def _require_no_blocks(self) -> None:
        block_size, length = self.either("block_size", "model.block_size"), self.length
        if block_size is not None and block_size != length:
            raise self.refuse(
                "block_size", f"{block_size!r}, block diffusion", f"{length}, the window: one block is all of it"
            )

    def compare_sizes(self, **sizes: int) -> None:
        """Compare stated sizes with those of the tensors.

        Args:
            **sizes: hidden_size, cond_dim, n_blocks, n_heads, vocab_size.

        Raises:
            CheckpointError: naming the first that differs.
        """
        for name, size in sizes.items():
            folder_name = {"hidden_size": "hidden_dim"}.get(name, name)
            place = folder_name if self.is_folder else f"model.{name}"
            stated = self.get(place)
            if stated is not None and (isinstance(stated, bool) or stated != size):
                raise CheckpointError(
                    f"{self._name}: {place}", seen=repr(stated), expected=f"{size}, as the tensors are"
                )

    # What is taken

    @property
    def length(self) -> int:
        """Tokens of the training windows."""
        return self.integer("model_length" if self.is_folder else "model.length")

    @property
    def time_conditioned(self) -> bool:
        """Whether the network is told the noise; where not, that code feeds sigma = 0.

        Raises:
            CheckpointError: if it is not stated.
        """
        stated = self.flag("time_conditioning")
        if stated is None:
            expected = "true or false, as that code saves it"
            raise CheckpointError(f"{self._name}: time_conditioning", seen="none stated", expected=expected)
        return stated

    @property
    def tokenizer_name(self) -> str:
        """Empty for the published folders, which all use GPT-2's."""
        return "" if self.is_folder else str(self.get("data.tokenizer_name_or_path") or "")

    def _has_algo(self) -> bool:
        return any(name.startswith(f"{self._prefix}algo.") for name in self._account.settings)

    def _is_of_bd3lm(self) -> bool:
        """Whether BD3-LM's mask rate, t itself, was trained on; its settings say so, block diffusion's need not."""
        scale, of_blocks = self.flag("mdlm_loss_scale"), "bd3lm" in (self.get("algo.name"), self.get("model_type"))
        return scale is False or (scale is None and of_blocks)

    @property
    def largest_sigma(self) -> float:
        """The largest sigma that the network was told."""
        return _LARGEST_SIGMA if self._is_of_bd3lm() else math.inf

    def schedule(self) -> NoiseSchedule:
        """The noise schedule that the settings name.

        Raises:
            CheckpointError: if none is named, for one that is not implemented, or an eps that is not its constant.
        """
        kind, eps = self.get("noise.type"), self.number("noise.eps", _NOISE_EPS)
        if kind is None:
            self._require_folder("noise.type", "the name of a noise schedule")
            return LogLinear(0.0) if self._is_of_bd3lm() else LogLinear(_NOISE_EPS)
        has_algo = self._has_algo()
        if kind == "log-linear":  # Duo, where eps is a setting
            return LogLinear(eps)
        if eps != _NOISE_EPS:
            raise CheckpointError(
                f"{self._name}: noise.eps of {kind!r}", seen=eps, expected=f"{_NOISE_EPS}, the constant of that code"
            )
        if kind == "loglinear":
            return LogLinear(0.0) if self._is_of_bd3lm() else LogLinear(_NOISE_EPS)
        if kind == "cosine" and has_algo:
            raise self.refuse(
                "noise.type",
                "'cosine' under algo: Duo's 1 - cos(pi (1 - t) / 2) or BD3-LM's (1 - eps) cos(pi t / 2)",
                "loglinear or log-linear",
            )
        if kind == "cosine":
            return CosineMdlm(_NOISE_EPS)
        if kind == "geometric" and not has_algo:
            return Geometric(self.number("noise.sigma_min"), self.number("noise.sigma_max"))
        raise self.refuse("noise.type", repr(kind), "loglinear, log-linear, cosine or geometric")

    def notes(self) -> list[str]:
        """What is worth knowing beside the score."""
        notes, steps, eps = [], self.either("T"), self.get("training.sampling_eps")
        if steps:
            notes.append(f"trained for T = {steps} steps: --steps {steps} is its own bound")
        if eps:
            notes.append(f"its own evaluator draws t from [{eps}, 1] only")
        if self.either("parameterization") == "d3pm":
            notes.append("parameterization d3pm: the probability of the mask is removed here")
        if self.get("algo.ignore_bos") is True:
            notes.append("its own evaluator neither masks nor pays the first token of a window; here it is both")
        return notes
