import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_runtime.errors import ImageError
from edge_runtime.pictures.sources import Source
from edge_runtime.pictures.watch import RESCAN_SECONDS, SETTLE_SECONDS, Changes, Watcher, watch


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now

    def look(self, watcher: Watcher, seconds: float = SETTLE_SECONDS) -> list[str]:
        self.now += seconds
        return [source.path.name for source in watcher.look()]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watcher(tmp_path: Path, clock: Clock) -> Watcher:
    return Watcher(tmp_path, ours=("_derained",), clock=clock)


def test_a_file_is_found_once_it_has_stopped_growing(
    tmp_path: Path, clock: Clock, watcher: Watcher
) -> None:
    path = tmp_path / "a.jpg"
    path.touch()
    assert [clock.look(watcher) for _ in range(3)] == [[], [], []]  # empty is not complete
    for size in (10, 20, 30):
        path.write_bytes(bytes(size))
        assert clock.look(watcher) == []
    assert clock.look(watcher, SETTLE_SECONDS / 2) == []
    assert clock.look(watcher, SETTLE_SECONDS / 2) == ["a.jpg"]
    assert clock.look(watcher) == []


def test_a_change_of_the_same_size_is_seen(tmp_path: Path, clock: Clock, watcher: Watcher) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"old")
    assert [clock.look(watcher), clock.look(watcher)] == [[], ["a.jpg"]]
    path.write_bytes(b"new")
    os.utime(path, (9, 9))
    assert [clock.look(watcher), clock.look(watcher)] == [[], ["a.jpg"]]


def test_temporary_names_wait_for_their_rename(
    tmp_path: Path, clock: Clock, watcher: Watcher
) -> None:
    names = (".a.jpg", "b.part.jpg", "c~.jpg", "d.jpg.part", "e_derained.jpg", "f.txt")
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    assert [clock.look(watcher), clock.look(watcher)] == [[], []]
    (tmp_path / "d.jpg.part").rename(tmp_path / "d.jpg")
    assert [clock.look(watcher), clock.look(watcher)] == [[], ["d.jpg"]]
    (tmp_path / "d.jpg").rename(tmp_path / "g.jpg")
    assert [clock.look(watcher), clock.look(watcher)] == [[], ["g.jpg"]]


def test_a_file_that_comes_back_is_new(tmp_path: Path, clock: Clock, watcher: Watcher) -> None:
    path = tmp_path / "a.jpg"
    for _ in range(2):
        path.write_bytes(b"x")
        os.utime(path, (5, 5))
        assert [clock.look(watcher), clock.look(watcher)] == [[], ["a.jpg"]]
        path.unlink()
        assert clock.look(watcher) == []


def test_a_folder_that_goes_away_is_waited_for(tmp_path: Path, clock: Clock) -> None:
    folder = tmp_path / "share"
    with pytest.raises(ImageError, match="cannot be listed"):
        next(watch(Watcher(folder)))
    folder.mkdir()

    def script() -> Iterator[None]:
        folder.rename(tmp_path / "gone")
        yield
        (tmp_path / "gone").rename(folder)
        (folder / "a.jpg").write_bytes(b"x")
        yield
        yield

    steps = script()

    def sleep(seconds: float) -> None:
        clock.now += SETTLE_SECONDS
        next(steps)

    found = next(watch(Watcher(folder, clock=clock), sleep=sleep, changed=lambda: True))
    assert [source.path.name for source in found] == ["a.jpg"]


def test_a_folder_where_nothing_happens_is_left_alone(tmp_path: Path, clock: Clock) -> None:
    looks = []

    class Counted(Watcher):
        def look(self) -> list[Source]:
            looks.append(clock.now)
            return super().look()

    def sleep(seconds: float) -> None:
        clock.now += seconds
        if clock.now == 4.0:
            (tmp_path / "a.jpg").write_bytes(b"x")

    changes = iter([False] * 7 + [True] + [False] * 9)
    watcher = Counted(tmp_path, clock=clock)
    found = next(watch(watcher, sleep=sleep, changed=lambda: next(changes)))
    assert [source.path.name for source in found] == ["a.jpg"]
    assert looks == [0.0, 4.0, 4.5, 5.0]  # until it had settled


def test_changes_are_told_and_looked_for_now_and_then(tmp_path: Path, clock: Clock) -> None:
    changes = Changes(tmp_path, recursive=False, clock=clock)
    until = time.monotonic() + 20
    while not changes() and time.monotonic() < until:
        (tmp_path / "a.jpg").write_bytes(b"x")
        time.sleep(0.05)
    assert time.monotonic() < until
    clock.now += RESCAN_SECONDS
    assert changes()
    gone = Changes(tmp_path / "missing", recursive=False, clock=clock)
    while not gone() and time.monotonic() < until:
        time.sleep(0.01)
    assert gone()  # every time, where nothing tells


def test_a_folder_that_cannot_be_listed_is_told_once_and_stops_nothing(
    tmp_path: Path, clock: Clock, closed: Callable[[Path], None]
) -> None:
    told: list[str] = []
    watcher = Watcher(tmp_path, recursive=True, clock=clock, unlisted=told.append)
    (tmp_path / "shut").mkdir()
    (tmp_path / "shut/b.jpg").write_text("b")
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo/a.jpg").write_text("a")
    closed(tmp_path / "shut")
    assert [clock.look(watcher) for _ in range(3)] == [[], ["a.jpg"], []]
    assert [line.partition(" (")[0] for line in told] == [f"{tmp_path}/shut: cannot be listed"]
    (tmp_path / "shut").chmod(0o700)
    assert [clock.look(watcher) for _ in range(2)] == [[], ["b.jpg"]]
