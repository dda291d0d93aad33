"""Artifacts on disk: always together with their card, never half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_runtime.errors import MissingExtraError
from edge_runtime.files import write_atomically
from edge_runtime.models.card import METADATA_KEY, ModelCard, card_path, write_card
from export.errors import ExportError

try:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
except ModuleNotFoundError as error:
    raise MissingExtraError(error.name or "onnx", "export") from None


_TFLITE = b"TFL3"
"""What stands in bytes 4 to 7 of every TFLite file."""
Model = onnx.ModelProto | bytes
"""An artifact that is not written yet: a model of ONNX, or the content of a TFLite file."""


def write_artifact(model: Model, card: ModelCard, path: Path) -> ModelCard:
    """Write ``model`` with ``card`` embedded, and the card beside it.

    Args:
        model: without a card; left as it is.
        card: without size and hash; they are measured here.
        path: of the artifact; its folder exists. What was there is replaced.

    Returns:
        The card as it lies beside the artifact.

    Raises:
        ExportError: the folder cannot be written to. Nothing is left behind, and what ``path``
            held is untouched.
    """
    content = _with_card(model, card.to_metadata())
    with staging_folder(path.parent) as staging:
        staged = staging / path.name
        write_atomically(staged, content)
        written = write_card(staged, card)
        move_artifact(staged, path)
    return written


def _with_card(model: Model, card: str) -> bytes:
    if isinstance(model, bytes):
        from export.tflite.metadata import with_metadata

        return with_metadata(model, METADATA_KEY, card)
    complete = onnx.ModelProto()
    complete.CopyFrom(model)
    complete.metadata_props.add(key=METADATA_KEY, value=card)
    return bytes(complete.SerializeToString(deterministic=True))


@contextmanager
def staging_folder(folder: Path) -> Iterator[Path]:
    """Give a hidden folder inside ``folder`` that is gone afterwards, whatever happened.

    Raises:
        ExportError: ``folder`` is missing or not writable, or the disk is full.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".derain-export-", dir=folder) as staging:
            yield Path(staging)
    except OSError as error:
        cause = error.strerror or error
        raise ExportError(f"{error.filename or folder}: cannot be written ({cause})") from error


def move_artifact(staged: Path, path: Path) -> None:
    """Move an artifact and its card to ``path`` on the same file system, replacing what is there.

    Raises:
        ExportError: one of the two names is taken by a folder; nothing is moved.
        OSError: the folder cannot be written to.
    """
    moves = ((staged, path), (card_path(staged), card_path(path)))
    for _, target in moves:
        if target.is_dir():
            raise ExportError(f"{target}: is a folder; remove it or choose another name")
    for source, target in moves:
        os.replace(source, target)


def read_embedded_card(artifact: Path) -> ModelCard:
    """Read the card inside an artifact.

    Raises:
        ExportError: the file is unreadable, neither ONNX nor TFLite, or carries no card.
        CardError: the card is malformed.
        MissingExtraError: what reads TFLite files is not installed.
    """
    try:
        content = artifact.read_bytes()
    except OSError as error:
        raise ExportError(f"{artifact}: cannot be read ({error.strerror})") from error
    try:
        text = _tflite_card(content) if content[4:8] == _TFLITE else _onnx_card(content)
    except (DecodeError, ValueError) as error:
        raise ExportError(
            f"{artifact}: torn, or neither an ONNX nor a TFLite file; export it again"
        ) from error
    if text is None:
        raise ExportError(f"{artifact}: no card in its metadata; export it with derain-export")
    return ModelCard.from_json(text, artifact)


def _onnx_card(content: bytes) -> str | None:
    model = onnx.ModelProto.FromString(content)
    found = [entry.value for entry in model.metadata_props if entry.key == METADATA_KEY]
    return found[0] if found else None


def _tflite_card(content: bytes) -> str | None:
    from export.tflite.metadata import read_metadata

    return read_metadata(content, METADATA_KEY)
