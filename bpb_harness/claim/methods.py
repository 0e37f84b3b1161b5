"""Which estimator a text names, in the harness's words."""

from __future__ import annotations

import re

PSEUDO_LIKELIHOOD, TWO_PASS, CHAIN, DISCRETE, MC, AR = "pseudo-likelihood", "two-pass", "chain", "discrete", "mc", "ar"
EXACT = "exact"
# What a claim file may state.
METHODS = (DISCRETE, MC, CHAIN, AR, EXACT, PSEUDO_LIKELIHOOD, TWO_PASS)

# The first that matches wins: a "pseudo-log-likelihood by Monte Carlo" is a pseudo-likelihood.
_METHODS = (
    (PSEUDO_LIKELIHOOD, r"\bpll\b|_pll_|pll_bpb|pseudo[-_ ]?(?:log[-_ ]?)?likelihood"),
    (TWO_PASS, r"two[-_ ]?pass"),
    (CHAIN, r"\bl2r\b|left[-_ ]?to[-_ ]?right|chain[-_ ]?rule|\bchain\b|conf[-_ ]?order"),
    (DISCRETE, r"discrete|\bvar_bpb\b|val_var_bpb|variational"),
    (MC, r"nelbo|monte[-_ ]?carlo|\bmc\b|continuous|\belbo\b"),
    (AR, r"\bar\b|autoregressive|causal"),
)

_MAX_WORDS_OF_A_NAME = 6


def method_in(text: str | None) -> str | None:
    """The estimator that a text names: ``nelbo_k256`` is ``mc``; None where it names none."""
    if not text:
        return None
    low = text.lower().replace("_", " ") + " " + text.lower()
    # Methods that void a score are taken from a name alone: prose may deny them, or speak of something else.
    is_name = len(re.findall(r"[a-z0-9]+", text.lower().replace("_", " "))) <= _MAX_WORDS_OF_A_NAME
    void = () if is_name and not re.search(r"\b(?:not?|never|without|no)\b", low) else (PSEUDO_LIKELIHOOD, TWO_PASS)
    return next((method for method, pattern in _METHODS if method not in void and re.search(pattern, low)), None)
