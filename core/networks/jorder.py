"""JORDER: the places of rain, its brightness and what is behind it, found in this order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import ConfigError, check_bounds, check_widths
from core.networks.layers import PictureLoss

HEADS = ("mask", "streaks", "background")
"""What a stage predicts, in this order: the modules of a :class:`Jorder` that do it."""


@dataclass(frozen=True)
class JorderConfig:
    """Shape of a :class:`Jorder`; the defaults are those of ``configs/papers/jorder.yaml``.

    Attributes:
        width: channels of the features.
        stages: recurrences t of detection and removal; all share their weights. 1 is the paper's
            JORDER, more are its JORDER-R.
        refinements: recurrences of the features within a stage; they share their weights too.
        dilations: of the convolutions of each path; (1,) is the paper's network without context.
        streak_weight: in training, of the squared error of the streak layer.
        mask_weight: in training, of the cross entropy of the rain mask.
        mask_threshold: rain is where a pixel differs from the clean one by more than this, in a
            channel in [0, 1]; below the default, 10 of 255 levels, lies what JPEG leaves.
        path_widths: channels inside each path, between its two convolutions; empty for ``width``.
        head_widths: channels inside the heads of mask, streak layer and background, likewise.
            Pruning sets these last two.

    Raises:
        ConfigError: a value outside its range.
    """

    width: int = 64
    stages: int = 2
    refinements: int = 5
    dilations: tuple[int, ...] = (1, 2, 3)
    streak_weight: float = 1.0
    mask_weight: float = 0.01
    mask_threshold: float = 0.04
    path_widths: tuple[int, ...] = ()
    head_widths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_bounds(self, width=1, stages=1, refinements=1, streak_weight=0, mask_weight=0)
        check_bounds(self, mask_threshold=(0, 1))
        if min(self.dilations, default=0) < 1:
            raise ConfigError(
                f"dilations {list(self.dilations)} must be one or more numbers of at least 1, "
                "such as [1, 2, 3]"
            )
        check_widths(self, path_widths=len(self.dilations), head_widths=len(HEADS))

    @property
    def size_multiple(self) -> int:
        """Height and width of an input must be multiples of this many pixels."""
        return 1


class StageResult(NamedTuple):
    """What one stage makes of its picture.

    Attributes:
        derained: background layer B, float (N, 3, H, W), about [0, 1].
        logits: of the rain mask R, float (N, 1, H, W); the sigmoid is the probability of rain.
        streaks: streak layer S, float (N, 3, H, W), to be added where there is rain.
    """

    derained: Tensor
    logits: Tensor
    streaks: Tensor


class Jorder(nn.Module):
    """Joint rain detection and removal (Yang et al., CVPR 2017), unrolled over its stages.

    The picture is a background with streaks where the mask is 1, ``O = B + S R`` (eq. 2). Of the
    features F, three heads of two 3x3 convolutions predict one after the other the mask R from F,
    the streak layer S from [F, R], and the background B from [F, R, S, O - R S] (section 4), as
    what to add to O. The next stage takes B as its picture (section 5).

    What the paper leaves open is settled here. Its softmax over two classes is a sigmoid of one
    channel, the same function. Weights are shared over stages and refinements. The last layer
    starts at zero, so an untrained net returns its input.

    Shapes: ``rainy`` float (N, 3, H, W), RGB in [0, 1]; the result has the same shape and is not
    clamped.
    """

    def __init__(self, config: JorderConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or JorderConfig()
        width = config.width
        mask, streaks, background = config.head_widths or (width,) * len(HEADS)
        self.context = _DilatedContext(config)
        self.mask = _ConvPair(width, mask, 1)
        self.streaks = _ConvPair(width + 1, streaks, 3)
        self.background = _ConvPair(width + 7, background, 3)
        for parameter in self.background.second.parameters():
            nn.init.zeros_(parameter)

    def forward(self, rainy: Tensor) -> Tensor:
        return self.stages(rainy)[-1].derained

    def stages(self, rainy: Tensor) -> list[StageResult]:
        """Return what all stages predict; the last background is the result of :meth:`forward`."""
        picture, results = rainy, []
        for _ in range(self.config.stages):
            results.append(self.step(picture))
            picture = results[-1].derained
        return results

    def forward_auxiliary(self, rainy: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Derain, and keep what :meth:`auxiliary_losses` needs of all T stages.

        Returns:
            The result of :meth:`forward`, and ``derained`` and ``streaks``, (N, T, 3, H, W), and
            ``logits``, (N, T, 1, H, W), as in :class:`StageResult`.
        """
        columns = zip(*self.stages(rainy), strict=True)
        outputs = {
            name: torch.stack(column, dim=1)
            for name, column in zip(StageResult._fields, columns, strict=True)
        }
        return outputs["derained"][:, -1], outputs

    def auxiliary_losses(
        self, outputs: Mapping[str, Tensor], rainy: Tensor, clean: Tensor, loss: PictureLoss
    ) -> dict[str, Tensor]:
        """Compute the multi-task loss (eq. 9 to 12), but for the last background.

        That one is the result of the network and in the loss of the run already. The rain of a
        stage is what its picture still differs from the clean one by: this is its streak layer,
        and :func:`rain_mask` makes its mask. Means over pixels take the place of the paper's
        sums, and losses of stages are added up (section 5).

        Returns:
            ``streaks`` and ``mask``, with their weights; and ``stages``, of the backgrounds before
            the last, if there are any.
        """
        derained, stages = outputs["derained"], self.config.stages
        pictures = torch.cat([rainy[:, None], derained[:, :-1].detach()], dim=1)
        rain = pictures - clean[:, None]
        mask = rain_mask(rain, self.config.mask_threshold)
        streaks = F.mse_loss(outputs["streaks"], rain)
        entropy = F.binary_cross_entropy_with_logits(outputs["logits"], mask)
        losses = {
            "streaks": stages * self.config.streak_weight * streaks,
            "mask": stages * self.config.mask_weight * entropy,
        }
        if stages > 1:
            earlier = [loss(picture, clean) for picture in derained[:, :-1].unbind(1)]
            losses["stages"] = torch.stack(earlier).sum()
        return losses

    def step(self, picture: Tensor) -> StageResult:
        """Run one stage.

        Args:
            picture: O, float (N, 3, H, W): the rainy picture, or the result of the stage before.
        """
        features = self.context(picture)
        logits = self.mask(features)
        mask = torch.sigmoid(logits)
        streaks = self.streaks(torch.cat([features, mask], dim=1))
        rest = picture - mask * streaks
        change = self.background(torch.cat([features, mask, streaks, rest], dim=1))
        return StageResult(picture + change, logits, streaks)


def rain_mask(rain: Tensor, threshold: float) -> Tensor:
    """Return where it rains, from the difference of a picture and its clean version.

    The difference is there for every pair, and of rain that was laid on without a veil it is the
    streak layer itself. A veil counts as rain wherever it is stronger than the threshold.

    Args:
        rain: float (..., 3, H, W), the difference, in [-1, 1].
        threshold: the largest difference of a channel that does not count.

    Returns:
        Like ``rain``, (..., 1, H, W): 1 where it rains and 0 elsewhere.
    """
    return (rain.abs().amax(dim=-3, keepdim=True) > threshold).to(rain.dtype)


class _DilatedContext(nn.Module):
    """The contextualized dilated network (section 4.1), float (N, 3, H, W) to (N, width, H, W)."""

    def __init__(self, config: JorderConfig) -> None:
        super().__init__()
        width = config.width
        self.refinements = config.refinements
        self.entry = nn.Conv2d(3, width, 3, padding=1)
        self.paths = nn.ModuleList(
            _ConvPair(width, inner, width, dilation)
            for dilation, inner in zip(
                config.dilations,
                config.path_widths or (width,) * len(config.dilations),
                strict=True,
            )
        )

    def forward(self, picture: Tensor) -> Tensor:
        features = torch.relu(self.entry(picture))
        for _ in range(self.refinements):
            features = self.refine(features)
        return features

    def refine(self, features: Tensor) -> Tensor:
        """Add to ``features`` what all paths see by their dilations, such as 5, 9 and 13 pixels."""
        refined = features
        for path in self.paths:
            refined = refined + torch.relu(path(features))
        return refined


class _ConvPair(nn.Module):
    """``conv(relu(conv(x)))`` with 3x3 kernels."""

    def __init__(self, inputs: int, inner: int, outputs: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, inner, 3, padding=dilation, dilation=dilation)
        self.second = nn.Conv2d(inner, outputs, 3, padding=dilation, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.second(torch.relu(self.first(x)))
        return result
