"""A multiplexer with a started server, and short forms of the messages that it receives and sends."""

import json

import msgspec

from mcpbridged.bridge.core.access_policy import EVERYTHING
from mcpbridged.bridge.core.effects import (
    ToClient,
    ToServer,
)
from mcpbridged.bridge.core.multiplexer import Multiplexer
from mcpbridged.bridge.core.request_state import StateSigner
from mcpbridged.bridge.core.requests import ClientRequest
from mcpbridged.validators.jsonrpc import Notification, Request, Response
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.stateless_request import read_envelope

LIMITS = Limits()
PREFIX = "io.modelcontextprotocol/"
ACK = "notifications/subscriptions/acknowledged"


class SendQueue:
    """Stand for the stream of a client. Only its identity matters."""

    def __init__(self, name="queue"):
        self.name = name

    def __repr__(self):
        return self.name


def raw(value):
    return json.dumps(value, separators=(",", ":")).encode()


def params(**more):
    meta = more.pop("meta", {})
    return {
        **more,
        "_meta": {f"{PREFIX}protocolVersion": "2026-07-28", f"{PREFIX}clientCapabilities": {}, **meta},
    }


def sent_to_server(effects):
    """Return the messages to the server: requests as (id, method, params), notifications as (method, params)."""
    found = []
    for effect in effects:
        if isinstance(effect, ToServer):
            message = effect.message
            about = json.loads(message.params or b"null")
            found.append(
                (json.loads(message.id), message.method, about)
                if isinstance(message, Request)
                else (message.method, about)
            )
    return found


def sent_to_clients(effects):
    """Return the messages to clients: the queue, the message, and the status if it is the last message."""
    return [
        (effect.queue, json.loads(effect.message), effect.status if effect.last else None)
        for effect in effects
        if isinstance(effect, ToClient)
    ]


class Talk:
    """A multiplexer in front of a server that has started."""

    def __init__(
        self, *, limits=LIMITS, started=True, seal=None, policy=EVERYTHING, since=None, shared=False
    ):
        self.policy = policy
        self.since = since
        self.it = Multiplexer(limits, seal or StateSigner(b"k" * 32), shared=shared)
        if started:
            self.it.on_server_start()

    def ask(self, id_, method, about=None, *, queue=None, pipe=False, headers=None, principal="me"):
        text = raw(params() if about is None else about)
        envelope = read_envelope(method, text, LIMITS)
        queue = queue or SendQueue(f"queue {id_}")
        sent = Request(raw(id_), method, text)
        ask = ClientRequest(principal, sent, envelope, headers, queue, pipe, self.policy, self.since)
        return queue, list(self.it.on_request(ask))

    def answer(self, id_, result, *, view=False):
        payload = msgspec.Raw(raw(result)) if view else raw(result)
        return list(self.it.on_server_message(Response(raw(id_), payload, b"")))

    def fail(self, id_, code, message="no"):
        return list(
            self.it.on_server_message(Response(raw(id_), b"", raw({"code": code, "message": message})))
        )

    def notify(self, method, about="", **more):
        return list(self.it.on_server_message(Notification(method, raw(more)), raw(about) if about else b""))


def call(name="t", **arguments):
    return params(name=name, arguments=arguments)
