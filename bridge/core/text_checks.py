"""Check what a server sends to clients: media types and base64, schemes of addresses, and hidden characters. Pure.

A finding refuses the message, with two exceptions. An item of a list of tools, prompts, resources or resource templates is
removed from the list, because the other items do not depend on it. With `rewrite`, hidden characters are removed from texts; they
are refused in names, addresses and names of members, because other messages repeat these.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import attrs

from ...validators import json_object
from ...validators.base64_text import base64_fault
from ...validators.jsonrpc import Notification, Request, Response
from ...validators.media_types import is_media_type
from ...validators.partial_object import walk
from ...validators.rejection import INTERNAL_ERROR, INVALID_PARAMS
from ...validators.script_addresses import DEFAULT_SCHEMES, refused_scheme, refused_template
from .content_reader import ContentReader, Part, Place, TooLarge, item_places
from .content_shapes import ERROR, LISTS, PARAMS, RESULT, Leaf, Shape
from .errors import fault_text
from .hidden_json import TOO_MANY, HiddenString, find_hidden, replaced
from .schema_checks import OFF, REFUSE, Finding

REWRITE: Final = "rewrite"
# The kinds of findings, which are the keys of the configuration.
MIME: Final = "mime"
SCHEMES: Final = "schemes"
CHARACTERS: Final = "characters"
TOO_LARGE: Final = "too_large"
_SCHEMA_TEXTS: Final = (b'"title"', b'"description"', b'"$comment"')
_NULL: Final = b"null"
# The bytes before a string in which the name of its member is searched.
_BEFORE: Final = 64


@attrs.frozen
class TextModes:
    """The checks of texts of one server: off, warn or refuse; of characters also rewrite. `refused` are schemes of addresses."""

    mime: str = OFF
    schemes: str = OFF
    characters: str = OFF
    refused: tuple[str, ...] = DEFAULT_SCHEMES

    @property
    def on(self) -> bool:
        """Return whether any check is on."""
        return not self.mime == self.schemes == self.characters == OFF


NO_TEXTS: Final = TextModes()


class _Fault(NamedTuple):
    """A value that a check refuses. `item` is the list and the index of the item that it is in, if it can be removed."""

    kind: str
    path: str
    keyword: str
    text: str
    item: tuple[str, int] | None


class _Examined(NamedTuple):
    """What is wrong with a message, and the strings that can be rewritten."""

    faults: list[_Fault]
    strings: list[HiddenString]


class TextChecks:
    """The checks of one server with this name. `report` gets the findings: of each message one for each kind and action."""

    def __init__(self, modes: TextModes, server: str, report: Callable[[Finding], None]) -> None:
        self._modes = modes
        self._server = server
        self._report = report
        self._of_kind = {MIME: modes.mime, SCHEMES: modes.schemes, CHARACTERS: modes.characters}

    def on_response(self, name: str, message: Response) -> Response:
        """Return a response as the client gets it. `name` is that of the tool or prompt."""
        shape = ERROR if message.error else RESULT
        text = message.error or bytes(message.result)
        changed = self._passed(shape, text, name)
        if isinstance(changed, str):
            return Response(message.id, b"", self._error(INTERNAL_ERROR, changed, "response"))
        if changed is text:
            return message
        return Response(message.id, b"", changed) if message.error else Response(message.id, changed, b"")

    def on_notification(self, message: Notification) -> Notification | None:
        """Return a notification as the client gets it, or None if the client does not get it."""
        changed = self._passed(PARAMS, message.params, "")
        if isinstance(changed, str):
            return None
        return message if changed is message.params else Notification(message.method, changed)

    def on_server_request(self, message: Request) -> Request | Response:
        """Return a request of the server as the client gets it, or the response that the server gets in its place."""
        changed = self._passed(PARAMS, message.params, "")
        if isinstance(changed, str):
            return Response(message.id, b"", self._error(INVALID_PARAMS, changed, "request"))
        return message if changed is message.params else Request(message.id, message.method, changed)

    def _error(self, code: int, reason: str, what: str) -> bytes:
        text = f"a {what} of the server {self._server} was refused: {reason}"
        return fault_text(code, text, {"reason": "content_refused"})

    def _passed(self, shape: Shape, text: bytes, tool: str) -> bytes | str:
        """Return the text that the client gets, the same object if nothing changes, or the reason of a refusal."""
        if not text:
            return text
        reader = ContentReader(len(text))
        try:
            faults, strings = self._examine(reader, shape, text)
            refused = [one for one in faults if self._refuses(one)]
            whole = next((one for one in refused if one.item is None), None)
            removed = {one.item for one in refused if one.item is not None}
            rewritten = strings if whole is None else []
            changed = self._changed(text, rewritten, removed) if whole is None else text
        except TooLarge as fault:
            path = str(fault)
            return self._too_large(path, tool) or text
        self._report_faults(faults, tool)
        if whole is not None:
            return f"{whole.path or 'the whole'} {whole.text} (content.{whole.kind})"
        if rewritten:
            self._report(Finding(CHARACTERS, tool, "", _classes(rewritten), refused=False, rewritten=True))
        return changed

    def _refuses(self, fault: _Fault) -> bool:
        return self._of_kind[fault.kind] in {REFUSE, REWRITE}

    def _too_large(self, path: str, tool: str) -> str:
        """Report a message that cannot be examined. Return the reason if it is refused."""
        kinds = [kind for kind, mode in self._of_kind.items() if mode != OFF]
        refusing = [kind for kind in kinds if self._of_kind[kind] in {REFUSE, REWRITE}]
        kind = (refusing or kinds)[0]
        self._report(Finding(kind, tool, path, TOO_LARGE, refused=bool(refusing)))
        return f"{path or 'the whole'} is too large to be examined (content.{kind})" if refusing else ""

    def _report_faults(self, faults: Sequence[_Fault], tool: str) -> None:
        known: set[str] = set()
        for one in faults:
            if one.kind not in known:
                known.add(one.kind)
                self._report(Finding(one.kind, tool, one.path, one.keyword, refused=self._refuses(one)))

    # ---- the checks

    def _examine(self, reader: ContentReader, shape: Shape, text: bytes) -> _Examined:
        faults: list[_Fault] = []
        strings: list[HiddenString] = []
        if self._modes.mime != OFF or self._modes.schemes != OFF:
            for part in reader.parts(shape, text):
                faults += self._part_faults(part)
        hidden = find_hidden(text) if self._modes.characters != OFF else []
        if hidden is None:
            faults.append(_Fault(CHARACTERS, "", TOO_LARGE, TOO_MANY, None))
        elif hidden:
            for place in reader.places(shape, text, hidden):
                if place.leaf is Leaf.OPAQUE:
                    continue
                if self._modes.characters == REWRITE and _is_text(place, text):
                    strings.append(place.string)
                else:
                    classes = ", ".join(place.string.classes)
                    reason = f"has hidden characters ({classes})"
                    faults.append(_fault(CHARACTERS, place.path, classes, reason))
        return _Examined(_of_arrays(faults, text), strings)

    def _part_faults(self, part: Part) -> Iterator[_Fault]:
        value = bytes(part.text)
        if value == _NULL:
            return
        is_string = value.startswith(b'"')
        match part.leaf:
            case Leaf.MEDIA_TYPE if self._modes.mime != OFF:
                if not is_string or not is_media_type(json_object.string(value)):
                    yield _fault(MIME, part.path, "mimeType", "is not a media type")
            case Leaf.BASE64 if self._modes.mime != OFF:
                reason = base64_fault(value) if is_string else "is not a string"
                if reason:
                    yield _fault(MIME, part.path, "base64", f"is not base64: it {reason}")
            case Leaf.ADDRESS | Leaf.ICON | Leaf.TEMPLATE if self._modes.schemes != OFF:
                entry = self._refused_scheme(part.leaf, value) if is_string else "not a string"
                if entry:
                    yield _fault(SCHEMES, part.path, entry, f"has a refused scheme ({entry})")
            case _:
                pass

    def _refused_scheme(self, leaf: Leaf, value: bytes) -> str:
        address = json_object.string(value)
        if leaf is Leaf.TEMPLATE:
            return refused_template(address, self._modes.refused)
        return refused_scheme(address, self._modes.refused, icon=leaf is Leaf.ICON)

    # ---- the changes

    def _changed(self, text: bytes, strings: Sequence[HiddenString], removed: set[tuple[str, int]]) -> bytes:
        if strings:
            text = replaced(text, strings)
        for member in {member for member, _ in removed}:
            text = _without_items(text, member, {index for name, index in removed if name == member})
        return text


def _fault(kind: str, path: str, keyword: str, text: str) -> _Fault:
    steps = path.split("/", 3)
    item = None
    if len(steps) > 2 and steps[1] in LISTS and steps[2].isdigit():
        item = (steps[1], int(steps[2]))
    return _Fault(kind, path, keyword, text, item)


def _of_arrays(faults: list[_Fault], text: bytes) -> list[_Fault]:
    """Return the faults without items of lists that are no arrays."""
    if not any(one.item for one in faults):
        return faults
    members = json_object.peek(text).items()
    arrays = {name for name, value in members if bytes(memoryview(value)[:1]) == b"["}
    return [one if one.item and one.item[0] in arrays else one._replace(item=None) for one in faults]


def _is_text(place: Place, text: bytes) -> bool:
    """Return whether the string may be changed."""
    if place.leaf is Leaf.SCHEMA:
        begin = place.string.begin - 1
        before = text[max(0, begin - _BEFORE) : begin].rstrip()
        return before.endswith(b":") and before[:-1].rstrip().endswith(_SCHEMA_TEXTS)
    return place.leaf is Leaf.TEXT


def _classes(strings: Sequence[HiddenString]) -> str:
    return ", ".join(dict.fromkeys(one for string in strings for one in string.classes))


def _without_items(text: bytes, member: str, indexes: set[int]) -> bytes:
    """Return the result of a list without these items. All other bytes stay as they are."""
    members = {name: bytes(value) for name, value in json_object.peek(text).items()}
    value = members[member]
    # Of repeated members the last counts.
    begin, end = [(begin, end) for name, begin, end in walk(text, members) if name == member][-1]
    places = item_places(value, f"/{member}")
    kept = b",".join(value[first:last] for index, (first, last) in enumerate(places) if index not in indexes)
    return b"".join((text[:begin], b"[", kept, b"]", text[end:]))
