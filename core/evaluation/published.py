"""The published test sets by the names that people use, whichever way they were downloaded."""

from __future__ import annotations

from pathlib import Path

from core.config_errors import nearest
from core.evaluation.evaluate import EvaluationConfig, TestSetConfig
from core.pairs import SourceConfig
from edge_runtime.errors import UsageError
from edge_runtime.pictures.sources import find_pictures

PUBLISHED_SETS = (
    "rain100l",
    "rain100h",
    "rain200l",
    "rain200h",
    "rain12",
    "rain800",
    "rain1400",
    "rain13k",
    "spa",
)
"""Yang et al. 2017 (the first four), Li et al. 2016, Zhang et al. 2017, Fu et al. 2017, Zamir et
al. 2021 (test sets of five others), Wang et al. 2019."""
_TEST_FOLDERS = ("test", "testing", "test_syn")
_RAINY_BESIDE_ONE_CLEAN = {"rain100l": "rainy_L", "rain100h": "rainy_H"}


def published_sets(name: str, root: str) -> EvaluationConfig:
    """Say how to read a published test set.

    Args:
        name: one of :data:`PUBLISHED_SETS`, in any case.
        root: folder of its pictures, or the one above with a ``test`` folder beside ``train``.

    Returns:
        One set called ``name``; or, for the folder of all test sets of ``rain13k``, each of them,
        such as ``rain13k/Test100``. Folders are looked at, files are not: what is wrong with them
        is said when the set is read.

    Raises:
        UsageError: an unknown name; gives the nearest and all there are.
    """
    known = name.lower()
    if known not in PUBLISHED_SETS:
        listed = ", ".join(PUBLISHED_SETS)
        hint = nearest(known, PUBLISHED_SETS)
        hint = hint if hint.endswith(listed) else f"{hint} There are {listed}"
        raise UsageError(f"--dataset {name!r}: unknown; {hint}")
    folders = _folders(Path(root))
    folder = next((folders[test] for test in _TEST_FOLDERS if test in folders), Path(root))
    parts = _folders(folder).values() if known == "rain13k" else ()
    parted = {f"{known}/{part.name}": part for part in parts if "input" in _folders(part)}
    sources = {title: _source(known, place) for title, place in (parted or {known: folder}).items()}
    return EvaluationConfig(
        {title: TestSetConfig(source) for title, source in sources.items()}, data_root="."
    )


def _source(name: str, folder: Path) -> SourceConfig:
    rainy = _RAINY_BESIDE_ONE_CLEAN.get(name)
    if rainy and (folder / rainy).is_dir():
        return SourceConfig("folders", rainy=str(folder / rainy), clean=str(folder / "clean"))
    if name == "rain800" and folder.is_dir() and find_pictures(folder):
        return SourceConfig("side_by_side", root=str(folder))
    return SourceConfig("published", root=str(folder))


def _folders(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    return {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
