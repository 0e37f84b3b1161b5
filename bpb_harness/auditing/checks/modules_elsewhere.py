"""BPB457: modules that a script of the record imports, and that lie neither in the record nor in a library known here.

What they do for the score is in no file of the record. A remark; but where the claim's log tells a setting to be on by
which such a module is imported, and nothing else in the record speaks of it, the score is made by something that it
does not tell of: a doubt.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bpb_harness.auditing import codes
from bpb_harness.auditing.checks.guarded_imports import Import, imports_of
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.of_the_run import settings_of_the_run
from bpb_harness.auditing.programs import Programs
from bpb_harness.auditing.said import texts_of
from bpb_harness.claim.listing import prose_below
from bpb_harness.claim.settings_told import SettingTold
from bpb_harness.claim.text_file import read_text
from bpb_harness.errors import ClaimError
from bpb_harness.findings import Finding, Severity, first_of

_MAX_SHOWN, _MOST_FILES = 3, 2_000
# What can be installed, by the names in imports of public records and a few more.
_KNOWN = frozenset(
    re.findall(
        r"\w+",
        """
        absl accelerate aim aiter apex beartype bitarray bitsandbytes bitstring blobfile blosc blosc2 boto3 brotli
        brotlicffi causal_conv1d causal_conv1d_cuda clearml click codecarbon comet_ml configargparse constriction
        cpuinfo crc32c cupy cutlass dahuffman datasets datatrove deepdiff deepspeed dill dotenv dvclive einops einx
        ema_pytorch environs fairscale fastai filelock fire fla flash_attn flash_attn_2_cuda flash_attn_3
        flash_attn_config flash_attn_interface flash_linear_attention flax fsspec galore_torch gguf google gpustat
        gram_newton_schulz h5py haiku hopper hqq huggingface_hub humanize hydra icecream imageio IPython isal jax
        jaxlib jaxtyping joblib jsonlines kernels liger_kernel lightning lightning_fabric line_profiler lion_pytorch
        lm_eval loguru lpips lz4 lz4framed mamba_ssm matplotlib memray ml_collections mlflow mlx modal more_itertools
        msgpack muon mypy nbconvert nbformat ncompress neptune ninja nltk numba numexpr numpy nvtx omegaconf onnx
        onnxruntime openai optax optimum optuna orbax orjson packaging pandas peft PIL pkg_resources plotly polars
        pretty_errors prodigyopt psutil psycopg2 pyarrow pybind11 pycuda pydantic pyfastpfor pynvml pyppmd pytest
        python_minifier pytorch_lightning pytorch_optimizer pyzstd quack quanto rans_codec_rs ray regex requests rich
        rotary_embedding_torch runpod sacrebleu sacred safetensors scalene schedulefree scipy seaborn
        selective_scan_cuda sentence_transformers sentencepiece setproctitle setuptools sklearn smart_open snappy soap
        spacy submitit swanlab sympy tabulate tensorboard tensorboard_logger tensorboardX tensordict tensorflow
        termcolor threadpoolctl tiktoken tilelang timm tokenizers tokenmonster toml torch torch_ema torch_optimizer
        torch_tb_profiler torch_xla torchao torchaudio torchdata torchinfo torchmetrics torchprofile torchsnapshot
        torchvision torchviz tqdm trackio transformer_engine transformers tree_sitter triton trl typer
        typing_extensions tyro ujson viztracer vllm wandb wandb_osh x_transformers xformers xxhash yacs yaml zarr
        zlib_ng zopfli zstandard zstd
        """,
    )
)
_PASSED_OVER = _KNOWN | sys.stdlib_module_names


@dataclass(frozen=True)
class ModuleElsewhere:
    """A module that lies elsewhere.

    Attributes:
        name: of the module.
        place: where it is imported.
        imported: how; what has to be met for it.
    """

    name: str
    place: str
    imported: Import

    @property
    def switches(self) -> tuple[str, ...]:
        """Settings that have to be on for it."""
        return tuple(each.name for each in self.imported.conditions if each.is_switch)


def check_modules(evidence: Evidence, programs: Programs) -> Iterator[Finding]:
    """Name the modules that some script imports whatever happens, or as the claim's log tells."""
    found = modules_elsewhere(evidence, programs)
    told = settings_of_the_run(evidence, {name for each in found for name in each.imported.settings})
    ran = [*{each.name: each for each in reversed(found) if each.imported.is_made(told)}.values()][::-1]
    hidden = next((each for each in ran if each.switches and not _is_spoken_of(programs, each)), None)
    if hidden is not None:
        yield _finding_of(hidden, told)
    elif ran:
        shown = first_of([f"`{each.name}` ({each.place})" for each in ran], _MAX_SHOWN)
        does = "which does" if len(ran) == 1 else "which do"
        message = f"a script imports {shown}, {does} not lie in the record: what is done there is not read"
        yield codes.MODULE_ELSEWHERE.finding(message, modules=[each.name for each in ran])


def _finding_of(hidden: ModuleElsewhere, told: Mapping[str, SettingTold]) -> Finding:
    setting = told[hidden.switches[-1]]
    message = (
        f"with `{setting.words}` ({setting.source}) the script imports `{hidden.name}` ({hidden.place}), a module that "
        "does not lie in the record; neither README nor submission.json speaks of it, so what it did for the score is "
        "not told"
    )
    missing = f"the module `{hidden.name}`, or the score without it"
    return codes.MODULE_ELSEWHERE.finding(message, severity=Severity.WARNS, modules=[hidden.name], missing=missing)


def _is_spoken_of(programs: Programs, module: ModuleElsewhere) -> bool:
    """Whether a README, a note or JSON has a word of a module's name, or of the setting that it hangs on."""
    texts = texts_of([*programs.folders, *(file for folder in programs.folders for file, _ in prose_below(folder))])
    if any(_is_installed(text, module.name) for text in (*programs.texts, *_texts_of_installers(programs))):
        return True
    prose = " ".join(text for name, text in texts.items() if Path(name).suffix.lower() in _PROSE)
    plain = re.sub(r"[^a-z]+", "", prose.lower())
    words = {word for name in (module.name, *module.switches) for word in re.split(r"[^a-z]+", name.lower())}
    telling = {word for word in words if len(word) > 3} - _PLAIN
    return not telling or any(word in plain for word in telling)


def _texts_of_installers(programs: Programs) -> Iterator[str]:
    """Lists of what is to be installed: requirements.txt, pyproject.toml, a Dockerfile."""
    files = (file for folder in programs.folders if folder.is_dir() for file in sorted(folder.iterdir()))
    for file in (file for file in files if _OF_INSTALLERS.fullmatch(file.name)):
        try:
            text = read_text(file, file.name, _LARGEST_LIST).text
        except ClaimError:
            continue  # a link, say
        yield "\n".join(f"install {line}" for line in text.split("\n"))


def _is_installed(text: str, name: str) -> bool:
    """Whether a line of a text installs a package that is called so."""
    package = re.sub(r"[_-]", "[_.-]", name)
    return re.search(rf"(?<![a-z])install [^\n]{{0,400}}(?<![\w.-]){package}(?![\w-])", text, re.IGNORECASE) is not None


_OF_INSTALLERS = re.compile(
    r"(?:.*requirements.*\.(?:txt|in)|pyproject\.toml|setup\.cfg|environment\.txt|\w{0,9}dockerfile)",
    re.IGNORECASE,
)
_LARGEST_LIST = 1 << 16
_PROSE = frozenset([".md", ".rst", ".json", ".yaml", ".yml", ".csv"])
_PLAIN = frozenset(["enabled", "module", "train", "eval", "state", "model", "utils"])


def modules_elsewhere(evidence: Evidence, programs: Programs) -> list[ModuleElsewhere]:
    """The modules that scripts of a record import, in no attempt that may fail, and that lie nowhere in it.

    Args:
        evidence: the claim and its record.
        programs: of the record.
    """
    from bpb_harness.auditing.script import Lease, parsed_source  # deferred: most records come without a script

    here: set[str] | None = None
    found: list[ModuleElsewhere] = []
    for script in evidence.claim.scripts if programs.folders and programs.texts else ():
        source = programs.source(script)
        lease = Lease()  # as long as the tree is looked at, whose parts were parsed for the script's checks
        tree = parsed_source(source.text, lease) if source is not None else None
        inside = " of what it unpacks to" if source is not None and source.layers else ""
        for imported in imports_of(tree, _PASSED_OVER) if tree is not None else ():
            name = imported.name
            here = _names_in(programs) if here is None else here
            is_written = any(re.search(rf"[\"'][^\"'\n]{{0,80}}(?<!\w){name}(?!\w)", text) for text in programs.texts)
            if name not in here and not is_written:
                found.append(ModuleElsewhere(name, f"{script.name}:{imported.line}{inside}", imported))
    return found


def _names_in(programs: Programs) -> set[str]:
    """Names of all files and folders of a record, without what they end in."""
    found: set[str] = set()
    for folder in programs.folders:
        for count, each in enumerate(folder.rglob("*")):
            if count >= _MOST_FILES:
                break
            found.add(each.name.split(".")[0])
    return found
