"""Files beside the code of ``--model`` that it imports: the decoding process does not see them.

They are not shown to it either: nothing vouches for what they hold, which may be the text.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bpb_harness.checkpoints import files_of
from bpb_harness.errors import UsageError
from bpb_harness.proof.isolation import visible_folders


def require_no_neighbours(loader: str, checkpoint: Path) -> None:
    """Refuse code that will not be found where it is decoded, before anything is scored.

    Args:
        loader: ``FILE.py:LOADER``.
        checkpoint: its file or folder; what its digest is of is seen.

    Raises:
        UsageError: if what always runs of the file imports a file beside it.
    """
    name, _, function = loader.rpartition(":")
    file = Path(name)
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return  # whoever imports it says it better
    folder = file.resolve().parent
    if any(folder.is_relative_to(seen) for seen in visible_folders()):
        return
    shown = {path.resolve() for path in files_of(checkpoint)} if checkpoint.exists() else set()
    for module in _imported(tree.body, function):
        for path in (folder / f"{module}.py", folder / module / "__init__.py"):
            if module not in sys.stdlib_module_names and path.is_file() and path not in shown:
                raise UsageError(
                    f"{file.name} imports {module}", seen=f"{path.relative_to(folder)}, a file beside it",
                    expected="a file that imports installed packages alone: the decoding process sees no other",
                    hint="put both into one file, or export the network (docs/adapters.md#exported), which needs no "
                    "--model",
                )  # fmt: skip


def _imported(body: Sequence[ast.stmt], function: str) -> Iterator[str]:
    """Top-level names of the modules that are imported whenever a file is, and its function called."""
    for statement in body:
        match statement:
            case ast.Import():
                yield from (each.name.partition(".")[0] for each in statement.names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.partition(".")[0]
            case ast.FunctionDef(name=name) if name == function:
                yield from _imported(statement.body, "")
            case ast.ClassDef() | ast.With():
                yield from _imported(statement.body, "")
