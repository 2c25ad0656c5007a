"""Write and read the state of the program, for a process that continues with it: named values, each with its length.

A record is read by a process that may be of another release: values with unknown names are ignored, and absent ones have
defaults. JSON would need a parser that is larger than all else in the process.
"""

import posix

from .conversation import OPEN, Conversation
from .heads import key_of
from .lines import line_of
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


def state_values(conversation: Conversation) -> "list[Value]":
    """Return the values of a conversation that is open, and in which nothing waits."""
    setup = conversation.setup
    return [
        (b"prefix", conversation.prefix.encode()),
        *((b"lasting" if lasts else b"request", raw_id) for raw_id, lasts in conversation.requests.items()),
        *((b"server-request", raw_id) for raw_id in conversation.server_requests.raw_ids),
        *((b"lost", key) for key in conversation.server_requests.lost),
        (b"initialize", setup.initialize if setup.accepted else b""),
        (b"response", setup.response),
        (b"initialized", setup.initialized),
        (b"level", setup.level),
        *((b"uri", uri) for uri in setup.uris),
    ]


def conversation_of(values: "list[Value]") -> Conversation:
    """Return the conversation in a record."""
    first = dict(reversed(values))
    conversation = Conversation(first.get(b"prefix", b"mcp-bridge-").decode())
    conversation.phase = OPEN
    setup = conversation.setup
    setup.initialize = first.get(b"initialize", b"")
    setup.accepted = bool(setup.initialize)
    for head in line_of(setup.initialize.rstrip(b"\r\n")).heads:
        setup.key = key_of(head.raw_id)
    setup.response = first.get(b"response", b"")
    setup.initialized = first.get(b"initialized", b"")
    setup.level = first.get(b"level", b"")
    for name, value in values:
        if name in (b"request", b"lasting"):
            conversation.requests.restore(value, lasts=name == b"lasting")
        elif name == b"server-request":
            conversation.server_requests.add(value)
        elif name == b"lost":
            conversation.server_requests.add_lost(value)
        elif name == b"uri":
            setup.uris[value] = None
    return conversation
