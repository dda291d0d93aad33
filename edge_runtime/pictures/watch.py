"""Notice pictures that appear in a folder once they are completely written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_runtime.errors import ImageError
from edge_runtime.pictures.sources import Source, pictures_below

POLL_SECONDS = 0.5
"""Time between two looks at the folder."""
SETTLE_SECONDS = 1.0
"""A file is complete when its size and its time have not changed for so long."""

_TEMPORARY = ("~", "_tmp", ".tmp", ".part")
Signature = tuple[int, int, int]


class Watcher:
    """Finds each picture of a folder once, and again whenever it has changed.

    It polls, which works on every file system, network shares included. Hidden files and names
    such as ``a.part.jpg``, which browsers and cameras write to before they rename, are left
    alone; a renamed file is a new one.

    Args:
        folder: Where to look.
        recursive: Look into its folders too.
        ours: Ends of the stems of our own results, which are left alone.
        out: Where results go, which is left alone too.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        folder: Path,
        *,
        recursive: bool = False,
        ours: tuple[str, ...] = (),
        out: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._recursive = recursive
        self._ours = ours
        self._out = out
        self._clock = clock
        self._seen: dict[Path, tuple[Signature, float]] = {}
        self._done: dict[Path, Signature] = {}

    def look(self) -> list[Source]:
        """Return the pictures that are complete now and were not returned as they are.

        Raises:
            ImageError: The folder cannot be listed.
        """
        now = self._clock()
        seen: dict[Path, tuple[Signature, float]] = {}
        complete = []
        for source in pictures_below(
            self._folder, recursive=self._recursive, ours=self._ours, out=self._out
        ):
            path = source.path
            signature = _signature(path)
            if signature is None or path.stem.lower().endswith(_TEMPORARY):
                continue
            before, since = self._seen.get(path, (None, now))
            seen[path] = (signature, since if before == signature else now)
            settled = now - seen[path][1] >= SETTLE_SECONDS
            if settled and self._done.get(path) != signature:
                self._done[path] = signature
                complete.append(source)
        self._seen = seen
        self._done = {path: done for path, done in self._done.items() if path in seen}
        return complete


def watch(
    watcher: Watcher, *, sleep: Callable[[float], None] = time.sleep
) -> Iterator[list[Source]]:
    """Yield what ``watcher`` finds, for ever, whenever it finds anything.

    A folder that goes away for a while, as network shares do, is waited for; one that cannot be
    listed at the start is an error.

    Raises:
        ImageError: The folder cannot be listed at the start.
    """
    found = watcher.look()
    while True:
        if found:
            yield found
        sleep(POLL_SECONDS)
        try:
            found = watcher.look()
        except ImageError:
            found = []


def _signature(path: Path) -> Signature | None:
    """Return what changes when a file is written to, or None for an empty or vanished one."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns) if status.st_size else None
