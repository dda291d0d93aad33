"""Decide before any work which picture goes where, and that no original is lost on the way."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import UsageError
from edge_runtime.image import SUFFIXES, find_pictures

MARK = "_derained"
"""Added to the stem of an output that is not named by the user."""


@dataclass(frozen=True)
class Job:
    """One picture to derain: read from ``source``, written to ``target``."""

    source: Path
    target: Path


def plan(inputs: Sequence[str], out: str | None = None, *, force: bool = False) -> list[Job]:
    """Pair every input picture with its output.

    Outputs are named ``<stem>_derained<suffix>`` and lie beside their inputs, or in ``out`` when
    that is a folder. Those names are ours: what an earlier run left there is replaced. Anything
    else that exists is replaced only with ``force``: an input, or the file that ``out`` names.

    Args:
        inputs: Files and folders. A folder stands for the pictures in it, not in its subfolders,
            less those that an earlier run wrote there.
        out: A file, for one input picture; or a folder: one that exists, or any name when it ends
            in a separator or there are several inputs. None writes beside each input.
        force: Allow outputs to replace inputs and existing files.

    Raises:
        UsageError: The inputs and ``out`` do not fit together, two pictures would be written to
            one file, or a file would be lost without ``force``.
        ImageError: An input folder cannot be listed.
    """
    sources = list(_expand(inputs))
    several = len(sources) > 1 or any(Path(name).is_dir() for name in inputs)
    if out is None:
        jobs = [Job(source, source.with_name(_marked(source))) for source in sources]
    elif _is_folder(out, several):
        jobs = [Job(source, Path(out) / _marked(source)) for source in sources]
    else:
        _check_named(out, force)
        jobs = [Job(sources[0], Path(out))]
    _check_distinct(jobs)
    if not force:
        _check_originals(jobs)
    return jobs


def _marked(source: Path) -> str:
    return f"{source.stem}{MARK}{source.suffix}"


def _expand(inputs: Iterable[str]) -> Iterable[Path]:
    """Yield each picture once, in order, however often and in whatever way it was named."""
    seen = set()
    for name in inputs:
        path = Path(name)
        for source in _pictures_in(path) if path.is_dir() else [path]:
            place = os.path.abspath(source)
            if place not in seen:
                seen.add(place)
                yield source


def _pictures_in(folder: Path) -> list[Path]:
    pictures = [path for path in find_pictures(folder) if not path.stem.endswith(MARK)]
    if not pictures:
        raise UsageError(f"{folder}: holds no pictures to derain; looked for {', '.join(SUFFIXES)}")
    return pictures


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


def _check_named(out: str, force: bool) -> None:
    if Path(out).suffix.lower() not in SUFFIXES:
        raise UsageError(f"-o {out}: must end in {', '.join(SUFFIXES)}, or in / for a folder")
    if not force and os.path.lexists(out):
        raise UsageError(f"-o {out}: exists already; add --force to replace it")


def _check_distinct(jobs: Iterable[Job]) -> None:
    writers: dict[str, Path] = {}
    for job in jobs:
        place = os.path.join(os.path.realpath(job.target.parent), job.target.name)
        other = writers.setdefault(os.path.normcase(place), job.source)
        if other is not job.source:
            raise UsageError(
                f"{other} and {job.source} would both be written to {job.target}; "
                "derain them into separate folders"
            )


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
