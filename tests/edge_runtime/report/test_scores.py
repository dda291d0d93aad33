import math
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.metrics import psnr, ssim
from edge_runtime.report.reference import read_reference
from edge_runtime.report.scores import RAINY, PictureScores, score_reference, sum_up
from tests.helpers import flat, write_set


def _off_by(levels: float) -> float:
    """PSNR of pictures that differ by so many levels everywhere."""
    return 20 * math.log10(255 / levels)


def _score(folder: Path, subtract: int) -> list[PictureScores]:
    def derain(rainy: np.ndarray) -> np.ndarray:
        return rainy - np.uint8(subtract)

    return [each for both in score_reference(derain, read_reference(folder)) for each in both]


def test_loss_is_the_teachers_quality_less_the_students(tmp_path: Path) -> None:
    # rainy is off by 20, the teacher by 4, the student by 20 - 12 = 8, and by 4 from the teacher.
    write_set(tmp_path, {"light/a": (flat(120), flat(100), flat(104))})
    rgb, y = _score(tmp_path, 12)
    assert (rgb.dataset, rgb.name, rgb.protocol, y.protocol) == ("light", "a", "rgb", "y")
    assert rgb.input_psnr == pytest.approx(_off_by(20))
    assert rgb.teacher_psnr == pytest.approx(_off_by(4))
    assert rgb.psnr == pytest.approx(_off_by(8))
    assert rgb.psnr_loss_db == pytest.approx(20 * math.log10(2))
    assert rgb.fidelity_db == pytest.approx(_off_by(4))
    scale = (65.481 + 128.553 + 24.966) / 255
    assert y.psnr == pytest.approx(_off_by(8 * scale))
    assert y.psnr_loss_db == pytest.approx(20 * math.log10(2))


def test_ssim_is_that_of_the_metrics(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(20, 200, (3, 24, 24, 3), np.uint8)
    rainy, clean, teacher = noise
    write_set(tmp_path, {"light/a": (rainy, clean, teacher)})
    rgb, y = _score(tmp_path, 5)
    assert rgb.ssim_loss == pytest.approx(ssim(teacher, clean) - ssim(rainy - 5, clean))
    assert y.input_ssim == pytest.approx(ssim(rainy, clean, "y"))
    assert rgb.fidelity_db == pytest.approx(psnr(rainy - 5, teacher))


def test_identical_pictures_count_100_db(tmp_path: Path) -> None:
    write_set(tmp_path, {"dry/a": (flat(100), flat(100), flat(100))})
    rgb, _ = _score(tmp_path, 1)
    assert (rgb.input_psnr, rgb.teacher_psnr) == (100, 100)
    assert rgb.psnr_loss_db == pytest.approx(100 - _off_by(1))
    assert not rgb.rainy
    rgb, _ = _score(tmp_path, 0)
    assert (rgb.psnr, rgb.psnr_loss_db, rgb.fidelity_db) == (100, 0, 100)


def test_means_leave_pictures_without_rain_apart(tmp_path: Path) -> None:
    write_set(
        tmp_path,
        {
            "light/a": (flat(120), flat(100), flat(104)),  # student off by 8: loss 20 log 2
            "light/b": (flat(120), flat(110), flat(114)),  # off by 2: better by 20 log 2
            "heavy/c": (flat(128), flat(100), flat(104)),  # off by 16: loss 20 log 4
            "dry/d": (flat(100), flat(100), flat(100)),
        },
    )
    found = {(row.dataset, row.protocol): row for row in sum_up(_score(tmp_path, 12))}
    assert list(dict.fromkeys(name for name, _ in found)) == ["light", "heavy", "dry", RAINY]
    two = 20 * math.log10(2)
    light, rain = found["light", "rgb"], found[RAINY, "rgb"]
    assert (light.images, rain.images, found["dry", "y"].images) == (2, 3, 1)
    assert light.psnr_loss_db == pytest.approx(0, abs=1e-9)
    assert light.psnr == pytest.approx((_off_by(8) + _off_by(2)) / 2)
    assert rain.psnr_loss_db == pytest.approx(2 * two / 3)
    spread = rain.spread
    assert (spread.least, spread.median, spread.most) == pytest.approx((-two, two, 2 * two))
    assert spread.deviation == pytest.approx(np.std([two, -two, 2 * two]))
    assert rain.worst == "heavy/c"


def test_one_data_set_is_not_summed_up_twice(tmp_path: Path) -> None:
    write_set(tmp_path, {"light/a": (flat(120), flat(100), flat(104))})
    assert [row.dataset for row in sum_up(_score(tmp_path, 12))] == ["light", "light"]
