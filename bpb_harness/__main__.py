"""``python -m bpb_harness COMMAND``: the commands without their scripts, for torchrun."""

from __future__ import annotations

import importlib
import sys

from bpb_harness.errors import UsageError

COMMANDS = {
    name: f"bpb_harness.cli.{name.replace('-', '_')}"
    for name in ("eval", "audit", "bytes", "prove", "compare", "lm-eval")
}


def main() -> None:
    """Run the command named by the first argument."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in ("--help", "-h"):
        sys.stdout.write(usage())
        return
    if name not in COMMANDS:
        error = UsageError("python -m bpb_harness", seen=repr(name), expected=" or ".join(COMMANDS))
        sys.stderr.write(f"bpb-harness: {error}\n")
        sys.exit(error.exit_code)
    del sys.argv[1]
    importlib.import_module(COMMANDS[name]).main()


def usage() -> str:
    """The commands, each with the first sentence of its own help."""
    lines = ["Usage: python -m bpb_harness COMMAND ...", ""]
    for name, module in COMMANDS.items():
        (command,) = importlib.import_module(module).app.registered_commands
        first = " ".join(str(command.callback.__doc__).split("\n\n")[0].split())
        lines.append(f"  {name:<8} {first}")
    return "\n".join([*lines, "", "python -m bpb_harness COMMAND --help says what a command takes.", ""])


if __name__ == "__main__":
    main()
