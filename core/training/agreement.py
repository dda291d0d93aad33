"""The "accuracy" of the deconvolution paper, which is not a measure of picture quality."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray


def channel_agreement(derained: NDArray[Any], clean: NDArray[Any]) -> float:
    """Share of pixels whose largest channel is the same in both pictures.

    This is what Keras reports for ``metrics=["accuracy"]`` on pictures (N, H, W, 3): it takes the
    last axis for classes and compares the places of the largest value, ``categorical_accuracy``.
    The first of equal values counts, so all grey pixels agree on red. It says which of red, green
    and blue is strongest, and nothing about how strong: a picture divided by two scores 1.

    Args:
        derained: (..., 3) RGB, of any range, the channels last.
        clean: the same shape.

    Returns:
        Share in [0, 1].
    """
    return float((derained.argmax(axis=-1) == clean.argmax(axis=-1)).mean())
