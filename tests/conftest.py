"""Ctrl-C as in a terminal, and one thread a process: tests run beside each other."""

import os
import re
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

Command = Callable[[Sequence[str]], int]
Refused = Callable[..., int]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a job that a script put behind
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Before numpy and torch are imported, which read them once; children inherit them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@pytest.fixture
def refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Refused:
    """Return a function that checks how a command refuses: in one line, and nothing is written.

    It takes the command, its arguments, what the line has to say, and whether work may have begun;
    it returns the exit code.
    """

    def run(main: Command, arguments: Sequence[str], message: str, begun: bool = False) -> int:
        before = sorted(tmp_path.rglob("*"))
        code = main(arguments)
        out, err = capfd.readouterr()
        assert begun or out == ""
        assert re.match(r"[a-z-]+: error: .*\n\Z", err), err
        assert message in err
        assert sorted(tmp_path.rglob("*")) == before
        return code

    return run
