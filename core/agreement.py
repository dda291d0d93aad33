"""The "accuracy" of the deconvolution paper, which is not a measure of picture quality."""

from __future__ import annotations

from torch import Tensor


def channel_agreement(derained: Tensor, clean: Tensor) -> Tensor:
    """Share of pixels whose largest channel is the same in both pictures.

    This is what Keras reports for ``metrics=["accuracy"]`` on pictures (N, H, W, 3): it takes the
    last axis for classes and compares the places of the largest value, ``categorical_accuracy``.
    The first of equal values counts, so all grey pixels agree on red. It says which of red, green
    and blue is strongest, and nothing about how strong: a picture divided by two scores 1.

    Args:
        derained: float (N, 3, H, W).
        clean: the same shape.

    Returns:
        float scalar in [0, 1]; it has no gradient.
    """
    return (derained.argmax(dim=1) == clean.argmax(dim=1)).float().mean()
