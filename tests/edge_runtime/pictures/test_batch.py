import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_runtime.derainer import Derainer
from edge_runtime.pictures import batch as work
from edge_runtime.pictures.batch import Settings, compare, derain_batch, difference
from edge_runtime.pictures.picture import Picture, read_picture, write_picture
from edge_runtime.pictures.plan import Job

Noise = Callable[..., NDArray[np.uint8]]


@pytest.fixture
def derainer(save_model: Callable[..., Path]) -> Derainer:
    return Derainer.load(save_model(gain=0.5), threads=1)


@pytest.fixture
def jobs(tmp_path: Path, noise: Noise) -> list[Job]:
    made = []
    for number in range(6):
        source = tmp_path / f"{number}.png"
        write_picture(source, Picture(noise(9, 8, 3, seed=number)))
        made.append(Job(source, tmp_path / f"out/{number}.png"))
    return made


def test_every_picture_in_order_past_bad_ones(derainer: Derainer, jobs: list[Job]) -> None:
    jobs[2].source.write_bytes(b"junk")
    jobs[3].source.unlink()
    outcomes = list(derain_batch(derainer, jobs))
    assert [outcome.job for outcome in outcomes] == jobs
    failed = [outcome.error is not None for outcome in outcomes]
    assert failed == [False, False, True, True, False, False]
    for outcome in outcomes:
        if outcome.error is None:
            rainy, derained = (
                read_picture(p).rgb for p in (outcome.job.source, outcome.job.target)
            )
            np.testing.assert_array_equal(derained, (rainy.astype(int) + 1) // 2)
            assert (outcome.width, outcome.height) == (8, 9)


def test_pictures_wait_for_room_and_give_it_back(
    derainer: Derainer, jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs[1].source.write_bytes(b"junk")
    monkeypatch.setattr(work, "PIXELS_IN_FLIGHT", 0)
    outcomes = list(derain_batch(derainer, jobs))
    assert [outcome.error is None for outcome in outcomes] == [True, False, True, True, True, True]


def test_views_and_quality(derainer: Derainer, jobs: list[Job], tmp_path: Path) -> None:
    rainy = read_picture(jobs[0].source).rgb
    (outcome,) = derain_batch(derainer, jobs[:1], Settings(view="diff"))
    np.testing.assert_array_equal(read_picture(jobs[0].target).rgb, rainy // 2)
    job = Job(jobs[0].source, tmp_path / "both.jpg")
    (outcome,) = derain_batch(derainer, [job], Settings(view="compare", quality=42))
    assert outcome.error is None
    both = read_picture(job.target)
    assert (both.rgb.shape, both.quality) == ((9, 18, 3), 42)


def test_the_limit_of_pixels(derainer: Derainer, jobs: list[Job]) -> None:
    (outcome,) = derain_batch(derainer, jobs[:1], Settings(max_pixels=71))
    assert "is more than" in (outcome.error or "")


def test_loading_goes_on_while_the_engine_works(
    derainer: Derainer, jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    second_read = threading.Event()
    reading, running = work.read_file, derainer.session.run

    def note(source: Path) -> bytes:
        read.append(source)
        if len(read) == 2:
            second_read.set()
        return reading(source)

    def run(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        assert second_read.wait(10)
        return running(batch)

    monkeypatch.setattr(work, "read_file", note)
    monkeypatch.setattr(derainer.session, "run", run)
    assert [outcome.error for outcome in derain_batch(derainer, jobs[:2])] == [None, None]


def test_leaving_finishes_what_is_written_and_starts_nothing_more(
    derainer: Derainer, jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, left, written = threading.Event(), threading.Event(), []
    write = work.write_picture

    def slow(path: Path, picture: Picture, **options: int | None) -> None:
        if path == jobs[1].target:
            writing.set()
            assert left.wait(10)
        write(path, picture, **options)
        written.append(path)

    monkeypatch.setattr(work, "write_picture", slow)
    outcomes = derain_batch(derainer, jobs)
    next(outcomes)
    assert writing.wait(10)
    threading.Timer(0.05, left.set).start()
    outcomes.close()
    assert written == [jobs[0].target, jobs[1].target]
    assert sorted(path.name for path in jobs[0].target.parent.iterdir()) == ["0.png", "1.png"]


def test_inference_ends_after_the_tile_that_it_is_at(
    tmp_path: Path, save_model: Callable[..., Path], noise: Noise, monkeypatch: pytest.MonkeyPatch
) -> None:
    derainer = Derainer.load(save_model(), threads=1, tile=8)
    runs: list[int] = []
    running, first = derainer.session.run, threading.Event()

    def run(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        runs.append(1)
        first.set()
        threading.Event().wait(0.02)
        return running(batch)

    monkeypatch.setattr(derainer.session, "run", run)
    write_picture(tmp_path / "a.png", Picture(noise(80, 80, 3)))

    def interrupt() -> None:
        assert first.wait(10)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        list(derain_batch(derainer, [Job(tmp_path / "a.png", tmp_path / "a_out.png")]))
    assert len(runs) < 10  # of 100
    assert not (tmp_path / "a_out.png").exists()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_compare_has_rainy_left_and_derained_right(noise: Noise, dtype: type) -> None:
    rainy = Picture(noise(5, 900, 3, dtype=dtype), noise(5, 900, dtype=dtype))
    derained = Picture(noise(5, 900, 3, dtype=dtype, seed=1), rainy.alpha, quality=70)
    both = compare(rainy, derained)
    np.testing.assert_array_equal(both.rgb[:, :900], rainy.rgb)
    np.testing.assert_array_equal(both.rgb[:, -900:], derained.rgb)
    assert both.rgb.shape == (5, 1803, 3)
    peak = np.iinfo(dtype).max
    assert (both.rgb[:, 900:903] == peak).all()
    assert both.alpha is not None
    assert (both.alpha[:, 900:903] == peak).all()
    assert both.quality == 70


def test_difference_is_what_was_brighter_before() -> None:
    rainy = Picture(np.array([[[200, 10, 7]]], np.uint8))
    derained = Picture(np.array([[[150, 30, 7]]], np.uint8))
    assert difference(rainy, derained).rgb.tolist() == [[[50, 0, 0]]]
