"""The config of a search, and the file that holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.distillation import DistillConfig
from core.config import build_config, check_keys, read_config
from core.errors import ConfigError


@dataclass(frozen=True)
class SearchConfig:
    """What to search through, and for how long.

    Attributes:
        networks: fields of the architecture's config, by the name that a table calls them by.
        max_ms: of an int8 artifact for one picture of 1280 x 720 on one thread, in either engine;
            0 sets no limit.
        max_drop: score in dB that may be given up for time: of the candidates in the last round
            that are no more than this below the best, the fastest is chosen.
        first: optimizer steps of the first round, and ``factor`` by how many times each round is
            longer and has fewer candidates.
        rounds: how many; ``finalists`` how many candidates are in the last at least.
        crops: to calibrate int8 on.
    """

    networks: dict[str, dict[str, Any]]
    max_ms: float = 0.0
    max_drop: float = 0.0
    first: int = 500
    factor: int = 3
    rounds: int = 3
    finalists: int = 3
    crops: int = 256

    def __post_init__(self) -> None:
        if not self.networks:
            raise ConfigError("search.networks is empty; give at least one")
        for name, least in (
            ("max_ms", 0),
            ("max_drop", 0),
            ("first", 1),
            ("factor", 2),
            ("rounds", 1),
            ("finalists", 1),
            ("crops", 1),
        ):
            if not getattr(self, name) >= least:
                raise ConfigError(f"search.{name} {getattr(self, name)} must be at least {least}")


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
