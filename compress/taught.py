"""What a teacher makes of whole pictures, computed once and kept on disk for other runs."""

from __future__ import annotations

import hashlib
from pathlib import Path

from compress.teacher import Teacher
from core.errors import DataError
from core.inference import derain
from core.pairs import Image
from edge_runtime.errors import EdgeDerainError, ImageError
from edge_runtime.pictures.picture import Picture, read_picture, write_picture


class TaughtPictures:
    """Derains whole pictures with a teacher, each only once.

    Results are 8-bit PNG files in ``folder``, under the teacher's key (networks and views) and the
    sha256 of the picture, so that every seed of a run and a resumed one find them again.
    They are computed in the precision of the weights, float32, whatever that of the run.

    A crop of such a result is not what the teacher makes of the crop. It is rounded to 8 bits;
    near its borders the teacher saw more of the picture; a network that looks at the whole
    picture, as channel attention does, saw another one; and a mirrored crop is the mirrored
    result, which the network need not give. It is a good teacher's better answer for less time,
    and not the same run.

    Args:
        teacher: the network.
        folder: made when the first result is written.
    """

    def __init__(self, teacher: Teacher, folder: Path) -> None:
        self._teacher = teacher
        self._folder = folder / teacher.key

    def __call__(self, rainy: Image) -> Image:
        """Return what the teacher makes of ``rainy``, uint8 (H, W, 3) RGB in and out.

        Raises:
            DataError: the folder cannot be written to.
        """
        key = hashlib.sha256(repr(rainy.shape).encode() + rainy.tobytes()).hexdigest()
        path = self._folder / f"{key}.png"
        if path.exists():
            try:
                return read_picture(path).rgb.astype(rainy.dtype, copy=False)
            except ImageError:
                pass  # torn: it is written anew
        derained = derain(self._teacher, rainy, self._teacher.size_multiple)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_picture(path, Picture(derained))
        except (OSError, EdgeDerainError) as error:
            raise DataError(f"{path}: cannot be written ({error})") from error
        return derained
