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

from collections.abc import Callable

import numpy as np

from core.pairs import Image
from core.papers.gmm.learn import learn_rain, luma
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
