"""The rows of the differential table: kinds of messages, with several inputs each."""

import json
from collections.abc import Iterator, Mapping, Sequence

import attrs
from variants import (
    CAPABILITIES,
    CLIENT,
    DONE,
    INITIALIZED,
    OFFERED,
    PLAIN,
    Action,
    Expectation,
    Face,
    Group,
    NotApplicable,
    Open,
    Refused,
    Variant,
    Wait,
    asked,
    call,
    error,
    handshake,
    initialize,
    method,
    notification,
    request,
    result,
    script,
    tool,
)

LEGACY = ("legacy",)
PARSE, INVALID, PARAMS, SERVER = -32700, -32600, -32602, -32000
LARGE = b"12345678901234567890123456789012345678901234567890123456789012345678901234567890"
UNDECLARED = "since 2025-06-18 the bridge refuses a request for what the client has not declared (-32601); directly the client may answer it"
UNANSWERABLE = NotApplicable("the bridge answers it in front of a server of the other era")
NO_CARRIER = NotApplicable("revision 2026-07-28 has no message for this")
AGGREGATED = NotApplicable("the aggregate answers it for all of its servers")
OWN_LOGS = NotApplicable("a log line goes to the request that is running, and none is")


# ---- requests


def ids() -> Iterator[Variant]:
    kind = "ids of requests"
    good = (
        b"0",
        b"-5",
        b"9007199254740993",
        LARGE,
        b'""',
        b'"x"',
        b'"0"',
        b'" "',
        '"\u00fc\U0001f30d"'.encode(),
    )
    good = (*good, b'"\\u00fc\\n"', b"1.0", b"-0", b"2e0", b'"%b"' % (b"i" * 256), b'"a\\/b"', b'"__proto__"')
    for number, raw_id in enumerate(good):
        yield tool(f"id-{number}", kind, raw_id=raw_id)
    for number, raw_id in enumerate((b"null", b"1.5", b"[1]", b"true", b"{}", b"1e400")):
        # Over HTTP a request that has no id is a notification.
        refused = Refused(INVALID, (b"null",), "an id is a string or an integer")
        yield tool(f"no-id-{number}", kind, raw_id=raw_id, expect={"*": refused})
    long = b'"%b"' % (b"i" * 257)
    yield tool(
        "id-long",
        kind,
        raw_id=long,
        expect={"*": Refused(INVALID, (b"null",), "the limit of an id, 256 bytes")},
    )
    step = notification("notifications/progress", b'{"progressToken":$TOKEN,"progress":1}')
    twice = call("id-twice", b"5", meta=b'"progressToken":"t"')
    steps = (twice, Wait("notifications/progress"), twice, call("release", b"6"))
    apart = NotApplicable("over HTTP a client of 2026-07-28 has a stream for each request")
    expect = {"*": Refused(INVALID, (b"5",), "an id is that of one request in flight", 2), "modern H": apart}
    variant = tool("id-twice", kind, [step, ["hold"]], steps, wanted=3, expect=expect)
    yield also(variant, "release", [["release", DONE], DONE])


def envelopes() -> Iterator[Variant]:
    kind = "order and spelling of the members of a message"
    params = b'{"name":"$PREFIX%b","arguments":{"a":[1, 2]},"_meta":{$META}}'
    texts = (
        b'{"params":%b,"method":"tools/call","id":1,"jsonrpc":"2.0"}',
        b' { "jsonrpc" : "2.0" , "id" : 1 , "method" : "tools/call" , "params" : %b } ',
        b'\t{"id":1,"jsonrpc":"2.0","params":%b,"method":"tools/call"}\t',
        b'{"jsonrpc":"2.0","id":1,"method":"tools\\/call","params":%b}',
        b'{"jsonrpc":"2.0","id":1,"\\u006dethod":"tools/call","params":%b}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":%b,"result":null,"error":null}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":%b,"extra":{"a":1},"_meta":{}}',
    )
    for number, text in enumerate(texts):
        name = f"member-{number}"
        yield tool(name, kind, steps=(text.replace(b"%b", params % name.encode()),))
    replies = (
        b'{"result":{$C"content":[]},"id":$ID,"jsonrpc":"2.0"}',
        b' { "id" : $ID , "jsonrpc" : "2.0" , "result" : {$C"content" : [ ] } } ',
        b'{"jsonrpc":"2.0","id":$ID,"result":{$C"content":[]},"error":null}',
        b'{"jsonrpc":"2.0","id":$ID,"result":{$C"content":[]},"extra":1,"_meta":{"a":1}}',
        b'{"jsonrpc":"2.0","id":$ID,"re\\u0073ult":{$C"content":[]}}',
        b'{"jsonrpc":"2.0","id":$ID,"method":null,"params":null,"result":{$C"content":[]}}',
        b'{"jsonrpc":"2.0","id":$ID,"result":{$C"content":[]}}\r',
        b'\r\n\r\n  \n{"jsonrpc":"2.0","id":$ID,"result":{$C"content":[]}}',
    )
    for number, text in enumerate(replies):
        yield tool(f"reply-{number}", kind, [text])
    refused = Refused(INVALID, (b"1",), "a member of the envelope is there once")
    text = b'{"jsonrpc":"2.0","id":1,"method":"x","method":"tools/call","params":{"name":"$PREFIXtwice","_meta":{$META}}}'
    yield tool("twice", kind, steps=(text,), expect={"*": refused})
    for number, (text, code, why) in enumerate(
        (
            (b'{"id":1,"method":"tools/call","params":{"name":"%b"}}', INVALID, "JSON-RPC 2.0 is named"),
            (
                b'{"jsonrpc":"1.0","id":1,"method":"tools/call","params":{"name":"%b"}}',
                INVALID,
                "JSON-RPC 2.0 is named",
            ),
            (
                b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"%b","x":NaN}}',
                PARSE,
                "JSON only",
            ),
            (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"%b",}}', PARSE, "JSON only"),
            (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"%b"', PARSE, "JSON only"),
            (
                b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["%b"]}',
                INVALID,
                "params are an object",
            ),
            (
                b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"%b","a":'
                + b"[" * 70
                + b"]" * 70
                + b"}}",
                INVALID,
                "the depth of a client's JSON, 64",
            ),
            (
                b'{"jsonrpc":"2.0","id":1,"method":"a b","params":{"name":"%b"}}',
                INVALID,
                "the grammar of a method",
            ),
        )
    ):
        expect = {"*": Refused(code, (b"1",), why)}
        name = f"unreadable-{number}"
        yield tool(
            name,
            kind="requests that cannot be read",
            steps=(text.replace(b"%b", name.encode()),),
            wanted=0,
            eras=LEGACY,
            expect=expect,
        )


def parameters() -> Iterator[Variant]:
    kind = "params that are absent, empty or null"
    for number, params in enumerate((b"", b',"params":{}', b',"params":null', b',"params":[]')):
        for what in ("ping", "tools/list", "x/unknown"):
            name = f"params-{number}-{what}"
            line = b'{"jsonrpc":"2.0","id":1,"method":"%b"%b}' % (what.encode(), params)
            own = {"ping": UNANSWERABLE, "tools/list": AGGREGATED, "x/unknown": NO_CARRIER}[what]
            expect = {"A": own} if what == "tools/list" else {"X": own, "A": own}
            yield Variant(name, kind, {"legacy": Face((line,))}, {}, expect)
    kind = "arguments and other members of params"
    given = (
        b'"arguments":null',
        b'"arguments":{}',
        b'"arguments":[]',
        b'"arguments":"text"',
        b'"arguments":{"a":null,"b":"","c":[],"d":{}}',
        b'"arguments":{"a":1,"a":2}',
        b'"arguments":{"":1,"__proto__":{"x":1},"constructor":2}',
        b'"arguments":{"z":1,"a":2,"\xc3\xbc":3}',
        b'"arguments":{ "a" : [ 1 , 2 ] }',
        b'"other":1,"arguments":{},"task2":{}',
        b'"arguments":{"a":%b}' % (b"[" * 55 + b"]" * 55),
    )
    for number, more in enumerate(given):
        yield tool(f"arguments-{number}", kind, more=more)
    kind = "numbers"
    given = (b"1.0", b"-0", b"-0.0", b"1e400", b"0.1e-7", LARGE, b"9" * 5000, b"1E+2", b"0.30000000000000004")
    for number, more in enumerate(given):
        body = b'{"jsonrpc":"2.0","id":$ID,"result":{$C"content":[],"structuredContent":{"n":%b}}}' % more
        yield tool(f"number-{number}", kind, [body], more=b'"arguments":{"n":%b}' % more)
    kind = "characters"
    given = (
        '"\u00fc\U0001f30d\u65e5"'.encode(),
        b'"\\u00fc\\ud83c\\udf0d\\u65e5"',
        b'"\\u0000\\u001f\\u007f\\b\\f\\n\\r\\t\\"\\\\\\/"',
        '"\u2028\u2029\x85\x7f\ufeff\ufffd"'.encode(),
        b'"cut \\ud83d"',
        b'"\\udf0d turned \\ud83d"',
        b'"</script><!--"',
        b'"data: x\\n\\nevent: y"',
    )
    for number, more in enumerate(given):
        replies = [
            notification("notifications/message", b'{"level":"error","data":%b}' % more),
            result(b'{$C"content":[{"type":"text","text":%b}]}' % more),
        ]
        yield tool(f"character-{number}", kind, replies, more=b'"arguments":{"t":%b}' % more)
        text = error(b'{"code":7,"message":%b,"data":[%b]}' % (more, more))
        yield tool(f"character-error-{number}", kind, [text])


def meta() -> Iterator[Variant]:
    kind = "_meta of requests"
    for number, text in enumerate((b"null", b"[]", b'""', b"{}")):
        name = f"meta-{number}"
        line = call(name).replace(b"{$META}", text)
        yield tool(name, kind, steps=(line,), eras=LEGACY)
    given = (
        b'"com.example/a":[1.0,null],"x":{}',
        b'"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","tracestate":"","baggage":""',
        b'"io.modelcontextprotocol/unknown":1',
    )
    for number, text in enumerate(given):
        yield tool(f"metas-{number}", kind, meta=text)
    kind = "progress"
    tokens = (
        b'"p"',
        b"7",
        b"0",
        b'""',
        b"-3",
        b"9007199254740993",
        '"\u00fc"'.encode(),
        b'"7"',
        b'"\\u0041"',
    )
    step = b'{"progressToken":$TOKEN,"progress":%b}'
    for number, token in enumerate(tokens):
        replies = [notification("notifications/progress", step % one) for one in (b"1", b"2.5")]
        yield tool(f"token-{number}", kind, [*replies, DONE], meta=b'"progressToken":%b' % token)
    for number, token in enumerate((b"1.5", b"true", b"[1]", b"{}", b"null")):
        # The bridge stores no requester for this token, and drops its progress.
        refused = Refused(PARAMS, (b"1",), "a progress token is a string or an integer")
        yield tool(f"no-token-{number}", kind, meta=b'"progressToken":%b' % token, expect={"*": refused})
    given = (
        b'{"progressToken":$TOKEN,"progress":1,"total":3.0,"message":"\xc3\xbc \\ud83d","x":[1.0]}',
        b'{"progress":1e2,"progressToken":$TOKEN}',
        b'{"progressToken":$TOKEN,"progress":0}',
        b'{"progressToken":$TOKEN,"progress":1,"_meta":{"a":1}}',
    )
    for number, text in enumerate(given):
        yield tool(
            f"progress-{number}",
            kind,
            [notification("notifications/progress", text), DONE],
            meta=b'"progressToken":"t"',
        )
    step = b'{"progressToken":$TOKEN,"progress":%b}'
    falling = [notification("notifications/progress", step % one) for one in (b"3", b"3", b"1")]
    increases = NotApplicable("2026-07-28 demands that progress increases")
    expect = {"X": increases, "A": increases}
    yield tool("progress-falls", kind, [*falling, DONE], meta=b'"progressToken":"t"', expect=expect)
    other = b'{"progressToken":"of nothing","progress":1}'
    foreign = {"*": NotApplicable("progress of no request in flight belongs to nothing")}
    yield tool(
        "progress-foreign", kind, [notification("notifications/progress", other), DONE], expect=foreign
    )
    late = notification("notifications/progress", b'{"progressToken":"t","progress":9}')
    yield tool("progress-late", kind, [DONE, late], meta=b'"progressToken":"t"', expect=foreign)


# ---- output of a server


def noise() -> Iterator[Variant]:
    kind = "lines on stdout that are no messages"
    lines = (
        b"npm WARN deprecated",
        b'{"level":30,"time":1700000000000,"msg":"listening"}',
        b"{}",
        b'{"jsonrpc":"2.0","level":30}',
        b'{"id":$ID,"msg":"row"}',
        b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}',
        b"",
        b"\r",
        b"   ",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe\x00",
        b'{"cut":"',
        b"x" * 70_000,
        b'{"jsonrpc":"2.0","id":"of nothing","result":{}}',
        b'{"jsonrpc":"2.0","id":"of nothing","error":{"code":1,"message":""}}',
    )
    for number, line in enumerate(lines):
        yield tool(f"noise-{number}", kind, [line, DONE, line])
    yield tool("noise-all", kind, [*lines, DONE, *lines])
    yield tool("noise-twice", kind, [DONE, DONE, DONE])


LOGGED = b'{"level":"error","logger":"l","data":{"a":[1.0,"\xc3\xbc"]},"_meta":{"x":1}}'


def early_messages() -> Iterator[Variant]:
    kind = "notifications of a server before an answer"
    log = notification("notifications/message", LOGGED)
    yield tool("log", kind, [log, DONE])
    yield tool("logs", kind, [log, log, log, DONE])
    yield tool("log-slowly", kind, [log, ["sleep", 0.05], log, ["sleep", 0.05], DONE])
    odd = notification("notifications/message", b'{"level":"verbose","data":null}')
    yield tool(
        "log-odd",
        kind,
        [odd, DONE],
        expect={
            "X": NO_CARRIER,
            "A": NO_CARRIER,
            "modern": NotApplicable("it has no level that a request can want"),
        },
    )
    kinds = ("tools", "prompts", "resources")
    unnamed = NotApplicable("no subscription of this client")
    for name in kinds:
        line = notification(f"notifications/{name}/list_changed")
        yield tool(
            f"changed-{name}", kind, [line, DONE], expect={"X": unnamed, "A": unnamed, "modern": unnamed}
        )
    for number, params in enumerate((b"{}", b"null", b"[]", b'{"a":1.0}', b'{"_meta":{"x":1}}')):
        line = notification("notifications/tools/list_changed", params)
        yield tool(
            f"changed-params-{number}", kind, [line, DONE], eras=LEGACY, expect={"X": unnamed, "A": unnamed}
        )
    for number, name in enumerate(
        ("notifications/x", "custom/event", "x", "$/progress", "notifications/elicitation/complete")
    ):
        line = notification(name, b'{"a":1.0,"requestId":1}')
        expect = {"X": NO_CARRIER, "A": NO_CARRIER}
        if "elicitation" in name:
            expect["P"] = NotApplicable("it belongs to no request of this client")
        yield tool(f"unknown-{number}", kind, [line, DONE], eras=LEGACY, expect=expect)
    updated = notification("notifications/resources/updated", b'{"uri":"note://1","title":"t"}')
    yield tool(
        "updated", kind, [updated, DONE], eras=LEGACY, expect={"P": unnamed, "X": unnamed, "A": unnamed}
    )
    kind = "notifications of a server after an answer"
    yield tool(
        "late-log", kind, [DONE, log], eras=LEGACY, expect={"X": OWN_LOGS, "A": OWN_LOGS, "P": OWN_LOGS}
    )
    line = notification("notifications/tools/list_changed")
    yield tool("late-changed", kind, [DONE, line, line], eras=LEGACY, expect={"X": unnamed, "A": unnamed})
    line = notification("notifications/x", b"{}")
    yield tool("late-unknown", kind, [DONE, line], eras=LEGACY, expect={"X": NO_CARRIER, "A": NO_CARRIER})
    cancel = notification("notifications/cancelled", b'{"requestId":"of nothing","reason":"r"}')
    expect: Mapping[str, Expectation] = {"*": NotApplicable("it names no request that the client knows")}
    yield tool("cancel-unknown", "cancellation", [cancel, DONE], eras=LEGACY, expect=expect)


def results() -> Iterator[Variant]:
    kind = "results of a tool"
    texts = (
        b"null",
        b"7",
        b'"text"',
        b"false",
        b"[]",
        b"[1,2.0]",
        b"{}",
        b'{$C"content":[{"type":"text","text":"a","annotations":{"priority":1.0},"_meta":{"x":1}}],"isError":false}',
        b'{$C"content":[{"type":"text","text":"a"}],"isError":true}',
        b'{$C"content":[{"type":"unknown","x":1}],"other":{"a":[1.0]},"_meta":{"a/b":null}}',
        b'{$C"content":null}',
        b'{$C"content":{}}',
        b'{$C"content":"text"}',
        b'{$C"content":[],"structuredContent":{"a":{"b":[1.0,null]}}}',
        b'{$C"content":[{"type":"text","text":"x"}],"structuredContent":[1,2]}',
        b'{$C"content":[{"type":"text","text":"x"}],"structuredContent":null}',
        b'{$C"content":[],"_meta":null}',
        b'{$C"content":[],"_meta":[]}',
        b'{$C"content":[],"content":[{"type":"text","text":"second"}]}',
        b'{$C "content" : [ ] }',
        b'{$C"content":[],"toolResult":{"a":1}}',
        b'{$C"content":[],"deep":%b}' % (b"[" * 500 + b"]" * 500),
        b'{$C"content":[{"type":"image","data":"AA==","mimeType":"image/png"},{"type":"audio","data":"","mimeType":"a/b"},{"type":"resource_link","uri":"u","name":"n"},{"type":"resource","resource":{"uri":"u","text":"t"}}]}',
    )
    structure = NotApplicable("structured content of a handshake revision is an object")
    wanted = NotApplicable("2026-07-28 demands content of a tool's result")
    expect: dict[int, Mapping[str, Expectation]] = {
        6: {"X": wanted, "A": wanted},
        14: {"legacy X": structure, "legacy A": structure},
        15: {"legacy X": structure, "legacy A": structure},
    }
    for number, text in enumerate(texts):
        yield tool(f"result-{number}", kind, [result(text)], expect=expect.get(number))
    yield tool(
        "result-type",
        kind,
        [result(b'{"content":[],"resultType":"complete","ttlMs":1,"cacheScope":"private"}')],
        eras=LEGACY,
        expect={"X": NO_CARRIER, "A": NO_CARRIER},
    )
    yield tool("result-large", kind, [result(b'{$C"content":[{"type":"text","text":"$PAD"}]}')])
    kind = "errors"
    codes = (
        b"7",
        b"0",
        b"-32000",
        b"-32603",
        b"-32602",
        b"-32601",
        b"-32700",
        b"-1",
        b"2147483648",
        b"-32002",
        b"-32042",
        b"-32050",
    )
    renamed = NotApplicable("the code means something else in the other era")
    for number, code in enumerate(codes):
        expect_ = {"X": renamed, "A": renamed} if code in (b"-32002", b"-32042", b"-32050") else {}
        yield tool(
            f"error-{number}",
            kind,
            [error(b'{"code":%b,"message":"m","data":{"a":[1.0]}}' % code)],
            expect=expect_,
        )
    bodies = (
        b'{"code":7}',
        b'{"message":"m"}',
        b"{}",
        b'{"code":"E","message":"m"}',
        b'{"code":1.0,"message":"m"}',
        b'{"code":7,"message":null}',
        b'{"code":7,"message":{"a":1}}',
        b'{"code":7,"message":"m","data":null}',
        b'{"code":7,"message":"m","data":"text"}',
        b'{"code":7,"message":"m","other":[1.0],"data":[]}',
        b'{ "message" : "m" , "code" : 7 }',
        b'{"code":7,"message":"m","data":{"x":%b}}' % (b"[" * 500 + b"]" * 500),
    )
    for number, text in enumerate(bodies):
        yield tool(f"error-body-{number}", kind, [error(text)])
    for number, text in enumerate((b'"text"', b"7", b"[1]", b"true")):
        why = "an error is an object"
        own, shared = (Refused(code, (b"1",), why) for code in (SERVER, -32603))
        expect_ = {"legacy": own, "legacy P": shared, "legacy A": shared, "modern": shared}
        yield tool(f"error-none-{number}", kind, [error(text)], expect=expect_)


# ---- requests of a server


def server_requests() -> Iterator[Variant]:
    final = b'{"jsonrpc":"2.0","id":$ID,"result":{$C"content":[{"type":"text","text":"x"}],"structuredContent":{"answer":$ANSWER}}}'
    sampled: tuple[tuple[str, bytes, Mapping[str, bytes]], ...] = (
        (
            "sampling/createMessage",
            b'{"messages":[{"role":"user","content":{"type":"text","text":"\xc3\xbc"}}],"maxTokens":10}',
            {},
        ),
        (
            "sampling/createMessage",
            b'{"messages":[],"maxTokens":1,"includeContext":"thisServer","temperature":1.0,"metadata":{"a":[1.0]}}',
            {},
        ),
        (
            "sampling/createMessage",
            b'{"messages":[],"maxTokens":1,"includeContext":"allServers","stopSequences":[]}',
            {},
        ),
        (
            "sampling/createMessage",
            b'{"messages":[{"role":"user","content":{"type":"text","text":"a"}}],"maxTokens":1,"unknown":{"x":null}}',
            {
                "sampling/createMessage": b'"result":{"role":"assistant","content":{"type":"text","text":"\\ud83d"},"model":"m","other":1.0}'
            },
        ),
        (
            "elicitation/create",
            b'{"message":"which?","requestedSchema":{"type":"object","properties":{"a":{"type":"string"}}}}',
            {"elicitation/create": b'"result":{"action":"accept","content":{"a":"\xc3\xbc","n":1.0}}'},
        ),
        (
            "elicitation/create",
            b'{"message":"","requestedSchema":{"type":"object","properties":{}},"x":1}',
            {"elicitation/create": b'"result":{"action":"cancel","other":null}'},
        ),
        ("roots/list", b"", {"roots/list": b'"result":{"roots":[]}'}),
        (
            "roots/list",
            b"",
            {"roots/list": b'"result":{"roots":[{"uri":"file:///%C3%BC","name":null,"x":1.0}],"other":1}'},
        ),
        (
            "elicitation/create",
            b'{"message":"?","requestedSchema":{"type":"object","properties":{"a":{"type":"number","default":1.0}}}}',
            {"elicitation/create": b'"result":{"action":"decline"}'},
        ),
    )
    for number, (what, params, answers) in enumerate(sampled):
        name = f"ask-{number}"
        given = b',"params":' + params if params else b""
        inputs = b'{"jsonrpc":"2.0","id":$ID,"result":{"resultType":"input_required","inputRequests":{"k1":{"method":"%b"%b}},"requestState":"s"}}'
        yield tool(
            name,
            f"{what} of a server",
            [asked(b'"q-%d"' % number, what, params), ["wait", f'"q-{number}"'], final],
            modern=[inputs % (what.encode(), given)],
            again=[final],
            answers=answers,
        )
    kind = "answers of a client to a server"
    other = NotApplicable("a result that requires input has no errors")
    odd = NotApplicable("a client of 2026-07-28 gets the request again")
    answers_: tuple[bytes, ...] = (
        b'"error":{"code":-1,"message":"rejected","data":{"a":[1.0]}}',
        b'"error":{"code":-32601,"message":"not here"}',
        b'"result":null',
        b'"result":[]',
        b'"result":"text"',
        b'"result":{}',
        b'"result":{"action":"accept"},"error":null',
    )
    for number, text in enumerate(answers_):
        name = f"answer-{number}"
        question = asked(
            b'"a-%d"' % number,
            "elicitation/create",
            b'{"message":"?","requestedSchema":{"type":"object","properties":{}}}',
        )
        yield tool(
            name,
            kind,
            [question, ["wait", f'"a-{number}"'], final],
            answers={"elicitation/create": text},
            eras=LEGACY,
            expect={"X": other if number < 2 else odd, "A": other if number < 2 else odd},
        )
    kind = "ids of requests of a server"
    for number, raw_id in enumerate(
        (b"0", b"-1", b'""', b'"x"', b"9007199254740993", '"\u00fc"'.encode(), b"2.0", b'"\\u0041"')
    ):
        spelled = json.dumps(json.loads(raw_id)) if raw_id.startswith(b'"') else raw_id.decode()
        yield tool(
            f"ask-id-{number}",
            kind,
            [asked(raw_id, "roots/list"), ["wait", spelled], final],
            eras=LEGACY,
            expect={"X": NO_CARRIER},
        )
    yield tool(
        "ask-two",
        kind,
        [asked(b"31", "roots/list"), asked(b"32", "roots/list", b"{}"), ["wait", "31"], ["wait", "32"], DONE],
        eras=LEGACY,
        expect={"X": NO_CARRIER},
    )
    yield tool(
        "ask-again",
        kind,
        [asked(b"33", "roots/list"), ["wait", "33"], asked(b"33", "roots/list"), ["wait", "33"], DONE],
        eras=LEGACY,
        expect={"X": NO_CARRIER},
    )
    kind = "other requests of a server"
    methods = (("x/ask", b'{"a":1.0}'), ("elicitation/other", b""), ("tools/list", b"{}"))
    for number, (what, params) in enumerate(methods):
        yield tool(
            f"ask-other-{number}",
            kind,
            [asked(b"4%d" % number, what, params), ["wait", f"4{number}"], final],
            eras=LEGACY,
            answers={"x/ask": b'"result":{"b":1.0}'},
            expect={"X": NO_CARRIER, "A": NO_CARRIER},
        )
    pinged = NotApplicable("the bridge answers a ping of a server")
    yield tool(
        "ask-ping",
        kind,
        [asked(b'"ping"', "ping"), ["wait", '"ping"'], DONE],
        eras=LEGACY,
        expect={"*": pinged},
    )
    cancelled = notification("notifications/cancelled", b'{"requestId":51,"reason":"r"}')
    yield tool(
        "ask-withdrawn",
        "cancellation",
        [
            asked(
                b"51",
                "elicitation/create",
                b'{"message":"?","requestedSchema":{"type":"object","properties":{}}}',
            ),
            ["sleep", 0.05],
            cancelled,
            DONE,
        ],
        answers={"elicitation/create": b""},
        eras=LEGACY,
        expect={
            "X": NO_CARRIER,
            "A": NotApplicable("ids of requests differ"),
            "P": NotApplicable("ids of requests differ"),
        },
    )


# ---- the other methods


def methods() -> Iterator[Variant]:
    kind = "other methods"
    no_log = NotApplicable("2026-07-28 has no such method")
    for level in ("debug", "info", "emergency"):
        line = request("logging/setLevel", b'"level":"%b"' % level.encode())
        yield method(
            f"level-{level}",
            kind,
            line,
            f"logging/setLevel {level}",
            [result(b"{}")],
            eras=LEGACY,
            expect={"X": no_log, "A": no_log},
        )
    line = request("logging/setLevel", b'"level":"verbose"')
    yield method(
        "level-verbose",
        kind,
        line,
        "logging/setLevel verbose",
        [error(b'{"code":-32602,"message":"no"}')],
        eras=LEGACY,
        expect={"X": no_log, "A": no_log},
    )
    body = b'{$C"completion":{"values":["\xc3\xbc","a"],"total":2,"hasMore":false,"x":1.0}}'
    texts = (
        b'"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"a","value":""}',
        b'"ref":{"type":"ref/resource","uri":"note://{x}"},"argument":{"name":"a","value":"\xc3\xbc"},"context":{"arguments":{"b":"1"}}',
        b'"ref":{"type":"ref/prompt","name":"p","title":"t"},"argument":{"name":"a","value":"v"},"other":1.0',
    )
    own = NotApplicable("the aggregate finds the server by the name of the prompt")
    for number, params in enumerate(texts):
        yield method(
            f"completion-{number}",
            kind,
            request("completion/complete", params),
            "completion/complete",
            [result(body)],
            expect={"A": own},
        )
    kind = "URIs"
    uris = (
        "users/me",
        " ",
        "README.md",
        "file:///\u00fc",
        "obsidian://My Vault/Note.md",
        "a:b?c=d#e",
        "x" * 8000,
        "note://1",
    )
    lists = NotApplicable("the aggregate uses the server that lists the resource")
    for number, uri in enumerate(uris):
        text = json.dumps(uri, ensure_ascii=number % 2 == 0).encode()
        body = b'{$C"contents":[{"uri":%b,"text":"t","x":1.0}]}' % text
        yield method(
            f"read-{number}",
            kind,
            request("resources/read", b'"uri":%b' % text),
            f"resources/read {uri}",
            [result(body)],
            expect={"A": lists},
        )
    limits = (
        ("", "a URI is no empty text"),
        ("x" * 8193, "the limit of a URI, 8192 bytes"),
        ("a\nb", "a URI has no control characters"),
    )
    # The header that repeats a URI is read before the id.
    header = {"modern H": Refused(INVALID, (b"null",), "the limit of a header field, 8192 bytes")}
    for number, (uri, why) in enumerate(limits):
        line = request("resources/read", b'"uri":%b' % json.dumps(uri).encode())
        yield method(
            f"no-uri-{number}",
            kind,
            line,
            f"resources/read {uri}",
            [result(body)],
            expect={"*": Refused(PARAMS, (b"1",), why)} | (header if len(uri) > 8192 else {}),
        )
    line = request("resources/read", b'"uri":"missing"')
    gone = b'{"code":%b,"message":"not found","data":{"uri":"missing"}}'
    yield method(
        "read-missing",
        kind,
        line,
        "resources/read missing",
        [error(gone % b"-32002")],
        modern=[error(gone % b"-32602")],
        expect={"A": lists},
    )
    kind = "subscriptions to resources"
    for what in ("subscribe", "unsubscribe"):
        line = request(f"resources/{what}", b'"uri":"note://1"')
        yield method(
            what,
            kind,
            line,
            f"resources/{what} note://1",
            [result(b"{}")],
            eras=LEGACY,
            expect={"X": NotApplicable("a subscription of 2026-07-28 stands for it"), "A": lists},
        )
    kind = "prompts"
    texts = (
        b'"name":"$PREFIXp1"',
        b'"name":"$PREFIXp2","arguments":{"a":"\xc3\xbc"}',
        b'"name":"$PREFIXp3","arguments":null',
        b'"name":"$PREFIXp4","arguments":{},"other":1.0',
    )
    for number, params in enumerate(texts, 1):
        body = (
            b'{$C"description":"d","messages":[{"role":"user","content":{"type":"text","text":"t"},"x":1.0}]}'
        )
        yield method(
            f"prompt-{number}", kind, request("prompts/get", params), f"prompts/get p{number}", [result(body)]
        )
    kind = "unknown methods"
    for number, name in enumerate(
        ("x/unknown", "x.y", "Unknown", "tasks/unknown", "a/b/c", "_x", "com.example/x")
    ):
        line = request(name, b'"a":[1.0]', meta=b'"x":1')
        expect = {"X": NO_CARRIER, "A": NO_CARRIER}
        yield method(f"unknown-method-{number}", kind, line, name, [result(b'{$C"b":[1.0]}')], expect=expect)
        yield method(
            f"unknown-refused-{number}",
            kind,
            request(name + "2"),
            name + "2",
            [error(b'{"code":-32601,"message":"none","data":1.0}')],
            expect=expect,
        )


def client_notifications() -> Iterator[Variant]:
    kind = "notifications of a client"
    expect = {"X": NO_CARRIER, "A": NO_CARRIER}
    lines = (
        b'{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}',
        b'{"jsonrpc":"2.0","method":"notifications/roots/list_changed","params":{"_meta":{"a":1.0}}}',
        b'{"jsonrpc":"2.0","method":"notifications/x","params":{"a":[1.0]}}',
        b'{"params":{},"method":"custom","jsonrpc":"2.0"}',
        b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"s","progress":1}}',
        b'{"jsonrpc":"2.0","method":"notifications/x","params":null}',
        b'{"jsonrpc":"2.0","method":"tools/list"}',
        b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
    )
    shared = NotApplicable("the process is shared, and its handshake is the bridge's")
    for number, line in enumerate(lines):
        given = {**expect, "P": shared} if number in (0, 1, 4, 7) else expect
        yield Variant(f"client-notification-{number}", kind, {"legacy": Face((line,), 0)}, {}, given)


def cancellation() -> Iterator[Variant]:
    kind = "cancellation"
    step = notification("notifications/progress", b'{"progressToken":$TOKEN,"progress":1}')
    begun = Wait("notifications/progress")
    unnamed = NotApplicable("it names no request in flight, so it has no id at the server")
    own = NotApplicable(
        "the aggregate cancels its own request, without the members of the client's cancellation"
    )
    closed = NotApplicable("over HTTP a client of 2026-07-28 closes the stream of the request")
    for number, (raw_id, params) in enumerate(
        (
            (b"5", b'{"requestId":5}'),
            (b'"c"', b'{"requestId":"c","reason":"\xc3\xbc"}'),
            (b"6", b'{"reason":"r","requestId":6,"x":1.0}'),
            (b"7", b'{"requestId":7,"_meta":{"a":1}}'),
        )
    ):
        name = f"cancel-{number}"
        steps = (
            call(name, raw_id, meta=b'"progressToken":"t"'),
            begun,
            notification("notifications/cancelled", params),
        )
        expect = {"modern H": closed, "A": own} if number else {"modern H": closed}
        yield tool(name, kind, [step, ["hold"]], steps, wanted=0, expect=expect)
    line = notification("notifications/cancelled", b'{"requestId":"none"}')
    yield Variant("cancel-none", kind, {"legacy": Face((line,), 0)}, {}, {"*": unnamed})
    line = notification("notifications/cancelled", b"{}")
    yield Variant("cancel-nothing", kind, {"legacy": Face((line,), 0)}, {}, {"*": unnamed})
    reused = (
        call("cancel-reuse", b"9", meta=b'"progressToken":"t"'),
        begun,
        notification("notifications/cancelled", b'{"requestId":9}'),
        call("cancel-reused", b"9"),
    )
    yield tool("cancel-reuse", kind, [step, ["hold"]], reused, wanted=1, expect={"modern H": closed})


def order() -> Iterator[Variant]:
    kind = "several requests at once"
    step = notification("notifications/progress", b'{"progressToken":$TOKEN,"progress":1}')
    tokens = [b'"progressToken":%d' % number for number in range(61, 65)]
    held = tuple(call("hold", token[-2:], b'"arguments":{"n":%b}' % token[-2:], token) for token in tokens)
    each = [one for call_ in held for one in (call_, Wait("notifications/progress", held.index(call_) + 1))]
    variant = tool("hold", kind, [step, ["hold"]], (*each, call("let", b"65")), wanted=5)
    yield also(variant, "let", [["release", DONE], DONE])
    many = tuple(call("many", b"%d" % number) for number in range(100, 130))
    yield tool("many", kind, steps=many, wanted=30)


def also(variant: Variant, name: str, replies: Sequence[bytes | Action]) -> Variant:
    """Return the variant with a reaction of the server to a call of another tool."""
    reactions = {
        era: {**found, f"tools/call {name}": script(replies, era)} for era, found in variant.reactions.items()
    }
    return attrs.evolve(variant, reactions=reactions)


def main() -> Group:
    variants = (
        *ids(),
        *envelopes(),
        *parameters(),
        *meta(),
        *noise(),
        *early_messages(),
        *results(),
        *server_requests(),
        *methods(),
        *client_notifications(),
        *cancellation(),
        *order(),
    )
    return Group("main", PLAIN, variants)


# ---- openings


def opened(
    name: str,
    lines: Sequence[bytes | Wait],
    reply: Sequence[bytes | Action] = (handshake(),),
    *,
    ways: Sequence[str] = ("H", "S", "W", "L", "C"),
    wanted: int = 1,
    answers: Mapping[str, bytes] | None = None,
    variants: Sequence[Variant] = (),
    fenced: bool = True,
    reactions: Mapping[str, Sequence[Action]] | None = None,
    expect: Mapping[str, Expectation | None] | None = None,
) -> Group:
    face = Face(tuple(lines), wanted, answers or {}, fenced=fenced)
    given = {"legacy": {"initialize": script(reply, "legacy"), **(reactions or {})}}
    replies = [notification("notifications/message", LOGGED), DONE]
    # Late input of the server belongs to the call that follows.
    usual = (tool("after", "after the opening", replies, eras=LEGACY, expect=expect),)
    return Group(name, {"legacy": face}, (*usual, *variants), given, tuple(ways), expect or {})


def unopened(name: str, line: bytes) -> Group:
    """Return a group whose `initialize` is refused."""
    refused = Refused(PARAMS, (b"0",), "initialize names a protocolVersion")
    variant = Variant(name, "openings", {"legacy": Face((line,), fenced=False)}, {}, {"*": refused})
    return Group(name, {"legacy": Face((), 0, fenced=False)}, (variant,), ways=("H", "S", "W", "L", "C"))


def openings() -> Iterator[Group]:
    pipes = ("S", "W", "L", "C")
    for revision in ("2024-10-07", "2024-11-05", "2025-03-26", "2025-06-18", "2099-01-01", "draft"):
        yield opened(f"revision {revision}", (initialize(revision), INITIALIZED), [handshake(revision)])
    yield opened("another revision is answered", (initialize(), INITIALIZED), [handshake("2024-11-05")])
    log = notification("notifications/message", LOGGED)
    changed = notification("notifications/tools/list_changed")
    opening = (initialize(), INITIALIZED)
    yield opened("a log line before the answer", opening, [log, handshake()])
    yield opened("a log line long before the answer", opening, [log, ["sleep", 0.3], handshake()])
    yield opened("changes of lists before the answer", opening, [changed, changed, handshake()])
    yield opened(
        "an unknown notification before the answer",
        opening,
        [notification("notifications/x", b"{}"), handshake()],
    )
    yield opened("noise before the answer", opening, [b"starting", b"", b"{}", b'{"level":30}', handshake()])
    waits = NotApplicable("a request of a server waits until the client has sent initialized")
    question = asked(b"1", "roots/list")
    yield opened(
        "a request before the answer", opening, [question, handshake(), ["wait", "1"]], expect={"*": waits}
    )
    at_once = (*opening, Wait("roots/list"))
    yield opened(
        "a request after the answer", at_once, [handshake(), asked(b"1", "roots/list"), ["wait", "1"]]
    )
    yield opened("messages after the answer", opening, [handshake(), log, changed])
    yield opened("a slow answer", opening, [["sleep", 0.5], handshake()])
    for number, raw_id in enumerate((b'""', b'"init"', b"-1", b"1.0", b"9007199254740993")):
        yield opened(f"id {number} of initialize", (initialize(raw_id=raw_id), INITIALIZED))
    base = {"protocolVersion": "2025-11-25", "capabilities": CAPABILITIES, "clientInfo": CLIENT}
    params: Sequence[tuple[str, Mapping[str, object]]] = (
        ("no clientInfo", {"protocolVersion": "2025-11-25", "capabilities": {}}),
        ("no capabilities", {"protocolVersion": "2025-11-25", "clientInfo": CLIENT}),
        ("no protocolVersion", {"capabilities": {}, "clientInfo": CLIENT}),
        ("no params", {}),
        ("members that are null", {**base, "capabilities": None, "clientInfo": None, "_meta": None}),
        ("unknown members", {**base, "other": [1.5], "_meta": {"a/b": 1, "progressToken": "i"}}),
        (
            "unknown capabilities",
            {
                **base,
                "capabilities": {
                    **CAPABILITIES,
                    "x": {"y": [1]},
                    "experimental": {"e": {}},
                    "extensions": {"io.modelcontextprotocol/ui": {"mimeTypes": ["a"]}, "com.example/x": {}},
                },
            },
        ),
        ("a protocolVersion that is no text", {**base, "protocolVersion": 20251125}),
    )
    for name, given in params:
        lines = (initialize(params=given), INITIALIZED)
        if isinstance(given.get("protocolVersion"), str):
            yield opened(f"initialize: {name}", lines)
        else:
            yield unopened(f"initialize: {name}", lines[0])
    answers: Sequence[tuple[str, bytes]] = (
        ("no serverInfo", result(b'{"protocolVersion":"2025-11-25","capabilities":{}}')),
        (
            "no capabilities",
            result(b'{"protocolVersion":"2025-11-25","serverInfo":{"name":"n","version":"1"}}'),
        ),
        ("no protocolVersion", result(b'{"capabilities":{},"serverInfo":{"name":"n","version":"1"}}')),
        ("an empty result", result(b"{}")),
        (
            "instructions and unknown members",
            handshake(instructions="\u00fc", other=[1.5], _meta={"a/b": 1}),
        ),
        (
            "unknown capabilities",
            handshake(
                capabilities={
                    **OFFERED,
                    "x": {"y": [1]},
                    "experimental": {"e": {}},
                    "extensions": {"com.example/x": {"a": 1}},
                    "tasks": {},
                }
            ),
        ),
        (
            "another order",
            b'{"result":{"serverInfo":{"version":"1","name":"n"},"capabilities":{},"protocolVersion":"2025-11-25"},"id":$ID,"jsonrpc":"2.0"}',
        ),
    )
    for name, reply in answers:
        yield opened(f"answer: {name}", opening, [reply])
    yield opened(
        "initialized with empty params", (initialize(), notification("notifications/initialized", b"{}"))
    )
    yield opened("no initialized", (initialize(),))
    early = (
        initialize(),
        call("early", b"1"),
        INITIALIZED,
        request("tools/list", raw_id=b'"l"'),
        call("early", b"2"),
    )
    yield opened("all lines at once", early, [["sleep", 0.1], handshake()], ways=pipes, wanted=4)
    early = (
        initialize(),
        notification("notifications/x", b"{}"),
        request("ping", raw_id=b'"p"'),
        INITIALIZED,
    )
    pinged = [["sleep", 0.1], handshake()]
    at_once = NotApplicable("the bridge answers a ping while the server starts")
    yield opened(
        "a notification and a ping at once", early, pinged, ways=pipes, wanted=2, expect={"*": at_once}
    )
    batch = b"[%b,%b]" % (call("batch", b"1"), call("batch", b'"b"'))
    mixed = b"[%b,%b,%b]" % (
        notification("notifications/x", b"{}"),
        call("batch", b"3"),
        request("ping", raw_id=b"4"),
    )
    alone = b"[%b]" % notification("notifications/x", b'{"a":1.0}')
    both = [
        b'[{"jsonrpc":"2.0","id":$ID,"result":{"content":[]}},{"jsonrpc":"2.0","method":"notifications/x"}]'
    ]
    for revision in ("2025-03-26", "2024-11-05"):
        ways = ("H", "S", "W", "L", "C") if revision == "2025-03-26" else pipes
        variants = [
            Variant(name, "batches", {"legacy": Face((line,), wanted)}, {})
            for name, line, wanted in (
                ("batch", batch, 2),
                ("batch of kinds", mixed, 2),
                ("batch of one", alone, 0),
            )
        ]
        variants.append(tool("answered-by-batch", "batches", both, eras=LEGACY))
        opening_ = (initialize(revision), INITIALIZED)
        yield opened(f"batches of {revision}", opening_, [handshake(revision)], variants=variants, ways=ways)
    refused = {
        "W": Refused(INVALID, (b"1", b'"b"'), "batches are of 2025-03-26 and before"),
        "L": Refused(INVALID, (b"1", b'"b"'), "batches are of 2025-03-26 and before"),
        "C": Refused(INVALID, (b"1", b'"b"'), "batches are of 2025-03-26 and before"),
        "*": Refused(INVALID, (b"null",), "batches are of 2025-03-26 and before"),
    }
    late = Variant("late batch", "batches", {"legacy": Face((batch,), 2)}, {}, refused)
    yield opened("batches of 2025-11-25", opening, variants=[late])
    undeclared = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": CLIENT}
    final = b'{"jsonrpc":"2.0","id":$ID,"result":{"content":[],"a":$ANSWER}}'
    question = [asked(b"1", "sampling/createMessage", b'{"messages":[],"maxTokens":1}'), ["wait", "1"], final]
    for revision in ("2025-03-26", "2025-11-25"):
        given = {**undeclared, "protocolVersion": revision}
        kind = "requests for what the client has not declared"
        refused = {"*": Open(UNDECLARED)} if revision == "2025-11-25" else {}
        variants = [tool("undeclared", kind, question, eras=LEGACY, expect=refused)]
        yield opened(
            f"nothing declared, {revision}",
            (initialize(params=given), INITIALIZED),
            [handshake(revision)],
            variants=variants,
        )
    none = Refused(INVALID, (b"7",), "a session begins with initialize")
    lines = (call("before", b"7"),)
    era = Refused(PARAMS, (b"7",), none.why)
    kind = "requests before initialize"
    before = Variant("before initialize", kind, {"legacy": Face(lines)}, {}, {"legacy S": none, "*": era})
    yield Group(
        "before initialize", {"legacy": Face((), 0, fenced=False)}, (before,), ways=("W", "L", "S", "C")
    )


def groups() -> list[Group]:
    return [main(), *openings()]
