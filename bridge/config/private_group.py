"""Decide whether others can write to or read a file, where its owner has a group of its own (a user-private group).

Debian, Ubuntu and Fedora create such a group for each user, and Ubuntu's umask 0002 makes files with mode 0664 of it.
"""

import grp
import os
import pwd
import stat
import struct
from pathlib import Path
from typing import Final

# The entry of an access control list, besides those that the mode shows (acl(5)).
_ACL: Final = "system.posix_acl_access"
# Tags of its entries for a named user, the group of the file, and a named group (linux/posix_acl.h).
_USER: Final = 0x02
_OWNING_GROUP: Final = 0x04
_GROUP: Final = 0x08


def others_can_write(path: Path, found: os.stat_result) -> bool:
    """Return whether a user other than the owner and root can write to a file or a directory.

    A group may write if the owner is its only member, and if no access control list names others.
    """
    if found.st_mode & stat.S_IWOTH:
        return True
    if not found.st_mode & stat.S_IWGRP:
        return False
    return not _is_private(found.st_gid, found.st_uid) or _has_acl(path)


def others_can_read(path: Path, found: os.stat_result) -> bool:
    """Return whether a user other than the owner, root and this user has access to a file.

    This user's group may read if it has no other member, as the number of a group in a container has none. With an access
    control list, this user may be named there, as by systemd for a credential.
    """
    if found.st_mode & (stat.S_IRWXO | stat.S_IWGRP | stat.S_IXGRP):
        return True
    if not found.st_mode & stat.S_IRGRP:
        return False
    if (entries := _acl_entries(path)) is not None:
        return any(
            access and (tag in (_OWNING_GROUP, _GROUP) or (tag == _USER and number != os.geteuid()))
            for tag, access, number in entries
        )
    return not _is_alone_in(found.st_gid)


def _is_alone_in(gid: int) -> bool:
    """Return whether this user is in a group, and no other user is."""
    uid = os.geteuid()
    if gid not in (os.getegid(), *os.getgroups()):
        return False
    if any(user.pw_gid == gid and user.pw_uid != uid for user in pwd.getpwall()):
        return False
    try:
        members = {*grp.getgrgid(gid).gr_mem}
    except KeyError:
        return True
    return members <= {user.pw_name for user in pwd.getpwall() if user.pw_uid == uid}


def _acl_entries(path: Path) -> list[tuple[int, int, int]] | None:
    """Return the entries of an access control list: tag, permissions, and uid or gid. None for a file without one."""
    try:
        content = os.getxattr(path, _ACL, follow_symlinks=False)
    except OSError:
        return None
    return [*struct.iter_unpack("<HHI", content[4:])]


def _is_private(gid: int, uid: int) -> bool:
    """Return whether a group is the primary group of this user, has its name, and has no other member."""
    try:
        user, group = pwd.getpwuid(uid), grp.getgrgid(gid)
    except KeyError:
        return False
    if user.pw_gid != gid or user.pw_name != group.gr_name or not {*group.gr_mem} <= {user.pw_name}:
        return False
    return all(other.pw_name == user.pw_name or other.pw_gid != gid for other in pwd.getpwall())


def _has_acl(path: Path) -> bool:
    # With a list, the bits of the group are those of its mask, and the list may name other users.
    try:
        return _ACL in os.listxattr(path, follow_symlinks=False)
    except OSError:
        # The file system has no attributes.
        return False
