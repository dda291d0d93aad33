import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edge_runtime.derainer import Derainer
from edge_runtime.pictures import batch as work
from edge_runtime.pictures.batch import Settings, compare, derain_batch, difference
from edge_runtime.pictures.picture import Picture, decode_pictures, read_picture, write_picture
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
    write = work.write_file

    def slow(path: Path, data: bytes) -> None:
        if path == jobs[1].target:
            writing.set()
            assert left.wait(10)
        write(path, data)
        written.append(path)

    monkeypatch.setattr(work, "write_file", slow)
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


def _pages(path: Path, noise: Noise, count: int = 3) -> Path:
    """Write a TIFF of several pages, each larger than the last."""
    first, *others = (Image.fromarray(noise(9 + n, 8, 3, seed=n)) for n in range(count))
    first.save(path, save_all=True, append_images=others)
    return path


def test_every_page_is_derained(derainer: Derainer, tmp_path: Path, noise: Noise) -> None:
    source = _pages(tmp_path / "a.tif", noise)
    job = Job(source, tmp_path / "b.tif")
    (outcome,) = derain_batch(derainer, [job], Settings(view="compare"))
    record = outcome.record(derainer)
    assert (record["pages"], record["width"], record["height"]) == (3, 8, 9)
    assert "notes" not in record
    rainy, both = (list(decode_pictures(path.read_bytes(), "it")) for path in (source, job.target))
    for before, after in zip(rainy, both, strict=True):
        np.testing.assert_array_equal(after.rgb[:, :8], before.rgb)
        np.testing.assert_array_equal(after.rgb[:, -8:], (before.rgb.astype(int) + 1) // 2)


def test_pages_go_one_by_one_and_fail_together(
    derainer: Derainer, jobs: list[Job], tmp_path: Path, noise: Noise
) -> None:
    source = _pages(tmp_path / "a.tif", noise)
    mixed = [Job(source, tmp_path / "b.tif"), jobs[0]]
    bad, good = derain_batch(derainer, mixed, Settings(max_pixels=8 * 10))
    assert (bad.error or "").startswith(f"{source}: 8 x 11 is more than 80 pixels; allow it")
    assert good.error is None
    assert not mixed[0].target.exists()


def test_what_a_result_leaves_out_is_noted_and_never_lost_in_place(
    derainer: Derainer, tmp_path: Path, noise: Noise
) -> None:
    source, link = _pages(tmp_path / "a.tif", noise), tmp_path / "b.png"
    job = Job(source, tmp_path / "c.png")
    (outcome,) = derain_batch(derainer, [job])
    notes = ["left out: 2 of 3 pages, since .png holds one; use --format tif"]
    assert outcome.record(derainer)["notes"] == outcome.notes == notes
    assert "pages" not in outcome.record(derainer)
    link.symlink_to("a.tif")
    motion = tmp_path / "m.jpg"
    write_picture(motion, Picture(noise(9, 8, 3)))
    motion.write_bytes(motion.read_bytes() + b"\0\0\0\x18ftypisom")
    before = source.read_bytes(), motion.read_bytes()
    for path, rest in ((link, "2 of 3 pictures"), (motion, "its video clip")):
        (outcome,) = derain_batch(derainer, [Job(path, path)])
        assert outcome.error == f"{path}: {rest} would be lost; write the result elsewhere with -o"
    assert before == (source.read_bytes(), motion.read_bytes())
    (outcome,) = derain_batch(derainer, [Job(source, source)])
    assert (outcome.error, outcome.pages) == (None, 3)


def test_pictures_of_an_mpo_become_pages(derainer: Derainer, tmp_path: Path, noise: Noise) -> None:
    first, second = (Image.fromarray(noise(9, 8, 3, seed=n)) for n in range(2))
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second])
    (outcome,) = derain_batch(derainer, [Job(tmp_path / "a.jpg", tmp_path / "b.tif")])
    assert (outcome.pages, outcome.notes) == (2, [])
    with Image.open(tmp_path / "b.tif") as again:
        assert again.n_frames == 2
