"""A legacy server as a member of an aggregate: `member.py OPTIONS`, a JSON object.

`tools`, `prompts`, `resources` and `templates` are names and URIs; `resources` that begin with one of `prefixes` can be read
and subscribed. With `gate` no request is answered until this file exists, with `listings` no list.
Each tool call runs in a thread of its own.
"""

import json
import os
import sys
import threading
import time

OPTIONS = json.loads(sys.argv[1])
OUT = threading.Lock()
PAGE = OPTIONS.get("page", 100)
state = {"subscribed": [], "client": None, "cancelled": threading.Event(), "replies": {}}


def send(**members):
    with OUT:
        print(json.dumps({"jsonrpc": "2.0", **members}), flush=True)


def wait_for_gate(path):
    while path and not os.path.exists(path):
        time.sleep(0.02)


def listed(key, items, params):
    start = int(params.get("cursor", 0))
    page = {key: items[start : start + PAGE]}
    return {**page, "nextCursor": str(start + PAGE)} if start + PAGE < len(items) else page


def initialized(params):
    state["client"] = params["clientInfo"]
    changes = {"listChanged": OPTIONS.get("changes", True)}
    capabilities = {"logging": {}}
    for name, keys in (
        ("tools", ["tools"]),
        ("prompts", ["prompts"]),
        ("resources", ["resources", "templates"]),
    ):
        if any(OPTIONS.get(key) for key in keys):
            capabilities[name] = dict(changes)
    if "resources" in capabilities:
        capabilities["resources"]["subscribe"] = True
    capabilities.setdefault("completions", {})
    result = {"protocolVersion": params["protocolVersion"], "capabilities": capabilities}
    result["serverInfo"] = {"name": OPTIONS["name"], "version": "1"}
    return {**result, "instructions": OPTIONS["instructions"]} if "instructions" in OPTIONS else result


def read(params):
    uri = params["uri"]
    if not any(uri.startswith(prefix) for prefix in OPTIONS.get("prefixes", ())):
        raise LookupError(f"there is no resource {uri}")
    return {"contents": [{"uri": uri, "text": OPTIONS["name"]}]}


def called(number, params):
    arguments = params.get("arguments", {})
    token = params.get("_meta", {}).get("progressToken")
    match params["name"]:
        case "client":
            text = json.dumps({"client": state["client"], "pid": os.getpid()})
        case "slow":
            for step in range(arguments.get("steps", 0)):
                send(method="notifications/progress", params={"progressToken": token, "progress": step + 1})
            state["cancelled"].wait(arguments.get("seconds", 60))
            text = "done"
        case "log":
            send(method="notifications/message", params={"level": "info", "data": "line"})
            text = "logged"
        case "touch":
            send(method="notifications/resources/updated", params={"uri": arguments["uri"]})
            text = "touched"
        case "subscribed":
            text = json.dumps(state["subscribed"])
        case "ask":
            state["replies"]["q"] = reply = [threading.Event(), None]
            question = {"message": "sure?", "requestedSchema": {"type": "object", "properties": {}}}
            send(id="q", method="elicitation/create", params=question)
            reply[0].wait(20)
            text = json.dumps(reply[1])
        case "exit":
            os._exit(3)
        case name:
            text = f"{OPTIONS['name']}: {name}"
    send(id=number, result={"content": [{"type": "text", "text": text}]})


def answer(method, params):
    match method:
        case "initialize":
            return initialized(params)
        case "tools/list":
            tools = [{"name": name, "inputSchema": {"type": "object"}} for name in OPTIONS.get("tools", ())]
            return listed("tools", tools, params)
        case "prompts/list":
            return listed("prompts", [{"name": name} for name in OPTIONS.get("prompts", ())], params)
        case "prompts/get":
            content = {"type": "text", "text": OPTIONS["name"]}
            return {"messages": [{"role": "user", "content": content}]}
        case "resources/list":
            resources = [{"uri": uri, "name": uri} for uri in OPTIONS.get("resources", ())]
            return listed("resources", resources, params)
        case "resources/templates/list":
            templates = [{"uriTemplate": uri, "name": uri} for uri in OPTIONS.get("templates", ())]
            return listed("resourceTemplates", templates, params)
        case "resources/read":
            return read(params)
        case "completion/complete":
            return {"completion": {"values": [OPTIONS["name"]]}}
        case "resources/subscribe":
            state["subscribed"].append(params["uri"])
        case "resources/unsubscribe":
            state["subscribed"].remove(params["uri"])
    return {}


def main():
    if not OPTIONS.get("listings"):
        wait_for_gate(OPTIONS.get("gate"))
    for line in sys.stdin:
        message = json.loads(line)
        method, params = message.get("method"), message.get("params", {})
        if method is None:
            reply = state["replies"].pop(message["id"])
            reply[1] = message.get("result", message.get("error"))
            reply[0].set()
        elif method == "notifications/cancelled":
            state["cancelled"].set()
        elif method == "tools/call":
            threading.Thread(target=called, args=(message["id"], params), daemon=True).start()
        elif "id" in message:
            if method.endswith("/list"):
                wait_for_gate(OPTIONS.get("gate"))
            try:
                send(id=message["id"], result=answer(method, params))
            except LookupError as fault:
                send(id=message["id"], error={"code": -32002, "message": str(fault)})


main()
