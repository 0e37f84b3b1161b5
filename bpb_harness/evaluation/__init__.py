"""Corpus x denoiser x estimator -> result; :func:`bpb_harness.evaluation.api.evaluate` is the way in."""
