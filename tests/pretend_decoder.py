"""Stands in for the process that decodes: says what the environment variable PRETENDED tells it to say.

Each message is a JSON list [content, {name: [kind, shape, number of bytes that follow]}]; "sleep" waits, "die" ends
with last words, "killed" without any.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time


def main() -> None:
    for word in json.loads(os.environ["PRETENDED"]):
        match word:
            case "sleep":
                time.sleep(600)
            case "half":
                sys.stdout.buffer.write((1000).to_bytes(8, "little") + b"{")
            case "noise":
                sys.stdout.buffer.write(b"\xff" * 64)
            case "die":
                sys.exit("last words")
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case [content, arrays]:
                described = {name: array[:2] for name, array in arrays.items()}
                header = json.dumps({"content": content, "arrays": described}).encode()
                sys.stdout.buffer.write(len(header).to_bytes(8, "little") + header)
                for _, _, size in arrays.values():
                    sys.stdout.buffer.write(bytes(size))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
