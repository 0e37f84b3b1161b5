"""BPB456: settings that a README's commands give to scripts of the record, and that no program of it reads.

Another version of the script read them, perhaps, or they never did anything: nothing follows for the score. Nothing is
said where a program asks the environment for a name that is not written out, or runs another with what it was given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bpb_harness.auditing import codes
from bpb_harness.auditing.checks.modules_elsewhere import modules_elsewhere
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.programs import Programs
from bpb_harness.claim.settings import settings_given_to
from bpb_harness.findings import Finding, first_of

_MAX_SHOWN = 4
# Read by libraries, launchers, compilers and the system.
_OF_OTHERS = re.compile(
    r"(?:NCCL|CUDA|CUBLAS|CUDNN|TORCH|PYTORCH|OMP|MKL|KMP|OPENBLAS|PYTHON|TRITON|HF|HUGGING|WANDB|TOKENIZERS|DISABLE"
    r"|TRANSFORMERS|MASTER|WORLD|RANK|LOCAL|NVIDIA|NV|GLOO|LD_|SLURM|TMP|TEMP|UV_|PIP|XLA|JAX|MLX|MAX_JOBS|TZ|CC$|CXX"
    r"|PATH|HOME|COMET|MLFLOW|NEPTUNE|CLEARML|AIM_|SWANLAB|RAY_|AWS|MODAL|RUNPOD|FLA_|BNB|TL_|CFLAGS|LDFLAGS|CMAKE|FORCE_CUDA"
    r"|OMPI|VECLIB|XDG|PJRT|KINETO|PROTOCOL_BUFFERS|NO_COLOR|COLUMNS|TERM|LOGLEVEL|LIBRARY_PATH|CPATHLANG|LC_|MALLOC|TF_|HSA|HIP|ROC|AMD|NPROC|FLASH_ATTN|TQDM|ACCELERATE|DS_|UCX|FI_|IB_|NUMEXPR|GIT|SSH|DEBIAN)"
)
_NAMED = re.compile(
    r"environ\s*(?:\.\s*(?:get|setdefault|pop)\s*\(|\[)\s*[\"'][^\"'{}]*[\"']\s*[,)\]]"
    r"|in\s+(?:os\.)?environ\b(?!\s*[.\[])|getenv\s*\(\s*[\"'][^\"'{}]*[\"']\s*[,)]|import\s+environ\b(?!\s+as)"
)
_ASKED = re.compile(r"\benviron\b|\bgetenv\b")
_RUNS_OTHERS = re.compile(r"__import__|importlib|runpy|\bexec\(|hydra|OmegaConf|BaseSettings|dotenv")


def check_unread_settings(evidence: Evidence, programs: Programs) -> Iterator[Finding]:
    """Name the settings whose names stand in no program of the record."""
    readme, scripts = evidence.claim.readme, evidence.claim.scripts
    if readme is None or not scripts or not programs.folders:
        return
    given = settings_given_to(readme.text, {script.name for script in scripts})
    given = {name: held for name, held in given.items() if not _OF_OTHERS.match(name)}
    if not given or not programs.texts:
        return
    unread = [held for name, held in given.items() if not any(_reads(text, name) for text in programs.texts)]
    if not unread or not _name_what_they_ask(programs) or modules_elsewhere(evidence, programs):
        return
    script = unread[0][1]
    shown = first_of([f"`{words}`" for words, started in unread if started == script], _MAX_SHOWN)
    message = f"a command of {readme.file} starts {script} with {shown}, which no program of the record reads"
    yield codes.UNREAD_SETTINGS.finding(message, settings=[words for words, _ in unread])


def _reads(text: str, name: str) -> bool:
    """Whether a program has a name in quotes, as what it asks for, or in small letters, or that of a shell."""
    if name not in text and name.lower() not in text:
        return False
    return re.search(rf"[\"'$\{{]{name}(?!\w)|(?<!\w){name.lower()}(?!\w)", text) is not None


def _name_what_they_ask(programs: Programs) -> bool:
    """Whether programs ask the environment for something, and for names alone that are written out in them.

    One in Python that asks for nothing reads nothing; what another's language reads is not known.
    """
    asks = False
    for file, text in zip(programs.every, programs.texts, strict=True):
        asked = len(_ASKED.findall(text))
        if asked > len(_NAMED.findall(text)) or _RUNS_OTHERS.search(text) or (not asked and file.suffix != ".py"):
            return False
        asks = asks or asked > 0
    return asks
