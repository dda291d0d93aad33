"""Batches of pictures: loaded, derained and saved at once, none of which can stop the others."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.derainer import Derainer
from edge_runtime.engines.base import Batch, Session
from edge_runtime.errors import EdgeDerainError, ImageError
from edge_runtime.machine import return_large_blocks_at_once
from edge_runtime.pictures.formats import BEHIND, CLIP
from edge_runtime.pictures.picture import (
    MAX_PIXELS,
    Picture,
    check_suffix,
    decode_pictures,
    encode_picture,
    format_of,
    holds_pages,
    join_pictures,
    notes_on,
    read_file,
    write_file,
)
from edge_runtime.pictures.plan import Job
from edge_runtime.pictures.sources import STDIO
from edge_runtime.pictures.tags import Metadata, Timing
from edge_runtime.prefetch import ahead

_DIVIDER_SHARE = 300
"""The divider is one pixel wide for so many of the picture's width."""
PIXELS_IN_FLIGHT = 25_000_000
"""Above as many pixels loaded and not yet saved, no further picture is loaded."""


@dataclass(frozen=True)
class Settings:
    """How a batch is carried out.

    Attributes:
        view: A key of ``plan.MARKS``: what is written of each picture.
        quality: Of JPEG, WebP and AVIF, 1 to 100; None follows the input.
        max_pixels: Files with a larger picture or page are refused before that is decoded.
        dry_run: Nothing is written.
    """

    view: str = "derained"
    quality: int | None = None
    max_pixels: int = MAX_PIXELS
    dry_run: bool = False


@dataclass
class Outcome:
    """What became of one picture.

    Attributes:
        job: What was asked for.
        error: What went wrong, in one line, or None.
        width: Of the picture in pixels; ``height`` likewise. 0 while it is not read.
        seconds: That the engine took, with the conversion of pixels.
        stages: The most that a part of it took, of a model that is run in stages, or None.
        pages: How many pages or frames were derained.
        rain: How likely it is that there is rain, 0 to 1, on the likeliest page.
        strength: How much of what the network found is taken out there, 0 (the picture is left
            alone) to 1.
        notes: What the result does not keep of the input, each in one line.
    """

    job: Job
    error: str | None = None
    width: int = 0
    height: int = 0
    seconds: float = 0.0
    stages: int | None = None
    pages: int = 0
    rain: float = 0.0
    strength: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What messages call the input."""
        return "standard input" if self.job.source == STDIO else str(self.job.source)

    is_written: bool = True

    @property
    def is_to_stdout(self) -> bool:
        """Whether the picture itself is written to standard output."""
        return self.job.target == STDIO

    def record(self, derainer: Derainer) -> dict[str, Any]:
        """Return what JSON output says about it."""
        if self.error is not None:
            return {"input": str(self.job.source), "error": self.error}
        rare = {"stages": self.stages, "pages": self.pages, "notes": self.notes}
        if self.pages < 2:
            del rare["pages"]
        return {
            "input": str(self.job.source),
            **({"output": str(self.job.target)} if self.is_written else {}),
            "rain": round(self.rain, 3),
            "strength": round(self.strength, 3),
            "model": derainer.card.name,
            "precision": derainer.card.precision,
            "width": self.width,
            "height": self.height,
            "milliseconds": round(self.seconds * 1000, 3),
            "provider": derainer.session.provider,
            **{name: value for name, value in rare.items() if value},
        }


def derain_batch(
    derainer: Derainer, jobs: Iterable[Job], settings: Settings | None = None
) -> Generator[Outcome, None, None]:
    """Derain pictures and yield what became of each, in order.

    Loading, inference and saving overlap, one picture apart. Closing the iterator, or an
    interrupt, ends the inference after the tile that it is at, lets what is being written be
    written, and starts nothing more.

    Args:
        derainer: The opened model.
        jobs: From ``plan.plan``.
        settings: How.
    """
    worker = _Worker(derainer, settings or Settings())
    stop = worker.stop.set  # by an interrupt, wherever it comes, before threads are waited for
    with (
        ahead(worker.load(jobs), 1, stop) as pages,
        ahead(worker.each(worker.infer, pages), 1, stop) as derained,
        ahead(worker.each(worker.save, derained), 1, stop) as saved,
    ):
        for page in saved:
            if page.is_last:
                yield page.outcome


def compare(rainy: Picture, derained: Picture) -> Picture:
    """Return rainy (left) and derained (right) side by side with a white divider.

    Both have the same size, depth and channels; alpha, where there is one, is opaque in the
    divider.
    """
    height, width = rainy.rgb.shape[:2]
    gap = max(2, round(width / _DIVIDER_SHARE))
    white = np.iinfo(rainy.rgb.dtype).max
    line = np.full((height, gap, 3), white, rainy.rgb.dtype)
    alpha = None
    if rainy.alpha is not None and derained.alpha is not None:
        alpha = np.hstack([rainy.alpha, line[..., 0], derained.alpha])
    rgb = np.hstack([rainy.rgb, line, derained.rgb])
    return dataclasses.replace(derained, rgb=rgb, alpha=alpha)


def difference(rainy: Picture, derained: Picture) -> Picture:
    """Return the removed rain, rainy less derained, as light on black.

    Where derained is the brighter one, which rain hardly ever asks for, it is black. Both have
    the same size and depth; alpha is that of ``derained``.
    """
    brighter = np.maximum(rainy.rgb, derained.rgb)
    return dataclasses.replace(derained, rgb=brighter - derained.rgb)


@dataclass
class _Page:
    """One page of a file; without a picture it ends one that has failed."""

    outcome: Outcome
    picture: Picture | None = None
    is_last: bool = True
    data: bytes = b""
    pixels: int = 0
    files: list[tuple[bytes, Timing | None]] = field(default_factory=list)


class _Worker:
    """The steps that a page takes, until ``stop`` is set."""

    def __init__(self, derainer: Derainer, settings: Settings) -> None:
        self.settings = settings
        self.stop = threading.Event()
        self._room = _Room(self.stop)
        return_large_blocks_at_once()
        self._derainer = derainer.with_session(_StoppableSession(derainer.session, self.stop))

    def load(self, jobs: Iterable[Job]) -> Iterator[_Page]:
        """Yield the pages of all files; the last one of each says so."""
        for outcome in map(Outcome, jobs):
            is_ended = False
            with _noting(outcome):
                for page in self._pages(outcome):
                    is_ended = page.is_last
                    yield page
                    if is_ended or outcome.error is not None:
                        break
            if not is_ended:
                yield _Page(outcome)

    def each(self, step: Callable[[_Page], None], pages: Iterable[_Page]) -> Iterator[_Page]:
        """Take a step with each page of a file that has not failed, and note what fails in it."""
        for page in pages:
            with _noting(page.outcome):
                if page.picture is not None and page.outcome.error is None:
                    step(page)
            if page.picture is not None and (page.outcome.error is not None or step == self.save):
                page.picture = None
                self._room.leave(page.pixels)
            yield page

    def _pages(self, outcome: Outcome) -> Iterator[_Page]:
        self._room.wait()
        data = _read(outcome.job.source)
        files: list[tuple[bytes, Timing | None]] = []
        pictures = decode_pictures(data, outcome.name, max_pixels=self.settings.max_pixels)
        for number, picture in enumerate(pictures, 1):
            height, width = picture.rgb.shape[:2]
            if number == 1:
                outcome.height, outcome.width = height, width
                suffix = _suffix(outcome.job, picture)
                _check_in_place(outcome, picture.metadata, suffix)
                outcome.notes = notes_on(picture.metadata, suffix)
                count = picture.metadata.pages if holds_pages(picture.metadata, suffix) else 1
            self._room.enter(width * height)
            yield _Page(outcome, picture, number == count, data, width * height, files)
            self._room.wait()

    def infer(self, page: _Page) -> None:
        rainy, outcome = page.picture, page.outcome
        assert rainy is not None
        start = time.perf_counter()
        if self._derainer.card.step is None:
            found = self._derainer.derain(rainy.rgb)
        else:
            from edge_runtime.engines.stages import counted_stages

            with counted_stages() as stages:
                found = self._derainer.derain(rainy.rgb)
            outcome.stages = max([*stages, outcome.stages or 0]) or None
        outcome.seconds += time.perf_counter() - start
        outcome.rain = max(outcome.rain, found.rain or 0.0)
        outcome.strength = max(outcome.strength, found.strength)
        derained = dataclasses.replace(rainy, rgb=found.image)
        page.picture = _view(self.settings.view, rainy, derained)

    def save(self, page: _Page) -> None:
        picture, outcome = page.picture, page.outcome
        assert picture is not None
        target = outcome.job.target
        name = "standard output" if target == STDIO else str(target)
        suffix = _suffix(outcome.job, picture)
        outcome.pages += 1
        if self.settings.dry_run:
            outcome.is_written = False
            return
        data = self._unchanged(page, suffix)
        data = data or encode_picture(picture, suffix, name, quality=self.settings.quality)
        if not page.is_last or page.files:
            page.files.append((data, picture.metadata.timing))
            if not page.is_last:
                return
            data = join_pictures(page.files, picture, suffix, name)
        if target == STDIO:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return
        _make_folder(target.parent)
        write_file(target, data)

    def _unchanged(self, page: _Page, suffix: str) -> bytes | None:
        """Return the bytes of a file of one picture that is left alone and stays of its format."""
        settings = self.settings
        asked = settings.view != "derained" or settings.quality is not None
        one = page.is_last and not page.files
        assert page.picture is not None
        same = format_of(page.data) == {".jpeg": ".jpg", ".tiff": ".tif"}.get(suffix, suffix)
        if page.outcome.strength or asked or not (one and same):
            return None
        page.outcome.notes = []  # nothing is left out of it
        return page.data


class _Room:
    """Counts the pixels of pictures that are loaded and not yet saved."""

    def __init__(self, stop: threading.Event) -> None:
        self._held = 0
        self._stop = stop
        self._changed = threading.Condition()

    def wait(self) -> None:
        """Wait until no more than ``PIXELS_IN_FLIGHT`` are held.

        Raises:
            InterruptedError: The work was stopped meanwhile.
        """
        with self._changed:
            while self._held > PIXELS_IN_FLIGHT:
                if self._stop.is_set():
                    raise InterruptedError
                self._changed.wait(0.1)

    def enter(self, pixels: int) -> None:
        with self._changed:
            self._held += pixels

    def leave(self, pixels: int) -> None:
        with self._changed:
            self._held -= pixels
            self._changed.notify_all()


class _StoppableSession:
    """A session that starts no further run once it is told to stop."""

    def __init__(self, session: Session, stop: threading.Event) -> None:
        self.name = session.name
        self.provider = session.provider
        self._session = session
        self._stop = stop

    def run(self, batch: Batch) -> Batch:
        if self._stop.is_set():
            raise InterruptedError
        return self._session.run(batch)


def _view(view: str, rainy: Picture, derained: Picture) -> Picture:
    """Return what is written of a picture."""
    views = {"compare": compare, "diff": difference}
    return views[view](rainy, derained) if view in views else derained


@contextlib.contextmanager
def _noting(outcome: Outcome) -> Iterator[None]:
    try:
        yield
    except EdgeDerainError as error:
        outcome.error = str(error)
    except MemoryError:
        outcome.error = f"{outcome.name}: does not fit into memory; reduce or split it"


def _suffix(job: Job, picture: Picture) -> str:
    if job.target == STDIO:
        return job.format or picture.format or ".png"
    return check_suffix(job.target)


def _check_in_place(outcome: Outcome, metadata: Metadata, suffix: str) -> None:
    """Refuse to replace a file by a result that leaves out what nobody could make again."""
    source, target = outcome.job.source, outcome.job.target
    try:
        replaces = STDIO not in (source, target) and os.path.samefile(source, target)
    except OSError:  # there is no such file yet
        return
    rest = [f"its {each}" for each in (CLIP, BEHIND) if each in metadata.lost]
    if not holds_pages(metadata, suffix):
        rest.insert(0, f"{metadata.pages - 1} of {metadata.pages} pictures")
    if replaces and rest:
        raise ImageError(
            f"{outcome.name}: {rest[0]} would be lost; write the result elsewhere with -o"
        )


def _read(source: Path) -> bytes:
    return sys.stdin.buffer.read() if source == STDIO else read_file(source)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(
            f"{folder}: cannot be made ({error.strerror}); choose another with -o"
        ) from None
