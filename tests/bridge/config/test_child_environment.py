"""The environment variables that a server gets."""

import pytest

from mcpbridged.bridge.config.child_environment import BadEnvironment, child_environment, passed_variables

OURS = {
    "PATH": "/bin",
    "HTTPS_PROXY": "http://me:p%40ss@proxy.example:3128/",
    "http_proxy": "proxy.example:3128",
    "NO_PROXY": "localhost,me@here",
    "SOCKS_PROXY_PASSWORD": "secret",
    "MY_PROXY": "http://me:pass@proxy.example/",
}


def test_proxies_are_passed_together_without_user_and_password():
    assert passed_variables("*_PROXY", OURS) == {
        "HTTPS_PROXY": "http://proxy.example:3128/",
        "http_proxy": "proxy.example:3128",
        "NO_PROXY": "localhost,me@here",
    }
    assert passed_variables("HTTPS_PROXY", OURS) == {"HTTPS_PROXY": "http://proxy.example:3128/"}
    assert passed_variables("*_PROXY", {}) == {}


@pytest.mark.parametrize(
    ("proxy", "passed"),
    [
        ("user:secret@proxy:3128", "proxy:3128"),
        ("http://user:a/b@proxy:1", "http://proxy:1"),
        ("http://user:a@b@proxy:1/", "http://proxy:1/"),
        ("socks5h://user@[::1]:1080", "socks5h://[::1]:1080"),
        ("//user:secret@proxy", "//proxy"),
        ("http://proxy:3128", "http://proxy:3128"),
        ("proxy:3128", "proxy:3128"),
        ("", ""),
    ],
)
def test_no_part_of_a_user_or_password_stays_in_a_proxy(proxy, passed):
    assert passed_variables("*_PROXY", {"ALL_PROXY": proxy}) == {"ALL_PROXY": passed}


def test_other_variables_are_passed_unchanged():
    assert passed_variables("MY_PROXY", OURS) == {"MY_PROXY": "http://me:pass@proxy.example/"}


@pytest.mark.parametrize("entry", ["*", "*_proxy", "LD_PRELOAD", "NOT_THERE", ""])
def test_an_invalid_entry_is_named_in_the_error(entry):
    with pytest.raises(BadEnvironment) as caught:
        passed_variables(entry, OURS)
    assert str(caught.value).startswith((f"{entry}: ", f"{entry} is ", f"{entry!r} is "))


def test_proxies_are_passed_by_default_without_user_and_password():
    proxies = passed_variables("@proxies", OURS)
    assert child_environment(OURS, []) == ({"PATH": "/bin", "TERM": "dumb", **proxies}, frozenset())
    assert child_environment(OURS, ["*_PROXY"])[0]["HTTPS_PROXY"] == "http://proxy.example:3128/"


def test_a_variable_from_a_file_or_with_the_name_of_a_secret_is_a_secret():
    ours = {**OURS, "API_KEY": "k", "DATABASE": "pg://me:pw@host/", "PLAIN": "x"}
    wishes = ["API_KEY", "DATABASE", "PLAIN", "*_PROXY", "KIND=plain"]
    variables, secret = child_environment(ours, wishes, {"MODE": "quiet"})
    assert secret == {"API_KEY", "DATABASE", "MODE"}
    assert (variables["MODE"], variables["KIND"]) == ("quiet", "plain")
