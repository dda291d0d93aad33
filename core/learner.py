"""The part of training that knows nothing of files: a network, its optimizer and one step."""

from __future__ import annotations

import math
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from core.checkpoint import Checkpoint, load_checkpoint
from core.config import network_config, to_plain
from core.errors import ConfigError, TrainingError
from core.losses import reconstruction_loss
from core.networks import ARCHITECTURES
from core.train_config import TrainConfig


class Learner:
    """A network in training.

    Attributes:
        fabric: device and precision.
        network_config: instance of the architecture's config dataclass.
        network: the network in training; ``network.module`` is the bare one.
        average: moving average of its weights, ``average.module``: what is judged and kept.
        optimizer: AdamW; ``optimizer.optimizer`` is the bare one.

    Raises:
        CheckpointError: ``config.init`` cannot be read.
        ConfigError: ``config.init`` holds another network.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.fabric = Fabric(devices=1, precision=config.precision)
        if config.threads:
            torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        architecture = ARCHITECTURES[config.architecture]
        self.network_config = network_config(config.architecture, config.network)
        network = architecture.module(self.network_config)
        self._earlier_recipe: tuple[str, ...] = ()
        if config.init:
            start = _initial(config)
            network.load_state_dict(start.weights)
            self._earlier_recipe = start.recipe
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(
            network.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            betas=(0.9, 0.99),
        )
        self.network, self.optimizer = self.fabric.setup(network, optimizer)
        self.average = AveragedModel(
            self.network.module, multi_avg_fn=_moving_average(config.ema_decay)
        )

    def update(self, rainy: Tensor, clean: Tensor, step: int) -> Tensor:
        """Take one step.

        Args:
            rainy: uint8 (N, 3, H, W) RGB, H and W multiples of the network's ``size_multiple``.
            clean: the same shape.
            step: finished steps.

        Returns:
            The loss before the step, float scalar without gradient.

        Raises:
            TrainingError: the gradient is not finite; nothing has changed then.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate_at(step)
        self.network.train()
        derained = self.network(_to_float(rainy)).float()
        loss = reconstruction_loss(derained, _to_float(clean), self.config.loss)
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        norm = self.fabric.clip_gradients(
            self.network,
            self.optimizer,
            max_norm=self.config.gradient_clip or math.inf,
            error_if_nonfinite=False,
        )
        if not (norm is not None and math.isfinite(norm)):
            raise TrainingError(
                f"{self.config.name}: gradient is not finite at step {step + 1}, "
                f"loss {loss.item():g}; start another --name with a lower learning_rate "
                "or precision 32-true"
            )
        self.optimizer.step()
        self.average.update_parameters(self.network.module)
        return loss.detach()

    def checkpoint(self, step: int) -> Checkpoint:
        """Return the moving average after ``step`` finished steps, with where it comes from."""
        config, mixture = self.config, self.config.mixture
        start = f"from {Path(config.init).name}" if config.init else "from scratch"
        line = (
            f"train: {config.architecture} {start}, {step} of {config.steps} steps of "
            f"{config.batch_size} x {mixture.crop} x {mixture.crop}, "
            f"{config.precision}, seed {config.seed}"
        )
        names = {part.source.name for part in mixture.parts}
        if mixture.generated.streaks:
            names.add(Path(mixture.generated.streaks).name)
        return Checkpoint(
            name=config.name,
            role=config.role,
            architecture=config.architecture,
            config=self.network_config,
            weights=self.average.module.state_dict(),
            recipe=(*self._earlier_recipe, line),
            data=tuple(sorted(names)),
            versions={name: version(name) for name in ("torch", "lightning", "numpy")},
        )


def _initial(config: TrainConfig) -> Checkpoint:
    checkpoint = load_checkpoint(config.init)
    wanted = network_config(config.architecture, config.network)
    if (checkpoint.architecture, checkpoint.config) != (config.architecture, wanted):
        raise ConfigError(
            f"init {config.init}: is {checkpoint.architecture} {to_plain(checkpoint.config)}, "
            f"not {config.architecture} {to_plain(wanted)}"
        )
    checkpoint.build()  # refuses weights that do not fit
    return checkpoint


def _moving_average(decay: float) -> Any:
    def update(averages: Any, weights: Any, count: Any) -> None:
        # A young average follows quickly, so that it is not held back by the first weights.
        seen = float(count)
        keep = min(decay, (1 + seen) / (10 + seen))
        torch._foreach_lerp_(averages, weights, 1 - keep)

    return update


def _to_float(batch: Tensor) -> Tensor:
    return (batch.float() / 255).contiguous(memory_format=torch.channels_last)
