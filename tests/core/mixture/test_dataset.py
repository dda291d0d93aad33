import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from core.config import build_config
from core.errors import ConfigError, DataError
from core.mixture.config import GeneratedConfig, MixtureConfig, PartConfig
from core.mixture.dataset import Kind, MixtureDataset, Sample, step_indices, to_float
from core.pairs import SourceConfig
from core.rain.drawn import RainConfig
from edge_runtime.pictures.picture import Picture, write_picture

DRY = SourceConfig("clean", root="dry")
PAIRS = SourceConfig("side_by_side", root="pairs")
FEW = GeneratedConfig(pool=3)


def _digest(picture: np.ndarray) -> str:
    return hashlib.sha256(picture.tobytes()).hexdigest()


def _named(*parts: PartConfig) -> dict[str, PartConfig]:
    return {f"part {number}": part for number, part in enumerate(parts)}


def _config(**options: object) -> MixtureConfig:
    return MixtureConfig(_named(PartConfig(DRY, rain="none")), **options)  # type: ignore[arg-type]


def _data(root: Path, *parts: PartConfig, seed: int = 0, **options: object) -> MixtureDataset:
    values = {"crop": 16, "generated": FEW, **options}
    return MixtureDataset(MixtureConfig(_named(*parts), **values), str(root), seed)


def _mixed(root: Path, seed: int = 0, **options: object) -> MixtureDataset:
    rains = ("as_is", "generated", "none")
    return _data(root, *(PartConfig(PAIRS, 1.0, r) for r in rains), seed=seed, **options)


def test_a_sample_is_a_function_of_seed_and_index(data_root: Path) -> None:
    first, second = _mixed(data_root), _mixed(data_root)
    forwards = [first[index] for index in range(20)]
    backwards = {index: second[index] for index in reversed(range(20))}
    np.random.default_rng().random()
    for index, (rainy, clean, *_) in enumerate(forwards):
        assert torch.equal(rainy, backwards[index][0])
        assert torch.equal(clean, backwards[index][1])
    other = _mixed(data_root, seed=1)
    assert any(not torch.equal(other[i][1], forwards[i][1]) for i in range(20))
    assert len({_digest(clean.numpy()) for _, clean, *_ in forwards}) > 10


@pytest.mark.parametrize("flips", [True, False])
def test_borrowed_rain_is_that_of_the_lender(data_root: Path, flips: bool) -> None:
    # The lender's rain adds 40 everywhere, on pictures of at most half the brightness: laid on
    # another as a light it adds 40 there too, as a share of the way to white less or more.
    data = _data(data_root, PartConfig(DRY, 1.0, "borrowed", PAIRS), flips=flips)
    added = [
        (rainy.int() - clean.int(), clean.int())
        for rainy, clean, *_ in map(data.__getitem__, range(30))
    ]
    plain = [torch.equal(more, (40 + clean).clamp(max=255) - clean) for more, clean in added]
    assert 5 < sum(plain) < 25
    assert all(more.min() >= 0 for more, _ in added)


def test_borrowed_rain_needs_a_lender() -> None:
    with pytest.raises(ConfigError, match=r"rain 'borrowed' of 'dry': .*belong together"):
        PartConfig(DRY, rain="borrowed")
    for held in (
        SourceConfig("folders", rainy="train/val_cityrain/rainy", clean="x/clean"),
        SourceConfig("clean", root="data/public_test/Rain12/clean"),
        SourceConfig("clean", root="photos", scenes="scenes.csv", split="val"),
        SourceConfig("reference"),
    ):
        with pytest.raises(ConfigError, match=r"val_city.*trained on|public_t|'val'|'reference'"):
            PartConfig(held)
        with pytest.raises(ConfigError, match=r"is for validation or tests"):
            PartConfig(SourceConfig("clean", root="dry"), rain="borrowed", lender=held)
    PartConfig(SourceConfig("clean", root="evaluation/public_tests"))
    with pytest.raises(ConfigError, match=r"rain 'none' of 'dry': .*belong together"):
        PartConfig(DRY, rain="none", lender=PAIRS)


def test_shrunk_pieces_are_means_of_what_they_cover(tmp_path: Path) -> None:
    # Columns count up by 4 and rows by 2, so a piece at half size starts anywhere and steps by 8
    # and 4 levels.
    (tmp_path / "dry").mkdir()
    ramp = np.add.outer(2 * np.arange(40), 4 * np.arange(40))[..., None].repeat(3, 2)
    write_picture(tmp_path / "dry/0.png", Picture(ramp.astype(np.uint8)))
    data = _data(
        tmp_path, PartConfig(DRY, rain="none"), shrink=1, shrink_to=(0.5, 0.5), flips=False
    )
    starts = set()
    for index in range(10):
        rainy, clean, *_ = data[index]
        assert torch.equal(rainy, clean)
        assert clean.shape == (3, 16, 16)
        assert clean[0].int().diff(dim=0).unique().tolist() == [4]
        assert clean[0].int().diff(dim=1).unique().tolist() == [8]
        starts.add(int(clean[0, 0, 0]))
    assert len(starts) > 3


@pytest.mark.parametrize("rain", ["as_is", "borrowed", "generated", "rendered", "none"])
def test_every_kind_of_rain_is_shrunk_with_its_picture(data_root: Path, rain: str) -> None:
    # Small pictures are shrunk less than asked: 24 rows make at most 16 / 24.
    lender = PAIRS if rain == "borrowed" else None
    part = PartConfig(PAIRS, 1.0, rain, lender)  # type: ignore[arg-type]
    data = _data(data_root, part, shrink=1, shrink_to=(0.1, 0.2))
    for index in range(5):
        rainy, clean, *_ = data[index]
        assert rainy.shape == clean.shape == (3, 16, 16)
        assert clean.dtype == torch.uint8
        if rain == "as_is":
            assert torch.equal(rainy.int() - clean.int(), torch.full_like(clean, 40).int())


def test_enlarged_pieces_are_between_what_they_cover(tmp_path: Path) -> None:
    # Columns count up by 4, so a piece of half the size steps by 2 levels, but for its borders.
    (tmp_path / "dry").mkdir()
    ramp = np.tile(4 * np.arange(40), (40, 1))[..., None].repeat(3, 2)
    write_picture(tmp_path / "dry/0.png", Picture(ramp.astype(np.uint8)))
    part = PartConfig(DRY, rain="none")
    data = _data(tmp_path, part, enlarge=1, enlarge_to=(2, 2), flips=False)
    starts = set()
    for index in range(10):
        rainy, clean, *_ = data[index]
        assert torch.equal(rainy, clean)
        assert clean.shape == (3, 16, 16)
        assert clean[0, :, 1:-1].int().diff(dim=1).unique().tolist() == [2]
        starts.add(int(clean[0, 0, 0]))
    assert len(starts) > 3
    sides = _sides(_data(tmp_path, part, shrink=0.5, enlarge=0.5, enlarge_to=(1, 8), flips=False))
    assert 2 <= min(sides) < 4 < 16 < max(sides) <= 40


def _sides(data: MixtureDataset) -> list[float]:
    """Return how many columns of a ramp of 4 levels each sample shows."""
    spans = [np.ptp(data[index].clean[0, 0].numpy()) for index in range(60)]
    return [float(span) / 4 + 1 for span in spans]


def test_drawn_rain_is_not_enlarged_with_its_picture(tmp_path: Path) -> None:
    (tmp_path / "dry").mkdir()
    flat = np.full((64, 64, 3), 60, np.uint8)
    write_picture(tmp_path / "dry/0.png", Picture(flat))
    rain = GeneratedConfig(RainConfig(density=(0.05, 0.05)), pool=1, veil=0, layers=(1.0,))
    part = PartConfig(DRY, rain="generated")
    plain = _data(tmp_path, part, crop=64, generated=rain, flips=False)
    large = _data(
        tmp_path, part, crop=64, generated=rain, flips=False, enlarge=1, enlarge_to=(4, 4)
    )
    steps = [
        np.mean([np.abs(np.diff(data[i].rainy[0].numpy().astype(int))).mean() for i in range(8)])
        for data in (plain, large)
    ]
    assert steps[1] == pytest.approx(steps[0], rel=0.2)


def test_without_shrinking_samples_are_those_of_before(data_root: Path) -> None:
    plain, other = _mixed(data_root), _mixed(data_root, shrink_to=(0.1, 0.2), enlarge_to=(2, 3))
    half = _mixed(data_root, shrink=0.5, shrink_to=(0.7, 0.9))
    pairs = [(plain[index], other[index], half[index]) for index in range(20)]
    assert all(torch.equal(one[1], two[1]) for one, two, _ in pairs)
    assert any(not torch.equal(one[1], three[1]) for one, _, three in pairs)


@pytest.mark.parametrize("flips", [False, True])
def test_both_pictures_are_mirrored_or_none(tmp_path: Path, flips: bool) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (16, 32, 3), np.uint8)
    write_picture(tmp_path / "a.png", Picture(rgb))
    data = _data(tmp_path, PartConfig(SourceConfig("side_by_side", root=".")), flips=flips)
    seen = {tuple(_digest(each.numpy()) for each in data[index][:2]) for index in range(20)}
    clean, rainy = rgb.transpose(2, 0, 1)[..., :16], rgb.transpose(2, 0, 1)[..., 16:]
    views = {(_digest(rainy), _digest(clean))}
    if flips:
        views.add((_digest(rainy[..., ::-1]), _digest(clean[..., ::-1])))
    assert seen == views


def test_dry_parts_are_dry_and_generated_rain_only_brightens(data_root: Path) -> None:
    dry = _data(data_root, PartConfig(DRY, rain="none"))
    wet = _data(
        data_root, PartConfig(DRY, rain="generated"), generated=GeneratedConfig(veil=0.0, pool=5)
    )
    changed = 0
    for index in range(10):
        assert torch.equal(*dry[index][:2])
        rainy, clean, *_ = wet[index]
        assert (rainy >= clean).all()
        changed += not torch.equal(rainy, clean)
    assert changed > 5


def test_kinds_say_where_samples_come_from(data_root: Path) -> None:
    for rain, kind in (
        ("as_is", Kind.PAIR),
        ("generated", Kind.MADE),
        ("none", Kind.DRY),
        ("unlabelled", Kind.UNLABELLED),
    ):
        sample = _data(data_root, PartConfig(PAIRS, 1.0, rain))[0]
        assert sample.kind == kind
        assert sample.taught.shape == (0,)
    borrowed = _data(data_root, PartConfig(DRY, 1.0, "borrowed", PAIRS))[0]
    assert borrowed.kind == Kind.MADE


def test_unlabelled_samples_have_no_clean_picture(data_root: Path) -> None:
    pairs = _data(data_root, PartConfig(PAIRS))
    unlabelled = _data(data_root, PartConfig(PAIRS, rain="unlabelled"))
    for index in range(5):
        assert torch.equal(unlabelled[index].rainy, pairs[index].rainy)
        assert not unlabelled[index].clean.any()


def test_what_a_teacher_made_is_cut_and_mirrored_with_the_pictures(data_root: Path) -> None:
    asked = []

    def teach(rainy: np.ndarray) -> np.ndarray:
        asked.append(rainy.shape)
        return 255 - rainy

    rains = ("as_is", "generated", "none", "unlabelled")
    parts = tuple(PartConfig(PAIRS, 1.0, rain) for rain in rains)
    config = MixtureConfig(_named(*parts), crop=16, generated=FEW)
    data = MixtureDataset(config, str(data_root), 0, False, teach)
    plain = MixtureDataset(config, str(data_root), 0)
    assert asked == [(24, 32, 3)] * 3
    seen = set()
    for index in range(40):
        sample = data[index]
        own = sample.kind in (Kind.PAIR, Kind.UNLABELLED)
        wanted = 255 - sample.rainy if own else torch.zeros_like(sample.rainy)
        assert torch.equal(sample.taught, wanted)
        assert torch.equal(sample.rainy, plain[index].rainy)
        assert torch.equal(sample.clean, plain[index].clean)
        seen.add(int(sample.kind))
    assert seen == set(map(int, Kind))


def test_pieces_are_made_once_and_taught(data_root: Path) -> None:
    asked = []

    def teach(rainy: np.ndarray) -> np.ndarray:
        asked.append(rainy.shape)
        return 255 - rainy

    parts = (PartConfig(DRY, 1.0, "generated"), PartConfig(DRY, 1.0, "borrowed", PAIRS))
    config = MixtureConfig(_named(*parts), crop=16, generated=FEW)
    data = MixtureDataset(config, str(data_root), 0, False, teach, pieces=4)
    assert asked == [(16, 16, 3)] * 4
    again = MixtureDataset(config, str(data_root), 0, False, teach, pieces=4)
    kept, fresh = set(), set()
    for index in range(80):
        sample = data[index]
        assert all(torch.equal(*both) for both in zip(sample, again[index], strict=True))
        if sample.kind == Kind.PAIR:
            assert torch.equal(sample.taught, 255 - sample.rainy)
            kept.add(_digest(sample.rainy.numpy()))
        else:
            assert sample.kind == Kind.MADE
            assert not sample.taught.any()
            fresh.add(_digest(sample.rainy.numpy()))
    assert 4 < len(kept) <= 8  # each as it is and mirrored
    assert len(fresh) > 25
    assert not kept & fresh


def test_shares_are_respected(data_root: Path) -> None:
    # as_is is 40 brighter, none is equal; weights 3 to 1.
    data = _data(data_root, PartConfig(PAIRS, 3.0), PartConfig(PAIRS, 1.0, "none"), crop=8)
    rainy = sum(not torch.equal(*data[index][:2]) for index in range(400))
    assert rainy / 400 == pytest.approx(0.75, abs=4 * np.sqrt(0.75 * 0.25 / 400))


def test_streak_pictures_are_used(data_root: Path) -> None:
    (data_root / "streaks").mkdir()
    white = np.full((12, 40, 3), 255, np.uint8)  # lower than the crop, so it is enlarged
    write_picture(data_root / "streaks/a.png", Picture(white))
    rain = GeneratedConfig(
        pool=1, streaks="streaks", streak_share=1.0, layers=(1.0,), screen=0.0, veil=0.0
    )
    rainy, clean, *_ = _data(data_root, PartConfig(DRY, rain="generated"), generated=rain)[0]
    added = rainy.int() - clean.int()
    assert (added[rainy < 255] >= 126).all()  # at least half of white everywhere


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_broad_streaks_take_their_share_of_the_pool(data_root: Path, share: float) -> None:
    thin, broad = (
        RainConfig((0, 0), (20, 20), (sigma, sigma), (0.05, 0.05), (0.2, 0.2)) for sigma in (0.3, 3)
    )
    rain = GeneratedConfig(
        thin, broad, share, pool=6, layers=(1.0,), streak_share=0.0, screen=0.0, veil=0.0
    )
    data = _data(data_root, PartConfig(DRY, rain="generated"), generated=rain)
    soft = 0
    for rainy, clean, *_ in map(data.__getitem__, range(60)):
        added = (rainy.int() - clean.int()).float()
        soft += bool(added.diff(dim=2).abs().mean() < 0.6 * added.mean())
    # A piece of 16 pixels may hold next to no rain, hence the tenth.
    assert soft / 60 == pytest.approx(share, abs=0.1 + 4 * np.sqrt(share * (1 - share) / 60))


def test_pictures_smaller_than_the_crop_are_enlarged(tmp_path: Path) -> None:
    # Columns count up by 9: enlarged from 20 to 30 they count up by 6, from the first to the last.
    ramp = np.broadcast_to(9 * np.arange(20, dtype=np.uint8)[:, None], (20, 20, 3))
    (tmp_path / "dry").mkdir()
    write_picture(tmp_path / "dry/0.png", Picture(ramp))
    _, clean, *_ = _data(tmp_path, PartConfig(DRY, rain="none"), crop=30, flips=False)[0]
    columns = clean.numpy().astype(float)
    assert columns.shape == (3, 30, 30)
    np.testing.assert_allclose(np.diff(columns[..., 1:-1]), 6, atol=1)
    np.testing.assert_allclose(columns[..., [0, -1]].mean((0, 1)), [0, 171], atol=1)


def test_pictures_smaller_than_half_the_crop_are_named(data_root: Path) -> None:
    with pytest.raises(DataError, match=r"dry/0\.png is 26x30, smaller than half of mixture\.crop"):
        _data(data_root, PartConfig(DRY), crop=53)


def test_indices_go_on_where_a_run_stopped_and_are_shared() -> None:
    whole = step_indices(0, 7, 4).tolist()
    assert whole == list(range(28))
    assert step_indices(0, 4, 4).tolist() + step_indices(4, 7, 4).tolist() == whole
    assert step_indices(5, 7, 4, rank=1, processes=2).tolist() == [22, 23, 26, 27]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PartConfig(DRY, 0.0), "weight 0.0 of 'dry' must be above 0"),
        (lambda: _config(shrink=1.5), r"mixture.shrink 1.5 is not within \[0, 1\]"),
        (lambda: _config(shrink_to=(0.0, 0.5)), r"mixture.shrink_to \[0.0, 0.5\] is not a range"),
        (lambda: _config(shrink=0.6, enlarge=0.5), r"mixture.enlarge 0.5 is not within"),
        (lambda: _config(enlarge_to=(2.0, 129.0)), r"is not a range within \[1, 128\]"),
        (lambda: MixtureConfig({}), r"mixture\.parts is empty"),
        (lambda: _config(crop=4), r"mixture\.crop 4 is not within"),
        (lambda: GeneratedConfig(veil=2.0), r"generated\.veil 2\.0 is not within"),
        (lambda: GeneratedConfig(broad_share=-0.1), r"generated\.broad_share -0\.1 is not within"),
        (lambda: GeneratedConfig(pool=0), r"generated\.pool 0"),
        (lambda: GeneratedConfig(layers=(0.5,)), r"generated\.layers \[0\.5\] must add up to 1"),
        (lambda: GeneratedConfig(veil_strength=(0.5, 0.1)), r"generated\.veil_strength"),
    ],
)
def test_wrong_values_are_named(make, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_batch_is_cut_along_its_samples() -> None:
    pictures = torch.arange(4 * 3 * 2 * 2, dtype=torch.uint8).reshape(4, 3, 2, 2)
    kinds = torch.tensor([int(kind) for kind in Kind])
    batch = Sample(pictures, 255 - pictures, kinds, torch.empty(4, 0, dtype=torch.uint8))
    first, second = batch.chunk(2)
    assert torch.equal(torch.cat([first.rainy, second.rainy]), batch.rainy)
    assert torch.equal(second.clean, batch.clean[2:])
    assert second.kind.tolist() == [Kind.DRY, Kind.UNLABELLED]
    assert first.taught.shape == (2, 0)


def test_bytes_become_floats_channels_last() -> None:
    colour = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 3, 1, 1)
    found = to_float(colour.expand(2, 3, 4, 4))
    assert found[1, :, 2, 3].tolist() == [0.0, torch.tensor(0.2).item(), 1.0]
    assert found.is_contiguous(memory_format=torch.channels_last)


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
