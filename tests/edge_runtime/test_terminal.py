import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edge_runtime.errors import ImageError, UsageError
from edge_runtime.terminal import (
    Progress,
    Terminated,
    exit_code,
    markdown_table,
    termination_raised,
)

_SCRIPT = """
import os, sys, threading
from edge_runtime.terminal import native_messages_hidden
with native_messages_hidden():
    thread = threading.Thread(target=os.write, args=(2, b"native\\n"))
    thread.start()
    thread.join()
    print("of Python", file=sys.stderr)
os.write(2, b"native again\\n")
print("of Python again", file=sys.stderr)
"""


def test_only_native_messages_are_hidden_and_only_inside() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.stderr.splitlines() == ["of Python", "native again", "of Python again"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_termination_is_raised_inside_and_restored_after(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(Terminated), termination_raised():
            signal.raise_signal(number)
        assert signal.getsignal(number) == signal.SIG_DFL
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup leaves it
        with termination_raised():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        signal.signal(number, before)


def test_other_threads_leave_signals_alone() -> None:
    errors = []

    def run() -> None:
        try:
            with termination_raised():
                pass
        except ValueError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert errors == []


def test_progress_counts_pictures_and_megapixels(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Progress(2) as progress:
        progress.advance(2_000_000)
        progress.advance(2_000_000)
    err = capsys.readouterr().err
    assert "2/2" in err
    assert "MP/s" in err
    with Progress(1) as progress:  # nothing to show for a single picture
        progress.advance(1)
    assert capsys.readouterr().err == ""


def test_tables_of_markdown_align() -> None:
    lines = markdown_table(("a", "bb"), [("long", "1"), ("x", "22.5")], 1).splitlines()
    assert lines == ["| a    |   bb |", "| ---- | ---: |", "| long |    1 |", "| x    | 22.5 |"]


@pytest.mark.parametrize(
    ("ended_by", "code", "said"),
    [
        (UsageError("--x: wrong"), 2, "derain: error: --x: wrong"),
        (ImageError("a.png: empty"), 1, "derain: error: a.png: empty"),
        (
            ModuleNotFoundError(name="torch.nn"),
            1,
            "derain: error: torch is not installed; run: pip",
        ),
        (OSError(28, "No space left on device"), 1, "derain: error: the output cannot be written"),
        (PermissionError(13, "no", "x\n\x1b[1m"), 1, r"derain: error: x\n\x1b[1m: cannot be used"),
        (Terminated(), 143, "derain: terminated"),
        (KeyboardInterrupt(), 130, "derain: interrupted"),
    ],
)
def test_what_ends_a_command_is_one_line(
    ended_by: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def run() -> int:
        raise ended_by

    assert exit_code("derain", run, extra="train") == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(said)
    assert exit_code("derain", lambda: 7) == 7
