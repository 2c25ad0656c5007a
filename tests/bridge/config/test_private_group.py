"""Files that a group may write to."""

import os
import shlex
import struct
from pathlib import Path
from types import SimpleNamespace

import pytest

from mcpbridged.bridge.config import private_group
from mcpbridged.bridge.config.credentials import BadCredential, check_directory, check_executed, check_trusted
from mcpbridged.bridge.config.private_group import others_can_read, others_can_write

ME = SimpleNamespace(pw_name="me", pw_uid=os.geteuid(), pw_gid=os.getegid())
OTHER = SimpleNamespace(pw_name="other", pw_uid=54321, pw_gid=54321)


@pytest.fixture
def accounts(monkeypatch):
    """The users and groups of the machine, which a test may change."""
    found = SimpleNamespace(users=[ME, OTHER], name="me", members=[])

    def user(uid):
        return {one.pw_uid: one for one in found.users}[uid]

    monkeypatch.setattr(private_group.pwd, "getpwuid", user)
    monkeypatch.setattr(private_group.pwd, "getpwall", lambda: found.users)
    monkeypatch.setattr(
        private_group.grp, "getgrgid", lambda _: SimpleNamespace(gr_name=found.name, gr_mem=found.members)
    )
    return found


def made(tmp_path, mode=0o664):
    file = tmp_path / "a file"
    file.write_text("")
    os.chown(file, -1, os.getegid())
    file.chmod(mode)
    return file


@pytest.mark.parametrize(
    ("mode", "others"), [(0o600, False), (0o644, False), (0o664, False), (0o646, True), (0o666, True)]
)
def test_the_mode_decides(tmp_path, accounts, mode, others):
    file = made(tmp_path, mode)
    assert others_can_write(file, file.stat()) == others


@pytest.mark.parametrize("members", [[], ["me"]])
def test_a_group_of_one_user_may_write(tmp_path, accounts, members):
    accounts.members = members
    folder = tmp_path / "open"
    folder.mkdir()
    file = made(folder)
    folder.chmod(0o775)
    check_trusted(file)
    check_executed(file)
    check_directory(folder)


@pytest.mark.parametrize(
    "kind", ["a member", "another name", "another user", "another group", "no such user"]
)
def test_a_group_of_several_users_may_not_write(tmp_path, accounts, kind):
    match kind:
        case "a member":
            accounts.members = ["me", "other"]
        case "another name":
            accounts.name = "users"
        case "another user":
            accounts.users = [ME, SimpleNamespace(pw_name="other", pw_uid=54321, pw_gid=ME.pw_gid)]
        case "another group":
            accounts.users = [SimpleNamespace(pw_name="me", pw_uid=ME.pw_uid, pw_gid=54321)]
        case _:
            accounts.users = [OTHER]
    file = made(tmp_path)
    with pytest.raises(BadCredential) as caught:
        check_trusted(file)
    assert str(caught.value).endswith(f"others could change it; chmod go-w {shlex.quote(str(file))}")


def test_a_list_of_other_users_counts(tmp_path, accounts):
    # acl(5) as the kernel stores it: version 2, then tag, permissions and id of each entry. User 54321 may write.
    entries = [
        (0x01, 6, 2**32 - 1),
        (0x02, 6, 54321),
        (0x04, 4, 2**32 - 1),
        (0x10, 6, 2**32 - 1),
        (0x20, 4, 2**32 - 1),
    ]
    file = made(tmp_path, 0o644)
    try:
        os.setxattr(
            file,
            "system.posix_acl_access",
            struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *one) for one in entries),
        )
    except OSError as fault:
        pytest.skip(f"the file system has no access control lists: {fault}")
    assert file.stat().st_mode & 0o777 == 0o664
    assert others_can_write(file, file.stat())


def test_a_file_system_without_attributes_has_no_lists(accounts, monkeypatch, tmp_path):
    def unsupported(*_, **__):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(private_group.os, "listxattr", unsupported)
    file = made(tmp_path)
    assert not others_can_write(Path(file), file.stat())


@pytest.mark.parametrize(
    ("mode", "others"),
    [
        (0o400, False),
        (0o600, False),
        (0o440, False),
        (0o640, False),
        (0o444, True),
        (0o460, True),
        (0o450, True),
    ],
)
def test_the_mode_decides_who_can_read(tmp_path, accounts, mode, others):
    file = made(tmp_path, mode)
    assert others_can_read(file, file.stat()) == others


def test_a_group_without_an_entry_has_no_other_member(tmp_path, accounts, monkeypatch):
    def unknown(_):
        raise KeyError

    monkeypatch.setattr(private_group.grp, "getgrgid", unknown)
    accounts.users = [OTHER]
    file = made(tmp_path, 0o440)
    assert not others_can_read(file, file.stat())


@pytest.mark.parametrize("kind", ["a member", "primary group of another", "a group of others"])
def test_a_group_with_another_reader_is_refused(tmp_path, accounts, monkeypatch, kind):
    match kind:
        case "a member":
            accounts.members = ["me", "other"]
        case "primary group of another":
            accounts.users = [ME, SimpleNamespace(pw_name="other", pw_uid=54321, pw_gid=ME.pw_gid)]
        case _:
            monkeypatch.setattr(private_group.os, "getegid", lambda: 54321)
            monkeypatch.setattr(private_group.os, "getgroups", list)
    file = made(tmp_path, 0o440)
    assert others_can_read(file, file.stat())


NOBODY = 2**32 - 1


@pytest.mark.parametrize(
    ("named", "others"),
    [
        ((0x02, 4, os.geteuid()), False),
        ((0x02, 4, 54321), True),
        ((0x02, 0, 54321), False),
        ((0x08, 4, 54321), True),
    ],
)
def test_a_list_that_names_this_user_only_is_that_of_a_credential(tmp_path, accounts, named, others):
    # In the order of their tags, as the kernel expects them.
    entries = sorted([(0x01, 4, NOBODY), named, (0x04, 0, NOBODY), (0x10, 4, NOBODY), (0x20, 0, NOBODY)])
    file = made(tmp_path, 0o400)
    content = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *one) for one in entries)
    try:
        os.setxattr(file, "system.posix_acl_access", content)
    except OSError as fault:
        pytest.skip(f"the file system has no access control lists: {fault}")
    assert file.stat().st_mode & 0o777 == 0o440
    assert others_can_read(file, file.stat()) == others
