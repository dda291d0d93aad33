"""A strip of labelled pictures: rainy, what each method makes of it, and clean."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from core.pairs import Image
from edge_runtime.errors import UsageError
from edge_runtime.metrics import psnr
from edge_runtime.report.reference import SHIPPED, read_reference

_ACROSS = 4
_GAP = 8
_LABEL = 26
_INK = (20, 20, 20)
_PAPER = 255


def read_pair(picture: str, folder: Path = SHIPPED) -> tuple[Image, Image]:
    """Read ``(rainy, clean)`` of a reference set, uint8 (H, W, 3) RGB each.

    Args:
        picture: ``DATASET/NAME``, such as ``heavy/chelsea``.
        folder: of the reference set.

    Raises:
        UsageError: no such picture; lists what there is.
    """
    reference = read_reference(folder)
    found = {f"{each.dataset}/{each.name}": each for each in reference.index.pictures}
    if picture not in found:
        raise UsageError(f"--picture {picture}: unknown; there are {', '.join(found)}")
    return reference.read(found[picture], "rainy"), reference.read(found[picture], "clean")


def strip(rainy: Image, clean: Image, derained: Mapping[str, Image]) -> Image:
    """Lay out rainy, derained and clean pictures, four a row, each with its name below.

    Args:
        rainy: uint8 (H, W, 3) RGB; its label and those of ``derained`` say their PSNR on luma.
        clean: the same, of the same shape.
        derained: by label in ASCII, likewise.

    Returns:
        uint8 (H', W', 3) RGB on white.
    """
    panels = [_panel(pixels, name, clean) for name, pixels in {"rainy": rainy, **derained}.items()]
    panels.append(_panel(clean, "clean", None))
    blank = np.full_like(panels[0], _PAPER)
    panels += [blank] * (-len(panels) % _ACROSS)
    rows = [np.hstack(panels[start : start + _ACROSS]) for start in range(0, len(panels), _ACROSS)]
    return np.vstack(rows)


def _panel(pixels: Image, name: str, clean: Image | None) -> Image:
    label = name if clean is None else f"{name}  {psnr(pixels, clean, 'y'):.1f} dB"
    framed = np.pad(
        pixels, ((_GAP, _LABEL), (_GAP // 2, _GAP // 2), (0, 0)), constant_values=_PAPER
    )
    at = (_GAP // 2, framed.shape[0] - _LABEL // 3)
    cv2.putText(framed, label, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA)
    return framed
