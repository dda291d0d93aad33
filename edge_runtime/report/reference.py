"""Reference sets: pictures with what a teacher makes of them, to score artifacts without it.

A reference set is a folder ``rainy/ clean/ teacher/ reference.json``; the pictures are lossless PNG
of one name in all three, ``DATASET/STEM.png``. ``derain evaluate --reference`` writes one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ReferenceSetError
from edge_runtime.models.card import ModelCard, cards_of_today
from edge_runtime.models.records import from_json
from edge_runtime.pictures.picture import decode_picture, read_file

SCHEMA = 1
SHIPPED = Path(__file__).parents[1] / "reference"
"""The small reference set that ships: free pictures, so that a report needs no data."""
FILE = "reference.json"
PROTOCOL = (
    "PSNR in dB (peak 255) and SSIM (Gaussian window of 11, sigma 1.5) on rounded 8-bit pictures; "
    "rgb: all channels, y: MATLAB luma (16 to 235); identical pictures count 100 dB in a mean"
)
Kind = Literal["rainy", "clean", "teacher"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class ReferenceTeacher:
    """Who made the pictures in ``teacher/``.

    Attributes:
        name: Of the model. ``sha256``: of its checkpoint or artifact.
        card: All that is known of it; None where it had no card.
    """

    name: str
    sha256: str
    card: ModelCard | None = None


@dataclass(frozen=True, kw_only=True)
class ReferencePicture:
    """One picture of a reference set.

    Attributes:
        dataset: The data set that it comes from.
        name: Stem of its three files below ``KIND/DATASET/``.
        height: In pixels; ``width`` likewise.
        sha256: Of the three PNG files, by kind.
    """

    dataset: str
    name: str
    height: int
    width: int
    sha256: dict[str, str]

    def path(self, kind: Kind) -> str:
        """Return where the picture lies in the folder of the set."""
        return f"{kind}/{self.dataset}/{self.name}.png"


@dataclass(frozen=True, kw_only=True)
class ReferenceIndex:
    """The content of ``reference.json``."""

    schema: int = SCHEMA
    protocol: str = PROTOCOL
    teacher: ReferenceTeacher
    pictures: tuple[ReferencePicture, ...]
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ReferenceSet:
    """A reference set on disk.

    Attributes:
        folder: Where it lies.
        sha256: Of ``reference.json``, which holds the hashes of all pictures: results on sets with
            one hash can be compared.
        index: What it says.
    """

    folder: Path
    sha256: str
    index: ReferenceIndex

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets in it, in order."""
        return tuple(dict.fromkeys(picture.dataset for picture in self.index.pictures))

    def read(self, picture: ReferencePicture, kind: Kind) -> NDArray[np.uint8]:
        """Read a picture as HWC uint8 RGB.

        Raises:
            ImageError: It is missing or unreadable.
            ReferenceSetError: It is not the one that the set was made with.
        """
        path = self.folder / picture.path(kind)
        content = read_file(path)
        if hashlib.sha256(content).hexdigest() != picture.sha256[kind]:
            raise ReferenceSetError(f"{path}: is not the picture in {FILE}; copy the set again")
        pixels: NDArray[Any] = decode_picture(content, str(path)).rgb
        if pixels.dtype != np.uint8 or pixels.shape != (picture.height, picture.width, 3):
            raise ReferenceSetError(
                f"{path}: is {pixels.dtype} {pixels.shape}, but {FILE} says "
                f"uint8 {(picture.height, picture.width, 3)}; make the set again"
            )
        return pixels


def is_reference(folder: Path) -> bool:
    """Tell whether a folder looks like a reference set."""
    return (folder / FILE).is_file()


def read_reference(folder: Path) -> ReferenceSet:
    """Read the index of a reference set; pictures are read one by one later.

    Raises:
        ReferenceSetError: The folder is none, or its index names a file outside of it.
        RecordError: ``reference.json`` is malformed or of a newer version.
    """
    path = folder / FILE
    try:
        content = path.read_bytes()
        text = content.decode()
    except (FileNotFoundError, NotADirectoryError):
        raise ReferenceSetError(
            f"{folder}: no reference set ({FILE} is missing); make one with: "
            f"derain evaluate ... --reference {folder}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ReferenceSetError(f"{path}: cannot be read ({error})") from None
    index = from_json(ReferenceIndex, text, SCHEMA, str(path), cards_of_today)
    if not index.pictures:
        raise ReferenceSetError(f"{path}: has no pictures; make the set again")
    for picture in index.pictures:
        if ".." in Path(picture.path("rainy")).parts or not set(KINDS) <= picture.sha256.keys():
            raise ReferenceSetError(
                f"{path}: picture {picture.dataset}/{picture.name} needs a name inside the set and "
                f"the hashes of {', '.join(KINDS)}; make the set again"
            )
    return ReferenceSet(folder, hashlib.sha256(content).hexdigest(), index)
