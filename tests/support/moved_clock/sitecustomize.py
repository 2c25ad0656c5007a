"""Let the wall clock of a process differ from that of the machine by the seconds in the file of the variable TEST_CLOCK."""

import os
import time

_FILE = os.environ.get("TEST_CLOCK")
_time, _time_ns = time.time, time.time_ns


def _difference():
    with open(_FILE) as file:
        return int(file.read())


if _FILE:
    time.time = lambda: _time() + _difference()
    time.time_ns = lambda: _time_ns() + _difference() * 10**9
