"""High dynamic range, PQ and HLG of ITU-R BT.2100, brought to the ordinary one of BT.709."""

from __future__ import annotations

import functools

import cv2
import numpy as np
from numpy.typing import NDArray

HIGH = {16: "PQ", 18: "HLG"}
"""Transfer characteristics of a high dynamic range: code points of H.273, and their names."""
WHITE, PEAK = 203.0, 1000.0
"""Luminance in cd/m2 of white paper, and the brightest that is told apart (BT.2408)."""

_MOST = 65_535
_ROWS = 64  # that are converted at once, so that little memory is needed
_GAMMA = 2.4  # of an ordinary display: BT.1886
# From the primaries of BT.2020 to those of BT.709: BT.2087.
_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
_LUMINANCE = np.array([[0.2627, 0.6780, 0.0593]], np.float32)


def to_ordinary(rgb: NDArray[np.uint16], transfer: int, primaries: int) -> NDArray[np.uint8]:
    """Return a picture as ordinary displays show it.

    Up to half of white paper nothing changes; what is brighter is rolled off by the curve of
    BT.2390, alike in all channels, so that hues stay.

    Args:
        rgb: HWC RGB in 0..65535, as coded.
        transfer: A key of ``HIGH``.
        primaries: Code point of H.273; all but BT.709 are taken for those of BT.2020.

    Returns:
        HWC RGB in 0..255, BT.709.
    """
    light_of, rolled = _light(transfer), _roll_off()
    result = np.empty(rgb.shape, np.uint8)
    for top in range(0, len(rgb), _ROWS):
        light = light_of[rgb[top : top + _ROWS]]
        if HIGH[transfer] == "HLG":  # the display adds contrast: the OOTF of BT.2100
            luminance = cv2.transform(light, _LUMINANCE)[..., None]
            light = light * luminance ** np.float32(0.2) * np.float32(PEAK / WHITE)
        most = np.maximum(light.max(2), 1e-6)
        light *= (np.interp(most, *rolled) / most).astype(np.float32)[..., None]
        if primaries != 1:
            light = np.asarray(cv2.transform(light, _TO_BT709), np.float32)
        shown = light.clip(0, 1) ** np.float32(1 / _GAMMA)
        result[top : top + _ROWS] = np.rint(shown * 255)
    return result


@functools.cache
def _light(transfer: int) -> NDArray[np.float32]:
    """Return the light of each code: of PQ as shown, white paper 1; of HLG in the scene, peak 1."""
    code = np.linspace(0, 1, _MOST + 1)
    if HIGH[transfer] == "PQ":
        light = _pq_light(code)
    else:
        light = np.where(
            code <= 0.5, code**2 / 3, (np.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12
        )
    return light.astype(np.float32)


@functools.cache
def _roll_off() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points of the curve of BT.2390, from and to light in which white paper is 1."""
    code, most = _pq_code(np.array([WHITE, PEAK]) / WHITE)
    end = code / most
    knee = 1.5 * end - 0.5
    x = np.linspace(0, 1, 1024)
    t = np.maximum(x - knee, 0) / (1 - knee)
    bent = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (3 * t**2 - 2 * t**3) * end
    )
    return _pq_light(x * most), _pq_light(np.where(x < knee, x, bent) * most)


def _pq_light(code: NDArray[np.float64]) -> NDArray[np.float64]:
    root = code ** (1 / 78.84375)
    ratio = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
    return ratio ** (1 / 0.1593017578125) * (10_000 / WHITE)


def _pq_code(light: NDArray[np.float64]) -> NDArray[np.float64]:
    root = (light * (WHITE / 10_000)) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * root) / (1 + 18.6875 * root)) ** 78.84375
