"""Tell systemd that a service is ready and alive: the socket protocol of ``sd_notify(3)``.

What to say is in https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html: a datagram
of ``NAME=VALUE`` lines to the Unix socket that the environment variable ``NOTIFY_SOCKET`` names.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping
from types import TracebackType

_PULSES = 4
"""How often a pulse may be sent within the time after which a service without one is killed."""


class Notifier:
    """Context in which a service manager is told what becomes of a loop over frames.

        >>> with Notifier() as notifier:
        ...     for frame in frames:
        ...         work(frame)
        ...         notifier.frame()

    The first frame says ``READY=1``. Frames say ``WATCHDOG=1`` as well, where a watchdog watches
    this process, so that a loop that no longer gets frames done is restarted; at most four times
    within the watchdog's time. Leaving says ``STOPPING=1``. Without ``NOTIFY_SOCKET`` nothing is
    ever sent. A manager that does not listen is no reason to stop, so nothing is raised.

    Args:
        environment: Holds ``NOTIFY_SOCKET``, and ``WATCHDOG_USEC`` and ``WATCHDOG_PID`` where there
            is a watchdog; for tests.
        clock: Gives seconds that only grow; for tests.
    """

    def __init__(
        self,
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._pause = _watchdog_seconds(environment) / _PULSES
        self._clock = clock
        self._ready = False
        self._pulsed = 0.0

    def __enter__(self) -> Notifier:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._send("STOPPING=1")

    def frame(self) -> None:
        """Say that one more frame is done."""
        now = self._clock()
        if not self._ready:
            self._ready, self._pulsed = True, now
            self._send("READY=1\nWATCHDOG=1")
        elif self._pause and now - self._pulsed >= self._pause:
            self._pulsed = now
            self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel,
        ):
            # A manager too busy to read must not hold up the frames.
            channel.settimeout(1.0)
            channel.sendto(message.encode(), self._address)


def _address(name: str) -> str | None:
    """Return the address of a socket: a path, or after ``@`` a name without a file."""
    if name.startswith("@"):
        return f"\0{name[1:]}"
    return name if name.startswith("/") else None


def _watchdog_seconds(environment: Mapping[str, str]) -> float:
    """Return after how long this process is killed without a pulse; 0 where nobody watches it."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    ours = str(os.getpid())
    watched = environment.get("WATCHDOG_PID", ours) == ours
    return int(microseconds) / 1e6 if watched and microseconds.isdecimal() else 0.0
