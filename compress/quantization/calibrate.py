"""Calibration: watch what values the tensors of a network take, and choose their int8 scales."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from core.errors import ConfigError, DataError
from core.mixture.dataset import MixtureDataset, to_float
from core.progress import track
from core.quantization import Placement, TensorScale
from core.training.config import TrainConfig

Method = Literal["minmax", "percentile", "entropy"]
METHODS: tuple[Method, ...] = get_args(Method)
LEAST_PIXELS = 2**16
PERCENTILE = 99.99
"""Share of the values in percent that ``percentile`` keeps on either side."""
BINS = 2048
_CODES = 256
_BATCH = 16


@dataclass(frozen=True)
class Observed:
    """What was seen of one tensor.

    Attributes:
        low: smallest value; ``high``: largest.
        counts: int64 (BINS,), values in equal steps from ``low`` to ``high``.
        channels: number of channels, and ``dead`` how many of them a ReLU never let through.
        picture: whether it is the rainy picture.
    """

    low: float
    high: float
    counts: NDArray[np.int64]
    channels: int
    dead: int
    picture: bool = False

    def range(self, method: Method) -> tuple[float, float]:
        """Choose the values that int8 shall cover, smallest and largest.

        The rainy picture takes 0 to 1: its 256 levels are then the codes, and none is rounded.
        ``minmax`` covers all that was seen. ``percentile`` gives up :data:`PERCENTILE` on either
        side. ``entropy`` takes the part of the range whose rounded values differ least from those
        seen, by Kullback-Leibler divergence (Migacz, 8-bit inference with TensorRT, GTC 2017).
        """
        if self.picture:
            return 0.0, 1.0
        if method == "minmax" or self.high == self.low:
            return self.low, self.high
        edges = np.linspace(self.low, self.high, BINS + 1)
        if method == "percentile":
            seen = np.cumsum(self.counts) / self.counts.sum()
            low, high = np.searchsorted(seen, [1 - PERCENTILE / 100, PERCENTILE / 100])
            return float(edges[low]), float(edges[min(high + 1, BINS)])
        shares = np.linspace(1.0, 0.3, 36)
        cuts = [_cut(edges, float(share)) for share in shares]
        losses = [_divergence(self.counts, *cut) for cut in cuts]
        low, high = cuts[int(np.argmin(losses))]
        return float(edges[low]), float(edges[high])

    def saturated(self, scale: TensorScale) -> float:
        """Return the share of the values that lie beyond what ``scale`` can hold, 0 to 1."""
        low, high = scale.range
        middles = self.low + (np.arange(BINS) + 0.5) * (self.high - self.low) / BINS
        beyond = (middles < low - scale.scale / 2) | (middles > high + scale.scale / 2)
        return float(self.counts[beyond].sum() / self.counts.sum())


def check_crops(config: TrainConfig, count: int) -> None:
    """Raise ConfigError where ``count`` crops are too few to say anything about a network."""
    crop = config.mixture.crop
    if count * crop**2 < LEAST_PIXELS:
        raise ConfigError(
            f"crops {count} of {crop}x{crop} are {count * crop**2} pixels, too few to calibrate "
            f"on; take at least {-(-LEAST_PIXELS // crop**2)}"
        )


def calibration_crops(config: TrainConfig, count: int, progress: bool) -> Tensor:
    """Take the first crops of a training run, as the network would see them.

    Returns:
        rainy: uint8 (count, 3, crop, crop) RGB.

    Raises:
        ConfigError: too few to say anything about a network.
        DataError: a data set that is missing or has a wrong picture.
    """
    check_crops(config, count)
    data = MixtureDataset(config.mixture, config.data_root, config.seed, progress)
    return torch.stack([data[index].rainy for index in range(count)])


@torch.no_grad()
def observe(network: nn.Module, crops: Tensor, progress: bool) -> dict[str, Observed]:
    """Watch every tensor that int8 would store, on a network in float32.

    Args:
        network: not quantized; takes and returns float (N, 3, H, W).
        crops: uint8 (N, 3, H, W) RGB.
        progress: show a bar on standard error.

    Returns:
        What was seen, by tensor (:class:`core.quantization.Placement`).

    Raises:
        DataError: a tensor takes values that are not finite.
    """
    placement = Placement(network)
    extremes, histograms = _Extremes(network, placement), _Histograms(network, placement)
    batches = torch.split(crops, _BATCH)
    for batch in track(batches, "calibrate: extremes" if progress else None):
        extremes.run(to_float(batch))
    histograms.ranges = {
        name: (float(low.min()), float(high.max()))
        for name, (low, high) in extremes.channels.items()
    }
    for name, ends in histograms.ranges.items():
        if not np.isfinite(ends).all():
            raise DataError(
                f"tensor {name!r}: takes values from {ends[0]} to {ends[1]}, which int8 cannot "
                "hold; train the network again"
            )
    for batch in track(batches, "calibrate: histograms" if progress else None):
        histograms.run(to_float(batch))
    pictures = {name for node, name in placement.stored.items() if node.op == "placeholder"}
    relus = {name for node, name in placement.stored.items() if placement.follows_relu(node)}
    return {
        name: Observed(
            *histograms.ranges[name],
            counts=histograms.counts[name],
            channels=len(high),
            dead=int((high <= 0).sum()) if name in relus else 0,
            picture=name in pictures,
        )
        for name, (_, high) in extremes.channels.items()
    }


def choose_scales(
    observed: Mapping[str, Observed], method: Method, symmetric: bool
) -> dict[str, TensorScale]:
    """Choose the scale of every tensor; see :meth:`Observed.range`."""
    return {
        name: TensorScale.of_range(*seen.range(method), symmetric=symmetric)
        for name, seen in observed.items()
    }


class _Watch(fx.Interpreter, ABC):
    """Runs a network node by node and shows every tensor that is to be stored."""

    def __init__(self, network: nn.Module, placement: Placement) -> None:
        super().__init__(network, graph=placement.graph)
        self._stored = placement.stored

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n in self._stored:
            self.see(self._stored[n], value)
        return value

    @abstractmethod
    def see(self, name: str, value: Tensor) -> None: ...


class _Extremes(_Watch):
    def __init__(self, network: nn.Module, placement: Placement) -> None:
        super().__init__(network, placement)
        self.channels: dict[str, tuple[Tensor, Tensor]] = {}

    def see(self, name: str, value: Tensor) -> None:
        low, high = torch.aminmax(value.transpose(0, 1).flatten(1), dim=1)
        before = self.channels.get(name, (low, high))
        self.channels[name] = torch.minimum(before[0], low), torch.maximum(before[1], high)


class _Histograms(_Watch):
    def __init__(self, network: nn.Module, placement: Placement) -> None:
        super().__init__(network, placement)
        self.ranges: dict[str, tuple[float, float]] = {}
        self.counts: dict[str, NDArray[np.int64]] = {}

    def see(self, name: str, value: Tensor) -> None:
        low, high = self.ranges[name]
        found = torch.histc(value, BINS, low, high).numpy().astype(np.int64)
        self.counts[name] = self.counts.get(name, 0) + found


def _cut(edges: NDArray[np.float64], share: float) -> tuple[int, int]:
    """Return the first and last edge of a range that keeps ``share`` of either side of 0."""
    low = edges[0] * share if edges[0] < 0 else edges[0]
    high = edges[-1] * share if edges[-1] > 0 else edges[-1]
    first = min(int(np.searchsorted(edges, low)), BINS - 1)
    return first, max(int(np.searchsorted(edges, high)), first + 1)


def _divergence(counts: NDArray[np.int64], low: int, high: int) -> float:
    """Compare the histogram within ``[low, high)``, tails on its ends, with its 256 levels."""
    wanted = counts[low:high].astype(np.float64)
    wanted[0] += counts[:low].sum()
    wanted[-1] += counts[high:].sum()
    level = np.arange(len(wanted)) * _CODES // len(wanted)
    kept = counts[low:high]
    sums = np.bincount(level, kept, _CODES)
    filled = np.bincount(level, kept > 0, _CODES)
    rounded = np.where(kept > 0, (sums / np.maximum(filled, 1))[level], 0.0)
    wanted, rounded = wanted / wanted.sum(), np.maximum(rounded / max(rounded.sum(), 1), 1e-12)
    some = wanted > 0
    return float((wanted[some] * np.log(wanted[some] / rounded[some])).sum())
