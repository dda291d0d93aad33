"""Published deraining data sets, in the folders and file names that people download."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from core.errors import DataError
from edge_runtime.errors import ImageError
from edge_runtime.pictures.sources import SUFFIXES, find_pictures

Twins = list[tuple[Path, Path]]

_RAINY_FOLDERS = ("rainy", "rain", "rainy_image", "input")
_CLEAN_FOLDERS = ("clean", "norain", "ground_truth", "groundtruth", "gt", "target")


def list_pictures(folder: Path) -> list[Path]:
    """List the pictures in a folder, sorted by name.

    Raises:
        DataError: the folder is missing, cannot be read or holds no picture.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; is the path, or --data-root, right?")
    found = _pictures(folder)
    if not found:
        raise DataError(f"{folder}: no pictures in it; looked for {', '.join(SUFFIXES)}")
    return found


def equal_stems(rainy: Path, clean: Path) -> Twins:
    """Pair the pictures of two folders that have the same name up to the suffix.

    Raises:
        DataError: a folder without pictures, a rainy picture without its twin, or with two.
    """
    return _match(list_pictures(rainy), list_pictures(clean), lambda path: path.stem)


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
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; is the path, or --data-root, right?")
    entries = sorted(path for path in root.iterdir() if path.is_dir())
    folders = {path.name.lower().replace(" ", "_"): path for path in entries}
    pictures = _pictures(root)
    for table in sorted(root.glob("*.txt")):
        twins = _listed(table)
        if twins:
            return twins
    clean = [path for path in pictures if path.stem.startswith("norain-")]
    if clean:
        rainy = [path for path in pictures if path.stem.startswith("rain-")]
        return _match(rainy or _versions_of(folders), clean, _key)
    rainy_folder, clean_folder = _first(_RAINY_FOLDERS, folders), _first(_CLEAN_FOLDERS, folders)
    if rainy_folder and clean_folder:
        rainy = _versions_of(folders) or list_pictures(rainy_folder)
        return _match(rainy, list_pictures(clean_folder), _key)
    held = [f"{len(pictures)} pictures", *(f"{name}/" for name in folders)]
    raise DataError(
        f"{root}: no published layout; tried a *.txt with two paths a line, norain-* beside "
        f"rain-*, and {'|'.join(_RAINY_FOLDERS)} beside {'|'.join(_CLEAN_FOLDERS)}; "
        f"found {', '.join(held)}"
    )


def _pictures(folder: Path) -> list[Path]:
    try:
        return find_pictures(folder)
    except ImageError as error:
        raise DataError(str(error)) from error


def _first(names: Iterable[str], folders: dict[str, Path]) -> Path | None:
    return next((folders[name] for name in names if name in folders), None)


def _versions_of(folders: dict[str, Path]) -> list[Path]:
    rain = _first(_RAINY_FOLDERS, folders)
    if rain is None:
        return []
    return _pictures(rain / "X2") if (rain / "X2").is_dir() else _pictures(rain)


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
