"""What is done with each block of code in the documents. A block without an entry fails test_blocks.py."""

from dataclasses import dataclass

# Why a block is not run by these tests, and no other reasons.
REASONS = {
    "container": "needs podman or Docker",
    "node": "needs Node",
    "proxy": "needs a reverse proxy",
    "manager": "needs a service manager",
    "installs": "installs programs, or takes minutes",
    "remote": "needs a server of another party",
}


@dataclass(frozen=True)
class Run:
    """test_runs.py runs the lines in order, in this world."""

    world: str


@dataclass(frozen=True)
class Config:
    """The loader accepts the text, beside these servers and this text."""

    servers: tuple[str, ...] = ()
    more: str = ""


@dataclass(frozen=True)
class Commands:
    """Each line is a command line that the parser of the program accepts, and is not run for a reason."""

    reason: str


@dataclass(frozen=True)
class Targets:
    """Each line is a make target or a program of this repository with options that it has, and is not run for a reason."""

    reason: str = "installs"


@dataclass(frozen=True)
class Proof:
    """A test or a make target runs the block, or compares it with the program.

    `source` is a file that names the marker above the block, or has each option of the block.
    """

    by: str
    reason: str = ""
    source: str = ""


@dataclass(frozen=True)
class Json:
    """An entry of a client, in JSON: its command line can be parsed, and its URL has a path of the bridge."""


@dataclass(frozen=True)
class Jobs:
    """A part of the configuration of Prometheus, in YAML."""


@dataclass(frozen=True)
class Unit:
    """A part of a drop-in, whose settings replace those of the unit with this name."""

    name: str


@dataclass(frozen=True)
class Text:
    """A text of the program. The check makes it with the values that the document shows."""

    check: str


@dataclass(frozen=True)
class Map:
    """A drawing, whose paths exist."""


@dataclass(frozen=True)
class Default:
    """A value in TOML that is the default of a key."""

    key: str


Use = Run | Config | Commands | Targets | Proof | Json | Jobs | Unit | Text | Map | Default

PROXIES = Proof("make proxies", "proxy", "tests/proxies/proxies.py")
REPLICAS = Proof("make replicas", "proxy", "tests/replicas/test_replicas.py")
INCIDENT = Proof("tests/e2e/test_incident.py::test_every_command_of_the_incident_guide_works")
IMPORTED = Proof("tests/documents/test_generated.py::test_the_page_of_clients_is_what_the_imports_make")
EVENTS = Proof("tests/bridge/events/test_schema.py::test_the_document_has_each_event_with_its_fields")
AGENT = '[aggregates.dev]\nservers = ["git"]\n'

# Key: a document that a program writes, and the language of its blocks. Value: the use of each of them.
GENERATED: dict[tuple[str, str], Use] = {
    ("docs/CLIENTS.md", "jsonc"): IMPORTED,
    ("docs/CLIENTS.md", "yaml"): IMPORTED,
    ("docs/CLIENTS.md", "toml"): IMPORTED,
    ("docs/CLIENTS.md", "text"): IMPORTED,
    ("docs/EVENTS.md", "json"): EVENTS,
    ("docs/SESSION.md", "text"): Proof(
        "tests/test_session.py::test_the_recorded_session_has_the_commands_of_the_recorder"
    ),
    ("docs/WORKSTATION.md", ""): Proof("make workstation", "node"),
}
# Key: a document. Value: the beginning of each block, in order, with its use.
WRITTEN: dict[str, list[tuple[str, Use]]] = {
    "ARCHITECTURE.md": [
        ("client ──HTTP", Map()),
        (".venv/bin/lint-imports --verbose", Targets()),
        ("wrapper (--stdio)", Map()),
    ],
    "CONTRIBUTING.md": [
        ("make install", Targets()),
        (".venv/bin/python -m pytest tests/validators", Targets()),
    ],
    "README.md": [
        ("pipx install .", Proof("make package-test", "installs")),
        ("mcp-bridge add time", Run("daemon")),
        ("make run", Targets()),
        ("mcp-bridge --stdio 'npx", Run("wrapper")),
        ("claude mcp add", Run("wrapper")),
        ("curl http://127.0.0.1:8808/mcp", Run("wrapper")),
        ("export SEARCH_API_KEY", Run("wrapper")),
        (
            "# ~/.config/mcp-bridge/config.toml",
            Proof(
                "tests/test_documents.py::test_the_configuration_in_the_readme_passes_the_check_as_it_stands"
            ),
        ),
        ("[aggregate]", Config(("git", "search"))),
        ("[servers.example]", Config()),
        ('{"mcpServers": {"example": {"url"', Json()),
        ("{", Json()),
        ('{"mcpServers": {"git"', Json()),
        ('{"mcpServers": {"example": {"command"', Json()),
    ],
    "benchmarks/CONNECT.md": [
        ("benchmarks/peers.sh", Targets()),
        (".venv/bin/python benchmarks/connect.py --clients", Targets()),
    ],
    "docs/ACCESS.md": [
        ("[tokens.editor]", Config(("files", "git"))),
        ("[tokens.editor]", Config(("files", "git"))),
        ("[listen]", Config(("files", "git"))),
        ("[access_tokens]", Config(("files", "git"))),
        ("[access_tokens]", Config(("files", "git"))),
        ("[listen]", Config(("files", "git"))),
        ("[listen]", Config(("files", "git"))),
        ("[listen]", Config(("files", "git"))),
        ("[listen]", Config(("files", "git"))),
    ],
    "docs/ADMIN.md": [("[admin]", Run("page")), ("curl --unix-socket", Run("page"))],
    "docs/AGGREGATES.md": [
        ("[servers.git]", Run("aggregates")),
        ("mcp-bridge tools dev", Run("aggregates")),
        ("[aggregates.dev]", Config(("git", "time"))),
        ("[tokens.agent]", Config(("git",), AGENT)),
        ("[aggregates.small]", Config(("git", "time"))),
    ],
    "docs/CONTAINER.md": [
        ("podman build", Proof("make container", "container", "tests/container/build.py")),
        ("FROM localhost/mcp-bridge", Proof("make container", "container", "tests/container/test_image.py")),
        ("podman run", Proof("make container", "container", "tests/container")),
        ("cd examples/container", Proof("make container-lint", "container")),
        ("[listen]", REPLICAS),
        ("upstream bridge", REPLICAS),
        ("upstream sticky", REPLICAS),
        ("defaults", REPLICAS),
    ],
    "docs/CONTENT.md": [
        ("[content]", Config(("files",))),
        ("Invalid arguments for the tool", Text("arguments")),
        ("[servers.web.content]", Config(("web",))),
        ("a response of the server web", Text("scheme")),
        ("refused_schemes = [", Default("refused_schemes")),
    ],
    "docs/EVENTS.md": [
        ("[audit]", Config(("git",))),
        ("# Who was refused today", Run("audit")),
        (
            "/home/u/.local/state/mcp-bridge/audit.jsonl {",
            Proof(
                "tests/e2e/test_audit.py::test_sighup_opens_a_renamed_file_again_also_if_the_configuration_is_broken",
                "manager",
            ),
        ),
    ],
    "docs/FUZZING.md": [
        ("make fuzz FUZZ_SECONDS=600", Targets()),
        (".venv/bin/python -m tests.fuzz.replay", Targets()),
    ],
    "docs/MESSAGES.md": [
        ('validate = "strict"', Config()),
        ("the message does not fit", Text("message")),
    ],
    "docs/MUTATION.md": [
        ("make mutation", Targets()),
    ],
    "docs/METRICS.md": [
        ("[metrics]", Config(("git",))),
        ("scrape_configs:", Jobs()),
        ("[traces]", Config(("git",))),
    ],
    "docs/REMOTE.md": [
        ('{"mcpServers": {"git"', Json()),
        ('{"mcpServers": {"example"', Json()),
        ("[servers.example]", Config()),
        ("mcp-bridge login example", Commands("remote")),
    ],
    "docs/incident.md": [
        ("mcp-bridge status", INCIDENT),
        ("mcp-bridge logs git > git.log", INCIDENT),
        ("mcp-bridge token revoke editor", INCIDENT),
        ("mcp-bridge token new editor", INCIDENT),
        ("mcp-bridge token rotate", INCIDENT),
        ("sed -i", INCIDENT),
        ("sed -i", INCIDENT),
        ("mcp-bridge restart git", INCIDENT),
        (
            "systemctl --user stop",
            Proof("tests/e2e/test_incident.py::test_every_command_of_the_incident_guide_is_run", "manager"),
        ),
        ("mcp-bridge config check", INCIDENT),
    ],
    "docs/proxies.md": [
        ("[listen]", PROXIES),
        ("server {", PROXIES),
        ("map $http_upgrade", PROXIES),
        ("map $http_upgrade", PROXIES),
        ("defaults", PROXIES),
        ("defaults", PROXIES),
        ("mcp.example.org {", PROXIES),
        ("mcp.example.org {", PROXIES),
    ],
    "man/mcp-bridge-connect.1": [
        ('{"mcpServers": {"git"', Json()),
        ("mcp-bridge connect http://127.0.0.1:8808/mcp", Run("wrapper")),
    ],
    "man/mcp-bridge.1": [
        ("export SEARCH_API_KEY", Run("wrapper")),
        ("mcp-bridge --cors", Run("wrapper")),
        ("mcp-bridge serve &", Run("commands")),
        ("mcp-bridge status --watch", Run("commands")),
        ("mcp-bridge call search find", Run("commands")),
        ("mcp-bridge logs --since 10m", Run("commands")),
        ("mcp-bridge prompt git review", Run("commands")),
        ("mcp-bridge token new editor", Run("commands")),
    ],
    "man/mcp-bridge.toml.5": [
        ("[Service]", Unit("mcp-bridge.service")),
        ("[servers.files]", Config()),
        ("rates.principal", Proof("tests/test_documents.py::test_the_rates_of_the_manual_are_valid")),
        (
            "config_version = 1",
            Proof("tests/test_documents.py::test_the_example_of_the_manual_is_a_valid_configuration"),
        ),
    ],
}
