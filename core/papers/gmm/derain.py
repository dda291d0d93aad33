"""Background and rain told apart by two mixtures of patches (Li, Tan, Guo, Lu, Brown, CVPR 2016).

"Rain Streak Removal Using Layer Priors" takes the luma O of a rainy picture as B + R and finds the
background B and the streak layer R, both within [0, O], that minimize::

    |O - B - R|² + alpha |grad B|_1 + beta |R|² - gamma sum_i (log G_B(P_i B) + log G_R(P_i R))

where P_i takes the 8x8 patch at i without its mean, G_B is a mixture learned from photographs and
G_R one that is learned from the picture's own flattest region. Colour differences stay as they are.

Where the paper solves for both layers with a bounded quasi-Newton method, they are solved for in
closed form here and then put within their bounds; patches keep the means of their layer; and beta
is measured against the rain in the flat region, which spares dry pictures that have one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from core.pairs import Image
from core.papers.gmm.mixture import SIDE, Array, Mixture, average, extract

ALPHA = 1e-4
"""Weight of the background's gradients, which keeps it smooth between edges; luma is in [0, 1]."""
BETA = 1e-4
"""Weight of the streak layer's energy, which keeps it small, as a multiple of one over the variance
of the rain in the flat region; so a dry picture, where next to nothing varies there, keeps what it
has."""
GAMMA = 1e-4
"""Weight of the two mixtures."""
OMEGA = 0.0002
"""Weight that holds the auxiliary variables to the layers at first; doubles every iteration."""
ITERATIONS = 6
"""Of the half-quadratic splitting."""
STRIDE = 2
"""Distance of the patches in pixels; 1, as in the paper, takes four times as long."""
_FLOOR = 1e-6
"""Added to the diagonal of covariances: a level of 8 bits has a variance of 1.5e-5."""
_REGION = 100
"""Height and width of the flat region of a rainy picture, in pixels."""
_RAIN_COMPONENTS, _RAIN_STEPS = 10, 10


def gmm_derainer(background: Mixture) -> Callable[[Image], Image]:
    """Make a function of one picture, as :func:`derain`."""
    return lambda rainy: derain(rainy, background)


def derain(rainy: Image, background: Mixture) -> Image:
    """Derain the luma of a picture and leave its colour differences (U and V) as they are.

    With U and V fixed, what the luma loses all three channels lose.

    Args:
        rainy: uint8 (H, W, 3) RGB.
        background: mixture of 8x8 patches of clean luma in [0, 1].

    Returns:
        derained: uint8 (H, W, 3) RGB.
    """
    plane = luma(rainy)
    _, streaks = split(plane, background, learn_rain(plane))
    derained = rainy.astype(np.float32) - 255 * streaks[..., None]
    return np.asarray(np.clip(np.rint(derained), 0, 255), np.uint8)


def split(plane: Array, background: Mixture, rain: Mixture) -> tuple[Array, Array]:
    """Minimize the energy above by half-quadratic splitting.

    Auxiliary gradients H and patches g_B, g_R are held to the layers by ``omega (|grad B - H|² +
    sum_i |P_i B - g_B,i|² + |P_i R - g_R,i|²)``; in turn H is shrunk, the patches are filtered and
    the layers solved for, while omega doubles.

    Args:
        plane: luma of the rainy picture, float32 (H, W) in [0, 1].
        background: mixture of clean patches, and ``rain`` of patches of the rain.

    Returns:
        Background and streak layer, float32 (H, W), the second within [0, ``plane``]; what neither
        explains goes to the background, so their sum is ``plane``.
    """
    height, width = plane.shape
    margins = [(SIDE, SIDE + -size % SIDE) for size in plane.shape]
    observed = np.pad(plane, margins, mode="symmetric")
    clean, streaks = observed, np.zeros_like(observed)
    omega, beta = OMEGA, BETA / rain.variance
    for _ in range(ITERATIONS):
        noise = GAMMA / (2 * omega)
        edges = [shrink(g, ALPHA / (2 * omega)) for g in _gradients(clean)]
        likely_clean = _restored(clean, background, noise)
        likely_streaks = _restored(streaks, rain, noise)
        clean, streaks = solve(observed, likely_clean, likely_streaks, edges, omega, beta)
        omega *= 2
    streaks = streaks[SIDE : SIDE + height, SIDE : SIDE + width]
    return plane - streaks, streaks


def _restored(plane: Array, mixture: Mixture, noise: float) -> Array:
    """Average the most probable patches, which keep the means of the plane's own."""
    patches, means = extract(plane, STRIDE)
    return average(mixture.restore(patches, noise) + means, plane.shape, STRIDE)


def solve(
    observed: Array, clean: Array, streaks: Array, edges: list[Array], omega: float, beta: float
) -> tuple[Array, Array]:
    """Solve for both layers, given what their patches and the background's gradients should be.

    ``|O-B-R|² + beta |R|² + 64 omega (|B - clean|² + |R - streaks|²) + omega |grad B - edges|²``
    on a plane that wraps around, so that R follows from B in closed form and B is one division in
    the Fourier domain; then both are put within [0, O].
    """
    hold = SIDE * SIDE * omega
    own = 1 + beta + hold
    right = observed + hold * clean - (observed + hold * streaks) / own
    right = right + omega * _divergence(edges)
    rows = 2 - 2 * np.cos(2 * np.pi * np.fft.fftfreq(observed.shape[0]))
    columns = 2 - 2 * np.cos(2 * np.pi * np.fft.rfftfreq(observed.shape[1]))
    left = 1 + hold - 1 / own + omega * (rows[:, None] + columns)
    solved = np.fft.irfft2(np.fft.rfft2(right) / left, observed.shape)
    rest = (observed - solved + hold * streaks) / own
    return (
        np.clip(solved, 0, observed).astype(np.float32),
        np.clip(rest, 0, observed).astype(np.float32),
    )


def _gradients(plane: Array) -> list[Array]:
    return [np.roll(plane, -1, axis) - plane for axis in (0, 1)]


def _divergence(gradients: list[Array]) -> Array:
    """Apply the transpose of :func:`_gradients`."""
    return sum(np.roll(g, 1, axis) - g for axis, g in enumerate(gradients))  # type: ignore[return-value]


def shrink(values: Array, threshold: float) -> Array:
    """Bring values nearer to 0 by ``threshold``, and those within it to 0."""
    return np.sign(values) * np.maximum(np.abs(values) - threshold, 0)


def luma(rgb: Image) -> Array:
    """Return the Y of YUV (ITU-R BT.601, full range): ``0.299 R + 0.587 G + 0.114 B``.

    Args:
        rgb: uint8 (H, W, 3) RGB.

    Returns:
        float32 (H, W) in [0, 1].
    """
    weights = np.array([0.299, 0.587, 0.114], np.float32) / np.float32(255)
    return np.asarray(rgb.astype(np.float32) @ weights, np.float32)


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
    patches = windows.reshape(-1, SIDE * SIDE)
    patches = np.asarray(patches - patches.mean(axis=1, keepdims=True), np.float32)
    return fit(patches, max(1, min(_RAIN_COMPONENTS, len(patches) // 4)), _RAIN_STEPS)


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


def fit(patches: Array, components: int, steps: int) -> Mixture:
    """Fit a mixture with scikit-learn's expectation maximization, from a k-means guess.

    Args:
        patches: float32 (N, D), N at least ``components``.
        components: of the mixture.
        steps: at most; it ends before where the likelihood no longer rises.

    Raises:
        ModuleNotFoundError: scikit-learn is not installed.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(components, reg_covar=_FLOOR, max_iter=steps, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(patches)
    return Mixture(
        weights=model.weights_.astype(np.float32),
        means=model.means_.astype(np.float32),
        covariances=model.covariances_.astype(np.float32),
    )
