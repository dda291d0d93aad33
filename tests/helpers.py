"""Pictures and reference sets that tests make."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ImageCms

from edge_runtime.metrics import measure
from edge_runtime.models.card import QualityRow
from edge_runtime.models.records import to_json
from edge_runtime.pictures.picture import Picture, write_picture
from edge_runtime.report.reference import KINDS, ReferenceIndex, ReferencePicture, ReferenceTeacher

Image = NDArray[np.uint8]


def flat(value: int, height: int = 16, width: int = 20) -> Image:
    """Return a grey picture of one value, HWC uint8 RGB."""
    return np.full((height, width, 3), value, np.uint8)


def smooth(height: int = 20, width: int = 30) -> Image:
    """Return a coloured ramp, HWC uint8 RGB, which lossy formats keep closely."""
    down, right = np.mgrid[0:height, 0:width]
    return np.dstack([down * 3, right * 2, down + right]).astype(np.uint8)


def srgb_profile() -> bytes:
    """Return an ICC profile."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def write_set(folder: Path, pictures: Mapping[str, tuple[Image, Image, Image]]) -> Path:
    """Write a reference set of ``DATASET/NAME`` to (rainy, clean, teacher), and return it."""
    index = []
    for name, three in pictures.items():
        dataset, stem = name.split("/")
        hashes: dict[str, str] = {}
        height, width = three[0].shape[:2]
        picture = ReferencePicture(
            dataset=dataset, name=stem, height=height, width=width, sha256=hashes
        )
        for kind, pixels in zip(KINDS, three, strict=True):
            path = folder / picture.path(kind)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_picture(path, Picture(pixels))
            hashes[kind] = hashlib.sha256(path.read_bytes()).hexdigest()
        index.append(picture)
    made = ReferenceIndex(
        teacher=ReferenceTeacher(name="master", sha256="0" * 64), pictures=tuple(index)
    )
    (folder / "reference.json").write_text(to_json(made), encoding="utf-8")
    return folder


def score_set(
    derain: Callable[[Image], Image], name: str, pairs: Iterable[tuple[Image, Image]]
) -> tuple[QualityRow, ...]:
    """Score on the ``(rainy, clean)`` pairs of one set: the rows ``rgb`` and ``y``."""
    from core.evaluation.evaluate import PictureScore, mean_rows

    return mean_rows(
        PictureScore(name, "", measure(rainy, clean), measure(derain(rainy), clean))
        for rainy, clean in pairs
    )
