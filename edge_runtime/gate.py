"""The gate: how likely it is that what a network takes out of a picture is rain, and how much goes.

Rain is all over a picture, brighter than what is behind it, without a colour of its own, thin, and
of about one direction; bark, grass and facades are local, coloured and follow the edges of what
stays. Some squares of the picture are measured for that, and a small perceptron, fitted on
photographs with and without rain (``benchmarks/rain_score.py``), weighs the measurements.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import UsageError
from edge_runtime.tiles import PEAKS, Rectangle

THRESHOLD = 0.42
"""Score below which a picture is left alone, unless told otherwise."""
CERTAIN = 0.4
"""How far above the threshold everything that the network finds is taken out."""
SIDE = 64
"""Pixels of a square that is measured."""
SQUARES = 24
"""The most squares of a picture."""
SECONDS = 1.0
"""In which the score of a video follows its frames for the greater part (1 - 1/e)."""
WEIGHTS = Path(__file__).parent / "weights" / "rain_score.json"

_Floats = NDArray[np.float32]
_LEAST = 8  # pixels to which smaller squares are extended
_LUMA = np.array([[0.25, 0.5, 0.25]], np.float32)


def check_threshold(threshold: float) -> float:
    """Return ``threshold``; raises UsageError where it is not within [0, 1]."""
    if not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
        raise UsageError(
            f"threshold {threshold!r}: must lie within [0, 1]; 0 derains every picture"
        )
    return threshold


def strength_of(score: float, threshold: float) -> float:
    """Say how much of what a network finds is to be taken out, from 0 to 1.

    Nothing below the threshold, everything from ``CERTAIN`` above it, and evenly more in between,
    so that a video does not jump. Everything where the threshold is 0.
    """
    if threshold == 0:
        return 1.0
    return float(np.clip((score - threshold) / CERTAIN, 0, 1))


def places(height: int, width: int) -> list[Rectangle]:
    """Spread squares of ``SIDE`` pixels evenly over a picture, as many as fit and are wanted."""
    side = min(SIDE, height, width)
    rows, columns = height // side, width // side
    share = min(1.0, (SQUARES / (rows * columns)) ** 0.5)
    rows, columns = max(1, int(rows * share)), max(1, int(columns * share))
    if rows * columns > SQUARES:  # one long row
        rows, columns = min(rows, SQUARES), min(columns, SQUARES)
    tops, lefts = _spread(rows, height, side), _spread(columns, width, side)
    return [(slice(y, y + side), slice(x, x + side)) for y in tops for x in lefts]


def rain_score(before: Sequence[NDArray[Any]], after: Sequence[NDArray[Any]]) -> float:
    """Say how likely it is that what was taken out of a picture is rain.

    Args:
        before: The squares of the picture that ``places`` names, HWC RGB or HW grey; uint8,
            uint16, or float32 in [0, 1].
        after: The same squares, derained.

    Returns:
        0, surely not, to 1; 0 where nothing was taken out.
    """
    if all(np.array_equal(*each) for each in zip(before, after, strict=True)):
        return 0.0
    return _perceptron(WEIGHTS)(features(before, after))


def features(before: Sequence[NDArray[Any]], after: Sequence[NDArray[Any]]) -> _Floats:
    """Measure what was taken out; arguments as those of :func:`rain_score`.

    Returns:
        float32 (101,): means, deviations, lower and upper fifths and medians of 19 measurements
        over the squares, and six of the directions of all of them together.
    """
    each, gradients = _measure(_levels(before), _levels(after))
    ranked = np.sort(each, axis=0)
    last = len(ranked) - 1
    fifths = [ranked[round(share * last)] for share in (0.2, 0.5, 0.8)]
    together = gradients.sum(axis=0)
    evened = (gradients / (gradients[:, :1] + gradients[:, 1:2] + 0.5)).mean(axis=0)
    energy = together[0] + together[1] + 0.05
    directions = [*_direction(together, energy), *_direction(evened, 1.0)]
    return np.concatenate([each.mean(0), each.std(0), *fifths, directions]).astype(np.float32)


def _measure(before: _Floats, after: _Floats) -> tuple[NDArray[Any], NDArray[Any]]:
    """Measure each square: (N, S, S, 3) in levels of 255 both; returns (N, 19) and (N, 3)."""
    count, side = before.shape[:2]
    flat = (count * side, side, 3)
    removed = before.reshape(flat) - after.reshape(flat)
    squares = (count, side, side)
    rain: _Floats = np.asarray(cv2.transform(removed, _LUMA), np.float32)
    fine: _Floats = np.asarray(cv2.absdiff(rain, cv2.blur(rain, (5, 5))), np.float32)
    red, blue = (np.ascontiguousarray(removed[..., channel]) for channel in (0, 2))
    colour = np.asarray(cv2.absdiff(red, blue), np.float32).reshape(squares)
    stays = np.asarray(cv2.transform(after.reshape(flat), _LUMA), np.float32).reshape(squares)
    rain, fine = rain.reshape(squares), fine.reshape(squares)
    size = np.abs(rain)
    mean, signed, level = _mean(size), _mean(rain), _mean(stays)
    scale = mean + 0.2
    (rain_x, rain_y), (stay_x, stay_y) = _slopes(rain), _slopes(stays)
    xx, yy, xy = _dot(rain_x, rain_x), _dot(rain_y, rain_y), _dot(rain_x, rain_y)
    kept_xx, kept_yy, kept_xy = _dot(stay_x, stay_x), _dot(stay_y, stay_y), _dot(stay_x, stay_y)
    energy, kept = xx + yy + 0.05, kept_xx + kept_yy + 0.05
    edges, inside = np.abs(stay_x) + np.abs(stay_y), size[:, 1:-1, 1:-1]
    measurements = [
        np.log(mean + 0.051),
        _mean(rain > 3),
        _mean(rain < -3),
        (mean + signed) / 2 / scale,
        _mean(colour) / scale,
        *_direction((xx, yy, xy), energy),
        _mean(fine) / scale,
        np.log(kept),
        np.log(energy / (energy + kept)),
        np.log(energy),
        np.sqrt(_dot(rain, rain)) / scale,
        level / 255,
        *_direction((kept_xx, kept_yy, kept_xy), kept)[:2],
        _correlation(edges, inside),
        _correlation(stays, rain),
        (_dot(rain_x, stay_x) + _dot(rain_y, stay_y)) / np.sqrt(energy * kept),
    ]
    return np.stack(measurements, axis=1), np.stack([xx, yy, xy], axis=1)


def _direction(tensor: Any, energy: Any) -> tuple[Any, Any, Any]:
    """Return the doubled direction of gradients, as cosine and sine, and how much they agree."""
    xx, yy, xy = tensor
    cosine, sine = (xx - yy) / energy, 2 * xy / energy
    return cosine, sine, np.hypot(cosine, sine)


def _slopes(planes: _Floats) -> tuple[_Floats, _Floats]:
    """Return central differences along rows and columns, without the border."""
    across = planes[:, 1:-1, 2:] - planes[:, 1:-1, :-2]
    return across, planes[:, 2:, 1:-1] - planes[:, :-2, 1:-1]


def _mean(planes: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(planes.mean(axis=(1, 2), dtype=np.float32))


def _dot(one: _Floats, other: _Floats) -> NDArray[Any]:
    """Return the mean product of each pair of planes."""
    return np.asarray(np.einsum("nyx,nyx->n", one, other) / one[0].size)


def _correlation(one: _Floats, other: _Floats) -> NDArray[Any]:
    means = _mean(one), _mean(other)
    spread = [_dot(each, each) - mean**2 for each, mean in zip((one, other), means, strict=True)]
    product = np.maximum(spread[0], 0) * np.maximum(spread[1], 0)
    return np.asarray((_dot(one, other) - means[0] * means[1]) / np.sqrt(product + 1e-2))


def _levels(squares: Sequence[NDArray[Any]]) -> _Floats:
    """Stack squares as float32 (N, S, S, 3) in levels of 255; grey ones get three channels."""
    stacked = np.stack(squares)
    levels = np.asarray(stacked * np.float32(255 / PEAKS[stacked.dtype]), np.float32)
    if levels.ndim == 3:
        levels = np.repeat(levels[..., None], 3, axis=3)
    missing = max(0, _LEAST - levels.shape[1])
    beyond = ((0, 0), (0, missing), (0, missing), (0, 0))
    return np.pad(levels, beyond, mode="edge") if missing else levels


def _spread(count: int, length: int, side: int) -> list[int]:
    """Return where ``count`` squares begin, each in the middle of its share of ``length``."""
    middles = (np.arange(count) + 0.5) * (length / count)
    return [int(each) for each in np.clip(middles - side / 2, 0, length - side)]


@cache
def _perceptron(weights: Path) -> Callable[[_Floats], float]:
    """Read the fitted weights: one hidden layer of rectified units, and a logistic one."""
    stored = json.loads(weights.read_text(encoding="utf-8"))
    mean, scale, hidden, bias, out = (
        np.asarray(stored[name], np.float32) for name in ("mean", "scale", "hidden", "bias", "out")
    )

    def score(measured: _Floats) -> float:
        units = np.clip((measured - mean) / scale, -5, 5) @ hidden + bias
        logit = float(np.maximum(units, 0) @ out + stored["offset"])
        return float(1 / (1 + np.exp(-logit)))

    return score


class VideoGate:
    """The gate of one video, whose score follows the frames over a second or so. Not for threads.

    What is taken out of a frame therefore does not jump: from one frame to the next it changes by
    a share of what is asked for, which is small where frames are many.

    Args:
        threshold: as :func:`strength_of` takes it.
    """

    def __init__(self, threshold: float = THRESHOLD) -> None:
        self.threshold = check_threshold(threshold)
        self.score: float | None = None
        self._time = 0.0

    def __call__(self, score: float, seconds: float) -> float:
        """Return how much is to be taken out of a frame, from its own score and its time."""
        if self.score is None:
            self.score = score
        passed = max(seconds - self._time, 0.0)
        self._time = seconds
        self.score += (score - self.score) * float(1 - np.exp(-passed / SECONDS))
        return strength_of(self.score, self.threshold)
