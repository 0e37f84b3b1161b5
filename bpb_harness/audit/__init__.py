"""Checks of a published bits-per-byte score, from records and bytes alone: no network is ever run here."""
