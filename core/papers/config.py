"""Which methods are compared, and what their papers print of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from core.config_errors import nearest
from core.errors import ConfigError

SHIPPED = Path(__file__).parents[2] / "configs" / "papers.yaml"
"""Like the checkpoints that it names, part of a checkout and not of a built package."""


@dataclass(frozen=True)
class MethodConfig:
    """One line of the comparison: a checkpoint, or a method without a network.

    Attributes:
        name: what the tables call it.
        paper: where it comes from.
        checkpoint: shipped name.
        method: ``gmm``, whose scores are in a file beside its code.
        strip: show what it makes of a picture.

    Raises:
        ConfigError: neither a checkpoint nor a method, or both.
    """

    name: str
    paper: str
    checkpoint: str = ""
    method: Literal["", "gmm"] = ""
    strip: bool = False

    def __post_init__(self) -> None:
        if bool(self.checkpoint) == bool(self.method):
            raise ConfigError(f"{self.name}: needs either a checkpoint or a method; give one")


@dataclass(frozen=True)
class PrintedConfig:
    """A figure that a paper prints.

    Attributes:
        method: name of the line that it belongs to.
        dataset: such as ``rain100l``, or in words where the paper does not say.
        psnr: in dB.
        ssim: None where the paper gives none.
        source: where it is printed, and what is to be known of it.
    """

    method: str
    dataset: str
    psnr: float
    source: str
    ssim: float | None = None


@dataclass(frozen=True)
class PapersConfig:
    """The whole comparison.

    Attributes:
        methods: in the order of the tables.
        datasets: columns of the quality tables.
        printed: figures of the papers.
        notes: paragraphs on what must be known to read them.

    Raises:
        ConfigError: no methods, two of one name, or a figure of an unknown method.
    """

    methods: tuple[MethodConfig, ...] = field(default_factory=tuple)
    datasets: tuple[str, ...] = ("rain100l", "rain100h", "rain12", "validation")
    printed: tuple[PrintedConfig, ...] = field(default_factory=tuple)
    notes: tuple[str, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        names = [method.name for method in self.methods]
        if not names or len(set(names)) != len(names):
            raise ConfigError(f"methods must have different names, at least one, got {names}")
        for figure in self.printed:
            if figure.method not in names:
                raise ConfigError(
                    f"printed: method {figure.method!r}: unknown; {nearest(figure.method, names)}"
                )
