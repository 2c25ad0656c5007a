"""Run the state machine of clients and the translator behind it against each other. Pure.

A front (`LegacySession`, `Multiplexer`) stands on the side of the clients. The translator, if there is one, stands between the
front and a server process of the other era. A link passes the effects of each to the other, and returns those that leave it.

Order: an effect stands at the place of the effect that has caused it. Everything is decided before the caller carries out the
first effect. The caller carries the effects out in order. An event that is caused by that, such as the error for a message that
could not be sent, is passed to the link at once, and all its effects are carried out before the next effect.
"""

from collections.abc import Callable
from typing import Generic, NamedTuple, Protocol, TypeVar

from ...validators import jsonrpc
from ...validators.jsonrpc import Message
from ...validators.limits import Limits
from .effects import (
    Effects,
    EraMismatch,
    LogDebug,
    ServerRequestRefused,
    SetTimer,
    Timer,
    ToChild,
    ToClient,
    ToRequester,
    ToServer,
    ToUpstream,
    Translator,
    Unassigned,
)
from .errors import no_id


class StartTimer(NamedTuple):
    """Pass this effect to `Link.on_timer` after `seconds`. `generation` is that of the translator."""

    seconds: float
    timer: Timer
    generation: int


# The effects of a translator outside of the link.
LinkEffect = ToServer | StartTimer | EraMismatch | LogDebug | ServerRequestRefused | Unassigned

# The effects of a front, and its translator.
E = TypeVar("E")
T = TypeVar("T", bound=Translator)
E_co = TypeVar("E_co", covariant=True)


class LinkFront(Protocol[E_co]):
    """The side of the clients."""

    def on_server_message(self, message: Message, about: bytes = b"") -> tuple[E_co, ...]:
        """Handle a message of the server. `about` is the wire id of the request that it belongs to, where that is known."""
        ...

    def on_server_start(self) -> tuple[E_co, ...]:
        """Handle the start of a process."""
        ...

    def on_server_exit(self, text: str, data: dict[str, object]) -> tuple[E_co, ...]:
        """Handle the exit of the process, with the text and the data of the error for its requests."""
        ...

    def close(self, text: str) -> tuple[E_co, ...]:
        """Handle the end of everything that is open."""
        ...

    def on_tick(self, now: float, new_id: Callable[[], str], /) -> tuple[E_co, ...]:
        """Handle the passing of time. `now` is in seconds."""
        ...


class Link(Generic[E, T]):
    """A front and the translator to the current process, which is made by `make`. Without `make` messages pass unchanged."""

    __slots__ = ("_front", "_generation", "_limits", "make", "translator")

    def __init__(self, front: LinkFront[E], limits: Limits, make: Callable[[], T] | None = None) -> None:
        self._front = front
        self._limits = limits
        self.make = make
        # None without `make`, and without a process.
        self.translator: T | None = None
        # How many translators there were.
        self._generation = 0

    # ---- from the clients

    def through(self, effects: tuple[E, ...]) -> tuple[E | LinkEffect, ...]:
        """Return the effects outside of the link for effects of the front, whose messages go through the translator."""
        translator = self.translator
        if translator is None:
            return effects
        # Tuples are joined, because nearly all have one effect, and then no other tuple is made.
        found: tuple[E | LinkEffect, ...] = ()
        for effect in effects:
            if isinstance(effect, ToClient):
                found += (effect,)
            elif isinstance(effect, ToServer):
                found += self.translated(translator.from_client(effect.message, effect.request))
            elif isinstance(effect, ToChild):
                message = jsonrpc.decode(effect.line, self._limits, deep=True)
                found += self.translated(translator.from_client(message))
            elif isinstance(effect, ToUpstream):
                found += self.translated(translator.from_client(effect.message))
            else:
                found += (effect,)
        return found

    # ---- from the server

    def on_server_message(self, message: Message, about: bytes = b"") -> tuple[E | LinkEffect, ...]:
        """Handle a message of the server. `about` is the wire id of the request that it belongs to, where that is known."""
        translator = self.translator
        if translator is None:
            return self._front.on_server_message(message, about)
        return self.translated(translator.from_server(message, about))

    def translated(self, effects: Effects) -> tuple[E | LinkEffect, ...]:
        """Return the effects outside of the link for effects of the translator.

        Those behind an `EraMismatch` are dropped. They answer requests that the process has not received, which the caller
        moves to a process of the other era, or fails with a better reason.
        """
        found: tuple[E | LinkEffect, ...] = ()
        for effect in effects:
            if isinstance(effect, ToServer):
                found += (effect,)
            elif isinstance(effect, ToRequester):
                found += self.through(self._front.on_server_message(effect.message, effect.about))
            elif isinstance(effect, SetTimer):
                found += (StartTimer(effect.seconds, effect.timer, self._generation),)
            else:
                found += (effect,)
                if isinstance(effect, EraMismatch):
                    break
        return found

    # ---- the process

    def use(self, translator: T | None) -> None:
        """Use this translator from now on."""
        self.translator = translator
        self._generation += 1

    def on_start(self) -> tuple[E | LinkEffect, ...]:
        """Handle the start of a process."""
        self.use(None if self.make is None else self.make())
        begun = () if self.translator is None else self.translated(self.translator.on_start())
        return (*begun, *self.through(self._front.on_server_start()))

    def on_server_exit(self, text: str, data: dict[str, object]) -> tuple[E | LinkEffect, ...]:
        """Handle the exit of the process, with the text and the data of the error for its requests."""
        left = self.drop_translator()
        return (*left, *self._front.on_server_exit(text, data))

    def drop_translator(self) -> tuple[E | LinkEffect, ...]:
        """Handle that the current process receives no more messages."""
        left = () if self.translator is None else self.translated(self.translator.on_exit())
        self.translator = None
        return left

    def close(self, text: str) -> tuple[E | LinkEffect, ...]:
        """End everything that is open."""
        left = self.drop_translator()
        return (*left, *self._front.close(text))

    # ---- time

    def on_timer(self, timer: StartTimer) -> tuple[E | LinkEffect, ...]:
        """Handle a timer that has expired. Those of a former translator have no effect."""
        if self.translator is None or timer.generation != self._generation:
            return ()
        return self.translated(self.translator.on_timer(timer.timer))

    def on_tick(self, now: float, new_id: Callable[[], str] = no_id) -> tuple[E | LinkEffect, ...]:
        """Handle the passing of time. `now` is in seconds on any steady clock."""
        effects = self.through(self._front.on_tick(now, new_id))
        if self.translator is None:
            return effects
        return (*effects, *self.translated(self.translator.on_tick(now)))
