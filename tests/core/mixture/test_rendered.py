"""The rendered parts of a mixture."""

from pathlib import Path

import cv2
import numpy as np
import torch

from core.config import build_config
from core.mixture.config import GeneratedConfig, MixtureConfig, PartConfig, RenderedConfig
from core.mixture.dataset import MixtureDataset
from core.pairs import SourceConfig

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
    others = (parts[0], PartConfig(DRY, 1.0, "none"))
    mixed, plain = (
        MixtureDataset(
            MixtureConfig(dict(zip("ab", each, strict=True)), crop=16, generated=few),
            str(data_root),
        )
        for each in (parts, others)
    )
    for index in range(5):
        assert torch.equal(mixed[index][0], plain[index][0])


def test_configs_name_presets_and_ranges(data_root: Path) -> None:
    part = {"source": {"layout": "clean", "root": "dry"}, "rain": "rendered"}
    values = {"parts": [part], "rendered": {"preset": "heavy", "rain": {"layers": [1, 1]}}}
    config = build_config(MixtureConfig, values, "mixture")
    assert config.rendered.rain is not None
    assert config.rendered.rain.layers == (1, 1)
