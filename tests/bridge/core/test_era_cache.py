"""What is known of a server's eras."""

import pytest

from mcpbridged.bridge.core.era_cache import BELIEVED, LEGACY, MODERN, PRESUMED, EraCache


@pytest.mark.parametrize(
    ("policy", "for_modern", "for_legacy"),
    [("legacy", LEGACY, LEGACY), ("modern", MODERN, MODERN), ("dual", MODERN, LEGACY), ("auto", "", "")],
)
def test_the_operators_word_decides(policy, for_modern, for_legacy):
    book = EraCache(policy)
    assert book.for_modern_client(0) == for_modern
    assert book.for_legacy_client(0) == for_legacy


@pytest.mark.parametrize(("modern", "era"), [(True, MODERN), (False, LEGACY)])
def test_a_probe_decides_for_modern_clients_until_it_is_old(modern, era):
    book = EraCache("auto")
    book.probed(5, modern=modern)
    assert book.for_modern_client(5 + BELIEVED) == era
    assert book.for_modern_client(6 + BELIEVED) == ""
    assert book.for_legacy_client(5) == ""


def test_a_dual_server_is_spoken_to_in_the_clients_era():
    book = EraCache("auto")
    book.probed(0, modern=True)
    book.opened(0, legacy=True)
    assert (book.for_modern_client(0), book.for_legacy_client(0)) == (MODERN, LEGACY)


def test_a_server_that_takes_no_handshake_is_translated_for_if_it_is_modern():
    book = EraCache("auto")
    book.opened(0, legacy=False)
    assert book.for_legacy_client(0) == LEGACY
    book.probed(0, modern=True)
    assert book.for_legacy_client(0) == MODERN


def test_a_contradiction_is_forgotten_into():
    book = EraCache("auto")
    book.probed(0, modern=True)
    book.opened(0, legacy=False)
    book.mismatched()
    assert (book.for_modern_client(0), book.for_legacy_client(0)) == ("", "")


def test_what_is_known_is_told():
    book = EraCache("auto")
    assert book.known(0) == {MODERN: None, LEGACY: None}
    book.probed(0, modern=True)
    book.opened(0, legacy=False)
    assert book.known(BELIEVED) == {MODERN: True, LEGACY: False}
    assert book.known(BELIEVED + 1) == {MODERN: None, LEGACY: None}


def test_a_sibling_that_gives_no_answer_says_nothing_until_a_child_has_opened_its_session():
    book = EraCache("auto")
    book.presumed(0)
    assert book.for_modern_client(PRESUMED) == LEGACY
    assert book.for_modern_client(PRESUMED + 1) == ""
    assert book.known(0) == {MODERN: None, LEGACY: None}
    book.opened(1, legacy=True)
    assert book.known(1) == {MODERN: False, LEGACY: True}
    assert book.for_modern_client(PRESUMED + 1) == LEGACY


def test_a_failed_start_leaves_only_what_was_shown_by_an_answer():
    book = EraCache("auto")
    book.presumed(0)
    book.start_failed()
    assert book.for_modern_client(0) == ""
    book.probed(0, modern=False)
    book.start_failed()
    assert book.known(0) == {MODERN: None, LEGACY: None}
    book.probed(0, modern=False)
    book.opened(0, legacy=True)
    book.start_failed()
    assert book.known(0) == {MODERN: False, LEGACY: True}
    book = EraCache("auto")
    book.probed(0, modern=True)
    book.start_failed()
    assert book.known(0) == {MODERN: True, LEGACY: None}


def test_facts_from_before_are_believed_for_the_rest_of_their_time_and_to_be_confirmed():
    book = EraCache("auto")
    book.believe_for(100)
    assert not book.unconfirmed
    book.recalled(1000, 60, modern=True, legacy=None)
    assert book.unconfirmed
    assert book.for_modern_client(1040) == MODERN
    assert book.for_modern_client(1041) == ""
    assert book.known(1040) == {MODERN: True, LEGACY: None}
    book.probed(1050, modern=True)
    assert not book.unconfirmed
    book.recalled(1000, 0, modern=None, legacy=True)
    assert book.for_legacy_client(1000) == LEGACY
    book.mismatched()
    assert not book.unconfirmed
