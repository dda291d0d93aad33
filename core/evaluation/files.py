"""Files that an evaluation leaves: scores of pictures, derained pictures, reference sets."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from core.checkpoint import load_checkpoint
from core.errors import DataError, disk_errors
from core.evaluation.evaluate import (
    EvaluationConfig,
    PictureScore,
    ScoredPicture,
    TestSetConfig,
    published_sets,
)
from core.pairs import Image, SourceConfig, find_pairs
from edge_runtime import __version__
from edge_runtime.errors import UsageError
from edge_runtime.files import write_atomically
from edge_runtime.metrics import PROTOCOLS, counted_psnr
from edge_runtime.models.card import ModelCard, card_path, load_card
from edge_runtime.models.records import to_json
from edge_runtime.pictures.picture import Picture, encode_picture, write_picture
from edge_runtime.report.reference import (
    FILE,
    KINDS,
    ReferenceIndex,
    ReferencePicture,
    ReferenceTeacher,
    is_reference,
    read_reference,
)


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
    with disk_errors(f"{option} {path}", UsageError):
        write_atomically(path, text.encode())


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
            target = _picture_path(folder, name, file.name)
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
    """Write a derained picture as lossless ``folder/SET/STEM.png``, replacing what is there.

    Args:
        folder: made where it is missing, like the set's folder in it.
        score: whose picture it is.
        derained: uint8 (H, W, 3) RGB.

    Raises:
        UsageError: the folder cannot be made.
        ImageError: the file cannot be written.
    """
    path = _picture_path(folder, score.dataset, score.picture)
    with disk_errors(f"--save {path.parent}", UsageError, "made"):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, Picture(derained))


def _picture_path(folder: Path, dataset: str, picture: str) -> Path:
    return folder / dataset / f"{Path(picture).stem}.png"


def teacher_of(path: Path) -> ReferenceTeacher:
    """Say who makes the pictures: a checkpoint or artifact, with its card where it has one.

    Raises:
        CardError: a card beside it that is malformed or another's.
    """
    card: ModelCard | None = load_card(path) if card_path(path).exists() else None
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if card is not None:
        name = card.name
    else:  # the file of a run is called best, whatever the network is called
        name = load_checkpoint(path).name if path.suffix == ".safetensors" else path.stem
    return ReferenceTeacher(name=name, sha256=digest, card=card)


def downloaded_sets(root: str, dataset: str | None) -> EvaluationConfig:
    """Say how to read what lies in a folder: a reference set, or a data set as it was downloaded.

    Args:
        root: the folder.
        dataset: which published set it is; None finds out from how its files are laid out.

    Raises:
        UsageError, ReferenceSetError, RecordError: an unknown name, or a malformed reference set.
    """
    if dataset:
        return published_sets(dataset, root)
    folder = Path(root).absolute()
    if is_reference(folder):
        sources = {
            name: SourceConfig("folders", rainy=f"rainy/{name}", clean=f"clean/{name}")
            for name in read_reference(folder).datasets
        }
        sets = {name: TestSetConfig(source) for name, source in sources.items()}
        return EvaluationConfig(sets, data_root=str(folder))
    source = SourceConfig(layout="published", root=os.path.abspath(root))
    return EvaluationConfig({source.name: TestSetConfig(source)}, data_root=".")


class ReferenceWriter:
    """Collects the pictures of a reference set beside its folder, which appears when complete.

    Args:
        folder: made new, or a reference set to be replaced; other files in it stay.
        teacher: who derained the pictures.
        force: allow replacing.

    Raises:
        UsageError: the folder exists and ``force`` is off, is something else than a reference
            set, or cannot be made.
    """

    def __init__(self, folder: Path, teacher: ReferenceTeacher, *, force: bool) -> None:
        if os.path.lexists(folder):
            is_set = is_reference(folder)
            if not is_set and not (folder.is_dir() and not any(folder.iterdir())):
                raise UsageError(f"--reference {folder}: is no reference set; name a new folder")
            if is_set and not force:
                raise UsageError(f"--reference {folder}: exists already; add --force to replace it")
        self._folder = folder
        self._teacher = teacher
        self._pictures: list[ReferencePicture] = []
        beside = folder.absolute().parent
        with disk_errors(f"--reference {folder}", UsageError, "made"):
            beside.mkdir(parents=True, exist_ok=True)
            self._temporary = tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=beside)
            self._staging = Path(self._temporary.name) / "new"
            self._staging.mkdir()

    def add(self, scored: ScoredPicture) -> None:
        """Write one picture as three PNG files and note their hashes.

        Raises:
            DataError: another picture of its set has the same stem, or the disk is full.
        """
        stem = Path(scored.score.picture).stem
        height, width = scored.clean.shape[:2]
        hashes: dict[str, str] = {}
        picture = ReferencePicture(
            dataset=scored.score.dataset, name=stem, height=height, width=width, sha256=hashes
        )
        pixels = {"rainy": scored.rainy, "clean": scored.clean, "teacher": scored.derained}
        for kind in KINDS:
            path = self._staging / picture.path(kind)
            if path.exists():
                raise DataError(
                    f"{picture.dataset}: two pictures are named {stem}; rename one of them"
                )
            data = encode_picture(Picture(pixels[kind]), ".png", str(path))
            with disk_errors(self._folder, DataError):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            hashes[kind] = hashlib.sha256(data).hexdigest()
        self._pictures.append(picture)

    def finish(self) -> ReferenceIndex:
        """Write the index and put the folder in its place, all at once.

        Raises:
            DataError: the disk is full or the folder cannot be replaced; the old one stays.
        """
        index = ReferenceIndex(
            teacher=self._teacher,
            pictures=tuple(self._pictures),
            versions={"edge-derain": __version__},
        )
        with disk_errors(self._folder, DataError):
            (self._staging / FILE).write_text(to_json(index), encoding="utf-8")
            if self._folder.exists():
                _copy_others(self._folder, self._staging)
                old = self._staging.with_name("old")
                self._folder.rename(old)
                try:
                    self._staging.rename(self._folder)
                except OSError:
                    old.rename(self._folder)
                    raise
            else:
                self._staging.rename(self._folder)
        return index

    def __enter__(self) -> ReferenceWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._temporary.cleanup()


def _copy_others(folder: Path, staging: Path) -> None:
    for path in folder.iterdir():
        if path.name not in {*KINDS, FILE}:
            copy = shutil.copytree if path.is_dir() else shutil.copy2
            copy(path, staging / path.name)
