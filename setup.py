"""Find the packages, and make the links of the README absolute. All other metadata is in pyproject.toml.

The packages are not inside a folder `mcpbridged`. A package index shows the README without the files that it links to.
"""

import re
import tomllib
from pathlib import Path

from setuptools import find_packages, setup

_TOP = ("bridge", "transports", "validators")
_HERE = Path(__file__).parent


def with_absolute_links(text: str, source: str) -> str:
    """Return a Markdown text whose links to files are links into the repository at `source`."""
    return re.sub(r"\]\((?![a-z]+:|#)([^)\s]+)\)", lambda link: f"]({source}/blob/main/{link[1]})", text)


# setuptools runs this file as a program; a test imports it.
if __name__ == "__main__":
    _PROJECT = tomllib.loads((_HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    setup(
        packages=["mcpbridged"]
        + [f"mcpbridged.{found}" for found in find_packages(include=[*_TOP, *(f"{top}.*" for top in _TOP)])],
        long_description=with_absolute_links(
            (_HERE / "README.md").read_text(encoding="utf-8"), _PROJECT["urls"]["Source"]
        ),
        long_description_content_type="text/markdown",
    )
