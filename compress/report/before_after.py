"""Before and after: what artifacts make of the pictures of a reference set, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.strip import Cell, strip
from edge_runtime.derainer import Derainer
from edge_runtime.errors import UsageError
from edge_runtime.metrics import psnr
from edge_runtime.report.reference import ReferenceSet

Image = NDArray[np.uint8]


def before_after(models: Sequence[str | Path], reference: ReferenceSet) -> Image:
    """Draw rainy, derained by each model, and clean, with the PSNR (rgb) below.

    Args:
        models: Names or paths, as ``Derainer.load`` takes them.
        reference: Of each of its data sets with rain, the first rainy picture is a row.

    Returns:
        HWC uint8 RGB.

    Raises:
        UsageError: No picture of the set is rainy.
        EdgeDerainError: A model or a picture cannot be read, or matplotlib is missing.
    """
    chosen: dict[str, tuple[Image, Image]] = {}  # rainy and clean, by data set
    for picture in reference.index.pictures:
        pair = reference.read(picture, "rainy"), reference.read(picture, "clean")
        if picture.dataset not in chosen and not np.array_equal(*pair):
            chosen[picture.dataset] = pair
    if not chosen:
        raise UsageError(f"{reference.folder}: no picture has rain; name another set")
    headings = ["rainy"]
    columns = [[Cell(rainy, _said(rainy, clean)) for rainy, clean in chosen.values()]]
    for model in models:
        with Derainer.load(model) as derain:
            headings.append(derain.card.name)
            derained = [derain(rainy) for rainy, _ in chosen.values()]
        pairs = zip(derained, (clean for _, clean in chosen.values()), strict=True)
        columns.append([Cell(image, _said(image, clean)) for image, clean in pairs])
    headings.append("clean")
    columns.append([Cell(clean) for _, clean in chosen.values()])
    return strip(headings, list(zip(*columns, strict=True)))


def _said(image: Image, clean: Image) -> str:
    return f"{psnr(image, clean):.2f} dB"
