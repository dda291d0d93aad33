"""Mixtures learned with scikit-learn, from photographs or from a picture's own rain."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from core.config import config_parser, parse_config
from core.errors import ConfigError, DataError, check_bounds
from core.evaluation.files import check_text_target
from core.pairs import Image, SourceConfig, find_pairs
from core.papers.gmm.mixture import SIDE, Array, Mixture, save_mixture
from core.progress import track

_FLOOR = 1e-6
"""Added to the diagonal of covariances: a level of 8 bits has a variance of 1.5e-5."""
_REGION = 100
"""Height and width of the flat region of a rainy picture, in pixels."""
_RAIN_COMPONENTS, _RAIN_STEPS = 10, 10


@dataclass(frozen=True)
class PriorConfig:
    """What a background mixture is learned from.

    Attributes:
        sources: pictures; the clean half of pairs is taken.
        data_root: folder to which they are relative.
        components: of the mixture.
        patches: how many are taken in all, the same number from every picture.
        steps: of expectation and maximization at most.
        seed: of the draw and of the first guess.

    Raises:
        ConfigError: no source, or a number out of range.
    """

    sources: tuple[SourceConfig, ...] = field(default_factory=tuple)
    data_root: str = "data"
    components: int = 100
    patches: int = 60_000
    steps: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.sources:
            raise ConfigError("sources is empty; name at least one data set")
        check_bounds(self, components=1, patches=2 * self.components, steps=1)


def luma(rgb: Image) -> Array:
    """Return the Y of YUV (ITU-R BT.601, full range): ``0.299 R + 0.587 G + 0.114 B``.

    Args:
        rgb: uint8 (H, W, 3) RGB.

    Returns:
        float32 (H, W) in [0, 1].
    """
    weights = np.array([0.299, 0.587, 0.114], np.float32) / np.float32(255)
    return np.asarray(rgb.astype(np.float32) @ weights, np.float32)


def learn_background(config: PriorConfig, progress: bool) -> Mixture:
    """Learn what patches of clean photographs look like.

    Args:
        config: the photographs and the size of the mixture.
        progress: show a bar of the reading on standard error.

    Raises:
        DataError: photographs that are missing, or too few patches.
        ModuleNotFoundError: scikit-learn is not installed.
    """
    files = [file for source in config.sources for file in find_pairs(source, config.data_root)]
    rng = np.random.default_rng(config.seed)
    each = -(-config.patches // len(files))
    drawn = [
        _draw(luma(file.read()[1]), each, rng)
        for file in track(files, "clean photographs" if progress else None)
    ]
    patches = np.concatenate(drawn)[: config.patches]
    return fit(patches, config.components, config.steps, config.seed)


def learn_rain(plane: Array) -> Mixture:
    """Learn what the rain of a picture looks like from its flattest region, as the paper does.

    What varies there is rain, since nothing else does; in a dry picture it is next to nothing. The
    mixture has ten components, fewer where the region has fewer than four patches for each.

    Args:
        plane: luma of the rainy picture, float32 (H, W) in [0, 1].
    """
    top, left = flattest(plane, _REGION)
    flat = plane[top : top + _REGION, left : left + _REGION]
    windows = np.lib.stride_tricks.sliding_window_view(flat, (SIDE, SIDE))
    patches = _without_means(windows.reshape(-1, SIDE * SIDE))
    return fit(patches, max(1, min(_RAIN_COMPONENTS, len(patches) // 4)), _RAIN_STEPS, seed=0)


def flattest(plane: Array, region: int) -> tuple[int, int]:
    """Return row and column of the top left of the square of least variance.

    Args:
        plane: float32 (H, W).
        region: height and width of the square, cut to the picture.
    """
    height, width = (min(region, size) for size in plane.shape)
    exact = plane.astype(np.float64)
    total, squared = cv2.integral2(exact)

    def boxes(table: NDArray[Any]) -> NDArray[Any]:
        upper, lower = table[:-height], table[height:]
        inside = lower[:, width:] - upper[:, width:] - lower[:, :-width] + upper[:, :-width]
        return np.asarray(inside)

    area = height * width
    variance = boxes(np.asarray(squared)) / area - (boxes(np.asarray(total)) / area) ** 2
    row, column = np.unravel_index(variance.argmin(), variance.shape)
    return int(row), int(column)


def fit(patches: Array, components: int, steps: int, seed: int) -> Mixture:
    """Fit a mixture with scikit-learn's expectation maximization, from a k-means guess.

    Args:
        patches: float32 (N, D).
        components: of the mixture.
        steps: at most; it ends before where the likelihood no longer rises.
        seed: of k-means.

    Raises:
        DataError: fewer patches than components.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    if len(patches) < components:
        raise DataError(
            f"{len(patches)} patches are too few for {components} components; give more pictures"
        )
    model = GaussianMixture(components, reg_covar=_FLOOR, max_iter=steps, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(patches)
    return Mixture(
        weights=model.weights_.astype(np.float32),
        means=model.means_.astype(np.float32),
        covariances=model.covariances_.astype(np.float32),
    )


def _draw(plane: Array, count: int, rng: np.random.Generator) -> Array:
    if min(plane.shape) < SIDE:
        raise DataError(f"a picture of {plane.shape[1]}x{plane.shape[0]} has no patch; remove it")
    windows = np.lib.stride_tricks.sliding_window_view(plane, (SIDE, SIDE))
    rows = rng.integers(0, windows.shape[0], count)
    columns = rng.integers(0, windows.shape[1], count)
    return _without_means(windows[rows, columns].reshape(count, SIDE * SIDE))


def _without_means(patches: Array) -> Array:
    return np.asarray(patches - patches.mean(axis=1, keepdims=True), np.float32)


def command(arguments: Sequence[str]) -> int:
    """Run ``derain gmm-prior`` and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="derain gmm-prior",
        description="Learn a Gaussian mixture of 8x8 patches of clean photographs.",
    )
    parser.add_argument(
        "--config", metavar="FILE", required=True, help="YAML with the data (gmm_prior.yaml)"
    )
    parser.add_argument("--data-root", "--data_root", metavar="DIR", help="folder of the data sets")
    parser.add_argument("-o", dest="out", metavar="FILE", required=True, help=".safetensors")
    options = parser.parse_args(arguments)

    values = ["--config", options.config]
    if options.data_root:
        values += ["--data_root", options.data_root]
    config = parse_config(PriorConfig, config_parser(PriorConfig), values)
    out = Path(options.out)
    check_text_target("-o", out)
    mixture = learn_background(config, progress=True)
    origin = {name: getattr(config, name) for name in ("patches", "steps", "seed")}
    save_mixture(out, mixture, {"data": [source.name for source in config.sources], **origin})
    print(f"{len(mixture.weights)} components, {mixture.parameters:,} numbers: {out}")
    return 0
