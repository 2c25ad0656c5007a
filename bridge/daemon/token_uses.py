"""Store when each credential was last used: in memory, and now and then in a file of the state directory.

A connection is a use as long as it is open. The file has names of tokens and times, and no secret.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import trio

from ...transports.http.quota import Quota
from .use_times import read_uses, write_uses

# The pause between two writes (seconds).
_WRITE_SECONDS: Final = 60.0


class TokenUses:
    """The times of the last use of credentials, in seconds since the epoch, by the name of the principal.

    `names` returns the principals whose times are kept.
    """

    def __init__(self, path: Path, quota: Quota, names: Callable[[], set[str]]) -> None:
        self._path = path
        self._quota = quota
        self._names = names
        # By principal; those of names that are not kept any more are removed by `now`.
        self._times = read_uses(path)
        self._written = dict(self._times)

    def now(self) -> Mapping[str, float]:
        """Return the times by principal. A principal that has never used its credential has none."""
        names = self._names()
        at = time.time()
        for name in names:
            connections, closed = self._quota.use_of(name)
            if used := at if connections else closed:
                self._times[name] = max(used, self._times.get(name, 0.0))
        self._times = {name: used for name, used in self._times.items() if name in names}
        return self._times

    async def run(self) -> None:
        """Write the file once in a while, until cancelled."""
        while True:
            await trio.sleep(_WRITE_SECONDS)
            await self.write()

    async def write(self) -> None:
        """Write the file, if a time has changed. A file that cannot be written is left out."""
        times = dict(self.now())
        if times != self._written:
            self._written = times
            await trio.to_thread.run_sync(write_uses, self._path, times)
