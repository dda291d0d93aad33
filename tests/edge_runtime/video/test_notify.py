"""What a service manager hears, on real datagram sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from edge_runtime import cli
from edge_runtime.derainer import Derainer
from edge_runtime.models.card import ModelCard
from edge_runtime.video import camera
from edge_runtime.video.frames import Frame, VideoInfo
from edge_runtime.video.live import derain_live
from edge_runtime.video.notify import Notifier

READY, ALIVE, STOPPING = "READY=1\nWATCHDOG=1", "WATCHDOG=1", "STOPPING=1"


class _Manager:
    """The other end of ``NOTIFY_SOCKET``."""

    def __init__(self, name: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{name[1:]}" if name.startswith("@") else name)
        self._socket.setblocking(False)
        self.environment = {"NOTIFY_SOCKET": name}

    def heard(self) -> list[str]:
        """Return the messages since the last call."""
        messages = []
        while True:
            try:
                messages.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return messages

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[_Manager]:
    name = str(tmp_path / "notify") if request.param == "file" else f"@edge-derain-{os.getpid()}"
    found = _Manager(name)
    yield found
    found.close()


def _watched(manager: _Manager, seconds: float, pid: int | None = None) -> dict[str, str]:
    pid = os.getpid() if pid is None else pid
    watchdog = {"WATCHDOG_USEC": f"{seconds * 1e6:.0f}", "WATCHDOG_PID": str(pid)}
    return {**manager.environment, **watchdog}


def test_ready_at_the_first_frame_and_stopping_at_the_end(manager: _Manager) -> None:
    with Notifier(manager.environment) as notifier:
        assert manager.heard() == []
        notifier.frame()
        assert manager.heard() == [READY]
        notifier.frame()
        assert manager.heard() == []  # there is no watchdog
    assert manager.heard() == [STOPPING]


def test_pulses_come_with_frames_and_stop_with_them(manager: _Manager) -> None:
    now = [0.0]
    notifier = Notifier(_watched(manager, 60), clock=lambda: now[0])
    said = {}
    for second in [*range(50), 100, 101]:  # nothing is done for 50 seconds
        now[0] = second
        notifier.frame()
        said[second] = manager.heard()
    assert {second: heard for second, heard in said.items() if heard} == {
        0: [READY],
        15: [ALIVE],
        30: [ALIVE],
        45: [ALIVE],
        100: [ALIVE],
    }


@pytest.mark.parametrize("watchdog", [{"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": ""}, {}])
def test_no_pulses_without_a_watchdog(manager: _Manager, watchdog: dict[str, str]) -> None:
    now = [0.0]
    notifier = Notifier({**manager.environment, **watchdog}, clock=lambda: now[0])
    for now[0] in (0.0, 1e6, 2e6):
        notifier.frame()
    assert manager.heard() == [READY]


def test_the_watchdog_of_another_process_is_not_ours(manager: _Manager) -> None:
    now = [0.0]
    environment = _watched(manager, 1, pid=os.getpid() + 1)
    notifier = Notifier(environment, clock=lambda: now[0])
    for now[0] in (0.0, 10.0):
        notifier.frame()
    assert manager.heard() == [READY]


@pytest.mark.parametrize("name", [None, "", "relative", "vsock:2:1234"])
def test_nothing_is_sent_without_a_socket(
    name: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a socket was made")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket, "socket", refuse)
    with Notifier({} if name is None else {"NOTIFY_SOCKET": name}) as notifier:
        notifier.frame()


@pytest.mark.parametrize("name", ["/nowhere/notify", "@nobody", f"/{'x' * 200}"])
def test_a_manager_that_is_not_there_is_no_error(name: str) -> None:
    with Notifier({"NOTIFY_SOCKET": name}) as notifier:
        notifier.frame()


def test_an_error_is_passed_on(manager: _Manager) -> None:
    with pytest.raises(KeyError), Notifier(manager.environment):
        raise KeyError
    assert manager.heard() == [STOPPING]


class _Source:
    """Ten frames a second of a camera that hangs once, for as long as ``gap``."""

    info = VideoInfo(8, 8, Fraction(10), Fraction(1, 1000))
    name = provider = "source"
    reconnects = 0

    def __init__(self, gap: float) -> None:
        self.now, self.gap = 0.0, gap

    def __iter__(self) -> Iterator[Frame]:
        for number in range(20):
            yield Frame(np.zeros((8, 8, 3), np.uint8), Fraction(number, 10))

    def seconds(self) -> float:
        return self.now

    def run(self, batch: object) -> object:
        return batch

    def write(self, item: Frame) -> None:
        self.now += self.gap

    def close(self, **_: object) -> None:
        pass


def test_the_live_loop_pulses(card: ModelCard, manager: _Manager) -> None:
    source = _Source(gap=0.3)
    notifier = Notifier(_watched(manager, 1), clock=source.seconds)
    derainer = Derainer(source, card, Path("m"))  # type: ignore[arg-type]
    summary = derain_live(derainer, source, source, on_frame=notifier.frame)
    heard: list[str] = manager.heard()
    assert heard == [READY, *[ALIVE] * (summary.frames - 1)]
    assert summary.frames >= 1


class _Capture:
    """A camera of three frames."""

    left = 3

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def read(self) -> tuple[bool, object]:
        self.left -= 1
        return self.left >= 0, np.zeros((16, 16, 3), np.uint8) if self.left >= 0 else None

    def get(self, prop: int, /) -> float:
        return 3.0

    def release(self) -> None:
        pass


def test_the_command_tells_the_manager(
    here: Path, model: str, manager: _Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.environment["NOTIFY_SOCKET"])
    monkeypatch.setattr(camera, "_open", lambda source: _Capture())
    assert cli.main(["--camera", "0", "-o", "b.mp4", "--model", model]) == 0
    assert manager.heard() == [READY, STOPPING]
