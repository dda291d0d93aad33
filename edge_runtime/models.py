"""Find the artifact that a name or a path stands for."""

from __future__ import annotations

import difflib
import os
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
