"""One file a check: each reads an `Analysis` and gives hits."""
