"""Names and URIs, with examples that other bridges refused or accepted by mistake."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpbridged.validators.limits import Limits
from mcpbridged.validators.names import check_method, check_name, check_uri
from mcpbridged.validators.rejection import INVALID_PARAMS, INVALID_REQUEST, Rejection

LIMITS = Limits()


def refusal(check, value, limits=LIMITS):
    with pytest.raises(Rejection) as caught:
        check(value, limits)
    assert caught.value.status == 400
    return caught.value.code, caught.value.text


@pytest.mark.parametrize(
    "method",
    [
        "ping",
        "tools/list",
        "notifications/cancelled",
        "__proto__",
        "rpc.x",
        "vendor/x.y-z",
        "x$",
        "m\u00e9thode",
        "a" * 128,
        "\U0001f600",
    ],
)
def test_valid_methods(method):
    check_method(method, LIMITS)


@pytest.mark.parametrize(
    "method",
    [
        "ping\n",
        "\nping",
        "pi ng",
        "ping\x00",
        "ping\r",
        "\t",
        "a\x7f",
        "a\x85b",
        "a\u2028b",
        "a\u00a0b",
        "a\u3000b",
        "a\x1f",
        "\ud800",
    ],
)
def test_methods_with_controls_or_white_space(method):
    assert refusal(check_method, method) == (
        INVALID_REQUEST,
        "a method has no white space and no control characters",
    )


def test_lengths_of_methods():
    assert refusal(check_method, "") == (INVALID_REQUEST, "a method has 1 to 128 characters, this one has 0")
    assert refusal(check_method, "a" * 10240) == (
        INVALID_REQUEST,
        "a method has 1 to 128 characters, this one has 10240",
    )
    assert (
        refusal(check_method, "abcd", Limits(method=3))[1] == "a method has 1 to 3 characters, this one has 4"
    )


@pytest.mark.parametrize(
    "name",
    [
        "get_weather",
        "x/../../y",
        "../../x",
        "/etc/passwd",
        "Use `<form>` to submit",
        "List<string> and a<b, c>d",
        "100%2525",
        "conclusion=success",
        "onclick=x",
        "javascript:alert(1)",
        "a && b; $(c) | {d} [e]",
        "select * from t",
        "admin.tools_list",
        "9lives",
        "_private",
        " with spaces ",
        "pr\u00e9nom",
        "\u5929\u6c17",
        "\U0001f469\u200d\U0001f4bb",
        "a\u2028b",
        "\ue000",
        "a" * 128,
        "\u00e9" * 128,
        "__proto__",
    ],
)
def test_valid_names(name):
    check_name(name, LIMITS)


@pytest.mark.parametrize("name", ["abc\n", "a\x00b", "\r", "a\tb", "\x1b[31m", "a\x7f", "a\x9f", "\udfff"])
def test_names_with_controls(name):
    assert refusal(check_name, name) == (INVALID_PARAMS, "a name has no control characters")


def test_lengths_of_names():
    assert refusal(check_name, "") == (INVALID_PARAMS, "a name has 1 to 128 characters, this one has 0")
    assert refusal(check_name, "a" * 129) == (
        INVALID_PARAMS,
        "a name has 1 to 128 characters, this one has 129",
    )


@pytest.mark.parametrize(
    "uri",
    [
        "file:///x",
        "file:///etc/shadow",
        "git://host/repository",
        "custom://100%2525",
        "https://a.example/?q=<b>&x='y'#z",
        "data:text/plain;base64,SGk=",
        "template://{owner}/{repository}{?page}",
        "urn:isbn:0451450523",
        "a+b-c.9:x",
        "x:",
        "file:///caf\u00e9/\u5929\u6c17",
        "javascripts:x",
        "java:script",
        "note://a;b|c`d`",
        "x:javascript:y",
        "users/me",
        "README.md",
        "obsidian://My Vault/Note.md",
        "/etc/passwd",
        "://x",
        "9p://x",
        "\u017fcheme:x",
        " ",
        "a\u2028b",
        "javascript:alert(1)",
        "x:" + "a" * 2046,
    ],
)
def test_valid_uris(uri):
    check_uri(uri, LIMITS)


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("", "a URI has 1 to 8192 bytes, this one has 0"),
        ("x:" + "a" * 8191, "a URI has 1 to 8192 bytes, this one has 8193"),
        ("x:" + "\u00e9" * 4096, "a URI has 1 to 8192 bytes, this one has 8194"),
        ("file:///a\n", "a URI has no control characters"),
        ("file:///a\x00", "a URI has no control characters"),
        ("file:///a\x85", "a URI has no control characters"),
        ("file:///\ud800", "a URI has no control characters"),
        ("java\nscript:x", "a URI has no control characters"),
    ],
)
def test_invalid_uris_are_refused(uri, text):
    assert refusal(check_uri, uri) == (INVALID_PARAMS, text)


@settings(max_examples=300)
@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=128))
def test_every_name_without_controls_is_valid(name):
    check_name(name, LIMITS)


@settings(max_examples=300)
@given(st.text(min_size=1, max_size=128))
def test_every_valid_method_is_one_word_on_one_line(method):
    try:
        check_method(method, LIMITS)
    except Rejection:
        return
    assert method.split() == [method]
    assert method.splitlines() == [method]
