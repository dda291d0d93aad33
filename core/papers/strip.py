"""Strips of labelled pictures: rainy, what each method makes of it, and clean."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from core.evaluation.files import check_text_target
from core.pairs import Image
from edge_runtime import Derainer
from edge_runtime.errors import UsageError
from edge_runtime.metrics import Protocol, psnr
from edge_runtime.pictures.picture import Picture, check_suffix, write_picture
from edge_runtime.report.reference import SHIPPED, read_reference

_GAP = 8
_LABEL = 26
_INK = (20, 20, 20)
_PAPER = 255


def command(arguments: Sequence[str]) -> int:
    """Run ``derain strip`` and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="derain strip",
        description="Draw pictures of the shipped reference set side by side, one a row: rainy, "
        "derained by each model, and clean, with PSNR (rgb).",
    )
    parser.add_argument(
        "models", nargs="+", metavar="MODEL", help="artifact: shipped name, or path"
    )
    parser.add_argument("-o", dest="out", metavar="FILE", required=True, help="picture to write")
    parser.add_argument(
        "--picture",
        nargs="+",
        metavar="DATASET/NAME",
        default=["light/coffee", "heavy/rocket", "veil/astronaut"],
        help="which ones (default: light/coffee heavy/rocket veil/astronaut)",
    )
    options = parser.parse_args(arguments)

    out = Path(options.out)
    check_suffix(out)
    check_text_target("-o", out)
    pairs = [read_pair(name) for name in options.picture]
    derained: list[dict[str, Image]] = [{} for _ in pairs]
    for model in options.models:
        with Derainer.load(model, threshold=None) as derain:
            for results, (rainy, _) in zip(derained, pairs, strict=True):
                results[derain.card.name] = derain(rainy)
    across = len(derained[0]) + 2
    rows = [
        strip(*pair, results, across, "rgb") for pair, results in zip(pairs, derained, strict=True)
    ]
    width = max(row.shape[1] for row in rows)
    padded = [
        np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=_PAPER)
        for row in rows
    ]
    write_picture(out, Picture(np.vstack(padded)))
    print(out)
    return 0


def read_pair(picture: str) -> tuple[Image, Image]:
    """Read ``(rainy, clean)`` of the shipped reference set, uint8 (H, W, 3) RGB each.

    Args:
        picture: ``DATASET/NAME``, such as ``heavy/chelsea``.

    Raises:
        UsageError: no such picture; lists what there is.
    """
    reference = read_reference(SHIPPED)
    found = {f"{each.dataset}/{each.name}": each for each in reference.index.pictures}
    if picture not in found:
        raise UsageError(f"--picture {picture}: unknown; there are {', '.join(found)}")
    return reference.read(found[picture], "rainy"), reference.read(found[picture], "clean")


def strip(
    rainy: Image,
    clean: Image,
    derained: Mapping[str, Image],
    across: int = 4,
    protocol: Protocol = "y",
) -> Image:
    """Lay out rainy, derained and clean pictures in rows, each with its name below.

    Args:
        rainy: uint8 (H, W, 3) RGB; its label and those of ``derained`` say their PSNR.
        clean: the same, of the same shape.
        derained: by label in ASCII, likewise.
        across: pictures of a row.
        protocol: of the PSNR.

    Returns:
        uint8 (H', W', 3) RGB on white.
    """
    panels = [
        _panel(pixels, f"{name}  {psnr(pixels, clean, protocol):.1f} dB")
        for name, pixels in {"rainy": rainy, **derained}.items()
    ]
    panels.append(_panel(clean, "clean"))
    blank = np.full_like(panels[0], _PAPER)
    panels += [blank] * (-len(panels) % across)
    rows = [np.hstack(panels[start : start + across]) for start in range(0, len(panels), across)]
    return np.vstack(rows)


def _panel(pixels: Image, label: str) -> Image:
    framed = np.pad(
        pixels, ((_GAP, _LABEL), (_GAP // 2, _GAP // 2), (0, 0)), constant_values=_PAPER
    )
    at = (_GAP // 2, framed.shape[0] - _LABEL // 3)
    cv2.putText(framed, label, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA)
    return framed
