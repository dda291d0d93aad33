"""The pictures of a report: what goes in, what teacher and students make of it, and the errors."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from compress.report.results import Entry, Results
from edge_runtime.derainer import Derainer
from edge_runtime.errors import EdgeDerainError
from edge_runtime.metrics import IDENTICAL_DB, psnr
from edge_runtime.pictures.picture import Picture, encode_picture
from edge_runtime.report.reference import ReferencePicture, ReferenceSet
from edge_runtime.report.scores import PictureScores

WORST = 5
HEAT_LEVELS = 48
"""Mean error of the channels, in levels of 8 bits, that is drawn in the brightest colour."""
_LONGEST_SIDE = 720
_QUALITY = 88

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class View:
    """One way to see a picture: a name for people and an image as a ``data:`` address."""

    name: str
    address: str


@dataclass(frozen=True)
class Shown:
    """One picture of the reference set in all its views.

    Attributes:
        name: ``DATASET/NAME``.
        width: In pixels, as shown; ``height`` likewise.
        views: Rainy, teacher, clean, the artifacts, and what these are off by.
    """

    name: str
    width: int
    height: int
    views: tuple[View, ...]


@dataclass(frozen=True)
class Loss:
    """Where an artifact loses most: a picture, the artifact, and its scores there."""

    picture: str
    file: str
    scores: PictureScores


@dataclass(frozen=True)
class Gallery:
    """The pictures of a report.

    Attributes:
        worst: The rainy pictures on which most is lost, each with the artifact that loses it.
        shown: Those in all views, the worst first; empty where they cannot be shown.
        missing: Why pictures or views are missing, in whole sentences.
    """

    worst: tuple[Loss, ...]
    shown: tuple[Shown, ...] = ()
    missing: tuple[str, ...] = field(default_factory=tuple)


def make_gallery(results: Results, reference: ReferenceSet) -> Gallery:
    """Derain the pictures with the greatest loss once more with every artifact, to show them.

    Args:
        results: Scored on ``reference``, or not scored.
        reference: The pictures.

    Raises:
        ImageError, ReferenceSetError: A picture of the set is missing, damaged or changed.
    """
    worst = worst_losses(results.entries)
    if results.reference and results.reference.sha256 != reference.sha256:
        return Gallery(
            worst,
            missing=(
                f"The scored reference set {results.reference.sha256[:12]} is not at hand; "
                "name its folder with --reference DIR to see its pictures.",
            ),
        )
    names = [loss.picture for loss in worst]
    by_name = {f"{p.dataset}/{p.name}": p for p in reference.index.pictures}
    chosen = [by_name[name] for name in names if name in by_name]
    chosen += [p for p in reference.index.pictures if p not in chosen]
    opened, missing = _open(results.entries)
    shown = [_show(picture, reference, opened) for picture in chosen[:WORST]]
    shown.sort(key=lambda pair: -pair[0])
    return Gallery(worst, tuple(each for _, each in shown), missing)


def worst_losses(entries: Sequence[Entry], number: int = WORST) -> tuple[Loss, ...]:
    """Return the rainy pictures on which any artifact loses most (rgb), the worst first."""
    found: dict[str, Loss] = {}
    for entry in entries:
        for scores in entry.pictures:
            name = f"{scores.dataset}/{scores.name}"
            if scores.protocol != "rgb" or not scores.rainy:
                continue
            if name not in found or scores.psnr_loss_db > found[name].scores.psnr_loss_db:
                found[name] = Loss(name, entry.file, scores)
    ordered = sorted(found.values(), key=lambda loss: -loss.scores.psnr_loss_db)
    return tuple(ordered[:number])


def heat_map(derained: Image, clean: Image) -> Image:
    """Colour the mean absolute error of the channels: black is none, pale ``HEAT_LEVELS`` levels.

    Args:
        derained: HWC uint8 RGB; ``clean`` likewise, of one shape.

    Returns:
        HWC uint8 RGB.
    """
    error = np.abs(derained.astype(np.float32) - clean).mean(axis=2)
    levels = np.minimum(error * (255 / HEAT_LEVELS) + 0.5, 255).astype(np.uint8)
    coloured = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)
    return np.asarray(cv2.cvtColor(coloured, cv2.COLOR_BGR2RGB), np.uint8)


def _open(entries: Sequence[Entry]) -> tuple[list[tuple[str, Derainer]], tuple[str, ...]]:
    """Open the artifacts, as far as their files and engines are here."""
    opened, missing = [], []
    absent = [entry.file for entry in entries if entry.path is None]
    if absent:
        missing.append(
            f"Not at hand: {', '.join(absent)}. Name the artifacts among the results to see what "
            "they make of the pictures."
        )
    for entry in entries:
        if entry.path is not None:
            try:
                opened.append((entry.file, Derainer.load(entry.path, threads=1, threshold=None)))
            except EdgeDerainError as error:
                missing.append(f"{entry.file} cannot be opened here: {error}.")
    return opened, tuple(missing)


def _show(
    picture: ReferencePicture, reference: ReferenceSet, opened: Sequence[tuple[str, Derainer]]
) -> tuple[float, Shown]:
    """Return a picture in all views, and the most that any artifact loses on it in dB."""
    rainy = reference.read(picture, "rainy")
    clean = reference.read(picture, "clean")
    teacher = reference.read(picture, "teacher")
    derained = {file: derain(rainy) for file, derain in opened}
    images = {"rainy": rainy, f"teacher: {reference.index.teacher.name}": teacher, "clean": clean}
    images |= {f"artifact: {file}": image for file, image in derained.items()}
    images[f"error of {reference.index.teacher.name}"] = heat_map(teacher, clean)
    images |= {f"error of {file}": heat_map(image, clean) for file, image in derained.items()}
    views = tuple(View(name, _address(_fitting(image))) for name, image in images.items())
    height, width = _fitting(rainy).shape[:2]
    least = min((psnr(image, clean) for image in derained.values()), default=0.0)
    loss = min(psnr(teacher, clean), IDENTICAL_DB) - min(least, IDENTICAL_DB)
    if np.array_equal(rainy, clean):
        loss = -math.inf  # as the worst are the rainy ones
    return loss, Shown(f"{picture.dataset}/{picture.name}", width, height, views)


def _fitting(image: Image) -> Image:
    height, width = image.shape[:2]
    scale = _LONGEST_SIDE / max(height, width)
    if scale >= 1:
        return image
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _address(image: Image) -> str:
    data = encode_picture(Picture(image), ".webp", "a picture of the report", quality=_QUALITY)
    return "data:image/webp;base64," + base64.b64encode(data).decode()
