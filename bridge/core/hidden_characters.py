"""Find characters that a person does not see and a model reads. Pure.

Characters with a use in visible text are excepted: the joiners inside of words and emoji, one variation selector after a
character, the tags of a flag, and the marks of direction in a text that is written from right to left.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Final

# The named characters are those of the Unicode Standard, chapters 5.21, 23.2 to 23.9.
TAGS: Final = "\U000e0000-\U000e007f"
SELECTORS: Final = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
EMBEDDINGS: Final = "\u202a-\u202e"
# These have a use in a text from right to left.
MARKS: Final = "\u200e\u200f\u061c\u2066-\u2069"
JOINERS: Final = "\u200c\u200d"
INVISIBLE: Final = "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb"
_PRIVATE: Final = "\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd"
CONTROLS: Final = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
_SEPARATORS: Final = "\u2028\u2029"
_SURROGATES: Final = "\ud800-\udfff"
# U+1F3F4, tags of the region, and U+E007F: the flag of a part of a country (UTS 51).
_FLAG: Final = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f")
_BASE_OF_FLAG: Final = "\U0001f3f4"
_TAG: Final = re.compile(f"[{TAGS}]")
_SELECTOR: Final = re.compile(f"[{SELECTORS}]")
_ANY: Final = re.compile(
    f"[{TAGS}{SELECTORS}{EMBEDDINGS}{MARKS}{JOINERS}{INVISIBLE}{_PRIVATE}{CONTROLS}{_SEPARATORS}{_SURROGATES}]"
)
_CLASSES: Final = (
    ("tag", _TAG),
    ("variation-selector", _SELECTOR),
    ("bidirectional", re.compile(f"[{EMBEDDINGS}{MARKS}]")),
    ("zero-width", re.compile(f"[{JOINERS}{INVISIBLE}]")),
    ("private-use", re.compile(f"[{_PRIVATE}]")),
    ("control", re.compile(f"[{CONTROLS}{_SEPARATORS}{_SURROGATES}]")),
)
# The blocks of scripts that are written from right to left, without their digits and marks (Unicode Standard, DerivedBidiClass).
_RIGHT_TO_LEFT: Final = re.compile(
    "[\u05d0-\u05f4\u0608\u060b\u060d\u061b\u061d-\u064a\u066d-\u066f\u0671-\u06d5\u06e5\u06e6\u06ee\u06ef\u06fa-\u070d"
    "\u0710-\u072f\u074d-\u07a5\u07b1-\u07ea\u07f4\u07f5\u07fa\u0800-\u0815\u0840-\u0858\u0860-\u088e\u08a0-\u08c9"
    "\ufb1d\ufb1f-\ufd3d\ufd50-\ufdfc\ufe70-\ufefc\U00010800-\U00010e7f\U00010f00-\U00010fff\U0001e800-\U0001eeff]"
)
_USED_FROM_RIGHT: Final = "\u200e\u200f\u061c\u2066\u2067\u2068\u2069"
# The last character of the block Latin-1.
_LATIN: Final = "\u00ff"
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
    for place in without_use(text, [match.start() for match in _ANY.finditer(text)]):
        yield class_of(text[place]), text[place]


def class_of(character: str) -> str:
    """Return the class of a hidden character."""
    return next(name for name, pattern in _CLASSES if pattern.match(character))


def without_use(text: str, places: Sequence[int]) -> list[int]:
    """Return those of the places of hidden characters in a text whose character has no use in it.

    `places` are in the order of the text. Characters at other places are not examined.
    """
    characters = {text[at] for at in places}
    used: set[int] = set()
    if _BASE_OF_FLAG in text and any(_TAG.match(one) for one in characters):
        used.update(at for match in _FLAG.finditer(text) for at in range(match.start(), match.end()))
    used.update(at for at in places if _SELECTOR.match(text[at]) and _is_single(text, at))
    right_to_left = not characters.isdisjoint(_USED_FROM_RIGHT) and _RIGHT_TO_LEFT.search(text) is not None
    return [
        at
        for at in places
        if not (
            at in used
            or (text[at] in _USED_FROM_RIGHT and right_to_left)
            or (text[at] in JOINERS and _joins(text, at, used))
        )
    ]


def _is_single(text: str, at: int) -> bool:
    """Return whether a selector follows a character and neither follows nor precedes another selector."""
    return at > 0 and not _SELECTOR.match(text[at - 1]) and not _SELECTOR.match(text, at + 1)


def _joins(text: str, at: int, used: Collection[int]) -> bool:
    """Return whether a joiner is between two characters of a script that joins, or of emoji."""
    before, after = at - 1, at + 1
    while before in used:
        before -= 1
    while after in used:
        after += 1
    return (
        before >= 0
        and after < len(text)
        and text[before] > _LATIN
        and text[after] > _LATIN
        and text[after] not in JOINERS
    )
