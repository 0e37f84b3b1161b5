"""A fault of a script that did not write the log of the score, and what says that the run had it all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing.learnt import OF_ANOTHER_VERSION
from bpb_harness.auditing.script import LoggedScore, ScriptContext, check_scripts
from bpb_harness.findings import Finding
from tests.golf_rules import GOLF

SCRIPT = """
import math
import numpy as np
MASK = (1 << 22) - 1


def score(p_net, tokens, num_bytes):
    ctx, full = np.zeros(MASK + 1), np.zeros(MASK + 1)
    nats = 0.0
    for i in range(2, len(tokens)):
        prev, here = int(tokens[i - 1]), int(tokens[i])
        a = (prev * 36313) & MASK
        b = (a ^ (here * 65537)) & MASK
        q = full[b] / max(ctx[a], 1)
        nats -= math.log(0.7 * p_net[i] + 0.3 * q)
        ctx[a] += 1
        full[b] += 1
    return nats


def main(p_net, tokens, num_bytes):
    print(f"Code size: {len(open(__file__).read())} bytes")
    val_bpb = score(p_net, tokens, num_bytes) / math.log(2.0) / num_bytes
    print(f"val_bpb: {val_bpb:.5f}")


main(np.load("p.npy"), np.load("t.npy"), 10)
"""
SIZE = len(SCRIPT)


def _found(
    folder: Path,
    *sizes: int | None,
    readme: str = "",
    printed: str = "",
    said: tuple[str, ...] = (),
    titles: tuple[str, ...] = (),
    text: str = SCRIPT,
) -> Finding:
    """BPB267 of a script beside logs that state some sizes of their code."""
    script = folder / "eval.py"
    script.write_text(text)
    logged = []
    for number, size in enumerate(sizes):
        log = folder / f"seed{number}.log"
        lines = [f"Code size: {size} bytes" if size is not None else "", printed, "val_bpb: 0.50000"]
        log.write_text("\n".join(lines))
        logged.append(LoggedScore(log, log.name, 3))
    context = ScriptContext(
        rules=GOLF, claimed_labels=("val_bpb:",), logged=tuple(logged), readme=readme, said=said, titles=titles
    )
    (found,) = [each for each in check_scripts([script], context) if each.code == "BPB267"]
    return found


def test_what_another_version_did_is_not_known(tmp_path: Path) -> None:
    found = _found(tmp_path, SIZE + 90)
    assert found.evidence[OF_ANOTHER_VERSION] is True
    sizes = f"seed0.log states {SIZE + 90:,} bytes of code, the script has {SIZE:,}"
    assert f"This is a doubt, and no more: another version of the script wrote the log: {sizes}" in found.message


@pytest.mark.parametrize("sizes", [(SIZE,), (None,), (), (SIZE + 90, SIZE), (SIZE + 90, None)])
def test_a_script_that_may_have_written_a_log_is_the_one_that_ran(
    tmp_path: Path, sizes: tuple[int | None, ...]
) -> None:
    found = _found(tmp_path, *sizes)
    assert OF_ANOTHER_VERSION not in found.evidence
    assert "another version" not in found.message.lower()


@pytest.mark.parametrize(
    "readme",
    [
        "# Score\n- N-gram counts in 4M hash buckets, orders 2-9",
        "# Score\nHash tables of context counts and of counts with the target",
        "# Score\n| Cache | 5-gram, 4M buckets |",
    ],
)
def test_a_readme_that_names_hashed_counts_says_it_of_the_run(tmp_path: Path, readme: str) -> None:
    found = _found(tmp_path, SIZE + 90, readme=readme)
    assert OF_ANOTHER_VERSION not in found.evidence
    assert "Another version of the script wrote the log: seed0.log states" in found.message
    assert "that the run did the same, line 2 of the README says" in found.message


COUNTS, SUMS = "N-gram counts in 4M hash buckets", "A full-vocab distribution"


def test_so_do_the_words_of_a_submission(tmp_path: Path) -> None:
    for found in (_found(tmp_path, SIZE + 90, said=("", COUNTS)), _found(tmp_path, SIZE + 90, titles=("", COUNTS))):
        assert found.evidence["said_of_the_run"] == "the record's own description"
        assert OF_ANOTHER_VERSION not in found.evidence


@pytest.mark.parametrize(
    ("said", "titles"), [((SUMS,), ()), ((), (SUMS,)), (("A network", SUMS), ()), ((), ("A network", SUMS))]
)
def test_words_of_a_submission_take_a_readmes_back(
    tmp_path: Path, said: tuple[str, ...], titles: tuple[str, ...]
) -> None:
    assert _found(tmp_path, SIZE + 90, readme=COUNTS, said=said, titles=titles).evidence[OF_ANOTHER_VERSION] is True


def test_a_script_that_states_no_size_and_that_nothing_imports(tmp_path: Path) -> None:
    text = SCRIPT.replace("len(open(__file__).read())", "CODE_SIZE")
    assert "which eval.py imports" not in _found(tmp_path, SIZE + 90, text=text).message


def test_so_does_a_line_of_the_log(tmp_path: Path) -> None:
    found = _found(tmp_path, SIZE + 90, printed="ngram_eval:order=7 min_count=2 buckets=4194304")
    assert found.evidence["said_of_the_run"] == "seed0.log:2"


@pytest.mark.parametrize(
    "readme",
    [
        "An n-gram cache, orders 2-9",  # no word of hashes
        "BigramHash embedding of 4,096 buckets, n-gram cache",  # hashed rows of weights
        "NGRAM_ORDER=9 NGRAM_BUCKETS=4194304 python eval.py",  # to the script that lies there
        "4M hash buckets of n-gram counts, normalized over all 1024 tokens",
        "n-gram counts in 4M hash buckets; the probabilities of all tokens sum to 1",
        "Full-vocab distributions of n-gram counts in hash buckets",
        "n-gram cache in a hash table, collision-free",
        "Counts of n-grams in a dictionary: exact counts, no hashing",
    ],
)
def test_a_readme_that_may_tell_of_sound_counts_does_not(tmp_path: Path, readme: str) -> None:
    assert _found(tmp_path, SIZE + 90, readme=readme).evidence[OF_ANOTHER_VERSION] is True


@pytest.mark.parametrize(
    "readme",
    [
        "No hashed n-gram cache was used in this run.",
        "The hashed n-gram cache is off.",
        "Hashed counts of contexts were removed: they are no probabilities",
        "# Next\n\n- a hashed n-gram cache",
        "Sequences are put into length buckets by context size",
        "The order of the logs is kept; the file hash of each is below",
        "- [ ] try counts in hash buckets",
        "Hash buckets were dropped. The n-gram counts of it are in a dictionary.",
    ],
)
def test_a_readme_that_says_that_it_was_not_done_or_speaks_of_others_does_not(tmp_path: Path, readme: str) -> None:
    assert _found(tmp_path, SIZE + 90, readme=readme).evidence[OF_ANOTHER_VERSION] is True


NOT_DONE = (
    "no not never without neither nor none instead off disable disabled remove removed dropped drop drops unused "
    "unlike replaced avoid avoids avoided rejected illegal invalid banned try tried todo next later future plan plans "
    "planned idea ideas would could should might previous previously earlier prior other others isn't isn\u2019t ~~"
)
HEADINGS = (
    "next future later todo idea ideas not no related prior previous tried failed ablations negative rejected does"
)


def test_no_word_of_what_was_not_done_says_it_of_the_run(tmp_path: Path) -> None:
    lines = [f"- hashed n-gram counts: {word} here" for word in (*NOT_DONE.split(), "ruled out")]
    lines += [f"## What {word.title()} stands below\n\n- hashed n-gram counts\n" for word in HEADINGS.split()]
    assert _found(tmp_path, SIZE + 90, readme="\n".join(lines)).evidence[OF_ANOTHER_VERSION] is True
    found = _found(tmp_path, SIZE + 90, readme="\n".join([*lines, "# Score", "- hashed n-gram counts: kept here"]))
    assert found.evidence["said_of_the_run"] == f"line {len(chr(10).join(lines).split(chr(10))) + 2} of the README"


def test_a_word_of_another_sentence_takes_nothing_back(tmp_path: Path) -> None:
    readme = "Instead of one n-gram order we try the highest first. Each order has 4M hash buckets."
    assert "said_of_the_run" in _found(tmp_path, SIZE + 90, readme=readme).evidence


def test_the_hash_of_a_commit_in_a_log_names_no_counts(tmp_path: Path) -> None:
    assert OF_ANOTHER_VERSION in _found(tmp_path, SIZE + 90, printed="git hash: 0abc12 (context: main)").evidence


def _found_in_a_module(
    folder: Path, imported: str = "from counts import score", own: str = "", **others: str
) -> Finding:
    """BPB267 of a module of a script, beside a log that states another size of the script."""
    before, _, after = SCRIPT.partition("def main")
    module, script = folder / "counts.py", folder / "eval.py"
    module.write_text(f"{before}\n\n{own}")
    for name, text in others.items():
        (folder / f"{name}.py").write_text(text)
    script.write_text(f"import math\nimport numpy as np\n{imported}\n\n\ndef main{after}")
    log = folder / "seed0.log"
    log.write_text(f"Code size: {script.stat().st_size + 90} bytes\nval_bpb: 0.50000")
    logged = (LoggedScore(log, log.name, 2),)
    context = ScriptContext(rules=GOLF, claimed_labels=("val_bpb:",), logged=logged)
    (found,) = [
        each
        for each in check_scripts([module, script, *(folder / f"{name}.py" for name in others)], context)
        if each.code == "BPB267"
    ]
    return found


def test_of_a_module_that_a_script_imports_no_log_tells_the_size(tmp_path: Path) -> None:
    found = _found_in_a_module(tmp_path)
    size = (tmp_path / "eval.py").stat().st_size
    assert found.evidence[OF_ANOTHER_VERSION] is True
    assert (
        f"another version of eval.py wrote the log: seed0.log states {size + 90:,} bytes of code, eval.py has {size:,}"
        ". Of counts.py, which eval.py imports, no log tells the size; what the counts.py of the run did is not known"
    ) in found.message


def test_a_module_that_reads_itself_may_be_what_the_log_states_the_size_of(tmp_path: Path) -> None:
    found = _found_in_a_module(tmp_path, own="def size():\n    return len(open(__file__).read())\n")
    assert "which eval.py imports" not in found.message


IMPORTING = f"import math\nimport numpy as np\nfrom counts import score\n\n\ndef main{SCRIPT.partition('def main')[2]}"


@pytest.mark.parametrize(
    "other",
    [
        "from counts import score\n".ljust(2 * SIZE, "#"),
        "import counts\n",
        "import math\n".ljust(len(IMPORTING) + 80, "#"),
    ],
    ids=["larger", "smaller", "nearest, and imports it not"],
)
def test_of_several_scripts_the_one_that_imports_the_module_and_is_nearest_to_the_log(
    tmp_path: Path, other: str
) -> None:
    assert "Of counts.py, which eval.py imports" in _found_in_a_module(tmp_path, other=other).message
