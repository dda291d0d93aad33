"""The model card: what an artifact is, what it needs, and what it scored.

A card travels twice: embedded in the artifact, and beside it as ``<artifact name>.json``. Only
the one beside it knows the artifact's size and hash, because no file can hold its own hash.
A checkpoint has only the card beside it; its own header says how to rebuild the network.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edge_runtime.errors import CardError
from edge_runtime.files import write_atomically
from edge_runtime.models.fields import check_fields, plain_json
from edge_runtime.models.schema import SCHEMA, decode, encode, schema_message, with_tables
from edge_runtime.models.scored import (
    Golden,
    LossRow,
    QualityRow,
    StageStep,
    TeacherLoss,
    rounded,
)

__all__ = [
    "METADATA_KEY",
    "SCHEMA",
    "Golden",
    "LossRow",
    "ModelCard",
    "QualityRow",
    "StageStep",
    "TeacherLoss",
    "card_path",
    "load_card",
    "read_card",
    "write_card",
]

METADATA_KEY = "edge_derain.card"
"""Key of the artifact's own metadata under which ``card.to_metadata()`` is stored."""


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """Everything that a runtime or a reader needs to know about one artifact or checkpoint.

    Attributes:
        name: The short name that users type, such as ``'small'``; shared by all precisions.
        role: Whether the network was compressed for devices or is what others learn from.
        architecture: Name of the network, and ``config`` the arguments that rebuild it.
        format: Engine format of the artifact, or ``'safetensors'`` of a checkpoint, which no
            engine opens; ``precision`` (``'dynamic'`` is int8 weights and float activations) and
            ``layout`` of its tensors; ``io`` the type of its own input and output.
        size_multiple: Height and width of the input must be multiples of this many pixels.
        halo: Pixels around a tile that influence its result.
        tiling_exact: Whether tiles that overlap by ``halo`` give exactly the whole result.
        parameters: Number of weights. ``macs_per_pixel``: multiply-accumulates per input pixel.
        quality: Scores per data set and protocol, kept to 0.0001 dB and 0.000001 of SSIM.
        teacher: The loss against a teacher, kept likewise; None where it was not measured.
        recipe: Steps that made the artifact, in order. ``data``: data sets used in training.
        versions: Library versions, by package. ``licence``: what may be done with the weights.
        golden: A picture and the expected result, or None where the card is older than these.
        step: What to know of an artifact that is one stage of a network; None for a whole one.
        bytes: Size of the artifact, and ``sha256`` its hash in lower-case hexadecimal; both None
            in the card that the artifact itself carries.

    Raises:
        CardError: A field has the wrong type or a value outside its range.
    """

    schema: int = SCHEMA
    name: str
    role: Literal["student", "teacher"]
    architecture: str
    config: dict[str, Any]
    format: Literal["onnx", "tflite", "safetensors"]
    precision: Literal["fp32", "fp16", "int8", "dynamic"]
    io: Literal["float32", "int8"] = "float32"
    layout: Literal["NCHW", "NHWC"]
    size_multiple: int
    halo: int
    tiling_exact: bool
    parameters: int
    macs_per_pixel: float
    quality: tuple[QualityRow, ...]
    teacher: TeacherLoss | None = None
    recipe: tuple[str, ...]
    data: tuple[str, ...]
    versions: dict[str, str]
    licence: str
    golden: Golden | None = None
    step: StageStep | None = None
    bytes: int | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise CardError(schema_message(self.schema))
        check_fields(self)
        object.__setattr__(self, "config", plain_json(self.config))
        object.__setattr__(self, "quality", rounded(self.quality))
        if self.teacher is not None:
            teacher = dataclasses.replace(self.teacher, rows=rounded(self.teacher.rows))
            object.__setattr__(self, "teacher", teacher)

    def to_json(self) -> str:
        """Return the card as JSON: fields in the order above, two spaces, a final newline."""
        return json.dumps(encode(self), indent=2, allow_nan=False) + "\n"

    def to_metadata(self) -> str:
        """Return the card as it goes into the artifact: on one line, without size and hash.

        Scores and losses are tables there, ``{"columns": [...], "rows": [[...], ...]}``, instead
        of objects that name every number again.
        """
        values = with_tables(encode(self.embedded()))
        return json.dumps(values, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str, source: str | Path) -> ModelCard:
        """Read a card and refuse anything that is not exactly one.

        Args:
            text: What ``to_json`` or ``to_metadata`` wrote.
            source: Where the text came from, for error messages.

        Raises:
            CardError: Not JSON, a key missing or unknown, a value of the wrong type or out of
                range, or a schema that only a later version understands.
        """
        try:
            return cls(**decode(text, [field.name for field in dataclasses.fields(cls)]))
        except CardError as error:
            raise CardError(f"{source}: {error}") from None

    def embedded(self) -> ModelCard:
        """Return the card without its size and hash, which no file can hold of itself."""
        return dataclasses.replace(self, bytes=None, sha256=None)


def card_path(artifact: Path) -> Path:
    """Return where the card of ``artifact`` lies: ``small.onnx`` has ``small.onnx.json``."""
    return artifact.with_name(artifact.name + ".json")


def read_card(artifact: Path) -> ModelCard:
    """Read the card beside ``artifact`` without opening the artifact.

    Raises:
        CardError: The card is missing, unreadable, malformed, or lacks the size or the hash.
    """
    path = card_path(artifact)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CardError(
            f"{path}: no card beside {artifact.name}; artifact and card belong together, "
            "copy both or export again"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise CardError(f"{path}: cannot be read ({error})") from None
    card = ModelCard.from_json(text, path)
    if card.bytes is None or card.sha256 is None:
        raise CardError(f"{path}: bytes or sha256 is null; export the artifact again")
    return card


def load_card(artifact: Path) -> ModelCard:
    """Read the card beside ``artifact`` and check that the artifact is the one it describes.

    Raises:
        CardError: As ``read_card``, or the artifact is missing or differs in size or SHA-256.
    """
    card = read_card(artifact)
    try:
        content = artifact.read_bytes()
    except OSError as error:
        raise CardError(f"{artifact}: cannot be read ({error.strerror})") from None
    if len(content) != card.bytes:
        raise CardError(
            f"{artifact}: has {len(content)} bytes but its card says {card.bytes}; "
            "the file is damaged or the card is another's, copy both again"
        )
    digest = hashlib.sha256(content).hexdigest()
    if digest != card.sha256:
        raise CardError(
            f"{artifact}: sha256 is {digest} but its card says {card.sha256}; "
            "the file is damaged or the card is another's, copy both again"
        )
    return card


def write_card(artifact: Path, card: ModelCard, path: Path | None = None) -> ModelCard:
    """Write ``card`` with the size and hash of ``artifact``, and return it.

    Args:
        artifact: What the card describes.
        card: Without size and hash; they are measured here.
        path: Where to; None writes beside the artifact. What was there is replaced.

    Raises:
        CardError: The artifact cannot be read or the card cannot be written.
    """
    try:
        content = artifact.read_bytes()
        complete = dataclasses.replace(
            card, bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
        )
        write_atomically(path or card_path(artifact), complete.to_json().encode())
    except OSError as error:
        raise CardError(f"{error.filename or artifact}: {error.strerror}") from None
    return complete
