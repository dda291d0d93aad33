import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from core import cli
from core.config import build_config
from core.errors import ConfigError, DataError
from core.pairs import SourceConfig, find_pairs
from core.rain.render import render
from core.rain.scene import PRESETS, RenderConfig
from core.rain.synthesize import FOLDERS, SynthesisJob, synthesize
from edge_runtime.pictures.picture import Picture, read_picture, write_picture


def _job(root: Path, **changes: object) -> SynthesisJob:
    values = {"clean": str(root / "dry"), "out": str(root / "out"), "rain": PRESETS["mixed"]}
    return SynthesisJob(**(values | {"per_image": 2} | changes))


def test_pairs_can_be_read_as_a_data_set_and_rendered_again(data_root: Path) -> None:
    assert synthesize(_job(data_root, preview=True)) == 4
    out = data_root / "out"
    for folder in FOLDERS:
        assert len(list((out / folder).iterdir())) == 4
    pairs = find_pairs(SourceConfig("folders", rainy="rainy", clean="clean"), out)
    for pair in pairs:
        rainy, clean = pair.read()
        told = json.loads((out / "parameters" / f"{pair.rainy.stem}.json").read_text())
        again = render(clean, build_config(RenderConfig, told["rain"], "rain"), told["seed"])
        np.testing.assert_array_equal(again.rainy, rainy)
        streaks = read_picture(out / "streaks" / pair.name)
        assert streaks.grey
        np.testing.assert_array_equal(streaks.rgb[..., 0], again.streaks)
    assert json.loads((out / "synthesis.json").read_text())["seed"] == 0
    assert read_picture(out / "preview.png").rgb.shape == (2 * 346, 1200, 3)
    assert not list(data_root.glob(".out-*"))


def test_seeds_make_the_rain(data_root: Path) -> None:
    names = ("a", "b", "c")
    for name, seed in zip(names, (1, 1, 2), strict=True):
        synthesize(_job(data_root, out=str(data_root / name), seed=seed))
    first, same, other = ((data_root / n / "rainy/0_01.png").read_bytes() for n in names)
    assert first == same != other


def test_depth_and_streak_folders_are_used(data_root: Path) -> None:
    for name in ("depth", "streaks"):
        (data_root / name).mkdir()
    cv2.imwrite(str(data_root / "depth/0.png"), np.full((15, 13), 60000, np.uint16))
    write_picture(data_root / "streaks/s.png", Picture(np.full((40, 40, 3), 90, np.uint8)))
    job = _job(data_root, rain=PRESETS["veil"], depth=str(data_root / "depth"), per_image=12)
    synthesize(job)
    near, far = (
        np.mean(
            [read_picture(data_root / f"out/rainy/{i}_{k:02d}.png").rgb.std() for k in range(1, 13)]
        )
        for i in (1, 0)
    )
    assert far < near
    always = dataclasses.replace(PRESETS["mixed"], layers=(1, 1), mask=1.0, veil=0.0)
    job = _job(data_root, rain=always, streaks=str(data_root / "streaks"), out=str(data_root / "o"))
    synthesize(job)
    level = read_picture(data_root / "o/streaks/0_01.png").rgb
    assert level.min() == level.max() > 40  # the streak picture, everywhere


def test_the_clean_picture_of_a_night_is_its_own(data_root: Path) -> None:
    synthesize(_job(data_root, rain=PRESETS["night"]))
    given, *nights = (
        read_picture(data_root / name).rgb.mean()
        for name in ("dry/0.png", "out/clean/0_01.png", "out/clean/0_02.png")
    )
    assert max(nights) < 0.8 * given
    assert nights[0] != nights[1]


def test_nothing_is_overwritten(data_root: Path) -> None:
    (data_root / "out").mkdir()
    synthesize(_job(data_root))
    before = sorted((p, p.stat().st_mtime_ns) for p in (data_root / "out").rglob("*"))
    with pytest.raises(ConfigError, match="out: is there already"):
        synthesize(_job(data_root))
    assert sorted((p, p.stat().st_mtime_ns) for p in (data_root / "out").rglob("*")) == before


def test_a_failed_run_leaves_nothing(data_root: Path) -> None:
    (data_root / "dry/z.png").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"z\.png"):
        synthesize(_job(data_root))
    assert not (data_root / "out").exists()
    assert not list(data_root.glob(".out-*"))


def test_wrong_jobs_are_named(data_root: Path) -> None:
    with pytest.raises(ConfigError, match="--per-image 0"):
        _job(data_root, per_image=0)
    with pytest.raises(ConfigError, match="--seed -1"):
        _job(data_root, seed=-1)
    with pytest.raises(DataError, match="none: no such folder"):
        synthesize(_job(data_root, clean=str(data_root / "none")))
    (data_root / "depth").mkdir()
    cv2.imwrite(str(data_root / "depth/other.png"), np.ones((4, 4), np.uint16))
    with pytest.raises(DataError, match="no depth picture is named as one in"):
        synthesize(_job(data_root, depth=str(data_root / "depth")))
    write_picture(data_root / "dry/0.jpg", Picture(np.zeros((30, 30, 3), np.uint8)))
    with pytest.raises(DataError, match="two pictures are named 0"):
        synthesize(_job(data_root))


def test_the_command_writes_pairs(data_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = data_root / "rain"
    command = ["synthesize", str(data_root / "dry"), "-o", str(out), "--per-image", "2"]
    assert cli.main([*command, "--preset", "heavy"]) == 0
    assert capsys.readouterr().out == f"4 pairs in {out}\n"
    assert (
        read_picture(out / "rainy/0_01.png").rgb != read_picture(out / "clean/0_01.png").rgb
    ).any()
    assert cli.main(command) == 2
    assert "is there already" in capsys.readouterr().err


def test_the_command_reads_ranges(data_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ranges = data_root / "rain.yaml"
    command = ["synthesize", str(data_root / "dry"), "-o", str(data_root / "rain"), "--per-image"]
    command += ["1", "--config", str(ranges)]
    ranges.write_text("densty: [0.1, 0.2]")
    assert cli.main(command) == 2
    assert "densty: unknown key; did you mean 'density'?" in capsys.readouterr().err
    ranges.write_text("{layers: [0, 0], mask: 0, veil: 0, camera: {noise: 0, jpeg: 0}}")
    assert cli.main(command) == 0
    dry = data_root / "rain/clean/0_01.png"
    np.testing.assert_array_equal(
        read_picture(data_root / "rain/rainy/0_01.png").rgb, read_picture(dry).rgb
    )
