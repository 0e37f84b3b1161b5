"""The checks of an audit: one file a family of codes."""
