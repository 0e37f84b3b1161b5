"""The ``submission.json`` of the contest, in every shape that people have given it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from bpb_harness.claim.methods import method_in
from bpb_harness.claim.names import (
    FieldNames,
    is_score_name,
    same_estimator,
    the_one,
    tokenizers_in,
)
from bpb_harness.claim.printed import Printed, Source, as_written, count_from_json, from_json, is_no_finite_number
from bpb_harness.claim.reading import PLAIN, Reading
from bpb_harness.claim.record import Claim, Note, NoteKind, Protocol
from bpb_harness.claim.runs_beside import runs_beside
from bpb_harness.claim.stated_bytes import stated_in_json, tokens_beside_bytes

_DATA_SETS = ("dataset", "val_dataset", "eval_dataset", "val_data", "eval_data", "data", "corpus")
_UNOFFICIAL = re.compile(
    r"\b(?:not an? official|not official|unofficial|not (?:an )?exact|approximate[^.]{0,80}(?:bpb|likelihood))",
    re.IGNORECASE,
)
# A sentence, or what stands in brackets, that says this and no more, in a text without a number that may be that mean.
_SEVERAL = r"(?:[2-9]|[1-9][0-9]|two|three|four|five|six|seven|eight|nine|ten)"
_MEAN = re.compile(
    r"(?:^|(?<=[.;,(|\n]))\s{0,4}((?:the |an? )?(?:mean|average) (?:of|over|across) (?:the |all |its )?"
    rf"{_SEVERAL} (?:random |independent )?(?:seeds|runs)|(?:the |an? )?{_SEVERAL}[- ]seed (?:mean|average))"
    r"\s{0,4}(?=[.;,)|\n]|$)",
    re.IGNORECASE,
)
_MAY_BE_A_SCORE = re.compile(r"(?<![0-9.])(?:0\.[2-9]|[1-9]\.[0-9])[0-9]{2}")
_STEPS_IN_KEY = re.compile(r"(?:^|_)T_?([0-9]{1,5})$")
# Parts of a key that say that its score is another one than the claim.
_ASIDE = re.compile(
    r"(?:^|_)(?:pre|train|baseline|base|ablation|proxy|codec|slice|step|old|previous|prev|no|without|before|best|min|max|seed"
    r"|target|parent|reference|full_precision|unquanti[sz]ed|float|fp32|bf16|control)(?=_|$|[0-9])",
    re.IGNORECASE,
)
_PARAMETERS = (
    "model_params",
    "num_params",
    "n_params",
    "total_params",
    "num_parameters",
    "model_parameters",
    "param_count",
)
_MAX_LEAVES = 5000


def read_submission(value: object, file: str, reading: Reading = PLAIN) -> Claim:
    """A claim from a parsed ``submission.json``.

    Args:
        value: the parsed JSON; anything but an object claims nothing.
        file: the file's name, for sources.
        reading: what is known beforehand of its keys, and of tokenizers.
    """
    source, names = Source(file), reading.names
    if not isinstance(value, Mapping):
        note = Note(NoteKind.NOT_A_NUMBER, f"{file} holds no JSON object, so it claims nothing", source)
        return Claim(file, notes=(note,))
    leaves = list(_leaves(value))
    texts = [text for _, text in leaves if isinstance(text, str)]
    seed_scores = _seed_scores(value, file, names)
    score, notes = _score(value, file, seed_scores, names)
    beside = _beside(value, score)
    loss = _loss_beside(beside, score, file) or _loss_of_seeds(value, score, file, names)
    estimator = _first_text(value, names.estimator)
    tokenizer = _tokenizers(_first_text(value, ("tokenizer", "tokenizer_name", "tokenizer_path")) or "", reading)
    return Claim(
        name=file,
        title=_first_text(value, ("name",)),
        score=score,
        claimed_in="submission" if score else None,
        nats_per_token=loss,
        called_a_loss=_number(value, "val_loss", file) if score is None else None,
        same_estimator=loss is None or score is None or same_estimator(loss.name, score.name),
        std=next((found for key in names.spread if (found := _number(value, key, file)) is not None), None),
        seeds=_seeds(value, seed_scores),
        seed_scores=seed_scores,
        runs_beside=runs_beside(leaves, score, file),
        other_scores=tuple(_other_scores(leaves, score, file)),
        steps_table=_steps_table(value, file),
        protocol=Protocol(
            method=method_in(estimator) or (method_in(score.name) if score else None),
            num_steps=_first_count(value, names.num_steps),
            bytes_per_token=stated_in_json(beside, file),
            scored_tokens=_first_count(value, names.scored_tokens) or tokens_beside_bytes(beside),
            num_windows=_first_count(value, names.num_windows),
            slice_text=next((t for k, t in leaves if isinstance(t, str) and "slice" in k.lower()), None),
            estimator_text=estimator,
        ),
        dataset=_dataset(_first_text(value, _DATA_SETS)),
        track=_first_text(value, names.track),
        tokenizer=the_one(tokenizer) or the_one(tokenizers_in(" ".join(texts)[:20_000])),
        tokenizer_source=Source(file, key="tokenizer") if the_one(tokenizer) else source,
        artifact_bytes=tuple(_artifact_bytes(leaves, file, names, _variants(value, score, names))),
        packing_bytes=tuple(_packing_bytes(leaves, file, names)),
        parameters=tuple(
            each for key in _PARAMETERS if (each := _number(value, key, file)) is not None and each.value >= 1e5
        ),
        whole_numbers=frozenset(
            held for _, held in leaves if isinstance(held, int) and not isinstance(held, bool) and held >= 1000
        ),
        says_unofficial=next((words for text in texts if (words := _unofficial(text[:2000]))), None),
        says_mean=next((words for text in texts if (words := _says_mean(text[:2000]))), None),
        said=tuple(_said(leaves, file, names)),
        notes=tuple(notes),
    )


def _tokenizers(named: str, reading: Reading) -> tuple[str, ...]:
    plain = named.strip().lower()
    return tokenizers_in(named) or tuple(name for name in reading.tokenizers if name.lower() == plain)


def _said(leaves: list[tuple[str, Any]], file: str, names: FieldNames) -> Iterator[tuple[Source, str]]:
    """The words of a record with their places; what it calls its estimator as a sentence of its score."""
    for key, text in leaves:
        if key != "name" and isinstance(text, str) and " " in text:
            is_of_score = "estimator" in key.rpartition(".")[2] or key in names.estimator
            yield Source(file, key=key), f"The score is {text}" if is_of_score else text


def _unofficial(text: str) -> str | None:
    """The sentence in which a record says that its score is no official one."""
    found = _UNOFFICIAL.search(text)
    if found is None:
        return None
    start = text.rfind(".", 0, found.start()) + 1
    end = text.find(".", found.end())
    return text[start : end if end >= 0 else len(text)].strip()


def _says_mean(text: str) -> str | None:
    """The words by which a record calls its score the mean of several seeds."""
    found = _MEAN.search(text)
    return found[1] if found is not None and _MAY_BE_A_SCORE.search(text) is None else None


def _dataset(name: str | None) -> str | None:
    if name is None:
        return None
    return name.strip().lower()[:60]


def _leaves(value: object) -> Iterator[tuple[str, Any]]:
    """Every value that is no container, with its dotted key; bounded."""
    stack: list[tuple[str, Any]] = [("", value)]
    for _ in range(_MAX_LEAVES):
        if not stack:
            return
        key, item = stack.pop()
        if isinstance(item, Mapping):
            stack.extend((f"{key}.{k}".lstrip("."), v) for k, v in reversed(list(item.items())))
        elif isinstance(item, list):
            stack.extend((f"{key}.{i}", v) for i, v in reversed(list(enumerate(item))))
        else:
            yield key, item


def _number(value: Mapping[str, Any], key: str, file: str) -> Printed | None:
    return from_json(value.get(key), Source(file, key=key), key)


def _first_count(value: Mapping[str, Any], keys: tuple[str, ...]) -> int | None:
    return next((count for key in keys if (count := count_from_json(value.get(key))) is not None), None)


def _first_text(value: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    return next((value[key] for key in keys if isinstance(value.get(key), str)), None)


def _score(
    value: Mapping[str, Any], file: str, seed_scores: Mapping[str, Mapping[str, Printed]], names: FieldNames
) -> tuple[Printed | None, list[Note]]:
    notes: list[Note] = []
    places: list[tuple[str, Mapping[str, Any]]] = [("", value)]
    places += [(f"{name}.", inner) for name in names.inside if isinstance(inner := value.get(name), Mapping)]
    metric = value.get("metric_name")
    for prefix, place in places:
        keys = (*names.score, metric) if isinstance(metric, str) else names.score
        for key in keys:
            if key not in place or (key == "score" and not _looks_like_bpb(place[key])):
                continue
            source = Source(file, key=f"{prefix}{key}")
            held = place[key]
            if isinstance(held, Mapping):
                held = next((held[k] for k in ("mean", "value", "avg", "average") if k in held), None)
            score = from_json(held, source, key)
            if score is not None and 0.0 < score.value < 1000.0:
                return score, notes
            if not isinstance(place[key], Mapping):
                notes.append(Note(NoteKind.NOT_A_NUMBER, f"{file}: {prefix}{key} is {as_written(place[key])}", source))
    # A null is a statement of its own: do not look for a better number behind it, except the seeds' own.
    for key, held in value.items():
        is_none = is_no_finite_number(held) and key not in names.score
        if is_none and is_score_name(key) and not key.endswith("_std"):
            notes.append(Note(NoteKind.NOT_A_NUMBER, f"{file}: {key} is {as_written(held)}", Source(file, key=key)))
    if not notes and (named := _score_of_another_name(value, file, names)) is not None:
        message = f"{file} gives its score as {named.name}"
        notes.append(Note(NoteKind.CHOICE, message, named.source))
        return named, notes
    if not notes and (mean := _mean_of_seeds(seed_scores, file, names)) is not None:
        notes.append(
            Note(NoteKind.CHOICE, f"{file} gives no score of its own: the mean of its seeds is taken", mean.source)
        )
        return mean, notes
    return None, notes


def _score_of_another_name(value: Mapping[str, Any], file: str, names: FieldNames) -> Printed | None:
    """The score of a record with a name of its own for it, such as val_bpb_3seed_mean; None where several could be."""
    found = []
    for key, held in value.items():
        aside = _ASIDE.search(key) or _STEPS_IN_KEY.search(key) or key in names.seeds
        if aside or not is_score_name(key) or isinstance(held, bool):
            continue
        score = from_json(held, Source(file, key=key), key)
        if score is not None and 0.0 < score.value < 1000.0:
            found.append(score)
    found = [score for score in found if re.search("mean|average|avg", score.name)] or found
    if not found or not all(found[0].agrees_with(other.value, other.half_unit) for other in found):
        return None
    return found[0]


def _looks_like_bpb(held: object) -> bool:
    number = from_json(held, Source(""))
    return number is not None and 0.0 < number.value < 10.0


def _mean_of_seeds(seed_scores: Mapping[str, Mapping[str, Printed]], file: str, names: FieldNames) -> Printed | None:
    for key in names.score:
        scores = seed_scores.get(key)
        if scores:
            values = [score.value for score in scores.values()]
            decimals = max(score.decimals or 0 for score in scores.values())
            return Printed(sum(values) / len(values), decimals, Source(file, key=f"mean of {key} over seeds"), key)
    return None


def _beside(value: Mapping[str, Any], score: Printed | None) -> Mapping[str, Any]:
    """The object that holds the score; an empty one where none does."""
    if score is None or score.source.key is None:
        return {}
    place: Any = value
    *above, _ = score.source.key.split(".")
    for part in above:
        place = place.get(part) if isinstance(place, Mapping) else None
    return place if isinstance(place, Mapping) else {}


def _loss_beside(place: Mapping[str, Any], score: Printed | None, file: str) -> Printed | None:
    if score is None:
        return None
    for key in (_twin(score), "val_loss", "mean_val_loss", "val_loss_mean"):
        loss = from_json(place.get(key), Source(file, key=key), key)
        if loss is not None and loss.value > 0.0:
            return loss
    return None


def _twin(score: Printed) -> str:
    """What the loss of the same estimator is called."""
    return re.sub(r"bits_per_byte|bpb", "loss", score.name)


def _loss_of_seeds(value: Mapping[str, Any], score: Printed | None, file: str, names: FieldNames) -> Printed | None:
    """The mean loss of the seeds whose mean the score is, where each of them has one beside its own score."""
    for name, held in _containers(value, names) if score is not None else ():
        results = [result for _, result in _by_seed(held) if isinstance(result, Mapping)]
        for key in filter(is_score_name, map(str, results[0] if results else ())):
            source = Source(file, key=f"mean over {name}")
            scores = [each for result in results if (each := from_json(result.get(key), source, key)) is not None]
            losses = [loss for result in results for each in scores[:1] if (loss := _loss_beside(result, each, file))]
            if not len(results) == len(scores) == len(losses):
                continue
            of_scores, of_losses = (sum(each.value for each in found) / len(found) for found in (scores, losses))
            is_own = same_estimator(losses[0].name, key)  # then so are their means
            if score is not None and is_own and score.agrees_with(of_scores, scores[0].half_unit):
                return Printed(of_losses, losses[0].decimals, source, _twin(score))
    return None


def _seed_scores(value: Mapping[str, Any], file: str, names: FieldNames) -> dict[str, dict[str, Printed]]:
    """Scores of each seed by metric, from a dict by seed or a list of objects that name their seed."""
    found: dict[str, dict[str, Printed]] = {}
    for name, held in _containers(value, names):
        for seed, result in _by_seed(held):
            metrics = result if isinstance(result, Mapping) else {_metric_of_container(name): result}
            for key, printed in metrics.items():
                score = from_json(printed, Source(file, key=f"{name}.{seed}.{key}"), str(key))
                if score is not None and is_score_name(str(key)) and 0.0 < score.value < 1000.0:
                    found.setdefault(str(key), {})[seed] = score
    return found


def _containers(value: Mapping[str, Any], names: FieldNames) -> list[tuple[str, Any]]:
    """What holds the results of seeds, by its key."""
    containers = [(name, value[name]) for name in names.seeds if name in value]
    seeds = value.get("seeds")
    if isinstance(seeds, Mapping) or (isinstance(seeds, list) and any(isinstance(item, Mapping) for item in seeds)):
        containers.append(("seeds", seeds))
    return containers


def _by_seed(held: object) -> list[tuple[str, Any]]:
    if isinstance(held, Mapping):
        return [(re.sub(r"^seed[-_]?", "", str(seed)), result) for seed, result in list(held.items())[:1000]]
    if isinstance(held, list):
        return [
            (str(result.get("seed", position)) if isinstance(result, Mapping) else str(position), result)
            for position, result in enumerate(held[:1000])
        ]
    return []


def _metric_of_container(name: str) -> str:
    return "val_bpb" if "bpb" not in name else re.sub(r"_?seeds?(_results)?$", "", name)


def _seeds(value: Mapping[str, Any], seed_scores: Mapping[str, Mapping[str, Printed]]) -> tuple[str, ...]:
    listed = value.get("seeds")
    if isinstance(listed, list) and all(isinstance(seed, int | str) for seed in listed):
        return tuple(dict.fromkeys(str(seed) for seed in listed[:1000]))
    if "seed" in value and isinstance(value["seed"], int | str):
        return (str(value["seed"]),)
    return tuple(dict.fromkeys(seed for scores in seed_scores.values() for seed in scores))


def _other_scores(leaves: list[tuple[str, Any]], score: Printed | None, file: str) -> Iterator[Printed]:
    for key, held in leaves:
        if score is not None and key == score.source.key:
            continue
        # The name of a nested value is its whole path: val_bpb_alt.nelbo_k256_full_val is a score.
        if not isinstance(held, str) and is_score_name(key):
            other = from_json(held, Source(file, key=key), key)
            if other is not None and 0.0 < other.value < 1000.0:
                yield other


def _steps_table(value: Mapping[str, Any], file: str) -> dict[int, Printed]:
    table: dict[int, Printed] = {}
    for key, held in value.items():
        steps = _STEPS_IN_KEY.search(key)
        if steps and is_score_name(key) and (score := from_json(held, Source(file, key=key), key)) is not None:
            table[int(steps[1])] = score
    return table


def _artifact_bytes(
    leaves: list[tuple[str, Any]], file: str, names: FieldNames, variants: frozenset[str]
) -> Iterator[Printed]:
    for key, held in leaves:
        parts = key.split(".")
        named = parts[-1] in names.artifact_bytes or any(part == "artifact_bytes_seeds" for part in parts[:-1])
        # What a record calls supplemental, an ablation or an earlier one is not what was submitted.
        aside = any(re.search(r"suppl|ablation|alternative|other", part) for part in parts[:-1])
        aside |= any(_EARLIER.search(part) for part in parts[:-1])
        aside |= ".".join(parts[:2]) in variants
        if named and not aside and (size := from_json(held, Source(file, key=key), parts[-1])) is not None:
            yield size


def _packing_bytes(leaves: list[tuple[str, Any]], file: str, names: FieldNames) -> Iterator[Printed]:
    for key, held in leaves:
        if _WITH_CODE.search(key) and key not in names.artifact_bytes:
            size = from_json(held, Source(file, key=key), key)
            if size is not None:
                yield size


_WITH_CODE = re.compile(r"^bytes_\w+_(?:plus|with)_code$|^\w+_(?:plus|with)_code_bytes$")


def _variants(value: Mapping[str, Any], score: Printed | None, names: FieldNames) -> frozenset[str]:
    """Entries of a table of variants, one of which has the claimed score: those that have another one."""
    found: set[str] = set()
    for table, rows in value.items():
        if score is None or table in names.seeds or not isinstance(rows, dict) or _RUNS.search(table):
            continue
        scores = {
            key: own
            for key, row in rows.items()
            if isinstance(row, dict) and not key.isdigit() and not _RUNS.search(key)
            for own in [from_json(row.get(score.name), Source("", key=key), key)]
            if own is not None
        }
        others = {key for key, own in scores.items() if abs(own.value - score.value) > own.half_unit + score.half_unit}
        if len(others) == len(scores) - 1:
            found |= {f"{table}.{key}" for key in others}
    return frozenset(found)


_EARLIER = re.compile(
    r"(?<![a-z])(?i:superseded|superceded|replaced|previous|prev|prior|old|older|earlier|former|obsolete|deprecated"
    r"|outdated)(?![a-z])"
)
_RUNS = re.compile(r"seed|run|rep(?:eat|lic)|trial|fold", re.IGNORECASE)
