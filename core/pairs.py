"""Pairs of rainy and clean pictures in the layouts that people have on disk."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.errors import ConfigError, DataError
from core.layouts import equal_stems, list_pictures, published
from core.progress import track
from edge_runtime.errors import ImageError
from edge_runtime.pictures.picture import read_picture

Image = NDArray[np.uint8]
Layout = Literal["side_by_side", "folders", "published", "clean"]


@dataclass(frozen=True)
class SourceConfig:
    """Where a data set lies and how its files make pairs.

    Attributes:
        layout: ``side_by_side``, one file a pair, cut in the middle (Rain800); ``folders``, two
            folders with equal file stems; ``published``, one of the layouts that
            :func:`core.layouts.published` knows; ``clean``, pictures without rain.
        root: folder of the files (all but ``folders``), relative to the data root.
        rainy: folder of the rainy pictures (``folders``).
        clean: folder of the clean pictures (``folders``).
        clean_side: which half is the clean one (``side_by_side``).
        scenes: CSV with the columns ``path`` (relative to the CSV) and ``split``.
        split: rows of ``scenes`` to keep, such as ``train``.

    Raises:
        ConfigError: a layout without the folders it needs, or ``scenes`` without ``split``.
    """

    layout: Layout
    root: str = ""
    rainy: str = ""
    clean: str = ""
    clean_side: Literal["left", "right"] = "left"
    scenes: str = ""
    split: str = ""

    def __post_init__(self) -> None:
        needed = ("rainy", "clean") if self.layout == "folders" else ("root",)
        for name in needed:
            if not getattr(self, name):
                raise ConfigError(f"layout {self.layout!r} needs {name!r}; give its folder")
        if bool(self.scenes) != bool(self.split):
            raise ConfigError(
                f"scenes {self.scenes!r} and split {self.split!r} belong together; give both"
            )

    @property
    def name(self) -> str:
        """What provenance calls the data set: the end of its path, without the data root."""
        return Path(self.root).name or "/".join(Path(self.rainy).parts[-2:])


@dataclass(frozen=True)
class PairFile:
    """One pair on disk. ``rainy`` is ``clean`` for dry pictures and for side-by-side files."""

    rainy: Path
    clean: Path
    clean_half: Literal["left", "right", ""] = ""

    @property
    def name(self) -> str:
        return self.rainy.name

    def read(self) -> tuple[Image, Image]:
        """Read ``(rainy, clean)``, uint8 (H, W, 3) RGB each.

        Raises:
            DataError: an unreadable file, an odd width to be halved, or sizes that differ.
        """
        rainy = _read(self.rainy)
        if self.clean_half:
            width = rainy.shape[1]
            if width % 2:
                raise DataError(
                    f"{self.rainy}: width {width} is odd, so it is not two pictures side by side"
                )
            left, right = rainy[:, : width // 2], rainy[:, width // 2 :]
            clean, rainy = (left, right) if self.clean_half == "left" else (right, left)
            return np.ascontiguousarray(rainy), np.ascontiguousarray(clean)
        if self.rainy == self.clean:
            return rainy, rainy
        clean = _read(self.clean)
        if rainy.shape != clean.shape:
            raise DataError(
                f"{self.rainy} is {rainy.shape[1]}x{rainy.shape[0]} but its clean twin "
                f"{self.clean} is {clean.shape[1]}x{clean.shape[0]}; pairs must be of one size"
            )
        return rainy, clean


def find_pairs(source: SourceConfig, data_root: str | Path = ".") -> tuple[PairFile, ...]:
    """List the pairs of a data set, sorted by name, without reading pictures.

    Raises:
        DataError: a missing folder, a picture without its twin, an empty set or split.
    """
    base = Path(data_root)
    if source.layout == "folders":
        twins = equal_stems(base / source.rainy, base / source.clean)
        pairs = [PairFile(rainy, clean) for rainy, clean in twins]
    elif source.layout == "published":
        pairs = [PairFile(rainy, clean) for rainy, clean in published(base / source.root)]
    else:
        half = source.clean_side if source.layout == "side_by_side" else ""
        pairs = [PairFile(path, path, half) for path in list_pictures(base / source.root)]
    if source.scenes:
        keep = _split(base / source.scenes, source.split)
        pairs = [pair for pair in pairs if pair.rainy.resolve() in keep]
        if not pairs:
            raise DataError(
                f"{base / source.scenes}: no file of {source.root or source.rainy!r} "
                f"is in the split {source.split!r}"
            )
    return tuple(pairs)


def read_pairs(
    files: Sequence[PairFile], progress: str | None = None
) -> Iterator[tuple[Image, Image]]:
    """Read pairs one after the other, with a progress bar titled ``progress`` if given.

    Yields:
        ``(rainy, clean)``, uint8 (H, W, 3) RGB each.

    Raises:
        DataError: as :meth:`PairFile.read`.
    """
    for pair in track(files, progress):
        yield pair.read()


def _read(path: Path) -> Image:
    try:
        rgb = read_picture(path).rgb
    except ImageError as error:
        raise DataError(str(error)) from error
    if rgb.dtype != np.uint8:
        raise DataError(f"{path}: {rgb.dtype} picture; training and test pairs must be 8-bit")
    return rgb.astype(np.uint8, copy=False)


def _split(table: Path, split: str) -> set[Path]:
    try:
        with table.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if not {"path", "split"} <= set(reader.fieldnames or ()):
                raise DataError(f"{table}: needs a header with the columns path and split")
            rows = list(reader)
    except OSError as error:
        raise DataError(f"{table}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table}: is not a CSV table ({error})") from error
    for number, row in enumerate(rows, start=1):
        if not row["path"] or not row["split"]:
            raise DataError(f"{table}: row {number} lacks its path or split; fill it in")
    splits = {row["split"] for row in rows}
    if split not in splits:
        raise DataError(f"{table}: no split {split!r}; it has {', '.join(sorted(splits))}")
    return {(table.parent / row["path"]).resolve() for row in rows if row["split"] == split}
