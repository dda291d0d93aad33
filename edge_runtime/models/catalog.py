"""Names of models: the artifact that one stands for, by the names of files and what was measured.

A file is called ``NAME_PRECISION.FORMAT``, such as ``small_int8.onnx``. No card is read to find it.
What ``--tune`` measured is one JSON file in the user's cache folder. An entry is about one machine,
one version of one engine with one provider, and one artifact by its hash; when any of them changes
it is no longer found.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from edge_runtime.errors import ModelNotFoundError, RecordError, TuneError, UsageError
from edge_runtime.files import cache_folder, write_atomically
from edge_runtime.machine import BACKENDS, installed_backends, machine
from edge_runtime.models.card import ModelCard, read_card
from edge_runtime.models.records import from_plain
from edge_runtime.terminal import aligned

WEIGHTS = Path(__file__).parents[1] / "weights"
"""The folder of the artifacts that ship with the package, each with its card beside it."""
DEFAULT_MODEL = "small"

PRECISIONS = ("fp32", "fp16", "dynamic", "int8")
"""The most precise first, which is taken where nothing was measured."""

_ENTRIES_KEPT = 1000
Model = tuple[Path, ModelCard]

_SUFFIXES = tuple(f".{backend}" for backend in BACKENDS)


def list_models(folder: Path = WEIGHTS) -> list[Model]:
    """Return the artifacts in ``folder`` with their cards, sorted by file name.

    The artifacts themselves are not opened; ``load_card`` checks one against its card.

    Raises:
        CardError: An artifact has no card or a malformed one.
    """
    return [(path, read_card(path)) for path in _artifacts(folder)]


def model_table(cards: Iterable[ModelCard]) -> list[str]:
    """Return the lines of a table of models: a header, then one line each."""
    rows = [("name", "precision", "format", "kB", "kMAC/pixel", "dB rgb")]
    rows += [_row(card) for card in cards]
    return aligned(rows)


def find_model(
    model: str | os.PathLike[str],
    folder: Path = WEIGHTS,
    *,
    backend: str = "auto",
    precision: str = "auto",
) -> Path:
    """Return the artifact that ``model`` stands for.

    A name can stand for several artifacts. Those that ``backend`` and ``precision`` leave are
    chosen from thus:

    1. What no installed engine runs is left out, unless nothing else is left.
    2. If ``edge-report --tune`` has measured all that are left, with the engines as they are now
       on this machine, the fastest is taken of those that it found good enough, or of all where
       ``precision`` names one.
    3. Otherwise the most precise is taken: fp32, then fp16, dynamic, int8; and then the engine,
       ONNX Runtime before LiteRT.

    Args:
        model: A path (anything with a folder separator, a suffix of an artifact, or a Path), the
            name of a file in ``folder`` such as ``'small_int8.tflite'``, its stem, which takes
            ONNX before TFLite, or what stands before the precision in it, such as ``'small'``.
            Names never lead out of ``folder``.
        folder: Where names are looked up.
        backend: ``'onnx'``, ``'tflite'`` or ``'auto'``.
        precision: One of ``PRECISIONS`` or ``'auto'``.

    Raises:
        ModelNotFoundError: Nothing answers to all of it; names the nearest and all that there are.
        UsageError: There is no such backend or precision.
        CardError: Of a path whose name does not tell the precision that is asked for, the card is
            missing or malformed.
    """
    for option, value, known in (
        ("backend", backend, BACKENDS),
        ("precision", precision, PRECISIONS),
    ):
        if value not in ("auto", *known):
            raise UsageError(f"{option} {value!r}: must be one of auto, {', '.join(known)}")
    if not isinstance(model, str) or _looks_like_path(model):
        path = _existing_artifact(Path(model), folder)
        _fitting(str(model), [path], backend, precision)
        return path
    paths = _artifacts(folder)
    if stems := [path for path in paths if path.stem == model]:
        return _runnable(_fitting(model, stems, backend, precision))[0]
    named = [path for path in paths if _name(path) == model]
    if not named:
        raise ModelNotFoundError(_unknown(model, paths, folder))
    fitting = _runnable(_fitting(model, named, backend, precision))
    return _fastest(fitting, precision) or min(fitting, key=_rank)


def fastest_provider(card: ModelCard) -> str | None:
    """Return what runs this artifact fastest in its engine, if that was measured here."""
    measured = _measured(card.format, card.sha256 or "", recall())
    return min(measured, key=_time).provider if measured else None


@dataclass(frozen=True)
class Timing:
    """One line of the table.

    Attributes:
        machine: ``Machine.key``.
        engine: With its version, such as ``'onnxruntime 1.31.1'``.
        provider: What executes in it, such as ``'CPUExecutionProvider'``.
        sha256: Of the artifact.
        milliseconds: Median for one picture, comparable with those of the same run; None where
            the engine cannot run the artifact.
        good: Whether it loses so little against the others of its name that it may be chosen.
    """

    machine: str
    engine: str
    provider: str
    sha256: str
    milliseconds: Annotated[float, Meta(gt=0)] | None
    good: bool

    @property
    def _about(self) -> tuple[str, str, str, str]:
        return self.machine, self.engine, self.provider, self.sha256


def remember(timings: Iterable[Timing]) -> Path:
    """Add ``timings`` to the table, in the place of older ones about the same, and return its file.

    Raises:
        TuneError: It cannot be written; what it held is untouched.
    """
    file = cache_folder() / "tune.json"
    table = {entry._about: entry for entry in recall()}
    for timing in timings:
        table.pop(timing._about, None)
        table[timing._about] = timing
    kept = list(table.values())[-_ENTRIES_KEPT:]
    text = json.dumps([vars(entry) for entry in kept], indent=1) + "\n"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, text.encode())
    except OSError as error:
        raise TuneError(
            f"{file}: cannot be written ({error.strerror}), so it will not be known; "
            "name another folder in XDG_CACHE_HOME"
        ) from None
    return file


def recall() -> list[Timing]:
    """Return the table, oldest first; what is missing, damaged or not ours is left out."""
    try:
        entries = json.loads((cache_folder() / "tune.json").read_bytes())
    except (OSError, ValueError, RecursionError, TuneError):
        return []
    found = []
    for entry in entries if isinstance(entries, list) else []:
        with contextlib.suppress(RecordError):
            found.append(from_plain(Timing, entry, "timing"))
    return found


def _fastest(paths: Sequence[Path], precision: str) -> Path | None:
    """Return what was measured to be the fastest; None where not all of them were."""
    timings = recall()
    if not timings or len(paths) < 2:
        return None
    times = {}
    for path in paths:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        measured = _measured(path.suffix[1:], sha256, timings)
        if not measured:
            return None
        best = min(measured, key=_time)
        if precision != "auto" or best.good:
            times[path] = _time(best)
    return min(times, key=lambda path: times[path], default=None)


def _measured(backend: str, sha256: str, timings: Iterable[Timing]) -> list[Timing]:
    """Return what is known about an artifact on this machine as it is now."""
    here = machine() if timings else None
    if here is None:
        return []
    about = (here.key, here.engines.get(backend), sha256)
    return [found for found in timings if (found.machine, found.engine, found.sha256) == about]


def _time(timing: Timing) -> float:
    return math.inf if timing.milliseconds is None else timing.milliseconds


def _rank(path: Path) -> tuple[int, int]:
    return PRECISIONS.index(_precision(path)), BACKENDS.index(path.suffix[1:])


def _artifacts(folder: Path) -> list[Path]:
    """Return the artifacts in a folder by name, ONNX before TFLite."""
    return sorted(path for path in folder.glob("[!.]*.*") if path.suffix in _SUFFIXES)


def _name(path: Path) -> str:
    """Return what stands before the precision in the name of an artifact."""
    name, _, precision = path.stem.rpartition("_")
    return name if precision in PRECISIONS else path.stem


def _precision(path: Path) -> str:
    precision = path.stem.rpartition("_")[2]
    return precision if precision in PRECISIONS else read_card(path).precision


def _fitting(model: str, paths: Sequence[Path], backend: str, precision: str) -> list[Path]:
    fitting = [
        path
        for path in paths
        if backend in ("auto", path.suffix[1:]) and precision in ("auto", _precision(path))
    ]
    if not fitting:
        wanted = " ".join(word for word in (precision, backend) if word != "auto")
        offers = ", ".join(sorted({f"{_precision(path)} {path.suffix[1:]}" for path in paths}))
        raise ModelNotFoundError(f"model {model!r}: not there as {wanted}; there is: {offers}")
    return fitting


def _runnable(paths: list[Path]) -> list[Path]:
    engines = installed_backends()
    return [path for path in paths if path.suffix[1:] in engines] or paths


def _row(card: ModelCard) -> tuple[str, str, str, str, str, str]:
    scored = [row for row in card.quality if row.protocol == "rgb"]
    return (
        card.name,
        card.precision,
        card.format,
        f"{(card.bytes or 0) / 1000:.0f}",
        f"{card.macs_per_pixel / 1000:.1f}",
        f"{scored[0].psnr:.2f} ({scored[0].dataset})" if scored else "-",
    )


def _looks_like_path(model: str) -> bool:
    return model.endswith(_SUFFIXES) or "/" in model or os.sep in model


def _existing_artifact(path: Path, folder: Path) -> Path:
    if path.suffix not in _SUFFIXES:
        raise ModelNotFoundError(
            f"model {path}: must be an .onnx or .tflite file or a shipped name"
        )
    shipped = folder / path
    if not path.is_file() and path.name == str(path) and shipped.is_file():
        return shipped
    if not path.is_file():
        raise ModelNotFoundError(f"model {path}: no such file; --list-models shows what ships")
    return path


def _unknown(model: str, paths: Sequence[Path], folder: Path) -> str:
    known = sorted({name for path in paths for name in (_name(path), path.stem)})
    if not known:
        return f"model {model!r}: there are no models in {folder}; give the path of an .onnx file"
    near = difflib.get_close_matches(model, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"model {model!r}: unknown; there are {', '.join(known)}, or give a path{hint}"
