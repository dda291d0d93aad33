"""Results of a report: cards and device reports of several boards as one list of artifacts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import CardError, RecordError, UsageError
from edge_runtime.machine import Machine
from edge_runtime.metrics import Protocol
from edge_runtime.models.card import ModelCard, QualityRow, card_path, load_card
from edge_runtime.models.catalog import list_models
from edge_runtime.models.records import parse
from edge_runtime.report.device import ArtifactReport, DeviceReport, ReferenceUsed, read_report
from edge_runtime.report.scores import RAINY, PictureScores, SetScores

ENGINE_FORMATS = ("onnx", "tflite")
REFERENCE = "reference"
"""Column of the scores on the reference set: ``reference/rgb``, ``reference/y``."""
_SUFFIXES = (".onnx", ".tflite", ".safetensors")
_SAME_DB = 0.005


@dataclass(frozen=True)
class Measured:
    """What one device says of an artifact."""

    machine: Machine
    report: ArtifactReport

    @property
    def place(self) -> str:
        """Machine, threads and size of the picture: times of one place can be compared."""
        latency = self.report.latency
        return (
            f"{self.machine.cpu}, {self.report.threads} "
            f"{'thread' if self.report.threads == 1 else 'threads'}, "
            f"{latency.width} x {latency.height}"
        )


@dataclass(frozen=True)
class Column:
    """Quality of one artifact on one data set under one protocol, in dB and SSIM.

    Attributes:
        psnr: Mean of the artifact. ``ssim`` likewise.
        input_psnr: Mean of the rainy pictures; ``input_ssim`` likewise.
        images: How many there are.
        teacher_psnr: Mean of the teacher on the same pictures; None where that is not known.
            ``teacher_ssim`` likewise; ``teacher`` is its name and sha256.
    """

    psnr: float
    ssim: float
    input_psnr: float
    input_ssim: float
    images: int
    teacher_psnr: float | None = None
    teacher_ssim: float | None = None
    teacher: tuple[str, str] | None = None

    @property
    def loss_db(self) -> float | None:
        """What was given up against the teacher."""
        return None if self.teacher_psnr is None else self.teacher_psnr - self.psnr

    @property
    def ssim_loss(self) -> float | None:
        """What was given up against the teacher."""
        return None if self.teacher_ssim is None else self.teacher_ssim - self.ssim


@dataclass(frozen=True)
class Entry:
    """One artifact with all that is known of it.

    Attributes:
        file: Its name.
        card: Its card.
        columns: Quality by ``DATASET/PROTOCOL``, ``reference/PROTOCOL`` included.
        measured: By device, in the order of the reports.
        path: Where it lies, if it is at hand.
    """

    file: str
    card: ModelCard
    columns: dict[str, Column]
    measured: tuple[Measured, ...] = ()
    path: Path | None = None

    @property
    def kilobytes(self) -> float:
        """Size in units of 1000 bytes."""
        return (self.card.bytes or 0) / 1000

    @property
    def pictures(self) -> tuple[PictureScores, ...]:
        """Scores of the pictures of the reference set, of the first device; empty without."""
        return self.measured[0].report.pictures if self.measured else ()

    def overall(self, protocol: Protocol) -> SetScores | None:
        """Means over the rainy pictures of the reference set; None where not measured."""
        sets = self.measured[0].report.sets if self.measured else ()
        rows = [row for row in sets if row.protocol == protocol]
        named = [row for row in rows if row.dataset == RAINY]
        return next(iter(named or rows), None)


@dataclass(frozen=True)
class Results:
    """All that was gathered.

    Attributes:
        entries: The artifacts, largest first.
        checkpoints: Cards of the checkpoints among the results: teachers, and what was exported.
        reference: The reference set of all device reports; None without any.
        devices: The device reports.
    """

    entries: tuple[Entry, ...]
    checkpoints: tuple[ModelCard, ...]
    reference: ReferenceUsed | None
    devices: tuple[DeviceReport, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns, in the order in which they first come; the reference set's last."""
        names = dict.fromkeys(name for entry in self.entries for name in entry.columns)
        own = [name for name in names if name.startswith(f"{REFERENCE}/")]
        return (*(name for name in names if name not in own), *own)

    @property
    def teachers(self) -> dict[tuple[str, str], str]:
        """Teachers that any loss is against: by name and sha256, a name that no other has."""
        columns = (column for entry in self.entries for column in entry.columns.values())
        found = list(dict.fromkeys(each.teacher for each in columns if each.teacher))
        names = [name for name, _ in found]
        return {
            (name, sha256): name if names.count(name) == 1 else f"{name} {sha256[:8]}"
            for name, sha256 in found
        }


def gather(places: Sequence[str | Path]) -> Results:
    """Read artifacts, checkpoints, their cards, and device reports.

    Args:
        places: Files, or folders whose files are taken. An artifact or checkpoint stands for the
            card beside it; a ``.json`` is a card or what ``edge-report --json`` wrote.

    Raises:
        UsageError: A place that is not there, no artifact in any, or reports on different
            reference sets, which cannot be compared.
        CardError, RecordError: A malformed or damaged file.
    """
    cards: dict[str, tuple[ModelCard, Path | None, str]] = {}
    devices: list[DeviceReport] = []
    for path in _files(places):
        if path.suffix in _SUFFIXES:
            card = load_card(path)
            cards[card.sha256 or ""] = (card, path, path.name)
            continue
        found = _read_json(path)
        if isinstance(found, DeviceReport):
            devices.append(found)
            for report in found.artifacts:
                cards.setdefault(report.card.sha256 or "", (report.card, None, report.file))
        else:
            file = path.name.removesuffix(".json")
            cards.setdefault(found.sha256 or "", (found, None, file))
    reference = _one_reference(devices)
    checkpoints = [card for card, _, _ in cards.values() if card.format not in ENGINE_FORMATS]
    artifacts = [each for each in cards.values() if each[0].format in ENGINE_FORMATS]
    if not artifacts:
        raise UsageError(
            "no artifact among the results; name .onnx or .tflite files, or what "
            "edge-report --json wrote"
        )
    shipped = {card.sha256: path for path, card in list_models()}
    entries = [
        _entry(card, path or shipped.get(card.sha256), file, devices, checkpoints)
        for card, path, file in artifacts
    ]
    entries.sort(key=lambda entry: (-entry.kilobytes, entry.file))
    return Results(tuple(entries), tuple(checkpoints), reference, tuple(devices))


def _files(places: Iterable[str | Path]) -> list[Path]:
    files: list[Path] = []
    for place in map(Path, places):
        if place.is_dir():
            inside = sorted(path for path in place.glob("[!.]*") if path.is_file())
            models = [path for path in inside if path.suffix in _SUFFIXES]
            carded = {card_path(path) for path in models}
            others = [path for path in inside if path.suffix == ".json" and path not in carded]
            if not models and not others:
                raise UsageError(f"{place}: holds no artifact, card or report; name another")
            files += [*(path for path in models if card_path(path).exists()), *others]
        elif place.is_file() and place.suffix in (*_SUFFIXES, ".json"):
            files.append(place)
        else:
            raise UsageError(
                f"{place}: must be a folder, an artifact or checkpoint with its card, or a .json"
            )
    return list(dict.fromkeys(files))


def _read_json(path: Path) -> DeviceReport | ModelCard:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: cannot be read ({error}); copy it again") from None
    values = parse(text, str(path))
    if "artifacts" in values and "machine" in values:
        return read_report(text, str(path))
    if "architecture" in values:
        card = ModelCard.from_json(text, path)
        if card.sha256 is None:
            raise CardError(f"{path}: sha256 is null; export the artifact again")
        return card
    raise RecordError(f"{path}: neither a card nor what edge-report --json wrote; leave it out")


def _one_reference(devices: Sequence[DeviceReport]) -> ReferenceUsed | None:
    for device in devices[1:]:
        if device.reference.sha256 != devices[0].reference.sha256:
            raise UsageError(
                f"{devices[0].machine.cpu} was scored on reference set "
                f"{devices[0].reference.sha256[:12]}, {device.machine.cpu} on "
                f"{device.reference.sha256[:12]}; measure both on one, or report them apart"
            )
    return devices[0].reference if devices else None


def _entry(
    card: ModelCard,
    path: Path | None,
    file: str,
    devices: Sequence[DeviceReport],
    checkpoints: Sequence[ModelCard],
) -> Entry:
    teachers = [teacher for teacher in checkpoints if teacher.role == "teacher"]
    columns = {
        f"{row.dataset}/{row.protocol}": _column(card, row, teachers) for row in card.quality
    }
    measured = tuple(
        Measured(device.machine, report)
        for device in devices
        for report in device.artifacts
        if report.card.sha256 == card.sha256
    )
    entry = Entry(file, card, columns, measured, path)
    protocols: tuple[Protocol, ...] = ("rgb", "y")
    for protocol in protocols:
        if row := entry.overall(protocol):
            columns[f"{REFERENCE}/{protocol}"] = Column(
                psnr=row.psnr,
                ssim=row.ssim,
                input_psnr=row.input_psnr,
                input_ssim=row.input_ssim,
                images=row.images,
                teacher_psnr=row.teacher_psnr,
                teacher_ssim=row.teacher_ssim,
                teacher=(devices[0].reference.teacher, devices[0].reference.teacher_sha256),
            )
    return entry


def _column(card: ModelCard, row: QualityRow, teachers: Sequence[ModelCard]) -> Column:
    """Take the teacher's score from its own card, or else from what the student's says of it."""
    column = Column(row.psnr, row.ssim, row.input_psnr, row.input_ssim, row.images)
    known = card.teacher
    of_it = [t for t in teachers if known is None or t.sha256 == known.sha256]
    for teacher in of_it or (teachers if known is None else ()):
        for other in teacher.quality:
            same = (other.dataset, other.protocol, other.images) == (
                row.dataset,
                row.protocol,
                row.images,
            )
            if same and math.isclose(other.input_psnr, row.input_psnr, abs_tol=_SAME_DB):
                return dataclasses.replace(
                    column,
                    teacher_psnr=other.psnr,
                    teacher_ssim=other.ssim,
                    teacher=(teacher.name, teacher.sha256 or ""),
                )
    loss = known.row(row.dataset, row.protocol) if known else None
    if loss is None or known is None:
        return column
    return dataclasses.replace(
        column,
        teacher_psnr=row.psnr + loss.psnr_loss_db,
        teacher_ssim=row.ssim + loss.ssim_loss,
        teacher=(known.name, known.sha256),
    )
