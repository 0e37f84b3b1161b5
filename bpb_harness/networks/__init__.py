"""Networks that are the project's own to run."""
