"""Evaluation and verification of bits-per-byte scores of masked diffusion language models."""
from bpb_harness._version import __version__

__all__ = ["__version__"]
