"""Imported last by the process that forks: what it has imported is looked through by no fork, nor copied for that."""

import gc

gc.collect()
gc.freeze()
