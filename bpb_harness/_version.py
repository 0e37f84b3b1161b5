"""The version, alone in its file so that no import is needed to read it."""

__version__ = "0.1.0"
