"""The program of the limited process for scoring functions: calls them on an oracle network, prints what they return.

It is started by `run_scoring` with a stripped environment and is no module of the package: it imports nothing of it but
the limits of `limited_process`, which lies beside it. For each function it prints one line of JSON as soon as it is
done, so that one that kills the process takes no other's result with it.

The oracle answers with logits that depend on which tokens are masked (or, where none ever is, on the token before), by
a rule that the parent knows too. What the functions return is compared there, not here.
"""

from __future__ import annotations

import argparse
import base64
import builtins
import contextlib
import importlib.util
import itertools
import json
import marshal
import math
import os
import random
import re
import signal
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

_MEMORY = 3 << 30  # beyond what the libraries take
_CPU_SECONDS = 120
_NOTHING = -1e4  # the logit of what cannot occur
_CERTAIN = 40.0
_MIN_CALLS, _MAX_CALLS = 12, 640  # calls for one probe
_MANY = 64  # network calls of one call: with more of them there are the fewest calls
_MAX_ASKED = 20_480  # network calls for one probe: where windows are scored one by one there are fewer of them
_SHARP = 0.004  # relative standard error: no more calls are needed
_MAX_STEPS = 16
_STEPS = r"(eval|elbo|var|bound)\w*steps"
_OURS = ("__made", "__arg", "__inst")  # names of the prelude
_FIRST_ROWS, _MAX_ROWS = 16, 512
_REAL = frozenset([
    "numpy", "torch", "math", "typing", "functools", "collections", "dataclasses", "itertools", "random", "time",
    "contextlib", "copy", "io", "re", "string", "enum", "abc", "operator", "__future__", "argparse", "uuid", "json",
    "statistics", "struct", "zlib", "lzma", "bz2", "base64", "hashlib", "inspect", "warnings", "logging", "datetime",
    "numbers", "bisect", "heapq", "textwrap", "pathlib", "types", "traceback", "threading", "queue", "gc", "weakref",
    "pickle", "glob", "array", "fractions", "decimal", "concurrent",
])  # fmt: skip
_RARE = 0.3
_JOINT = (
    "{}, which is a joint price: the network that stands in here prices whole tokens one by one, and what a joint "
    "price does is read, not run (BPB268); a function that prices each hidden token by itself can be run"
)
_OTHER_TENSORS = frozenset(["mlx", "jax", "tensorflow", "tinygrad", "paddle"])
_CONTEXT = r"(^|_)(seq_?len|context|context_len(gth)?|block_size|max_len|seq_?length)$|^(L|SEQ|T_MAX|SEQ_LEN)$"


class _NotRunError(Exception):
    """The function asks for what an oracle cannot give; the message says what."""


class _NotFiniteError(_NotRunError):
    """A number is not finite, as where a mean over few rows has no masked token."""


class _MaskedError(Exception):
    """The network was shown a token that the text does not hold: this function masks."""


class _Inert:
    """What a library that is not there leaves behind: it can be imported and named, and does nothing else."""

    def __init__(self, name: str) -> None:
        self.__dict__["_name"] = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Inert(f"{self._name}.{name}")

    def __call__(self, *_: object, **__: object) -> NoReturn:
        root = self._name.partition(".")[0]
        if root in _OTHER_TENSORS:
            raise _NotRunError(
                f"it computes with {root} ({self._name}), and only torch and numpy are run here; the same function on "
                "torch's tensors can be"
            )
        raise _NotRunError(f"it calls {self._name}, which is closed to it")

    def __mro_entries__(self, bases: object) -> tuple[type, ...]:
        return (object,)

    def __or__(self, other: object) -> Any:
        return self

    __ror__ = __or__

    def __getitem__(self, item: object) -> Any:
        return self


class Oracle:
    """The network that the functions are shown. It knows the text, and charges by which of its tokens are hidden.

    Attributes:
        mode: "before": by the token before, nothing may be hidden; "masks": by what is hidden.
        flat: whether logits are handed out as (B L, W), as where a network flattens before it prices.
        probe: "count k", or "every mask": what is charged for.
    """

    def __init__(self, torch: Any, size: int) -> None:
        self.torch, self.size = torch, size
        self.mode, self.flat, self.probe = "before", False, "every mask"
        self.ids: set[int] = set()
        self.is_foreign = False  # whether another id than the text's was shown
        self.text: list[int] = []
        self.mask_id: int | None = None
        self.widest = size  # as wide as the script may expect logits to be; what lies beyond V cannot occur
        self.calls: list[float] = []  # the part of all tokens that was hidden, call by call
        self.ever: list[bool] = []
        self.masks_seen: set[int] = set()
        self.rotation = 0
        self.shown = 0  # rows
        self.variance = self.binomial = 0.0  # of the rows' numbers of hidden tokens, summed over calls
        self.tables: dict[tuple[object, ...], Any] = {}
        self.widths: set[int] = set()  # of the logits that were handed out
        self.is_forced = False  # whether some place is hidden in every row of a call that hides few

    def __call__(self, *arguments: object) -> Any:
        torch = self.torch
        tensors = [a for a in arguments if isinstance(a, torch.Tensor)]
        whole = [a for a in tensors if not a.is_floating_point() and a.dtype != torch.bool]
        ids = next((a for a in whole if a.dim() in (1, 2)), None)
        if any(a.dim() == 3 and a.shape[-1] in self.widths for a in tensors if a.is_floating_point()):
            raise _NotRunError(_JOINT.format("a second network is given what the first makes of the hidden tokens"))
        if ids is None:
            raise _NotRunError("its network is given no token ids")
        hidden = next((a for a in tensors if a.dtype == torch.bool and a.shape == ids.shape), None)
        rows = ids.long().reshape(1, -1) if ids.dim() == 1 else ids.long()
        logits = self._before(rows, hidden) if self.mode == "before" else self._masked(rows, hidden)
        if self.flat:
            return logits.reshape(-1, logits.shape[-1])
        return logits[0] if ids.dim() == 1 else logits

    def _before(self, rows: Any, hidden: Any) -> Any:
        if hidden is not None and bool(hidden.any()):
            raise _MaskedError
        torch = self.torch
        known = torch.tensor(sorted(self.ids))
        if not bool(torch.isin(rows, known).all()):  # a mask, or what fills a short window up
            self.is_foreign = True
            if int(rows.max()) >= self.size:
                raise _MaskedError
        column = torch.arange(self.size, dtype=torch.float64)
        row = rows.double().unsqueeze(-1)
        logits = (6.0 * torch.sin(1.7 * row + 0.9 * column + 0.011 * row * column)).float()
        beyond = max(self.widest - self.size, 0)
        return torch.nn.functional.pad(logits, (0, beyond), value=_NOTHING) if beyond else logits

    def _masked(self, rows: Any, hidden: Any) -> Any:
        torch = self.torch
        length = len(self.text)
        if rows.shape[1] != length and rows.shape[1] % length == 0 and self._holds_parts(rows):
            many = f"its network is given {rows.shape[1] // length} ids for each token, parts of it"
            raise _NotRunError(_JOINT.format(many))
        if rows.shape[1] != length:
            raise _NotRunError(f"its network is given {rows.shape[1]} tokens, not windows of {length}")
        if len(rows) == 1 and hidden is None:  # as where windows are scored one by one: tensors would cost far more
            code = self._code_of(rows[0].tolist())
            return self._tables_now()[code : code + 1].clone()
        covered = self._covered(rows, hidden)
        codes = (covered * (1 << torch.arange(length))).sum(dim=-1)
        rate = float(covered.double().mean())
        self.calls.append(rate)
        self.shown += len(rows)
        if len(rows) >= _FIRST_ROWS:
            self._look_for_forced(covered)
        if len(rows) > 1:
            tokens = len(rows) * length
            self.variance += float(covered.double().sum(dim=-1).var())
            self.binomial += length * rate * (1.0 - rate) * tokens / (tokens - 1)
        self.ever = [bool(a) or b for a, b in zip(covered.any(dim=0), self.ever or [False] * length, strict=True)]
        self.masks_seen |= set(codes.tolist())
        return self._tables_now()[codes]

    def _holds_parts(self, rows: Any) -> bool:
        """Whether no id of a window is a token of the text, but for one that may be a mask."""
        return len(set(rows.reshape(-1).tolist()) & set(self.text)) <= 1

    def _code_of(self, row: list[int]) -> int:
        """The mask of one row, as a number; what `_covered` and `_masked` note of many is noted."""
        both = [[a != b for a, b in zip(row, self.text[r:] + self.text[:r], strict=True)] for r in range(2)]
        self.rotation = min(range(2), key=lambda rotation: sum(both[rotation]))
        covered = both[self.rotation]
        self._is_mask({token for token, is_covered in zip(row, covered, strict=True) if is_covered})
        code = sum(1 << place for place, is_covered in enumerate(covered) if is_covered)
        self.calls.append(sum(covered) / len(row))
        self.shown += 1
        self.ever = [a or b for a, b in zip(covered, self.ever or [False] * len(row), strict=True)]
        self.masks_seen.add(code)
        return code

    def _look_for_forced(self, covered: Any) -> None:
        """A place that all rows hide where the others are rarely hidden: by chance once in 10^8 calls."""
        always = covered.all(dim=0)
        if bool(always.any()) and not bool(always.all()):
            self.is_forced = self.is_forced or float(covered[:, ~always].double().mean()) < _RARE

    def _is_mask(self, others: set[int]) -> None:
        if len(others) > 1:
            raise _NotRunError("its network is given other tokens than those of the text and one for the masked ones")
        if others:
            self.mask_id = others.pop()

    def _tables_now(self) -> Any:
        width = max(self.size, self.widest, (self.mask_id or 0) + 1)
        self.widths.add(width)
        key = (self.probe, tuple(self.text), self.rotation, width, self.mask_id)
        if key not in self.tables:
            self.tables[key] = self._table(width)
        return self.tables[key]

    def _covered(self, rows: Any, hidden: Any) -> Any:
        """(B, L) bool: what is hidden. The text repeats itself, so that windows may begin one token later."""
        torch = self.torch
        best = None
        for rotation in range(2):
            text = torch.tensor(self.text[rotation:] + self.text[:rotation])
            differs = rows != text
            if best is None or int(differs.sum()) < int(best[1].sum()):
                best = (rotation, differs)
        assert best is not None
        self.rotation, differs = best
        self._is_mask(set(rows[differs].tolist()))
        if hidden is not None:
            return differs | hidden
        return differs

    def _table(self, width: int) -> Any:
        """(2^L, L, W) logits for every mask."""
        torch = self.torch
        length = len(self.text)
        text = self.text[self.rotation :] + self.text[: self.rotation]
        table = torch.zeros(1 << length, length, width)
        if not self.probe.startswith("count"):
            for code in range(1 << length):
                for i in range(length):
                    for j, token in enumerate(self.text):
                        table[code, i, token] = 2.0 * math.sin(1.0 + 0.7 * code + 1.3 * i + 2.1 * j)
        else:
            count = int(self.probe.split()[1])
            for code in range(1 << length):
                charged = code.bit_count() == count
                for i, token in enumerate(text):
                    if code >> i & 1 and charged:
                        continue
                    # Right where it is asked for, wrong where the token is visible: nobody should look there.
                    table[code, i, token if code >> i & 1 else text[(i + 1) % length]] = _CERTAIN
        table[..., self.size :] = _NOTHING
        if self.mask_id is not None:
            table[..., self.mask_id] = _NOTHING
        return table

    @property
    def clean(self) -> int:
        """Ids that have a chance."""
        return self.size - (self.mask_id is not None and self.mask_id < self.size)


class _Process:
    """One task: the functions, one after the other."""

    def __init__(self, task: dict[str, Any], torch: Any, numpy: Any, processor: Any) -> None:
        self.task, self.torch, self.numpy, self.processor = task, torch, numpy, processor
        self.rows = 0

    def run(self, function: dict[str, Any]) -> dict[str, Any]:
        """What one function returned, or why it was not run."""
        problems: list[Exception] = []
        takes_windows = any(kind == "windows" for _, kind, _ in function["parameters"])
        for flat, single, narrow in itertools.product((False, True), (False, True), (False, True)):
            if (single and not takes_windows) or (narrow and takes_windows):
                continue
            try:
                outcome = self._attempt(function, flat=flat, single=single, narrow=narrow)
                if self._is_frozen(outcome) and self._drop_optional(function):
                    # A script may ask for the same noise in every evaluation; by default it need not.
                    outcome = self._attempt(function, flat=flat, single=single, narrow=narrow)
                return outcome
            except (RuntimeError, ValueError, IndexError, TypeError, _NotRunError) as problem:
                problems.append(problem)
        raise max(problems, key=lambda problem: isinstance(problem, _NotRunError))

    @staticmethod
    def _is_frozen(outcome: dict[str, Any]) -> bool:
        runs = outcome.get("masks", [])
        return bool(runs) and all(len({*map(tuple, run["returned"])}) == 1 for run in runs)

    @staticmethod
    def _drop_optional(function: dict[str, Any]) -> bool:
        """Leave what has a default to it; whether there is anything to leave."""
        kept = [[name, "default" if name in function["optional"] else kind, variable]
                for name, kind, variable in function["parameters"]]  # fmt: skip
        changed: bool = kept != function["parameters"]
        function["parameters"] = kept
        return changed

    def _attempt(self, function: dict[str, Any], *, flat: bool, single: bool, narrow: bool) -> dict[str, Any]:
        """One way to call it: logits flattened or not, a batch of windows or a single one, room for a mask or none."""
        torch = self.torch
        size = self.task["size"]
        oracle = Oracle(torch, size)
        oracle.flat = flat
        self.rows = 0
        space, repeat = self._space(function, oracle)
        oracle.size, oracle.widest = self._vocabulary(space, size)
        oracle.widest = oracle.size if narrow else oracle.widest
        target, given = self._target(function, space, oracle)
        outcome: dict[str, Any] = {"vocabulary": oracle.size}
        takes_windows = any(kind == "windows" for _, kind, _ in function["parameters"])

        def call(text: list[int], rows: int) -> list[float]:
            repeat[0] += 1
            return self._called(function, target, given, text, 1 if single and rows else rows, single=single)

        if not takes_windows:
            oracle.mode, oracle.ids = "before", set(self.task["long_text"])
            try:
                returned = call(self.task["long_text"], 0)
                nats = self._next_token_nats(oracle.size)
                if not oracle.is_foreign or any(abs(number / nats - 1.0) < 1e-3 for number in returned):
                    outcome["before"] = {"returned": returned}
                    outcome["lines"] = self._passed(function, lambda: call(self.task["long_text"], 0))
                    return outcome
            except _MaskedError:
                pass
        oracle.mode = "masks"
        for name, text in self.task["texts"]:
            oracle.text = text
            oracle.probe, oracle.ever, oracle.calls = name, [], []
            outcome.setdefault("masks", []).append({"probe": name, **self._repeated(call, oracle, text, single=single)})
        outcome.update(
            clean=oracle.clean, rotation=oracle.rotation,
            masks_seen=len(oracle.masks_seen), levels=self._levels(space), forced=oracle.is_forced,
        )  # fmt: skip
        if oracle.mask_id is None and len(oracle.masks_seen) <= 1:
            raise _NotRunError("it hides no token from its network")
        outcome["lines"] = self._passed(function, lambda: call(text, 8))
        return outcome

    def _next_token_nats(self, size: int) -> float:
        """What a right function that hides nothing returns: for the choice of what to try, not for a verdict."""
        torch, text = self.torch, self.task["long_text"]
        oracle = Oracle(torch, size)
        oracle.ids = set(text)
        logits = oracle(torch.tensor([text[:-1]]))[0]
        return float(torch.nn.functional.cross_entropy(logits, torch.tensor(text[1:])))

    def _repeated(
        self, call: Callable[[list[int], int], list[float]], oracle: Oracle, text: list[int], *, single: bool
    ) -> dict[str, Any]:  # fmt: skip
        """Calls of one probe: as many, of as many rows, as the network calls of one call allow; never by the clock.

        What is returned then depends on the seed alone, and not on how fast the machine is. Calls end early where all
        numbers are sharp.
        """
        oracle.calls, oracle.shown = [], 0
        with contextlib.suppress(_NotFiniteError):
            call(text, _FIRST_ROWS)
        per_call = max(len(oracle.calls), 1)
        per_row = max(oracle.shown // _FIRST_ROWS, 1)  # as many as calls, but where rows are asked for one by one
        calls = self.task["calls"] if per_call <= _MANY else _MIN_CALLS
        if not self.rows:  # the same for all probes: a sum over the batch grows with them
            by_one = max(per_call // _FIRST_ROWS, 1)  # network calls for a row, where rows are scored one by one
            rows = min(_MAX_ROWS, self.task["shown"] // (calls * per_row), _MAX_ASKED // (calls * by_one))
            self.rows = 1 if single else max(_FIRST_ROWS, rows)
        if single:
            calls = min(_MAX_CALLS, calls * 16)
        rows = self.rows
        oracle.calls, oracle.variance, oracle.binomial, oracle.shown = [], 0.0, 0.0, 0
        returned = [call(text, rows)]
        per_call = len(oracle.calls)
        rates = [oracle.calls]
        while len(returned) < calls and not (len(returned) >= _MIN_CALLS and self._is_sharp(returned)):
            oracle.calls = []
            returned.append(call(text, rows))
            rates.append(oracle.calls)
        grid: list[float] | None = None
        spread = between = 0.0
        tokens = oracle.shown * len(text) / max(per_call * len(returned), 1)
        if all(len(one) == per_call for one in rates):
            columns = self.numpy.array(rates)
            grid, spread = columns.mean(axis=0).tolist(), float(columns.std(axis=0).max(initial=0.0))
            between = self._between(columns, tokens)
        return {
            "returned": returned, "rows": rows, "rates": grid, "spread": spread, "calls": per_call,
            "tokens_a_call": tokens, "between": between,
            "ever": oracle.ever, "dispersion": oracle.variance / oracle.binomial if oracle.binomial else 1.0,
        }  # fmt: skip

    @staticmethod
    def _between(columns: Any, tokens: float) -> float:
        """How much the hidden part of a network call differs from call to call of the function: 1 at a fixed rate.

        Args:
            columns: (calls of the function, network calls of each), the part of the tokens that was hidden.
            tokens: tokens that a network call is shown.
        """
        means, degrees = columns.mean(axis=0), len(columns) - 1
        binomial = float((means * (1.0 - means)).sum()) / max(tokens, 1.0) * (degrees + 1) / max(degrees, 1)
        return float(columns.var(axis=0, ddof=1).sum()) / binomial if binomial > 0.0 and degrees else 1.0

    def _is_sharp(self, returned: list[list[float]]) -> bool:
        if len({len(one) for one in returned}) > 1:
            return True
        table = self.numpy.array(returned)
        mean, error = abs(table.mean(axis=0)), table.std(axis=0) / math.sqrt(len(table))
        return bool(((mean > 0.0) & (error <= _SHARP * mean)).all())  # nothing but zeros may be luck

    # -- the script's namespace -------------------------------------------------------------------

    def _space(self, function: dict[str, Any], oracle: Oracle) -> tuple[dict[str, Any], list[int]]:
        module = types.ModuleType("script")
        sys.modules["script"] = module
        space = module.__dict__
        allowed = {name: getattr(builtins, name) for name in dir(builtins)}
        for name in ("open", "exec", "eval", "compile", "input", "breakpoint", "help", "exit", "quit"):
            allowed.pop(name, None)
        allowed["__import__"] = self._import
        repeat = [0]
        space.update(
            __builtins__=allowed, __processor__=self.processor, __device__=self.torch.device("cpu"),
            __oracle__=_Wrapped(oracle), __repeat__=repeat, __file__="/script.py",
            __text__=self.torch.tensor(self.task["long_text"]), __here__=_Names(space),
        )  # fmt: skip
        function["problems"] = []
        for blob in function["definitions"]:
            self._execute(blob, space, function["problems"])
            self._shorten(space)

        def prepare() -> None:
            for blob in function["prelude"]:
                self._execute(blob, space, function["problems"])
                self._shorten(space)

        function["prepared"] = self._traced(function, prepare)
        return space, repeat

    @staticmethod
    def _execute(blob: types.CodeType, space: dict[str, Any], problems: list[str]) -> None:
        """One statement. What fails leaves its name unset, and whoever needs it says so."""
        try:
            exec(blob, space)  # noqa: S102 - what the user allowed by --allow-code
        except (TimeoutError, MemoryError, SystemExit, KeyboardInterrupt):
            raise
        except BaseException as problem:
            problems.append(f"{type(problem).__name__}: {problem}"[:160])

    def _import(
        self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> Any:  # fmt: skip
        root = name.split(".", maxsplit=1)[0]
        if root == "os":
            return _operating_system(self.task.get("settings", {}))
        if root == "sys":
            return types.SimpleNamespace(argv=["script"], stdout=sys.stdout, stderr=sys.stderr, maxsize=sys.maxsize,
                                         version_info=sys.version_info, path=[], platform=sys.platform, modules={},
                                         version=sys.version, exit=_exit, byteorder=sys.byteorder)  # fmt: skip
        if root == "sentencepiece":
            return types.SimpleNamespace(SentencePieceProcessor=lambda *_, **__: self.processor)
        if level or root not in _REAL:
            return _Inert(name if fromlist else root)
        try:
            return __import__(name, globals, locals, fromlist, level)
        except ImportError:
            return _Inert(name if fromlist else root)

    def _shorten(self, space: dict[str, Any]) -> None:
        """Windows as long as the probes', wherever the script keeps their length; and no other device."""
        length = self.task["length"]
        holders: list[tuple[Any, dict[str, Any]]] = []
        for name, value in list(space.items()):
            if name.startswith("__") and not name.startswith(_OURS):
                continue
            if isinstance(value, type) and value.__module__ == "script":
                holders.append((value, dict(vars(value))))
            elif isinstance(value, argparse.Namespace) or type(value).__module__ == "script":
                holders.append((value, dict(getattr(value, "__dict__", {}))))
            elif type(value) is int and value >= 16 and re.search(_CONTEXT, name):
                space[name] = length
            elif type(value) is int and value > _MAX_STEPS and re.search(_STEPS, name.lower()):
                space[name] = _MAX_STEPS
            elif value == "cuda":
                space[name] = "cpu"
        for holder, held in holders:
            for name, value in held.items():
                try:
                    if type(value) is int and value >= 16 and re.search(_CONTEXT, name):
                        setattr(holder, name, length)
                    elif type(value) is int and value > _MAX_STEPS and re.search(_STEPS, name.lower()):
                        setattr(holder, name, _MAX_STEPS)
                    elif type(value) is int and value > 2 and "stride" in name:
                        setattr(holder, name, length // 2)
                    elif type(value) is str and value == "cuda":
                        setattr(holder, name, "cpu")
                except (AttributeError, TypeError):
                    continue

    @staticmethod
    def _everything(space: dict[str, Any]) -> list[tuple[str, Any]]:
        pairs = [(name, value) for name, value in space.items() if not name.startswith("__")]
        for name, value in list(space.items()):
            is_own = not name.startswith("__") or name.startswith(_OURS)
            if is_own and hasattr(value, "__dict__"):
                pairs.extend((key, held) for key, held in list(vars(value).items()))
        return pairs

    def _vocabulary(self, space: dict[str, Any], size: int) -> tuple[int, int]:
        """V as the script has it, the tokenizer's where it has none; and its widest logits, with masks and padding."""
        names = ("vocab_size", "vocab", "v", "n_vocab", "base_vocab_size")
        held = [(key.lower(), value) for key, value in self._everything(space) if type(value) is int]
        held = [(key, value) for key, value in held if 8 < value < 1 << 18]
        clean = min((value for key, value in held if key in names), default=size)
        wide = [value for key, value in held if "vocab" in key and clean <= value <= clean + 128]
        wide += [value + 1 for key, value in held if "mask" in key and clean <= value <= clean + 128]
        return clean, max(wide, default=clean)

    def _levels(self, space: dict[str, Any]) -> list[float]:
        """What the script calls eps: 1 - u_max, perhaps."""
        found = {float(held) for key, held in self._everything(space) if "eps" in key.lower() and type(held) is float}
        return sorted(value for value in found if 0.0 < value < 0.3)

    # -- the call -------------------------------------------------------------------------------

    def _target(self, function: dict[str, Any], space: dict[str, Any], oracle: Oracle) -> tuple[Any, dict[str, Any]]:
        given: dict[str, Any] = {}
        for name, kind, variable in function["parameters"]:
            if kind in ("flat", "windows", "words", "default"):
                continue
            if variable and variable in space:
                value = space[variable]
                if isinstance(value, self.torch.nn.Module):
                    value = value.eval()
                if type(value) is int and value > _MAX_STEPS and "steps" in name.lower():
                    value = _MAX_STEPS  # T-step mistakes show the better, and a call takes the shorter
                given[name] = value
            elif kind == "model":
                given[name] = self._stand_in(function, space, oracle)
            else:
                why = "; ".join(function["problems"][:1]) or "nothing says what it is"
                raise _NotRunError(f"its argument {name} could not be made ({why})")
        target = self._found(function, space)
        return target, {**self._short_defaults(function, target), **given}

    def _found(self, function: dict[str, Any], space: dict[str, Any]) -> Any:
        """The function itself, or the method of an instance."""
        name = function["name"].rsplit(".", maxsplit=1)[-1]
        if function["owner"] is None:
            return space[name]
        instance = space.get("__instance__")
        if instance is None:
            instance = self._bare(space[function["owner"]])
        if isinstance(instance, self.torch.nn.Module):
            instance = instance.eval()
        return getattr(instance, name)

    def _short_defaults(self, function: dict[str, Any], target: Callable[..., object]) -> dict[str, Any]:
        """Arguments that are left at defaults too long for a probe: as `_shorten` has the script's own settings."""
        import inspect
        import re

        try:
            held = inspect.signature(target).parameters
        except (TypeError, ValueError):
            return {}
        short: dict[str, Any] = {}
        for name, kind, _ in function["parameters"]:
            value = held[name].default if kind == "default" and name in held else None
            if type(value) is not int:
                continue
            if value >= 16 and re.search(_CONTEXT, name):
                short[name] = self.task["length"]
            elif value > _MAX_STEPS and "steps" in name.lower():
                short[name] = _MAX_STEPS
            elif value > 2 and "stride" in name:
                short[name] = self.task["length"] // 2
        return short

    def _stand_in(self, function: dict[str, Any], space: dict[str, Any], oracle: Oracle) -> Any:
        """A network of the script's own class that was never made, or the oracle itself."""
        classes = [space[name] for name in function["networks"] if isinstance(space.get(name), type)]
        if not classes:
            return _Wrapped(oracle)
        # Small classes with an embedding of their own are parts of the large one.
        return self._bare(max(classes, key=lambda made: len(vars(made))))

    def _bare(self, made: Any) -> Any:
        instance = made.__new__(made)
        if isinstance(instance, self.torch.nn.Module):
            self.torch.nn.Module.__init__(instance)
            instance.training = False
        return instance

    def _called(
        self, function: dict[str, Any], target: Callable[..., object], given: dict[str, Any], text: list[int],
        rows: int, *, single: bool,
    ) -> list[float]:  # fmt: skip
        torch, numpy = self.torch, self.numpy
        values = dict(given)
        length = self.task["length"]
        for name, kind, _ in function["parameters"]:
            flat = text if not rows else text * rows + text[:1]
            if kind == "flat":
                values[name] = numpy.array(flat, dtype=numpy.int64) if function["numpy"] else torch.tensor(flat)
            elif kind == "holder":
                held = [key for key, value in vars(values[name]).items()
                        if isinstance(value, torch.Tensor) and re.search("(val|eval)_tokens", key)]  # fmt: skip
                if len(held) != 1:
                    raise _NotRunError(f"where its argument {name} holds the text cannot be told")
                setattr(values[name], held[0], torch.tensor(flat))
            elif kind == "words":
                values[name] = self.processor.decode(text)
            elif kind == "windows" and single:
                values[name] = numpy.array(text) if function["numpy"] else torch.tensor(text)
            elif kind == "windows":
                block = numpy.array(text, dtype=numpy.int64).reshape(-1, length).repeat(max(rows, 1), axis=0)
                values[name] = block if function["numpy"] else torch.from_numpy(block)
        owner = getattr(target, "__self__", None)
        before = _numbers_of(owner)
        with torch.no_grad():
            returned = target(**values)
        if returned is None:
            after = _numbers_of(owner)
            returned = [after[key] - before.get(key, 0.0) for key in sorted(after)]
        return self._floats(returned)

    def _floats(self, returned: object) -> list[float]:
        """The numbers of an answer: means over rows where it has rows."""
        torch = self.torch
        if isinstance(returned, dict):
            returned = [returned[key] for key in returned]
        if hasattr(returned, "__dataclass_fields__"):
            returned = list(vars(returned).values())
        if not isinstance(returned, tuple | list):
            returned = [returned]
        numbers: list[float] = []
        for part in returned:
            if isinstance(part, torch.Tensor) and part.numel():
                numbers.append(float(part.double().mean()))
            elif isinstance(part, self.numpy.ndarray | self.numpy.generic) and part.size:
                numbers.append(float(part.astype(float).mean()))
            elif isinstance(part, int | float) and not isinstance(part, bool):
                numbers.append(float(part))
        if not numbers:
            raise _NotRunError("it returns no number")
        if not all(math.isfinite(number) for number in numbers):
            raise _NotFiniteError("it returns a number that is not finite")
        return numbers[:8]

    def _passed(self, function: dict[str, Any], call: Callable[[], object]) -> dict[str, list[int]]:
        """The lines that making the arguments and one call pass through."""
        prepared, called = function["prepared"], self._traced(function, call)
        return {file: sorted({*prepared.get(file, []), *lines}) for file, lines in called.items()}

    def _traced(self, function: dict[str, Any], call: Callable[[], object]) -> dict[str, list[int]]:
        """The lines of the script that a call passes through."""
        lines: dict[str, set[int]] = {path: set() for path in function["files"]}

        def trace(frame: Any, event: str, argument: object) -> Any:
            del argument
            file = frame.f_code.co_filename
            if file not in lines:
                return None
            if event == "line":
                lines[file].add(frame.f_lineno)
            return trace

        sys.settrace(trace)
        try:
            call()
        finally:
            sys.settrace(None)
        return {file: sorted(found) for file, found in lines.items()}


class _NoWrapper:
    """DistributedDataParallel of one process: the module itself."""

    def __new__(cls, module: Any, *_: object, **__: object) -> Any:
        return module


class _Wrapped:
    """A network that the script loads from a file, or takes from one that is not there: called, it gives logits."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle

    def __call__(self, *arguments: object, **named: object) -> Any:
        return self._oracle(*arguments, *named.values())

    def __getattr__(self, name: str) -> Any:
        if "logits" in name and not name.startswith("__"):
            return self
        raise AttributeError(f"a network that is loaded from a file or imported has no {name} here")

    def eval(self) -> _Wrapped:
        return self

    train = to = half = bfloat16 = float = cpu = cuda = requires_grad_ = lambda self, *_, **__: self


def _numbers_of(owner: object) -> dict[str, float]:
    held = vars(owner) if hasattr(owner, "__dict__") else {}
    return {key: float(value) for key, value in held.items()
            if isinstance(value, int | float) and not isinstance(value, bool)}  # fmt: skip


def _exit(*_: object) -> NoReturn:
    raise SystemExit("it ends the program")


class _Names:
    """What a script has of another file that it imports whole: the names of the one namespace, as attributes."""

    def __init__(self, space: dict[str, Any]) -> None:
        self.__dict__["_space"] = space

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in self._space:
            raise AttributeError(f"no file of the submission has a {name} that could be made")
        return self._space[name]


def _operating_system(settings: dict[str, str]) -> Any:
    """`os` for a script that asks for settings: those that are known of the run, and no files."""
    import posixpath

    return types.SimpleNamespace(
        environ=dict(settings), getenv=settings.get, path=posixpath, sep="/", name=os.name,
        cpu_count=lambda: 1, getpid=lambda: 1, PathLike=os.PathLike, linesep="\n", fspath=os.fspath,
    )  # fmt: skip


def _patch(torch: Any) -> None:
    """What makes a script compile, wait for a device or fill weights that nobody looks at."""
    torch.cuda.amp.common.amp_definitely_not_available = lambda: True  # or autocast looks for a library every time
    torch.compile = lambda model=None, *_, **__: model if model is not None else (lambda inner: inner)
    for name in ("synchronize", "empty_cache", "reset_peak_memory_stats", "manual_seed_all", "set_device"):
        setattr(torch.cuda, name, lambda *_, **__: None)
    for name in dir(torch.nn.init):
        if name.endswith("_") and not name.startswith("_"):
            setattr(torch.nn.init, name, lambda tensor, *_, **__: tensor)
    torch.nn.parallel.DistributedDataParallel = _NoWrapper
    torch.set_num_threads(1)


def _limits() -> Any:
    """The module that lies beside this program."""
    path = Path(__file__).with_name("limited_process.py")
    spec = importlib.util.spec_from_file_location("limited_process", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Read the task from standard input; print a line for each function: its name and what it returned, or why not."""
    answer = os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    task = json.load(sys.stdin)
    warnings.simplefilter("ignore")
    sys.argv = ["script"]
    import tempfile

    tempfile.tempdir = os.path.sep  # torch imports dill where that is installed, which looks for a folder to write to
    import numpy
    import sentencepiece
    import torch
    import torch.distributed
    import torch.nn.functional
    import torch.nn.parallel

    processor = sentencepiece.SentencePieceProcessor(model_file=task["tokenizer"])
    size = processor.get_piece_size()
    task.setdefault("size", size)
    _patch(torch)
    random.seed(0)
    torch.manual_seed(task["seed"])
    numpy.random.seed(task["seed"])
    for function in task["functions"]:
        for part in ("definitions", "prelude"):
            function[part] = [marshal.loads(base64.b64decode(blob)) for blob in function[part]]  # noqa: S302 - ours
    limits = _limits()
    limits.limit(limits.address_space() + _MEMORY, cpu_seconds=_CPU_SECONDS)
    limits.fence(task["tokenizer"])
    process = _Process(task, torch, numpy, processor)
    for function in task["functions"]:
        reply: dict[str, Any] = {"name": function["name"]}
        signal.signal(signal.SIGPROF, _too_long)
        signal.setitimer(signal.ITIMER_PROF, task["seconds"])  # processor time: what else the machine does is no matter
        try:
            reply |= process.run(function)
        except _NotRunError as problem:
            reply["not_run"] = str(problem)
        except TimeoutError:
            reply["not_run"] = f"it was stopped after {task['seconds']:g} s of processor time"
        except SystemExit:
            reply["not_run"] = "it ends the program"
        except MemoryError:
            reply["not_run"] = "it takes more memory than it may"
        except BaseException as problem:
            reply["not_run"] = f"{type(problem).__name__}: {problem}"[:300]
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0.0)
        reply["problems"] = function.get("problems", [])[:4]  # what its arguments lacked
        answer.write(json.dumps(reply) + "\n")
        answer.flush()


def _too_long(*_: object) -> NoReturn:
    raise TimeoutError


if __name__ == "__main__":
    main()
