"""The terminal: encodings, native messages, tables, progress, and the signals that end a run."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import EdgeDerainError, MissingExtraError

if TYPE_CHECKING:
    from tqdm import tqdm


INTERRUPTED = 130
TERMINATED = 143


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived. Like Ctrl-C it is raised in the main thread, wherever that is."""


def exit_code(program: str, run: Callable[[], int], extra: str | None = None) -> int:
    """Run a command, say in one line on stderr what ended it, and return its exit code.

    Args:
        program: What the line begins with.
        run: The command; returns its own exit code.
        extra: Of this package, for the line on a module that is missing; None lets that pass.

    Returns:
        What ``run`` returns, or the code of its error; 130 after Ctrl-C, 143 after SIGTERM.
    """
    try:
        return run()
    except EdgeDerainError as error:
        said, code = f"error: {error}", error.exit_code
    except ModuleNotFoundError as error:
        if extra is None:
            raise
        missing = MissingExtraError((error.name or str(error)).partition(".")[0], extra)
        said, code = f"error: {missing}", missing.exit_code
    except Terminated:
        said, code = "terminated", TERMINATED
    except KeyboardInterrupt:
        said, code = "interrupted", INTERRUPTED
    print(f"{program}: {said}", file=sys.stderr, flush=True)
    return code


@contextlib.contextmanager
def termination_raised() -> Iterator[None]:
    """Raise ``Terminated`` on SIGTERM inside the block; outside the main thread do nothing."""

    def raise_it(*_: object) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, raise_it)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def never_fail_on_encoding() -> None:
    """Make stdout and stderr escape what they cannot encode."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def separator() -> str:
    """Return what stands between the parts of a line, as far as stdout can encode it."""
    try:
        " · ".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return " | "
    return " · "


@contextlib.contextmanager
def native_messages_hidden() -> Iterator[None]:
    """Keep what libpng and OpenCV print about damaged files off the terminal.

    They write to file descriptor 2 themselves, from any thread; the error that follows says it in
    one line. What Python writes to ``sys.stderr`` meanwhile goes where it always went.
    """
    try:
        saved = os.dup(2)
    except OSError:
        yield
        return
    stream = sys.stderr
    with open(os.devnull, "wb") as null:
        own = None
        if _writes_to(stream, 2):
            stream.flush()
            own = open(saved, "w", encoding=stream.encoding, errors=stream.errors, closefd=False)  # noqa: SIM115
            sys.stderr = own
        os.dup2(null.fileno(), 2)
    try:
        yield
    finally:
        if own is not None:
            own.close()
            sys.stderr = stream
        os.dup2(saved, 2)
        os.close(saved)


def aligned(rows: Sequence[Sequence[str]], numbers: Collection[int] = ()) -> list[str]:
    """Return the lines of a table: columns two spaces apart, those in ``numbers`` to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def markdown_table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    texts: int | Collection[int],
    padded: bool = True,
) -> str:
    """Lay out a Markdown table, every column padded to one width where it is read as text.

    The columns ``texts``, or that many of the first, lie left and all others right.
    """
    left = range(texts) if isinstance(texts, int) else texts
    lines = [list(head), *map(list, rows)]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    if not padded:
        widths = [0] * len(head)
    rule = [
        ("-" * max(w, 3) if i in left else "-" * (w - 1 if w else 3) + ":")
        for i, w in enumerate(widths)
    ]
    laid = [
        [c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths))]  # noqa: B905
        for line in lines
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [laid[0], rule, *laid[1:]])


class Progress:
    """A bar on stderr with pictures and megapixels a second; nothing where it would be noise.

    Args:
        total: Pictures in all; fewer than two, or a pipe instead of a terminal, show no bar.
    """

    def __init__(self, total: int) -> None:
        self._pixels = 0
        self._start = time.perf_counter()
        self._bar: tqdm[Any] | None = None
        if total > 1 and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit="picture", file=sys.stderr)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def clear(self) -> None:
        """Make room for a line of output."""
        if self._bar is not None:
            self._bar.clear()

    def advance(self, pixels: int) -> None:
        """Count one more picture, of so many pixels."""
        self._pixels += pixels
        if self._bar is not None:
            self._bar.set_postfix_str(self.rate(), refresh=False)
            self._bar.update()
            self._bar.refresh()

    def rate(self) -> str:
        """Return the megapixels a second so far."""
        seconds = time.perf_counter() - self._start
        return f"{self._pixels / 10**6 / max(seconds, 1e-9):.2f} MP/s"


class FrameProgress:
    """A bar on stderr with frames and frames a second; nothing in a pipe."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None

    def __enter__(self) -> FrameProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, total: int | None) -> None:
        """Count one more frame, of about ``total`` if that is known."""
        if self._bar is None:
            if not sys.stderr.isatty():
                return
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit="frame", leave=False, file=sys.stderr)
        self._bar.update()


def _writes_to(stream: Any, descriptor: int) -> bool:
    try:
        return bool(stream.fileno() == descriptor)
    except (AttributeError, OSError, ValueError):
        return False
