import dataclasses
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from core.config import build_config
from core.errors import ConfigError, DataError
from core.evaluation import evaluate
from core.evaluation.evaluate import PUBLISHED_SETS, published_sets
from core.pairs import find_pairs
from edge_runtime import metrics
from edge_runtime.errors import UsageError
from edge_runtime.pictures.picture import Picture, write_picture
from tests.helpers import score_set


def _flat(value: int) -> np.ndarray:
    return np.full((12, 13, 3), value, np.uint8)


def _psnr(*errors: float) -> float:
    """Mean over pictures that are off by a constant everywhere."""
    return float(np.mean([20 * math.log10(255 / error) for error in errors]))


def test_scores_are_means_over_pictures_under_both_protocols() -> None:
    pairs = [(_flat(110), _flat(100)), (_flat(60), _flat(40))]
    rgb, y = score_set(lambda rainy: rainy - 5, "flat", pairs)
    assert (rgb.dataset, rgb.images, rgb.protocol, y.protocol) == ("flat", 2, "rgb", "y")
    assert rgb.input_psnr == pytest.approx(_psnr(10, 20))
    assert rgb.psnr == pytest.approx(_psnr(5, 15))
    scale = (65.481 + 128.553 + 24.966) / 255
    assert y.input_psnr == pytest.approx(_psnr(10 * scale, 20 * scale))
    assert y.psnr == pytest.approx(_psnr(5 * scale, 15 * scale))


def test_identical_pictures_count_100_db() -> None:
    pairs = [(_flat(7), _flat(7)), (_flat(110), _flat(100))]
    rgb, _ = score_set(lambda rainy: rainy, "dry", pairs)
    assert rgb.psnr == pytest.approx((100 + _psnr(10)) / 2)
    assert rgb.ssim == pytest.approx((1 + metrics.ssim(_flat(110), _flat(100))) / 2)


@pytest.fixture
def config(data_root: Path) -> evaluate.EvaluationConfig:
    values: dict[str, Any] = {
        "data_root": str(data_root),
        "sets": {
            "pairs": {"source": {"layout": "side_by_side", "root": "pairs"}},
            "dry": {"source": {"layout": "clean", "root": "dry"}},
            "wet": {"source": {"layout": "clean", "root": "dry"}, "rain": {"seed": 3}},
        },
    }
    return build_config(evaluate.EvaluationConfig, values, "config")


def test_pictures_are_enlarged_before_rain_is_laid_on_them(
    config: evaluate.EvaluationConfig,
) -> None:
    wet = config.sets["wet"]
    sizes, rainy = [], []
    for times in (1, 3):
        pairs = list(dataclasses.replace(wet, enlarge=times).read(config.data_root))
        sizes.append(pairs[0][2].shape[:2])
        rainy.append(pairs[0][1])
        if times == 3:
            ((_, _, small), *_) = wet.read(config.data_root)
            large = cv2.resize(small, sizes[1][::-1], interpolation=cv2.INTER_CUBIC)
            assert np.array_equal(pairs[0][2], large)
            assert np.array_equal(pairs[0][1], wet.rain.apply(large, 0))  # type: ignore[union-attr]
    assert sizes[1] == (3 * sizes[0][0], 3 * sizes[0][1])
    with pytest.raises(ConfigError, match="enlarge 0 must be at least 1"):
        dataclasses.replace(wet, enlarge=0)


def test_sets_are_scored_in_order(config: evaluate.EvaluationConfig) -> None:
    rows = evaluate.evaluate(lambda rainy: rainy - 40, config.only(["pairs", "wet"]), False)
    assert [(row.dataset, row.protocol) for row in rows] == [
        ("pairs", "rgb"),
        ("pairs", "y"),
        ("wet", "rgb"),
        ("wet", "y"),
    ]
    assert rows[0].input_psnr == pytest.approx(_psnr(40))
    assert rows[0].psnr == 100
    assert rows[0].images == 3


def test_pictures_are_scored_one_at_a_time(config: evaluate.EvaluationConfig) -> None:
    seen: list[np.ndarray] = []

    def derain(rainy: np.ndarray) -> np.ndarray:
        seen.append(rainy - 30)
        return seen[-1]

    scores = []
    for number, (score, _, _, derained) in enumerate(
        evaluate.score_pairs(derain, config.only(["pairs", "dry"]), False), start=1
    ):
        assert len(seen) == number
        assert derained is seen[-1]
        scores.append(score)
    assert [(score.dataset, score.picture) for score in scores] == [
        *(("pairs", f"{i}.png") for i in range(3)),
        *(("dry", f"{i}.png") for i in range(2)),
    ]
    assert scores[0].before["rgb"].psnr == pytest.approx(_psnr(40))
    assert scores[0].after["rgb"].psnr == pytest.approx(_psnr(10))
    assert scores[3].before["y"].psnr == math.inf


def test_fixed_rain_is_laid_by_place_in_the_set(config: evaluate.EvaluationConfig) -> None:
    wet = config.sets["wet"]
    first, again = (list(wet.read(config.data_root)) for _ in range(2))
    for index, (_, rainy, clean) in enumerate(first):
        assert wet.rain is not None
        np.testing.assert_array_equal(rainy, wet.rain.apply(clean, index))
        np.testing.assert_array_equal(rainy, again[index][1])
        assert (rainy != clean).any()


def test_unknown_sets_and_none(config: evaluate.EvaluationConfig) -> None:
    with pytest.raises(ConfigError, match="data set 'pears': unknown; did you mean 'pairs'"):
        config.only(["pears"])
    with pytest.raises(ConfigError, match="sets is empty"):
        evaluate.EvaluationConfig()


def test_missing_data_is_named(config: evaluate.EvaluationConfig, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"nowhere/pairs: no such folder; is the path, or --data-root, right"
    ):
        list(config.sets["pairs"].read(str(tmp_path / "nowhere")))


def test_pictures_without_ssim_are_named(config: evaluate.EvaluationConfig, picture) -> None:
    write_picture(Path(config.data_root) / "dry/z.png", Picture(picture(10, 30)))
    with pytest.raises(DataError, match=r"dry/z\.png is 30x10; pictures below 11 pixels"):
        list(config.sets["dry"].read(config.data_root))


def _touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def _pairs(title: str, root: Path) -> dict[str, list[tuple[str, str]]]:
    config = published_sets(title, str(root))
    return {
        name: [
            (str(pair.rainy.relative_to(root)), str(pair.clean.relative_to(root)))
            for pair in find_pairs(test_set.source, config.data_root)
        ]
        for name, test_set in config.sets.items()
    }


@pytest.mark.parametrize(
    ("name", "files", "pair"),
    [
        (
            "rain100l",
            ["rainy_L/1.webp", "rainy_H/1.webp", "clean/1.webp"],
            ("rainy_L/1.webp", "clean/1.webp"),
        ),
        (
            "Rain100H",
            ["rainy_L/1.webp", "rainy_H/1.webp", "clean/1.webp"],
            ("rainy_H/1.webp", "clean/1.webp"),
        ),
        (
            "rain200l",
            ["train/norain-1.png", "train/rain-1.png", "Test/norain-2.png", "Test/rain-2.png"],
            ("Test/rain-2.png", "Test/norain-2.png"),
        ),
        ("rain800", ["training/1.jpg", "test_syn/2.jpg"], ("test_syn/2.jpg", "test_syn/2.jpg")),
        ("rain800", ["7.jpg"], ("7.jpg", "7.jpg")),
        ("rain800", ["input/1.png", "target/1.png"], ("input/1.png", "target/1.png")),
        ("rain13k", ["input/2.jpg", "target/2.jpg"], ("input/2.jpg", "target/2.jpg")),
        ("spa", ["rain/1.png", "norain/1gt.png"], ("rain/1.png", "norain/1gt.png")),
    ],
)
def test_downloads(tmp_path: Path, name: str, files: list[str], pair: tuple[str, str]) -> None:
    _touch(tmp_path, *files)
    assert _pairs(name, tmp_path) == {name.lower(): [pair]}


def test_rain800_has_its_clean_half_on_the_left(tmp_path: Path) -> None:
    _touch(tmp_path, "1.jpg")
    source = published_sets("rain800", str(tmp_path)).sets["rain800"].source
    assert (source.layout, source.clean_side) == ("side_by_side", "left")


def test_the_test_sets_of_rain13k_are_scored_one_by_one(tmp_path: Path) -> None:
    for part in ("Test100", "Rain100L"):
        _touch(tmp_path, f"test/{part}/input/1.png", f"test/{part}/target/1.png")
    _touch(tmp_path, "train/Rain13K/input/1.jpg", "train/Rain13K/target/1.jpg")
    assert _pairs("rain13k", tmp_path) == {
        f"rain13k/{part}": [(f"test/{part}/input/1.png", f"test/{part}/target/1.png")]
        for part in ("Rain100L", "Test100")
    }


@pytest.mark.parametrize(
    ("name", "hint"), [("rain10h", "did you mean 'rain100h'"), ("zzz", "there are")]
)
def test_an_unknown_name_lists_what_there_is_once(name: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"^--dataset '{name}': unknown; {hint}") as raised:
        published_sets(name, ".")
    assert str(raised.value).count(", ".join(PUBLISHED_SETS)) == 1


@pytest.mark.parametrize("name", ["rain800", "rain13k", "spa"])
def test_a_missing_folder_is_named_when_it_is_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        _pairs(name, tmp_path / "nowhere")
