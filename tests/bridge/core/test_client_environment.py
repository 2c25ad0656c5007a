"""Environment variables from headers of a client: those that are allowed, and those that are refused."""

import pytest

from mcpbridged.bridge.config.child_environment import LOADERS, STEERING, BadEnvironment, check_from_client
from mcpbridged.bridge.config.header_names import REFUSED_HEADERS, REFUSED_PREFIXES, header_name
from mcpbridged.bridge.core.client_environment import NOTHING, ClientEnvironment, environment_from_headers
from mcpbridged.validators.rejection import Rejection

WANTED = {"KEY": "x-key", "USER_NAME": "x-user"}


def test_only_configured_headers_set_variables():
    headers = {"x-key": "a b~!", "x-other": "no", "authorization": "Bearer x", "key": "no"}
    assert environment_from_headers(headers, WANTED) == ClientEnvironment((("KEY", "a b~!"),))
    assert environment_from_headers({**headers, "x-user": "me"}, WANTED).variables == (
        ("KEY", "a b~!"),
        ("USER_NAME", "me"),
    )


@pytest.mark.parametrize("headers", [{}, {"x-key": ""}, {"x-other": "1"}])
def test_a_missing_or_empty_header_sets_no_variable(headers):
    assert environment_from_headers(headers, WANTED) == NOTHING


@pytest.mark.parametrize("value", ["a\tb", "\0", "a\x7f", "a\n", "é", "\x1b[2J", "\ud800"])
def test_a_value_with_control_characters_is_refused_and_not_in_the_error(value):
    with pytest.raises(Rejection) as caught:
        environment_from_headers({"x-key": value}, WANTED)
    assert caught.value.status == 400
    assert caught.value.text == "the header x-key must hold visible ASCII and spaces only"


def test_a_value_is_not_in_the_representation():
    assert "canary" not in repr(ClientEnvironment((("KEY", "canary-1"),)))


def test_a_short_value_is_not_redacted():
    assert ClientEnvironment((("A", "1234567"), ("B", "12345678"))).secrets == ("12345678",)


@pytest.mark.parametrize(("name", "lower"), [("X-Key", "x-key"), ("my_key", "my_key"), ("a" * 64, "a" * 64)])
def test_names_of_headers(name, lower):
    assert header_name(name) == lower


@pytest.mark.parametrize("name", ["", "X Key", "X-Key:", "X-Kéy", "X-Key\n", "a" * 65, "(x)"])
def test_invalid_names_of_headers(name):
    with pytest.raises(BadEnvironment, match="is not the name of a header"):
        header_name(name)


@pytest.mark.parametrize("name", sorted(REFUSED_HEADERS | {f"{prefix}x" for prefix in REFUSED_PREFIXES}))
def test_a_header_with_a_standard_meaning_is_refused(name):
    for form in (name, name.title(), name.upper()):
        with pytest.raises(BadEnvironment, match=f"the header {form} is refused"):
            header_name(form)


@pytest.mark.parametrize(
    "name",
    """Authorization Cookie Host Origin Connection Upgrade Transfer-Encoding Accept Proxy-Authorization MCP-Session-Id
    Mcp-Bridge-Principal Sec-Fetch-Site Content-Length Last-Event-ID Expect TE Keep-Alive Forwarded
    Access-Control-Request-Headers""".split(),
)
def test_headers_of_http_and_of_the_bridge_have_a_standard_meaning(name):
    with pytest.raises(BadEnvironment):
        header_name(name)


@pytest.mark.parametrize("key", ["KEY", "GITHUB_TOKEN", "GIT_TOKEN", "HOME_KEY", "key", "_"])
def test_variables_that_a_client_may_set(key):
    check_from_client(key)


@pytest.mark.parametrize(
    "key",
    [
        *sorted(LOADERS | {f"{prefix}X" for prefix in STEERING}),
        *("PATH", "HOME", "SHELL", "TMPDIR", "TERM", "LC_ALL", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "path"),
        *("HTTPS_PROXY", "https_proxy", "npm_config_registry", "", "1A", "A-B", "A" * 65),
    ],
)
def test_variables_that_no_client_may_set(key):
    with pytest.raises(BadEnvironment):
        check_from_client(key)
