"""Plan of a batch: before any work, which picture goes where, and that no original is lost."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import UsageError
from edge_runtime.pictures.sources import (
    STDIO,
    SUFFIXES,
    Source,
    Unlisted,
    find_sources,
    is_address,
    nobody,
)

MARK = "_derained"
"""Added to the stem of an output that is not named by the user."""
MARKS = {"derained": MARK, "compare": "_compare", "diff": "_diff"}
"""The same for each of the views that ``batch`` makes."""


@dataclass(frozen=True)
class Job:
    """One picture to derain: read from ``source``, written to ``target``.

    Attributes:
        source: A file, or ``STDIO`` for standard input.
        target: A file, whose suffix names the format, or ``STDIO`` for standard output.
        format: Suffix of the format for standard output; None takes that of the input.
    """

    source: Path
    target: Path
    format: str | None = None


@dataclass(frozen=True)
class Naming:
    """How outputs that the user does not name are called: ``<stem><mark><format>``.

    Attributes:
        mark: Added to the stem of the input.
        format: Suffix such as ``'.png'``; None keeps that of the input.
    """

    mark: str = MARK
    format: str | None = None

    @property
    def ours(self) -> tuple[str, ...]:
        """The ends of stems by which folders are searched without our own results."""
        return tuple({*MARKS.values(), self.mark} - {""})

    def name(self, source: Path) -> str:
        return f"{source.stem}{self.mark}{self.format or source.suffix}"


def plan(
    inputs: Sequence[str],
    out: str | None = None,
    *,
    force: bool = False,
    recursive: bool = False,
    skip_existing: bool = False,
    shard: tuple[int, int] | None = None,
    naming: Naming | None = None,
    unlisted: Unlisted = nobody,
) -> list[Job]:
    """Pair every input picture with its output.

    Outputs lie beside their inputs, or in ``out`` when that is a folder, in the same subfolders.
    Names that bear our mark are ours: what an earlier run left there is replaced. Anything else
    that exists is replaced only with ``force``.

    Args:
        inputs: As ``find_sources`` takes them.
        out: A file, for one input picture; a folder: one that exists, or any name when it ends
            in a separator or there are several inputs; or ``'-'`` for standard output. None
            writes beside each input, and standard input to standard output.
        force: Allow outputs to replace inputs and existing files.
        recursive: Search folders of folders too.
        skip_existing: Leave out what has its output already, and inputs that are such outputs.
        shard: Only the pictures of one part: its number, from 1, and how many there are. Which
            part one belongs to depends on its name below its input folder and on nothing else, so
            the parts agree between machines that see other folders or start at other times.
        naming: How outputs are called.
        unlisted: Told of folders in folders that cannot be listed.

    Raises:
        UsageError: The inputs and ``out`` do not fit together, two pictures would be written to
            one file, or a file would be lost without ``force``.
        ImageError: An input folder cannot be listed.
    """
    naming = naming or Naming()
    folder = None if out in (None, "-") else Path(str(out))
    sources = list(
        find_sources(inputs, recursive=recursive, ours=naming.ours, out=folder, unlisted=unlisted)
    )
    several = len(sources) > 1 or any(map(os.path.isdir, inputs))
    jobs = _pair(sources, out, several, naming, force or skip_existing)
    check_distinct(_pairs(jobs))
    if skip_existing:
        results = {_place(job.target) for job in jobs}
        jobs = [
            job
            for job in jobs
            if job.target == STDIO
            or not (os.path.lexists(job.target) or _place(job.source) in results)
        ]
    elif not force:
        check_kept(_pairs(jobs), naming.mark)
    if shard is None:
        return jobs
    kept = {source.path for source in sources if _shard_of(source, shard[1]) == shard[0]}
    return [job for job in jobs if job.source in kept]


class WatchPlan:
    """Jobs for pictures that appear in a watched folder, and the picture that each result is of.

    Args:
        out: Folder of the outputs; None writes beside each input.
        naming: How outputs are called.
        force: Allow outputs to replace files that are not ours.
        skip_existing: Leave out what has an output that is no older than the input.
    """

    def __init__(
        self,
        out: Path | None,
        naming: Naming,
        *,
        force: bool = False,
        skip_existing: bool = False,
    ) -> None:
        self._out = out
        self._naming = naming
        self._force = force
        self._skip_existing = skip_existing
        self._done: dict[str, Job] = {}

    def jobs(self, sources: Iterable[Source]) -> tuple[list[Job], list[str]]:
        """Return what to do with pictures from a ``Watcher``, and why some cannot be done.

        Where two living pictures have one output, neither is done, but what is there of one that
        was done before stays.
        """
        self._done = {place: job for place, job in self._done.items() if os.path.exists(job.source)}
        wanted: dict[str, list[Job]] = {}
        for source in sources:
            parent = source.path.parent if self._out is None else self._out / source.below
            job = Job(source.path, parent / self._naming.name(source.path))
            if not (self._skip_existing and _is_newer(job.target, job.source)):
                wanted.setdefault(_place(job.target), []).append(job)
        jobs, refused = [], []
        for place, rivals in wanted.items():
            done = self._done.get(place)
            for job in rivals:
                try:
                    check_distinct(_pairs([job, *rivals, done or job]))
                    if not self._force and job != done:
                        check_kept(_pairs([job]), self._naming.mark)
                except UsageError as error:
                    refused.append(str(error))
                    continue
                self._done[place] = job
                jobs.append(job)
        return jobs, refused


def _is_newer(target: Path, source: Path) -> bool:
    """Return whether a result was written after its picture came to where it is.

    The time of the picture itself may be that of a camera, long before.
    """
    try:
        result, picture = target.stat(), source.stat()
    except OSError:
        return False
    return max(result.st_mtime_ns, result.st_ctime_ns) >= max(
        picture.st_mtime_ns, picture.st_ctime_ns
    )


def _pair(
    sources: Sequence[Source], out: str | None, several: bool, naming: Naming, replace: bool
) -> list[Job]:
    if out is not None and is_address(out):
        raise UsageError(f"-o {out}: is a web address; name a file or a folder")
    if out == "-":
        if several:
            raise UsageError("-o -: standard output takes one picture; name a folder")
        return [Job(sources[0].path, STDIO, naming.format)]
    if out is not None and not _is_folder(out, several):
        _check_named(out, naming, replace)
        return [Job(sources[0].path, Path(out))]
    jobs = []
    for source in sources:
        if source.path == STDIO:
            if out is not None or several:
                raise UsageError("-: standard input has no name; give it a file with -o")
            jobs.append(Job(STDIO, STDIO, naming.format))
            continue
        parent = source.path.parent if out is None else Path(out) / source.below
        jobs.append(Job(source.path, parent / naming.name(source.path)))
    return jobs


def _is_folder(out: str, several: bool) -> bool:
    path = Path(out)
    meant = out.endswith(("/", os.sep)) or os.path.isdir(path)
    if not meant and not several:
        return False
    if os.path.exists(path) and not os.path.isdir(path):
        raise UsageError(f"-o {out}: is a file, and a folder is needed; name another")
    if not meant and path.suffix.lower() in SUFFIXES:
        raise UsageError(f"-o {out}: names one file for several pictures; name a folder")
    return True


def _check_named(out: str, naming: Naming, replace: bool) -> None:
    suffix = Path(out).suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"-o {out}: must end in {', '.join(SUFFIXES)}, or in / for a folder")
    if naming.format not in (None, suffix):
        raise UsageError(f"-o {out}: does not fit --format {naming.format}; leave one out")
    if not replace and os.path.lexists(out):
        raise UsageError(f"-o {out}: exists already; add --force to replace it")


def _pairs(jobs: Iterable[Job]) -> list[tuple[Path, Path]]:
    return [(job.source, job.target) for job in jobs]


def check_distinct(pairs: Iterable[tuple[Path, Path]]) -> None:
    """Check that no two sources have one target, on a file system that ignores case too.

    Beside their sources, names that differ only by case are distinct where the sources are.

    Raises:
        UsageError: Two sources would be written to one file.
    """
    writers: dict[str, tuple[Path, Path]] = {}
    for source, target in pairs:
        other, theirs = writers.setdefault(_place(target), (source, target))
        if other == source:
            continue
        if (
            target != theirs
            and _place(source) == _place(other)
            and (source.parent, other.parent) == (target.parent, theirs.parent)
        ):
            both = {_identity(source), _identity(other)}
            if len(both) == 2 or None in both:
                continue
        raise UsageError(
            f"{other} and {source} would both be written to {target}; "
            "derain them into separate folders"
        )


def _place(path: Path) -> str:
    """Return what names of one file have in common where case and composed letters are the same."""
    place = os.path.realpath(path)
    return place.lower() if place.isascii() else unicodedata.normalize("NFC", place).casefold()


def check_kept(pairs: Sequence[tuple[Path, Path]], mark: str) -> None:
    """Check that no target is there already, but for results of this command, with its mark.

    Raises:
        UsageError: A source, or another file, would be lost.
    """
    # Compared by identity on disk, which sees through links and letter case.
    originals = {_identity(source) for source, _ in pairs} - {None}
    for _, target in pairs:
        if _identity(target) in originals:
            raise UsageError(f"{target}: is itself an input; add --force to replace originals")
        ours = bool(mark) and target.stem.endswith(mark) and not os.path.islink(target)
        if not ours and os.path.lexists(target):
            raise UsageError(f"{target}: exists already; add --force to replace it")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _shard_of(source: Source, count: int) -> int:
    """Return the part, from 1 to ``count``, that a picture belongs to."""
    name = (source.below / source.path.name).as_posix()
    digest = hashlib.blake2b(name.encode(errors="surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % count + 1
