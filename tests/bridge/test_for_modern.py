"""Rules for what a modern client hears of a legacy server; the rest is seen in test_to_legacy."""

import pytest

from mcpbridged.bridge.for_modern import Profile, has_failed, profile_of, read_fault
from mcpbridged.validators.envelope import Response


@pytest.mark.parametrize(
    ("capabilities", "profile"),
    [
        (b"{}", Profile()),
        (b'{"experimental":{}}', Profile()),
        (b'{"roots":{}}', Profile(roots=True)),
        (b'{"sampling":{}}', Profile(sampling=True)),
        (
            b'{"sampling":{"tools":{},"context":{}}}',
            Profile(sampling=True, sampling_tools=True, sampling_context=True),
        ),
        (b'{"elicitation":{}}', Profile(form=True)),
        (b'{"elicitation":{"form":{}}}', Profile(form=True)),
        (b'{"elicitation":{"url":{}}}', Profile(url=True)),
        (b'{"elicitation":{"form":{},"url":{}}}', Profile(form=True, url=True)),
    ],
)
def test_the_profile_of_what_a_client_declares(capabilities, profile):
    assert profile_of(capabilities) == profile


@pytest.mark.parametrize(
    ("profile", "declared"),
    [
        (Profile(), {}),
        (Profile(sampling=True), {"sampling": {}}),
        (Profile(sampling=True, sampling_tools=True), {"sampling": {"tools": {}}}),
        (Profile(roots=True, form=True), {"roots": {}, "elicitation": {"form": {}}}),
    ],
)
def test_what_a_legacy_server_is_told_of_a_profile(profile, declared):
    assert profile.declared() == declared


def test_a_fault_that_cannot_be_read_is_an_internal_error():
    assert read_fault(b'{"code":"x"}').code == -32603


@pytest.mark.parametrize(
    ("message", "failed"),
    [
        (Response(b"1", b"", b"{}"), True),
        (Response(b"1", b'{"isError":true}', b""), True),
        (Response(b"1", b'{"isError":false}', b""), False),
        (Response(b"1", b"{}", b""), False),
    ],
)
def test_what_counts_as_a_failure(message, failed):
    assert has_failed(message) is failed
