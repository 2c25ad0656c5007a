"""Compare the definitions that a server lists with those that were approved. Pure.

The definitions of the first complete list of each kind are approved: trust on first use. Later a definition that differs, or
that is new, is pending until the user approves it. A pending definition is reported, and with `blocks` it is removed from
lists, and its use is refused as that of an unknown one.

Invariant: with `blocks` a client gets a definition only if it is equal to the approved one of its kind and name.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from ...validators import json_object
from ...validators.jsonrpc import Response
from ...validators.limits import Limits
from ...validators.mcp_params import read_items, read_list
from ...validators.rejection import INVALID_PARAMS, Rejection
from .definition_changes import differences
from .definitions import KINDS, PROMPT, RESOURCE, TOOL, Kind, canonical, of_any_era
from .errors import fault_text

# The lists that are compared. The resources of many servers are data that changes.
GUARDED: Final = {kind.method: kind for kind in KINDS if kind.name != RESOURCE}
# The kind of the definition that a request uses, by its method.
USED: Final = {"tools/call": TOOL, "prompts/get": PROMPT}
# Definitions of one kind that are recorded.
MOST: Final = 4096
# Of one definition, and of all of a server (bytes). Beyond them the hash is recorded and the text is not.
_LARGEST_FORM: Final = 64 * 1024
_LARGEST_TOTAL: Final = 2 * 1024 * 1024
# Texts on one page that differ and are compared by their canonical form (bytes). Further ones count as changed.
_MOST_COMPARED: Final = 128 * 1024
# Reports that are remembered, so that none is repeated.
_MOST_REPORTS: Final = 1024
_CHANGED: Final = "definition_changed"
_ADDED: Final = "definition_added"


class Seen(msgspec.Struct, frozen=True, gc=False):
    """A version of a definition: the hash of its text, and the text, empty if it is too large to be recorded.

    Two texts can differ and have the same canonical form (definitions.py).
    """

    hash: str
    form: str = ""


class KindRecord(msgspec.Struct):
    """The definitions of one kind by name. `complete` is whether a list was read to its end."""

    complete: bool = False
    approved: dict[str, Seen] = msgspec.field(default_factory=dict[str, Seen])
    pending: dict[str, Seen] = msgspec.field(default_factory=dict[str, Seen])


class Change(msgspec.Struct, frozen=True):
    """A pending definition, with the differences from the approved one. `is_new` is whether none is approved."""

    kind: str
    name: str
    is_new: bool
    hash: str
    differences: list[str]


Record = dict[str, KindRecord]


class DefinitionGuard:
    """The record of one server. `load` returns it at the first list, `report` logs, and `changed` gets it when it must be stored."""

    def __init__(
        self,
        load: Callable[[], Record],
        report: Callable[[str, str, str], None],
        changed: Callable[[Record], None],
        *,
        blocks: bool,
        limits: Limits,
    ) -> None:
        self.blocks = blocks
        self._load = load
        self._report = report
        self._changed = changed
        self._limits = limits
        # By kind; None until the first list.
        self._record: Record | None = None
        # The size of all forms (bytes).
        self._size = 0
        # Whether the record has changed since it was stored.
        self._dirty = False
        # How much may still be compared beyond its hash on this page (bytes).
        self._room = 0
        # Kind, name and hash of what was reported.
        self._reported: set[tuple[str, str, str]] = set()

    # ---- what clients get

    def on_list(self, method: str, message: Response) -> Response:
        """Return the response to a list as its client gets it. `method` is one of GUARDED."""
        if message.error:
            return message
        kind = GUARDED[method]
        try:
            found = read_list(message.result, self._limits)
            items = read_items(found.get(kind.member), self._limits)
        except Rejection as rejection:
            # A list that cannot be read is not compared.
            if not self.blocks:
                return message
            return Response(message.id, b"", fault_text(rejection.code, rejection.text))
        kept = self._compare(kind, items, is_last=bytes(found.get("nextCursor", b"null")) == b"null")
        if not self.blocks or len(kept) == len(items):
            return message
        found[kind.member] = json_object.raw(b"[%b]" % b",".join(map(bytes, kept)))
        return Response(message.id, json_object.write(found), b"")

    def check(self, method: str, name: str) -> None:
        """Raise the Rejection of an unknown definition if that which a request uses is pending and blocked."""
        kind = USED.get(method)
        if kind is not None and self.blocks and name in self._kind(kind).pending:
            raise Rejection(200, INVALID_PARAMS, f"Unknown {kind}: {name}")

    # ---- what the user gets

    @property
    def pending(self) -> int:
        """The number of pending definitions, as far as the record is loaded."""
        return sum(len(one.pending) for one in (self._record or {}).values())

    def changes(self) -> list[Change]:
        """Return the pending definitions."""
        return [
            Change(kind, name, name not in one.approved, seen.hash, _described(one.approved.get(name), seen))
            for kind, one in self._loaded().items()
            for name, seen in one.pending.items()
        ]

    @property
    def state(self) -> str:
        """The hash of all that is pending."""
        return _hash(
            json.dumps([[one.kind, one.name, one.hash] for one in self.changes()]).encode("utf-8", "replace")
        )

    def approve(self, state: str) -> list[str]:
        """Approve what is pending, if it is what the user has seen (`state`). Return the methods of the lists that change."""
        if state != self.state:
            raise ValueError("the definitions have changed again; run the command again to see them")
        changed: list[str] = []
        for method, kind in GUARDED.items():
            one = self._kind(kind.name)
            if one.pending:
                for name in one.pending:
                    self._drop(one.approved.get(name))
                one.approved |= one.pending
                one.pending.clear()
                changed.append(method)
        if changed:
            self._save()
        return changed

    # ---- the comparison

    def _compare(self, kind: Kind, items: list[msgspec.Raw], *, is_last: bool) -> list[msgspec.Raw]:
        """Record the definitions of a page, and return those that a client may get."""
        record = self._kind(kind.name)
        self._room = _MOST_COMPARED
        kept = [item for item in items if self._is_approved(kind, record, item)]
        if is_last and not record.complete:
            record.complete = self._dirty = True
        if self._dirty:
            self._save()
        return kept

    def _is_approved(self, kind: Kind, record: KindRecord, item: msgspec.Raw) -> bool:
        """Record a definition, and return whether it is approved."""
        name, seen = _read(kind, item)
        approved = record.approved.get(name)
        if approved is not None and (approved.hash == seen.hash or self._is_equal(approved, seen)):
            if approved.hash != seen.hash:
                # The next equal text needs no comparison.
                self._drop(approved)
                record.approved[name] = self._bounded(seen)
            if name in record.pending:
                self._drop(record.pending.pop(name))
                self._dirty = True
            return True
        if name not in record.approved and len(record.approved) + len(record.pending) >= MOST:
            return False
        if approved is None and not record.complete:
            record.approved[name] = self._bounded(seen)
            self._dirty = True
            return True
        before = record.pending.get(name)
        if before is None or before.hash != seen.hash:
            self._drop(before)
            record.pending[name] = self._bounded(seen)
            self._dirty = True
        self._report_once(_ADDED if approved is None else _CHANGED, kind.name, name, seen.hash)
        return False

    def _is_equal(self, one: Seen, other: Seen) -> bool:
        """Return whether two forms are the same definition, as far as the time for a page allows."""
        self._room -= len(one.form) + len(other.form)
        if not one.form or not other.form or self._room < 0:
            return False
        return canonical(of_any_era(_value(one.form))) == canonical(of_any_era(_value(other.form)))

    def _report_once(self, event: str, kind: str, name: str, hash_: str) -> None:
        key = (kind, name, hash_)
        if key not in self._reported and len(self._reported) < _MOST_REPORTS:
            self._reported.add(key)
            self._report(event, kind, name)

    def _bounded(self, seen: Seen) -> Seen:
        if len(seen.form) > _LARGEST_FORM or self._size + len(seen.form) > _LARGEST_TOTAL:
            return Seen(seen.hash)
        self._size += len(seen.form)
        return seen

    def _drop(self, seen: Seen | None) -> None:
        self._size -= len(seen.form) if seen is not None else 0

    # ---- the record

    def _loaded(self) -> Record:
        if self._record is None:
            self._record = self._load()
            for kind, one in self._record.items():
                self._size += sum(len(seen.form) for seen in _all(one))
                # What was pending when the record was stored was reported then.
                self._reported |= {(kind, name, seen.hash) for name, seen in one.pending.items()}
        return self._record

    def _kind(self, kind: str) -> KindRecord:
        return self._loaded().setdefault(kind, KindRecord())

    def _save(self) -> None:
        self._dirty = False
        self._changed(self._loaded())


def _all(record: KindRecord) -> Iterator[Seen]:
    yield from record.approved.values()
    yield from record.pending.values()


def _read(kind: Kind, item: msgspec.Raw) -> tuple[str, Seen]:
    """Return the name and the version of a definition."""
    name = json_object.string(json_object.peek(item).get(kind.identity))
    text = bytes(item)
    return name, Seen(_hash(text), text.decode("utf-8", "replace"))


def _hash(form: bytes) -> str:
    return f"sha256:{hashlib.sha256(form).hexdigest()}"


def _described(approved: Seen | None, seen: Seen) -> list[str]:
    if approved is None:
        return (
            differences({}, of_any_era(_value(seen.form)))
            if seen.form
            else ["new, and too large to be shown"]
        )
    if not approved.form or not seen.form:
        return ["changed, and too large to be compared"]
    return differences(of_any_era(_value(approved.form)), of_any_era(_value(seen.form)))


def _value(form: str) -> Any:  # noqa: ANN401 - JSON
    return json.loads(form)
