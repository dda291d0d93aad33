"""Files, written so that a crash leaves the old one or the new one, and the cache folder."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from edge_runtime.errors import TuneError

LEFTOVER_SECONDS = 600
"""A temporary file that was not written to for so long may be left of a killed process."""
_PART = (".edge-derain-", ".part")
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)  # nothing to sync there


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` by way of a temporary file in the same folder; see ``replacing``.

    Raises:
        OSError: The folder is missing or not writable, the disk is full, or ``path`` is a folder.
            The temporary file is gone by then and what ``path`` held is untouched.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give an empty temporary file to write, in the folder of ``path``, which it becomes.

    When the block ends the file is synced to the disk and takes the name, then the folder is
    synced, so the order survives a power cut. When the block raises, the temporary file is removed
    and ``path`` left as it was. Of a link the file that it names is replaced. A file that is
    replaced hands on its permissions and, where that is allowed, its owner; those of a new one
    follow the umask. What a killed process left in the folder is removed the first time.

    Raises:
        OSError: As ``write_atomically``, from either end of the block.
    """
    path = Path(os.path.realpath(path))
    _remove_leftovers(path.parent)
    old = _status(path)
    temporary = path.parent / f"{_PART[0]}{secrets.token_hex(8)}{_PART[1]}"
    mode = 0o666 if old is None else 0o600
    try:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
        with _closing(descriptor):  # before the renaming: some systems rename no open file
            _lock(descriptor)
            yield temporary
            if old is not None:
                _hand_on(old, temporary)
            _sync(temporary, os.O_RDWR)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    with contextlib.suppress(OSError):  # some systems cannot open a folder; the file is safe there
        _sync(path.parent, os.O_RDONLY)


@functools.cache
def _remove_leftovers(folder: Path) -> None:
    """Remove temporary files that are old and that no living process holds, once a folder."""
    parts: list[Path] = []
    with contextlib.suppress(OSError):
        parts = list(folder.glob("*".join(_PART)))
    for part in parts:
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime < LEFTOVER_SECONDS:
                continue
            descriptor = os.open(part, os.O_RDWR)
            with _closing(descriptor):
                if _lock(descriptor):
                    part.unlink()


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Lock a file until it is closed; return False where it is locked, or cannot be."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _hand_on(old: os.stat_result, new: Path) -> None:
    """Give a file the owner and the permissions of another, as far as its system allows."""
    with contextlib.suppress(OSError, AttributeError):  # Windows has no owners
        os.chown(new, old.st_uid, old.st_gid)
    with contextlib.suppress(OSError):
        os.chmod(new, stat.S_IMODE(old.st_mode) & 0o777)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    with _closing(descriptor):
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _NO_SYNC:
                raise


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
