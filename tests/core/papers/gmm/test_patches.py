import numpy as np
import pytest

from core.papers.gmm.patches import SIDE, average, extract


@pytest.mark.parametrize("stride", [1, 2, 8])
def test_extract_against_a_loop(stride: int) -> None:
    plane = np.random.default_rng(0).random((16, 24), np.float32)
    patches, means = extract(plane, stride)
    tiled = np.tile(plane, (2, 2))
    index = 0
    for y in range(0, 16, stride):
        for x in range(0, 24, stride):
            patch = tiled[y : y + SIDE, x : x + SIDE]
            np.testing.assert_allclose(means[index, 0], patch.mean(), rtol=1e-5)
            np.testing.assert_allclose(patches[index], (patch - patch.mean()).ravel(), atol=1e-6)
            index += 1
    assert index == len(patches)


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_average_gives_the_plane_back(stride: int) -> None:
    plane = np.random.default_rng(1).random((16, 8), np.float32)
    patches, means = extract(plane, stride)
    np.testing.assert_allclose(average(patches + means, plane.shape, stride), plane, atol=1e-6)


def test_average_of_patches_that_disagree_against_a_loop() -> None:
    patches = np.random.default_rng(2).random((8 * 12, 64), np.float32)
    total = np.zeros((16, 24))
    for index, patch in enumerate(patches):
        y, x = 2 * (index // 12), 2 * (index % 12)
        for dy in range(SIDE):
            for dx in range(SIDE):
                total[(y + dy) % 16, (x + dx) % 24] += patch[dy * SIDE + dx]
    np.testing.assert_allclose(average(patches, (16, 24), 2), total / 16, atol=1e-5)
