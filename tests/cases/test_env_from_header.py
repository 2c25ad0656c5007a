"""A client may set the variables that a pattern allows, and no variable that chooses the program (`env_from_header`)."""

import pytest

from mcpbridged.bridge.config import load, tables
from mcpbridged.bridge.config.child_environment import FROM_CLIENT, BadEnvironment, check_from_client
from mcpbridged.bridge.config.tables import BadConfig

HERE = {"PATH": "/bin", "HOME": "/home/me", "XDG_RUNTIME_DIR": "/run/me"}
NEVER = """MCP_BRIDGE_PRINCIPAL MCP_BRIDGE_TOKEN NOTIFY_SOCKET LISTEN_FDS LISTEN_PID LISTEN_FDNAMES CREDENTIALS_DIRECTORY
    INVOCATION_ID JOURNAL_STREAM WATCHDOG_USEC SYSTEMD_EXEC_PID XDG_RUNTIME_DIR XDG_CONFIG_HOME
    LD_PRELOAD LD_AUDIT_KEY DYLD_INSERT_LIBRARIES PYTHONPATH PYTHONSTARTUP PYTHON_KEY NODE_OPTIONS NODE_TOKEN
    DOTNET_STARTUP_HOOKS DOTNET_KEY CORECLR_PROFILER JAVA_TOOL_OPTIONS JDK_JAVA_OPTIONS _JAVA_OPTIONS GIT_SSH GIT_SSH_COMMAND
    GIT_EXEC_PATH GIT_ASKPASS GIT_CONFIG_KEY_0 GIT_EDITOR GIT_TEMPLATE_DIR GIT_PROXY_COMMAND BASH_ENV ENV PERL5LIB PERL5OPT
    RUBYLIB RUBYOPT PATH HOME SHELL IFS PS4 EDITOR VISUAL PAGER BROWSER CLASSPATH GOFLAGS RUSTFLAGS MAKEFLAGS KUBECONFIG
    NPM_CONFIG_REGISTRY PIP_INDEX_URL UV_INDEX_URL HTTPS_PROXY https_proxy SSL_CERT_FILE SSL_KEY OPENSSL_CONF LC_ALL
    TERM LUA_INIT ELECTRON_RUN_AS_NODE PHP_INI_SCAN_DIR BASHOPTS BASH_FUNC_KEY LESSOPEN VIMINIT PHPRC
    MAVEN_OPTS SUDO_ASKPASS SSH_ASKPASS FOO_STARTUP_HOOKS GCONV_PATH GETCONF_DIR GLIBC_TUNABLES MALLOC_CONF PROMPT_COMMAND""".split()
USUAL = """KEY TOKEN USERNAME KEY2 GITHUB_TOKEN OPENAI_API_KEY DB_PASSWORD JIRA_EMAIL ACME_ACCOUNT ACME_ORG AWS_REGION
    AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY SLACK_TEAM AZURE_TENANT NOTION_WORKSPACE DATABASE_URL GIT_TOKEN GIT_USERNAME""".split()
UNUSUAL = "ACME_MODE DOCKER_HOST R_PROFILE SSH_AUTH_SOCK".split()


@pytest.mark.parametrize("key", NEVER)
def test_r23_no_pattern_lets_a_client_choose_the_program(key):
    for patterns in ((), ("*",), (key,), ("*_KEY", "*_TOKEN", "*")):
        for name in (key, key.lower(), key.title()):
            with pytest.raises(BadEnvironment):
                check_from_client(name, patterns)


@pytest.mark.parametrize("key", USUAL)
def test_r23_credentials_and_addresses_need_no_pattern(key):
    check_from_client(key)


@pytest.mark.parametrize("key", UNUSUAL)
def test_r23_any_other_variable_needs_a_pattern_of_the_operator(key):
    with pytest.raises(
        BadEnvironment, match=r"no pattern matches it; there are .*; env_from_header_allow sets others"
    ):
        check_from_client(key)
    check_from_client(key, ("X_*", f"{key[:4]}*"))
    with pytest.raises(BadEnvironment, match="there are X_"):
        check_from_client(key, ("X_*",))


def test_r23_patterns_of_the_operator_take_the_place_of_the_usual_ones():
    def read(text):
        return load.build_settings(tables.parse(text.encode()), load.Path("/x/config.toml"), HERE).servers[0]

    server = "[servers.a]\ncommand = ['/bin/sh']\n"
    found = read(server + "env_from_header = {ACME_MODE = 'X-Mode'}\nenv_from_header_allow = ['ACME_*']\n")
    assert found.from_headers == {"ACME_MODE": "x-mode"}
    with pytest.raises(BadConfig, match=r"servers\.a: env_from_header: OTHER_KEY is refused: no pattern"):
        read(server + "env_from_header = {OTHER_KEY = 'X-Key'}\nenv_from_header_allow = ['ACME_*']\n")
    with pytest.raises(BadConfig, match="env_from_header: MCP_BRIDGE_PRINCIPAL is refused"):
        read(server + "env_from_header = {MCP_BRIDGE_PRINCIPAL = 'X-Who'}\nenv_from_header_allow = ['*']\n")
    for bad in ("['a b']", "['']", "['[A]']", "'ACME_*'", "[1]"):
        with pytest.raises(BadConfig, match="env_from_header_allow"):
            read(server + f"env_from_header_allow = {bad}\n")
    assert all(pattern.startswith("*_") for pattern in FROM_CLIENT)
