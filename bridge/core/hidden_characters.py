"""Find characters that a person does not see and a model reads. Pure.

Characters with a use in visible text are excepted: the joiners inside of words and emoji, one variation selector after a
character, the tags of a flag, and the marks of direction in a text that is written from right to left.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

# The named characters are those of the Unicode Standard, chapters 5.21, 23.2 to 23.9.
_TAGS: Final = "\U000e0000-\U000e007f"
_SELECTORS: Final = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
_EMBEDDINGS: Final = "\u202a-\u202e\u2066-\u2069"
_MARKS: Final = "\u200e\u200f\u061c"
_JOINERS: Final = "\u200c\u200d"
_INVISIBLE: Final = "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb"
_PRIVATE: Final = "\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd"
_CONTROLS: Final = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029"
_SURROGATES: Final = "\ud800-\udfff"
# U+1F3F4, tags of the region, and U+E007F: the flag of a part of a country (UTS 51).
_FLAG: Final = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f")
# One selector after a character that is no selector.
_ONE_SELECTOR: Final = re.compile(f"(?<=[^{_SELECTORS}])[{_SELECTORS}](?![{_SELECTORS}])")
# Between two characters of a script that joins, or of emoji.
_JOINING: Final = re.compile(f"(?<=[^\x00-\u00ff])[{_JOINERS}](?=[^\x00-\u00ff{_JOINERS}])")
_ANY: Final = re.compile(
    f"[{_TAGS}{_SELECTORS}{_EMBEDDINGS}{_MARKS}{_JOINERS}{_INVISIBLE}{_PRIVATE}{_CONTROLS}{_SURROGATES}]"
)
_CLASSES: Final = (
    ("tag", re.compile(f"[{_TAGS}]")),
    ("variation-selector", re.compile(f"[{_SELECTORS}]")),
    ("bidirectional", re.compile(f"[{_EMBEDDINGS}{_MARKS}]")),
    ("zero-width", re.compile(f"[{_JOINERS}{_INVISIBLE}]")),
    ("private-use", re.compile(f"[{_PRIVATE}]")),
    ("control", re.compile(f"[{_CONTROLS}{_SURROGATES}]")),
)
_RIGHT_TO_LEFT: Final = frozenset({"R", "AL"})
# Of the different characters that are named.
_MOST: Final = 8


def visible(text: str) -> str:
    r"""Return the text with each character that is not seen as `\u{...}`, its number in hexadecimal."""
    return _ANY.sub(lambda match: f"\\u{{{ord(match[0]):x}}}", text)


def hidden_in(text: str) -> list[str]:
    """Return the hidden characters of a text as U+NNNN, each once, at most 8."""
    found = dict.fromkeys(f"U+{ord(one):04X}" for _, one in classified(text))
    return [*found][:_MOST]


def classified(text: str) -> Iterator[tuple[str, str]]:
    """Yield the class and the character for each hidden character of a text that has no use in it."""
    if text.isascii() and text.isprintable():
        return
    rest = _JOINING.sub("", _ONE_SELECTOR.sub("", _FLAG.sub("", text)))
    right_to_left: bool | None = None
    for match in _ANY.finditer(rest):
        character = match[0]
        if character in "\u200e\u200f\u061c\u2066\u2067\u2068\u2069":
            if right_to_left is None:
                right_to_left = any(
                    unicodedata.bidirectional(one) in _RIGHT_TO_LEFT
                    for one in text
                    if one not in "\u200f\u061c"
                )
            if right_to_left:
                continue
        yield next(name for name, pattern in _CLASSES if pattern.match(character)), character
