"""Proof by decoding: a score is turned into bits, and the text is got back from them by a process that never saw it."""
