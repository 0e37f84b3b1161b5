"""``python -m bpb_harness eval|audit|bytes|prove|compare``: the commands without their scripts, for torchrun."""

from __future__ import annotations

import importlib
import sys

from bpb_harness.errors import UsageError

COMMANDS = {name: f"bpb_harness.cli.{name}" for name in ("eval", "audit", "bytes", "prove", "compare")}


def main() -> None:
    """Run the command named by the first argument."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in COMMANDS:
        error = UsageError("python -m bpb_harness", seen=repr(name), expected=" or ".join(COMMANDS))
        sys.stderr.write(f"bpb-harness: {error}\n")
        sys.exit(error.exit_code)
    del sys.argv[1]
    importlib.import_module(COMMANDS[name]).main()


if __name__ == "__main__":
    main()
