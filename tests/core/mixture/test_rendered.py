"""The rendered parts of a mixture."""

from pathlib import Path

import torch

from core.config import build_config
from core.mixture.config import GeneratedConfig, MixtureConfig, PartConfig
from core.mixture.dataset import MixtureDataset
from core.pairs import SourceConfig

DRY = SourceConfig("clean", root="dry")


def _mixture(root: Path) -> MixtureDataset:
    config = MixtureConfig({"wet": PartConfig(DRY, rain="rendered")}, crop=16)
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


def test_configs_name_presets_and_ranges() -> None:
    part = {"source": {"layout": "clean", "root": "dry"}, "rain": "rendered"}
    older = {"depth": "", "streaks": ""}  # what runs of before say of what there is no more
    values = {"parts": [part], "rendered": {"preset": "heavy", "rain": {"layers": [1, 1]}, **older}}
    config = build_config(MixtureConfig, {**values, "turns": False}, "mixture")
    assert config.rendered.rain is not None
    assert config.rendered.rain.layers == (1, 1)
