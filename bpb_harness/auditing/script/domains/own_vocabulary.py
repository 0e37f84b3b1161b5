"""Whether the tokens are of a public vocabulary: which kinds of piece one of the record's own has, nothing tells."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bpb_harness.auditing.script.context import ScriptContext
from bpb_harness.auditing.script.domains.analysis import Analysis
from bpb_harness.auditing.script.frontend.program import Program

_MODEL = re.compile(r"[\w./{}-]*\w\.model\b")
_LITERAL = re.compile(r"[\"']([^\"'\n]*\w\.model)[\"']")
_PUBLIC = re.compile(r"fineweb_[^/]*bpe[^/]*\.model$")
_NAMED = re.compile(r"fineweb10B_sp\d+|\bsp\d{4,5}\b|fineweb_\d+_bpe", re.IGNORECASE)


def is_public_vocabulary(analysis: Analysis) -> bool:
    """Whether the record names a SentencePiece vocabulary that is known to have byte pieces and marked spaces.

    The model files that commands and README name count before those that scripts name as defaults; one that is not
    public leaves it open.
    """
    context = analysis.context
    if context.tokenizer_is_certain:
        return context.bytes_per_token is not None
    models = [*_models_of_record(context)] or [*_models_of_scripts(analysis.program)]
    if models:
        return all(_PUBLIC.search(model) for model in models)
    named = any(_NAMED.search(script.text) for script in analysis.program.scripts)
    return named or context.bytes_per_token is not None


def _models_of_record(context: ScriptContext) -> Iterator[str]:
    for text in (*context.settings.values(), *context.flags.values(), context.readme, *context.said):
        yield from (found.group() for found in _MODEL.finditer(text))


def _models_of_scripts(program: Program) -> Iterator[str]:
    """The literals that end in .model, also where a number is formatted into them."""
    for script in program.scripts:
        yield from (found.group(1) for found in _LITERAL.finditer(script.text))
