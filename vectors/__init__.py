"""Conformance vectors, language-neutral: docs/vectors.md."""
