"""Sources of a command: what its inputs stand for, files, folders, patterns, ``-`` or a video."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import ImageError, UsageError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".avif")
"""Suffixes, in lower case, of the pictures that can be both read and written."""
STDIO = Path("-")
"""Stands for standard input as an input, and for standard output as an output."""
VIDEOS = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts",
    ".wmv", ".flv", ".3gp", ".ogv",
)  # fmt: skip
"""Suffixes, in lower case, of the files that are taken for videos."""
SCHEMES = ("rtsp://", "rtsps://", "rtmp://", "http://", "https://", "udp://", "tcp://", "srt://")
"""What the addresses of streams begin with."""


@dataclass(frozen=True)
class Source:
    """One picture to derain.

    Attributes:
        path: The file, or ``STDIO``.
        below: Its folder below the input folder in which it was found; ``'.'`` for one that was
            named itself.
    """

    path: Path
    below: Path = Path()


def is_stream(name: str) -> bool:
    """Return whether ``name`` is the address of a stream."""
    return name.lower().startswith(SCHEMES)


def is_clip(name: str) -> bool:
    """Return whether ``name`` is that of a video file."""
    return not is_stream(name) and Path(name).suffix.lower() in VIDEOS


def find_sources(
    inputs: Iterable[str],
    *,
    recursive: bool = False,
    ours: Sequence[str] = (),
    out: Path | None = None,
) -> Iterator[Source]:
    """Yield each picture once, in order, however often and in whatever way it was named.

    A folder stands for the pictures in it, and a pattern that no file is called for what it
    matches. Hidden files and folders are left out of both.

    Args:
        inputs: Files, folders, patterns such as ``'holiday/*.jpg'`` that no shell has expanded,
            or ``'-'`` for standard input.
        recursive: Look into the folders of folders too, but not into links to some.
        ours: Ends of the stems of our own results, which are left out unless named themselves.
        out: Where results go, which is not searched either, unless it is an input.

    Raises:
        UsageError: A folder or a pattern stands for no picture.
        ImageError: An input folder cannot be listed.
    """
    seen = set()
    for name in inputs:
        for source in _expand(name, recursive, tuple(ours), out):
            place = os.path.abspath(source.path)
            if place not in seen:
                seen.add(place)
                yield source


def pictures_below(
    folder: Path, *, recursive: bool, ours: tuple[str, ...], out: Path | None = None
) -> Iterator[Source]:
    """Yield the pictures of a folder, as ``find_sources`` does, sorted; also none at all.

    Raises:
        ImageError: ``folder`` itself cannot be listed.
    """
    for path in find_pictures(folder):
        if not _is_hidden(path) and not path.stem.endswith(ours):
            yield Source(path)
    if not recursive:
        return
    for parent, folders, _ in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and not _same(Path(parent, name), out)
        )
        for name in folders:
            inside = Path(parent, name)
            if inside.is_symlink():
                continue
            for path in find_pictures(inside):
                if not _is_hidden(path) and not path.stem.endswith(ours):
                    yield Source(path, inside.relative_to(folder))


def find_pictures(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the files in ``folder`` itself that have a suffix of a picture, sorted by name.

    Raises:
        ImageError: The folder is missing or cannot be listed.
    """
    try:
        entries = sorted(Path(folder).iterdir())
    except OSError as error:
        raise ImageError(f"{folder}: cannot be listed ({error.strerror})") from None
    return [p for p in entries if p.suffix.lower() in SUFFIXES and p.is_file()]


def _expand(
    name: str, recursive: bool, ours: tuple[str, ...], out: Path | None
) -> Iterable[Source]:
    if name == "-":
        return [Source(STDIO)]
    path = Path(name)
    if path == STDIO:  # a file of that name, meant as './-'
        path = path.absolute()
    if path.is_dir():
        found = list(pictures_below(path, recursive=recursive, ours=ours, out=out))
        if not found:
            raise UsageError(
                f"{path}: holds no pictures to derain; looked for {', '.join(SUFFIXES)}"
                + ("" if recursive else "; -r looks into its folders too")
            )
        return found
    if not glob.has_magic(name) or path.exists():
        return [Source(path)]
    matches = [Path(match) for match in sorted(glob.glob(name, recursive=True))]
    chosen = [Source(match) for match in matches if _is_ordinary(match, ours)]
    if not chosen:
        raise UsageError(f"{name}: matches no picture; check the pattern")
    return chosen


def _is_ordinary(path: Path, ours: tuple[str, ...]) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file() and not path.stem.endswith(ours)


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".")


def _same(folder: Path, out: Path | None) -> bool:
    return out is not None and os.path.realpath(folder) == os.path.realpath(out)


def _refuse(error: OSError) -> None:
    raise ImageError(f"{error.filename}: cannot be listed ({error.strerror})") from None
