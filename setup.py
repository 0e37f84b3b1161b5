"""What pyproject.toml cannot say: the README with whole addresses, as an index shows it, whose pages have no files."""

import re
from pathlib import Path

from setuptools import setup

_ROOT = Path(__file__).parent
_REPOSITORY = "https://github.com/bpb-harness/bpb-harness"


def with_addresses(page: str, version: str) -> str:
    """A page whose relative links lead to the repository's files of this version."""
    return re.sub(
        r"(\]\()(?![a-z][a-z0-9+.-]*:|#)([^)\s]+\))",
        lambda link: f"{link[1]}{_REPOSITORY}/blob/v{version}/{link[2]}",
        page,
    )


(_VERSION,) = re.findall(r'__version__ = "(.*)"', (_ROOT / "bpb_harness" / "_version.py").read_text("utf-8"))
setup(
    long_description=with_addresses((_ROOT / "README.md").read_text("utf-8"), _VERSION),
    long_description_content_type="text/markdown",
)
