"""Training of networks that remove rain: data, rain, networks, the loop, scores, ``derain``.

    >>> from core import TrainConfig, load_config, train
    >>> result = train(load_config(TrainConfig, "configs/own_folder.yaml"))

Importing this package loads no torch: what is named below is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
    from core.config import build_config, load_config
    from core.evaluation.evaluate import EvaluationConfig, evaluate
    from core.training.config import TrainConfig
    from core.training.train import train

__all__ = [
    "Checkpoint",
    "EvaluationConfig",
    "TrainConfig",
    "build_config",
    "evaluate",
    "load_checkpoint",
    "load_config",
    "save_checkpoint",
    "train",
]
_HOMES = {
    "Checkpoint": "core.checkpoint",
    "load_checkpoint": "core.checkpoint",
    "save_checkpoint": "core.checkpoint",
    "load_config": "core.config",
    "build_config": "core.config",
    "EvaluationConfig": "core.evaluation.evaluate",
    "evaluate": "core.evaluation.evaluate",
    "TrainConfig": "core.training.config",
    "train": "core.training.train",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
