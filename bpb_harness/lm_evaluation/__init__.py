"""A model of lm-evaluation-harness (lm-eval, EleutherAI) whose log-likelihoods are scores of this harness.

``requests``: pairs of context and continuation as answers given their prompts. ``greedy``: whether greedy decoding
would say the same. ``model``: the class that lm-eval asks. The command is ``bpb-lm-eval``.
"""
