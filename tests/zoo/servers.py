"""The real servers of the zoo: the command of each, its environment, and the harmless calls that are made.

Every server starts without a network and with an empty HOME. Where a key is demanded, a dummy value is given and only
lists are requested.
"""

import os
import sqlite3
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

DEPS = Path(__file__).parents[2] / ".deps/zoo"
NODE = DEPS / "node/node_modules"
OFFICIAL = NODE / "@modelcontextprotocol"
GO = NODE / "kubernetes-mcp-server-linux-amd64/bin/kubernetes-mcp-server-linux-amd64"
CSHARP = NODE / "@azure/mcp-linux-x64/dist/azmcp"

KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: none, user: {}}]
contexts: [{name: here, context: {cluster: none, user: none}}]
current-context: here
"""
# More than one script, a quote, a backslash, a character outside of the Basic Multilingual Plane, a control character.
TEXT = 'Grüße \u00fc \U0001f30d "quoted" back\\slash </script> \u2028 tab\t 日本'


# MCP Apps: the declaration of a client, and what its tool and its page show (modelcontextprotocol/ext-apps).
UI = {"io.modelcontextprotocol/ui": {"mimeTypes": ["text/html;profile=mcp-app"]}}
UI_TYPE = b'"mimeType":"text/html;profile=mcp-app"'


@attrs.frozen
class Call:
    """One request for a server: `tools/call` of a tool, or any other method with its params."""

    method: str
    params: Mapping[str, Any]


@attrs.frozen
class Server:
    command: tuple[str, ...]
    # SDK of the server, for the table.
    sdk: str
    calls: tuple[Call, ...] = ()
    environment: Mapping[str, str] = attrs.field(factory=dict)
    # Why the server is in the zoo.
    good_for: str = ""
    # Whether the request of an unknown method ends the process.
    dies_of_unknown_methods: bool = False
    # The revision that the handshake requests.
    revision: str = "2025-11-25"
    # The extensions that its client declares, by name.
    extensions: Mapping[str, Any] = attrs.field(factory=dict)
    # Value of the key `share` behind the bridge.
    share: str = ""
    # Bytes that a response must contain, besides being the same as on the pipe.
    must_show: tuple[bytes, ...] = ()
    # Whether it has a part in `make zoo-small`.
    small: bool = False


def tool(name: str, /, **arguments: Any) -> Call:
    return Call("tools/call", {"name": name, "arguments": arguments})


def tool_with_progress(name: str, token: str | int, /, **arguments: Any) -> Call:
    return Call("tools/call", {"name": name, "arguments": arguments, "_meta": {"progressToken": token}})


def npm(package: Path, entry: str = "dist/index.js") -> tuple[str, str]:
    return "node", str(package / entry)


def app(package: str, sdk: str, tool_name: str, page: str, share: str = "", *, small: bool = False) -> Server:
    """Return an example server of MCP Apps, whose tool has a page."""
    mark = page.encode()
    return Server(
        (*npm(NODE / package), "--stdio"),
        sdk,
        (tool(tool_name), Call("resources/read", {"uri": page})),
        good_for="the extension for applications, declared by the client",
        extensions=UI,
        share=share,
        must_show=(b'"ui/resourceUri":"%b"' % mark, b'"ui":{"resourceUri":"%b"' % mark, UI_TYPE),
        small=small,
    )


def apps() -> dict[str, Server]:
    """Return servers of MCP Apps, which speak the handshake revisions on their pipes; one of them for each value of `share`."""
    official = "@modelcontextprotocol/server-"
    clock = ("get-time", "ui://get-time/mcp-app.html")
    one, two = "TypeScript 1.32.2", "TypeScript 2.0.0"
    found = {
        "app-1": app("server-basic-vanillajs-1", one, *clock),
        "app-monitor": app(
            f"{official}system-monitor", two, "get-system-info", "ui://system-monitor/mcp-app.html"
        ),
        "pdf": app(f"{official}pdf", two, "list_pdfs", "ui://pdf-viewer/mcp-app.html"),
    }
    for share in ("", "client", "server"):
        name = f"app-{share}" if share else "app"
        found[name] = app(f"{official}basic-vanillajs", two, *clock, share, small=not share)
    return found


def servers(folder: Path) -> dict[str, Server]:
    """Return every server by name. `folder` is where they work, as `furnish` leaves it."""
    files, repository = str(folder / "files"), str(folder / "repository")
    everything = (
        tool("echo", message=TEXT),
        tool_with_progress("longRunningOperation", "p-1", duration=0.2, steps=2),
        tool("getTinyImage"),
        tool("structuredContent", location="Chicago"),
        tool("sampleLLM", prompt="hello", maxTokens=10),
        tool("getResourceReference", resourceId=3),
        Call("resources/read", {"uri": "test://static/resource/1"}),
        Call("resources/read", {"uri": "test://static/resource/2"}),
        Call("prompts/get", {"name": "complex_prompt", "arguments": {"temperature": "1", "style": "a\tb"}}),
    )
    found = {
        "github": Server(
            npm(OFFICIAL / "server-github"),
            "TypeScript 1.0.1",
            environment={"GITHUB_PERSONAL_ACCESS_TOKEN": "dummy"},
            good_for="the oldest TypeScript SDK",
            revision="2024-11-05",
        ),
        "everything-2025": Server(
            (*npm(NODE / "server-everything-2025"), "stdio"),
            "TypeScript 1.20.2",
            everything,
            good_for="sampling, progress, images, structured content, log lines after initialized",
            revision="2025-06-18",
        ),
        "everything": Server(
            (*npm(OFFICIAL / "server-everything"), "stdio"),
            "TypeScript 1.32.2",
            (
                tool("echo", message=TEXT),
                tool("get-sum", a=1.0, b=0.1),
                tool("get-tiny-image"),
                tool("get-structured-content", location="Chicago"),
                tool("get-annotated-message", messageType="error", includeImage=True),
                tool("get-resource-links", count=3),
                tool_with_progress("trigger-long-running-operation", 7, duration=0.2, steps=2),
                tool("trigger-sampling-request", prompt="hello", maxTokens=100),
                tool("trigger-elicitation-request"),
                tool("get-roots-list"),
                Call("resources/read", {"uri": "demo://resource/static/document/architecture.md"}),
                Call("prompts/get", {"name": "args-prompt", "arguments": {"city": "Ulm\u00fc"}}),
            ),
            good_for="roots, elicitation, list changes after initialized",
        ),
        "filesystem": Server(
            (*npm(OFFICIAL / "server-filesystem"), files),
            "TypeScript 1.32.2",
            (
                tool("read_text_file", path=f"{files}/letter.txt"),
                tool("read_text_file", path=f"{files}/large.txt"),
                tool("list_directory", path=files),
                tool("read_text_file", path="/etc/passwd"),
            ),
            good_for="roots outside of calls, a large answer, errors in results",
        ),
        "memory": Server(
            npm(OFFICIAL / "server-memory"),
            "TypeScript 1.32.2",
            (tool("read_graph"), tool("open_nodes", names=["Ada"])),
            {"MEMORY_FILE_PATH": str(folder / "memory.jsonl")},
            "state in a file",
            small=True,
        ),
        "sequential-thinking": Server(
            npm(OFFICIAL / "server-sequential-thinking"),
            "TypeScript 1.32.2",
            (
                tool(
                    "sequentialthinking",
                    thought=TEXT,
                    thoughtNumber=1,
                    totalThoughts=2,
                    nextThoughtNeeded=True,
                ),
            ),
            good_for="writes much to stderr",
        ),
        "code-runner": Server(
            npm(NODE / "mcp-server-code-runner", "dist/cli.js"),
            "TypeScript 1.32.2",
            (tool("run-code", code="print(1)", languageId="python"),),
            good_for="text on stdout before the first message; starts processes",
        ),
        "firecrawl": Server(
            npm(NODE / "firecrawl-mcp"),
            "TypeScript 2.0.0 in mcp-proxy",
            environment={"FIRECRAWL_API_KEY": "x"},
            good_for="a large list",
        ),
        "firecrawl-1.3": Server(
            npm(NODE / "firecrawl-mcp-1", "dist/src/index.js"),
            "TypeScript 1.32.2",
            environment={"FIRECRAWL_API_KEY": "x"},
            good_for="log lines before the answer to initialize",
        ),
        "time-1.0": Server(
            (str(DEPS / "python1.0/bin/mcp-server-time"), "--local-timezone", "UTC"),
            "Python 1.0.0",
            (tool("convert_time", source_timezone="UTC", time="12:00", target_timezone="Asia/Tokyo"),),
            good_for="the oldest Python SDK; ends when a method is unknown",
            dies_of_unknown_methods=True,
        ),
        "sqlite": Server(
            (str(DEPS / "python1/bin/mcp-server-sqlite"), "--db-path", str(folder / "data.db")),
            "Python 1.30.0",
            (
                tool("list_tables"),
                tool("read_query", query="SELECT name, weight FROM animals ORDER BY name"),
                tool("read_query", query="no SQL"),
                Call("resources/read", {"uri": "memo://insights"}),
                Call("prompts/get", {"name": "mcp-demo", "arguments": {"topic": "animals"}}),
            ),
            good_for="Python 1.x: resources and prompts",
            revision="2025-03-26",
            small=True,
        ),
        "time": Server(
            (str(DEPS / "python2/bin/mcp-server-time"), "--local-timezone", "UTC"),
            "Python 2.3.0",
            (
                tool("convert_time", source_timezone="UTC", time="12:00", target_timezone="Asia/Tokyo"),
                tool("get_current_time", timezone="UTC"),
            ),
            good_for="both eras; an answer with the time in it",
            small=True,
        ),
        "git": Server(
            (str(DEPS / "python2/bin/mcp-server-git"), "--repository", repository),
            "Python 2.3.0",
            (
                tool("git_status", repo_path=repository),
                tool("git_log", repo_path=repository, max_count=1),
                tool("git_status", repo_path="/nowhere"),
            ),
            good_for="both eras; starts processes",
        ),
        "word": Server(
            (str(DEPS / "python_fastmcp/bin/word_mcp_server"),),
            "FastMCP 4.2.3",
            (tool("list_available_documents", directory=files),),
            {"MCP_TRANSPORT": "stdio"},
            "both eras; a banner on stdout",
        ),
        "cnb": Server(
            (str(DEPS / "python2/bin/cnb-rs-mcp"),),
            "Rust (rmcp)",
            good_for="Rust; ends when the first message is server/discover",
            small=True,
        ),
        **apps(),
    }
    if GO.exists():
        found["kubernetes"] = Server(
            (str(GO), "--kubeconfig", str(folder / "kubeconfig")),
            "Go SDK",
            (tool("configuration_view"),),
            good_for="Go",
            revision="2025-06-18",
        )
    if CSHARP.exists():
        found["azure"] = Server((str(CSHARP), "server", "start"), "C# SDK", good_for="C#; a large list")
    return found


def furnish(folder: Path) -> None:
    """Write the files that the calls of the servers read."""
    files, repository = folder / "files", folder / "repository"
    for place in (files, repository):
        place.mkdir(parents=True)
        (place / "letter.txt").write_text("Good evening, reader.\n")
    (files / "large.txt").write_text("".join(f"{number}: {TEXT}\n" for number in range(6000)))
    (folder / "kubeconfig").write_text(KUBECONFIG)
    (folder / "memory.jsonl").write_text(
        '{"type":"entity","name":"Ada","entityType":"person","observations":["wrote the first program"]}\n'
    )
    with sqlite3.connect(folder / "data.db") as base:
        base.execute("CREATE TABLE animals (name TEXT, weight REAL)")
        base.executemany("INSERT INTO animals VALUES (?, ?)", [("Käfer", 0.1), ("yak", 580.0)])
    base.close()
    author = {"NAME": "Author", "EMAIL": "author@example.org", "DATE": "2026-07-28T12:00:00Z"}
    identity = {
        f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in author.items()
    }
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "The first commit"]):
        subprocess.run(
            ["git", *words],
            cwd=repository,
            check=True,
            env={**os.environ, **identity, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull},
        )
