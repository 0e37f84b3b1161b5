"""Faster forms of what the networks compute, in triton; every one has a plain form that runs anywhere.

The plain forms, and which form serves, are here; the kernels are in ``on_gpu``, a file of the same name for each.
"""
