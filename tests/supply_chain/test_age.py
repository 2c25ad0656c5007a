"""A locked version that is old, withdrawn or gone is reported, and a young release is not."""

from datetime import UTC, datetime, timedelta

import pytest
from packaging.version import Version

from .age import DAYS, faults, releases

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def file(name, days, *, yanked=False):
    return {"filename": name, "upload-time": (NOW - timedelta(days=days)).isoformat(), "yanked": yanked}


def examined(files, locked="1.0", newest="1.0"):
    return faults({"p": locked}, {"p": newest}, lambda _: {"files": files}, NOW, "lock")


OLD = file("p-1.0.tar.gz", 400)


def test_the_newest_version_is_no_finding_however_old_it_is():
    assert examined([OLD]) == []


def test_a_version_that_was_replaced_long_ago_is_reported():
    assert examined([OLD, file("p-1.1.tar.gz", DAYS)], newest="1.1") == [
        "lock: p is 1.0, and 1.1 was published on 2026-05-02 (make deps-update)"
    ]


def test_a_young_release_is_no_finding():
    assert examined([OLD, file("p-1.1.tar.gz", DAYS - 1)], newest="1.1") == []


def test_a_new_file_of_an_old_release_does_not_make_it_young():
    files = [OLD, file("p-1.1-py3-none-any.whl", 1), file("p-1.1.tar.gz", DAYS)]
    assert len(examined(files, newest="1.1")) == 1


def test_a_withdrawn_version_is_reported():
    assert examined([file("p-1.0.tar.gz", 1, yanked=True)]) == ["lock: p 1.0 was withdrawn by its author"]
    assert examined([file("p-1.0.tar.gz", 1, yanked="a reason"), file("p-1.0-py3-none-any.whl", 1)]) == []


def test_a_version_that_is_gone_is_reported():
    assert examined([file("p-0.9.tar.gz", 1)]) == ["lock: p 1.0 is not on the index any more"]


def test_files_of_other_kinds_are_ignored():
    assert list(releases({"files": [OLD, file("p-1.0.exe", 1), file("p-1.0-1.noarch.rpm", 1)]})) == [
        Version("1.0")
    ]


def test_an_index_without_dates_is_no_pass():
    with pytest.raises(KeyError):
        examined([{"filename": "p-1.0.tar.gz"}])
