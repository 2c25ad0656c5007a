"""A response has the form that Accept allows: JSON, an event stream, or either. A request that allows neither is refused."""

import json
import threading

import pytest

from ..support.accept_headers import (
    BOTH,
    CARRIERS,
    EVENTS,
    JSON,
    Client,
    carriers,
    events_of,
    messages_in,
    modern,
    result_text,
    servers,
    tool_call,
)

# The header of java.net.HttpURLConnection has weights that lack the digit before the point.
JAVA = "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"
JSON_ONLY = [JSON, "application/*", f"{JSON}, {EVENTS};q=0", "application/json;q=0.5, text/html"]
EVENTS_ONLY = [EVENTS, "text/*", f"application/jsonx, {EVENTS}", f"{EVENTS}, {JSON};q=0"]
EITHER = [None, "*/*", BOTH, "application/*, text/*", "*/*;q=0.1", "text/html, */*", JAVA]
NEITHER = ["text/html", "*/*;q=0", "image/png, application/xml"]
KINDS = ["own", "shared"]


def rows(*lists):
    """Return a parametrization with each header over HTTP/1.1, and with the first header of each list over HTTP/2."""
    everything = [("http1", accept) for headers in lists for accept in headers]
    return pytest.mark.parametrize(
        ("carrier", "accept"), [*everything, *(("http2", headers[0]) for headers in lists)]
    )


@pytest.fixture(scope="module")
def running(authority, tmp_path_factory):
    # A shared server for each test, because a server request is refused while a call of another client may have caused it.
    shared = {f"shared-{name}": {"share": "server"} for name in ("ask", "roots", "get")}
    tables = servers(**shared, choosy={"tools": {"allow": ["notify"]}})
    with carriers(tmp_path_factory.mktemp("accept"), authority, tables) as found:
        yield found


@pytest.fixture(scope="module")
def sessions(running):
    """Yield open clients by carrier and server. Each test chooses their Accept."""
    found = {}
    for carrier in CARRIERS:
        for kind in ("own", "choosy"):
            found[carrier, kind] = client = Client(running, carrier, kind)
            client.initialize()
    yield found
    for client in found.values():
        client.http.close()


# ---- one request, either era


@rows(JSON_ONLY, EVENTS_ONLY, EITHER)
def test_t03_a_whole_session_with_one_accept(running, carrier, accept):
    with Client(running, carrier, accept=accept) as client:
        answers = [client.initialize(), client.call("echo"), client.call("notify", token="t")]
        assert [answer.status_code for answer in answers] == [200] * 3
        kinds = [answer.headers["content-type"] for answer in answers]
        if accept in JSON_ONLY:
            assert kinds == [JSON] * 3
        elif accept in EVENTS_ONLY:
            assert kinds == [EVENTS] * 3
        else:
            assert kinds == [JSON, JSON, EVENTS]
        [echoed] = [one for one in messages_in(answers[1])[0] if one.get("id") == 1]
        assert result_text(echoed) == "echoed"
        notified = messages_in(answers[2])[0]
        assert result_text(notified[-1]) == "notified"
        methods = [one.get("method") for one in notified[:-1]]
        assert methods == ([] if accept in JSON_ONLY else ["notifications/message", "notifications/progress"])
        ended = client.http.delete(client.url, headers={**client.headers, "Accept": "image/png"})
        assert ended.status_code == 204


@rows(JSON_ONLY, EVENTS_ONLY, EITHER, NEITHER)
def test_t03_a_notification_and_a_response_are_never_406(sessions, carrier, accept):
    client = sessions[carrier, "own"]
    for body in (
        {"jsonrpc": "2.0", "method": "notifications/roots/list_changed"},
        {"jsonrpc": "2.0", "id": 99, "result": {}},
        {"jsonrpc": "2.0", "id": 99, "error": {"code": -1, "message": "no"}},
    ):
        answer = client.post(body, Accept=accept)
        assert (answer.status_code, answer.content) == (202, b"")
    body = {"jsonrpc": "2.0", "method": "notifications/roots/list_changed"}
    headers = {"Mcp_Session_Id": None, "MCP_Protocol_Version": "2026-07-28"}
    assert client.post(body, Accept=accept, **headers).status_code == 202


@rows(NEITHER)
def test_t03_a_request_that_could_not_be_answered_is_refused_under_its_id(sessions, carrier, accept):
    client = sessions[carrier, "own"]
    body, headers = modern("tools/call", {"name": "echo", "arguments": {}}, id_="m")
    refused = [
        client.post(tool_call("echo", 7), Accept=accept),
        client.post(body, Accept=accept, Mcp_Session_Id=None, **headers),
    ]
    for answer, raw_id in zip(refused, (7, "m"), strict=True):
        assert (answer.status_code, answer.json()["id"]) == (406, raw_id)
        assert JSON in answer.json()["error"]["message"]
        assert EVENTS in answer.json()["error"]["message"]


@rows(JSON_ONLY, EVENTS_ONLY, EITHER)
def test_t03_a_stateless_request_with_one_accept(sessions, carrier, accept):
    client = sessions[carrier, "own"]
    meta = {"io.modelcontextprotocol/logLevel": "debug", "progressToken": "t"}

    def post(method, params=None):
        body, headers = modern(method, params, **meta)
        return client.post(body, Accept=accept, Mcp_Session_Id=None, **headers)

    notified = post("tools/call", {"name": "notify", "arguments": {}})
    found, as_events = messages_in(notified)
    assert notified.status_code == 200
    assert result_text(found[-1]) == "notified"
    assert as_events == (accept not in JSON_ONLY)
    assert len(found) == (1 if accept in JSON_ONLY else 3)
    echoed = post("tools/call", {"name": "echo", "arguments": {}})
    assert messages_in(echoed)[1] == (accept in EVENTS_ONLY)
    unknown = post("no/such")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, -32601)


@rows(JSON_ONLY)
def test_t03_a_subscription_needs_a_stream(sessions, carrier, accept):
    client = sessions[carrier, "own"]
    body, headers = modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    answer = client.post(body, Accept=accept, Mcp_Session_Id=None, **headers)
    assert (answer.status_code, answer.json()["id"]) == (406, 1)
    assert "text/event-stream" in answer.json()["error"]["message"]


# ---- messages of a server before its response, to a client that accepts JSON only


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tool", ["ask", "roots"])
def test_t03_a_server_request_without_a_stream_is_refused_at_once(running, carrier, kind, tool):
    with Client(running, carrier, kind if kind == "own" else f"shared-{tool}", accept=JSON) as client:
        client.initialize()
        answer = client.call(tool)
    assert answer.headers["content-type"] == JSON
    text = result_text(answer.json())
    assert text.startswith("refused: -32603")
    assert "text/event-stream" in text


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("kind", KINDS)
def test_t03_a_server_request_is_sent_on_the_get_stream(running, carrier, kind):
    kind = kind if kind == "own" else "shared-get"
    with Client(running, carrier, kind, accept=JSON) as client, Client(running, carrier, kind) as reader:
        client.initialize()
        reader.headers = {**client.headers, "Accept": EVENTS}
        answered = []
        with reader.stream() as stream:
            caller = threading.Thread(target=lambda: answered.append(client.call("ask", token="t")))
            caller.start()
            for line in stream.iter_lines():
                if line.startswith("data: {"):
                    server_request = json.loads(line.removeprefix("data: "))
                    break
            assert server_request["method"] == "elicitation/create"
            body = {
                "jsonrpc": "2.0",
                "id": server_request["id"],
                "result": {"action": "accept", "content": {}},
            }
            with Client(running, carrier, kind) as other:
                other.headers = client.headers
                assert other.post(body).status_code == 202
            caller.join()
    assert answered[0].headers["content-type"] == JSON
    assert "accept" in result_text(answered[0].json())


@pytest.mark.parametrize("carrier", CARRIERS)
def test_t03_log_messages_of_a_call_are_sent_on_the_get_stream(running, carrier):
    with Client(running, carrier, accept=JSON) as client:
        client.initialize()
        assert result_text(client.call("notify", token="t").json()) == "notified"
        subscribe = {"jsonrpc": "2.0", "id": 2, "method": "resources/subscribe", "params": {"uri": "a:b"}}
        assert client.post(subscribe).json() == {"jsonrpc": "2.0", "id": 2, "result": {}}
        with client.stream(Accept="*/*") as stream:
            lines = (line for line in stream.iter_lines() if line.startswith("data: {"))
            methods = [json.loads(next(lines).removeprefix("data: "))["method"] for _ in range(2)]
    assert methods == ["notifications/message", "notifications/resources/updated"]


# ---- refusals, batches, streams


@pytest.mark.parametrize("carrier", CARRIERS)
def test_t03_a_refusal_of_the_access_policy_is_an_event_if_json_is_not_accepted(sessions, carrier):
    client = sessions[carrier, "choosy"]
    for accept, as_events in ((JSON, False), (BOTH, False), (EVENTS, True)):
        answer = client.call("echo", id_=5, headers={"Accept": accept})
        [refused], events = messages_in(answer)
        assert (answer.status_code, refused["id"], events) == (200, 5, as_events)
        assert "error" in refused


@pytest.mark.parametrize("carrier", CARRIERS)
def test_t03_a_refusal_keeps_its_status(sessions, carrier):
    client = sessions[carrier, "own"]
    answer = client.post({"jsonrpc": "2.0", "id": 5, "method": ""}, Accept=EVENTS)
    assert (answer.status_code, answer.headers["content-type"]) == (400, JSON)


@rows(JSON_ONLY, EVENTS_ONLY, EITHER)
def test_t03_a_batch_with_one_accept(running, carrier, accept):
    with Client(running, carrier, accept=accept) as client:
        client.initialize("2025-03-26")
        ready = {"jsonrpc": "2.0", "method": "notifications/roots/list_changed"}
        answer = client.post([tool_call("echo", 1), ready, tool_call("notify", 2), tool_call("slow", 2)])
        assert client.post([ready, ready], Accept="text/html").status_code == 202
        refused = client.post([tool_call("echo", 1)], Accept="text/html")
    found, as_events = messages_in(answer)
    assert (answer.status_code, as_events) == (200, accept not in JSON_ONLY)
    answers = {one["id"]: one for one in found if "id" in one and "result" in one}
    assert {raw_id: result_text(one) for raw_id, one in answers.items()} == {1: "echoed", 2: "notified"}
    [repeated] = [one for one in found if "error" in one]
    assert repeated["id"] == 2
    if accept in JSON_ONLY:
        assert len(found) == 3
        assert answer.content.startswith(b"[")
    assert refused.status_code == 406


@rows(EVENTS_ONLY, EITHER)
def test_t03_a_get_stream_for_each_accept_that_allows_events(running, carrier, accept):
    with Client(running, carrier) as client:
        client.initialize()
        with client.stream(Accept=accept) as stream:
            assert (stream.status_code, stream.headers["content-type"]) == (200, EVENTS)
            assert next(stream.iter_lines()).startswith("id: ")


@rows(JSON_ONLY, NEITHER)
def test_t03_no_get_stream_for_any_other_accept(sessions, carrier, accept):
    with sessions[carrier, "own"].stream(Accept=accept) as stream:
        assert stream.status_code == 406


@pytest.mark.parametrize("carrier", CARRIERS)
def test_t03_each_event_of_a_requested_stream_has_an_id(sessions, carrier):
    streamed = sessions[carrier, "own"].call("echo", headers={"Accept": EVENTS})
    assert [bool(raw_id) for raw_id, _, _ in events_of(streamed)] == [True, True]
