"""The systemd units of the repository."""

import configparser

from .bridge_process import REPOSITORY


def service(name):
    parser = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes=("#",))
    parser.optionxform = str
    parser.read_string((REPOSITORY / "systemd" / name).read_text())
    return parser["Service"]
