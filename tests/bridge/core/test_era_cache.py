"""The cached eras of a server."""

import pytest

from mcpbridged.bridge.core.era_cache import (
    FACT_SECONDS,
    LEGACY,
    LIKELY_SECONDS,
    MODERN,
    PRESUMED_SECONDS,
    EraCache,
)


@pytest.mark.parametrize(
    ("policy", "for_modern", "for_legacy"),
    [("legacy", LEGACY, LEGACY), ("modern", MODERN, MODERN), ("dual", MODERN, LEGACY), ("auto", "", "")],
)
def test_the_configured_era_decides(policy, for_modern, for_legacy):
    cache = EraCache(policy)
    assert cache.for_modern_client(0) == for_modern
    assert cache.for_legacy_client(0) == for_legacy


@pytest.mark.parametrize(("modern", "era"), [(True, MODERN), (False, LEGACY)])
def test_a_probe_decides_for_modern_clients_until_it_is_old(modern, era):
    cache = EraCache("auto")
    cache.on_probe(5, modern=modern)
    assert cache.for_modern_client(5 + FACT_SECONDS) == era
    assert cache.for_modern_client(6 + FACT_SECONDS) == ""
    assert cache.for_legacy_client(5) == ""


def test_a_server_of_both_eras_is_started_in_the_era_of_the_client():
    cache = EraCache("auto")
    cache.on_probe(0, modern=True)
    cache.on_initialize(0, legacy=True)
    assert (cache.for_modern_client(0), cache.for_legacy_client(0)) == (MODERN, LEGACY)


def test_a_server_that_refuses_initialize_is_translated_if_it_is_modern():
    cache = EraCache("auto")
    cache.on_initialize(0, legacy=False)
    assert cache.for_legacy_client(0) == LEGACY
    cache.on_probe(0, modern=True)
    assert cache.for_legacy_client(0) == MODERN


def test_a_mismatch_drops_all_facts():
    cache = EraCache("auto")
    cache.on_probe(0, modern=True)
    cache.on_initialize(0, legacy=False)
    cache.on_mismatch()
    assert (cache.for_modern_client(0), cache.for_legacy_client(0)) == ("", "")


def test_facts_are_dropped_after_their_lifetime():
    cache = EraCache("auto")
    assert cache.facts(0) == {MODERN: None, LEGACY: None}
    cache.on_probe(0, modern=True)
    cache.on_initialize(0, legacy=False)
    assert cache.facts(FACT_SECONDS) == {MODERN: True, LEGACY: False}
    assert cache.facts(FACT_SECONDS + 1) == {MODERN: None, LEGACY: None}


def test_a_fact_is_valid_for_a_day_and_a_presumption_for_a_minute():
    cache = EraCache("auto")
    cache.on_probe(0, modern=True)
    assert cache.facts(24 * 3600)[MODERN]
    assert cache.facts(24 * 3600 + 1)[MODERN] is None
    cache.on_mismatch()
    cache.presume_legacy(0)
    assert cache.for_modern_client(60) == LEGACY
    assert cache.for_modern_client(60.5) == ""


@pytest.mark.parametrize("seconds", [PRESUMED_SECONDS, LIKELY_SECONDS])
def test_a_probe_without_an_answer_is_no_fact_although_a_process_has_accepted_initialize(seconds):
    cache = EraCache("auto")
    cache.presume_legacy(5, seconds)
    cache.on_initialize(6, legacy=True)
    assert cache.for_modern_client(5 + seconds) == LEGACY
    assert cache.for_modern_client(6 + seconds) == ""
    assert cache.facts(6) == {MODERN: None, LEGACY: True}


def test_a_refused_initialize_ends_what_was_presumed():
    cache = EraCache("auto")
    cache.presume_legacy(0)
    cache.on_initialize(1, legacy=False)
    assert cache.for_modern_client(1) == ""


def test_a_late_answer_of_a_probe_ends_what_was_presumed():
    cache = EraCache("auto")
    cache.presume_legacy(0)
    cache.on_probe(1, modern=True)
    assert cache.for_modern_client(1) == MODERN
    cache.on_mismatch()
    assert cache.for_modern_client(1) == ""


def test_a_failed_start_drops_what_was_only_assumed():
    cache = EraCache("auto")
    cache.presume_legacy(0)
    cache.on_start_failed()
    assert cache.for_modern_client(0) == ""
    cache.on_probe(0, modern=False)
    cache.on_start_failed()
    assert cache.facts(0) == {MODERN: None, LEGACY: None}
    cache.on_probe(0, modern=False)
    cache.on_initialize(0, legacy=True)
    cache.on_start_failed()
    assert cache.facts(0) == {MODERN: False, LEGACY: True}
    cache = EraCache("auto")
    cache.on_probe(0, modern=True)
    cache.on_start_failed()
    assert cache.facts(0) == {MODERN: True, LEGACY: None}


def test_restored_facts_are_valid_for_the_rest_of_their_lifetime_and_unconfirmed():
    cache = EraCache("auto")
    cache.set_lifetime(100)
    assert not cache.is_restored
    cache.restore(1000, 60, modern=True, legacy=None)
    assert cache.is_restored
    assert cache.for_modern_client(1040) == MODERN
    assert cache.for_modern_client(1041) == ""
    assert cache.facts(1040) == {MODERN: True, LEGACY: None}
    cache.on_probe(1050, modern=True)
    assert not cache.is_restored
    cache.restore(1000, 60, modern=None, legacy=True)
    assert cache.for_legacy_client(1040) == LEGACY
    assert cache.for_legacy_client(1041) == ""
    cache.restore(1000, 0, modern=None, legacy=True)
    assert cache.for_legacy_client(1000) == LEGACY
    cache.on_mismatch()
    assert not cache.is_restored
