"""Write and read the state of the program, for a process that continues with it: named values, each with its length.

A record is read by a process that may be of another release: values with unknown names are ignored, and absent ones have
defaults. JSON would need a parser that is larger than all else in the process.
"""

import posix

from .settings import WAIT, Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    Value = tuple[bytes, bytes]

_READ = 1024 * 1024
_SEEK_SET = 0


def pack(values: "list[Value]") -> bytes:
    """Return the text of a record."""
    return b"".join(b"%b %d\n%b\n" % (name, len(value), value) for name, value in values)


def unpack(text: bytes) -> "list[Value]":
    """Return the values of a record, in order. A record that was cut off ends before the value that is incomplete."""
    values: list[Value] = []
    at = 0
    while (end := text.find(b"\n", at)) >= 0:
        name, _, size = text[at:end].partition(b" ")
        at = end + 1 + int(size) + 1
        if at > len(text):
            break
        values.append((name, text[end + 1 : at - 1]))
    return values


def store(values: "list[Value]") -> int:
    """Return the descriptor of a file in memory that holds a record. It is inherited."""
    descriptor = posix.memfd_create("mcp-bridge", 0)
    text = memoryview(pack(values))
    while text:
        text = text[posix.write(descriptor, text) :]
    posix.lseek(descriptor, 0, _SEEK_SET)
    return descriptor


def load(descriptor: int) -> "list[Value]":
    """Return the values of the record in a file, and close it."""
    text = b""
    while data := posix.read(descriptor, _READ):
        text += data
    posix.close(descriptor)
    return unpack(text)


def settings_values(settings: Settings) -> "list[Value]":
    """Return the values of settings."""
    return [
        (b"name", settings.name),
        (b"path", settings.path),
        (b"wait", repr(settings.wait).encode()),
        *((b"header", b"%b:%b" % header) for header in settings.headers),
    ]


def settings_of(values: "list[Value]") -> Settings:
    """Return the settings in a record."""
    first = dict(reversed(values))
    headers = [value.partition(b":") for name, value in values if name == b"header"]
    return Settings(
        first.get(b"name", b""),
        first.get(b"path", b""),
        [(name, value) for name, _, value in headers],
        float(first.get(b"wait", WAIT)),
    )
