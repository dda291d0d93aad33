"""What an evaluation leaves on disk: the score of every picture, and the derained pictures."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from core.evaluation.evaluate import EvaluationConfig, PictureScore
from core.pairs import Image, find_pairs
from edge_runtime.errors import UsageError
from edge_runtime.files import write_atomically
from edge_runtime.metrics import PROTOCOLS, counted_psnr
from edge_runtime.pictures.picture import Picture, write_picture


def scores_csv(scores: Sequence[PictureScore]) -> str:
    """Return scores as a CSV table with one line a picture.

    The columns are ``dataset``, ``picture``, and for both protocols ``rgb_input_psnr``,
    ``rgb_input_ssim``, ``rgb_psnr``, ``rgb_ssim``. Numbers have all their digits, and identical
    pictures count :data:`edge_runtime.metrics.IDENTICAL_DB`, so that the mean of a column is what
    the quality table says, in a spreadsheet (which takes ``inf`` for text) as in pandas.
    """
    names = ("input_psnr", "input_ssim", "psnr", "ssim")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["dataset", "picture", *(f"{p}_{name}" for p in PROTOCOLS for name in names)])
    for score in scores:
        line: list[str | float] = [score.dataset, score.picture]
        for protocol in PROTOCOLS:
            for quality in (score.before[protocol], score.after[protocol]):
                line += [counted_psnr(quality), quality.ssim]
        writer.writerow(line)
    return text.getvalue()


def check_text_target(option: str, path: Path) -> None:
    """Refuse, before any work, a file that could not be written at its end.

    Raises:
        UsageError: the folder is missing or not writable, or ``path`` is a folder itself.
    """
    folder = path.parent
    if path.is_dir():
        raise UsageError(f"{option} {path}: is a folder; name a file in it")
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(f"{option} {path}: {folder} is no folder that can be written to; make it")


def write_text(option: str, path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, all of it or nothing; what ``path`` held is replaced.

    Raises:
        UsageError: ``path``, which ``option`` named, cannot be written.
    """
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        cause = error.strerror or error
        raise UsageError(f"{option} {path}: cannot be written ({cause})") from error


def picture_path(folder: Path, dataset: str, picture: str) -> Path:
    """Return where a derained picture is saved: ``folder/dataset/STEM.png``."""
    return folder / dataset / f"{Path(picture).stem}.png"


def check_picture_targets(config: EvaluationConfig, folder: Path, *, force: bool) -> None:
    """Refuse, before any work, to lose a file or to write two pictures to one.

    Args:
        config: the sets whose derained pictures are to be saved.
        folder: where :func:`save_picture` will put them.
        force: allow existing files to be replaced, but never those of the sets themselves.

    Raises:
        UsageError: two pictures would have one name, or a file would be lost.
        DataError: a set that is missing.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--save {folder}: is a file, and a folder is needed; name another")
    sources: set[Path] = set()
    targets: dict[str, tuple[Path, Path]] = {}
    for name, test_set in config.sets.items():
        for file in find_pairs(test_set.source, config.data_root):
            target = picture_path(folder, name, file.name)
            sources |= {file.rainy.resolve(), file.clean.resolve()}
            key = os.path.normcase(os.path.normpath(target))
            _, other = targets.setdefault(key, (target, file.rainy))
            if other is not file.rainy:
                raise UsageError(
                    f"--save {folder}: {other} and {file.rainy} would both be written to "
                    f"{target}; rename one"
                )
    for target, _ in targets.values():
        if target.resolve() in sources:
            raise UsageError(f"--save {folder}: {target} is a picture of the set; name another")
        if not force and os.path.lexists(target):
            raise UsageError(f"--save {folder}: {target} exists already; add --force to replace it")


def save_picture(folder: Path, score: PictureScore, derained: Image) -> None:
    """Write a derained picture as lossless PNG to :func:`picture_path`, replacing what is there.

    Args:
        folder: made where it is missing, like the set's folder in it.
        score: whose picture it is.
        derained: uint8 (H, W, 3) RGB.

    Raises:
        UsageError: the folder cannot be made.
        ImageError: the file cannot be written.
    """
    path = picture_path(folder, score.dataset, score.picture)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--save {path.parent}: cannot be made ({error.strerror})") from error
    write_picture(path, Picture(derained))
