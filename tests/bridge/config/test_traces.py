"""The endpoint of the collector."""

import pytest

from mcpbridged.bridge.config.tables import BadConfig
from mcpbridged.bridge.config.traces import check_endpoint, is_installed


@pytest.mark.parametrize(
    "url", ["", "http://127.0.0.1:4318", "https://collector.example/otlp", "http://[::1]:4318/"]
)
def test_a_url_is_accepted(url):
    check_endpoint(url, lambda: True)


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:4318",
        "grpc://127.0.0.1:4317",
        "http://",
        "http://x:99999",
        "http://x:0",
        "http://x/?a",
        "http://x/#a",
    ],
)
def test_anything_else_is_refused_with_an_example(url):
    with pytest.raises(
        BadConfig, match=r"traces: otlp_endpoint: must be a URL such as http://127\.0\.0\.1:4318"
    ):
        check_endpoint(url, lambda: True)


def test_a_password_is_refused_and_not_shown():
    with pytest.raises(BadConfig, match="no user name or password") as caught:
        check_endpoint("http://user:s3cret@x", lambda: True)
    assert "s3cret" not in str(caught.value)


def test_without_the_extra_the_error_has_the_command():
    with pytest.raises(BadConfig, match=r"pip install 'mcpbridged\[otlp\]'"):
        check_endpoint("http://x", lambda: False)
    # Without an endpoint it is not needed.
    check_endpoint("", lambda: False)


def test_the_tests_have_the_extra(monkeypatch):
    assert is_installed()

    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("mcpbridged.bridge.config.traces.find_spec", missing)
    assert not is_installed()
