"""Change an input by words: most of the formats consist of words and single characters between them."""

import random
import re
from typing import Final

_PARTS: Final = re.compile(rb"[0-9A-Za-z]+|.", re.DOTALL)
# Characters and words that readers treat in different ways.
_WORDS: Final = (
    *(bytes([byte]) for byte in b"\t\n\r\0 +-_.,:;=\"'\\/*%[]{}()#\x7f\x80\xff"),
    b"\r\n",
    b"0",
    b"0x",
    b"1e9",
    b"-1",
    b"18446744073709551616",
    b"null",
    b"\\u0000",
    b"\\ud800",
    b"\xef\xbb\xbf",
    b"\xf0\x9f",
)


def changed(data: bytes, longest: int, seed: int) -> bytes:
    """Return an input with one to three words inserted, replaced, repeated or removed. The seed decides."""
    chance = random.Random(seed)
    parts = _PARTS.findall(data)
    for _ in range(chance.randint(1, 3)):
        at = chance.randint(0, len(parts))
        word = chance.choice(parts) if parts and chance.random() < 0.3 else chance.choice(_WORDS)
        match chance.randint(0, 4):
            case 0 | 1:
                parts.insert(at, word)
            case 2:
                parts[at : at + 1] = [word]
            case 3:
                parts[at:at] = parts[at : at + chance.randint(1, 8)]
            case _:
                del parts[at : at + chance.randint(1, 8)]
    return b"".join(parts)[:longest]
