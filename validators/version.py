"""The version of this program, as in pyproject.toml."""

from typing import Final

# The standard library finds it too (importlib.metadata), but imports a parser of e-mail for that.
VERSION: Final = "0.1.0"
