"""Faster forms of what the networks compute, in triton; every one has a plain form that runs anywhere."""
