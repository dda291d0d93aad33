"""The config of a search, and the file that holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.cost import Precision
from compress.distillation import DistillConfig
from core.config import build_config, check_keys, read_config
from core.errors import ConfigError


@dataclass(frozen=True)
class SearchConfig:
    """What to search through, and for how long.

    Attributes:
        networks: fields of the architecture's config, by the name that a table calls them by.
        keep: shares of the parameters that pruning may leave; 1 is the network as it is.
        precisions: of the artifact.
        max_bytes: of the ONNX file; 0 sets no limit.
        max_macs: multiply-accumulates per pixel; 0 sets no limit.
        max_drop: score in dB that may be given up for a smaller file: of the candidates in the last
            round that are no more than this below the best, the smallest is chosen.
        first: optimizer steps of the first round, and ``factor`` by how many times each round is
            longer and has fewer candidates.
        rounds: how many; ``finalists`` how many candidates are in the last at least.
        finetune: steps that follow each pruning, as a share of those before.
        crops: to calibrate int8 on.
    """

    networks: dict[str, dict[str, Any]]
    keep: tuple[float, ...] = (1.0, 0.75, 0.5)
    precisions: tuple[Precision, ...] = ("int8", "fp16", "fp32")
    max_bytes: int = 0
    max_macs: float = 0.0
    max_drop: float = 0.0
    first: int = 500
    factor: int = 3
    rounds: int = 3
    finalists: int = 3
    finetune: float = 0.1
    crops: int = 256

    def __post_init__(self) -> None:
        for name in ("networks", "keep", "precisions"):
            if not getattr(self, name):
                raise ConfigError(f"search.{name} is empty; give at least one")
        for name, least in (
            ("max_bytes", 0),
            ("max_macs", 0),
            ("max_drop", 0),
            ("first", 1),
            ("factor", 2),
            ("rounds", 1),
            ("finalists", 1),
            ("crops", 1),
        ):
            if not getattr(self, name) >= least:
                raise ConfigError(f"search.{name} {getattr(self, name)} must be at least {least}")
        for share in (*self.keep, self.finetune):
            if not 0 < share <= 1:
                raise ConfigError(f"search.keep and search.finetune: {share} is not within (0, 1]")


@dataclass(frozen=True)
class _File(DistillConfig):
    search: SearchConfig | None = None


def read_search(
    path: str | Path, options: Mapping[str, Any], limits: Mapping[str, Any]
) -> tuple[dict[str, Any], SearchConfig]:
    """Read a YAML file of training options with a part ``search``.

    Args:
        path: of the file; it may extend others.
        options: training options that override the file; None does not.
        limits: fields of :class:`SearchConfig` that override it; None does not.

    Returns:
        Training options as plain values, and the part ``search``.

    Raises:
        ConfigError: what is wrong with the file, in one line.
    """
    values = read_config(path)
    try:
        check_keys(_File, values)
        part = values.pop("search", {})
        part = {**part, **{key: value for key, value in limits.items() if value is not None}}
        config = build_config(SearchConfig, part, "search")
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return {**values, **{k: v for k, v in options.items() if v is not None}}, config
