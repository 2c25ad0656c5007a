"""Read JSON with comments and trailing commas, as editors write it. Pure."""

import json
import re
from typing import Any, Final, cast

from .import_texts import BadImport

# A string, or a comment. An unterminated one extends to the end, so that the time is linear.
_COMMENT: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|//[^\n\r]*|/\*.*?(?:\*/|\Z)', re.DOTALL)
_TRAILING: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|,(?=\s*[}\]])', re.DOTALL)


def read_json(text: str) -> dict[str, Any]:
    """Return the object of a JSON text. Comments and trailing commas are allowed. Raises BadImport with the position."""
    try:
        value = json.loads(plain_json(text.removeprefix("\ufeff")))
    except json.JSONDecodeError as fault:
        raise BadImport(f"not valid JSON: line {fault.lineno}, column {fault.colno}: {fault.msg}") from None
    except RecursionError:
        raise BadImport("the JSON is nested too deeply") from None
    except ValueError:
        raise BadImport("the JSON has a number with too many digits") from None
    if not isinstance(value, dict):
        raise BadImport("the JSON is not an object")
    return cast("dict[str, Any]", value)


def plain_json(text: str) -> str:
    """Replace comments and trailing commas by spaces, so that positions stay correct."""
    return _TRAILING.sub(_blank, without_comments(text))


def without_comments(text: str) -> str:
    """Replace comments by spaces, so that positions stay correct."""
    return _COMMENT.sub(_blank, text)


def _blank(found: re.Match[str]) -> str:
    token = found[0]
    return token if token.startswith('"') else re.sub(r"[^\n\r]", " ", token)
