"""The checks of messages of servers hold the event loop for a short time, also for large messages.

Times are CPU times, in units of one search of the text by a regular expression in this process.
"""

import re
import time

import pytest

from mcpbridged.bridge.core.text_checks import TextChecks, TextModes
from mcpbridged.validators.jsonrpc import Response

SIZE = 4 * 1024 * 1024
MODES = TextModes("refuse", "refuse", "rewrite")
# Passes over a text without hidden characters, and over one that loses some.
CLEAN, REMOVED = 8, 25
# Further time (seconds): for what is read value by value, which a measurement of coverage makes several times as slow.
FREE = 0.25
_SEARCH = re.compile("[\x00\x01]")


def block(unit):
    return b'{"content":[{"type":"text","text":"%b"}]}' % (unit * (SIZE // len(unit)))


def blocks(item, count):
    return b'{"content":[%b]}' % b",".join([item] * count)


ASCII, RUSSIAN = (
    b"hello world, a text with words",
    "\u041f\u0440\u0438\u0432\u0435\u0442 \u00ab\u043c\u0438\u0440\u00bb ".encode(),
)
TEXTS = {
    "ascii": (block(ASCII), CLEAN),
    "escapes of line ends": (block(b"words\\n"), CLEAN),
    "escaped": (block(b"\\u65e5\\u672c\\u8a9e\\u2019"), CLEAN),
    "backslashes": (block(b"\\\\b\\\\u200b"), CLEAN),
    "cjk": (block("\u65e5\u672c\u8a9e\uff0c".encode()), CLEAN),
    "cyrillic": (block(RUSSIAN), CLEAN),
    "persian": (block("\u0645\u06cc\u200c\u062e ".encode()), CLEAN),
    "one escape": (block(ASCII).replace(b'"}]', b'\\u001b"}]'), REMOVED),
    "one character": (block(RUSSIAN).replace(b'"}]', '\u200b"}]'.encode()), REMOVED),
    "only hidden": (block(b"\\u001b"), REMOVED),
    "only hidden characters": (block("\u200b".encode()), REMOVED),
    "strings": (b'{"structuredContent":[%b]}' % b",".join([b'"\\u001b"'] * (SIZE // 9)), REMOVED),
    "names": (b'{"structuredContent":{%b}}' % b",".join([b'"\\u001b":1'] * (SIZE // 11)), REMOVED),
    "flags": (block("\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e007f".encode()), REMOVED),
    "emoji": (block("\u2764\ufe0f\u200d\U0001f525 1\ufe0f\u20e3".encode()), REMOVED),
    "blocks": (
        blocks(b'{"type":"resource","resource":{"uri":"a:b","mimeType":"a/b","blob":"AAAA"}}', 4000),
        CLEAN,
    ),
    "too many blocks": (blocks(b'{"type":"text"}', SIZE // 16), CLEAN),
    "levels": (b'{"content":%b[]%b}' % (b'[{"type":"tool_result","content":' * 60, b"}]" * 60), CLEAN),
    "base64": (
        b'{"content":[{"type":"image","mimeType":"a/b","data":"%b"}]}' % (b"AAAA" * (SIZE // 4)),
        CLEAN,
    ),
    "nests": (blocks(b"[" * 50 + b"]" * 50, SIZE // 101), CLEAN),
    "addresses": (b'{"contents":[{"uri":"%b"}]}' % ("\u200b".encode() * (SIZE // 3)), REMOVED),
    "spaces": (b'{"contents":[{"uri":"%bjavascript:x"}]}' % (b"\\t" * (SIZE // 2)), CLEAN),
    "members": (b'{"x":{%b}}' % b",".join(b'"m%d":1' % number for number in range(SIZE // 12)), CLEAN),
    "lone surrogates": (block(b"\\ud83d"), REMOVED),
}


def cost(work):
    began = time.thread_time()
    work()
    return time.thread_time() - began


@pytest.mark.parametrize("name", TEXTS)
def test_no_message_holds_the_loop(name):
    text, factor = TEXTS[name]
    checks = TextChecks(MODES, "s", lambda _: None)
    response = Response(b"1", text, b"")
    plain = text.decode()
    unit = min(cost(lambda: _SEARCH.search(plain)) for _ in range(3))
    longest = min(cost(lambda: checks.on_response("t", response)) for _ in range(3))
    assert longest < factor * unit + FREE
