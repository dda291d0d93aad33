"""What the camera adds, in its order: defocus, sensor noise, eight bits, JPEG."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from core.rain.scene import Camera


def photograph(
    picture: NDArray[np.float32], camera: Camera, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Photograph a scene.

    Noise is Poisson-Gaussian in its normal approximation: a variance of ``signal / photons`` plus
    that of reading out (Foi et al. 2008).

    Args:
        picture: float32 (H, W, 3) RGB in [0, 1].
        camera: the effects; those at 0 are left out.
        rng: source of the noise, advanced only where there is noise.

    Returns:
        uint8 (H, W, 3) RGB.
    """
    if camera.blur:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), camera.blur), np.float32)
    if camera.photons or camera.read_noise:
        variance = np.full_like(picture, (camera.read_noise / 255) ** 2)
        if camera.photons:
            variance += picture / np.float32(camera.photons)
        noise = rng.standard_normal(picture.shape, dtype=np.float32)
        picture = np.asarray(picture + np.sqrt(variance) * noise, np.float32)
    levels = np.clip(picture * 255 + np.float32(0.5), 0, 255).astype(np.uint8)
    return jpeg(levels, camera.quality) if camera.quality else levels


def jpeg(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Encode as JPEG with halved chroma, as cameras do, and decode; uint8 (H, W, 3) RGB."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
    flags += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), flags)
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])
