"""Find the packages: `pyproject.toml` has all else. Their folders are not below one named as their parent is."""

from setuptools import find_packages, setup

_TOP = ("bridge", "transports", "validators")

setup(
    packages=[
        f"mcpbridged.{found}" for found in find_packages(include=[*_TOP, *(f"{top}.*" for top in _TOP)])
    ]
)
