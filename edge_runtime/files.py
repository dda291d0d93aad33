"""Files, written so that a crash leaves the old one or the new one, and the cache folder."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from edge_runtime.errors import TuneError


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` by way of a temporary file in the same folder.

    The temporary file is synced to the disk before it takes the name, and the folder after, so
    the order survives a power cut. Permissions follow the umask.

    Raises:
        OSError: The folder is missing or not writable, the disk is full, or ``path`` is a folder.
            The temporary file is gone by then and what ``path`` held is untouched.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    with replacing(path) as temporary, os.fdopen(os.open(temporary, flags, 0o666), "wb") as file:
        file.write(data)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the name of a temporary file to write, in the folder of ``path``, which it becomes.

    When the block ends the file is synced to the disk and takes the name, then the folder is
    synced. When the block raises, the temporary file is removed and ``path`` left as it was.

    Raises:
        OSError: As ``write_atomically``, from the end of the block.
    """
    temporary = path.parent / f".edge-derain-{secrets.token_hex(8)}.part"
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # Some systems cannot open or sync a folder; the file itself is safe there all the same.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def cache_folder() -> Path:
    """Return the folder for what may be lost: ``edge-derain`` in the XDG cache folder.

    Raises:
        TuneError: There is no home folder.
    """
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    try:
        base = Path(chosen) if os.path.isabs(chosen) else Path.home() / ".cache"
    except RuntimeError:
        raise TuneError("there is no home folder; name a folder in XDG_CACHE_HOME") from None
    return base / "edge-derain"
