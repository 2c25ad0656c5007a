"""Decide whether others can write to a file, where its owner has a group of its own (a user-private group).

Debian, Ubuntu and Fedora create such a group for each user, and Ubuntu's umask 0002 makes files with mode 0664 of it.
"""

import grp
import os
import pwd
import stat
from pathlib import Path
from typing import Final

# The entry of an access control list, besides those that the mode shows (acl(5)).
_ACL: Final = "system.posix_acl_access"


def others_can_write(path: Path, found: os.stat_result) -> bool:
    """Return whether a user other than the owner and root can write to a file or a directory.

    A group may write if the owner is its only member, and if no access control list names others.
    """
    if found.st_mode & stat.S_IWOTH:
        return True
    if not found.st_mode & stat.S_IWGRP:
        return False
    return not _is_private(found.st_gid, found.st_uid) or _has_acl(path)


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
