"""The class that lm-eval asks for log-likelihoods: ``--model bpb_harness --model_args checkpoint=...``."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, final

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from bpb_harness.byte_count import load_tokenizer
from bpb_harness.denoiser import Denoiser
from bpb_harness.errors import UsageError
from bpb_harness.evaluation.api import OF_LOADING, LoadedCheckpoint
from bpb_harness.evaluation.settings import DEFAULTS, Settings
from bpb_harness.lm_evaluation.requests import RequestCost, score_pairs
from bpb_harness.whole_file import write_whole

NAME = "bpb_harness"
DEFAULT_SAMPLES = 8
# What the requests say themselves, and what has no meaning for them.
_NOT_TAKEN = (
    "data", "docs", "context_field", "target_field", "text_field", "key_field", "slice_field", "limit", "with_windows",
    "with_tokens", "with_documents", "with_costs", "surprisal", "compare", "tolerance", "resume", "ttt", "progress",
    "name", "tail", "per_document", "unpaid_prefix",
)  # fmt: skip


@final
class HarnessLM(LM):
    """A checkpoint of any adapter, masked or causal.

    Args:
        checkpoint: file or folder.
        batch_size, max_batch_size: lm-eval's; batches are chosen here, and never change a score.
        device: cpu; lm-eval's default, cuda, is taken where there is one.
        **options: settings of ``bpb-eval`` by their names, docs/settings.md: adapter, method, num_samples, stride, ...;
            a masked network's default is ``mc`` with 8 samples, a causal one's ``ar``.

    Raises:
        UsageError: for an option that there is not, or that requests settle.
        TokenizerError: for a tokenizer that is not there, or cannot be read.
    """

    def __init__(
        self,
        checkpoint: str | None = None,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        device: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        del batch_size, max_batch_size
        if checkpoint is None:
            raise UsageError("--model_args", seen="no checkpoint", expected="checkpoint=PATH,...")
        given = _settings_of(options, device)
        of_loading = {name: value for name, value in given.items() if name in OF_LOADING}
        self._loaded = LoadedCheckpoint.load(str(checkpoint), Settings.of(of_loading))
        if isinstance(self._loaded.adapted.model, Denoiser):
            method = given.setdefault("method", "mc")
            if method in ("mc", "discrete"):
                given.setdefault("num_samples", DEFAULT_SAMPLES)
        else:
            given.setdefault("method", "ar")
        self._settings = Settings.of(given)
        if self._settings.tokenizer is not None:  # looked at before lm-eval fetches its tasks
            load_tokenizer(Path(self._settings.tokenizer), needs_bytes=self._settings.byte_rule != "none")
        self._signatures: dict[str, list[str]] = {}
        self._requests: list[dict[str, Any]] = []

    def loglikelihood(self, requests: Sequence[Instance]) -> list[tuple[float, bool]]:
        """-cost of each continuation given its context, in nats, and whether greedy decoding would say the same."""
        costs = self._score("loglikelihood", requests, [request.args for request in requests], self._settings)
        return [(-cost.nats, bool(cost.is_greedy)) for cost in costs]

    def loglikelihood_rolling(self, requests: Sequence[Instance]) -> list[float]:
        """-cost of each text in nats, every token once: spans of half a context, with as much before each as fits."""
        settings = self._settings
        if settings.stride is None:
            settings = replace(settings, stride=max(self._loaded.window_length(settings) // 2, 1))
        pairs = [("", request.args[0]) for request in requests]
        costs = self._score("loglikelihood_rolling", requests, pairs, settings)
        return [-cost.nats for cost in costs]

    def generate_until(self, requests: Sequence[Instance]) -> NoReturn:
        """Refused: nothing is generated here.

        Raises:
            UsageError: always.
        """
        tasks = sorted({str(request.task_name) for request in requests})
        raise UsageError(
            f"tasks that generate text: {', '.join(tasks)[:200]}", seen="generate_until",
            expected="loglikelihood, multiple_choice or loglikelihood_rolling",
            hint="leave these tasks out: bpb-harness scores text that is there",
        )  # fmt: skip

    def get_model_info(self) -> dict[str, Any]:
        """What lm-eval writes into its file of results: the signature of each score."""
        return {"bpb_signatures": self._signatures}

    def write_requests(self, path: Path) -> None:
        """Write a line of JSON for each request: its cost in nats, the standard error of that, its tokens.

        Raises:
            OutputError: if there is no room.
        """
        lines = "".join(json.dumps(each) + "\n" for each in self._requests)
        write_whole(path, lambda file: file.write(lines.encode()))

    def _score(
        self, kind: str, requests: Sequence[Instance], pairs: Sequence[tuple[str, str]], settings: Settings
    ) -> list[RequestCost]:
        if not pairs:
            return []
        names = [
            f"request {number} (task {request.task_name}, doc_id {request.doc_id}, idx {request.idx})"
            for number, request in enumerate(requests, 1)
        ]
        result, costs = score_pairs(self._loaded, settings, pairs, finds_greedy=kind == "loglikelihood", names=names)
        self._signatures.setdefault(kind, []).append(str(result.signature))
        for request, cost in zip(requests, costs, strict=True):
            self._requests.append({
                "task": request.task_name, "doc_id": request.doc_id, "idx": request.idx, "request_type": kind,
                "nats": cost.nats, "stderr_nats": cost.stderr_nats, "relation": cost.relation,
                "num_tokens": cost.num_tokens, "is_greedy": cost.is_greedy,
            })  # fmt: skip
        return costs


def _settings_of(options: Mapping[str, Any], device: str | None) -> dict[str, Any]:
    given = dict(options)
    if device is not None:  # lm-eval's own default is cuda, wherever it runs
        given["device"] = "auto" if device.startswith("cuda") else device
    for name in given:
        if name in _NOT_TAKEN:
            raise UsageError(
                f"--model_args {name}", seen="a setting of a text", expected="one of the network, or of its bound",
                hint="the requests are the text; leave it out",
            )  # fmt: skip
        if name not in DEFAULTS:
            close = difflib.get_close_matches(name, DEFAULTS, 1)
            raise UsageError(
                f"--model_args {name}", seen="no setting of bpb-eval", expected="checkpoint, adapter, method, ...",
                hint=f"did you mean {close[0]}?" if close else "docs/settings.md lists them, by their names there",
            )  # fmt: skip
    return given
