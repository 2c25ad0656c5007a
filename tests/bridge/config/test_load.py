"""The configuration file: each key has its effect, and an error names the key and the value."""

import os
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpbridged.bridge.config import load, tables
from mcpbridged.bridge.config.helper_programs import Helpers
from mcpbridged.bridge.config.settings import TokenConfig
from mcpbridged.bridge.config.tables import BadConfig
from mcpbridged.transports.options import Paths
from mcpbridged.validators.limits import Limits

from ...support.config_file import DIGEST, HERE, WHOLE, write_config_file


@pytest.fixture
def write(tmp_path):
    return partial(write_config_file, tmp_path)


def refused(text, environment=HERE, base=Path("/base/config.toml")):
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(BadConfig) as caught:
        settings = load.plan_tables(tables.examine_text(data), base, environment)
        load.check_resolved(load.resolved(settings, Helpers(settings.limits.helper_seconds)))
    return str(caught.value)


def test_every_key_has_an_effect(write):
    path = write(WHOLE)
    settings = load.load(path, HERE)
    assert (settings.host, settings.port, settings.unix) == ("::1", 9000, Path("/run/x.sock"))
    assert settings.hosts == frozenset({"a.example:9000"})
    assert settings.origins == frozenset({"http://localhost:6274"})
    assert settings.health == ("/alive",)
    assert settings.tls_certificate == path.parent / "cert.pem"
    assert settings.tls_key == Path("/etc/key.pem")
    assert (settings.log_level, settings.log_format, settings.log_calls) == ("debug", "json", True)
    assert settings.limits == Limits(body=1000, head_seconds=0.5)
    assert settings.paths == Paths("", "", "", "", "")
    [git] = settings.servers
    assert (git.name, git.share, git.era, git.spare) == ("git", "server", "legacy", 1)
    assert git.launch.argv == ("uvx", "mcp-server-git")
    assert (git.allow, git.deny) == (("git_*",), ("git_push",))
    assert git.without == ("prompts", "sampling")
    assert (git.launch.cwd, git.launch.umask) == ("/srv", 0o027)
    assert git.launch.env == {
        "PATH": "/bin",
        "HOME": "/home/me",
        "TERM": "dumb",
        "MODE": "quiet",
        "SECRET": "s3cret",
    }
    assert git.limits == Limits(body=1000, head_seconds=0.5, line=5000)
    assert settings.tokens == (
        TokenConfig("cursor", bytes.fromhex(DIGEST), frozenset({"git"}), ("git_log",), ("x",), ("roots",)),
    )


@pytest.mark.parametrize("share", ["", "session", "principal"])
def test_headers_of_clients_are_found_in_lower_case(write, share):
    text = (
        f"[servers.a]\ncommand = ['x']\nshare = '{share}'\nenv_from_header = {{ KEY = 'X-Key', B = 'x_b' }}"
    )
    [server] = load.load(write(text), HERE).servers
    assert server.from_headers == {"KEY": "x-key", "B": "x_b"}
    assert "KEY" not in server.launch.env


def test_an_aggregate_is_another_server_at_the_root(write):
    settings = load.load(write("[servers.a]\ncommand = ['x']\n[aggregate]\nservers = ['a']"), HERE)
    made = settings.servers[-1]
    assert (settings.root, settings.paths) == ("aggregate", Paths())
    assert (made.name, made.era, made.share, made.knows_principal) == (
        "aggregate",
        "modern",
        "principal",
        True,
    )
    assert made.launch.argv[1:] == (
        "-m",
        "mcpbridged.bridge.aggregate.server",
        "/run/me/mcp-bridge/mcp-bridge.sock",
        "a",
    )


def test_a_runtime_directory_too_long_for_a_socket_is_refused(write):
    deep = {**HERE, "XDG_RUNTIME_DIR": "/" + "x" * 90}
    with pytest.raises(
        BadConfig, match=r"listen: unix: /x+/mcp-bridge/mcp-bridge.sock has 118 bytes, .* 107"
    ):
        load.load(write(""), deep)


def test_free_heap_memory_can_be_turned_off(write):
    assert load.load(write("limits.free_heap_bytes = 0"), HERE).limits.free_heap_bytes == 0


def test_an_empty_file_is_valid(write):
    settings = load.load(write(""), HERE)
    assert (settings.servers, settings.host, settings.port) == ((), "127.0.0.1", 8808)
    assert settings.unix == Path("/run/me/mcp-bridge/mcp-bridge.sock")
    assert settings.authenticate


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # K01: what is no TOML, or not ours
        ("[[\n", "config.toml:1:3: the name of a table must follow here"),
        (
            "[servers.a]\ncommand = ['x']\nenv_from_header.PATH = 'X-Path'",
            "servers.a: env_from_header: PATH is refused",
        ),
        (
            "[servers.a]\ncommand = ['x']\nenv_from_header.KEY = 'MCP-Session-Id'",
            "servers.a: env_from_header: the header MCP-Session-Id is refused",
        ),
        (
            "[servers.a]\ncommand = ['x']\nenv_from_header.KEY = 'X Key'",
            "servers.a: env_from_header: 'X Key' is not the name of a header",
        ),
        (
            "[servers.a]\ncommand = ['x']\nshare = 'server'\nenv_from_header.KEY = 'X-Key'",
            'servers.a: env_from_header: with share = "server"',
        ),
        (
            "[servers.a]\ncommand = ['x']\nenv_from_header.KEY = 1",
            "servers.a: env_from_header.KEY: must be a string, not a number",
        ),
        ("a = 1\na = 2\n", "config.toml:2:1: the key a is already set in line 1"),
        (b"\xff", "is not UTF-8 at byte 0"),
        ("\0", "config.toml:1:1: a line must be"),
        (b"\xef\xbb\xbf[listen]", "line 1"),
        ("nonsense = 1", "there is no key 'nonsense'; there are config_version"),
        ("config_version = 2", "version 1 is supported, not 2"),
        ("config_version = 'x'", "version 1 is supported, not 'x'"),
        ("servers = 1", "servers must be a table, not 1"),
        ("listen = 1", "listen: must be a table, not 1"),
        ("listen.nothing = 1", "listen: there is no key 'nothing'"),
        (
            "log.level = 'loud'",
            "log: level: must be 'debug', 'info', 'warning', 'error' or 'none', not the string 'loud'",
        ),
        ("limits.body = 'x'", "limits"),
        ("limits.nothing = 1", "limits: there is no limit 'nothing'; there are argument_bytes"),
        ("limits.body = 0", "limits: body must be more than 0 and less than 2^40, not 0"),
        (
            "limits.free_heap_bytes = -1",
            "limits: free_heap_bytes must be 0 or more and less than 2^40, not -1",
        ),
        ("limits.batch = 10001", "limits: batch must be at most 10000, not 10001"),
        ("limits.list_items = 1000000", "limits: list_items must be at most 10000, not 1000000"),
        ("limits.free_heap_bytes = 1099511627776", "must be 0 or more and less than 2^40, not 1099511627776"),
        ("limits.body = 1.5", "limits: body needs a whole number, not 1.5"),
        ("limits.head_seconds = inf", "not inf"),
        ("a=" + "[" * 100_000, "nested"),
        # K02: names
        ("[servers.'../x']\ncommand=['x']", "servers.'../x': a name is 1 to 32"),
        ("[servers.'']\ncommand=['x']", "servers.''"),
        ("[servers.'.Git']\ncommand=['x']", "servers.'.Git'"),
        ("[servers.'a/b']\ncommand=['x']", "servers.'a/b'"),
        ("[servers.-a]\ncommand=['x']", "servers.'-a'"),
        ("[servers.'\u0430']\ncommand=['x']", "servers.'\u0430'"),
        ("[servers.'a\\n']\ncommand=['x']", "servers"),
        (f"[servers.{'a' * 300}]\ncommand=['x']", "servers.'aaaa"),
        (f"[tokens.'A B']\nsha256='{DIGEST}'", "tokens.'A B'"),
        # K03, V25: commands
        ("[servers.a]", "servers.a: command is missing"),
        ("[servers.a]\ncommand = ''", "servers.a: command: must not be empty"),
        (
            "[servers.a]\ncommand = 1",
            "servers.a: command: must be a string or a list of strings, not a number",
        ),
        ("[servers.a]\nargs = ['x']", "servers.a: command is missing"),
        ("[servers.a]\nurl = 'http://127.0.0.1/'\nargs = []", "servers.a: args: only a process has this key"),
        ("[servers.a]\ncommand = []", "servers.a: command: must not be empty"),
        ("[servers.a]\ncommand = [1]", "servers.a: command: element 1: must be a string, not a number"),
        ("[servers.a]\ncommand = ['./x']", "servers.a: command: './x' is a relative path"),
        ("[servers.a]\ncommand = ['/']", "servers.a: command: '/' is a directory"),
        ("[servers.a]\ncommand = ['x', 'a\\u0000b']".replace("'a\\u0000b'", '"a\\u0000b"'), "zero byte"),
        (
            "[servers.a]\ncommand = ['x']\nshare = 'all'",
            "servers.a: share: must be 'session', 'client', 'principal' or 'server', not the string 'all'",
        ),
        ("[servers.a]\ncommand = ['x']\nera = 'new'", "servers.a: era"),
        (
            "[servers.a]\ncommand = ['x']\nspare = 9",
            "servers.a: spare: must be a whole number from 0 to 8, not 9",
        ),
        ("[servers.a]\ncommand = ['x']\numask = '999'", "servers.a: umask"),
        (
            "[servers.a]\ncommand = ['x']\ncwd = 'here'",
            "servers.a: cwd: must be an absolute path, not 'here'",
        ),
        ("[servers.a]\ncommand = ['x']\nlimits.x = 1", "servers.a: limits: there is no limit 'x'"),
        (
            "[servers.a]\ncommand = ['x']\nrlimits.core = 1",
            "servers.a: rlimits: there is no key 'core'; there are as, cpu,",
        ),
        (
            "[servers.a]\ncommand = ['x']\ntools.alow = ['x']",
            "servers.a: tools: there is no key 'alow'; did you mean 'allow'?",
        ),
        ("listen.http = true", "listen: http: must be a string or false, not true"),
        ("[servers.a]\ncommand = ['x']\nrlimits.as = -1", "servers.a: rlimits"),
        # V28: the environment
        ("[servers.a]\ncommand = ['x']\nenv.LD_PRELOAD = '/x.so'", "servers.a: env: LD_PRELOAD is refused"),
        (
            "[servers.a]\ncommand = ['x']\npass_env = ['NODE_OPTIONS']",
            "servers.a: pass_env: NODE_OPTIONS is refused",
        ),
        ("[servers.a]\ncommand = ['x']\nenv.'A B' = '1'", "servers.a: env: 'A B' is not a name"),
        ('[servers.a]\ncommand = ["x"]\nenv.A = "\\u0000"', "servers.a: env: holds a zero byte"),
        ("[servers.a]\ncommand = ['x']\npass_env = ['NOT_THERE']", "servers.a: NOT_THERE: there is no such"),
        ("[servers.a]\ncommand = ['x']\nenv_file = '/no/such'", "servers.a: the environment file /no/such"),
        ("[servers.a]\ncommand = ['x']\nsecrets.A = '/no/such'", "servers.a: the secret file /no/such"),
        ("[servers.a]\ncommand = ['x']\nsecrets.A = 'credential:a'", "servers.a: there is no credential 'a'"),
        (
            "[servers.a]\ncommand = ['x']\nsecrets.A = 'exec:false'",
            "servers.a: the helper 'false' exited with 1",
        ),
        ("[servers.a]\ncommand = ['x']\nsecrets.A = 'exec:'", "names no program"),
        ("[servers.a]\ncommand = ['x']\nsecrets.A = 'exec:\"'", "cannot be split"),
        ("[servers.a]\ncommand = ['x']\nsecrets.A = 'exec:/no/such'", "'/no/such' cannot be executed"),
        ("[servers.a]\ncommand = ['x']\nsecrets.A = 'exec:true'", "is empty"),
        ("[servers.a]\ncommand = ['']", "servers.a: command: the program is an empty word"),
        ("[servers.a]\ncommand = ['/etc/passwd']", "'/etc/passwd' is not executable; chmod +x /etc/passwd"),
        (
            "[servers.a]\ncommand = ['x']\nrlimits.as = 99999999999999999999",
            "servers.a: rlimits.as: must be a whole number of 0 or more",
        ),
        (
            "[servers.a]\ncommand = ['x']\nrlimits.as = 9223372036854775807.0",
            "servers.a: rlimits.as: must be a whole number",
        ),
        ("[servers.a]\ncommand = ['x']\ncwd = '~nosuchuser/x'", "'~nosuchuser': there is no such user"),
        (
            "[servers.a]\ncommand = ['x']\nenv_file = '~nosuchuser/x'",
            "'~nosuchuser/x': there is no",
        ),
        (
            "[servers.a]\ncommand = ['x']\nsecrets.A = '~nosuchuser/x'",
            "'~nosuchuser/x': there is no",
        ),
        ('[servers.a]\ncommand = ["\\u0000"]', "servers.a: command: holds a zero byte"),
        ('[servers.a]\ncommand = ["x"]\nenv_file = "/\\u0000"', "servers.a: env_file: holds a zero byte"),
        ('[servers.a]\ncommand = ["x"]\nsecrets.A = "exec:\\u0000"', "servers.a: secrets: holds a zero byte"),
        ('[servers.a]\ncommand = ["x"]\nenv."\\u0000" = "x"', "servers.a: env: holds a zero byte"),
        # where we listen
        ("listen.unix = '~nosuchuser/x'", "listen: unix: '~nosuchuser/x': there is no such user"),
        ("listen.unix = '/" + "x" * 107 + "'", "has 108 bytes, and the limit is 107"),
        ("listen.health = ['/mcp']", "listen: health: /mcp is already the path of another endpoint"),
        ("listen.health = ['/control/status']", "listen: health: /control/status is already"),
        ("listen.health = ['/servers/a/mcp']", "listen: health: /servers/a/mcp is already"),
        ("listen.health = ['/readyz']", "listen: health: /readyz is already"),
        (
            "listen.http = '0.0.0.0:80'",
            "listen: http: 0.0.0.0 can be reached by other machines, which needs TLS",
        ),
        ("listen.http = '127.0.0.1'", "listen: http: must be ADDRESS:PORT, not '127.0.0.1'"),
        ("listen.http = '127.0.0.1:70000'", "listen: http: must be ADDRESS:PORT"),
        ("listen.http = 'example.org:80'", "neither an IP address nor localhost"),
        ("listen.http = true", "listen: http"),
        ("listen.unix = 'here.sock'", "listen: unix: must be an absolute path, not 'here.sock'"),
        ("[listen]\nhttp = false\nunix = false", "listen: both http and unix are false"),
        ("listen.tls_cert = 'x'", "tls_cert and tls_key must be set together"),
        ("listen.origins = ['*']", "an origin must be"),
        ("listen.hosts = ['*.example']", "listen: hosts: a host must be name[:port]"),
        ("listen.health = ['x']", "a path must begin with /"),
        # the aggregate
        ("[aggregate]", "aggregate: servers is missing"),
        ("[aggregate]\nservers = []", "aggregate: servers: must not be empty"),
        ("[aggregate]\nservers = ['x']", "aggregate: servers: there is no server 'x'; there are none"),
        (
            "servers.a = {command = ['true'], enabled = false}\n[aggregate]\nservers = ['a']",
            "aggregate: servers: servers.a is disabled (enabled = false)",
        ),
        (
            "[servers.a]\ncommand = ['x']\n[aggregate]\nservers = ['a', 'a']",
            "aggregate: servers: 'a' is listed 2 times",
        ),
        (
            "[servers.aggregate]\ncommand = ['x']\n[aggregate]\nservers = ['aggregate']",
            "the name is reserved for the [aggregate]",
        ),
        (
            "listen.unix = false\n[servers.a]\ncommand = ['x']\n[aggregate]\nservers = ['a']",
            "aggregate: it needs the Unix socket",
        ),
        # tokens
        ("[tokens.a]", "tokens.a: sha256 is missing"),
        ("[tokens.a]\nsha256 = 'secret'", "tokens.a: sha256"),
        (f"[tokens.local]\nsha256 = '{DIGEST}'", "tokens.local: the name is reserved for the owner"),
        (f"[tokens.owner]\nsha256 = '{DIGEST}'", "tokens.owner: the name is reserved for the owner"),
        (
            f"[tokens.a]\nsha256 = '{DIGEST}'\n[tokens.b]\nsha256 = '{DIGEST}'",
            "tokens.b: sha256 is that of tokens.a as well",
        ),
        (f"[tokens.a]\nsha256 = '{DIGEST}'\nservers = ['x']", "tokens.a: servers: there is no server 'x'"),
    ],
)
def test_an_error_names_the_key_and_the_value(text, expected):
    assert expected in refused(text)


def test_too_many_servers_are_refused_at_once():
    text = "\n".join(f"[servers.a{number}]\ncommand = ['x']" for number in range(300))
    assert refused(text) == "/base/config.toml:1:2: servers: there are 300, and the limit is 256"


def test_secrets_are_kept_elsewhere_and_never_shown(tmp_path, write):
    (tmp_path / "key").write_text("from-a-file\n")
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "more.env").write_text("# comment\n\nA=\"in quotes\"\nB='x'\nC=a=b\n")
    (tmp_path / "more.env").chmod(0o600)
    path = write(
        "[servers.a]\ncommand = ['x']\nenv_file = 'more.env'\n[servers.a.secrets]\n"
        "FILE = 'key'\nHELPER = 'exec:printf %s from-a-helper'\nMANAGER = 'credential:db'\n"
    )
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "db").write_text("from-systemd")
    (credentials / "db").chmod(0o400)
    environment = {**HERE, "PATH": os.environ["PATH"], "CREDENTIALS_DIRECTORY": str(credentials)}
    settings = load.load(path, environment)
    [server] = settings.servers
    found = {key: server.launch.env[key] for key in ("A", "B", "C", "FILE", "HELPER", "MANAGER")}
    assert found == {
        "A": "in quotes",
        "B": "x",
        "C": "a=b",
        "FILE": "from-a-file",
        "HELPER": "from-a-helper",
        "MANAGER": "from-systemd",
    }
    assert "CREDENTIALS_DIRECTORY" not in server.launch.env
    assert set(settings.secrets) == {"in quotes", "from-a-file", "from-a-helper", "from-systemd"}
    assert "from-" not in repr(settings)


def test_a_passed_variable_with_the_name_of_a_secret_is_a_secret(write):
    text = "[servers.a]\ncommand = ['x']\npass_env = ['GH_TOKEN', 'MODE']\n"
    here = {**HERE, "GH_TOKEN": "as-good-as-a-secret", "MODE": "quiet"}
    [server] = load.load(write(text), here).servers
    assert (server.hidden, server.secrets) == ({"GH_TOKEN"}, ("as-good-as-a-secret",))
    [server] = load.load(write(f"{text}env.GH_TOKEN = 'none'\n"), here).servers
    assert (server.hidden, server.launch.env["GH_TOKEN"]) == (set(), "none")


@pytest.mark.parametrize("name", ["more.env", "key"])
def test_a_secret_that_others_can_read_is_refused(tmp_path, write, name):
    (tmp_path / name).write_text("A=b")
    (tmp_path / name).chmod(0o644)
    key = "env_file = 'more.env'" if name == "more.env" else "secrets.A = 'key'"
    path = write(f"[servers.a]\ncommand = ['x']\n{key}")
    with pytest.raises(BadConfig, match="mode 0644; others must have no access"):
        load.load(path, HERE)


@pytest.mark.parametrize("content", ["A", "1A=b", "LD_PRELOAD=x"])
def test_an_environment_file_has_variables_only(tmp_path, write, content):
    (tmp_path / "more.env").write_text(content)
    (tmp_path / "more.env").chmod(0o600)
    with pytest.raises(BadConfig, match=r"servers\.a: "):
        load.load(write("[servers.a]\ncommand = ['x']\nenv_file = 'more.env'"), HERE)


def test_the_output_of_a_helper_is_limited(write):
    path = write("[servers.a]\ncommand = ['x']\nsecrets.A = 'exec:head -c 5000 /dev/zero'")
    with pytest.raises(BadConfig, match="the helper 'head' printed 5000 bytes; the limit is 4096"):
        load.load(path, {**HERE, "PATH": os.environ["PATH"]})


def test_a_program_that_every_user_can_write_is_refused(tmp_path):
    program = tmp_path / "server"
    program.write_text("")
    program.chmod(0o777)
    assert "is writable by every user" in refused(f"[servers.a]\ncommand = ['{program}']")


@given(st.text(max_size=200))
def test_every_text_is_valid_or_refused_with_bad_config(text):
    try:
        load.build_settings(tables.parse(text.encode("utf-8", "surrogatepass")), Path("/x/c.toml"), HERE)
    except BadConfig:
        return
