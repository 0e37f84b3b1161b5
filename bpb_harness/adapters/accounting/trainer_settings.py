"""What trainers call their settings, and which of them never decide what a trained network computes."""

from __future__ import annotations

import re

# Sections in which trainers keep their arguments.
_SECTIONS = """
    args config cfg conf hparams hyper_parameters hyperparameters model model_args model_config network net module
    metadata params train_config training trainer optim state_dict
"""
SECTIONS = frozenset(_SECTIONS.split())

_SPELLINGS = {
    "vocab_size": "vocab_size n_vocab num_vocab",
    "num_blocks": "num_blocks n_blocks num_layers n_layers n_layer depth num_hidden_layers",
    "width": "width model_dim dim d_model n_embd hidden_size embed_dim",
    "num_heads": "num_heads n_heads n_head heads num_attention_heads",
    "num_kv_heads": "num_kv_heads n_kv_heads n_kv_head kv_heads num_key_value_heads",
    "mlp_ratio": "mlp_mult mlp_ratio ff_mult",
    "mlp_width": "mlp_width mlp_dim intermediate_size ffn_dim d_ff",
    "tied": "tie_embeddings tied_embeddings tie_word_embeddings tie_weights weight_tying",
    "rotary_base": "rope_base rotary_base rope_theta rotary_theta",
    "logit_cap": "logit_softcap logit_cap softcap final_logit_softcapping",
    "context_length": "context_length train_seq_len seq_len sequence_length max_seq_len block_size ctx_len length",
    "mask_token_id": "mask_token_id mask_id mask_index mask_token diffusion_mask_token_id",
    "num_diffusion_steps": "diffusion_num_steps diffusion_steps num_diffusion_steps max_diffusion_step",
    "diffusion_enabled": "diffusion_enabled",
    "time_conditioned": "time_conditioned time_conditioning",
    "schedule": "schedule noise_schedule noise_scheduler noise_type mask_schedule mask_scheduler masking_schedule"
    " masking_scheduler",
    "noise_eps": "noise_eps",
    "causal": "causal is_causal causal_attention",
    "bias": "bias use_bias",
    "num_parts": "mp_world_size tensor_parallel_size model_parallel_size tp_size",
}
# Of these to state None is to say that the network has none.
NONE_SAYS_WITHOUT = ("rotary_base", "logit_cap")
# A setting's meaning by every name that it goes by.
CANONICAL = {spelling: fact for fact, spellings in _SPELLINGS.items() for spelling in spellings.split()}

# Settings that belong to training, to its log or to its machine. Whole names, in lower case.
_ASIDE = re.compile(
    r"""(\w+_)?(steps?|iters?|iterations?|iter_num|epochs?|num_updates|tokens_seen|samples)
    | (max|num|total|warmup|warmdown|cooldown|train)_tokens | (\w+_)?(warmup|warmdown|cooldown)(_\w+)?
    | (\w+_)?(loss|losses|acc|accuracy|metrics?|bpb|bpd|bpc|bpt|ppl|perplexity|nll|elbo|best)(_\w+)? | (\w+_)?score
    | metrics?\..* | (\w+_)?(history|logs?|logger)(\..*)? | (log|best)_\w+
    | (\w+_)?(lr|learning_rate|weight_decay|wd|momentum|grad_clip\w*|gradient_clip\w*|clip_grad\w*)
    | (adam_|muon_|optim_)?(betas?|beta1|beta2)
    | (\w+_)?(optimizers?|optim|adam|adamw|muon|sgd|schedulers?)(_\w+)?(\..*)?
    | (\w+_)?(batch_size|batch_tokens|micro_batch\w*|grad_accum\w*|gradient_accumulation\w*)
    | (\w+_)?(dropout|drop|drop_rate|dropout_p) | (\w+_)?init(_\w+)? | initializer_range | ema(_decay|_rate|_beta)?
    | (\w+_)?(seed|seeds|rng\w*) | (\w+_)?(seconds|hours|minutes|date|timestamp|elapsed)(_ms|_s)?
    | ((wall|train|training|elapsed|start|end|total|step|val|eval|save)_?)?time(_ms|_s)?
    | max_wallclock\w* | (\w+_)?(path|paths|dir|file|files|filename|dataset|datasets|data)
    | (run|exp|experiment|model|dataset|project|wandb)?_?(id|name|project|tags|notes|group)
    | (\w+_)?(git\w*|commit|hash|host|hostname|username|user|code|script|argv|cmd|command|wandb\w*|url|author)
    | (\w+_)?(world_size|rank|local_rank|num_gpus|n_gpus|gpus|devices?|num_workers|workers|compile|compiled|amp)
    | (\w+_)?(dtype|precision|mixed_precision|use_amp|use_compile)
    | (\w+_)?(val|eval|train|save|log|checkpoint)_(every|interval|freq|batch\w*|loss_every|log_every|files|split)
    | (torch_|python_|cuda_|library_|format_|code_|transformers_)?version | (total|num|n)_(size|params|parameters)
    | modelspec\..* | ds_(config|version)(\..*)? | buffer_names | param_shapes(\..*)?
    | frozen_param\w*(\..*)? | shared_params(\..*)? | (sparse_tensor|csr_tensor)_module_names | _metadata(\..*)?""",
    re.VERBOSE,
)
# Names of that form which speak of the network or its noise after all: layers that are run several times, weights that
# learn while they are asked, what noise is told as and drawn by, how pairs are hashed, which token an answer is of.
_DECIDES = re.compile(
    r"""(\w+_)?(loop|recur\w*|unroll\w*|repeat\w*|inner|depth|layer|block|refine\w*|ponder\w*|think\w*|ttt)_
        (steps?|iters?|iterations?)
    | (\w+_)?(noise|mask|masking|diffusion|corruption|forward|sigma|alpha|snr|time|timestep)_schedulers?(_\w+)?(\..*)?
    | log_(sigma|snr|noise|time|timestep|t|alpha|scale|space|n)(_\w+)?
    | (\w+_)?(\w*gram|token|embed\w*)_hash
    | (\w+_)?(shift(ed)?|next(_token)?)_loss(_\w+)? | (\w+_)?loss_(shift(ed)?|next(_token)?)
    | (\w+_)?(rope|rotary|freqs?|pos|position)_(dtype|precision)
    | (\w+_)?(softcap|logit_cap|rope_base|rope_theta|rotary_base|rotary_theta)(_init)?""",
    re.VERBOSE,
)


def is_of_training(name: str) -> bool:
    """Whether a setting, by its own name in lower case, says nothing of what a trained network computes."""
    return bool(_ASIDE.fullmatch(name)) and not _DECIDES.fullmatch(name)
