"""Formats of the JSON that commands write: what is declared once becomes schema, docs and check.

``kinds`` is the language of declarations, ``result`` and its like hold one each, ``schemas`` makes what is shipped in
``bpb_harness/schemas``, ``result_file`` reads a score back.
"""

from bpb_harness.formats.result_file import read_result, result_of

__all__ = ["read_result", "result_of"]
