"""Pictures that appear in a folder, noticed once they are completely written."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_runtime.errors import ImageError
from edge_runtime.pictures.sources import Source, Unlisted, nobody, pictures_below

POLL_SECONDS = 0.5
"""Time between two looks at the folder while something happens in it."""
RESCAN_SECONDS = 5.0
"""The same while nothing does, for folders on a network: the system tells nothing of what other
machines write there."""
SETTLE_SECONDS = 1.0
"""A file is complete when its size and its time have not changed for so long."""

_TEMPORARY = ("~", "_tmp", ".tmp", ".part")
Signature = tuple[int, int, int]


class Watcher:
    """Finds each picture of a folder once, and again whenever it has changed.

    Hidden files and names such as ``a.part.jpg``, which browsers and cameras write to before they
    rename, are left alone; a renamed file is a new one.

    Args:
        folder: Where to look.
        recursive: Look into its folders too.
        ours: Ends of the stems of our own results, which are left alone.
        out: Where results go, which is left alone too.
        unlisted: Told of folders in the folder that cannot be listed, of each once.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        folder: Path,
        *,
        recursive: bool = False,
        ours: tuple[str, ...] = (),
        out: Path | None = None,
        unlisted: Unlisted = nobody,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self.recursive = recursive
        self._ours = ours
        self._out = out
        self._unlisted = unlisted
        self._told: set[str] = set()
        self._clock = clock
        self._seen: dict[Path, tuple[Signature, float]] = {}
        self._done: dict[Path, Signature] = {}

    @property
    def waits(self) -> bool:
        """Whether there are files that may not be complete yet."""
        return any(self._done.get(path) != seen for path, (seen, _) in self._seen.items())

    def look(self) -> list[Source]:
        """Return the pictures that are complete now and were not returned as they are.

        Raises:
            ImageError: The folder cannot be listed.
        """
        now = self._clock()
        seen: dict[Path, tuple[Signature, float]] = {}
        complete = []
        for source in pictures_below(
            self.folder,
            recursive=self.recursive,
            ours=self._ours,
            out=self._out,
            unlisted=self._tell_once,
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

    def _tell_once(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            self._unlisted(line)


class Changes:
    """Tells when it is called whether to look at a folder again.

    Args:
        folder: Where the system is asked to tell of changes; it need not stay there.
        recursive: Of its folders too.
        clock: Seconds that only grow.
    """

    def __init__(
        self, folder: Path, *, recursive: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._looked = clock()
        self._changed = threading.Event()
        # In a thread of its own, because watchfiles takes any signal for Ctrl-C.
        self._listener = threading.Thread(target=self._listen, args=(folder, recursive))
        self._listener.daemon = True
        self._listener.start()

    def __call__(self) -> bool:
        now = self._clock()
        overdue = now - self._looked >= RESCAN_SECONDS or not self._listener.is_alive()
        if not (overdue or self._changed.is_set()):
            return False
        self._changed.clear()
        self._looked = now
        return True

    def _listen(self, folder: Path, recursive: bool) -> None:
        import watchfiles

        with contextlib.suppress(OSError, RuntimeError):  # such as too many watches: then all polls
            for _ in watchfiles.watch(folder, watch_filter=None, recursive=recursive):
                self._changed.set()


def watch(
    watcher: Watcher,
    *,
    sleep: Callable[[float], None] = time.sleep,
    changed: Callable[[], bool] | None = None,
) -> Iterator[list[Source]]:
    """Yield what ``watcher`` finds, for ever, whenever it finds anything.

    A folder that goes away for a while, as network shares do, is waited for; one that cannot be
    listed at the start is an error.

    Args:
        watcher: What looks.
        sleep: Called between two looks. ``changed`` tells after it whether to look at all, where
            no file is waited for; None is ``Changes``.

    Raises:
        ImageError: The folder cannot be listed at the start.
    """
    found = watcher.look()
    changed = changed or Changes(watcher.folder, recursive=watcher.recursive)
    while True:
        if found:
            yield found
        found = []
        sleep(POLL_SECONDS)
        if changed() or watcher.waits:
            with contextlib.suppress(ImageError):
                found = watcher.look()


def _signature(path: Path) -> Signature | None:
    """Return what changes when a file is written to, or None for an empty or vanished one."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns) if status.st_size else None
