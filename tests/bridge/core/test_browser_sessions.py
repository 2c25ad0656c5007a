"""Links that work once, and sessions that end."""

import pytest

from mcpbridged.bridge.core.browser_sessions import (
    IDLE_SECONDS,
    LINK_SECONDS,
    MOST_LINKS,
    MOST_SESSIONS,
    SESSION_SECONDS,
    BrowserSessions,
)

OWNER = b"digest of a token"


@pytest.fixture
def sessions():
    return BrowserSessions()


def opened(sessions, now=0.0):
    return sessions.open(sessions.new_link(now), OWNER, now)


def test_a_link_opens_one_session_and_is_used_up(sessions):
    code = sessions.new_link(0)
    made = sessions.open(code, OWNER, 1)
    assert sessions.has(made.cookie, OWNER, 1)
    assert sessions.admits(made.cookie, made.page_token, OWNER, 1)
    assert sessions.open(code, OWNER, 1) is None


@pytest.mark.parametrize("code", ["", "x", "\udcff"])
def test_an_unknown_code_opens_no_session(sessions, code):
    sessions.new_link(0)
    assert sessions.open(code, OWNER, 0) is None


def test_a_link_is_valid_for_a_minute(sessions):
    early, late = sessions.new_link(0), sessions.new_link(0)
    assert sessions.open(early, OWNER, LINK_SECONDS)
    assert sessions.open(late, OWNER, LINK_SECONDS + 0.1) is None


def test_of_too_many_links_the_oldest_is_dropped(sessions):
    codes = [sessions.new_link(0) for _ in range(MOST_LINKS + 1)]
    assert sessions.open(codes[0], OWNER, 0) is None
    assert all(sessions.open(code, OWNER, 0) for code in codes[1:])


def test_the_secrets_of_a_session_belong_together(sessions):
    one, other = opened(sessions), opened(sessions)
    assert not sessions.admits(one.cookie, other.page_token, OWNER, 0)
    assert not sessions.admits(one.cookie, "", OWNER, 0)
    assert not sessions.admits(one.page_token, one.cookie, OWNER, 0)
    assert len({*one, *other}) == 4


def test_a_session_ends_at_its_age_even_if_it_is_used(sessions):
    made = opened(sessions)
    now = 0.0
    while now + IDLE_SECONDS <= SESSION_SECONDS:
        now += IDLE_SECONDS
        assert sessions.has(made.cookie, OWNER, now)
    assert not sessions.has(made.cookie, OWNER, SESSION_SECONDS + 1)


def test_a_session_ends_without_requests(sessions):
    made = opened(sessions)
    assert not sessions.has(made.cookie, OWNER, IDLE_SECONDS + 1)
    # It does not come back.
    assert not sessions.has(made.cookie, OWNER, 0)


def test_a_session_ends_with_the_token_of_the_owner(sessions):
    made = opened(sessions)
    assert not sessions.has(made.cookie, b"another", 0)
    assert not sessions.has(made.cookie, OWNER, 0)


def test_a_session_can_be_closed(sessions):
    made, other = opened(sessions), opened(sessions)
    sessions.end(made.cookie)
    sessions.end("unknown")
    assert not sessions.has(made.cookie, OWNER, 0)
    assert sessions.has(other.cookie, OWNER, 0)
    sessions.clear()
    assert not sessions.has(other.cookie, OWNER, 0)


def test_of_too_many_sessions_the_oldest_is_dropped(sessions):
    made = [opened(sessions) for _ in range(MOST_SESSIONS + 1)]
    assert not sessions.has(made[0].cookie, OWNER, 0)
    assert all(sessions.has(one.cookie, OWNER, 0) for one in made[1:])


def test_no_secret_is_kept_in_clear(sessions):
    code = sessions.new_link(0)
    made = sessions.open(sessions.new_link(0), OWNER, 0)
    assert not any(secret in repr(vars(sessions)) for secret in (code, *made))
