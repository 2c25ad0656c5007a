import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpbridged.validators.client_directory import decode_path, encode_path
from mcpbridged.validators.rejection import Rejection


@given(st.binary(max_size=1000).map(lambda rest: b"/" + rest.replace(b"\0", b"")))
def test_each_path_comes_back_as_it_was(path):
    value = encode_path(path)
    assert value.isascii()
    assert value.isprintable()
    assert " " not in value
    assert decode_path(value) == path


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("/", b"/"),
        ("/home/u/src", b"/home/u/src"),
        ("/a b", b"/a b"),
        ("/a%20b", b"/a b"),
        ("/a%2Fb", b"/a/b"),
        ("/%2e%2e/b", b"/../b"),
        ("/a%0Ab", b"/a\nb"),
        # Decoded once.
        ("/%2541", b"/%41"),
        ("/%25", b"/%"),
        ("/caf%C3%A9", "/café".encode()),
        ("/%ff", b"/\xff"),
        ("/" + "a" * 4094, b"/" + b"a" * 4094),
    ],
)
def test_a_value_is_decoded_once(value, path):
    assert decode_path(value) == path


@pytest.mark.parametrize(
    "value",
    [
        "",
        "a",
        "./a",
        "~",
        "%2Fa",
        "/a%",
        "/a%4",
        "/a%zz",
        "/%%41",
        "/a\tb",
        "/caf\xe9",
        "/a\x7f",
        "C:/x",
        "file:///x",
    ],
)
def test_a_value_that_is_no_encoded_absolute_path_is_refused(value):
    with pytest.raises(Rejection, match="Mcp-Cwd must be an absolute path") as refused:
        decode_path(value)
    assert refused.value.status == 400


def test_a_zero_byte_is_refused():
    with pytest.raises(Rejection, match="zero byte"):
        decode_path("/a%00b")


def test_a_path_over_the_limit_of_the_kernel_is_refused():
    with pytest.raises(Rejection, match="4096 bytes, and the limit is 4095"):
        decode_path("/" + "%61" * 4095)
