"""Find the artifact that a name or a path stands for, and choose between those that fit."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from edge_runtime.errors import ModelNotFoundError, UsageError
from edge_runtime.machine import BACKENDS, has_int8_dot_products, machine
from edge_runtime.models.card import ModelCard, read_card
from edge_runtime.models.timings import Timing, recall
from edge_runtime.terminal import aligned

WEIGHTS = Path(__file__).parents[1] / "weights"
"""The folder of the artifacts that ship with the package, each with its card beside it."""
DEFAULT_MODEL = "small"

PRECISIONS = ("fp32", "fp16", "dynamic", "int8")
LOSS_ALLOWED_DB = 0.05
"""What a faster artifact may lose against the best of the same name: in dB of PSNR (``rgb``),
the mean of the data sets on the cards. Int8 may keep one kind of rain and lose another."""
COUNTED_DB = 40.0
"""What more PSNR than this counts in that mean, as in the score of training."""

Model = tuple[Path, ModelCard]

_SUFFIXES = tuple(f".{backend}" for backend in BACKENDS)


def list_models(folder: Path = WEIGHTS) -> list[Model]:
    """Return the artifacts in ``folder`` with their cards, sorted by file name.

    The artifacts themselves are not opened; ``load_card`` checks one against its card.

    Raises:
        CardError: An artifact has no card or a malformed one.
    """
    paths = sorted(path for path in folder.glob("*.*") if path.suffix in _SUFFIXES)
    return [(path, read_card(path)) for path in paths]


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
    2. Unless ``precision`` names one, what is not ``good_enough`` is left out.
    3. If ``edge-derain --tune`` has measured all that are left, with the engines as they are now
       on this machine, the fastest is taken.
    4. Otherwise the precision decides: int8 first where the processor has dot products for it and
       last where not, then fp32, fp16, dynamic; and then the engine, ONNX Runtime before LiteRT.

    Args:
        model: A path (anything with a folder separator, a suffix of an artifact, or a Path), the
            stem of a file in ``folder`` such as ``'small_fp32'``, which takes ONNX before TFLite,
            or a card's name such as ``'small'``. Names never lead out of ``folder``.
        folder: Where names are looked up.
        backend: ``'onnx'``, ``'tflite'`` or ``'auto'``.
        precision: One of ``PRECISIONS`` or ``'auto'``.

    Raises:
        ModelNotFoundError: Nothing answers to all of it; names the nearest and all that there are.
        UsageError: There is no such backend or precision.
        CardError: An artifact in ``folder`` has no card or a malformed one.
    """
    for option, value, known in (
        ("backend", backend, BACKENDS),
        ("precision", precision, PRECISIONS),
    ):
        if value not in ("auto", *known):
            raise UsageError(f"{option} {value!r}: must be one of auto, {', '.join(known)}")
    if not isinstance(model, str) or _looks_like_path(model):
        path = _existing_artifact(Path(model))
        if (backend, precision) != ("auto", "auto"):
            _fitting(str(model), [(path, read_card(path))], backend, precision)
        return path
    models = list_models(folder)
    stems = [found for found in models if found[0].stem == model]
    if stems:
        fitting = _runnable(_fitting(model, stems, backend, precision))
        return min(fitting, key=lambda found: found[1].format != "onnx")[0]
    named = [found for found in models if found[1].name == model]
    if not named:
        raise ModelNotFoundError(_unknown(model, models, folder))
    fitting = _runnable(_fitting(model, named, backend, precision))
    return _choose(fitting if precision != "auto" else good_enough(fitting))[0]


def good_enough(models: Sequence[Model]) -> list[Model]:
    """Return the models that lose no more than ``LOSS_ALLOWED_DB`` against the best of them.

    Without a score there is no telling: such models are left out where others have one, and where
    none has, the most precise are left.
    """
    found = [_psnr(card) for _, card in models]
    shared = set.intersection(*[set(each) for each in found if each] or [set()])
    scores = [_mean(each, shared) for each in found]
    if not shared:
        scores = [-float(PRECISIONS.index(card.precision)) for _, card in models]
    best = max(scores, default=0.0)
    allowed = zip(models, scores, strict=True)
    return [model for model, score in allowed if score >= best - LOSS_ALLOWED_DB]


def fastest_provider(card: ModelCard) -> str | None:
    """Return what runs this artifact fastest in its engine, if that was measured here."""
    measured = _measured(card, recall())
    return min(measured, key=_time).provider if measured else None


def _choose(models: Sequence[Model]) -> Model:
    timings = recall()
    if timings and all(_measured(card, timings) for _, card in models):
        return min(models, key=lambda model: min(map(_time, _measured(model[1], timings))))
    return min(models, key=lambda model: _rank(model[1]))


def _measured(card: ModelCard, timings: Iterable[Timing]) -> list[Timing]:
    """Return what is known about the artifact of ``card`` on this machine as it is now."""
    here = machine()
    engine = here.engines.get(card.format)
    about = (here.key, engine, card.sha256)
    return [found for found in timings if (found.machine, found.engine, found.sha256) == about]


def _time(timing: Timing) -> float:
    return math.inf if timing.milliseconds is None else timing.milliseconds


def _rank(card: ModelCard) -> tuple[int, int]:
    precision = PRECISIONS.index(card.precision)
    if card.precision == "int8" and has_int8_dot_products():
        precision = -1
    return precision, BACKENDS.index(card.format)


def _psnr(card: ModelCard) -> dict[str, float]:
    rows = [row for row in card.quality if row.protocol == "rgb"]
    return {row.dataset: min(row.psnr, COUNTED_DB) for row in rows}


def _mean(psnr: dict[str, float], datasets: set[str]) -> float:
    return sum(psnr[name] for name in datasets) / len(datasets) if psnr and datasets else -math.inf


def _fitting(model: str, found: Sequence[Model], backend: str, precision: str) -> list[Model]:
    fitting = [
        (path, card)
        for path, card in found
        if backend in ("auto", card.format) and precision in ("auto", card.precision)
    ]
    if not fitting:
        wanted = " ".join(word for word in (precision, backend) if word != "auto")
        offers = ", ".join(sorted({f"{card.precision} {card.format}" for _, card in found}))
        raise ModelNotFoundError(f"model {model!r}: not there as {wanted}; there is: {offers}")
    return fitting


def _runnable(models: list[Model]) -> list[Model]:
    engines = machine().engines
    return [model for model in models if model[1].format in engines] or models


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


def _existing_artifact(path: Path) -> Path:
    if path.suffix not in _SUFFIXES:
        raise ModelNotFoundError(
            f"model {path}: must be an .onnx or .tflite file or a shipped name"
        )
    if not path.is_file():
        raise ModelNotFoundError(f"model {path}: no such file; --list-models shows what ships")
    return path


def _unknown(model: str, models: list[tuple[Path, ModelCard]], folder: Path) -> str:
    known = sorted({card.name for _, card in models} | {path.stem for path, _ in models})
    if not known:
        return f"model {model!r}: there are no models in {folder}; give the path of an .onnx file"
    near = difflib.get_close_matches(model, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"model {model!r}: unknown; {hint}There are: {', '.join(known)}, or give a path"
