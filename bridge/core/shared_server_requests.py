"""Requests of a shared server process to its fronts: which front gets each, and what belongs to a front afterwards. Pure.

Invariant: a request of the server is sent to the front of the call that `Origins.assign` returns, or refused.
"""

from collections.abc import Collection

import msgspec

from ...validators import json_object
from ...validators.jsonrpc import ID_IN_USE, Notification, Request, Response
from ...validators.limits import Limits
from ...validators.mcp_params import cancelled, cancelled_again, read_cancelled, read_progress
from ...validators.rejection import INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND
from .access_policy import AccessPolicy
from .attribution import Client, Refusal
from .effects import LogDebug, ServerRequestRefused, ToServer
from .errors import URL_ELICITATION_REQUIRED, read_fault
from .forwarded_requests import ForwardedRequests
from .front import Front, FrontIds, find_front
from .shared_calls import SharedCalls
from .shared_effects import Assigned, Effect, Effects, ToFront, Undeclared, failure
from .shared_tasks import NAME_A_TASK
from .tasks import canonical_text, related_task, task_in, task_of


class SharedServerRequests:
    """The requests of one process. `requests` are those without a response of their front."""

    __slots__ = ("_calls", "_client_tasks", "_fronts", "_limit", "_policy", "_requests", "_urls")

    def __init__(
        self,
        limits: Limits,
        policy: AccessPolicy,
        fronts: Collection[Front],
        calls: SharedCalls,
        requests: ForwardedRequests,
    ) -> None:
        self._limit = limits.in_flight
        self._policy = policy
        self._fronts = fronts
        self._calls = calls
        self._requests = requests
        # Tasks of clients, and URLs that clients are requested to open, by canonical id. `remove_front` removes ids.
        self._client_tasks = FrontIds(limits.in_flight)
        self._urls = FrontIds(limits.in_flight)

    # ---- from the server

    def on_request(self, message: Request, related: bytes = b"") -> Effects:
        """Handle a request of the server. `related` is the call on whose response stream it came, where that is known."""
        method = message.method
        if method == "ping":
            return (ToServer(Response(message.id, b"{}", b"")),)
        if self._requests.id_of(message.id) is not None:
            return (ToServer(failure(message.id, INVALID_REQUEST, ID_IN_USE)),)
        if method in NAME_A_TASK:
            return self._on_task_request(message)
        if self._policy.denied(method):
            return self._refuse(
                message, Refusal(METHOD_NOT_FOUND, self._policy.refusal(method, 200).text, "denied")
            )
        return self._assign(message, b"", related=related)

    def on_cancelled(self, message: Notification) -> Effects:
        """Handle the cancellation of a request by the server."""
        raw_id, _ = read_cancelled(message.params)
        own_id = self._requests.id_of(raw_id)
        if own_id is None:
            return (LogDebug("cancellation_unmatched"),)
        front = self._requests.remove(own_id).front
        return (ToFront(front, Notification(message.method, cancelled_again(message.params, own_id))),)

    def reassign(self, message: Request, client: Client) -> Effects:
        """Assign a request again, because the call of a translated front that had it has ended."""
        if message.id not in self._requests.by_id:
            return ()
        server_id = self._requests.remove(message.id).server_id
        return self._assign(Request(server_id, message.method, message.params), message.id, client)

    def _on_task_request(self, message: Request) -> Effects:
        owner = self._client_tasks.get(task_in(message.params))
        if owner is None:
            return (ToServer(failure(message.id, INVALID_PARAMS, "Unknown task")),)
        own_id = self._calls.next_id()
        self._requests.add(own_id, owner, message, b"")
        return (ToFront(owner, Request(own_id, message.method, message.params)),)

    def _assign(
        self, message: Request, own_id: bytes, again_for: Client | None = None, related: bytes = b""
    ) -> Effects:
        method = message.method
        task = canonical_text(related_task(message.params))
        found = self._calls.origins.assign(method, message.params, task, again_for, related=related)
        if isinstance(found, Refusal):
            return self._refuse(message, found)
        front = find_front(self._fronts, found.owner)
        if front is None or front not in self._fronts:
            return self._refuse(message, Refusal(INTERNAL_ERROR, "the client has left", "client_left"))
        if method == "elicitation/create":
            self._add_url(front, message.params)
        own_id = own_id or self._calls.next_id()
        self._requests.add(own_id, front, message, found.wire_id)
        request = Request(own_id, method, message.params)
        effect = (
            Assigned(front, request, found) if front.translated else ToFront(front, request, found.wire_id)
        )
        return (effect, *self._calls.send_queued())

    def _refuse(self, message: Request, refusal: Refusal) -> Effects:
        origin = refusal.origin
        front = None if origin is None else find_front(self._fronts, origin.owner)
        effects: list[Effect] = [
            ToServer(failure(message.id, refusal.code, refusal.text)),
            ServerRequestRefused(message.method, refusal.reason),
        ]
        if origin is not None and front is not None and front.translated:
            effects.append(Undeclared(front, message, origin))
        return tuple(effects)

    # ---- from a front

    def on_response(self, front: Front, message: Response) -> Effects:
        """Handle the response of a front."""
        request = self._requests.by_id.get(message.id)
        if request is None or request.front is not front:
            return (LogDebug("response_unmatched", ("client", message.id)),)
        self._requests.remove(message.id)
        if request.augmented:
            task = task_of(message.result)
            if task:
                self._client_tasks.add(canonical_text(task), front)
        return (ToServer(Response(request.server_id, message.result, message.error)),)

    def on_notification(self, front: Front, message: Notification) -> Effects:
        """Send a notification of a front to the server, unless it is about a request or a task that is not the front's."""
        match message.method:
            case "notifications/progress":
                if not self._requests.has_token(front, read_progress(message.params)):
                    return (LogDebug("progress_unmatched"),)
            case "notifications/tasks/status":
                if self._client_tasks.get(task_in(message.params)) is not front:
                    return (LogDebug("task_status_unmatched"),)
            case _:
                pass
        return (ToServer(message),)

    def remove_front(self, front: Front) -> Effects:
        """Remove a front that leaves: the requests to it are answered with an error."""
        self._client_tasks.remove(front)
        self._urls.remove(front)
        text = "the client left without an answer"
        return tuple(
            ToServer(failure(request.server_id, INTERNAL_ERROR, text))
            for request in self._requests.remove_front(front)
        )

    def on_exit(self) -> Effects:
        """Cancel the requests at the fronts, because the process has exited."""
        return tuple(
            ToFront(request.front, Notification("notifications/cancelled", cancelled(own_id, b"")))
            for own_id, request in self._requests.by_id.items()
            if not request.front.translated
        )

    # ---- URLs that a client is requested to open (MCP 2025-11-25 client/elicitation)

    def on_error(self, front: Front, error: bytes) -> None:
        """Store the URLs that an error response to a front names."""
        fault = read_fault(error)
        if fault.code != URL_ELICITATION_REQUIRED or not isinstance(fault.data, msgspec.Raw):
            return
        named = json_object.items(json_object.peek(fault.data).get("elicitations"))
        for one in named[: self._limit]:
            self._add_url(front, one)

    def front_of_url(self, message: Notification) -> Front | None:
        """Return the front whose client was requested to open the URL that a notification names."""
        found = json_object.peek(message.params)
        return self._urls.get(canonical_text(bytes(found.get("elicitationId", b""))))

    def _add_url(self, front: Front, params: bytes | msgspec.Raw) -> None:
        found = json_object.peek(params)
        if "elicitationId" in found:
            self._urls.add(canonical_text(bytes(found["elicitationId"])), front)
