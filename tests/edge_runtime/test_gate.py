"""The gate: scores of pictures of every kind, and what is left alone to the last bit."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_runtime import cli, gate
from edge_runtime.derainer import Derainer
from edge_runtime.errors import UsageError
from edge_runtime.gate import VideoGate, places, rain_score, strength_of
from edge_runtime.pictures.picture import Picture, read_picture, write_picture

ROOT = Path(__file__).parents[2]
SaveModel = Callable[..., Path]


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the weights that ship."""
    monkeypatch.setattr(gate, "WEIGHTS", ROOT / "edge_runtime/weights/rain_score.json")


@pytest.fixture
def say(rain_everywhere: Path) -> Callable[[float], None]:
    """Return a function that makes the gate give every picture one score."""

    def all_score(score: float) -> None:
        stored = json.loads(rain_everywhere.read_text())
        stored["offset"] = float(np.log(score / (1 - score)))
        path = rain_everywhere.with_name(f"{score}.json")
        path.write_text(json.dumps(stored))
        gate.WEIGHTS = path  # put back by the fixture that set it

    return all_score


def _score(before: NDArray[Any], after: NDArray[Any]) -> float:
    squares = places(*before.shape[:2])
    return rain_score([before[each] for each in squares], [after[each] for each in squares])


@pytest.mark.parametrize(
    ("score", "threshold", "strength"),
    [(0.29, 0.3, 0.0), (0.3, 0.3, 0.0), (0.5, 0.3, 0.5), (0.7, 0.3, 1), (1, 1, 0), (0, 0, 1)],
)
def test_the_strength_rises_evenly(score: float, threshold: float, strength: float) -> None:
    assert strength_of(score, threshold) == pytest.approx(strength, abs=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (63, 64), (480, 640), (3000, 90), (64, 9999)])
def test_squares_lie_inside_and_apart(size: tuple[int, int]) -> None:
    squares = places(*size)
    assert 1 <= len(squares) <= gate.SQUARES
    seen = np.zeros(size, int)
    for square in squares:
        seen[square] += 1
        assert seen[square].shape == (min(64, *size),) * 2
    assert seen.max() == 1


def _kinds() -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(0)
    checkered = (np.indices((200, 300)).sum(axis=0) // 4 % 2 * 255).astype(np.uint8)
    noisy = rng.integers(0, 256, (150, 220, 3), np.uint8)
    return {
        "flat": np.full((100, 120, 3), 128, np.uint8),
        "black": np.zeros((90, 70, 3), np.uint8),
        "tiny": np.full((1, 1, 3), 9, np.uint8),
        "grey": noisy[..., 0],
        "16 bits": noisy.astype(np.uint16) * 257,
        "float": noisy.astype(np.float32) / 255,
        "noisy": noisy,
        "checkered": np.repeat(checkered[..., None], 3, axis=2),
    }


@pytest.mark.usefixtures("fitted")
@pytest.mark.parametrize("kind", _kinds())
def test_any_picture_has_a_score(kind: str, save_model: SaveModel) -> None:
    picture = _kinds()[kind]
    with Derainer.load(save_model(gain=0.9), threads=1) as derainer:
        score = derainer.rain_score(picture)
        assert 0 <= score <= 1
        assert derainer.derain(picture).rain == score
    assert _score(picture, picture) == 0


def _scene() -> NDArray[np.uint8]:
    """A made landscape: sky, hills and grass of fine texture, of muted colours."""
    rng = np.random.default_rng(3)
    rows = np.linspace(0, 1, 420, dtype=np.float32)[:, None, None]
    scene = 150 - 70 * rows + np.array([0, 8, 20], np.float32) * (1 - rows)
    for sigma, size in ((25, 30.0), (6, 14.0), (1, 6.0)):
        noise = cv2.GaussianBlur(
            rng.standard_normal((420, 640, 1)).astype(np.float32), (0, 0), sigma
        )
        scene = scene + size * (noise / noise.std())[..., None] * (0.2 + rows)
    return np.clip(scene, 0, 255).astype(np.uint8)


def _streaks() -> NDArray[np.uint8]:
    """Streaks all over, nearly upright, a pixel and a half wide."""
    starts = (np.random.default_rng(4).random((420, 640)) < 0.003).astype(np.float32)
    kernel = np.zeros((25, 25), np.float32)
    cv2.line(kernel, (10, 0), (14, 24), 1.0)
    layer = cv2.GaussianBlur(cv2.filter2D(starts, -1, kernel), (0, 0), 0.7)
    return np.clip(layer * 90, 0, 255).astype(np.uint8)[..., None]


@pytest.mark.usefixtures("fitted")
def test_rain_scores_high_and_texture_low() -> None:
    scene = _scene()
    rainy = np.minimum(scene.astype(int) + _streaks(), 255).astype(np.uint8)
    assert _score(rainy, scene) > 0.9
    # The same streaks in one corner, of one colour, as the needles of a tree.
    local = scene.copy()
    local[300:, :160, 1] = rainy[300:, :160, 1]
    assert _score(local, scene) < gate.THRESHOLD


@pytest.mark.usefixtures("fitted")
def test_depth_and_grey_leave_the_score_as_it_is() -> None:
    after = _scene()
    before = np.minimum(after.astype(int) + _streaks(), 255).astype(np.uint8)
    score = _score(before, after)
    wide = [each.astype(np.uint16) * 257 for each in (before, after)]
    assert _score(*wide) == pytest.approx(score, abs=1e-5)
    grey = [each[..., 1] for each in (before, after)]
    coloured = [np.repeat(each[..., None], 3, axis=2) for each in grey]
    assert _score(*grey) == pytest.approx(_score(*coloured), abs=1e-6)


def test_what_scores_low_is_left_alone(say: Callable[[float], None], save_model: SaveModel) -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(60, 200, (40, 50, 3), np.uint8)
    large = rng.integers(60, 200, (30, 1900), np.uint8)  # two passes
    huge = rng.random((20, 3700, 3), np.float32)  # rain is looked for in small pictures only
    with Derainer.load(save_model(gain=0.5), threads=1, threshold=0.3) as derainer:
        say(0.2)
        for picture in (small, large, huge):
            image, rain, strength = derainer.derain(picture)
            np.testing.assert_array_equal(image, picture)
            assert not np.shares_memory(image, picture)
            assert (rain, strength) == (pytest.approx(0.2), 0)
        say(0.5)
        half = np.floor(small * 0.75 + 0.5)
        np.testing.assert_allclose(derainer(small), half, atol=1)
        say(0.9)
        np.testing.assert_array_equal(derainer(small), np.floor(small * 0.5 + 0.5))
    with Derainer.load(save_model(gain=0.5), threads=1, threshold=0) as always:
        say(0.2)
        assert always.derain(small).strength == 1
    for wrong in (1.5, -0.1, float("nan"), "0.5"):
        with pytest.raises(UsageError, match=rf"threshold {wrong!r}: must lie within \[0, 1\]"):
            Derainer.load(save_model(), threshold=wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="rate 0: must be above 0"):
        next(always.frames([small], rate=0))


def test_a_coarse_pass_that_finds_none_adds_nothing(
    say: Callable[[float], None], save_model: SaveModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = np.random.default_rng(0).integers(60, 200, (30, 1900, 3), np.uint8)
    found = iter([0.1, 0.9, 0.9, 0.1])
    monkeypatch.setattr("edge_runtime.pyramid.rain_score", lambda *_: next(found))
    with Derainer.load(save_model(gain=0.5), threads=1) as derainer:
        fine, coarse = derainer.derain(picture), derainer.derain(picture)
    np.testing.assert_array_equal(fine.image, np.floor(picture * 0.5 + 0.5))
    assert (fine.rain, coarse.rain) == (0.9, 0.9)
    # Half of the means of squares of two is gone; what is finer than they are stays.
    means = picture.reshape(15, 2, 950, 2, 3).mean(axis=(1, 3))
    left = coarse.image.reshape(15, 2, 950, 2, 3).mean(axis=(1, 3))
    assert np.abs(left - means / 2).mean() < 8
    assert np.abs(coarse.image.astype(int) - fine.image).mean() > 10


def test_a_video_does_not_jump(say: Callable[[float], None], save_model: SaveModel) -> None:
    through = VideoGate(0.3)
    strengths = [through(0.1 if number < 25 else 1.0, number / 25) for number in range(100)]
    assert strengths[:25] == [0] * 25
    assert max(np.diff(strengths)) < 0.15
    assert strengths[-1] == 1
    through = VideoGate(0.3)
    assert through(0.9, 0.0) == 1
    assert through(0.2, 0.04) > 0.9  # one frame that looks dry
    frames = [np.full((20, 30, 3), 100, np.uint8)] * 3
    with Derainer.load(save_model(gain=0.5), threads=1) as derainer:
        say(0.1)
        for frame in derainer.frames(frames):
            np.testing.assert_array_equal(frame, frames[0])
        say(0.99)
        for frame in derainer.frames(frames):
            np.testing.assert_array_equal(frame, frames[0] // 2)


def _sha256(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_a_file_that_is_left_alone_is_copied(
    say: Callable[[float], None],
    save_model: SaveModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    data = (ROOT / "examples/temple.jpg").read_bytes()
    for name in ("a.jpg", "b.jpeg"):
        Path(name).write_bytes(data + b"behind the picture")
    write_picture("c.png", Picture(np.full((8, 9, 3), 77, np.uint8)))
    model = str(save_model(gain=0.5))
    say(0.2)
    assert cli.main(["a.jpg", "b.jpeg", "c.png", "--model", model]) == 0
    out, err = capsys.readouterr()
    assert out.count("rain 0.20, left alone") == 3
    assert err == ""  # nothing was left out
    for source, target in (
        ("a.jpg", "a_derained.jpg"),
        ("b.jpeg", "b_derained.jpeg"),
        ("c.png", "c_derained.png"),
    ):
        assert _sha256(source) == _sha256(target)
    assert cli.main(["c.png", "--model", model, "--format", "bmp"]) == 0
    np.testing.assert_array_equal(read_picture("c_derained.bmp").rgb, 77)
    assert cli.main(["a.jpg", "--quality", "30", "--model", model, "--force"]) == 0
    assert _sha256("a.jpg") != _sha256("a_derained.jpg")
    assert cli.main(["c.png", "--model", model, "--always", "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["strength"] == 1
    np.testing.assert_array_equal(read_picture("c_derained.png").rgb, 39)


def test_a_dry_run_writes_nothing(
    say: Callable[[float], None],
    save_model: SaveModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_picture("c.png", Picture(np.full((8, 9, 3), 77, np.uint8)))
    say(0.9)
    assert cli.main(["c.png", "--model", str(save_model(gain=0.5)), "--dry-run", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["rain"], record["strength"]) == (0.9, 1)
    assert "output" not in record
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".png"] == ["c.png"]
