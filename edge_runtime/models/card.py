"""Model card: what an artifact is, what it needs, and what it scored.

A card travels twice: beside the artifact as ``<artifact name>.json``, and without its scores
embedded in it. Only the one beside it knows the artifact's size and hash, because no file can hold
its own hash. A checkpoint has only the card beside it; its own header says how to rebuild the
network.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from msgspec import Meta

from edge_runtime.errors import CardError
from edge_runtime.files import write_atomically
from edge_runtime.models.records import Finite, check_schema, from_plain, parse, to_json, to_plain

SCHEMA = 4
"""What is written. Cards of schema 1 to 3 are read still, by ``models.schema``."""
PIXELS = "RGB in [0, 1]; made multiples of size_multiple by repeating the last row and column"
METADATA_KEY = "edge_derain.card"
"""Key of the artifact's own metadata under which ``card.to_metadata()`` is stored."""
_EMBEDDED = b'{"schema":'
"""What it begins with, and no other text in an artifact."""

Text = Annotated[str, Meta(pattern=r"\S", description="a text that is not blank")]
Name = Annotated[
    str,
    Meta(
        pattern=r"^\w[\w.-]*\Z",
        description="letters, digits, '_', '-' and '.', beginning with a letter or digit",
    ),
]
Sha256 = Annotated[
    str, Meta(pattern=r"^[0-9a-f]{64}\Z", description="64 lower-case hexadecimal digits")
]
Digits = Annotated[
    str,
    Meta(pattern=r"^([0-9a-f]{2})+\Z", description="pairs of lower-case hexadecimal digits"),
]
Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Psnr = Annotated[float, Meta(ge=-1.7976931348623157e308)]  # not NaN; infinite where all is equal
Ssim = Annotated[float, Meta(ge=-1, le=1)]
Three = tuple[Finite, Finite, Finite]
Protocol = Literal["rgb", "y"]

_PSNR_DIGITS, _SSIM_DIGITS = 4, 6


@dataclass(frozen=True, kw_only=True)
class QualityRow:
    """Mean quality on one data set, measured on rounded 8-bit pictures.

    PSNR is in dB (peak 255). What measures may count identical pictures as a large number, as
    ``derain evaluate`` does with 100 dB, or as infinite; JSON has no infinity and says ``null``
    there. SSIM is in [-1, 1].
    """

    dataset: Text
    images: Positive
    protocol: Protocol
    input_psnr: Psnr
    input_ssim: Ssim
    psnr: Psnr
    ssim: Ssim


@dataclass(frozen=True, kw_only=True)
class LossRow:
    """What was given up against the teacher on one data set, on rounded 8-bit pictures.

    Attributes:
        dataset: As in the :class:`QualityRow` of the same protocol; ``protocol`` likewise.
        psnr_loss_db: ``psnr(teacher, clean) - psnr(student, clean)``, the mean of all pictures;
            negative where the student is better. ``ssim_loss`` likewise.
        fidelity_db: ``psnr(student, teacher)``, the mean of all pictures; None where the
            teacher's pictures were not at hand.
    """

    dataset: Text
    protocol: Protocol
    psnr_loss_db: Finite
    ssim_loss: Finite
    fidelity_db: Finite | None = None


@dataclass(frozen=True, kw_only=True)
class TeacherLoss:
    """What was given up against a teacher.

    Attributes:
        name: Of the teacher; ``sha256`` is the hash of its file.
        taught: Whether the student learned from it; if not, it was only measured against it.
        rows: One for each data set and protocol that both were scored on.
    """

    name: Name
    sha256: Sha256
    taught: bool
    rows: tuple[LossRow, ...]

    def row(self, dataset: str, protocol: str) -> LossRow | None:
        """Return the loss on one data set under one protocol; None where it is not known."""
        wanted = dataset, protocol
        return next((row for row in self.rows if (row.dataset, row.protocol) == wanted), None)


@dataclass(frozen=True, kw_only=True)
class Golden:
    """A generated rainy picture and what the artifact makes of it, to prove an engine on a chip.

    ``edge_runtime.report.golden`` draws the picture and judges the result.

    Attributes:
        drawer: Version of the drawing; ``seed``, ``height`` and ``width`` say which picture.
        input_sha256: Hash of the picture: HWC uint8 RGB, row by row.
        output_sha256: Hash of the derained picture, likewise.
        mean: Of the derained picture in levels of 8 bits, for R, G and B; ``deviation`` is the
            standard deviation.
        samples: Some of its values, two hexadecimal digits each; ``golden.sample`` says which.
    """

    drawer: Positive
    seed: Count
    height: Positive
    width: Positive
    input_sha256: Sha256
    output_sha256: Sha256
    mean: Three
    deviation: Three
    samples: Digits


@dataclass(frozen=True, kw_only=True)
class StageStep:
    """What a runtime needs to run an artifact that is one stage of a recurrent network.

    The artifact takes ``rainy``, the picture ``x`` so far and the states ``h`` and ``c``, and gives
    the next ``x``, ``h`` and ``c``. The first stage takes the rainy picture as ``x`` and zeros as
    states.

    Attributes:
        stages: How many the network was trained with.
        state_width: Channels of ``h`` and of ``c``.
        state_scale: The states are this many times smaller than the picture in height and width.
    """

    stages: Positive
    state_width: Positive
    state_scale: Positive


@dataclass(frozen=True, kw_only=True)
class _Fields:
    schema: int = SCHEMA
    name: Name
    role: Literal["student", "teacher"]
    architecture: Text
    config: dict[str, Any]
    format: Literal["onnx", "tflite", "safetensors"]
    precision: Literal["fp32", "fp16", "int8", "dynamic"]
    io: Literal["float32", "int8", "uint8"] = "float32"
    layout: Literal["NCHW", "NHWC"]
    pixels: Text = PIXELS
    size_multiple: Positive
    halo: Count
    tiling_exact: bool
    parameters: Count
    macs_per_pixel: Annotated[float, Meta(ge=0, le=1.7976931348623157e308)]
    quality: tuple[QualityRow, ...]
    teacher: TeacherLoss | None = None
    recipe: tuple[str, ...]
    data: tuple[str, ...]
    versions: dict[str, str]
    licence: Text
    golden: Golden | None = None
    step: StageStep | None = None
    bytes: Positive | None = None
    sha256: Sha256 | None = None


@dataclass(frozen=True, kw_only=True)
class ModelCard(_Fields):
    """Everything that a runtime or a reader needs to know about one artifact or checkpoint.

    Attributes:
        name: The short name that users type, such as ``'small'``; shared by all precisions.
        role: Whether the network was compressed for devices or is what others learn from.
        architecture: Name of the network, and ``config`` the arguments that rebuild it.
        format: Engine format of the artifact, or ``'safetensors'`` of a checkpoint, which no
            engine opens; ``precision`` (``'dynamic'`` is int8 weights and float activations) and
            ``layout`` of its tensors; ``io`` the type of its own input and output.
        pixels: What goes in and comes out, in words.
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

    def __post_init__(self) -> None:
        check_schema(self.schema, SCHEMA, "card", CardError)
        try:
            json.dumps(self.config, allow_nan=False)
        except (TypeError, ValueError):
            raise CardError(
                f"card: config must hold plain finite JSON values, got {self.config!r}"
            ) from None
        checked = from_plain(_Fields, to_plain(self, infinite=True), "card", CardError)
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, getattr(checked, field.name))
        object.__setattr__(self, "quality", rounded(self.quality))
        if self.teacher is not None:
            teacher = dataclasses.replace(self.teacher, rows=rounded(self.teacher.rows))
            object.__setattr__(self, "teacher", teacher)

    def to_json(self) -> str:
        """Return the card as JSON: fields in the order above, two spaces, a final newline."""
        return to_json(self)

    def to_metadata(self) -> str:
        """Return the card as it goes into the artifact: on one line, as ``embedded`` has it."""
        values = to_plain(self.embedded())
        return json.dumps(values, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str, source: str | Path) -> ModelCard:
        """Read a card of this schema or an older one, and refuse anything that is not exactly one.

        Args:
            text: What ``to_json`` or ``to_metadata`` wrote.
            source: Where the text came from, for error messages.

        Raises:
            CardError: Not JSON, a key missing or unknown, a value of the wrong type or out of
                range, or a schema that only a later version understands.
        """
        values = parse(text, str(source), CardError)
        check_schema(values.get("schema"), SCHEMA, str(source), CardError)
        try:
            read = from_plain(_Fields, {**values, "schema": SCHEMA}, str(source), CardError)
        except CardError:
            from edge_runtime.models.schema import upgraded

            read = from_plain(_Fields, upgraded(values, SCHEMA), str(source), CardError)
        return cls(**{field.name: getattr(read, field.name) for field in dataclasses.fields(cls)})

    def embedded(self) -> ModelCard:
        """Return what the artifact carries: neither its size and hash nor what it scored."""
        return dataclasses.replace(
            self, quality=(), teacher=None, golden=None, bytes=None, sha256=None
        )


Row = TypeVar("Row", QualityRow, LossRow)


def rounded(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Return rows with the digits that a card keeps: 0.0001 dB of PSNR, 0.000001 of SSIM."""
    return tuple(map(_rounded, rows))


def _rounded(row: Row) -> Row:
    digits: dict[str, Any] = {
        field.name: round(value, _SSIM_DIGITS if "ssim" in field.name else _PSNR_DIGITS)
        for field in dataclasses.fields(row)
        if isinstance(value := getattr(row, field.name), float)
    }
    return dataclasses.replace(row, **digits)


def card_path(artifact: Path) -> Path:
    """Return where the card of ``artifact`` lies: ``small.onnx`` has ``small.onnx.json``."""
    return artifact.with_name(artifact.name + ".json")


def read_card(artifact: Path) -> ModelCard:
    """Read the card beside ``artifact``, or where there is none that inside it.

    Raises:
        CardError: There is none, or it is unreadable, malformed, or lacks the size or the hash.
    """
    path = card_path(artifact)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return _card_inside(artifact)
    except (OSError, UnicodeDecodeError) as error:
        raise CardError(f"{path}: cannot be read ({error})") from None
    card = ModelCard.from_json(text, path)
    if card.bytes is None or card.sha256 is None:
        raise CardError(f"{path}: bytes or sha256 is null; export the artifact again")
    return card


def _card_inside(artifact: Path) -> ModelCard:
    """Read the card that export wrote into an artifact, without knowing of its format."""
    content = _content(artifact)
    start = content.find(_EMBEDDED)
    try:
        text = content[start if start >= 0 else len(content) :].decode(errors="replace")
        _, end = json.JSONDecoder().raw_decode(text)
    except ValueError:
        raise CardError(
            f"{artifact}: no card inside it, nor beside it; export it with derain-export"
        ) from None
    card = ModelCard.from_json(text[:end], artifact)
    digest = hashlib.sha256(content).hexdigest()
    return dataclasses.replace(card, bytes=len(content), sha256=digest)


def _content(artifact: Path) -> bytes:
    try:
        return artifact.read_bytes()
    except OSError as error:
        raise CardError(f"{artifact}: cannot be read ({error.strerror})") from None


def load_card(artifact: Path) -> ModelCard:
    """Read the card of ``artifact`` and check that the artifact is the one it describes.

    Raises:
        CardError: As ``read_card``, or the artifact is missing or differs in size or SHA-256.
    """
    card = read_card(artifact)
    content = _content(artifact)
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


def cards_of_today(values: Any) -> Any:
    """Return the JSON of a record with all cards that are somewhere in it as of this schema."""
    from edge_runtime.models.schema import cards_upgraded

    return cards_upgraded(values, SCHEMA)
