"""Teachers of a student: one network or several, frozen, and what they make of whole pictures."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from core.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from core.errors import CheckpointError, DataError
from core.inference import SelfEnsemble, Views, derain
from core.pairs import Image
from edge_runtime.errors import EdgeDerainError, ImageError
from edge_runtime.pictures.picture import Picture, read_picture, write_picture


class Teacher(nn.Module):
    """Trained networks that no longer change: in eval mode, without gradients.

    With several networks, or several ``views`` of a picture, its result is the mean of theirs
    (:class:`core.inference.SelfEnsemble`), so one student can learn what several know.

    Args:
        checkpoints: the networks.
        sha256s: of their files.
        views: passes of a picture through each.

    Attributes:
        name: of the first of the networks.
        sha256: of its file; of the text of all where there are several.
        description: names and sha256 of all.
        key: short text that tells these networks and views from others.

    Raises:
        CheckpointError: weights that do not fit the config.
    """

    def __init__(
        self, checkpoints: Sequence[Checkpoint], sha256s: Sequence[str], views: Views = 1
    ) -> None:
        super().__init__()
        self.name = checkpoints[0].name
        self.sha256 = sha256s[0]
        if len(sha256s) > 1:
            self.sha256 = hashlib.sha256("".join(sha256s).encode()).hexdigest()
        named = zip(checkpoints, sha256s, strict=True)
        self.description = " and ".join(f"{each.name} sha256 {sha256}" for each, sha256 in named)
        self.key = "_".join([*(sha256[:16] for sha256 in sha256s), f"x{views}"])
        self.data = tuple(dict.fromkeys(name for each in checkpoints for name in each.data))
        self._mean = SelfEnsemble([_frozen(each) for each in checkpoints], views)
        multiples = (int(each.config.size_multiple) for each in checkpoints)
        self.size_multiple = math.lcm(*multiples)
        """Height and width of an input must be multiples of this many pixels."""
        self.eval()

    def train(self, mode: bool = True) -> Teacher:
        """Stay in eval mode, whatever the modules around it do."""
        super().train(False)
        return self

    def compile_networks(self) -> None:
        """Translate the networks with ``torch.compile`` when they are first asked, for any size."""
        for network in self._mean.networks:
            network.compile(dynamic=True)

    @torch.no_grad()
    def forward(self, rainy: Tensor) -> Tensor:
        """Derain.

        Args:
            rainy: float (N, 3, H, W), RGB in [0, 1], H and W multiples of :attr:`size_multiple`.

        Returns:
            float32 of the same shape, clamped to [0, 1].
        """
        mean: Tensor = self._mean(rainy)
        return mean.clamp_(0, 1)


def load_teacher(place: str | Path, views: Views = 1) -> Teacher:
    """Read a teacher by path or shipped name, or several, separated by commas.

    Raises:
        CheckpointError: an unknown name, a missing or torn file, or one that is not a checkpoint of
            this project; what to do with published weights (``.pth``) is said.
    """
    paths = find_teachers(place)
    checkpoints = [load_checkpoint(path) for path in paths]
    sha256s = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    return Teacher(checkpoints, sha256s, views)


def find_teachers(place: str | Path) -> tuple[Path, ...]:
    """Find the files of one or several teachers, as :func:`load_teacher` takes them.

    Raises:
        CheckpointError: an unknown name, or a path that is not there.
    """
    return tuple(_find(each.strip()) for each in str(place).split(","))


def _find(place: str) -> Path:
    if Path(place).suffix in (".pth", ".pt"):
        raise CheckpointError(
            f"teacher {place}: is no checkpoint of this project; make one of it: "
            f"derain import {place} --family prenet"
        )
    return find_checkpoint(place)


def _frozen(checkpoint: Checkpoint) -> nn.Module:
    network = checkpoint.build().requires_grad_(False)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


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
