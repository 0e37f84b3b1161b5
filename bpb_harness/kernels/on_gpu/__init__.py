"""The kernels themselves, and what launches them: the only files that import triton.

:func:`bpb_harness.kernels.loading.load_kernels` imports them, where a network is to run on a GPU.
"""
