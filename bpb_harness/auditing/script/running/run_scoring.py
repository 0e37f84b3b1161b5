"""Scoring functions, run in a limited process against an oracle: what they compute, not how they are written."""

from __future__ import annotations

import base64
import json
import marshal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import CodeType

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.frontend.scopes import Script
from bpb_harness.auditing.script.running.judged_scores import judge_scores
from bpb_harness.auditing.script.running.known_means import LENGTH, PROBES
from bpb_harness.auditing.script.running.limited import exchanged, read_reply
from bpb_harness.auditing.script.running.scored_texts import Texts, choose_texts
from bpb_harness.auditing.script.running.scoring_function import ScoringFunction, find_scoring_functions
from bpb_harness.auditing.script.running.weighing import Behaviour
from bpb_harness.byte_count import load_tokenizer
from bpb_harness.errors import HarnessError
from bpb_harness.rules import NO_PACK, RulePack

WALL_SECONDS = 240.0
SECONDS = 60.0
"""After which one function is stopped."""
SHOWN, CALLS = 40_960, 40
"""Rows that the network is shown for one probe, by all calls of the function together; and these calls."""

_CHILD = Path(__file__).with_name("scoring_process.py")


def check_scores_by_running(
    scripts: Sequence[Script], tokenizer: Path, on_path: set[str], pack: RulePack = NO_PACK,
    settings: Mapping[str, str] | None = None, flags: Mapping[tuple[str, str], str] | None = None,
) -> Behaviour:  # fmt: skip
    """Run the scoring functions of the scripts on an oracle network and a text of known bound.

    Args:
        scripts: the parsed files.
        tokenizer: a SentencePiece model.
        on_path: names of the functions that the reported score comes from; others refute nothing.
        pack: what byte bugs do to the contest's text.
        settings: what the environment of the run is known to have held.
        flags: what its command line is known to have held, by script and flag.
    """
    try:
        loaded = load_tokenizer(tokenizer)
    except HarnessError:
        return Behaviour(())  # the byte table's check has said so
    if find_spec("torch") is None:
        message = "No scoring function was run: torch is not installed"
        return Behaviour((codes.SCORE_NOT_RUN.finding(message),))
    try:
        functions, reasons = find_scoring_functions(scripts, on_path, settings, flags)
    except Exception as problem:  # a script is hostile input: what cannot be taken apart is not run
        why = f"its functions could not be cut out ({type(problem).__name__})"
        return Behaviour((codes.SCORE_NOT_RUN.finding(f"No scoring function was run: {why}"),))
    not_cut_out = [
        codes.SCORE_NOT_RUN.finding(f"{name} was not run: {reason}", function=name) for name, reason in reasons
    ]
    texts = choose_texts(loaded)
    replies = run_scoring(functions, tokenizer, texts, settings=settings) if functions else []
    behaviour = judge_scores(functions, replies, texts, loaded, on_path, pack)
    return replace(behaviour, findings=(*not_cut_out, *behaviour.findings))


def run_scoring(
    functions: Sequence[ScoringFunction], tokenizer: Path, texts: Texts, *, shown: int | None = None,
    calls: int | None = None, seconds: float | None = None, seed: int = 1, settings: Mapping[str, str] | None = None,
) -> list[dict[str, object]]:  # fmt: skip
    """Run functions one after the other in one limited process.

    Args:
        functions: what to run.
        tokenizer: a SentencePiece model.
        texts: what to run them on.
        shown: rows that the network is shown for one probe, `SHOWN` if not given.
        calls: calls of a function for one probe, `CALLS` if not given; at least 12.
        seconds: after which a function is stopped, `SECONDS` if not given.
        seed: of all noise.
        settings: what the environment is to hold.

    Returns:
        A reply for each function; `not_run` says why there is none.
    """
    if not texts.window:
        few: dict[str, object] = {"not_run": "the tokenizer has too few words to make a text of"}
        return [few for _ in functions]
    probes: list[tuple[str, tuple[int, ...]]] = [(probe, texts.window) for probe in PROBES]
    if texts.with_boundary is not None:
        probes.append(("boundary", texts.with_boundary))
    task = {
        "tokenizer": str(tokenizer.resolve()), "length": LENGTH, "seconds": seconds or SECONDS, "seed": seed,
        "shown": shown or SHOWN, "calls": calls or CALLS,
        "settings": dict(settings or {}), "texts": probes, "long_text": texts.long,
        "functions": [
            {
                "name": function.name, "owner": function.owner, "files": [function.script],
                "parameters": [[p.name, p.kind, p.variable] for p in function.parameters],
                "optional": [p.name for p in function.parameters if p.is_optional and p.kind == "made"],
                "definitions": [_packed(code) for code in function.definitions],
                "prelude": [_packed(code) for code in function.prelude],
                "networks": function.network_classes, "numpy": function.is_numpy,
            }
            for function in functions
        ],
    }  # fmt: skip
    answer = exchanged(_CHILD, json.dumps(task).encode(), WALL_SECONDS)
    replies: list[dict[str, object]] = []
    for line in answer.splitlines():
        reply = read_reply(line)
        if reply is None:
            break
        replies.append(reply)
    ended: dict[str, object] = {"not_run": "the process ended without an answer, at a limit of time or memory"}
    return [replies[place] if place < len(replies) else ended for place in range(len(functions))]


def _packed(code: CodeType) -> str:
    return base64.b64encode(marshal.dumps(code)).decode()
