"""Requests of lm-eval as answers given their prompts: scored as ``bpb-eval --context-field --target-field`` does."""

from __future__ import annotations

import json
import math
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from bpb_harness.errors import CorpusError
from bpb_harness.evaluation.api import LoadedCheckpoint
from bpb_harness.evaluation.settings import Settings
from bpb_harness.lm_evaluation.greedy import are_greedy
from bpb_harness.result import ESTIMATED_BOUND, EXACT, UPPER_BOUND, BpbResult
from bpb_harness.units import bits_to_nats


@final
@dataclass(frozen=True)
class RequestCost:
    """What one continuation costs given its context.

    Attributes:
        nats: -log p, or what estimates or bounds it.
        stderr_nats: standard error of the sampling of masks; 0 where none were sampled, None where one draw tells none.
        relation: its own: ``=``, ``<=`` where all its masks were gone through, ``~<=`` where they were sampled.
        num_tokens: tokens that were paid for.
        is_greedy: whether greedy decoding would say the same; None where nobody asked.
    """

    nats: float
    stderr_nats: float | None
    relation: str
    num_tokens: int
    is_greedy: bool | None


def score_pairs(
    loaded: LoadedCheckpoint,
    settings: Settings,
    pairs: Sequence[tuple[str, str]],
    *,
    finds_greedy: bool,
    names: Sequence[str] = (),
) -> tuple[BpbResult, list[RequestCost]]:
    """Score continuations given their contexts.

    Args:
        loaded: the network.
        settings: how.
        pairs: contexts and continuations; an empty context is the token between documents alone.
        finds_greedy: whether greedy decoding is followed too.
        names: of the pairs, for messages; none: their numbers.

    Raises:
        HarnessError: as of answers: an empty continuation, one longer than the network takes without a stride.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requests.jsonl"
        file.write_text(
            "".join(json.dumps({"context": context, "target": target}) + "\n" for context, target in pairs),
            encoding="utf-8",
        )
        asked = replace(settings, docs=file, context_field="context", target_field="target", with_windows=True)
        try:
            job, result = loaded.score(asked)
        except CorpusError as error:  # of a file that nobody knows, which has a line a request
            at_a_line = re.sub(
                rf"{re.escape(str(file))}: line (\d+)",
                lambda found: names[int(found[1]) - 1] if names else f"request {found[1]}",
                error.what,
            )
            what = at_a_line.replace(f"{file}: ", "the requests: ")
            hint = error.hint and error.hint.replace("--stride ", "--model_args stride=")
            raise CorpusError(what, seen=error.seen, expected=error.expected, hint=hint) from error
        greedy = are_greedy(job) if finds_greedy else None
    table = result.windows
    assert table is not None
    costs = []
    columns = (table[name] for name in ("nats", "stderr_bits", "is_sampled", "num_tokens"))
    for row, (nats, stderr_bits, is_sampled, count) in enumerate(zip(*columns, strict=True)):
        stderr = None if math.isnan(stderr_bits) else bits_to_nats(float(stderr_bits))
        relation = _relation(result, is_sampled=bool(is_sampled))
        is_greedy = None if greedy is None else bool(greedy[row])
        costs.append(RequestCost(float(nats), stderr, relation, int(count), is_greedy))
    return result, costs


def _relation(result: BpbResult, *, is_sampled: bool) -> str:
    """Of one request: that of the total says whether any was sampled."""
    if result.relation == EXACT:
        return EXACT
    return ESTIMATED_BOUND if is_sampled else UPPER_BOUND
