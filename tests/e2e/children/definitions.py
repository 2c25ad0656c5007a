"""A server whose lists are in a file, which is read for each request: {"era", "instructions", "tools", "page", ...}.

`era` is legacy, modern or both. With `page` a list has pages of so many items. A method in `fails` gets an error, one in `answers`
that result. A call of a tool returns its name, or what `results` has for it. With `calls` the name of each tool that is called is appended to that file.
"""

import json
import sys
from pathlib import Path

FILE = Path(sys.argv[1])
INFO = {"name": "definitions", "version": "1"}
CACHE = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
LISTS = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}


def result_of(method: str, params: dict, found: dict) -> dict:
    if method in found.get("fails", ()):
        raise RuntimeError(f"{method} fails")
    if method in found.get("answers", ()):
        return {**found["answers"][method], **CACHE}
    modern = found.get("era", "both") != "legacy"
    capabilities = found.get("capabilities", {"tools": {"listChanged": True}, "prompts": {}, "resources": {}})
    about = {
        "capabilities": capabilities,
        "serverInfo": found.get("serverInfo", INFO),
        "instructions": found.get("instructions", ""),
    }
    match method:
        case "initialize" if found.get("era") != "modern":
            return {"protocolVersion": params["protocolVersion"], **about}
        case "server/discover" if modern:
            return {"supportedVersions": ["2026-07-28"], **about, **CACHE}
        case "tools/call":
            if "calls" in found:
                with Path(found["calls"]).open("a") as calls:
                    calls.write(f"{params['name']} {json.dumps(params.get('arguments'))}\n")
            content = [{"type": "text", "text": params["name"]}]
            return {
                "resultType": "complete",
                "content": content,
                **found.get("results", {}).get(params["name"], {}),
            }
        case "ping":
            return {}
        case _ if method in LISTS and LISTS[method] in found:
            items = found[LISTS[method]]
            size = found.get("page") or len(items) or 1
            at = int(params.get("cursor", 0))
            after = {"nextCursor": str(at + size)} if at + size < len(items) else {}
            return {LISTS[method]: items[at : at + size], **after, **CACHE}
        case _:
            raise LookupError(method)


for line in sys.stdin:
    message = json.loads(line)
    if "method" not in message or "id" not in message:
        continue
    answer = {"jsonrpc": "2.0", "id": message["id"]}
    try:
        content = json.loads(FILE.read_text())
        answer["result"] = result_of(message["method"], message.get("params", {}), content)
    except LookupError as fault:
        answer["error"] = {"code": -32601, "message": f"no method {fault}"}
    except RuntimeError as fault:
        answer["error"] = {"code": -32603, "message": str(fault)}
    print(json.dumps(answer), flush=True)
