"""Plan of a batch: before any work, which picture goes where, and that no original is lost."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import UsageError
from edge_runtime.pictures.sources import STDIO, SUFFIXES, Source, find_sources

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
) -> list[Job]:
    """Pair every input picture with its output.

    Outputs lie beside their inputs, or in ``out`` when that is a folder, in the same subfolders.
    Names that we make are ours: what an earlier run left there is replaced. Anything else that
    exists is replaced only with ``force``: an input, or the file that ``out`` names.

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

    Raises:
        UsageError: The inputs and ``out`` do not fit together, two pictures would be written to
            one file, or a file would be lost without ``force``.
        ImageError: An input folder cannot be listed.
    """
    naming = naming or Naming()
    folder = None if out in (None, "-") else Path(str(out))
    sources = list(find_sources(inputs, recursive=recursive, ours=naming.ours, out=folder))
    several = len(sources) > 1 or any(Path(name).is_dir() for name in inputs)
    jobs = _pair(sources, out, several, naming, force or skip_existing)
    _check_distinct(jobs)
    if skip_existing:
        results = {_place(job.target) for job in jobs}
        jobs = [
            job
            for job in jobs
            if job.target == STDIO
            or not (os.path.lexists(job.target) or _place(job.source) in results)
        ]
    elif not force:
        _check_originals(jobs)
    if shard is None:
        return jobs
    kept = {source.path for source in sources if _shard_of(source, shard[1]) == shard[0]}
    return [job for job in jobs if job.source in kept]


def watched_jobs(
    sources: Iterable[Source], out: Path | None, naming: Naming, *, skip_existing: bool = False
) -> list[Job]:
    """Pair pictures that have appeared in a watched folder with their outputs.

    Args:
        sources: From a ``Watcher``.
        out: Folder of the outputs; None writes beside each input.
        naming: How outputs are called.
        skip_existing: Leave out what has an output that is no older than the input.

    Raises:
        UsageError: An output would replace an input.
    """
    jobs = []
    for source in sources:
        parent = source.path.parent if out is None else out / source.below
        job = Job(source.path, parent / naming.name(source.path))
        if not (skip_existing and _is_newer(job.target, job.source)):
            jobs.append(job)
    _check_distinct(jobs)
    _check_originals(jobs)
    return jobs


def _is_newer(target: Path, source: Path) -> bool:
    try:
        return target.stat().st_mtime_ns >= source.stat().st_mtime_ns
    except OSError:
        return False


def _pair(
    sources: Sequence[Source], out: str | None, several: bool, naming: Naming, replace: bool
) -> list[Job]:
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
    meant = out.endswith(("/", os.sep)) or path.is_dir()
    if not meant and not several:
        return False
    if path.exists() and not path.is_dir():
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


def _check_distinct(jobs: Iterable[Job]) -> None:
    writers: dict[str, Job] = {}
    for job in jobs:
        other = writers.setdefault(_place(job.target), job)
        if other is not job:
            raise UsageError(
                f"{other.source} and {job.source} would both be written to {job.target}; "
                "derain them into separate folders"
            )


def _place(path: Path) -> str:
    return os.path.normcase(os.path.join(os.path.realpath(path.parent), path.name))


def _check_originals(jobs: Sequence[Job]) -> None:
    # Compared by identity on disk, which sees through links and letter case.
    originals = {_identity(job.source) for job in jobs} - {None}
    for job in jobs:
        if _identity(job.target) in originals:
            raise UsageError(f"{job.target}: is itself an input; add --force to replace originals")


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
