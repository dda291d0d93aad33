"""The golden picture is the same everywhere, and only the right function passes."""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.derainer import Derainer
from edge_runtime.engines.base import Batch
from edge_runtime.errors import CardError
from edge_runtime.models.card import Golden, ModelCard
from edge_runtime.report.golden import (
    LIMITS,
    check_golden,
    compare_with_golden,
    draw_rainy,
    golden_input,
    make_golden,
    sample,
)


class Function:
    """A session that is a function of a batch."""

    name, provider = "numpy", "test"

    def __init__(self, function: Callable[[Batch], Batch]) -> None:
        self.run = function


def derainer_of(
    card: ModelCard, function: Callable[[Batch], Batch], tile: int | None = None
) -> Derainer:
    return Derainer(Function(function), card, Path("function"), tile)


def halved(batch: Batch) -> Batch:
    return np.asarray(batch * np.float32(0.5))


def blurred(batch: Batch) -> Batch:
    return np.asarray((np.roll(batch, 1, axis=3) + np.roll(batch, -1, axis=3)) * np.float32(0.25))


def with_golden(card: ModelCard, function: Callable[[Batch], Batch]) -> ModelCard:
    return dataclasses.replace(card, golden=make_golden(derainer_of(card, function)))


@pytest.mark.parametrize(
    ("seed", "height", "width", "digest"),
    [
        (0, 64, 64, "ed729f78d07897fbd569da22a700d7b103615df37c24d78d3ea9f9e30c0229b5"),
        (7, 48, 80, "a9b512f12b8e4d64c779b66ea33746baf88e0f3dfdc42554a80f2da0e76d2c77"),
    ],
)
def test_the_picture_has_the_same_bytes_everywhere(
    seed: int, height: int, width: int, digest: str
) -> None:
    picture = draw_rainy(seed, height, width)
    assert (picture.shape, picture.dtype) == ((height, width, 3), np.uint8)
    assert hashlib.sha256(picture.tobytes()).hexdigest() == digest


def test_the_picture_is_a_picture_with_rain() -> None:
    picture = draw_rainy(0, 64, 64).astype(int)
    assert picture.std(axis=(0, 1)).min() > 30
    steps = np.abs(np.diff(picture.mean(axis=2), axis=1))
    assert np.median(steps) < 8  # smooth
    assert np.mean(steps > 40) > 0.02  # with edges and streaks
    assert not np.array_equal(picture, draw_rainy(1, 64, 64))


@pytest.mark.parametrize(("multiple", "side"), [(1, 64), (16, 64), (24, 72), (128, 128)])
def test_its_size_is_legal(card: ModelCard, multiple: int, side: int) -> None:
    golden = make_golden(derainer_of(dataclasses.replace(card, size_multiple=multiple), halved))
    assert (golden.height, golden.width) == (side, side)
    assert golden_input(golden).shape == (side, side, 3)


def test_statistics_and_samples_are_those_of_the_result(card: ModelCard) -> None:
    derainer = derainer_of(card, halved)
    golden = make_golden(derainer)
    derained = derainer(draw_rainy(0, 64, 64))
    assert golden.output_sha256 == hashlib.sha256(derained.tobytes()).hexdigest()
    assert np.allclose(golden.mean, derained.mean(axis=(0, 1)), atol=1e-4)
    assert np.allclose(golden.deviation, derained.std(axis=(0, 1)), atol=1e-4)
    values = bytes.fromhex(golden.samples)
    assert len(values) == 384
    assert values[2] == derained.reshape(-1)[2 * 7919 % derained.size]
    made = dataclasses.replace(card, golden=golden)
    assert len(made.to_json()) - len(card.to_json()) < 4000


def test_a_pair_with_more_samples_is_judged_by_all_of_them(card: ModelCard) -> None:
    golden = make_golden(derainer_of(card, halved))
    derained = derainer_of(card, halved)(golden_input(golden))
    more = dataclasses.replace(golden, samples=sample(derained, 1536).tobytes().hex())
    moved = derained.copy()
    moved.reshape(-1)[1000 * 7919 % moved.size] ^= 2
    assert compare_with_golden(golden, moved, LIMITS["fp32"]).largest == 0
    assert compare_with_golden(more, moved, LIMITS["fp32"]).largest == 2


def test_samples_are_different_values_of_all_channels() -> None:
    places = np.arange(48 * 80 * 3, dtype=np.uint16).reshape(48, 80, 3)
    found = sample(places)
    assert len(np.unique(found)) == 384
    assert np.ptp(np.bincount(found % 3)) <= 1
    assert len(sample(np.zeros((2, 2, 3), np.uint8))) == 12


@pytest.mark.parametrize("precision", LIMITS)
def test_the_same_function_is_identical(card: ModelCard, precision: str) -> None:
    made = with_golden(dataclasses.replace(card, precision=precision), halved)
    result = check_golden(derainer_of(made, halved))
    assert (result.passed, result.identical, result.largest, result.rms) == (True, True, 0, 0.0)


@pytest.mark.parametrize("precision", LIMITS)
@pytest.mark.parametrize("wrong", [lambda batch: batch, blurred, lambda b: halved(b)[..., ::-1]])
def test_another_function_fails(
    card: ModelCard, precision: str, wrong: Callable[[Batch], Batch]
) -> None:
    made = with_golden(dataclasses.replace(card, precision=precision), halved)
    result = check_golden(derainer_of(made, wrong))
    assert result.tested
    assert not result.passed


def test_rounding_passes_and_more_does_not(card: ModelCard) -> None:
    golden = make_golden(derainer_of(card, halved))
    expected = derainer_of(card, halved)(golden_input(golden)).reshape(-1)

    def with_changes(levels: int, every: int) -> np.ndarray:
        moved = expected.copy()
        moved[::every] += np.uint8(levels)
        return moved.reshape(64, 64, 3)

    def passes(precision: str, levels: int, every: int) -> bool:
        return compare_with_golden(golden, with_changes(levels, every), LIMITS[precision]).passed

    assert passes("fp32", 1, 100)
    assert not passes("fp32", 1, 10)
    assert not passes("fp32", 2, 100)
    assert passes("fp16", 1, 2)
    assert not passes("fp16", 2, 100)
    assert passes("int8", 1, 1)
    assert not passes("int8", 3, 1)
    assert not passes("int8", 30, 1000)


def test_a_shift_that_the_samples_miss_is_seen_in_the_mean(card: ModelCard) -> None:
    golden = make_golden(derainer_of(card, halved))
    derained = derainer_of(card, halved)(golden_input(golden))
    sampled = np.zeros(derained.size, bool)
    sampled[np.arange(384) * 7919 % derained.size] = True
    moved = np.where(sampled.reshape(derained.shape), derained, derained + 1).astype(np.uint8)
    result = compare_with_golden(golden, moved, LIMITS["fp32"])
    assert result.largest == 0
    assert result.rms == pytest.approx(1 - 384 / derained.size, abs=0.01)
    assert not result.passed


def test_tiles_do_not_change_it(card: ModelCard) -> None:
    sizes = []

    def seen(batch: Batch) -> Batch:
        sizes.append(batch.shape)
        return halved(batch)

    made = with_golden(card, halved)
    derainer = derainer_of(made, seen, tile=16)
    assert check_golden(derainer).identical
    assert sizes == [(1, 3, 64, 64)]
    assert derainer.tile == 16


def test_a_card_without_one_is_not_tested(card: ModelCard) -> None:
    result = check_golden(derainer_of(card, halved))
    assert (result.tested, result.passed) == (False, False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"drawer": 2}, "drawer 2: this version draws 1; upgrade"),
        ({"seed": 1}, "the picture drawn here has sha256"),
        ({"samples": "00" * 12289}, "has 12289 values, a picture of 64x64 has 12288; export"),
    ],
)
def test_a_damaged_pair_is_refused(
    card: ModelCard, changes: dict[str, object], message: str
) -> None:
    golden = make_golden(derainer_of(card, halved))
    damaged: Golden = dataclasses.replace(golden, **changes)
    with pytest.raises(CardError, match=message) as caught:
        check_golden(derainer_of(dataclasses.replace(card, golden=damaged), blurred))
    assert "\n" not in str(caught.value)
