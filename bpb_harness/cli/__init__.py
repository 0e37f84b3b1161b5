"""The commands, one a file: ``eval.py`` is bpb-eval. What several of them have in common begins with ``_``."""
