"""The real servers of the matrix: the command of each, and its steps with words of the expected result.

A step is a JSON object. Every driver in clients/ supports these values of the key "do":

    tools, resources, prompts      list them; reports their names
    call NAME ARGUMENTS            reports the text of the result
    read URI, prompt NAME ARGUMENTS
    progress NAME ARGUMENTS        call; reports the progress, "1/4 2/4"
    log NAME ARGUMENTS             call, and wait for a log message; reports its data
    cancel NAME ARGUMENTS          call, and cancel at the first progress; reports "cancelled"
    list change NAME               wait for a change of the tools, and call a tool that causes it
    subscription NAME URI          subscribe to the resource, and call a tool that changes it
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs

HERE = Path(__file__).parent
DEPS = HERE.parents[1] / ".deps/matrix"
NODE = DEPS / "node/node_modules"
PYTHON = DEPS / "python/bin"
GO = NODE / "kubernetes-mcp-server-linux-amd64/bin/kubernetes-mcp-server-linux-amd64"
MODERN_ONLY = ("node", str(HERE / "modern.mjs"))

PAGE = b"<!doctype html><title>A page</title><h1>A page</h1><p>Good morning, reader.</p>"
KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{name: nowhere, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: nobody, user: {}}]
contexts: [{name: here, context: {cluster: nowhere, user: nobody}}]
current-context: here
"""


@attrs.frozen
class Step:
    do: str
    # Text that the response must contain.
    expected: str
    name: str | None = None
    arguments: dict[str, Any] | None = None
    uri: str | None = None

    def as_json(self) -> dict[str, Any]:
        given = {"name": self.name, "arguments": self.arguments, "uri": self.uri}
        return {"do": self.do} | {key: value for key, value in given.items() if value is not None}


@attrs.frozen
class Server:
    command: tuple[str, ...]
    steps: tuple[Step, ...]
    # SDK of the server, for the table.
    made_of: str


def tool(name: str, expected: str, **arguments: Any) -> Step:
    return Step("call", expected, name, arguments)


def tools(expected: str) -> Step:
    return Step("tools", expected)


def npm(name: str, entry: str = "dist/index.js") -> tuple[str, str]:
    return "node", str(NODE / "@modelcontextprotocol" / name / entry)


def servers(folder: Path, page: str) -> dict[str, Server]:
    """Every server by name. `folder` is what they may work in, as `furnish` leaves it; `page` the URL of PAGE."""
    files, repository, memory = (str(folder / name) for name in ("files", "repository", "memory.jsonl"))
    found = {
        "server-everything": Server(
            (*npm("server-everything"), "stdio"),
            (
                tools("get-sum"),
                tool("get-sum", "The sum of 2 and 40 is 42.", a=2, b=40),
                Step("resources", "architecture.md"),
                Step("read", "Architecture", uri="demo://resource/static/document/architecture.md"),
                Step("prompts", "args-prompt"),
                Step("prompt", "What's weather in Ulm?", "args-prompt", {"city": "Ulm"}),
                Step(
                    "progress", "1/4 2/4 3/4", "trigger-long-running-operation", {"duration": 0.4, "steps": 4}
                ),
                tool("trigger-sampling-request", "HELLO", prompt="hello", maxTokens=100),
                tool("trigger-elicitation-request", "blue"),
                tool("get-roots-list", "file:///there"),
            ),
            "TypeScript SDK",
        ),
        "server-filesystem": Server(
            (*npm("server-filesystem"), files),
            (
                tools("read_text_file"),
                tool("read_text_file", "Good evening, reader.", path=f"{files}/letter.txt"),
                tool("list_directory", "[FILE] letter.txt", path=files),
            ),
            "TypeScript SDK",
        ),
        "server-memory": Server(
            ("env", f"MEMORY_FILE_PATH={memory}", *npm("server-memory")),
            (
                tools("read_graph"),
                tool("open_nodes", "wrote the first program", names=["Ada"]),
                Step("resources", "knowledge-graph"),
            ),
            "TypeScript SDK",
        ),
        "server-sequential-thinking": Server(
            npm("server-sequential-thinking"),
            (
                tools("sequentialthinking"),
                tool(
                    "sequentialthinking",
                    '"thoughtNumber": 2',
                    thought="and so it is",
                    thoughtNumber=2,
                    totalThoughts=2,
                    nextThoughtNeeded=False,
                ),
            ),
            "TypeScript SDK",
        ),
        "mcp-server-time": Server(
            (str(PYTHON / "mcp-server-time"), "--local-timezone", "UTC"),
            (
                tools("convert_time"),
                tool(
                    "convert_time",
                    '"time_difference": "+9.0h"',
                    source_timezone="UTC",
                    time="12:00",
                    target_timezone="Asia/Tokyo",
                ),
            ),
            "Python SDK",
        ),
        "mcp-server-git": Server(
            (str(PYTHON / "mcp-server-git"), "--repository", repository),
            (
                tools("git_log"),
                tool("git_log", "The first commit", repo_path=repository, max_count=1),
                tool("git_status", "nothing to commit, working tree clean", repo_path=repository),
            ),
            "Python SDK",
        ),
        "mcp-server-fetch": Server(
            (str(PYTHON / "mcp-server-fetch"), "--allow-private-ips", "--ignore-robots-txt"),
            (
                tools("fetch"),
                tool("fetch", "Good morning, reader.", url=page),
                Step("prompts", "fetch"),
            ),
            "Python SDK",
        ),
    }
    found["modern.mjs"] = Server(
        MODERN_ONLY,
        (
            tools("ask, think, roots"),
            *(
                feature.step
                for name, feature in FEATURES.items()
                if name in {"elicitation", "sampling", "roots"}
            ),
        ),
        "no SDK, 2026-07-28 only",
    )
    if GO.exists():
        found["kubernetes-mcp-server"] = Server(
            (str(GO), "--kubeconfig", str(folder / "kubeconfig")),
            (
                tools("configuration_view"),
                tool("configuration_view", "server: http://127.0.0.1:9"),
                Step("prompts", "cluster-health-check"),
            ),
            "Go SDK",
        )
    return found


def furnish(folder: Path) -> None:
    """Write the files that the steps of the servers use."""
    files, repository = folder / "files", folder / "repository"
    for place in (files, repository):
        place.mkdir(parents=True)
        (place / "letter.txt").write_text("Good evening, reader.\n")
    (folder / "kubeconfig").write_text(KUBECONFIG)
    (folder / "memory.jsonl").write_text(
        '{"type":"entity","name":"Ada","entityType":"person","observations":["wrote the first program"]}\n'
    )
    nobody = {"NAME": "Nobody", "EMAIL": "nobody@example.org", "DATE": "2026-07-28T12:00:00Z"}
    who = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in nobody.items()}
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "The first commit"]):
        subprocess.run(
            ["git", *words],
            cwd=repository,
            check=True,
            env={**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull},
        )


# ---- The features, on one server of each era that has the same tools ----

FEATURE_SERVERS = {
    "legacy": (sys.executable, str(HERE.parents[1] / "examples/server.py")),
    "modern": MODERN_ONLY,
}


@attrs.frozen
class Feature:
    step: Step
    # Lines that tap.py must write between the bridge and the server, by era of the server.
    legacy: str
    modern: str

    def passes(self, era: str) -> str:
        return self.legacy if era == "legacy" else self.modern


FEATURES = {
    "elicitation": Feature(
        tool("ask", "accept: blue", question="which colour?"),
        legacy="sent elicitation/create",
        modern="sent input_required",
    ),
    "sampling": Feature(
        tool("think", "loud: HELLO", prompt="hello"),
        legacy="sent sampling/createMessage",
        modern="sent input_required",
    ),
    "roots": Feature(
        tool("roots", "file:///here\nfile:///there"),
        legacy="sent roots/list",
        modern="sent input_required",
    ),
    # The last progress notification arrives together with the response, and not every SDK then finds its callback.
    "progress": Feature(
        Step("progress", "0/4 1/4 2/4 3/4", "slow", {"seconds": 0.4, "steps": 4}),
        legacy="sent notifications/progress",
        modern="sent notifications/progress",
    ),
    "cancellation": Feature(
        Step("cancel", "cancelled", "slow", {"seconds": 10, "steps": 100}),
        legacy="received notifications/cancelled",
        modern="received notifications/cancelled",
    ),
    "subscription to a resource": Feature(
        Step("subscription", "example://greeting has changed", "touch", uri="example://greeting"),
        legacy="received resources/subscribe",
        modern="received subscriptions/listen",
    ),
    "change of a list": Feature(
        Step("list change", "the tools have changed", "toggle"),
        legacy="sent notifications/tools/list_changed",
        modern="sent notifications/tools/list_changed",
    ),
}
