"""Golden pairs: a second's proof that this engine on this chip computes what a card says.

The card holds the hash of a derained picture and some of its values. The rainy picture is drawn
here, in integer arithmetic on arrays alone, so that it has the same bytes on every machine and with
every version of numpy. A chip that rounds otherwise passes; another function does not.
"""

from __future__ import annotations

import copy
import hashlib
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_runtime.derainer import Derainer
from edge_runtime.errors import CardError
from edge_runtime.models.card import Golden

DRAWER = 1
"""Version of :func:`draw_rainy`. A change of its pictures is a new version."""

Picture = NDArray[np.uint8]

_LEAST_SIDE = 64
_SAMPLES = 384
_STRIDE = 7919  # a prime, so that samples lie all over the picture and its channels


class Limits(NamedTuple):
    """How far a derained picture may be from the expected one, in levels of 8 bits.

    Attributes:
        largest: difference of any one value.
        rms: root of the mean square of all differences. Means and standard deviations of two
            pictures differ by no more than this.
    """

    largest: int
    rms: float


LIMITS = {
    "fp32": Limits(1, 0.15),
    "fp16": Limits(1, 0.75),
    "int8": Limits(16, 2.0),
    "dynamic": Limits(16, 2.0),
}
"""By precision. fp32 engines sum in different orders, which changes the rounding of the result by
one level in one value of a hundred at most (0.1 rms); fp16 arithmetic may in every second one.
Where integers are rounded inside the network, a sum may fall to the code beside, which changes the
rounding of all that follows."""


@dataclass(frozen=True)
class GoldenResult:
    """What a derained golden picture is against the one that its card expects.

    Attributes:
        tested: the card holds a golden pair; otherwise nothing was run.
        identical: every value is the same.
        largest: largest difference of the sampled values, in levels of 8 bits.
        rms: root mean square of these differences, or the difference of a mean or standard
            deviation of the whole picture where that is larger.
        limits: what ``largest`` and ``rms`` may be.
    """

    tested: bool
    identical: bool
    largest: int
    rms: float
    limits: Limits

    @property
    def passed(self) -> bool:
        """Whether it was tested and is within the limits."""
        within = self.largest <= self.limits.largest and self.rms <= self.limits.rms
        return self.tested and (self.identical or within)


def check_golden(derainer: Derainer) -> GoldenResult:
    """Derain the golden picture of an opened model and compare.

    The picture is derained in one piece, whatever the tiles of ``derainer`` are.

    Raises:
        CardError: The golden pair of the card was drawn by a version that is not known here, or
            this machine draws another picture than the card says.
        SessionError: The engine failed.
    """
    golden = derainer.card.golden
    limits = LIMITS[derainer.card.precision]
    if golden is None:
        return GoldenResult(False, False, 0, 0.0, limits)
    return compare_with_golden(golden, _whole(derainer)(golden_input(golden)), limits)


def make_golden(derainer: Derainer, seed: int = 0) -> Golden:
    """Return the golden pair of an opened model: what it makes of a drawn picture now.

    Height and width of the picture are the smallest legal ones from 64 pixels, or the only ones
    that the model takes.

    Raises:
        SessionError: The engine failed.
    """
    multiple = derainer.card.size_multiple
    side = -(-_LEAST_SIDE // multiple) * multiple
    height, width = derainer.fixed_size or (side, side)
    rainy = draw_rainy(seed, height, width)
    derained = _whole(derainer)(rainy)
    mean, deviation = _statistics(derained)
    return Golden(
        drawer=DRAWER,
        seed=seed,
        height=height,
        width=width,
        input_sha256=_sha256(rainy),
        output_sha256=_sha256(derained),
        mean=tuple(round(value, 4) for value in mean.tolist()),
        deviation=tuple(round(value, 4) for value in deviation.tolist()),
        samples=sample(derained).tobytes().hex(),
    )


def golden_input(golden: Golden) -> Picture:
    """Draw the rainy picture of a golden pair: HWC uint8 RGB.

    Raises:
        CardError: It was drawn by a version that is not known here, or is not the one whose hash
            the card holds.
    """
    if golden.drawer != DRAWER:
        raise CardError(
            f"golden pair of drawer {golden.drawer}: this version draws {DRAWER}; upgrade with: "
            "pip install --upgrade edge-derain, or export the artifact again"
        )
    rainy = draw_rainy(golden.seed, golden.height, golden.width)
    if _sha256(rainy) != golden.input_sha256:
        raise CardError(
            f"golden pair of seed {golden.seed}: the picture drawn here has sha256 "
            f"{_sha256(rainy)}, the card says {golden.input_sha256}; the card or this "
            "installation is damaged, install or export again"
        )
    return rainy


def compare_with_golden(golden: Golden, derained: Picture, limits: Limits) -> GoldenResult:
    """Judge ``derained``, HWC uint8 RGB, against what ``golden`` expects."""
    if _sha256(derained) == golden.output_sha256:
        return GoldenResult(True, True, 0, 0.0, limits)
    expected = np.frombuffer(bytes.fromhex(golden.samples), np.uint8)
    if len(expected) > derained.size:
        raise CardError(
            f"golden.samples: has {len(expected)} values, a picture of "
            f"{golden.height}x{golden.width} has {derained.size}; export the artifact again"
        )
    difference = np.abs(sample(derained, len(expected)).astype(np.float64) - expected)
    mean, deviation = _statistics(derained)
    shifts = np.abs([mean - golden.mean, deviation - golden.deviation])
    rms = max(math.sqrt(float(np.mean(difference**2))), float(shifts.max()))
    return GoldenResult(True, False, int(difference.max()), rms, limits)


def sample(picture: Picture, count: int = _SAMPLES) -> Picture:
    """Return ``count`` values of a picture, as a card keeps them, spread by a stride of 7919.

    A picture of fewer values gives all of them.
    """
    places = np.arange(min(count, picture.size), dtype=np.int64) * _STRIDE % picture.size
    return picture.reshape(-1)[places]


def draw_rainy(seed: int, height: int, width: int) -> Picture:
    """Draw smooth colours, hard edges, fine grain, and streaks of rain on them.

    Returns:
        HWC uint8 RGB, the same bytes everywhere.
    """
    picture = _smooth(seed, height, width)
    picture = _with_edges(picture, seed)
    picture += _random(seed, 3, height * width * 3).reshape(height, width, 3) % 9 - 4
    return _with_streaks(np.clip(picture, 0, 255), seed).astype(np.uint8)


def _random(seed: int, stream: int, count: int) -> NDArray[np.int64]:
    """Return ``count`` numbers from 0 to 2**31 - 1: the finalizer of splitmix64 on a counter."""
    key = (seed * 0x9E3779B97F4A7C15 + stream * 0xD1B54A32D192ED03) % 2**64
    bits: NDArray[np.uint64] = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(
        0x9E3779B97F4A7C15
    )
    bits ^= np.uint64(key)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed = (bits ^ (bits >> np.uint64(31))) >> np.uint64(33)
    return np.asarray(mixed, dtype=np.int64)


def _smooth(seed: int, height: int, width: int, cell: int = 32) -> NDArray[np.int64]:
    """Interpolate random muted colours on a lattice linearly."""
    rows, columns = height // cell + 2, width // cell + 2
    numbers = _random(seed, 1, rows * columns * 4).reshape(rows, columns, 4)
    lattice = numbers[..., :1] % 150 + 30 + numbers[..., 1:] % 61
    y: NDArray[np.int64] = np.arange(height, dtype=np.int64)[:, None, None]
    x: NDArray[np.int64] = np.arange(width, dtype=np.int64)[None, :, None]
    row, column, down, right = y // cell, x // cell, y % cell, x % cell
    row, column = row[..., 0], column[..., 0]
    above = lattice[row, column] * (cell - right) + lattice[row, column + 1] * right
    below = lattice[row + 1, column] * (cell - right) + lattice[row + 1, column + 1] * right
    return np.asarray((above * (cell - down) + below * down) // cell**2, dtype=np.int64)


def _with_edges(picture: NDArray[np.int64], seed: int, edges: int = 4) -> NDArray[np.int64]:
    """Shift the colour on one side of straight lines, as walls and roofs do."""
    height, width, _ = picture.shape
    y, x = np.arange(height)[:, None], np.arange(width)[None, :]
    for numbers in _random(seed, 2, edges * 8).reshape(edges, 8):
        a, b = numbers[0] % 17 - 8, numbers[1] % 17 - 8
        side = a * (y - numbers[2] % height) + b * (x - numbers[3] % width) > 0
        picture = picture + side[..., None] * (numbers[4] % 101 - 50 + numbers[5:] % 31 - 15)
    return np.clip(picture, 0, 255)


def _with_streaks(picture: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Mix slanted lines of near white in, one for every 64 pixels, all of one slope."""
    height, width, _ = picture.shape
    slope = int(_random(seed, 4, 1)[0]) % 9 - 4
    count = height * width // 64
    opacity = np.zeros((height, width), np.int64)
    for top, left, length, strength in _random(seed, 5, count * 4).reshape(count, 4).tolist():
        rows = np.arange(top % height, min(top % height + 6 + length % 13, height))
        columns = (left + (rows - rows[0]) * slope // 16) % width
        opacity[rows, columns] = np.maximum(opacity[rows, columns], 60 + strength % 120)
    return picture + (245 - picture) * opacity[..., None] // 256


def _whole(derainer: Derainer) -> Derainer:
    whole = copy.copy(derainer)
    whole.tile, whole.threshold = 0, None
    return whole


def _statistics(picture: Picture) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    values = picture.reshape(-1, 3).astype(np.float64)
    return values.mean(axis=0), values.std(axis=0)


def _sha256(picture: Picture) -> str:
    return hashlib.sha256(np.ascontiguousarray(picture).tobytes()).hexdigest()
