"""The model card: what an artifact is, what it needs, and what it scored.

A card travels twice: embedded in the artifact, and beside it as ``<artifact name>.json``. Only
the one beside it knows the artifact's size and hash, because no file can hold its own hash.
A checkpoint has only the card beside it; its own header says how to rebuild the network.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edge_runtime.atomic import write_atomically
from edge_runtime.card_fields import check_fields, plain_json
from edge_runtime.errors import CardError

SCHEMA = 2
"""What is written. Cards of schema 1 are read still: the fields since then take their defaults."""
METADATA_KEY = "edge_derain.card"
"""Key of the artifact's own metadata under which ``card.to_metadata()`` is stored."""


_ADDED_SINCE: dict[int, dict[str, Any]] = {1: {"io": "float32", "golden": None, "step": None}}
"""By schema: the fields that came later, and what cards without them mean."""


@dataclass(frozen=True, kw_only=True)
class QualityRow:
    """Mean quality on one data set, measured on rounded 8-bit pictures.

    PSNR is in dB (peak 255). What measures may count identical pictures as a large number, as
    ``derain evaluate`` does with 100 dB, or as infinite; JSON has no infinity and says ``null``
    there. SSIM is in [-1, 1].
    """

    dataset: str
    images: int
    protocol: Literal["rgb", "y"]
    input_psnr: float
    input_ssim: float
    psnr: float
    ssim: float

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class TeacherLoss:
    """What was given up against the teacher: ``psnr(teacher) - psnr(student)``, SSIM likewise."""

    name: str
    sha256: str
    psnr_loss_db: float
    ssim_loss: float
    dataset: str
    protocol: Literal["rgb", "y"]

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class Golden:
    """A generated rainy picture and what the artifact makes of it, to prove an engine on a chip.

    ``edge_runtime.golden`` draws the picture and judges the result.

    Attributes:
        drawer: Version of the drawing; ``seed``, ``height`` and ``width`` say which picture.
        input_sha256: Hash of the picture: HWC uint8 RGB, row by row.
        output_sha256: Hash of the derained picture, likewise.
        mean: Of the derained picture in levels of 8 bits, for R, G and B; ``deviation`` is the
            standard deviation.
        samples: Some of its values, two hexadecimal digits each; ``golden.sample`` says which.
    """

    drawer: int
    seed: int
    height: int
    width: int
    input_sha256: str
    output_sha256: str
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    samples: str

    def __post_init__(self) -> None:
        check_fields(self)


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

    stages: int
    state_width: int
    state_scale: int

    def __post_init__(self) -> None:
        check_fields(self)


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
        quality: Scores per data set and protocol.
        teacher: The loss against the teacher, or None for a network trained without one.
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
            raise CardError(_schema_message(self.schema))
        check_fields(self)
        object.__setattr__(self, "config", plain_json(self.config))

    def to_json(self) -> str:
        """Return the card as JSON: fields in the order above, two spaces, a final newline."""
        return json.dumps(_encode(self), indent=2, allow_nan=False) + "\n"

    def to_metadata(self) -> str:
        """Return the card as it goes into the artifact: on one line, without size and hash."""
        return json.dumps(_encode(self.embedded()), separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str, source: str | Path) -> ModelCard:
        """Read a card and refuse anything that is not exactly one.

        Args:
            text: What ``to_json`` wrote.
            source: Where the text came from, for error messages.

        Raises:
            CardError: Not JSON, a key missing or unknown, a value of the wrong type or out of
                range, or a schema that only a later version understands.
        """
        try:
            return _decode_card(text)
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


def _schema_message(schema: object) -> str:
    if isinstance(schema, int) and schema > SCHEMA:
        return (
            f"schema {schema} is newer than {SCHEMA}, the newest that this version reads; "
            "upgrade with: pip install --upgrade edge-derain"
        )
    return (
        f"schema must be {SCHEMA}, or from 1 in a file, got {schema!r}; export the artifact again"
    )


def _encode(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    if isinstance(value, float) and math.isinf(value):
        return None
    return value


def _decode_card(text: str) -> ModelCard:
    def refuse(constant: str) -> None:
        raise CardError(f"{constant} is not JSON; write a finite number")

    try:
        values = json.loads(text, parse_constant=refuse)
    except (json.JSONDecodeError, RecursionError) as error:
        raise CardError(f"not JSON ({error}); export the artifact again") from None
    values = _upgraded(values)
    values = _exact_keys(ModelCard, values, "card")
    rows = values["quality"]
    if not isinstance(rows, list):
        raise CardError(f"quality must be a list, got {rows!r}")
    values["quality"] = tuple(_decode_row(row, f"quality[{i}]") for i, row in enumerate(rows))
    if values["teacher"] is not None:
        values["teacher"] = TeacherLoss(**_exact_keys(TeacherLoss, values["teacher"], "teacher"))
    if values["golden"] is not None:
        golden = _exact_keys(Golden, values["golden"], "golden")
        values["golden"] = Golden(**_with_tuples(golden, "mean", "deviation"))
    if values["step"] is not None:
        values["step"] = StageStep(**_exact_keys(StageStep, values["step"], "step"))
    return ModelCard(**_with_tuples(values, "recipe", "data"))


def _upgraded(values: Any) -> Any:
    """Return a card of an older schema as one of this."""
    if not isinstance(values, dict) or "schema" not in values:
        return values
    schema = values["schema"]
    if not isinstance(schema, int) or not 1 <= schema <= SCHEMA:
        raise CardError(_schema_message(schema))
    return {**_ADDED_SINCE.get(schema, {}), **values, "schema": SCHEMA}


def _with_tuples(values: dict[str, Any], *keys: str) -> dict[str, Any]:
    lists = {key: tuple(values[key]) for key in keys if isinstance(values[key], list)}
    return {**values, **lists}


def _decode_row(values: Any, where: str) -> QualityRow:
    values = _exact_keys(QualityRow, values, where)
    for key in ("input_psnr", "psnr"):
        if values[key] is None:
            values[key] = math.inf
    return QualityRow(**values)


def _exact_keys(kind: type, values: Any, where: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise CardError(f"{where} must be an object, got {values!r}")
    known = [field.name for field in dataclasses.fields(kind)]
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
            raise CardError(f"{where}: unknown key {key!r}; {hint}")
    for key in known:
        if key not in values:
            raise CardError(f"{where}: key {key!r} is missing; export the artifact again")
    return dict(values)
