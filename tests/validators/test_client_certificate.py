"""The names in a verified client certificate."""

import pytest

from mcpbridged.validators.client_certificate import check_name, read_peer_certificate

FOUND = {
    "subject": ((("organizationName", "x"),), (("commonName", "ci"),)),
    "subjectAltName": (
        ("URI", "spiffe://Example.org/ci"),
        ("DNS", "CI.example.org"),
        ("email", "ci@example.org"),
        ("IP Address", "10.0.0.1"),
        ("othername", "<unsupported>"),
    ),
    "notAfter": "Jan  2 03:04:05 2030 GMT",
}


def test_each_name_has_its_kind():
    found = read_peer_certificate(FOUND, b"ca")
    assert found.names == {
        "URI:spiffe://Example.org/ci",
        "DNS:ci.example.org",
        "email:ci@example.org",
        "CN:ci",
    }
    assert (found.until, found.authorities) == (1893553445.0, b"ca")


def test_without_a_certificate_there_are_no_names():
    assert read_peer_certificate(None, b"") is None
    assert read_peer_certificate({}, b"") is None


def test_a_certificate_without_an_end_that_can_be_read_is_over():
    found = read_peer_certificate({"notAfter": "soon"}, b"")
    assert (found.until, found.names) == (0.0, frozenset())


def test_the_number_of_names_is_limited():
    names = tuple(("DNS", f"{number}.example") for number in range(100))
    assert len(read_peer_certificate({"subjectAltName": names}, b"").names) == 64


@pytest.mark.parametrize("text", ["ci", "dns:x", "IP:10.0.0.1", "URI:", "CN:a\n", ":x"])
def test_a_name_of_the_configuration_has_a_kind(text):
    with pytest.raises(ValueError, match="must be KIND:NAME"):
        check_name(text)


def test_the_case_of_a_dns_name_makes_no_difference():
    assert check_name("DNS:CI.Example.org") == "DNS:ci.example.org"
    assert check_name("CN:CI") == "CN:CI"
