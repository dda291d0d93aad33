"""The terminal: encodings, native messages, tables, progress, and the signals that end a run."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import EdgeDerainError, MissingExtraError

if TYPE_CHECKING:
    from tqdm import tqdm


INTERRUPTED, BROKEN_PIPE, TERMINATED = 130, 141, 143
# Control characters, separators of lines and paragraphs, and what turns the direction of text.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived. Like Ctrl-C it is raised in the main thread, wherever that is."""


def exit_code(program: str, run: Callable[[], int], extra: str | None = None) -> int:
    """Run a command, say in one line on stderr what ended it, and return its exit code.

    Args:
        program: What the line begins with.
        run: The command; returns its own exit code.
        extra: Of this package, for the line on a module that is missing; None lets that pass.

    Returns:
        What ``run`` returns, or the code of its error: 1 when the work failed, 2 when the request
        is wrong; 130 after Ctrl-C, 141 when nobody reads the output any more, 143 after SIGTERM.
    """
    _prepare_streams()
    try:
        try:
            return run()
        finally:
            sys.stdout.flush()
    except EdgeDerainError as error:
        complain(program, str(error))
        return error.exit_code
    except ModuleNotFoundError as error:
        if extra is None:
            raise
        missing = MissingExtraError((error.name or str(error)).partition(".")[0], extra)
        complain(program, str(missing))
        return missing.exit_code
    except BrokenPipeError:
        _give_up_output()
        return BROKEN_PIPE
    except OSError as error:
        complain(program, _reason(error))
        _give_up_output()
        return 1
    except Terminated:
        say(f"{program}: terminated")
        return TERMINATED
    except KeyboardInterrupt as interrupt:  # what it says is how to go on
        say("; ".join([f"{program}: interrupted", *map(str, interrupt.args)]))
        return INTERRUPTED


def complain(program: str, *lines: str) -> None:
    """Print an error to stderr: one line, or one with others below it."""
    say(f"{program}: error: {lines[0]}", *(f"  {line}" for line in lines[1:]))


def say(*lines: str) -> None:
    """Print lines to stderr; where that is impossible, nobody can be told."""
    with contextlib.suppress(OSError):
        print(*map(printable, lines), sep="\n", file=sys.stderr, flush=True)


def printable(line: str) -> str:
    """Escape what would act on a terminal or break the line, as names of files can hold it."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], line)


def _prepare_streams() -> None:
    """Make stdout and stderr escape what they cannot encode, and closed streams swallow all.

    Otherwise the next files that are opened would take the numbers of the closed ones, and what
    libraries print would be written into them.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def output_is_closed() -> bool:
    """Return whether what is written to stdout goes nowhere because it was closed."""
    return getattr(sys.stdout, "name", None) == os.devnull


def _reason(error: OSError) -> str:
    """Return what to say of an error that no part of the program expected."""
    try:
        os.getcwd()
    except OSError:
        return "the working folder is gone; change to another"
    if error.filename is None:
        return f"the output cannot be written ({error.strerror or error})"
    return f"{error.filename}: cannot be used ({error.strerror}); choose another"


def _give_up_output() -> None:
    """Send what Python flushes on exit to nowhere: it must not fail a second time."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def termination_raised() -> Iterator[None]:
    """Raise ``Terminated`` inside the block on SIGTERM, or when the terminal is closed.

    Outside the main thread it does nothing.
    """

    def raise_it(*_: object) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", signal.SIGTERM)
    if signal.getsignal(hangup) == signal.SIG_DFL:  # nohup has it ignored
        numbers.append(hangup)
    before = {number: signal.signal(number, raise_it) for number in dict.fromkeys(numbers)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
