"""The renderer as people reach it: the command and the training mixture."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from core.cli import main
from core.config import build_config
from core.mixture.config import GeneratedConfig, MixtureConfig, PartConfig
from core.mixture.dataset import MixtureDataset, RenderedConfig
from core.pairs import SourceConfig
from edge_runtime.pictures.picture import read_picture

DRY = SourceConfig("clean", root="dry")


def _mixture(root: Path, **rendered: str) -> MixtureDataset:
    config = MixtureConfig(
        {"wet": PartConfig(DRY, rain="rendered")}, crop=16, rendered=RenderedConfig(**rendered)
    )
    return MixtureDataset(config, str(root), 3)


def test_rendered_samples_are_functions_of_seed_and_index(data_root: Path) -> None:
    first, second = _mixture(data_root), _mixture(data_root)
    samples = [first[index] for index in range(8)]
    for index in reversed(range(8)):
        for left, right in zip(samples[index][:2], second[index][:2], strict=True):
            assert torch.equal(left, right)
            assert left.shape == (3, 16, 16)
            assert left.dtype == torch.uint8
    assert any(not torch.equal(*sample[:2]) for sample in samples)


def test_depth_files_of_the_mixture_count(data_root: Path) -> None:
    (data_root / "depth").mkdir()
    far = np.full((30, 26), 60000, np.uint16)
    for index in range(2):
        cv2.imwrite(str(data_root / f"depth/{index}.png"), far)
    # At 600 m behind a veil of at least 0.008 a metre, airlight is all that is left: no texture.
    rainy = torch.stack([_mixture(data_root, depth="depth", preset="veil")[i][0] for i in range(6)])
    assert (rainy.float().mean((1, 2, 3)) > 140).all()


def test_other_parts_are_drawn_as_without_rendered_ones(data_root: Path) -> None:
    few = GeneratedConfig(pool=2)
    parts = (PartConfig(DRY, 1e9, "generated"), PartConfig(DRY, 1.0, "rendered"))
    mixed = MixtureDataset(
        MixtureConfig(dict(enumerate(parts)), crop=16, generated=few), str(data_root)
    )
    others = (parts[0], PartConfig(DRY, 1.0, "none"))
    plain = MixtureDataset(
        MixtureConfig(dict(enumerate(others)), crop=16, generated=few), str(data_root)
    )
    for index in range(5):
        assert torch.equal(mixed[index][0], plain[index][0])


def test_configs_name_presets_and_ranges(data_root: Path) -> None:
    part = {"source": {"layout": "clean", "root": "dry"}, "rain": "rendered"}
    values = {"parts": [part], "rendered": {"preset": "heavy", "rain": {"layers": [1, 1]}}}
    config = build_config(MixtureConfig, values, "mixture")
    assert config.rendered.rain is not None
    assert config.rendered.rain.layers == (1, 1)


def test_the_command_writes_pairs(data_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = data_root / "rain"
    command = ["synthesize", str(data_root / "dry"), "-o", str(out), "--per-image", "2"]
    assert main([*command, "--preset", "heavy"]) == 0
    assert capsys.readouterr().out == f"4 pairs in {out}\n"
    assert (
        read_picture(out / "rainy/0_01.png").rgb != read_picture(out / "clean/0_01.png").rgb
    ).any()
    assert main(command) == 2
    assert "is there already" in capsys.readouterr().err


def test_the_command_reads_ranges(data_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ranges = data_root / "rain.yaml"
    command = ["synthesize", str(data_root / "dry"), "-o", str(data_root / "rain"), "--per-image"]
    command += ["1", "--config", str(ranges)]
    ranges.write_text("densty: [0.1, 0.2]")
    assert main(command) == 2
    assert "densty: unknown key; did you mean 'density'?" in capsys.readouterr().err
    ranges.write_text("{layers: [0, 0], mask: 0, veil: 0, camera: {noise: 0, jpeg: 0}}")
    assert main(command) == 0
    dry = data_root / "rain/clean/0_01.png"
    np.testing.assert_array_equal(
        read_picture(data_root / "rain/rainy/0_01.png").rgb, read_picture(dry).rgb
    )
