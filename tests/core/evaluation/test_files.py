import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.config import build_config
from core.errors import DataError
from core.evaluation.evaluate import EvaluationConfig, PictureScore, mean_rows, score_pictures
from core.evaluation.files import (
    check_picture_targets,
    check_text_target,
    picture_path,
    save_picture,
    scores_csv,
    write_text,
)
from edge_runtime.errors import UsageError
from edge_runtime.metrics import Quality
from edge_runtime.pictures.picture import Picture, read_picture, write_picture


@pytest.fixture
def config(data_root: Path) -> EvaluationConfig:
    values: dict[str, Any] = {
        "data_root": str(data_root),
        "sets": {
            "pairs": {"source": {"layout": "side_by_side", "root": "pairs"}},
            "dry, too": {"source": {"layout": "clean", "root": "dry"}},
        },
    }
    return build_config(EvaluationConfig, values, "config")


def test_the_means_of_the_csv_are_the_table(config: EvaluationConfig) -> None:
    scores = [score for score, _ in score_pictures(lambda rainy: rainy // 2, config, False)]
    text = scores_csv(scores)
    lines = list(csv.DictReader(io.StringIO(text)))
    assert text.splitlines()[0] == (
        "dataset,picture,rgb_input_psnr,rgb_input_ssim,rgb_psnr,rgb_ssim,"
        "y_input_psnr,y_input_ssim,y_psnr,y_ssim"
    )
    assert [(line["dataset"], line["picture"]) for line in lines] == [
        *(("pairs", f"{i}.png") for i in range(3)),
        *(("dry, too", f"{i}.png") for i in range(2)),
    ]
    rows = mean_rows(scores)
    assert [row.dataset for row in rows] == ["pairs", "pairs", "dry, too", "dry, too"]
    for row in rows:
        own = [line for line in lines if line["dataset"] == row.dataset]
        assert row.images == len(own)
        for name in ("input_psnr", "input_ssim", "psnr", "ssim"):
            column = [float(line[f"{row.protocol}_{name}"]) for line in own]
            assert getattr(row, name) == float(np.mean(column))


def test_identical_pictures_count_100_in_the_csv() -> None:
    same, other = Quality(np.inf, 1.0), Quality(20.0, 0.5)
    score = PictureScore("a", "b.png", {"rgb": other, "y": other}, {"rgb": same, "y": other})
    assert scores_csv([score]).splitlines()[1] == "a,b.png,20.0,0.5,100.0,1.0,20.0,0.5,20.0,0.5"


def test_text_targets_are_refused_before_any_work(tmp_path: Path) -> None:
    check_text_target("--csv", tmp_path / "a.csv")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match=r"^--csv .*: is a folder; name a file in it"):
        check_text_target("--csv", tmp_path)
    with pytest.raises(UsageError, match=r"^--csv .*none is no folder that can be written to"):
        check_text_target("--csv", tmp_path / "none/a.csv")


def test_text_is_written_or_the_option_named(tmp_path: Path) -> None:
    write_text("--csv", tmp_path / "a.csv", "ä\n")
    assert (tmp_path / "a.csv").read_bytes() == "ä\n".encode()
    with pytest.raises(UsageError, match=r"^--json .*: cannot be written \(No such file"):
        write_text("--json", tmp_path / "none/a.json", "x")


def test_pictures_are_saved_without_loss(config: EvaluationConfig, tmp_path: Path) -> None:
    out = tmp_path / "new/out"
    check_picture_targets(config, out, force=False)
    assert not out.exists()
    expected = {}
    for score, derained in score_pictures(lambda rainy: rainy - 40, config, False):
        save_picture(out, score, derained)
        expected[picture_path(out, score.dataset, score.picture)] = derained
    assert set(out.rglob("*.png")) == set(expected)
    assert out / "pairs/2.png" in expected
    for path, derained in expected.items():
        np.testing.assert_array_equal(read_picture(path).rgb, derained)


def test_existing_files_need_force(config: EvaluationConfig, tmp_path: Path) -> None:
    (tmp_path / "out/pairs").mkdir(parents=True)
    (tmp_path / "out/pairs/1.png").touch()
    with pytest.raises(UsageError, match=r"pairs/1\.png exists already; add --force"):
        check_picture_targets(config, tmp_path / "out", force=False)
    check_picture_targets(config, tmp_path / "out", force=True)


def test_the_sets_themselves_are_never_replaced(config: EvaluationConfig) -> None:
    with pytest.raises(UsageError, match=r"pairs/0\.png is a picture of the set; name another"):
        check_picture_targets(config, Path(config.data_root), force=True)


def test_two_pictures_of_one_stem_are_refused(
    config: EvaluationConfig, picture, tmp_path: Path
) -> None:
    write_picture(Path(config.data_root) / "dry/0.jpg", Picture(picture(20, 20)))
    with pytest.raises(UsageError, match=r"dry/0\.jpg and .*dry/0\.png would both be written to"):
        check_picture_targets(config, tmp_path / "out", force=True)


def test_wrong_places(config: EvaluationConfig, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"^--save .*file: is a file, and a folder is needed"):
        check_picture_targets(config, tmp_path / "file", force=True)
    score, derained = next(score_pictures(lambda rainy: rainy, config, False))
    with pytest.raises(UsageError, match=r"^--save .*file/pairs: cannot be made"):
        save_picture(tmp_path / "file", score, derained)
    (Path(config.data_root) / "dry").rename(tmp_path / "gone")
    with pytest.raises(DataError, match="no such folder"):
        check_picture_targets(config, tmp_path / "out", force=False)
