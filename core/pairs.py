"""Pairs of rainy and clean pictures, in the layouts that people have on disk or download."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.errors import ConfigError, DataError
from core.progress import track
from edge_runtime.errors import ImageError
from edge_runtime.pictures.picture import read_picture
from edge_runtime.pictures.sources import SUFFIXES, find_pictures
from edge_runtime.report.reference import SHIPPED, read_reference

Twins = list[tuple[Path, Path]]

_RAINY_FOLDERS = ("rainy", "rain", "rainy_image", "input")
_CLEAN_FOLDERS = ("clean", "norain", "ground_truth", "groundtruth", "gt", "target")


def list_pictures(folder: Path) -> list[Path]:
    """List the pictures in a folder, sorted by name.

    Raises:
        DataError: the folder is missing, cannot be read or holds no picture.
    """
    _check_folder(folder)
    found = _pictures(folder)
    if not found:
        raise DataError(f"{folder}: no pictures in it; looked for {', '.join(SUFFIXES)}")
    return found


def published(root: Path) -> Twins:
    """Pair the pictures of a published data set; returns ``(rainy, clean)`` paths.

    Known are:

    - a text file with a rainy and a clean path on every line (SPA-Data, Wang et al. 2019);
    - ``norain-001.png`` beside ``rain-001.png`` (Rain100L, Rain100H, RainTrainL, RainTrainH and
      the 200 versions), or with the rainy ones in ``rain/X2`` (Yang et al. 2017, first release);
    - a folder of rainy pictures beside one of clean ones, whose names may differ by an ending
      such as ``_GT`` (Rain12, Rain13K, SPA-Data's test set) or by the number of one of several
      rainy versions: ``901_3.jpg`` of ``901.jpg`` (Rain1400, Rain12600).

    Raises:
        DataError: no such layout, with what was tried and found; or a picture without its twin.
    """
    _check_folder(root)
    entries = sorted(path for path in root.iterdir() if path.is_dir())
    folders = {path.name.lower().replace(" ", "_"): path for path in entries}
    pictures = _pictures(root)
    rain, clean_folder = _first(_RAINY_FOLDERS, folders), _first(_CLEAN_FOLDERS, folders)
    versions = _pictures(rain / "X2" if (rain / "X2").is_dir() else rain) if rain else []
    for table in sorted(root.glob("*.txt")):
        twins = _listed(table)
        if twins:
            return twins
    clean = [path for path in pictures if path.stem.startswith("norain-")]
    if clean:
        rainy = [path for path in pictures if path.stem.startswith("rain-")]
        return _match(rainy or versions, clean, _key)
    if rain and clean_folder:
        return _match(versions or list_pictures(rain), list_pictures(clean_folder), _key)
    held = [f"{len(pictures)} pictures", *(f"{name}/" for name in folders)]
    raise DataError(
        f"{root}: no published layout; tried a *.txt with two paths a line, norain-* beside "
        f"rain-*, and {'|'.join(_RAINY_FOLDERS)} beside {'|'.join(_CLEAN_FOLDERS)}; "
        f"found {', '.join(held)}"
    )


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; is the path, or --data-root, right?")


def _pictures(folder: Path) -> list[Path]:
    try:
        return find_pictures(folder)
    except ImageError as error:
        raise DataError(str(error)) from error


def _first(names: Iterable[str], folders: dict[str, Path]) -> Path | None:
    return next((folders[name] for name in names if name in folders), None)


def _listed(table: Path) -> Twins:
    """Read lines of two paths; a leading slash means the folder of the table."""
    try:
        lines = table.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    words = [line.split() for line in lines if line.strip()]
    if not all(len(pair) == 2 and pair[0].lower().endswith(SUFFIXES) for pair in words):
        return []
    base = table.parent
    twins = [(base / rainy.lstrip("/"), base / clean.lstrip("/")) for rainy, clean in words]
    for path in (path for pair in twins for path in pair):
        if not path.is_file():
            raise DataError(f"{table}: names {path}, which is not there")
    return twins


def _key(path: Path) -> str:
    """Return what rainy and clean versions of a picture have in common in their names."""
    stem = re.sub(r"^(no)?rain-", "", path.stem.lower())
    return re.sub(r"(x2|_?gt|_in|_rain|_clean|_norain)$", "", stem)


def _match(rainy: Sequence[Path], clean: Sequence[Path], key: Callable[[Path], str]) -> Twins:
    by_key: dict[str, Path] = {}
    for path in clean:
        other = by_key.setdefault(key(path), path)
        if other is not path:
            raise DataError(f"{path} and {other.name}: two clean twins of one name; remove one")
    if not rainy:
        raise DataError(f"{clean[0].parent}: clean pictures, but no rainy ones beside them")
    twins: Twins = []
    for path in rainy:
        name = key(path)
        if name not in by_key and key is _key:
            name = re.sub(r"_\d+$", "", name)  # one of several rainy versions
        if name not in by_key:
            folder = clean[0].parent
            raise DataError(f"{path}: no clean twin named {name}.* in {folder}; add or remove")
        twins.append((path, by_key[name]))
    return twins


Image = NDArray[np.uint8]
Layout = Literal["side_by_side", "folders", "published", "clean", "reference"]
_HELD_OUT = re.compile(r"val_|public_test$")
"""Beginnings of the names of folders whose pictures are never trained on."""


@dataclass(frozen=True)
class SourceConfig:
    """Where a data set lies and how its files make pairs.

    Attributes:
        layout: ``side_by_side``, one file a pair, cut in the middle (Rain800); ``folders``, two
            folders with equal file stems; ``published``, one of the layouts that
            :func:`core.pairs.published` knows; ``clean``, pictures without rain; ``reference``,
            the rainy pictures of the reference set that ships.
        root: folder of the files, relative to the data root; not of ``folders`` and
            ``reference``.
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
        needed = {"folders": ("rainy", "clean"), "reference": ()}.get(self.layout, ("root",))
        for name in needed:
            if not getattr(self, name):
                raise ConfigError(f"layout {self.layout!r} needs {name!r}; give its folder")
        if bool(self.scenes) != bool(self.split):
            raise ConfigError(
                f"scenes {self.scenes!r} and split {self.split!r} belong together; give both"
            )

    @property
    def held_out(self) -> str:
        """What of it says that it is not for training, such as ``split 'val'``; else empty."""
        if self.layout == "reference":
            return "layout 'reference'"
        if re.match(r"(val|test)", self.split):
            return f"split {self.split!r}"
        folders = (self.root, self.rainy, self.clean)
        named = (name for name in folders if any(map(_HELD_OUT.match, Path(name).parts)))
        return next(map(repr, named), "")

    @property
    def name(self) -> str:
        """What provenance calls the data set: the end of its path, without the data root."""
        named = Path(self.root).name or "/".join(Path(self.rainy).parts[-2:])
        return named or self.layout


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
        rainy, clean = list_pictures(base / source.rainy), list_pictures(base / source.clean)
        pairs = [PairFile(*twins) for twins in _match(rainy, clean, lambda path: path.stem)]
    elif source.layout == "reference":
        pictures = read_reference(SHIPPED).index.pictures
        falling = [each for each in pictures if each.sha256["rainy"] != each.sha256["clean"]]
        pairs = [PairFile(SHIPPED / p.path("rainy"), SHIPPED / p.path("clean")) for p in falling]
    elif source.layout == "published":
        pairs = [PairFile(*twins) for twins in published(base / source.root)]
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
