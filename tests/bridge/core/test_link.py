"""A front and a translator that run against each other: which effects leave the link, and in which order."""

import gc
import weakref

import pytest

from mcpbridged.bridge.core.effects import (
    EraMismatch,
    LogDebug,
    SetTimer,
    Timer,
    ToChild,
    ToClient,
    ToRequester,
    ToServer,
    ToUpstream,
)
from mcpbridged.bridge.core.link import Link, StartTimer
from mcpbridged.validators import jsonrpc
from mcpbridged.validators.jsonrpc import Notification, Request, Response
from mcpbridged.validators.limits import Limits

TIMER = Timer()


def note(name):
    return Notification(f"notifications/{name}", b"")


def to_client(text):
    return ToClient("queue", text)


class Front:
    """A front whose effects are those of the test, by the id of the message."""

    def __init__(self, **effects):
        self.effects = {key.encode(): value for key, value in effects.items()}
        self.messages = []

    def on_server_message(self, message, about=b""):
        self.messages.append((message, about))
        return self.effects.get(getattr(message, "id", b""), (to_client(message.id),))

    def on_server_start(self):
        return (ToServer(note("started")),)

    def on_server_exit(self, text, data):
        return (to_client(text.encode()), LogDebug(str(data)))

    def close(self, text):
        return (to_client(text.encode()),)

    def on_tick(self, now, _new_id):
        return (ToServer(note(f"tick{now:g}")),)


class Translator:
    """A translator whose effects are those of the test, by the id or the method of the message."""

    def __init__(self, **effects):
        self.effects = effects
        self.requests = []

    def _of(self, key):
        return self.effects.get(key, ())

    def on_start(self):
        return self._of("start")

    def from_client(self, message, client_request=None):
        self.requests.append((message, client_request))
        if isinstance(message, Notification):
            return (ToServer(Notification(f"{message.method}/translated", b"")),)
        return self._of(message.id.decode())

    def from_server(self, message, related=b""):
        self.related = related
        return self._of(message.id.decode())

    def on_timer(self, timer):
        assert timer is TIMER
        return self._of("timer")

    def on_tick(self, now):
        return (LogDebug(f"tick{now:g}"),)

    def on_exit(self):
        return self._of("exit")


def linked(front=None, **effects):
    link = Link(front or Front(), Limits())
    translator = Translator(**effects)
    link.use(translator)
    return link, translator


def response(raw_id):
    return Response(raw_id, b"{}", b"")


def test_without_a_translator_effects_and_messages_pass():
    front = Front()
    link = Link(front, Limits())
    effects = (ToServer(note("x")), to_client(b"y"))
    assert link.through(effects) is effects
    assert link.on_server_message(response(b"1"), b"7") == (to_client(b"1"),)
    assert front.messages == [(response(b"1"), b"7")]
    assert link.on_start() == (ToServer(note("started")),)
    assert link.on_tick(3) == (ToServer(note("tick3")),)
    assert link.drop_translator() == ()
    assert link.on_server_exit("gone", {"a": 1}) == (to_client(b"gone"), LogDebug("{'a': 1}"))
    assert link.close("over") == (to_client(b"over"),)


def test_a_message_of_a_client_goes_through_the_translator_however_the_front_sends_it():
    link, translator = linked()
    message = note("x")
    effects = (ToServer(message), ToChild(jsonrpc.line(message)), ToUpstream(message), to_client(b"y"))
    sent = ToServer(Notification("notifications/x/translated", b""))
    assert link.through(effects) == (sent, sent, sent, to_client(b"y"))
    assert translator.requests == [(message, None)] * 3


def test_the_translator_gets_the_request_of_the_client():
    link, translator = linked()
    asked = object()
    link.through((ToServer(Request(b"1", "tools/list", b"{}"), asked),))
    assert translator.requests == [(Request(b"1", "tools/list", b"{}"), asked)]


def test_an_effect_stands_at_the_place_of_its_cause():
    # The answer to `a` lets the front send `b`, whose translation has effects as well.
    front = Front(a=(to_client(b"a"), ToServer(Request(b"b", "m", b"")), to_client(b"c")))
    link, _ = linked(
        front,
        s=(LogDebug("1"), ToRequester(response(b"a"), b"7"), LogDebug("3")),
        b=(LogDebug("2"), ToRequester(response(b"d"))),
    )
    assert link.on_server_message(response(b"s")) == (
        LogDebug("1"),
        to_client(b"a"),
        LogDebug("2"),
        to_client(b"d"),
        to_client(b"c"),
        LogDebug("3"),
    )
    assert front.messages == [(response(b"a"), b"7"), (response(b"d"), b"")]


def test_what_follows_an_era_mismatch_is_dropped_because_the_caller_moves_the_requests():
    front = Front()
    link, _ = linked(front, s=(LogDebug("1"), EraMismatch("no"), ToRequester(response(b"a"))))
    assert link.on_server_message(response(b"s")) == (LogDebug("1"), EraMismatch("no"))
    assert not front.messages


def test_a_timer_of_a_former_translator_has_no_effect():
    link, _ = linked(s=(SetTimer(2.5, TIMER),))
    (timer,) = link.on_server_message(response(b"s"))
    assert timer == StartTimer(2.5, TIMER, 1)
    assert link.on_timer(timer) == ()
    link.translator.effects["timer"] = (LogDebug("due"),)
    assert link.on_timer(timer) == (LogDebug("due"),)
    link.use(Translator(timer=(LogDebug("wrong"),)))
    assert link.on_timer(timer) == ()
    link.drop_translator()
    assert link.on_timer(StartTimer(1, TIMER, 2)) == ()


def test_each_process_has_a_translator_of_its_own():
    made = []

    def make():
        made.append(Translator(start=(ToServer(note("initialize")),)))
        return made[-1]

    link = Link(Front(), Limits(), make)
    assert link.translator is None
    for _ in range(2):
        assert link.on_start() == (
            ToServer(note("initialize")),
            ToServer(Notification("notifications/started/translated", b"")),
        )
        assert link.translator is made[-1]
    assert len(made) == 2


def test_time_passes_for_the_front_first():
    link, _ = linked()
    assert link.on_tick(3) == (
        ToServer(Notification("notifications/tick3/translated", b"")),
        LogDebug("tick3"),
    )


@pytest.mark.parametrize("event", ["exit", "close", "drop"])
def test_the_translator_ends_before_the_front(event):
    link, _ = linked(exit=(ToRequester(response(b"over")),))
    effects = {
        "exit": lambda: link.on_server_exit("gone", {}),
        "close": lambda: link.close("gone"),
        "drop": link.drop_translator,
    }[event]()
    assert effects[:2] == (to_client(b"over"), to_client(b"gone"))[: len(effects)]
    assert link.translator is None


def test_a_link_that_is_no_longer_used_is_freed_at_once():
    front = Front()
    gc.disable()
    try:
        link, translator = linked(front, s=(SetTimer(1, TIMER),))
        link.on_server_message(response(b"s"))
        found = weakref.ref(translator), weakref.ref(front)
        del link, translator, front
        assert [ref() for ref in found] == [None, None]
    finally:
        gc.enable()


def test_the_translator_receives_the_request_that_a_message_belongs_to():
    link, translator = linked(Front(), s=())
    link.on_server_message(response(b"s"), b"7")
    assert translator.related == b"7"
