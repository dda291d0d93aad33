"""Candidates of a search: networks, pruned or not, in each precision, within budgets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from compress.cost import WEIGHT_BYTES, Precision, artifact_bytes, macs_per_pixel, parameters_within
from compress.pruning.narrow import Goal
from compress.pruning.prune import PruneConfig
from core.config import network_config
from core.errors import ConfigError
from core.networks import ARCHITECTURES

_SHARE_DIGITS = 1000


@dataclass(frozen=True)
class Budget:
    """What an artifact may cost.

    Attributes:
        bytes: of its ONNX file; 0 sets no limit.
        macs: multiply-accumulates per pixel; 0 sets no limit.
    """

    bytes: int = 0
    macs: float = 0.0


@dataclass(frozen=True)
class Candidate:
    """One way to make a student.

    Attributes:
        network: its name among those of the search.
        prunes: targets, one after the other; none leaves the network as it is.
        precision: of the artifact.
        parameters: it has no more than these; nor more than ``macs`` multiply-accumulates per
            pixel; its ONNX file has no more than about ``bytes``.
        macs_before: multiply-accumulates per pixel before pruning.
    """

    network: str
    prunes: tuple[PruneConfig, ...]
    precision: Precision
    parameters: int
    macs: float
    bytes: int
    macs_before: float

    @property
    def pruned(self) -> str:
        """Name of what is to be quantized, such as ``small-m0.66-b420000``."""
        targets = [
            f"m{prune.target_macs}" if prune.target_macs else f"b{prune.target_bytes}"
            for prune in self.prunes
        ]
        return "-".join([self.network, *targets])

    @property
    def name(self) -> str:
        """Name that no other candidate has."""
        return f"{self.pruned}-{self.precision}"


def find_candidates(
    architecture: str,
    networks: Mapping[str, Mapping[str, Any]],
    keep: tuple[float, ...],
    precisions: tuple[Precision, ...],
    budget: Budget,
) -> tuple[Candidate, ...]:
    """List what fits the budget, by arithmetic alone.

    A network that does not fit is pruned until it does, if pruning goes that far. What stays after
    pruning depends on the data, but not that it is within the targets.

    Args:
        architecture: of the networks.
        networks: fields of their configs, by name.
        keep: shares of the parameters to keep, within (0, 1].
        precisions: to try.
        budget: for each candidate.

    Raises:
        ConfigError: a network that does not exist; none that fits, with the smallest within reach.
    """
    found: dict[str, Candidate] = {}
    shapes = []
    for name, values in networks.items():
        try:
            config = network_config(architecture, values)
        except ConfigError as error:
            raise ConfigError(f"search.networks.{name}: {error}") from error
        shape = _Shape(name, ARCHITECTURES[architecture].module(config), config.size_multiple)
        shapes.append(shape)
        for precision in precisions:
            for share in keep:
                candidate = shape.candidate(share, precision, budget)
                if candidate:
                    found.setdefault(candidate.name, candidate)
    if not found:
        raise ConfigError(_out_of_reach(shapes, precisions, budget))
    return tuple(found.values())


class _Shape:
    """A network of the search, and how small it can get."""

    def __init__(self, name: str, net: nn.Module, multiple: int) -> None:
        self.name, self._net = name, net
        self._parameters = sum(parameter.numel() for parameter in net.parameters())
        self._macs = macs_per_pixel(net, multiple)
        self._least_parameters = int(Goal("bytes", 1).smallest(net, multiple)) // 4
        self.least_macs = Goal("MACs per pixel", 1).smallest(net, multiple)

    def least_bytes(self, precision: Precision) -> int:
        return self._bytes(self._least_parameters, precision)

    def candidate(self, share: float, precision: Precision, budget: Budget) -> Candidate | None:
        parameters = math.floor(share * self._parameters)
        if budget.bytes:
            parameters = min(parameters, parameters_within(self._net, precision, budget.bytes))
        macs = min(self._macs, budget.macs or math.inf)
        if parameters < self._least_parameters or macs < self.least_macs:
            return None
        prunes = []
        if macs < self._macs:
            # Rounded down, so that the share never allows more than the budget.
            target = math.floor(macs / self._macs * _SHARE_DIGITS) / _SHARE_DIGITS
            if target * self._macs < self.least_macs:
                return None
            prunes.append(PruneConfig(target_macs=target, rounds=1))
        if parameters < self._parameters:
            prunes.append(PruneConfig(target_bytes=4 * parameters, rounds=1))
        size = self._bytes(parameters, precision)
        return Candidate(self.name, tuple(prunes), precision, parameters, macs, size, self._macs)

    def _bytes(self, parameters: int, precision: Precision) -> int:
        """Bytes with that many parameters at most: each one less saves a weight at least."""
        whole = artifact_bytes(self._net, precision)
        return whole - (self._parameters - parameters) * WEIGHT_BYTES[precision]


def _out_of_reach(shapes: Sequence[_Shape], precisions: Sequence[Precision], budget: Budget) -> str:
    within = [shape for shape in shapes if shape.least_macs <= (budget.macs or math.inf)]
    if not within:
        macs, name = min((shape.least_macs, shape.name) for shape in shapes)
        return (
            f"max_macs {budget.macs:g}: no candidate fits; the smallest within reach is "
            f"{math.ceil(macs)} MACs per pixel ({name})"
        )
    least = [(shape.least_bytes(p), shape.name, p) for shape in within for p in precisions]
    size, name, precision = min(least)
    return (
        f"max_bytes {budget.bytes}: no candidate fits; the smallest within reach is {size} bytes "
        f"({name}, {precision})"
    )
