"""Requests to one server, whose responses are those of the test."""

import pytest

from mcpbridged.bridge.commands import server_client as module
from mcpbridged.bridge.commands.control_client import ErrorResponse, Unreachable
from mcpbridged.bridge.commands.server_client import ServerClient


class Server:
    """Returns these results, and stores the requests."""

    def __init__(self, *results):
        self.results = list(results)
        self.sent = []

    def __call__(self, _unix, _server, method, params, headers=None, patience=None, log_level=""):
        self.sent.append((method, params, headers, log_level))
        result = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        if isinstance(result, Exception):
            raise result
        yield {"method": "notifications/progress", "params": {}}
        yield {"result": result}


@pytest.fixture
def client(monkeypatch):
    def make(*results, respond=None, **more):
        server = Server(*results)
        monkeypatch.setattr(module, "call_server", server)
        monkeypatch.setattr(module.time, "sleep", lambda _seconds: None)
        responder = type("Responder", (), {"respond": staticmethod(respond)}) if respond else None
        return ServerClient(None, "srv", responder, **more), server

    return make


NEEDS = {"resultType": "input_required", "inputRequests": {"a": 1, "b": 2}, "requestState": "s"}


def test_input_requests_are_answered_until_there_is_a_result(client):
    messages = []
    asking, server = client(
        NEEDS,
        {"resultType": "input_required", "inputRequests": {"c": 3}},
        {"ok": 1},
        respond=lambda request: {"for": request},
        on_message=messages.append,
        log_level="info",
    )
    assert asking.request("tools/call", {"name": "t"}, {"H": "h"}) == {"ok": 1}
    assert server.sent == [
        ("tools/call", {"name": "t"}, {"H": "h"}, "info"),
        (
            "tools/call",
            {"name": "t", "inputResponses": {"a": {"for": 1}, "b": {"for": 2}}, "requestState": "s"},
            {"H": "h"},
            "info",
        ),
        ("tools/call", {"name": "t", "inputResponses": {"c": {"for": 3}}}, {"H": "h"}, "info"),
    ]
    assert len(messages) == 3


def test_a_state_without_requests_is_sent_back(client):
    asking, server = client({"resultType": "input_required", "requestState": "s"}, {"ok": 1})
    assert asking.request("tools/call", {}) == {"ok": 1}
    assert server.sent[1][1] == {"requestState": "s"}


def test_a_server_that_never_has_enough_input_is_left(client):
    asking, server = client(NEEDS, respond=lambda _request: {})
    with pytest.raises(ErrorResponse, match="requested input 50 times"):
        asking.request("tools/call", {})
    assert len(server.sent) == 50


def test_a_command_that_cannot_answer_says_so(client):
    with pytest.raises(ErrorResponse, match="requests input, which this command does not offer"):
        client(NEEDS)[0].request("tools/call", {})


def test_an_interrupt_at_a_question_cancels_it_at_the_server(client):
    def respond(_request):
        raise KeyboardInterrupt

    asking, server = client(NEEDS, ErrorResponse("gone"), respond=respond)
    with pytest.raises(KeyboardInterrupt):
        asking.request("tools/call", {"name": "t"})
    cancel = {"action": "cancel"}
    assert server.sent[1][1] == {
        "name": "t",
        "requestState": "s",
        "inputResponses": {"a": cancel, "b": cancel},
    }


def test_all_pages_of_a_list_are_read_once(client):
    pages = [
        {"tools": [{"a": 1}, 5], "nextCursor": "x"},
        {"tools": 7, "nextCursor": "y"},
        {"nextCursor": "x"},
    ]
    listing, server = client(*pages)
    assert listing.items("tools/list", "tools") == [{"a": 1}]
    assert [params for _, params, _, _ in server.sent] == [{}, {"cursor": "x"}, {"cursor": "y"}]


def test_a_list_that_is_not_offered_is_none(client):
    assert client(ErrorResponse("no", -32601))[0].items_if_offered("prompts/list", "prompts") is None
    with pytest.raises(ErrorResponse, match="no"):
        client(ErrorResponse("no", -32000))[0].items_if_offered("prompts/list", "prompts")


def test_a_missing_capability_is_named_in_words(client):
    fault = ErrorResponse("x", -32021, {"requiredCapabilities": {"elicitation": {}, "sampling": {}}})
    with pytest.raises(ErrorResponse, match=r"srv requests the answer of a language model \(sampling\)"):
        client(fault)[0].request("tools/call", {})
    for data in ({}, {"requiredCapabilities": 5}, {"requiredCapabilities": {"elicitation": {}}}):
        with pytest.raises(ErrorResponse, match=r"^x$"):
            client(ErrorResponse("x", -32021, data))[0].request("tools/call", {})


def test_a_server_that_is_not_there_is_named_with_the_others(client, monkeypatch):
    monkeypatch.setattr(module, "names_of_servers", lambda _unix: ["srv1", "b"])
    with pytest.raises(ErrorResponse) as caught:
        client(ErrorResponse("Not found", None, None, 404))[0].request("tools/call", {})
    assert str(caught.value) == "there is no server 'srv'; there are: srv1, b; did you mean 'srv1'?"
    monkeypatch.setattr(module, "names_of_servers", lambda _unix: ["srv"])
    with pytest.raises(ErrorResponse, match=r"^Not found$"):
        client(ErrorResponse("Not found", None, None, 404))[0].request("tools/call", {})


def test_a_name_that_is_not_there_is_compared_with_the_others():
    assert "did you mean 'echo'?" in str(module.not_there("srv", "tool", "ecko", ["echo", "add"], "tools"))
    assert "there are: echo, add" in str(module.not_there("srv", "tool", "zzz", ["echo", "add"], "tools"))
    many = [f"tool{at}" for at in range(100)]
    assert "there are" not in str(module.not_there("srv", "tool", "zzz", many, "tools"))


@pytest.mark.parametrize(
    ("server", "text"),
    [
        ({"era": "legacy"}, "waiting for srv"),
        ({"name": "other"}, "waiting for srv"),
        (
            {"command": ["/usr/bin/npx", "-y", "x"]},
            "waiting for the start of srv: npx may be fetching its package",
        ),
        ({"command": ["uvx", "x"]}, "waiting for the start of srv: uvx may be fetching its package"),
        ({"command": ["python3", "x.py"]}, "waiting for the start of srv"),
        ({"command": [], "url": "https://x.example"}, "waiting for the start of srv"),
        (Unreachable("the daemon is stopped"), "the daemon is stopped"),
        (ErrorResponse("no"), "waiting for srv"),
        (ConnectionResetError(), "waiting for srv"),
    ],
)
def test_what_a_request_waits_for_is_named(monkeypatch, server, text):
    def request(*_):
        if isinstance(server, Exception):
            raise server
        return {"servers": [{"name": "srv", "era": "not known yet", "command": [], **server}]}

    monkeypatch.setattr(module, "request", request)
    assert module.waiting_text(None, "srv") == text
