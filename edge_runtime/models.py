"""Find the artifact that a name or a path stands for."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

from edge_runtime.card import ModelCard, read_card
from edge_runtime.errors import ModelNotFoundError

WEIGHTS = Path(__file__).parent / "weights"
"""The folder of the artifacts that ship with the package, each with its card beside it."""
DEFAULT_MODEL = "small"

_SUFFIX = ".onnx"
_PREFERENCE = ("fp32", "fp16", "int8")


def list_models(folder: Path = WEIGHTS) -> list[tuple[Path, ModelCard]]:
    """Return the artifacts in ``folder`` with their cards, sorted by file name.

    The artifacts themselves are not opened; ``load_card`` checks one against its card.

    Raises:
        CardError: An artifact has no card or a malformed one.
    """
    return [(path, read_card(path)) for path in sorted(folder.glob(f"*{_SUFFIX}"))]


def model_table(cards: Iterable[ModelCard]) -> list[str]:
    """Return the lines of a table of models: a header, then one line each."""
    rows = [("name", "precision", "format", "kB", "kMAC/pixel", "dB rgb")]
    rows += [_row(card) for card in cards]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def find_model(model: str | os.PathLike[str], folder: Path = WEIGHTS) -> Path:
    """Return the artifact that ``model`` stands for.

    Args:
        model: A path (anything with a folder separator, an ``.onnx`` suffix, or a Path), the stem
            of a file in ``folder`` such as ``'small_fp32'``, or a card's name such as
            ``'small'``, which takes fp32 before fp16 before int8. Names never lead out of
            ``folder``.
        folder: Where names are looked up.

    Raises:
        ModelNotFoundError: Nothing answers to it; names the nearest and all that there are.
        CardError: An artifact in ``folder`` has no card or a malformed one.
    """
    if not isinstance(model, str) or _looks_like_path(model):
        return _existing_artifact(Path(model))
    models = list_models(folder)
    for path, _ in models:
        if path.stem == model:
            return path
    named = [(path, card) for path, card in models if card.name == model]
    if named:
        return min(named, key=lambda found: _PREFERENCE.index(found[1].precision))[0]
    raise ModelNotFoundError(_unknown(model, models, folder))


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
    return model.endswith(_SUFFIX) or "/" in model or os.sep in model


def _existing_artifact(path: Path) -> Path:
    if path.suffix != _SUFFIX:
        raise ModelNotFoundError(f"model {path}: must be an {_SUFFIX} file or a shipped name")
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
