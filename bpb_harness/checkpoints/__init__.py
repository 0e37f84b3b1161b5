"""Checkpoints as plain data: read safely, named by a digest, written in the native format.

The native format is a file of ``torch.save`` (``.pt``) that holds one dictionary of tensors and plain values, or a
``.safetensors`` file with the same plain values as one JSON entry of its metadata::

    {"format": "bpb-harness", "format_version": 1, "adapter": .., "config": {..}, "schedule": ..,
     "tokenizer": the tokenizer file's bytes as a uint8 tensor, "data": {..}, "tensors": {name: tensor}}

A compressed artifact (``.ptz``) is that dictionary in an xz stream, with most matrices as ``"quantized"``: int8 levels,
and ``"scales"``: what a level of each row is worth.

Nothing in a checkpoint is ever executed: see :mod:`bpb_harness.checkpoints.torch_pickle`.

record.py            `Checkpoint`, what has been read, and its digest
read.py              `read_checkpoint`, the way in; files of torch.save: whose layout is it?
names.py             the tensors of a state dict by name, and what can be weights
native.py            the native format, read and written
quantized.py         integer levels and what a level is worth
compressed.py        zlib and xz in bounded memory
safetensors_file.py  safetensors, and what stands beside exported programs
plain.py             numbers, text and JSON of bounded size
"""

from bpb_harness.checkpoints.native import save_checkpoint
from bpb_harness.checkpoints.plain import parse_json, plain_values, read_json
from bpb_harness.checkpoints.read import read_checkpoint
from bpb_harness.checkpoints.record import (
    EMA_PREFIX,
    FORMAT,
    FORMAT_VERSION,
    LARGEST_TOKENIZER,
    Checkpoint,
    digest_of,
    files_of,
)
from bpb_harness.checkpoints.safetensors_file import load_safetensors, names_in_safetensors

__all__ = [
    "EMA_PREFIX",
    "FORMAT",
    "FORMAT_VERSION",
    "LARGEST_TOKENIZER",
    "Checkpoint",
    "digest_of",
    "files_of",
    "load_safetensors",
    "names_in_safetensors",
    "parse_json",
    "plain_values",
    "read_checkpoint",
    "read_json",
    "save_checkpoint",
]
