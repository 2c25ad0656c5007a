"""Show the content of results of MCP: text, structured content, images, audio and resources. Pure, except `write_files`.

Text is escaped. Binary content is named with its type and size, and written to files only.
"""

import base64
import binascii
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import attrs

from ..log import escaped
from .control_client import ErrorResponse
from .printable import json_text, printable

_UNITS: Final = ("B", "kB", "MB", "GB")


@attrs.frozen
class Part:
    """A part of a result: `text` as it is shown, and `data` as a file has it, None if it has no place in a file.

    `kind` names binary content, and is empty for text.
    """

    text: str
    data: bytes | None = None
    kind: str = ""


def parts_of(blocks: object) -> Iterator[Part]:
    """Yield the parts of content blocks (MCP 2025-11-25 server/tools)."""
    for block in cast("list[object]", blocks) if isinstance(blocks, list) else ():
        found = as_object(block)
        kind = found.get("type")
        if kind in ("image", "audio") and isinstance(found.get("data"), str):
            yield _binary(str(kind), "", found.get("mimeType"), str(found["data"]))
        elif kind == "resource" and isinstance(found.get("resource"), dict):
            yield from resource_parts(cast("dict[str, Any]", found["resource"]), is_embedded=True)
        elif kind == "resource_link" and isinstance(found.get("uri"), str):
            yield Part(_link(found))
        elif isinstance(found.get("text"), str):
            yield _text(str(found["text"]))
        else:
            yield Part(json_text(found or block, indent=None))


def as_object(value: object) -> dict[str, Any]:
    """Return a JSON object, and an empty one for any other value."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def resource_parts(resource: Mapping[str, Any], *, is_embedded: bool = False) -> Iterator[Part]:
    """Yield the parts of the contents of a resource. An embedded one has its URI before its text."""
    uri, kind = resource.get("uri"), resource.get("mimeType")
    if isinstance(resource.get("blob"), str):
        yield _binary("resource", str(uri or ""), kind, str(resource["blob"]))
    elif isinstance(resource.get("text"), str):
        if is_embedded:
            yield Part(_bracketed("resource", str(uri or ""), kind))
        yield _text(str(resource["text"]))
    else:
        yield Part(json_text(resource, indent=None))


def tool_parts(result: Mapping[str, Any]) -> list[Part]:
    """Return the parts of the result of a tool. Structured content is shown if no text of the result states it."""
    parts = list(parts_of(result.get("content")))
    structured: object = result.get("structuredContent")
    if structured is not None and not any(_states(part, structured) for part in parts):
        text = json_text(structured)
        parts.append(Part(text, f"{json.dumps(structured, indent=2, ensure_ascii=False)}\n".encode()))
    return parts or [Part(json_text(result, indent=None))]


def _states(part: Part, structured: object) -> bool:
    """Return whether a text is the structured content, or the only member of it (as SDKs write the result of a function)."""
    if part.data is None or part.kind:
        return False
    text = part.data.decode(errors="replace")
    values = [structured]
    if isinstance(structured, dict) and len(cast("dict[str, object]", structured)) == 1:
        values += cast("dict[str, object]", structured).values()
    if text in values:
        return True
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return any(read == value for value in values)


def _text(text: str) -> Part:
    return Part(printable(text), text.encode(errors="surrogatepass"))


def _binary(kind: str, uri: str, mime: object, encoded: str) -> Part:
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return Part(f"{_bracketed(kind, uri, mime, 'not valid base64')}")
    return Part(_bracketed(kind, uri, mime, size_of(len(data))), data, kind)


def _bracketed(kind: str, uri: str, mime: object, more: str = "") -> str:
    words = (uri, mime if isinstance(mime, str) else "", more)
    shown = ", ".join(escaped(word) for word in words if word)
    return f"[{kind}{f': {shown}' if shown else ''}]"


def _link(block: Mapping[str, Any]) -> str:
    words = [block.get(key) for key in ("uri", "name", "mimeType", "description")]
    return f"[resource link: {', '.join(escaped(word) for word in words if isinstance(word, str) and word)}]"


def size_of(size: int) -> str:
    """Return a size in words, in units of 1000 bytes."""
    number, unit = float(size), 0
    while number >= 1000 and unit < len(_UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.0f} {_UNITS[unit]}" if unit == 0 or number >= 100 else f"{number:.1f} {_UNITS[unit]}"


def show(
    parts: Sequence[Part], output: str, print_line: Callable[[str], None], notice: Callable[[str], None]
) -> None:
    """Print the parts, and with `output` write them to this file: the binary ones, or the text if there are none.

    Further binary parts get a number before the suffix of the file. "-" is stdout. Raises ErrorResponse.
    """
    files = [part for part in parts if part.kind] or [part for part in parts if part.data is not None]
    if not output:
        for part in parts:
            print_line(part.text)
        if any(part.kind for part in parts):
            notice("--output FILE writes binary content to a file")
        return
    if not files:
        raise ErrorResponse(
            "the result has no content that a file can hold; run the command without --output"
        )
    is_text = not files[0].kind
    if output == "-":
        _write_stdout(part.data or b"" for part in files)
        return
    for part in parts:
        if part not in files:
            print_line(part.text)
    data = [_joined(files)] if is_text else [part.data or b"" for part in files]
    for path, content in zip(_names(output, len(data)), data, strict=True):
        _write(path, content)
        notice(f"{path}: written, {size_of(len(content))}")


def _joined(parts: Sequence[Part]) -> bytes:
    # A text keeps its bytes; several texts are separated by a line end where they do not have one.
    if len(parts) == 1:
        return parts[0].data or b""
    texts = [part.data or b"" for part in parts]
    return b"".join(text if text.endswith(b"\n") else text + b"\n" for text in texts)


def _names(output: str, count: int) -> Iterator[Path]:
    first = Path(output)
    yield first
    for number in range(2, count + 1):
        yield first.with_name(f"{first.stem}-{number}{first.suffix}")


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as fault:
        raise ErrorResponse(f"cannot write {path}: {fault.strerror or fault}") from None


def _write_stdout(contents: Iterable[bytes]) -> None:
    for content in contents:
        sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()
