"""Find the packages, because their folders are not inside a folder `mcpbridged`. All other metadata is in pyproject.toml."""

from setuptools import find_packages, setup

_TOP = ("bridge", "transports", "validators")

setup(
    packages=["mcpbridged"]
    + [f"mcpbridged.{found}" for found in find_packages(include=[*_TOP, *(f"{top}.*" for top in _TOP)])]
)
