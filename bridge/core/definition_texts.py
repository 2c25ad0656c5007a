"""Find signs of injected instructions in the texts of a definition. Pure.

The rules are heuristics: a text without a finding can still mislead a model, and a finding can be harmless. They are strict
about texts that no honest definition needs, and report the others as warnings.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import islice
from typing import Final, cast

from .definitions import TOOL, Definition
from .findings import ERROR, WARNING, Finding
from .hidden_characters import classified, visible

# Longer texts fill the context of the model (characters).
LONG: Final = 10_000
# The texts of one definition that are read, and of each (characters).
_MOST_TEXTS: Final = 2_000
_MOST_READ: Final = 64 * 1024
_DEEPEST: Final = 64
# Of the text around a match (characters).
_AROUND: Final = 40
# So many characters of the class zero-width are no accident.
_MANY: Final = 4

_HIDDEN_FIX: Final = (
    "do not use the server until its author explains them: a model reads them and a person does not see them"
)
_INJECTED_FIX: Final = "read the whole text with mcp-bridge tools SERVER --json; remove the server if its author has not put it there"

_WHOSE: Final = r"(?:all |any |the |your |my |every )*"
_PAST: Final = r"(?:previous|prior|above|earlier|preceding|other|existing|system|safety|former)"
_ORDERS: Final = (
    r"(?:instructions?|prompts?|rules?|guidelines?|directions?|directives?|messages?|constraints?)"
)
_PRIVATE_FILES: Final = (
    r"(?:~|\$HOME|/home/\w+|/root)/\.(?:ssh|aws|gnupg|kube|docker|netrc|npmrc|pypirc|git-credentials|bash_history|zsh_history)\b"
    r"|\bid_(?:rsa|ed25519|ecdsa|dsa)\b|/etc/(?:passwd|shadow|sudoers)\b|\.aws/credentials|\.cursor/mcp\.json"
    r"|claude_desktop_config\.json|\.kube/config|\.git-credentials|mcp-bridge\.toml"
)
_IGNORE: Final = rf"\b(?:ignore|disregard|forget|override|bypass)\s+{_WHOSE}{_PAST}\s+(?:\w+\s+)?{_ORDERS}\b"
_USER: Final = r"(?:the|your)\s+(?:user|human|operator)"
_HIDE: Final = (
    r"\b(?:do\s+not|don['\u2019]t|never|must\s+not|avoid|without)\s+(?:ever\s+)?(?:"
    rf"(?:tell|inform|notify|alert)(?:ing)?\s+{_USER}(?!\s+(?:to|how)\b)"
    rf"|(?:mention|reveal|disclos)(?:e|ing)?\s+(?:this|that|it|these|any\s+of\s+this|anything)\s+to\s+{_USER})"
)
_MARKUP: Final = (
    r"<\s*/?\s*(?:IMPORTANT|SYSTEM|INSTRUCTIONS?|SECRET|HIDDEN|CRITICAL|ADMIN|OVERRIDE)\s*>"
    r"|<\|(?:im_start|im_end|system|user|assistant|endoftext)\|>|\[/?INST\]|<</?SYS>>"
)
_ORDER: Final = r"\b(?:read|open|cat|load|include|send|pass|attach|upload|copy|provide)\b"
_INJECTED: Final = (
    (
        ERROR,
        "injected-instruction",
        "directs the model to ignore other instructions",
        re.compile(_IGNORE, re.IGNORECASE),
    ),
    (
        ERROR,
        "hides-from-user",
        "directs the model to hide something from the user",
        re.compile(_HIDE, re.IGNORECASE),
    ),
    (ERROR, "instruction-markup", "has markup that imitates instructions to the model", re.compile(_MARKUP)),
    (
        ERROR,
        "requests-secret-file",
        "directs the model to read a file with secrets",
        re.compile(rf"{_ORDER}[^.\n]{{0,80}}?(?:{_PRIVATE_FILES})", re.IGNORECASE),
    ),
    (WARNING, "names-secret-file", "names a file with secrets", re.compile(_PRIVATE_FILES, re.IGNORECASE)),
)
# A tool whose name has no such sign may be a word of the language.
_TELLING: Final = re.compile(r"[_-]|[a-z][A-Z]")
_NAME_CHARACTERS: Final = re.compile(r"[A-Za-z0-9_./-]{1,128}\Z")
# Letters of these scripts look like Latin letters (UTS 39).
_CONFUSED: Final = ("CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "FULLWIDTH", "MATHEMATICAL")
_CLASS_TEXTS: Final[Mapping[str, tuple[str, str]]] = {
    "tag": (ERROR, "tag characters"),
    "variation-selector": (ERROR, "sequences of variation selectors"),
    "bidirectional": (ERROR, "characters that change the direction of the text"),
    "zero-width": (WARNING, "characters without a width"),
    "private-use": (WARNING, "characters for private use"),
    "control": (ERROR, "control characters"),
}


def check_texts(definition: Definition, others: Mapping[str, str] | None = None) -> Iterator[Finding]:
    """Yield the findings about the texts of a definition. `others` are names of tools of other servers, and their server."""
    yield from _check_name(definition)
    known: set[tuple[str, str, str]] = set()
    for path, text in islice(texts_of(definition.content), _MOST_TEXTS):
        for finding in _check_text(definition, path, text, others or {}):
            if (finding.id, finding.where, finding.text) not in known:
                known.add((finding.id, finding.where, finding.text))
                yield finding


def texts_of(content: object) -> Iterator[tuple[str, str]]:
    """Yield each string in a value of JSON with its path, and the names of members; values below 64 levels are left out."""
    waiting: list[tuple[str, object, int]] = [("", content, 0)]
    while waiting:
        path, value, depth = waiting.pop()
        if isinstance(value, str):
            yield path, value
        elif depth >= _DEEPEST:
            continue
        elif isinstance(value, dict):
            members = cast("dict[str, object]", value)
            below = [(f"{path}.{visible(key)}".lstrip("."), one, depth + 1) for key, one in members.items()]
            waiting += reversed(below)
            yield from ((f"{path}.{visible(key)}".lstrip("."), key) for key in members)
        elif isinstance(value, list):
            items = cast("list[object]", value)
            waiting += reversed([(f"{path}[{index}]", one, depth + 1) for index, one in enumerate(items)])


def _check_text(definition: Definition, path: str, text: str, others: Mapping[str, str]) -> Iterator[Finding]:
    report: Callable[..., Finding] = definition_finding(definition, path)
    if len(text) > LONG and not text.startswith("data:"):
        yield report(
            WARNING,
            "long-text",
            f"is {len(text)} characters long",
            "a long text fills the context of the model and may hide instructions: read it",
        )
    text = text[:_MOST_READ]
    yield from _check_hidden(report, text)
    plain = unicodedata.normalize("NFKC", text)
    reported = False
    for severity, name, reason, pattern in _INJECTED:
        match = pattern.search(plain)
        # The warning about a file is for a text without the error.
        if match is not None and not (reported and name == "names-secret-file"):
            reported = True
            yield report(severity, name, f"{reason}: {_around(plain, match)}", _INJECTED_FIX)
    yield from _check_references(report, plain, others)


def _check_hidden(report: Callable[..., Finding], text: str) -> Iterator[Finding]:
    found: dict[str, list[str]] = {}
    for name, character in classified(text):
        found.setdefault(name, []).append(character)
    for name, characters in found.items():
        severity, words = _CLASS_TEXTS[name]
        if name == "zero-width" and len(characters) >= _MANY:
            severity = ERROR
        few = ", ".join([*dict.fromkeys(f"U+{ord(one):04X}" for one in characters)][:4])
        yield report(severity, f"hidden-{name}", f"has {len(characters)} {words} ({few})", _HIDDEN_FIX)


def _check_references(
    report: Callable[..., Finding], text: str, others: Mapping[str, str]
) -> Iterator[Finding]:
    if not others:
        return
    for word in dict.fromkeys(re.findall(r"[A-Za-z][\w-]{5,127}", text)):
        if word in others and _TELLING.search(word):
            yield report(
                WARNING,
                "names-other-tool",
                f"names {word}, a tool of the server {others[word]}",
                "a server should not direct how the tools of another server are used: read the text",
            )


def _check_name(definition: Definition) -> Iterator[Finding]:
    name = definition.name
    if definition.kind != TOOL or not name:
        return
    report = definition_finding(definition, "name")
    scripts = {unicodedata.name(one, "").partition(" ")[0] for one in name if one.isalpha()}
    if confused := sorted(scripts.intersection(_CONFUSED)) if "LATIN" in scripts else []:
        yield report(
            ERROR,
            "homoglyph-name",
            f"mixes Latin letters with {' and '.join(confused).lower()} letters that look like them: {name!a}",
            "the name may imitate another tool: do not use the server until its author explains it",
        )
    elif not _NAME_CHARACTERS.match(name):
        yield report(
            WARNING,
            "name-characters",
            "should have 1 to 128 characters of A-Z a-z 0-9 _ - . / only",
            "some clients refuse such a tool",
        )


def similar_names(names: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield pairs of different names that are equal without regard to case, `_` and `-`."""
    known: dict[str, str] = {}
    for name in names:
        first = known.setdefault(re.sub(r"[-_.\s]", "", unicodedata.normalize("NFKC", name).casefold()), name)
        if first != name:
            yield first, name


def definition_finding(definition: Definition, where: str) -> Callable[..., Finding]:
    """Return a function that makes findings about one place in a definition from severity, id, text and fix."""

    def report(severity: str, name: str, text: str, fix: str) -> Finding:
        return Finding(severity, name, definition.kind, visible(definition.name), where, text, fix)

    return report


def _around(text: str, match: "re.Match[str]") -> str:
    begin, end = max(match.start() - _AROUND, 0), match.end() + _AROUND
    part = " ".join(text[begin:end].split())
    return visible(f'"{"..." if begin else ""}{part}{"..." if end < len(text) else ""}"')
